/* What is different where nodes share the queue (store/node.h): messages come by claims, go back when they leave memory, are sent
 * while the lease holds, and limits are divided. */
#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <stdlib.h>

enum { LOOK_AGAIN_MS = 250, REPORT_MS = 1000 };

struct release { struct writer_job job; struct relay *relay; uint64_t *ids; size_t count; };

bool cluster_may_send(const struct relay *relay)
{
    return !relay->parts.node || node_may_send(relay->parts.node);
}

/* ---- claims ---- */

void cluster_load(struct relay *relay)
{
    size_t active = (size_t)relay->config->limits.active, held = HASH_COUNT(relay->items);
    uint64_t memory = relay->config->limits.content_memory / 2;
    if (relay->finished) {
        if (relay->asked)
            node_want(relay->parts.node, 0, 0, relay->refused);
        relay->asked = 0;
        return;
    }
    bool refused[NODE_BUCKETS];
    memcpy(refused, relay->refused, sizeof refused);
    size_t crowds = crowd_buckets(relay, refused);
    if (held <= active / 2 && (relay->asked <= active / 4 || crowds != relay->asked_crowds)) {
        relay->asked = active - held;
        relay->asked_crowds = crowds;
        node_want(relay->parts.node, relay->asked, memory > relay->content_size ? memory - relay->content_size : 0, refused);
    }
    if (relay->is_behind)
        node_hurry(relay->parts.node);
    relay->is_behind = false;
}

void relay_claimed(struct relay *relay, struct queued *list, bool is_all)
{
    while (list) {
        struct queued *queued = list;
        list = queued->next;
        queued->next = NULL;
        relay->asked -= relay->asked > 0;
        struct item *item = item_find(relay, queued->message.id);
        if (item)
            item->was_skipped = true; /* it goes back with the item */
        if (item || relay->finished || crowd_has_all(relay, queued)) {
            if (!item)
                cluster_release(relay, queued->message.id);
            queued_destroy(&queued);
            continue;
        }
        item_start(relay, queued);
    }
    relay->is_behind = relay->is_behind || !is_all;
    relay_soon(relay);
}

/* ---- giving back ---- */

void cluster_release(struct relay *relay, uint64_t id)
{
    if (relay->release_count == relay->release_capacity) {
        relay->release_capacity = relay->release_capacity ? 2 * relay->release_capacity : 64;
        relay->releases = mem_resize(relay->releases, relay->release_capacity * sizeof *relay->releases);
    }
    relay->releases[relay->release_count++] = id;
    relay_soon(relay);
}

static bool apply_release(struct writer_job *job, struct store *store, struct error *error)
{
    const struct release *release = (const struct release *)job;
    (void)error;
    store_release(store, release->ids, release->count);
    return true;
}

static void release_done(struct writer_job *job)
{
    struct release *release = (struct release *)job;
    struct relay *relay = release->relay;
    relay->is_releasing = false;
    for (size_t i = 0; !job->is_committed && i < release->count; i++)
        cluster_release(relay, release->ids[i]);
    relay->release_after_ms = job->is_committed ? 0 : clock_mono_ms() + 1000L * STORE_AGAIN_S;
    free(release->ids);
    free(release);
    relay_soon(relay);
}

void cluster_flush(struct relay *relay)
{
    if (relay->release_count == 0 || relay->is_releasing || clock_mono_ms() < relay->release_after_ms)
        return;
    struct release *release = mem_alloc(sizeof *release);
    *release = (struct release){.job = {.apply = apply_release, .done = release_done, .post = relay->parts.post}, .relay = relay,
                                .ids = relay->releases, .count = relay->release_count};
    relay->releases = NULL;
    relay->release_count = relay->release_capacity = 0;
    relay->is_releasing = true;
    writer_submit(relay->parts.writer, &release->job);
}

void relay_changed(struct relay *relay, const uint64_t *ids, size_t count)
{
    struct item *item, *next;
    struct site *site, *next_site;
    for (size_t i = 0; i < count; i++)
        if ((item = item_find(relay, ids[i])) != NULL)
            item->is_stale = true;
    if (count == 0)
        HASH_ITER(hh, relay->items, item, next)
            item->is_stale = true;
    HASH_ITER(hh, relay->sites, site, next_site)
        site_touch(site);
    relay->is_behind = true;
    relay_soon(relay);
}

