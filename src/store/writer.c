#include "store/writer.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

enum { IDLE_S = 3, GATHER_NS_MAX = 2 * 1000 * 1000 };

struct writer {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct writer_job *first;
    struct writer_job **last;
    size_t waiting;      /* jobs of the list */
    bool is_stopping;
    struct store *store; /* the thread's */
    bool is_tidy;        /* nothing was written since it was tidied; the thread's */
    size_t last_count;   /* jobs of the last batch; the thread's */
    int64_t commit_ns;   /* what a commit took of late; the thread's */
    struct writer_counts counts;
};

static void *writer_main(void *arg);

struct writer *writer_start(const char *queue_dir, struct error *error)
{
    struct store *store;
    if (!store_open(queue_dir, STORE_WRITER, &store, error))
        return NULL;
    struct writer *writer = mem_alloc(sizeof *writer);
    writer->store = store;
    writer->last = &writer->first;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&writer->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int problem = pthread_create(&writer->thread, NULL, writer_main, writer);
    if (!problem)
        (void)pthread_setname_np(writer->thread, "queue"); /* for top(1) and perf(1) */
    if (problem) {
        (void)error_set(error, "can't start the queue's thread: %s", strerrordesc_np(problem));
        store_close(&writer->store);
        free(writer);
        return NULL;
    }
    return writer;
}

void writer_stop(struct writer **writer)
{
    struct writer *w = *writer;
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->is_stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    store_close(&w->store);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w);
    *writer = NULL;
}

void writer_submit(struct writer *writer, struct writer_job *job)
{
    CHECK(job->apply && job->done && job->post);
    job->next = NULL;
    job->is_committed = false;
    job->is_failed = false;
    pthread_mutex_lock(&writer->mutex);
    CHECK(!writer->is_stopping);
    bool was_empty = writer->first == NULL;
    *writer->last = job;
    writer->last = &job->next;
    writer->waiting++;
    if (was_empty || writer->waiting == WRITER_BATCH_MAX / 2)
        pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->mutex);
}

struct writer_counts writer_counts(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    struct writer_counts counts = writer->counts;
    pthread_mutex_unlock(&writer->mutex);
    return counts;
}

/* Called and left with the mutex held. */
static void tidy_when_idle(struct writer *writer)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += IDLE_S;
    if (pthread_cond_timedwait(&writer->wake, &writer->mutex, &until) != ETIMEDOUT)
        return;
    pthread_mutex_unlock(&writer->mutex);
    store_tidy(writer->store);
    writer->is_tidy = true;
    pthread_mutex_lock(&writer->mutex);
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* G6. Called and left with the mutex held. */
static void gather(struct writer *writer)
{
    int64_t wait_ns = writer->commit_ns < GATHER_NS_MAX ? writer->commit_ns : GATHER_NS_MAX;
    if (writer->last_count < 2 || writer->is_stopping)
        return;
    int64_t until_ns = now_ns() + wait_ns;
    struct timespec until = {until_ns / 1000000000LL, until_ns % 1000000000LL};
    while (!writer->is_stopping && writer->waiting < WRITER_BATCH_MAX / 2)
        if (pthread_cond_timedwait(&writer->wake, &writer->mutex, &until) == ETIMEDOUT)
            return;
}

/* Waits for jobs and takes a batch of them off the list; NULL when it is time to stop. */
static struct writer_job *take_batch(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    while (!writer->first && !writer->is_stopping) {
        if (writer->is_tidy)
            pthread_cond_wait(&writer->wake, &writer->mutex);
        else
            tidy_when_idle(writer);
    }
    writer->is_tidy = false;
    gather(writer);
    struct writer_job *batch = writer->first;
    struct writer_job **end = &writer->first;
    size_t count = 0;
    for (; *end && count < WRITER_BATCH_MAX; count++)
        end = &(*end)->next;
    writer->last_count = count;
    writer->waiting -= count;
    writer->first = *end;
    if (!writer->first)
        writer->last = &writer->first;
    *end = NULL;
    pthread_mutex_unlock(&writer->mutex);
    return batch;
}

static void run_done(struct letter *letter)
{
    struct writer_job *job = (struct writer_job *)((char *)letter - offsetof(struct writer_job, letter));
    job->done(job);
}

static void settle_batch(struct writer *writer, struct writer_job *batch, bool is_committed,
                         const struct error *error)
{
    uint64_t jobs = 0;
    for (const struct writer_job *job = batch; job; job = job->next)
        jobs++;
    pthread_mutex_lock(&writer->mutex); /* before anybody hears of the commit */
    writer->counts.jobs += jobs;
    writer->counts.commits += is_committed;
    writer->counts.failures += !is_committed;
    pthread_mutex_unlock(&writer->mutex);
    for (struct writer_job *job = batch; job;) {
        struct writer_job *next = job->next;
        job->is_committed = is_committed && !job->is_failed;
        if (!is_committed && !job->is_failed)
            job->error = *error;
        job->letter.run = run_done;
        post_send(job->post, &job->letter);
        job = next;
    }
}

/* All jobs of the list in one transaction; false if one of them (or begin) failed, with nothing done. */
static bool apply_all(struct writer *writer, struct writer_job *batch, struct error *error)
{
    if (!store_begin(writer->store, error))
        return false;
    for (struct writer_job *job = batch; job; job = job->next) {
        if (!job->apply(job, writer->store, &job->error)) {
            *error = job->error;
            store_rollback(writer->store);
            return false;
        }
    }
    return true;
}

static void commit_alone(struct writer *writer, struct writer_job *job)
{
    struct error error = {0};
    job->next = NULL;
    bool is_committed = apply_all(writer, job, &error) && store_commit(writer->store, &error);
    settle_batch(writer, job, is_committed, &error);
}

static void commit_batch(struct writer *writer, struct writer_job *batch)
{
    struct error error = {0};
    if (apply_all(writer, batch, &error)) {
        bool is_committed = store_commit(writer->store, &error);
        settle_batch(writer, batch, is_committed, &error);
        return;
    }
    while (batch) {
        struct writer_job *next = batch->next;
        commit_alone(writer, batch);
        batch = next;
    }
}

static void *writer_main(void *arg)
{
    struct writer *writer = arg;
    struct writer_job *batch;
    while ((batch = take_batch(writer)) != NULL) {
        int64_t from_ns = now_ns();
        commit_batch(writer, batch);
        writer->commit_ns += (now_ns() - from_ns - writer->commit_ns) / 4;
    }
    return NULL;
}
