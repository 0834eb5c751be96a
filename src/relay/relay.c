#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "relay/inquiry.h"

#include <event2/event.h>
#include <stdlib.h>

enum { LOAD_ROWS = 1000, WAKE_GRAIN_MS = 20 };

struct load { struct relay *relay; uint64_t ids[LOAD_ROWS]; size_t count, rows; };

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
    int64_t wait_ms = wall_ms - clock_wall_ms();
    /* Many that are due one after another are loaded together. */
    wait_ms = wait_ms < 0 ? WAKE_GRAIN_MS : wait_ms + WAKE_GRAIN_MS;
    struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
    (void)evtimer_add(relay->wake, &wait);
}

static void on_wake(int fd, short what, void *arg)
{
    struct relay *relay = arg;
    (void)fd;
    (void)what;
    relay->wake_ms = INT64_MAX;
    relay->is_behind = true;
    relay_soon(relay);
}

/* ---- what the loader and intake both bring ----
 *
 * A message is in the queue from its commit on and is handed over a moment later: a load in between finds it first. It
 * may even be delivered and gone before the hand-over comes, so its id is kept until then. */

static struct known *known_find(struct known *set, uint64_t id)
{
    struct known *known;
    HASH_FIND(hh, set, &id, sizeof id, known);
    return known;
}

static void known_add(struct known **set, uint64_t id)
{
    struct known *known;
    if (known_find(*set, id))
        return;
    known = mem_alloc(sizeof *known);
    known->id = id;
    HASH_ADD(hh, *set, id, sizeof known->id, known);
}

/* All up to that id. */
static void known_forget(struct known **set, uint64_t up_to)
{
    struct known *known, *next;
    HASH_ITER(hh, *set, known, next) {
        if (known->id <= up_to) {
            HASH_DEL(*set, known);
            free(known);
        }
    }
}

void relay_expect(struct relay *relay, uint64_t id)
{
    known_add(&relay->expected, id);
}

static void expected_came(struct relay *relay, uint64_t id)
{
    struct known *known = known_find(relay->expected, id);
    if (!known)
        return;
    HASH_DEL(relay->expected, known);
    free(known);
}

/* Takes from the list what was loaded before. */
static struct queued *early_skip(struct relay *relay, struct queued *list)
{
    struct queued **place = &list;
    while (*place) {
        struct queued *queued = *place;
        bool is_early = known_find(relay->early, queued->message.id) != NULL;
        if (queued->message.id > relay->handed_id)
            relay->handed_id = queued->message.id;
        if (is_early) {
            *place = queued->next;
            queued_destroy(&queued);
        } else {
            place = &queued->next;
        }
    }
    return list;
}

/* ---- the loader ---- */

static void collect(void *arg, const struct store_recipient *recipient)
{
    struct load *load = arg;
    load->rows++;
    struct item *item = item_find(load->relay, recipient->message_id);
    if (item)
        item->was_skipped = item->was_skipped || !item_holds(item, recipient);
    else if (load->count == 0 || load->ids[load->count - 1] != recipient->message_id)
        load->ids[load->count++] = recipient->message_id;
}

/* What could not be read is looked for again: nothing else might wake the loader. */
static void store_failed(struct relay *relay, const struct error *error)
{
    relay_wake_at(relay, clock_wall_ms() + 1000L * STORE_AGAIN_S);
    struct event event = EVENT(EVENT_ERROR);
    event.reason = slice_of(error->text);
    event_put(relay->parts.log, &event);
    event_flush(relay->parts.log);
}

/* With its content while there is memory for it: read here, in order and in one snapshot, it costs a fraction of what it
 * does one by one. */
static char *content_ahead(const struct relay *relay, struct arena *arena, struct store_message *message)
{
    struct store_message whole;
    struct error error;
    if (message->is_in_file || relay->content_size + message->size > relay->config->limits.content_memory / 2
        || !store_read_message(relay->reader, arena, message->id, true, &whole, &error))
        return NULL; /* item_content() will say what is wrong with it */
    return slice_copy(whole.content);
}

