/* The rules of message/compose.h, and that message/read.h reads what was composed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/compose.h"
#include "message/read.h"

#include <stdlib.h>

static struct slice made(struct arena *arena, const struct compose *compose)
{
    struct buf out = {0};
    struct error error;
    assert_true(compose_message(arena, compose, &out, &error));
    assert_true(out.size <= compose_size_max(compose));
    struct slice message = arena_copy(arena, buf_slice(&out));
    buf_finish(&out);
    return message;
}

static void C1_texts_read_back(void **state)
{
    static const char *const texts[] = {"", "plain", " blanks ", "a  b", "tab\there", "=?utf-8?B?eA==?=", "Gr\u00fc\u00dfe", "6 \u0416 \u0416 \u0416 \u0416 \u0416 \u0416 \u0416 \u0416 \u0416 \u0416 \u0416",
                                        "\u65e5\u672c\u8a9e", "\"q\" \\ <a@b>",
                                        "long long long long long long long long long long long long long long long long long text"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct arena arena = {0};
        struct read_message read;
        struct error error;
        struct slice text = slice_of(texts[i]);
        struct compose_file file = {.kind = COMPOSE_ATTACHED, .name = text, .bytes = text};
        struct compose compose = {.subject = text, .plain = text, .html = text, .files = &file, .file_count = 1, .importance = 2};
        assert_true(read_message(&arena, made(&arena, &compose), &read, &error));
        assert_true(slice_equals(read.subject, text));
        assert_true(slice_equals(read.plain, text) && slice_equals(read.html, text));
        assert_int_equal(read.file_count, 1);
        assert_true(slice_equals(read.files[0].name, text) && slice_equals(read.files[0].bytes, text));
        assert_int_equal(read.importance, 2);
        arena_finish(&arena);
    }
}

static void C3_control_characters_are_refused_everywhere(void **state)
{
    static const char *const values[] = {"a\r\nBcc: x", "a\nb", "\x01", "\x7f", "\xC2\x85", "\xFF", "\xED\xA0\x80"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct slice value = slice_of(values[i]);
        struct address address = {.text = SLICE("a@b"), .display = value};
        struct address_list list = {.items = &address, .count = 1};
        struct compose_field field = {SLICE("X-A"), value}, name = {value, SLICE("a")};
        struct compose_file named = {.name = value}, located = {.location = value}, identified = {.id = value};
        const struct compose rows[] = {{.subject = value}, {.from = &list}, {.cc = &list}, {.fields = &field, .field_count = 1},
                                       {.fields = &name, .field_count = 1}, {.files = &named, .file_count = 1},
                                       {.files = &located, .file_count = 1}, {.files = &identified, .file_count = 1},
                                       {.base = value}, {.location = value}, {.calendar_method = value}};
        for (size_t k = 0; k < COUNT_OF(rows); k++) {
            struct arena arena = {0};
            struct buf out = {0};
            struct error error;
            assert_false(compose_message(&arena, &rows[k], &out, &error));
            buf_finish(&out);
            arena_finish(&arena);
        }
    }
}

static void C4_no_line_begins_with_a_dot(void **state)
{
    struct arena arena = {0};
    struct compose compose = {.plain = SLICE(".\n..\n.x\nFrom me\n"), .importance = 1};
    (void)state;
    struct slice message = made(&arena, &compose);
    assert_true(slice_find(message, SLICE("\n.")) < 0 && slice_find(message, SLICE("\nFrom me")) < 0);
    arena_finish(&arena);
}

static void dates_are_read(void **state)
{
    static const struct { const char *text; int64_t ms; } rows[] = {
        {"Thu, 01 Jan 1970 00:00:00 +0000", 0}, {"Tue, 24 Nov 2026 10:00:00 +0000", 1795514400000},
        {"24 Nov 2026 12:00 +0200", 1795514400000}, {"Tue, 24 Nov 26 05:00:00 -0500", 1795514400000}, {"yesterday", 0}, {"", 0}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(read_date(slice_of(rows[i].text)), rows[i].ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(C1_texts_read_back),
        cmocka_unit_test(C3_control_characters_are_refused_everywhere),
        cmocka_unit_test(C4_no_line_begins_with_a_dot),
        cmocka_unit_test(dates_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
