/* MTA-STS records and policies as anybody on the network may serve them: no policy is out of bounds (M3), what matches lies
 * under its pattern (M4), and a record's id is letters and digits. */
#include "route/sts_policy.h"

#include "base/check.h"

#include <ctype.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_policy(const struct sts_policy *policy, struct slice host)
{
    CHECK(policy->max_age_s >= 0 && policy->max_age_s <= STS_MAX_AGE_MAX_S);
    CHECK(policy->mode == STS_NONE || policy->pattern_count > 0);
    bool is_under = false;
    for (size_t i = 0; i < policy->pattern_count; i++) {
        struct slice pattern = slice_of(policy->patterns[i]);
        for (size_t k = 0; k < pattern.size; k++)
            CHECK(!isupper((unsigned char)pattern.data[k]) && pattern.data[k] != '\n');
        bool is_wild = slice_starts(pattern, SLICE("*."));
        struct slice end = is_wild ? slice_from(pattern, 1) : pattern;
        is_under = is_under || (is_wild ? slice_ends_nocase(host, end) : slice_ends_nocase(host, pattern));
    }
    CHECK(is_under || !sts_policy_matches(policy, host));
    CHECK(sts_mode_name(policy->mode));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error;
    char id[STS_ID_SIZE];
    struct slice text = slice_make((const char *)data, size);
    struct slice rest = text, host = slice_cut(&rest, '\0'); /* a host name, then the policy; or all of it the policy */
    if (sts_record_parse(text, id)) {
        CHECK(sts_record_is_one(text) && id[0] && strlen(id) < sizeof id);
        for (const char *c = id; *c; c++)
            CHECK(isalnum((unsigned char)*c));
    }
    struct sts_policy *policy = sts_policy_parse(rest.size ? rest : text, &error);
    if (policy) {
        check_policy(policy, host);
        sts_policy_release(&policy);
    }
    return 0;
}
