#include "store/postgres_private.h"

#include "base/mem.h"
#include "store/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LOOK_UP_AGAIN_NS = 200 * 1000 * 1000 };

/* ---- what goes out together ---- */

static void send_begin(struct postgres *pg)
{
    struct pg_params params = {0};
    pg->is_begun = true;
    pglink_send(&pg->link, PG_BEGIN, NULL, NULL, NULL);
    if (!pg->node)
        return;
    if (pg->last_node != node_id(pg->node)) {
        pg->last_node = node_id(pg->node);
        pg->batch = node_batch(pg->node);
    }
    params_number(&params, node_slot(pg->node));
    params_number(&params, (int64_t)pg->last_node);
    params_number(&params, (int64_t)pg->batch + 1);
    params_number(&params, (int64_t)pg->highest_seen);
    pglink_send(&pg->link, PG_NUMBER_BATCH, &params, NULL, NULL);
    pg->highest_sent = pg->highest_seen;
    buf_finish(&params.bytes);
}

static void send_highest(struct postgres *pg)
{
    struct pg_params params = {0};
    if (pg->highest_seen <= pg->highest_sent)
        return;
    params_number(&params, pg->node ? node_slot(pg->node) : 0);
    params_number(&params, (int64_t)pg->highest_seen);
    pglink_send(&pg->link, PG_RAISE_HIGHEST, &params, NULL, NULL);
    pg->highest_sent = pg->highest_seen;
    buf_finish(&params.bytes);
}

bool postgres_ready(struct postgres *pg, struct error *error)
{
    if (!pg->base.is_in_transaction)
        return pglink_open(&pg->link, error);
    if (pg->is_failed)
        return error_set(error, "%s", pg->failure.text);
    if (!pg->is_begun)
        send_begin(pg);
    send_highest(pg);
    gathered_send(pg);
    return true;
}

bool postgres_run(struct postgres *pg, struct error *error)
{
    struct error cause;
    bool is_done = pglink_run(&pg->link, &cause);
    pg->finish_count = 0;
    if (is_done)
        return true;
    if (pg->base.is_in_transaction && !pg->is_failed) {
        pg->is_failed = true;
        if (pg->node && strcmp(pg->link.sqlstate, DIVISION_BY_ZERO) == 0) { /* see EXACTLY_ONE */
            node_fenced(pg->node);
            (void)error_set(&cause, "%s: this node was taken for dead: another one has its messages", pg->link.name);
        }
        pg->failure = cause;
    }
    return error_set(error, "%s", cause.text);
}

/* ---- commits ---- */

static void forget(struct postgres *pg)
{
    gathered_clear(pg);
    pg->base.is_in_transaction = pg->is_begun = pg->is_failed = false;
    pg->highest_seen = pg->highest_sent = 0;
}

static bool postgres_begin(struct store *base, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    forget(pg);
    if (!pglink_open(&pg->link, error))
        return false;
    base->is_in_transaction = true;
    return true;
}

static void postgres_rollback(struct store *base)
{
    struct postgres *pg = postgres_of(base);
    if (pg->is_begun && pglink_is_open(&pg->link)) {
        pglink_send(&pg->link, PG_ROLLBACK, NULL, NULL, NULL);
        (void)pglink_run(&pg->link, NULL); /* if that is not heard, the server ends it with the connection */
    }
    forget(pg);
}

struct look_up { int64_t batch; bool is_found; };

static void note_batch(void *arg, const PGresult *rows)
{
    struct look_up *found = arg;
    found->is_found = PQntuples(rows) == 1;
    if (found->is_found)
        found->batch = row_number(rows, 0, 0);
}

/* Reads the number of the slot's last batch, behind whatever transaction still holds that row. When it is not `number`, no
 * transaction of that number can be committed from now on. */
static bool look_up(struct postgres *pg, int64_t number, struct look_up *ret_found, struct error *error)
{
    struct pg_params params = {0};
    *ret_found = (struct look_up){0};
    pglink_send(&pg->link, PG_BEGIN, NULL, NULL, NULL);
    params_number(&params, node_slot(pg->node));
    params_number(&params, (int64_t)pg->last_node);
    pglink_send(&pg->link, PG_LOOK_UP_BATCH, &params, note_batch, ret_found);
    bool is_done = pglink_run(&pg->link, error);
    if (is_done && ret_found->is_found && ret_found->batch < number) {
        params_number(&params, node_slot(pg->node));
        params_number(&params, (int64_t)pg->last_node);
        params_number(&params, number + 1);
        pglink_send(&pg->link, PG_CLOSE_BATCH, &params, NULL, NULL);
        ret_found->batch = number + 1;
    }
    if (pglink_is_open(&pg->link)) {
        pglink_send(&pg->link, is_done ? PG_COMMIT : PG_ROLLBACK, NULL, NULL, NULL);
        is_done = pglink_run(&pg->link, is_done ? error : NULL) && is_done;
    }
    buf_finish(&params.bytes);
    return is_done;
}

