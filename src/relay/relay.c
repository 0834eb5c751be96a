#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "relay/inquiry.h"

#include <event2/event.h>
#include <stdlib.h>

enum { WAKE_GRAIN_MS = 20 };

void relay_soon(struct relay *relay)
{
    event_active(relay->soon, EV_TIMEOUT, 0);
}

uint32_t relay_random(struct relay *relay)
{
    relay->random ^= relay->random << 13; /* xorshift64: for jitter, not for secrets */
    relay->random ^= relay->random >> 7;
    relay->random ^= relay->random << 17;
    return (uint32_t)(relay->random >> 32);
}

void relay_wake_at(struct relay *relay, int64_t wall_ms)
{
    if (wall_ms >= relay->wake_ms)
        return;
    relay->wake_ms = wall_ms;
    int64_t wait_ms = wall_ms - clock_due_ms();
    /* Many that are due one after another are loaded together. */
    timer_set(relay->wake, wait_ms < 0 ? WAKE_GRAIN_MS : wait_ms + WAKE_GRAIN_MS);
}

static void on_wake(void *arg)
{
    struct relay *relay = arg;
    relay->wake_ms = INT64_MAX;
    if (!relay->load.is_on) /* its end looks for what has become due meanwhile */
        relay->is_behind = true;
    relay_soon(relay);
}

/* ---- the loop comes round ---- */

static void submit_gathered(struct relay *relay)
{
    while (relay->settling) {
        struct item *item = relay->settling;
        struct settle *settle = item->settle;
        relay->settling = item->next_settling;
        item->settle = NULL;
        settle_submit(settle, NULL);
    }
}

static void dispatch_dirty(struct relay *relay)
{
    while (relay->dirty) {
        struct site *site = relay->dirty;
        relay->dirty = site->next_dirty;
        site->is_dirty = false;
        site_dispatch(site);
    }
}

static void wake_starved(struct relay *relay)
{
    struct site *site, *next;
    relay->is_starved = false;
    HASH_ITER(hh, relay->sites, site, next)
        if (site->waiting)
            site_touch(site);
}

void relay_check_finished(struct relay *relay)
{
    if (relay->finished)
        relay_soon(relay);
}

static void on_soon(int fd, short what, void *arg)
{
    struct relay *relay = arg;
    (void)fd;
    (void)what;
    if (relay->is_starved && relay->connection_count < (size_t)relay->config->delivery.connections_max)
        wake_starved(relay);
    loader_run(relay);
    dispatch_dirty(relay);
    local_dispatch(relay->local);
    submit_gathered(relay);
    cluster_flush(relay);
    cluster_make_room(relay);
    event_flush(relay->parts.log);
    if (relay->finished && relay->connection_count == 0 && relay->settles_in_flight == 0 && relay->changes_in_flight == 0
        && local_is_idle(relay->local)) {
        void (*finished)(void *) = relay->finished;
        finished(relay->finished_arg);
    }
}

void relay_accept(struct relay *relay, struct queued *list)
{
    relay_start_list(relay, loader_skip(relay, list));
}

/* What is held, or not due, stays in the queue; so do all recipients of a message of which one does. */
static bool is_all_due(const struct queued *queued, int64_t now_ms, int64_t *ret_due_ms)
{
    bool is_due = true;
    *ret_due_ms = INT64_MAX;
    for (size_t i = 0; i < queued->recipient_count; i++) {
        const struct store_recipient *recipient = &queued->recipients[i];
        is_due = is_due && recipient->state == STATE_QUEUED && recipient->next_ms <= now_ms;
        if (recipient->state == STATE_QUEUED && recipient->next_ms < *ret_due_ms)
            *ret_due_ms = recipient->next_ms;
    }
    return is_due;
}

/* In the queue, for a later load or another node's. */
static void leave_it(struct relay *relay, struct queued *queued)
{
    if (relay->parts.node)
        cluster_release(relay, queued->message.id);
    queued_destroy(&queued);
}

void relay_start_list(struct relay *relay, struct queued *list)
{
    while (list) {
        struct queued *queued = list;
        list = queued->next;
        queued->next = NULL;
        loader_came(relay, queued->message.id);
        int64_t due_ms;
        if (!is_all_due(queued, clock_due_ms(), &due_ms)) { /* some of it, or all: the loader brings what is due */
            if (due_ms != INT64_MAX)
                relay_wake_at(relay, due_ms);
            leave_it(relay, queued);
        } else if (relay->finished || HASH_COUNT(relay->items) >= (size_t)relay->config->limits.active) {
            relay->is_behind = true;
            leave_it(relay, queued);
        } else if (crowd_has_all(relay, queued)) {
            leave_it(relay, queued);
        } else {
            if (relay->content_size >= relay->config->limits.content_memory) {
                free(queued->content); /* read again when it is sent */
                queued->content = NULL;
            }
            item_start(relay, queued);
        }
    }
    relay_soon(relay);
}

