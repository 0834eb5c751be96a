/* policy: who may do what at the listener, from the config, as pure functions.
 *
 * Y1  networks: "10.0.0.0/8", "::1", "2001:db8::/32"; an IPv4 address mapped into IPv6 is the IPv4 address
 * Y2  relaying is decided on the parsed domain, the one mail would be routed by, never on text: a client of a relay network or
 *     an authenticated one may send anywhere; others to `domains` alone
 * Y3  for others a local part that another relay might take apart ("%", "!", "@", a source route) is refused even in
 *     one of our domains
 * Y4  mail that waits (a route with `etrn`) is asked for by whom its `etrn_clients` names; where that is empty, by whoever may
 *     relay. "@domain" asks for the routes below it as well: all of them have to allow it */
#ifndef MR_SMTPD_POLICY_H
#define MR_SMTPD_POLICY_H

#include "config/config.h"
#include "base/ip.h"
#include "message/address.h"

#include <netinet/in.h>

struct policy_network { struct in6_addr address; unsigned bits; };
struct policy_networks { struct policy_network *items; size_t count; };

struct policy_queue { const struct config_route *rule; struct policy_networks clients; }; /* a route with `etrn` */
enum policy_etrn { ETRN_ALLOWED, ETRN_UNKNOWN, ETRN_DENIED };

struct policy {
    const struct config *config;
    struct policy_networks relay, allow, deny, xclient, proxy, bare_lf;
    struct config_list domains; /* borrowed from the config */
    struct policy_queue *queues;
    size_t queue_count;
};

MUST_USE bool policy_load(const struct config *config, struct policy *ret_policy, struct error *error);
void policy_finish(struct policy *policy);

void policy_address_text(const struct in6_addr *address, char ret_text[48]); /* "192.0.2.1", "IPv6:2001:db8::1" */
bool policy_has(const struct policy_networks *networks, const struct in6_addr *address);
/* Connection control: denied ones are turned away; where `allow` is not empty, so are all others. */
bool policy_admits(const struct policy *policy, const struct in6_addr *address);
/* Y2, Y3 for a client without rights: whether mail to this address is taken. */
bool policy_is_ours(const struct policy *policy, const struct address *address);
/* Y4. `node`: "domain" or "@domain" in A-labels, "#queue"; `user`: "" if not authenticated. */
enum policy_etrn policy_etrn(const struct policy *policy, const struct in6_addr *address, const char *user, bool may_relay,
                             struct slice node);

#endif
