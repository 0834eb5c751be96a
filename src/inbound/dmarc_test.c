/* DMARC: where the record is found, what is aligned with what, and the policy that holds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "inbound/dmarc.h"
#include "inbound/fixture.h"

static const char *const zone[] = {
    "_dmarc.reject.com TXT v=DMARC1; p=reject", "_dmarc.strict.com TXT v=DMARC1; p=quarantine; aspf=s; adkim=s; sp=none",
    "_dmarc.sub.com TXT v=DMARC1; p=none; sp=reject", "_dmarc.own.sub.com TXT v=DMARC1;p=quarantine",
    "_dmarc.two.com TXT v=DMARC1; p=reject", "_dmarc.two.com TXT v=DMARC1; p=none", "_dmarc.other.com TXT v=spf1 -all",
    "_dmarc.broken.com FAIL x", "_dmarc.nop.com TXT v=DMARC1; rua=mailto:a@nop.com", "_dmarc.nothing.com TXT v=DMARC1; x=y",
    "_dmarc.half.com TXT v=DMARC1; p=reject; pct=50", "_dmarc.co.uk TXT v=DMARC1; p=reject", "_dmarc.case.com TXT v=DMARC1; P=reject; p=Reject",
    "_dmarc.order.com TXT p=reject; v=DMARC1", "_dmarc.bad.com TXT v=DMARC1; p=refuse", NULL,
};

enum { NO = 0, PASSED = 1, UNSURE = 2 };

static const struct {
    const char *from, *spf; int spf_state; const char *dkim; int dkim_state; unsigned dice;
    enum dmarc_result result; enum dmarc_policy policy;
} rows[] = {
    {"reject.com", "reject.com", PASSED, "", NO, 0, DMARC_PASS, DMARC_ASKS_REJECT},
    {"reject.com", "", NO, "reject.com", PASSED, 0, DMARC_PASS, DMARC_ASKS_REJECT},
    {"reject.com", "other.com", PASSED, "x.org", PASSED, 0, DMARC_FAIL, DMARC_ASKS_REJECT},
    {"reject.com", "notreject.com", PASSED, "", NO, 0, DMARC_FAIL, DMARC_ASKS_REJECT},
    {"reject.com", "bounce.reject.com", PASSED, "", NO, 0, DMARC_PASS, DMARC_ASKS_REJECT},
    {"news.reject.com", "bounce.reject.com", PASSED, "", NO, 0, DMARC_PASS, DMARC_ASKS_REJECT},
    {"reject.com", "reject.com", NO, "", NO, 0, DMARC_FAIL, DMARC_ASKS_REJECT},
    {"reject.com", "reject.com", UNSURE, "", NO, 0, DMARC_TEMPERROR, DMARC_ASKS_REJECT},
    {"reject.com", "other.com", UNSURE, "", NO, 0, DMARC_FAIL, DMARC_ASKS_REJECT},
    {"reject.com", "reject.com", UNSURE, "reject.com", PASSED, 0, DMARC_PASS, DMARC_ASKS_REJECT},
    {"strict.com", "bounce.strict.com", PASSED, "", NO, 0, DMARC_FAIL, DMARC_ASKS_QUARANTINE},
    {"strict.com", "", NO, "mail.strict.com", PASSED, 0, DMARC_FAIL, DMARC_ASKS_QUARANTINE},
    {"strict.com", "", NO, "STRICT.com", PASSED, 0, DMARC_PASS, DMARC_ASKS_QUARANTINE},
    {"a.strict.com", "", NO, "", NO, 0, DMARC_FAIL, DMARC_ASKS_NONE},
    {"a.sub.com", "", NO, "", NO, 0, DMARC_FAIL, DMARC_ASKS_REJECT},
    {"own.sub.com", "", NO, "", NO, 0, DMARC_FAIL, DMARC_ASKS_QUARANTINE},
    {"sub.com", "", NO, "", NO, 0, DMARC_FAIL, DMARC_ASKS_NONE},
    {"two.com", "", NO, "", NO, 0, DMARC_NONE, DMARC_ASKS_NONE},
    {"other.com", "", NO, "", NO, 0, DMARC_NONE, DMARC_ASKS_NONE},
    {"missing.com", "missing.com", PASSED, "", NO, 0, DMARC_NONE, DMARC_ASKS_NONE},
    {"broken.com", "broken.com", PASSED, "", NO, 0, DMARC_TEMPERROR, DMARC_ASKS_NONE},
    {"nop.com", "", NO, "", NO, 0, DMARC_FAIL, DMARC_ASKS_NONE},
    {"nothing.com", "", NO, "", NO, 0, DMARC_PERMERROR, DMARC_ASKS_NONE},
    {"bad.com", "", NO, "", NO, 0, DMARC_PERMERROR, DMARC_ASKS_NONE},
    {"half.com", "", NO, "", NO, 49, DMARC_FAIL, DMARC_ASKS_REJECT},
    {"half.com", "", NO, "", NO, 50, DMARC_FAIL, DMARC_ASKS_QUARANTINE},
    {"", "", NO, "", NO, 0, DMARC_PERMERROR, DMARC_ASKS_NONE},
    /* co.uk is no organisation: its record holds for itself alone, and two names below it have nothing in common. */
    {"a.co.uk", "b.co.uk", PASSED, "", NO, 0, DMARC_NONE, DMARC_ASKS_NONE},
    {"co.uk", "b.co.uk", PASSED, "", NO, 0, DMARC_FAIL, DMARC_ASKS_REJECT},
    {"case.com", "", NO, "", NO, 0, DMARC_FAIL, DMARC_ASKS_REJECT},
    {"order.com", "", NO, "", NO, 0, DMARC_NONE, DMARC_ASKS_NONE},
};

static void records_and_identities(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena = {0};
        struct lookups lookups = {.count = 0};
        struct dmarc_answer answer;
        const struct dmarc_identity identities[] = {
            {PROOF_SPF, slice_of(rows[i].spf), rows[i].spf_state == PASSED, rows[i].spf_state == UNSURE},
            {PROOF_DKIM, slice_of(rows[i].dkim), rows[i].dkim_state == PASSED, rows[i].dkim_state == UNSURE},
        };
        do {
            answer = dmarc_check(&arena, slice_of(rows[i].from), identities, 2, psl_builtin(), rows[i].dice, &lookups);
            fixture_answer(&lookups, zone);
        } while (answer.result == DMARC_WAITS);
        if (answer.result != rows[i].result || answer.policy != rows[i].policy)
            fail_msg("row %zu, %s: %s, %s", i, rows[i].from, dmarc_result_name(answer.result), dmarc_policy_name(answer.policy));
        lookups_finish(&lookups);
        arena_finish(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(records_and_identities)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
