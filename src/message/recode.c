#include "message/content_private.h"

#include "base/base64.h"

enum { ENCODED_LINE_MAX = 76 };

static void put_hex(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";
    buf_append_byte(out, '=');
    buf_append_byte(out, digits[c >> 4]);
    buf_append_byte(out, digits[c & 15]);
}

/* A line without its end. Blanks at the end, a dot or "From " at the start are written as =XX: they don't survive all
 * relays otherwise. */
static void put_quoted_line(struct slice line, struct buf *out)
{
    size_t column = 0;
    for (size_t i = 0; i < line.size; i++) {
        unsigned char c = (unsigned char)line.data[i];
        bool is_last = i + 1 == line.size;
        bool is_blank = c == ' ' || c == '\t';
        bool is_plain = (c > 0x20 && c < 0x7f && c != '=') || (is_blank && !is_last);
        if (column == 0 && (c == '.' || (c == 'F' && slice_starts(slice_from(line, i), SLICE("From ")))))
            is_plain = false;
        size_t width = is_plain ? 1 : 3;
        if (column + width > ENCODED_LINE_MAX - 1 && !(is_last && column + width <= ENCODED_LINE_MAX)) {
            buf_append(out, SLICE("=\r\n"));
            column = 0;
            if (c == '.') {
                is_plain = false;
                width = 3;
            }
        }
        if (is_plain)
            buf_append_byte(out, (char)c);
        else
            put_hex(out, c);
        column += width;
    }
}

void encode_quoted_printable(struct slice bytes, struct buf *out)
{
    while (bytes.size) {
        ptrdiff_t end = slice_find(bytes, SLICE("\r\n"));
        put_quoted_line(slice_first(bytes, end < 0 ? bytes.size : (size_t)end), out);
        if (end < 0)
            return;
        buf_append(out, SLICE("\r\n"));
        bytes = slice_from(bytes, (size_t)end + 2);
    }
}

void encode_base64(struct slice bytes, struct buf *out)
{
    enum { LINE_OCTETS = ENCODED_LINE_MAX / 4 * 3 };
    while (bytes.size) {
        struct slice line = slice_first(bytes, bytes.size < LINE_OCTETS ? bytes.size : LINE_OCTETS);
        base64_encode(line, out);
        buf_append(out, SLICE("\r\n"));
        bytes = slice_from(bytes, line.size);
    }
}
