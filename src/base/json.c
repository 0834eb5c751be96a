#include "base/json.h"

#include "base/utf8.h"

static void separate(struct buf *out)
{
    if (out->size == 0)
        return;
    char last = out->data[out->size - 1];
    if (last != '{' && last != '[' && last != ':' && last != ',' && last != '\n')
        buf_append_byte(out, ',');
}

void json_open(struct buf *out, char bracket)
{
    separate(out);
    buf_append_byte(out, bracket);
}

void json_close(struct buf *out, char bracket)
{
    buf_append_byte(out, bracket);
}

void json_key(struct buf *out, const char *key)
{
    separate(out);
    buf_append_byte(out, '"');
    buf_append_text(out, key);
    buf_append(out, SLICE("\":"));
}

static void put_escaped(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        buf_append(out, SLICE("\\\""));
        return;
    case '\\':
        buf_append(out, SLICE("\\\\"));
        return;
    case '\n':
        buf_append(out, SLICE("\\n"));
        return;
    case '\r':
        buf_append(out, SLICE("\\r"));
        return;
    case '\t':
        buf_append(out, SLICE("\\t"));
        return;
    default:
        buf_printf(out, "\\u%04x", c);
    }
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

void json_text(struct buf *out, struct slice text)
{
    separate(out);
    if (slice_is_absent(text)) {
        buf_append(out, SLICE("null"));
        return;
    }
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.size;) {
        size_t run = i;
        while (run < text.size && is_plain((unsigned char)text.data[run]))
            run++;
        buf_append(out, slice_make(text.data + i, run - i));
        i = run;
        if (i == text.size)
            break;
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x80) {
            put_escaped(out, c);
            i++;
            continue;
        }
        size_t length = utf8_sequence(slice_from(text, i));
        if (length)
            buf_append(out, slice_make(text.data + i, length));
        else
            buf_append(out, SLICE("\xEF\xBF\xBD"));
        i += length ? length : 1;
    }
    buf_append_byte(out, '"');
}

void json_number(struct buf *out, int64_t number)
{
    separate(out);
    buf_printf(out, "%lld", (long long)number);
}

void json_bool(struct buf *out, bool value)
{
    separate(out);
    buf_append_text(out, value ? "true" : "false");
}

void json_put_text(struct buf *out, const char *key, struct slice text)
{
    json_key(out, key);
    json_text(out, text);
}

void json_put_number(struct buf *out, const char *key, int64_t number)
{
    json_key(out, key);
    json_number(out, number);
}

void json_put_bool(struct buf *out, const char *key, bool value)
{
    json_key(out, key);
    json_bool(out, value);
}
