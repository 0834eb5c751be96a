/* pool: threads that do what would hold up the loop, a job at a time each, in order of submission.
 *
 * A struct pool_job is the submitter's memory until `done` has run on the thread that owns `post` (os/post.h); `work` runs
 * on a thread of the pool. */
#ifndef MR_OS_POOL_H
#define MR_OS_POOL_H

#include "os/post.h"

struct pool_job {
    void (*work)(struct pool_job *job);
    struct letter done; /* run is the submitter's to set */
    struct pool_job *next;
};

struct pool;
MUST_USE struct pool *pool_create(int thread_count, struct post *post, struct error *error);
void pool_submit(struct pool *pool, struct pool_job *job);
void pool_destroy(struct pool **pool); /* after the last job is worked off; its letter may still wait */

#endif
