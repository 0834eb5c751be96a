#include "store/store_private.h"

bool store_open_at(const struct store_place *place, enum store_mode mode, struct store **ret_store, struct error *error)
{
    return place->url ? postgres_open(place, mode, ret_store, error) : store_open(place->dir, mode, ret_store, error);
}

void store_close(struct store **store)
{
    if (*store)
        (*store)->engine->close(*store);
    *store = NULL;
}

void store_tidy(struct store *store)
{
    CHECK(store->mode == STORE_WRITER && !store->is_in_transaction);
    if (store->engine->tidy)
        store->engine->tidy(store);
}

void store_stop(struct store *store)
{
    store->is_stopped = true;
    if (store->engine->stop)
        store->engine->stop(store);
}

void store_interrupt(struct store *store)
{
    if (store->engine->interrupt)
        store->engine->interrupt(store);
}

bool store_begin(struct store *store, struct error *error)
{
    CHECK(store->mode == STORE_WRITER && !store->is_in_transaction);
    return store->engine->begin(store, error);
}

bool store_commit(struct store *store, struct error *error)
{
    CHECK(store->is_in_transaction);
    return store->engine->commit(store, error);
}

void store_rollback(struct store *store)
{
    CHECK(store->is_in_transaction);
    store->engine->rollback(store);
}

bool store_add_message(struct store *store, const struct store_message *message, const struct store_recipient *recipients,
                       size_t count, struct error *error)
{
    CHECK(store->is_in_transaction && count > 0);
    CHECK(message->id != 0 && message->id <= INT64_MAX && !slice_is_absent(message->sender));
    CHECK(message->is_in_file || !slice_is_absent(message->content));
    CHECK(message->priority >= -1 && message->priority <= 1); /* others would never be due */
    return store->engine->add_message(store, message, recipients, count, error);
}

bool store_add_origin(struct store *store, const struct store_origin *origin, struct error *error)
{
    CHECK(store->is_in_transaction && origin->id != 0);
    return store->engine->add_origin(store, origin, error);
}

bool store_drop_origins(struct store *store, uint64_t first, uint64_t last, struct error *error)
{
    CHECK(store->is_in_transaction && first <= last);
    return store->engine->drop_origins(store, first, last, error);
}

bool store_each_origin(struct store *store, store_origin_fn *fn, void *arg, struct error *error)
{
    return store->engine->each_origin(store, fn, arg, error);
}

bool store_add_once(struct store *store, const struct store_once *once, int64_t now_ms, uint64_t *ret_first,
                    struct error *error)
{
    CHECK(store->is_in_transaction && once->id != 0 && once->id <= INT64_MAX);
    return store->engine->add_once(store, once, now_ms, ret_first, error);
}

bool store_each_once(struct store *store, store_once_fn *fn, void *arg, struct error *error)
{
    return store->engine->each_once(store, fn, arg, error);
}

bool store_set_usage(struct store *store, const struct store_usage *usage, struct error *error)
{
    CHECK(store->is_in_transaction);
    return store->engine->set_usage(store, usage, error);
}

bool store_each_usage(struct store *store, store_usage_fn *fn, void *arg, struct error *error)
{
    return store->engine->each_usage(store, fn, arg, error);
}

bool store_last_id(struct store *store, uint64_t *ret_id, struct error *error)
{
    return store->engine->last_id(store, ret_id, error);
}

void store_raise_last_id(struct store *store, uint64_t id)
{
    CHECK(store->is_in_transaction && id <= INT64_MAX);
    store->engine->raise_last_id(store, id);
}

bool store_settle(struct store *store, const struct store_settlement *settlement, struct error *error)
{
    CHECK(store->is_in_transaction);
    return store->engine->settle(store, settlement, error);
}

bool store_finish_message(struct store *store, uint64_t id, bool *ret_is_gone, struct error *error)
{
    CHECK(store->is_in_transaction);
    return store->engine->finish_message(store, id, ret_is_gone, error);
}

bool store_end_message(struct store *store, uint64_t id, struct error *error)
{
    CHECK(store->is_in_transaction);
    return store->engine->end_message(store, id, error);
}

bool store_snapshot_begin(struct store *store, struct error *error)
{
    CHECK(store->mode == STORE_READER);
    return !store->engine->snapshot_begin || store->engine->snapshot_begin(store, error);
}

void store_snapshot_end(struct store *store)
{
    if (store->engine->snapshot_end)
        store->engine->snapshot_end(store);
}

bool store_set_due(struct store *store, const struct store_recipient *recipient, int64_t next_ms, struct error *error)
{
    const struct store_engine *engine = store->engine;
    struct store_change change = {STATE_QUEUED, next_ms, SLICE_NONE};
    CHECK(store->is_in_transaction && next_ms >= 0);
    return engine->change(store, recipient->message_id, recipient->number, &change, error)
           && (!engine->changed || engine->changed(store, recipient->message_id, error));
}

bool store_is_shared(const struct store *store)
{
    return !store->engine->load_due;
}

bool store_load_due(struct store *store, int priority, int64_t now_ms, size_t limit, struct store_due_cursor *cursor,
                    store_recipient_fn *fn, void *arg, struct error *error)
{
    CHECK(!store_is_shared(store));
    return store->engine->load_due(store, priority, now_ms, limit, cursor, fn, arg, error);
}

bool store_next_due(struct store *store, int64_t after_ms, int64_t *ret_ms, struct error *error)
{
    return store->engine->next_due(store, after_ms, ret_ms, error);
}

bool store_read_message(struct store *store, struct arena *arena, uint64_t id, bool with_content,
                        struct store_message *ret_message, struct error *error)
{
    bool is_found;
    struct store_message message;
    if (!store->engine->read_message(store, arena, id, with_content, &message, &is_found, error))
        return false;
    if (!is_found)
        return error_set(error, "no such message");
    *ret_message = message;
    return true;
}

bool store_read_recipients(struct store *store, struct arena *arena, uint64_t id, struct store_recipient **ret_recipients,
                           size_t *ret_count, struct error *error)
{
    return store->engine->read_recipients(store, arena, id, ret_recipients, ret_count, error);
}

bool store_totals(struct store *store, int64_t now_ms, struct store_totals *ret_totals, struct error *error)
{
    return store->engine->totals(store, now_ms, ret_totals, error);
}

void keep_message(struct arena *arena, struct store_message *m)
{
    struct slice *texts[] = {&m->sender, &m->envid, &m->auth, &m->pickup_name, &m->owner, &m->message_id, &m->subject,
                             &m->content, &m->policy};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        *texts[i] = arena_copy(arena, *texts[i]);
}

void keep_recipient(struct arena *arena, struct store_recipient *r)
{
    struct slice *texts[] = {&r->address,    &r->domain,    &r->orcpt, &r->last_status,
                             &r->last_reply, &r->last_host, &r->route};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        *texts[i] = arena_copy(arena, *texts[i]);
}
