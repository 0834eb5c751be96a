#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUF_SIZE_MIN = 64 };

char *buf_reserve(struct buf *buf, size_t size)
{
    size_t needed;
    if (__builtin_add_overflow(buf->size, size, &needed) || needed > SIZE_MAX / 2)
        mem_exhausted(size);
    if (needed > buf->capacity) {
        size_t capacity = buf->capacity ? buf->capacity : BUF_SIZE_MIN;
        while (capacity < needed)
            capacity *= 2;
        buf->data = mem_resize(buf->data, capacity);
        buf->capacity = capacity;
    }
    return buf->data + buf->size;
}

void buf_append(struct buf *buf, struct slice bytes)
{
    if (bytes.size == 0)
        return;
    memcpy(buf_reserve(buf, bytes.size), bytes.data, bytes.size);
    buf->size += bytes.size;
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, slice_of(text));
}

void buf_append_byte(struct buf *buf, char byte)
{
    *buf_reserve(buf, 1) = byte;
    buf->size++;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void buf_vprintf(struct buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    CHECK(length >= 0);
    (void)vsnprintf(buf_reserve(buf, (size_t)length + 1), (size_t)length + 1, format, again);
    va_end(again);
    buf->size += (size_t)length;
}

void buf_remove_front(struct buf *buf, size_t size)
{
    CHECK(size <= buf->size);
    buf->size -= size;
    if (buf->size)
        memmove(buf->data, buf->data + size, buf->size);
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
}

const char *buf_text(struct buf *buf)
{
    *buf_reserve(buf, 1) = '\0';
    return buf->data;
}

char *buf_take(struct buf *buf)
{
    (void)buf_text(buf);
    char *data = buf->data;
    *buf = (struct buf){0};
    return data;
}

void buf_finish(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}
