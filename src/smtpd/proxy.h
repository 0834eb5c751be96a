/* proxy: the header that a load balancer puts in front of a connection (PROXY protocol, versions 1 and 2).
 *
 * Pure. PARSE_MORE needs more octets; at most PROXY_SIZE_MAX. A header that names no address (LOCAL, UNKNOWN) leaves
 * `ret_address` as it is. */
#ifndef MR_SMTPD_PROXY_H
#define MR_SMTPD_PROXY_H

#include "smtp/reply.h"

#include <netinet/in.h>

enum { PROXY_SIZE_MAX = 4096 };

enum parse proxy_parse(struct slice bytes, struct in6_addr *ret_address, size_t *ret_consumed);

#endif
