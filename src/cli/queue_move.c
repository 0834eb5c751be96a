/* mailroot queue move: all that the embedded queue holds into a shared one (--to URL), or back (--to sqlite).
 *
 * A batch: 1. committed there, its queued recipients marked as arriving (held, next_ms below 0), so that nobody sends them yet;
 * 2. committed as gone here; 3. there the marks are taken away. What breaks off in between is taken up by the same command: what is
 * marked there is first removed here, then let go. So no message is in both queues and free in either. */
#include "cli/queue.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "store/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 200 };

struct move {
    struct queue_request *request;
    struct store *from, *to;
    const char *dir;           /* of the embedded one's body files */
    uint64_t ids[BATCH], after;
    size_t count, moved;
    uint64_t *known;           /* origins that are there already */
    size_t known_count;
    struct error error;
    bool is_failed;
};

static int64_t mark(int64_t next_ms)
{
    return -1 - next_ms; /* and back */
}

static bool note_id(void *arg, const struct store_message *message, const struct store_recipient *recipients, size_t count)
{
    struct move *move = arg;
    (void)recipients;
    (void)count;
    move->ids[move->count++] = move->after = message->id;
    return true;
}

static bool note_arriving(void *arg, const struct store_message *message, const struct store_recipient *recipients, size_t count)
{
    struct move *move = arg;
    move->after = message->id;
    for (size_t i = 0; i < count; i++) {
        if (recipients[i].state == STATE_HELD && recipients[i].next_ms < 0) {
            move->ids[move->count++] = message->id;
            break;
        }
    }
    return move->count < BATCH;
}

static bool read_body(struct move *move, const struct store_message *m, struct buf *content)
{
    int fd = store_body_open(move->dir, m->id, &move->error);
    if (fd < 0)
        return false;
    bool is_done = file_read(fd, m->size + 1, content, &move->error);
    close(fd);
    return is_done;
}

static bool copy_one(struct move *move, uint64_t id)
{
    struct arena arena = {0};
    struct buf content = {0};
    struct store_message m, there;
    struct store_recipient *recipients;
    size_t count;
    bool is_done = store_read_message(move->from, &arena, id, true, &m, &move->error)
                   && store_read_recipients(move->from, &arena, id, &recipients, &count, &move->error)
                   && (!m.is_in_file || read_body(move, &m, &content));
    bool is_new = is_done && !store_read_message(move->to, &arena, id, false, &there, &(struct error){{0}});
    if (is_new) {
        if (m.is_in_file)
            m.content = buf_slice(&content);
        m.is_in_file = !store_is_shared(move->to) && m.size > STORE_INLINE_SIZE_MAX;
        for (size_t i = 0; i < count; i++) {
            if (recipients[i].state != STATE_QUEUED)
                continue;
            recipients[i].state = STATE_HELD;
            recipients[i].next_ms = mark(recipients[i].next_ms);
        }
        is_done = (!m.is_in_file || store_body_write(move->dir, id, m.content, &move->error))
                  && store_add_message(move->to, &m, recipients, count, &move->error);
    }
    buf_finish(&content);
    arena_finish(&arena);
    return is_done;
}

static bool copy_batch(struct move *move)
{
    bool is_done = store_begin(move->to, &move->error);
    for (size_t i = 0; is_done && i < move->count; i++) {
        is_done = copy_one(move, move->ids[i]);
        if (!is_done)
            store_rollback(move->to);
    }
    return is_done && store_commit(move->to, &move->error);
}

static bool end_batch(struct move *move)
{
    bool is_done = store_begin(move->from, &move->error);
    for (size_t i = 0; is_done && i < move->count; i++) {
        is_done = store_end_message(move->from, move->ids[i], &move->error);
        if (!is_done)
            store_rollback(move->from);
    }
    return is_done && store_commit(move->from, &move->error);
}

static bool free_batch(struct move *move)
{
    struct arena arena = {0};
    bool is_done = store_begin(move->to, &move->error);
    for (size_t i = 0; is_done && i < move->count; i++) {
        struct store_recipient *recipients;
        size_t count;
        is_done = store_read_recipients(move->to, &arena, move->ids[i], &recipients, &count, &move->error);
        for (size_t k = 0; is_done && k < count; k++)
            if (recipients[k].state == STATE_HELD && recipients[k].next_ms < 0)
                is_done = store_set_due(move->to, &recipients[k], mark(recipients[k].next_ms), &move->error);
        if (!is_done)
            store_rollback(move->to);
        arena_reset(&arena);
    }
    arena_finish(&arena);
    return is_done && store_commit(move->to, &move->error);
}

static void progress(const struct move *move)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rmoved %zu", move->moved);
    else if (move->moved % (10 * BATCH) == 0)
        fprintf(stderr, "moved %zu\n", move->moved);
}

/* What an earlier run that broke off has left. */
static bool take_up(struct move *move)
{
    struct store_filter filter = FILTER_ALL;
    move->after = 0;
    do {
        move->count = 0;
        filter.after_id = move->after;
        if (!store_select(move->to, &filter, note_arriving, move, &move->error)
            || (move->count && (!end_batch(move) || !free_batch(move))))
            return false;
        move->moved += move->count;
    } while (move->count == BATCH);
    return true;
}

static void know(void *arg, const struct store_origin *origin)
{
    struct move *move = arg;
    move->known = mem_resize(move->known, (move->known_count + 1) * sizeof *move->known);
    move->known[move->known_count++] = origin->id;
}

