/* The syntax of a signature's field.   RFC 6376 3.5, RFC 8617 4.1.2, 4.1.3 */
#include "message/address.h"
#include "message/dkim_verify.h"
#include "message/tag_list.h"

#include <openssl/evp.h>
#include <stdio.h>

static bool decide(struct dkim_signature *signature, enum dkim_result result, const char *reason)
{
    signature->result = result;
    signature->reason = reason;
    return false;
}

static bool malformed(struct dkim_signature *signature, const char *reason)
{
    return decide(signature, DKIM_PERMERROR, reason);
}

/* Strict but for blanks: whole groups, padding only at the end. */
static bool decode(struct arena *arena, struct slice text, struct slice *ret_bytes)
{
    unsigned char *bytes = arena_alloc(arena, text.size + 4);
    size_t padding = 0;
    if (text.size == 0 || text.size % 4 || text.size > 65536)
        return false;
    while (padding < 2 && text.data[text.size - 1 - padding] == '=')
        padding++;
    int size = EVP_DecodeBlock(bytes, (const unsigned char *)text.data, (int)text.size);
    if (size < 0 || slice_find_byte(slice_first(text, text.size - padding), '=') >= 0)
        return false;
    *ret_bytes = slice_make((char *)bytes, (size_t)size - padding);
    return true;
}

static bool read_algorithm(const struct tag_list *tags, struct dkim_signature *signature)
{
    struct slice name = tag_get(tags, "a");
    signature->is_rsa = slice_equals_nocase(name, SLICE("rsa-sha256"));
    if (signature->is_rsa || slice_equals_nocase(name, SLICE("ed25519-sha256")))
        return true;
    return malformed(signature, slice_equals_nocase(name, SLICE("rsa-sha1")) ? "rsa-sha1 counts for nothing (RFC 8301)"
                                                                             : "a=: an unknown algorithm");
}

static bool read_one_canon(struct slice name, enum dkim_canon *ret_canon)
{
    *ret_canon = slice_equals_nocase(name, SLICE("relaxed")) ? DKIM_RELAXED : DKIM_SIMPLE;
    return *ret_canon == DKIM_RELAXED || slice_equals_nocase(name, SLICE("simple"));
}

static bool read_canon(const struct tag_list *tags, struct dkim_signature *signature)
{
    struct slice body = tag_get(tags, "c");
    if (slice_is_absent(body))
        body = SLICE("simple/simple");
    struct slice header = slice_cut(&body, '/');
    if (body.size == 0)
        body = SLICE("simple");
    return (read_one_canon(header, &signature->header_canon) && read_one_canon(body, &signature->body_canon))
           || malformed(signature, "c=: an unknown canonical form");
}

/* A name for DNS, as it is but for case and for what is not ASCII (V6). */
static bool read_name(struct arena *arena, struct slice text, struct slice *ret_name)
{
    if (slice_has_8bit(text))
        return address_domain(arena, text, ret_name, NULL);
    char *name = arena_text(arena, text);
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c >= 'A' && c <= 'Z')
            name[i] = (char)(c + 32);
        else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    *ret_name = slice_make(name, text.size);
    return text.size > 0 && text.size < 254 && text.data[0] != '.' && text.data[text.size - 1] != '.'
           && slice_find(text, SLICE("..")) < 0;
}

static bool read_names(struct arena *arena, const struct tag_list *tags, struct dkim_signature *signature)
{
    return (read_name(arena, tag_get(tags, "d"), &signature->domain) && slice_find_byte(signature->domain, '.') > 0)
               ? read_name(arena, tag_get(tags, "s"), &signature->selector) || malformed(signature, "s=: a selector was expected")
               : malformed(signature, "d=: a domain was expected");
}

/* i= names a user of d= or of a domain below it (RFC 6376 3.5). */
static bool read_identity(struct arena *arena, const struct tag_list *tags, struct dkim_signature *signature)
{
    struct slice text = tag_get(tags, "i"), domain;
    size_t at = text.size;
    if (slice_is_absent(text)) {
        signature->identity = arena_printf(arena, "@%.*s", SLICE_FMT(signature->domain));
        return true;
    }
    while (at > 0 && text.data[at - 1] != '@')
        at--;
    if (at == 0 || !read_name(arena, slice_from(text, at), &domain)
        || !(slice_equals_nocase(domain, signature->domain) || address_is_below(domain, signature->domain)))
        return malformed(signature, "i=: not of the domain in d=");
    signature->identity = arena_printf(arena, "%.*s%.*s", (int)at, text.data, SLICE_FMT(domain));
    return true;
}

