#include "message/dkim_verify.h"

#include "message/tag_list.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

enum { RSA_BITS_MOST = 16384 };

static bool decide(struct dkim_signature *signature, enum dkim_result result, const char *reason)
{
    signature->result = result;
    signature->reason = reason;
    return result == DKIM_PASS;
}

/* ---- the key ---- */

static EVP_PKEY *rsa_key(const unsigned char *der, size_t size)
{
    const unsigned char *at = der;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)size);
    at = der;
    return key ? key : d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, (long)size); /* the bare form that RFC 6376 3.6.1 names */
}

static EVP_PKEY *key_of(struct arena *arena, struct slice text, bool is_rsa)
{
    unsigned char *der = arena_alloc(arena, text.size + 4);
    int size = text.size && text.size % 4 == 0 && text.size < 65536
                   ? EVP_DecodeBlock(der, (const unsigned char *)text.data, (int)text.size) : -1;
    if (size < 3)
        return NULL;
    for (size_t i = text.size; i > text.size - 2 && text.data[i - 1] == '='; i--)
        size--;
    if (!is_rsa)
        return size == 32 ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, der, 32) : NULL;
    EVP_PKEY *key = rsa_key(der, (size_t)size);
    if (key && EVP_PKEY_base_id(key) != EVP_PKEY_RSA) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

/* What the record allows (RFC 6376 3.6.1): false with the reason decided. */
static bool is_allowed(const struct tag_list *tags, struct dkim_signature *signature)
{
    struct slice version = tag_get(tags, "v"), kind = tag_get(tags, "k"), hashes = tag_get(tags, "h"),
                 services = tag_get(tags, "s"), flags = tag_get(tags, "t");
    bool is_rsa = slice_is_absent(kind) || slice_equals_nocase(kind, SLICE("rsa"));
    if (!slice_is_absent(version) && (!slice_equals(version, SLICE("DKIM1")) || !slice_equals(tags->items[0].name, SLICE("v"))))
        return decide(signature, DKIM_PERMERROR, "the key's record has another version");
    if (is_rsa != signature->is_rsa || (!is_rsa && !slice_equals_nocase(kind, SLICE("ed25519"))))
        return decide(signature, DKIM_PERMERROR, "the key is of another kind");
    if (!slice_is_absent(hashes) && !tag_has_word(hashes, ':', "sha256"))
        return decide(signature, DKIM_PERMERROR, "the key isn't for SHA-256");
    if (!slice_is_absent(services) && !tag_has_word(services, ':', "*") && !tag_has_word(services, ':', "email"))
        return decide(signature, DKIM_PERMERROR, "the key isn't for mail");
    struct slice of = signature->identity;
    if (!slice_is_absent(of))
        of = slice_from(of, (size_t)slice_find_byte(of, '@') + 1);
    for (ptrdiff_t at; !slice_is_absent(of) && (at = slice_find_byte(of, '@')) >= 0;)
        of = slice_from(of, (size_t)at + 1); /* a quoted local part may have one too */
    if (tag_has_word(flags, ':', "s") && !slice_is_absent(of) && !slice_equals(of, signature->domain))
        return decide(signature, DKIM_PERMERROR, "the key isn't for domains below it");
    signature->is_testing = tag_has_word(flags, ':', "y");
    return true;
}

/* ---- hashes ---- */

static bool fits(EVP_PKEY *key, struct slice bytes, struct slice signed_bytes)
{
    unsigned char hash[DKIM_HASH_SIZE];
    bool is_rsa = EVP_PKEY_base_id(key) == EVP_PKEY_RSA;
    const unsigned char *data = (const unsigned char *)bytes.data;
    size_t size = bytes.size;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_fit = context && EVP_DigestVerifyInit(context, NULL, is_rsa ? EVP_sha256() : NULL, NULL, key) == 1;
    if (is_fit && !is_rsa) { /* RFC 8463 3: the hash is what Ed25519 signs */
        is_fit = EVP_Digest(bytes.data, bytes.size, hash, NULL, EVP_sha256(), NULL) == 1;
        data = hash;
        size = sizeof hash;
    }
    is_fit = is_fit && EVP_DigestVerify(context, (const unsigned char *)signed_bytes.data, signed_bytes.size, data, size) == 1;
    EVP_MD_CTX_free(context);
    return is_fit;
}

