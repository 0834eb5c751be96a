#include "store/sqlite_private.h"

#include "base/mem.h"

void bind_number(sqlite3_stmt *statement, int index, int64_t number)
{
    CHECK(sqlite3_bind_int64(statement, index, number) == SQLITE_OK);
}

static bool add_row(struct sqlite *store, const struct store_message *m, struct error *error)
{
    sqlite3_stmt *s = statement_start(store, STATEMENT_ADD_MESSAGE, error);
    if (!s)
        return false;
    bind_id(s, 1, m->id);
    bind_number(s, 2, m->arrived_ms);
    bind_slice(s, 3, m->sender);
    bind_slice(s, 4, m->envid);
    bind_slice(s, 5, m->auth);
    bind_number(s, 6, m->ret);
    bind_number(s, 7, m->flags);
    bind_number(s, 8, m->priority);
    bind_slice(s, 9, m->pickup_name);
    bind_slice(s, 10, m->owner);
    bind_slice(s, 11, m->message_id);
    bind_slice(s, 12, m->subject);
    bind_number(s, 13, (int64_t)m->size);
    bind_number(s, 14, (int64_t)m->header_size);
    bind_number(s, 15, m->is_in_file);
    bind_slice(s, 16, m->policy);
    return statement_run(store, s, error);
}

static bool add_content(struct sqlite *store, const struct store_message *m, struct error *error)
{
    if (m->is_in_file)
        return true;
    sqlite3_stmt *s = statement_start(store, STATEMENT_ADD_CONTENT, error);
    if (!s)
        return false;
    bind_id(s, 1, m->id);
    CHECK(sqlite3_bind_blob64(s, 2, m->content.data, m->content.size, SQLITE_STATIC) == SQLITE_OK);
    return statement_run(store, s, error);
}

static bool add_recipient(struct sqlite *store, const struct store_recipient *r,
                          const struct store_message *m, struct error *error)
{
    sqlite3_stmt *s = statement_start(store, STATEMENT_ADD_RECIPIENT, error);
    if (!s)
        return false;
    bind_id(s, 1, m->id);
    bind_number(s, 2, r->number);
    bind_slice(s, 3, r->address);
    bind_slice(s, 4, r->domain);
    bind_slice(s, 5, r->orcpt);
    bind_number(s, 6, r->notify);
    bind_number(s, 7, r->state);
    bind_number(s, 8, r->attempts);
    bind_number(s, 9, r->next_ms);
    bind_number(s, 10, r->last_attempt_ms);
    bind_number(s, 11, r->is_delay_noticed);
    bind_slice(s, 12, r->last_status);
    bind_slice(s, 13, r->last_reply);
    bind_slice(s, 14, r->last_host);
    bind_slice(s, 15, r->route);
    bind_number(s, 16, m->priority);
    return statement_run(store, s, error);
}

void sqlite_raise_last_id(struct store *base, uint64_t id)
{
    struct sqlite *store = sqlite_of(base);
    if (id > store->highest_seen)
        store->highest_seen = id;
}

bool sqlite_add_message(struct store *base, const struct store_message *message,
                       const struct store_recipient *recipients, size_t count, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite_raise_last_id(base, message->id);
    store->is_growing = true;
    if (!add_row(store, message, error) || !add_content(store, message, error))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!add_recipient(store, &recipients[i], message, error))
            return false;
    return true;
}

bool sqlite_add_origin(struct store *base, const struct store_origin *origin, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite_raise_last_id(base, origin->id);
    sqlite3_stmt *s = statement_start(store, STATEMENT_ADD_ORIGIN, error);
    if (!s)
        return false;
    bind_id(s, 1, origin->id);
    bind_number(s, 2, (int64_t)origin->inode); /* as two's complement: the column is signed */
    bind_number(s, 3, origin->born_ns);
    return statement_run(store, s, error);
}

bool sqlite_drop_origins(struct store *base, uint64_t first, uint64_t last, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_DROP_ORIGINS, error);
    if (!s)
        return false;
    bind_id(s, 1, first);
    bind_id(s, 2, last);
    return statement_run(store, s, error);
}

bool sqlite_each_origin(struct store *base, store_origin_fn *fn, void *arg, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_EACH_ORIGIN, error);
    if (!s)
        return false;
    enum step step;
    while ((step = statement_step(store, s, error)) == STEP_ROW) {
        struct store_origin origin = {(uint64_t)sqlite3_column_int64(s, 0),
                                      (uint64_t)sqlite3_column_int64(s, 1),
                                      sqlite3_column_int64(s, 2)};
        fn(arg, &origin);
    }
    return step == STEP_END;
}

bool sqlite_add_once(struct store *base, const struct store_once *once, int64_t now_ms, uint64_t *ret_first,
                    struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    int64_t first;
    sqlite3_stmt *s = statement_start(store, STATEMENT_FORGET_ONCE, error);
    if (!s)
        return false;
    bind_number(s, 1, now_ms);
    if (!statement_run(store, s, error) || !(s = statement_start(store, STATEMENT_ADD_ONCE, error)))
        return false;
    bind_slice(s, 1, once->key);
    bind_id(s, 2, once->id);
    bind_number(s, 3, once->until_ms);
    if (!statement_run(store, s, error) || !(s = statement_start(store, STATEMENT_FIND_ONCE, error)))
        return false;
    bind_slice(s, 1, once->key);
    if (!statement_number(store, s, (int64_t)once->id, &first, error))
        return false;
    *ret_first = (uint64_t)first;
    return true;
}

