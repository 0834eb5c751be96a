#include "store/postgres_private.h"

#include "base/mem.h"

#include <stdlib.h>

enum { PARTS_AT_ONCE = 4, KEYS_AT_ONCE = 1000 };

/* ---- numbers ---- */

struct number { int64_t number; bool is_there; };

static void note_number(void *arg, const PGresult *rows)
{
    struct number *to = arg;
    to->is_there = PQntuples(rows) == 1 && !PQgetisnull(rows, 0, 0);
    if (to->is_there)
        to->number = row_number(rows, 0, 0);
}

bool postgres_last_id(struct store *base, uint64_t *ret_id, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct number highest = {0};
    if (!postgres_ready(pg, error))
        return false;
    pglink_send(&pg->link, PG_READ_HIGHEST, NULL, note_number, &highest);
    if (!postgres_run(pg, error))
        return false;
    *ret_id = (uint64_t)highest.number;
    return true;
}

bool postgres_next_due(struct store *base, int64_t after_ms, int64_t *ret_ms, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct number next = {0};
    if (!postgres_ready(pg, error))
        return false;
    params_number(&params, after_ms);
    pglink_send(&pg->link, PG_NEXT_DUE, &params, note_number, &next);
    buf_finish(&params.bytes);
    if (!postgres_run(pg, error))
        return false;
    *ret_ms = next.is_there ? next.number : INT64_MAX;
    return true;
}

static void note_message_totals(void *arg, const PGresult *rows)
{
    struct store_totals *totals = arg;
    totals->messages = (uint64_t)row_number(rows, 0, 0);
    totals->bytes = (uint64_t)row_number(rows, 0, 1);
    totals->oldest_ms = row_number(rows, 0, 2);
}

static void note_recipient_totals(void *arg, const PGresult *rows)
{
    struct store_totals *totals = arg;
    totals->recipients = (uint64_t)row_number(rows, 0, 0);
    totals->queued = (uint64_t)row_number(rows, 0, 1);
    totals->held = (uint64_t)row_number(rows, 0, 2);
    totals->due = (uint64_t)row_number(rows, 0, 3);
}

bool postgres_totals(struct store *base, int64_t now_ms, struct store_totals *ret_totals, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct store_totals totals = {0};
    CHECK(!base->is_in_transaction);
    if (!postgres_ready(pg, error) || !pglink_be_patient(&pg->link, TOTALS_MS, error))
        return false;
    params_number(&params, now_ms);
    pglink_send(&pg->link, PG_TOTAL_MESSAGES, NULL, note_message_totals, &totals);
    pglink_send(&pg->link, PG_TOTAL_RECIPIENTS, &params, note_recipient_totals, &totals);
    buf_finish(&params.bytes);
    bool is_done = postgres_run(pg, error);
    if (pglink_is_open(&pg->link))
        (void)pglink_be_patient(&pg->link, pg->place.timeout_ms, NULL);
    if (!is_done)
        return false;
    *ret_totals = totals;
    return true;
}

/* ---- origins, keys, counters ---- */

struct origins { store_origin_fn *fn; void *arg; };

static void give_origins(void *arg, const PGresult *rows)
{
    const struct origins *to = arg;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct store_origin origin = {(uint64_t)row_number(rows, row, 0), (uint64_t)row_number(rows, row, 1),
                                      row_number(rows, row, 2)};
        to->fn(to->arg, &origin);
    }
}

bool postgres_each_origin(struct store *base, store_origin_fn *fn, void *arg, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct origins to = {fn, arg};
    if (!postgres_ready(pg, error))
        return false;
    params_text(&params, slice_of(pg->place.owner));
    pglink_send(&pg->link, PG_EACH_ORIGIN, &params, give_origins, &to);
    buf_finish(&params.bytes);
    return postgres_run(pg, error);
}

