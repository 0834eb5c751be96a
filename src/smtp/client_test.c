/* The rules of smtp/client.h and smtp/reply.h: dialogs with a scripted server, fed whole and octet by octet. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/client.h"

#include <stdio.h>
#include <stdlib.h>

#define PLAIN "220 hi\r\n|250 me\r\n|"
#define PIPE "220 hi\r\n|250-me\r\n250-PIPELINING\r\n250 SIZE 1000\r\n|"
#define CHUNK "220 hi\r\n|250-me\r\n250-PIPELINING\r\n250 CHUNKING\r\n|"
#define END "<end>"

/* `server` is cut at "|": each piece is fed when the client waits. `results` has one letter a recipient: Delivered,
 * deFerred, Bounced (failed), Again, Unknown. */
struct row { const char *name, *server, *client, *results; };

static const struct row rows[] = {
    {"one by one", PLAIN "250 ok\r\n|250 ok\r\n|250 ok\r\n|354 go\r\n|250 done\r\n",
     "EHLO me|MAIL FROM:<a@x>|RCPT TO:<b@y>|RCPT TO:<c@y>|DATA|BODY|", "DD"},
    {"pitfall 25: MAIL, RCPT and DATA in one flight", PIPE "250 a\r\n250 b\r\n250 c\r\n354 go\r\n|250 done\r\n",
     "EHLO me|MAIL FROM:<a@x> SIZE=10|RCPT TO:<b@y>|RCPT TO:<c@y>|DATA|BODY|", "DD"},
    {"BDAT in the same flight", CHUNK "250 a\r\n250 b\r\n250 c\r\n250 done\r\n",
     "EHLO me|MAIL FROM:<a@x>|RCPT TO:<b@y>|RCPT TO:<c@y>|BDAT 10 LAST|BODY|", "DD"},
    {"one recipient refused", PIPE "250 a\r\n550 5.1.1 no\r\n250 c\r\n354 go\r\n|250 done\r\n", NULL, "BD"},
    {"one recipient later", PIPE "250 a\r\n451 4.7.1 grey\r\n250 c\r\n354 go\r\n|250 done\r\n", NULL, "FD"},
    {"pitfall 24: 452 behind an accepted one means again", PIPE "250 a\r\n250 b\r\n452 full\r\n354 go\r\n|250 done\r\n", NULL, "DA"},
    {"552 to RCPT is 452", PIPE "250 a\r\n250 b\r\n552 full\r\n354 go\r\n|250 done\r\n", NULL, "DA"},
    {"452 to the first is later", PIPE "250 a\r\n452 full\r\n250 c\r\n354 go\r\n|250 done\r\n", NULL, "FD"},
    {"pitfall 25: all refused and 354 gets a lone dot", PIPE "250 a\r\n550 b\r\n550 c\r\n354 go\r\n|554 none\r\n|250 reset\r\n",
     "EHLO me|MAIL FROM:<a@x> SIZE=10|RCPT TO:<b@y>|RCPT TO:<c@y>|DATA|.|RSET|", "BB"},
    {"all refused, DATA refused", PIPE "250 a\r\n550 b\r\n550 c\r\n503 no\r\n|250 reset\r\n", NULL, "BB"},
    {"MAIL refused", PIPE "550 a\r\n503 b\r\n503 c\r\n503 d\r\n|250 reset\r\n", NULL, "BB"},
    {"MAIL later", PLAIN "450 a\r\n|250 reset\r\n", NULL, "FF"},
    {"DATA refused", PLAIN "250 a\r\n|250 b\r\n|250 c\r\n|554 no\r\n|250 reset\r\n", NULL, "BB"},
    {"final refused", PIPE "250 a\r\n250 b\r\n250 c\r\n354 go\r\n|550 5.7.1 spam\r\n|250 reset\r\n", NULL, "BB"},
    {"final later", PIPE "250 a\r\n250 b\r\n250 c\r\n354 go\r\n|451 busy\r\n|250 reset\r\n", NULL, "FF"},
    {"pitfall 23: lost after the final dot is unknown", PIPE "250 a\r\n250 b\r\n250 c\r\n354 go\r\n|" END, NULL, "UU"},
    {"lost before the body is later", PIPE "250 a\r\n250 b\r\n" END, NULL, "FF"},
    {"421 at RCPT", PIPE "250 a\r\n421 bye\r\n" END, NULL, "FF"},
    {"421 at the end", PIPE "250 a\r\n250 b\r\n250 c\r\n354 go\r\n|421 bye\r\n", NULL, "FF"},
    {"garbage at MAIL", PLAIN "hello\r\n", NULL, "FF"},
    {"pitfall 26: HELO only after a syntax refusal", "220 hi\r\n|502 what\r\n|250 me\r\n|250 a\r\n|250 b\r\n|250 c\r\n|354 go\r\n|250 done\r\n",
     "EHLO me|HELO me|MAIL FROM:<a@x>|RCPT TO:<b@y>|RCPT TO:<c@y>|DATA|BODY|", "DD"},
    {"many lines and lone LF", "220-hi\r\n220 there\n|250-me\n250 8BITMIME\n|250 a\n|250 b\n|250 c\n|354\r\n|250\r\n", NULL, "DD"},
};

