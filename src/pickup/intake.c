#include "pickup/intake_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

enum { DROP_AFTER_MS = 1000, QUEUED_EVENTS_MAX = 100 };

struct known { struct origin origin; UT_hash_handle hh; };
struct drop_job { struct writer_job job; struct intake *intake; uint64_t first, last; };

static void *intake_main(void *arg);

/* ---- recovery ---- */

static void know(void *arg, const struct store_origin *origin)
{
    struct known **known = arg, *entry = mem_alloc(sizeof *entry), *other;
    entry->origin = (struct origin){origin->inode, origin->born_ns};
    HASH_FIND(hh, *known, &entry->origin, sizeof entry->origin, other);
    if (other)
        free(entry);
    else
        HASH_ADD(hh, *known, origin, sizeof entry->origin, entry);
}

static bool is_known(void *arg, const struct origin *origin)
{
    struct known *known = arg, *found;
    HASH_FIND(hh, known, origin, sizeof *origin, found);
    return found != NULL;
}

/* With no batch under way. Claims that can't be dealt with now stay known and are looked at again. */
static bool recover(struct intake *intake, struct error *error)
{
    struct store *store;
    struct known *known = NULL, *entry, *next;
    bool is_clean = false;
    if (!store_open(intake->parts.queue_dir, STORE_READER, &store, error))
        return false;
    bool is_done = store_each_origin(store, know, &known, error)
                   && folder_recover(intake->folder, is_known, known, &is_clean, error);
    if (is_done && is_clean && known) {
        intake->drop_first = 1; /* all so far: their claims are durably gone */
        is_done = store_last_id(store, &intake->drop_last, error);
    }
    intake->has_strays = !is_done || !is_clean;
    HASH_ITER(hh, known, entry, next) {
        HASH_DEL(known, entry);
        free(entry);
    }
    store_close(&store);
    return is_done;
}

/* ---- origins ---- */

static bool apply_drop(struct writer_job *job, struct store *store, struct error *error)
{
    const struct drop_job *drop = (const struct drop_job *)job;
    return store_drop_origins(store, drop->first, drop->last, error);
}

static void drop_done(struct writer_job *job)
{
    struct intake *intake = ((struct drop_job *)job)->intake;
    intake->drops_in_flight--;
    intake->has_strays = intake->has_strays || !job->is_committed; /* its end drops them, too */
    free(job);
}

void intake_give_back(struct intake *intake, const struct claim *claim)
{
    if (!folder_give_back(intake->folder, claim))
        intake->has_strays = true;
}

/* A disk that failed for a while has left claims in .taken: they come to their end without a restart. */
static void recover_strays(struct intake *intake)
{
    struct error error;
    if (!intake->has_strays || intake->batches_in_flight || intake->drops_in_flight || clock_mono_ms() < intake->recover_at_ms)
        return;
    intake->recover_at_ms = clock_mono_ms() + INTAKE_PAUSE_MS;
    if (!recover(intake, &error)) {
        intake_pause(intake, "Pickup", &error);
        return;
    }
    intake->is_unsure = intake->is_unsure && intake->has_strays;
    if (intake->has_strays) {
        (void)error_set(&error, "a file of .taken can be neither removed nor given back");
        intake_tell_left(intake, ".taken", &error);
    }
    watch_scan_soon(intake->watch, 0);
}

/* I3: the unlinks become durable, then the origins may go. */
static void drop_origins(struct intake *intake)
{
    struct error error;
    if (!folder_sync(intake->folder, &error)) {
        intake->keeps_origins = true; /* a failed sync is never repeated as if it had passed */
        intake_pause(intake, "Pickup", &error);
        return;
    }
    struct drop_job *drop = mem_alloc(sizeof *drop);
    drop->job.apply = apply_drop;
    drop->job.done = drop_done;
    drop->job.post = intake->post;
    drop->intake = intake;
    drop->first = intake->drop_first;
    drop->last = intake->drop_last;
    intake->drop_first = 0;
    intake->drops_in_flight++;
    writer_submit(intake->parts.writer, &drop->job);
}

static bool is_drop_due(const struct intake *intake)
{
    return intake->drop_first && !intake->keeps_origins && !intake->has_strays
           && clock_mono_ms() - intake->drop_since_ms >= DROP_AFTER_MS;
}

/* ---- batches ---- */

struct batch_entry *intake_add(struct intake *intake)
{
    struct batch *batch = intake->batch;
    if (!batch) {
        batch = intake->batch = mem_alloc(sizeof *batch);
        batch->intake = intake;
        batch->capacity = 16;
        batch->entries = mem_alloc(batch->capacity * sizeof *batch->entries);
    }
    if (batch->count == batch->capacity) {
        batch->capacity *= 2;
        batch->entries = mem_resize(batch->entries, batch->capacity * sizeof *batch->entries);
    }
    struct batch_entry *entry = &batch->entries[batch->count++];
    *entry = (struct batch_entry){0};
    return entry;
}

