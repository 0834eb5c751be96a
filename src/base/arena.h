/* arena: memory that is freed all at once.
 *
 * What a parser returns lives as long as the arena it was given, a parameter that comes first. A zeroed
 * struct arena is a valid empty one. Not thread-safe: one owner at a time.
 *   arena_reset()   forgets everything, keeps the first block for the next message
 *   arena_finish()  frees everything */
#ifndef MR_BASE_ARENA_H
#define MR_BASE_ARENA_H

#include "base/check.h"
#include "base/slice.h"

struct arena {
    struct arena_block *first;
    struct arena_block *current;
};

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for any type, never NULL */
/* An array that grows: returns room for `count` items of `size`, the first `used` copied from `old`. */
void *arena_grow(struct arena *arena, void *old, size_t used, size_t count, size_t size);
char *arena_text(struct arena *arena, struct slice bytes); /* a NUL-terminated copy */
struct slice arena_copy(struct arena *arena, struct slice bytes); /* keeps absent absent */
struct slice arena_printf(struct arena *arena, const char *format, ...) FORMAT(2, 3);
void arena_reset(struct arena *arena);
void arena_finish(struct arena *arena);

#endif
