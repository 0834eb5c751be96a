/* A message's checks as one, the Authentication-Results field that says what was found, and the claims that are taken out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "inbound/fixture.h"
#include "inbound/auth_results.h"

static const char *const zone[] = {
    "1.2.0.192.in-addr.arpa PTR mail.x.com", "mail.x.com A 192.0.2.1", "x.com TXT v=spf1 ip4:192.0.2.1 -all",
    "_dmarc.x.com TXT v=DMARC1; p=reject", "2.2.0.192.in-addr.arpa PTR liar.x.com", "liar.x.com A 192.0.2.9",
    "3.2.0.192.in-addr.arpa FAIL x", "broken.com FAIL x", "_dmarc.broken.com FAIL x", NULL,
};

static struct in6_addr client(unsigned char last)
{
    return (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff, 192, 0, 2, last}};
}

/* The field in one line, without "Authentication-Results: me.test". */
static struct slice run(struct arena *arena, unsigned char last, const char *sender, const char *message)
{
    static const struct checks_options defaults = {true, true, true, true, true, "me.test", NULL};
    struct checks_options options = defaults;
    struct checks_subject subject = {client(last), SLICE("helo.test"), slice_of(sender), slice_of(message), 0, 0};
    struct checks checks;
    struct buf out = {0}, line = {0};
    options.suffixes = psl_builtin();
    checks_begin(&checks, &options, &subject);
    while (!checks_run(&checks))
        fixture_answer(&checks.lookups, zone);
    auth_results_put(&checks, &out);
    for (size_t i = 0; i < out.size; i++)
        if (out.data[i] != '\r' && out.data[i] != '\n')
            buf_append_byte(&line, out.data[i] == '\t' ? ' ' : out.data[i]);
    assert_true(slice_starts(buf_slice(&line), SLICE("Authentication-Results: me.test;")));
    struct slice copy = arena_copy(arena, slice_from(buf_slice(&line), 32));
    buf_finish(&out);
    buf_finish(&line);
    checks_finish(&checks);
    return copy;
}

static void what_was_found_is_said(void **state)
{
    static const struct { unsigned char last; const char *sender, *message, *said; } rows[] = {
        {1, "a@x.com", "From: a@x.com\r\n\r\n",
         " iprev=pass (mail.x.com) policy.iprev=192.0.2.1; spf=pass smtp.mailfrom=a@x.com; dkim=none; "
         "dmarc=pass (p=reject) header.from=x.com; arc=none"},
        {2, "", "From: a@x.com\r\n\r\n",
         " iprev=fail policy.iprev=192.0.2.2; spf=none smtp.helo=helo.test; dkim=none; "
         "dmarc=fail (p=reject) header.from=x.com; arc=none"},
        {3, "a@broken.com", "From: a@broken.com\r\n\r\n",
         " iprev=temperror policy.iprev=192.0.2.3; spf=temperror (DNS gave no usable answer) smtp.mailfrom=a@broken.com; dkim=none; "
         "dmarc=temperror (DNS gave no usable answer) header.from=broken.com; arc=none"},
        {4, "\"a b;\"@x.com", "From: a@x.com, b@y.com\r\n\r\n",
         " iprev=permerror policy.iprev=192.0.2.4; spf=fail smtp.mailfrom=x.com; dkim=none; "
         "dmarc=permerror (no single domain in From); arc=none"},
        {1, "a@x.com", "From: a@x.com\r\nFrom: b@x.com\r\nDKIM-Signature: v=1; d=evil\r\n\r\n",
         " iprev=pass (mail.x.com) policy.iprev=192.0.2.1; spf=pass smtp.mailfrom=a@x.com; "
         "dkim=permerror (d=: a domain was expected) header.d=evil; dmarc=permerror (no single domain in From); arc=none"},
        {1, "a@x.com", "From: a@x.com\r\nARC-Seal: i=1; a=rsa-sha256; d=x.com; s=s; cv=none; b=AAAA\r\n\r\n",
         " iprev=pass (mail.x.com) policy.iprev=192.0.2.1; spf=pass smtp.mailfrom=a@x.com; dkim=none; "
         "dmarc=pass (p=reject) header.from=x.com; arc=fail (a set isn't whole)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena = {0};
        assert_string_equal(arena_text(&arena, run(&arena, rows[i].last, rows[i].sender, rows[i].message)), rows[i].said);
        arena_finish(&arena);
    }
}

static void U1_claims_to_be_ours_are_taken_out(void **state)
{
    static const struct { const char *field; bool is_claim; } rows[] = {
        {"Authentication-Results: me.test; spf=pass", true},
        {"authentication-results:\r\n\tME.Test;\r\n\tspf=pass", true},
        {"Authentication-Results: (a (comment\\)) here) me.test 1; none", true},
        {"Authentication-Results: \"me.test\"; none", true},
        {"Authentication-Results: me.test/1; none", true},
        {"Authentication-Results: me.test", true},
        {"Authentication-Results : me.test; none", true},
        {"Authentication-Results: notme.test; none", false},
        {"Authentication-Results: me.test.evil; none", false},
        {"Authentication-Results: other.test; spf=pass (me.test)", false},
        {"Authentication-Results:", false},
        {"ARC-Authentication-Results: i=1; me.test; none", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena = {0};
        struct header header;
        struct header_limits limits = {10000, 100};
        struct buf out = {0};
        struct slice message = arena_printf(&arena, "A: 1\r\n%s\r\nB: 2\r\n\r\nbody\r\n", rows[i].field);
        assert_true(header_scan(&arena, message, &limits, &header, NULL));
        if (auth_results_strip(&header, message, "me.test", &out) != rows[i].is_claim)
            fail_msg("%s", rows[i].field);
        if (rows[i].is_claim)
            assert_string_equal(buf_text(&out), "A: 1\r\nB: 2\r\n\r\nbody\r\n");
        buf_finish(&out);
        arena_finish(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_found_is_said), cmocka_unit_test(U1_claims_to_be_ours_are_taken_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
