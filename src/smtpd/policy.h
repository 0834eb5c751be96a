/* policy: who may do what at the listener, from the config, as pure functions.
 *
 * Y1  networks: "10.0.0.0/8", "::1", "2001:db8::/32"; an IPv4 address mapped into IPv6 is the IPv4 address
 * Y2  relaying is decided on the parsed domain, the one mail would be routed by, never on text: a client of a relay network or
 *     an authenticated one may send anywhere; others to `domains` alone
 * Y3  for others a local part that another relay might take apart ("%", "!", "@", a source route) is refused even in
 *     one of our domains */
#ifndef MR_SMTPD_POLICY_H
#define MR_SMTPD_POLICY_H

#include "config/config.h"
#include "message/address.h"

#include <netinet/in.h>

struct policy_network { struct in6_addr address; unsigned bits; };
struct policy_networks { struct policy_network *items; size_t count; };

struct policy {
    struct policy_networks relay, allow, deny, xclient, proxy;
    struct config_list domains; /* borrowed from the config */
};

MUST_USE bool policy_load(const struct config *config, struct policy *ret_policy, struct error *error);
void policy_finish(struct policy *policy);

MUST_USE bool policy_address_parse(struct slice text, struct in6_addr *ret_address);
bool policy_has(const struct policy_networks *networks, const struct in6_addr *address);
/* Connection control: denied ones are turned away; where `allow` is not empty, so are all others. */
bool policy_admits(const struct policy *policy, const struct in6_addr *address);
/* Y2, Y3 for a client without rights: whether mail to this address is taken. */
bool policy_is_ours(const struct policy *policy, const struct address *address);

#endif