/* The connection broke before the answer to COMMIT came: it is found out whether the transaction happened, however long the
 * database is away. True if it did. */
static bool settle_doubt(struct postgres *pg, struct error *error)
{
    static const struct timespec again = {.tv_nsec = LOOK_UP_AGAIN_NS};
    int64_t number = (int64_t)pg->batch + 1;
    struct look_up found;
    for (;;) {
        bool is_last = pg->link.is_interrupted;
        if (pglink_open(&pg->link, NULL) && look_up(pg, number, &found, NULL))
            break;
        if (is_last)
            return error_set(error, "%s: it is not known whether the last transaction was committed", pg->link.name);
        pglink_end_orphans(&pg->link); /* the last connection's own */
        (void)nanosleep(&again, NULL);
    }
    if (!found.is_found) {
        node_fenced(pg->node);
        return error_set(error, "%s: this node was taken for dead while the connection was down", pg->link.name);
    }
    pg->batch = (uint64_t)found.batch;
    return found.batch == number || error_set(error, "%s: the connection broke, the transaction did not happen", pg->link.name);
}

static bool commit_write(struct postgres *pg, struct error *error)
{
    if (!pg->is_begun && pg->highest_seen == 0 && !gathered_any(pg))
        return true; /* nothing was changed */
    if (!postgres_ready(pg, error))
        return false;
    pglink_send(&pg->link, PG_COMMIT, NULL, NULL, NULL);
    if (postgres_run(pg, error)) {
        pg->batch++;
        return true;
    }
    if (pglink_is_open(&pg->link))
        return false;
    if (pg->node)
        return settle_doubt(pg, error);
    return error_prefix(error, "it is not known whether this was committed");
}

static bool postgres_commit(struct store *base, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    bool is_done = commit_write(pg, error);
    if (is_done)
        forget(pg);
    else
        postgres_rollback(base);
    return is_done;
}

/* ---- a handle ---- */

static void postgres_close(struct store *base)
{
    struct postgres *pg = postgres_of(base);
    pglink_finish(&pg->link);
    gathered_finish(pg);
    arena_finish(&pg->page);
    place_finish(&pg->place);
    free(pg);
}

static void postgres_interrupt(struct store *base)
{
    postgres_of(base)->link.is_interrupted = true;
}

static const struct store_engine postgres_engine = {
    .close = postgres_close, .interrupt = postgres_interrupt, .begin = postgres_begin, .commit = postgres_commit,
    .rollback = postgres_rollback, .add_message = postgres_add_message, .add_origin = postgres_add_origin,
    .drop_origins = postgres_drop_origins, .each_origin = postgres_each_origin, .add_once = postgres_add_once,
    .each_once = postgres_each_once, .raise_last_id = postgres_raise_last_id, .set_usage = postgres_set_usage, .each_usage = postgres_each_usage, .last_id = postgres_last_id,
    .settle = postgres_settle, .finish_message = postgres_finish_message, .end_message = postgres_end_message,
    .next_due = postgres_next_due, .read_message = postgres_read_message, .read_recipients = postgres_read_recipients,
    .read_page = postgres_read_page, .end_page = postgres_end_page, .change = postgres_change, .changed = postgres_changed,
    .totals = postgres_totals,
};

void place_copy(const struct store_place *place, struct store_place *ret_copy)
{
    *ret_copy = (struct store_place){.timeout_ms = place->timeout_ms};
    ret_copy->url = mem_copy_text(place->url);
    ret_copy->password = place->password ? mem_copy_text(place->password) : NULL;
    ret_copy->owner = mem_copy_text(place->owner ? place->owner : "");
}

void place_finish(struct store_place *copy)
{
    free((char *)(uintptr_t)copy->url);
    free((char *)(uintptr_t)copy->password);
    free((char *)(uintptr_t)copy->owner);
}

bool postgres_open(const struct store_place *place, enum store_mode mode, struct store **ret_store, struct error *error)
{
    struct postgres *pg = mem_alloc(sizeof *pg);
    pg->base = (struct store){.engine = &postgres_engine, .mode = mode};
    place_copy(place, &pg->place);
    pglink_init(&pg->link, &pg->place);
    pg->link.is_stopped = &pg->base.is_stopped;
    if (!pglink_open(&pg->link, error) || !schema_prepare(&pg->link, mode, &schema_steps, error)) {
        postgres_close(&pg->base);
        return false;
    }
    *ret_store = &pg->base;
    return true;
}

void store_join(struct store *store, struct node *node)
{
    CHECK(store_is_shared(store) && store->mode == STORE_WRITER);
    postgres_of(store)->node = node;
}
