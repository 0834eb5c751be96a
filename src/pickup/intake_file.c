#include "pickup/intake_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "outcome/bounce.h"
#include "pickup/foreign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TELL_AGAIN_MS = 5 * 60 * 1000, TOLD_MAX = 1000 };

struct rules_owner intake_owner(struct intake *intake, uid_t uid, struct owner *ret_owner)
{
    size_t place = uid % OWNERS;
    struct owner *owner = &intake->owners[place].owner;
    if (!intake->owners[place].is_known || owner->uid != uid)
        intake->owners[place].is_known = owner_look_up(uid, owner); /* else it is asked again */
    *ret_owner = *owner;
    return owner_for_rules(ret_owner);
}

/* A file that stays where it is is said once in a while, not at every scan. */
void intake_tell_left(struct intake *intake, struct place *place, const char *file, const struct error *error)
{
    const char *name = place_file_name(&intake->arena, place, file).data;
    struct told *told, *next;
    int64_t now_ms = clock_mono_ms();
    HASH_FIND_STR(intake->told, name, told);
    if (told && now_ms - told->at_ms < TELL_AGAIN_MS)
        return;
    if (HASH_COUNT(intake->told) >= TOLD_MAX) {
        HASH_ITER(hh, intake->told, told, next) {
            HASH_DEL(intake->told, told);
            free(told);
        }
        told = NULL;
    }
    if (!told) {
        told = mem_alloc(sizeof *told);
        (void)snprintf(told->name, sizeof told->name, "%s", name);
        HASH_ADD_STR(intake->told, name, told);
    }
    told->at_ms = now_ms;
    struct event event = EVENT(EVENT_SKIPPED);
    event.pickup = slice_of(name);
    event.reason = slice_of(error->text);
    event_put(intake->parts.log, &event);
}

void intake_forget_left(struct intake *intake, struct place *place, const char *file)
{
    struct told *told;
    const char *name = place_file_name(&intake->arena, place, file).data;
    HASH_FIND_STR(intake->told, name, told);
    if (!told)
        return;
    HASH_DEL(intake->told, told);
    free(told);
}

static void tell_refused(struct intake *intake, const struct badmail *about)
{
    struct event event = EVENT(EVENT_REFUSED);
    event.id = about->id;
    event.pickup = about->name;
    event.owner = about->owner;
    event.sender = about->sender;
    event.status = about->status;
    event.reason = about->reason;
    event_put(intake->parts.log, &event);
}

/* To Badmail; where that fails the file goes back to Pickup and intake rests. */
static void refuse_one(struct intake *intake, const struct place *place, const struct claim *claim, const struct badmail *about)
{
    struct error error;
    if (badmail_move(intake->parts.badmail, folder_taken_fd(place->folder), claim->taken_name, about,
                     &error)) {
        tell_refused(intake, about);
        return;
    }
    intake_give_back(intake, place, claim);
    intake_pause(intake, "Badmail", &error);
}

/* Both halves of a pair, each with the reason. */
static void refuse_claim(struct intake *intake, const struct claim_pair *pair, const struct badmail *about)
{
    refuse_one(intake, pair->place, &pair->claim, about);
    if (pair->partner.id == 0)
        return;
    struct badmail content = *about;
    content.name = place_file_name(&intake->arena, pair->place, pair->partner.name);
    content.id = pair->partner.id;
    refuse_one(intake, pair->place, &pair->partner, &content);
}

static void give_back(struct intake *intake, const struct claim_pair *pair)
{
    intake_give_back(intake, pair->place, &pair->claim);
    if (pair->partner.id)
        intake_give_back(intake, pair->place, &pair->partner);
}

static void refuse_name(struct intake *intake, struct place *place, const char *name, const struct error *why)
{
    struct error error;
    struct badmail about = {.name = place_file_name(&intake->arena, place, name), .reason = slice_of(why->text),
                            .time_ms = clock_wall_ms()};
    if (badmail_move(intake->parts.badmail, folder_fd(place->folder), name, &about, &error))
        tell_refused(intake, &about);
    else
        intake_tell_left(intake, place, name, &error);
}