static bool read_times(const struct tag_list *tags, int64_t now_ms, struct dkim_signature *signature)
{
    struct slice at = tag_get(tags, "t"), until = tag_get(tags, "x");
    uint64_t at_s = 0, until_s;
    if (!slice_is_absent(at) && !slice_to_u64(at, &at_s))
        return malformed(signature, "t=: a number was expected");
    if (slice_is_absent(until))
        return true;
    if (!slice_to_u64(until, &until_s) || until_s < at_s)
        return malformed(signature, "x=: a time behind that of t= was expected");
    return until_s >= (uint64_t)(now_ms / 1000) || decide(signature, DKIM_FAIL, "the signature has expired");
}

static bool read_header_names(const struct tag_list *tags, struct dkim_signature *signature)
{
    struct slice rest = signature->names = tag_get(tags, "h");
    size_t count = 0;
    while (rest.size) {
        if (slice_trim(slice_cut(&rest, ':')).size == 0)
            return malformed(signature, "h=: names of fields were expected");
        count++;
    }
    if (count > DKIM_NAMES_MAX)
        return malformed(signature, "h=: too many names");
    if (signature->kind == DKIM_ARC_MESSAGE && tag_has_word(signature->names, ':', "ARC-Seal"))
        return malformed(signature, "h=: ARC-Seal can't be signed here (RFC 8617 4.1.2)");
    return signature->kind == DKIM_ARC_MESSAGE || tag_has_word(signature->names, ':', "From")
           || malformed(signature, "h=: From isn't signed");
}

static bool read_body_tags(struct arena *arena, const struct tag_list *tags, struct dkim_signature *signature)
{
    struct slice length = tag_get(tags, "l");
    signature->has_length = !slice_is_absent(length);
    if (signature->has_length && !slice_to_u64(length, &signature->length))
        return malformed(signature, "l=: a number was expected");
    if (!decode(arena, tag_unfold(arena, tag_get(tags, "bh")), &signature->body_hash)
        || signature->body_hash.size != DKIM_HASH_SIZE)
        return malformed(signature, "bh=: the base64 of a SHA-256 hash was expected");
    return read_canon(tags, signature) && read_header_names(tags, signature);
}

static bool read_instance(const struct tag_list *tags, struct dkim_signature *signature)
{
    uint64_t number;
    if (!slice_to_u64(tag_get(tags, "i"), &number) || number < 1 || number > 50)
        return malformed(signature, "i=: a number from 1 to 50 was expected");
    signature->instance = (unsigned)number;
    return true;
}

static bool read_kind(struct arena *arena, const struct tag_list *tags, struct dkim_signature *signature)
{
    switch (signature->kind) {
    case DKIM_SIGNATURE:
        if (!slice_equals(tag_get(tags, "v"), SLICE("1")))
            return malformed(signature, "v=1 was expected");
        if (!slice_is_absent(tag_get(tags, "q")) && !tag_has_word(tag_get(tags, "q"), ':', "dns/txt"))
            return malformed(signature, "q=: dns/txt was expected");
        return read_identity(arena, tags, signature) && read_body_tags(arena, tags, signature);
    case DKIM_ARC_MESSAGE:
        return read_instance(tags, signature) && read_body_tags(arena, tags, signature);
    case DKIM_ARC_SEAL:
        signature->cv = tag_get(tags, "cv");
        signature->header_canon = DKIM_RELAXED;
        if (!slice_is_absent(tag_get(tags, "h")))
            return malformed(signature, "a seal has no h= (RFC 8617 4.1.3)");
        return read_instance(tags, signature);
    }
    return false;
}

bool dkim_read(struct arena *arena, const struct header_field *field, enum dkim_kind kind, int64_t now_ms,
               struct dkim_signature *ret_signature)
{
    struct tag_list tags;
    struct dkim_signature *signature = ret_signature;
    *signature = (struct dkim_signature){.field = field, .kind = kind};
    if (!tag_list_parse(arena, field->value, &tags))
        return malformed(signature, "no list of tags");
    if (!read_names(arena, &tags, signature) || !read_algorithm(&tags, signature) || !read_kind(arena, &tags, signature))
        return false;
    signature->bytes_text = tag_unfold(arena, tag_get(&tags, "b"));
    if (!decode(arena, signature->bytes_text, &signature->bytes))
        return malformed(signature, "b=: base64 was expected");
    return read_times(&tags, now_ms, signature);
}

void dkim_key_name(const struct dkim_signature *signature, char ret_name[DKIM_KEY_NAME_SIZE])
{
    (void)snprintf(ret_name, DKIM_KEY_NAME_SIZE, "%.*s._domainkey.%.*s", SLICE_FMT(signature->selector),
                   SLICE_FMT(signature->domain));
}

const char *dkim_result_name(enum dkim_result result)
{
    static const char *const names[] = {"none", "pass", "fail", "temperror", "permerror"};
    return names[result];
}
