#include "base/utf8.h"

static bool is_tail(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

size_t utf8_sequence(struct slice s)
{
    if (s.size == 0)
        return 0;
    const unsigned char *c = (const unsigned char *)s.data;
    if (c[0] < 0x80)
        return 1;
    if (c[0] >= 0xC2 && c[0] <= 0xDF)
        return s.size >= 2 && is_tail(c[1]) ? 2 : 0;
    if (c[0] >= 0xE0 && c[0] <= 0xEF) {
        if (s.size < 3 || !is_tail(c[1]) || !is_tail(c[2]))
            return 0;
        if ((c[0] == 0xE0 && c[1] < 0xA0) || (c[0] == 0xED && c[1] > 0x9F))
            return 0;
        return 3;
    }
    if (c[0] >= 0xF0 && c[0] <= 0xF4) {
        if (s.size < 4 || !is_tail(c[1]) || !is_tail(c[2]) || !is_tail(c[3]))
            return 0;
        if ((c[0] == 0xF0 && c[1] < 0x90) || (c[0] == 0xF4 && c[1] > 0x8F))
            return 0;
        return 4;
    }
    return 0;
}

bool utf8_is_valid(struct slice s)
{
    for (size_t i = 0; i < s.size;) {
        size_t length = utf8_sequence(slice_from(s, i));
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}
