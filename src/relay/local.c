/* Drop and Maildir: jobs for a thread of their own, since disks may take their time. The loop gives it at most BATCH_MAX;
 * it writes them, syncs each folder once, and a letter brings the results back, which are settled like any other. */
#include "relay/relay_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/post.h"
#include "relay/mailbox.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH_MAX = 64 };

struct delivery {              /* one file: of all of a job's recipients (Drop), or of one (Maildir) */
    struct mailbox_file file;
    size_t first, count;       /* places in the job's recipients */
    struct buf folder, head;
    enum mailbox_result result;
    const char *status;
    struct error error;
};

struct local_job {
    struct local_job *next;
    struct item *item;
    struct route *route;
    unsigned *recipients;
    size_t count, capacity;
    struct delivery *deliveries; /* made when the job is handed over */
    size_t delivery_count;
    int64_t started_ms;
    struct local *local;
    struct fetch_wait wait;    /* for the content */
};

struct list { struct local_job *first, **last; size_t count; };

struct local {
    struct relay *relay;
    struct list waiting;       /* the loop's */
    size_t busy_count;         /* handed over, not yet settled */
    pthread_t thread;
    pthread_mutex_t mutex;     /* what follows */
    pthread_cond_t wake;
    struct list todo, done;
    struct letter letter;
    bool is_letter_sent, is_stopping;
};

/* ---- jobs ---- */

static void list_push(struct list *list, struct local_job *job)
{
    job->next = NULL;
    if (!list->first)
        list->last = &list->first;
    *list->last = job;
    list->last = &job->next;
    list->count++;
}

static struct local_job *list_take(struct list *list)
{
    struct local_job *job = list->first;
    if (job) {
        list->first = job->next;
        list->count--;
        job->next = NULL;
    }
    return job;
}

static void job_free(struct local_job *job)
{
    for (size_t i = 0; i < job->delivery_count; i++) {
        buf_finish(&job->deliveries[i].folder);
        buf_finish(&job->deliveries[i].head);
    }
    free(job->deliveries);
    free(job->recipients);
    route_release(&job->route);
    free(job);
}

static const struct store_recipient *recipient_of(const struct local_job *job, size_t place)
{
    return &job->item->queued->recipients[job->recipients[place]];
}

/* One file in a Drop is for all of a message's recipients there, whichever domain they are of. */
static bool share_job(const struct config_route *a, const struct config_route *b)
{
    return a == b
           || (a->deliver == CONFIG_DELIVER_DROP && b->deliver == CONFIG_DELIVER_DROP
               && strcmp(a->drop_dir, b->drop_dir) == 0);
}

void local_add(struct relay *relay, struct route *route, struct item *item, unsigned recipient)
{
    struct list *list = &relay->local->waiting;
    struct local_job *job = list->first ? (struct local_job *)((char *)list->last - offsetof(struct local_job, next)) : NULL;
    if (!job || job->item != item || !share_job(job->route->rule, route->rule)) {
        job = mem_alloc(sizeof *job);
        job->local = relay->local;
        job->item = item;
        job->route = route_hold(route);
        list_push(list, job);
    }
    if (job->count == job->capacity) {
        job->capacity = job->capacity ? 4 * job->capacity : 1;
        job->recipients = mem_resize(job->recipients, job->capacity * sizeof *job->recipients);
    }
    job->recipients[job->count++] = recipient;
    relay_soon(relay);
}

/* ---- what is written ---- */

/* The lines that a Pickup, ours or another, takes as the envelope. */
static void prepare_drop(struct local_job *job, struct delivery *delivery)
{
    const struct store_message *message = &job->item->queued->message;
    char id[17];
    store_id_text(message->id, id);
    buf_append_text(&delivery->folder, job->route->rule->drop_dir);
    if (message->sender.size)
        buf_printf(&delivery->head, "x-sender: %.*s\r\n", SLICE_FMT(message->sender));
    else
        buf_append_text(&delivery->head, "x-sender: <>\r\n");
    for (size_t i = 0; i < job->count; i++)
        buf_printf(&delivery->head, "x-receiver: %.*s\r\n", SLICE_FMT(recipient_of(job, i)->address));
    (void)snprintf(delivery->file.name, sizeof delivery->file.name, "%s%08x.eml", id, recipient_of(job, 0)->number);
    delivery->count = job->count;
}

