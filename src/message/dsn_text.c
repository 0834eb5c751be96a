#include "base/utf8.h"
#include "message/content.h"
#include "message/dsn_private.h"

enum { LINE_PREFERRED = 78, LINE_MAX_SIZE = 998, VALUE_SIZE_MAX = 900 };

#define INDENT "    "
#define INDENT_REPLY "        "

static const struct { const char *what, *why; } words[] = {
    [DSN_FAILED] = {"could not be delivered, and will not be tried again, for", NULL},
    [DSN_DELAYED] = {"has not been delivered yet to",
                     "Nothing needs to be done: it is tried again by itself. "
                     "You hear of it if it fails for good."},
    [DSN_DELIVERED] = {"was delivered to", NULL},
    [DSN_RELAYED] = {"was passed on for",
                     "That server does not report deliveries: "
                     "there will be no further word unless it fails."},
    [DSN_EXPANDED] = {"was passed on to the members of the list", NULL},
};

/* What the reader of a failure can do, by subject and detail of the status (RFC 3463 3); the first
 * row that fits. */
static const struct { const char *status, *advice; } advices[] = {
    {".1.1.", "Check the part before the @ for typing errors: the server does not know it."},
    {".1.2.", "Check the part after the @ for typing errors: there is no such mail domain."},
    {".1.3.", "Check the address for typing errors: the server could not read it."},
    {".1.6.", "The mailbox has moved. Ask the recipient for the new address."},
    {".1.7.", "The server does not accept the sender's address. Ask your mail administrator."},
    {".1.8.", "The server does not accept the sender's domain. Ask your mail administrator."},
    {".1.10.", "This domain takes no mail. Check the part after the @ for typing errors."},
    {".2.1.", "The mailbox is closed. Reach the recipient in another way."},
    {".2.2.", "The mailbox is full. Tell the recipient in another way; send it again later."},
    {".2.3.", "The message is too large for the mailbox. Send it in parts or leave files out."},
    {".3.4.", "The message is too large for the server. Send it in parts or leave files out."},
    {".4.6.", "The message went round in a loop. Show this report to your mail administrator."},
    {".4.", "The server could not be reached in the time allowed. Send it again later."},
    {".5.3.", "There were too many recipients. Send it to fewer at a time."},
    {".6.7.", "The server takes plain ASCII addresses only. Ask the recipient for one."},
    {".6.", "The server can't take a message of this form. Ask your mail administrator."},
    {".7.", "The server's rules forbid it. Show its answer to your mail administrator."},
};
static const char *const general_advice =
    "Check the address. If it is right, show this report to your mail administrator.";

/* Octets of the character at the front if it may stand in a line, 0 if it is to be replaced. */
static size_t plain_sequence(struct slice text, enum dsn_octets octets)
{
    const unsigned char *c = (const unsigned char *)text.data;
    size_t size = utf8_sequence(text);
    if (size == 1)
        return c[0] >= 0x20 && c[0] != 0x7f;
    if (octets == DSN_ASCII || size == 0)
        return 0;
    bool is_c1 = size == 2 && c[0] == 0xC2 && c[1] < 0xA0;
    bool is_line_end = size == 3 && c[0] == 0xE2 && c[1] == 0x80 && (c[2] == 0xA8 || c[2] == 0xA9);
    return is_c1 || is_line_end ? 0 : size;
}

struct slice dsn_clean(struct arena *arena, struct slice text, enum dsn_octets octets)
{
    char *clean = arena_alloc(arena, text.size + 1);
    size_t size = 0;
    for (size_t i = 0; i < text.size;) {
        struct slice rest = slice_from(text, i);
        size_t length = plain_sequence(rest, octets);
        size_t skipped = utf8_sequence(rest);
        char c = rest.data[0];
        if (length)
            memcpy(clean + size, rest.data, length);
        else
            clean[size] = c == '\r' || c == '\n' || c == '\t' ? ' ' : '?';
        size += length ? length : 1;
        i += skipped ? skipped : 1;
    }
    return slice_make(clean, size);
}

static size_t line_size(const struct buf *out)
{
    const char *end = out->size ? memrchr(out->data, '\n', out->size) : NULL;
    return end ? (size_t)(out->data + out->size - end) - 1 : out->size;
}

static size_t break_line(struct buf *out, const char *indent)
{
    buf_append(out, SLICE("\r\n"));
    buf_append_text(out, indent);
    return strlen(indent);
}

/* A word that fits no line is cut between two characters. */
static size_t put_word(struct buf *out, struct slice word, const char *indent, size_t column)
{
    while (column + word.size > LINE_MAX_SIZE) {
        size_t cut = LINE_MAX_SIZE - column;
        while (cut && ((unsigned char)word.data[cut] & 0xC0) == 0x80)
            cut--;
        buf_append(out, slice_first(word, cut));
        word = slice_from(word, cut);
        column = break_line(out, indent);
    }
    buf_append(out, word);
    return column + word.size;
}

