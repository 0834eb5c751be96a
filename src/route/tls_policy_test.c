/* L1 to L6: the table of downgrades. Each row: what is known, what the server does, what must become of the message. */
#include "route/tls_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

enum server { NO_STARTTLS, REFUSES, HANDSHAKE_FAILS, UNVERIFIED, VERIFIED };
enum outcome { CLEAR, SECURED, DEFERRED };

struct row {
    const char *rule;
    struct tls_known known;
    const char *sts;         /* lines of a policy */
    enum server server;
    enum outcome outcome;
    const char *why;
};

/* KNOWN's defaults stand in front of what a row says. */
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

#define ENFORCE "mode: enforce\nmx: mx.d.test\n"
#define KNOWN(...) {.host = "mx.d.test", .domain = "d.test", .dane_name = "mx.d.test", .config = CONFIG_TLS_MAY, __VA_ARGS__}
static const uint8_t digest[32];
static const struct tlsa ee = {3, 1, 1, digest, 32}, ta = {2, 0, 1, digest, 32};
#define DANE_EE .dane = DANE_USABLE, .tlsa = &ee, .tlsa_count = 1
#define DANE_TA .dane = DANE_USABLE, .tlsa = &ta, .tlsa_count = 1

static const struct row rows[] = {
    {"opportunistic: no STARTTLS", KNOWN(), NULL, NO_STARTTLS, CLEAR, "nothing demands"},
    {"opportunistic: 454", KNOWN(), NULL, REFUSES, CLEAR},
    {"opportunistic: handshake fails", KNOWN(), NULL, HANDSHAKE_FAILS, CLEAR},
    {"opportunistic: bad certificate", KNOWN(), NULL, UNVERIFIED, SECURED},
    {"config must: no STARTTLS", KNOWN(.config = CONFIG_TLS_MUST), NULL, NO_STARTTLS, DEFERRED, "config"},
    {"config must: 454", KNOWN(.config = CONFIG_TLS_MUST), NULL, REFUSES, DEFERRED},
    {"config must: handshake fails", KNOWN(.config = CONFIG_TLS_MUST), NULL, HANDSHAKE_FAILS, DEFERRED},
    {"config must: second MX without STARTTLS", KNOWN(.config = CONFIG_TLS_MUST), NULL, NO_STARTTLS, DEFERRED},
    {"config must: bad certificate", KNOWN(.config = CONFIG_TLS_MUST), NULL, UNVERIFIED, SECURED},
    {"config verify: bad certificate", KNOWN(.config = CONFIG_TLS_VERIFY), NULL, UNVERIFIED, DEFERRED},
    {"config fingerprint: other certificate", KNOWN(.config = CONFIG_TLS_FINGERPRINT), NULL, UNVERIFIED, DEFERRED},
    {"config never", KNOWN(.config = CONFIG_TLS_NEVER), NULL, NO_STARTTLS, CLEAR},
    {"DANE: match", KNOWN(DANE_EE), NULL, VERIFIED, SECURED, "1 usable TLSA record at mx.d.test"},
    {"DANE: mismatch", KNOWN(DANE_EE), NULL, UNVERIFIED, DEFERRED},
    {"DANE: no STARTTLS", KNOWN(DANE_EE), NULL, NO_STARTTLS, DEFERRED},
    {"DANE: handshake fails", KNOWN(DANE_EE), NULL, HANDSHAKE_FAILS, DEFERRED},
    {"DANE: bogus or SERVFAIL", KNOWN(.dane = DANE_FAILED), NULL, VERIFIED, DEFERRED, "could not be looked up"},
    {"DANE: all unusable: encrypt", KNOWN(.dane = DANE_UNUSABLE), NULL, UNVERIFIED, SECURED, "without authentication"},
    {"DANE: all unusable, no TLS", KNOWN(.dane = DANE_UNUSABLE), NULL, NO_STARTTLS, DEFERRED},
    {"DANE: insecure zone is no DANE", KNOWN(.dane = DANE_ABSENT), NULL, NO_STARTTLS, CLEAR},
    {"DANE: 2 x x, wrong name", KNOWN(DANE_TA), NULL, UNVERIFIED, DEFERRED},
    {"DANE: never in the config takes nothing away", KNOWN(DANE_EE, .config = CONFIG_TLS_NEVER), NULL, NO_STARTTLS, DEFERRED},
    {"MTA-STS: good", KNOWN(), ENFORCE, VERIFIED, SECURED, "MTA-STS policy of d.test: enforce"},
    {"MTA-STS: MX not listed", KNOWN(), "mode: enforce\nmx: other.test\n", VERIFIED, DEFERRED, "does not list mx.d.test"},
    {"MTA-STS: self-signed, expired or wrong name", KNOWN(), ENFORCE, UNVERIFIED, DEFERRED},
    {"MTA-STS: no STARTTLS", KNOWN(), ENFORCE, NO_STARTTLS, DEFERRED},
    {"MTA-STS: handshake fails", KNOWN(), ENFORCE, HANDSHAKE_FAILS, DEFERRED},
    {"MTA-STS: testing delivers", KNOWN(), "mode: testing\nmx: other.test\n", NO_STARTTLS, CLEAR, "testing, which does not list"},
    {"MTA-STS: none", KNOWN(), "mode: none\n", NO_STARTTLS, CLEAR},
    {"MTA-STS: one label only", KNOWN(), "mode: enforce\nmx: *.test\n", VERIFIED, DEFERRED},
    {"MTA-STS: wildcard", KNOWN(), "mode: enforce\nmx: *.d.test\n", VERIFIED, SECURED},
    {"MTA-STS: config may not weaken it", KNOWN(.config = CONFIG_TLS_NEVER), ENFORCE, NO_STARTTLS, DEFERRED},
    {"DANE wins: MX not listed by MTA-STS", KNOWN(DANE_EE), "mode: enforce\nmx: other.test\n", VERIFIED, SECURED},
    {"DANE wins: mismatch in spite of MTA-STS", KNOWN(DANE_EE), ENFORCE, UNVERIFIED, DEFERRED},
    {"DANE failed is not healed by MTA-STS", KNOWN(.dane = DANE_FAILED), ENFORCE, VERIFIED, DEFERRED},
    {"DANE unusable, MTA-STS verifies", KNOWN(.dane = DANE_UNUSABLE), ENFORCE, UNVERIFIED, DEFERRED},
    {"REQUIRETLS: nobody vouches for the host", KNOWN(.demand = TLS_DEMAND_REQUIRED), NULL, VERIFIED, DEFERRED, "vouches"},
    {"REQUIRETLS: DNSSEC, verified", KNOWN(.is_host_vouched = true, .demand = TLS_DEMAND_REQUIRED), NULL, VERIFIED, SECURED},
    {"REQUIRETLS: DNSSEC, not verified", KNOWN(.is_host_vouched = true, .demand = TLS_DEMAND_REQUIRED), NULL, UNVERIFIED, DEFERRED},
    {"REQUIRETLS: MTA-STS", KNOWN(.demand = TLS_DEMAND_REQUIRED), ENFORCE, VERIFIED, SECURED},
    {"TLS-Required: No over DANE", KNOWN(DANE_EE, .demand = TLS_DEMAND_OPTIONAL), NULL, NO_STARTTLS, CLEAR, "TLS-Required: No"},
    {"TLS-Required: No over MTA-STS", KNOWN(.demand = TLS_DEMAND_OPTIONAL), ENFORCE, UNVERIFIED, SECURED},
    {"TLS-Required: No, but the config", KNOWN(.config = CONFIG_TLS_MUST, .demand = TLS_DEMAND_OPTIONAL), NULL, NO_STARTTLS, DEFERRED},
};

