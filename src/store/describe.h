/* describe: messages and recipients of the queue as JSON, the same for `mailroot queue --json`, the control socket and the API.
 * Texts that are absent are left out. */
#ifndef MR_STORE_DESCRIBE_H
#define MR_STORE_DESCRIBE_H

#include "store/store.h"

#include <jansson.h>

/* {"id": …, "recipients": […] and left open for what the caller adds; json_close(out, '}') ends it. */
void describe_message(struct buf *out, const struct store_message *message, const struct store_recipient *recipients,
                      size_t count);
/* The first octets of a message, at most 64 KiB of its header; from the body file in `dir` if it lies there. */
MUST_USE bool describe_header(struct store *store, const char *dir, uint64_t id, struct arena *arena,
                              struct slice *ret_header, struct error *error);

/* The cluster's nodes by their names: {"NAME": {"id": …, "version": …, "joined": …, "lease_ms": …, "claims": …,
 * "connections": …, "active": …, "delivered": …, "deferred": …, "bounced": …}}, the caller's; NULL where the queue is not shared. */
MUST_USE bool describe_nodes(struct store *store, json_t **ret_nodes, struct error *error);

#endif
