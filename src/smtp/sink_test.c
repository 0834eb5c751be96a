#include "smtp/sink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum {
    ALL = SMTP_PIPELINING | SMTP_SIZE | SMTP_8BITMIME | SMTP_SMTPUTF8 | SMTP_CHUNKING | SMTP_DSN
          | SMTP_STARTTLS
};

#define GREET "EHLO c\r\n"
#define START GREET "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"

/* What the sink says is compared by the codes of its final reply lines: "220 250 354". */
static void append_codes(struct slice output, struct buf *out)
{
    while (output.size > 0) {
        struct slice line = slice_cut(&output, '\n');
        if (line.size > 3 && line.data[3] == ' ') {
            if (out->size > 0)
                buf_append_byte(out, ' ');
            buf_append(out, slice_first(line, 3));
        }
    }
}

/* Feeds a dialog in pieces of `step` octets, taking every message with 250; messages' contents go
 * to `contents`, each with its size's worth of octets and a "|" behind. */
static enum sink_want talk(const struct sink_options *options, struct slice input, size_t step,
                           struct buf *codes, struct buf *contents)
{
    struct sink_session session;
    enum sink_want want = SINK_READ;

    sink_init(&session, options, 1);
    for (size_t at = 0; at < input.size && want != SINK_CLOSE;) {
        size_t left = input.size - at;
        size_t used;
        want =
            sink_feed(&session, slice_make(input.data + at, left < step ? left : step), 7, &used);
        at += used;
        if (want == SINK_MESSAGE) {
            struct slice content = sink_unstuff(&session.message);
            buf_append(contents, content);
            buf_append_byte(contents, '|');
            sink_answer(&session, "250 ok");
            want = SINK_READ;
        } else if (want == SINK_TLS) {
            sink_secured(&session);
            want = SINK_READ;
        }
    }
    append_codes(buf_slice(&session.output), codes);
    sink_finish(&session);
    return want;
}

struct dialog {
    const char *rule, *input, *codes, *contents;
};

static const struct dialog dialogs[] = {
    {"a message by DATA", START "DATA\r\nA: b\r\n\r\nx\r\n.\r\n", "220 250 250 250 354 250",
     "A: b\r\n\r\nx\r\n|"},
    {"an empty message", START "DATA\r\n.\r\n", "220 250 250 250 354 250", "|"},
    {"dots are taken off", START "DATA\r\n..\r\n..a\r\nb.\r\n.\r\n", "220 250 250 250 354 250",
     ".\r\n.a\r\nb.\r\n|"},
    {"a bare LF ends nothing", START "DATA\r\na\n.\nb\r\n.\nc\n.\r\n\r\n.\r\n",
     "220 250 250 250 354 250", "a\n.\nb\r\n\nc\n.\r\n\r\n|"},
    {"a bare CR ends nothing", START "DATA\r\na\r.\r\r\n.\r\n", "220 250 250 250 354 250",
     "a\r.\r\r\n|"},
    {"chunks", START "BDAT 3\r\na\r\nBDAT 2 LAST\r\n.\n", "220 250 250 250 250 250", "a\r\n.\n|"},
    {"an empty last chunk", START "BDAT 3\r\na\r\nBDAT 0 LAST\r\n", "220 250 250 250 250 250",
     "a\r\n|"},
    {"a chunk too early is swallowed", GREET "BDAT 5 LAST\r\nQUIT\nNOOP\r\n", "220 250 503 250",
     ""},
    {"a bad chunk size ends it", START "BDAT x\r\nNOOP\r\n", "220 250 250 250 501", ""},
    {"order is kept", "MAIL FROM:<a@b>\r\n" GREET "RCPT TO:<c@d>\r\nDATA\r\n",
     "220 503 250 503 503", ""},
    {"DATA without recipient", GREET "MAIL FROM:<>\r\nDATA\r\n", "220 250 250 554", ""},
    {"two senders", GREET "MAIL FROM:<>\r\nMAIL FROM:<>\r\n", "220 250 250 503", ""},
    {"paths must have brackets", GREET "MAIL FROM:a@b\r\nMAIL FROM:<a@b\r\n", "220 250 501 501",
     ""},
    {"quoted brackets", GREET "MAIL FROM:<\"a>\\\"\"@b>\r\nRCPT TO:<\">\"@d> NOTIFY=NEVER\r\n",
     "220 250 250 250", ""},
    {"unknown parameters",
     GREET "MAIL FROM:<a@b> FOO=1\r\nMAIL FROM:<a@b> RET=HDRS SIZE=5 BODY=8BITMIME\r\n",
     "220 250 555 250", ""},
    {"RSET forgets", START "RSET\r\nDATA\r\n", "220 250 250 250 250 503", ""},
    {"two messages in one flight",
     START "BDAT 1 LAST\r\naMAIL FROM:<e@f>\r\nRCPT TO:<c@d>\r\nBDAT 1 LAST\r\nb",
     "220 250 250 250 250 250 250 250", "a|b|"},
    {"words in any case",
     "ehlo c\r\nmail from:<a@b>\r\nrcpt to: <c@d>\r\nnoop\r\nVrfy x\r\nfoo\r\n",
     "220 250 250 250 250 252 500", ""},
    {"TLS forgets the greeting", GREET "STARTTLS\r\nMAIL FROM:<a@b>\r\n" GREET "STARTTLS\r\n",
     "220 250 220 503 250 502", ""},
};

