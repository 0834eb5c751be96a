/* schedule: when a message that could not be delivered is tried again, and when it is given up.
 *   The intervals of IIS: first, second, third, subsequent; RFC 5321 4.5.4.1
 * Pure: times and randomness are arguments. */
#ifndef MR_CONFIG_SCHEDULE_H
#define MR_CONFIG_SCHEDULE_H

#include "config/config.h"

/* After `attempts` failed ones (1 = the first just failed). `random` is any number: the interval is changed by at most
 * jitter_percent either way. Never later than `expires_ms`, so that the last attempt is made at the end. */
int64_t schedule_next(const struct config_schedule *schedule, unsigned attempts, int64_t now_ms,
                      int64_t expires_ms, uint32_t random);
/* When a message that arrived then is given up; a null sender's earlier (queue.null_expire) if that is shorter. */
int64_t schedule_expires(const struct config *config, const struct config_schedule *schedule, int64_t arrived_ms,
                         bool is_null_sender);
/* Mail of a route with `etrn` that is left at `now_ms`: when it goes without being asked for. Never behind `expires_ms`. */
int64_t schedule_wait(const struct config_route *route, int64_t now_ms, int64_t expires_ms);
/* When a new recipient of that domain, whose message may go from `due_ms` on, is tried first. */
int64_t schedule_first(const struct config *config, struct slice domain, int64_t due_ms, bool is_null_sender);

#endif
