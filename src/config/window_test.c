/* The rules of config/window.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "config/window.h"

#include <stdlib.h>
#include <time.h>

/* Unix milliseconds of a local time. */
static int64_t at(int year, int month, int day, int hour, int minute)
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute, .tm_isdst = -1};
    return (int64_t)mktime(&tm) * 1000;
}

static int64_t next(const char *text, int64_t from)
{
    struct window window;
    struct error error = {{0}};
    if (!window_parse(slice_of(text), &window, &error))
        fail_msg("%s: %s", text, error.text);
    return window_next(&window, from);
}

static void the_next_opening_is_found(void **state)
{
    (void)state;
    static const char office[] = "Mon-Fri 08:00-18:00, Sat/09:30-12:00";
    const int64_t noon = at(2026, 11, 25, 12, 0); /* a Wednesday */
    assert_int_equal(next(office, noon), noon);
    assert_int_equal(next(office, at(2026, 11, 25, 7, 59)), at(2026, 11, 25, 8, 0));
    assert_int_equal(next(office, at(2026, 11, 25, 18, 0)), at(2026, 11, 26, 8, 0));
    assert_int_equal(next(office, at(2026, 11, 27, 20, 0)), at(2026, 11, 28, 9, 30));
    assert_int_equal(next(office, at(2026, 11, 28, 12, 0)), at(2026, 11, 30, 8, 0));
    assert_int_equal(next("Sun 00:00-24:00", noon), at(2026, 11, 29, 0, 0));
    assert_int_equal(next("Wed 11:00-11:30", noon), at(2026, 12, 2, 11, 0));
}

static void a_span_may_go_over_midnight(void **state)
{
    (void)state;
    assert_int_equal(next("22:00-06:00", at(2026, 11, 25, 3, 0)), at(2026, 11, 25, 3, 0));
    assert_int_equal(next("22:00-06:00", at(2026, 11, 25, 6, 0)), at(2026, 11, 25, 22, 0));
    assert_int_equal(next("Fri 22:00-06:00", at(2026, 11, 28, 5, 0)), at(2026, 11, 28, 5, 0));
    assert_int_equal(next("Fri 22:00-06:00", at(2026, 11, 25, 5, 0)), at(2026, 11, 27, 22, 0));
    assert_int_equal(next("Sat-Mon 10:00-11:00", at(2026, 11, 29, 12, 0)), at(2026, 11, 30, 10, 0));
}

static void a_day_with_a_change_of_the_clock_is_the_calendars(void **state)
{
    (void)state;
    assert_int_equal(next("08:00-09:00", at(2026, 3, 28, 10, 0)), at(2026, 3, 29, 8, 0));
    assert_int_equal(next("08:00-09:00", at(2026, 10, 24, 10, 0)), at(2026, 10, 25, 8, 0));
}

static void what_is_no_window_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "Mon", "Mon-Fri", "8-18", "08:00", "08:00-25:00", "24:00-25:00", "Xyz 08:00-09:00",
                                        "Mon 08:00-09:00,", "08:60-09:00", "08:0-09:00", "Mon-Xyz 08:00-09:00"};
    struct window window;
    struct error error;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (i != 8) /* a comma at the end is forgiven */
            assert_false(window_parse(slice_of(texts[i]), &window, &error));
}

static int zone(void **state)
{
    (void)state;
    (void)setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_opening_is_found),
        cmocka_unit_test(a_span_may_go_over_midnight),
        cmocka_unit_test(a_day_with_a_change_of_the_clock_is_the_calendars),
        cmocka_unit_test(what_is_no_window_is_refused),
    };
    return cmocka_run_group_tests(tests, zone, NULL);
}
