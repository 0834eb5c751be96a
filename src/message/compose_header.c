#include "message/compose_private.h"

#include "base/utf8.h"
#include "message/content_private.h"

enum { LINE_MAX_AIM = 76, WORD_FRAME = 12, SEGMENT_MAX = 60 }; /* WORD_FRAME: "=?utf-8?B?" and "?=" */

bool compose_is_clean(struct slice value)
{
    for (size_t i = 0; i < value.size;) {
        unsigned char c = (unsigned char)value.data[i];
        size_t size = utf8_sequence(slice_from(value, i));
        bool is_c1 = size == 2 && c == 0xC2 && (unsigned char)value.data[i + 1] < 0xA0;
        if (size == 0 || (c < 0x20 && c != '\t') || c == 0x7f || is_c1)
            return false;
        i += size;
    }
    return true;
}

bool compose_is_field_name(struct slice name)
{
    static const char *const structure[] = {"From", "To", "Cc", "Bcc", "Subject", "Date", "MIME-Version", "Received",
                                            "Return-Path", "X-Sender", "X-Receiver", "X-CreatedBy", "X-HeloDomain",
                                            "X-ExtendedProps", "X-EndOfInjectedXHeaders", "Message-ID", "Importance",
                                            "X-Priority", "X-Envid", "X-Job", "X-Virtual-MTA", "X-Schedule",
                                            "X-Deliver-At"};
    if (name.size == 0 || name.size > 70 || slice_starts_nocase(name, SLICE("Content-"))
        || slice_starts_nocase(name, SLICE("Resent-"))
        || slice_starts_nocase(name, SLICE("X-Mailroot-")))
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= 0x20 || name.data[i] >= 0x7f || name.data[i] == ':')
            return false;
    for (size_t i = 0; i < COUNT_OF(structure); i++)
        if (slice_equals_nocase(name, slice_of(structure[i])))
            return false;
    return true;
}

bool compose_is_address_field(struct slice name)
{
    static const char *const fields[] = {"Reply-To", "Sender", "Errors-To", "Disposition-Notification-To",
                                         "Return-Receipt-To", "Mail-Followup-To", "Mail-Reply-To"};
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (slice_equals_nocase(name, slice_of(fields[i])))
            return true;
    return false;
}

/* ---- encoded-words ---- */

static size_t column_of(const struct buf *out)
{
    size_t at = out->size;
    while (at > 0 && out->data[at - 1] != '\n')
        at--;
    return out->size - at;
}

/* Whole characters that fill at most `room` columns as one base64 word, a multiple of three octets unless the text ends: GMime
 * joins the base64 of neighbours and stops at the first "=". 0: there are none. */
static size_t base64_size(struct slice text, size_t room)
{
    size_t octets_max = room > WORD_FRAME ? (room - WORD_FRAME) / 4 * 3 : 0;
    size_t size = 0, unpadded = 0, next;
    while (size < text.size && (next = utf8_sequence(slice_from(text, size))) > 0 && size + next <= octets_max) {
        size += next;
        if (size % 3 == 0)
            unpadded = size;
    }
    return size == text.size ? size : unpadded;
}

static bool is_q_plain(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* The same as a Q word. */
static size_t quoted_size(struct slice text, size_t room)
{
    size_t columns = WORD_FRAME, size = 0, next;
    while (size < text.size && (next = utf8_sequence(slice_from(text, size))) > 0) {
        columns += is_q_plain(text.data[size]) ? 1 : 3 * next;
        if (columns > room)
            break;
        size += next;
    }
    return size;
}

static void put_base64_word(struct buf *out, struct slice text)
{
    struct buf word = {0};
    encode_base64(text, &word);
    buf_append_text(out, "=?utf-8?B?");
    buf_append(out, slice_trim(buf_slice(&word)));
    buf_append_text(out, "?=");
    buf_finish(&word);
}

static void put_quoted_word(struct buf *out, struct slice text)
{
    buf_append_text(out, "=?utf-8?Q?");
    for (size_t i = 0; i < text.size; i++) {
        if (is_q_plain(text.data[i]))
            buf_append_byte(out, text.data[i]);
        else
            buf_printf(out, "=%02X", (unsigned char)text.data[i]);
    }
    buf_append_text(out, "?=");
}

static void put_words(struct buf *out, struct slice text)
{
    while (text.size) {
        size_t column = column_of(out), room = column < LINE_MAX_AIM ? LINE_MAX_AIM - column - 1 : 0;
        size_t size = base64_size(text, room), quoted = size ? 0 : quoted_size(text, room);
        if (size + quoted == 0) {
            buf_append_text(out, "\r\n ");
            continue;
        }
        if (size)
            put_base64_word(out, slice_first(text, size));
        else
            put_quoted_word(out, slice_first(text, quoted));
        text = slice_from(text, size + quoted);
        if (text.size)
            buf_append_text(out, "\r\n ");
    }
}

/* Text that survives folding and reading as it stands: single blanks between short words of ASCII. */
static bool is_plain_text(struct slice text)
{
    size_t word = 0;
    if (slice_has_8bit(text) || slice_find(text, SLICE("=?")) >= 0 || slice_find_byte(text, '\t') >= 0
        || slice_find(text, SLICE("  ")) >= 0)
        return false;
    if (text.size && (text.data[0] == ' ' || text.data[text.size - 1] == ' '))
        return false;
    for (size_t i = 0; i < text.size; i++) {
        word = text.data[i] == ' ' ? 0 : word + 1;
        if (word > LINE_MAX_AIM - 20)
            return text.size < LINE_MAX_AIM - 20;
    }
    return true;
}

/* Words of plain text, folded in front of a blank. */
static void put_folded(struct buf *out, struct slice text)
{
    size_t column = column_of(out);
    for (bool is_first = true; text.size; is_first = false) {
        struct slice word = slice_cut(&text, ' ');
        if (!is_first && column + 1 + word.size > LINE_MAX_AIM) {
            buf_append_text(out, "\r\n");
            column = 0;
        }
        if (!is_first) {
            buf_append_byte(out, ' ');
            column++;
        }
        buf_append(out, word);
        column += word.size;
    }
}

void compose_put_text(struct buf *out, const char *name, struct slice value)
{
    buf_append_text(out, name);
    buf_append_text(out, ": ");
    if (is_plain_text(value))
        put_folded(out, value);
    else
        put_words(out, value);
    buf_append_text(out, "\r\n");
}

/* ---- addresses ---- */

static bool is_phrase(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c != ' ' && (c <= 0x20 || c >= 0x7f || memchr("()<>[]:;@\\,.\"", c, 13)))
            return false;
    }
    return is_plain_text(text);
}

