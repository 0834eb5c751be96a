/* The rules of relay/pace.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "relay/pace.h"

#include <stdlib.h>

#define NOW (1790000000000LL / 86400000 * 86400000) /* the beginning of a day */
#define DAY_MS 86400000LL

static const struct config_rates rates = {{{10, 1000}, {100, 3600000}}, 2};

static int64_t wait_of(const struct pace *pace, const struct pace_limits *limits, int64_t now_ms)
{
    char limit[64];
    return pace_wait_ms(pace, limits, now_ms, limit);
}

/* As fast as the limits let; never more than N in any span. */
static void J1_no_span_holds_more_than_its_rate(void **state)
{
    (void)state;
    enum { MESSAGES = 450 };
    struct pace pace = {0};
    struct pace_limits limits = {.rates = &rates, .connections_max = 5, .tune_interval_ms = 60000};
    int64_t *sent = calloc(MESSAGES, sizeof *sent), now_ms = NOW;
    for (size_t i = 0; i < MESSAGES; i++) {
        for (int64_t wait_ms; (wait_ms = wait_of(&pace, &limits, now_ms)) > 0;)
            now_ms += wait_ms;
        pace_take(&pace, &limits, now_ms);
        sent[i] = now_ms;
    }
    for (size_t i = 0; i + 10 < MESSAGES; i++)
        assert_true(sent[i + 10] - sent[i] >= 900); /* 10 in 1 s; the fading share is a mean, so 10% */
    for (size_t i = 0; i + 100 < MESSAGES; i++)
        assert_true(sent[i + 100] - sent[i] >= 3600000 * 9 / 10);
    assert_true(sent[9] == NOW);
    assert_true(now_ms - NOW < 5 * 3600000LL);
    free(sent);
}

static void J1_a_clock_that_jumps_back_blocks_nothing(void **state)
{
    (void)state;
    struct pace pace = {0};
    struct pace_limits limits = {.rates = &rates, .tune_interval_ms = 60000};
    for (size_t i = 0; i < 10; i++)
        pace_take(&pace, &limits, NOW);
    assert_true(wait_of(&pace, &limits, NOW) > 0);
    assert_int_equal(wait_of(&pace, &limits, NOW - DAY_MS), 0);
}

static void J2_J3_halves_and_rises(void **state)
{
    (void)state;
    struct pace pace = {0};
    struct pace_limits limits = {.connections_max = 8, .tune_interval_ms = 60000};
    char change[128];
    assert_true(pace_complained(&pace, 8, false, 60000, SLICE("421 too many"), NOW, change));
    assert_string_equal(change, "connections 8 -> 4, rests for 1m");
    assert_string_equal(pace.cause, "421 too many");
    assert_false(pace_complained(&pace, 8, false, 60000, SLICE("421 too many"), NOW + 100, change)); /* the same cause */
    assert_true(pace_complained(&pace, 1, false, 0, SLICE("x"), NOW + 10000, change));
    assert_string_equal(change, "1 connection, 1 message each 1000ms");
    assert_true(pace_complained(&pace, 1, false, 0, SLICE("x"), NOW + 20000, change));
    assert_int_equal(pace.interval_ms, 2000);
    assert_false(pace_delivered(&pace, &limits, NOW + 30000, change)); /* too soon */
    assert_true(pace_delivered(&pace, &limits, NOW + 81000, change));
    assert_string_equal(change, "1 message each 2000ms -> each 1666ms");
    int64_t now_ms = NOW + 81000;
    size_t changes = 0;
    while (pace.interval_ms || pace.connections) {
        now_ms += 60000;
        assert_true(pace_delivered(&pace, &limits, now_ms, change));
        assert_true(++changes < 400);
    }
    assert_string_equal(change, "connections 7 -> 8, as configured");
    assert_true(pace_is_plain(&pace, now_ms + DAY_MS));
}

static void J4_rests_double_and_refusals_open_the_circuit(void **state)
{
    (void)state;
    struct pace pace = {0};
    struct pace_limits limits = {.connections_max = 8, .tune_interval_ms = 60000};
    char change[128];
    int64_t now_ms = NOW;
    for (size_t i = 0; i < 10; i++) {
        now_ms += 10000;
        assert_true(pace_complained(&pace, 1, false, 60000, SLICE("x"), now_ms, change));
        int64_t wanted = 60000LL << i;
        assert_int_equal(pace.rests_until_ms - now_ms, wanted < PACE_REST_MAX_MS ? wanted : PACE_REST_MAX_MS);
    }
    pace = (struct pace){0};
    assert_false(pace_complained(&pace, 1, true, 900000, SLICE("550 listed"), NOW, change));
    (void)pace_delivered(&pace, &limits, NOW, change);
    assert_false(pace_complained(&pace, 1, true, 900000, SLICE("550 listed"), NOW, change));
    assert_false(pace_complained(&pace, 1, true, 900000, SLICE("550 listed"), NOW, change));
    assert_true(pace_complained(&pace, 1, true, 900000, SLICE("550 listed"), NOW, change));
    assert_string_equal(change, "rests for 15m");
}

static void J5_what_is_kept_comes_back(void **state)
{
    (void)state;
    struct pace pace = {.connections = 3, .interval_ms = 1500, .rests_until_ms = NOW + 5, .no_ipv6_until_ms = NOW + 7, .complaints = 2,
                        .first_ms = NOW, .day = {DAY_MS, NOW, 4, 0}, .cause = "421 x"};
    struct pace back = {0}, junk = {0};
    struct pace_limits limits = {.rates = &rates};
    pace_take(&pace, &limits, NOW + 1);
    json_t *json = pace_to_json(&pace), *bad = json_pack("{s:i, s:s, s:[s]}", "connections", -4, "interval_ms", "x", "counts", "y");
    pace_from_json(&back, json);
    assert_memory_equal(&pace.connections, &back.connections, offsetof(struct pace, hh) - offsetof(struct pace, connections));
    pace_from_json(&junk, bad);
    assert_true(pace_is_plain(&junk, NOW));
    json_decref(json);
    json_decref(bad);
}

static void J6_a_warm_up_goes_day_by_day(void **state)
{
    (void)state;
    static int numbers[] = {2, 5};
    struct config_warmup warmup = {numbers, 2};
    struct pace pace = {0};
    struct pace_limits limits = {.warmup = &warmup};
    static const struct { int64_t at_ms; int most; } days[] = {{NOW + 3600000, 2}, {NOW + DAY_MS, 5}, {NOW + 2 * DAY_MS, 100}};
    for (size_t day = 0; day < COUNT_OF(days); day++) {
        int count = 0;
        while (count < 100 && wait_of(&pace, &limits, days[day].at_ms) == 0) {
            pace_take(&pace, &limits, days[day].at_ms);
            count++;
        }
        assert_int_equal(count, days[day].most);
    }
    pace = (struct pace){.first_ms = NOW, .day = {DAY_MS, NOW, 2, 0}};
    assert_int_equal(wait_of(&pace, &limits, NOW + 3600000), DAY_MS - 3600000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(J1_no_span_holds_more_than_its_rate), cmocka_unit_test(J1_a_clock_that_jumps_back_blocks_nothing),
        cmocka_unit_test(J2_J3_halves_and_rises), cmocka_unit_test(J4_rests_double_and_refusals_open_the_circuit),
        cmocka_unit_test(J5_what_is_kept_comes_back), cmocka_unit_test(J6_a_warm_up_goes_day_by_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
