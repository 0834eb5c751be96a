/* The loader: what is due in the queue and not in memory. It takes a page a turn of the loop, so that sending goes on
 * meanwhile and what has just come is not kept waiting by what was there before. */
#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <stdlib.h>

enum { PAGE_ROWS = 200, SKIPPED_MAX = 2000, REST_MS = 100 };

static const int priorities[] = {1, 0, -1};

struct page { struct relay *relay; uint64_t ids[PAGE_ROWS]; size_t count, rows; };

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

void loader_came(struct relay *relay, uint64_t id)
{
    struct known *known = known_find(relay->expected, id);
    if (!known)
        return;
    HASH_DEL(relay->expected, known);
    free(known);
}

/* Takes from the list what was loaded before. */
struct queued *loader_skip(struct relay *relay, struct queued *list)
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
    known_forget(&relay->early, relay->handed_id); /* in the order of its ids: what is behind can't come any more */
    return list;
}

void loader_destroy(struct relay *relay)
{
    known_forget(&relay->early, UINT64_MAX);
    known_forget(&relay->expected, UINT64_MAX);
    free(relay->reload);
}

/* ---- a page ---- */

static void collect(void *arg, const struct store_recipient *recipient)
{
    struct page *page = arg;
    page->rows++;
    if (crowd_has(page->relay, recipient->domain)) {
        page->relay->load.skipped++;
        return;
    }
    page->relay->load.skipped = 0;
    struct item *item = item_find(page->relay, recipient->message_id);
    if (item)
        item->was_skipped = item->was_skipped || !item_holds(item, recipient);
    else if (page->count == 0 || page->ids[page->count - 1] != recipient->message_id)
        page->ids[page->count++] = recipient->message_id;
}

/* What could not be read is looked for again: nothing else might wake the loader. */
static void store_failed(struct relay *relay, const struct error *error)
{
    relay_wake_at(relay, clock_due_ms() + 1000L * STORE_AGAIN_S);
    struct event event = EVENT(EVENT_ERROR);
    event.reason = slice_of(error->text);
    event_put(relay->parts.log, &event);
    event_flush(relay->parts.log);
}

/* Its due recipients become an item; a message that is gone, or has none, is passed over. Its content comes with it while
 * there is memory for it: read here, in order and in one snapshot, it costs a fraction of what it does one by one. */
static void load_message(struct relay *relay, uint64_t id, int64_t now_ms)
{
    struct arena arena = {0};
    struct error error;
    struct store_message message;
    struct store_recipient *recipients;
    size_t count, due = 0, open = 0;
    bool with_content = relay->content_size < relay->config->limits.content_memory / 2;
    if (item_find(relay, id) || known_find(relay->expected, id))
        return; /* its rows were not next to each other; or it is about to be handed over */
    bool is_read = store_read_recipients(relay->reader, &arena, id, &recipients, &count, &error);
    for (size_t i = 0; is_read && i < count; i++) {
        open += recipients[i].state == STATE_QUEUED || recipients[i].state == STATE_HELD;
        if (recipients[i].state == STATE_QUEUED && recipients[i].next_ms <= now_ms)
            recipients[due++] = recipients[i];
    }
    if (due) {
        is_read = (with_content && store_read_message(relay->reader, &arena, id, true, &message, &error))
                  || store_read_message(relay->reader, &arena, id, false, &message, &error);
        if (is_read) {
            bool has_content = with_content && !slice_is_absent(message.content);
            struct queued *queued =
                queued_create(&message, recipients, due, has_content ? slice_copy(message.content) : NULL);
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

static bool is_full(const struct relay *relay)
{
    return HASH_COUNT(relay->items) >= (size_t)relay->config->limits.active;
}

/* ---- all that is due ---- */

static void end_load(struct relay *relay, bool is_behind)
{
    relay->load.is_on = false;
    relay->is_behind = relay->is_behind || is_behind;
}

static void next_priority(struct relay *relay)
{
    int64_t next_ms;
    struct error error;
    relay->load.cursor = (struct store_due_cursor){0};
    if (++relay->load.priority < COUNT_OF(priorities))
        return;
    end_load(relay, false);
    if (!store_next_due(relay->reader, relay->load.now_ms, &next_ms, &error))
        store_failed(relay, &error);
    else if (next_ms != INT64_MAX)
        relay_wake_at(relay, next_ms);
}

static void load_page(struct relay *relay)
{
    struct page page = {.relay = relay};
    struct error error;
    if (!store_load_due(relay->reader, priorities[relay->load.priority], relay->load.now_ms, PAGE_ROWS,
                        &relay->load.cursor, collect, &page, &error)) {
        store_failed(relay, &error);
        end_load(relay, false);
        return;
    }
    for (size_t i = 0; i < page.count; i++) {
        if (is_full(relay)) {
            end_load(relay, true);
            return;
        }
        load_message(relay, page.ids[i], relay->load.now_ms);
    }
    if (page.rows < PAGE_ROWS)
        next_priority(relay);
    if (relay->load.is_on && relay->load.skipped >= SKIPPED_MAX) { /* there may be a million of them: not all at once */
        relay->load.skipped = 0;
        relay->load.rests_until_ms = clock_mono_ms() + REST_MS;
        relay_wake_at(relay, clock_due_ms() + REST_MS);
    }
}

/* ---- single messages ---- */

void relay_reload(struct relay *relay, uint64_t id)
{
    if (relay->reload_count == relay->reload_capacity) {
        relay->reload_capacity = relay->reload_capacity ? 2 * relay->reload_capacity : 64;
        relay->reload = mem_resize(relay->reload, relay->reload_capacity * sizeof *relay->reload);
    }
    relay->reload[relay->reload_count++] = id;
    relay_soon(relay);
}

/* Messages that left memory while more of them had become due, or an operator had changed them. */
static void load_again(struct relay *relay)
{
    int64_t now_ms = clock_due_ms();
    for (size_t i = 0; i < relay->reload_count; i++) {
        if (is_full(relay))
            relay->is_behind = true;
        else
            load_message(relay, relay->reload[i], now_ms);
    }
    relay->reload_count = 0;
}

void loader_run(struct relay *relay)
{
    struct error error;
    if (relay->parts.node) {
        cluster_load(relay);
        return;
    }
    if (relay->finished)
        return;
    if (!relay->load.is_on && relay->is_behind && HASH_COUNT(relay->items) <= (size_t)relay->config->limits.active / 2) {
        relay->is_behind = false;
        relay->load.is_on = true;
        relay->load.priority = 0;
        relay->load.cursor = (struct store_due_cursor){0};
        relay->load.now_ms = clock_due_ms();
    }
    bool may_load = relay->load.is_on && clock_mono_ms() >= relay->load.rests_until_ms;
    if (!may_load && relay->reload_count == 0)
        return;
    if (!store_snapshot_begin(relay->reader, &error)) {
        store_failed(relay, &error);
        end_load(relay, true);
        return;
    }
    load_again(relay);
    if (may_load)
        load_page(relay);
    store_snapshot_end(relay->reader);
    if (relay->load.is_on && clock_mono_ms() >= relay->load.rests_until_ms)
        relay_soon(relay);
}
