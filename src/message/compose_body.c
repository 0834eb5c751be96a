#include "message/compose_private.h"

#include "message/content_private.h"

enum { UU_LINE_OCTETS = 45 };

static const struct { const char *ending, *type; } types[] = {
    {".txt", "text/plain"}, {".htm", "text/html"}, {".html", "text/html"}, {".csv", "text/csv"}, {".xml", "application/xml"},
    {".json", "application/json"}, {".pdf", "application/pdf"}, {".zip", "application/zip"}, {".gif", "image/gif"},
    {".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"}, {".png", "image/png"}, {".svg", "image/svg+xml"},
    {".webp", "image/webp"}, {".css", "text/css"}, {".doc", "application/msword"}, {".xls", "application/vnd.ms-excel"},
    {".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}, {".mp3", "audio/mpeg"},
    {".wav", "audio/x-wav"}, {".mp4", "video/mp4"},
};

const char *compose_type_of(struct slice name)
{
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (slice_ends_nocase(name, slice_of(types[i].ending)))
            return types[i].type;
    return "application/octet-stream";
}

struct look { bool is_raw; size_t high; };

/* Whether canonical text can stand as it is: ASCII, lines that no relay changes (RFC 2045 6.7, C4). */
static struct look look_at(struct slice text)
{
    struct look look = {.is_raw = true};
    for (struct slice rest = text; rest.size;) {
        struct slice line = slice_cut(&rest, '\n');
        if (line.size && line.data[line.size - 1] == '\r')
            line.size--;
        if (line.size > CONTENT_LINE_MAX || slice_starts(line, SLICE(".")) || slice_starts(line, SLICE("From "))
            || (line.size && (line.data[line.size - 1] == ' ' || line.data[line.size - 1] == '\t')))
            look.is_raw = false;
        for (size_t i = 0; i < line.size; i++) {
            unsigned char c = (unsigned char)line.data[i];
            look.high += c >= 0x7f || (c < 0x20 && c != '\t');
        }
    }
    look.is_raw = look.is_raw && look.high == 0;
    return look;
}

/* A last line end that the text hasn't is added in base64 only by what parts the bodies, never in the text. */
void compose_put_text_body(struct buf *out, struct slice text)
{
    struct buf canonical = {0};
    bool has_end = text.size && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r');
    body_canonical(text, BODY_DOTS_KEEP, false, &canonical);
    if (!has_end && canonical.size >= 2)
        canonical.size -= 2;
    struct look look = look_at(buf_slice(&canonical));
    if (look.is_raw) {
        buf_append_text(out, "Content-Transfer-Encoding: 7bit\r\n\r\n");
        buf_append(out, buf_slice(&canonical));
    } else if (look.high > canonical.size / 5) {
        compose_put_base64_body(out, buf_slice(&canonical));
    } else {
        buf_append_text(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        encode_quoted_printable(buf_slice(&canonical), out);
    }
    buf_finish(&canonical);
}

void compose_put_base64_body(struct buf *out, struct slice bytes)
{
    buf_append_text(out, "Content-Transfer-Encoding: base64\r\n\r\n");
    encode_base64(bytes, out);
}

static char uu_digit(unsigned value)
{
    return value ? (char)(value + 32) : '`';
}

/* POSIX uuencode, as CDONTS attached to plain text. A name of blanks and letters only; what could end the line goes. */
void compose_uuencode(struct buf *out, struct slice name, struct slice bytes)
{
    buf_printf(out, "begin 644 %.*s\r\n", SLICE_FMT(name));
    for (size_t at = 0; at < bytes.size; at += UU_LINE_OCTETS) {
        size_t size = bytes.size - at < UU_LINE_OCTETS ? bytes.size - at : UU_LINE_OCTETS;
        buf_append_byte(out, uu_digit((unsigned)size));
        for (size_t i = 0; i < size; i += 3) {
            unsigned group = 0;
            for (size_t k = 0; k < 3; k++)
                group = group << 8 | (i + k < size ? (unsigned char)bytes.data[at + i + k] : 0u);
            for (int shift = 18; shift >= 0; shift -= 6)
                buf_append_byte(out, uu_digit(group >> shift & 63));
        }
        buf_append_text(out, "\r\n");
    }
    buf_append_text(out, "`\r\nend\r\n");
}