/* ---- life ---- */

static void on_dns_problem(void *arg, const char *problem)
{
    struct relay *relay = arg;
    struct event event = EVENT(EVENT_WARNING);
    event.reason = slice_of(problem);
    event_put(relay->parts.log, &event);
    event_flush(relay->parts.log);
}

struct relay *relay_start(const struct relay_parts *parts, struct error *error)
{
    struct relay *relay = mem_alloc(sizeof *relay);
    relay->parts = *parts;
    relay->tls = parts->tls;
    relay->config = parts->config;
    relay->wake_ms = INT64_MAX;
    relay->started_ms = clock_wall_ms();
    relay->handed_id = atomic_load(&parts->ids->last);
    relay->random = (uint64_t)clock_wall_ns() | 1;
    relay->soon = event_new(parts->base, -1, 0, on_soon, relay);
    relay->wake = timer_make(parts->base, on_wake, relay);
    if (!relay->soon)
        mem_exhausted(sizeof *relay);
    relay->suppressed = suppressed_open(parts->queue_dir, parts->config->suppress.expire_ms, error);
    if (!relay->suppressed) {
        relay_destroy(&relay);
        return NULL;
    }
    paces_load(relay);
    if (!relay->tls)
        relay->tls = tls_open(relay->config, error);
    relay->router = relay->tls && login_open_all(relay, error) ? router_create(parts->base, parts->config, parts->resolver, error) : NULL;
    if (relay->router && !parts->is_rehearsal && !router_keep(relay->router, error)) {
        relay_destroy(&relay);
        return NULL;
    }
    if (relay->router)
        router_watch_dns(relay->router, on_dns_problem, relay);
    if (relay->router && !tls_reports_start(relay, error)) {
        relay_destroy(&relay);
        return NULL;
    }
    relay->local = relay->router ? local_start(relay, error) : NULL;
    bool is_open = relay->local
                   && (parts->node ? fetches_start(relay, error) : store_open_at(parts->place, STORE_READER, &relay->reader, error));
    relay->inquiries = is_open && !parts->is_rehearsal ? inquiries_start(parts->place, parts->base, error) : NULL;
    if (!is_open || (!relay->inquiries && !parts->is_rehearsal)) {
        relay_destroy(&relay);
        return NULL;
    }
    if (parts->link && !heard_start(relay, error)) {
        relay_destroy(&relay);
        return NULL;
    }
    if (relay->logins && !parts->is_rehearsal)
        relay_retry_kept(relay);
    cluster_start(relay);
    relay->is_behind = true;
    relay_soon(relay);
    return relay;
}

void relay_finish(struct relay *relay, void (*done)(void *arg), void *arg)
{
    struct site *site, *next;
    relay->finished = done;
    relay->finished_arg = arg;
    if (relay->link)
        link_stop(relay->link);
    HASH_ITER(hh, relay->sites, site, next)
        site_touch(site);
    relay_soon(relay);
}

void relay_destroy(struct relay **relay)
{
    struct relay *r = *relay;
    struct site *site, *next_site;
    struct item *item, *next_item;
    struct host_mark *mark, *next_mark;
    if (!r)
        return;
    link_close(&r->link);
    fetches_end(r);
    router_destroy(&r->router);
    local_stop(&r->local);
    HASH_ITER(hh, r->sites, site, next_site)
        site_destroy(site);
    settle_forget_all(r);
    HASH_ITER(hh, r->items, item, next_item)
        item_destroy(item);
    tls_reports_end(r);
    paces_close(r);
    suppressed_close(&r->suppressed);
    HASH_ITER(hh, r->marks, mark, next_mark) {
        HASH_DEL(r->marks, mark);
        free(mark);
    }
    loader_destroy(r);
    if (r->soon)
        event_free(r->soon);
    timer_free(&r->wake);
    login_close_all(r);
    tls_close(&r->tls);
    inquiries_end(&r->inquiries);
    store_close(&r->reader);
    cluster_end(r);
    free(r);
    *relay = NULL;
}
