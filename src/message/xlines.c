#include "message/envelope_private.h"

#include <stdlib.h>
#include <time.h>

enum { XTEXT_SIZE_MAX = 500 };

/* An xtext value that may stand in a command line: RFC 3461 4. */
static bool is_xtext(struct slice text)
{
    if (text.size == 0 || text.size > XTEXT_SIZE_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] <= 0x20 || (unsigned char)text.data[i] >= 0x7f)
            return false;
    return true;
}

bool envelope_notify_parse(struct slice text, unsigned *ret_notify)
{
    static const struct { struct slice word; unsigned bit; } words[] = {
        {{"NEVER", 5}, NOTIFY_NEVER}, {{"SUCCESS", 7}, NOTIFY_SUCCESS},
        {{"FAILURE", 7}, NOTIFY_FAILURE}, {{"DELAY", 5}, NOTIFY_DELAY},
    };
    unsigned notify = 0;
    if (text.size == 0)
        return false;
    while (text.size) {
        struct slice word = slice_trim(slice_cut(&text, ','));
        unsigned bit = 0;
        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (slice_equals_nocase(word, words[i].word))
                bit = words[i].bit;
        if (bit == 0)
            return false;
        notify |= bit;
    }
    if ((notify & NOTIFY_NEVER) && notify != NOTIFY_NEVER)
        return false;
    *ret_notify = notify;
    return true;
}

struct slice envelope_notify_text(struct arena *arena, unsigned notify)
{
    if (notify & NOTIFY_NEVER)
        return SLICE("NEVER");
    struct slice text = arena_printf(arena, "%s%s%s", notify & NOTIFY_SUCCESS ? ",SUCCESS" : "",
                                     notify & NOTIFY_FAILURE ? ",FAILURE" : "",
                                     notify & NOTIFY_DELAY ? ",DELAY" : "");
    return text.size ? slice_from(text, 1) : text;
}

static bool take_number(struct slice *text, size_t digits, int *ret_number)
{
    uint64_t number;
    if (text->size < digits || !slice_to_u64(slice_first(*text, digits), &number))
        return false;
    *text = slice_from(*text, digits);
    *ret_number = (int)number;
    return true;
}

static bool take_byte(struct slice *text, const char *accepted)
{
    if (text->size == 0 || !strchr(accepted, text->data[0]))
        return false;
    *text = slice_from(*text, 1);
    return true;
}

/* RFC 3339 5.6. */
bool envelope_time_parse(struct slice text, int64_t *ret_ms)
{
    struct tm at = {0};
    int milliseconds = 0, hours = 0, minutes = 0;
    text = slice_trim(text);
    if (!take_number(&text, 4, &at.tm_year) || !take_byte(&text, "-") || !take_number(&text, 2, &at.tm_mon)
        || !take_byte(&text, "-") || !take_number(&text, 2, &at.tm_mday) || !take_byte(&text, "Tt ")
        || !take_number(&text, 2, &at.tm_hour) || !take_byte(&text, ":")
        || !take_number(&text, 2, &at.tm_min) || !take_byte(&text, ":")
        || !take_number(&text, 2, &at.tm_sec))
        return false;
    if (take_byte(&text, "."))
        for (int unit = 100, digit; take_number(&text, 1, &digit); unit /= 10)
            milliseconds += digit * unit;
    int sign = text.size && text.data[0] == '-' ? -1 : 1;
    if (!take_byte(&text, "Zz")
        && (!take_byte(&text, "+-") || !take_number(&text, 2, &hours) || !take_byte(&text, ":")
            || !take_number(&text, 2, &minutes)))
        return false;
    if (text.size || at.tm_mon < 1 || at.tm_mon > 12 || at.tm_mday < 1 || at.tm_mday > 31 || at.tm_hour > 23
        || at.tm_min > 59 || at.tm_sec > 60 || hours > 23 || minutes > 59)
        return false;
    at.tm_year -= 1900;
    at.tm_mon--;
    int day = at.tm_mday;
    int64_t seconds = timegm(&at);
    if (at.tm_mday != day && at.tm_sec != 0)
        return false; /* 30 February */
    *ret_ms = (seconds - sign * (hours * 3600 + minutes * 60)) * 1000 + milliseconds;
    return true;
}

