/* The rules of pickup/foreign.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "pickup/foreign.h"

#define END(octets) "X-EndOfInjectedXHeaders: " octets "\r\n"

static void check_done(const char *file, const char *dialect, const char *expected)
{
    struct buf out = {0};
    struct error error = {{0}};
    const char *found = NULL;
    assert_int_equal(foreign_translate(slice_of(file), CONFIG_DIALECT_AUTO, &out, &found, &error), FOREIGN_DONE);
    assert_string_equal(found, dialect);
    assert_string_equal(buf_text(&out), expected);
    buf_finish(&out);
}

static void G1_bsmtp_is_a_session_in_a_file(void **state)
{
    (void)state;
    check_done("HELO h\r\nMAIL FROM:<a@x> BODY=8BITMIME\r\nRCPT TO:<b@y> NOTIFY=NEVER\r\nDATA\r\nSubject: s\r\n\r\n..dot\r\n.\r\nQUIT\r\n",
               "bsmtp", "X-Sender: <a@x> BODY=8BITMIME\r\nX-Receiver: <b@y> NOTIFY=NEVER\r\n" END("0000000100") "Subject: s\r\n\r\n.dot\r\n");
    check_done("mail from:<>\nrcpt to:b@y\ndata\nA: 1\n\n.\n", "bsmtp", "X-Sender: <>\r\nX-Receiver: <b@y>\r\n" END("0000000070") "A: 1\n\n");
    check_done("EHLO h\nMAIL FROM:<no@x>\nRSET\nMAIL FROM:<a@x>\nRCPT TO:<b@y>\nDATA\n.\n\nNOOP\n", "bsmtp",
               "X-Sender: <a@x>\r\nX-Receiver: <b@y>\r\n" END("0000000073"));
}

static void G2_raw_becomes_a_message(void **state)
{
    (void)state;
    check_done("From <a@x>\r\nto <b@y, c@y>\r\nSubject <hi <you>>\r\nHeader <X-App: 1>\r\nX-FLAG=CONFIRM_DELIVERY\r\n\r\nTo <d@y>\r\n", "mdaemon-raw",
               "X-Sender: <a@x>\r\nX-Receiver: <b@y> NOTIFY=SUCCESS,FAILURE\r\nX-Receiver: <c@y> NOTIFY=SUCCESS,FAILURE\r\n"
               END("0000000138") "Subject: hi <you>\r\nX-App: 1\r\nFrom: a@x\r\nTo: b@y, c@y\r\n\r\nTo <d@y>\r\n");
}

static void what_is_not_one_whole_message_is_refused_with_its_line(void **state)
{
    static const struct { const char *file, *reason; } cases[] = {
        {"HELO h\nMAIL FROM:<a@x>\nRCPT TO:<b@y>\nDATA\n.\nMAIL FROM:<a@x>\n", "line 6: not one message: BSMTP with several"},
        {"HELO h\nMAIL FROM:<a@x>\nRCPT TO:<b@y>\nDATA\nSubject: s\n", "line 4: DATA is not ended"},
        {"HELO h\nMAIL FROM:<a@x>\nDATA\n.\n", "line 3: DATA where RCPT TO:"},
        {"HELO h\nRCPT TO:<b@y>\n", "line 2: RCPT where MAIL FROM:"},
        {"HELO h\nBDAT 10 LAST\n", "line 2: BSMTP: HELO"},
        {"HELO h\n", "line 1: BSMTP without a message"},
        {"HELO h\nMAIL FROM:<a@x>\nRCPT TO:<b@y>\nDATA\n.\nQUIT\nHELO x\n", "line 7: something stands behind QUIT"},
        {"From <a@x>\nTo <b@y>\nX-FLAG=ATTACH <c:\\a.exe, MIME> -X\n\n", "line 3: X-FLAG=ATTACH names a file"},
        {"From <a@x>\nWhat <b@y>\n\n", "line 2: RAW: From, To"},
        {"From <a@x>\nHeader <no colon>\n\n", "line 2: \"Header <Name: value>\""},
        {"From <a@x>\n\nhello\n", "RAW: a line \"To"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf out = {0};
        struct error error = {{0}};
        const char *dialect;
        assert_int_equal(foreign_translate(slice_of(cases[i].file), CONFIG_DIALECT_AUTO, &out, &dialect, &error), FOREIGN_BAD);
        if (!slice_starts(slice_of(error.text), slice_of(cases[i].reason)))
            fail_msg("\"%s\" where \"%s\" was expected", error.text, cases[i].reason);
        buf_finish(&out);
    }
}

static void an_ordinary_file_is_no_foreign_one(void **state)
{
    static const char *const files[] = {"From: a@x\n\n", "From a@x Mon Nov 1\nFrom: a@x\n\n", "Helo: x\n\n", "X-Sender: a@x\n\n", ""};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct buf out = {0};
        struct error error;
        const char *dialect;
        assert_int_equal(foreign_translate(slice_of(files[i]), CONFIG_DIALECT_AUTO, &out, &dialect, &error), FOREIGN_NOT);
    }
}

static void G3_the_halves_of_a_pair_are_joined(void **state)
{
    struct buf out = {0};
    struct error error;
    struct slice envelope = SLICE("X-MailRelay-Format: #2821.7\r\nX-MailRelay-Content: 8bit\r\nX-MailRelay-From: a@x\r\nX-MailRelay-ToCount: 2\r\n"
                                  "X-MailRelay-To-Remote: b@y\r\nX-MailRelay-To-Local: c@y\r\nX-MailRelay-End: 1\r\n");
    (void)state;
    assert_true(foreign_join(envelope, SLICE(".\r\n"), &out, &error));
    assert_string_equal(buf_text(&out), "X-Sender: <a@x>\r\nX-Receiver: <b@y>\r\nX-Receiver: <c@y>\r\n" END("0000000092") ".\r\n");
    buf_clear(&out);
    assert_false(foreign_join(slice_first(envelope, 60), SLICE(""), &out, &error));
    assert_non_null(strstr(error.text, "X-MailRelay-"));
    buf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(G1_bsmtp_is_a_session_in_a_file),
        cmocka_unit_test(G2_raw_becomes_a_message),
        cmocka_unit_test(what_is_not_one_whole_message_is_refused_with_its_line),
        cmocka_unit_test(an_ordinary_file_is_no_foreign_one),
        cmocka_unit_test(G3_the_halves_of_a_pair_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
