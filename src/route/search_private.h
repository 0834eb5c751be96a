/* One look-up under way: search.c walks from the domain to addresses, search_dane.c asks for TLSA where DNSSEC holds. */
#ifndef MR_ROUTE_SEARCH_PRIVATE_H
#define MR_ROUTE_SEARCH_PRIVATE_H

#include "route/dns.h"
#include "route/route_private.h"

enum { RCODE_NXDOMAIN = 3, TARGETS = 500 };

struct query {                /* one question to the resolver */
    struct search *search;
    size_t host;              /* whose addresses; unused for MX */
    int type;
    int async_id;
    struct query *next;       /* of the search's list */
};

struct found { struct route_address list[ROUTE_ADDRESSES_MAX]; size_t count; };

/* What was asked of a host last: its TLSA at the end of the chain, at its own name, or whether that name is secure. */
enum dane_step { DANE_AT_CANONICAL, DANE_AT_NAME, DANE_ALIAS };

struct candidate {            /* a host under way */
    char *name;
    int port;
    unsigned preference;
    bool is_trusted;          /* the config names it: its address may be private */
    bool is_smart;            /* one of the rule's hosts */
    bool is_vouched;          /* the MX answer is DNSSEC-validated, or the config names it */
    bool is_temporary, is_private;
    bool has_secure, has_insecure; /* among the answers with addresses */
    char *canonical;          /* the end of its CNAME chain; NULL: it has none */
    enum dane_step dane_step;
    struct dane *dane;        /* NULL: no TLSA to go by */
    const char *problem;
    struct found v4, v6;
    char private_text[64];
};

struct search {
    struct cached *entry;
    struct router *router;
    const struct config_route *rule;
    char *domain;
    const char *source;
    struct query *queries;
    size_t pending;
    struct timer *timer;
    struct candidate *hosts;
    size_t host_count;
    int64_t ttl_s;
    bool is_secure;
    bool is_dane_asked, is_sts_asked; /* the latter: and not yet answered */
    struct sts_policy *sts;
    char *sts_problem;
    bool has_us;              /* we stood among the MX hosts (N5) */
    bool is_mx_dead;          /* direct_first: the MX look-up failed, its reason is `failure` */
};

/* search.c */
MUST_USE bool search_ask(struct search *search, const char *name, int type, size_t host);

/* search_dane.c */
void search_dane_start(struct search *search);
void search_dane_answer(struct search *search, size_t host, int type, const struct ub_result *result);
void search_dane_give_up(struct search *search); /* what is still asked counts as failed */

#endif
