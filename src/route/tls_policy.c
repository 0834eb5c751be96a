#include "route/tls_policy.h"

#include <openssl/x509.h>
#include <stdio.h>

const char *tls_source_name(enum tls_source source)
{
    static const char *const names[] = {"opportunistic", "config", "mta-sts", "dane", "message"};
    return names[source];
}

const char *tls_level_name(const struct tls_policy *policy)
{
    static const char *const checks[] = {NULL, "verify", "dane", "fingerprint"};
    static const char *const levels[] = {[SMTP_TLS_NEVER] = "never", [SMTP_TLS_MAY] = "may", [SMTP_TLS_MUST] = "must"};
    return checks[policy->check] ? checks[policy->check] : levels[policy->level];
}

/* ---- records ---- */

static bool is_whole_certificate(const uint8_t *data, size_t size)
{
    const uint8_t *at = data;
    X509 *certificate = d2i_X509(NULL, &at, (long)size);
    X509_free(certificate);
    return certificate && at == data + size;
}

static bool is_whole_key(const uint8_t *data, size_t size)
{
    const uint8_t *at = data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)size);
    EVP_PKEY_free(key);
    return key && at == data + size;
}

bool tlsa_parse(const uint8_t *data, size_t size, struct tlsa *ret_tlsa)
{
    if (size < 4)
        return false;
    *ret_tlsa = (struct tlsa){data[0], data[1], data[2], data + 3, size - 3};
    if ((ret_tlsa->usage != 2 && ret_tlsa->usage != 3) || ret_tlsa->selector > 1)
        return false;
    switch (ret_tlsa->matching) {
    case 0:
        return ret_tlsa->selector == 0 ? is_whole_certificate(ret_tlsa->data, ret_tlsa->size)
                                       : is_whole_key(ret_tlsa->data, ret_tlsa->size);
    case 1:
        return ret_tlsa->size == 32;
    case 2:
        return ret_tlsa->size == 64;
    default:
        return false;
    }
}

/* ---- the policy ---- */

static void say(struct tls_policy *policy, const char *format, ...) FORMAT(2, 3);

static void say(struct tls_policy *policy, const char *format, ...)
{
    size_t used = strlen(policy->why);
    va_list args;
    if (used && used + 2 < sizeof policy->why) {
        memcpy(policy->why + used, "; ", 3);
        used += 2;
    }
    va_start(args, format);
    (void)vsnprintf(policy->why + used, sizeof policy->why - used, format, args);
    va_end(args);
}

static void add_name(struct tls_policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->name_count; i++)
        if (strcmp(policy->names[i], name) == 0)
            return;
    policy->names[policy->name_count++] = name;
}

static void raise_level(struct tls_policy *policy, enum smtp_tls level, enum tls_source source)
{
    policy->level = level;
    if (source > policy->source)
        policy->source = source;
}

static void verify_names(const struct tls_known *known, struct tls_policy *policy)
{
    if (policy->check != TLS_CHECK_NONE)
        return;
    policy->check = TLS_CHECK_NAMES;
    add_name(policy, known->host);
}

static void use_dane(const struct tls_known *known, struct tls_policy *policy)
{
    switch (known->dane) {
    case DANE_ABSENT:
        return;
    case DANE_FAILED:
        policy->is_barred = true;
        say(policy, "its TLSA records (DANE) could not be looked up or are not validly signed");
        break;
    case DANE_UNUSABLE:
        say(policy, "no TLSA record at %s is usable: encrypt without authentication", known->dane_name);
        break;
    case DANE_USABLE:
        policy->check = TLS_CHECK_DANE;
        policy->tlsa = known->tlsa;
        policy->tlsa_count = known->tlsa_count;
        policy->server_name = known->dane_name;
        add_name(policy, known->dane_name);
        add_name(policy, known->host);
        add_name(policy, known->domain);
        say(policy, "%zu usable TLSA record%s at %s", known->tlsa_count, known->tlsa_count == 1 ? "" : "s",
            known->dane_name);
        break;
    }
    raise_level(policy, SMTP_TLS_MUST, TLS_BY_DANE);
}

static void use_sts(const struct tls_known *known, struct tls_policy *policy)
{
    if (!known->sts || known->sts->mode == STS_NONE || known->dane == DANE_USABLE)
        return;
    bool is_listed = sts_policy_matches(known->sts, slice_of(known->host));
    if (known->sts->mode == STS_TESTING) {
        policy->is_testing = true;
        if (policy->check == TLS_CHECK_NONE)
            add_name(policy, known->host);
        say(policy, "MTA-STS policy in testing%s", is_listed ? "" : ", which does not list this host");
        return;
    }
    raise_level(policy, SMTP_TLS_MUST, TLS_BY_STS);
    if (is_listed) {
        verify_names(known, policy);
        say(policy, "MTA-STS policy of %s: enforce", known->domain);
    } else {
        policy->is_barred = true;
        say(policy, "the MTA-STS policy of %s does not list %s", known->domain, known->host);
    }
}

static void use_config(const struct tls_known *known, struct tls_policy *policy)
{
    if (known->config == CONFIG_TLS_MAY)
        return;
    if (known->config == CONFIG_TLS_NEVER) {
        if (policy->source == TLS_BY_NOTHING) {
            raise_level(policy, SMTP_TLS_NEVER, TLS_BY_CONFIG);
            say(policy, "the config says never");
        }
        return;
    }
    raise_level(policy, SMTP_TLS_MUST, TLS_BY_CONFIG);
    if (known->config == CONFIG_TLS_VERIFY)
        verify_names(known, policy);
    if (known->config == CONFIG_TLS_FINGERPRINT && policy->check == TLS_CHECK_NONE) {
        policy->check = TLS_CHECK_FINGERPRINT;
        policy->fingerprints = known->fingerprints;
    }
    if (policy->source == TLS_BY_CONFIG)
        say(policy, "the config demands %s", known->config == CONFIG_TLS_MUST     ? "TLS"
                                             : known->config == CONFIG_TLS_VERIFY ? "a verified certificate"
                                                                                  : "a certificate with a given fingerprint");
}

static void use_demand(const struct tls_known *known, struct tls_policy *policy)
{
    bool is_listed = known->sts && known->sts->mode == STS_ENFORCE && !policy->is_barred;
    if (known->demand != TLS_DEMAND_REQUIRED)
        return;
    raise_level(policy, SMTP_TLS_MUST, TLS_BY_MESSAGE);
    verify_names(known, policy);
    say(policy, "the message demands it (REQUIRETLS)");
    if (!known->is_host_vouched && !is_listed) {
        policy->is_barred = true;
        say(policy, "but neither DNSSEC nor MTA-STS vouches for this host");
    }
}

void tls_policy_find(const struct tls_known *known, struct tls_policy *ret_policy)
{
    *ret_policy = (struct tls_policy){.level = SMTP_TLS_MAY, .server_name = known->host};
    if (known->demand == TLS_DEMAND_OPTIONAL) {
        say(ret_policy, "the message says TLS-Required: No");
    } else {
        use_dane(known, ret_policy);
        use_sts(known, ret_policy);
    }
    use_config(known, ret_policy);
    use_demand(known, ret_policy);
    if (known->is_implicit && ret_policy->level != SMTP_TLS_MUST) {
        raise_level(ret_policy, SMTP_TLS_MUST, TLS_BY_CONFIG);
        say(ret_policy, "the config says TLS from the start");
    }
    if (!ret_policy->why[0])
        say(ret_policy, "nothing demands TLS: used where it is offered");
}
