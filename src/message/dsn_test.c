/* The rules of message/dsn.h: the parts of a notification, and what machines read in it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/content.h"
#include "message/dsn_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void pitfall_43_header_and_status_part(void **state)
{
    static const char *const expected =
        "Reporting-MTA: dns; mail.example\r\n"
        "Original-Envelope-Id: job 7\r\n"
        "Arrival-Date: Tue, 24 Nov 2026 05:18:00 +0100\r\n"
        "X-Mailroot-Queue-ID: 00000000000000a1\r\n"
        "\r\n"
        "Original-Recipient: rfc822; C+tag@d.org\r\n"
        "Final-Recipient: rfc822; c@d.org\r\n"
        "Action: failed\r\n"
        "Status: 5.1.1\r\n"
        "Remote-MTA: dns; mx.d.org\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
        "Last-Attempt-Date: Tue, 24 Nov 2026 05:19:00 +0100\r\n"
        "\r\n"
        "Final-Recipient: rfc822; \"e  f\"@[192.0.2.1]\r\n"
        "Action: failed\r\n"
        "Status: 5.4.7\r\n"
        "Diagnostic-Code: x-mailroot; too old\r\n";
    struct dsn_recipient recipients[2] = {recipient_usual(), {0}};
    struct dsn_report report = report_usual(recipients);
    struct composed composed;
    (void)state;
    recipients[0].orcpt = SLICE("rfc822;C+2Btag@d.org");
    recipients[1].address = SLICE("\"e  f\"@[192.0.2.1]");
    recipients[1].status = SLICE("4.4.7");
    recipients[1].diagnostic = SLICE("too old");
    report.recipient_count = 2;
    report.envid = SLICE("job+207");
    report.zone_s = 3600;
    struct slice out = compose(&composed, &report);
    must_be_canonical(out);
    must_have_all(part(out, 0), LINES(
        "From: \"Mail Delivery System\" <MAILER-DAEMON@mail.example>\r\n", "\r\nTo: <a@x.org>\r\n",
        "\r\nSubject: Delivery failed\r\n", "\r\nDate: Tue, 24 Nov 2026 05:20:00 +0100\r\n",
        "\r\nMessage-ID: <00000000000000d5@mail.example>\r\n", "\r\nIn-Reply-To: <1@x.org>\r\n",
        "\r\nReferences: <1@x.org>\r\n", "\r\nAuto-Submitted: auto-replied\r\n",
        "\r\nMIME-Version: 1.0\r\n",
        "\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n boundary=\""));
    must_lack(part(out, 0), "Content-Transfer-Encoding");
    must_lack(part(out, 0), "Received:");
    must_have(part(out, 1), "Content-Type: text/plain; charset=us-ascii\r\n");
    must_have(part(out, 2), "Content-Type: message/delivery-status\r\n");
    must_have(part(out, 3), "Content-Type: message/rfc822\r\n");
    struct slice status = part_body(out, 2);
    assert_int_equal(status.size, strlen(expected));
    assert_memory_equal(status.data, expected, status.size);
    release(&composed);
}

static void from_is_the_mail_system_or_as_configured(void **state)
{
    struct dsn_recipient recipient = recipient_usual();
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    (void)state;
    report.from = SLICE("postmaster@x.org");
    must_have(compose(&composed, &report),
              "From: \"Mail Delivery System\" <postmaster@x.org>\r\nTo: ");
    release(&composed);
}

static void original_comes_back_as_ret_size_and_action_say(void **state)
{
    static const struct {
        enum dsn_action action;
        enum envelope_ret ret;
        bool is_header_only;
        size_t size_max;
        bool is_whole;
    } rows[] = {
        {DSN_FAILED, RET_FULL, false, sizeof ORIGINAL - 1, true},
        {DSN_FAILED, RET_FULL, false, sizeof ORIGINAL - 2, false},
        {DSN_FAILED, RET_FULL, true, 100000, false},
        {DSN_FAILED, RET_HDRS, false, 100000, false},
        {DSN_FAILED, RET_UNSET, false, 100000, false},
        {DSN_DELAYED, RET_FULL, false, 100000, false},
        {DSN_RELAYED, RET_FULL, false, 100000, false},
        {DSN_DELIVERED, RET_FULL, false, 100000, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        report.action = rows[i].action;
        report.ret = rows[i].ret;
        report.is_header_only = rows[i].is_header_only;
        report.returned_size_max = rows[i].size_max;
        struct slice out = compose(&composed, &report);
        must_have(part(out, 3), rows[i].is_whole ? "Content-Type: message/rfc822\r\n\r\n"
                                                 : "Content-Type: text/rfc822-headers\r\n\r\n");
        assert_true(slice_equals(part_body(out, 3),
                                 rows[i].is_whole ? SLICE(ORIGINAL) : SLICE(FIELDS)));
        release(&composed);
    }
}

static void returned_header_ends_where_the_fields_end(void **state)
{
    static const struct { const char *original, *returned; } rows[] = {
        {"A: b\r\n\r\n", "A: b\r\n"},
        {"A: b\r\n", "A: b\r\n"},
        {"A: b\r\n c\r\n\r\nbody\r\n\r\nmore\r\n", "A: b\r\n c\r\n"},
        {"\r\nbody\r\n", ""},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        report.ret = RET_HDRS;
        report.original = slice_of(rows[i].original);
        struct slice out = compose(&composed, &report);
        must_be_canonical(out);
        assert_true(slice_equals(part_body(out, 3), slice_of(rows[i].returned)));
        release(&composed);
    }
}

static void pitfall_44_status_has_the_class_of_the_action(void **state)
{
    static const struct { enum dsn_action action; const char *given, *line; } rows[] = {
        {DSN_FAILED, "5.1.1", "\r\nStatus: 5.1.1\r\n"},
        {DSN_FAILED, "4.4.7", "\r\nStatus: 5.4.7\r\n"},
        {DSN_DELAYED, "4.7.1", "\r\nStatus: 4.7.1\r\n"},
        {DSN_RELAYED, "2.1.5", "\r\nStatus: 2.1.5\r\n"},
        {DSN_RELAYED, "2.999.123", "\r\nStatus: 2.999.123\r\n"},
        {DSN_DELIVERED, NULL, "\r\nStatus: 2.0.0\r\n"},
        {DSN_FAILED, "", "\r\nStatus: 5.0.0\r\n"},
        {DSN_FAILED, "5", "\r\nStatus: 5.0.0\r\n"},
        {DSN_FAILED, "5.1", "\r\nStatus: 5.0.0\r\n"},
        {DSN_FAILED, "5..1", "\r\nStatus: 5.0.0\r\n"},
        {DSN_FAILED, "5.1.", "\r\nStatus: 5.0.0\r\n"},
        {DSN_FAILED, "5.1.1.1", "\r\nStatus: 5.0.0\r\n"},
        {DSN_FAILED, "5.1.1234", "\r\nStatus: 5.0.0\r\n"},
        {DSN_FAILED, "3.1.1", "\r\nStatus: 5.0.0\r\n"},
        {DSN_FAILED, "5.1.1\r\nAction: delivered", "\r\nStatus: 5.0.0\r\n"},
        {DSN_DELAYED, "no", "\r\nStatus: 4.0.0\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        report.action = rows[i].action;
        recipient.status = slice_of(rows[i].given);
        must_have(compose(&composed, &report), rows[i].line);
        release(&composed);
    }
}

static void original_recipient_and_envelope_id_are_decoded(void **state)
{
    static const struct { const char *orcpt, *envid, *line; } rows[] = {
        {"rfc822;a+2Bb@x.org", NULL, "\r\nOriginal-Recipient: rfc822; a+b@x.org\r\n"},
        {"RFC822;a+2bb@x.org", NULL, "\r\nOriginal-Recipient: RFC822; a+b@x.org\r\n"},
        {"x400;/G=a+3Db/", NULL, "\r\nOriginal-Recipient: x400; /G=a=b/\r\n"},
        {"rfc822;a;b@x.org", NULL, "\r\nOriginal-Recipient: rfc822; a;b@x.org\r\n"},
        /* No xtext, or octets that may not stand in a field: as given. */
        {"rfc822;a+2", NULL, "\r\nOriginal-Recipient: rfc822; a+2\r\n"},
        {"rfc822;a+", NULL, "\r\nOriginal-Recipient: rfc822; a+\r\n"},
        {"rfc822;a+ZZ@x", NULL, "\r\nOriginal-Recipient: rfc822; a+ZZ@x\r\n"},
        {"rfc822;a+0D+0AX:+20y", NULL, "\r\nOriginal-Recipient: rfc822; a+0D+0AX:+20y\r\n"},
        {"rfc822;a+00+7F+E9", NULL, "\r\nOriginal-Recipient: rfc822; a+00+7F+E9\r\n"},
        {"utf-8;\\x{E9}@x", NULL, "\r\nOriginal-Recipient: utf-8; \\x{E9}@x\r\n"},
        {NULL, "+41b+43", "\r\nOriginal-Envelope-Id: AbC\r\n"},
        {NULL, "a+0Ab", "\r\nOriginal-Envelope-Id: a+0Ab\r\n"},
    };
    static const char *const without[] = {"rfc822", "rfc822;", ";a@x", "rfc 822;a@x",
                                          "rf\r\nX: y;a@x"};
    struct dsn_recipient recipient = recipient_usual();
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        recipient.orcpt = slice_of(rows[i].orcpt);
        report.envid = slice_of(rows[i].envid);
        must_have(compose(&composed, &report), rows[i].line);
        release(&composed);
    }
    for (size_t i = 0; i < COUNT_OF(without); i++) {
        recipient.orcpt = slice_of(without[i]);
        must_lack(compose(&composed, &report), "Original-Recipient");
        release(&composed);
    }
}

