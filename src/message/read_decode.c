#include "message/read_private.h"

#include "base/base64.h"
#include "base/utf8.h"
#include "message/charset.h"

/* ---- transfer encodings ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void read_base64(struct slice bytes, struct buf *out)
{
    unsigned group = 0, bits = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        int value = base64_value(bytes.data[i]);
        if (value < 0)
            continue;
        group = (group << 6 | (unsigned)value) & 0xFFFFF;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_append_byte(out, (char)(group >> bits & 0xFF));
        }
    }
}

void read_quoted_printable(struct slice bytes, bool is_word, struct buf *out)
{
    while (bytes.size) {
        struct slice line = slice_cut(&bytes, '\n');
        bool has_end = bytes.data == line.data + line.size + 1;
        struct slice text = line;
        while (!is_word && text.size && memchr(" \t\r", text.data[text.size - 1], 3))
            text.size--;
        for (size_t i = 0; i < text.size; i++) {
            char c = text.data[i];
            bool is_escape = c == '=' && i + 2 < text.size && hex(text.data[i + 1]) >= 0 && hex(text.data[i + 2]) >= 0;
            if (is_escape) {
                buf_append_byte(out, (char)(hex(text.data[i + 1]) << 4 | hex(text.data[i + 2])));
                i += 2;
            } else if (c == '=' && i + 1 == text.size && !is_word) {
                has_end = false;
            } else {
                buf_append_byte(out, is_word && c == '_' ? ' ' : c);
            }
        }
        if (has_end)
            buf_append_text(out, "\r\n");
    }
}

void read_uuencoded(struct slice bytes, struct buf *out)
{
    bool is_open = false;
    while (bytes.size) {
        struct slice line = slice_trim(slice_cut(&bytes, '\n'));
        if (!is_open || line.size == 0) {
            is_open = is_open || slice_starts(line, SLICE("begin "));
            continue;
        }
        size_t count = (size_t)((line.data[0] - 32) & 63), done = 0;
        if (count == 0)
            return;
        for (size_t i = 1; done < count; i += 4) {
            unsigned group = 0;
            for (size_t k = 0; k < 4; k++)
                group = group << 6 | (i + k < line.size ? (unsigned)(line.data[i + k] - 32) & 63 : 0u);
            for (int shift = 16; shift >= 0 && done < count; shift -= 8, done++)
                buf_append_byte(out, (char)(group >> shift & 0xFF));
        }
    }
}

/* ---- encoded-words ---- */

/* One word at the front: its size, 0 if it is none. */
static size_t take_word(struct slice text, struct buf *out)
{
    if (!slice_starts(text, SLICE("=?")))
        return 0;
    struct slice rest = slice_from(text, 2);
    struct slice charset = slice_cut(&rest, '?');
    struct slice kind = slice_cut(&rest, '?');
    ptrdiff_t end = slice_find(rest, SLICE("?="));
    if (kind.size != 1 || !memchr("bBqQ", kind.data[0], 4) || end < 0 || slice_find_byte(slice_first(rest, (size_t)end), ' ') >= 0)
        return 0;
    struct buf bytes = {0};
    struct slice language = charset;
    charset = slice_cut(&language, '*');
    if (kind.data[0] == 'b' || kind.data[0] == 'B')
        read_base64(slice_first(rest, (size_t)end), &bytes);
    else
        read_quoted_printable(slice_first(rest, (size_t)end), true, &bytes);
    charset_decode(charset, buf_slice(&bytes), out);
    buf_finish(&bytes);
    return (size_t)(rest.data - text.data) + (size_t)end + 2;
}

struct slice read_words(struct arena *arena, struct slice value)
{
    struct buf out = {0};
    bool is_after_word = false;
    while (value.size) {
        size_t blanks = 0;
        while (blanks < value.size && memchr(" \t\r\n", value.data[blanks], 4))
            blanks++;
        struct slice gap = slice_first(value, blanks);
        struct buf word = {0};
        size_t size = take_word(slice_from(value, blanks), &word);
        if (!(size && is_after_word)) /* blanks between two words are none: RFC 2047 6.2 */
            buf_append(&out, gap);
        value = slice_from(value, blanks + size);
        buf_append(&out, buf_slice(&word));
        buf_finish(&word);
        is_after_word = size > 0;
        while (!size && value.size && !memchr(" \t\r\n", value.data[0], 4)
               && !(slice_starts(value, SLICE("=?")) && out.size && blanks == 0 && is_after_word)) {
            size_t next = utf8_sequence(value);
            buf_append(&out, next ? slice_first(value, next) : SLICE("\xEF\xBF\xBD"));
            value = slice_from(value, next ? next : 1);
        }
    }
    struct slice copy = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return copy;
}

/* ---- parameters: RFC 2231, and encoded-words in quoted strings, which no RFC allows and many write ---- */

static struct slice take_value(struct slice *rest, struct buf *out)
{
    *rest = slice_trim(*rest);
    size_t start = out->size, i = 0;
    if (rest->size && rest->data[0] == '"') {
        for (i = 1; i < rest->size && rest->data[i] != '"'; i++) {
            if (rest->data[i] == '\\' && i + 1 < rest->size)
                i++;
            buf_append_byte(out, rest->data[i]);
        }
        i = i < rest->size ? i + 1 : i;
    } else {
        for (; i < rest->size && rest->data[i] != ';'; i++)
            buf_append_byte(out, rest->data[i]);
    }
    *rest = slice_from(*rest, i);
    (void)slice_cut(rest, ';');
    return slice_trim(slice_from(buf_slice(out), start));
}

static void put_extended(struct slice value, bool is_first, struct slice *charset, struct buf *out)
{
    if (is_first) {
        *charset = slice_cut(&value, '\'');
        (void)slice_cut(&value, '\'');
    }
    for (size_t i = 0; i < value.size; i++) {
        bool is_escape = value.data[i] == '%' && i + 2 < value.size && hex(value.data[i + 1]) >= 0 && hex(value.data[i + 2]) >= 0;
        buf_append_byte(out, is_escape ? (char)(hex(value.data[i + 1]) << 4 | hex(value.data[i + 2])) : value.data[i]);
        i += is_escape ? 2 : 0;
    }
}

struct slice read_parameter(struct arena *arena, struct slice unfolded, struct slice name)
{
    struct slice rest = unfolded, charset = SLICE("utf-8"), plain = SLICE_NONE;
    struct buf extended = {0};
    bool is_extended = false;
    (void)slice_cut(&rest, ';');
    while (rest.size) {
        struct buf room = {0};
        struct slice key = slice_trim(slice_cut(&rest, '='));
        struct slice value = take_value(&rest, &room);
        struct slice tail = key;
        struct slice base = slice_cut(&tail, '*');
        if (slice_equals_nocase(base, name)) {
            bool has_star = key.size > base.size;
            bool is_coded = has_star && (tail.size == 0 || tail.data[tail.size - 1] == '*');
            if (has_star && is_coded)
                put_extended(arena_copy(arena, value), !is_extended, &charset, &extended);
            else if (has_star)
                buf_append(&extended, value);
            else if (slice_is_absent(plain))
                plain = read_words(arena, arena_copy(arena, value));
            is_extended = is_extended || has_star;
            charset = arena_copy(arena, charset);
        }
        buf_finish(&room);
    }
    if (is_extended) {
        struct buf text = {0};
        charset_decode(charset, buf_slice(&extended), &text);
        plain = arena_copy(arena, buf_slice(&text));
        buf_finish(&text);
    }
    buf_finish(&extended);
    return plain;
}