/* T9: both end with RSET; no DATA, no BDAT. */
static const struct row rehearsals[] = {
    {"one by one", PLAIN "250 ok\r\n|250 ok\r\n|550 no\r\n|250 reset\r\n",
     "EHLO me|MAIL FROM:<a@x>|RCPT TO:<b@y>|RCPT TO:<c@y>|RSET|", "DB"},
    {"in one flight", PIPE "250 a\r\n250 b\r\n451 c\r\n|250 reset\r\n",
     "EHLO me|MAIL FROM:<a@x> SIZE=10|RCPT TO:<b@y>|RCPT TO:<c@y>|RSET|", "DF"},
    {"chunking is not begun", CHUNK "250 a\r\n250 b\r\n250 c\r\n|250 reset\r\n",
     "EHLO me|MAIL FROM:<a@x>|RCPT TO:<b@y>|RCPT TO:<c@y>|RSET|", "DD"},
    {"MAIL refused", PIPE "550 a\r\n503 b\r\n503 c\r\n|250 reset\r\n", NULL, "BB"},
    {"all refused", PIPE "250 a\r\n550 b\r\n550 c\r\n|250 reset\r\n", NULL, "BB"},
};

struct session {
    struct smtp_client *client;
    struct smtp_transaction transaction;
    struct smtp_recipient recipients[2];
    struct arena arena;
    struct buf said;
    bool was_sent;
};

/* What the driver does after each call. */
static void drive(struct session *session)
{
    struct buf *out = smtp_client_output(session->client);
    for (int turn = 0; turn < 5; turn++) {
        for (size_t i = 0; i < out->size; i++)
            if (out->data[i] != '\r')
                buf_append_byte(&session->said, out->data[i] == '\n' ? '|' : out->data[i]);
        buf_clear(out);
        enum smtp_want want = smtp_client_want(session->client);
        if (want == WANT_MESSAGE && !session->was_sent) {
            session->was_sent = true;
            smtp_client_send(session->client, &session->transaction, 0);
        } else if (want == WANT_BODY) {
            buf_append_text(&session->said, "BODY|");
            smtp_client_body_queued(session->client, 0);
        } else {
            return;
        }
    }
}

static void start(struct session *session, enum smtp_tls tls)
{
    struct smtp_client_options options = {.helo_name = "me", .tls = tls,
                                          .timeouts = {300, 300, 300, 300, 120, 180, 600, 30, 60}};
    *session = (struct session){.recipients = {{.address = SLICE("b@y")}, {.address = SLICE("c@y")}}};
    session->transaction = (struct smtp_transaction){.arena = &session->arena, .sender = SLICE("a@x"), .body_size = 10,
                                                     .recipients = session->recipients, .recipient_count = 2};
    session->client = smtp_client_create(&options, 0);
}