static void boundary_occurs_in_no_part(void **state)
{
    static const struct { const char *body, *boundary; } rows[] = {
        {"plain\r\n", "=_00000000000000d5/0="},
        {"--=_00000000000000d5/0=\r\n--=_00000000000000d5/2=--\r\n", "=_00000000000000d5/1="},
        {"=_00000000000000d5/0=_00000000000000d5/1", "=_00000000000000d5/2="},
        {"=_00000000000000d5/00000=_00000000000000d5/99999999999999999999999",
         "=_00000000000000d5/1="},
    };
    struct dsn_recipient recipient = recipient_usual();
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    struct buf original = {0};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        buf_clear(&original);
        buf_append_text(&original, FIELDS "\r\n");
        buf_append_text(&original, rows[i].body);
        report.original = buf_slice(&original);
        struct slice out = compose(&composed, &report);
        must_have(out, rows[i].boundary);
        assert_true(slice_equals(part_body(out, 3), report.original));
        release(&composed);
    }
    for (int i = 0; i < 3000; i++)
        buf_printf(&original, "--=_00000000000000d5/%d=\r\n", i);
    report.original = buf_slice(&original);
    must_have(compose(&composed, &report), "boundary=\"=_00000000000000d5/3000=\"");
    release(&composed);
    buf_finish(&original);
}

