/* The rules of message/trace.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/trace.h"

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN "00f067aa0ba902b7"

static void T1_what_is_a_traceparent(void **state)
{
    static const struct { const char *value, *kept; } cases[] = {
        {"00-" TRACE "-" SPAN "-01", TRACE "-" SPAN "-01"},
        {" 00-" TRACE "-" SPAN "-00\r\n", TRACE "-" SPAN "-00"},
        {"cc-" TRACE "-" SPAN "-01", TRACE "-" SPAN "-01"},
        {"cc-" TRACE "-" SPAN "-01-what-comes-later", TRACE "-" SPAN "-01"},
        {"cc-" TRACE "-" SPAN "-01what", NULL},
        {"00-" TRACE "-" SPAN "-01-more", NULL},
        {"ff-" TRACE "-" SPAN "-01", NULL},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", NULL},
        {"00-00000000000000000000000000000000-" SPAN "-01", NULL},
        {"00-" TRACE "-0000000000000000-01", NULL},
        {"00-" TRACE "-" SPAN "-0", NULL},
        {"00-" TRACE "-" SPAN "-0g", NULL},
        {"00_" TRACE "-" SPAN "-01", NULL},
        {"0-0" TRACE "-" SPAN "-01", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct slice kept = SLICE_NONE;
        bool is_one = trace_of_header(slice_of(cases[i].value), &kept);
        assert_int_equal(is_one, cases[i].kept != NULL);
        assert_true(slice_equals(kept, slice_of(cases[i].kept)));
    }
}

static void what_is_kept_is_read_again(void **state)
{
    struct trace trace;
    (void)state;
    assert_true(trace_read(SLICE(TRACE "-" SPAN "-01"), &trace));
    assert_true(slice_equals(trace.id, SLICE(TRACE)) && slice_equals(trace.parent, SLICE(SPAN)) && trace.is_recorded);
    assert_true(trace_read(SLICE(TRACE "-fe"), &trace));
    assert_true(slice_is_absent(trace.parent) && !trace.is_recorded); /* T2 */
    assert_true(trace_read(SLICE(TRACE "-0b"), &trace) && trace.is_recorded);
    assert_false(trace_read(SLICE(TRACE), &trace));
    assert_false(trace_read(SLICE(TRACE "-" SPAN "-"), &trace));
    assert_false(trace_read(SLICE("x-01"), &trace));
    assert_false(trace_read(SLICE(""), &trace));
}

static void T3_ids_are_the_same_for_the_same(void **state)
{
    char a[TRACE_ID_SIZE + 1], b[TRACE_ID_SIZE + 1], one[TRACE_SPAN_SIZE + 1], other[TRACE_SPAN_SIZE + 1];
    (void)state;
    trace_make(SLICE("a.test"), 7, a);
    trace_make(SLICE("a.test"), 7, b);
    assert_string_equal(a, b);
    trace_make(SLICE("b.test"), 7, b);
    assert_string_not_equal(a, b);
    trace_make(SLICE("a.test"), 8, b);
    assert_string_not_equal(a, b);
    trace_make_span(7, SLICE("message"), one);
    trace_make_span(7, SLICE("take"), other);
    assert_string_not_equal(one, other);
    assert_int_equal(strlen(a), TRACE_ID_SIZE);
    assert_int_equal(strlen(one), TRACE_SPAN_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(T1_what_is_a_traceparent),
        cmocka_unit_test(what_is_kept_is_read_again),
        cmocka_unit_test(T3_ids_are_the_same_for_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
