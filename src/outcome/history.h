/* history: reading the event log back, for trace, wait and the web process. Rotated files come first; lines that are torn or no JSON are
 * passed over. */
#ifndef MR_OUTCOME_HISTORY_H
#define MR_OUTCOME_HISTORY_H

#include "config/config.h"

#include <jansson.h>

/* `event` is borrowed during the call; false stops the walk. */
typedef bool history_fn(void *arg, const json_t *event);
MUST_USE bool history_each(const struct config *config, history_fn *fn, void *arg, struct error *error);
/* Only lines that hold these octets are read as JSON: what a search of a long log needs. */
MUST_USE bool history_search(const struct config *config, struct slice octets, history_fn *fn, void *arg, struct error *error);
const char *history_text(const json_t *event, const char *key); /* "" if absent */
int64_t history_ms(const json_t *event, const char *key); /* Unix time; -1 if it is none */
int64_t history_time_ms(const json_t *event); /* of its `time` */

#endif
