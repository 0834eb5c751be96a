#include "pickup/prepare.h"

#include "config/sealer.h"
#include "base/hash.h"
#include "config/schedule.h"
#include "message/aliases.h"
#include "message/trace.h"
#include "pickup/foreign.h"
#include "pickup/resume.h"
#include "store/policy.h"


#include <openssl/sha.h>

struct expanded { struct envelope_recipient *items; size_t count, capacity; struct once *seen; };
struct once { struct slice text; UT_hash_handle hh; };

/* The same address once, whatever led to it; the first one's parameters stay. */
static void add_once(struct arena *arena, struct expanded *to, struct envelope_recipient recipient)
{
    struct once *once;
    HASH_FIND(hh, to->seen, recipient.address.text.data, recipient.address.text.size, once);
    if (once)
        return;
    once = arena_alloc(arena, sizeof *once);
    once->text = recipient.address.text;
    HASH_ADD_KEYPTR(hh, to->seen, once->text.data, once->text.size, once);
    if (to->count == to->capacity) {
        size_t capacity = to->capacity ? 2 * to->capacity : 8;
        to->items = arena_grow(arena, to->items, to->count, capacity, sizeof *to->items);
        to->capacity = capacity;
    }
    to->items[to->count++] = recipient;
}

/* RFC 3461 4.2: whom the sender meant, for the notices about whom it became. */
static struct slice orcpt_of(struct arena *arena, struct slice address)
{
    struct buf text = {0};
    buf_append_text(&text, slice_has_8bit(address) ? "utf-8;" : "rfc822;");
    for (size_t i = 0; i < address.size; i++) {
        unsigned char c = (unsigned char)address.data[i];
        if (c == '+' || c == '=' || c == '\\' || c <= ' ' || c == 0x7f)
            buf_printf(&text, "+%02X", c);
        else
            buf_append_byte(&text, (char)c);
    }
    struct slice copy = arena_copy(arena, buf_slice(&text));
    buf_finish(&text);
    return copy;
}

/* Aliases of local domains become the addresses they stand for (message/aliases.h); NOTIFY and ORCPT go along
 * (RFC 3461 5.2.7). */
static void expand_aliases(struct arena *arena, const struct config *config, struct envelope *envelope)
{
    struct expanded to = {.items = NULL};
    if (!config->aliases)
        return;
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        struct envelope_recipient recipient = envelope->recipients[i];
        struct address *addresses;
        size_t count;
        if (!config_is_local(config, recipient.address.domain)
            || !aliases_expand(arena, config->aliases, &recipient.address, &addresses, &count)) {
            add_once(arena, &to, recipient);
            continue;
        }
        if (slice_is_absent(recipient.orcpt))
            recipient.orcpt = orcpt_of(arena, recipient.address.text);
        for (size_t k = 0; k < count; k++) {
            recipient.address = addresses[k];
            envelope->is_smtputf8 = envelope->is_smtputf8 || addresses[k].is_utf8_local;
            add_once(arena, &to, recipient);
        }
    }
    HASH_CLEAR(hh, to.seen);
    envelope->recipients = to.items;
    envelope->recipient_count = to.count;
}

/* A foreign file in the folder's own form; what is none stays. False with a reason. */
static bool translate(struct arena *arena, int dialect, struct slice *file, const char **ret_dialect, struct error *error)
{
    struct buf own = {0};
    enum foreign_result result = foreign_translate(*file, dialect, &own, ret_dialect, error);
    if (result == FOREIGN_DONE)
        *file = arena_copy(arena, buf_slice(&own));
    buf_finish(&own);
    return result != FOREIGN_BAD;
}

static void note_added(struct arena *arena, struct prepared *prepared, size_t added, const char *said)
{
    prepared->facts.header_size += added;
    prepared->facts.repairs = arena_printf(arena, "%.*s%s%s", SLICE_FMT(prepared->facts.repairs),
                                           prepared->facts.repairs.size ? " " : "", said);
}

