#include "message/envelope.h"

#include "base/hash.h"
#include "message/envelope_private.h"
#include "message/trace.h"

#include <stdlib.h>

static bool is_trace_field(struct slice name)
{
    return slice_equals_nocase(name, SLICE("Received")) || slice_equals_nocase(name, SLICE("Return-Path"))
           || slice_starts_nocase(name, SLICE("X-"));
}

static size_t leading_run(const struct header *header)
{
    size_t count = 0;
    while (count < header->count && is_trace_field(header->fields[count].name))
        count++;
    return count;
}

bool reading_add(struct reading *reading, struct address *address, struct slice orcpt, unsigned notify)
{
    struct envelope *envelope = reading->envelope;
    if (envelope->recipient_count >= reading->options->recipient_count_max)
        return error_set(reading->error, "too many recipients: at most %zu are taken (limits.recipients)",
                         reading->options->recipient_count_max);
    if (envelope->recipient_count == reading->recipient_capacity) {
        size_t capacity = reading->recipient_capacity ? reading->recipient_capacity * 2 : 4;
        envelope->recipients = arena_grow(reading->arena, envelope->recipients, envelope->recipient_count,
                                          capacity, sizeof *envelope->recipients);
        reading->recipient_capacity = capacity;
    }
    address_qualify(reading->arena, reading->options->default_domain, address);
    envelope->recipients[envelope->recipient_count++] =
        (struct envelope_recipient){*address, orcpt, notify};
    return true;
}

bool reading_reject(struct reading *reading, struct slice text, const char *reason, size_t line)
{
    struct envelope *envelope = reading->envelope;
    if (envelope->rejected_count >= reading->options->recipient_count_max)
        return error_set(reading->error, "line %zu: too many recipients that can't be used", line);
    if (envelope->rejected_count == reading->rejected_capacity) {
        size_t capacity = reading->rejected_capacity ? reading->rejected_capacity * 2 : 4;
        envelope->rejected = arena_grow(reading->arena, envelope->rejected, envelope->rejected_count,
                                        capacity, sizeof *envelope->rejected);
        reading->rejected_capacity = capacity;
    }
    envelope->rejected[envelope->rejected_count++] = (struct envelope_fault){text, reason, line};
    return true;
}

static bool add_field(struct reading *reading, const struct header_field *field)
{
    struct address_list list;
    if (!address_list_parse(reading->arena, field->value, reading->options->recipient_count_max, &list,
                            reading->error))
        return error_prefix(reading->error, "line %zu: %.*s", field->line, SLICE_FMT(field->name));
    for (size_t i = 0; i < list.count; i++)
        if (!reading_add(reading, &list.items[i], SLICE_NONE, 0))
            return false;
    for (size_t i = 0; i < list.fault_count; i++)
        if (!reading_reject(reading, list.faults[i].text, list.faults[i].reason, field->line))
            return false;
    return true;
}

static bool is_one_of(struct slice name, const struct slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equals_nocase(name, names[i]))
            return true;
    return false;
}

/* The fields of the top block of Resent- fields: it ends where one of its names comes again (RFC 5322 3.6.6: newer
 * blocks are put in front). Returns the index behind it, 0 if there is none with recipients. */
static size_t resent_block(const struct header *header, size_t *ret_first)
{
    bool has_recipients = false, has_date = false, has_from = false;
    size_t first = header->count, i = 0;
    for (; i < header->count; i++) {
        struct slice name = header->fields[i].name;
        if (!slice_starts_nocase(name, SLICE("Resent-"))) {
            if (first < header->count)
                break;
            continue;
        }
        bool is_date = slice_equals_nocase(name, SLICE("Resent-Date"));
        bool is_from = slice_equals_nocase(name, SLICE("Resent-From"));
        if ((is_date && has_date) || (is_from && has_from))
            break;
        has_date |= is_date;
        has_from |= is_from;
        if (first == header->count)
            first = i;
        has_recipients |= slice_equals_nocase(name, SLICE("Resent-To"))
                          || slice_equals_nocase(name, SLICE("Resent-Cc"))
                          || slice_equals_nocase(name, SLICE("Resent-Bcc"));
    }
    *ret_first = first;
    return has_recipients ? i : 0;
}

