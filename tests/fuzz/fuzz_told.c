/* What the listener tells the relay, as a listener that was taken over would: each event lies in the packet, and reads again as itself. */
#include "outcome/told.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_make((const char *)data, size);
    struct event event, again;
    for (size_t before = rest.size; told_take(&rest, &event); before = rest.size) {
        struct buf packet = {0};
        CHECK(rest.size < before && event_kind_name(event.kind));
        told_put(&packet, &event);
        struct slice copy = buf_slice(&packet);
        CHECK(told_take(&copy, &again) && copy.size == 0 && again.kind == event.kind && again.code == event.code);
        buf_finish(&packet);
    }
    return 0;
}
