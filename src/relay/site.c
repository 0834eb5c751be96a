#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

enum { MARKS_MAX = 20000 };

/* ---- jobs ---- */

void attempt_keep(struct arena *arena, const struct attempt *attempt, struct attempt *ret_kept)
{
    *ret_kept = *attempt;
    struct slice *texts[] = {&ret_kept->status, &ret_kept->text, &ret_kept->host, &ret_kept->address,
                             &ret_kept->tls, &ret_kept->cipher, &ret_kept->policy};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (!slice_is_absent(*texts[i]))
            *texts[i] = arena_copy(arena, *texts[i]);
}

struct job *job_create(struct item *item, struct route *route, uint64_t tried)
{
    struct job *job = mem_alloc(sizeof *job);
    job->item = item;
    job->route = route_hold(route);
    job->tried = tried;
    return job;
}

void job_add(struct job *job, unsigned recipient)
{
    if (job->count == job->capacity) {
        job->capacity = job->capacity ? 4 * job->capacity : 1;
        job->recipients = mem_resize(job->recipients, job->capacity * sizeof *job->recipients);
    }
    job->recipients[job->count++] = recipient;
}

void job_destroy(struct job *job)
{
    route_release(&job->route);
    free(job->recipients);
    free(job);
}

/* The n-th address of a route's usable hosts, in the order to try; false behind the last. */
static bool target_at(const struct route *route, size_t n, const struct route_host **ret_host,
                      const struct route_address **ret_address)
{
    for (size_t i = 0; i < route->usable_count; i++) {
        const struct route_host *host = &route->hosts[i];
        if (n < host->address_count) {
            *ret_host = host;
            *ret_address = &host->addresses[n];
            return true;
        }
        n -= host->address_count;
    }
    return false;
}

static size_t target_of(const struct route *route, const char *address)
{
    const struct route_host *host;
    const struct route_address *to;
    char text[64];
    for (size_t n = 0; n < TRIED_MAX && target_at(route, n, &host, &to); n++) {
        route_address_text(to, text, sizeof text);
        if (strcmp(text, address) == 0)
            return n;
    }
    return TRIED_MAX;
}

bool job_tried(struct job *job, const char *address)
{
    const struct route_host *host;
    const struct route_address *to;
    size_t place = target_of(job->route, address);
    if (place < TRIED_MAX)
        job->tried |= (uint64_t)1 << place;
    for (size_t n = 0; n < TRIED_MAX && target_at(job->route, n, &host, &to); n++)
        if (!(job->tried & (uint64_t)1 << n))
            return true;
    return false;
}

/* ---- marks ---- */

struct host_mark *site_mark(struct relay *relay, const char *address, bool is_made)
{
    struct host_mark *mark, *next;
    HASH_FIND_STR(relay->marks, address, mark);
    if (mark || !is_made)
        return mark;
    if (HASH_COUNT(relay->marks) >= MARKS_MAX) {
        HASH_ITER(hh, relay->marks, mark, next) {
            HASH_DEL(relay->marks, mark);
            free(mark);
        }
    }
    mark = mem_alloc(sizeof *mark);
    (void)snprintf(mark->address, sizeof mark->address, "%s", address);
    HASH_ADD_STR(relay->marks, address, mark);
    return mark;
}

static int64_t rest_ms(const struct site *site)
{
    const struct config_schedule *schedule =
        site->rule && site->rule->has_schedule ? &site->rule->schedule : &site->relay->config->queue.schedule;
    return schedule->retry_ms[0] < HOST_REST_MS ? schedule->retry_ms[0] : HOST_REST_MS;
}

static bool is_barred(const struct site *site, const struct route *route, const struct route_host *host,
                      struct tls_policy *ret_policy)
{
    route_tls(route, host, site->relay->config, site->demand, ret_policy);
    return ret_policy->is_barred;
}

/* A site of which nothing was tried: its TLS policy bars every host. */
static void note_barred(struct site *site, const struct job *job)
{
    struct tls_policy policy;
    const struct route_host *host = &job->route->hosts[0];
    if (site->failure.stage || !is_barred(site, job->route, host, &policy))
        return;
    struct attempt attempt = {.kind = RESULT_DEFERRED, .stage = "tls", .status = SLICE("4.7.5"),
                              .text = slice_of(policy.why), .host = slice_of(host->name), .connect_ms = -1,
                              .policy = slice_of(tls_source_name(policy.source)), .transaction_ms = -1};
    arena_reset(&site->arena);
    attempt_keep(&site->arena, &attempt, &site->failure);
    site->has_soft_failure = true;
}

/* The first address of the job's route that neither failed it nor rests. A site that has not failed itself yet tries one
 * that rests because of another. */
