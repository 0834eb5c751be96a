#include "config/schedule.h"

int64_t schedule_next(const struct config_schedule *schedule, unsigned attempts, int64_t now_ms,
                      int64_t expires_ms, uint32_t random)
{
    size_t last = COUNT_OF(schedule->retry_ms) - 1;
    size_t place = attempts == 0 ? 0 : attempts - 1 > last ? last : attempts - 1;
    int64_t interval = schedule->retry_ms[place];
    int64_t spread = interval * schedule->jitter_percent / 100;
    if (spread > 0)
        interval += (int64_t)(random % (uint64_t)(2 * spread + 1)) - spread;
    int64_t next = now_ms + interval;
    return next > expires_ms && expires_ms > now_ms ? expires_ms : next;
}

int64_t schedule_expires(const struct config *config, const struct config_schedule *schedule, int64_t arrived_ms,
                         bool is_null_sender)
{
    int64_t expire = schedule->expire_ms;
    if (is_null_sender && config->queue.null_expire_ms < expire)
        expire = config->queue.null_expire_ms;
    return arrived_ms + expire;
}

/* On the beat of the clock, not of each message: a line that is paid for by the call is used once for all of them. */
int64_t schedule_wait(const struct config_route *route, int64_t now_ms, int64_t expires_ms)
{
    int64_t interval_ms = route->etrn_interval_ms;
    int64_t next_ms = interval_ms ? (now_ms / interval_ms + 1) * interval_ms : expires_ms;
    return next_ms < expires_ms ? next_ms : expires_ms;
}

int64_t schedule_first(const struct config *config, struct slice domain, int64_t due_ms, bool is_null_sender)
{
    const struct config_route *route = config_route_find(config, domain);
    if (!route || !route->is_etrn)
        return due_ms;
    return schedule_wait(route, due_ms, schedule_expires(config, &route->schedule, due_ms, is_null_sender));
}
