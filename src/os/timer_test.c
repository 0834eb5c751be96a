/* Timers under a simulated clock: their order, and that time moves by them alone. */
#include "os/clock.h"
#include "os/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static char went_off[64];
static struct timer *timers[8];

static void on_timer(void *arg)
{
    strcat(went_off, arg);
}

static void on_again(void *arg)
{
    strcat(went_off, "r");
    timer_set(*(struct timer **)arg, 5);
}

static void on_free(void *arg)
{
    strcat(went_off, "f");
    timer_free(arg);
}

static int start(void **state)
{
    (void)state;
    went_off[0] = '\0';
    clock_simulate(1000000000000);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    for (size_t i = 0; i < 8; i++)
        timer_free(&timers[i]);
    return timers_next_ms() == INT64_MAX ? 0 : -1;
}

static void in_order_of_time_then_of_setting(void **state)
{
    static char names[] = "a\0b\0c\0d\0e\0";
    static const int64_t waits_ms[] = {50, 10, 50, 0, 3600 * 1000};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        timers[i] = timer_make(NULL, on_timer, &names[2 * i]);
        timer_set(timers[i], waits_ms[i]);
    }
    timer_set(timers[0], 50); /* anew: behind c */
    int64_t start_ms = clock_mono_ms(), wall_ms = clock_wall_ms();
    while (timers_run(start_ms + 1000))
        ;
    assert_string_equal(went_off, "dbca");
    assert_int_equal(clock_mono_ms() - start_ms, 50);
    assert_int_equal(clock_wall_ms() - wall_ms, 50);
    assert_true(timer_is_set(timers[4]) && !timer_is_set(timers[0]));
    assert_int_equal(timers_next_ms() - start_ms, 3600 * 1000);
    timer_stop(timers[4]);
    assert_false(timers_run(INT64_MAX));
}

static void set_again_and_freed_in_their_own_calls(void **state)
{
    (void)state;
    timers[0] = timer_make(NULL, on_again, &timers[0]);
    timers[1] = timer_make(NULL, on_free, &timers[1]);
    timer_set(timers[0], 4);
    timer_set(timers[1], -7);
    int64_t start_ms = clock_mono_ms();
    for (int i = 0; i < 4; i++)
        assert_true(timers_run(INT64_MAX));
    assert_string_equal(went_off, "frrr");
    assert_null(timers[1]);
    assert_int_equal(clock_mono_ms() - start_ms, 14);
}

static void many_come_in_order(void **state)
{
    enum { COUNT = 500 };
    static char none[] = "";
    struct timer *many[COUNT];
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        many[i] = timer_make(NULL, on_timer, none);
        timer_set(many[i], i * 7919 % 1009);
    }
    for (unsigned i = 0; i < COUNT; i += 3)
        timer_free(&many[i]);
    int64_t last_ms = clock_mono_ms();
    size_t count = 0;
    for (int64_t next_ms; (next_ms = timers_next_ms()) != INT64_MAX; count++) {
        assert_true(next_ms >= last_ms && timers_run(next_ms));
        last_ms = next_ms;
    }
    assert_int_equal(count, COUNT - (COUNT + 2) / 3);
    for (unsigned i = 0; i < COUNT; i++)
        timer_free(&many[i]);
}

static void the_wall_clock_may_be_set_alone(void **state)
{
    (void)state;
    int64_t mono_ms = clock_mono_ms(), wall_ms = clock_wall_ms();
    clock_jump(-5000);
    assert_int_equal(clock_mono_ms(), mono_ms);
    assert_int_equal(clock_wall_ms(), wall_ms - 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_order_of_time_then_of_setting, start, finish),
        cmocka_unit_test_setup_teardown(set_again_and_freed_in_their_own_calls, start, finish),
        cmocka_unit_test_setup_teardown(many_come_in_order, start, finish),
        cmocka_unit_test_setup_teardown(the_wall_clock_may_be_set_alone, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
