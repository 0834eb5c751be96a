/* An address that comes back: what no secret of ours made is no sender; what we make leads back. */
#include "message/srs.h"

#include "base/check.h"
#include "message/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct slice secrets[] = {{"secret", 6}};
    const struct srs srs = {secrets, 1, SLICE("me.test"), 21};
    const int64_t now_ms = 1700000000000;
    struct arena arena = {0};
    struct slice text = slice_make((const char *)data, size), sender, recipient, made;
    struct address address;
    struct error error = {{0}};
    enum srs_result result = srs_reverse(&arena, &srs, text, now_ms, &sender, &error);
    CHECK(result != SRS_BAD || error.text[0]);
    CHECK(result != SRS_DONE || sender.size > 0);
    (void)verp_decode(&arena, &srs, text, &sender, &recipient);
    if (address_parse(&arena, text, &address, &error) && address.text.data[0] != '"' && srs_forward(&arena, &srs, address.text, now_ms, &made))
        CHECK(srs_reverse(&arena, &srs, made, now_ms, &sender, &error) == SRS_DONE);
    arena_finish(&arena);
    return 0;
}