/* Its due recipients become an item; a message that is gone, or has none, is passed over. */
static void load_message(struct relay *relay, uint64_t id, int64_t now_ms)
{
    struct arena arena = {0};
    struct error error;
    struct store_message message;
    struct store_recipient *recipients;
    size_t count, due = 0, open = 0;
    if (item_find(relay, id) || known_find(relay->expected, id))
        return; /* its rows were not next to each other; or it is about to be handed over */
    bool is_read = store_read_recipients(relay->reader, &arena, id, &recipients, &count, &error);
    for (size_t i = 0; is_read && i < count; i++) {
        open += recipients[i].state == STATE_QUEUED || recipients[i].state == STATE_HELD;
        if (recipients[i].state == STATE_QUEUED && recipients[i].next_ms <= now_ms)
            recipients[due++] = recipients[i];
    }
    if (due) {
        is_read = store_read_message(relay->reader, &arena, id, false, &message, &error);
        if (is_read) {
            struct queued *queued = queued_create(&message, recipients, due,
                                                  content_ahead(relay, &arena, &message));
            queued->open_count = open;
            if (id > relay->handed_id)
                known_add(&relay->early, id);
            item_start(relay, queued);
        }
    }
    if (!is_read)
        store_failed(relay, &error);
    arena_finish(&arena);
}

void relay_reload(struct relay *relay, uint64_t id)
{
    if (relay->reload_count == relay->reload_capacity) {
        relay->reload_capacity = relay->reload_capacity ? 2 * relay->reload_capacity : 64;
        relay->reload = mem_resize(relay->reload, relay->reload_capacity * sizeof *relay->reload);
    }
    relay->reload[relay->reload_count++] = id;
    relay_soon(relay);
}

static size_t active_limit(const struct relay *relay)
{
    return (size_t)relay->config->limits.active;
}

/* One priority's due messages; false when memory is full or the store fails. */
static bool load_priority(struct relay *relay, int priority, int64_t now_ms)
{
    struct store_due_cursor cursor = {0};
    struct load *load = mem_alloc(sizeof *load);
    struct error error;
    bool is_going = true;
    load->relay = relay;
    do {
        load->count = load->rows = 0;
        if (!store_load_due(relay->reader, priority, now_ms, LOAD_ROWS, &cursor, collect, load, &error)) {
            store_failed(relay, &error);
            is_going = false;
        }
        for (size_t i = 0; is_going && i < load->count; i++) {
            is_going = HASH_COUNT(relay->items) < active_limit(relay);
            if (is_going)
                load_message(relay, load->ids[i], now_ms);
        }
    } while (is_going && load->rows == LOAD_ROWS);
    free(load);
    return is_going;
}

/* Messages that left memory while more of them had become due, or an operator had changed them. */
static void load_again(struct relay *relay)
{
    int64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < relay->reload_count; i++) {
        if (HASH_COUNT(relay->items) < active_limit(relay))
            load_message(relay, relay->reload[i], now_ms);
        else
            relay->is_behind = true;
    }
    relay->reload_count = 0;
}

static void load_more(struct relay *relay)
{
    static const int priorities[] = {1, 0, -1};
    int64_t now_ms = clock_wall_ms(), next_ms;
    struct error error;
    relay->is_behind = false;
    for (size_t i = 0; i < COUNT_OF(priorities); i++) {
        if (!load_priority(relay, priorities[i], now_ms)) {
            relay->is_behind = true;
            return;
        }
    }
    if (!store_next_due(relay->reader, now_ms, &next_ms, &error))
        store_failed(relay, &error);
    else if (next_ms != INT64_MAX)
        relay_wake_at(relay, next_ms);
}

