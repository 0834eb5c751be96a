/* RFC 6376 3.4: what is hashed of fields and bodies. */
#include "message/dkim.h"

enum { PIECE_SIZE = 64 * 1024 };

static bool is_blank(char c) { return c == ' ' || c == '\t'; }

static struct slice without_line_end(struct slice text)
{
    if (text.size && text.data[text.size - 1] == '\n')
        text.size--;
    if (text.size && text.data[text.size - 1] == '\r')
        text.size--;
    return text;
}

static void relax_field(struct slice raw, struct buf *out)
{
    struct slice value = raw;
    struct slice name = slice_trim(slice_cut(&value, ':'));
    bool is_open = false, has_text = false;
    char *to = buf_reserve(out, raw.size + 1), *from = to; /* it never grows by more than a colon that was missing */
    for (size_t i = 0; i < name.size; i++)
        *to++ = name.data[i] >= 'A' && name.data[i] <= 'Z' ? (char)(name.data[i] + 32) : name.data[i];
    *to++ = ':';
    for (size_t i = 0; i < value.size; i++) {
        char c = value.data[i];
        if (c == '\r' || c == '\n')
            continue;
        if (is_blank(c)) {
            is_open = true;
            continue;
        }
        if (is_open && has_text)
            *to++ = ' ';
        *to++ = c;
        is_open = false;
        has_text = true;
    }
    out->size += (size_t)(to - from);
}

void dkim_canon_field(enum dkim_canon canon, struct slice raw, struct buf *out)
{
    if (canon == DKIM_RELAXED)
        relax_field(raw, out);
    else
        buf_append(out, without_line_end(raw));
    buf_append_text(out, "\r\n");
}

/* One line without its end and the blanks before it; runs of blanks become one space. Nearly every line is one piece. */
static void relax_line(struct slice line, struct buf *out)
{
    size_t from = 0;
    for (size_t i = 0; i < line.size; i++) {
        bool is_run = is_blank(line.data[i]) && (line.data[i] == '\t' || is_blank(line.data[i + 1])); /* the last one is no blank */
        if (!is_run)
            continue;
        buf_append(out, slice_make(line.data + from, i - from));
        buf_append_byte(out, ' ');
        while (is_blank(line.data[i + 1]))
            i++;
        from = i + 1;
    }
    buf_append(out, slice_from(line, from));
}

static void relax_body(struct slice body, void (*sink)(void *arg, struct slice bytes), void *arg)
{
    struct buf out = {0};
    size_t empty = 0; /* lines that count only if another one follows */
    while (body.size) {
        struct slice line = slice_cut(&body, '\n');
        if (line.size && line.data[line.size - 1] == '\r')
            line.size--;
        while (line.size && is_blank(line.data[line.size - 1]))
            line.size--;
        if (line.size == 0) {
            empty++;
            continue;
        }
        for (; empty; empty--)
            buf_append_text(&out, "\r\n");
        relax_line(line, &out);
        buf_append_text(&out, "\r\n");
        if (out.size >= PIECE_SIZE) {
            sink(arg, buf_slice(&out));
            buf_clear(&out);
        }
    }
    sink(arg, buf_slice(&out));
    buf_finish(&out);
}

/* Empty lines at the end go; one line end stays, or is added (RFC 6376 3.4.3). */
void dkim_canon_body(enum dkim_canon canon, struct slice body, void (*sink)(void *arg, struct slice bytes), void *arg)
{
    if (canon == DKIM_RELAXED) {
        relax_body(body, sink, arg);
        return;
    }
    while (body.size >= 2 && body.data[body.size - 1] == '\n' && body.data[body.size - 2] == '\r')
        body.size -= 2;
    sink(arg, body);
    sink(arg, SLICE("\r\n"));
}