static enum outcome outcome_of(const struct tls_policy *policy, enum server server)
{
    if (policy->is_barred)
        return DEFERRED;
    if (policy->level == SMTP_TLS_NEVER)
        return CLEAR;
    if (server < UNVERIFIED)
        return policy->level == SMTP_TLS_MUST ? DEFERRED : CLEAR;
    return server == VERIFIED || policy->check == TLS_CHECK_NONE ? SECURED : DEFERRED;
}

static void each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tls_known known = rows[i].known;
        struct sts_policy *sts = NULL;
        struct tls_policy policy;
        char text[200];
        struct error error;
        if (rows[i].sts) {
            (void)snprintf(text, sizeof text, "version: STSv1\nmax_age: 1\n%s", rows[i].sts);
            sts = sts_policy_parse(slice_of(text), &error);
            assert_non_null(sts);
            known.sts = sts;
        }
        tls_policy_find(&known, &policy);
        if (outcome_of(&policy, rows[i].server) != rows[i].outcome || (rows[i].why && !strstr(policy.why, rows[i].why)))
            fail_msg("%s: %d, %s", rows[i].rule, (int)outcome_of(&policy, rows[i].server), policy.why);
        sts_policy_release(&sts);
    }
}

static void l4_records(void **state)
{
    static const struct { const char *rule; uint8_t head[3]; size_t size; bool is_usable; } records[] = {
        {"3 1 1", {3, 1, 1}, 35, true}, {"2 0 1", {2, 0, 1}, 35, true}, {"3 0 2", {3, 0, 2}, 67, true},
        {"usage 0", {0, 1, 1}, 35, false}, {"usage 1", {1, 1, 1}, 35, false}, {"usage 255", {255, 1, 1}, 35, false},
        {"selector 2", {3, 2, 1}, 35, false}, {"unknown digest", {3, 1, 3}, 35, false}, {"short digest", {3, 1, 1}, 34, false},
        {"long digest", {3, 1, 1}, 36, false}, {"SHA-512 of 32 octets", {3, 1, 2}, 35, false},
        {"no certificate", {3, 0, 0}, 40, false}, {"no key", {3, 1, 0}, 40, false}, {"0 octets", {3, 1, 1}, 0, false},
        {"1 octet", {3, 1, 1}, 1, false}, {"2 octets", {3, 1, 1}, 2, false}, {"3 octets", {3, 1, 1}, 3, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(records); i++) {
        uint8_t *data = test_malloc(records[i].size + !records[i].size); /* ASan sees a step too far */
        struct tlsa tlsa;
        for (size_t k = 0; k < records[i].size; k++)
            data[k] = k < 3 ? records[i].head[k] : 0;
        if (tlsa_parse(data, records[i].size, &tlsa) != records[i].is_usable)
            fail_msg("%s", records[i].rule);
        test_free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_row), cmocka_unit_test(l4_records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