/* It has to know the answer: the one change that waits for the server in the middle of a transaction. */
bool postgres_add_once(struct store *base, const struct store_once *once, int64_t now_ms, uint64_t *ret_first,
                       struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct number first = {0};
    if (!postgres_ready(pg, error))
        return false;
    params_number(&params, now_ms);
    pglink_send(&pg->link, PG_FORGET_ONCE, &params, NULL, NULL);
    params_text(&params, once->key);
    params_number(&params, (int64_t)once->id);
    params_number(&params, once->until_ms);
    pglink_send(&pg->link, PG_ADD_ONCE, &params, NULL, NULL);
    params_text(&params, once->key);
    pglink_send(&pg->link, PG_FIND_ONCE, &params, note_number, &first);
    buf_finish(&params.bytes);
    if (!postgres_run(pg, error))
        return false;
    *ret_first = first.is_there ? (uint64_t)first.number : once->id;
    return true;
}

struct keys { store_once_fn *fn; void *arg; struct buf last; int count; };

static void give_keys(void *arg, const PGresult *rows)
{
    struct keys *to = arg;
    to->count = PQntuples(rows);
    for (int row = 0; row < to->count; row++) {
        struct store_once once = {row_text(rows, row, 0), (uint64_t)row_number(rows, row, 1), row_number(rows, row, 2)};
        to->fn(to->arg, &once);
    }
    if (to->count) {
        buf_clear(&to->last);
        buf_append(&to->last, row_text(rows, to->count - 1, 0));
    }
}

bool postgres_each_once(struct store *base, store_once_fn *fn, void *arg, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct keys to = {.fn = fn, .arg = arg};
    bool is_done = true;
    do {
        to.count = 0;
        is_done = postgres_ready(pg, error);
        params_text(&params, slice_make(to.last.size ? to.last.data : "", to.last.size));
        params_number(&params, KEYS_AT_ONCE);
        pglink_send(&pg->link, PG_EACH_ONCE, &params, give_keys, &to);
        is_done = is_done && postgres_run(pg, error);
    } while (is_done && to.count == KEYS_AT_ONCE);
    buf_finish(&params.bytes);
    buf_finish(&to.last);
    return is_done;
}

bool postgres_set_usage(struct store *base, const struct store_usage *usage, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    if (!postgres_ready(pg, error))
        return false;
    params_text(&params, slice_of(pg->place.owner));
    params_text(&params, usage->name);
    params_number(&params, usage->since_ms);
    params_number(&params, (int64_t)usage->count);
    pglink_send(&pg->link, PG_SET_USAGE, &params, NULL, NULL);
    buf_finish(&params.bytes);
    return true;
}

struct usages { store_usage_fn *fn; void *arg; };

static void give_usages(void *arg, const PGresult *rows)
{
    const struct usages *to = arg;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct store_usage usage = {row_text(rows, row, 0), row_number(rows, row, 1), (uint64_t)row_number(rows, row, 2)};
        to->fn(to->arg, &usage);
    }
}

bool postgres_each_usage(struct store *base, store_usage_fn *fn, void *arg, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct usages to = {fn, arg};
    if (!postgres_ready(pg, error))
        return false;
    params_text(&params, slice_of(pg->place.owner));
    pglink_send(&pg->link, PG_EACH_USAGE, &params, give_usages, &to);
    buf_finish(&params.bytes);
    return postgres_run(pg, error);
}

/* ---- messages ---- */

struct reading { struct arena *arena; struct store_message *messages; size_t count; };

static void keep_messages(void *arg, const PGresult *rows)
{
    struct reading *reading = arg;
    for (int row = 0; row < PQntuples(rows); row++) {
        row_message(rows, row, &reading->messages[reading->count]);
        keep_message(reading->arena, &reading->messages[reading->count++]);
    }
}

struct filling { char *bytes; size_t filled, size; };

static void fill(void *arg, const PGresult *rows)
{
    struct filling *filling = arg;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct slice data = row_text(rows, row, 0);
        if (filling->filled + data.size > filling->size)
            return; /* more than the message's size: the count will not fit */
        memcpy(filling->bytes + filling->filled, data.data, data.size);
        filling->filled += data.size;
    }
}

