/* Events through the link: what goes in comes out, and nothing but the listener's comes out of any octets. */
#include "outcome/told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct event sample(void)
{
    struct event event = EVENT(EVENT_ACCEPTED);
    event.pickup = SLICE("x.eml");
    event.client = SLICE("192.0.2.1");
    event.user = SLICE("");
    event.recipients = 3;
    event.code = 250;
    return event;
}

static void what_goes_in_comes_out(void **state)
{
    struct buf packet = {0};
    struct event event = sample(), got;
    (void)state;
    told_put(&packet, &event);
    told_put(&packet, &event);
    struct slice rest = buf_slice(&packet);
    for (int i = 0; i < 2; i++) {
        assert_true(told_take(&rest, &got));
        assert_true(got.kind == EVENT_ACCEPTED && slice_equals(got.pickup, event.pickup) && slice_equals(got.client, event.client));
        assert_true(slice_is_absent(got.helo) && !slice_is_absent(got.user) && got.recipients == 3 && got.code == 250);
    }
    assert_false(told_take(&rest, &got));
    buf_finish(&packet);
}

static void a_delivery_can_not_be_made_up(void **state)
{
    (void)state;
    for (int kind = 0; kind < 256; kind++) {
        struct buf packet = {0};
        struct event event = sample(), got;
        event.kind = (enum event_kind)kind;
        told_put(&packet, &event);
        struct slice rest = buf_slice(&packet);
        assert_int_equal(told_take(&rest, &got), kind >= EVENT_TURNED_AWAY && kind <= EVENT_COMMAND);
        buf_finish(&packet);
    }
    assert_true(EVENT_DELIVERED < EVENT_TURNED_AWAY && EVENT_TAKEN < EVENT_TURNED_AWAY && EVENT_DONE > EVENT_COMMAND);
}

static void cut_short_it_is_no_event(void **state)
{
    struct buf packet = {0};
    struct event event = sample(), got;
    (void)state;
    told_put(&packet, &event);
    for (size_t size = 0; size < packet.size; size++) {
        char *copy = slice_copy(slice_make(packet.data, size)); /* the sanitizer sees a read behind its end */
        struct slice rest = slice_make(copy, size);
        assert_false(told_take(&rest, &got));
        free(copy);
    }
    buf_finish(&packet);
}

static void long_texts_are_cut(void **state)
{
    static char big[100000];
    struct buf packet = {0};
    struct event event = sample(), got;
    (void)state;
    event.reason = event.reply = event.note = event.helo = slice_make(big, sizeof big);
    told_put(&packet, &event);
    assert_true(packet.size < TOLD_SIZE_MAX);
    struct slice rest = buf_slice(&packet);
    assert_true(told_take(&rest, &got) && got.reason.size == TOLD_TEXT_SIZE_MAX);
    buf_finish(&packet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_goes_in_comes_out),
        cmocka_unit_test(a_delivery_can_not_be_made_up),
        cmocka_unit_test(cut_short_it_is_no_event),
        cmocka_unit_test(long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
