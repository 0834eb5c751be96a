/* A zone in memory that answers lookups, for the tests of the checks. */
#ifndef MR_INBOUND_FIXTURE_H
#define MR_INBOUND_FIXTURE_H

#include "inbound/lookup.h"

/* "name TYPE data" lines, ended by NULL; TYPE is A, AAAA, MX, PTR, TXT, or FAIL (for every type). Data of A and AAAA are addresses. */
void fixture_answer(struct lookups *lookups, const char *const *zone);

#endif
