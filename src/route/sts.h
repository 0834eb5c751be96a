/* sts: a domain's MTA-STS policy: DNS, HTTPS, and what is known from before.   RFC 8461 3.3, 5.1, 10.2
 *
 * A1  _mta-sts.DOMAIN's TXT says whether there is one, and by its id whether it has changed; it is fetched from
 *     https://mta-sts.DOMAIN/.well-known/mta-sts.txt (os/https.h: verified, no redirects), text/plain, at most 64 KiB
 * A2  a policy holds for its max_age, also when the record is gone, DNS fails or the fetch fails: nobody can make us forget it
 * A3  the same id is fetched again after a day, so that max_age begins anew; a fetch that failed is repeated after 5 minutes
 * A4  policies outlive the process: Queue/mta-sts/DOMAIN, written durably: id and time in the first line, then the policy
 * A5  a host with a private address is not asked, unless dns.allow_private
 * Loop's thread; the callback may run before sts_lookup() returns. */
#ifndef MR_ROUTE_STS_H
#define MR_ROUTE_STS_H

#include "config/config.h"
#include "route/sts_policy.h"

struct event_base;
struct sts;
struct resolver;

/* `policy` NULL: none; `problem` says why one that is published is not known, or not renewed; NULL: all is well. */
typedef void sts_fn(void *arg, struct sts_policy *policy, const char *problem);

/* The resolver has to live as long. */
MUST_USE struct sts *sts_create(struct event_base *base, const struct config *config, const struct resolver *resolver,
                                struct error *error);
void sts_destroy(struct sts **sts); /* callbacks don't run any more */
MUST_USE bool sts_keep(struct sts *sts, struct error *error); /* what is learned is written down (A4) */
void sts_lookup(struct sts *sts, const char *domain, sts_fn *fn, void *arg);
void sts_cancel(struct sts *sts, void *arg); /* the callback of this arg will not run */

#endif
