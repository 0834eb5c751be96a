/* auth_results: the Authentication-Results field.   RFC 8601
 *
 * U1  a field that claims to be ours (its authserv-id, comments and case aside) is taken out of what comes from elsewhere,
 *     wherever it stands (5)
 * U2  nothing of the message gets into our field unless it is a plain token of a name or an address: the rest is left out
 * Pure. */
#ifndef MR_INBOUND_AUTH_RESULTS_H
#define MR_INBOUND_AUTH_RESULTS_H

#include "base/buf.h"
#include "inbound/checks.h"

/* The whole field with its line end, folded. */
void auth_results_put(const struct checks *checks, struct buf *out);
/* Whether the field's value begins with that authserv-id. */
bool auth_results_is_of(struct slice value, const char *host);
/* Appends the message without the fields that claim to be ours. False, and nothing appended, if there is none. */
bool auth_results_strip(const struct header *header, struct slice message, const char *host, struct buf *out);

#endif
