#include "store/node_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <stdlib.h>

enum { CLAIM_MAX = 500 };

struct claiming {
    struct node *node;
    struct arena arena;          /* of all texts */
    struct store_message messages[CLAIM_MAX];
    size_t count;
    struct store_recipient *recipients; /* in order of message and number */
    size_t recipient_count;
    char *contents[CLAIM_MAX];   /* heap */
    struct queued *list, **end;
    struct pg_array undue;       /* claimed for nothing */
    int64_t now_ms;
};

static void note_messages(void *arg, const PGresult *rows)
{
    struct claiming *claiming = arg;
    for (int row = 0; row < PQntuples(rows) && claiming->count < CLAIM_MAX; row++) {
        row_message(rows, row, &claiming->messages[claiming->count]);
        keep_message(&claiming->arena, &claiming->messages[claiming->count++]);
    }
}

static void note_recipients(void *arg, const PGresult *rows)
{
    struct claiming *claiming = arg;
    size_t count = (size_t)PQntuples(rows);
    claiming->recipients = arena_alloc(&claiming->arena, (count + 1) * sizeof *claiming->recipients);
    for (claiming->recipient_count = 0; claiming->recipient_count < count; claiming->recipient_count++) {
        struct store_recipient *r = &claiming->recipients[claiming->recipient_count];
        row_recipient(rows, (int)claiming->recipient_count, r);
        keep_recipient(&claiming->arena, r);
    }
}

static int by_id(const void *a, const void *b)
{
    uint64_t left = ((const struct store_message *)a)->id, right = ((const struct store_message *)b)->id;
    return (left > right) - (left < right);
}

static void note_content(void *arg, const PGresult *rows)
{
    struct claiming *claiming = arg;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct store_message key = {.id = (uint64_t)row_number(rows, row, 0)};
        const struct store_message *found = bsearch(&key, claiming->messages, claiming->count, sizeof key, by_id);
        struct slice data = row_text(rows, row, 1);
        if (found && data.size == found->size && !claiming->contents[found - claiming->messages])
            claiming->contents[found - claiming->messages] = slice_copy(data);
    }
}

/* Which buckets are this node's: every n-th of them from its rank on. */
static void put_buckets(struct node *node, struct pg_params *params, bool is_mine, const bool refused[NODE_BUCKETS])
{
    struct pg_array buckets = {0};
    pthread_mutex_lock(&node->mutex);
    for (size_t i = 0; i < NODE_BUCKETS; i++)
        if (is_mine ? i % node->count == node->rank : refused[i])
            array_number(&buckets, (int64_t)i);
    pthread_mutex_unlock(&node->mutex);
    params_array(params, &buckets, PG_NUMBERS);
    buf_finish(&buckets.bytes);
}

static void send_claim(struct claiming *claiming, const struct node_want *want, int priority, size_t limit)
{
    struct node *node = claiming->node;
    struct pg_params params = {0};
    params_number(&params, (int64_t)node->id);
    params_number(&params, priority);
    params_number(&params, claiming->now_ms);
    put_buckets(node, &params, true, want->refused);
    params_number(&params, claiming->now_ms - 2 * node->parts.poll_ms); /* N5 */
    put_buckets(node, &params, false, want->refused);
    params_number(&params, (int64_t)limit);
    params_number(&params, (int64_t)node->claims + 1);
    pglink_send(&node->link, PG_CLAIM, &params, note_messages, claiming);
    buf_finish(&params.bytes);
}

static bool claim_rows(struct claiming *claiming, const struct node_want *want, size_t limit, struct error *error)
{
    static const int priorities[] = {1, 0, -1};
    struct node *node = claiming->node;
    struct pg_params params = {0};
    pglink_send(&node->link, PG_BEGIN, NULL, NULL, NULL);
    params_number(&params, (int64_t)node->id);
    params_number(&params, (int64_t)node->claims + 1);
    pglink_send(&node->link, PG_NUMBER_CLAIM, &params, NULL, NULL);
    buf_finish(&params.bytes);
    bool is_done = true;
    for (size_t i = 0; is_done && i < COUNT_OF(priorities) && claiming->count < limit; i++) {
        send_claim(claiming, want, priorities[i], limit - claiming->count);
        is_done = pglink_run(&node->link, error);
    }
    qsort(claiming->messages, claiming->count, sizeof *claiming->messages, by_id);
    return is_done;
}

