#include "store/node_private.h"

#include "os/clock.h"

#include <stdlib.h>

struct found { int64_t numbers[3]; struct slice text; char name[80]; bool is_there; };

static void keep_name(struct found *found, struct slice name)
{
    struct error printable; /* error_set() escapes what is no text */
    (void)error_set(&printable, "%.*s", SLICE_FMT(name));
    size_t size = strnlen(printable.text, sizeof found->name - 1);
    memcpy(found->name, printable.text, size);
    found->name[size] = '\0';
}

static void note_numbers(void *arg, const PGresult *rows)
{
    struct found *found = arg;
    found->is_there = PQntuples(rows) > 0;
    for (int i = 0; found->is_there && i < PQnfields(rows) && i < 3; i++)
        found->numbers[i] = row_number(rows, 0, i);
}

struct namesake { struct node *node; uint64_t id; bool is_there, is_ours, is_alive; };

static void note_namesake(void *arg, const PGresult *rows)
{
    struct namesake *other = arg;
    other->is_there = PQntuples(rows) == 1;
    if (!other->is_there)
        return;
    other->id = (uint64_t)row_number(rows, 0, 0);
    other->is_ours = slice_equals(row_text(rows, 0, 1), slice_of(other->node->root));
    other->is_alive = row_number(rows, 0, 2) > 0;
}

static void send_fence(struct node *node, uint64_t id, pglink_rows_fn *fn, void *arg)
{
    static const enum pg_statement steps[] = {PG_FENCE_NODE, PG_FENCE_SLOT, PG_FENCE_CLAIMS};
    struct pg_params params = {0};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        params_number(&params, (int64_t)id);
        pglink_send(&node->link, steps[i], &params, steps[i] == PG_FENCE_CLAIMS ? fn : NULL, arg);
    }
    buf_finish(&params.bytes);
}

/* An earlier process in this folder is dead: its lock was taken. One of that name elsewhere must not live. */
static bool replace_namesake(struct node *node, struct pg_params *params, struct error *error)
{
    struct namesake other = {.node = node};
    params_text(params, slice_of(node->place.owner));
    pglink_send(&node->link, PG_JOIN_FIND, params, note_namesake, &other);
    if (!pglink_run(&node->link, error))
        return false;
    if (other.is_there && !other.is_ours && other.is_alive)
        return error_set(error, "another node that is alive is named %s, too: set `node` to another name here", node->place.owner);
    if (other.is_there)
        send_fence(node, other.id, NULL, NULL);
    return true;
}

static bool take_slot(struct node *node, struct pg_params *params, struct error *error)
{
    struct found slot = {0};
    for (int i = 0; i < 2 && !slot.is_there; i++) {
        if (i == 1)
            pglink_send(&node->link, PG_JOIN_NEW_SLOT, NULL, NULL, NULL);
        pglink_send(&node->link, PG_JOIN_SLOT, NULL, note_numbers, &slot);
        if (!pglink_run(&node->link, error))
            return false;
    }
    if (!slot.is_there || slot.numbers[0] > NODE_SLOT_MAX)
        return error_set(error, "more than %d nodes", NODE_SLOT_MAX);
    node->slot = (unsigned)slot.numbers[0];
    node->batch = (uint64_t)slot.numbers[1];
    params_number(params, node->slot);
    params_number(params, (int64_t)node->id);
    pglink_send(&node->link, PG_JOIN_TAKE_SLOT, params, NULL, NULL);
    return true;
}