static void seal(struct arena *arena, const struct config *config, const struct prepare_about *about, struct prepared *prepared)
{
    struct error error;
    size_t added;
    if (!sealer_seal(config, about->signer, arena, about->time_ms, &prepared->content, &added, &error))
        note_added(arena, prepared, 0, "arc-failed");
    else if (added)
        note_added(arena, prepared, added, "arc");
}

/* Last, when nothing of the message changes any more (PITFALLS 41). What strangers brought in is not ours to sign; an export
 * has its signature already. A failure costs the signature, not the message, and is said. */
static void sign(struct arena *arena, const struct config *config, const struct prepare_about *about, struct prepared *prepared)
{
    struct signer_result result = {0};
    struct error error;
    const char *said = "";
    if (about->signer && prepared->envelope.accepted == ACCEPTED_RELAY) {
        seal(arena, config, about, prepared);
        return;
    }
    if (!about->signer || prepared->envelope.accepted == ACCEPTED_RELAY || resume_is_export(&prepared->header))
        return;
    if (!signer_sign(about->signer, arena, about->time_ms, about->folder ? &about->folder->dkim : NULL, &prepared->content, &result,
                     &error))
        said = "dkim-failed";
    else if (result.added)
        said = result.is_7bit ? "7bit dkim" : "dkim";
    else
        return;
    if (result.is_7bit)
        prepared->facts.has_8bit_body = false;
    note_added(arena, prepared, result.added, said);
}

static void set_options(const struct config *config, const struct prepare_about *about, struct envelope_options *ret_options)
{
    const struct folder_conf *folder = about->folder;
    const struct folder_owner *section = folder ? rules_section(folder, &about->file_owner) : NULL;
    const char *sender = section && section->default_sender        ? section->default_sender
                         : folder && folder->default_sender        ? folder->default_sender
                                                                   : config->default_sender;
    *ret_options = (struct envelope_options){
        .default_domain = slice_of(config->default_domain),
        .default_sender = slice_of(sender),
        .recipient_count_max = (size_t)config->limits.recipients,
        .x_lines_anywhere = config->pickup.is_x_lines_anywhere,
        .is_own_file = about->is_own,
        .dialect = about->dialect,
    };
}

/* What the folder adds to the envelope. */
static bool apply_folder(struct arena *arena, const struct folder_conf *folder, struct envelope *envelope, struct error *error)
{
    struct envelope_recipient copy = {.notify = NOTIFY_NEVER};
    if (folder->priority >= 0)
        envelope->priority = (enum envelope_priority)(folder->priority - 1);
    if (!folder->archive)
        return true;
    if (!address_parse(arena, slice_of(folder->archive), &copy.address, error))
        return error_prefix(error, "%s: archive", folder->file);
    for (size_t i = 0; i < envelope->recipient_count; i++)
        if (slice_equals(envelope->recipients[i].address.text, copy.address.text))
            return true;
    envelope->recipients = arena_grow(arena, envelope->recipients, envelope->recipient_count, envelope->recipient_count + 1,
                                      sizeof *envelope->recipients);
    envelope->recipients[envelope->recipient_count++] = copy;
    return true;
}

static void hash_recipients(const struct envelope *envelope, struct buf *out)
{
    unsigned char sum[32] = {0}, one[32];
    for (size_t i = 0; i < envelope->recipient_count; i++) { /* in whatever order they stand */
        struct slice text = envelope->recipients[i].address.text;
        (void)SHA256((const unsigned char *)text.data, text.size, one);
        for (size_t k = 0; k < sizeof sum; k++)
            sum[k] ^= one[k];
    }
    for (size_t k = 0; k < sizeof sum; k++)
        buf_printf(out, "%02x", sum[k]);
}