/* Small ones come with their content, while there is room for it; the others are read when they are sent. */
static bool read_rest(struct claiming *claiming, size_t content_room, struct error *error)
{
    struct pglink *link = &claiming->node->link;
    struct pg_params params = {0};
    struct pg_array ids = {0}, small = {0};
    for (size_t i = 0; i < claiming->count; i++) {
        const struct store_message *m = &claiming->messages[i];
        array_number(&ids, (int64_t)m->id);
        if (m->size > CONTENT_PART || m->size > content_room)
            continue;
        content_room -= m->size;
        array_number(&small, (int64_t)m->id);
    }
    params_array(&params, &ids, PG_NUMBERS);
    pglink_send(link, PG_CLAIM_RECIPIENTS, &params, note_recipients, claiming);
    params_array(&params, &small, PG_NUMBERS);
    pglink_send(link, PG_CLAIM_CONTENT, &params, note_content, claiming);
    bool is_done = pglink_run(link, error);
    buf_finish(&params.bytes);
    buf_finish(&ids.bytes);
    buf_finish(&small.bytes);
    return is_done;
}

static void make_queued(struct claiming *claiming)
{
    size_t at = 0;
    for (size_t i = 0; i < claiming->count; i++) {
        const struct store_message *m = &claiming->messages[i];
        size_t first = at, due = 0, open = 0;
        for (; at < claiming->recipient_count && claiming->recipients[at].message_id == m->id; at++) {
            struct store_recipient *r = &claiming->recipients[at];
            open += r->state == STATE_QUEUED || r->state == STATE_HELD;
            if (r->state == STATE_QUEUED && r->next_ms <= claiming->now_ms)
                claiming->recipients[first + due++] = *r;
        }
        if (due == 0) {
            array_number(&claiming->undue, (int64_t)m->id);
            continue;
        }
        struct queued *queued = queued_create(m, &claiming->recipients[first], due, claiming->contents[i]);
        claiming->contents[i] = NULL;
        queued->open_count = open;
        *claiming->end = queued;
        claiming->end = &queued->next;
    }
}

static bool commit(struct claiming *claiming, struct error *error)
{
    struct pglink *link = &claiming->node->link;
    struct pg_params params = {0};
    if (claiming->undue.count) {
        params_array(&params, &claiming->undue, PG_NUMBERS);
        pglink_send(link, PG_REFRESH, &params, NULL, NULL);
        params_array(&params, &claiming->undue, PG_NUMBERS);
        params_number(&params, (int64_t)claiming->node->id);
        pglink_send(link, PG_RELEASE, &params, NULL, NULL);
    }
    pglink_send(link, PG_COMMIT, NULL, NULL, NULL);
    buf_finish(&params.bytes);
    return pglink_run(link, error);
}

static void claiming_finish(struct claiming *claiming)
{
    while (claiming->list) {
        struct queued *queued = claiming->list;
        claiming->list = queued->next;
        queued_destroy(&queued);
    }
    for (size_t i = 0; i < claiming->count; i++)
        free(claiming->contents[i]);
    buf_finish(&claiming->undue.bytes);
    arena_finish(&claiming->arena);
    free(claiming);
}

bool claim_due(struct node *node, const struct node_want *want, struct error *error)
{
    struct claiming *claiming = mem_alloc(sizeof *claiming);
    size_t limit = want->count < CLAIM_MAX ? want->count : CLAIM_MAX;
    claiming->node = node;
    claiming->end = &claiming->list;
    claiming->now_ms = clock_due_ms();
    bool is_done = claim_rows(claiming, want, limit, error);
    if (is_done && claiming->count) {
        is_done = read_rest(claiming, want->content_room, error);
        if (is_done)
            make_queued(claiming);
    }
    is_done = is_done && commit(claiming, error);
    if (is_done) {
        node->claims++;
        node_post_claimed(node, claiming->list, claiming->count < limit);
        claiming->list = NULL;
    } else if (!pglink_is_open(&node->link)) {
        node->doubtful = node->claims + 1;
    } else {
        pglink_send(&node->link, PG_ROLLBACK, NULL, NULL, NULL);
        (void)pglink_run(&node->link, NULL);
    }
    claiming_finish(claiming);
    return is_done;
}

bool claim_settle_doubt(struct node *node, struct error *error)
{
    struct pg_params params = {0};
    if (!node->doubtful)
        return true;
    pglink_send(&node->link, PG_BEGIN, NULL, NULL, NULL);
    params_number(&params, (int64_t)node->id);
    params_number(&params, (int64_t)node->doubtful + 1);
    pglink_send(&node->link, PG_CLOSE_CLAIM, &params, NULL, NULL); /* waits for that transaction; none of it comes later */
    params_number(&params, (int64_t)node->id);
    params_number(&params, (int64_t)node->doubtful);
    pglink_send(&node->link, PG_DROP_CLAIM, &params, NULL, NULL);
    pglink_send(&node->link, PG_COMMIT, NULL, NULL, NULL);
    buf_finish(&params.bytes);
    if (pglink_run(&node->link, error)) {
        node->claims = node->doubtful + 1;
        node->doubtful = 0;
        return true;
    }
    if (pglink_is_open(&node->link)) {
        pglink_send(&node->link, PG_ROLLBACK, NULL, NULL, NULL);
        (void)pglink_run(&node->link, NULL);
    }
    return false;
}
