#include "os/pool.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct pool {
    struct post *post;
    pthread_mutex_t mutex;
    pthread_cond_t more;
    struct pool_job *first, **last;
    bool is_ending;
    int count;
    pthread_t threads[];
};

static void *run(void *arg)
{
    struct pool *pool = arg;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!pool->first && !pool->is_ending)
            pthread_cond_wait(&pool->more, &pool->mutex);
        struct pool_job *job = pool->first;
        if (!job)
            break;
        pool->first = job->next;
        if (!pool->first)
            pool->last = &pool->first;
        pthread_mutex_unlock(&pool->mutex);
        job->work(job);
        post_send(pool->post, &job->done);
        pthread_mutex_lock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

struct pool *pool_create(int thread_count, struct post *post, struct error *error)
{
    struct pool *pool = mem_alloc(sizeof *pool + (size_t)thread_count * sizeof *pool->threads);
    sigset_t all, old;
    pool->post = post;
    pool->last = &pool->first;
    (void)pthread_mutex_init(&pool->mutex, NULL);
    (void)pthread_cond_init(&pool->more, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals are the loop's */
    while (pool->count < thread_count && pthread_create(&pool->threads[pool->count], NULL, run, pool) == 0)
        pool->count++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (pool->count == thread_count)
        return pool;
    pool_destroy(&pool);
    (void)error_set(error, "can't start %d threads", thread_count);
    return NULL;
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&pool->mutex);
    *pool->last = job;
    pool->last = &job->next;
    pthread_cond_signal(&pool->more);
    pthread_mutex_unlock(&pool->mutex);
}

void pool_destroy(struct pool **pool)
{
    struct pool *p = *pool;
    if (!p)
        return;
    pthread_mutex_lock(&p->mutex);
    p->is_ending = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->mutex);
    for (int i = 0; i < p->count; i++)
        (void)pthread_join(p->threads[i], NULL);
    (void)pthread_mutex_destroy(&p->mutex);
    (void)pthread_cond_destroy(&p->more);
    free(p);
    *pool = NULL;
}
