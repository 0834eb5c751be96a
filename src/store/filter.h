/* filter: struct store_filter and the verbs as JSON, for the control socket: mailroot queue writes
 * it, the relay reads it.
 *
 *   {"ids": ["0018f0…"], "sender": "*@a.b", "recipient": …, "domain": …, "pickup": …,
 *    "message_id": …, "status": "4.7.*", "older_ms": 7200000, "younger_ms": …, "larger": …,
 *    "state": "queued" | "held" | …, "not": true, "after": "0018f0…", "limit": 100}
 *
 * Fields that don't filter are left out; an unknown field is refused, since a filter that is not
 * understood would match too much. now_ms is not sent: who applies the filter sets it. */
#ifndef MR_STORE_FILTER_H
#define MR_STORE_FILTER_H

#include "store/store.h"

#include <jansson.h>

enum { FILTER_IDS_MAX = 50000 }; /* as many as fit into a request */

#define FILTER_ALL ((struct store_filter){.state = -1}) /* matches everything */

/* True if any field filters (limit is none): what a verb needs unless it is told to take all. */
bool filter_is_set(const struct store_filter *filter);
/* The caller's to json_decref(); NULL when a text is no UTF-8. */
json_t *filter_to_json(const struct store_filter *filter, struct error *error);
MUST_USE bool filter_from_json(struct arena *arena, const json_t *json,
                               struct store_filter *ret_filter, struct error *error);

const char *state_name(enum store_state state); /* "queued"; "unknown" for a number that is none */
MUST_USE bool state_parse(struct slice name, int *ret_state);
const char *verb_name(enum store_verb verb); /* "hold" */
MUST_USE bool verb_parse(struct slice name, enum store_verb *ret_verb);

#endif
