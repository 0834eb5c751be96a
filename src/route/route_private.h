/* What the files of the router share.
 *
 *   route.c    router, cache, life of routes      search.c   one look-up: MX, then addresses, then a route
 *   address.c  texts and ranges of addresses      dns.c         libunbound set up by the config
 *   unbound.c  questions to it from the loop */
#ifndef MR_ROUTE_ROUTE_PRIVATE_H
#define MR_ROUTE_ROUTE_PRIVATE_H

#include "base/buf.h"
#include "base/hash.h"
#include "route/resolver.h"
#include "route/route.h"
#include "route/sts.h"
#include "route/unbound.h"

#include <unbound.h>

enum { TTL_FLOOR_S = 5, TTL_CAP_S = 86400, TTL_TEMPORARY_S = 5 };

struct waiter { route_fn *fn; void *arg; struct waiter *next; };

struct cached {               /* by domain and reroute: what is known, or being looked up */
    char *key;
    struct route *route;      /* NULL while the search runs */
    struct search *search;
    struct waiter *waiters;
    struct router *router;
    UT_hash_handle hh;
};

struct router {
    struct event_base *base;
    const struct config *config;
    struct resolver resolver;
    struct unbound *unbound;  /* NULL: somebody else answers */
    struct sts *sts;          /* NULL: MTA-STS is off */
    struct cached *cache;
    uint64_t random;
};

/* search.c. Starts a look-up; search_done() is called with the route, maybe before it returns. */
void search_start(struct cached *entry, struct slice domain, struct slice reroute);
void search_cancel(struct search *search);

/* route.c */
void search_done(struct cached *entry, struct route *route);
uint32_t router_random(struct router *router);
void route_shuffle(struct router *router, struct route *route); /* hosts of equal preference (N1) */

/* address.c: "unix:/path", "192.0.2.1", "[IPv6:2001:db8::1]", "[::1]"; the port is set. */
MUST_USE bool address_from_text(struct slice text, int port, struct route_address *ret_address);
/* "host", "host:port", "[ip]", "[ip]:port", "ip" -> name in the buffer and port. */
MUST_USE bool address_split_port(struct slice text, int default_port, char ret_name[256], int *ret_port);

#endif