struct parameters { /* of one X- line */
    struct slice orcpt, envid, auth;
    unsigned notify;
    enum envelope_ret ret;
    bool is_8bit, is_smtputf8, is_requiretls;
};

/* One NAME=VALUE. Unknown ones are passed over: Exchange adds its own. False if a known one is ill-formed. */
static bool read_parameter(struct slice word, struct parameters *parameters)
{
    struct slice value = word;
    struct slice name = slice_cut(&value, '=');
    if (slice_equals_nocase(name, SLICE("NOTIFY")))
        return envelope_notify_parse(value, &parameters->notify);
    if (slice_equals_nocase(name, SLICE("ORCPT"))) {
        parameters->orcpt = value;
        return is_xtext(value);
    }
    if (slice_equals_nocase(name, SLICE("ENVID"))) {
        parameters->envid = value;
        return is_xtext(value);
    }
    if (slice_equals_nocase(name, SLICE("AUTH"))) {
        parameters->auth = value;
        return is_xtext(value);
    }
    if (slice_equals_nocase(name, SLICE("RET"))) {
        bool is_full = slice_equals_nocase(value, SLICE("FULL"));
        parameters->ret = is_full ? RET_FULL : RET_HDRS;
        return is_full || slice_equals_nocase(value, SLICE("HDRS"));
    }
    if (slice_equals_nocase(name, SLICE("BODY")))
        parameters->is_8bit = !slice_equals_nocase(value, SLICE("7BIT"));
    if (slice_equals_nocase(name, SLICE("SMTPUTF8")))
        parameters->is_smtputf8 = true;
    if (slice_equals_nocase(name, SLICE("REQUIRETLS")))
        parameters->is_requiretls = true;
    return true;
}

/* The ">" of the address: the first behind a "<", neither of them in quotes. A parameter may hold others (AUTH=<x>). */
static ptrdiff_t address_end(struct slice line)
{
    bool is_quoted = false, is_open = false;
    for (size_t i = 0; i < line.size; i++) {
        char c = line.data[i];
        if (c == '\\' && is_quoted)
            i++;
        else if (c == '"')
            is_quoted = !is_quoted;
        else if (c == '<' && !is_quoted)
            is_open = true;
        else if (c == '>' && !is_quoted && is_open)
            return (ptrdiff_t)i;
    }
    return -1;
}

/* The next parameter: up to a ";", but for the one that parts the type from the address in ORCPT=rfc822;a@b. */
static struct slice cut_parameter(struct slice *words)
{
    struct slice whole = *words;
    struct slice word = slice_cut(words, ';');
    if (!slice_starts_nocase(word, SLICE("ORCPT=")) || word.size == whole.size)
        return slice_trim(word);
    struct slice address = slice_cut(words, ';');
    return slice_trim(slice_first(whole, word.size + 1 + address.size));
}

/* Cuts the ESMTP parameters off the line: they stand behind the address's ">", or behind a bare address. */
static bool split_parameters(struct slice *line, struct parameters *parameters, struct slice *ret_bad)
{
    ptrdiff_t close = address_end(*line);
    struct slice rest = *line;
    if (close >= 0) {
        rest = slice_from(*line, (size_t)close + 1);
        line->size = (size_t)close + 1;
    } else if (slice_find_byte(*line, '"') < 0 && slice_find_byte(*line, '(') < 0) {
        *line = slice_cut(&rest, ' ');
    } else {
        return true;
    }
    while (rest.size) {
        struct slice words = slice_cut(&rest, ' ');
        while (words.size) {
            struct slice word = cut_parameter(&words);
            if (word.size && slice_find_byte(word, '=') < 0 && !slice_equals_nocase(word, SLICE("SMTPUTF8"))
                && !slice_equals_nocase(word, SLICE("REQUIRETLS")))
                continue; /* a word of a name behind the address */
            if (word.size && !read_parameter(word, parameters)) {
                *ret_bad = word;
                return false;
            }
        }
    }
    return true;
}