static bool read_recipients(struct reading *reading, size_t from, size_t to, const struct slice names[3])
{
    for (size_t i = from; i < to; i++) {
        const struct header_field *field = &reading->header->fields[i];
        if (is_one_of(field->name, names, 3) && !add_field(reading, field))
            return false;
    }
    return true;
}

/* The first address of a field within the range; a field without one is passed over. */
static bool read_sender(struct reading *reading, struct slice name, size_t from, size_t to)
{
    for (size_t i = from; i < to && !reading->has_sender; i++) {
        const struct header_field *field = &reading->header->fields[i];
        struct address_list list;
        if (!slice_equals_nocase(field->name, name))
            continue;
        if (!address_list_parse(reading->arena, field->value, reading->options->recipient_count_max, &list,
                                reading->error))
            return error_prefix(reading->error, "line %zu: %.*s", field->line, SLICE_FMT(field->name));
        if (list.count == 0)
            continue;
        reading->envelope->sender = list.items[0];
        reading->has_sender = true;
    }
    return true;
}

static bool find_sender(struct reading *reading, size_t resent_first, size_t resent_end)
{
    if (resent_end
        && (!read_sender(reading, SLICE("Resent-Sender"), resent_first, resent_end)
            || !read_sender(reading, SLICE("Resent-From"), resent_first, resent_end)))
        return false;
    if (!read_sender(reading, SLICE("Sender"), 0, reading->header->count)
        || !read_sender(reading, SLICE("From"), 0, reading->header->count))
        return false;
    if (!reading->has_sender && reading->options->default_sender.size) {
        if (!address_parse(reading->arena, reading->options->default_sender, &reading->envelope->sender,
                           reading->error))
            return error_prefix(reading->error, "default_sender");
        reading->has_sender = true;
    }
    if (!reading->has_sender)
        return error_set(reading->error, "no sender: an X-Sender, Sender or From line with an address was "
                                         "expected");
    address_qualify(reading->arena, reading->options->default_domain, &reading->envelope->sender);
    return true;
}

struct seen {
    UT_hash_handle hh;
};

/* E5; RFC 5321 4.5.3.1: one copy for one address. The first mention stays. */
static void drop_duplicates(struct envelope *envelope, struct arena *arena)
{
    struct seen *all = NULL, *seen = arena_alloc(arena, envelope->recipient_count * sizeof *seen);
    size_t kept = 0;
    for (size_t i = 0; i < envelope->recipient_count; i++) {
        struct slice text = envelope->recipients[i].address.text;
        struct seen *found;
        HASH_FIND(hh, all, text.data, (unsigned)text.size, found);
        if (found)
            continue;
        HASH_ADD_KEYPTR(hh, all, text.data, (unsigned)text.size, &seen[i]);
        envelope->recipients[kept++] = envelope->recipients[i];
    }
    HASH_CLEAR(hh, all);
    envelope->recipient_count = kept;
}

static bool refuse_without_recipients(const struct reading *reading)
{
    const struct envelope *envelope = reading->envelope;
    if (envelope->recipient_count)
        return true;
    if (envelope->rejected_count)
        return error_set(reading->error, "line %zu: no recipient can be used: \"%.*s\": %s",
                         envelope->rejected[0].line, (int)(envelope->rejected[0].text.size & 0xff),
                         envelope->rejected[0].text.data, envelope->rejected[0].reason);
    return error_set(reading->error, "no recipient: an X-Receiver, To, Cc or Bcc line with an address was "
                                     "expected");
}

