/* Lines: the domain in From, one that SPF passed, one that DKIM passed, then TXT records. It ends with a result; without a record nothing is
 * asked for, and an organisation's domain stands for its own sub-domains only. */
#include "inbound/dmarc.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES_MAX = 10, ROUNDS_MAX = 10, DOMAIN_SIZE_MAX = 246 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const psl_ctx_t *suffixes;
    struct lookups lookups = {.count = 0};
    struct slice rest = slice_make((const char *)data, size), lines[LINES_MAX];
    size_t count = 0, asked = 0;
    struct dmarc_answer answer = {.result = DMARC_WAITS};
    if (!suffixes)
        suffixes = psl_builtin();
    struct slice from = slice_cut(&rest, '\n');
    if (from.size > DOMAIN_SIZE_MAX) /* more is no address's domain */
        return 0;
    struct dmarc_identity identities[] = {{PROOF_SPF, slice_cut(&rest, '\n'), true, false}, {PROOF_DKIM, slice_cut(&rest, '\n'), true, false}};
    while (rest.size && count < LINES_MAX)
        lines[count++] = slice_cut(&rest, '\n');
    struct arena arena = {0};
    for (size_t round = 0; answer.result == DMARC_WAITS; round++) {
        CHECK(round < ROUNDS_MAX);
        answer = dmarc_check(&arena, from, identities, COUNT_OF(identities), suffixes, size % 100, &lookups);
        for (; asked < lookups.count; asked++) {
            CHECK(lookups.items[asked]->name.size > 0 && lookups.items[asked]->name.size <= 255);
            lookup_fill(&lookups, lookups.items[asked], count ? LOOKUP_FOUND : LOOKUP_NONE, lines, asked % 2 ? count : count > 0);
        }
    }
    CHECK(dmarc_result_name(answer.result) && dmarc_policy_name(answer.policy) && answer.policy <= answer.published);
    CHECK(count > 0 || answer.result != DMARC_FAIL);
    arena_finish(&arena);
    lookups_finish(&lookups);
    return 0;
}
