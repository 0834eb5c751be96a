#include "relay/body.h"

static void stuff(struct body *body, struct slice piece, struct buf *out)
{
    while (piece.size) {
        if (!body->is_inside_line && piece.data[0] == '.')
            buf_append_byte(out, '.');
        const char *end = memchr(piece.data, '\n', piece.size);
        size_t size = end ? (size_t)(end - piece.data) + 1 : piece.size;
        /* Lines without a dot in front go in one copy. */
        while (end && size < piece.size && piece.data[size] != '.') {
            const char *next = memchr(piece.data + size, '\n', piece.size - size);
            size = next ? (size_t)(next - piece.data) + 1 : piece.size;
            end = next;
        }
        buf_append(out, slice_first(piece, size));
        body->is_inside_line = end == NULL;
        piece = slice_from(piece, size);
    }
}

void body_piece(struct body *body, size_t size_max, struct buf *out)
{
    struct slice piece = slice_first(body->rest, body->rest.size < size_max ? body->rest.size : size_max);
    body->rest = slice_from(body->rest, piece.size);
    if (body->is_stuffed)
        stuff(body, piece, out);
    else
        buf_append(out, piece);
    if (body->rest.size)
        return;
    body->is_done = true;
    if (body->is_stuffed)
        buf_append_text(out, body->is_inside_line ? "\r\n.\r\n" : ".\r\n");
}
