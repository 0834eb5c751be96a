/* Changes are gathered here and sent in bulk (L5): as many statements a transaction, however many messages. */
#include "store/postgres_private.h"

#include "base/mem.h"
#include "store/node.h"

#include <stdlib.h>
#include <strings.h>

/* ---- gathering ---- */

static void gather_recipient(struct postgres *pg, const struct store_recipient *r, const struct store_message *m)
{
    struct pg_array *to = pg->recipients;
    const struct slice texts[] = {r->address, r->domain, r->orcpt}, last[] = {r->last_status, r->last_reply, r->last_host,
                                                                              r->route};
    const int64_t numbers[] = {r->notify, r->state, r->attempts, r->next_ms, r->last_attempt_ms, r->is_delay_noticed};
    array_number(to++, (int64_t)m->id);
    array_number(to++, r->number);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        array_text(to++, texts[i]);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        array_number(to++, numbers[i]);
    for (size_t i = 0; i < COUNT_OF(last); i++)
        array_text(to++, last[i]);
    array_number(to, m->priority);
}

static void gather_content(struct postgres *pg, uint64_t id, struct slice content)
{
    for (int64_t part = 0; part == 0 || content.size; part++) {
        size_t size = content.size < CONTENT_PART ? content.size : CONTENT_PART;
        array_number(&pg->contents[0], (int64_t)id);
        array_number(&pg->contents[1], part);
        array_text(&pg->contents[2], slice_first(content, size));
        content = slice_from(content, size);
        pg->gathered_size += size;
    }
}

/* With when it is due and where to. The node that adds a message has it in memory from then on. */
static void gather_message(struct postgres *pg, const struct store_message *m, const struct store_recipient *first)
{
    struct pg_array *to = pg->messages;
    array_number(to++, (int64_t)m->id);
    array_number(to++, m->arrived_ms);
    array_text(to++, m->sender);
    array_text(to++, m->envid);
    array_text(to++, m->auth);
    array_number(to++, m->ret);
    array_number(to++, m->flags);
    array_number(to++, m->priority);
    array_text(to++, m->pickup_name);
    array_text(to++, m->owner);
    array_text(to++, m->message_id);
    array_text(to++, m->subject);
    array_number(to++, (int64_t)m->size);
    array_number(to++, (int64_t)m->header_size);
    array_text(to++, m->policy);
    array_number(to++, pg->node ? (int64_t)node_id(pg->node) : 0);
    if (first)
        array_number(to++, first->next_ms);
    else
        array_null_number(to++);
    array_number(to, node_bucket(first ? first->domain : SLICE("")));
}

void postgres_raise_last_id(struct store *store, uint64_t id)
{
    struct postgres *pg = postgres_of(store);
    if (id > pg->highest_seen)
        pg->highest_seen = id;
}

bool postgres_add_message(struct store *store, const struct store_message *m, const struct store_recipient *recipients,
                          size_t count, struct error *error)
{
    struct postgres *pg = postgres_of(store);
    const struct store_recipient *first = NULL;
    CHECK(!m->is_in_file);
    for (size_t i = 0; i < count; i++) {
        gather_recipient(pg, &recipients[i], m);
        if (recipients[i].state == STATE_QUEUED && (!first || recipients[i].next_ms < first->next_ms))
            first = &recipients[i];
    }
    postgres_raise_last_id(store, m->id);
    gather_message(pg, m, first);
    gather_content(pg, m->id, m->content);
    return pg->gathered_size < GATHERED_MAX || (postgres_ready(pg, error) && postgres_run(pg, error));
}

bool postgres_add_origin(struct store *store, const struct store_origin *origin, struct error *error)
{
    struct postgres *pg = postgres_of(store);
    (void)error;
    postgres_raise_last_id(store, origin->id);
    array_number(&pg->origins[0], (int64_t)origin->id);
    array_number(&pg->origins[1], (int64_t)origin->inode);
    array_number(&pg->origins[2], origin->born_ns);
    return true;
}

bool postgres_drop_origins(struct store *store, uint64_t first, uint64_t last, struct error *error)
{
    struct postgres *pg = postgres_of(store);
    (void)error;
    array_number(&pg->drops[0], (int64_t)first);
    array_number(&pg->drops[1], (int64_t)last);
    return true;
}