static void finish(struct session *session)
{
    smtp_client_destroy(&session->client);
    arena_finish(&session->arena);
    buf_finish(&session->said);
}

static void feed(struct session *session, struct slice bytes, size_t step)
{
    while (bytes.size && smtp_client_want(session->client) != WANT_CLOSE) {
        size_t size = step && step < bytes.size ? step : bytes.size;
        smtp_client_feed(session->client, slice_first(bytes, size), 0);
        bytes = slice_from(bytes, size);
        drive(session);
    }
}

static void run_row(const struct row *row, size_t step, bool is_rehearsal)
{
    static const char letters[] = "?DFBAU";
    struct session session;
    char results[3] = "";
    start(&session, SMTP_TLS_NEVER);
    session.transaction.is_rehearsal = is_rehearsal;
    for (struct slice rest = slice_of(row->server); rest.size;) {
        struct slice piece = slice_cut(&rest, '|');
        bool is_end = slice_ends_nocase(piece, SLICE(END));
        if (is_end)
            piece.size -= strlen(END);
        feed(&session, piece, step);
        if (is_end && smtp_client_want(session.client) != WANT_CLOSE)
            smtp_client_lost(session.client, "closed by the server", 0);
    }
    assert_true(session.transaction.is_settled);
    for (size_t i = 0; i < 2; i++) {
        results[i] = letters[session.recipients[i].result.kind];
        assert_true(session.recipients[i].result.status[0] != '\0');
    }
    if (strcmp(results, row->results) != 0)
        print_error("%s (step %zu)\n", row->name, step);
    assert_string_equal(results, row->results);
    if (row->client)
        assert_string_equal(buf_text(&session.said), row->client);
    finish(&session);
}

static void every_dialog_gives_each_recipient_its_result(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (size_t step = 0; step < 4; step++)
            run_row(&rows[i], step, false);
}

static void T9_a_rehearsal_ends_with_rset(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rehearsals); i++)
        for (size_t step = 0; step < 4; step++)
            run_row(&rehearsals[i], step, true);
}

