#include "base/arena.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BLOCK_SIZE = 16 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) char data[];
};

static struct arena_block *block_create(size_t size)
{
    size_t total;
    if (__builtin_add_overflow(size, sizeof(struct arena_block), &total))
        mem_exhausted(size);
    struct arena_block *block = malloc(total);
    if (!block)
        mem_exhausted(total);
    block->next = NULL;
    block->size = size;
    block->used = 0;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        mem_exhausted(size);
    size_t rounded = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!arena->current || arena->current->size - arena->current->used < rounded) {
        struct arena_block *block =
            block_create(rounded > ARENA_BLOCK_SIZE ? rounded : ARENA_BLOCK_SIZE);
        if (arena->current)
            arena->current->next = block;
        else
            arena->first = block;
        arena->current = block;
    }
    void *data = arena->current->data + arena->current->used;
    arena->current->used += rounded;
    return memset(data, 0, rounded);
}

void *arena_grow(struct arena *arena, void *old, size_t used, size_t count, size_t size)
{
    size_t total;
    CHECK(used <= count);
    if (__builtin_mul_overflow(count, size, &total))
        mem_exhausted(SIZE_MAX);
    void *data = arena_alloc(arena, total);
    if (used)
        memcpy(data, old, used * size);
    return data;
}

char *arena_text(struct arena *arena, struct slice bytes)
{
    char *copy = arena_alloc(arena, bytes.size + 1);
    if (bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    return copy;
}

struct slice arena_copy(struct arena *arena, struct slice bytes)
{
    if (slice_is_absent(bytes))
        return bytes;
    return slice_make(arena_text(arena, bytes), bytes.size);
}

struct slice arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(length >= 0);
    char *text = arena_alloc(arena, (size_t)length + 1);
    (void)vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return slice_make(text, (size_t)length);
}

static void blocks_free(struct arena_block *block)
{
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
}

void arena_reset(struct arena *arena)
{
    if (!arena->first)
        return;
    blocks_free(arena->first->next);
    arena->first->next = NULL;
    arena->first->used = 0;
    arena->current = arena->first;
}

void arena_finish(struct arena *arena)
{
    blocks_free(arena->first);
    *arena = (struct arena){0};
}
