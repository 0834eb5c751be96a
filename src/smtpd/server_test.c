/* The server machine: dialogs whole and cut at every octet, the smuggling matrix, the relay forms, AUTH and STARTTLS. */
#include "smtpd/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HELLO "EHLO me\r\n"
#define ENVELOPE "MAIL FROM:<a@x.org>\r\nRCPT TO:<b@ours.test>\r\n"
#define HEADER "From: a@x.org\r\n\r\n"

enum { WHOLE = 1 << 30 };

struct talk {
    struct server server;
    struct policy policy;
    struct server_options options;
    struct buf replies;   /* codes of last lines, blank-parted */
    struct buf contents;  /* of stored messages, each ended by "|" */
    struct buf envelopes; /* their recipients */
    size_t stored_count;
    enum server_stored how;
};

static char *domains[] = {(char *)"ours.test", (char *)"*.wide.test"};

static void talk_begin(struct talk *talk, bool may_relay)
{
    memset(talk, 0, sizeof *talk);
    talk->policy.domains = (struct config_list){domains, COUNT_OF(domains)};
    talk->options = (struct server_options){
        .host = "mail.test", .policy = &talk->policy, .default_domain = SLICE("mail.test"), .message_size = 100000,
        .header_size = 10000, .header_count = 100, .hops = 20, .recipients = 5, .messages = 3, .errors = 20,
        .is_tls_offered = true, .mechanisms = "PLAIN",
    };
    struct server_client client = {.may_relay = may_relay, .is_loopback = true};
    (void)snprintf(client.address_text, sizeof client.address_text, "192.0.2.1");
    server_init(&talk->server, &talk->options, &client);
    server_greet(&talk->server, NULL);
}

static void talk_end(struct talk *talk)
{
    server_finish(&talk->server);
    buf_finish(&talk->replies);
    buf_finish(&talk->contents);
    buf_finish(&talk->envelopes);
}

static void take_replies(struct talk *talk)
{
    struct slice rest = buf_slice(&talk->server.output);
    while (rest.size) {
        struct slice line = slice_cut(&rest, '\n');
        assert_true(line.size >= 5 && line.data[line.size - 1] == '\r');
        if (line.data[3] == ' ')
            buf_printf(&talk->replies, "%s%.3s", talk->replies.size ? " " : "", line.data);
    }
    buf_clear(&talk->server.output);
}

static void store(struct talk *talk)
{
    struct server *server = &talk->server;
    buf_append(&talk->contents, server->store.bytes);
    if (server->store.is_last) {
        const struct submission *submission = server_submission(server);
        buf_append_byte(&talk->contents, '|');
        for (size_t i = 0; i < submission->recipient_count; i++)
            buf_printf(&talk->envelopes, "%.*s ", SLICE_FMT(submission->recipients[i].address));
        talk->stored_count++;
    }
    server_stored(server, talk->how, SLICE_NONE);
}

/* Answers whatever the machine wants, until it wants input. */
static void serve(struct talk *talk)
{
    struct server *server = &talk->server;
    for (;;) {
        take_replies(talk);
        switch (server->want) {
        case SERVER_STORE: store(talk); break;
        case SERVER_TLS: server_secured(server, "TLSv1.3"); break;
        case SERVER_PAUSE: server_resume(server); break;
        case SERVER_AUTH:
            if (slice_is_absent(server->auth.response))
                server_auth(server, AUTH_CHALLENGE, SLICE(""));
            else
                server_auth(server, slice_equals(server->auth.response, SLICE("Z29vZA==")) ? AUTH_PASSED : AUTH_REFUSED,
                            SLICE("user"));
            break;
        case SERVER_ASK: server_asked(server, ASKED_STARTED, 2); break;
        case SERVER_READ:
        case SERVER_CLOSE: return;
        }
    }
}

static void say(struct talk *talk, struct slice text, size_t piece)
{
    serve(talk);
    while (text.size && talk->server.want != SERVER_CLOSE) {
        size_t used, size = piece < text.size ? piece : text.size;
        (void)server_feed(&talk->server, slice_first(text, size), 0, 0, &used);
        text = slice_from(text, used);
        serve(talk);
    }
}

static void check(const char *about, struct talk *talk, const char *replies, const char *contents)
{
    if (strcmp(buf_text(&talk->replies), replies) != 0 || (contents && strcmp(buf_text(&talk->contents), contents) != 0)) {
        print_error("%s: %s, contents %s\n  instead of %s, %s\n", about, buf_text(&talk->replies), buf_text(&talk->contents), replies,
                    contents ? contents : "");
        fail();
    }
}