/* O1 to O3. */
static void find_once(struct arena *arena, const struct config *config, const struct prepare_about *about, struct prepared *prepared)
{
    const struct folder_conf *folder = about->folder;
    int once = folder && folder->once >= 0 ? folder->once : config->pickup.once;
    const struct header_field *id = header_find(&prepared->header, SLICE("Message-ID"), 0);
    struct slice given = prepared->envelope.once_key;
    struct slice value = given.size ? given : once == FOLDER_ONCE_MESSAGE_ID && id ? slice_trim(id->value) : SLICE_NONE;
    struct buf key = {0};
    if (once == FOLDER_ONCE_OFF || value.size == 0 || resume_is_export(&prepared->header) || prepared->envelope.accepted == ACCEPTED_RELAY)
        return;
    buf_printf(&key, "%s %u %s ", folder ? folder->name : "/", (unsigned)about->file_owner.uid, given.size ? "key" : "message-id");
    buf_append(&key, header_unfold(arena, value));
    if (!given.size) {
        buf_append_byte(&key, ' ');
        hash_recipients(&prepared->envelope, &key);
    }
    prepared->once_key = arena_copy(arena, buf_slice(&key));
    prepared->once_ms = folder && folder->once_ms ? folder->once_ms : config->pickup.once_ms;
    buf_finish(&key);
}

int prepare_dialect(const struct config *config, const struct folder_conf *folder)
{
    return folder && folder->dialect >= 0 ? folder->dialect : config->pickup.dialect;
}

/* Header and envelope, and whether the folder lets them pass. */
static bool read_envelope(struct arena *arena, const struct config *config, struct slice *file, const struct prepare_about *about,
                          struct prepared *prepared, struct error *error)
{
    struct header_limits limits = {config->limits.header_size, (size_t)config->limits.header_count, (size_t)config->limits.recipients};
    struct envelope_options options;
    const struct folder_conf *folder = about->folder;
    int dialect = prepare_dialect(config, folder);
    set_options(config, about, &options);
    if (file->size == 0)
        return error_set(error, "empty: the writer left nothing in it");
    if (!options.dialect && dialect == CONFIG_DIALECT_PLAIN)
        options.dialect = "plain";
    if (!options.dialect && !translate(arena, dialect, file, &options.dialect, error))
        return false;
    return header_scan(arena, *file, &limits, &prepared->header, error)
           && envelope_find(arena, *file, &prepared->header, &options, &prepared->envelope, error)
           && (!folder || rules_check(arena, folder, &about->file_owner, &prepared->header, &prepared->envelope, error));
}

/* The envelope as it goes on: config/return_path.h F1, F3. An SRS address that was not made here is no
 * recipient; false if there is no other one. */
static bool rewrite(struct arena *arena, const struct config *config, const struct prepare_about *about, struct prepared *prepared,
                    struct error *why)
{
    struct envelope *envelope = &prepared->envelope;
    size_t kept = 0;
    bool is_changed = return_path_rewrite_sender(config, arena, &envelope->sender);
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        struct envelope_recipient recipient = envelope->recipients[i];
        struct slice back;
        struct error *error = arena_alloc(arena, sizeof *error);
        struct address address;
        enum srs_result result = return_path_back(signer_return_path(about->signer), arena, recipient.address.text, about->time_ms, &back,
                                                  error);
        if (result == SRS_DONE && !address_parse(arena, back, &address, error))
            result = SRS_BAD;
        if (result == SRS_BAD) {
            envelope->rejected = arena_grow(arena, envelope->rejected, envelope->rejected_count, envelope->rejected_count + 1,
                                            sizeof *envelope->rejected);
            envelope->rejected[envelope->rejected_count++] = (struct envelope_fault){recipient.address.text, error->text, 0};
            continue;
        }
        if (result == SRS_DONE)
            recipient.address = address;
        is_changed = return_path_rewrite_recipient(config, arena, &recipient.address) || result == SRS_DONE || is_changed;
        envelope->recipients[kept++] = recipient;
    }
    envelope->recipient_count = kept;
    if (is_changed)
        prepared->facts.repairs = arena_printf(arena, "%.*s%srewritten", SLICE_FMT(prepared->facts.repairs),
                                               prepared->facts.repairs.size ? " " : "");
    return kept || error_set(why, "no recipient can be used: \"%.*s\": %s", SLICE_FMT(envelope->rejected[envelope->rejected_count - 1].text),
                             envelope->rejected[envelope->rejected_count - 1].reason);
}

