/* Any values: the message composed of them has only whole CRLF lines of at most 998 octets, none that begins with a dot, and reads
 * back as the values; or the values are refused. Fields are parted by 0xFF, which no UTF-8 holds. */
#include "message/compose.h"

#include "message/content_private.h"
#include "message/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(struct slice message)
{
    while (message.size) {
        struct slice line = slice_cut(&message, '\n');
        if (line.size && line.data[line.size - 1] == '\r')
            line.size--;
        else
            CHECK(message.size == 0);
        CHECK(line.size <= 998 && slice_find_byte(line, '\r') < 0 && (line.size == 0 || line.data[0] != '.'));
    }
}

static void check_text(struct slice wanted, struct slice got)
{
    struct buf canonical = {0};
    body_canonical(wanted, BODY_DOTS_KEEP, false, &canonical);
    struct slice text = buf_slice(&canonical);
    while (text.size && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
        text.size--;
    while (got.size && (got.data[got.size - 1] == '\n' || got.data[got.size - 1] == '\r'))
        got.size--;
    CHECK(slice_equals(text, got));
    buf_finish(&canonical);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_make((const char *)data, size);
    struct slice display = slice_cut(&input, '\xFF'), subject = slice_cut(&input, '\xFF'), name = slice_cut(&input, '\xFF');
    struct slice plain = slice_cut(&input, '\xFF'), html = slice_cut(&input, '\xFF'), value = slice_cut(&input, '\xFF');
    struct address sender = {.text = SLICE("a@b.test"), .local = SLICE("a"), .domain = SLICE("b.test"), .display = display};
    struct address_list from = {.items = &sender, .count = 1};
    struct compose_file file = {.kind = size % 2 ? COMPOSE_INLINE : COMPOSE_ATTACHED, .name = name, .bytes = input};
    struct compose_field field = {SLICE("X-Field"), value};
    struct compose compose = {.from = &from, .subject = subject, .fields = &field, .field_count = 1, .plain = plain, .html = html,
                              .files = &file, .file_count = 1, .importance = 1};
    struct arena arena = {0};
    struct buf out = {0};
    struct error error;
    struct read_message read;
    if (compose_message(&arena, &compose, &out, &error)) {
        CHECK(out.size <= compose_size_max(&compose));
        check_lines(buf_slice(&out));
        CHECK(read_message(&arena, buf_slice(&out), &read, &error));
        CHECK(slice_equals(read.subject, subject));
        check_text(plain, read.plain);
        check_text(html, read.html);
        CHECK(read.file_count == 1 && slice_equals(read.files[0].bytes, input));
        CHECK(slice_equals(read.files[0].name, name));
    }
    buf_finish(&out);
    arena_finish(&arena);
    return 0;
}
