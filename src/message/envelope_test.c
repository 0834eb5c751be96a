/* The rules of message/envelope.h: who sends, who receives, and what is no single message. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "message/envelope.h"

#include <stdio.h>

static const struct header_limits limits = {100000, 1000};
static struct envelope_options options;

static bool find(struct arena *arena, const char *file, struct envelope *envelope, struct error *error)
{
    struct header header;
    options.default_domain = SLICE("here.example");
    options.recipient_count_max = 10;
    return header_scan(arena, slice_of(file), &limits, &header, error)
           && envelope_find(arena, slice_of(file), &header, &options, envelope, error);
}

struct row { const char *file, *sender, *recipients; };

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct arena arena = {0};
        struct envelope envelope;
        struct error error = {{0}};
        struct buf all = {0};
        assert_true(find(&arena, rows[i].file, &envelope, &error));
        for (size_t k = 0; k < envelope.recipient_count; k++)
            buf_printf(&all, "%s%.*s", k ? " " : "", SLICE_FMT(envelope.recipients[k].address.text));
        assert_string_equal(buf_text(&all), rows[i].recipients);
        assert_true(slice_equals(envelope.sender.text, slice_of(rows[i].sender)));
        buf_finish(&all);
        arena_finish(&arena);
    }
}

static void E1_E2_lines_beat_headers_and_sender_beats_from(void **state)
{
    static const struct row rows[] = {
        {"From: a@x\nTo: b@y\n\n", "a@x", "b@y"},
        {"From: a@x\nSender: s@x\nTo: b@y\nCc: c@y\nBcc: d@y\nBcc: e@y\n\n", "s@x", "b@y c@y d@y e@y"},
        {"X-Sender: <r@x>\nX-Receiver: <q@y>\nFrom: a@x\nTo: b@y\nBcc: d@y\n\n", "r@x", "q@y"},
        {"X-Receiver: q@y\nX-Receiver: p@y\nFrom: a@x\n\n", "a@x", "q@y p@y"},
        {"X-Sender: <>\nX-Receiver: <q@y>\n\n", "", "q@y"},
        {"x-sender: Sender\nx-receiver: user1@host\nSubject: kb\n\n", "Sender@here.example", "user1@host"},
        {"X-Sender: \"N, M\" <n@x>\nX-Receiver: =?utf-8?B?w6Q=?=\n <q@y>\n\n", "n@x", "q@y"},
        {"From: a@x\nTo: b@y,\n c@y\n\n", "a@x", "b@y c@y"},
        {"From: a@x\nTo: b@y, b@y, B@y\n\n", "a@x", "b@y B@y"},
    };
    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void pitfall_13_only_the_top_resent_block_counts(void **state)
{
    static const struct row rows[] = {
        {"Resent-From: r@x\nResent-To: n@y\nResent-Date: 1\nResent-From: o@x\nResent-To: o@y\nResent-Date: 2\nFrom: a@x\nTo: b@y\n\n",
         "r@x", "n@y"},
        {"Resent-Bcc: n@y\nFrom: a@x\nTo: b@y\n\n", "a@x", "n@y"},
    };
    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void E3_parameters_are_read(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct envelope envelope;
    struct error error;
    assert_true(find(&arena,
                     "X-Sender: <bob@x> BODY=8BITMIME RET=HDRS ENVID=12345ABCD SMTPUTF8 auth=<someAuth>\r\n"
                     "X-Receiver: <c@d> ORCPT=rfc822;c@d NOTIFY=NEVER;\r\n X-ExtendedProps=AAAA\r\n"
                     "X-Receiver: m@x NOTIFY=failure,delay\r\nX-CreatedBy: MSExchange15\r\n\r\n",
                     &envelope, &error));
    assert_int_equal(envelope.ret, RET_HDRS);
    assert_true(slice_equals(envelope.envid, SLICE("12345ABCD")));
    assert_true(envelope.is_8bit_declared && envelope.is_smtputf8);
    assert_int_equal(envelope.recipients[0].notify, NOTIFY_NEVER);
    assert_true(slice_equals(envelope.recipients[1].address.text, SLICE("m@x")));
    assert_int_equal(envelope.recipients[1].notify, NOTIFY_FAILURE | NOTIFY_DELAY);
    assert_string_equal(envelope.dialect, "exchange-replay");
    arena_finish(&arena);
}

static void E4_lines_behind_the_leading_run_need_the_setting(void **state)
{
    static const struct row in_run[] = {{"From: a@x\nX-Receiver: q@y\nTo: b@y\n\n", "a@x", "b@y"}};
    static const struct row anywhere[] = {{"From: a@x\nX-Receiver: q@y\nTo: b@y\n\n", "a@x", "q@y"}};
    (void)state;
    check_rows(in_run, 1);
    options.x_lines_anywhere = true;
    check_rows(anywhere, 1);
    options.x_lines_anywhere = false;
}

static void refusals_say_line_and_expectation(void **state)
{
    static const struct { const char *file, *said; } cases[] = {
        {"From: a@x\nSubject: s\n\n", "no recipient: an X-Receiver, To, Cc or Bcc"},
        {"To: b@y\n\n", "no sender: "},
        {"From: a@x\nTo: undisclosed-recipients:;\n\n", "no recipient"},
        {"From: a@x\nTo: b@y@z\n\n", "line 2: no recipient can be used: \"b@y@z\": more than one \"@\""},
        {"X-Sender: a@b@c\nX-Receiver: q@y\n\n", "line 1: X-Sender: "},
        {"X-Sender: <a@b> RET=SOME\nX-Receiver: q@y\n\n", "line 1: X-Sender: parameter RET=SOME can't be read"},
        {"X-Deliver-At: tomorrow\nFrom: a@x\nTo: b@y\n\n", "line 1: X-Deliver-At: a time as in"},
        {"X-Deliver-By: 2026-11-24T04:18:00Z\nFrom: a@x\nTo: b@y\n\n", "line 1: X-Deliver-By: a time and R or N"},
        {"X-Deliver-By: 2026-11-24T04:18:00Z;RX\nFrom: a@x\nTo: b@y\n\n", "line 1: X-Deliver-By: a time and R or N"},
        {"From: a@x\nTo: a@x,b@x,c@x,d@x,e@x,f@x,g@x,h@x,i@x,j@x,k@x\n\n", "line 2: To: more than 10 addresses"},
        {"From: a@x\nTo: b@y\n\none\n-------------------------------------------------------------------------------\n"
         "From: c@x\nTo: d@y\nDate: now\n\ntwo\n", "not one message: a log of Django"},
        {"From a@x now\nFrom: a@x\nTo: b@y\n\none\n\nFrom b@x now\nFrom: c@x\nTo: d@y\nDate: x\n\n", "not one message: an mbox"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct envelope envelope;
        struct error error = {{0}};
        assert_false(find(&arena, cases[i].file, &envelope, &error));
        if (strncmp(error.text, cases[i].said, strlen(cases[i].said)) != 0)
            print_error("%s\n", error.text);
        assert_memory_equal(error.text, cases[i].said, strlen(cases[i].said));
        arena_finish(&arena);
    }
}

static void E6_bad_recipient_among_good_ones_is_told(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct envelope envelope;
    struct error error;
    assert_true(find(&arena, "X-Sender: <a@x>\nX-Receiver: <b@y>\nX-Receiver: <\"a\r\n RCPT TO:<x>\"@b>\nX-Receiver: c@\n\n",
                     &envelope, &error));
    assert_int_equal(envelope.recipient_count + envelope.rejected_count, 3);
    assert_true(slice_equals(envelope.recipients[0].address.text, SLICE("b@y")));
    for (size_t i = 0; i < envelope.recipient_count; i++)
        for (size_t k = 0; k < envelope.recipients[i].address.text.size; k++)
            assert_true((unsigned char)envelope.recipients[i].address.text.data[k] >= 0x20);
    arena_finish(&arena);
}

static void times_are_rfc_3339(void **state)
{
    static const struct { const char *text; bool is_fine; int64_t ms; } cases[] = {
        {"1970-01-01T00:00:00Z", true, 0}, {"1970-01-01T01:00:00.250+01:00", true, 250},
        {"2026-11-24T04:18:00-05:00", true, 1795511880000}, {"2026-11-24", false, 0}, {"2026-13-01T00:00:00Z", false, 0},
        {"2026-11-24T04:18:00", false, 0}, {"", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t ms = 0;
        assert_int_equal(envelope_time_parse(slice_of(cases[i].text), &ms), cases[i].is_fine);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void notify_is_never_alone_or_a_list(void **state)
{
    static const struct { const char *text; bool is_fine; const char *again; } cases[] = {
        {"NEVER", true, "NEVER"}, {"delay,SUCCESS", true, "SUCCESS,DELAY"}, {"NEVER,DELAY", false, ""},
        {"", false, ""}, {"SOMETIMES", false, ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        unsigned notify = 0;
        assert_int_equal(envelope_notify_parse(slice_of(cases[i].text), &notify), cases[i].is_fine);
        if (cases[i].is_fine)
            assert_true(slice_equals(envelope_notify_text(&arena, notify), slice_of(cases[i].again)));
        arena_finish(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(E1_E2_lines_beat_headers_and_sender_beats_from),
        cmocka_unit_test(pitfall_13_only_the_top_resent_block_counts),
        cmocka_unit_test(E3_parameters_are_read),
        cmocka_unit_test(E4_lines_behind_the_leading_run_need_the_setting),
        cmocka_unit_test(refusals_say_line_and_expectation),
        cmocka_unit_test(E6_bad_recipient_among_good_ones_is_told),
        cmocka_unit_test(times_are_rfc_3339),
        cmocka_unit_test(notify_is_never_alone_or_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
