/* ip: addresses as text. One form for both families: an IPv4 address is its mapped IPv6 one, ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
#ifndef MR_BASE_IP_H
#define MR_BASE_IP_H

#include "base/check.h"
#include "base/slice.h"

#include <netinet/in.h>

/* "192.0.2.1", "2001:db8::1"; no brackets, no port, no zone. */
MUST_USE bool ip_parse(struct slice text, struct in6_addr *ret_address);
bool ip_is(struct slice text); /* whether it is one */

#endif
