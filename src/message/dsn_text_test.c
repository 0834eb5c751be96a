/* The words of a notification, and what others' text can't make it say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/dsn_fixture.h"

#include <stdio.h>

static size_t line_count(struct slice text)
{
    size_t count = 0;
    for (; text.size; count++)
        (void)slice_cut(&text, '\n');
    return count;
}

static void each_action_has_its_words(void **state)
{
    static const struct {
        enum dsn_action action;
        const char *lines[5], *lacking;
    } rows[] = {
        {DSN_FAILED,
         {"Subject: Delivery failed\r\n", "Action: failed\r\n", "could not be delivered",
          "What you can do:"}, "Will-Retry-Until"},
        {DSN_DELAYED,
         {"Subject: Delivery delayed\r\n", "Action: delayed\r\n", "not been delivered yet",
          "Will-Retry-Until: Wed, 25 Nov 2026 04:18:00 +0000\r\n"}, "What you can do"},
        {DSN_DELIVERED,
         {"Subject: Delivered\r\n", "Action: delivered\r\n", "was delivered to"}, "Will-Retry"},
        {DSN_RELAYED,
         {"Subject: Relayed\r\n", "Action: relayed\r\n", "no further word"}, "Will-Retry"},
        {DSN_EXPANDED,
         {"Subject: Passed on to a list\r\n", "Action: expanded\r\n", "members"}, "Will-Retry"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        report.action = rows[i].action;
        struct slice out = compose(&composed, &report);
        must_be_canonical(out);
        must_have_all(out, rows[i].lines);
        must_lack(out, rows[i].lacking);
        release(&composed);
    }
}

#define TAIL "c@d.org\r\nAction: delivered\r\n\r\nX: y\n--b\r\n\x1b[2J\x01\xE2\x80\xA8\xC2\x85\xFF"

/* Hostile text in any field that others fill leaves the number of lines and parts as it was. */
static void pitfall_19_no_text_of_others_makes_a_line(void **state)
{
    static const struct slice hostile = {"mx" TAIL "\0end", sizeof("mx" TAIL "\0end") - 1};
    (void)state;
    for (int field = 0; field < 6; field++) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        recipient.orcpt = SLICE("rfc822;c@d.org");
        report.envid = SLICE("id");
        struct slice *const fields[] = {&recipient.address,    &recipient.diagnostic,
                                        &recipient.remote_mta, &report.envid,
                                        &recipient.orcpt,      &report.sender};
        *fields[field] = field == 4 ? slice_of("rfc822;" TAIL) : hostile;
        struct slice out = compose(&composed, &report);
        must_be_canonical(out);
        must_lack(out, "\r\nAction: delivered");
        must_lack(out, "\r\nX: y");
        must_lack(out, "\r\n--b");
        struct slice status = part_body(out, 2);
        size_t folds = 0;
        for (struct slice rest = status; rest.size; folds += slice_starts(rest, SLICE(" ")))
            (void)slice_cut(&rest, '\n');
        assert_int_equal(line_count(status) - folds, 12);
        release(&composed);
    }
}

static void diagnostic_is_folded_and_clean(void **state)
{
    static const struct { const char *diagnostic, *code, *text; } rows[] = {
        {"550 no", "\r\nDiagnostic-Code: smtp; 550 no\r\n", "\r\n        550 no\r\n"},
        {"550-a\r\n550 b\tc", "\r\nDiagnostic-Code: smtp; 550-a 550 b c\r\n",
         "\r\n        550-a 550 b c\r\n"},
        {"550 a      b   ", "\r\nDiagnostic-Code: smtp; 550 a b\r\n", "\r\n        550 a b\r\n"},
        {"550 caf\xC3\xA9", "\r\nDiagnostic-Code: smtp; 550 caf?\r\n",
         "\r\n        550 caf\xC3\xA9\r\n"},
        {"550 caf\xE9 \x1b[31m", "\r\nDiagnostic-Code: smtp; 550 caf? ?[31m\r\n",
         "\r\n        550 caf? ?[31m\r\n"},
        {"550 \xE2\x80\xA8x\xC2\x85y\x7f", "\r\nDiagnostic-Code: smtp; 550 ?x?y?\r\n",
         "\r\n        550 ?x?y?\r\n"},
        /* 78 columns fit, 79 don't; in the text the words begin at column 8. */
        {"550 5678 123456789 123456789 123456789 123456789 1234 a",
         "\r\nDiagnostic-Code: smtp; 550 5678 123456789 123456789 123456789 123456789 1234 a\r\n",
         "\r\n        550 5678 123456789 123456789 123456789 123456789 1234 a\r\n"},
        {"550 5678 123456789 123456789 123456789 123456789 1234 ab",
         "\r\nDiagnostic-Code: smtp; 550 5678 123456789 123456789 123456789 123456789 1234\r\n"
         " ab\r\n",
         "\r\n        550 5678 123456789 123456789 123456789 123456789 1234 ab\r\n"},
        {"550 5.7.1 one two three four five six seven eight nine ten eleven twelve thirteen",
         "\r\nDiagnostic-Code: smtp; 550 5.7.1 one two three four five six seven eight nine\r\n"
         " ten eleven twelve thirteen\r\n",
         "\r\n        550 5.7.1 one two three four five six seven eight nine ten eleven\r\n"
         "        twelve thirteen\r\n"},
    };
    struct dsn_recipient recipient = recipient_usual();
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        recipient.diagnostic = slice_of(rows[i].diagnostic);
        struct slice out = compose(&composed, &report);
        must_be_canonical(out);
        must_have(part(out, 2), rows[i].code);
        must_have(part(out, 1), rows[i].text);
        bool is_8bit = slice_has_8bit(part(out, 1));
        must_have(part(out, 1), is_8bit ? "charset=utf-8" : "charset=us-ascii");
        release(&composed);
    }
    recipient.diagnostic = SLICE(" \r\n\t ");
    struct slice out = compose(&composed, &report);
    must_lack(out, "Diagnostic-Code");
    must_lack(out, "answered");
    release(&composed);
}

