#include "store/node_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { AGAIN_MS = 300, RENEWALS = 6, TELL_SIZE_MAX = 7000, CHANGED_IDS_MAX = 400 };

/* ---- letters to the loop ---- */

enum news { NEWS_CLAIMED, NEWS_CHANGED, NEWS_SHARED, NEWS_FENCED, NEWS_TOLD };

struct news_letter {
    struct letter letter;
    struct node *node;
    enum news news;
    bool flag;                   /* is_all; is_error */
    struct queued *list;
    uint64_t *ids;
    size_t count;
    char text[ERROR_TEXT_SIZE_MAX];
};

static void deliver(struct letter *letter)
{
    struct news_letter *n = (struct news_letter *)letter;
    const struct node_parts *parts = &n->node->parts;
    switch (n->news) {
    case NEWS_CLAIMED: parts->claimed(parts->arg, n->list, n->flag); break;
    case NEWS_CHANGED: parts->changed(parts->arg, n->ids, n->count); break;
    case NEWS_SHARED: parts->shared(parts->arg); break;
    case NEWS_FENCED: parts->fenced(parts->arg); break;
    case NEWS_TOLD: parts->told(parts->arg, n->flag, n->text); break;
    }
    free(n->ids);
    free(n);
}

static struct news_letter *news_create(struct node *node, enum news news)
{
    struct news_letter *letter = mem_alloc(sizeof *letter);
    letter->letter.run = deliver;
    letter->node = node;
    letter->news = news;
    return letter;
}

static void news_post(struct news_letter *letter)
{
    post_send(letter->node->parts.post, &letter->letter);
}

void node_tell(struct node *node, bool is_error, const char *format, ...)
{
    struct news_letter *letter = news_create(node, NEWS_TOLD);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(letter->text, sizeof letter->text, format, args);
    va_end(args);
    letter->flag = is_error;
    news_post(letter);
}

void node_post_claimed(struct node *node, struct queued *list, bool is_all)
{
    struct news_letter *letter = news_create(node, NEWS_CLAIMED);
    letter->list = list;
    letter->flag = is_all;
    news_post(letter);
}

static void wake(const struct node *node)
{
    static const uint64_t one = 1;
    (void)!write(node->wake_fd, &one, sizeof one); /* full means that it is awake */
}

void node_fenced(struct node *node)
{
    node->ends_ms = 0;
    if (!atomic_exchange(&node->is_fenced, true))
        news_post(news_create(node, NEWS_FENCED));
}

/* ---- what the loop asks and says ---- */

uint64_t node_id(const struct node *node)
{
    return node->id;
}

unsigned node_slot(const struct node *node)
{
    return node->slot;
}

uint64_t node_batch(const struct node *node)
{
    return node->batch;
}

uint64_t node_last_id(const struct node *node)
{
    return node->last_id;
}

bool node_may_send(const struct node *node)
{
    return node->has_room && !node->is_fenced && clock_mono_ms() < node->ends_ms;
}

int64_t node_lease_ends_ms(const struct node *node)
{
    return node->ends_ms;
}

static pthread_mutex_t *mutex_of(const struct node *node)
{
    return (pthread_mutex_t *)(uintptr_t)&node->mutex;
}

size_t node_share(const struct node *node, size_t limit)
{
    pthread_mutex_lock(mutex_of(node));
    size_t share = limit / node->count + (node->rank < limit % node->count);
    pthread_mutex_unlock(mutex_of(node));
    return share;
}

size_t node_count(const struct node *node)
{
    pthread_mutex_lock(mutex_of(node));
    size_t count = node->count;
    pthread_mutex_unlock(mutex_of(node));
    return count;
}

size_t node_rank(const struct node *node)
{
    pthread_mutex_lock(mutex_of(node));
    size_t rank = node->rank;
    pthread_mutex_unlock(mutex_of(node));
    return rank;
}

void node_made_room(struct node *node)
{
    pthread_mutex_lock(&node->mutex);
    bool is_new = node->room_for != node->newest;
    node->room_for = node->newest;
    pthread_mutex_unlock(&node->mutex);
    if (is_new)
        wake(node);
}

void node_want(struct node *node, size_t count, size_t content_room, const bool refused[NODE_BUCKETS])
{
    pthread_mutex_lock(&node->mutex);
    node->want.count = count;
    node->want.content_room = content_room;
    memcpy(node->want.refused, refused, sizeof node->want.refused);
    pthread_mutex_unlock(&node->mutex);
    wake(node);
}

void node_hurry(struct node *node)
{
    pthread_mutex_lock(&node->mutex);
    node->is_hurried = true;
    pthread_mutex_unlock(&node->mutex);
    wake(node);
}