static void dialogs_are_answered_whatever_the_split(void **state)
{
    struct sink_options options = {.host = "sink", .extensions = ALL, .keep = SINK_KEEP_ALL};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(dialogs); i++) {
        struct slice input = slice_of(dialogs[i].input);
        for (size_t step = 1; step <= input.size; step++) {
            struct buf codes = {0}, contents = {0};
            (void)talk(&options, input, step, &codes, &contents); /* codes and contents tell all */
            if (strcmp(buf_text(&codes), dialogs[i].codes) != 0
                || strcmp(buf_text(&contents), dialogs[i].contents) != 0)
                fail_msg("%s, step %zu: %s, contents %s", dialogs[i].rule, step, buf_text(&codes),
                         buf_text(&contents));
            buf_finish(&codes);
            buf_finish(&contents);
        }
    }
}

static void what_is_not_offered_is_refused(void **state)
{
    struct sink_options options = {.host = "sink", .extensions = 0, .keep = SINK_KEEP_NOTHING};
    struct slice input = SLICE(
        GREET "STARTTLS\r\nMAIL FROM:<a@b> SIZE=1\r\nMAIL FROM:<a@b> BODY=8BITMIME\r\n"
              "MAIL FROM:<a@b>\r\nRCPT TO:<c@d> NOTIFY=NEVER\r\nRCPT TO:<c@d>\r\nBDAT 0 LAST\r\n");
    struct buf codes = {0}, contents = {0};

    (void)state;
    assert_int_equal(talk(&options, input, input.size, &codes, &contents), SINK_READ);
    assert_string_equal(buf_text(&codes), "220 250 502 555 555 250 555 250 502");
    buf_finish(&codes);
    buf_finish(&contents);
}

static void an_endless_line_ends_the_session(void **state)
{
    struct sink_options options = {.host = "sink", .extensions = ALL};
    struct buf input = {0}, codes = {0}, contents = {0};

    (void)state;
    for (int i = 0; i <= SINK_LINE_SIZE_MAX; i++)
        buf_append_byte(&input, 'x');
    assert_int_equal(talk(&options, buf_slice(&input), 1000, &codes, &contents), SINK_CLOSE);
    assert_string_equal(buf_text(&codes), "220 500");
    buf_finish(&input);
    buf_finish(&codes);
    buf_finish(&contents);
}

static void recipients_are_rejected_as_told(void **state)
{
    static const struct {
        unsigned percent;
        const char *codes;
    } cases[] = {
        {0, "220 250 250 250 250 250"},
        {100, "220 250 250 452 452 452"},
    };
    struct slice input =
        SLICE(GREET "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@d>\r\nRCPT TO:<f@d>\r\n");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sink_options options = {.host = "sink",
                                       .extensions = ALL,
                                       .reject_percent = cases[i].percent,
                                       .reject_code = 452};
        struct buf codes = {0}, contents = {0};
        assert_int_equal(talk(&options, input, input.size, &codes, &contents), SINK_READ);
        assert_string_equal(buf_text(&codes), cases[i].codes);
        buf_finish(&codes);
        buf_finish(&contents);
    }
}

static void only_the_header_is_kept_when_that_is_enough(void **state)
{
    struct sink_options options = {.host = "sink", .extensions = ALL, .keep = SINK_KEEP_HEADER};
    struct buf input = {0};
    struct sink_session session;
    size_t used;

    (void)state;
    buf_append(&input, SLICE(START "DATA\r\n"));
    for (size_t i = 0; i < 2 * SINK_HEADER_KEPT_MAX; i++)
        buf_append_byte(&input, 'x');
    buf_append(&input, SLICE("\r\n.\r\n"));
    sink_init(&session, &options, 1);
    assert_int_equal(sink_feed(&session, buf_slice(&input), 7, &used), SINK_MESSAGE);
    assert_int_equal(session.message.content.size, SINK_HEADER_KEPT_MAX);
    assert_int_equal(session.message.size, 2 * SINK_HEADER_KEPT_MAX + 2);
    assert_int_equal(session.message.mail_us, 7);
    assert_int_equal(session.message.recipient_count, 1);
    sink_finish(&session);
    buf_finish(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dialogs_are_answered_whatever_the_split),
        cmocka_unit_test(what_is_not_offered_is_refused),
        cmocka_unit_test(an_endless_line_ends_the_session),
        cmocka_unit_test(recipients_are_rejected_as_told),
        cmocka_unit_test(only_the_header_is_kept_when_that_is_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