/* ---- dialogs, each step a group that a client may send at once ---- */

static const struct dialog {
    const char *about;
    const char *steps[8];
    const char *replies, *contents;
} dialogs[] = {
    {"a message", {HELLO, ENVELOPE "DATA\r\n", HEADER "..hi\r\n.\r\n", "QUIT\r\n"}, "220 250 250 250 354 250 221", HEADER ".hi\r\n|"},
    {"an empty one", {HELLO, ENVELOPE "DATA\r\n", ".\r\n"}, "220 250 250 250 354 250", "|"},
    {"BDAT in two", {HELLO, ENVELOPE "BDAT 4\r\nA: bBDAT 5 LAST\r\n\r\n\r\nc"}, "220 250 250 250 250 250", "A: b\r\n\r\nc|"},
    {"BDAT keeps dots", {HELLO, ENVELOPE "BDAT 7 LAST\r\n\r\n..a\r\n"}, "220 250 250 250 250", "\r\n..a\r\n|"},
    {"BDAT with no envelope is read over", {HELLO, "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"}, "220 250 503 250", ""},
    {"BDAT then DATA", {HELLO, ENVELOPE "BDAT 4\r\nA: b", "DATA\r\n", "RSET\r\n"}, "220 250 250 250 250 503 250", ""},
    {"BDAT of too much", {HELLO, ENVELOPE "BDAT 18446744073709551616\r\n"}, "220 250 250 250 501", ""},
    {"BDAT over the limit", {HELLO, ENVELOPE "BDAT 100001 LAST\r\n"}, "220 250 250 250 552", ""},
    {"BDAT of less than nothing", {HELLO, ENVELOPE "BDAT -1\r\n"}, "220 250 250 250 501", ""},
    {"BDAT LAST LAST", {HELLO, ENVELOPE "BDAT 1 LAST LAST\r\n"}, "220 250 250 250 501", ""},
    {"nothing before EHLO", {"MAIL FROM:<a@b.c>\r\n", "RCPT TO:<a@b.c>\r\n", "DATA\r\n"}, "220 503 503 503", ""},
    {"DATA without recipients", {HELLO, "MAIL FROM:<>\r\n", "DATA\r\n"}, "220 250 250 503", ""},
    {"MAIL twice", {HELLO, "MAIL FROM:<>\r\n", "MAIL FROM:<>\r\n"}, "220 250 250 503", ""},
    {"EHLO forgets", {HELLO, ENVELOPE, HELLO, "DATA\r\n"}, "220 250 250 250 250 503", ""},
    {"RSET forgets", {HELLO, ENVELOPE, "RSET\r\n", "DATA\r\n"}, "220 250 250 250 250 503", ""},
    {"HELO has no parameters", {"HELO me\r\n", "MAIL FROM:<a@b.c> SIZE=1\r\n", "MAIL FROM:<a@b.c>\r\n"}, "220 250 555 250", ""},
    {"the rest", {HELLO, "NOOP x\r\n", "VRFY a\r\n", "EXPN a\r\n", "HELP\r\n", "ETRN x.org\r\n", "FOO\r\n", "\r\n"},
     "220 250 250 252 502 214 502 500 500", ""},
    {"sizes", {HELLO, "MAIL FROM:<> SIZE=100001\r\n", "MAIL FROM:<> SIZE=x\r\n", "MAIL FROM:<> SIZE=99999999999999999999\r\n"},
     "220 250 552 501 552", ""},
    {"parameters", {HELLO, "MAIL FROM:<> BODY=BINARYMIME\r\n", "MAIL FROM:<> FOO=1\r\n", "MAIL FROM:<> RET=FULL RET=HDRS\r\n",
                    "MAIL FROM:<> ENVID=+00\r\n", "MAIL FROM:<> ENVID=a+0D+0A\r\n",
                    "MAIL FROM:<> SIZE=1 BODY=8BITMIME RET=HDRS ENVID=a+20b AUTH=<> SMTPUTF8\r\n"},
     "220 250 501 555 501 501 501 250", ""},
    {"recipients' parameters", {HELLO, "MAIL FROM:<>\r\n", "RCPT TO:<b@ours.test> NOTIFY=NEVER,DELAY\r\n",
                                "RCPT TO:<b@ours.test> ORCPT=b\r\n", "RCPT TO:<b@ours.test> NOTIFY=DELAY ORCPT=rfc822;b\r\n"},
     "220 250 250 501 501 250", ""},
    {"too many recipients", {HELLO, "MAIL FROM:<>\r\n", "RCPT TO:<1@ours.test>\r\nRCPT TO:<2@ours.test>\r\nRCPT TO:<3@ours.test>\r\n"
                             "RCPT TO:<4@ours.test>\r\nRCPT TO:<5@ours.test>\r\nRCPT TO:<6@ours.test>\r\n"},
     "220 250 250 250 250 250 250 250 452", ""},
    {"UTF-8 needs SMTPUTF8", {HELLO, "MAIL FROM:<\xc3\xa9@x.org>\r\n", "MAIL FROM:<\xc3\xa9@x.org> SMTPUTF8\r\n"}, "220 250 553 250", ""},
    {"HTTP", {"GET / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n"}, "220 521", ""},
    {"a TLS hello", {"\x16\x03\x01\x02"}, "220 521", ""},
    {"a control octet", {"EHLO a\x01\r\n"}, "220 500", ""},
    {"a bare LF in a command", {"EHLO a\nMAIL FROM:<>\r\n"}, "220 500", ""},
    {"a bare CR in a command", {"EHLO a\rMAIL FROM:<>\r\n"}, "220 500", ""},
    {"STARTTLS forgets all", {HELLO, "STARTTLS\r\n", "MAIL FROM:<>\r\n", HELLO "", "STARTTLS\r\n"}, "220 250 220 503 250 503", ""},
    {"AUTH needs TLS", {HELLO, "AUTH PLAIN Z29vZA==\r\n"}, "220 250 538", ""},
    {"AUTH", {HELLO, "STARTTLS\r\n", HELLO, "AUTH PLAIN Z29vZA==\r\n", "AUTH PLAIN\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<a@far.test>\r\n"},
     "220 250 220 250 235 503 250 250", ""},
    {"AUTH in steps", {HELLO, "STARTTLS\r\n", HELLO, "AUTH PLAIN\r\n", "Z29vZA==\r\n"}, "220 250 220 250 334 235", ""},
    {"AUTH given up", {HELLO, "STARTTLS\r\n", HELLO, "AUTH PLAIN\r\n", "*\r\n", "AUTH FOO\r\n"}, "220 250 220 250 334 501 504", ""},
    {"AUTH, thrice wrong", {HELLO, "STARTTLS\r\n", HELLO, "AUTH PLAIN !\r\n", "AUTH PLAIN AAAA\r\n", "AUTH PLAIN AAAA\r\n"},
     "220 250 220 250 501 535 421", ""},
    {"a first line that would fold", {HELLO, ENVELOPE "DATA\r\n", " x\r\n.\r\n"}, "220 250 250 250 354 250", "\r\n x\r\n|"},
    {"enough messages", {HELLO, ENVELOPE "BDAT 0 LAST\r\n" ENVELOPE "BDAT 0 LAST\r\n" ENVELOPE "BDAT 0 LAST\r\n" "MAIL FROM:<>\r\n"},
     "220 250 250 250 250 250 250 250 250 250 250 421", "|||"},
};

