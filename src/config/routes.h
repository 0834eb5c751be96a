/* routes: the sections route "domain" { … } of the config. Private to src/config. */
#ifndef MR_CONFIG_ROUTES_H
#define MR_CONFIG_ROUTES_H

#include "config/config.h"

/* `name` is what stands behind "route.": pattern, ".", key. The error names the nearest key where it is unknown. */
MUST_USE bool routes_set(struct config *config, struct slice name, struct slice text, struct error *error);
void routes_complete(struct config *config); /* what a route's schedule leaves out comes from queue.* */
/* Says what is wrong with local.domains and with routes as a whole (after routes_complete()). */
typedef void routes_fault_fn(void *arg, const char *key, const char *text);
void routes_check(const struct config *config, routes_fault_fn *fn, void *arg);
void routes_clear(struct config *config);

#endif
