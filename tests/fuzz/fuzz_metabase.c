/* Any bytes as a MetaBase.xml, and its IP lists. */
#include "config/metabase.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct metabase metabase;
    struct metabase_ip_list list;
    struct error error = {{0}};
    struct slice bytes = slice_make((const char *)data, size);
    if (!metabase_parse(&arena, bytes, &metabase, &error)) {
        CHECK(error.text[0]);
    } else {
        for (size_t i = 0; i < metabase.count; i++)
            for (size_t k = 0; k < metabase.nodes[i].count; k++)
                (void)!metabase_ip_list(&arena, metabase.nodes[i].properties[k].value, &list, &error);
    }
    (void)!metabase_ip_list(&arena, bytes, &list, &error);
    arena_finish(&arena);
    return 0;
}
