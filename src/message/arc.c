#include "message/arc.h"

#include "message/tag_list.h"

/* ---- the sets ---- */

static void fail(struct arc_chain *chain, const char *reason)
{
    chain->is_broken = true;
    if (!chain->reason)
        chain->reason = reason;
}

/* "i=1; …" in front of the results: 0 if it isn't there. */
static unsigned results_instance(struct slice value)
{
    uint64_t number;
    struct slice tag = slice_cut(&value, ';');
    if (!slice_equals(slice_trim(slice_cut(&tag, '=')), SLICE("i")) || !slice_to_u64(slice_trim(tag), &number) || number > ARC_SETS_MAX)
        return 0;
    return (unsigned)number;
}

static struct arc_set *set_of(struct arc_chain *chain, unsigned instance)
{
    if (instance == 0 || instance > ARC_SETS_MAX)
        return NULL;
    if (instance > chain->count)
        chain->count = instance;
    return &chain->sets[instance - 1];
}

static void take_results(struct arc_chain *chain, const struct header_field *field)
{
    struct arc_set *set = set_of(chain, results_instance(field->value));
    if (!set)
        fail(chain, "ARC-Authentication-Results without an instance");
    else if (set->results)
        fail(chain, "an instance twice");
    else
        set->results = field;
}

static void take_signature(struct arena *arena, struct arc_chain *chain, const struct header_field *field, enum dkim_kind kind,
                           int64_t now_ms)
{
    struct dkim_signature signature;
    bool is_read = dkim_read(arena, field, kind, now_ms, &signature);
    struct arc_set *set = set_of(chain, signature.instance);
    struct dkim_signature *to = !set ? NULL : kind == DKIM_ARC_SEAL ? &set->seal : &set->message;
    if (!is_read || !to)
        fail(chain, signature.reason);
    if (to && to->field)
        fail(chain, "an instance twice");
    else if (to)
        *to = signature;
}

/* C1 */
static void check_sets(struct arc_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        const struct arc_set *set = &chain->sets[i];
        if (!set->results || !set->message.field || !set->seal.field)
            fail(chain, "a set isn't whole");
        else if (slice_equals_nocase(set->seal.cv, SLICE("fail")))
            fail(chain, "it had failed before");
        else if (!slice_equals_nocase(set->seal.cv, i == 0 ? SLICE("none") : SLICE("pass")))
            fail(chain, "cv= says what can't be");
    }
}

void arc_read(struct arena *arena, const struct header *header, int64_t now_ms, struct arc_chain *ret_chain)
{
    *ret_chain = (struct arc_chain){.sets = arena_alloc(arena, ARC_SETS_MAX * sizeof *ret_chain->sets)};
    for (size_t i = 0; i < header->count; i++) {
        const struct header_field *field = &header->fields[i];
        if (slice_equals_nocase(field->name, SLICE("ARC-Authentication-Results")))
            take_results(ret_chain, field);
        else if (slice_equals_nocase(field->name, SLICE("ARC-Message-Signature")))
            take_signature(arena, ret_chain, field, DKIM_ARC_MESSAGE, now_ms);
        else if (slice_equals_nocase(field->name, SLICE("ARC-Seal")))
            take_signature(arena, ret_chain, field, DKIM_ARC_SEAL, now_ms);
    }
    check_sets(ret_chain);
}

/* ---- verification ---- */

struct dkim_signature *arc_next(struct arc_chain *chain, size_t number)
{
    if (chain->is_broken || number > chain->count || chain->count == 0)
        return NULL;
    return number == 0 ? &chain->sets[chain->count - 1].message : &chain->sets[number - 1].seal;
}

/* What a seal signs: all sets up to its own, its own b= empty (5.1.1). */
static void put_sealed(const struct arc_chain *chain, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct arc_set *set = &chain->sets[i];
        dkim_canon_field(DKIM_RELAXED, set->results->raw, out);
        dkim_canon_field(DKIM_RELAXED, set->message.field->raw, out);
        if (i + 1 < count)
            dkim_canon_field(DKIM_RELAXED, set->seal.field->raw, out);
        else
            dkim_canon_unsigned(DKIM_RELAXED, set->seal.field->raw, out);
    }
}

void arc_verify(struct arena *arena, struct slice message, const struct header *header, const struct slice *keys,
                size_t key_count, struct arc_chain *chain, struct dkim_signature *signature)
{
    struct buf bytes = {0};
    if (signature->kind == DKIM_ARC_MESSAGE) {
        dkim_verify(arena, message, header, keys, key_count, signature);
        return;
    }
    put_sealed(chain, signature->instance, &bytes);
    dkim_verify_bytes(arena, buf_slice(&bytes), keys, key_count, signature);
    buf_finish(&bytes);
}

enum dkim_result arc_result(const struct arc_chain *chain, const char **ret_reason)
{
    *ret_reason = chain->reason;
    if (chain->is_broken)
        return DKIM_FAIL;
    enum dkim_result result = chain->count ? DKIM_PASS : DKIM_NONE;
    for (size_t i = 0; i <= chain->count && chain->count; i++) {
        const struct dkim_signature *signature = i == 0 ? &chain->sets[chain->count - 1].message : &chain->sets[i - 1].seal;
        if (signature->result == DKIM_PASS && !signature->is_partial)
            continue;
        *ret_reason = signature->is_partial ? "l= leaves a part of the body unsigned" : signature->reason;
        if (signature->result != DKIM_TEMPERROR)
            return DKIM_FAIL;
        result = DKIM_TEMPERROR;
    }
    return result;
}