static void batch_destroy(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        queued_destroy(&batch->entries[i].queued);
        queued_destroy(&batch->entries[i].notice);
        free(batch->entries[i].repairs);
    }
    free(batch->entries);
    free(batch);
}

static bool add_origin(struct store *store, const struct claim *claim, struct error *error)
{
    struct store_origin origin = {claim->id, claim->origin.inode, claim->origin.born_ns};
    return store_add_origin(store, &origin, error);
}

static bool apply_batch(struct writer_job *job, struct store *store, struct error *error)
{
    struct batch *batch = (struct batch *)job;
    event_flush(batch->intake->parts.log);
    for (size_t i = 0; i < batch->count; i++) {
        const struct batch_entry *entry = &batch->entries[i];
        if (!add_origin(store, &entry->claim, error) || (entry->partner.id && !add_origin(store, &entry->partner, error))
            || (entry->queued && !queued_store(entry->queued, store, error))
            || (entry->notice && !queued_store(entry->notice, store, error)))
            return false;
    }
    return true;
}

static void tell_taken(const struct intake *intake, const struct batch_entry *entry)
{
    const struct store_message *message = &entry->queued->message;
    struct event event = EVENT(EVENT_TAKEN);
    event.id = message->id;
    event.pickup = message->pickup_name;
    event.message_id = message->message_id;
    event.sender = message->sender;
    event.owner = message->owner;
    event.dialect = slice_of(entry->dialect);
    event.repairs = entry->repairs[0] ? slice_of(entry->repairs) : SLICE_NONE;
    event.size = (int64_t)message->size;
    event.recipients = (int64_t)entry->queued->recipient_count;
    event_put(intake->parts.log, &event);
    for (size_t i = 0; i < entry->queued->recipient_count && i < QUEUED_EVENTS_MAX; i++) {
        const struct store_recipient *recipient = &entry->queued->recipients[i];
        struct event queued = EVENT(EVENT_QUEUED);
        queued.id = message->id;
        queued.pickup = message->pickup_name;
        queued.message_id = message->message_id;
        queued.recipient = recipient->address;
        queued.next_ms = recipient->next_ms > message->arrived_ms ? recipient->next_ms : 0;
        const struct config_route *rule = queued.next_ms ? config_route_find(intake->parts.config, recipient->domain) : NULL;
        queued.note = rule && rule->is_etrn ? SLICE("waits for ETRN") : SLICE_NONE;
        event_put(intake->parts.log, &queued);
    }
}

static void chain(struct queued ***end, struct queued **queued)
{
    if (!*queued)
        return;
    **end = *queued;
    *end = &(*queued)->next;
    *queued = NULL;
}

static void batch_committed(struct intake *intake, struct batch *batch)
{
    struct queued *list = NULL, **end = &list;
    for (size_t i = 0; i < batch->count; i++) {
        if (!folder_forget(intake->folder, &batch->entries[i].claim))
            intake->has_strays = true;
        if (batch->entries[i].partner.id && !folder_forget(intake->folder, &batch->entries[i].partner))
            intake->has_strays = true;
        chain(&end, &batch->entries[i].queued);
        chain(&end, &batch->entries[i].notice);
    }
    if (list)
        intake->parts.taken(intake->parts.arg, list);
    if (intake->drop_first == 0) {
        const struct batch_entry *first = &batch->entries[0];
        intake->drop_first = first->partner.id ? first->partner.id : first->claim.id;
        intake->drop_since_ms = clock_mono_ms();
    }
    intake->drop_last = batch->entries[batch->count - 1].claim.id;
}

static void give_back(struct intake *intake, const struct batch_entry *entry)
{
    intake_give_back(intake, &entry->claim);
    if (entry->partner.id)
        intake_give_back(intake, &entry->partner);
}

static void batch_done(struct writer_job *job)
{
    struct batch *batch = (struct batch *)job;
    struct intake *intake = batch->intake;
    intake->batches_in_flight--;
    if (job->is_committed) {
        batch_committed(intake, batch);
    } else {
        for (size_t i = 0; i < batch->count; i++)
            give_back(intake, &batch->entries[i]);
        intake_pause(intake, "Queue", &job->error);
    }
    batch_destroy(batch);
}

static void submit_batch(struct intake *intake)
{
    struct batch *batch = intake->batch;
    if (!batch)
        return;
    intake->batch = NULL;
    intake->batches_in_flight++;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->entries[i].queued)
            tell_taken(intake, &batch->entries[i]);
    batch->job.apply = apply_batch;
    batch->job.done = batch_done;
    batch->job.post = intake->post;
    writer_submit(intake->parts.writer, &batch->job);
}

/* ---- the thread ---- */

