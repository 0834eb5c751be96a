#include "message/dsn.h"

#include "base/utf8.h"
#include "message/content.h"
#include "message/dsn_private.h"

enum {
    ID_SIZE_MAX = 40, /* of a queue id: a boundary has 70 octets at most (RFC 2046 5.1.1) */
    MESSAGE_ID_SIZE_MAX = 250,
};

struct dsn {
    struct arena *arena;
    const struct dsn_report *report;
    bool is_global;            /* an address needs UTF-8: RFC 6533 */
    struct slice subject;      /* of the original, absent if none */
    struct slice message_id;   /* of the original, absent if none that can be quoted */
    struct slice returned;     /* what of the original goes back */
    const char *returned_type;
};

static const struct { const char *name, *subject; char class; } actions[] = {
    [DSN_FAILED] = {"failed", "Delivery failed", '5'},
    [DSN_DELAYED] = {"delayed", "Delivery delayed", '4'},
    [DSN_DELIVERED] = {"delivered", "Delivered", '2'},
    [DSN_RELAYED] = {"relayed", "Relayed", '2'},
    [DSN_EXPANDED] = {"expanded", "Passed on to a list", '2'},
};

static const char *const text_types[] = {"text/plain; charset=us-ascii",
                                         "text/plain; charset=utf-8"};
static const char *const status_types[] = {"message/delivery-status",
                                           "message/global-delivery-status"}; /* by is_global */
/* By [whole message][header is UTF-8]: RFC 6522 3, RFC 6533 5 and 6. */
static const char *const returned_types[2][2] = {
    {"text/rfc822-headers", "message/global-headers"},
    {"message/rfc822", "message/global"},
};

static size_t digits(struct slice text)
{
    size_t size = 0;
    while (size < text.size && text.data[size] >= '0' && text.data[size] <= '9')
        size++;
    return size;
}

/* RFC 3463 2: class "." subject "." detail, of at most three digits each. */
static bool is_status(struct slice text)
{
    if (text.size < 2 || !strchr("245", text.data[0]) || text.data[1] != '.')
        return false;
    struct slice detail = slice_from(text, 2);
    struct slice subject = slice_cut(&detail, '.');
    return subject.size >= 1 && subject.size <= 3 && digits(subject) == subject.size
           && detail.size >= 1 && detail.size <= 3 && digits(detail) == detail.size;
}

struct slice dsn_status(struct arena *arena, struct slice given, enum dsn_action action)
{
    char class = actions[action].class;
    struct slice rest = is_status(given) ? slice_from(given, 1) : SLICE(".0.0");
    return arena_printf(arena, "%c%.*s", class, SLICE_FMT(rest));
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_printable(struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < 0x20 || (unsigned char)text.data[i] >= 0x7f)
            return false;
    return true;
}

/* RFC 3461 4. What is no xtext, or hides octets that may not stand in a field, stays as given. */
static struct slice xtext_decode(struct arena *arena, struct slice text)
{
    char *decoded = arena_alloc(arena, text.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] != '+') {
            decoded[size++] = text.data[i];
            continue;
        }
        int high = i + 2 < text.size ? hex_value(text.data[i + 1]) : -1;
        int low = i + 2 < text.size ? hex_value(text.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return text;
        decoded[size++] = (char)(high << 4 | low);
        i += 2;
    }
    return is_printable(slice_make(decoded, size)) ? slice_make(decoded, size) : text;
}

/* Octets that a character takes in UTF-8, 0 if it may not stand in an address. */
static size_t utf8_put(uint32_t character, char *to)
{
    if (character < 0x20 || (character >= 0x7f && character < 0xA0) || character > 0x10FFFF
        || (character >= 0xD800 && character <= 0xDFFF))
        return 0;
    size_t size = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    static const unsigned char marks[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = size - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (character & 0x3F));
        character >>= 6;
    }
    to[0] = (char)(marks[size] | character);
    return size;
}

