#include "message/dsn_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/utf8.h"

#include <stdio.h>

struct dsn_recipient recipient_usual(void)
{
    return (struct dsn_recipient){
        .address = SLICE("c@d.org"), .status = SLICE("5.1.1"), .remote_mta = SLICE("mx.d.org"),
        .diagnostic = SLICE("550 5.1.1 No such user"), .is_smtp_diagnostic = true,
        .last_attempt_ms = TIME_MS + 60000, .will_retry_until_ms = TIME_MS + 86400000,
    };
}

struct dsn_report report_usual(const struct dsn_recipient *recipient)
{
    return (struct dsn_report){
        .action = DSN_FAILED, .host = SLICE("mail.example"), .queue_id = SLICE("00000000000000d5"),
        .original_id = SLICE("00000000000000a1"), .sender = SLICE("a@x.org"), .ret = RET_FULL,
        .arrival_ms = TIME_MS, .now_ms = TIME_MS + 120000, .original = SLICE(ORIGINAL),
        .returned_size_max = 100000, .recipients = recipient, .recipient_count = 1,
    };
}

void must_be_canonical(struct slice out)
{
    assert_true(slice_ends_nocase(out, SLICE("--\r\n")));
    assert_true(utf8_is_valid(out));
    while (out.size) {
        ptrdiff_t end = slice_find(out, SLICE("\r\n"));
        assert_in_range(end, 0, 998);
        for (ptrdiff_t i = 0; i < end; i++)
            assert_false((unsigned char)out.data[i] < 0x20 || out.data[i] == 0x7f);
        out = slice_from(out, (size_t)end + 2);
    }
}

struct slice compose(struct composed *composed, const struct dsn_report *report)
{
    *composed = (struct composed){0};
    dsn_compose(&composed->arena, report, &composed->out);
    return buf_slice(&composed->out);
}

void release(struct composed *composed)
{
    buf_finish(&composed->out);
    arena_finish(&composed->arena);
}

bool has(struct slice out, const char *text)
{
    return slice_find(out, slice_of(text)) >= 0;
}

void must_have(struct slice out, const char *text)
{
    if (!has(out, text))
        fail_msg("\"%s\" is not in:\n%.*s", text, SLICE_FMT(out));
}

void must_lack(struct slice out, const char *text)
{
    if (has(out, text))
        fail_msg("\"%s\" is in:\n%.*s", text, SLICE_FMT(out));
}

void must_have_all(struct slice out, const char *const *lines)
{
    for (size_t i = 0; lines[i]; i++)
        must_have(out, lines[i]);
}

struct slice part(struct slice out, int number)
{
    struct slice boundary = slice_from(out, (size_t)slice_find(out, SLICE("boundary=\"")) + 10);
    char line[100];
    boundary = slice_cut(&boundary, '"');
    (void)snprintf(line, sizeof line, "\r\n--%.*s", SLICE_FMT(boundary));
    for (int i = 0; i < number; i++) {
        ptrdiff_t at = slice_find(out, slice_of(line));
        assert_true(at >= 0);
        out = slice_from(out, (size_t)at + strlen(line));
    }
    ptrdiff_t end = slice_find(out, slice_of(line));
    assert_true(end >= 0);
    return slice_first(out, (size_t)end);
}

struct slice part_body(struct slice out, int number)
{
    struct slice whole = part(out, number);
    return slice_from(whole, (size_t)slice_find(whole, SLICE("\r\n\r\n")) + 4);
}
