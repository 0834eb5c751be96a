/* Any address list: what is read out of it reads again as itself. */
#include "message/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct address_list list;
    struct error error;
    if (address_list_parse(&arena, slice_make((const char *)data, size), 50, &list, &error))
        for (size_t i = 0; i < list.count; i++) {
            struct address again;
            CHECK(address_parse(&arena, list.items[i].text, &again, &error));
            CHECK(slice_equals(again.text, list.items[i].text));
        }
    arena_finish(&arena);
    return 0;
}
