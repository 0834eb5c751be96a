/* The rules of base/: slices, buffers, arenas, errors, UTF-8, JSON lines. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/error.h"
#include "base/ip.h"
#include "base/json.h"
#include "base/utf8.h"

#include <stdlib.h>

static void number_must_fill_the_slice_and_fit(void **state)
{
    static const struct { const char *text; bool is_number; uint64_t value; } cases[] = {
        {"0", true, 0}, {"42", true, 42}, {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0}, {"", false, 0}, {"-1", false, 0}, {"1 ", false, 0}, {"0x1", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t value = 7;
        assert_int_equal(slice_to_u64(slice_of(cases[i].text), &value), cases[i].is_number);
        assert_int_equal(value, cases[i].is_number ? cases[i].value : 7);
    }
}

static void cut_gives_parts_in_order(void **state)
{
    (void)state;
    struct slice rest = SLICE("a,,b");
    assert_true(slice_equals(slice_cut(&rest, ','), SLICE("a")));
    assert_true(slice_equals(slice_cut(&rest, ','), SLICE("")));
    assert_true(slice_equals(slice_cut(&rest, ','), SLICE("b")));
    struct slice front = SLICE("a.b.c");
    assert_true(slice_equals(slice_cut_last(&front, '.'), SLICE("c")) && slice_equals(front, SLICE("a.b")));
    front = SLICE("abc");
    assert_true(slice_equals(slice_cut_last(&front, '.'), SLICE("abc")) && front.size == 0);
    assert_int_equal(rest.size, 0);
}

static void eighth_bit_is_found_at_every_offset(void **state)
{
    (void)state;
    for (size_t size = 0; size < 40; size++) {
        char text[40];
        memset(text, 'a', sizeof text);
        assert_false(slice_has_8bit(slice_make(text, size)));
        for (size_t i = 0; i < size; i++) {
            text[i] = (char)0x80;
            assert_true(slice_has_8bit(slice_make(text, size)));
            text[i] = 'a';
        }
    }
}

static void utf8_takes_only_shortest_forms_of_real_characters(void **state)
{
    static const struct { const char *text; bool is_valid; } cases[] = {
        {"", true}, {"abc", true}, {"\xC3\xA4", true}, {"\xE2\x82\xAC", true}, {"\xF0\x9F\x93\xA7", true},
        {"\xC0\x80", false}, {"\xC1\xBF", false}, {"\xE0\x80\x80", false}, {"\xED\xA0\x80", false},
        {"\xF4\x90\x80\x80", false}, {"\xC3", false}, {"\x80", false}, {"\xF5\x80\x80\x80", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(utf8_is_valid(slice_of(cases[i].text)), cases[i].is_valid);
}

static void json_line_can_not_be_forged(void **state)
{
    (void)state;
    struct buf out = {0};
    json_open(&out, '{');
    json_put_text(&out, "reply", SLICE("x\"}\n{\"event\":\"delivered\"\x01\\ \xFF \xC3\xA4"));
    json_put_number(&out, "code", -5);
    json_put_bool(&out, "ok", true);
    json_put_text(&out, "none", SLICE_NONE);
    json_close(&out, '}');
    assert_string_equal(buf_text(&out), "{\"reply\":\"x\\\"}\\n{\\\"event\\\":\\\"delivered\\\"\\u0001\\\\ \xEF\xBF\xBD "
                                        "\xC3\xA4\",\"code\":-5,\"ok\":true,\"none\":null}");
    buf_finish(&out);
}

static void arena_gives_zeroed_memory_again_after_reset(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size < 40000; size = size * 3 + 1) {
            char *data = arena_alloc(&arena, size);
            assert_int_equal(data[0] | data[size - 1], 0);
            memset(data, 0xA5, size);
        }
        arena_reset(&arena);
    }
    struct slice text = arena_printf(&arena, "%s-%d", "id", 7);
    assert_true(slice_equals(text, SLICE("id-7")));
    assert_true(slice_is_absent(arena_copy(&arena, SLICE_NONE)));
    arena_finish(&arena);
}

static void error_gathers_context_and_stays_printable(void **state)
{
    (void)state;
    struct error error;
    assert_false(error_set(&error, "no domain in %s", "a\r\nb"));
    assert_false(error_prefix(&error, "line %d", 3));
    assert_string_equal(error.text, "line 3: no domain in a??b");
}

static void buffer_keeps_bytes_while_it_grows(void **state)
{
    (void)state;
    struct buf buf = {0};
    for (int i = 0; i < 1000; i++)
        buf_printf(&buf, "%04d", i);
    assert_int_equal(buf.size, 4000);
    buf_remove_front(&buf, 3996);
    char *taken = buf_take(&buf);
    assert_string_equal(taken, "0999");
    assert_null(buf.data);
    free(taken);
}

static void base64_is_rfc_4648s_and_strict(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfb", "//77"}};
    static const char *const faulty[] = {"Z", "Zg", "Zg=", "=", "====", "Z===", "Zg==Zg==", "Zm9v\n", "Zm 9v===", "Zm9-", "Zm9=v"};
    struct buf buf = {0};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        buf_clear(&buf);
        base64_encode(slice_of(rows[i][0]), &buf);
        assert_string_equal(buf_text(&buf), rows[i][1]);
        buf_clear(&buf);
        assert_true(base64_decode(slice_of(rows[i][1]), &buf));
        assert_string_equal(buf_text(&buf), rows[i][0]);
    }
    buf_clear(&buf);
    for (size_t i = 0; i < COUNT_OF(faulty); i++)
        assert_false(base64_decode(slice_of(faulty[i]), &buf) || buf.size);
    buf_finish(&buf);
}

static void an_address_is_read_as_ipv6(void **state)
{
    static const struct { const char *text; bool is_one, is_v4; } rows[] = {
        {"192.0.2.1", true, true}, {"2001:db8::1", true, false}, {"::ffff:192.0.2.1", true, true}, {"", false, false}, {NULL, false, false},
        {"192.0.2", false, false}, {"192.0.2.1:25", false, false}, {"[::1]", false, false}, {"fe80::1%lo", false, false},
        {"0000:0000:0000:0000:0000:0000:255.255.255.255.255", false, false},
    };
    struct in6_addr address;
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(ip_is(slice_of(rows[i].text)), rows[i].is_one);
        if (ip_parse(slice_of(rows[i].text), &address))
            assert_int_equal(IN6_IS_ADDR_V4MAPPED(&address) != 0, rows[i].is_v4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_read_as_ipv6),
        cmocka_unit_test(number_must_fill_the_slice_and_fit),
        cmocka_unit_test(cut_gives_parts_in_order),
        cmocka_unit_test(eighth_bit_is_found_at_every_offset),
        cmocka_unit_test(utf8_takes_only_shortest_forms_of_real_characters),
        cmocka_unit_test(json_line_can_not_be_forged),
        cmocka_unit_test(arena_gives_zeroed_memory_again_after_reset),
        cmocka_unit_test(error_gathers_context_and_stays_printable),
        cmocka_unit_test(buffer_keeps_bytes_while_it_grows),
        cmocka_unit_test(base64_is_rfc_4648s_and_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
