/* queue: what the files of `mailroot queue` share.
 *
 *   queue.c         the command line, and the verbs that change the queue
 *   queue_list.c    list and show               queue_export.c  export
 *   queue_text.c    times, sizes and strange octets as text
 *
 * Reading goes straight to the database, beside a running relay. Changes are asked of the relay
 * through its control socket; only when none runs are they made here, under the relay's lock. */
#ifndef MR_CLI_QUEUE_H
#define MR_CLI_QUEUE_H

#include "cli/command.h"
#include "cli/queue_place.h"
#include "store/filter.h"

struct queue_request {
    const char *verb;
    const struct config *config;
    struct queue_place place;         /* its dir: queue_dir */
    const char *queue_dir;
    char control_path[4096];
    struct store_filter filter; /* now_ms is set */
    bool is_all;                /* --all: a verb may go without a condition */
    bool is_json;
    const char *to;             /* of reroute and move; NULL = not given, "" = the route is taken away */
    struct arena arena;
};

int queue_list(struct queue_request *request);
int queue_show(struct queue_request *request);
int queue_export(struct queue_request *request);
int queue_move(struct queue_request *request);
/* The relay's own lock: as long as it is held no relay starts. -1 with an error. */
MUST_USE int queue_lock(const struct queue_request *request, struct error *error);
/* The store for reading; on failure says why and returns an exit code other than EX_OK. */
MUST_USE int queue_open(const struct queue_request *request, struct store **ret_store);

/* queue_text.c: for people, into `out` */
void put_clean(struct buf *out, struct slice text); /* controls, ill-formed UTF-8 as \xNN */
void put_size(struct buf *out, uint64_t size);      /* "812", "4.2K", "13M" */
void put_age(struct buf *out, int64_t ms);          /* "45s", "12m", "2h05m", "3d04h" */
void put_time(struct buf *out, int64_t wall_ms);    /* "2026-11-24T04:18:00.123Z" */
void out_print(struct buf *out);                    /* to stdout; leaves it empty */
/* "90s", "1h30m", "250ms", "7d"; "10MB", "64KB", "4096". False for anything else, and for 0. */
MUST_USE bool age_parse(const char *text, int64_t *ret_ms);
MUST_USE bool size_parse(const char *text, uint64_t *ret_size);

#endif