/* What is not a message goes over in transactions of BATCH rows. */
static bool may_copy(struct move *move)
{
    move->is_failed = move->is_failed || (move->count == 0 && !store_begin(move->to, &move->error));
    return !move->is_failed;
}

static void copied(struct move *move, bool is_done)
{
    if (!is_done) {
        store_rollback(move->to);
        move->is_failed = true;
    } else if (++move->count == BATCH) {
        move->count = 0;
        move->is_failed = !store_commit(move->to, &move->error);
    }
}

static void copy_origin(void *arg, const struct store_origin *origin)
{
    struct move *move = arg;
    for (size_t i = 0; i < move->known_count; i++)
        if (move->known[i] == origin->id)
            return;
    if (may_copy(move))
        copied(move, store_add_origin(move->to, origin, &move->error));
}

static void copy_usage(void *arg, const struct store_usage *usage)
{
    struct move *move = arg;
    if (may_copy(move))
        copied(move, store_set_usage(move->to, usage, &move->error));
}

/* One that is there already stays whose it is. */
static void copy_once(void *arg, const struct store_once *once)
{
    struct move *move = arg;
    uint64_t first;
    int64_t now_ms = clock_wall_ms();
    if (once->until_ms > now_ms && may_copy(move))
        copied(move, store_add_once(move->to, once, now_ms, &first, &move->error));
}

/* Files in Pickup that a power cut may bring back, keys that count once, counters of folders: known there before the messages are. */
static bool move_rest(struct move *move)
{
    uint64_t last_id;
    move->count = 0;
    bool is_done = store_each_origin(move->to, know, move, &move->error) && store_each_origin(move->from, copy_origin, move, &move->error)
                   && store_each_usage(move->from, copy_usage, move, &move->error)
                   && store_each_once(move->from, copy_once, move, &move->error) && store_last_id(move->from, &last_id, &move->error)
                   && may_copy(move);
    if (is_done) {
        store_raise_last_id(move->to, last_id);
        return store_commit(move->to, &move->error);
    }
    if (move->count && !move->is_failed)
        store_rollback(move->to);
    return false;
}

static bool move_all(struct move *move)
{
    struct store_filter filter = FILTER_ALL;
    filter.limit = BATCH;
    if (!take_up(move) || !move_rest(move))
        return false;
    do {
        move->count = 0;
        if (!store_select(move->from, &filter, note_id, move, &move->error))
            return false;
        if (move->count && (!copy_batch(move) || !end_batch(move) || !free_batch(move)))
            return false;
        move->moved += move->count;
        progress(move);
    } while (move->count);
    return true;
}

static void count_living(void *arg, const struct store_node *node)
{
    *(size_t *)arg += node->lease_left_ms > 0;
}

static bool nobody_lives(struct store *store, struct error *error)
{
    size_t living = 0;
    if (!store_each_node(store, count_living, &living, error))
        return false;
    return living == 0 || error_set(error, "%zu nodes still work with that queue: stop them first", living);
}

/* A command line is seen by everybody on the machine. */
static bool has_password(const char *url)
{
    const char *host = strstr(url, "://"), *at = host ? strchr(host + 3, '@') : NULL;
    return strstr(url, "password=") || (at && memchr(host + 3, ':', (size_t)(at - host - 3)));
}

static bool find_places(const struct queue_request *request, struct store_place *ret_from, struct store_place *ret_to, struct error *error)
{
    struct store_place embedded = request->place.store, shared = request->place.store;
    bool is_back = strcmp(request->to, "sqlite") == 0;
    embedded.url = NULL;
    if (!is_back && strncmp(request->to, "postgresql://", 13) != 0 && strncmp(request->to, "postgres://", 11) != 0)
        return error_set(error, "move: --to postgresql://USER@HOST/DATABASE or --to sqlite was expected");
    if (!is_back && has_password(request->to))
        return error_set(error, "move: a password on a command line is seen by all: name a file by cluster.password_file");
    if (is_back && !shared.url)
        return error_set(error, "move: --to sqlite goes with a config whose store is a URL");
    if (!is_back)
        shared.url = request->to;
    *ret_from = is_back ? shared : embedded;
    *ret_to = is_back ? embedded : shared;
    return true;
}

int queue_move(struct queue_request *request)
{
    struct move move = {.request = request, .dir = request->queue_dir};
    struct store_place from, to;
    if (!request->to || !find_places(request, &from, &to, &move.error))
        return command_fail("queue", EX_USAGE, "%s", request->to ? move.error.text : "move: --to URL or --to sqlite was expected");
    int lock_fd = queue_lock(request, &move.error);
    if (lock_fd < 0)
        return command_fail("queue", EX_TEMPFAIL, "move: %s: stop the relay; mail waits in Pickup meanwhile", move.error.text);
    bool is_done = store_open_at(&from, STORE_WRITER, &move.from, &move.error) && nobody_lives(move.from, &move.error)
                   && store_open_at(&to, STORE_WRITER, &move.to, &move.error) && move_all(&move);
    store_close(&move.from);
    store_close(&move.to);
    free(move.known);
    close(lock_fd);
    if (isatty(STDERR_FILENO))
        (void)fputc('\n', stderr);
    if (request->is_json)
        printf("{\"verb\":\"move\",\"count\":%zu}\n", move.moved);
    else
        printf("move: %zu message%s\n", move.moved, move.moved == 1 ? "" : "s");
    return is_done ? EX_OK : command_fail("queue", EX_TEMPFAIL, "move: %s: the same command goes on from here", move.error.text);
}
