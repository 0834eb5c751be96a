/* route: where a domain's mail goes: config first, then MX, A and AAAA by libunbound.
 *   RFC 5321 5.1, RFC 7505 (null MX), RFC 2181 10.3, RFC 5890 (A-labels come in)
 *
 *   route in config with hosts -> those hosts, in order        address literal -> that address
 *   reroute "host:port"        -> that host                    deliver = drop, maildir -> no host: ROUTE_LOCAL
 *   else MX -> implicit MX (A/AAAA) -> none
 *
 * N1  MX by preference, equals in random order at each look-up; at most ROUTE_HOSTS_MAX hosts, ROUTE_ADDRESSES_MAX
 *     addresses each, families mixed in turn (v6 first), so that one dead family costs no message
 * N2  NXDOMAIN fails 5.1.2; no MX and no address fails 5.4.4; null MX fails 5.1.10 (556); MX "." beside others is
 *     ignored as malformed; MX hosts that are literals or have no address are skipped; all unusable: 5.4.4 when the
 *     answers were final, 4.4.3 when one of them was temporary
 * N3  SERVFAIL, REFUSED, time-out, bogus: 4.4.3 (bogus is said), never a bounce
 * N4  MX present but unusable never falls back to A (RFC 5321 5.1)
 * N5  ourselves (config hostname, or an own address with our listening port) among the MX: it and every one of
 *     equal or lower priority are dropped; none left: 5.4.6
 * N6  loopback, unspecified, private, link-local, multicast, CGNAT, v4-mapped forms of them (NAT64 too) are refused
 *     unless config dns.allow_private: skipped, none left: 5.4.4 "resolves to a private address". Hosts that the
 *     config itself names (route hosts, dns.hosts) are always allowed.
 * N7  CNAME at the domain is followed (at most 8); a CNAME as MX target too; loops fail 5.4.4
 * N8  results are shared for their TTL (floor 5 s, cap 1 day; failures as their SOA says, 5 s for temporary ones)
 * N9  `site` names what is reached, not what was asked: equal for domains with the same hosts, port and policy
 * N10 TLSA are looked up for hosts whose addresses, and whose place among the MX, DNSSEC vouches for (RFC 7672 2.2): at the end
 *     of a CNAME chain, then at the host's own name; where the chain leaves the secure part, at its own name only. Hosts
 *     of which that can't be said cost no look-up. Failures are kept for 5 s
 * N11 a rule's user, its `tls` where it has a user, and its port are for its own hosts; MX hosts that are tried before them
 *     (direct_first) and a reroute are reached as if there were none. The domain's MTA-STS policy is for its MX hosts
 * All calls from the loop's thread; the callback may run before route_lookup() returns. */
#ifndef MR_ROUTE_ROUTE_H
#define MR_ROUTE_ROUTE_H

#include "config/config.h"
#include "route/tls_policy.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ROUTE_HOSTS_MAX = 50, ROUTE_ADDRESSES_MAX = 10 };
enum { ROUTE_LMTP_PORT = 24, ROUTE_SUBMISSIONS_PORT = 465, ROUTE_SUBMISSION_PORT = 587 };
enum route_kind { ROUTE_HOSTS, ROUTE_DEFERRED, ROUTE_FAILED, ROUTE_LOCAL };

struct route_address {
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; struct sockaddr_un local; } to; /* port set */
};

struct dane {                 /* TLSA of a host; counted: dane_hold()/dane_release() */
    enum dane_state state;
    char *name;               /* TLSA base domain */
    struct tlsa *records;     /* those that are usable; data behind them in the same piece */
    size_t count;
    unsigned references;
};

struct route_host {
    char *name;               /* A-label name, or the literal */
    unsigned preference;
    struct route_address addresses[ROUTE_ADDRESSES_MAX];
    size_t address_count;     /* 0: `problem` says why it can't be used */
    const char *problem;
    bool is_secure;           /* DNSSEC-validated answers */
    bool is_vouched;          /* DNSSEC or the config says that this host is the domain's */
    bool is_smart;            /* one of the rule's hosts: the only ones that are told its user (N11) */
    bool is_implicit;         /* TLS from the first octet */
    struct dane *dane;        /* NULL: none */
};

struct route {                /* immutable, counted: route_hold()/route_release() */
    enum route_kind kind;
    char *domain;
    char *site;               /* N9; NULL unless ROUTE_HOSTS */
    const struct config_route *rule; /* NULL if none; lives as long as the config */
    struct route_host *hosts; /* all that were looked at, usable ones first in the order to try */
    size_t host_count, usable_count;
    int code;                 /* 451, 550, 556 for DEFERRED and FAILED */
    char status[16];          /* "5.1.2" */
    char *reason;             /* "domain does not exist (NXDOMAIN)" */
    const char *source;       /* "mx", "implicit mx", "route", "literal", "reroute", "hosts", "drop", "maildir" */
    bool is_secure;           /* MX answer DNSSEC-validated */
    struct sts_policy *sts;   /* MTA-STS; NULL: none */
    char *sts_problem;        /* why a policy could not be had or renewed; NULL: all is well */
    int64_t expires_ms;       /* monotonic */
    unsigned references;
};

struct event_base;
struct resolver;
struct router;
typedef void route_fn(void *arg, struct route *route); /* hold it if you keep it */

/* `resolver` NULL: libunbound, as the config sets it up (route/dns.h). */
MUST_USE struct router *router_create(struct event_base *base, const struct config *config, const struct resolver *resolver,
                                      struct error *error);
void router_destroy(struct router **router);   /* pending look-ups are dropped, their callbacks don't run */
/* MTA-STS policies that are learned are kept on disk (sts.h A4): for the one process that may write there. */
MUST_USE bool router_keep(struct router *router, struct error *error);
/* `fn` is told why DNSSEC can't be used though it should be, at once or when that is found (dns.h, D3). */
void router_watch_dns(struct router *router, void (*fn)(void *arg, const char *problem), void *arg);
void router_forget(struct router *router);     /* drops what is cached (SIGHUP) */
/* `domain` lower-case A-labels or "[literal]"; `reroute` "host:port" or absent. */
void route_lookup(struct router *router, struct slice domain, struct slice reroute, route_fn *fn, void *arg);
/* How a connection to the host must be secured. It points into route and host. */
void route_tls(const struct route *route, const struct route_host *host, const struct config *config,
               enum tls_demand demand, struct tls_policy *ret_policy);
struct dane *dane_hold(struct dane *dane);
void dane_release(struct dane **dane);
struct route *route_hold(struct route *route);
void route_release(struct route **route);
/* Whether mail may be sent there at all (N6); ranges in a table. */
bool route_address_is_public(const struct sockaddr *address);
/* "192.0.2.1:25", "[2001:db8::1]:25", "unix:/path" (which fits 64 octets: config/routes.c). */
void route_address_text(const struct route_address *address, char *ret_text, size_t size);

#endif
