/* sts_policy: MTA-STS records and policies as text.   RFC 8461 3.1, 3.2, 4.1
 *
 * M1  a record is "v=STSv1; id=ID" with ID of 1 to 32 letters and digits; fields that are not known are passed over
 * M2  exactly one TXT record beginning with "v=STSv1;" counts; none or several mean that there is no policy
 * M3  a policy has version STSv1 first, one mode, max_age of at most 31557600 (more is cut to it) and, unless the mode is none,
 *     at least one mx; of a key that stands twice the first counts (but mx); lines end in LF or CRLF
 * M4  "*.example.com" matches one label more, in front: a.example.com, neither example.com nor a.b.example.com
 * Pure. */
#ifndef MR_ROUTE_STS_POLICY_H
#define MR_ROUTE_STS_POLICY_H

#include "base/error.h"
#include "base/slice.h"

enum { STS_ID_SIZE = 33, STS_TEXT_SIZE_MAX = 64 * 1024, STS_MAX_AGE_MAX_S = 31557600 };
enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };

struct sts_policy {              /* counted: sts_policy_hold()/_release() */
    enum sts_mode mode;
    int64_t max_age_s;
    char **patterns;             /* lower case */
    size_t pattern_count;
    char id[STS_ID_SIZE];        /* of the record that led to it; "" when parsed alone */
    char *domain;                /* the policy domain; NULL when parsed alone */
    char *text;                  /* as it was fetched, for reports (RFC 8460 4.4) */
    unsigned references;
};

MUST_USE bool sts_record_parse(struct slice text, char ret_id[STS_ID_SIZE]);
bool sts_record_is_one(struct slice text); /* begins as a record does (M2) */
MUST_USE struct sts_policy *sts_policy_parse(struct slice text, struct error *error);
bool sts_policy_matches(const struct sts_policy *policy, struct slice host); /* M4 */
const char *sts_mode_name(enum sts_mode mode);
struct sts_policy *sts_policy_hold(struct sts_policy *policy);
void sts_policy_release(struct sts_policy **policy);

#endif
