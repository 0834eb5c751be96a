/* B1 to B4 of config/metabase.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "config/metabase.h"

#define HEAD "<?xml version =\"1.0\"?>\r\n<configuration xmlns=\"urn:microsoft-catalog:XML_Metabase_V64_0\">\r\n<MBProperty>\r\n"
#define FOOT "</MBProperty>\r\n</configuration>\r\n"

static void B1_nodes_of_the_service_are_kept(void **state)
{
    struct arena arena = {0};
    struct metabase metabase;
    struct error error;
    (void)state;
    assert_true(metabase_parse(&arena, SLICE(HEAD "<IIsWebServer Location =\"/LM/W3SVC/1\" SmartHost=\"no\"/>"
                                             "<IIsSmtpServer\tLocation =\"/LM/SmtpSvc/1\"\r\n\t\tMaxMessageSize=\"2097152\"\r\n"
                                             "\t\tServerBindings=\":25:\r\n\t\t\t192.0.2.1:587:\"\r\n\t>\r\n"
                                             "<Custom Name=\"\" ID=\"36996\" Value=\"15,30,60,240\" Type=\"STRING\"/></IIsSmtpServer>"
                                             "<Custom Name=\"astray\" ID=\"1\" Value=\"x\"/>"
                                             "<IIsSmtpDomain Location =\"/LM/smtpsvc/1/Domain/example.com\" RouteAction=\"16\"/>"
                                             "<X Location =\"/LM/SmtpSvcOther\"/>" FOOT),
                               &metabase, &error));
    assert_int_equal(metabase.count, 2);
    const struct metabase_node *server = &metabase.nodes[0];
    assert_int_equal(server->count, 3);
    assert_true(slice_equals(metabase_find(server, "maxmessagesize", 0)->value, SLICE("2097152")));
    assert_true(slice_equals(metabase_find(server, "SmtpRemoteProgressiveRetry", 36996)->value, SLICE("15,30,60,240")));
    struct slice bindings = metabase_find(server, "ServerBindings", 0)->value;
    assert_true(slice_starts(bindings, SLICE(":25: ")) && slice_ends_nocase(bindings, SLICE(" 192.0.2.1:587:")));
    assert_null(metabase_find(server, "SmartHost", 0));
    assert_true(slice_equals(metabase.nodes[1].class, SLICE("IIsSmtpDomain")));
    arena_finish(&arena);
}

static const struct { const char *xml, *expected; } mistakes[] = {
    {"", "no element found"},
    {"not xml", "line 1: "},
    {HEAD "<IIsSmtpServer Location=\"/LM/SmtpSvc/1\">", "no element found"},
    {HEAD FOOT, "nothing below /LM/SmtpSvc"},
    {"<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><x/>", "line 1: a document type is refused"},
    {"<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><x>&b;</x>", "a document type is refused"},
    {HEAD "<IIsSmtpServer Location=\"/LM/SmtpSvc/1\" a=\"1\" a=\"2\"/>" FOOT, "duplicate attribute"},
};

static void B2_what_is_no_metabase_is_refused_with_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        struct arena arena = {0};
        struct metabase metabase;
        struct error error = {{0}};
        assert_false(metabase_parse(&arena, slice_of(mistakes[i].xml), &metabase, &error));
        if (!strstr(error.text, mistakes[i].expected))
            fail_msg("\"%s\" gave \"%s\"", mistakes[i].xml, error.text);
        arena_finish(&arena);
    }
}

#define EMPTY "1800008020000080" "3c00008044000080" "010000004c000000" "0000000000000000"
#define GRANTED(n, m) EMPTY "01000000" n "02000000" m "0400000000000000" "4c000080" "00000000000000000000000000000000"

static const struct { const char *hex, *expected; } lists[] = { /* "!" = refused */
    {GRANTED("00000000", "01000000") "ffffffff", ""},
    {GRANTED("01000000", "02000000") "ffffffff" "7f000001", "127.0.0.1/32"},
    {GRANTED("02000000", "03000000") "FFFFFFFF" "C0000201" "0A000005", "192.0.2.1/32 10.0.0.5/32"},
    {GRANTED("02000000", "04000000") "ffffffff" "7f000001" "ffffff00" "c0a80100", "127.0.0.1/32 192.168.1.0/24"},
    {"1800008020000080" "2800008030000080" "0100000030000000" "00000000000000000000000000000000" "00000000000000000000000000000000", ""},
    {"1800008034000080" "3c00008044000080" "010000004c000000" "01000000" "01000000" "02000000" "02000000" "04000000" "00000000" "4c000080"
     "00000000000000000000000000000000" "0000000000000000" "ffffffff" "c0000201", "-192.0.2.1/32"},
    {"", "!"}, {"18", "!"}, {"zz", "!"}, {"1800008020000080", "!"},
    {GRANTED("01000000", "09000000") "ffffffff" "7f000001", "!"},
    {GRANTED("01000000", "ffffffff") "ffffffff" "7f000001", "!"},
    {GRANTED("01000000", "01000000") "7f000001", "!"},
    {"ffffffffffffffffffffffffffffffffffffffffffffffff", "!"},
};

static void B4_an_ip_list_is_read_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        struct arena arena = {0};
        struct metabase_ip_list list;
        struct error error;
        struct buf got = {0};
        if (!metabase_ip_list(&arena, slice_of(lists[i].hex), &list, &error))
            buf_append_text(&got, "!");
        else
            for (size_t k = 0; k < list.count; k++)
                buf_printf(&got, "%s%s%.*s", k ? " " : "", list.is_denied ? "-" : "", SLICE_FMT(list.items[k]));
        if (strcmp(buf_text(&got), lists[i].expected) != 0)
            fail_msg("%zu: \"%s\", expected \"%s\"", i, buf_text(&got), lists[i].expected);
        buf_finish(&got);
        arena_finish(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(B1_nodes_of_the_service_are_kept),
        cmocka_unit_test(B2_what_is_no_metabase_is_refused_with_its_line),
        cmocka_unit_test(B4_an_ip_list_is_read_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
