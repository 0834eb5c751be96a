#include "pickup/foreign.h"

#include "base/utf8.h"

enum { RAW_LINES_MAX = 10000 };

struct raw {
    struct buf envelope, header;
    struct slice sender;
    struct slice to, cc;       /* the lists, for one line each */
    bool has_type, is_confirmed;
    size_t line, recipients;
    struct error *error;
};

/* "Token <value>" -> both; false if it is no such line. */
static bool split_token(struct slice line, struct slice *ret_token, struct slice *ret_value)
{
    line = slice_trim(line);
    ptrdiff_t open = slice_find_byte(line, '<');
    if (open <= 0 || line.data[line.size - 1] != '>')
        return false;
    *ret_token = slice_trim(slice_first(line, (size_t)open));
    *ret_value = slice_trim(slice_make(line.data + open + 1, line.size - (size_t)open - 2));
    return true;
}

bool foreign_is_raw(struct slice file)
{
    struct slice token, value;
    return split_token(foreign_line(&file), &token, &value) && slice_equals_nocase(token, SLICE("From"));
}

static void put_field(struct raw *raw, const char *name, struct slice value)
{
    buf_printf(&raw->header, "%s: ", name);
    buf_append(&raw->header, value);
    buf_append_text(&raw->header, "\r\n");
}

static bool take_header(struct raw *raw, struct slice value)
{
    ptrdiff_t colon = slice_find_byte(value, ':');
    for (ptrdiff_t i = 0; i < colon; i++)
        if (value.data[i] <= ' ' || value.data[i] == 0x7f)
            colon = -1;
    if (colon <= 0)
        return error_set(raw->error, "line %zu: \"Header <Name: value>\" was expected", raw->line);
    raw->has_type |= slice_starts_nocase(value, SLICE("Content-Type:"));
    buf_append(&raw->header, value);
    buf_append_text(&raw->header, "\r\n");
    return true;
}

static bool take_flag(struct raw *raw, struct slice flag)
{
    if (slice_starts_nocase(flag, SLICE("ATTACH")))
        return error_set(raw->error, "line %zu: X-FLAG=ATTACH names a file of the server, which is never read: write the whole "
                                     "message, attachments in it", raw->line);
    if (slice_starts_nocase(flag, SLICE("CONFIRM_DELIVERY")))
        raw->is_confirmed = true;
    else if (slice_starts_nocase(flag, SLICE("CONFIRM_READ")))
        put_field(raw, "Disposition-Notification-To", raw->sender);
    else if (!slice_starts_nocase(flag, SLICE("SIGN")))
        return error_set(raw->error, "line %zu: this X-FLAG isn't known: CONFIRM_DELIVERY, CONFIRM_READ or SIGN was expected",
                         raw->line);
    return true;
}

static bool take_line(struct raw *raw, struct slice line)
{
    struct slice token, value;
    if (slice_starts_nocase(line, SLICE("X-FLAG=")))
        return take_flag(raw, slice_from(line, 7));
    if (!split_token(line, &token, &value))
        return error_set(raw->error, "line %zu: RAW: a line as in \"To <a@example.com>\" was expected", raw->line);
    if (slice_equals_nocase(token, SLICE("From")) && raw->sender.size == 0)
        raw->sender = value;
    else if (slice_equals_nocase(token, SLICE("To")) && raw->to.size == 0)
        raw->to = value;
    else if (slice_equals_nocase(token, SLICE("CC")) && raw->cc.size == 0)
        raw->cc = value;
    else if (slice_equals_nocase(token, SLICE("ReplyTo")))
        put_field(raw, "Reply-To", value);
    else if (slice_equals_nocase(token, SLICE("Subject")))
        put_field(raw, "Subject", value);
    else if (slice_equals_nocase(token, SLICE("Header")))
        return take_header(raw, value);
    else
        return error_set(raw->error, "line %zu: RAW: From, To, CC, ReplyTo, Subject, Header (the first three once) or X-FLAG was "
                                     "expected", raw->line);
    return true;
}

static void put_receivers(struct raw *raw, struct slice list)
{
    while (list.size) {
        struct slice address = slice_trim(slice_cut(&list, ','));
        if (address.size == 0)
            continue;
        foreign_put(&raw->envelope, "X-Receiver", address, raw->is_confirmed ? SLICE("NOTIFY=SUCCESS,FAILURE") : SLICE(""));
        raw->recipients++;
    }
}

static bool finish(struct raw *raw, struct slice body, struct buf *out)
{
    if (raw->sender.size == 0)
        return error_set(raw->error, "RAW: a line \"From <a@example.com>\" was expected");
    foreign_put(&raw->envelope, "X-Sender", raw->sender, SLICE(""));
    put_receivers(raw, raw->to);
    put_receivers(raw, raw->cc);
    if (raw->recipients == 0)
        return error_set(raw->error, "RAW: a line \"To <a@example.com>\" was expected");
    put_field(raw, "From", raw->sender);
    if (raw->to.size)
        put_field(raw, "To", raw->to);
    if (raw->cc.size)
        put_field(raw, "Cc", raw->cc);
    if (slice_has_8bit(body) && !raw->has_type) {
        put_field(raw, "MIME-Version", SLICE("1.0"));
        put_field(raw, "Content-Type", utf8_is_valid(body) ? SLICE("text/plain; charset=utf-8")
                                                            : SLICE("text/plain; charset=windows-1252"));
        put_field(raw, "Content-Transfer-Encoding", SLICE("8bit"));
    }
    buf_append(out, buf_slice(&raw->envelope));
    foreign_end_block(out);
    buf_append(out, buf_slice(&raw->header));
    buf_append_text(out, "\r\n");
    buf_append(out, body);
    return true;
}

bool foreign_raw(struct slice file, struct buf *out, struct error *error)
{
    struct raw raw = {.error = error};
    bool is_fine = true;
    while (is_fine && file.size) {
        struct slice line = foreign_line(&file);
        raw.line++;
        if (slice_trim(line).size == 0)
            break;
        is_fine = raw.line <= RAW_LINES_MAX ? take_line(&raw, line)
                                            : error_set(error, "line %zu: too many lines before the text", raw.line);
    }
    is_fine = is_fine && finish(&raw, file, out);
    buf_finish(&raw.envelope);
    buf_finish(&raw.header);
    return is_fine;
}