bool postgres_settle(struct store *store, const struct store_settlement *s, struct error *error)
{
    struct pg_array *to = postgres_of(store)->settles;
    const int64_t numbers[] = {(int64_t)s->message_id, s->number, s->state, s->attempts, s->next_ms, s->last_attempt_ms,
                               s->is_delay_noticed};
    (void)error;
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        array_number(to++, numbers[i]);
    array_text(to++, s->status);
    array_text(to++, s->reply);
    array_text(to, s->host);
    return true;
}

/* What an operator changes may be a million rows: no statement takes all of them. */
static bool send_if_many(struct postgres *pg, size_t count, struct error *error)
{
    return count < GATHERED_ROWS_MAX || (postgres_ready(pg, error) && postgres_run(pg, error));
}

bool postgres_end_message(struct store *store, uint64_t id, struct error *error)
{
    struct postgres *pg = postgres_of(store);
    array_number(&pg->ends, (int64_t)id);
    return send_if_many(pg, (size_t)pg->ends.count, error);
}

bool postgres_finish_message(struct store *store, uint64_t id, bool *ret_is_gone, struct error *error)
{
    struct postgres *pg = postgres_of(store);
    if (pg->finish_count == pg->finish_capacity) {
        pg->finish_capacity = pg->finish_capacity ? 2 * pg->finish_capacity : 64;
        pg->finishes = mem_resize(pg->finishes, pg->finish_capacity * sizeof *pg->finishes);
    }
    pg->finishes[pg->finish_count++] = (struct finish){id, ret_is_gone};
    return send_if_many(pg, pg->finish_count, error);
}

/* Its due_ms has to follow; what has nothing open left is ended by VERB_REMOVE itself. */
bool postgres_changed(struct store *store, uint64_t id, struct error *error)
{
    return postgres_finish_message(store, id, NULL, error);
}

bool postgres_change(struct store *store, uint64_t id, unsigned number, const struct store_change *change, struct error *error)
{
    struct postgres *pg = postgres_of(store);
    struct pg_array *to = pg->changes;
    const int64_t maybe[] = {change->state, change->next_ms};
    array_number(to++, (int64_t)id);
    array_number(to++, number);
    for (size_t i = 0; i < COUNT_OF(maybe); i++, to++) {
        if (maybe[i] < 0)
            array_null_number(to);
        else
            array_number(to, maybe[i]);
    }
    array_text(to, change->route);
    return send_if_many(pg, (size_t)pg->changes[0].count, error);
}

void store_release(struct store *store, const uint64_t *ids, size_t count)
{
    CHECK(store_is_shared(store) && store->is_in_transaction);
    for (size_t i = 0; i < count; i++)
        array_number(&postgres_of(store)->releases, (int64_t)ids[i]);
}

/* ---- sending ---- */

static void send_arrays(struct postgres *pg, enum pg_statement statement, struct pg_params *params, struct pg_array *arrays,
                        const char *types)
{
    if (arrays[0].count) {
        for (size_t i = 0; types[i]; i++)
            params_array(params, &arrays[i], types[i] == 'n' ? PG_NUMBERS : PG_TEXTS);
        pglink_send(&pg->link, statement, params, NULL, NULL);
        for (size_t i = 0; types[i]; i++)
            array_clear(&arrays[i]);
    }
    buf_clear(&params->bytes);
    params->count = 0;
}

/* The rows are the messages that are still there. */
static void note_finished(void *arg, const PGresult *rows)
{
    struct postgres *pg = arg;
    bool is_asked = false;
    for (size_t i = 0; i < pg->finish_count; i++) {
        if (!pg->finishes[i].ret_is_gone)
            continue;
        *pg->finishes[i].ret_is_gone = is_asked = true;
    }
    if (!is_asked)
        return;
    for (int row = 0; row < PQntuples(rows); row++)
        for (size_t i = 0; i < pg->finish_count; i++)
            if (pg->finishes[i].id == (uint64_t)row_number(rows, row, 0) && pg->finishes[i].ret_is_gone)
                *pg->finishes[i].ret_is_gone = false;
}