/* The octets of "\x{HEX}" at the front, its character in *ret_character; 0 if there is none. */
static size_t embedded(struct slice text, uint32_t *ret_character)
{
    uint32_t character = 0;
    size_t i = 3;
    if (!slice_starts(text, SLICE("\\x{")))
        return 0;
    for (; i < text.size && i < 9 && hex_value(text.data[i]) >= 0; i++)
        character = character << 4 | (uint32_t)hex_value(text.data[i]);
    if (i == 3 || i == text.size || text.data[i] != '}')
        return 0;
    *ret_character = character;
    return i + 1;
}

/* RFC 6533 3: utf-8-addr-xtext and utf-8-addr-unitext as the address itself; else as given. */
static struct slice unitext_decode(struct arena *arena, struct slice text)
{
    char *decoded = arena_alloc(arena, text.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < text.size;) {
        uint32_t character;
        if (text.data[i] != '\\') {
            decoded[size++] = text.data[i++];
            continue;
        }
        size_t length = embedded(slice_from(text, i), &character);
        size_t added = length ? utf8_put(character, decoded + size) : 0;
        if (added == 0)
            return text;
        size += added;
        i += length;
    }
    return slice_make(decoded, size);
}

/* "Name: type; value", or without type; nothing for an absent or empty value. */
static void put_field(const struct dsn *dsn, struct buf *out, const char *start, struct slice value)
{
    value = slice_trim(dsn_clean(dsn->arena, value, dsn->is_global ? DSN_UTF8 : DSN_ASCII));
    if (value.size == 0)
        return;
    buf_append_text(out, start);
    buf_append_byte(out, ' ');
    dsn_put_value(out, value, " ");
    buf_append(out, SLICE("\r\n"));
}

static void put_date(const struct dsn *dsn, struct buf *out, const char *start, int64_t time_ms)
{
    if (time_ms)
        put_field(dsn, out, start, content_date(dsn->arena, time_ms, dsn->report->zone_s));
}

static bool is_type(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return text.size > 0 && text.size <= 64;
}

/* RFC 3461 4.2: "addr-type ; xtext"; only RFC 6533's utf-8 has an encoding of its own. */
static void put_original_recipient(const struct dsn *dsn, struct slice orcpt,
                                   struct buf *out)
{
    if (orcpt.size == 0)
        return;
    struct slice value = orcpt;
    struct slice type = slice_cut(&value, ';');
    if (!is_type(type))
        return;
    if (!slice_equals_nocase(type, SLICE("utf-8")))
        value = xtext_decode(dsn->arena, value);
    else if (dsn->is_global)
        value = unitext_decode(dsn->arena, value);
    const char *start = arena_printf(dsn->arena, "Original-Recipient: %.*s;", SLICE_FMT(type)).data;
    put_field(dsn, out, start, value);
}

/* Unlike the other fields it is prose, and long: folded. */
static void put_diagnostic(const struct dsn *dsn, const struct dsn_recipient *recipient,
                           struct buf *out)
{
    enum dsn_octets octets = dsn->is_global ? DSN_UTF8 : DSN_ASCII;
    struct slice text = dsn_clean(dsn->arena, recipient->diagnostic, octets);
    if (slice_trim(text).size == 0)
        return;
    buf_append_text(out, recipient->is_smtp_diagnostic ? "Diagnostic-Code: smtp;"
                                                       : "Diagnostic-Code: x-mailroot;");
    dsn_put_folded(out, text, " ");
    buf_append(out, SLICE("\r\n"));
}

/* RFC 3464 2.3 */
static void put_recipient(const struct dsn *dsn, const struct dsn_recipient *recipient,
                          struct buf *out)
{
    const struct dsn_report *report = dsn->report;
    bool is_utf8 = slice_has_8bit(recipient->address);
    put_original_recipient(dsn, recipient->orcpt, out);
    put_field(dsn, out, is_utf8 ? "Final-Recipient: utf-8;" : "Final-Recipient: rfc822;",
              recipient->address);
    put_field(dsn, out, "Action:", slice_of(actions[report->action].name));
    put_field(dsn, out, "Status:", dsn_status(dsn->arena, recipient->status, report->action));
    put_field(dsn, out, "Remote-MTA: dns;", recipient->remote_mta);
    put_diagnostic(dsn, recipient, out);
    put_date(dsn, out, "Last-Attempt-Date:", recipient->last_attempt_ms);
    if (report->action == DSN_DELAYED && recipient->will_retry_until_ms)
        put_date(dsn, out, "Will-Retry-Until:", recipient->will_retry_until_ms);
}

