#include "web/letter.h"

#include "base/utf8.h"
#include "message/content_private.h"

#include <stdio.h>
#include <sys/random.h>

enum { WORD_OCTETS = 42, HEADER_LINE_MAX = 900, FOLDED_FROM = 60 };

static bool is_clean(struct slice value)
{
    for (size_t i = 0; i < value.size; i++)
        if ((unsigned char)value.data[i] < 0x20 || value.data[i] == 0x7f)
            return false;
    return utf8_is_valid(value);
}

static void put_words(struct buf *out, struct slice text)
{
    const char *before = "";
    while (text.size) {
        size_t size = 0, next;
        while (size < text.size && (next = utf8_sequence(slice_from(text, size))) && size + next <= WORD_OCTETS)
            size += next;
        struct buf word = {0};
        encode_base64(slice_first(text, size), &word);
        buf_printf(out, "%s=?utf-8?B?%.*s?=", before, SLICE_FMT(slice_trim(buf_slice(&word))));
        buf_finish(&word);
        before = "\r\n ";
        text = slice_from(text, size);
    }
}

static bool put_field(struct buf *out, const char *name, struct slice value, struct error *error)
{
    if (slice_is_absent(value))
        return true;
    if (!is_clean(value))
        return error_set(error, "%s: a control character or ill-formed UTF-8", name);
    buf_printf(out, "%s: ", name);
    for (size_t i = 0, column = 0; i < value.size; i++, column++) {
        if (column > HEADER_LINE_MAX)
            return error_set(error, "%s: too long", name);
        bool is_fold = column > FOLDED_FROM && value.data[i] == ' ' && i > 0 && value.data[i - 1] == ',';
        if (is_fold)
            buf_append_text(out, "\r\n");
        column = is_fold ? 0 : column;
        buf_append_byte(out, value.data[i]);
    }
    buf_append_text(out, "\r\n");
    return true;
}

static bool put_subject(struct buf *out, struct slice subject, struct error *error)
{
    if (slice_is_absent(subject))
        return true;
    if (!is_clean(subject))
        return error_set(error, "Subject: a control character or ill-formed UTF-8");
    bool is_plain = !slice_has_8bit(subject) && subject.size < 900 && slice_find(subject, SLICE("=?")) < 0;
    buf_append_text(out, "Subject: ");
    if (is_plain)
        buf_append(out, subject);
    else
        put_words(out, subject);
    buf_append_text(out, "\r\n");
    return true;
}

static void put_text_part(struct buf *out, const char *type, struct slice text)
{
    struct buf canonical = {0};
    body_canonical(text, BODY_DOTS_KEEP, false, &canonical);
    buf_printf(out, "Content-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", type);
    encode_quoted_printable(buf_slice(&canonical), out);
    buf_finish(&canonical);
}

static void put_file_name(struct buf *out, struct slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        unsigned char c = (unsigned char)name.data[i];
        bool is_safe = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '.' || c == '-' || c == '_';
        if (is_safe)
            buf_append_byte(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

/* A type from a stranger: taken if it is a plain token pair, and never one that nests messages. */
static struct slice safe_type(struct slice type)
{
    size_t slashes = 0;
    for (size_t i = 0; i < type.size; i++) {
        unsigned char c = (unsigned char)type.data[i];
        slashes += c == '/';
        bool is_token = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("/.+-_", c));
        if (!is_token)
            return SLICE("application/octet-stream");
    }
    bool is_nesting = slice_starts_nocase(type, SLICE("message/")) || slice_starts_nocase(type, SLICE("multipart/"));
    return slashes == 1 && type.size < 80 && !is_nesting ? type : SLICE("application/octet-stream");
}

static void put_file_part(struct buf *out, const struct letter_file *file)
{
    buf_printf(out, "Content-Type: %.*s\r\nContent-Transfer-Encoding: base64\r\n"
                    "Content-Disposition: attachment; filename*=utf-8''", SLICE_FMT(safe_type(file->type)));
    put_file_name(out, file->name);
    buf_append_text(out, "\r\n\r\n");
    encode_base64(file->content, out);
    buf_append_text(out, "\r\n");
}

static void make_boundary(const char *kind, char ret_boundary[64])
{
    uint64_t random[2] = {0};
    (void)!getrandom(random, sizeof random, 0);
    (void)snprintf(ret_boundary, 64, "=_%s_%016llx%016llx", kind, (unsigned long long)random[0], (unsigned long long)random[1]);
}

static void put_texts(struct buf *out, const struct letter *letter)
{
    char boundary[64];
    bool has_both = !slice_is_absent(letter->text) && !slice_is_absent(letter->html);
    if (!has_both) {
        bool is_html = slice_is_absent(letter->text);
        put_text_part(out, is_html ? "text/html" : "text/plain", is_html ? letter->html : letter->text);
        return;
    }
    make_boundary("text", boundary);
    buf_printf(out, "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n--%s\r\n", boundary, boundary);
    put_text_part(out, "text/plain", letter->text);
    buf_printf(out, "\r\n--%s\r\n", boundary);
    put_text_part(out, "text/html", letter->html);
    buf_printf(out, "\r\n--%s--\r\n", boundary);
}

/* base64 and quoted-printable never hold "=_", but a quoted "=_" can't arise: L3 holds by construction. */
static void put_body(struct buf *out, const struct letter *letter)
{
    char boundary[64];
    if (letter->file_count == 0) {
        put_texts(out, letter);
        return;
    }
    make_boundary("file", boundary);
    buf_printf(out, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n--%s\r\n", boundary, boundary);
    put_texts(out, letter);
    for (size_t i = 0; i < letter->file_count; i++) {
        buf_printf(out, "\r\n--%s\r\n", boundary);
        put_file_part(out, &letter->files[i]);
    }
    buf_printf(out, "\r\n--%s--\r\n", boundary);
}

static struct slice take(struct arena *arena, struct buf *out)
{
    struct slice whole = arena_copy(arena, buf_slice(out));
    buf_finish(out);
    return whole;
}

struct slice letter_mailbox(struct arena *arena, struct slice name, struct slice address)
{
    struct buf out = {0};
    if (name.size == 0)
        return address;
    if (!is_clean(name))
        return address;
    if (slice_has_8bit(name) || slice_find(name, SLICE("=?")) >= 0) {
        struct buf words = {0};
        put_words(&words, name);
        for (size_t i = 0; i < words.size; i++) /* folds are for put_field() to make */
            if (words.data[i] != '\r' && words.data[i] != '\n')
                buf_append_byte(&out, words.data[i]);
        buf_finish(&words);
    } else {
        buf_append_byte(&out, '"');
        for (size_t i = 0; i < name.size; i++) {
            if (name.data[i] == '"' || name.data[i] == '\\')
                buf_append_byte(&out, '\\');
            buf_append_byte(&out, name.data[i]);
        }
        buf_append_byte(&out, '"');
    }
    buf_printf(&out, " <%.*s>", SLICE_FMT(address));
    return take(arena, &out);
}

bool letter_compose(const struct letter *letter, struct buf *out, struct error *error)
{
    if (!put_field(out, "From", letter->from, error) || !put_field(out, "To", letter->to, error)
        || !put_field(out, "Cc", letter->cc, error) || !put_field(out, "Reply-To", letter->reply_to, error)
        || !put_subject(out, letter->subject, error))
        return false;
    if (letter->is_auto_reply)
        buf_append_text(out, "Auto-Submitted: auto-replied\r\n");
    buf_append_text(out, "MIME-Version: 1.0\r\n");
    put_body(out, letter);
    return true;
}
