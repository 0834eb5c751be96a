#include "route/route_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void pitfall_34_special_ranges_are_not_public(void **state)
{
    static const struct { const char *text; bool is_public; } rows[] = {
        {"127.0.0.1", false},   {"127.255.255.255", false}, {"10.0.0.1", false},      {"11.0.0.1", true},
        {"172.15.0.1", true},   {"172.16.0.1", false},      {"172.31.255.255", false}, {"172.32.0.1", true},
        {"192.168.0.1", false}, {"192.169.0.1", true},      {"169.254.1.1", false},   {"100.63.0.1", true},
        {"100.64.0.1", false},  {"100.127.0.1", false},     {"100.128.0.1", true},    {"0.0.0.0", false},
        {"224.0.0.1", false},   {"255.255.255.255", false}, {"8.8.8.8", true},        {"198.18.0.1", false},
        {"::", false},          {"::1", false},             {"fe80::1", false},       {"fc00::1", false},
        {"fdff::1", false},     {"ff02::1", false},         {"2606:4700::1", true},   {"::ffff:127.0.0.1", false},
        {"::ffff:8.8.8.8", true}, {"64:ff9b::7f00:1", false}, {"64:ff9b::808:808", true}, {"2002:7f00:1::", false},
        {"2001:db8::1", false}, {"100::1", false},          {"::7f00:1", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct route_address address;
        assert_true(address_from_text(slice_of(rows[i].text), 25, &address));
        if (route_address_is_public(&address.to.any) != rows[i].is_public)
            fail_msg("%s", rows[i].text);
    }
}

static void pitfall_10_texts_of_addresses(void **state)
{
    static const struct { const char *text, *expected; } rows[] = {
        {"192.0.2.1", "192.0.2.1:25"}, {"[192.0.2.1]", "192.0.2.1:25"}, {"[IPv6:2001:db8::1]", "[2001:db8::1]:25"},
        {"::1", "[::1]:25"},           {"192.0.2", NULL},               {"[]", NULL},
        {"mx.example.com", NULL},      {"", NULL},                      {"[192.0.2.1", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct route_address address;
        char text[64] = "";
        bool is_fine = address_from_text(slice_of(rows[i].text), 25, &address);
        if (is_fine)
            route_address_text(&address, text, sizeof text);
        assert_int_equal(is_fine, rows[i].expected != NULL);
        if (is_fine)
            assert_string_equal(text, rows[i].expected);
    }
}

static void hosts_with_and_without_port(void **state)
{
    static const struct { const char *text, *name; int port; } rows[] = {
        {"mx.example.com", "mx.example.com", 25}, {"mx.example.com:587", "mx.example.com", 587},
        {"[192.0.2.1]:2525", "[192.0.2.1]", 2525}, {"[192.0.2.1]", "[192.0.2.1]", 25},
        {"192.0.2.1:2525", "192.0.2.1", 2525},     {"[::1]:26", "[::1]", 26},
        {"::1", "::1", 25},                        {"mx:0", NULL, 0},
        {"mx:65536", NULL, 0},                     {"mx:x", NULL, 0},
        {"", NULL, 0},                             {":25", NULL, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char name[256];
        int port;
        bool is_fine = address_split_port(slice_of(rows[i].text), 25, name, &port);
        assert_int_equal(is_fine, rows[i].name != NULL);
        if (is_fine) {
            assert_string_equal(name, rows[i].name);
            assert_int_equal(port, rows[i].port);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pitfall_34_special_ranges_are_not_public),
        cmocka_unit_test(pitfall_10_texts_of_addresses),
        cmocka_unit_test(hosts_with_and_without_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
