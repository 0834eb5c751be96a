/* writer: the one thread that changes the queue, and its group commit.
 *
 *   submit ─> [jobs waiting] ─> begin, apply each, commit ─> [done letters to whoever asked]
 *
 * G1  while a commit is under way jobs gather; the next transaction takes them all (at most WRITER_BATCH_MAX). An idle
 *     writer commits a single job at once: latency first, batches form by themselves
 * G2  a job whose apply() fails fails alone: the batch is rolled back and its other jobs are applied again, each in a
 *     transaction of its own
 * G3  a failed commit fails every job of it; nothing of it happened, and it is not repeated here (the owner decides)
 * G4  done() runs on the submitter's thread (its post), after the commit is durable
 * G5  a writer idle for three seconds gives back the space that a large queue left (store_tidy())
 * G6  under load (the last batch held several jobs) a batch is left open for as long as a commit takes of late, 2 ms at most,
 *     or until it holds as many as the last one; jobs are applied as they come. Fewer syncs a message at the same rate, and
 *     the wait is spent working. A job that comes alone never waits
 * apply() may run twice (G2): it changes nothing but the store. Jobs are the submitter's memory until done() has run. */
#ifndef MR_STORE_WRITER_H
#define MR_STORE_WRITER_H

#include "os/post.h"
#include "store/node.h"

enum { WRITER_BATCH_MAX = 512 };

struct writer_job {
    bool (*apply)(struct writer_job *job, struct store *store, struct error *error); /* writer's thread */
    void (*done)(struct writer_job *job); /* submitter's thread; look at is_committed */
    struct post *post;                    /* where done() runs */
    bool is_committed;
    bool is_failed;                       /* apply() said no; used by the writer */
    struct error error;                   /* when not committed */
    struct letter letter;                 /* the writer's */
    struct writer_job *next;              /* the writer's */
};

struct writer;
MUST_USE struct writer *writer_start(const struct store_place *place, struct node *node, struct error *error); /* node: or NULL */
/* A writer without a thread, for who decides when: jobs wait for writer_turn(), which applies and commits them on the caller's thread;
 * with `failure` all of them fail by it instead, as at a full disk. False: none waited. */
MUST_USE struct writer *writer_open(const struct store_place *place, struct error *error);
bool writer_turn(struct writer *writer, const char *failure);
/* before_commit() runs on the writer's thread when a batch is applied, ahead of its commit. To be set before the first job. */
void writer_before_commit(struct writer *writer, void (*fn)(void *arg), void *arg);
void writer_submit(struct writer *writer, struct writer_job *job);
/* From any thread: a commit whose answer was lost is not waited for any longer; its jobs fail, and nobody knows. */
void writer_interrupt(struct writer *writer);
void writer_stop(struct writer **writer); /* commits what waits, then ends the thread */
struct writer_counts { uint64_t commits, jobs, failures; };
struct writer_counts writer_counts(struct writer *writer);

#endif
