/* tls_policy: what is known about a host and a message -> how the connection must be secured, and in words why.
 *   RFC 7672 (DANE), RFC 8461 (MTA-STS), RFC 8689 (REQUIRETLS, TLS-Required), RFC 7435 (opportunistic)
 *
 * L1  DANE before MTA-STS `enforce` before the config before opportunistic. A weaker one adds to a stronger one, and never
 *     takes from it: usable TLSA records alone decide; with unusable ones (encrypt, unauthenticated) MTA-STS or the config
 *     may still ask for a certificate
 * L2  TLSA that can't be looked up or are bogus bar the host (RFC 7672 2.1.2); so does an `enforce` policy that doesn't
 *     list it, where DANE doesn't decide. A barred host is not connected to
 * L3  where anything demands TLS, nothing is sent in the clear; only SMTP_TLS_MAY may fall back
 * L4  usable are usages 2 and 3, selectors 0 and 1, matching types 0 to 2 with data of the right size or that OpenSSL reads;
 *     names are not looked at for usage 3, nor is the date (RFC 7672 3.1.1)
 * L5  `testing` changes nothing but that the certificate is looked at for the report
 * L6  REQUIRETLS: verified TLS, to a host whose name DNSSEC, MTA-STS or the config vouches for. TLS-Required: No: neither
 *     DANE nor MTA-STS count; the config does
 * Pure. What it returns points into what it was given. */
#ifndef MR_ROUTE_TLS_POLICY_H
#define MR_ROUTE_TLS_POLICY_H

#include "config/config.h"
#include "route/sts_policy.h"
#include "smtp/client.h"

enum tls_check { TLS_CHECK_NONE, TLS_CHECK_NAMES, TLS_CHECK_DANE, TLS_CHECK_FINGERPRINT };
enum tls_source { TLS_BY_NOTHING, TLS_BY_CONFIG, TLS_BY_STS, TLS_BY_DANE, TLS_BY_MESSAGE };
enum tls_demand { TLS_DEMAND_NONE, TLS_DEMAND_REQUIRED, TLS_DEMAND_OPTIONAL }; /* a message's (L6) */
enum dane_state { DANE_ABSENT, DANE_USABLE, DANE_UNUSABLE, DANE_FAILED };

struct tlsa { uint8_t usage, selector, matching; const uint8_t *data; size_t size; };

struct tls_known {
    const char *host, *domain;     /* MX host; what stands behind the @ */
    bool is_host_vouched;          /* the MX answer is DNSSEC-validated, or the config names the host */
    enum dane_state dane;
    const char *dane_name;         /* TLSA base domain (RFC 7672 2.2.3) */
    const struct tlsa *tlsa;
    size_t tlsa_count;
    const struct sts_policy *sts;  /* NULL: none */
    enum config_tls config;
    bool is_implicit;              /* there is no clear phase: TLS at least */
    const struct config_list *fingerprints;
    enum tls_demand demand;
};

struct tls_policy {
    enum smtp_tls level;
    enum tls_check check;
    enum tls_source source;
    bool is_barred;
    bool is_testing;               /* L5 */
    const char *server_name;       /* SNI */
    const char *names[3];          /* any of them will do */
    size_t name_count;
    const struct tlsa *tlsa;
    size_t tlsa_count;
    const struct config_list *fingerprints;
    char why[200];
};

void tls_policy_find(const struct tls_known *known, struct tls_policy *ret_policy);
bool tlsa_parse(const uint8_t *data, size_t size, struct tlsa *ret_tlsa); /* false: malformed or unusable (L4) */
const char *tls_source_name(enum tls_source source); /* "dane", "mta-sts", "config", "message", "opportunistic" */
const char *tls_level_name(const struct tls_policy *policy); /* "never", "may", "must", "verify", "dane", "fingerprint" */

#endif
