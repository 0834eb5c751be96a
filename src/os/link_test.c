/* The link: packets whole and in order, for whichever process holds the end when it reads. */
#include "os/link.h"

#include "base/buf.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void gather(void *arg, struct slice packet)
{
    buf_append(arg, packet);
    buf_append_byte(arg, '|');
}

/* link_attach() closes the other end, so each gets descriptors of its own, as after a fork. */
static struct link *attach(const struct link_pair *pair, enum link_end end, struct event_base *base, struct buf *heard)
{
    struct link_pair copy = {{dup(pair->fds[0]), dup(pair->fds[1])}};
    struct error error;
    struct link *link = link_attach(&copy, end, base, gather, heard, &error);
    assert_non_null(link);
    return link;
}

static void what_is_sent_while_nobody_reads_waits_for_the_next_process(void **state)
{
    struct link_pair pair;
    struct error error;
    struct buf first = {0}, second = {0}, back = {0};
    (void)state;
    struct event_base *base = event_base_new();
    assert_true(link_make(&pair, &error));
    struct link *listener = attach(&pair, LINK_LISTENER, base, &back);
    struct link *relay = attach(&pair, LINK_RELAY, base, &first);
    assert_true(link_send(listener, SLICE("one")));
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    link_stop(relay);
    assert_true(link_send(listener, SLICE("two")) && link_send(listener, SLICE("three")));
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    link_close(&relay);
    relay = attach(&pair, LINK_RELAY, base, &second);
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    assert_string_equal(buf_text(&first), "one|");
    assert_string_equal(buf_text(&second), "two|three|");
    assert_true(link_send(relay, SLICE("answer")));
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    assert_string_equal(buf_text(&back), "answer|");
    link_close(&relay);
    link_close(&listener);
    link_leave(&pair);
    event_base_free(base);
    buf_finish(&first);
    buf_finish(&second);
    buf_finish(&back);
}

static void a_full_link_refuses_and_waits_for_nobody(void **state)
{
    static char big[LINK_SIZE_MAX];
    struct link_pair pair;
    struct error error;
    struct buf back = {0};
    size_t count = 0;
    (void)state;
    struct event_base *base = event_base_new();
    assert_true(link_make(&pair, &error));
    struct link *listener = attach(&pair, LINK_LISTENER, base, &back);
    while (count < 100000 && link_send(listener, slice_make(big, sizeof big)))
        count++;
    assert_true(count > 2 && count < 100000);
    link_close(&listener);
    link_leave(&pair);
    event_base_free(base);
    buf_finish(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_while_nobody_reads_waits_for_the_next_process),
        cmocka_unit_test(a_full_link_refuses_and_waits_for_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