static void dialogs_are_answered_whatever_the_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(dialogs); i++) {
        for (size_t piece = 1; piece <= 3; piece++) {
            struct talk talk;
            talk_begin(&talk, false);
            for (size_t step = 0; step < COUNT_OF(dialogs[i].steps) && dialogs[i].steps[step]; step++)
                say(&talk, slice_of(dialogs[i].steps[step]), piece == 3 ? WHOLE : piece);
            check(dialogs[i].about, &talk, dialogs[i].replies, dialogs[i].contents);
            talk_end(&talk);
        }
    }
}

/* ---- D2: RELIABILITY 4.7 ---- */

#define SEQUENCE(text) {text, sizeof(text) - 1}
#define AFTER "MAIL FROM:<e@evil.test>\r\nRCPT TO:<v@ours.test>\r\nDATA\r\nsmuggled\r\n.\r\n"

static const struct { struct slice octets; bool is_text; } sequences[] = {
    {SEQUENCE("\n.\n"), false}, {SEQUENCE("\r.\r"), false}, {SEQUENCE("\r.\n"), false}, {SEQUENCE("\n.\r"), false},
    {SEQUENCE("\n.\r\n"), false}, {SEQUENCE("\r\n.\n"), false}, {SEQUENCE("\r.\r\n"), false}, {SEQUENCE("\r\n.\r"), false},
    {SEQUENCE("\r\n\0.\r\n"), false}, {SEQUENCE("\r\n.\0\r\n"), false}, {SEQUENCE("\r\n.\r\r\n"), false},
    {SEQUENCE("\r\r\n.\r\r\n"), false}, {SEQUENCE("\n\n.\r\n"), false}, {SEQUENCE("\r\n. \r\n"), true},
    {SEQUENCE("\r\n.\t\r\n"), true}, {SEQUENCE("\x0b.\r\n"), true}, {SEQUENCE("\x85.\r\n"), true},
    {SEQUENCE("\xe2\x80\xa8.\r\n"), true}, {SEQUENCE("\r\n..\r\n"), true},
};