bool sqlite_each_once(struct store *base, store_once_fn *fn, void *arg, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_EACH_ONCE, error);
    if (!s)
        return false;
    enum step step;
    while ((step = statement_step(store, s, error)) == STEP_ROW) {
        struct store_once once = {column_slice(s, 0), (uint64_t)sqlite3_column_int64(s, 1), sqlite3_column_int64(s, 2)};
        fn(arg, &once);
    }
    return step == STEP_END;
}

bool sqlite_set_usage(struct store *base, const struct store_usage *usage, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_SET_USAGE, error);
    if (!s)
        return false;
    bind_slice(s, 1, usage->name);
    bind_number(s, 2, usage->since_ms);
    bind_number(s, 3, (int64_t)usage->count);
    return statement_run(store, s, error);
}

bool sqlite_each_usage(struct store *base, store_usage_fn *fn, void *arg, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_EACH_USAGE, error);
    if (!s)
        return false;
    enum step step;
    while ((step = statement_step(store, s, error)) == STEP_ROW) {
        struct store_usage usage = {column_slice(s, 0), sqlite3_column_int64(s, 1), (uint64_t)sqlite3_column_int64(s, 2)};
        fn(arg, &usage);
    }
    return step == STEP_END;
}

/* Runs a statement whose only parameter is an id. */
static bool run_with_id(struct sqlite *store, enum statement which, uint64_t id, struct error *error)
{
    sqlite3_stmt *s = statement_start(store, which, error);
    if (!s)
        return false;
    bind_id(s, 1, id);
    return statement_run(store, s, error);
}

bool sqlite_last_id(struct store *base, uint64_t *ret_id, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    int64_t id;
    sqlite3_stmt *s = statement_start(store, STATEMENT_READ_HIGHEST, error);
    if (!s || !statement_number(store, s, 0, &id, error))
        return false;
    *ret_id = (uint64_t)id;
    return true;
}

bool sqlite_settle(struct store *base, const struct store_settlement *settlement,
                  struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_SETTLE, error);
    if (!s)
        return false;
    bind_id(s, 1, settlement->message_id);
    bind_number(s, 2, settlement->number);
    bind_number(s, 3, settlement->state);
    bind_number(s, 4, settlement->attempts);
    bind_number(s, 5, settlement->next_ms);
    bind_number(s, 6, settlement->last_attempt_ms);
    bind_number(s, 7, settlement->is_delay_noticed);
    bind_slice(s, 8, settlement->status);
    bind_slice(s, 9, settlement->reply);
    bind_slice(s, 10, settlement->host);
    return statement_run(store, s, error);
}

static struct finish_hint *hint_of(struct sqlite *store, uint64_t id)
{
    return &store->hints[(id ^ id >> 20) % HINT_COUNT];
}

/* The first recipient that has no final state yet; -1 if there is none. */
static bool find_open(struct sqlite *store, uint64_t id, int64_t *ret_number, struct error *error)
{
    struct finish_hint *hint = hint_of(store, id);
    sqlite3_stmt *s = statement_start(store, STATEMENT_FIND_OPEN, error);
    if (!s)
        return false;
    bind_id(s, 1, id);
    bind_number(s, 2, hint->id == id ? hint->number : 0);
    if (!statement_number(store, s, -1, ret_number, error))
        return false;
    *hint = (struct finish_hint){id, *ret_number < 0 ? 0 : (unsigned)*ret_number};
    return true;
}

static void forget_body(struct sqlite *store, uint64_t id)
{
    if (store->forgotten_count == store->forgotten_capacity) {
        store->forgotten_capacity = store->forgotten_capacity ? 2 * store->forgotten_capacity : 16;
        store->forgotten =
            mem_resize(store->forgotten, store->forgotten_capacity * sizeof *store->forgotten);
    }
    store->forgotten[store->forgotten_count++] = id;
}

bool sqlite_end_message(struct store *base, uint64_t id, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    if (!run_with_id(store, STATEMENT_DELETE_CONTENT, id, error))
        return false;
    if (sqlite3_changes64(store->db) == 0)
        forget_body(store, id); /* no inline content: it had a body file */
    return run_with_id(store, STATEMENT_DELETE_RECIPIENTS, id, error)
           && run_with_id(store, STATEMENT_DELETE_MESSAGE, id, error);
}

bool sqlite_finish_message(struct store *base, uint64_t id, bool *ret_is_gone, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    int64_t open;
    if (!find_open(store, id, &open, error))
        return false;
    if (open < 0 && !sqlite_end_message(base, id, error))
        return false;
    if (ret_is_gone)
        *ret_is_gone = open < 0;
    return true;
}

bool sqlite_change(struct store *base, uint64_t id, unsigned number, const struct store_change *change, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_CHANGE, error);
    if (!s)
        return false;
    bind_id(s, 1, id);
    bind_id(s, 2, number);
    bind_slice(s, 3, SLICE_NONE);
    if (change->state >= 0)
        bind_number(s, 3, change->state);
    bind_slice(s, 4, SLICE_NONE);
    if (change->next_ms >= 0)
        bind_number(s, 4, change->next_ms);
    bind_slice(s, 5, change->route);
    return statement_run(store, s, error);
}
