/* A PowerMTA config of any bytes is read or refused with a line. */
#include "config/powermta.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct powermta powermta;
    struct error error = {{0}};
    if (powermta_parse(&arena, slice_make((const char *)data, size), &powermta, &error))
        for (size_t i = 0; i < powermta.count; i++)
            CHECK(powermta.items[i].name.size > 0 && powermta.items[i].line > 0);
    else
        CHECK(error.text[0]);
    arena_finish(&arena);
    return 0;
}