static void pitfall_20_utf8_addresses_make_a_global_report(void **state)
{
    struct dsn_recipient recipients[2] = {recipient_usual(), recipient_usual()};
    struct dsn_report report = report_usual(recipients);
    struct composed composed;
    (void)state;
    report.recipient_count = 2;
    recipients[0].address = SLICE("andr\xC3\xA9@d.org");
    recipients[0].orcpt = SLICE("utf-8;andr\\x{E9}\\x{20AC}\\x{1F600}@d.org");
    recipients[0].diagnostic = SLICE("550 5.6.7 andr\xC3\xA9?");
    recipients[1].orcpt = SLICE("rfc822;C+2B@d.org");
    struct slice out = compose(&composed, &report);
    must_be_canonical(out);
    must_have(part(out, 0), "\r\nContent-Transfer-Encoding: 8bit\r\n");
    must_have_all(part(out, 2), LINES(
        "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        "\r\nOriginal-Recipient: utf-8; andr\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80@d.org\r\n",
        "\r\nFinal-Recipient: utf-8; andr\xC3\xA9@d.org\r\n",
        "\r\nDiagnostic-Code: smtp; 550 5.6.7 andr\xC3\xA9?\r\n",
        "\r\nOriginal-Recipient: rfc822; C+@d.org\r\n",
        "\r\nFinal-Recipient: rfc822; c@d.org\r\n"));
    must_have(part(out, 3), "Content-Type: message/rfc822\r\n\r\n");
    release(&composed);
}