static void connection_that_never_serves_says_why(void **state)
{
    static const struct { const char *server; enum smtp_tls tls; enum smtp_result_kind kind; const char *stage; } cases[] = {
        {"554 no service\r\n", SMTP_TLS_MAY, RESULT_FAILED, "greeting"},
        {"421 busy\r\n", SMTP_TLS_MAY, RESULT_DEFERRED, "greeting"},
        {"HTTP/1.1 400 Bad Request\r\n", SMTP_TLS_MAY, RESULT_DEFERRED, "greeting"},
        {"220 hi\r\n450 no\r\n", SMTP_TLS_MAY, RESULT_DEFERRED, "ehlo"},
        {"220 hi\r\n250 me\r\n", SMTP_TLS_MUST, RESULT_DEFERRED, "starttls"},
        {"220 hi\r\n250-me\r\n250 STARTTLS\r\n454 no\r\n", SMTP_TLS_MUST, RESULT_DEFERRED, "starttls"},
        {"220 hi\r\n250-me\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n", SMTP_TLS_MAY, RESULT_DEFERRED, "tls"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct session session;
        start(&session, cases[i].tls);
        smtp_client_feed(session.client, slice_of(cases[i].server), 0);
        assert_int_equal(smtp_client_want(session.client), WANT_CLOSE);
        assert_int_equal(smtp_client_failure(session.client)->kind, cases[i].kind);
        assert_true(smtp_client_failure(session.client)->is_host_failure);
        assert_string_equal(smtp_client_failure(session.client)->stage, cases[i].stage);
        finish(&session);
    }
}

/* ---- T10 ---- */

#define SAID "220 hi\r\n"
#define OFFER SAID "250-me\r\n250 AUTH PLAIN LOGIN\r\n"

static void start_login(struct session *session)
{
    struct smtp_client_options options = {.helo_name = "me", .tls = SMTP_TLS_MUST, .is_implicit = true, .wants_auth = true,
                                          .timeouts = {300, 300, 300, 300, 120, 180, 600, 30, 60}};
    start(session, SMTP_TLS_MUST);
    smtp_client_destroy(&session->client);
    session->client = smtp_client_create(&options, 0);
    assert_int_equal(smtp_client_want(session->client), WANT_TLS); /* before a word is read */
    smtp_client_secured(session->client, 0);
}

static void T10_auth_comes_before_the_first_message(void **state)
{
    (void)state;
    struct session session;
    start_login(&session);
    feed(&session, SLICE(SAID), 0);
    feed(&session, SLICE("250-me\r\n250-AUTH=LOGIN\r\n250 AUTH SCRAM-SHA-1  PLAIN\r\n"), 1);
    assert_int_equal(smtp_client_want(session.client), WANT_AUTH);
    assert_int_equal(smtp_client_auth(session.client), SMTP_AUTH_BEGIN);
    assert_true(slice_equals(smtp_client_mechanisms(session.client), SLICE("LOGIN SCRAM-SHA-1  PLAIN")));
    smtp_client_auth_begin(session.client, "SCRAM-SHA-1", SLICE("Zmlyc3Q="), 0);
    drive(&session);
    feed(&session, SLICE("334 Y2hhbGxlbmdl\r\n"), 1);
    assert_int_equal(smtp_client_auth(session.client), SMTP_AUTH_CHALLENGE);
    assert_true(slice_equals(smtp_client_challenge(session.client), SLICE("Y2hhbGxlbmdl")));
    smtp_client_auth_respond(session.client, SLICE("cmVzcG9uc2U="), 0);
    drive(&session);
    feed(&session, SLICE("235 2.7.0 in\r\n"), 1);
    assert_int_equal(smtp_client_auth(session.client), SMTP_AUTH_CLAIMED);
    smtp_client_auth_passed(session.client, 0);
    drive(&session);
    assert_string_equal(buf_text(&session.said), "EHLO me|AUTH SCRAM-SHA-1 Zmlyc3Q=|cmVzcG9uc2U=|MAIL FROM:<a@x> AUTH=<>|");
    finish(&session);
}

static void T10_a_long_first_response_waits_for_an_empty_challenge(void **state)
{
    static char token[2000];
    (void)state;
    struct session session;
    memset(token, 'A', sizeof token);
    start_login(&session);
    feed(&session, SLICE(SAID), 0);
    feed(&session, SLICE("250-me\r\n250 AUTH XOAUTH2\r\n"), 0);
    smtp_client_auth_begin(session.client, "XOAUTH2", slice_make(token, sizeof token), 0);
    drive(&session);
    assert_string_equal(buf_text(&session.said), "EHLO me|AUTH XOAUTH2|");
    feed(&session, SLICE("334 \r\n"), 0);
    assert_int_equal(smtp_client_want(session.client), WANT_READ);
    assert_int_equal(session.said.size, strlen("EHLO me|AUTH XOAUTH2|") + sizeof token + 1);
    finish(&session);
}

/* What comes behind `AUTH PLAIN =` or in its place. */
static void T10_a_refusal_defers_and_keeps_its_code(void **state)
{
    static const struct { const char *ehlo, *answer; int code; const char *status; } cases[] = {
        {"250 me\r\n", "", 0, "4.7.0"},
        {"250 AUTH\r\n", "535 5.7.8 no\r\n", 535, "4.7.8"},
        {"250 AUTH PLAIN\r\n", "535 no\r\n", 535, "4.7.8"},
        {"250 AUTH PLAIN\r\n", "454 4.7.0 later\r\n", 454, "4.7.0"},
        {"250 AUTH PLAIN\r\n", "421 4.3.0 bye\r\n", 421, "4.3.0"},
        {"250 AUTH PLAIN\r\n", "250 what\r\n", 250, "4.7.8"},
        {"250 AUTH PLAIN\r\n", "334 YQ==\r\n235 in\r\n", 235, "4.7.8"}, /* nobody had answered yet */
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct session session;
        start_login(&session);
        feed(&session, SLICE(SAID), 0);
        feed(&session, SLICE("250-me\r\n"), 0);
        feed(&session, slice_of(cases[i].ehlo), 0);
        if (cases[i].answer[0]) {
            smtp_client_auth_begin(session.client, "PLAIN", SLICE(""), 0);
            drive(&session);
            assert_string_equal(buf_text(&session.said), "EHLO me|AUTH PLAIN =|");
            smtp_client_feed(session.client, slice_of(cases[i].answer), 0);
        }
        const struct smtp_result *failure = smtp_client_failure(session.client);
        assert_int_equal(smtp_client_want(session.client), WANT_CLOSE);
        assert_int_equal(failure->kind, RESULT_DEFERRED);
        assert_int_equal(failure->code, cases[i].code);
        assert_string_equal(failure->status, cases[i].status);
        assert_string_equal(failure->stage, "auth");
        assert_false(session.was_sent);
        finish(&session);
    }
}

static void T10_no_auth_without_tls(void **state)
{
    (void)state;
    struct session session;
    struct smtp_client_options options = {.helo_name = "me", .tls = SMTP_TLS_MAY, .wants_auth = true};
    start(&session, SMTP_TLS_MAY);
    smtp_client_destroy(&session.client);
    session.client = smtp_client_create(&options, 0);
    smtp_client_feed(session.client, SLICE(OFFER), 0);
    assert_int_equal(smtp_client_want(session.client), WANT_CLOSE);
    assert_string_equal(smtp_client_failure(session.client)->stage, "auth");
    finish(&session);
}

static void T10_a_cancelled_exchange_ends_with_a_star(void **state)
{
    (void)state;
    struct session session;
    start_login(&session);
    feed(&session, SLICE(SAID), 0);
    feed(&session, SLICE("250-me\r\n250 AUTH LOGIN\r\n"), 0);
    smtp_client_auth_begin(session.client, "LOGIN", SLICE_NONE, 0);
    drive(&session);
    feed(&session, SLICE("334 VXNlcm5hbWU6\r\n"), 0);
    smtp_client_auth_cancel(session.client, "our reason", 0);
    drive(&session);
    smtp_client_feed(session.client, SLICE("501 5.7.0 cancelled\r\n"), 0);
    assert_string_equal(buf_text(&session.said), "EHLO me|AUTH LOGIN|*|");
    assert_true(slice_equals(smtp_client_failure(session.client)->text, SLICE("our reason")));
    finish(&session);
}

static void pitfall_26_everything_is_forgotten_after_starttls(void **state)
{
    (void)state;
    struct session session;
    start(&session, SMTP_TLS_MAY);
    smtp_client_feed(session.client, SLICE("220 hi\r\n250-me\r\n250-SIZE 5\r\n250-PIPELINING\r\n250 STARTTLS\r\n220 go\r\n"), 0);
    assert_int_equal(smtp_client_want(session.client), WANT_TLS);
    smtp_client_secured(session.client, 0);
    assert_int_equal(smtp_client_offers(session.client), 0);
    assert_int_equal(smtp_client_size_limit(session.client), 0);
    smtp_client_feed(session.client, SLICE("250-me\r\n250 8BITMIME\r\n"), 0);
    assert_int_equal(smtp_client_want(session.client), WANT_MESSAGE);
    assert_int_equal(smtp_client_offers(session.client), SMTP_8BITMIME);
    finish(&session);
}

static void pitfall_28_too_large_and_20_smtputf8_fail_unsent(void **state)
{
    static const struct { const char *ehlo; bool is_smtputf8; const char *status; } cases[] = {
        {"250-me\r\n250 SIZE 9\r\n", false, "5.3.4"},
        {"250 me\r\n", true, "5.6.7"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct session session;
        start(&session, SMTP_TLS_NEVER);
        session.transaction.is_smtputf8 = cases[i].is_smtputf8;
        feed(&session, SLICE("220 hi\r\n"), 0);
        feed(&session, slice_of(cases[i].ehlo), 0);
        assert_true(session.transaction.is_settled);
        assert_int_equal(session.recipients[1].result.kind, RESULT_FAILED);
        assert_string_equal(session.recipients[1].result.status, cases[i].status);
        assert_string_equal(buf_text(&session.said), "EHLO me|");
        finish(&session);
    }
}

static void pitfall_22_final_dot_has_ten_minutes(void **state)
{
    (void)state;
    struct session session;
    start(&session, SMTP_TLS_NEVER);
    assert_int_equal(smtp_client_deadline_ms(session.client), 300000);
    feed(&session, SLICE("220 hi\r\n"), 0);
    feed(&session, SLICE("250-me\r\n250 PIPELINING\r\n"), 0);
    feed(&session, SLICE("250 a\r\n250 b\r\n250 c\r\n354 go\r\n"), 0);
    assert_int_equal(smtp_client_deadline_ms(session.client), 600000);
    smtp_client_timeout(session.client, 600000);
    assert_int_equal(session.recipients[0].result.kind, RESULT_UNKNOWN);
    finish(&session);
}

static void endless_replies_are_garbage(void **state)
{
    (void)state;
    struct reply reply = {0};
    size_t consumed;
    static char line[REPLY_LINE_SIZE_MAX + 2];
    memset(line, 'x', sizeof line);
    assert_int_equal(reply_feed(&reply, slice_make(line, sizeof line), &consumed), PARSE_BAD);
    reply_reset(&reply);
    enum parse result = PARSE_MORE;
    for (int i = 0; i <= REPLY_LINES_MAX && result == PARSE_MORE; i++)
        result = reply_feed(&reply, SLICE("250-more\r\n"), &consumed);
    assert_int_equal(result, PARSE_BAD);
    reply_finish(&reply);
}

static void enhanced_code_must_agree_with_the_code(void **state)
{
    static const struct { const char *line, *status; } cases[] = {
        {"550 5.1.1 no\r\n", "5.1.1"}, {"550 4.1.1 no\r\n", "5.0.0"}, {"451 4.7.650 wait\r\n", "4.7.650"},
        {"550 no\r\n", "5.0.0"},       {"550 5.1 no\r\n", "5.0.0"},   {"550-5.7.1 a\r\n550 b\r\n", "5.7.1"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct reply reply = {0};
        size_t consumed;
        char status[16];
        assert_int_equal(reply_feed(&reply, slice_of(cases[i].line), &consumed), PARSE_DONE);
        reply_status(&reply, status);
        assert_string_equal(status, cases[i].status);
        reply_finish(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dialog_gives_each_recipient_its_result),
        cmocka_unit_test(T9_a_rehearsal_ends_with_rset),
        cmocka_unit_test(connection_that_never_serves_says_why),
        cmocka_unit_test(T10_auth_comes_before_the_first_message),
        cmocka_unit_test(T10_a_long_first_response_waits_for_an_empty_challenge),
        cmocka_unit_test(T10_a_refusal_defers_and_keeps_its_code),
        cmocka_unit_test(T10_no_auth_without_tls),
        cmocka_unit_test(T10_a_cancelled_exchange_ends_with_a_star),
        cmocka_unit_test(pitfall_26_everything_is_forgotten_after_starttls),
        cmocka_unit_test(pitfall_28_too_large_and_20_smtputf8_fail_unsent),
        cmocka_unit_test(pitfall_22_final_dot_has_ten_minutes),
        cmocka_unit_test(endless_replies_are_garbage),
        cmocka_unit_test(enhanced_code_must_agree_with_the_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
