#include "smtp/reply.h"

#include <stdio.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum parse bad(struct reply *reply, const char *reason)
{
    reply->bad_reason = reason;
    return PARSE_BAD;
}

/* RFC 3463 2: class "." subject "." detail, with the class of the code (R5). */
static void read_enhanced(struct reply *reply, struct slice text)
{
    int parts[3] = {0};
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        size_t digits = 0;
        for (; at < text.size && is_digit(text.data[at]) && digits < 3; at++, digits++)
            parts[i] = parts[i] * 10 + (text.data[at] - '0');
        bool is_parted = i == 2 || (at < text.size && text.data[at] == '.');
        if (digits == 0 || !is_parted)
            return;
        at += i < 2;
    }
    if ((at == text.size || text.data[at] == ' ') && parts[0] == reply->code / 100)
        memcpy(reply->enhanced, parts, sizeof parts);
}

static enum parse end_line(struct reply *reply)
{
    struct slice line = buf_slice(&reply->line);
    if (line.size && line.data[line.size - 1] == '\r')
        line.size--;
    if (line.size < 3 || line.data[0] < '2' || line.data[0] > '5' || !is_digit(line.data[1])
        || !is_digit(line.data[2]))
        return bad(reply, "a line that is no SMTP reply");
    if (line.size > 3 && line.data[3] != ' ' && line.data[3] != '-')
        return bad(reply, "a line that is no SMTP reply");
    if (++reply->line_count > REPLY_LINES_MAX)
        return bad(reply, "a reply without end");
    int code = (line.data[0] - '0') * 100 + (line.data[1] - '0') * 10 + (line.data[2] - '0');
    bool is_last = line.size == 3 || line.data[3] == ' ';
    reply->is_mixed |= reply->code && reply->code != code;
    reply->code = code;
    struct slice text = slice_from(line, line.size > 4 ? 4 : line.size);
    if (reply->line_count > 1)
        buf_append_byte(&reply->text, '\n');
    buf_append(&reply->text, text);
    if (reply->enhanced[0] == 0 || is_last)
        read_enhanced(reply, text);
    buf_clear(&reply->line);
    return is_last ? PARSE_DONE : PARSE_MORE;
}

enum parse reply_feed(struct reply *reply, struct slice bytes, size_t *ret_consumed)
{
    size_t at = 0;
    while (at < bytes.size) {
        struct slice rest = slice_from(bytes, at);
        ptrdiff_t end = slice_find_byte(rest, '\n');
        struct slice part = end < 0 ? rest : slice_first(rest, (size_t)end);
        if (reply->line.size + part.size > REPLY_LINE_SIZE_MAX)
            return bad(reply, "a reply line without end");
        buf_append(&reply->line, part);
        at += part.size + (end >= 0);
        if (end < 0)
            break;
        enum parse result = end_line(reply);
        if (result != PARSE_MORE) {
            *ret_consumed = at;
            return result;
        }
    }
    *ret_consumed = at;
    return PARSE_MORE;
}

void reply_reset(struct reply *reply)
{
    struct buf text = reply->text, line = reply->line;
    buf_clear(&text);
    buf_clear(&line);
    *reply = (struct reply){.text = text, .line = line};
}

void reply_finish(struct reply *reply)
{
    buf_finish(&reply->text);
    buf_finish(&reply->line);
    *reply = (struct reply){0};
}

void reply_one_line(const struct reply *reply, size_t size_max, struct buf *out)
{
    size_t start = out->size;
    buf_printf(out, "%03d", reply->code);
    if (reply->text.size)
        buf_append_byte(out, ' ');
    for (size_t i = 0; i < reply->text.size && out->size - start < size_max; i++) {
        unsigned char c = (unsigned char)reply->text.data[i];
        buf_append_byte(out, c < 0x20 || c == 0x7f ? ' ' : (char)c);
    }
}

void reply_status(const struct reply *reply, char ret_status[16])
{
    int class = reply->enhanced[0] ? reply->enhanced[0] : reply->code / 100;
    (void)snprintf(ret_status, 16, "%d.%d.%d", class, reply->enhanced[1], reply->enhanced[2]);
}