/* One message goes in: one comes out, or none and the connection ends. `is_old`: D10, its bare LF is a line end. */
static void smuggle(size_t i, bool is_bdat, bool is_secured, bool is_old, size_t piece, size_t cut)
{
    struct talk talk;
    struct buf text = {0};
    talk_begin(&talk, false);
    talk.server.client.may_bare_lf = is_old;
    say(&talk, SLICE(HELLO), WHOLE);
    if (is_secured) {
        say(&talk, SLICE("STARTTLS\r\n"), WHOLE);
        say(&talk, SLICE(HELLO), WHOLE);
        say(&talk, SLICE("AUTH PLAIN Z29vZA==\r\n"), WHOLE);
    }
    buf_append(&text, SLICE(HEADER "x"));
    buf_append(&text, sequences[i].octets);
    buf_append(&text, SLICE(AFTER));
    if (is_bdat) {
        struct buf command = {0};
        buf_printf(&command, ENVELOPE "BDAT %zu LAST\r\n", text.size);
        say(&talk, buf_slice(&command), WHOLE);
        buf_finish(&command);
    } else {
        say(&talk, SLICE(ENVELOPE "DATA\r\n"), WHOLE);
    }
    say(&talk, slice_first(buf_slice(&text), cut), piece);
    say(&talk, slice_from(buf_slice(&text), cut), piece);
    bool is_fine = sequences[i].is_text
                       ? talk.stored_count == 1 && talk.server.want != SERVER_CLOSE
                       : talk.stored_count == 0 && talk.server.want == SERVER_CLOSE
                             && slice_ends_nocase(buf_slice(&talk.replies), SLICE(" 554"));
    if (is_old) /* what has no other fault than a bare LF is one message, with all that was behind it */
        is_fine = is_fine || (talk.stored_count == 1 && slice_find(buf_slice(&talk.contents), SLICE("smuggled")) > 0);
    if (!is_fine || strstr(buf_text(&talk.envelopes), "v@")) {
        print_error("sequence %zu, bdat %d, tls %d, piece %zu, cut %zu: %s, %zu stored\n", i, is_bdat, is_secured, piece, cut,
                    buf_text(&talk.replies), talk.stored_count);
        fail();
    }
    buf_finish(&text);
    talk_end(&talk);
}

static void no_form_of_smuggling_passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sequences); i++)
        for (int way = 0; way < 4; way++) {
            size_t size = sizeof HEADER + sequences[i].octets.size + sizeof AFTER - 2;
            for (size_t cut = 0; cut <= size; cut++)
                smuggle(i, way & 1, way & 2, false, WHOLE, cut);
            smuggle(i, way & 1, way & 2, false, 1, 0);
            smuggle(i, way & 1, way & 2, true, WHOLE, 0);
            smuggle(i, way & 1, way & 2, true, 1, 0);
        }
}

