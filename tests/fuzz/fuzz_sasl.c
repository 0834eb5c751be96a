/* A server that answers a login with anything: the mechanisms that it offers, then a challenge a line. What is sent is base64 in one line,
 * the password is in no complaint. */
#include "relay/sasl.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_response(const struct buf *out)
{
    for (size_t i = 0; i < out->size; i++)
        CHECK(out->data[i] > ' ' && out->data[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sasl_identity identity = {.user = "user", .password = "pa55word", .host = "mx.test", .port = 587};
    static const struct sasl_identity bearer = {.user = "user", .token = "pa55word", .host = "mx.test", .port = 587};
    const struct sasl_identity *who = size % 4 ? &identity : &bearer;
    struct slice rest = slice_make((const char *)data, size);
    struct error error = {{0}};
    struct buf out = {0};
    struct config_list all = {0};
    bool has_first = false;
    const char *mechanism = sasl_choose(slice_cut(&rest, '\n'), &all, who);
    struct sasl *sasl = mechanism ? sasl_begin(mechanism, who, &out, &has_first, &error) : NULL;
    for (bool is_going = sasl != NULL; is_going && rest.size;) {
        check_response(&out);
        buf_clear(&out);
        is_going = sasl_step(sasl, slice_cut(&rest, '\n'), &out, &error);
        CHECK(is_going || (error.text[0] && !strstr(error.text, "pa55word")));
    }
    if (sasl)
        CHECK(!sasl_complaint(sasl) || !strstr(sasl_complaint(sasl), "pa55word"));
    sasl_end(&sasl);
    buf_finish(&out);
    return 0;
}