static bool is_listed(const struct config_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
            return true;
    return false;
}

/* As import-powermta names a source: small letters, "-" for what our names can't have. */
static bool is_name_of(struct slice theirs, const char *ours)
{
    size_t i = 0;
    for (; i < theirs.size && ours[i]; i++) {
        char c = theirs.data[i];
        char clean = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ? c : '-';
        if (clean != ours[i])
            return false;
    }
    return i == theirs.size && !ours[i];
}

/* PowerMTA's x-virtual-mta: one of the folder's sources, or one that mail of this sender may leave from anyhow. */
static struct slice source_of(const struct config *config, const struct folder_conf *folder, const struct envelope *envelope)
{
    bool is_powermta = slice_equals(slice_of(envelope->dialect), SLICE("powermta"));
    for (size_t i = 0; is_powermta && i < config->source_count; i++) {
        const struct config_source *source = &config->sources[i];
        bool may = folder && folder->sources.count ? is_listed(&folder->sources, source->name)
                                                   : config_source_fits(source, envelope->sender.domain) > 0;
        if (may && is_name_of(envelope->virtual_mta, source->name))
            return slice_of(source->name);
    }
    return SLICE_NONE;
}

enum content_result prepare_message(struct arena *arena, const struct config *config,
                                    struct slice file, const struct prepare_about *about,
                                    struct prepared *ret_prepared, struct error *error)
{
    static const enum content_dots dots[] = {
        [CONFIG_DOTS_AUTO] = DOTS_AUTO,
        [CONFIG_DOTS_NEVER] = DOTS_NEVER,
        [CONFIG_DOTS_ALWAYS] = DOTS_ALWAYS,
    };
    int dot_rule = about->folder && about->folder->dots >= 0 ? about->folder->dots : config->pickup.dots;
    char id[17];

    *ret_prepared = (struct prepared){0};
    if (!read_envelope(arena, config, &file, about, ret_prepared, error))
        return CONTENT_BAD;
    bool is_export = resume_is_export(&ret_prepared->header);
    store_id_text(about->id, id);
    struct content_stamp stamp = {
        .host = slice_of(config->hostname),
        .pickup_name = about->name,
        .owner = about->owner,
        .queue_id = slice_make(id, 16),
        .time_ms = about->time_ms,
        .zone_s = about->zone_s,
        /* An export is the canonical message, and so is what follows a block of envelope lines: nothing in it is stuffed. */
        .dots = ret_prepared->envelope.is_block_ended || is_export ? DOTS_NEVER : dots[dot_rule],
        .hop_count_max = (size_t)config->limits.hops,
        .has_source = !slice_is_absent(source_of(config, about->folder, &ret_prepared->envelope)),
    };
    enum content_result result =
        content_build(arena, file, &ret_prepared->header, &ret_prepared->envelope, &stamp,
                      &ret_prepared->content, &ret_prepared->facts, error);
    if (result != CONTENT_DONE) {
        buf_finish(&ret_prepared->content);
        return result;
    }
    find_once(arena, config, about, ret_prepared);
    if (!is_export) { /* its recipients are the expanded ones, the archive's among them */
        if (!rewrite(arena, config, about, ret_prepared, error)
            || (about->folder && !apply_folder(arena, about->folder, &ret_prepared->envelope, error))) {
            buf_finish(&ret_prepared->content);
            return CONTENT_BAD;
        }
        expand_aliases(arena, config, &ret_prepared->envelope);
    }
    sign(arena, config, about, ret_prepared);
    return CONTENT_DONE;
}

/* RFC 8689 5. */
static bool says_no_tls(const struct header *header)
{
    const struct header_field *field = header_find(header, SLICE("TLS-Required"), 0);
    return field && slice_equals_nocase(slice_trim(field->value), SLICE("No"));
}

