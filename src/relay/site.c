#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- jobs ---- */

void attempt_keep(struct arena *arena, const struct attempt *attempt, struct attempt *ret_kept)
{
    *ret_kept = *attempt;
    struct slice *texts[] = {&ret_kept->status, &ret_kept->text, &ret_kept->host, &ret_kept->address,
                             &ret_kept->tls, &ret_kept->cipher, &ret_kept->policy, &ret_kept->auth, &ret_kept->offers};
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

static int64_t rest_ms(const struct site *site)
{
    const struct config_schedule *schedule =
        site->rule && site->rule->has_schedule ? &site->rule->schedule : &site->relay->config->queue.schedule;
    return schedule->retry_ms[0] < HOST_REST_MS ? schedule->retry_ms[0] : HOST_REST_MS;
}

/* ---- life ---- */

static void on_timer(void *arg)
{
    site_touch(arg);
}

static enum tls_demand demand_of(const struct item *item)
{
    unsigned flags = item->queued->message.flags;
    return flags & MESSAGE_REQUIRETLS       ? TLS_DEMAND_REQUIRED
           : flags & MESSAGE_TLS_OPTIONAL   ? TLS_DEMAND_OPTIONAL
                                            : TLS_DEMAND_NONE;
}

static struct site *site_get(struct relay *relay, const struct route *route, enum tls_demand demand, const struct config_source *source)
{
    struct site *site;
    struct buf key = {0};
    site_key(&key, route, demand, source);
    HASH_FIND_STR(relay->sites, buf_text(&key), site);
    if (site) {
        buf_finish(&key);
        return site;
    }
    site = mem_alloc(sizeof *site);
    site->relay = relay;
    site->name = buf_take(&key);
    site->demand = demand;
    site->rule = route->rule;
    site->source = source;
    site->pace = pace_get(relay, site->name);
    site->login = login_find(relay, route->rule);
    site->last = &site->first;
    site->window = WINDOW_START;
    site->timer = timer_make(relay->parts.base, on_timer, site);
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
    crowd_forget(site);
    HASH_DEL(site->relay->sites, site);
    timer_free(&site->timer);
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

void site_arm(struct site *site, int64_t wait_ms)
{
    timer_set(site->timer, wait_ms);
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
    struct site *site = site_get(relay, route, demand_of(item), site_choose_source(relay, route, item));
    struct job *newest = site->first ? (struct job *)((char *)site->last - offsetof(struct job, next)) : NULL;
    if (!newest || newest->item != item || newest->tried
        || newest->count >= (size_t)relay->config->delivery.recipients_per_message) {
        newest = job_create(item, route, 0);
        push_back(site, newest);
    }
    job_add(newest, recipient);
    crowd_joined(site, item->queued->recipients[recipient].domain);
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

struct job *site_unlink(struct site *site, struct job **at)
{
    struct job *job = *at;
    *at = job->next;
    if (site->last == &job->next)
        site->last = at;
    site->waiting--;
    crowd_left(site);
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
        (void)site_unlink(site, at);
        item_release(job->item, job->count);
        job_destroy(job);
    }
}

struct job *site_take(struct site *site, const struct connection *connection)
{
    char limit[64];
    if (site->relay->finished || !site->first || !cluster_may_send(site->relay))
        return NULL;
    int64_t wait_ms = site_wait_ms(site, limit);
    if (wait_ms) {
        site_arm(site, wait_ms);
        return NULL;
    }
    for (struct job **at = &site->first; *at; at = &(*at)->next) {
        if (!job_may_use(*at, connection_address(connection)))
            continue;
        site_take_one(site);
        return site_unlink(site, at);
    }
    return NULL;
}

void site_worked(struct site *site)
{
    site->strikes = 0;
    site->has_soft_failure = false;
    if (site->window >= site_connections_max(site))
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
        struct job *job = site_unlink(site, &site->first);
        settle_job(job, job->tried ? &job->failure : &attempt);
    }
}

static void site_die(struct site *site)
{
    int64_t wait_ms = site_login_wait_ms(site, rest_ms(site));
    if (site->has_soft_failure && site->failure.kind == RESULT_FAILED)
        site->failure.kind = RESULT_DEFERRED; /* another host may yet take it */
    site->dead_until_ms = clock_mono_ms() + wait_ms;
    site->window = 1;
    site_arm(site, wait_ms);
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
        if (job_may_use(job, connection_address(c)))
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
    size_t most = site->window < site_connections_max(site) ? site->window : site_connections_max(site);
    size_t slow = dial_slow_count(site);
    if (site->connecting_count - slow >= site->waiting || !cluster_may_send(relay)
        || (relay->parts.node && site->connection_count >= site_connections_max(site))) /* in a cluster it is exact */
        return false;
    if (!dial_choose(site, job, &host, &address)) {
        if (has_hope(site, job))
            return false;
        if (job->tried) {
            struct attempt failure = job->failure;
            site_login_keep(site, job, &failure);
            settle_job(site_unlink(site, &site->first), &failure);
        } else {
            if (!site_login_note(site, job))
                dial_note_barred(site, job);
            site_die(site);
        }
        return site->first != NULL;
    }
    if (site_login_waits(site, host, site->connection_count - slow) || (site->connection_count - slow >= most && has_hope(site, job)))
        return false;
    if (relay->connection_count >= (size_t)relay->config->delivery.connections_max) {
        relay->is_starved = true;
        return false;
    }
    connection_open(site, job->route, host, address);
    return true;
}

/* What may not go now waits, or is deferred when that is for long: it would only take the memory of what may. */
static bool is_held_back(struct site *site)
{
    char limit[64], text[500];
    int64_t wait_ms = site_wait_ms(site, limit);
    if (wait_ms == 0)
        return false;
    site_arm(site, wait_ms);
    if (wait_ms <= PACE_HOLD_MS)
        return true;
    (void)snprintf(text, sizeof text, "no more may go there for %lld s: %s%s%s", (long long)wait_ms / 1000, limit,
                   site->pace->cause[0] ? "; they said: " : "", site->pace->cause);
    struct route *route = route_hold(site->first->route); /* its job goes before the others are told its host's name */
    struct attempt attempt = {.kind = RESULT_DEFERRED, .stage = "pace", .status = SLICE("4.7.0"), .text = slice_of(text),
                              .host = slice_of(route->hosts[0].name), .connect_ms = -1, .transaction_ms = -1};
    while (site->first)
        settle_job(site_unlink(site, &site->first), &attempt);
    route_release(&route);
    return true;
}

void site_dispatch(struct site *site)
{
    drop_stale(site);
    if (site->relay->finished) {
        while (site->first) {
            struct job *job = site_unlink(site, &site->first);
            item_release(job->item, job->count);
            job_destroy(job);
        }
    }
    (void)cluster_leaves(site);
    bool is_dead = clock_mono_ms() < site->dead_until_ms;
    if (is_dead)
        defer_all(site);
    for (struct connection *c = site->connections, *next; c; c = next) {
        next = connection_next(c);
        if (connection_is_idle(c) && (site->first || site->relay->finished))
            connection_wake(c);
    }
    bool is_waiting = site->first && !is_dead && is_held_back(site);
    while (site->first && !is_dead && !is_waiting && open_one(site))
        continue;
    if (!site->first && !site->connections && !is_dead && !site->is_dirty)
        site_destroy(site);
}