/* Some parts at a time, so that libpq never holds a whole large message beside ours. */
static bool read_content(struct postgres *pg, struct arena *arena, struct store_message *message, struct error *error)
{
    struct pg_params params = {0};
    struct filling filling = {.bytes = arena_alloc(arena, message->size + 1), .size = message->size};
    bool is_done = true;
    size_t before;
    int64_t part = 0;
    do {
        before = filling.filled;
        is_done = postgres_ready(pg, error);
        params_number(&params, (int64_t)message->id);
        params_number(&params, part);
        params_number(&params, part += PARTS_AT_ONCE);
        pglink_send(&pg->link, PG_READ_PARTS, &params, fill, &filling);
        is_done = is_done && postgres_run(pg, error);
    } while (is_done && filling.filled > before && filling.filled < filling.size);
    buf_finish(&params.bytes);
    if (is_done && filling.filled != filling.size)
        is_done = error_set(error, "%s: the message's content is not whole", pg->link.name);
    message->content = slice_make(filling.bytes, filling.filled);
    return is_done;
}

bool postgres_read_message(struct store *base, struct arena *arena, uint64_t id, bool with_content,
                           struct store_message *ret_message, bool *ret_is_found, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct reading reading = {arena, ret_message, 0};
    if (!postgres_ready(pg, error))
        return false;
    params_number(&params, (int64_t)id);
    pglink_send(&pg->link, PG_READ_MESSAGE, &params, keep_messages, &reading);
    buf_finish(&params.bytes);
    if (!postgres_run(pg, error))
        return false;
    *ret_is_found = reading.count == 1;
    return !*ret_is_found || !with_content || read_content(pg, arena, ret_message, error);
}

struct recipients { struct arena *arena; struct store_recipient *list; size_t count; };

static void keep_recipients(void *arg, const PGresult *rows)
{
    struct recipients *to = arg;
    size_t count = (size_t)PQntuples(rows);
    to->list = count ? arena_alloc(to->arena, count * sizeof *to->list) : NULL;
    for (to->count = 0; to->count < count; to->count++) {
        row_recipient(rows, (int)to->count, &to->list[to->count]);
        keep_recipient(to->arena, &to->list[to->count]);
    }
}

/* The page's recipients were read with it. */
static bool page_has(const struct postgres *pg, uint64_t id, struct store_recipient **ret_recipients, size_t *ret_count)
{
    size_t from = 0, to = pg->page_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (pg->page_recipients[middle].message_id < id)
            from = middle + 1;
        else
            to = middle;
    }
    size_t count = 0;
    while (from + count < pg->page_count && pg->page_recipients[from + count].message_id == id)
        count++;
    *ret_recipients = pg->page_recipients + from;
    *ret_count = count;
    return count > 0;
}

bool postgres_read_recipients(struct store *base, struct arena *arena, uint64_t id, struct store_recipient **ret_recipients,
                              size_t *ret_count, struct error *error)
{
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct recipients to = {.arena = arena};
    if (page_has(pg, id, ret_recipients, ret_count))
        return true;
    if (!postgres_ready(pg, error))
        return false;
    params_number(&params, (int64_t)id);
    pglink_send(&pg->link, PG_READ_RECIPIENTS, &params, keep_recipients, &to);
    buf_finish(&params.bytes);
    if (!postgres_run(pg, error))
        return false;
    *ret_recipients = to.list;
    *ret_count = to.count;
    return true;
}

void postgres_end_page(struct store *base)
{
    struct postgres *pg = postgres_of(base);
    arena_reset(&pg->page);
    pg->page_recipients = NULL;
    pg->page_count = 0;
}

bool postgres_read_page(struct store *base, struct arena *arena, uint64_t after, struct store_message *messages,
                        size_t *ret_count, struct error *error)
{
    static const enum pg_statement statements[] = {PG_READ_PAGE, PG_READ_PAGE_RECIPIENTS};
    struct postgres *pg = postgres_of(base);
    struct pg_params params = {0};
    struct reading reading = {arena, messages, 0};
    struct recipients to = {.arena = &pg->page};
    postgres_end_page(base);
    if (!postgres_ready(pg, error))
        return false;
    for (size_t i = 0; i < COUNT_OF(statements); i++) {
        params_number(&params, (int64_t)after);
        params_number(&params, STORE_PAGE);
        pglink_send(&pg->link, statements[i], &params, i == 0 ? keep_messages : keep_recipients,
                  i == 0 ? (void *)&reading : (void *)&to);
    }
    buf_finish(&params.bytes);
    if (!postgres_run(pg, error))
        return false;
    pg->page_recipients = to.list;
    pg->page_count = to.count;
    *ret_count = reading.count;
    return true;
}
