#include "inbound/dmarc.h"

#include "message/tag_list.h"

enum { TYPE_TXT = 16 };

struct record { enum dmarc_policy policy, below; bool is_spf_strict, is_dkim_strict; uint64_t percent; };

static struct slice organisation(struct arena *arena, const psl_ctx_t *suffixes, struct slice domain)
{
    char *name = arena_text(arena, domain); /* libpsl wants lower case */
    for (size_t i = 0; i < domain.size; i++)
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (char)(name[i] + 32);
    const char *found = psl_registrable_domain(suffixes, name);
    return found ? slice_of(found) : domain; /* a public suffix is its own organisation */
}

static bool read_policy(struct slice text, enum dmarc_policy *ret_policy)
{
    for (enum dmarc_policy policy = DMARC_ASKS_NONE; policy <= DMARC_ASKS_REJECT; policy++)
        if (slice_equals_nocase(text, slice_of(dmarc_policy_name(policy)))) {
            *ret_policy = policy;
            return true;
        }
    return false;
}

static bool is_dmarc(struct slice text)
{
    struct slice version = slice_cut(&text, ';');
    return slice_equals(slice_trim(slice_cut(&version, '=')), SLICE("v")) && slice_equals(slice_trim(version), SLICE("DMARC1"));
}

/* 6.3, 6.6.3: unknown tags and bad values of the lesser ones are passed over; without a policy there must be a rua. */
static bool read_record(struct arena *arena, struct slice text, struct record *ret_record)
{
    struct tag_list tags;
    struct record record = {.percent = 100};
    if (!tag_list_parse(arena, text, &tags))
        return false;
    bool has_policy = read_policy(tag_get(&tags, "p"), &record.policy);
    record.below = record.policy;
    struct slice below = tag_get(&tags, "sp");
    bool is_fine = has_policy && (slice_is_absent(below) || read_policy(below, &record.below));
    if (!is_fine && slice_is_absent(tag_get(&tags, "rua")))
        return false;
    if (!is_fine)
        record.policy = record.below = DMARC_ASKS_NONE;
    if (!slice_to_u64(tag_get(&tags, "pct"), &record.percent) || record.percent > 100)
        record.percent = 100;
    record.is_spf_strict = slice_equals_nocase(tag_get(&tags, "aspf"), SLICE("s"));
    record.is_dkim_strict = slice_equals_nocase(tag_get(&tags, "adkim"), SLICE("s"));
    *ret_record = record;
    return true;
}

/* WAITS, TEMPERROR, PERMERROR, NONE, or PASS with the record. */
static enum dmarc_result find_at(struct arena *arena, struct slice domain, struct lookups *lookups, struct record *ret_record)
{
    const struct lookup *lookup = lookup_get(lookups, arena_printf(arena, "_dmarc.%.*s", SLICE_FMT(domain)), TYPE_TXT);
    struct slice text = SLICE_NONE;
    size_t count = 0;
    if (!lookup)
        return DMARC_WAITS;
    if (lookup->status == LOOKUP_FAILED)
        return DMARC_TEMPERROR;
    for (size_t i = 0; i < lookup->count; i++)
        if (is_dmarc(lookup->records[i])) {
            text = lookup->records[i];
            count++;
        }
    if (count != 1)
        return DMARC_NONE; /* several are none (6.6.3) */
    return read_record(arena, text, ret_record) ? DMARC_PASS : DMARC_PERMERROR;
}

static bool is_aligned(struct arena *arena, const psl_ctx_t *suffixes, const struct record *record,
                       const struct dmarc_identity *identity, struct slice from)
{
    bool is_strict = identity->proof == PROOF_SPF ? record->is_spf_strict : record->is_dkim_strict;
    if (slice_equals_nocase(identity->domain, from))
        return true;
    return !is_strict && slice_equals_nocase(organisation(arena, suffixes, identity->domain), organisation(arena, suffixes, from));
}

static enum dmarc_policy step_down(enum dmarc_policy policy)
{
    return policy == DMARC_ASKS_REJECT ? DMARC_ASKS_QUARANTINE : DMARC_ASKS_NONE;
}

struct dmarc_answer dmarc_check(struct arena *arena, struct slice from_domain, const struct dmarc_identity *identities,
                                size_t count, const psl_ctx_t *suffixes, unsigned dice, struct lookups *lookups)
{
    struct record record;
    struct dmarc_answer answer = {.result = DMARC_PERMERROR, .reason = "no single domain in From"};
    if (from_domain.size == 0)
        return answer;
    answer.place = from_domain;
    enum dmarc_result found = find_at(arena, from_domain, lookups, &record);
    struct slice top = organisation(arena, suffixes, from_domain);
    bool is_below = found == DMARC_NONE && !slice_equals_nocase(top, from_domain);
    if (is_below) {
        found = find_at(arena, top, lookups, &record);
        answer.place = top;
    }
    if (found != DMARC_PASS) {
        answer.place = SLICE_NONE;
        answer.result = found;
        answer.reason = found == DMARC_TEMPERROR ? "DNS gave no usable answer"
                        : found == DMARC_PERMERROR ? "the record can't be read" : NULL;
        return answer;
    }
    answer.published = is_below ? record.below : record.policy;
    answer.policy = dice < record.percent ? answer.published : step_down(answer.published);
    answer.result = DMARC_FAIL;
    answer.reason = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!is_aligned(arena, suffixes, &record, &identities[i], from_domain))
            continue;
        if (identities[i].is_passed) {
            answer.result = DMARC_PASS;
            return answer;
        }
        if (identities[i].is_unsure)
            answer.result = DMARC_TEMPERROR;
    }
    return answer;
}

const char *dmarc_result_name(enum dmarc_result result)
{
    static const char *const names[] = {"waits", "none", "pass", "fail", "temperror", "permerror"};
    return names[result];
}

const char *dmarc_policy_name(enum dmarc_policy policy)
{
    static const char *const names[] = {"none", "quarantine", "reject"};
    return names[policy];
}
