/* The rules of message/content.h: what a pickup file becomes on the wire. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "message/content.h"

#include <stdlib.h>

#define HEAD "From: a@x.org\r\nTo: b@y.org\r\nDate: Tue, 24 Nov 2026 04:18:00 +0000\r\nMessage-ID: <1@x>\r\n"
#define DOTNET "X-Sender: <a@x.org>\r\nX-Receiver: <b@y.org>\r\nMIME-Version: 1.0\r\nFrom: a@x.org\r\nTo: b@y.org\r\n"
#define MIXED "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n"

static enum content_result build(struct arena *arena, struct slice file, enum content_dots dots,
                                 struct buf *out, struct content_facts *facts)
{
    static const struct header_limits limits = {100000, 500};
    struct envelope_options options = {.default_domain = SLICE("here.example"), .recipient_count_max = 100};
    struct content_stamp stamp = {.host = SLICE("mail.example"), .pickup_name = SLICE("a).eml"), .owner = SLICE("www"),
                                  .queue_id = SLICE("0123456789abcdef"), .time_ms = 0, .dots = dots,
                                  .hop_count_max = 3};
    struct header header;
    struct envelope envelope;
    struct error error;
    options.x_lines_anywhere = true;
    if (!header_scan(arena, file, &limits, &header, &error)
        || !envelope_find(arena, file, &header, &options, &envelope, &error))
        return CONTENT_BAD;
    return content_build(arena, file, &header, &envelope, &stamp, out, facts, &error);
}

struct row { const char *file; enum content_dots dots; const char *body; const char *repair; };

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct arena arena = {0};
        struct buf out = {0};
        struct content_facts facts;
        assert_int_equal(build(&arena, slice_of(rows[i].file), rows[i].dots, &out, &facts), CONTENT_DONE);
        buf_remove_front(&out, facts.header_size);
        assert_string_equal(buf_text(&out), rows[i].body);
        assert_true(slice_find(facts.repairs, slice_of(rows[i].repair)) >= 0);
        buf_finish(&out);
        arena_finish(&arena);
    }
}

static void pitfall_1_lines_end_in_crlf_alone(void **state)
{
    static const struct row rows[] = {
        {HEAD "\r\nbody\r\n", DOTS_AUTO, "body\r\n", ""},
        {HEAD "\r\na\nb\r\nc", DOTS_AUTO, "a\r\nb\r\nc\r\n", "line-ends"},
        {HEAD "\r\na\rb\r\n", DOTS_AUTO, "a\r\nb\r\n", "line-ends"},
        {HEAD "\r\n", DOTS_AUTO, "", ""},
        {HEAD, DOTS_AUTO, "", ""},
    };
    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void dots_are_kept_unless_the_writer_stuffs(void **state)
{
    static const struct row rows[] = {
        {HEAD "\r\n.one\r\n..two\r\n.\r\nend\r\n", DOTS_AUTO, ".one\r\n..two\r\n.\r\nend\r\n", ""},
        {HEAD "\r\n..two\r\n", DOTS_AUTO, "..two\r\n", ""},
        {HEAD "\r\n..two\r\n.x\r\n", DOTS_ALWAYS, ".two\r\nx\r\n", "dots-unstuffed"},
        {HEAD "\r\ntext\r\n.\r\n", DOTS_AUTO, "text\r\n", "end-dot-dropped"},
        {HEAD "\r\ntext\r\n.\r\n", DOTS_NEVER, "text\r\n.\r\n", ""},
        {DOTNET "Date: 1 Jan 2026 10:00:00 +0100\r\n\r\n..a\r\n...b\r\n", DOTS_AUTO, ".a\r\n..b\r\n", "dots-unstuffed"},
        {DOTNET "Date: 1 Jan 2026 10:00:00 +0100\r\n\r\n..a\r\n.b\r\n", DOTS_AUTO, "..a\r\n.b\r\n", ""},
        {DOTNET "Date: 1 Jan 2026 10:00:00 +0100\r\n\r\n..a\r\n...b\r\n", DOTS_NEVER, "..a\r\n...b\r\n", ""},
    };
    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void private_fields_go_and_missing_ones_come(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct buf out = {0};
    struct content_facts facts;
    struct slice file = SLICE("X-Sender: <s@x.org>\nX-Receiver: <r@y.org>\nBcc: secret@z.org\nSubject: hi\n there\n\nx\n");
    assert_int_equal(build(&arena, file, DOTS_AUTO, &out, &facts), CONTENT_DONE);
    assert_string_equal(buf_text(&out),
                        "Received: from localhost (pickup a_.eml;\r\n\towner www)\r\n\tby mail.example (mailroot) with local "
                        "id 0123456789abcdef;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n"
                        "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\nMessage-ID: <0123456789abcdef@mail.example>\r\n"
                        "From: s@x.org\r\nTo: undisclosed-recipients:;\r\nSubject: hi\r\n there\r\n\r\nx\r\n");
    assert_true(slice_equals(facts.subject, SLICE("hi there")));
    buf_finish(&out);
    arena_finish(&arena);
}

static void too_many_hops_are_a_loop(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct buf out = {0};
    struct content_facts facts;
    struct slice three = SLICE("Received: 1\nReceived: 2\nReceived: 3\n" HEAD "\n");
    struct slice four = SLICE("Received: 1\nReceived: 2\nReceived: 3\nReceived: 4\n" HEAD "\n");
    assert_int_equal(build(&arena, three, DOTS_AUTO, &out, &facts), CONTENT_DONE);
    assert_int_equal(build(&arena, four, DOTS_AUTO, &out, &facts), CONTENT_LOOP);
    buf_finish(&out);
    arena_finish(&arena);
}

static void pitfall_3_long_line_is_encoded_in_its_part_alone(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct buf file = {0}, out = {0};
    struct content_facts facts;
    buf_append_text(&file, HEAD MIXED "\r\npre\r\n--b\r\n\r\nshort = kept\r\n--b\r\nContent-Type: text/plain\r\n\r\n");
    for (int i = 0; i < 3000; i++)
        buf_append_byte(&file, 'x');
    buf_append_text(&file, "\r\n--b--\r\nepilogue\r\n");
    assert_int_equal(build(&arena, buf_slice(&file), DOTS_AUTO, &out, &facts), CONTENT_DONE);
    struct slice result = buf_slice(&out);
    assert_true(slice_find(result, SLICE("short = kept")) > 0);
    assert_true(slice_find(result, SLICE("Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nxxx")) > 0);
    assert_true(slice_find(result, SLICE("\r\n--b--\r\nepilogue\r\n")) > 0);
    for (struct slice rest = result; rest.size;)
        assert_true(slice_cut(&rest, '\n').size <= 999);
    buf_finish(&file);
    buf_finish(&out);
    arena_finish(&arena);
}

static void pitfall_6_8bit_leaves_are_converted_and_containers_renamed(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct buf out = {0};
    struct error error;
    struct slice message = SLICE(HEAD MIXED "Content-Transfer-Encoding: 8bit\r\n\r\n--b\r\nContent-Type: text/plain; "
                                      "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xC3\xA4=\r\n--b--\r\n");
    assert_true(content_to_7bit(&arena, message, &out, &error));
    assert_false(slice_has_8bit(buf_slice(&out)));
    assert_true(slice_find(buf_slice(&out), SLICE("=C3=A4=3D")) > 0);
    assert_true(slice_find(buf_slice(&out), SLICE("8bit")) < 0);
    buf_finish(&out);
    struct slice with_signature = SLICE(HEAD "MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n"
                                     "Content-Type: text/plain\r\n\r\n\xC3\xA4\r\n--b--\r\n");
    assert_false(content_to_7bit(&arena, with_signature, &out, &error));
    buf_finish(&out);
    arena_finish(&arena);
}

static void pitfall_2_every_leading_dot_is_doubled_on_the_wire(void **state)
{
    static const struct { const char *message, *wire; } rows[] = {
        {"A: 1\r\n\r\n.\r\n..\r\nx.\r\n", "A: 1\r\n\r\n..\r\n...\r\nx.\r\n.\r\n"},
        {".A: 1\r\n\r\n", "..A: 1\r\n\r\n.\r\n"},
        {"A: 1\r\n\r\nno end", "A: 1\r\n\r\nno end\r\n.\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf out = {0};
        content_dot_stuff(slice_of(rows[i].message), &out);
        assert_string_equal(buf_text(&out), rows[i].wire);
        buf_finish(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_1_lines_end_in_crlf_alone),
        cmocka_unit_test(dots_are_kept_unless_the_writer_stuffs),
        cmocka_unit_test(private_fields_go_and_missing_ones_come),
        cmocka_unit_test(too_many_hops_are_a_loop),
        cmocka_unit_test(pitfall_3_long_line_is_encoded_in_its_part_alone),
        cmocka_unit_test(pitfall_6_8bit_leaves_are_converted_and_containers_renamed),
        cmocka_unit_test(pitfall_2_every_leading_dot_is_doubled_on_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
