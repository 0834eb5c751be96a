/* Files on their way through prepare_message(). A signature costs as much processor time as all else that is done with a message, so
 * what may be signed is prepared by a thread for each core, while the intake's reads the next files; what comes of them is
 * looked at in the order of the claims. Without keys the intake's thread does it, one file after the other: a hop to another
 * thread would cost more than it gives. */
#include "pickup/intake_private.h"

#include "base/mem.h"
#include "os/cores.h"

#include <poll.h>
#include <stddef.h>
#include <stdlib.h>

enum { KEPT_BYTES_MAX = 64 * 1024, SIGNING_THREADS_MAX = 64 };

static struct preparation *preparation_of(struct pool_job *job)
{
    return (struct preparation *)((char *)job - offsetof(struct preparation, job));
}

static void prepare(struct pool_job *job)
{
    struct preparation *of = preparation_of(job);
    if (!preparation_mbox(of))
        of->result = prepare_message(&of->arena, of->intake->parts.config, buf_slice(&of->bytes), &of->about, &of->prepared, &of->error);
}

static void prepared(struct letter *letter)
{
    struct pool_job *job = (struct pool_job *)((char *)letter - offsetof(struct pool_job, done));
    preparation_of(job)->intake->preparing--;
}

bool preparations_start(struct intake *intake, struct error *error)
{
    int cores = cores_usable();
    bool has_keys = intake->parts.signer && signer_count(intake->parts.signer) > 0;
    intake->preparation_capacity = 1;
    if (has_keys && cores > 1) {
        intake->preparation_capacity = (size_t)intake->parts.config->pickup.batch_max;
        intake->pool_post = post_create(error);
        intake->pool = intake->pool_post ? pool_create(cores < SIGNING_THREADS_MAX ? cores : SIGNING_THREADS_MAX, intake->pool_post, error)
                                         : NULL;
        if (!intake->pool)
            return false;
    }
    intake->preparations = mem_alloc(intake->preparation_capacity * sizeof *intake->preparations);
    return true;
}

struct preparation *preparation_next(struct intake *intake)
{
    struct preparation *of = &intake->preparations[intake->preparation_count];
    CHECK(intake->preparation_count < intake->preparation_capacity);
    of->intake = intake;
    of->parts = NULL;
    of->part_count = 0;
    buf_clear(&of->bytes);
    return of;
}

void preparation_begin(struct preparation *of)
{
    struct intake *intake = of->intake;
    intake->preparation_count++;
    intake->prepared_size += of->bytes.size;
    of->job.work = prepare;
    of->job.done.run = prepared;
    if (intake->pool) {
        intake->preparing++;
        pool_submit(intake->pool, &of->job);
    } else {
        prepare(&of->job);
    }
}

bool preparations_are_full(const struct intake *intake)
{
    return intake->preparation_count == intake->preparation_capacity || intake->prepared_size >= BATCH_SIZE_MAX;
}

void preparations_wait(struct intake *intake)
{
    while (intake->preparing) {
        struct pollfd watched = {.fd = post_fd(intake->pool_post), .events = POLLIN};
        (void)poll(&watched, 1, -1);
        post_run(intake->pool_post);
    }
}

void preparations_clear(struct intake *intake)
{
    for (size_t i = 0; i < intake->preparation_count; i++) {
        struct preparation *of = &intake->preparations[i];
        buf_finish(&of->prepared.content);
        for (size_t k = 0; k < of->part_count; k++)
            buf_finish(&of->parts[k].prepared.content);
        arena_reset(&of->arena);
        if (of->bytes.capacity > KEPT_BYTES_MAX)
            buf_finish(&of->bytes);
    }
    intake->preparation_count = 0;
    intake->prepared_size = 0;
}

void preparations_free(struct intake *intake)
{
    pool_destroy(&intake->pool);
    for (size_t i = 0; intake->preparations && i < intake->preparation_capacity; i++) {
        arena_finish(&intake->preparations[i].arena);
        buf_finish(&intake->preparations[i].bytes);
    }
    free(intake->preparations);
    post_destroy(&intake->pool_post);
}