/* RFC 3464 2.2, then a block a recipient, each behind an empty line. */
static void put_status(const struct dsn *dsn, struct buf *out)
{
    const struct dsn_report *report = dsn->report;
    put_field(dsn, out, "Reporting-MTA: dns;", report->host);
    put_field(dsn, out, "Original-Envelope-Id:", xtext_decode(dsn->arena, report->envid));
    put_date(dsn, out, "Arrival-Date:", report->arrival_ms);
    put_field(dsn, out, "X-Mailroot-Queue-ID:", report->original_id);
    for (size_t i = 0; i < report->recipient_count; i++) {
        buf_append(out, SLICE("\r\n"));
        put_recipient(dsn, &report->recipients[i], out);
    }
}

static bool is_global(const struct dsn_report *report)
{
    for (size_t i = 0; i < report->recipient_count; i++) {
        const struct dsn_recipient *recipient = &report->recipients[i];
        if (slice_has_8bit(recipient->address) || slice_has_8bit(recipient->orcpt))
            return true;
    }
    return false;
}

/* The fields with their line ends, without the empty line. */
static struct slice header_of(struct slice original)
{
    if (slice_starts(original, SLICE("\r\n")))
        return slice_first(original, 0);
    ptrdiff_t end = slice_find(original, SLICE("\r\n\r\n"));
    return end < 0 ? original : slice_first(original, (size_t)end + 2);
}

/* A Message-ID that can be quoted in a header of ours. */
static bool is_message_id(struct slice text)
{
    return text.size > 2 && text.size <= MESSAGE_ID_SIZE_MAX && text.data[0] == '<'
           && text.data[text.size - 1] == '>' && slice_find_byte(text, ' ') < 0
           && is_printable(text);
}

static void look_at_original(struct dsn *dsn)
{
    const struct dsn_report *report = dsn->report;
    struct slice part = header_of(report->original);
    struct header_limits limits = {part.size, part.size};
    struct header header;
    struct error ignored; /* an original that can't be read just has no subject */
    if (header_scan(dsn->arena, part, &limits, &header, &ignored)) {
        const struct header_field *subject = header_find(&header, SLICE("Subject"), 0);
        const struct header_field *id = header_find(&header, SLICE("Message-ID"), 0);
        if (subject)
            dsn->subject = header_unfold(dsn->arena, subject->value);
        if (id && is_message_id(slice_trim(id->value)))
            dsn->message_id = slice_trim(id->value);
    }
    /* RFC 3461 6.2: only a failure returns content, and none that wasn't asked for: a sender's
     * address can be anyone's. */
    bool is_whole = report->action == DSN_FAILED && report->ret == RET_FULL
                    && !report->is_header_only
                    && report->original.size <= report->returned_size_max;
    bool is_utf8 = slice_has_8bit(part) && utf8_is_valid(part);
    dsn->returned = is_whole ? report->original : part;
    dsn->returned_type = returned_types[is_whole][is_utf8];
}

/* RFC 2046 5.1.1: a boundary that begins no line of any part. Candidates are numbered; there is one
 * more than the text has room for, so one is free, and one pass finds it whatever the text was made
 * for. */
static struct slice boundary_find(const struct dsn *dsn, const struct slice *parts,
                                  size_t count)
{
    struct slice stem = arena_printf(dsn->arena, "=_%.*s/", SLICE_FMT(dsn->report->queue_id));
    size_t room = 1;
    for (size_t i = 0; i < count; i++)
        room += parts[i].size / stem.size;
    bool *is_taken = arena_alloc(dsn->arena, room * sizeof *is_taken);
    for (size_t i = 0; i < count; i++) {
        struct slice rest = parts[i];
        for (ptrdiff_t at; (at = slice_find(rest, stem)) >= 0;) {
            uint64_t number;
            rest = slice_from(rest, (size_t)at + stem.size);
            if (slice_to_u64(slice_first(rest, digits(rest)), &number) && number < room)
                is_taken[number] = true;
        }
    }
    size_t number = 0;
    while (number < room && is_taken[number])
        number++;
    CHECK(number < room);
    /* The last octet keeps "/1" from being the beginning of "/10". */
    return arena_printf(dsn->arena, "%.*s%zu=", SLICE_FMT(stem), number);
}

