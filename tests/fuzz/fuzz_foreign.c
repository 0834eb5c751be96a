/* Files of other relays, of any bytes: what becomes of them begins with the block of envelope lines, as long as it says. */
#include "pickup/foreign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice file = slice_make((const char *)data, size);
    for (int dialect = CONFIG_DIALECT_AUTO; dialect <= CONFIG_DIALECT_RAW; dialect++) {
        struct buf out = {0};
        struct error error = {{0}};
        const char *name = NULL;
        enum foreign_result result = foreign_translate(file, dialect, &out, &name, &error);
        CHECK(result != FOREIGN_DONE || (name && slice_find(buf_slice(&out), SLICE("X-EndOfInjectedXHeaders: ")) > 0));
        CHECK(result != FOREIGN_BAD || error.text[0]);
        buf_clear(&out);
        if (foreign_join(file, file, &out, &error))
            CHECK(slice_starts(buf_slice(&out), SLICE("X-")));
        buf_finish(&out);
    }
    return 0;
}
