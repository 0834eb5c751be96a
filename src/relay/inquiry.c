#include "relay/inquiry_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/pool.h"
#include "store/describe.h"

#include <stdlib.h>
#include <string.h>

enum { IDLE_TIMES = 9 }; /* a long count is followed by as much rest: a tenth of the time is spent (I2) */

struct inquiries {
    char *queue_dir;
    struct store *store;       /* the thread's */
    struct post *post;
    struct pool *pool;         /* one thread */
    size_t waiting;            /* jobs not yet finished */
    struct store_totals totals;
    json_t *nodes;             /* of a shared queue; NULL: it is not */
    int64_t counted_ms, took_ms, count_again_ms; /* wall; monotonic. counted_ms 0: never */
    bool is_counting;
};

struct inquiry {
    struct pool_job job;
    struct inquiries *all;
    inquiry_fn *fn;            /* NULL: totals */
    struct control_question *question; /* NULL: nobody waits for it */
    const json_t *request;     /* the question's, as is the answer */
    json_t *answer;
    struct store_totals totals;
    json_t *nodes;
    int64_t took_ms;
    bool is_done;
    struct error error;
};

/* ---- on the thread ---- */

static void work(struct pool_job *job)
{
    struct inquiry *inquiry = (struct inquiry *)job;
    struct inquiry_source source = {inquiry->all->store, inquiry->all->queue_dir};
    int64_t start_ms = clock_mono_ms();
    inquiry->is_done = inquiry->fn ? inquiry->fn(&source, inquiry->request, inquiry->answer, &inquiry->error)
                                   : store_totals(source.store, clock_wall_ms(), &inquiry->totals, &inquiry->error)
                                         && describe_nodes(source.store, &inquiry->nodes, &inquiry->error);
    inquiry->took_ms = clock_mono_ms() - start_ms;
}

/* ---- on the loop ---- */

static void put_totals(const struct inquiries *all, json_t *answer)
{
    const struct store_totals *totals = &all->totals;
    json_object_set_new(answer, "messages", json_integer((json_int_t)totals->messages));
    json_object_set_new(answer, "recipients", json_integer((json_int_t)totals->recipients));
    json_object_set_new(answer, "held", json_integer((json_int_t)totals->held));
    json_object_set_new(answer, "due", json_integer((json_int_t)totals->due));
    json_object_set_new(answer, "octets", json_integer((json_int_t)totals->bytes));
    json_object_set_new(answer, "oldest_ms", json_integer(totals->messages ? (json_int_t)totals->oldest_ms : 0));
    json_object_set_new(answer, "counted_ms", json_integer((json_int_t)all->counted_ms));
    if (all->nodes)
        json_object_set(answer, "nodes", all->nodes);
}

static void keep_totals(const struct inquiry *inquiry)
{
    struct inquiries *all = inquiry->all;
    all->is_counting = false;
    all->took_ms = inquiry->took_ms;
    all->count_again_ms = clock_mono_ms() + IDLE_TIMES * inquiry->took_ms;
    if (!inquiry->is_done)
        return;
    all->totals = inquiry->totals;
    json_decref(all->nodes);
    all->nodes = inquiry->nodes;
    all->counted_ms = clock_wall_ms();
}

static void finished(struct letter *letter)
{
    struct inquiry *inquiry = (struct inquiry *)((char *)letter - offsetof(struct inquiry, job.done));
    inquiry->all->waiting--;
    if (!inquiry->fn)
        keep_totals(inquiry);
    if (!inquiry->fn && inquiry->question && inquiry->is_done)
        put_totals(inquiry->all, inquiry->answer);
    if (inquiry->question)
        control_finish(inquiry->question, inquiry->is_done, &inquiry->error);
    free(inquiry);
}

/* `question` NULL: for later askers. */
static void submit(struct inquiries *all, inquiry_fn *fn, struct control_question *question, const json_t *request, json_t *answer)
{
    struct inquiry *inquiry = mem_alloc(sizeof *inquiry);
    *inquiry = (struct inquiry){.job = {.work = work, .done = {.run = finished}}, .all = all, .fn = fn, .question = question,
                                .request = request, .answer = answer};
    if (question)
        control_defer(question);
    all->waiting++;
    if (!fn)
        all->is_counting = true;
    pool_submit(all->pool, &inquiry->job);
}

void inquiries_put_totals(struct inquiries *all, struct control_question *question, json_t *answer)
{
    bool is_busy = all->waiting > 0, is_slow = all->took_ms >= INQUIRY_FRESH_MS;
    if (all->counted_ms == 0 || (!is_busy && !is_slow)) {
        submit(all, NULL, question, NULL, answer);
        return;
    }
    put_totals(all, answer);
    if (!all->is_counting && clock_mono_ms() >= all->count_again_ms)
        submit(all, NULL, NULL, NULL, NULL);
}

bool inquiries_ask(struct inquiries *all, struct control_question *question, const json_t *request, json_t *answer)
{
    static const struct { const char *name; inquiry_fn *fn; } kinds[] = {
        {"list", inquiry_list}, {"show", inquiry_show}, {"destinations", inquiry_destinations}};
    const char *what = json_string_value(json_object_get(request, "do"));
    for (size_t i = 0; what && i < COUNT_OF(kinds); i++) {
        if (strcmp(what, kinds[i].name) != 0)
            continue;
        submit(all, kinds[i].fn, question, request, answer);
        return true;
    }
    return false;
}

struct inquiries *inquiries_start(const struct store_place *place, struct event_base *base, struct error *error)
{
    struct inquiries *all = mem_alloc(sizeof *all);
    *all = (struct inquiries){.queue_dir = mem_copy_text(place->dir)};
    all->post = post_create(error);
    bool is_started = all->post && post_attach(all->post, base, error) && store_open_at(place, STORE_READER, &all->store, error);
    all->pool = is_started ? pool_create(1, all->post, error) : NULL;
    if (!all->pool)
        inquiries_end(&all);
    else
        submit(all, NULL, NULL, NULL, NULL); /* the first who asks for totals seldom waits */
    return all;
}

void inquiries_end(struct inquiries **inquiries)
{
    struct inquiries *all = *inquiries;
    if (!all)
        return;
    if (all->store)
        store_stop(all->store);
    pool_destroy(&all->pool);
    if (all->post)
        post_run(all->post); /* those who wait hear of it */
    post_destroy(&all->post);
    store_close(&all->store);
    json_decref(all->nodes);
    free(all->queue_dir);
    free(all);
    *inquiries = NULL;
}