static void prepare_maildir(struct local_job *job, struct delivery *delivery, size_t place)
{
    const struct store_message *message = &job->item->queued->message;
    const struct store_recipient *recipient = recipient_of(job, place);
    char id[17];
    store_id_text(message->id, id);
    delivery->first = place;
    delivery->count = 1;
    delivery->file.kind = MAILBOX_MAILDIR;
    if (!mailbox_path(job->route->rule->maildir, recipient->address, &delivery->folder)) {
        delivery->result = MAILBOX_NONE;
        (void)error_set(&delivery->error, "no such mailbox here");
    }
    buf_printf(&delivery->head, "Return-Path: <%.*s>\r\nDelivered-To: %.*s\r\n", SLICE_FMT(message->sender),
               SLICE_FMT(recipient->address));
    (void)snprintf(delivery->file.name, sizeof delivery->file.name, "%lld.Q%sR%u.%.200s",
                   (long long)(message->arrived_ms / 1000), id, recipient->number, job->item->relay->config->hostname);
}

static void prepare(struct local_job *job)
{
    struct slice content = SLICE_NONE;
    struct error error;
    bool is_drop = job->route->rule->deliver == CONFIG_DELIVER_DROP;
    job->started_ms = clock_mono_ms();
    job->delivery_count = is_drop ? 1 : job->count;
    job->deliveries = mem_alloc(job->delivery_count * sizeof *job->deliveries);
    bool is_readable = item_content(job->item, &content, &error);
    for (size_t i = 0; i < job->delivery_count; i++) {
        struct delivery *delivery = &job->deliveries[i];
        delivery->result = MAILBOX_DONE; /* nothing is against it yet */
        if (is_drop)
            prepare_drop(job, delivery);
        else
            prepare_maildir(job, delivery, i);
        if (!is_readable && delivery->result == MAILBOX_DONE) {
            delivery->result = MAILBOX_LATER;
            delivery->error = job->wait.is_failed ? job->wait.error : error;
        }
        delivery->file.folder = buf_text(&delivery->folder);
        delivery->file.head = buf_slice(&delivery->head);
        delivery->file.content = content;
    }
}

/* ---- the thread ---- */

static void write_all(struct local_job *batch)
{
    for (struct local_job *job = batch; job; job = job->next)
        for (size_t i = 0; i < job->delivery_count; i++)
            if (job->deliveries[i].result == MAILBOX_DONE)
                job->deliveries[i].result = mailbox_write(&job->deliveries[i].file, &job->deliveries[i].error);
}

/* Folders of the batch that were synced already, the last few: most mail goes to one. */
struct synced { const char *folders[16]; size_t count; };

static void sync_one(struct synced *synced, struct delivery *delivery)
{
    if (delivery->result != MAILBOX_DONE)
        return;
    for (size_t i = 0; i < synced->count && i < COUNT_OF(synced->folders); i++)
        if (strcmp(synced->folders[i], delivery->file.folder) == 0)
            return;
    if (!mailbox_sync(delivery->file.kind, delivery->file.folder, &delivery->error)) {
        delivery->result = MAILBOX_LATER;
        return;
    }
    synced->folders[synced->count++ % COUNT_OF(synced->folders)] = delivery->file.folder;
}

static void on_done(struct letter *letter);

static void *thread_main(void *arg)
{
    struct local *local = arg;
    pthread_mutex_lock(&local->mutex);
    for (;;) {
        while (!local->todo.first && !local->is_stopping)
            pthread_cond_wait(&local->wake, &local->mutex);
        if (local->is_stopping)
            break;
        struct local_job *batch = local->todo.first;
        local->todo = (struct list){0};
        pthread_mutex_unlock(&local->mutex);
        struct synced synced = {.count = 0};
        write_all(batch);
        for (struct local_job *job = batch; job; job = job->next)
            for (size_t i = 0; i < job->delivery_count; i++)
                sync_one(&synced, &job->deliveries[i]);
        pthread_mutex_lock(&local->mutex);
        while (batch) {
            struct local_job *job = batch;
            batch = job->next;
            list_push(&local->done, job);
        }
        if (!local->is_letter_sent) {
            local->is_letter_sent = true;
            post_send(local->relay->parts.post, &local->letter);
        }
    }
    pthread_mutex_unlock(&local->mutex);
    return NULL;
}

/* ---- results ---- */