static void try_key(struct arena *arena, struct slice bytes, struct slice record, struct dkim_signature *signature)
{
    struct tag_list tags;
    if (!tag_list_parse(arena, record, &tags)) {
        (void)decide(signature, DKIM_PERMERROR, "the key's record can't be read");
        return;
    }
    if (!is_allowed(&tags, signature))
        return;
    struct slice text = tag_unfold(arena, tag_get(&tags, "p"));
    EVP_PKEY *key = key_of(arena, text, signature->is_rsa);
    int bits = key ? EVP_PKEY_get_bits(key) : 0;
    if (!slice_is_absent(tag_get(&tags, "p")) && text.size == 0)
        (void)decide(signature, DKIM_PERMERROR, "the key is revoked");
    else if (!key)
        (void)decide(signature, DKIM_PERMERROR, "the key can't be read");
    else if (signature->is_rsa && (bits < DKIM_RSA_BITS_MIN || bits > RSA_BITS_MOST))
        (void)decide(signature, DKIM_PERMERROR, "an RSA key of less than 1024 bits, or far too many");
    else if (fits(key, bytes, signature->bytes))
        (void)decide(signature, DKIM_PASS, NULL);
    else
        (void)decide(signature, DKIM_FAIL, "the signature doesn't fit");
    signature->key_bits = bits;
    EVP_PKEY_free(key);
}

void dkim_verify_bytes(struct arena *arena, struct slice bytes, const struct slice *keys, size_t key_count,
                       struct dkim_signature *signature)
{
    (void)decide(signature, DKIM_PERMERROR, "no key under that name");
    for (size_t i = 0; i < key_count && signature->result != DKIM_PASS; i++)
        try_key(arena, bytes, keys[i], signature);
}

struct body_hash { EVP_MD_CTX *context; uint64_t left; bool is_partial; };

static void update(void *arg, struct slice bytes)
{
    struct body_hash *hash = arg;
    if (bytes.size > hash->left) {
        hash->is_partial = true;
        bytes.size = (size_t)hash->left;
    }
    hash->left -= bytes.size;
    (void)EVP_DigestUpdate(hash->context, bytes.data, bytes.size);
}

static bool body_fits(struct slice body, struct dkim_signature *signature)
{
    unsigned char is[DKIM_HASH_SIZE];
    struct body_hash hash = {EVP_MD_CTX_new(), signature->has_length ? signature->length : UINT64_MAX, false};
    bool is_done = hash.context && EVP_DigestInit_ex(hash.context, EVP_sha256(), NULL) == 1;
    if (is_done) {
        dkim_canon_body(signature->body_canon, body, update, &hash);
        is_done = EVP_DigestFinal_ex(hash.context, is, NULL) == 1;
    }
    EVP_MD_CTX_free(hash.context);
    signature->is_partial = hash.is_partial;
    if (signature->has_length && hash.left)
        return decide(signature, DKIM_FAIL, "the body is shorter than l=");
    return (is_done && memcmp(is, signature->body_hash.data, sizeof is) == 0)
           || decide(signature, DKIM_FAIL, "the body was changed");
}

/* ---- the fields that are signed ---- */

/* Each name takes the last field of it that isn't taken yet (RFC 6376 5.4.2). */
static void put_fields(const struct header *header, struct slice names, bool *taken, enum dkim_canon canon, struct buf *out)
{
    while (names.size) {
        struct slice name = slice_trim(slice_cut(&names, ':'));
        for (size_t i = header->count; i > 0; i--) {
            if (taken[i - 1] || !slice_equals_nocase(header->fields[i - 1].name, name))
                continue;
            taken[i - 1] = true;
            dkim_canon_field(canon, header->fields[i - 1].raw, out);
            break;
        }
    }
}

/* Where the value of b= stands in the field. Only "b" itself: not "bh". */
static struct slice find_bytes(struct slice raw)
{
    struct slice rest = raw;
    (void)slice_cut(&rest, ':');
    while (rest.size) {
        struct slice value = slice_cut(&rest, ';');
        if (slice_equals(slice_trim(slice_cut(&value, '=')), SLICE("b")))
            return value;
    }
    return slice_from(raw, raw.size);
}

void dkim_canon_unsigned(enum dkim_canon canon, struct slice raw, struct buf *out)
{
    struct buf field = {0};
    struct slice value = find_bytes(raw);
    size_t start = (size_t)(value.data - raw.data), end = start + value.size;
    /* Without the field's own line end, where b= stands last. */
    while (end == raw.size && end > start && (raw.data[end - 1] == '\n' || raw.data[end - 1] == '\r'))
        end--, raw.size--;
    buf_append(&field, slice_first(raw, start));
    buf_append(&field, slice_from(raw, end));
    dkim_canon_field(canon, buf_slice(&field), out);
    out->size -= 2;
    buf_finish(&field);
}

void dkim_verify(struct arena *arena, struct slice message, const struct header *header, const struct slice *keys,
                 size_t key_count, struct dkim_signature *signature)
{
    struct buf bytes = {0};
    bool *taken = arena_alloc(arena, header->count * sizeof *taken);
    if (!body_fits(slice_from(message, header->body_offset), signature))
        return;
    put_fields(header, signature->names, taken, signature->header_canon, &bytes);
    dkim_canon_unsigned(signature->header_canon, signature->field->raw, &bytes);
    dkim_verify_bytes(arena, buf_slice(&bytes), keys, key_count, signature);
    buf_finish(&bytes);
}
