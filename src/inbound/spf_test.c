/* SPF: the RFC's examples (7208 A, 7.4), its limits (4.6.4) and its syntax, a row each. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "inbound/fixture.h"
#include "inbound/spf_private.h"

#include <arpa/inet.h>

static const char *const zone[] = {
    /* 7208 A */
    "example.com A 192.0.2.10", "example.com A 192.0.2.11", "example.com MX mail-a.example.com", "example.com MX mail-b.example.com",
    "amy.example.com A 192.0.2.65", "bob.example.com A 192.0.2.66", "mail-a.example.com A 192.0.2.129",
    "mail-b.example.com A 192.0.2.130", "example.org MX mail-c.example.org", "mail-c.example.org A 192.0.2.140",
    "10.2.0.192.in-addr.arpa PTR example.com", "65.2.0.192.in-addr.arpa PTR amy.example.com",
    "140.2.0.192.in-addr.arpa PTR mail-c.example.org", "66.2.0.192.in-addr.arpa PTR bob.example.com",
    "4.0.0.10.in-addr.arpa PTR bob.example.com",
    /* records under test, each with a name of its own */
    "all.test TXT v=spf1 +all", "a.test TXT v=spf1 a:example.com -all", "aorg.test TXT v=spf1 a:example.org -all",
    "mx.test TXT v=spf1 mx:example.com -all", "mx2.test TXT v=spf1 mx:example.com mx:example.org -all",
    "mxbits.test TXT v=spf1 mx/30 mx:example.org/30 -all", "mxbits.test MX mail-a.example.com", "ptr.test TXT v=spf1 ptr:example.com -all",
    "ip4.test TXT v=spf1 ip4:192.0.2.128/28 -all", "none.test TXT hello", "two.test TXT v=spf1 -all", "two.test TXT v=spf1 +all",
    "version.test TXT v=spf10 -all", "upper.test TXT V=SPF1 IP4:192.0.2.1 -ALL", "neutral.test TXT v=spf1 ?all",
    "soft.test TXT v=spf1 ~all", "empty.test TXT v=spf1", "ip6.test TXT v=spf1 ip6:2001:db8::/32 -all",
    "mapped.test TXT v=spf1 ip6:::ffff:192.0.2.1 -all", "aaaa.test AAAA 2001:db8::7", "aaaa.test TXT v=spf1 a//64 -all",
    "abits.test TXT v=spf1 a:example.com/24//64 -all", "blanks.test TXT v=spf1   ip4:192.0.2.1   -all ",
    /* include and redirect */
    "inc.test TXT v=spf1 include:ip4.test -all", "incfail.test TXT v=spf1 include:none.test -all",
    "incnone.test TXT v=spf1 include:missing.test -all", "incneutral.test TXT v=spf1 include:neutral.test ~all",
    "incperm.test TXT v=spf1 include:bad.test +all", "inctemp.test TXT v=spf1 include:broken.test +all",
    "red.test TXT v=spf1 redirect=ip4.test", "rednone.test TXT v=spf1 redirect=missing.test",
    "redall.test TXT v=spf1 ?all redirect=ip4.test", "loop.test TXT v=spf1 include:loop.test -all",
    "redloop.test TXT v=spf1 redirect=redloop.test", "broken.test FAIL x", "brokena.test TXT v=spf1 a:broken.test -all",
    /* syntax */
    "bad.test TXT v=spf1 ip4:192.0.2.1 nonsense -all", "bad1.test TXT v=spf1 ip4:192.0.2.999", "bad2.test TXT v=spf1 ip4:192.0.2.1/33",
    "bad3.test TXT v=spf1 a:", "bad4.test TXT v=spf1 include", "bad5.test TXT v=spf1 all:x", "bad6.test TXT v=spf1 a:x%{z}.test",
    "bad7.test TXT v=spf1 a:x%y.test", "bad8.test TXT v=spf1 redirect=a.test redirect=b.test", "bad9.test TXT v=spf1 a/033",
    "bad10.test TXT v=spf1 ip6:192.0.2.1", "bad11.test TXT v=spf1 include:x.123", "bad12.test TXT v=spf1 exists:%{d",
    "bad13.test TXT v=spf1 -all exp=", "bad14.test TXT v=spf1 ip4", "bad15.test TXT v=spf1 a//129",
    "bad16.test TXT v=spf1 -all moo", "bad17.test TXT v=spf1 a:%{d0}.test", "bad18.test TXT v=spf1 a:localhost",
    "good1.test TXT v=spf1 moo=%{d} other.x=1 -all exp=a.test", "good2.test TXT v=spf1 a:%{d2}.test. -all",
    "behind.test TXT v=spf1 +all ip4:nonsense",
    /* limits */
    "ten.test TXT v=spf1 a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com "
    "a:example.com a:example.com a:example.com ip4:10.0.0.1 -all",
    "eleven.test TXT v=spf1 a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com a:example.com "
    "a:example.com a:example.com a:example.com a:example.com +all",
    "void2.test TXT v=spf1 a:v1.test a:v2.test ip4:10.0.0.1 -all", "void3.test TXT v=spf1 a:v1.test a:v2.test a:v3.test +all",
    "mx10.test TXT v=spf1 mx -all", "mx10.test MX example.com", "mx10.test MX b.test", "mx10.test MX c.test", "mx10.test MX d.test",
    "mx10.test MX e.test", "mx10.test MX f.test", "mx10.test MX g.test", "mx10.test MX h.test", "mx10.test MX i.test",
    "mx10.test MX j.test", "mx10.test MX k.test",
    /* macros: 7.4, and p */
    "macro.test TXT v=spf1 exists:%{l1r-}.%{d2}.ex.test -all", "strong.macro.test.ex.test A 127.0.0.2",
    "macro6.test TXT v=spf1 exists:%{ir}.%{v}._spf.test -all",
    "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.test A 127.0.0.2",
    "macroi.test TXT v=spf1 exists:%{ir}.%{v}.%{h}.ex.test -all", "1.2.0.192.in-addr.helo.test.ex.test A 127.0.0.2",
    "macrop.test TXT v=spf1 exists:%{p}.ex.test -all", "amy.example.com.ex.test A 127.0.0.2", "unknown.ex.test A 127.0.0.3",
    "macros.test TXT v=spf1 exists:%{S}.ex.test -all", "strong-bad%40macros.test.ex.test A 127.0.0.2",
    "macroinc.test TXT v=spf1 include:%{o}.inc.test -all", "macroinc.test.inc.test TXT v=spf1 ip4:192.0.2.1 -all",
    NULL,
};