static bool target_choose(struct site *site, const struct job *job, const struct route_host **ret_host,
                          const struct route_address **ret_address)
{
    int64_t now_ms = clock_mono_ms();
    char text[64];
    struct tls_policy policy;
    for (size_t n = 0; n < TRIED_MAX && target_at(job->route, n, ret_host, ret_address); n++) {
        if ((job->tried & (uint64_t)1 << n) || is_barred(site, job->route, *ret_host, &policy))
            continue;
        route_address_text(*ret_address, text, sizeof text);
        const struct host_mark *mark = site_mark(site->relay, text, false);
        if (!mark || mark->rests_until_ms <= now_ms || !site->failure.stage)
            return true;
    }
    return false;
}

/* ---- life ---- */

static void on_timer(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    site_touch(arg);
}

static enum tls_demand demand_of(const struct item *item)
{
    unsigned flags = item->queued->message.flags;
    return flags & MESSAGE_REQUIRETLS       ? TLS_DEMAND_REQUIRED
           : flags & MESSAGE_TLS_OPTIONAL   ? TLS_DEMAND_OPTIONAL
                                            : TLS_DEMAND_NONE;
}

/* Messages that demand something else of TLS have connections of their own; whether a host is vouched for is the domain's. */
static const char *site_key(struct buf *key, const struct route *route, enum tls_demand demand)
{
    buf_append_text(key, route->site);
    if (demand == TLS_DEMAND_REQUIRED)
        buf_printf(key, "requiretls %s\n", route->domain);
    else if (demand == TLS_DEMAND_OPTIONAL)
        buf_append_text(key, "tls-required: no\n");
    return buf_text(key);
}

static struct site *site_get(struct relay *relay, const struct route *route, enum tls_demand demand)
{
    struct site *site;
    struct buf key = {0};
    HASH_FIND_STR(relay->sites, site_key(&key, route, demand), site);
    if (site) {
        buf_finish(&key);
        return site;
    }
    site = mem_alloc(sizeof *site);
    site->relay = relay;
    site->name = buf_take(&key);
    site->demand = demand;
    site->rule = route->rule;
    site->last = &site->first;
    site->window = WINDOW_START;
    site->timer = evtimer_new(relay->parts.base, on_timer, site);
    if (!site->timer)
        mem_exhausted(sizeof *site);
    HASH_ADD_KEYPTR(hh, relay->sites, site->name, strlen(site->name), site);
    return site;
}

void site_destroy(struct site *site)
{
    while (site->connections)
        connection_destroy(site->connections);
    while (site->first) {
        struct job *job = site->first;
        site->first = job->next;
        job_destroy(job);
    }
    HASH_DEL(site->relay->sites, site);
    event_free(site->timer);
    arena_finish(&site->arena);
    free(site->name);
    free(site);
}

void site_touch(struct site *site)
{
    if (site->is_dirty)
        return;
    site->is_dirty = true;
    site->next_dirty = site->relay->dirty;
    site->relay->dirty = site;
    relay_soon(site->relay);
}

static size_t limit_or(int limit, int otherwise)
{
    return (size_t)(limit > 0 ? limit : otherwise);
}

static size_t connections_max(const struct site *site)
{
    return limit_or(site->rule ? site->rule->connections_max : 0,
                    site->relay->config->delivery.connections_per_site);
}

/* ---- jobs of the site ---- */

static void push_back(struct site *site, struct job *job)
{
    job->next = NULL;
    *site->last = job;
    site->last = &job->next;
    site->waiting++;
}

void site_add(struct relay *relay, struct route *route, struct item *item, unsigned recipient)
{
    struct site *site = site_get(relay, route, demand_of(item));
    struct job *newest = site->first ? (struct job *)((char *)site->last - offsetof(struct job, next)) : NULL;
    if (!newest || newest->item != item || newest->tried
        || newest->count >= (size_t)relay->config->delivery.recipients_per_message) {
        newest = job_create(item, route, 0);
        push_back(site, newest);
    }
    job_add(newest, recipient);
    site_touch(site);
}

void site_requeue(struct site *site, struct job *job)
{
    job->next = site->first;
    if (!site->first)
        site->last = &job->next;
    site->first = job;
    site->waiting++;
    site_touch(site);
}

static struct job *unlink_job(struct site *site, struct job **at)
{
    struct job *job = *at;
    *at = job->next;
    if (site->last == &job->next)
        site->last = at;
    site->waiting--;
    return job;
}

static void settle_job(struct job *job, const struct attempt *attempt)
{
    for (size_t i = 0; i < job->count; i++)
        settle_add(settle_gathered(job->item), job->recipients[i], attempt);
    job_destroy(job);
}

static void drop_stale(struct site *site)
{
    for (struct job **at = &site->first; *at;) {
        struct job *job = *at;
        if (!job->item->is_stale) {
            at = &job->next;
            continue;
        }
        (void)unlink_job(site, at);
        item_release(job->item, job->count);
        job_destroy(job);
    }
}

