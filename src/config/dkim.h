/* dkim: the sections dkim "domain" { … } of the config. Private to src/config. */
#ifndef MR_CONFIG_DKIM_H
#define MR_CONFIG_DKIM_H

#include "config/config.h"

/* `name` is what stands behind "dkim.": domain, ".", key. */
MUST_USE bool dkim_set(struct config *config, struct slice name, struct slice text, struct error *error);
/* "selector:/file" or "selector:/file from 2026-12-31" of a section's keys; slices of `text`. The day begins at midnight UTC. */
struct dkim_entry { struct slice selector, path; int64_t from_ms; }; /* from_ms 0: at once */
MUST_USE bool dkim_entry_parse(struct slice text, struct dkim_entry *ret_entry);
/* That was expected of each key; the first that is none. */
MUST_USE bool dkim_check(const struct config *config, struct error *error);
void dkim_clear(struct config *config);

#endif
