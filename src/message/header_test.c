/* The rules of message/header.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/header.h"

#include <stdlib.h>

static const struct header_limits limits = {4096, 100};

static void fields_cover_every_octet_before_the_body(void **state)
{
    static const struct { const char *file; size_t count; const char *body; bool has_separator; } cases[] = {
        {"A: 1\r\nB: 2\r\n\r\nbody", 2, "body", true},
        {"A: 1\nB: 2\n\nbody", 2, "body", true},
        {"A: 1\nB : 2\n folded\n\ttwice\r\n\nbody\n", 2, "body\n", true},
        {"A: 1", 1, "", false},
        {"A: 1\nno field here\n", 1, "no field here\n", false},
        {"From a@b Tue Nov 24\nA: 1\n\nx", 1, "x", true},
        {"\xEF\xBB\xBF""A: 1\n\nx", 1, "x", true},
        {"A:\n\n", 1, "", true},
        {"A: 1\r\rB: 2\r\n\r\n", 1, "", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct header header;
        struct error error;
        struct slice file = slice_of(cases[i].file);
        assert_true(header_scan(&arena, file, &limits, &header, &error));
        assert_int_equal(header.count, cases[i].count);
        assert_int_equal(header.has_separator, cases[i].has_separator);
        assert_true(slice_equals(slice_from(file, header.body_offset), slice_of(cases[i].body)));
        size_t fields = header.mbox_line.size;
        for (size_t f = 0; f < header.count; f++)
            fields += header.fields[f].raw.size;
        size_t front = slice_starts(file, SLICE("\xEF\xBB\xBF")) ? 3 : 0;
        size_t blank = header.has_separator ? (file.data[header.body_offset - 2] == '\r' ? 2 : 1) : 0;
        assert_int_equal(front + fields + blank, header.body_offset);
        arena_finish(&arena);
    }
}

static void what_is_no_header_is_refused_with_the_line(void **state)
{
    static const struct { struct slice file; const char *reason; } cases[] = {
        {SLICE("\r\nA: 1\r\n\r\n"), "line 1: empty"},
        {SLICE("\n\n\n"), "line 1: nothing but blank"},
        {SLICE("\xFF\xFE" "A\0:\0"), "line 1: UTF-16"},
        {SLICE("A: 1\nB: \0\n\n"), "line 2: NUL"},
        {SLICE("hello world\n"), "line 1: no header"},
        {SLICE(" folded: first\n"), "line 1: begins with a blank"},
        {SLICE("From a@b\n"), "line 2: no header field"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct header header;
        struct error error;
        assert_false(header_scan(&arena, cases[i].file, &limits, &header, &error));
        assert_memory_equal(error.text, cases[i].reason, strlen(cases[i].reason));
        arena_finish(&arena);
    }
}

static void header_over_a_limit_is_refused_and_at_it_taken(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct header header;
    struct error error;
    static char file[200];
    memset(file, 'x', sizeof file);
    memcpy(file, "A: ", 3);
    memcpy(file + 98, "\n\n", 2);
    struct header_limits exact = {100, 1}, small = {99, 1};
    assert_true(header_scan(&arena, slice_make(file, sizeof file), &exact, &header, &error));
    assert_false(header_scan(&arena, slice_make(file, sizeof file), &small, &header, &error));
    assert_false(header_scan(&arena, SLICE("A: 1\nB: 2\n\n"), &exact, &header, &error));
    arena_finish(&arena);
}

static void names_match_without_case_and_values_unfold(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct header header;
    struct error error;
    assert_true(header_scan(&arena, SLICE("SUBJECT: a\r\n b\r\n\tc\r\nsubject:d\r\n\r\n"), &limits, &header, &error));
    const struct header_field *first = header_find(&header, SLICE("Subject"), 0);
    assert_non_null(first);
    assert_true(slice_equals(header_unfold(&arena, first->value), SLICE("a b\tc")));
    assert_int_equal(header_count(&header, SLICE("Subject")), 2);
    assert_int_equal(header_find(&header, SLICE("Subject"), 1)->line, 4);
    assert_null(header_find(&header, SLICE("To"), 0));
    arena_finish(&arena);
}

static void receivers_are_no_part_of_what_is_limited(void **state)
{
    static const char fields[] = "X-Receiver: <anna@example.com>\r\nA: 1\r\nX-RECEIVER: <ben@example.com>\r\n NOTIFY=NEVER\r\nB: 2\r\n\r\n";
    static const struct header_limits all = {14, 2, 2}, fewer = {1000, 2, 1}, smaller = {13, 2, 2};
    struct arena arena = {0};
    struct header header;
    struct error error;
    (void)state;
    assert_true(header_scan(&arena, slice_of(fields), &all, &header, &error));
    assert_int_equal(header.count, 4);
    assert_false(header_scan(&arena, slice_of(fields), &fewer, &header, &error));
    assert_non_null(strstr(error.text, "line 5: header too large: more than 2 fields"));
    assert_false(header_scan(&arena, slice_of(fields), &smaller, &header, &error));
    assert_non_null(strstr(error.text, "over 13 octets"));
    arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_cover_every_octet_before_the_body),
        cmocka_unit_test(what_is_no_header_is_refused_with_the_line),
        cmocka_unit_test(header_over_a_limit_is_refused_and_at_it_taken),
        cmocka_unit_test(receivers_are_no_part_of_what_is_limited),
        cmocka_unit_test(names_match_without_case_and_values_unfold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
