#include "message/arc.h"

#include "message/dkim_private.h"
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

static void put_sets(const struct arc_chain *chain, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        dkim_canon_field(DKIM_RELAXED, chain->sets[i].results->raw, out);
        dkim_canon_field(DKIM_RELAXED, chain->sets[i].message.field->raw, out);
        dkim_canon_field(DKIM_RELAXED, chain->sets[i].seal.field->raw, out);
    }
}

/* What a seal signs: all sets up to its own, its own b= empty (5.1.1). */
static void put_sealed(const struct arc_chain *chain, size_t count, struct buf *out)
{
    const struct arc_set *last = &chain->sets[count - 1];
    put_sets(chain, count - 1, out);
    dkim_canon_field(DKIM_RELAXED, last->results->raw, out);
    dkim_canon_field(DKIM_RELAXED, last->message.field->raw, out);
    dkim_canon_unsigned(DKIM_RELAXED, last->seal.field->raw, out);
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

/* ---- sealing ---- */

/* The seal's field up to its b=, and what it signs. */
static void put_seal(const struct arc_sealing *sealing, const struct arc_chain *chain, unsigned instance, struct slice results,
                     struct slice signature, struct buf *seal, struct buf *bytes)
{
    bool is_failed = strcmp(sealing->cv, "fail") == 0;
    buf_printf(seal, "ARC-Seal: i=%u; a=rsa-sha256; t=%lld; cv=%s;\r\n\td=%.*s; s=%.*s;\r\n\tb=", instance,
               (long long)(sealing->time_ms / 1000), sealing->cv, SLICE_FMT(sealing->key->domain),
               SLICE_FMT(sealing->key->selector));
    if (!is_failed)
        put_sets(chain, chain->count, bytes);
    dkim_canon_field(DKIM_RELAXED, results, bytes);
    dkim_canon_field(DKIM_RELAXED, signature, bytes);
    dkim_canon_unsigned(DKIM_RELAXED, buf_slice(seal), bytes);
}

static bool is_sealable(const struct arc_sealing *sealing, const struct arc_chain *chain)
{
    bool had_failed = chain->count && slice_equals_nocase(chain->sets[chain->count - 1].seal.cv, SLICE("fail"));
    return chain->count < ARC_SETS_MAX && !had_failed && (!chain->is_broken || strcmp(sealing->cv, "fail") == 0)
           && (chain->count > 0) == (strcmp(sealing->cv, "none") != 0);
}

bool arc_seal(struct arena *arena, struct slice message, const struct arc_sealing *sealing, struct buf *out, struct error *error)
{
    struct header_limits limits = {message.size, message.size}; /* those of intake were kept */
    struct dkim_signing signing = {.time_s = 0};
    struct arc_chain chain;
    struct buf results = {0}, signature = {0}, seal = {0}, bytes = {0};
    struct slice signed_bytes;
    if (!header_scan(arena, message, &limits, &signing.header, error))
        return false;
    arc_read(arena, &signing.header, sealing->time_ms, &chain);
    if (!is_sealable(sealing, &chain))
        return true;
    signing.instance = (unsigned)chain.count + 1;
    buf_printf(&results, "ARC-Authentication-Results: i=%u; %.*s\r\n", signing.instance, SLICE_FMT(slice_trim(sealing->results)));
    bool is_done = dkim_prepare(arena, message, sealing->time_ms, &signing, error)
                   && dkim_sign_prepared(arena, &signing, sealing->key, &signature, error);
    if (is_done) {
        put_seal(sealing, &chain, signing.instance, buf_slice(&results), buf_slice(&signature), &seal, &bytes);
        is_done = dkim_sign_bytes(arena, sealing->key->key, buf_slice(&bytes), &signed_bytes, error);
    }
    if (is_done) {
        dkim_put_base64(signed_bytes, arena, &seal);
        buf_append_text(&seal, "\r\n");
        buf_append(out, buf_slice(&seal));
        buf_append(out, buf_slice(&signature));
        buf_append(out, buf_slice(&results));
    }
    buf_finish(&results);
    buf_finish(&signature);
    buf_finish(&seal);
    buf_finish(&bytes);
    return is_done;
}
