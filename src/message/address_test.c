/* The rules of message/address.h: what people write, and what SMTP gets. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "message/address.h"

struct row { const char *value; const char *expected; }; /* texts, then faults as "!text", blank-separated by "|" */

static const struct row lists[] = {
    {"a@example.com", "a@example.com"},
    {"Joe <joe@Example.COM>, \"Smith, J.\" <s@x.org>", "joe@example.com|s@x.org"},
    {"Company<a@b>; c@d.e", "a@b|c@d.e"},
    {"a@b.com (A Name)", "a@b.com"},
    {"a@b.com A Name", "a@b.com"},
    {"pete(his \\) (nested) account)@silly.test(his host)", "pete@silly.test"},
    {"<@a,@b:u@c.d>", "u@c.d"},
    {",, a@b.c ,", "a@b.c"},
    {"=?utf-8?Q?S=C3=B6nd=C3=A9r,=20Jr.?= <s@x.org>", "!=?utf-8?Q?S=C3=B6nd=C3=A9r|s@x.org"},
    {"\"=?utf-8?Q?S=C3=B6,?=\" <s@x.org>", "s@x.org"},
    {"\"abc\"@x.org, \"a b\"@x.org, \"a\\\"b\"@x.org, \"\"@x.org", "abc@x.org|\"a b\"@x.org|\"a\\\"b\"@x.org|\"\"@x.org"},
    {"\"a@b\"@x.org", "\"a@b\"@x.org"},
    {"\"\\.a\"@x.org, \"a\\..b\"@x.org, \"a\\.b\"@x.org", "\".a\"@x.org|\"a..b\"@x.org|a.b@x.org"},
    {"a@[192.0.2.1], a@[IPv6:2001:db8::1], a@[2001:db8::1]", "a@[192.0.2.1]|a@[IPv6:2001:db8::1]|!a@[2001:db8::1]"},
    {"root", "root"},
    {"a@b.c d@e.f\tg@h.i", "a@b.c|d@e.f|g@h.i"},
    {"a@b.c John Doe", "a@b.c"},
    {"a@b.c John d@e.f", "!John d@e.f|a@b.c"},
    {"a@b@c", "!a@b@c"},
    {"a@", "!a@"},
    {"@b.c", "!@b.c"},
    {"two words, a@b.c", "!two words|a@b.c"},
    {"a..b@x.org, .a@x.org, a.@x.org", "!a..b@x.org|!.a@x.org|!a.@x.org"},
    {"b\xC3\xBC""cher@b\xC3\xBC""cher.example", "b\xC3\xBC""cher@xn--bcher-kva.example"},
    {"a@b.c\r\n\t, d@e.f", "a@b.c|d@e.f"},
    {"<a@b.c", "a@b.c"},
    {"a@under_score.example.", "a@under_score.example"},
    {"<>", "!<>"},
    {"\"open@x.org", "!\"open@x.org"},
    {"Joe.Q.Public <jqp@x.org>", "jqp@x.org"},
};

static void put(struct buf *out, const char *mark, struct slice text)
{
    if (out->size)
        buf_append_byte(out, '|');
    buf_append_text(out, mark);
    buf_append(out, text);
}

static void check(const char *value, const char *expected)
{
    struct arena arena = {0};
    struct address_list list;
    struct error error;
    struct buf faults = {0}, all = {0};
    assert_true(address_list_parse(&arena, slice_of(value), 100, &list, &error));
    for (size_t i = 0; i < list.fault_count; i++) {
        assert_true(list.faults[i].reason[0]);
        put(&all, "!", list.faults[i].text);
    }
    for (size_t i = 0; i < list.count; i++)
        put(&faults, "", list.items[i].text);
    /* Faults and addresses are compared as two rows. */
    struct buf want_faults = {0}, want = {0};
    for (struct slice rest = slice_of(expected); rest.size;) {
        struct slice part = slice_cut(&rest, '|');
        put(part.data[0] == '!' ? &want_faults : &want, "", part);
    }
    assert_string_equal(buf_text(&faults), buf_text(&want));
    assert_string_equal(buf_text(&all), buf_text(&want_faults));
    buf_finish(&want);
    buf_finish(&want_faults);
    buf_finish(&faults);
    buf_finish(&all);
    arena_finish(&arena);
}

static void lists_give_addresses_and_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        check(lists[i].value, lists[i].expected);
}

static void pitfall_11_group_members_count_and_empty_groups_are_fine(void **state)
{
    (void)state;
    check("Team: a@x.org, B <b@y.org>;", "a@x.org|b@y.org");
    check("undisclosed-recipients:;", "");
    check("A Group:Ed <ed@x.org>,joe@where.test;, after@x.org", "ed@x.org|joe@where.test|after@x.org");
}

static void pitfall_19_no_control_octet_is_part_of_an_address(void **state)
{
    static const char *const values[] = {
        "<\"a\r\nRCPT TO:<x>\"@b.c>", "\"a\\\rb\"@x.org", "\"a\x01\"@x.org", "a\x7f@x.org", "a@b\x01.c",
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct arena arena = {0};
        struct address address;
        struct error error;
        assert_false(address_parse(&arena, slice_of(values[i]), &address, &error));
        arena_finish(&arena);
    }
}

static void text_read_again_gives_itself(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct arena arena = {0};
        struct address_list list;
        struct address again;
        struct error error;
        assert_true(address_list_parse(&arena, slice_of(lists[i].value), 100, &list, &error));
        for (size_t k = 0; k < list.count; k++) {
            assert_true(address_parse(&arena, list.items[k].text, &again, &error));
            assert_true(slice_equals(again.text, list.items[k].text));
        }
        arena_finish(&arena);
    }
}

static void one_address_alone_is_one_and_complete(void **state)
{
    static const struct { const char *text; bool is_fine; } cases[] = {
        {"<a@b.c>", true}, {"a@b.c", true}, {" root ", true}, {"a@b.c, d@e.f", false}, {"A <a@b.c>", false},
        {"", false}, {"<>", false}, {"a b@c.d", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct address address;
        struct error error;
        assert_int_equal(address_parse(&arena, slice_of(cases[i].text), &address, &error), cases[i].is_fine);
        arena_finish(&arena);
    }
}

static void bare_names_get_the_default_domain(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct address address;
    struct error error;
    assert_true(address_parse(&arena, SLICE("root"), &address, &error));
    address_qualify(&arena, SLICE("example.com"), &address);
    assert_true(slice_equals(address.text, SLICE("root@example.com")));
    address_qualify(&arena, SLICE("other.example"), &address);
    assert_true(slice_equals(address.text, SLICE("root@example.com")));
    arena_finish(&arena);
}

static void count_is_bounded(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct address_list list;
    struct error error;
    assert_true(address_list_parse(&arena, SLICE("a@b.c,d@e.f"), 2, &list, &error));
    assert_false(address_list_parse(&arena, SLICE("a@b.c,d@e.f,@"), 2, &list, &error));
    arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_give_addresses_and_faults),
        cmocka_unit_test(pitfall_11_group_members_count_and_empty_groups_are_fine),
        cmocka_unit_test(pitfall_19_no_control_octet_is_part_of_an_address),
        cmocka_unit_test(text_read_again_gives_itself),
        cmocka_unit_test(one_address_alone_is_one_and_complete),
        cmocka_unit_test(bare_names_get_the_default_domain),
        cmocka_unit_test(count_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
