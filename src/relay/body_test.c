#include "relay/body.h"

#include "message/content.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const messages[] = {
    ".\r\n", "..\r\n", "a\r\n.b\r\n..c\r\n.\r\n", "a.b\r\nc\r\n", "x\r\n\r\n.\r\n\r\n.", "no end", ".", "\r\n.\r\n",
};

static void pitfall_2_stuffing_is_the_same_in_pieces_of_every_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        struct slice message = slice_of(messages[i]);
        for (size_t size = 1; size <= message.size + 1; size++) {
            struct body body = {.rest = message, .is_stuffed = true};
            struct buf whole = {0}, pieces = {0};
            while (!body.is_done)
                body_piece(&body, size, &pieces);
            if (slice_ends_nocase(message, SLICE("\r\n"))) {
                content_dot_stuff(message, &whole); /* the other way to the same octets */
                assert_true(slice_equals(buf_slice(&whole), buf_slice(&pieces)));
            }
            assert_true(slice_ends_nocase(buf_slice(&pieces), SLICE("\r\n.\r\n")));
            buf_finish(&whole);
            buf_finish(&pieces);
        }
    }
}

static void bdat_goes_as_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        struct body body = {.rest = slice_of(messages[i])};
        struct buf out = {0};
        while (!body.is_done)
            body_piece(&body, 3, &out);
        assert_true(slice_equals(slice_of(messages[i]), buf_slice(&out)));
        buf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_2_stuffing_is_the_same_in_pieces_of_every_size),
        cmocka_unit_test(bdat_goes_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