/* ---- the lease ---- */

static void arm(struct relay *relay)
{
    int64_t left_ms = node_lease_ends_ms(relay->parts.node) - clock_mono_ms();
    if (left_ms < LOOK_AGAIN_MS)
        left_ms = left_ms > 0 ? left_ms : LOOK_AGAIN_MS;
    if (left_ms > REPORT_MS)
        left_ms = REPORT_MS;
    timer_set(relay->lease_timer, left_ms);
}

/* What is being said stops in the middle of a sentence; a message that has gone out whole may still be answered for. */
static void cut_all(struct relay *relay)
{
    struct site *site, *next_site;
    struct event event = EVENT(EVENT_ERROR);
    event.reason = SLICE("the lease is over: nothing is sent until it is renewed");
    event_put(relay->parts.log, &event);
    HASH_ITER(hh, relay->sites, site, next_site) {
        for (struct connection *c = site->connections, *next; c; c = next) {
            next = connection_next(c);
            connection_cut(c, "this node's lease is over");
        }
    }
}

static void on_lease(void *arg)
{
    struct relay *relay = arg;
    struct node_numbers numbers = {(int64_t)relay->connection_count, (int64_t)HASH_COUNT(relay->items), (int64_t)relay->delivered,
                                   (int64_t)relay->deferred, (int64_t)relay->bounced};
    bool is_over = clock_mono_ms() >= node_lease_ends_ms(relay->parts.node);
    if (is_over && !relay->is_cut)
        cut_all(relay);
    relay->is_cut = is_over;
    node_report(relay->parts.node, &numbers);
    cluster_flush(relay);
    arm(relay);
}

/* ---- limits ---- */

size_t cluster_share(const struct relay *relay, size_t limit)
{
    return relay->parts.node ? node_share(relay->parts.node, limit) : limit;
}

size_t cluster_nodes(const struct relay *relay)
{
    return relay->parts.node ? node_count(relay->parts.node) : 1;
}

size_t cluster_rank(const struct relay *relay)
{
    return relay->parts.node ? node_rank(relay->parts.node) : 0;
}

/* Says to the others that this node keeps to its new share, once it does. */
void cluster_make_room(struct relay *relay)
{
    struct site *site, *next;
    if (!relay->is_making_room)
        return;
    HASH_ITER(hh, relay->sites, site, next)
        if (site->connection_count > site_connections_max(site))
            return;
    relay->is_making_room = false;
    node_made_room(relay->parts.node);
}

void relay_shared(struct relay *relay)
{
    struct site *site, *next_site;
    memset(relay->refused, 0, sizeof relay->refused);
    relay->asked = 0;
    relay->is_making_room = true;
    HASH_ITER(hh, relay->sites, site, next_site) {
        for (struct connection *c = site->connections, *next; c; c = next) {
            next = connection_next(c);
            if (connection_is_idle(c) && site->connection_count > site_connections_max(site))
                connection_wake(c); /* it takes its leave */
        }
        site_touch(site);
    }
    relay->is_behind = true;
    relay_soon(relay);
}

bool cluster_leaves(struct site *site)
{
    struct relay *relay = site->relay;
    if (!relay->parts.node || !site->first || site_connections_max(site) > 0 || site->pace->rests_until_ms > clock_wall_ms())
        return false;
    while (site->first) {
        struct job *job = site_unlink(site, &site->first);
        for (size_t i = 0; i < job->count; i++)
            relay->refused[node_bucket(job->item->queued->recipients[job->recipients[i]].domain)] = true;
        item_release(job->item, job->count);
        job_destroy(job);
    }
    relay->asked = 0; /* it is asked anew, without them */
    return true;
}

/* ---- life ---- */

void cluster_start(struct relay *relay)
{
    if (!relay->parts.node)
        return;
    relay->lease_timer = timer_make(relay->parts.base, on_lease, relay);
    relay->is_making_room = true;
    arm(relay);
}

void cluster_end(struct relay *relay)
{
    timer_free(&relay->lease_timer);
    free(relay->releases);
}