static void put_part(struct buf *out, struct slice boundary, const char *type, struct slice content)
{
    buf_printf(out, "\r\n--%.*s\r\nContent-Type: %s\r\n", SLICE_FMT(boundary), type);
    if (slice_has_8bit(content))
        buf_append_text(out, "Content-Transfer-Encoding: 8bit\r\n");
    buf_append(out, SLICE("\r\n"));
    buf_append(out, content);
}

/* RFC 3464 2, RFC 3834 3.1 and 5 */
static void put_header(const struct dsn *dsn, struct slice boundary, bool is_8bit, struct buf *out)
{
    const struct dsn_report *report = dsn->report;
    struct slice host = dsn_clean(dsn->arena, report->host, DSN_ASCII);
    struct slice from = dsn_clean(dsn->arena, report->from, DSN_ASCII);
    struct slice to = dsn_clean(dsn->arena, report->sender, DSN_UTF8);
    struct slice date = content_date(dsn->arena, report->now_ms, report->zone_s);
    if (from.size == 0)
        from = arena_printf(dsn->arena, "MAILER-DAEMON@%.*s", SLICE_FMT(host));
    buf_printf(out, "From: \"Mail Delivery System\" <%.*s>\r\n", SLICE_FMT(from));
    buf_printf(out, "To: <%.*s>\r\n", SLICE_FMT(to));
    buf_printf(out, "Subject: %s\r\n", actions[report->action].subject);
    buf_printf(out, "Date: %.*s\r\n", SLICE_FMT(date));
    buf_printf(out, "Message-ID: <%.*s@%.*s>\r\n", SLICE_FMT(report->queue_id), SLICE_FMT(host));
    if (!slice_is_absent(dsn->message_id)) {
        buf_printf(out, "In-Reply-To: %.*s\r\n", SLICE_FMT(dsn->message_id));
        buf_printf(out, "References: %.*s\r\n", SLICE_FMT(dsn->message_id));
    }
    buf_append_text(out, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
    buf_printf(out, "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                    " boundary=\"%.*s\"\r\n", SLICE_FMT(boundary));
    if (is_8bit)
        buf_append_text(out, "Content-Transfer-Encoding: 8bit\r\n");
}

void dsn_compose(struct arena *arena, const struct dsn_report *report, struct buf *out)
{
    struct dsn dsn = {.arena = arena, .report = report, .is_global = is_global(report)};
    struct buf text = {0}, status = {0};

    CHECK(report->sender.size > 0); /* RFC 5321 4.5.5: a null sender hears of nothing */
    CHECK(report->recipient_count > 0);
    CHECK(report->queue_id.size > 0 && report->queue_id.size <= ID_SIZE_MAX);
    look_at_original(&dsn);
    dsn_put_text(arena, report, dsn.subject, &text);
    put_status(&dsn, &status);

    struct slice parts[] = {buf_slice(&text), buf_slice(&status), dsn.returned};
    struct slice boundary = boundary_find(&dsn, parts, COUNT_OF(parts));
    bool is_8bit = false;
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        is_8bit |= slice_has_8bit(parts[i]);
    (void)buf_reserve(out, text.size + status.size + dsn.returned.size + 2048);
    put_header(&dsn, boundary, is_8bit, out);
    put_part(out, boundary, text_types[slice_has_8bit(parts[0])], parts[0]);
    put_part(out, boundary, status_types[dsn.is_global], parts[1]);
    put_part(out, boundary, dsn.returned_type, dsn.returned);
    buf_printf(out, "\r\n--%.*s--\r\n", SLICE_FMT(boundary));

    buf_finish(&text);
    buf_finish(&status);
}