static bool read_line(struct reading *reading, const struct header_field *field, struct address *ret_address,
                      struct parameters *ret_parameters, struct error *reason)
{
    struct slice line = header_unfold(reading->arena, field->value), bad;
    struct address_list list;
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] == '\t') { /* one kind of blank from here on */
            line = arena_copy(reading->arena, line);
            ((char *)(uintptr_t)line.data)[i] = ' ';
        }
    if (!split_parameters(&line, ret_parameters, &bad))
        return error_set(reason, "parameter %.*s can't be read", SLICE_FMT(bad));
    if (slice_equals(line, SLICE("<>"))) {
        *ret_address = (struct address){.text = SLICE(""), .local = SLICE(""), .domain = SLICE("")};
        return true;
    }
    if (address_parse(reading->arena, line, ret_address, reason))
        return true;
    if (!address_list_parse(reading->arena, line, 2, &list, reason))
        return false;
    if (list.count == 1 && list.fault_count == 0) {
        *ret_address = list.items[0];
        return true;
    }
    return error_set(reason, "%s", list.fault_count ? list.faults[0].reason : "one address was expected");
}

static bool read_sender_line(struct reading *reading, const struct header_field *field)
{
    struct parameters parameters = {0};
    struct envelope *envelope = reading->envelope;
    struct error reason;
    if (reading->has_sender)
        return true; /* the first one counts */
    if (!read_line(reading, field, &envelope->sender, &parameters, &reason))
        return error_set(reading->error, "line %zu: X-Sender: %s", field->line, reason.text);
    address_qualify(reading->arena, reading->options->default_domain, &envelope->sender);
    envelope->ret = parameters.ret;
    envelope->envid = parameters.envid;
    envelope->auth = parameters.auth;
    envelope->is_8bit_declared = parameters.is_8bit;
    envelope->is_smtputf8 = parameters.is_smtputf8;
    envelope->is_requiretls = parameters.is_requiretls;
    reading->has_sender = true;
    return true;
}

static bool read_receiver_line(struct reading *reading, const struct header_field *field)
{
    struct parameters parameters = {0};
    struct address address;
    struct error reason;
    bool is_fine = read_line(reading, field, &address, &parameters, &reason);
    if (is_fine && address.text.size == 0)
        is_fine = error_set(&reason, "the null address receives nothing");
    if (!is_fine)
        return reading_reject(reading, header_unfold(reading->arena, field->value),
                              arena_text(reading->arena, slice_of(reason.text)), field->line);
    return reading_add(reading, &address, parameters.orcpt, parameters.notify);
}

static bool read_envid_line(struct reading *reading, const struct header_field *field)
{
    struct slice value = slice_trim(field->value);
    if (is_xtext(value))
        reading->envelope->envid = value;
    return true;
}

static bool read_time_line(struct reading *reading, const struct header_field *field)
{
    if (!envelope_time_parse(field->value, &reading->envelope->deliver_at_ms))
        return error_set(reading->error,
                         "line %zu: %.*s: a time as in 2026-11-24T04:18:00Z was expected (RFC 3339)",
                         field->line, SLICE_FMT(field->name));
    return true;
}

static bool read_key_line(struct reading *reading, const struct header_field *field)
{
    struct slice value = slice_trim(field->value);
    if (!slice_is_absent(reading->envelope->once_key) || value.size == 0)
        return true; /* the first one counts */
    if (value.size > ENVELOPE_KEY_SIZE_MAX)
        return error_set(reading->error, "line %zu: X-Idempotency-Key: at most %d octets are taken", field->line, ENVELOPE_KEY_SIZE_MAX);
    reading->envelope->once_key = value;
    return true;
}

