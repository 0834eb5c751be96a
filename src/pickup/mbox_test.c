/* The rules of pickup/mbox.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/config.h"
#include "pickup/mbox.h"

#define LINE "From a@b.test Tue Nov 24 04:18:00 2026\n"

static void X1_messages_are_told_apart(void **state)
{
    static const struct { const char *file, *texts[3]; size_t lines[3]; } cases[] = {
        {LINE "A: 1\n\nx\n", {"A: 1\n\nx\n"}, {2}},
        {LINE "A: 1\n\nx\n\n" LINE "B: 2\n\ny\n\n", {"A: 1\n\nx\n", "B: 2\n\ny\n"}, {2, 7}},
        {LINE "A: 1\n\nx\n" LINE "y\n", {"A: 1\n\nx\n" LINE "y\n"}, {2}}, /* no empty line before it */
        {LINE "A: 1\n\nx\n\nFrom here on\n", {"A: 1\n\nx\n\nFrom here on\n"}, {2}},
        {LINE "A: 1\n\n>From me\n>>From you\n> From\n", {"A: 1\n\nFrom me\n>From you\n> From\n"}, {2}},
        {"\n\n" LINE "A: 1\n\nx", {"A: 1\n\nx"}, {4}},
        {"From a@b.test Tue Nov 24 04:18:00 2026\r\nA: 1\r\n\r\nx\r\n\r\nFrom - Wed Nov 25 04:18:00 2026\r\nB: 2\r\n\r\n",
         {"A: 1\r\n\r\nx\r\n", "B: 2\r\n"}, {2, 7}},
        {LINE LINE, {LINE}, {2}},
        {LINE, {""}, {2}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct mbox_message *messages;
        struct error error;
        size_t count, wanted = 0;
        while (wanted < 3 && cases[i].texts[wanted])
            wanted++;
        assert_true(mbox_split(&arena, slice_of(cases[i].file), &messages, &count, &error));
        assert_int_equal(count, wanted);
        for (size_t k = 0; k < count; k++) {
            assert_true(slice_equals(messages[k].text, slice_of(cases[i].texts[k])));
            assert_int_equal(messages[k].line, cases[i].lines[k]);
        }
        arena_finish(&arena);
    }
}

static void what_is_no_mbox_is_said(void **state)
{
    static const char *const bad[] = {"", "\n\n", "A: 1\n\nx\n", "From me\nA: 1\n"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct arena arena = {0};
        struct mbox_message *messages;
        struct error error;
        size_t count;
        assert_false(mbox_split(&arena, slice_of(bad[i]), &messages, &count, &error));
        assert_non_null(strstr(error.text, "mbox"));
        arena_finish(&arena);
    }
}

static void X2_only_what_says_so_is_one(void **state)
{
    (void)state;
    assert_true(mbox_is(SLICE("a.mbox"), CONFIG_DIALECT_AUTO, SLICE(LINE)));
    assert_true(mbox_is(SLICE("a"), CONFIG_DIALECT_MBOX, SLICE("A: 1\n")));
    assert_false(mbox_is(SLICE("a"), CONFIG_DIALECT_AUTO, SLICE(LINE)));
    assert_false(mbox_is(SLICE("a.mbox"), CONFIG_DIALECT_AUTO, SLICE("A: 1\n")));
    assert_false(mbox_is(SLICE("a.mbox"), CONFIG_DIALECT_PLAIN, SLICE(LINE)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(X1_messages_are_told_apart),
        cmocka_unit_test(what_is_no_mbox_is_said),
        cmocka_unit_test(X2_only_what_says_so_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
