#include "pickup/intake_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "store/policy.h"

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
    if (!store_open_at(intake->parts.place, STORE_READER, &store, error))
        return false;
    bool is_done = (intake->has_usages || usages_load(intake, store, error)) && store_each_origin(store, know, &known, error)
                   && places_recover(intake, is_known, known, &is_clean, error);
    intake->has_usages = intake->has_usages || is_done;
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

void intake_give_back(struct intake *intake, const struct place *place, const struct claim *claim)
{
    if (!folder_give_back(place->folder, claim))
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
        intake_tell_left(intake, intake->places, ".taken", &error);
    }
    watch_scan_soon(intake->watch, 0);
}

/* I3: the unlinks become durable, then the origins may go. */
static void drop_origins(struct intake *intake)
{
    struct error error;
    if (!places_sync(intake, &error)) {
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

struct batch_entry *intake_add(struct intake *intake, struct place *place)
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
    *entry = (struct batch_entry){.place = place};
    place->in_flight++;
    place->is_dirty = true;
    return entry;
}

static void batch_destroy(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        queued_destroy(&batch->entries[i].queued);
        queued_destroy(&batch->entries[i].notice);
        free(batch->entries[i].repairs);
        free(batch->entries[i].once_key);
        batch->entries[i].place->in_flight--;
    }
    free(batch->entries);
    free(batch->usages);
    free(batch);
}

static bool add_origin(struct store *store, const struct claim *claim, struct error *error)
{
    struct store_origin origin = {claim->id, claim->origin.inode, claim->origin.born_ns};
    return store_add_origin(store, &origin, error);
}

static void tell_held(const struct intake *intake, const struct batch_entry *entry)
{
    const struct store_message *message = &entry->queued->message;
    struct event event = EVENT(EVENT_HELD);
    if (!entry->is_held)
        return;
    event.id = message->id;
    event.pickup = message->pickup_name;
    event.message_id = message->message_id;
    event.note = SLICE("folder.conf: hold; `mailroot queue release` lets it go");
    event_put(intake->parts.log, &event);
}

