/* checks: all that is found out about a message from elsewhere: reverse DNS, SPF, DKIM, DMARC, ARC.
 *
 *   checks_begin(); while (!checks_run()) answer what is open in checks->lookups; the results are in the struct
 *
 * Pure but for the processor's time that hashing takes: checks_run() belongs on a thread of a pool. What the subject points
 * to stays with the caller until checks_finish(). */
#ifndef MR_INBOUND_CHECKS_H
#define MR_INBOUND_CHECKS_H

#include "inbound/dmarc.h"
#include "inbound/spf.h"
#include "message/arc.h"
#include "message/dkim_verify.h"

struct checks_options {
    bool is_iprev, is_spf, is_dkim, is_dmarc, is_arc; /* DMARC makes SPF and DKIM */
    const char *host;             /* authserv-id */
    const psl_ctx_t *suffixes;
};

struct checks_subject {
    struct in6_addr client;
    struct slice helo, sender;    /* sender: local@domain, empty for the null sender */
    struct slice message;         /* canonical */
    int64_t now_ms;
    unsigned dice;                /* 0 to 99: DMARC's pct */
};

enum iprev_result { IPREV_WAITS, IPREV_PASS, IPREV_FAIL, IPREV_TEMPERROR, IPREV_PERMERROR };

struct checks {
    struct arena arena;
    struct lookups lookups;
    struct checks_options options;
    struct checks_subject subject;
    struct header header;         /* count 0: the message has none */
    enum iprev_result iprev;
    struct slice client_name;     /* of iprev; absent */
    struct spf_answer spf;
    struct slice spf_domain;      /* what was checked */
    bool is_spf_of_helo;
    struct dkim_signature signatures[DKIM_SIGNATURES_MAX];
    size_t signature_count;
    struct arc_chain arc;
    struct slice from_domain;     /* empty: none, or several */
    struct dmarc_answer dmarc;
};

void checks_begin(struct checks *checks, const struct checks_options *options, const struct checks_subject *subject);
bool checks_run(struct checks *checks); /* true: all is decided */
void checks_finish(struct checks *checks);

/* A signature that counts: right, and over the whole body (message/dkim_verify.h V3). */
bool checks_is_good(const struct dkim_signature *signature);
const char *iprev_result_name(enum iprev_result result);

#endif
