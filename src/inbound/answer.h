/* answer: what libunbound found, as the answer of a lookup. */
#ifndef MR_INBOUND_ANSWER_H
#define MR_INBOUND_ANSWER_H

#include "inbound/lookup.h"
#include "route/dns.h"

/* NULL, and what DNSSEC calls bogus, is a failure. */
void answer_fill(struct lookups *lookups, struct lookup *lookup, const struct ub_result *result);
/* Asks all that is open and waits, where nothing else runs meanwhile (commands). */
void answer_ask(struct lookups *lookups, struct ub_ctx *context, int timeout_ms);

#endif
