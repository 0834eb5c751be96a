#include "message/content_private.h"

static bool is_end_mark(struct slice body, size_t at)
{
    struct slice rest = slice_from(body, at);
    return slice_equals(rest, SLICE(".")) || slice_equals(rest, SLICE(".\n")) || slice_equals(rest, SLICE(".\r\n"));
}

void body_look(struct slice body, struct body_facts *ret_facts)
{
    struct body_facts facts = {.is_canonical = true, .dots_are_double = true};
    facts.has_8bit = slice_has_8bit(body);
    facts.has_nul = slice_find_byte(body, '\0') >= 0;
    for (size_t at = 0; at < body.size;) {
        const char *end = memchr(body.data + at, '\n', body.size - at);
        size_t next = end ? (size_t)(end - body.data) + 1 : body.size;
        size_t length = next - at;
        bool has_lf = end != NULL, has_cr = has_lf && length >= 2 && end[-1] == '\r';
        struct slice line = slice_make(body.data + at, length - has_lf - has_cr);
        const char *cr = memchr(line.data, '\r', line.size);
        if (!has_cr || cr)
            facts.is_canonical = false;
        facts.has_bare_cr |= cr != NULL;
        if (line.size > CONTENT_LINE_MAX)
            facts.has_long_line = true;
        if (line.size && line.data[0] == '.') {
            facts.has_dot = true;
            if (line.size == 1 && is_end_mark(body, at))
                facts.has_end_mark = true;
            else if (line.size < 2 || line.data[1] != '.')
                facts.dots_are_double = false;
            else
                facts.has_double_dot = true;
        }
        at = next;
    }
    *ret_facts = facts;
}

/* One line's octets with each bare CR made a line end of its own (RFC 5321 2.3.8). */
void body_put_line(struct buf *out, struct slice line)
{
    for (;;) {
        ptrdiff_t cr = slice_find_byte(line, '\r');
        if (cr < 0)
            break;
        buf_append(out, slice_first(line, (size_t)cr));
        buf_append(out, SLICE("\r\n"));
        line = slice_from(line, (size_t)cr + 1);
    }
    buf_append(out, line);
    buf_append(out, SLICE("\r\n"));
}

void body_canonical(struct slice body, enum body_dots dots, bool drop_end_mark, struct buf *out)
{
    while (body.size) {
        struct slice rest = body;
        if (drop_end_mark && body.data[0] == '.' && is_end_mark(body, 0))
            return;
        struct slice line = slice_cut(&rest, '\n');
        if (line.size && line.data[line.size - 1] == '\r')
            line.size--;
        if (dots == BODY_DOTS_REMOVE && line.size && line.data[0] == '.')
            line = slice_from(line, 1);
        body_put_line(out, line);
        body = rest;
    }
}
