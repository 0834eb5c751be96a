/* events: reading the event log back, for trace and wait. Rotated files come first; lines that are torn or no JSON are
 * passed over. */
#ifndef MR_CLI_EVENTS_H
#define MR_CLI_EVENTS_H

#include "config/config.h"

#include <jansson.h>

/* `event` is borrowed during the call; false stops the walk. */
typedef bool events_fn(void *arg, const json_t *event);
MUST_USE bool events_each(const struct config *config, events_fn *fn, void *arg, struct error *error);
const char *events_text(const json_t *event, const char *key); /* "" if absent */

#endif
