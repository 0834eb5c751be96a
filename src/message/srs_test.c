/* The rules of message/srs.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/srs.h"

#include <stdio.h>
#include <string.h>

#define DAY_MS 86400000LL
#define NOW (20000 * DAY_MS)

static const struct slice secrets[] = {{"new", 3}, {"secret", 6}};
static const struct slice old_secrets[] = {{"secret", 6}};
static const struct srs ours = {secrets, 2, {"fwd.test", 8}, 21}, old = {old_secrets, 1, {"fwd.test", 8}, 21};

static void forth_and_back(void **state)
{
    static const char *const senders[] = {"user@example.com", "a.b+c=d@example.com", "MixedCase@Example.Org", "x@y"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(senders); i++) {
        struct arena arena = {0};
        struct slice made, back;
        struct error error;
        assert_true(srs_forward(&arena, &ours, slice_of(senders[i]), NOW, &made));
        for (int day = 0; day <= 21; day++)
            assert_int_equal(srs_reverse(&arena, &ours, made, NOW + day * DAY_MS, &back, &error), SRS_DONE);
        assert_true(slice_equals(back, slice_of(senders[i])));
        assert_int_equal(srs_reverse(&arena, &ours, made, NOW + 22 * DAY_MS, &back, &error), SRS_BAD);
        assert_non_null(strstr(error.text, "srs_max_age"));
        arena_finish(&arena);
    }
}

static void a_second_forwarder_sends_bounces_to_the_first(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct srs other = {old_secrets, 1, SLICE("other.test"), 21}, third = {secrets, 1, SLICE("third.test"), 21};
    struct slice first, second, last, back;
    struct error error;
    assert_true(srs_forward(&arena, &other, SLICE("user@example.com"), NOW, &first));
    assert_true(srs_forward(&arena, &ours, first, NOW, &second));
    assert_true(slice_starts(second, SLICE("SRS1=")));
    assert_true(srs_forward(&arena, &third, second, NOW, &last));
    assert_int_equal(srs_reverse(&arena, &third, last, NOW, &back, &error), SRS_DONE);
    assert_true(slice_equals(back, first)); /* past the second */
    assert_int_equal(srs_reverse(&arena, &ours, second, NOW, &back, &error), SRS_DONE);
    assert_true(slice_equals(back, first));
    assert_int_equal(srs_reverse(&arena, &other, back, NOW, &back, &error), SRS_DONE);
    assert_true(slice_equals(back, SLICE("user@example.com")));
    arena_finish(&arena);
}

static void what_was_not_made_here_is_refused(void **state)
{
    static const char *const bad[] = {"SRS0=aaaa=AA=example.com=user@fwd.test", "SRS0=@fwd.test", "SRS0=a=b=c@fwd.test", "SRS1=aaaa=x==y@fwd.test",
                                      "SRS0=====@fwd.test", "SRS1======@fwd.test"};
    static const char *const none[] = {"user@fwd.test", "SRS0=aaaa=AA=example.com=user@elsewhere.test", "SRS0@fwd.test", "SRS0x@fwd.test", ""};
    (void)state;
    struct arena arena = {0};
    struct slice made, back;
    struct error error;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_int_equal(srs_reverse(&arena, &ours, slice_of(bad[i]), NOW, &back, &error), i == 1 ? SRS_NONE : SRS_BAD);
    for (size_t i = 0; i < COUNT_OF(none); i++)
        assert_int_equal(srs_reverse(&arena, &ours, slice_of(none[i]), NOW, &back, &error), SRS_NONE);
    assert_true(srs_forward(&arena, &old, SLICE("user@example.com"), NOW, &made));
    assert_int_equal(srs_reverse(&arena, &ours, made, NOW, &back, &error), SRS_DONE); /* an older secret */
    char *changed = arena_text(&arena, made);
    changed[made.size - strlen("user@fwd.test")] = 'x';
    assert_int_equal(srs_reverse(&arena, &ours, slice_of(changed), NOW, &back, &error), SRS_BAD);
    assert_false(srs_forward(&arena, &ours, SLICE("a.very.long.local.part.that.fills.it@a.rather.long.domain.example.com"), NOW, &made));
    assert_false(srs_forward(&arena, &ours, SLICE("user@fwd.test"), NOW, &made));
    assert_false(srs_forward(&arena, &ours, SLICE(""), NOW, &made));
    assert_false(srs_forward(&arena, &ours, SLICE("\"a b\"@example.com"), NOW, &made));
    arena_finish(&arena);
}

static void verp(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct slice made, sender, recipient;
    assert_true(verp_encode(&arena, &ours, SLICE("news@lists.test"), SLICE("jo=e+x@example.com"), &made));
    assert_int_equal(verp_decode(&arena, &ours, made, &sender, &recipient), SRS_DONE);
    assert_true(slice_equals(sender, SLICE("news@lists.test")) && slice_equals(recipient, SLICE("jo=e+x@example.com")));
    assert_int_equal(verp_decode(&arena, &ours, SLICE("news+joe=example.com=AAAAAA@lists.test"), &sender, &recipient), SRS_NONE);
    assert_int_equal(verp_decode(&arena, &ours, SLICE("news+joe@lists.test"), &sender, &recipient), SRS_NONE);
    assert_int_equal(verp_decode(&arena, &ours, SLICE("news@lists.test"), &sender, &recipient), SRS_NONE);
    assert_false(verp_encode(&arena, &ours, SLICE("news@lists.test"), SLICE("a.very.long.local.part.indeed.it.is@a.long.domain.example.com"), &made));
    arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forth_and_back), cmocka_unit_test(a_second_forwarder_sends_bounces_to_the_first),
        cmocka_unit_test(what_was_not_made_here_is_refused), cmocka_unit_test(verp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
