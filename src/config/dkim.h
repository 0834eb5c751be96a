/* dkim: the sections dkim "domain" { … } of the config. Private to src/config. */
#ifndef MR_CONFIG_DKIM_H
#define MR_CONFIG_DKIM_H

#include "config/config.h"

/* `name` is what stands behind "dkim.": domain, ".", key. */
MUST_USE bool dkim_set(struct config *config, struct slice name, struct slice text, struct error *error);
/* "selector:/file" was expected of each key; the first that is none. */
MUST_USE bool dkim_check(const struct config *config, struct error *error);
void dkim_clear(struct config *config);

#endif
