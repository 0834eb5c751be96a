#include "relay/inquiry_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/pool.h"

#include <stdlib.h>
#include <string.h>

enum { IDLE_TIMES = 9 }; /* a long count is followed by as much rest: a tenth of the time is spent (I2) */

struct reader { struct store *store; struct pool *pool; size_t waiting; }; /* one thread, its handle, its jobs not yet finished */

struct count { /* of the whole queue */
    inquiry_fn *fn;
    json_t *told;              /* of the last one; NULL: never counted */
    int64_t took_ms, again_ms; /* again_ms: monotonic */
    bool is_counting;
};

struct inquiries {
    char *queue_dir;
    struct post *post;
    struct reader asked, counting;
    struct count totals, destinations;
};

struct inquiry {
    struct pool_job job;
    struct inquiries *all;
    struct reader *reader;
    struct count *count;       /* NULL: `fn` */
    inquiry_fn *fn;
    struct control_question *question; /* NULL: nobody waits for it */
    const json_t *request;     /* the question's, as is the answer */
    json_t *answer;
    json_t *counted;
    int64_t took_ms;
    bool is_done;
    struct error error;
};

/* ---- on the threads ---- */

static void work(struct pool_job *job)
{
    struct inquiry *inquiry = (struct inquiry *)job;
    struct inquiry_source source = {inquiry->reader->store, inquiry->all->queue_dir, inquiry->count ? SIZE_MAX : INQUIRY_SUMMED_MAX};
    int64_t start_ms = clock_mono_ms();
    inquiry->is_done = inquiry->count ? inquiry->count->fn(&source, NULL, inquiry->counted, &inquiry->error)
                                      : inquiry->fn(&source, inquiry->request, inquiry->answer, &inquiry->error);
    inquiry->took_ms = clock_mono_ms() - start_ms;
}

/* ---- on the loop ---- */

static void keep_count(struct inquiry *inquiry)
{
    struct count *count = inquiry->count;
    count->is_counting = false;
    count->took_ms = inquiry->took_ms;
    count->again_ms = clock_mono_ms() + IDLE_TIMES * inquiry->took_ms;
    if (!inquiry->is_done)
        return;
    json_object_set_new(inquiry->counted, "counted_ms", json_integer((json_int_t)clock_wall_ms()));
    json_decref(count->told);
    count->told = json_incref(inquiry->counted);
    if (inquiry->question)
        json_object_update(inquiry->answer, count->told);
}

static void finished(struct letter *letter)
{
    struct inquiry *inquiry = (struct inquiry *)((char *)letter - offsetof(struct inquiry, job.done));
    inquiry->reader->waiting--;
    if (inquiry->count)
        keep_count(inquiry);
    if (inquiry->question)
        control_finish(inquiry->question, inquiry->is_done, &inquiry->error);
    json_decref(inquiry->counted);
    free(inquiry);
}

static void submit(struct inquiry made)
{
    struct inquiry *inquiry = mem_alloc(sizeof *inquiry);
    *inquiry = made;
    inquiry->job = (struct pool_job){.work = work, .done = {.run = finished}};
    if (inquiry->question)
        control_defer(inquiry->question);
    if (inquiry->count) {
        inquiry->counted = json_object();
        inquiry->count->is_counting = true;
    }
    inquiry->reader->waiting++;
    pool_submit(inquiry->reader->pool, &inquiry->job);
}

/* `question` NULL: for later askers. */
static void submit_count(struct inquiries *all, struct count *count, struct control_question *question, json_t *answer)
{
    submit((struct inquiry){.all = all, .reader = &all->counting, .count = count, .question = question, .answer = answer});
}

static void submit_asked(struct inquiries *all, inquiry_fn *fn, struct control_question *question, const json_t *request, json_t *answer)
{
    submit((struct inquiry){.all = all, .reader = &all->asked, .fn = fn, .question = question, .request = request, .answer = answer});
}

static void put_count(struct inquiries *all, struct count *count, struct control_question *question, json_t *answer)
{
    bool is_busy = all->counting.waiting > 0, is_slow = count->took_ms >= INQUIRY_FRESH_MS;
    if (!count->told || (!is_busy && !is_slow)) {
        submit_count(all, count, question, answer);
        return;
    }
    json_object_update(answer, count->told);
    if (!count->is_counting && clock_mono_ms() >= count->again_ms)
        submit_count(all, count, NULL, NULL);
}

void inquiries_put_totals(struct inquiries *all, struct control_question *question, json_t *answer)
{
    put_count(all, &all->totals, question, answer);
}

/* I3 */
static void ask_destinations(struct inquiries *all, struct control_question *question, const json_t *request, json_t *answer)
{
    if (all->destinations.told) {
        put_count(all, &all->destinations, question, answer);
        return;
    }
    submit_asked(all, inquiry_destinations, question, request, answer);
    if (!all->destinations.is_counting)
        submit_count(all, &all->destinations, NULL, NULL);
}

bool inquiries_ask(struct inquiries *all, struct control_question *question, const json_t *request, json_t *answer)
{
    const char *what = json_string_value(json_object_get(request, "do"));
    if (what && strcmp(what, "list") == 0)
        submit_asked(all, inquiry_list, question, request, answer);
    else if (what && strcmp(what, "show") == 0)
        submit_asked(all, inquiry_show, question, request, answer);
    else if (what && strcmp(what, "destinations") == 0)
        ask_destinations(all, question, request, answer);
    else
        return false;
    return true;
}

/* ---- life ---- */

static bool reader_start(struct reader *reader, const struct store_place *place, struct post *post, struct error *error)
{
    if (!store_open_at(place, STORE_READER, &reader->store, error))
        return false;
    reader->pool = pool_create(1, post, error);
    return reader->pool != NULL;
}

static void reader_stop(struct reader *reader)
{
    if (reader->store)
        store_stop(reader->store);
    pool_destroy(&reader->pool);
}

struct inquiries *inquiries_start(const struct store_place *place, struct event_base *base, struct error *error)
{
    struct inquiries *all = mem_alloc(sizeof *all);
    *all = (struct inquiries){.queue_dir = mem_copy_text(place->dir), .totals = {.fn = inquiry_totals},
                              .destinations = {.fn = inquiry_destinations}};
    all->post = post_create(error);
    if (!all->post || !post_attach(all->post, base, error) || !reader_start(&all->asked, place, all->post, error)
        || !reader_start(&all->counting, place, all->post, error))
        inquiries_end(&all);
    else
        submit_count(all, &all->totals, NULL, NULL); /* the first who asks for totals seldom waits */
    return all;
}

void inquiries_end(struct inquiries **inquiries)
{
    struct inquiries *all = *inquiries;
    if (!all)
        return;
    reader_stop(&all->asked);
    reader_stop(&all->counting);
    if (all->post)
        post_run(all->post); /* those who wait hear of it */
    post_destroy(&all->post);
    store_close(&all->asked.store);
    store_close(&all->counting.store);
    json_decref(all->totals.told);
    json_decref(all->destinations.told);
    free(all->queue_dir);
    free(all);
    *inquiries = NULL;
}