static const struct { const char *client, *sender; enum spf_result result; } rows[] = {
    {"192.0.2.1", "x@all.test", SPF_PASS},          {"192.0.2.10", "x@a.test", SPF_PASS},
    {"192.0.2.12", "x@a.test", SPF_FAIL},           {"192.0.2.10", "x@aorg.test", SPF_FAIL},
    {"192.0.2.129", "x@mx.test", SPF_PASS},         {"192.0.2.140", "x@mx.test", SPF_FAIL},
    {"192.0.2.140", "x@mx2.test", SPF_PASS},        {"192.0.2.131", "x@mxbits.test", SPF_PASS},
    {"192.0.2.143", "x@mxbits.test", SPF_PASS},     {"192.0.2.133", "x@mxbits.test", SPF_FAIL},
    {"192.0.2.65", "x@ptr.test", SPF_PASS},         {"192.0.2.140", "x@ptr.test", SPF_FAIL},
    {"10.0.0.4", "x@ptr.test", SPF_FAIL},           {"192.0.2.129", "x@ip4.test", SPF_PASS},
    {"192.0.2.65", "x@ip4.test", SPF_FAIL},         {"192.0.2.1", "x@none.test", SPF_NONE},
    {"192.0.2.1", "x@missing.test", SPF_NONE},      {"192.0.2.1", "x@localhost", SPF_NONE},
    {"192.0.2.1", "x@[192.0.2.1]", SPF_NONE},       {"192.0.2.1", "x@two.test", SPF_PERMERROR},
    {"192.0.2.1", "x@version.test", SPF_NONE},      {"192.0.2.1", "x@upper.test", SPF_PASS},
    {"192.0.2.1", "x@neutral.test", SPF_NEUTRAL},   {"192.0.2.1", "x@soft.test", SPF_SOFTFAIL},
    {"192.0.2.1", "x@empty.test", SPF_NEUTRAL},     {"2001:db8::1", "x@ip6.test", SPF_PASS},
    {"2001:db9::1", "x@ip6.test", SPF_FAIL},        {"192.0.2.1", "x@ip6.test", SPF_FAIL},
    {"192.0.2.1", "x@mapped.test", SPF_FAIL},       {"2001:db8::ffff", "x@aaaa.test", SPF_PASS},
    {"2001:db8:0:1::7", "x@aaaa.test", SPF_FAIL},   {"192.0.2.250", "x@abits.test", SPF_PASS},
    {"192.0.2.1", "x@blanks.test", SPF_PASS},
    {"192.0.2.129", "x@inc.test", SPF_PASS},        {"192.0.2.1", "x@inc.test", SPF_FAIL},
    {"192.0.2.1", "x@incfail.test", SPF_PERMERROR}, {"192.0.2.1", "x@incnone.test", SPF_PERMERROR},
    {"192.0.2.1", "x@incneutral.test", SPF_SOFTFAIL}, {"192.0.2.7", "x@incperm.test", SPF_PERMERROR},
    {"192.0.2.1", "x@inctemp.test", SPF_TEMPERROR}, {"192.0.2.129", "x@red.test", SPF_PASS},
    {"192.0.2.1", "x@red.test", SPF_FAIL},          {"192.0.2.1", "x@rednone.test", SPF_PERMERROR},
    {"192.0.2.129", "x@redall.test", SPF_NEUTRAL},  {"192.0.2.1", "x@loop.test", SPF_PERMERROR},
    {"192.0.2.1", "x@redloop.test", SPF_PERMERROR}, {"192.0.2.1", "x@broken.test", SPF_TEMPERROR},
    {"192.0.2.1", "x@brokena.test", SPF_TEMPERROR},
    {"192.0.2.1", "x@bad.test", SPF_PERMERROR},     {"192.0.2.1", "x@bad1.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad2.test", SPF_PERMERROR},    {"192.0.2.1", "x@bad3.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad4.test", SPF_PERMERROR},    {"192.0.2.1", "x@bad5.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad6.test", SPF_PERMERROR},    {"192.0.2.1", "x@bad7.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad8.test", SPF_PERMERROR},    {"192.0.2.1", "x@bad9.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad10.test", SPF_PERMERROR},   {"192.0.2.1", "x@bad11.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad12.test", SPF_PERMERROR},   {"192.0.2.1", "x@bad13.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad14.test", SPF_PERMERROR},   {"192.0.2.1", "x@bad15.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad16.test", SPF_PERMERROR},   {"192.0.2.1", "x@bad17.test", SPF_PERMERROR},
    {"192.0.2.1", "x@bad18.test", SPF_PERMERROR},   {"192.0.2.1", "x@good1.test", SPF_FAIL},
    {"192.0.2.1", "x@good2.test", SPF_FAIL},        {"192.0.2.1", "x@behind.test", SPF_PERMERROR},
    {"10.0.0.1", "x@ten.test", SPF_PASS},           {"10.0.0.1", "x@eleven.test", SPF_PERMERROR},
    {"10.0.0.1", "x@void2.test", SPF_PASS},         {"10.0.0.1", "x@void3.test", SPF_PERMERROR},
    {"192.0.2.10", "x@mx10.test", SPF_PERMERROR},
    {"192.0.2.1", "strong-bad@macro.test", SPF_PASS}, {"192.0.2.1", "bad-strong@macro.test", SPF_FAIL},
    {"2001:db8::7", "x@macro6.test", SPF_PASS},     {"192.0.2.1", "x@macroi.test", SPF_PASS},
    {"192.0.2.65", "x@macrop.test", SPF_PASS},      {"192.0.2.99", "x@macrop.test", SPF_PASS},
    {"192.0.2.66", "x@macrop.test", SPF_FAIL},      {"192.0.2.1", "strong-bad@macros.test", SPF_PASS},
    {"192.0.2.1", "x@macroinc.test", SPF_PASS},
    {"192.0.2.1", "", SPF_NONE},                    /* helo.test has no record */
};

