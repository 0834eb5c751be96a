/* A main.cf of any bytes is read or refused with a line, and every value expands to an end. */
#include "config/postfix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct postfix postfix;
    struct error error = {{0}};
    if (!postfix_parse(&arena, slice_make((const char *)data, size), &postfix, &error))
        CHECK(error.text[0]);
    else
        for (size_t i = 0; i < postfix.count && i < 20; i++)
            CHECK(!slice_is_absent(postfix_value(&arena, &postfix, postfix.items[i].name)));
    arena_finish(&arena);
    return 0;
}
