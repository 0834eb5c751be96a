#include "base/slice.h"

#include "base/mem.h"

#include <strings.h>

bool slice_equals(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool slice_equals_nocase(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || strncasecmp(a.data, b.data, a.size) == 0);
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return s.size >= prefix.size && slice_equals(slice_first(s, prefix.size), prefix);
}

bool slice_starts_nocase(struct slice s, struct slice prefix)
{
    return s.size >= prefix.size && slice_equals_nocase(slice_first(s, prefix.size), prefix);
}

bool slice_ends_nocase(struct slice s, struct slice suffix)
{
    return s.size >= suffix.size && slice_equals_nocase(slice_from(s, s.size - suffix.size), suffix);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
    while (s.size && is_blank(s.data[0]))
        s = slice_from(s, 1);
    while (s.size && is_blank(s.data[s.size - 1]))
        s.size--;
    return s;
}

ptrdiff_t slice_find(struct slice s, struct slice needle)
{
    if (needle.size == 0)
        return 0;
    if (s.size < needle.size)
        return -1;
    const char *found = memmem(s.data, s.size, needle.data, needle.size);
    return found ? found - s.data : -1;
}

ptrdiff_t slice_find_byte(struct slice s, char byte)
{
    const char *found = s.size ? memchr(s.data, byte, s.size) : NULL;
    return found ? found - s.data : -1;
}

bool slice_has_8bit(struct slice s)
{
    size_t i = 0;
    for (; i + 8 <= s.size; i += 8) {
        uint64_t word;
        memcpy(&word, s.data + i, 8);
        if (word & UINT64_C(0x8080808080808080))
            return true;
    }
    for (; i < s.size; i++)
        if ((unsigned char)s.data[i] > 127)
            return true;
    return false;
}

struct slice slice_cut_last(struct slice *s, char separator)
{
    size_t at = s->size;
    while (at > 0 && s->data[at - 1] != separator)
        at--;
    struct slice part = slice_from(*s, at);
    *s = slice_first(*s, at ? at - 1 : 0);
    return part;
}

struct slice slice_cut(struct slice *s, char separator)
{
    ptrdiff_t at = slice_find_byte(*s, separator);
    struct slice part = *s;
    if (at < 0) {
        *s = slice_from(*s, s->size);
        return part;
    }
    part.size = (size_t)at;
    *s = slice_from(*s, (size_t)at + 1);
    return part;
}

bool slice_to_u64(struct slice s, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (s.size == 0)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, UINT64_C(10), &value)
            || __builtin_add_overflow(value, (uint64_t)(s.data[i] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return true;
}

char *slice_copy(struct slice s)
{
    return mem_copy_bytes(s.data, s.size);
}
