/* admin_read: the control socket's requests that only look. For the web process, which can't read the queue itself.
 *
 *   {"do": "list", "filter": {…, "limit": 100}}  {"messages": […], "has_more": …}  at most 500, oldest first
 *   {"do": "show", "id": "0018…"}                 {"message": {…, "header": "…"}}
 *   {"do": "destinations"}                        {"destinations": [{"domain", "messages", "recipients", "held", "oldest_ms", "next_ms",
 *                                                 "attempts", "status", "reply", "host"}], "is_partial": …}
 * The loop waits for them: each reads a bounded number of messages. */
#ifndef MR_RELAY_ADMIN_READ_H
#define MR_RELAY_ADMIN_READ_H

#include "base/error.h"

#include <jansson.h>

struct relay;
MUST_USE bool relay_list(struct relay *relay, const json_t *request, json_t *answer, struct error *error);
MUST_USE bool relay_show(struct relay *relay, const json_t *request, json_t *answer, struct error *error);
MUST_USE bool relay_destinations(struct relay *relay, json_t *answer, struct error *error);

#endif