static void tell_rejected(struct intake *intake, const struct prepare_about *about,
                          const struct envelope_fault *fault)
{
    struct event event = EVENT(EVENT_REJECTED);
    event.id = about->id;
    event.pickup = about->name;
    event.recipient = fault->text;
    event.status = SLICE("5.1.3");
    event.reason = slice_of(fault->reason);
    event_put(intake->parts.log, &event);
}

/* What a notice says about the message the file holds. */
static struct store_message original_of(const struct prepared *prepared, const struct prepare_about *about)
{
    return (struct store_message){
        .id = about->id, .arrived_ms = about->time_ms, .sender = prepared->envelope.sender.text,
        .envid = prepared->envelope.envid, .ret = (int)prepared->envelope.ret,
        .pickup_name = about->name, .owner = about->owner, .message_id = prepared->facts.message_id,
        .flags = prepared->envelope.is_requiretls ? MESSAGE_REQUIRETLS : 0,
    };
}

static struct queued *notice_of_rejected(struct intake *intake, struct arena *arena, const struct ready *message)
{
    const struct envelope *envelope = &message->prepared.envelope;
    struct dsn_recipient *list = arena_alloc(arena, envelope->rejected_count * sizeof *list);
    for (size_t i = 0; i < envelope->rejected_count; i++) {
        tell_rejected(intake, &message->about, &envelope->rejected[i]);
        list[i] = (struct dsn_recipient){.address = envelope->rejected[i].text,
                                         .status = SLICE("5.1.3"),
                                         .diagnostic = slice_of(envelope->rejected[i].reason)};
    }
    struct store_message original = original_of(&message->prepared, &message->about);
    struct bounce bounce = {intake->parts.config, intake->parts.ids, &original, buf_slice(&message->prepared.content),
                            DSN_FAILED, list, envelope->rejected_count,
                            intake->parts.signer};
    return bounce_compose(arena, &bounce);
}

/* Too many hops: every recipient fails with 5.4.6. NULL when nobody may be told. */
static struct queued *notice_of_loop(struct intake *intake, struct preparation *of)
{
    const struct envelope *envelope = &of->prepared.envelope;
    struct dsn_recipient *list = arena_alloc(&of->arena, envelope->recipient_count * sizeof *list);
    size_t count = 0;
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        const struct envelope_recipient *recipient = &envelope->recipients[i];
        if (bounce_is_wanted(DSN_FAILED, recipient->notify))
            list[count++] = (struct dsn_recipient){
                .address = recipient->address.text, .orcpt = recipient->orcpt,
                .status = SLICE("5.4.6"), .diagnostic = slice_of(of->error.text)};
    }
    struct store_message original = original_of(&of->prepared, &of->about);
    struct bounce bounce = {intake->parts.config, intake->parts.ids, &original, buf_slice(&of->bytes),
                            DSN_FAILED, list, count, intake->parts.signer};
    return bounce_compose(&of->arena, &bounce);
}

static struct badmail badmail_of(const struct preparation *of, const char *reason)
{
    return (struct badmail){.name = of->about.name, .reason = slice_of(reason), .owner = of->about.owner, .id = of->pair.claim.id,
                            .time_ms = of->about.time_ms};
}

static void add_loop(struct intake *intake, struct preparation *of)
{
    struct badmail bad = badmail_of(of, of->error.text);
    bad.status = SLICE("5.4.6");
    bad.sender = of->prepared.envelope.sender.text;
    struct queued *notice = notice_of_loop(intake, of);
    if (!notice) {
        refuse_claim(intake, &of->pair, &bad);
        return;
    }
    tell_refused(intake, &bad);
    struct batch_entry *entry = intake_add(intake, of->pair.place);
    entry->claim = of->pair.claim;
    entry->partner = of->pair.partner;
    entry->notice = notice;
}

/* A folder's quotas and its rate. False: one is used up. */
static bool take_share(struct intake *intake, struct prepare_about *about, struct usage *counted[ENTRY_USAGES], struct error *error)
{
    if (!about->folder)
        return true;
    if (!usages_count(intake, about->folder, &about->file_owner, about->time_ms, counted, error))
        return false;
    about->not_before_ms = usages_due(intake, about->folder, about->time_ms);
    return true;
}

