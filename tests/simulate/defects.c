#include "defects.h"

#include "outcome/bounce.h"
#include "relay/relay_private.h"

#include "config/schedule.h"

#include <string.h>

enum defect { NONE, RETRIES_TOO_EARLY, NEVER_EXPIRES, OTHERS_SERVERS, FORGETS_DELIVERIES, FORGETS_RECIPIENTS, TELLS_NO_SENDER, BELIEVES_IN_SILENCE,
              IGNORES_LIMIT, FORGETS_TO_WAKE, LOSES_LAST_RECIPIENT, DEFECTS };

static const char *const names[DEFECTS] = {
    [RETRIES_TOO_EARLY] = "retries-too-early",       [NEVER_EXPIRES] = "never-expires",
    [OTHERS_SERVERS] = "others-servers",             [FORGETS_DELIVERIES] = "forgets-deliveries",
    [FORGETS_RECIPIENTS] = "forgets-recipients",     [TELLS_NO_SENDER] = "tells-no-sender",
    [BELIEVES_IN_SILENCE] = "believes-in-silence",   [IGNORES_LIMIT] = "ignores-limit",
    [FORGETS_TO_WAKE] = "forgets-to-wake",           [LOSES_LAST_RECIPIENT] = "loses-last-recipient",
};
static enum defect chosen;

bool defect_choose(const char *name)
{
    for (int i = NONE + 1; i < DEFECTS; i++)
        if (strcmp(names[i], name) == 0)
            chosen = (enum defect)i;
    return chosen != NONE;
}

const char *defect_name(size_t number)
{
    return number + 1 < DEFECTS ? names[number + 1] : NULL;
}

/* The linker's names: __real_X is the relay's X, __wrap_X is what its callers get. */
int64_t __real_schedule_next(const struct config_schedule *schedule, unsigned attempts, int64_t now_ms, int64_t expires_ms, uint32_t random);
int64_t __wrap_schedule_next(const struct config_schedule *schedule, unsigned attempts, int64_t now_ms, int64_t expires_ms, uint32_t random);
int64_t __real_schedule_expires(const struct config *config, const struct config_schedule *schedule, int64_t arrived_ms, bool is_null_sender);
int64_t __wrap_schedule_expires(const struct config *config, const struct config_schedule *schedule, int64_t arrived_ms, bool is_null_sender);
void __real_route_lookup(struct router *router, struct slice domain, struct slice reroute, route_fn *fn, void *arg);
void __wrap_route_lookup(struct router *router, struct slice domain, struct slice reroute, route_fn *fn, void *arg);
bool __real_store_settle(struct store *store, const struct store_settlement *settlement, struct error *error);
bool __wrap_store_settle(struct store *store, const struct store_settlement *settlement, struct error *error);
bool __real_store_end_message(struct store *store, uint64_t id, struct error *error);
bool __wrap_store_end_message(struct store *store, uint64_t id, struct error *error);
bool __real_store_finish_message(struct store *store, uint64_t id, bool *ret_is_gone, struct error *error);
bool __wrap_store_finish_message(struct store *store, uint64_t id, bool *ret_is_gone, struct error *error);
struct queued *__real_bounce_compose(struct arena *arena, const struct bounce *bounce);
struct queued *__wrap_bounce_compose(struct arena *arena, const struct bounce *bounce);
void __real_settle_add(struct settle *settle, unsigned recipient, const struct attempt *attempt);
void __wrap_settle_add(struct settle *settle, unsigned recipient, const struct attempt *attempt);
size_t __real_site_connections_max(const struct site *site);
size_t __wrap_site_connections_max(const struct site *site);
void __real_relay_wake_at(struct relay *relay, int64_t wall_ms);
void __wrap_relay_wake_at(struct relay *relay, int64_t wall_ms);

int64_t __wrap_schedule_next(const struct config_schedule *schedule, unsigned attempts, int64_t now_ms, int64_t expires_ms, uint32_t random)
{
    int64_t next_ms = __real_schedule_next(schedule, attempts, now_ms, expires_ms, random);
    return chosen == RETRIES_TOO_EARLY ? now_ms + (next_ms - now_ms) / 2 : next_ms;
}

int64_t __wrap_schedule_expires(const struct config *config, const struct config_schedule *schedule, int64_t arrived_ms, bool is_null_sender)
{
    int64_t expires_ms = __real_schedule_expires(config, schedule, arrived_ms, is_null_sender);
    return chosen == NEVER_EXPIRES ? expires_ms + 24L * 3600 * 1000 : expires_ms;
}

void __wrap_route_lookup(struct router *router, struct slice domain, struct slice reroute, route_fn *fn, void *arg)
{
    bool is_wrong = chosen == OTHERS_SERVERS && slice_equals(domain, SLICE("d1.test"));
    __real_route_lookup(router, is_wrong ? SLICE("d0.test") : domain, reroute, fn, arg);
}

bool __wrap_store_settle(struct store *store, const struct store_settlement *settlement, struct error *error)
{
    struct store_settlement wrong = *settlement;
    if (chosen != FORGETS_DELIVERIES || settlement->state != STATE_DELIVERED)
        return __real_store_settle(store, settlement, error);
    wrong.state = STATE_QUEUED;
    wrong.next_ms = settlement->last_attempt_ms + 60 * 1000;
    return __real_store_settle(store, &wrong, error);
}

/* The short way (no rows that nobody would read) would hide what FORGETS_DELIVERIES does to a message of several recipients. */
bool __wrap_store_end_message(struct store *store, uint64_t id, struct error *error)
{
    return chosen == LOSES_LAST_RECIPIENT || __real_store_end_message(store, id, error);
}

bool __wrap_store_finish_message(struct store *store, uint64_t id, bool *ret_is_gone, struct error *error)
{
    if (chosen != FORGETS_RECIPIENTS)
        return __real_store_finish_message(store, id, ret_is_gone, error);
    *ret_is_gone = true;
    return __real_store_end_message(store, id, error);
}

struct queued *__wrap_bounce_compose(struct arena *arena, const struct bounce *bounce)
{
    return chosen == TELLS_NO_SENDER ? NULL : __real_bounce_compose(arena, bounce);
}

void __wrap_settle_add(struct settle *settle, unsigned recipient, const struct attempt *attempt)
{
    struct attempt wrong = *attempt;
    if (chosen == BELIEVES_IN_SILENCE && attempt->kind == RESULT_DEFERRED && attempt->code == 0)
        wrong.kind = RESULT_DELIVERED;
    __real_settle_add(settle, recipient, &wrong);
}

size_t __wrap_site_connections_max(const struct site *site)
{
    size_t most = __real_site_connections_max(site);
    return chosen == IGNORES_LIMIT ? most + 2 : most;
}

void __wrap_relay_wake_at(struct relay *relay, int64_t wall_ms)
{
    if (chosen != FORGETS_TO_WAKE)
        __real_relay_wake_at(relay, wall_ms);
}
