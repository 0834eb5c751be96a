#include "config/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct config_schedule plain = {.retry_ms = {10, 20, 30, 40}, .expire_ms = 1000};

static void intervals_follow_the_attempts_and_the_last_one_stays(void **state)
{
    static const struct { unsigned attempts; int64_t next; } rows[] = {
        {1, 110}, {2, 120}, {3, 130}, {4, 140}, {5, 140}, {4000000000U, 140},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(schedule_next(&plain, rows[i].attempts, 100, 1000, 7), rows[i].next);
}

static void the_last_attempt_is_at_the_end(void **state)
{
    (void)state;
    assert_int_equal(schedule_next(&plain, 4, 100, 120, 0), 120);
    assert_int_equal(schedule_next(&plain, 4, 120, 120, 0), 160); /* at the end itself: the caller gives up */
}

static void pitfall_37_jitter_stays_within_its_percent(void **state)
{
    struct config_schedule jittered = {.retry_ms = {1000, 1000, 1000, 1000}, .jitter_percent = 10};
    int64_t least = INT64_MAX, most = 0;
    (void)state;
    for (uint32_t random = 0; random < 1000; random++) {
        int64_t next = schedule_next(&jittered, 1, 0, INT64_MAX, random * 7919);
        least = next < least ? next : least;
        most = next > most ? next : most;
    }
    assert_true(least >= 900 && least < 910 && most <= 1100 && most > 1090);
}

static void a_bounce_is_given_up_earlier(void **state)
{
    struct config config = {.queue.null_expire_ms = 500};
    (void)state;
    assert_int_equal(schedule_expires(&config, &plain, 50, false), 1050);
    assert_int_equal(schedule_expires(&config, &plain, 50, true), 550);
    config.queue.null_expire_ms = 5000;
    assert_int_equal(schedule_expires(&config, &plain, 50, true), 1050);
}

static void mail_that_waits_goes_on_the_beat_or_at_its_end(void **state)
{
    static const struct { int64_t interval_ms, now_ms, expires_ms, wanted_ms; } rows[] = {
        {0, 100, 1000, 1000}, {300, 100, 1000, 300}, {300, 300, 1000, 600}, {300, 950, 1000, 1000}, {300, 1000, 1000, 1000},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct config_route route = {.etrn_interval_ms = rows[i].interval_ms};
        assert_int_equal(schedule_wait(&route, rows[i].now_ms, rows[i].expires_ms), rows[i].wanted_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_follow_the_attempts_and_the_last_one_stays),
        cmocka_unit_test(the_last_attempt_is_at_the_end),
        cmocka_unit_test(pitfall_37_jitter_stays_within_its_percent),
        cmocka_unit_test(a_bounce_is_given_up_earlier),
        cmocka_unit_test(mail_that_waits_goes_on_the_beat_or_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