static void load(struct relay *relay)
{
    struct error error;
    bool is_wanted = relay->is_behind && HASH_COUNT(relay->items) <= active_limit(relay) / 2;
    if (relay->finished || (!is_wanted && relay->reload_count == 0))
        return;
    if (!store_snapshot_begin(relay->reader, &error)) {
        store_failed(relay, &error);
        return;
    }
    load_again(relay);
    if (is_wanted)
        load_more(relay);
    store_snapshot_end(relay->reader);
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
    load(relay);
    dispatch_dirty(relay);
    local_dispatch(relay->local);
    submit_gathered(relay);
    event_flush(relay->parts.log);
    if (relay->finished && relay->connection_count == 0 && relay->settles_in_flight == 0
        && local_is_idle(relay->local)) {
        void (*finished)(void *) = relay->finished;
        finished(relay->finished_arg);
    }
}

void relay_accept(struct relay *relay, struct queued *list)
{
    list = early_skip(relay, list);
    known_forget(&relay->early, relay->handed_id); /* in the order of its ids: what is behind can't come any more */
    relay_start_list(relay, list);
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

void relay_start_list(struct relay *relay, struct queued *list)
{
    while (list) {
        struct queued *queued = list;
        list = queued->next;
        queued->next = NULL;
        expected_came(relay, queued->message.id);
        int64_t due_ms;
        if (!is_all_due(queued, clock_wall_ms(), &due_ms)) {
            if (due_ms != INT64_MAX)
                relay_wake_at(relay, due_ms);
            queued_destroy(&queued);
        } else if (relay->finished || HASH_COUNT(relay->items) >= active_limit(relay)) {
            relay->is_behind = true;
            queued_destroy(&queued);
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

struct relay *relay_start(const struct relay_parts *parts, struct error *error)
{
    struct relay *relay = mem_alloc(sizeof *relay);
    relay->parts = *parts;
    relay->config = parts->config;
    relay->wake_ms = INT64_MAX;
    relay->started_ms = clock_wall_ms();
    relay->handed_id = atomic_load(&parts->ids->last);
    relay->random = (uint64_t)clock_wall_ns() | 1;
    relay->soon = event_new(parts->base, -1, 0, on_soon, relay);
    relay->wake = evtimer_new(parts->base, on_wake, relay);
    if (!relay->soon || !relay->wake)
        mem_exhausted(sizeof *relay);
    relay->suppressed = suppressed_open(parts->queue_dir, parts->config->suppress.expire_ms, error);
    if (!relay->suppressed) {
        relay_destroy(&relay);
        return NULL;
    }
    paces_load(relay);
    relay->tls = tls_open(relay->config, error);
    relay->router = relay->tls && login_open_all(relay, error) ? router_create(parts->base, parts->config, error) : NULL;
    if (relay->router && !parts->is_rehearsal && !router_keep(relay->router, error)) {
        relay_destroy(&relay);
        return NULL;
    }
    relay->local = relay->router ? local_start(relay, error) : NULL;
    bool is_open = relay->local && store_open(parts->queue_dir, STORE_READER, &relay->reader, error);
    relay->inquiries = is_open && !parts->is_rehearsal ? inquiries_start(parts->queue_dir, parts->base, error) : NULL;
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
    router_destroy(&r->router);
    local_stop(&r->local);
    HASH_ITER(hh, r->sites, site, next_site)
        site_destroy(site);
    HASH_ITER(hh, r->items, item, next_item)
        item_destroy(item);
    paces_close(r);
    suppressed_close(&r->suppressed);
    HASH_ITER(hh, r->marks, mark, next_mark) {
        HASH_DEL(r->marks, mark);
        free(mark);
    }
    known_forget(&r->early, UINT64_MAX);
    known_forget(&r->expected, UINT64_MAX);
    if (r->soon)
        event_free(r->soon);
    if (r->wake)
        event_free(r->wake);
    login_close_all(r);
    tls_close(&r->tls);
    inquiries_end(&r->inquiries);
    store_close(&r->reader);
    free(r->reload);
    free(r);
    *relay = NULL;
}