static struct in6_addr client_of(const char *text)
{
    struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    if (inet_pton(AF_INET, text, &address.s6_addr[12]) != 1)
        assert_int_equal(inet_pton(AF_INET6, text, &address), 1);
    return address;
}

static struct spf_answer check(const char *client, const char *sender, const char *helo)
{
    struct lookups lookups = {.count = 0};
    struct spf_answer answer;
    struct spf_query query = {.client = client_of(client), .helo = slice_of(helo), .host = SLICE("me.test")};
    query.domain = slice_of(sender);
    query.local = slice_cut(&query.domain, '@');
    int rounds = 0;
    do {
        struct arena arena = {0};
        answer = spf_check(&arena, &query, &lookups);
        assert_int_equal(answer.result == SPF_WAITS, lookups_are_open(&lookups));
        fixture_answer(&lookups, zone);
        arena_finish(&arena);
        assert_true(++rounds < 50);
    } while (answer.result == SPF_WAITS);
    lookups_finish(&lookups);
    return answer;
}

static void records_and_clients(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct spf_answer answer = check(rows[i].client, rows[i].sender, "helo.test");
        if (answer.result != rows[i].result)
            fail_msg("%s from %s: %s (%s) instead of %s", rows[i].sender, rows[i].client, spf_result_name(answer.result),
                     answer.reason ? answer.reason : "", spf_result_name(rows[i].result));
    }
}

