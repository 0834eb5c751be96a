/* Content that only the shared queue has: a thread reads it with a handle of its own, one message after the other, so that the loop
 * never waits for the database. Whoever needs it waits by a struct fetch_wait. */
#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/pool.h"

#include <stdlib.h>

struct fetches {
    struct store *store;       /* the thread's */
    struct post *post;
    struct pool *pool;         /* one thread */
    bool is_ended;
};

struct fetch {
    struct pool_job job;
    struct fetches *all;
    struct item *item;         /* NULL: it is gone */
    struct fetch_wait *first;
    uint64_t id;
    struct arena arena;        /* of the content */
    struct slice content;
    bool is_read, is_gone;
    struct error error;
};

/* ---- on the thread ---- */

static void work(struct pool_job *job)
{
    struct fetch *fetch = (struct fetch *)job;
    struct store *store = fetch->all->store;
    struct store_message message;
    struct store_recipient *recipients;
    size_t count;
    fetch->is_read = store_read_message(store, &fetch->arena, fetch->id, true, &message, &fetch->error);
    if (fetch->is_read)
        fetch->content = message.content;
    else
        fetch->is_gone = store_read_recipients(store, &fetch->arena, fetch->id, &recipients, &count, &(struct error){{0}}) && count == 0;
}

/* ---- on the loop ---- */

static void give(struct fetch *fetch)
{
    struct item *item = fetch->item;
    item->fetch = NULL;
    if (fetch->is_read && !fetch->all->is_ended) {
        item->content = fetch->content;
        item->fetched = fetch->arena;
        fetch->arena = (struct arena){0};
        item->is_counted = true;
        item->relay->content_size += item->queued->message.size;
    }
    item->open_count++; /* it stays until all have been told */
    while (fetch->first) {
        struct fetch_wait *wait = fetch->first;
        fetch->first = wait->next;
        wait->is_on = false;
        wait->is_failed = !fetch->is_read;
        wait->is_gone = fetch->is_gone;
        wait->is_ended = fetch->all->is_ended;
        wait->error = fetch->error;
        wait->fn(wait);
    }
    item_release(item, 1);
}

static void finished(struct letter *letter)
{
    struct fetch *fetch = (struct fetch *)((char *)letter - offsetof(struct fetch, job.done));
    if (fetch->item)
        give(fetch);
    arena_finish(&fetch->arena);
    free(fetch);
}

void fetch_start(struct item *item, struct fetch_wait *wait)
{
    struct fetch *fetch = item->fetch;
    CHECK(!wait->is_on && !item_is_here(item));
    if (!fetch) {
        fetch = item->fetch = mem_alloc(sizeof *fetch);
        *fetch = (struct fetch){.job = {.work = work, .done = {.run = finished}}, .all = item->relay->fetches, .item = item,
                                .id = item->id};
        pool_submit(fetch->all->pool, &fetch->job);
    }
    wait->is_on = true;
    wait->next = fetch->first;
    fetch->first = wait;
}

void fetch_leave(struct item *item, struct fetch_wait *wait)
{
    if (!wait->is_on)
        return;
    struct fetch_wait **at = &item->fetch->first;
    while (*at != wait)
        at = &(*at)->next;
    *at = wait->next;
    wait->is_on = false;
}

void fetch_forget(struct item *item)
{
    if (!item->fetch)
        return;
    CHECK(!item->fetch->first);
    item->fetch->item = NULL;
    item->fetch = NULL;
}

/* ---- life ---- */

bool fetches_start(struct relay *relay, struct error *error)
{
    struct fetches *all = relay->fetches = mem_alloc(sizeof *all);
    all->post = post_create(error);
    bool is_started = all->post && post_attach(all->post, relay->parts.base, error)
                      && store_open_at(relay->parts.place, STORE_READER, &all->store, error);
    all->pool = is_started ? pool_create(1, all->post, error) : NULL;
    return all->pool != NULL;
}

void fetches_end(struct relay *relay)
{
    struct fetches *all = relay->fetches;
    if (!all)
        return;
    if (all->store)
        store_stop(all->store);
    pool_destroy(&all->pool);
    all->is_ended = true;
    if (all->post)
        post_run(all->post);
    post_destroy(&all->post);
    store_close(&all->store);
    free(all);
    relay->fetches = NULL;
}