/* RFC 5322 3.2.5 and RFC 2047 5 (3): atoms, else a quoted string, else encoded-words. */
static void put_display(struct buf *out, struct slice text)
{
    if (is_phrase(text)) {
        put_folded(out, text);
        return;
    }
    if (!is_plain_text(text) || text.size > LINE_MAX_AIM - 20) {
        put_words(out, text);
        return;
    }
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, text.data[i]);
    }
    buf_append_byte(out, '"');
}

/* A quoted string's inside without its quoted pairs. */
static void unquote(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\\' && i + 1 < text.size)
            i++;
        buf_append_byte(out, text.data[i]);
    }
}

void compose_put_addresses(struct buf *out, const char *name, const struct address_list *list)
{
    if (!list || list->count == 0)
        return;
    buf_append_text(out, name);
    buf_append_text(out, ": ");
    for (size_t i = 0; i < list->count; i++) {
        const struct address *address = &list->items[i];
        struct buf display = {0};
        if (!slice_is_absent(address->display))
            unquote(address->display, &display);
        if (i && column_of(out) + display.size + address->text.size + 6 > LINE_MAX_AIM)
            buf_append_text(out, "\r\n ");
        else if (i)
            buf_append_byte(out, ' ');
        if (display.size) {
            put_display(out, buf_slice(&display));
            buf_append_text(out, column_of(out) + address->text.size + 4 > LINE_MAX_AIM ? "\r\n <" : " <");
        }
        buf_append(out, address->text);
        buf_append_text(out, display.size ? ">" : "");
        buf_append_text(out, i + 1 < list->count ? "," : "");
        buf_finish(&display);
    }
    buf_append_text(out, "\r\n");
}

/* ---- parameters ---- */

static bool is_plain_parameter(struct slice value)
{
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c < 0x20 || c >= 0x7f || memchr("\"\\=?%'*", c, 7))
            return false;
    }
    return value.size <= SEGMENT_MAX && is_plain_text(value);
}

static bool is_attribute_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.' || c == '-' || c == '_';
}

static size_t segment_size(struct slice value)
{
    size_t columns = 0, size = 0;
    while (size < value.size) {
        size_t next = utf8_sequence(slice_from(value, size));
        size_t wide = is_attribute_char((unsigned char)value.data[size]) ? 1 : 3 * next;
        if (columns + wide > SEGMENT_MAX)
            break;
        columns += wide;
        size += next;
    }
    return size;
}

void compose_put_parameter(struct buf *out, const char *name, struct slice value)
{
    if (is_plain_parameter(value)) {
        buf_printf(out, ";\r\n %s=\"%.*s\"", name, SLICE_FMT(value));
        return;
    }
    bool is_whole = segment_size(value) == value.size;
    for (unsigned n = 0; value.size; n++) {
        struct slice segment = slice_first(value, segment_size(value));
        if (is_whole)
            buf_printf(out, ";\r\n %s*=utf-8''", name);
        else
            buf_printf(out, ";\r\n %s*%u*=%s", name, n, n ? "" : "utf-8''");
        for (size_t i = 0; i < segment.size; i++) {
            if (is_attribute_char((unsigned char)segment.data[i]))
                buf_append_byte(out, segment.data[i]);
            else
                buf_printf(out, "%%%02X", (unsigned char)segment.data[i]);
        }
        value = slice_from(value, segment.size);
    }
}

void compose_put_legacy_parameter(struct buf *out, const char *name, struct slice value)
{
    if (is_plain_parameter(value)) {
        buf_printf(out, ";\r\n %s=\"%.*s\"", name, SLICE_FMT(value));
        return;
    }
    buf_printf(out, ";\r\n %s=\"", name);
    put_words(out, value);
    buf_append_byte(out, '"');
}