void dsn_put_folded(struct buf *out, struct slice text, const char *indent)
{
    size_t column = line_size(out);
    CHECK(column < LINE_MAX_SIZE / 2);
    while (text.size) {
        struct slice word = slice_cut(&text, ' ');
        bool is_line_start = column == 0 || out->data[out->size - 1] == ' ';
        if (word.size == 0)
            continue;
        if (is_line_start || column + 1 + word.size <= LINE_PREFERRED) {
            if (!is_line_start) {
                buf_append_byte(out, ' ');
                column++;
            }
        } else {
            column = break_line(out, indent);
        }
        column = put_word(out, word, indent, column);
    }
}

void dsn_put_value(struct buf *out, struct slice value, const char *indent)
{
    if (value.size <= VALUE_SIZE_MAX)
        buf_append(out, value);
    else
        dsn_put_folded(out, value, indent);
}

static void put_paragraph(struct buf *out, const char *indent, struct slice text)
{
    buf_append_text(out, indent);
    dsn_put_folded(out, text, indent);
    buf_append(out, SLICE("\r\n"));
}

static void put_labelled(struct buf *out, const char *label, struct slice value)
{
    if (value.size == 0)
        return;
    buf_append_text(out, INDENT);
    buf_append_text(out, label);
    dsn_put_folded(out, value, INDENT_REPLY);
    buf_append(out, SLICE("\r\n"));
}

static const char *advice_find(struct slice status)
{
    /* The table's rows end in a dot so that .1.1 is not .1.10. */
    char key[16];
    size_t size = status.size - 1;
    CHECK(size + 1 < sizeof key);
    memcpy(key, status.data + 1, size);
    key[size] = '.';
    for (size_t i = 0; i < COUNT_OF(advices); i++)
        if (slice_starts(slice_make(key, size + 1), slice_of(advices[i].status)))
            return advices[i].advice;
    return general_advice;
}

static void put_answer(struct arena *arena, const struct dsn_recipient *recipient, struct buf *out)
{
    struct slice diagnostic = slice_trim(dsn_clean(arena, recipient->diagnostic, DSN_UTF8));
    if (diagnostic.size == 0)
        return;
    struct slice host = dsn_clean(arena, recipient->remote_mta, DSN_ASCII);
    struct slice who = SLICE("The reason:");
    if (recipient->is_smtp_diagnostic)
        who = host.size ? arena_printf(arena, "The mail server %.*s answered:", SLICE_FMT(host))
                        : SLICE("The mail server answered:");
    put_paragraph(out, INDENT, who);
    put_paragraph(out, INDENT_REPLY, diagnostic);
}

static void put_recipient(struct arena *arena, const struct dsn_report *report,
                          const struct dsn_recipient *recipient, struct buf *out)
{
    buf_append(out, SLICE("\r\n<"));
    dsn_put_value(out, dsn_clean(arena, recipient->address, DSN_UTF8), INDENT);
    buf_append(out, SLICE(">\r\n"));
    put_answer(arena, recipient, out);
    if (report->action == DSN_FAILED) {
        struct slice status = dsn_status(arena, recipient->status, report->action);
        put_paragraph(out, INDENT, arena_printf(arena, "What you can do: %s", advice_find(status)));
    }
    if (report->action == DSN_DELAYED && recipient->will_retry_until_ms) {
        struct slice until = content_date(arena, recipient->will_retry_until_ms, report->zone_s);
        put_paragraph(out, INDENT,
                      arena_printf(arena, "It is tried again until %.*s.", SLICE_FMT(until)));
    }
}

void dsn_put_text(struct arena *arena, const struct dsn_report *report, struct slice subject,
                  struct buf *out)
{
    struct slice host = dsn_clean(arena, report->host, DSN_ASCII);
    put_paragraph(out, "",
                  arena_printf(arena, "This is the mail system at %.*s.", SLICE_FMT(host)));
    buf_append_text(out, "\r\nYour message\r\n\r\n");
    put_labelled(out, "Subject:  ", slice_trim(dsn_clean(arena, subject, DSN_UTF8)));
    put_labelled(out, "Arrived:  ", content_date(arena, report->arrival_ms, report->zone_s));
    put_labelled(out, "Queue id: ", report->original_id);
    buf_printf(out, "\r\n%s\r\n", words[report->action].what);
    for (size_t i = 0; i < report->recipient_count; i++)
        put_recipient(arena, report, &report->recipients[i], out);
    if (words[report->action].why) {
        buf_append(out, SLICE("\r\n"));
        put_paragraph(out, "", slice_of(words[report->action].why));
    }
}
