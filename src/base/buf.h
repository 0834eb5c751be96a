/* buf: a growing byte buffer on the heap.
 *
 * A zeroed struct buf is a valid empty buffer. buf_finish() frees and zeroes it. `data` is NULL until the
 * first byte; bytes beyond `size` are undefined. It grows by doubling and never fails (base/mem.h). */
#ifndef MR_BASE_BUF_H
#define MR_BASE_BUF_H

#include "base/check.h"
#include "base/slice.h"

#include <stdarg.h>

struct buf {
    char *data;
    size_t size;
    size_t capacity;
};

void buf_append(struct buf *buf, struct slice bytes);
void buf_append_text(struct buf *buf, const char *text);
void buf_append_byte(struct buf *buf, char byte);
void buf_printf(struct buf *buf, const char *format, ...) FORMAT(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list args);
/* Room for `size` more bytes; the caller writes there and then adds to buf->size. */
char *buf_reserve(struct buf *buf, size_t size);
void buf_remove_front(struct buf *buf, size_t size); /* size <= buf->size */
void buf_clear(struct buf *buf);                     /* size 0, memory kept */
const char *buf_text(struct buf *buf);               /* NUL-terminated (the NUL is not counted) */
char *buf_take(struct buf *buf);                     /* the NUL-terminated bytes, now the caller's */
void buf_finish(struct buf *buf);

static inline struct slice buf_slice(const struct buf *buf)
{
    return (struct slice){buf->data ? buf->data : "", buf->size};
}

#endif