static enum envelope_priority priority_of(const struct reading *reading)
{
    static const struct { const char *name, *value; enum envelope_priority priority; } marks[] = {
        {"X-Priority", "1", PRIORITY_HIGH},      {"X-Priority", "2", PRIORITY_HIGH},
        {"X-Priority", "4", PRIORITY_LOW},       {"X-Priority", "5", PRIORITY_LOW},
        {"Importance", "high", PRIORITY_HIGH},   {"Importance", "low", PRIORITY_LOW},
        {"X-MSMail-Priority", "high", PRIORITY_HIGH}, {"X-MSMail-Priority", "low", PRIORITY_LOW},
        {"Priority", "urgent", PRIORITY_HIGH},   {"Priority", "non-urgent", PRIORITY_LOW},
    };
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        const struct header_field *field = header_find(reading->header, slice_of(marks[i].name), 0);
        struct slice value = field ? slice_trim(field->value) : SLICE_NONE;
        struct slice word = slice_cut(&value, ' ');
        if (field && slice_equals_nocase(word, slice_of(marks[i].value)))
            return marks[i].priority;
    }
    return PRIORITY_NORMAL;
}

static void note_smtputf8(struct envelope *envelope)
{
    envelope->is_smtputf8 |= envelope->sender.is_utf8_local;
    for (size_t i = 0; i < envelope->recipient_count; i++)
        envelope->is_smtputf8 |= envelope->recipients[i].address.is_utf8_local;
}

static void find_trace(struct reading *reading)
{
    const struct header_field *field = header_find(reading->header, SLICE("traceparent"), 0);
    bool is_one = field && header_count(reading->header, field->name) == 1;
    if (reading->envelope->accepted == ACCEPTED_RELAY || !is_one || !trace_of_header(field->value, &reading->envelope->trace))
        reading->envelope->trace = SLICE_NONE;
}

bool envelope_find(struct arena *arena, struct slice file, const struct header *header,
                   const struct envelope_options *options, struct envelope *ret_envelope,
                   struct error *error)
{
    static const struct slice plain_names[3] = {{"To", 2}, {"Cc", 2}, {"Bcc", 3}};
    static const struct slice resent_names[3] = {{"Resent-To", 9}, {"Resent-Cc", 9}, {"Resent-Bcc", 10}};
    struct envelope envelope = {.sender.text = SLICE("")};
    struct reading reading = {.arena = arena, .file = file, .header = header, .options = options,
                              .envelope = &envelope, .leading_count = leading_run(header),
                              .x_end = SIZE_MAX, .error = error};
    size_t resent_first = 0, resent_end = 0;
    bool has_receivers = false;

    if (!xlines_read(&reading, &has_receivers) || !dialect_find(&reading))
        return false;
    if (!has_receivers) {
        resent_end = resent_block(header, &resent_first);
        if (resent_end ? !read_recipients(&reading, resent_first, resent_end, resent_names)
                       : !read_recipients(&reading, 0, header->count, plain_names))
            return false;
    }
    if (!refuse_without_recipients(&reading)
        || (!reading.has_sender && !find_sender(&reading, resent_first, resent_end)))
        return false;
    drop_duplicates(&envelope, arena);
    envelope.priority = priority_of(&reading);
    note_smtputf8(&envelope);
    find_trace(&reading);
    *ret_envelope = envelope;
    return true;
}

bool envelope_is_private_field(struct slice name)
{
    static const struct slice names[] = {
        {"Bcc", 3}, {"Resent-Bcc", 10}, {"Return-Path", 11}, {"X-Sender", 8}, {"X-Receiver", 10},
        {"X-CreatedBy", 11}, {"X-HeloDomain", 12}, {"X-ExtendedProps", 15}, {"X-ExtendedMessageProps", 22},
        {"X-EndOfInjectedXHeaders", 23}, {"X-Source", 8}, {"X-SourceIPAddress", 17}, {"X-Envid", 7},
        {"X-Job", 5}, {"X-Virtual-MTA", 13}, {"X-Schedule", 10}, {"X-Deliver-At", 12}, {"X-Deliver-By", 12}, {"X-Mailroot-Export", 17},
        {"X-Mailroot-Attempt", 18}, {"X-Mailroot-Done", 15}, {"X-Mailroot-Accepted", 19}, {"X-Mailroot-Hold", 15},
        {"X-Idempotency-Key", 17},
    };
    return is_one_of(name, names, COUNT_OF(names));
}

bool envelope_is_trace_field(struct slice name)
{
    return slice_equals_nocase(name, SLICE("traceparent")) || slice_equals_nocase(name, SLICE("tracestate"));
}
