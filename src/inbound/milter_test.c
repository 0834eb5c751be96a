/* The talk with a filter, octet for octet: what is said, what is left out, what its answers come to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "inbound/milter.h"

#include <arpa/inet.h>

#define MESSAGE "A: 1\r\nB:  2\r\n 3\r\n\r\nbody\r\n"
#define CONTINUE "\0\0\0\1c"
#define B(literal) {literal, sizeof(literal) - 1}
#define P(literal) ((struct slice){literal, sizeof(literal) - 1})

static const struct submission_recipient recipients[] = {{.address = {"r@y.test", 8}}, {.address = {"s@y.test", 8}}};
static const struct submission submission = {.sender = {"a@x.test", 8}, .recipients = recipients, .recipient_count = 2};

static void begin(struct milter *milter, struct arena *arena)
{
    const struct milter_subject subject = {
        .client = {.s6_addr = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 1}}, .client_name = SLICE("[192.0.2.1]"), .helo = SLICE("h.test"),
        .submission = &submission, .host = SLICE("me.test"), .id = SLICE("1"), .message = SLICE(MESSAGE),
    };
    milter_begin(milter, arena, &subject);
}

/* The filter's answer to the offer. */
static void negotiate(struct milter *milter, uint32_t protocol)
{
    uint32_t numbers[] = {htonl(6), htonl(0x31), htonl(protocol)};
    milter_feed(milter, P("\0\0\0\x0dO"));
    milter_feed(milter, slice_make((const char *)numbers, sizeof numbers));
}

/* The commands' letters in order, macros as "d"; the output is emptied. */
static const char *letters(struct arena *arena, struct milter *milter)
{
    struct slice rest = buf_slice(&milter->output);
    char *text = arena_alloc(arena, rest.size + 1);
    size_t count = 0;
    while (rest.size) {
        uint32_t size;
        memcpy(&size, rest.data, 4);
        size = ntohl(size);
        text[count++] = rest.data[4] == 'D' ? 'd' : rest.data[4];
        rest = slice_from(rest, 4 + size);
    }
    buf_clear(&milter->output);
    return text;
}

static void each_command_waits_for_its_answer(void **state)
{
    static const char *const said[] = {"dC", "H", "dM", "dR", "dR", "T", "L", "L", "N", "B", "dE"};
    struct arena arena = {0};
    struct milter milter;
    (void)state;
    begin(&milter, &arena);
    assert_string_equal(letters(&arena, &milter), "O");
    negotiate(&milter, 0);
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        assert_string_equal(letters(&arena, &milter), said[i]);
        assert_int_equal(milter.end, MILTER_TALKS);
        milter_feed(&milter, P(CONTINUE));
    }
    assert_int_equal(milter.end, MILTER_ACCEPTS);
    milter_finish(&milter);
    arena_finish(&arena);
}

static void what_needs_no_answer_goes_in_one_flight_and_what_is_not_wanted_is_left_out(void **state)
{
    struct arena arena = {0};
    struct milter milter;
    (void)state;
    begin(&milter, &arena);
    (void)letters(&arena, &milter);
    negotiate(&milter, 0x1ff080); /* no answer to anything */
    assert_string_equal(letters(&arena, &milter), "dCHdMdRdRTLLNBdE");
    milter_finish(&milter);
    begin(&milter, &arena);
    (void)letters(&arena, &milter);
    negotiate(&milter, 0x1 | 0x2 | 0x8 | 0x10 | 0x40 | 0x200 | 0x80);
    assert_string_equal(letters(&arena, &milter), "dM");
    milter_feed(&milter, P(CONTINUE));
    assert_string_equal(letters(&arena, &milter), "LLdE");
    milter_finish(&milter);
    arena_finish(&arena);
}

static const struct { struct slice answer; enum milter_end end; const char *reply; } rows[] = {
    {B("\0\0\0\1c"), MILTER_ACCEPTS, NULL},
    {B("\0\0\0\1a"), MILTER_ACCEPTS, NULL},
    {B("\0\0\0\1p\0\0\0\1c"), MILTER_ACCEPTS, NULL},
    {B("\0\0\0\1r"), MILTER_REFUSES, "550 5.7.1 refused by a filter"},
    {B("\0\0\0\1t"), MILTER_REFUSES, "451 4.7.1 a filter asks to try later"},
    {B("\0\0\0\1d"), MILTER_DISCARDS, NULL},
    {B("\0\0\0\x0ey554 5.7.9 no\0\0"), MILTER_REFUSES, "554 5.7.9 no"},
    {B("\0\0\0\x0ey554-5.7.9 a\r\nb"), MILTER_REFUSES, "554 5.7.9 a"},
    {B("\0\0\0\x0cy451 later \0\0"), MILTER_REFUSES, "451 4.7.1 later "},
    {B("\0\0\0\x0ay554 \x1b\x80" "ab\0"), MILTER_REFUSES, "554 5.7.1 ??ab"},
    {B("\0\0\0\6y250 k"), MILTER_REFUSES, "550 5.7.1 refused by a filter"},
    {B("\0\0\0\5+<a>\0"), MILTER_FAILED, NULL},
    {B("\0\0\0\5-<a>\0"), MILTER_FAILED, NULL},
    {B("\0\0\0\5e<a>\0"), MILTER_FAILED, NULL},
    {B("\0\0\0\1s"), MILTER_FAILED, NULL},
    {B("\0\0\0\1?"), MILTER_FAILED, NULL},
    {B("\0\0\0\0"), MILTER_TALKS, NULL}, /* no letter yet */
    {B("\0\0\0\0c"), MILTER_FAILED, NULL},
    {B("\xff\0\0\1c"), MILTER_FAILED, NULL},
    {B("\0\0\0\4hA\0\0\0\0\0\1c"), MILTER_ACCEPTS, NULL},
    {B("\0\0\0\5h: \0\0"), MILTER_FAILED, NULL},
    {B("\0\0\0\3m\0\0"), MILTER_FAILED, NULL},
};

static void answers_to_the_end_of_the_body(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena = {0};
        struct milter milter;
        begin(&milter, &arena);
        negotiate(&milter, 0x1ff080);
        for (size_t k = 0; k < rows[i].answer.size; k++)
            milter_feed(&milter, slice_first(slice_from(rows[i].answer, k), 1));
        if (milter.end != rows[i].end || (rows[i].reply && strcmp(rows[i].reply, milter.reply) != 0))
            fail_msg("row %zu: %d, %s", i, milter.end, milter.reply ? milter.reply : milter.reason ? milter.reason : "");
        assert_int_equal(milter.end == MILTER_FAILED, milter.reason != NULL);
        milter_finish(&milter);
        arena_finish(&arena);
    }
}

static void before_the_negotiation_nothing_else_is_understood(void **state)
{
    static const struct slice answers[] = {B(CONTINUE), B("\0\0\0\5O\0\0\0\6"), B("\0\0\0\x0dO\0\0\0\1\0\0\0\0\0\0\0\0"),
                                           B("\0\0\0\x0dO\0\0\0\6\0\0\0\0\xf0\0\0\0")};
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct arena arena = {0};
        struct milter milter;
        begin(&milter, &arena);
        milter_feed(&milter, answers[i]);
        assert_int_equal(milter.end, MILTER_FAILED);
        milter_finish(&milter);
        arena_finish(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_command_waits_for_its_answer),
        cmocka_unit_test(what_needs_no_answer_goes_in_one_flight_and_what_is_not_wanted_is_left_out),
        cmocka_unit_test(answers_to_the_end_of_the_body),
        cmocka_unit_test(before_the_negotiation_nothing_else_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