static bool join_steps(struct node *node, struct pg_params *params, struct error *error)
{
    struct found number = {0}, highest = {0};
    pglink_send(&node->link, PG_BEGIN, NULL, NULL, NULL);
    params_number(params, (int64_t)schema_steps.count);
    pglink_send(&node->link, PG_JOIN_NUMBER, params, note_numbers, &number); /* one joins after the other, and behind a migration */
    if (!replace_namesake(node, params, error))
        return false;
    if (!number.is_there)
        return schema_too_new(&node->link, (int64_t)schema_steps.count + 1, &schema_steps, error);
    node->id = (uint64_t)number.numbers[0];
    if (!take_slot(node, params, error))
        return false;
    params_number(params, (int64_t)node->id);
    params_text(params, slice_of(node->place.owner));
    params_text(params, slice_of(node->root));
    params_number(params, node->slot);
    params_number(params, node->parts.lease_ms);
    params_text(params, SLICE(MAILROOT_VERSION));
    pglink_send(&node->link, PG_JOIN_ADD, params, NULL, NULL);
    pglink_send(&node->link, PG_READ_HIGHEST, NULL, note_numbers, &highest);
    pglink_send(&node->link, PG_COMMIT, NULL, NULL, NULL);
    if (!pglink_run(&node->link, error))
        return false;
    node->last_id = (uint64_t)highest.numbers[0];
    return true;
}

bool member_join(struct node *node, struct error *error)
{
    struct pg_params params = {0};
    if (!pglink_open(&node->link, error) || !schema_prepare(&node->link, STORE_WRITER, &schema_steps, error))
        return false;
    bool is_done = join_steps(node, &params, error);
    buf_finish(&params.bytes);
    if (!is_done && pglink_is_open(&node->link)) {
        pglink_send(&node->link, PG_ROLLBACK, NULL, NULL, NULL);
        (void)pglink_run(&node->link, NULL);
        pglink_end_orphans(&node->link);
    }
    return is_done;
}

void member_leave(struct node *node)
{
    if (!pglink_open(&node->link, NULL))
        return; /* its lease will be over */
    pglink_send(&node->link, PG_BEGIN, NULL, NULL, NULL);
    send_fence(node, node->id, NULL, NULL);
    pglink_send(&node->link, PG_COMMIT, NULL, NULL, NULL);
    if (pglink_run(&node->link, NULL))
        member_notify(node, "members");
}

void member_notify(struct node *node, const char *payload)
{
    struct pg_params params = {0};
    params_text(&params, slice_of(payload));
    pglink_send(&node->link, PG_NOTIFY, &params, NULL, NULL);
    (void)pglink_run(&node->link, NULL); /* without it the others' polls find out */
    buf_finish(&params.bytes);
}

/* ---- the lease ---- */

struct members { const struct node *node; size_t count, rank; uint64_t newest; bool is_there, has_room; };

static void note_members(void *arg, const PGresult *rows)
{
    struct members *members = arg;
    members->count = (size_t)PQntuples(rows);
    members->has_room = true;
    for (int row = 0; row < PQntuples(rows); row++) {
        uint64_t id = (uint64_t)row_number(rows, row, 0);
        members->newest = id; /* in order */
        if (id == members->node->id) {
            members->is_there = true;
            members->rank = (size_t)row;
        } else if ((uint64_t)row_number(rows, row, 1) < members->node->id) {
            members->has_room = false;
        }
    }
}

static void send_renewal(struct node *node, struct members *members)
{
    struct pg_params params = {0};
    pthread_mutex_lock(&node->mutex);
    const struct node_numbers *n = &node->numbers;
    const int64_t numbers[] = {(int64_t)node->id, node->parts.lease_ms, (int64_t)node->room_for, n->connections, n->active,
                               n->delivered, n->deferred, n->bounced};
    pthread_mutex_unlock(&node->mutex);
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        params_number(&params, numbers[i]);
    pglink_send(&node->link, PG_RENEW, &params, NULL, NULL);
    pglink_send(&node->link, PG_MEMBERS, NULL, note_members, members);
    buf_finish(&params.bytes);
}

