#include "cli/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void an_age_is_numbers_with_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"90s", 90000},
        {"2h", 7200000},
        {"1h30m", 5400000},
        {"250ms", 250},
        {"7d", 604800000},
        {"1w", 604800000},
        {"1m1ms", 60001},
        {"", 0},
        {"5", 0},
        {"h", 0},
        {"2 h", 0},
        {"-2h", 0},
        {"2hours", 0},
        {"0s", 0},
        {"1.5h", 0},
        {"99999999999999999d", 0},
        {"18446744073709551615ms", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t ms = 0;
        assert_int_equal(age_parse(rows[i].text, &ms), rows[i].ms != 0);
        assert_int_equal(ms, rows[i].ms);
    }
}

static void a_size_is_a_number_with_or_without_a_unit(void **state)
{
    static const struct { const char *text; uint64_t size; } rows[] = {
        {"4096", 4096}, {"1B", 1}, {"64KB", 65536}, {"64k", 65536}, {"10MB", 10485760},
        {"2G", 1ULL << 31}, {"", 0}, {"MB", 0}, {"0", 0}, {"-1", 0}, {"1 KB", 0}, {"1KiB", 0},
        {"18446744073709551615", 0}, {"9999999999999GB", 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t size = 0;
        assert_int_equal(size_parse(rows[i].text, &size), rows[i].size != 0);
        assert_int_equal(size, rows[i].size);
    }
}

static void a_terminal_gets_no_control_octets(void **state)
{
    static const struct { struct slice in; const char *out; } rows[] = {
        {{"plain", 5}, "plain"},
        {{"a\r\nb\x1b[2J\x7f\0", 10}, "a\\x0d\\x0ab\\x1b[2J\\x7f\\x00"},
        {{"\xc3\xbc\xe2\x82\xac", 5}, "\xc3\xbc\xe2\x82\xac"},
        {{"\xc2\x9b""31m", 5}, "\\xc2\\x9b31m"},      /* CSI as one character of C1 */
        {{"\xe9\xc3", 2}, "\\xe9\\xc3"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out = {0};
        put_clean(&out, rows[i].in);
        assert_string_equal(buf_text(&out), rows[i].out);
        buf_finish(&out);
    }
}

static void sizes_and_ages_are_short(void **state)
{
    static const struct { uint64_t size; const char *text; } sizes[] = {
        {0, "0"}, {1023, "1023"}, {1024, "1.0K"}, {4300, "4.2K"}, {20480, "20K"},
        {5 << 20, "5.0M"}, {3ULL << 40, "3.0T"}, {1ULL << 60, "1048576T"},
    };
    static const struct { int64_t ms; const char *text; } ages[] = {
        {-5, "0s"}, {999, "0s"}, {45000, "45s"}, {60000, "1m"}, {3599999, "59m"},
        {7500000, "2h05m"}, {273600000, "3d04h"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct buf out = {0};
        put_size(&out, sizes[i].size);
        assert_string_equal(buf_text(&out), sizes[i].text);
        buf_finish(&out);
    }
    for (size_t i = 0; i < COUNT_OF(ages); i++) {
        struct buf out = {0};
        put_age(&out, ages[i].ms);
        assert_string_equal(buf_text(&out), ages[i].text);
        buf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_age_is_numbers_with_units),
        cmocka_unit_test(a_size_is_a_number_with_or_without_a_unit),
        cmocka_unit_test(a_terminal_gets_no_control_octets),
        cmocka_unit_test(sizes_and_ages_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