static void settle_delivery(struct local_job *job, const struct delivery *delivery, struct settle *settle)
{
    static const struct { enum smtp_result_kind kind; const char *status; } meanings[] = {
        [MAILBOX_DONE] = {RESULT_DELIVERED, "2.0.0"},
        [MAILBOX_LATER] = {RESULT_DEFERRED, "4.3.0"},
        [MAILBOX_NONE] = {RESULT_FAILED, "5.1.1"},
    };
    char text[MAILBOX_NAME_SIZE + 40];
    (void)snprintf(text, sizeof text, "written as %s", delivery->file.name);
    struct attempt attempt = {
        .kind = meanings[delivery->result].kind, .stage = job->route->source,
        .status = slice_of(meanings[delivery->result].status), .is_final = true, .connect_ms = -1,
        .text = slice_of(delivery->result == MAILBOX_DONE ? text : delivery->error.text),
        .transaction_ms = clock_mono_ms() - job->started_ms,
    };
    for (size_t i = 0; i < delivery->count; i++)
        settle_add(settle, job->recipients[delivery->first + i], &attempt);
}

static void on_done(struct letter *letter)
{
    struct local *local = (struct local *)((char *)letter - offsetof(struct local, letter));
    pthread_mutex_lock(&local->mutex);
    struct list done = local->done;
    local->done = (struct list){0};
    local->is_letter_sent = false;
    pthread_mutex_unlock(&local->mutex);
    for (struct local_job *job; (job = list_take(&done));) {
        struct settle *settle = settle_create(job->item);
        for (size_t i = 0; i < job->delivery_count; i++)
            settle_delivery(job, &job->deliveries[i], settle);
        settle_submit(settle, NULL);
        local->busy_count--;
        job_free(job);
    }
    relay_soon(local->relay);
}

static void let_go(struct local_job *job)
{
    item_release(job->item, job->count); /* still due in the queue */
    job_free(job);
}

static void hand_over(struct local *local, struct list *ready)
{
    if (!ready->first)
        return;
    pthread_mutex_lock(&local->mutex);
    for (struct local_job *job; (job = list_take(ready));)
        list_push(&local->todo, job);
    pthread_cond_signal(&local->wake);
    pthread_mutex_unlock(&local->mutex);
}

static void on_content(struct fetch_wait *wait)
{
    struct local_job *job = (struct local_job *)((char *)wait - offsetof(struct local_job, wait));
    struct local *local = job->local;
    struct list ready = {0};
    if (wait->is_ended || local->relay->finished || job->item->is_stale || !cluster_may_send(local->relay)) {
        local->busy_count--;
        let_go(job);
        relay_check_finished(local->relay);
        return;
    }
    prepare(job);
    list_push(&ready, job);
    hand_over(local, &ready);
}

void local_dispatch(struct local *local)
{
    struct list ready = {0};
    bool is_finishing = local->relay->finished != NULL;
    if (!is_finishing && !cluster_may_send(local->relay))
        return;
    while (local->waiting.first && (is_finishing || local->busy_count < BATCH_MAX)) {
        struct local_job *job = list_take(&local->waiting);
        if (is_finishing || job->item->is_stale) {
            let_go(job);
            continue;
        }
        local->busy_count++;
        if (item_is_here(job->item)) {
            prepare(job);
            list_push(&ready, job);
        } else {
            job->wait.fn = on_content;
            fetch_start(job->item, &job->wait);
        }
    }
    hand_over(local, &ready);
}

bool local_is_idle(const struct local *local)
{
    return local->busy_count == 0;
}

/* ---- life ---- */

struct local *local_start(struct relay *relay, struct error *error)
{
    struct local *local = mem_alloc(sizeof *local);
    local->relay = relay;
    local->letter.run = on_done;
    pthread_mutex_init(&local->mutex, NULL);
    pthread_cond_init(&local->wake, NULL);
    if (pthread_create(&local->thread, NULL, thread_main, local) != 0) {
        (void)error_set(error, "can't start the thread that writes Drop");
        free(local);
        return NULL;
    }
    return local;
}

void local_stop(struct local **local)
{
    struct local *l = *local;
    if (!l)
        return;
    pthread_mutex_lock(&l->mutex);
    l->is_stopping = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->mutex);
    (void)pthread_join(l->thread, NULL);
    struct list *lists[] = {&l->waiting, &l->todo, &l->done};
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        for (struct local_job *job; (job = list_take(lists[i]));)
            job_free(job);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->mutex);
    free(l);
    *local = NULL;
}