static void give_shares_back(struct ready *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        usages_give_back(messages[i].counted);
}

/* The bodies that don't lie in the queue. A failure leaves none. */
static bool write_bodies(struct intake *intake, const struct ready *messages, size_t count, struct error *error)
{
    const char *dir = intake->parts.queue_dir;
    for (size_t i = 0; i < count; i++) {
        if (!prepare_is_in_file(intake->parts.config, &messages[i].prepared)
            || store_body_write(dir, messages[i].about.id, buf_slice(&messages[i].prepared.content), error))
            continue;
        while (i--)
            if (prepare_is_in_file(intake->parts.config, &messages[i].prepared))
                store_body_remove(dir, messages[i].about.id);
        return false;
    }
    return true;
}

static struct batch_entry *add_entry(struct intake *intake, struct preparation *of, struct ready *message)
{
    struct prepared *prepared = &message->prepared;
    struct batch_entry *entry = intake_add(intake, of->pair.place);
    entry->dialect = prepared->envelope.dialect;
    entry->repairs = slice_copy(prepared->facts.repairs);
    entry->is_held = message->about.folder && message->about.folder->is_held;
    memcpy(entry->counted, message->counted, sizeof entry->counted);
    if (!slice_is_absent(prepared->once_key)) {
        entry->once_key = slice_copy(prepared->once_key);
        entry->once_until_ms = message->about.time_ms + prepared->once_ms;
    }
    if (prepared->envelope.rejected_count)
        entry->notice = notice_of_rejected(intake, &of->arena, message);
    intake->batch->size += prepared->content.size;
    entry->queued = prepare_queued(&of->arena, intake->parts.config, prepared, &message->about);
    return entry;
}

/* All messages of the file, or none: then it has gone to Badmail or back. */
static void add_messages(struct intake *intake, struct preparation *of, struct ready *messages, size_t count)
{
    struct error error;
    for (size_t i = 0; i < count; i++) {
        if (take_share(intake, &messages[i].about, messages[i].counted, &error))
            continue;
        struct badmail bad = badmail_of(of, error.text);
        bad.sender = messages[i].prepared.envelope.sender.text;
        give_shares_back(messages, i);
        refuse_claim(intake, &of->pair, &bad);
        return;
    }
    if (!write_bodies(intake, messages, count, &error)) {
        give_shares_back(messages, count);
        give_back(intake, &of->pair);
        intake_pause(intake, "Queue", &error);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct batch_entry *entry = add_entry(intake, of, &messages[i]);
        if (i == 0) {
            entry->claim = of->pair.claim;
            entry->partner = of->pair.partner;
        }
    }
}

static void add_file(struct intake *intake, struct preparation *of)
{
    struct ready one = {.about = of->about, .prepared = of->prepared};
    add_messages(intake, of, of->parts ? of->parts : &one, of->parts ? of->part_count : 1);
    of->prepared = one.prepared; /* its content may have been taken */
}

static void conclude(struct intake *intake, struct preparation *of)
{
    struct badmail bad;
    switch (of->result) {
    case CONTENT_DONE:
        add_file(intake, of);
        break;
    case CONTENT_LOOP:
        add_loop(intake, of);
        break;
    case CONTENT_BAD:
        bad = badmail_of(of, of->error.text);
        refuse_claim(intake, &of->pair, &bad);
        break;
    }
}

void intake_conclude(struct intake *intake)
{
    bool was_paused = intake->paused_until_ms != 0;
    preparations_wait(intake);
    for (size_t i = 0; i < intake->preparation_count; i++) {
        if (!was_paused && intake->paused_until_ms) /* since one of these: the next would only meet the same */
            give_back(intake, &intake->preparations[i].pair);
        else
            conclude(intake, &intake->preparations[i]);
    }
    preparations_clear(intake);
}

enum reading { READ_DONE, READ_BAD, READ_LATER };

