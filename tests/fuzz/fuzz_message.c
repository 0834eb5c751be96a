/* A pickup file of any bytes: header, envelope, content, conversion. Whatever is built has canonical lines of at most 998 octets,
 * and every recipient is free of control octets. */
#include "message/content.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(struct slice bytes)
{
    for (size_t i = 0, start = 0; i < bytes.size; i++) {
        if (bytes.data[i] == '\n') {
            CHECK(i > start && bytes.data[i - 1] == '\r' && i - 1 - start <= 998);
            start = i + 1;
        } else if (bytes.data[i] == '\r') {
            CHECK(i + 1 < bytes.size && bytes.data[i + 1] == '\n');
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct buf out = {0}, converted = {0};
    struct slice file = slice_make((const char *)data, size);
    struct header_limits limits = {64 * 1024, 1000};
    struct envelope_options options = {.default_domain = SLICE("here.example"), .recipient_count_max = 100,
                                       .x_lines_anywhere = size % 2 == 0};
    struct content_stamp stamp = {.host = SLICE("mail.example"), .pickup_name = SLICE("a"), .owner = SLICE("b"),
                                  .queue_id = SLICE("0123456789abcdef"), .hop_count_max = 100,
                                  .dots = (enum content_dots)(size % 3)};
    struct header header;
    struct envelope envelope;
    struct content_facts facts;
    struct error error;
    if (header_scan(&arena, file, &limits, &header, &error)
        && envelope_find(&arena, file, &header, &options, &envelope, &error)) {
        for (size_t i = 0; i < envelope.recipient_count; i++)
            for (size_t k = 0; k < envelope.recipients[i].address.text.size; k++)
                CHECK((unsigned char)envelope.recipients[i].address.text.data[k] >= 0x20);
        if (content_build(&arena, file, &header, &envelope, &stamp, &out, &facts, &error) == CONTENT_DONE) {
            check_lines(buf_slice(&out));
            CHECK(slice_find_byte(buf_slice(&out), '\0') < 0);
            if (content_to_7bit(&arena, buf_slice(&out), &converted, &error))
                CHECK(!slice_has_8bit(buf_slice(&converted)));
            check_lines(buf_slice(&converted));
        }
    }
    buf_finish(&out);
    buf_finish(&converted);
    arena_finish(&arena);
    return 0;
}