static void tell_taken(const struct intake *intake, const struct batch_entry *entry)
{
    const struct store_message *message = &entry->queued->message;
    struct event event = EVENT(EVENT_TAKEN);
    struct policy policy;
    policy_read(message->policy, &policy);
    event.id = message->id;
    event.trace = policy.trace;
    if (policy.appeared_ms)
        event.age_ms = clock_wall_ms() - policy.appeared_ms;
    event.pickup = message->pickup_name;
    event.message_id = message->message_id;
    event.sender = message->sender;
    event.owner = message->owner;
    event.dialect = slice_of(entry->dialect);
    event.repairs = entry->repairs[0] ? slice_of(entry->repairs) : SLICE_NONE;
    event.size = (int64_t)message->size;
    event.recipients = (int64_t)entry->queued->recipient_count;
    event_put(intake->parts.log, &event);
    tell_held(intake, entry);
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

static void tell_duplicate(const struct intake *intake, const struct batch_entry *entry)
{
    const struct store_message *message = &entry->queued->message;
    struct event event = EVENT(EVENT_DUPLICATE);
    struct policy policy;
    policy_read(message->policy, &policy);
    event.id = message->id;
    event.about = entry->first_id;
    event.trace = policy.trace;
    event.pickup = message->pickup_name;
    event.message_id = message->message_id;
    event.sender = message->sender;
    event.owner = message->owner;
    event.note = SLICE("taken already: not sent again");
    event_put(intake->parts.log, &event);
}

static bool is_duplicate(const struct batch_entry *entry)
{
    return entry->first_id && entry->first_id != entry->queued->message.id;
}

/* Whose its key is, in the transaction that makes the message. Told when that is known, before the commit; a job that is applied
 * again may find another answer, and tells it. */
static bool apply_once(struct batch *batch, struct batch_entry *entry, struct store *store, struct error *error)
{
    uint64_t first, before = entry->first_id;
    struct store_once once = {slice_of(entry->once_key), entry->queued->message.id, entry->once_until_ms};
    if (!store_add_once(store, &once, entry->queued->message.arrived_ms, &first, error))
        return false;
    entry->first_id = first;
    if (entry->is_told && before == first)
        return true;
    if (is_duplicate(entry))
        tell_duplicate(batch->intake, entry);
    else
        tell_taken(batch->intake, entry);
    entry->is_told = true;
    return true;
}

static bool apply_entry(struct batch *batch, struct batch_entry *entry, struct store *store, struct error *error)
{
    if ((entry->claim.id && !add_origin(store, &entry->claim, error)) || (entry->partner.id && !add_origin(store, &entry->partner, error)))
        return false;
    if (entry->once_key && !apply_once(batch, entry, store, error))
        return false;
    if (is_duplicate(entry))
        return true;
    return (!entry->queued || queued_store(entry->queued, store, error)) && (!entry->notice || queued_store(entry->notice, store, error));
}

static bool apply_batch(struct writer_job *job, struct store *store, struct error *error)
{
    struct batch *batch = (struct batch *)job;
    for (size_t i = 0; i < batch->count; i++)
        if (!apply_entry(batch, &batch->entries[i], store, error))
            return false;
    for (size_t i = 0; i < batch->usage_count; i++) {
        const struct batch_usage *used = &batch->usages[i];
        struct store_usage usage = {slice_of(used->usage->name), used->since_ms, used->count};
        if (!store_set_usage(store, &usage, error))
            return false;
    }
    return true;
}

static void chain(struct queued ***end, struct queued **queued)
{
    if (!*queued)
        return;
    **end = *queued;
    *end = &(*queued)->next;
    *queued = NULL;
}

static void drop_duplicate(const struct intake *intake, const struct batch_entry *entry)
{
    if (entry->queued->message.is_in_file)
        store_body_remove(intake->parts.queue_dir, entry->queued->message.id);
    usages_give_back(entry->counted);
}

static void batch_committed(struct intake *intake, struct batch *batch)
{
    struct queued *list = NULL, **end = &list;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_entry *entry = &batch->entries[i];
        if (entry->claim.id && !folder_forget(entry->place->folder, &entry->claim))
            intake->has_strays = true;
        if (entry->partner.id && !folder_forget(entry->place->folder, &entry->partner))
            intake->has_strays = true;
        if (is_duplicate(entry)) {
            drop_duplicate(intake, entry);
            continue;
        }
        chain(&end, &entry->queued);
        chain(&end, &entry->notice);
    }
    if (list)
        intake->parts.taken(intake->parts.arg, list);
    if (intake->drop_first == 0) {
        const struct batch_entry *first = &batch->entries[0];
        intake->drop_first = first->partner.id ? first->partner.id : first->claim.id;
        intake->drop_since_ms = clock_mono_ms();
    }
    for (size_t i = 0; i < batch->count; i++)
        if (batch->entries[i].claim.id)
            intake->drop_last = batch->entries[i].claim.id;
}

static void give_back(struct intake *intake, const struct batch_entry *entry)
{
    if (entry->claim.id)
        intake_give_back(intake, entry->place, &entry->claim);
    if (entry->partner.id)
        intake_give_back(intake, entry->place, &entry->partner);
    usages_give_back(entry->counted);
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
        if (batch->entries[i].queued && !batch->entries[i].once_key)
            tell_taken(intake, &batch->entries[i]);
    usages_to_batch(intake, batch);
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
    struct watch_found found;
    size_t names_max = (size_t)intake->parts.config->pickup.batch_max;
    for (size_t i = 0; i < names_max && !intake->paused_until_ms; i++) {
        if ((intake->batch && intake->batch->size >= BATCH_SIZE_MAX) || !watch_next(intake->watch, &found))
            break;
        arena_reset(&intake->arena);
        if (found.is_folder)
            places_found(intake, found.name);
        else
            intake_file(intake, found.owner, found.name, found.seen);
        if (preparations_are_full(intake))
            intake_conclude(intake);
    }
    intake_conclude(intake);
    places_drop_retired(intake);
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
    places_close(intake);
    usages_free(intake);
    post_destroy(&intake->post);
    preparations_free(intake);
    arena_finish(&intake->arena);
    free(intake);
}

struct intake *intake_start(const struct intake_parts *parts, struct error *error)
{
    struct intake *intake = mem_alloc(sizeof *intake);
    struct owner owner;
    intake->parts = *parts;
    intake->stop_letter.run = on_stop;
    intake->post = post_create(error);
    if (!intake->post)
        goto failed;
    /* The watch stands before the first scan: nothing falls between them. */
    if (!places_open(intake, error) || !recover(intake, error) || !places_watch(intake, error) || !preparations_start(intake, error))
        goto failed;
    intake->is_unsure = intake->has_strays;
    (void)intake_owner(intake, geteuid(), &owner); /* glibc loads what it needs for names, which later may lack memory */
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