static bool may_serve(const struct connection *connection, const struct job *job)
{
    if (!job->tried)
        return true;
    size_t place = target_of(job->route, connection_address(connection));
    return place >= TRIED_MAX || !(job->tried & (uint64_t)1 << place);
}

struct job *site_take(struct site *site, const struct connection *connection)
{
    struct relay *relay = site->relay;
    int64_t rate_ms = site->rule && site->rule->rate_interval_ms ? site->rule->rate_interval_ms
                                                                 : relay->config->delivery.rate_interval_ms;
    if (relay->finished)
        return NULL;
    if (rate_ms && clock_mono_ms() < site->next_start_ms) {
        int64_t wait_ms = site->next_start_ms - clock_mono_ms();
        struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
        (void)evtimer_add(site->timer, &wait);
        return NULL;
    }
    for (struct job **at = &site->first; *at; at = &(*at)->next) {
        if (!may_serve(connection, *at))
            continue;
        if (rate_ms)
            site->next_start_ms = clock_mono_ms() + rate_ms;
        return unlink_job(site, at);
    }
    return NULL;
}

void site_worked(struct site *site)
{
    site->strikes = 0;
    site->has_soft_failure = false;
    if (site->window >= connections_max(site))
        return;
    site->window++;
    if (site->first)
        site_touch(site); /* nothing else would open the connection that it may now have */
}

/* Everything that waits shares the outcome of what was tried (Y4). */
static void defer_all(struct site *site)
{
    struct attempt attempt = site->failure;
    while (site->first) {
        struct job *job = unlink_job(site, &site->first);
        settle_job(job, job->tried ? &job->failure : &attempt);
    }
}

static void site_die(struct site *site)
{
    int64_t wait_ms = rest_ms(site);
    struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
    if (site->has_soft_failure && site->failure.kind == RESULT_FAILED)
        site->failure.kind = RESULT_DEFERRED; /* another host may yet take it */
    site->dead_until_ms = clock_mono_ms() + wait_ms;
    site->window = 1;
    (void)evtimer_add(site->timer, &wait);
    defer_all(site);
}

void site_host_failed(struct site *site, const struct attempt *attempt, const char *address, bool was_usable)
{
    struct attempt kept;
    arena_reset(&site->arena);
    attempt_keep(&site->arena, attempt, &kept);
    site->failure = kept;
    if (kept.kind != RESULT_FAILED)
        site->has_soft_failure = true;
    site->window = site->window > 1 ? site->window / 2 : 1;
    site->strikes++;
    if (!was_usable || site->strikes >= STRIKES_MAX)
        site_mark(site->relay, address, true)->rests_until_ms = clock_mono_ms() + rest_ms(site);
    site_touch(site);
}

/* Whether a connection that stands or is being made will look after what waits. */
static bool has_hope(const struct site *site, const struct job *job)
{
    for (struct connection *c = site->connections; c; c = connection_next(c))
        if (may_serve(c, job))
            return true;
    return false;
}

/* Opens one more connection for the first job that waits; false if there is to be none now. */
static bool open_one(struct site *site)
{
    struct relay *relay = site->relay;
    const struct route_host *host;
    const struct route_address *address;
    struct job *job = site->first;
    size_t most = site->window < connections_max(site) ? site->window : connections_max(site);
    if (site->connecting_count >= site->waiting)
        return false;
    if (!target_choose(site, job, &host, &address)) {
        if (has_hope(site, job))
            return false;
        if (job->tried) {
            settle_job(unlink_job(site, &site->first), &job->failure);
        } else {
            note_barred(site, job);
            site_die(site);
        }
        return site->first != NULL;
    }
    if (site->connection_count >= most && has_hope(site, job))
        return false;
    if (relay->connection_count >= (size_t)relay->config->delivery.connections_max) {
        relay->is_starved = true;
        return false;
    }
    connection_open(site, job->route, host, address);
    return true;
}

void site_dispatch(struct site *site)
{
    drop_stale(site);
    if (site->relay->finished) {
        while (site->first) {
            struct job *job = unlink_job(site, &site->first);
            item_release(job->item, job->count);
            job_destroy(job);
        }
    }
    bool is_dead = clock_mono_ms() < site->dead_until_ms;
    if (is_dead)
        defer_all(site);
    for (struct connection *c = site->connections, *next; c; c = next) {
        next = connection_next(c);
        if (connection_is_idle(c) && (site->first || site->relay->finished))
            connection_wake(c);
    }
    while (site->first && !is_dead && open_one(site))
        continue;
    if (!site->first && !site->connections && !is_dead && !site->is_dirty)
        site_destroy(site);
}