void intake_pause(struct intake *intake, const char *what, const struct error *error)
{
    struct event event = EVENT(EVENT_ERROR);
    struct error text = *error;
    (void)error_prefix(&text, "intake rests for %d s: %s", INTAKE_PAUSE_MS / 1000, what);
    event.reason = slice_of(text.text);
    event_put(intake->parts.log, &event);
    event_flush(intake->parts.log);
    intake->paused_until_ms = clock_mono_ms() + INTAKE_PAUSE_MS;
    watch_scan_soon(intake->watch, INTAKE_PAUSE_MS);
}

static bool may_take(struct intake *intake)
{
    if (intake->paused_until_ms && clock_mono_ms() >= intake->paused_until_ms)
        intake->paused_until_ms = 0;
    return !intake->is_stopping && !intake->paused_until_ms && !intake->is_unsure
           && intake->batches_in_flight < BATCHES_MAX;
}

static void take_batch(struct intake *intake)
{
    char name[FOLDER_NAME_SIZE];
    enum claim_seen seen;
    size_t names_max = (size_t)intake->parts.config->pickup.batch_max;
    for (size_t i = 0; i < names_max && !intake->paused_until_ms; i++) {
        if ((intake->batch && intake->batch->size >= BATCH_SIZE_MAX) || !watch_next(intake->watch, name, &seen))
            break;
        intake_file(intake, name, seen);
    }
    if (watch_overflowed(intake->watch)) {
        struct event event = EVENT(EVENT_WARNING);
        event.note = SLICE("the kernel's list of changes overflowed: Pickup is scanned");
        event_put(intake->parts.log, &event);
    }
    submit_batch(intake);
    event_flush(intake->parts.log);
}

static int wait_ms(struct intake *intake)
{
    int wait = -1;
    if (may_take(intake))
        wait = watch_wait_ms(intake->watch);
    else if (intake->paused_until_ms)
        wait = INTAKE_PAUSE_MS;
    bool is_due_soon = intake->has_strays || (intake->drop_first && !intake->keeps_origins);
    if (is_due_soon && (wait < 0 || wait > DROP_AFTER_MS))
        wait = DROP_AFTER_MS;
    return wait;
}

static void *intake_main(void *arg)
{
    struct intake *intake = arg;
    while (!intake->is_stopping || intake->batches_in_flight || intake->drops_in_flight) {
        bool is_open = may_take(intake);
        struct pollfd watched[] = {{.fd = post_fd(intake->post), .events = POLLIN},
                                   {.fd = is_open ? watch_fd(intake->watch) : -1, .events = POLLIN}};
        (void)poll(watched, COUNT_OF(watched), wait_ms(intake));
        post_run(intake->post);
        if (may_take(intake))
            take_batch(intake);
        if (is_drop_due(intake) && !intake->is_stopping)
            drop_origins(intake);
        if (!intake->is_stopping)
            recover_strays(intake);
    }
    return NULL;
}

static void on_stop(struct letter *letter)
{
    struct intake *intake = (struct intake *)((char *)letter - offsetof(struct intake, stop_letter));
    intake->is_stopping = true;
}

static void intake_destroy(struct intake *intake)
{
    struct told *told, *next;
    HASH_ITER(hh, intake->told, told, next) {
        HASH_DEL(intake->told, told);
        free(told);
    }
    watch_close(&intake->watch);
    folder_close(&intake->folder);
    post_destroy(&intake->post);
    arena_finish(&intake->arena);
    buf_finish(&intake->bytes);
    free(intake);
}

struct intake *intake_start(const struct intake_parts *parts, struct error *error)
{
    struct intake *intake = mem_alloc(sizeof *intake);
    const struct config *config = parts->config;
    intake->parts = *parts;
    intake->stop_letter.run = on_stop;
    intake->post = post_create(error);
    if (!intake->post)
        goto failed;
    intake->folder =
        folder_open(config->pickup.dir, config->pickup.settle_ms, config->limits.message_size, error);
    if (!intake->folder || !recover(intake, error))
        goto failed;
    intake->is_unsure = intake->has_strays;
    (void)intake_owner(intake, geteuid()); /* glibc loads what it needs for names, which later may lack memory */
    /* The watch stands before the first scan: nothing falls between them. */
    intake->watch = watch_open(config->pickup.dir, config->pickup.scan_ms, error);
    if (!intake->watch)
        goto failed;
    int problem = pthread_create(&intake->thread, NULL, intake_main, intake);
    if (problem == 0) {
        (void)pthread_setname_np(intake->thread, "intake");
        return intake;
    }
    (void)error_set(error, "can't start the intake's thread: %s", strerrordesc_np(problem));
failed:
    intake_destroy(intake);
    return NULL;
}

void intake_stop(struct intake **intake)
{
    if (!*intake)
        return;
    post_send((*intake)->post, &(*intake)->stop_letter);
    pthread_join((*intake)->thread, NULL);
    intake_destroy(*intake);
    *intake = NULL;
}