/* RFC 6533 3: what names no character that may stand in an address stays as given. */
static void embedded_characters_are_checked(void **state)
{
    static const struct { const char *given, *shown; } rows[] = {
        {"\\x{E9}", "\xC3\xA9"},
        {"\\x{7FF}\\x{800}", "\xDF\xBF\xE0\xA0\x80"},
        {"\\x{FFFF}\\x{10000}", "\xEF\xBF\xBF\xF0\x90\x80\x80"},
        {"\\x{10FFFF}", "\xF4\x8F\xBF\xBF"},
        {"\\x{5C}\\x{2B}", "\\+"},
        {"\\x{110000}", NULL}, {"\\x{D800}", NULL}, {"\\x{DFFF}", NULL}, {"\\x{0A}", NULL},
        {"\\x{7F}", NULL}, {"\\x{85}", NULL}, {"\\x{}", NULL}, {"\\x{E9", NULL}, {"\\x{G}", NULL},
        {"\\x{00000E9}", NULL}, {"\\", NULL}, {"\\y", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        char orcpt[64], line[128];
        (void)snprintf(orcpt, sizeof orcpt, "utf-8;a%s", rows[i].given);
        (void)snprintf(line, sizeof line, "\r\nOriginal-Recipient: utf-8; a%s\r\n",
                       rows[i].shown ? rows[i].shown : rows[i].given);
        recipient.orcpt = slice_of(orcpt);
        recipient.address = SLICE("\xC3\xA9@d.org");
        struct slice out = compose(&composed, &report);
        must_be_canonical(out);
        must_have(out, line);
        release(&composed);
    }
}

static void raw_utf8_in_orcpt_makes_a_global_report(void **state)
{
    struct dsn_recipient recipient = recipient_usual();
    struct dsn_report report = report_usual(&recipient);
    struct composed composed;
    (void)state;
    recipient.orcpt = SLICE("utf-8;\xC3\xA9@d.org");
    struct slice out = compose(&composed, &report);
    must_have(out, "Content-Type: message/global-delivery-status\r\n");
    must_have(out, "\r\nOriginal-Recipient: utf-8; \xC3\xA9@d.org\r\n");
    release(&composed);
}

static void octets_over_127_are_declared(void **state)
{
    static const struct {
        const char *original;
        enum envelope_ret ret;
        const char *type;
        bool is_8bit;
    } rows[] = {
        {"Subject: a\r\n\r\nb\r\n", RET_FULL, "message/rfc822", false},
        {"Subject: a\r\n\r\n\xC3\xA9\r\n", RET_FULL, "message/rfc822", true},
        {"Subject: a\r\n\r\n\xC3\xA9\r\n", RET_HDRS, "text/rfc822-headers", false},
        {"Subject: \xC3\xA9\r\n\r\nb\r\n", RET_FULL, "message/global", true},
        {"Subject: \xC3\xA9\r\n\r\nb\r\n", RET_HDRS, "message/global-headers", true},
        {"Subject: \xE9\r\n\r\nb\r\n", RET_FULL, "message/rfc822", true}, /* no UTF-8 */
        {"Subject: \xE9\r\n\r\nb\r\n", RET_HDRS, "text/rfc822-headers", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        char expected[100];
        report.original = slice_of(rows[i].original);
        report.ret = rows[i].ret;
        struct slice out = compose(&composed, &report);
        (void)snprintf(expected, sizeof expected, "\r\nContent-Type: %s\r\n%s\r\n", rows[i].type,
                       rows[i].is_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "");
        must_have(part(out, 3), expected);
        assert_int_equal(has(part(out, 0), "Content-Transfer-Encoding: 8bit\r\n"),
                         rows[i].is_8bit || slice_has_8bit(part(out, 1)));
        must_have(part(out, 2), "Content-Type: message/delivery-status\r\n\r\n");
        release(&composed);
    }
}

/* A sender's server without 8BITMIME still gets its notification. */
static void pitfall_6_a_notification_can_be_made_7bit(void **state)
{
    static const struct { const char *address, *original; } rows[] = {
        {"c@d.org", "Subject: a\r\n\r\n\xC3\xA9\r\n"},
        {"c@d.org", "Subject: \xC3\xA9\r\n\r\n\xC3\xA9\r\n"},
        {"\xC3\xA9@d.org", "Subject: a\r\n\r\nb\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        struct buf converted = {0};
        struct error error;
        recipient.address = slice_of(rows[i].address);
        report.original = slice_of(rows[i].original);
        struct slice out = compose(&composed, &report);
        assert_true(slice_has_8bit(out));
        if (!content_to_7bit(&composed.arena, out, &converted, &error))
            fail_msg("%s", error.text);
        assert_false(slice_has_8bit(buf_slice(&converted)));
        must_have(buf_slice(&converted), "multipart/report; report-type=delivery-status");
        buf_finish(&converted);
        release(&composed);
    }
}

/* To compose one for a null sender is a mistake in the program, not in the mail. */
static void pitfall_8_nothing_is_composed_for_a_null_sender(void **state)
{
    int status = 0;
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct dsn_recipient recipient = recipient_usual();
        struct dsn_report report = report_usual(&recipient);
        struct composed composed;
        (void)!freopen("/dev/null", "w", stderr);
        (void)signal(SIGABRT, SIG_DFL);
        report.sender = SLICE("");
        (void)compose(&composed, &report);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_43_header_and_status_part),
        cmocka_unit_test(from_is_the_mail_system_or_as_configured),
        cmocka_unit_test(original_comes_back_as_ret_size_and_action_say),
        cmocka_unit_test(returned_header_ends_where_the_fields_end),
        cmocka_unit_test(pitfall_44_status_has_the_class_of_the_action),
        cmocka_unit_test(original_recipient_and_envelope_id_are_decoded),
        cmocka_unit_test(boundary_occurs_in_no_part),
        cmocka_unit_test(pitfall_20_utf8_addresses_make_a_global_report),
        cmocka_unit_test(embedded_characters_are_checked),
        cmocka_unit_test(raw_utf8_in_orcpt_makes_a_global_report),
        cmocka_unit_test(octets_over_127_are_declared),
        cmocka_unit_test(pitfall_6_a_notification_can_be_made_7bit),
        cmocka_unit_test(pitfall_8_nothing_is_composed_for_a_null_sender),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
