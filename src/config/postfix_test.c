/* The rules of config/postfix.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/check.h"
#include "config/postfix.h"

#include <string.h>

static void M1_M2_M3_values_are_joined_overridden_and_expanded(void **state)
{
    static const struct { const char *text, *name, *value; } cases[] = {
        {"a = 1\n", "a", "1"}, {"a=1\n#c\n  2\n\n\t3\nb = x", "a", "1 2 3"}, {"a = 1\na = 2\n", "a", "2"}, {"a =\n", "a", ""},
        {"b = x\na = $b-${b}-$(b)-$c.\n", "a", "x-x-x-."}, {"a = $$b ${c?d}\n", "a", "$b ${c?d}"}, {"a = 1\r\n", "a", "1"},
        {"a = 1\n", "b", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct postfix postfix;
        struct error error;
        assert_true(postfix_parse(&arena, slice_of(cases[i].text), &postfix, &error));
        struct slice value = postfix_value(&arena, &postfix, slice_of(cases[i].name));
        if (cases[i].value)
            assert_true(slice_equals(value, slice_of(cases[i].value)));
        else
            assert_true(slice_is_absent(value));
        arena_finish(&arena);
    }
}

static void M3_loops_come_to_an_end(void **state)
{
    static const char *const texts[] = {"a = $a", "a = $a$a$a$a", "a = x$b$b\nb = $a$a$a"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct arena arena = {0};
        struct postfix postfix;
        struct error error;
        assert_true(postfix_parse(&arena, slice_of(texts[i]), &postfix, &error));
        assert_false(slice_is_absent(postfix_value(&arena, &postfix, SLICE("a"))));
        arena_finish(&arena);
    }
}

static void what_is_no_parameter_is_refused_with_its_line(void **state)
{
    static const struct { const char *text, *reason; } cases[] = {
        {"a = 1\nnothing\n", "line 2:"}, {"a b = 1\n", "line 1:"}, {" = 1\n", "line 1:"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct postfix postfix;
        struct error error;
        assert_false(postfix_parse(&arena, slice_of(cases[i].text), &postfix, &error));
        assert_true(slice_starts(slice_of(error.text), slice_of(cases[i].reason)));
        arena_finish(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(M1_M2_M3_values_are_joined_overridden_and_expanded),
        cmocka_unit_test(M3_loops_come_to_an_end),
        cmocka_unit_test(what_is_no_parameter_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