static void send_finishes(struct postgres *pg, struct pg_params *params)
{
    static const enum pg_statement steps[] = {PG_FINISH_MESSAGES, PG_FINISH_CONTENT, PG_FINISH_RECIPIENTS, PG_REFRESH};
    struct pg_array ids = {0};
    if (pg->finish_count == 0)
        return;
    for (size_t i = 0; i < pg->finish_count; i++)
        array_number(&ids, (int64_t)pg->finishes[i].id);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        params_array(params, &ids, PG_NUMBERS);
        pglink_send(&pg->link, steps[i], params, steps[i] == PG_REFRESH ? note_finished : NULL, pg);
    }
    buf_finish(&ids.bytes);
}

static void send_ends(struct postgres *pg, struct pg_params *params)
{
    static const enum pg_statement steps[] = {PG_END_CONTENT, PG_END_RECIPIENTS, PG_END_MESSAGES};
    for (size_t i = 0; pg->ends.count && i < COUNT_OF(steps); i++) {
        params_array(params, &pg->ends, PG_NUMBERS);
        pglink_send(&pg->link, steps[i], params, NULL, NULL);
    }
    array_clear(&pg->ends);
}

void gathered_send(struct postgres *pg)
{
    struct pg_params params = {0};
    struct slice owner = slice_of(pg->place.owner);
    send_arrays(pg, PG_ADD_MESSAGES, &params, pg->messages, "nntttnnntttt" "nnt" "nnn");
    send_arrays(pg, PG_ADD_CONTENTS, &params, pg->contents, "nnt");
    send_arrays(pg, PG_ADD_RECIPIENTS, &params, pg->recipients, "nntttnnnnnntttt" "n");
    params_text(&params, owner);
    send_arrays(pg, PG_ADD_ORIGINS, &params, pg->origins, "nnn");
    params_text(&params, owner);
    send_arrays(pg, PG_DROP_ORIGINS, &params, pg->drops, "nn");
    send_arrays(pg, PG_SETTLE, &params, pg->settles, "nnnnnnnttt");
    send_arrays(pg, PG_CHANGE, &params, pg->changes, "nnnnt");
    send_ends(pg, &params);
    send_finishes(pg, &params);
    if (pg->releases.count && pg->node) {
        params_array(&params, &pg->releases, PG_NUMBERS);
        params_number(&params, (int64_t)node_id(pg->node));
        pglink_send(&pg->link, PG_RELEASE, &params, NULL, NULL);
    }
    array_clear(&pg->releases);
    pg->gathered_size = 0;
    buf_finish(&params.bytes);
}

static void each_array(struct postgres *pg, void (*fn)(struct pg_array *array))
{
    const struct { struct pg_array *arrays; size_t count; } all[] = {
        {pg->messages, COUNT_OF(pg->messages)}, {pg->contents, COUNT_OF(pg->contents)},
        {pg->recipients, COUNT_OF(pg->recipients)}, {pg->origins, COUNT_OF(pg->origins)},
        {pg->settles, COUNT_OF(pg->settles)}, {pg->changes, COUNT_OF(pg->changes)}, {&pg->ends, 1}, {&pg->releases, 1},
        {pg->drops, COUNT_OF(pg->drops)},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++)
        for (size_t k = 0; k < all[i].count; k++)
            fn(&all[i].arrays[k]);
}

bool gathered_any(const struct postgres *pg)
{
    const struct pg_array *first[] = {pg->messages, pg->origins, pg->settles, pg->changes, &pg->ends, pg->drops, &pg->releases};
    for (size_t i = 0; i < COUNT_OF(first); i++)
        if (first[i]->count)
            return true;
    return pg->finish_count > 0;
}

void gathered_clear(struct postgres *pg)
{
    each_array(pg, array_clear);
    pg->finish_count = 0;
    pg->gathered_size = 0;
}

static void array_finish(struct pg_array *array)
{
    buf_finish(&array->bytes);
}

void gathered_finish(struct postgres *pg)
{
    each_array(pg, array_finish);
    free(pg->finishes);
    pg->finishes = NULL;
}