static void pitfall_3_no_word_makes_a_line_over_998_octets(void **state)
{
    static const struct { const char *start, *unit; } rows[] = {
        {"", "x"}, {"", "  y"}, {"", "\xC3\xA9"}, {"x", "\xC3\xA9"},
        {"", "\xE2\x82\xAC"}, {"x", "\xE2\x82\xAC"}, {"xx", "\xE2\x82\xAC"},
    };
    struct dsn_recipient recipient = recipient_usual();
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf long_text = {0};
        buf_append_text(&long_text, rows[i].start);
        for (int n = 0; n < 3000; n++)
            buf_append_text(&long_text, rows[i].unit);
        recipient.diagnostic = recipient.remote_mta = buf_slice(&long_text);
        struct slice out = compose(&composed, &report);
        must_be_canonical(out); /* UTF-8 too: no character is cut */
        must_lack(out, " \r\n");
        release(&composed);
        buf_finish(&long_text);
    }
}

static void what_is_not_known_is_not_said(void **state)
{
    struct dsn_recipient recipient = {.address = SLICE("c@d.org")};
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    (void)state;
    report.action = DSN_DELAYED;
    report.original_id = SLICE_NONE;
    report.original = SLICE("From: a@x.org\r\n\r\n");
    struct slice out = compose(&composed, &report);
    static const char *const lacking[] = {
        "Remote-MTA", "Diagnostic-Code", "Last-Attempt", "Will-Retry", "Original-", "Queue",
        "Subject:  ", "In-Reply-To", "References",
    };
    for (size_t i = 0; i < COUNT_OF(lacking); i++)
        must_lack(out, lacking[i]);
    must_have(out, "\r\nFinal-Recipient: rfc822; c@d.org\r\nAction: delayed\r\nStatus: 4.0.0\r\n");
    release(&composed);
}

static void only_a_sound_message_id_is_quoted(void **state)
{
    static const struct { const char *field; bool is_quoted; } rows[] = {
        {"<1@x.org>", true}, {"\r\n <1@x.org>", true}, {"1@x.org", false}, {"<>", false},
        {"<1@x\r\n .org>", false}, {"<1 2@x.org>", false}, {"<\xE9@x.org>", false},
        {"<1@x.org>\x01", false},
    };
    struct dsn_recipient recipient = recipient_usual();
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char original[100];
        (void)snprintf(original, sizeof original, "Message-ID: %s\r\n\r\n", rows[i].field);
        report.original = slice_of(original);
        struct slice out = compose(&composed, &report);
        assert_int_equal(has(out, "\r\nIn-Reply-To:"), rows[i].is_quoted);
        assert_int_equal(has(out, "\r\nReferences:"), rows[i].is_quoted);
        if (rows[i].is_quoted)
            must_have(out, "\r\nIn-Reply-To: <1@x.org>\r\nReferences: <1@x.org>\r\n");
        release(&composed);
    }
}

static void text_says_who_answered_what_and_what_to_do(void **state)
{
    static const struct {
        const char *status, *host;
        bool is_smtp;
        const char *lines[3];
    } rows[] = {
        {"5.1.1", "mx.d.org", true,
         {"\r\n    The mail server mx.d.org answered:\r\n        550 x\r\n", "before the @"}},
        {"5.1.10", "mx.d.org", true, {"takes no mail"}},
        {"5.2.2", NULL, true,
         {"\r\n    The mail server answered:\r\n        550 x\r\n", "is full"}},
        {"5.4.4", NULL, false,
         {"\r\n    The reason:\r\n        550 x\r\n", "could not be reached"}},
        {"4.4.7", "mx.d.org", true, {"could not be reached"}},
        {"5.4.6", NULL, false, {"loop"}},
        {"5.6.7", "mx.d.org", true, {"plain ASCII"}},
        {"5.7.26", "mx.d.org", true, {"rules forbid"}},
        {"5.0.0", "mx.d.org", true, {"Check the address"}},
        {"junk", "mx.d.org", true, {"Check the address"}},
    };
    struct dsn_recipient recipient = recipient_usual();
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    (void)state;
    recipient.diagnostic = SLICE("550 x");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        recipient.status = slice_of(rows[i].status);
        recipient.remote_mta = slice_of(rows[i].host);
        recipient.is_smtp_diagnostic = rows[i].is_smtp;
        struct slice out = compose(&composed, &report);
        must_have(part(out, 1), "\r\n    Subject:  Hello\r\n");
        must_have(part(out, 1), "\r\n<c@d.org>\r\n");
        must_have_all(part(out, 1), rows[i].lines);
        must_have(part(out, 2), rows[i].is_smtp ? "Diagnostic-Code: smtp; 550 x\r\n"
                                                : "Diagnostic-Code: x-mailroot; 550 x\r\n");
        release(&composed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_action_has_its_words),
        cmocka_unit_test(pitfall_19_no_text_of_others_makes_a_line),
        cmocka_unit_test(diagnostic_is_folded_and_clean),
        cmocka_unit_test(pitfall_3_no_word_makes_a_line_over_998_octets),
        cmocka_unit_test(what_is_not_known_is_not_said),
        cmocka_unit_test(only_a_sound_message_id_is_quoted),
        cmocka_unit_test(text_says_who_answered_what_and_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
