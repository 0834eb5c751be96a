/* hooks: the sections hook "name" { … } and otlp of the config, what is posted to URLs. Private to src/config. */
#ifndef MR_CONFIG_HOOKS_H
#define MR_CONFIG_HOOKS_H

#include "config/config.h"

/* `name` is what stands behind "hook.": the hook's name, ".", key. */
MUST_USE bool hooks_set(struct config *config, struct slice name, struct slice text, struct error *error);
/* False with what is wrong with one of them: no URL, no secret, an event that there isn't. */
MUST_USE bool hooks_check(const struct config *config, struct error *error);
/* `ret_key` is the one that is wrong. */
MUST_USE bool otlp_check(const struct config *config, const char **ret_key, struct error *error);
void hooks_clear(struct config *config);

#endif
