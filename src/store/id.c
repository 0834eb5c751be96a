#include "store/store.h"

#include <inttypes.h>
#include <stdio.h>

enum { ID_DIGITS = 16 };

void store_id_text(uint64_t id, char ret_text[17])
{
    (void)snprintf(ret_text, ID_DIGITS + 1, "%016" PRIx64, id);
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool store_id_parse(struct slice text, uint64_t *ret_id)
{
    uint64_t id = 0;
    if (text.size != ID_DIGITS)
        return false;
    for (size_t i = 0; i < ID_DIGITS; i++) {
        int value = digit_value(text.data[i]);
        if (value < 0)
            return false;
        id = id << 4 | (uint64_t)value;
    }
    if (id == 0 || id > INT64_MAX)
        return false;
    *ret_id = id;
    return true;
}