bool member_renew(struct node *node, struct error *error)
{
    struct members members = {.node = node};
    int64_t asked_ms = clock_mono_ms();
    send_renewal(node, &members);
    if (!pglink_run(&node->link, error))
        return false;
    if (!members.is_there) {
        node_fenced(node);
        return true;
    }
    if (asked_ms - node->renewed_ms > node->parts.lease_ms / 2)
        node->steady_since_ms = asked_ms; /* N3 */
    node->renewed_ms = asked_ms;
    node->ends_ms = asked_ms + node->parts.lease_ms * 2 / 3;
    node->has_room = members.has_room;
    pthread_mutex_lock(&node->mutex);
    node->count = members.count;
    node->rank = members.rank;
    node->newest = members.newest;
    pthread_mutex_unlock(&node->mutex);
    return true;
}

/* ---- taking over ---- */

static void note_stale(void *arg, const PGresult *rows)
{
    struct found *stale = arg;
    stale->is_there = PQntuples(rows) == 1;
    if (!stale->is_there)
        return;
    stale->numbers[0] = row_number(rows, 0, 0);
    keep_name(stale, row_text(rows, 0, 1));
}

static void note_freed(void *arg, const PGresult *rows)
{
    *(long *)arg = strtol(PQcmdTuples((PGresult *)(uintptr_t)rows), NULL, 10);
}

static bool take_over_one(struct node *node)
{
    struct pg_params params = {0};
    struct found stale = {0};
    long freed = 0;
    pglink_send(&node->link, PG_BEGIN, NULL, NULL, NULL);
    params_number(&params, (int64_t)node->id);
    pglink_send(&node->link, PG_STALE, &params, note_stale, &stale);
    buf_finish(&params.bytes);
    bool is_done = pglink_run(&node->link, NULL);
    if (is_done && stale.is_there)
        send_fence(node, (uint64_t)stale.numbers[0], note_freed, &freed);
    if (!pglink_is_open(&node->link))
        return false;
    pglink_send(&node->link, is_done ? PG_COMMIT : PG_ROLLBACK, NULL, NULL, NULL);
    is_done = pglink_run(&node->link, NULL) && is_done;
    if (!is_done && pglink_is_open(&node->link)) { /* the old one's last transaction may stand open */
        pglink_send(&node->link, PG_ROLLBACK, NULL, NULL, NULL);
        (void)pglink_run(&node->link, NULL);
        pglink_end_orphans(&node->link);
    }
    if (!is_done || !stale.is_there)
        return false;
    node_tell(node, false, "node %s has not renewed its lease: its %ld messages are free for the others", stale.name, freed);
    return true;
}

void member_take_over(struct node *node)
{
    bool is_any = false;
    if (clock_mono_ms() - node->steady_since_ms < node->parts.lease_ms)
        return; /* N3 */
    while (take_over_one(node))
        is_any = true;
    if (is_any)
        member_notify(node, "members");
}

/* ---- for people ---- */

struct each_node { store_node_fn *fn; void *arg; };

static void give_nodes(void *arg, const PGresult *rows)
{
    const struct each_node *to = arg;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct store_node node = {
            .id = (uint64_t)row_number(rows, row, 0),
            .name = row_text(rows, row, 1),
            .version = row_text(rows, row, 2),
            .joined_ms = row_number(rows, row, 3),
            .lease_left_ms = row_number(rows, row, 4),
            .claims = (uint64_t)row_number(rows, row, 5),
            .numbers = {row_number(rows, row, 6), row_number(rows, row, 7), row_number(rows, row, 8), row_number(rows, row, 9),
                        row_number(rows, row, 10)},
        };
        to->fn(to->arg, &node);
    }
}

bool store_each_node(struct store *store, store_node_fn *fn, void *arg, struct error *error)
{
    struct each_node to = {fn, arg};
    if (!store_is_shared(store))
        return true;
    struct postgres *pg = postgres_of(store);
    if (!postgres_ready(pg, error))
        return false;
    pglink_send(&pg->link, PG_EACH_NODE, NULL, give_nodes, &to);
    return postgres_run(pg, error);
}