static unsigned flags_of(const struct prepared *prepared)
{
    unsigned flags = 0;
    if (prepared->facts.has_8bit_body)
        flags |= MESSAGE_8BIT;
    if (prepared->facts.has_8bit_header)
        flags |= MESSAGE_8BIT_HEADER | MESSAGE_SMTPUTF8;
    if (prepared->envelope.is_smtputf8)
        flags |= MESSAGE_SMTPUTF8;
    if (prepared->envelope.is_requiretls)
        flags |= MESSAGE_REQUIRETLS;
    else if (says_no_tls(&prepared->header))
        flags |= MESSAGE_TLS_OPTIONAL;
    if (prepared->facts.has_leading_dot)
        flags |= MESSAGE_LEADING_DOT;
    return flags;
}

bool prepare_is_in_file(const struct config *config, const struct prepared *prepared)
{
    return !config->store && prepared->content.size > STORE_INLINE_SIZE_MAX; /* the shared queue has no files */
}

/* A folder's route is not for mail that stays here. */
static struct slice route_of(const struct config *config, const struct folder_conf *folder, struct slice domain)
{
    return folder && folder->route && !config_is_local(config, domain) ? slice_of(folder->route) : SLICE_NONE;
}

/* The application's trace, or a new one if somebody is told of traces. */
static struct slice trace_of(struct arena *arena, const struct config *config, const struct envelope *envelope, uint64_t id)
{
    char made[TRACE_ID_SIZE + 1];
    if (!slice_is_absent(envelope->trace) || !config_has_traces(config))
        return envelope->trace;
    trace_make(slice_of(config->hostname), id, made);
    return arena_printf(arena, "%s-01", made);
}

struct queued *prepare_queued(struct arena *arena, const struct config *config, struct prepared *prepared,
                              const struct prepare_about *about)
{
    const struct envelope *envelope = &prepared->envelope;
    struct store_recipient *recipients =
        arena_alloc(arena, envelope->recipient_count * sizeof *recipients);
    const struct folder_conf *folder = about->folder;
    int64_t due_ms = envelope->deliver_at_ms > about->time_ms ? envelope->deliver_at_ms : about->time_ms;
    if (about->not_before_ms > due_ms)
        due_ms = about->not_before_ms;
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        const struct envelope_recipient *from = &envelope->recipients[i];
        recipients[i] = (struct store_recipient){
            .message_id = about->id, .number = (unsigned)i, .address = from->address.text,
            .domain = from->address.domain, .orcpt = from->orcpt, .notify = from->notify,
            .state = (folder && folder->is_held) || envelope->is_held ? STATE_HELD : STATE_QUEUED, .priority = envelope->priority,
            .route = route_of(config, folder, from->address.domain),
            .next_ms = schedule_first(config, from->address.domain, due_ms, envelope->sender.text.size == 0),
        };
    }
    const struct policy own = {.released_ms = due_ms > about->time_ms ? due_ms : 0, .by_ms = envelope->deliver_by_ms,
                                 .is_by_return = envelope->is_by_return, .is_by_traced = envelope->is_by_traced,
                                 .sources = source_of(config, folder, envelope), .trace = trace_of(arena, config, envelope, about->id),
                                 .appeared_ms = about->appeared_ms && about->appeared_ms < about->time_ms ? about->appeared_ms : about->time_ms};
    struct store_message message = {
        .id = about->id, .arrived_ms = about->time_ms, .sender = envelope->sender.text,
        .envid = envelope->envid, .auth = envelope->auth, .ret = envelope->ret,
        .flags = flags_of(prepared), .priority = envelope->priority, .pickup_name = about->name,
        .owner = about->owner, .message_id = prepared->facts.message_id,
        .subject = prepared->facts.subject, .policy = policy_words(arena, folder, &own), .size = prepared->content.size,
        .header_size = prepared->facts.header_size,
        .is_in_file = prepare_is_in_file(config, prepared),
    };
    if (!envelope->accepted) { /* strangers have no history here to go on with */
        resume_message(arena, &prepared->header, about->time_ms, &message);
        resume_recipients(arena, &prepared->header, about->time_ms, recipients, envelope->recipient_count);
    }
    char *content = message.is_in_file ? NULL : buf_take(&prepared->content);
    return queued_create(&message, recipients, envelope->recipient_count, content);
}
