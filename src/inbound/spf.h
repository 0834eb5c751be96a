/* spf: whether a client may send with that sender's domain.   RFC 7208
 *
 * F1  at most 10 terms that ask DNS, 10 hosts of an MX, 10 names of a PTR, 2 answers without records (4.6.4); beyond: permerror
 * F2  a record is read whole before it is used: a mistake behind the term that matches is permerror too (4.6)
 * F3  the null sender is postmaster@HELO (2.4)
 * F4  exp= is read, not fetched: its text would be somebody else's words in our reply
 * F5  an IPv4 address mapped into IPv6 is the IPv4 address
 * Pure: DNS is asked through inbound/lookup.h; SPF_WAITS means that it wants to be run again. */
#ifndef MR_INBOUND_SPF_H
#define MR_INBOUND_SPF_H

#include "inbound/lookup.h"

#include <netinet/in.h>

enum spf_result { SPF_WAITS, SPF_NONE, SPF_NEUTRAL, SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR };

struct spf_query {
    struct in6_addr client;
    struct slice helo;
    struct slice local, domain;  /* of the sender; both empty: the null sender */
    struct slice host;           /* ours, for %{r} */
};

struct spf_answer { enum spf_result result; const char *reason; }; /* reason: static text, NULL if there is none */

struct spf_answer spf_check(struct arena *arena, const struct spf_query *query, struct lookups *lookups);
const char *spf_result_name(enum spf_result result);

#endif
