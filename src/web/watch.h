/* watch: the event log as it grows: counts for metrics, sums for graphs, the last events for live pages.
 *
 * W1  a thread of its own looks twice a second; at the start it reads back up to 64 MiB, so that graphs have a past
 * W2  spans: an hour by minutes, a day by quarters of an hour, a month (30 days) by six hours
 * W3  a log that is rotated is followed; one that grows faster than it is read is skipped ahead in
 * Counts are of what was read. Calls from any thread. */
#ifndef MR_WEB_WATCH_H
#define MR_WEB_WATCH_H

#include "config/config.h"

enum { WATCH_DELAYS = 10, WATCH_RECENT = 200 };

struct watch;
/* `tick` is called by the thread after each look. */
MUST_USE bool watch_start(const struct config *config, void (*tick)(void *arg), void *arg, struct watch **ret_watch,
                          struct error *error);
void watch_stop(struct watch **watch);
/* {"span": …, "width_s": …, "points": [{"time": Unix seconds, "taken", "delivered", "deferred", "bounced", "delay_ms"}]}; false: no such
 * span (hour, day, month). */
MUST_USE bool watch_put_graph(struct watch *watch, struct slice span, int64_t now_ms, struct buf *out);
void watch_put_metrics(struct watch *watch, struct buf *out); /* Prometheus' text format */
/* Messages of the last minute: "taken": n, "delivered": n … as keys of an open JSON object. */
void watch_put_rates(struct watch *watch, int64_t now_ms, struct buf *out);
/* Event lines after number *cursor, which moves; 0 starts at the present. */
void watch_put_recent(struct watch *watch, uint64_t *cursor, struct buf *out);

#endif