void node_tell_changed(struct node *node, const uint64_t *ids, size_t count)
{
    struct buf payload = {0};
    char id[17];
    buf_append_text(&payload, "changed");
    for (size_t i = 0; i < count && count <= CHANGED_IDS_MAX; i++) {
        store_id_text(ids[i], id);
        buf_printf(&payload, " %s", id);
    }
    CHECK(payload.size < TELL_SIZE_MAX);
    buf_append_byte(&payload, '\0');
    pthread_mutex_lock(&node->mutex);
    buf_append(&node->tells, buf_slice(&payload));
    pthread_mutex_unlock(&node->mutex);
    buf_finish(&payload);
    wake(node);
}

void node_report(struct node *node, const struct node_numbers *numbers)
{
    pthread_mutex_lock(&node->mutex);
    node->numbers = *numbers;
    pthread_mutex_unlock(&node->mutex);
}

unsigned node_bucket(struct slice domain)
{
    uint32_t hash = 2166136261u; /* FNV-1a, ASCII letters in lower case */
    for (size_t i = 0; i < domain.size; i++) {
        unsigned char c = (unsigned char)domain.data[i];
        hash = (hash ^ (c >= 'A' && c <= 'Z' ? c + 32u : c)) * 16777619u;
    }
    return (hash ^ hash >> 16) % NODE_BUCKETS;
}

/* ---- the thread ---- */

static void hear_changed(struct node *node, struct slice words)
{
    struct news_letter *letter = news_create(node, NEWS_CHANGED);
    letter->ids = mem_alloc((CHANGED_IDS_MAX + 1) * sizeof *letter->ids);
    while (words.size && letter->count < CHANGED_IDS_MAX)
        letter->count += store_id_parse(slice_cut(&words, ' '), &letter->ids[letter->count]);
    news_post(letter);
}

static void hear(struct node *node)
{
    PGnotify *notice;
    if (!pglink_is_open(&node->link) || !PQconsumeInput(node->link.connection))
        return; /* a broken connection is found out by the next renewal */
    while ((notice = PQnotifies(node->link.connection)) != NULL) {
        struct slice words = slice_of(notice->extra), verb = slice_cut(&words, ' ');
        bool is_other = notice->be_pid != PQbackendPID(node->link.connection);
        if (is_other && slice_equals(verb, SLICE("changed")))
            hear_changed(node, words);
        if (is_other && slice_equals(verb, SLICE("members")))
            node->renew_at_ms = 0;
        node->claim_at_ms = 0;
        PQfreemem(notice);
    }
}

static void send_tells(struct node *node)
{
    pthread_mutex_lock(&node->mutex);
    struct buf tells = node->tells;
    node->tells = (struct buf){0};
    pthread_mutex_unlock(&node->mutex);
    for (size_t at = 0; at < tells.size && pglink_is_open(&node->link); at += strlen(tells.data + at) + 1)
        member_notify(node, tells.data + at);
    buf_finish(&tells);
}

/* What concerns the loop: another share, or that it may send now. */
static void tell_share(struct node *node)
{
    bool may_send = node_may_send(node);
    pthread_mutex_lock(&node->mutex);
    bool is_new = node->newest != node->told_newest || node->count != node->told_count || may_send != node->told_may_send;
    node->told_newest = node->newest;
    node->told_count = node->count;
    node->told_may_send = may_send;
    pthread_mutex_unlock(&node->mutex);
    if (is_new)
        news_post(news_create(node, NEWS_SHARED));
}

static bool renew_steps(struct node *node, struct error *error)
{
    if (!pglink_open(&node->link, error))
        return false;
    if (node->connects != node->link.connects) {
        (void)pglink_execute(&node->link, "LISTEN mailroot", NULL); /* N7: not every database has it */
        node->connects = node->link.connects;
        node->claim_at_ms = 0;
    }
    return member_renew(node, error) && (node->is_fenced || claim_settle_doubt(node, error));
}

static void renew(struct node *node)
{
    struct error error;
    pthread_mutex_lock(&node->mutex);
    uint64_t room_for = node->room_for;
    pthread_mutex_unlock(&node->mutex);
    if (!renew_steps(node, &error)) {
        if (!node->was_down)
            node_tell(node, true, "the lease is not renewed: %s", error.text);
        node->was_down = true;
        pglink_end_orphans(&node->link);
        node->renew_at_ms = clock_mono_ms() + AGAIN_MS;
    } else {
        if (node->was_down)
            node_tell(node, false, "the database is back");
        node->was_down = false;
        node->renew_at_ms = clock_mono_ms() + node->parts.lease_ms / RENEWALS;
        member_take_over(node);
        if (room_for != node->told_room_for)
            member_notify(node, "members"); /* one that joins waits for it */
        node->told_room_for = room_for;
    }
    tell_share(node);
}

