#include "web/charset.h"

#include "base/utf8.h"
#include "message/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdio.h>

enum { LOOKED_AT_MAX = 64 * 1024 };
static const char replacement[] = "\xEF\xBF\xBD";

static bool is_name_byte(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '_' || c == ':' || c == '.';
}

/* C1; an unknown name counts as windows-1252 too. */
static struct slice normal_name(struct arena *arena, struct slice name)
{
    static const char *const same[] = {"iso-8859-1", "iso8859-1", "latin1", "us-ascii", "ascii", "cp1252"};
    if (slice_equals_nocase(name, SLICE("utf8")))
        return SLICE("utf-8");
    for (size_t i = 0; i < COUNT_OF(same); i++)
        if (slice_equals_nocase(name, slice_of(same[i])))
            return SLICE("windows-1252");
    if (!charset_iconv_name(name))
        return SLICE("windows-1252");
    char *text = arena_text(arena, name);
    for (char *c = text; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    return slice_of(text);
}

struct slice charset_of_page(struct arena *arena, struct slice page)
{
    struct slice rest = page.size > LOOKED_AT_MAX ? slice_first(page, LOOKED_AT_MAX) : page;
    if (slice_starts(rest, SLICE("\xEF\xBB\xBF")))
        return SLICE("utf-8");
    for (size_t i = 0; i + 8 < rest.size; i++) {
        if ((rest.data[i] | 0x20) != 'c' || !slice_starts_nocase(slice_from(rest, i), SLICE("charset")))
            continue;
        size_t at = i + 7;
        while (at < rest.size && (rest.data[at] == ' ' || rest.data[at] == '=' || rest.data[at] == '"' || rest.data[at] == '\''))
            at++;
        size_t start = at;
        while (at < rest.size && is_name_byte(rest.data[at]))
            at++;
        if (at > start)
            return normal_name(arena, slice_make(rest.data + start, at - start));
    }
    return SLICE("windows-1252");
}

/* C2: only what may stand in text. */
static struct slice clean(struct arena *arena, struct slice text)
{
    struct buf out = {0};
    for (size_t i = 0; i < text.size;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t size = utf8_sequence(slice_from(text, i));
        bool is_control = size == 1 && ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f);
        if (size == 0 || is_control)
            buf_append_text(&out, replacement);
        else
            buf_append(&out, slice_make(text.data + i, size));
        i += size ? size : 1;
    }
    struct slice result = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return result;
}

static unsigned code_at(struct slice s)
{
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    size_t size = utf8_sequence(s);
    if (size == 0)
        return 0xFFFD;
    unsigned code = (unsigned char)s.data[0] & masks[size];
    for (size_t i = 1; i < size; i++)
        code = code << 6 | ((unsigned char)s.data[i] & 0x3F);
    return code;
}

/* Back to the charset's first state, so that plain ASCII may follow: ISO-2022-JP has others. */
static void end_shift(iconv_t by, struct buf *out)
{
    size_t room = 16;
    char *at = buf_reserve(out, room);
    (void)iconv(by, NULL, NULL, &at, &room);
    out->size += 16 - room;
}

/* From UTF-8; what it lacks becomes a number (C3). */
static void encode(const char *to, struct slice text, struct buf *out)
{
    iconv_t by = iconv_open(to, "utf-8");
    CHECK(by != (iconv_t)-1);
    char *in = (char *)(uintptr_t)text.data;
    size_t left = text.size;
    while (left) {
        size_t room = left * 4 + 16;
        char *at = buf_reserve(out, room);
        size_t free_size = room;
        size_t result = iconv(by, &in, &left, &at, &free_size);
        int why = errno;
        out->size += room - free_size;
        if (result != (size_t)-1 || why == E2BIG)
            continue;
        struct slice rest = slice_make(in, left);
        size_t step = utf8_sequence(rest) ? utf8_sequence(rest) : 1;
        end_shift(by, out);
        buf_printf(out, "&#%u;", code_at(rest));
        in += step;
        left -= step;
    }
    end_shift(by, out);
    iconv_close(by);
}

struct slice charset_to_utf8(struct arena *arena, struct slice charset, struct slice text)
{
    struct buf out = {0};
    struct slice name = normal_name(arena, charset);
    charset_decode(name, text, &out);
    struct slice result = clean(arena, buf_slice(&out));
    buf_finish(&out);
    return result;
}

void charset_from_utf8(struct slice charset, struct slice text, struct buf *out)
{
    struct arena arena = {0};
    struct slice name = normal_name(&arena, charset);
    if (slice_equals(name, SLICE("utf-8")))
        buf_append(out, text);
    else
        encode(charset_iconv_name(name), text, out);
    arena_finish(&arena);
}