static enum reading read_one(struct intake *intake, const struct claim *claim, struct buf *out, struct error *error)
{
    if (file_read(claim->fd, intake->parts.config->limits.message_size, out, error))
        return READ_DONE;
    return errno == EFBIG ? READ_BAD : READ_LATER;
}

/* The file, or both halves of a pair as one. */
static enum reading read_claims(struct intake *intake, const struct claim_pair *pair, struct buf *out, struct error *error)
{
    struct buf envelope = {0}, content = {0};
    if (pair->partner.id == 0)
        return read_one(intake, &pair->claim, out, error);
    enum reading reading = read_one(intake, &pair->claim, &envelope, error);
    if (reading == READ_DONE)
        reading = read_one(intake, &pair->partner, &content, error);
    if (reading == READ_DONE && !foreign_join(buf_slice(&envelope), buf_slice(&content), out, error))
        reading = READ_BAD;
    buf_finish(&envelope);
    buf_finish(&content);
    return reading;
}

static void prepare_claim(struct intake *intake, const struct claim_pair *pair)
{
    struct error error;
    struct badmail bad;
    const struct claim *claim = &pair->claim;
    struct preparation *of = preparation_next(intake);
    int64_t now_ms = clock_wall_ms();
    of->pair = *pair;
    of->about = (struct prepare_about){
        .name = place_file_name(&of->arena, pair->place, claim->name), .dialect = pair->partner.id ? "emailrelay" : pair->place->box ? "maildir" : NULL,
        .is_own = claim->uid == geteuid() && !pair->place->name[0], .id = claim->id, .time_ms = now_ms,
        .appeared_ms = claim->appeared_ms, .zone_s = clock_zone_s(now_ms), .signer = intake->parts.signer, .folder = pair->place->conf,
        .file_owner = intake_owner(intake, claim->uid, &of->owner),
    };
    of->about.owner = of->about.file_owner.name;
    switch (read_claims(intake, pair, &of->bytes, &error)) {
    case READ_DONE:
        preparation_begin(of);
        break;
    case READ_BAD:
        bad = badmail_of(of, error.text);
        refuse_claim(intake, pair, &bad);
        break;
    case READ_LATER: /* a message says nothing by a disk that fails */
        give_back(intake, pair);
        intake_pause(intake, "Pickup", &error);
        break;
    }
}

static bool claim(struct intake *intake, struct place *place, const char *name, enum claim_seen seen, struct claim *ret_claim)
{
    struct error error;
    switch (folder_claim(place->folder, name, seen, intake->parts.ids, ret_claim, &error)) {
    case CLAIM_TAKEN:
        return true;
    case CLAIM_GONE:
        break;
    case CLAIM_BUSY:
        watch_scan_soon(intake->watch, intake->parts.config->pickup.settle_ms + 1);
        break;
    case CLAIM_STRAY:
        intake->has_strays = true;
        break;
    case CLAIM_LEFT:
        intake_tell_left(intake, place, name, &error);
        break;
    case CLAIM_REFUSED:
        refuse_name(intake, place, name, &error);
        break;
    }
    return false;
}

void intake_file(struct intake *intake, struct place *place, const char *name, enum claim_seen seen)
{
    char content[FOLDER_NAME_SIZE];
    struct claim_pair pair = {.place = place};
    bool is_conf = place->name[0] && strcmp(name, "folder.conf") == 0;
    if (!place_may_take(intake, place) || is_conf || !place_is_for_sending(place, name))
        return;
    enum pair_part part = pair_find(intake, place, name, content);
    /* The content first: if the envelope can't be had it goes back, and its event is passed over. */
    if (part == PAIR_HALF || (part == PAIR_ENVELOPE && !claim(intake, place, content, SEEN_LYING, &pair.partner)))
        return;
    if (claim(intake, place, name, seen, &pair.claim)) {
        prepare_claim(intake, &pair);
        close(pair.claim.fd);
    } else if (pair.partner.id) {
        intake_give_back(intake, place, &pair.partner);
    }
    if (pair.partner.id)
        close(pair.partner.fd);
}