static bool read_virtual_mta_line(struct reading *reading, const struct header_field *field)
{
    reading->envelope->virtual_mta = slice_trim(field->value);
    return true;
}

/* "2026-11-25T17:00:00Z;RT": RFC 2852's by-value with a moment in place of an interval. */
static bool read_by_line(struct reading *reading, const struct header_field *field)
{
    struct envelope *envelope = reading->envelope;
    struct slice mode = slice_trim(field->value);
    struct slice time = slice_cut(&mode, ';');
    envelope->is_by_traced = mode.size == 2 && (mode.data[1] | 0x20) == 't';
    envelope->is_by_return = mode.size && (mode.data[0] | 0x20) == 'r';
    bool is_mode = mode.size == (envelope->is_by_traced ? 2U : 1U) && (envelope->is_by_return || (mode.data[0] | 0x20) == 'n');
    return (is_mode && envelope_time_parse(time, &envelope->deliver_by_ms))
           || error_set(reading->error, "line %zu: X-Deliver-By: a time and R or N as in 2026-11-24T04:18:00Z;R was expected", field->line);
}

static bool read_block_end(struct reading *reading, const struct header_field *field)
{
    uint64_t octets;
    if (slice_to_u64(slice_trim(field->value), &octets))
        reading->x_end = octets;
    reading->envelope->is_block_ended = reading->x_end != SIZE_MAX;
    return true;
}

static bool read_accepted_line(struct reading *reading, const struct header_field *field)
{
    bool is_relay = slice_equals_nocase(slice_trim(field->value), SLICE("relay"));
    if (reading->options->is_own_file)
        reading->envelope->accepted = is_relay ? ACCEPTED_RELAY : ACCEPTED_SUBMISSION;
    return true;
}

static bool read_hold_line(struct reading *reading, const struct header_field *field)
{
    (void)field; /* the reason is for people */
    reading->envelope->is_held = reading->envelope->is_held || reading->options->is_own_file;
    return true;
}

static const struct x_line {
    struct slice name;
    bool (*read)(struct reading *reading, const struct header_field *field);
    bool is_anywhere; /* counts wherever it stands */
} x_lines[] = {
    {{"X-Sender", 8}, read_sender_line, false},
    {{"X-Receiver", 10}, read_receiver_line, false},
    {{"X-Envid", 7}, read_envid_line, false},
    {{"X-Virtual-MTA", 13}, read_virtual_mta_line, false},
    {{"X-Deliver-At", 12}, read_time_line, true},
    {{"X-Deliver-By", 12}, read_by_line, true},
    {{"X-Idempotency-Key", 17}, read_key_line, true},
    {{"X-EndOfInjectedXHeaders", 23}, read_block_end, false},
    {{"X-Mailroot-Accepted", 19}, read_accepted_line, false},
    {{"X-Mailroot-Hold", 15}, read_hold_line, false},
};

bool xlines_read(struct reading *reading, bool *ret_has_receivers)
{
    const struct header *header = reading->header;
    for (size_t i = 0; i < header->count; i++) {
        const struct header_field *field = &header->fields[i];
        if ((field->name.data[0] | 0x20) != 'x')
            continue;
        size_t offset = (size_t)(field->raw.data - reading->file.data);
        if (offset >= reading->x_end)
            break;
        bool is_in_place = i < reading->leading_count || reading->options->x_lines_anywhere;
        for (size_t k = 0; k < COUNT_OF(x_lines); k++) {
            if (!slice_equals_nocase(field->name, x_lines[k].name) || !(is_in_place || x_lines[k].is_anywhere))
                continue;
            if (!x_lines[k].read(reading, field))
                return false;
            *ret_has_receivers |= x_lines[k].read == read_receiver_line;
        }
    }
    return true;
}