static void claim(struct node *node)
{
    struct node_want want;
    struct error error;
    pthread_mutex_lock(&node->mutex);
    want = node->want;
    if (node->is_hurried)
        node->claim_at_ms = 0;
    node->is_hurried = false;
    pthread_mutex_unlock(&node->mutex);
    if (want.count == 0 || clock_mono_ms() < node->claim_at_ms || !pglink_is_open(&node->link) || !node_may_send(node)
        || node->doubtful)
        return;
    node->claim_at_ms = clock_mono_ms() + node->parts.poll_ms;
    if (claim_due(node, &want, &error))
        return;
    node_tell(node, true, "nothing was claimed: %s", error.text);
    node->renew_at_ms = 0;
}

static int wait_ms(struct node *node)
{
    int64_t now_ms = clock_mono_ms(), until_ms = node->renew_at_ms;
    pthread_mutex_lock(&node->mutex);
    if (node->want.count && pglink_is_open(&node->link) && node->claim_at_ms < until_ms && node_may_send(node))
        until_ms = node->claim_at_ms;
    pthread_mutex_unlock(&node->mutex);
    return until_ms <= now_ms ? 0 : (int)(until_ms - now_ms);
}

static void *node_main(void *arg)
{
    struct node *node = arg;
    uint64_t count;
    while (!node->is_stopping && !node->is_fenced) {
        bool has_news;
        pthread_mutex_lock(&node->mutex);
        has_news = node->room_for != node->told_room_for;
        pthread_mutex_unlock(&node->mutex);
        if (has_news || clock_mono_ms() >= node->renew_at_ms)
            renew(node);
        send_tells(node);
        claim(node);
        struct pollfd watched[] = {
            {.fd = node->wake_fd, .events = POLLIN},
            {.fd = pglink_is_open(&node->link) ? PQsocket(node->link.connection) : -1, .events = POLLIN},
        };
        if (poll(watched, COUNT_OF(watched), wait_ms(node)) > 0 && watched[1].revents)
            hear(node);
        if (watched[1].revents & (POLLHUP | POLLERR))
            node->renew_at_ms = 0;
        if (watched[0].revents)
            (void)!read(node->wake_fd, &count, sizeof count);
    }
    return NULL;
}

/* ---- life ---- */

static void node_destroy(struct node *node)
{
    pglink_finish(&node->link);
    if (node->wake_fd >= 0)
        close(node->wake_fd);
    pthread_mutex_destroy(&node->mutex);
    buf_finish(&node->tells);
    place_finish(&node->place);
    free(node->root);
    free(node);
}

struct node *node_join(const struct node_parts *parts, bool *ret_may_help, struct error *error)
{
    struct node *node = mem_alloc(sizeof *node);
    node->parts = *parts;
    place_copy(parts->place, &node->place);
    node->root = mem_copy_text(parts->root);
    pthread_mutex_init(&node->mutex, NULL);
    pglink_init(&node->link, &node->place);
    node->link.is_stopped = &node->is_stopping;
    node->count = 1;
    node->renewed_ms = node->steady_since_ms = clock_mono_ms();
    node->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bool is_done = node->wake_fd >= 0 || error_set_errno(error, "eventfd");
    is_done = is_done && member_join(node, error);
    node->room_for = node->told_room_for = node->id;
    is_done = is_done && member_renew(node, error);
    if (is_done)
        member_notify(node, "members");
    int problem = is_done ? pthread_create(&node->thread, NULL, node_main, node) : 0;
    if (problem)
        is_done = error_set(error, "can't start the node's thread: %s", strerrordesc_np(problem));
    *ret_may_help = !node->link.is_too_new;
    if (!is_done) {
        node_destroy(node);
        return NULL;
    }
    (void)pthread_setname_np(node->thread, "node");
    return node;
}

void node_stop(struct node *node)
{
    if (node->is_joined)
        return;
    node->is_stopping = true;
    wake(node);
    pthread_join(node->thread, NULL);
    node->is_joined = true; /* with this thread */
}

void node_leave(struct node **node)
{
    struct node *n = *node;
    if (!n)
        return;
    node_stop(n);
    n->link.is_stopped = NULL;
    if (!n->is_fenced)
        member_leave(n);
    node_destroy(n);
    *node = NULL;
}
