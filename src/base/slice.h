/* slice: borrowed, read-only bytes with their length.
 *
 * A slice never owns and is never freed; it is not NUL-terminated and may hold NULs. {NULL, 0} is the
 * absent slice; slice_is_absent() tells it from an empty one. Case-insensitive means ASCII only. */
#ifndef MR_BASE_SLICE_H
#define MR_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *data;
    size_t size;
};

#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
#define SLICE_NONE ((struct slice){NULL, 0})
/* For printf's "%.*s"; only for bytes known to be clean text. */
#define SLICE_FMT(slice) (int)(slice).size, (slice).data

static inline struct slice slice_of(const char *text) /* NULL gives the absent slice */
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline struct slice slice_make(const char *data, size_t size)
{
    return (struct slice){data, size};
}

static inline bool slice_is_absent(struct slice s)
{
    return s.data == NULL;
}

static inline struct slice slice_from(struct slice s, size_t offset) /* offset <= size */
{
    return (struct slice){s.data + offset, s.size - offset};
}

static inline struct slice slice_first(struct slice s, size_t size) /* size <= s.size */
{
    return (struct slice){s.data, size};
}

bool slice_equals(struct slice a, struct slice b);
bool slice_equals_nocase(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_starts_nocase(struct slice s, struct slice prefix);
bool slice_ends_nocase(struct slice s, struct slice suffix);
struct slice slice_trim(struct slice s);  /* without SP, HT, CR, LF at both ends */
ptrdiff_t slice_find(struct slice s, struct slice needle); /* offset, or -1 */
ptrdiff_t slice_find_byte(struct slice s, char byte);      /* offset, or -1 */
bool slice_has_8bit(struct slice s);                       /* any octet above 127 */
/* Cuts the part before `separator` off the front of *s; the whole rest when there is none. */
struct slice slice_cut(struct slice *s, char separator);
/* What follows the last separator; what is before that one stays in *s. Without one all of it, and *s is empty. */
struct slice slice_cut_last(struct slice *s, char separator);
/* A decimal number that fills the slice; false on anything else or overflow. */
bool slice_to_u64(struct slice s, uint64_t *ret_value);
char *slice_copy(struct slice s); /* NUL-terminated heap copy; free() it */

#endif