static void F3_the_null_sender_is_the_helo_s_postmaster(void **state)
{
    (void)state;
    assert_int_equal(check("192.0.2.129", "", "ip4.test").result, SPF_PASS);
    assert_int_equal(check("192.0.2.1", "", "ip4.test").result, SPF_FAIL);
    assert_int_equal(check("192.0.2.1", "", "[192.0.2.1]").result, SPF_NONE);
}

/* 7.4: for strong-bad@email.example.com and 192.0.2.3. */
static void the_rfc_s_macros(void **state)
{
    static const struct { const char *macro, *text; } macros[] = {
        {"%{s}", "strong-bad@email.example.com"}, {"%{o}", "email.example.com"}, {"%{d}", "email.example.com"},
        {"%{d4}", "email.example.com"}, {"%{d3}", "email.example.com"}, {"%{d2}", "example.com"}, {"%{d1}", "com"},
        {"%{dr}", "com.example.email"}, {"%{d2r}", "example.email"}, {"%{l}", "strong-bad"}, {"%{l-}", "strong.bad"},
        {"%{lr}", "strong-bad"}, {"%{lr-}", "bad.strong"}, {"%{l1r-}", "strong"},
        {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"}, {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
        {"%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
        {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"}, {"a%%b%_c%-d", "a%b c%20d"},
        {"%{L}x", "strong-badx"}, {"%{S}", "strong-bad%40email.example.com"},
    };
    (void)state;
    struct spf_query query = {.client = client_of("192.0.2.3")};
    for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
        struct arena arena = {0};
        struct slice text;
        struct spf_run run = {.arena = &arena, .query = &query, .local = SLICE("strong-bad"),
                              .sender_domain = SLICE("email.example.com")};
        assert_true(spf_macro_check(slice_of(macros[i].macro), false));
        assert_true(spf_macro_expand(&run, slice_of(macros[i].macro), SLICE("email.example.com"), &text));
        assert_string_equal(arena_text(&arena, text), macros[i].text);
        arena_finish(&arena);
    }
}

static void a_name_that_is_too_long_loses_labels(void **state)
{
    struct arena arena = {0};
    struct spf_query query = {.client = client_of("192.0.2.3")};
    char local[300];
    struct slice text;
    memset(local, 'x', sizeof local);
    for (size_t i = 20; i < sizeof local; i += 20)
        local[i] = '.';
    struct spf_run run = {.arena = &arena, .query = &query, .local = slice_make(local, sizeof local), .sender_domain = SLICE("a.test")};
    (void)state;
    assert_true(spf_macro_expand(&run, SLICE("%{l}.a.test"), SLICE("a.test"), &text));
    assert_true(text.size <= 253 && text.size > 230 && text.data[0] == 'x');
    arena_finish(&arena);
}

static void time_that_is_over_is_temperror(void **state)
{
    struct arena arena = {0};
    struct lookups lookups = {.count = 0};
    struct spf_query query = {.client = client_of("192.0.2.1"), .helo = SLICE("h.test"), .domain = SLICE("inc.test")};
    (void)state;
    assert_int_equal(spf_check(&arena, &query, &lookups).result, SPF_WAITS);
    lookups_give_up(&lookups);
    assert_int_equal(spf_check(&arena, &query, &lookups).result, SPF_TEMPERROR);
    lookups_finish(&lookups);
    arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_and_clients),   cmocka_unit_test(F3_the_null_sender_is_the_helo_s_postmaster),
        cmocka_unit_test(the_rfc_s_macros),      cmocka_unit_test(a_name_that_is_too_long_loses_labels),
        cmocka_unit_test(time_that_is_over_is_temperror),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
