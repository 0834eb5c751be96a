/* dmarc: whether what was authenticated belongs to the domain that readers see, and what its owner asks for if not.   RFC 7489
 *
 * R1  the domain is From's; none, or several domains, is permerror: nothing can be aligned with it
 * R2  the record stands at _dmarc.DOMAIN, else at _dmarc. of its organisational domain by the public suffix list (6.6.3); then
 *     sp= holds for the domains below
 * R3  a result that another one could still change is temperror, not fail: DNS that gave no answer for an aligned identity
 * R4  pct= steps the policy down for the others (6.6.4): reject to quarantine, quarantine to none
 * Pure: DNS is asked through inbound/lookup.h; the public suffix list (libpsl) is only read. */
#ifndef MR_INBOUND_DMARC_H
#define MR_INBOUND_DMARC_H

#include "inbound/lookup.h"

#include <libpsl.h>

enum dmarc_result { DMARC_WAITS, DMARC_NONE, DMARC_PASS, DMARC_FAIL, DMARC_TEMPERROR, DMARC_PERMERROR };
enum dmarc_policy { DMARC_ASKS_NONE, DMARC_ASKS_QUARANTINE, DMARC_ASKS_REJECT };
enum dmarc_proof { PROOF_SPF, PROOF_DKIM };

struct dmarc_identity { /* what SPF or DKIM said about a domain */
    enum dmarc_proof proof;
    struct slice domain;
    bool is_passed, is_unsure;  /* unsure: temperror */
};

struct dmarc_answer {
    enum dmarc_result result;
    enum dmarc_policy published, policy; /* as it stands there for this domain; as pct= leaves it */
    struct slice place;          /* the domain whose record it is; absent: none */
    const char *reason;          /* static text or NULL */
};

/* `dice`: 0 to 99, the same for all runs of one message. */
struct dmarc_answer dmarc_check(struct arena *arena, struct slice from_domain, const struct dmarc_identity *identities,
                                size_t count, const psl_ctx_t *suffixes, unsigned dice, struct lookups *lookups);
const char *dmarc_result_name(enum dmarc_result result);
const char *dmarc_policy_name(enum dmarc_policy policy);

#endif