static void a_bare_lf_of_an_old_program_is_a_line_end(void **state)
{
    static const struct { const char *about, *said, *replies, *contents; } rows[] = {
        {"commands", "EHLO me\nMAIL FROM:<a@x.org>\nRCPT TO:<b@ours.test>\nBDAT 3 LAST\na\nbNOOP\n", "220 250 250 250 250 250", "a\r\nb|"},
        {"content", HELLO ENVELOPE "DATA\n" "h: 1\n\n.b\n..c\n.\n.\r\n.d\r\n.\n\r\n.\r\nNOOP\n",
         "220 250 250 250 354 250 250", "h: 1\r\n\r\nb\r\n.c\r\n\r\n\r\nd\r\n\r\n\r\n|"},
        {"a bare CR is none", HELLO ENVELOPE "DATA\n" "x\r.\r\n", "220 250 250 250 354 554", ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct talk talk;
        talk_begin(&talk, false);
        talk.server.client.may_bare_lf = true;
        say(&talk, slice_of(rows[i].said), 1); /* octet by octet: nobody is rude */
        check(rows[i].about, &talk, rows[i].replies, rows[i].contents);
        talk_end(&talk);
    }
}

static void a_header_line_that_can_not_be_folded_is_refused(void **state)
{
    static const struct { size_t before, word; const char *reply; } rows[] = { /* "x: " and blanks, a word, then 200 more */
        {0, 995, "250"}, {0, 997, "250"}, {0, 998, "554"}, {990, 997, "250"}, {990, 998, "554"}, {500, 400, "250"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct talk talk;
        struct buf text = {0};
        talk_begin(&talk, false);
        say(&talk, SLICE(HELLO), WHOLE);
        say(&talk, SLICE(ENVELOPE "DATA\r\n"), WHOLE);
        buf_append(&text, SLICE("x:"));
        for (size_t k = 0; k < rows[i].before; k++)
            buf_append_byte(&text, k % 10 ? 'y' : ' ');
        buf_append_byte(&text, ' ');
        for (size_t k = 0; k < rows[i].word; k++)
            buf_append_byte(&text, 'z');
        buf_append(&text, SLICE(" end\r\n\r\n"));
        for (size_t k = 0; k < 5000; k++)
            buf_append_byte(&text, 'b'); /* of the body it is no matter: it is re-encoded */
        buf_append(&text, SLICE("\r\n.\r\n"));
        say(&talk, buf_slice(&text), WHOLE);
        const char *code = buf_text(&talk.replies) + talk.replies.size - 3;
        if (strcmp(code, rows[i].reply) != 0)
            fail_msg("row %zu: %s", i, code);
        buf_finish(&text);
        talk_end(&talk);
    }
}

static void input_ahead_of_the_answer_ends_the_connection(void **state)
{
    static const char *const texts[] = {HELLO "STARTTLS\r\n", "STARTTLS\r\nMAIL FROM:<>\r\n", ENVELOPE "DATA\r\n" HEADER ".\r\n"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct talk talk;
        talk_begin(&talk, false);
        if (i > 0)
            say(&talk, SLICE(HELLO), WHOLE);
        say(&talk, slice_of(texts[i]), WHOLE);
        assert_int_equal(talk.server.want, SERVER_CLOSE);
        assert_true(slice_ends_nocase(buf_slice(&talk.replies), SLICE("554")));
        assert_int_equal(talk.stored_count, 0);
        talk_end(&talk);
    }
}

static void early_talkers_are_not_greeted(void **state)
{
    (void)state;
    struct talk talk;
    size_t used;
    talk_begin(&talk, false);
    struct server_client client = {.may_relay = false};
    server_finish(&talk.server);
    server_init(&talk.server, &talk.options, &client);
    assert_int_equal(server_feed(&talk.server, SLICE("EHLO x\r\n"), 0, 0, &used), SERVER_CLOSE);
    assert_memory_equal(talk.server.output.data, "554", 3);
    talk_end(&talk);
}

/* ---- D8 ---- */

static const struct { const char *path; int stranger, trusted; } relay_forms[] = {
    {"b@ours.test", 250, 250}, {"B@OURS.TEST", 250, 250}, {"b@ours.test.", 250, 250}, {"b@a.wide.test", 250, 250},
    {"b@wide.test", 550, 250}, {"b@notours.test", 550, 250}, {"b@ours.test.evil.test", 550, 250}, {"b@xours.test", 550, 250},
    {"b@far.test", 550, 250}, {"@ours.test:b@far.test", 553, 553}, {"@far.test:b@ours.test", 553, 553},
    {"@a,@b:c@ours.test", 553, 553}, {"b%far.test@ours.test", 550, 250}, {"far.test!b@ours.test", 550, 250},
    {"\\\"b@far.test\\\"@ours.test", 501, 501}, {"\"b@far.test\"@ours.test", 550, 250}, {"\"b%far.test\"@ours.test", 550, 250},
    {"b@far.test@ours.test", 501, 501}, {"b@ours.test@far.test", 501, 501}, {"b@[192.0.2.1]", 550, 250},
    {"b@[127.0.0.1]", 550, 250}, {"b@[IPv6:::1]", 550, 250}, {"b@[ours.test]", 501, 501}, {"b@[]", 501, 501}, {"b@", 501, 501},
    {"@ours.test", 553, 553}, {"@", 553, 553}, {"b", 501, 501}, {"=?utf-8?q?b=40far.test?=@ours.test", 250, 250},
    {"b@ours.test,c@far.test", 501, 501}, {"b@ours.test;c@far.test", 501, 501}, {"b@ours.test c@far.test", 501, 501},
    {"b@ours..test", 501, 501}, {"b@.ours.test", 501, 501}, {"b@ours.test..", 501, 501}, {"b:c@ours.test", 501, 501},
    {"b@127.0.0.1", 550, 250}, {"b@localhost", 550, 250}, {"\"\"@far.test", 550, 250}, {"b@far.test%ours.test", 501, 501},
    {"b@far.test:ours.test", 501, 501}, {"b@ours.test/far.test", 501, 501}, {"b@xn--.test", 501, 501}, {"<b@far.test>", 501, 501},
    {"b(c)@ours.test", 250, 250},
};

static void relaying_is_decided_on_the_parsed_domain(void **state)
{
    size_t bad = 0;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(relay_forms); i++) {
        for (int trusted = 0; trusted < 2; trusted++) {
            struct talk talk;
            struct buf command = {0};
            int wanted = trusted ? relay_forms[i].trusted : relay_forms[i].stranger;
            talk_begin(&talk, trusted);
            say(&talk, SLICE(HELLO), WHOLE);
            say(&talk, SLICE("MAIL FROM:<>\r\n"), WHOLE);
            buf_printf(&command, "RCPT TO:<%s>\r\n", relay_forms[i].path);
            say(&talk, buf_slice(&command), WHOLE);
            int code = atoi(buf_text(&talk.replies) + talk.replies.size - 3);
            if (code != wanted) {
                print_error("%s: %d instead of %d (%s)\n", relay_forms[i].path, code, wanted, trusted ? "trusted" : "stranger");
                bad++;
            }
            buf_finish(&command);
            talk_end(&talk);
        }
    }
    assert_int_equal(bad, 0);
}

/* ---- limits and failures ---- */

static void long_lines_end_the_connection_early(void **state)
{
    static const struct { const char *begin; size_t most; } cases[] = {{"EHLO ", SERVER_LINE_SIZE_MAX}, {"AUTH PLAIN ", SERVER_AUTH_SIZE_MAX}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct talk talk;
        char many[1000];
        memset(many, 'A', sizeof many);
        talk_begin(&talk, false);
        say(&talk, SLICE(HELLO), WHOLE);
        say(&talk, slice_of(cases[i].begin), WHOLE);
        size_t said = 0;
        while (talk.server.want == SERVER_READ && said < 1 << 20) {
            say(&talk, slice_make(many, sizeof many), WHOLE);
            said += sizeof many;
        }
        assert_true(said >= cases[i].most - 1000 && said <= cases[i].most + 1000);
        check(cases[i].begin, &talk, "220 250 500", "");
        talk_end(&talk);
    }
}

static void errors_are_counted_and_end_it(void **state)
{
    (void)state;
    struct talk talk;
    talk_begin(&talk, false);
    talk.options.tarpit_ms = 1000;
    int said = 0;
    for (; talk.server.want == SERVER_READ && said < 100; said++)
        say(&talk, SLICE("FOO\r\n"), WHOLE);
    assert_int_equal(said, 20);
    assert_true(slice_ends_nocase(buf_slice(&talk.replies), SLICE(" 421")));
    talk_end(&talk);
}

static void what_is_not_durable_gets_no_250(void **state)
{
    static const struct { enum server_stored how; const char *replies; } cases[] = {
        {STORED_NO_SPACE, "220 250 250 250 354 452 250"}, {STORED_FAILED, "220 250 250 250 354 451 250"}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct talk talk;
        talk_begin(&talk, false);
        talk.how = cases[i].how;
        say(&talk, SLICE(HELLO), WHOLE);
        say(&talk, SLICE(ENVELOPE "DATA\r\n"), WHOLE);
        say(&talk, SLICE(HEADER ".\r\nMAIL FROM:<>\r\n"), WHOLE);
        check("storing", &talk, cases[i].replies, NULL);
        talk_end(&talk);
    }
}

static void too_large_is_told_once_it_is_over(void **state)
{
    (void)state;
    struct talk talk;
    talk_begin(&talk, false);
    say(&talk, SLICE(HELLO), WHOLE);
    say(&talk, SLICE(ENVELOPE "DATA\r\n"), WHOLE);
    say(&talk, SLICE(HEADER), WHOLE);
    for (int i = 0; i < 210; i++)
        say(&talk, SLICE("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                         "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123\r\n"),
            WHOLE);
    say(&talk, SLICE(".\r\nNOOP\r\n"), WHOLE);
    check("too large", &talk, "220 250 250 250 354 552 250", "");
    talk_end(&talk);
}

static void too_many_hops_are_a_loop(void **state)
{
    (void)state;
    struct talk talk;
    talk_begin(&talk, false);
    say(&talk, SLICE(HELLO), WHOLE);
    say(&talk, SLICE(ENVELOPE "DATA\r\n"), WHOLE);
    for (int i = 0; i < 21; i++)
        say(&talk, SLICE("Received: from a by b;\r\n\tnow\r\n"), WHOLE);
    say(&talk, SLICE("\r\n.\r\n"), WHOLE);
    check("hops", &talk, "220 250 250 250 354 554", "");
    talk_end(&talk);
}

static void a_header_of_too_many_fields_is_refused(void **state)
{
    (void)state;
    struct talk talk;
    talk_begin(&talk, false);
    say(&talk, SLICE(HELLO), WHOLE);
    say(&talk, SLICE(ENVELOPE "DATA\r\n"), WHOLE);
    for (int i = 0; i < 101; i++)
        say(&talk, SLICE("X: y\r\n"), WHOLE);
    say(&talk, SLICE("\r\n.\r\n"), WHOLE);
    check("fields", &talk, "220 250 250 250 354 552", "");
    talk_end(&talk);
}

static void the_received_line_says_how_it_came(void **state)
{
    static const struct { const char *steps[5]; const char *wanted; } cases[] = {
        {{"HELO me\r\n", ENVELOPE}, "with SMTP\r\n"},
        {{HELLO, ENVELOPE}, "with ESMTP\r\n"},
        {{HELLO, "STARTTLS\r\n", HELLO, ENVELOPE}, "with ESMTPS\r\n"},
        {{HELLO, "STARTTLS\r\n", HELLO, "AUTH PLAIN Z29vZA==\r\n", ENVELOPE}, "with ESMTPSA\r\n"},
        {{HELLO, "MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<b@ours.test>\r\n"}, "with UTF8SMTP\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct talk talk;
        size_t used;
        talk_begin(&talk, false);
        for (size_t k = 0; k < COUNT_OF(cases[i].steps) && cases[i].steps[k]; k++)
            say(&talk, slice_of(cases[i].steps[k]), WHOLE);
        (void)server_feed(&talk.server, SLICE("BDAT 0 LAST\r\n"), 0, 0, &used);
        const struct submission *submission = server_submission(&talk.server);
        assert_true(slice_find(submission->trace, slice_of(cases[i].wanted)) > 0);
        assert_true(slice_starts(submission->trace, SLICE("Received: from me ([192.0.2.1])\r\n\t")));
        assert_int_equal(submission->origin, i == 3 ? SUBMISSION_ACCEPTED : SUBMISSION_RELAYED);
        talk_end(&talk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialogs_are_answered_whatever_the_split),
        cmocka_unit_test(no_form_of_smuggling_passes),
        cmocka_unit_test(a_bare_lf_of_an_old_program_is_a_line_end),
        cmocka_unit_test(a_header_line_that_can_not_be_folded_is_refused),
        cmocka_unit_test(input_ahead_of_the_answer_ends_the_connection),
        cmocka_unit_test(early_talkers_are_not_greeted),
        cmocka_unit_test(relaying_is_decided_on_the_parsed_domain),
        cmocka_unit_test(long_lines_end_the_connection_early),
        cmocka_unit_test(errors_are_counted_and_end_it),
        cmocka_unit_test(what_is_not_durable_gets_no_250),
        cmocka_unit_test(too_large_is_told_once_it_is_over),
        cmocka_unit_test(too_many_hops_are_a_loop),
        cmocka_unit_test(a_header_of_too_many_fields_is_refused),
        cmocka_unit_test(the_received_line_says_how_it_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
