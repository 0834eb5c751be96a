#include "store/writer.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

enum { IDLE_S = 3, GATHER_NS_MAX = 2 * 1000 * 1000, TAKE_MAX = 16 };

struct writer {
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct writer_job *first;
    struct writer_job **last;
    size_t waiting;      /* jobs of the list */
    size_t wanted;       /* so many wake the thread, which has a transaction open; 0: any does */
    bool is_stopping;
    struct store *store; /* the thread's */
    bool is_tidy;        /* nothing was written since it was tidied; the thread's */
    size_t last_count;   /* jobs of the last batch; the thread's */
    int64_t commit_ns;   /* what a commit took of late; the thread's */
    void (*before_commit)(void *arg);
    void *before_commit_arg;
    struct writer_counts counts;
};

static void *writer_main(void *arg);

struct writer *writer_open(const struct store_place *place, struct error *error)
{
    struct store *store;
    if (!store_open_at(place, STORE_WRITER, &store, error))
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
    return writer;
}

static void writer_free(struct writer *writer)
{
    store_close(&writer->store);
    pthread_cond_destroy(&writer->wake);
    pthread_mutex_destroy(&writer->mutex);
    free(writer);
}

struct writer *writer_start(const struct store_place *place, struct node *node, struct error *error)
{
    struct writer *writer = writer_open(place, error);
    if (!writer)
        return NULL;
    if (node)
        store_join(writer->store, node);
    int problem = pthread_create(&writer->thread, NULL, writer_main, writer);
    if (!problem)
        (void)pthread_setname_np(writer->thread, "queue"); /* for top(1) and perf(1) */
    if (problem) {
        (void)error_set(error, "can't start the queue's thread: %s", strerrordesc_np(problem));
        writer_free(writer);
        return NULL;
    }
    writer->has_thread = true;
    return writer;
}

void writer_interrupt(struct writer *writer)
{
    store_interrupt(writer->store);
}

void writer_stop(struct writer **writer)
{
    struct writer *w = *writer;
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->is_stopping = true;
    writer_interrupt(w);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    if (w->has_thread)
        pthread_join(w->thread, NULL);
    else
        (void)writer_turn(w, NULL);
    writer_free(w);
    *writer = NULL;
}

void writer_before_commit(struct writer *writer, void (*fn)(void *arg), void *arg)
{
    writer->before_commit = fn;
    writer->before_commit_arg = arg;
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
    if (writer->wanted ? writer->waiting == writer->wanted : was_empty)
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

/* Waits for a job; false when it is time to stop. */
static bool wait_for_job(struct writer *writer)
{
    pthread_mutex_lock(&writer->mutex);
    while (!writer->first && !writer->is_stopping) {
        if (writer->is_tidy)
            pthread_cond_wait(&writer->wake, &writer->mutex);
        else
            tidy_when_idle(writer);
    }
    writer->is_tidy = false;
    bool has_job = writer->first != NULL;
    pthread_mutex_unlock(&writer->mutex);
    return has_job;
}

/* G6: the jobs that wait, or those that come until then; NULL if none does. `taken` of the batch are taken already. */
static struct writer_job *take_jobs(struct writer *writer, size_t taken, int64_t until_ns)
{
    struct timespec until = {until_ns / 1000000000LL, until_ns % 1000000000LL};
    pthread_mutex_lock(&writer->mutex);
    if (taken) {
        size_t wanted = taken < writer->last_count ? writer->last_count - taken : 0;
        if (wanted > TAKE_MAX)
            wanted = TAKE_MAX;
        writer->wanted = wanted;
        while (!writer->is_stopping && writer->waiting < wanted)
            if (pthread_cond_timedwait(&writer->wake, &writer->mutex, &until) == ETIMEDOUT)
                break;
        writer->wanted = 0;
    }
    struct writer_job *jobs = writer->first;
    struct writer_job **end = &writer->first;
    for (; *end && taken < WRITER_BATCH_MAX; taken++, writer->waiting--)
        end = &(*end)->next;
    writer->first = *end;
    if (!writer->first)
        writer->last = &writer->first;
    *end = NULL;
    pthread_mutex_unlock(&writer->mutex);
    return end == &writer->first ? NULL : jobs;
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

static bool commit(struct writer *writer, struct error *error)
{
    if (writer->before_commit)
        writer->before_commit(writer->before_commit_arg);
    return store_commit(writer->store, error);
}

static bool apply_one(struct writer *writer, struct writer_job *job, struct error *error)
{
    if (job->apply(job, writer->store, &job->error))
        return true;
    *error = job->error;
    store_rollback(writer->store);
    return false;
}

static void commit_alone(struct writer *writer, struct writer_job *job)
{
    struct error error = {0};
    job->next = NULL;
    bool is_committed = store_begin(writer->store, &error) && apply_one(writer, job, &error)
                        && commit(writer, &error);
    settle_batch(writer, job, is_committed, &error);
}

/* Applies jobs while more of them come; false if one failed (or begin did), with nothing done. */
static bool gather(struct writer *writer, struct writer_job **ret_batch, size_t *ret_count, struct error *error)
{
    struct writer_job **end = ret_batch, *jobs;
    int64_t wait_ns = writer->commit_ns < GATHER_NS_MAX ? writer->commit_ns : GATHER_NS_MAX;
    int64_t until_ns = now_ns() + (writer->last_count < 2 ? 0 : wait_ns);
    bool is_good = store_begin(writer->store, error);
    while (*ret_count < WRITER_BATCH_MAX && (jobs = take_jobs(writer, *ret_count, until_ns)) != NULL) {
        *end = jobs;
        for (; *end; end = &(*end)->next) {
            ++*ret_count;
            is_good = is_good && apply_one(writer, *end, error);
        }
        if (!is_good)
            break;
    }
    return is_good;
}

static void commit_batch(struct writer *writer)
{
    struct error error = {0};
    struct writer_job *batch = NULL;
    size_t count = 0;
    bool is_good = gather(writer, &batch, &count, &error);
    writer->last_count = count;
    if (is_good) {
        int64_t from_ns = now_ns();
        bool is_committed = commit(writer, &error);
        writer->commit_ns += (now_ns() - from_ns - writer->commit_ns) / 4;
        /* A shared queue finds out at its commit what one job did wrong (G2). */
        if (is_committed || count < 2 || !store_is_shared(writer->store)) {
            settle_batch(writer, batch, is_committed, &error);
            return;
        }
    }
    while (batch) {
        struct writer_job *next = batch->next;
        commit_alone(writer, batch);
        batch = next;
    }
}

bool writer_turn(struct writer *writer, const char *failure)
{
    struct error error = {0};
    struct writer_job *jobs;
    bool has_jobs = writer->first != NULL;
    CHECK(!writer->has_thread);
    while (writer->first && !failure) {
        commit_batch(writer);
        writer->last_count = 0; /* nobody submits while this waits (G6) */
    }
    while ((jobs = failure ? take_jobs(writer, 0, 0) : NULL) != NULL) {
        (void)error_set(&error, "%s", failure);
        settle_batch(writer, jobs, false, &error);
    }
    return has_jobs;
}

static void *writer_main(void *arg)
{
    struct writer *writer = arg;
    while (wait_for_job(writer))
        commit_batch(writer);
    return NULL;
}
