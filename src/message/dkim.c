#include "message/dkim_private.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>

enum { LIFE_S = 7 * 24 * 3600, LINE_AIM = 72, BASE64_LINE = 64 };


/* K2. */
static const struct { const char *name; bool is_oversigned; } signed_fields[] = {
    {"From", true},          {"Sender", true},       {"Reply-To", true},     {"Subject", true},
    {"Date", true},          {"Message-ID", true},   {"To", true},           {"Cc", true},
    {"MIME-Version", true},  {"Content-Type", true}, {"Content-Transfer-Encoding", true},
    {"In-Reply-To", true},   {"References", true},   {"List-Unsubscribe", true},
    {"List-Unsubscribe-Post", true},                 {"List-Id", false},     {"List-Help", false},
    {"List-Subscribe", false},                       {"List-Post", false},   {"List-Archive", false},
};

/* ---- hashing and what is hashed ---- */

static bool fail(struct error *error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_get_error());
    return error_set(error, "DKIM: %s: %s", what, reason ? reason : "OpenSSL refused");
}

static void update(void *arg, struct slice bytes)
{
    (void)EVP_DigestUpdate(arg, bytes.data, bytes.size);
}

static bool hash_body(struct slice body, char ret_base64[48], struct error *error)
{
    unsigned char hash[DKIM_HASH_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_done = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    if (is_done) {
        dkim_canon_body(DKIM_RELAXED, body, update, context);
        is_done = EVP_DigestFinal_ex(context, hash, NULL) == 1;
    }
    EVP_MD_CTX_free(context);
    if (!is_done)
        return fail(error, "SHA-256");
    (void)EVP_EncodeBlock((unsigned char *)ret_base64, hash, DKIM_HASH_SIZE);
    return true;
}

static void add_name(struct buf *names, const char *name)
{
    if (names->size)
        buf_append_byte(names, ':');
    buf_append_text(names, name);
}

/* All of that name from the last to the first (RFC 6376 5.4.2), then once more where it is over-signed. */
static void choose(struct dkim_signing *signing, const char *name, bool is_oversigned, struct buf *names, struct buf *fields)
{
    for (size_t i = signing->header.count; i > 0; i--) {
        const struct header_field *field = &signing->header.fields[i - 1];
        if (!slice_equals_nocase(field->name, slice_of(name)))
            continue;
        add_name(names, name);
        dkim_canon_field(DKIM_RELAXED, field->raw, fields);
    }
    if (is_oversigned)
        add_name(names, name);
}

bool dkim_prepare(struct arena *arena, struct slice message, int64_t time_ms, struct dkim_signing *signing, struct error *error)
{
    struct header_limits limits = {message.size, message.size}; /* those of intake were kept */
    struct buf names = {0}, fields = {0};
    if (!header_scan(arena, message, &limits, &signing->header, error)
        || !hash_body(slice_from(message, signing->header.body_offset), signing->body_hash, error))
        return false;
    for (size_t i = 0; i < COUNT_OF(signed_fields); i++)
        choose(signing, signed_fields[i].name, signed_fields[i].is_oversigned, &names, &fields);
    if (signing->instance)
        choose(signing, "DKIM-Signature", false, &names, &fields); /* RFC 8617 4.1.2 */
    signing->names = arena_copy(arena, buf_slice(&names));
    signing->fields = arena_copy(arena, buf_slice(&fields));
    signing->time_s = time_ms / 1000;
    buf_finish(&names);
    buf_finish(&fields);
    return true;
}

/* ---- the field ---- */

/* Adds a tag and folds before it when the line would grow long. */
static void put_tag(struct buf *out, size_t *line, const char *text, struct slice value)
{
    size_t size = strlen(text) + value.size + 1;
    if (*line + size > LINE_AIM) {
        buf_append_text(out, "\r\n\t");
        *line = 8;
    } else {
        buf_append_byte(out, ' ');
        *line += 1;
    }
    buf_append_text(out, text);
    buf_append(out, value);
    *line += size;
}

static void put_names(struct buf *out, size_t *line, struct slice names)
{
    struct slice first = slice_cut(&names, ':');
    put_tag(out, line, "h=", first);
    while (names.size) {
        struct slice name = slice_cut(&names, ':');
        buf_append_byte(out, ':');
        if (*line + name.size + 1 > LINE_AIM) {
            buf_append_text(out, "\r\n\t");
            *line = 8;
        }
        buf_append(out, name);
        *line += name.size + 1;
    }
    buf_append_byte(out, ';');
}

/* All up to "b=". ARC's looks the same but for its front and that it never expires. */
static void put_field(const struct dkim_signing *signing, const struct dkim_key *key, struct buf *out)
{
    char times[64];
    bool is_rsa = EVP_PKEY_base_id(key->key) == EVP_PKEY_RSA;
    size_t line = out->size;
    if (signing->instance)
        buf_printf(out, "ARC-Message-Signature: i=%u;", signing->instance);
    else
        buf_append_text(out, "DKIM-Signature: v=1;");
    line = out->size - line;
    put_tag(out, &line, is_rsa ? "a=rsa-sha256;" : "a=ed25519-sha256;", SLICE(""));
    put_tag(out, &line, "c=relaxed/relaxed;", SLICE(""));
    put_tag(out, &line, "d=", key->domain);
    buf_append_byte(out, ';');
    put_tag(out, &line, "s=", key->selector);
    buf_append_byte(out, ';');
    (void)snprintf(times, sizeof times, signing->instance ? "t=%lld;" : "t=%lld; x=%lld;", (long long)signing->time_s,
                   (long long)signing->time_s + LIFE_S);
    put_tag(out, &line, times, SLICE(""));
    put_names(out, &line, signing->names);
    put_tag(out, &line, "bh=", slice_of(signing->body_hash));
    buf_append_text(out, ";\r\n\tb=");
}

void dkim_put_base64(struct slice bytes, struct arena *arena, struct buf *out)
{
    unsigned char *text = arena_alloc(arena, bytes.size * 4 / 3 + 8);
    int size = EVP_EncodeBlock(text, (const unsigned char *)bytes.data, (int)bytes.size);
    for (int at = 0; at < size; at += BASE64_LINE) {
        if (at)
            buf_append_text(out, "\r\n\t");
        buf_append(out, slice_make((char *)text + at, (size_t)(size - at < BASE64_LINE ? size - at : BASE64_LINE)));
    }
}

/* RSA signs the hash as OpenSSL does it; Ed25519 signs the octets of the SHA-256 hash (RFC 8463 3). */
bool dkim_sign_bytes(struct arena *arena, EVP_PKEY *key, struct slice bytes, struct slice *ret_signature, struct error *error)
{
    unsigned char hash[DKIM_HASH_SIZE];
    bool is_rsa = EVP_PKEY_base_id(key) == EVP_PKEY_RSA;
    size_t size = (size_t)EVP_PKEY_get_size(key);
    unsigned char *signature = arena_alloc(arena, size);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const unsigned char *data = (const unsigned char *)bytes.data;
    size_t data_size = bytes.size;
    bool is_done = context && EVP_DigestSignInit(context, NULL, is_rsa ? EVP_sha256() : NULL, NULL, key) == 1;
    if (is_done && !is_rsa) {
        is_done = EVP_Digest(bytes.data, bytes.size, hash, NULL, EVP_sha256(), NULL) == 1;
        data = hash;
        data_size = sizeof hash;
    }
    is_done = is_done && EVP_DigestSign(context, signature, &size, data, data_size) == 1;
    EVP_MD_CTX_free(context);
    if (!is_done)
        return fail(error, "the key can't sign");
    *ret_signature = slice_make((char *)signature, size);
    return true;
}

bool dkim_sign_prepared(struct arena *arena, const struct dkim_signing *signing, const struct dkim_key *key, struct buf *out,
                        struct error *error)
{
    struct buf field = {0}, bytes = {0};
    struct slice signature;
    put_field(signing, key, &field);
    buf_append(&bytes, signing->fields);
    dkim_canon_field(DKIM_RELAXED, buf_slice(&field), &bytes);
    bytes.size -= 2; /* this one field has no line end there (RFC 6376 3.7) */
    bool is_done = dkim_sign_bytes(arena, key->key, buf_slice(&bytes), &signature, error);
    if (is_done) {
        dkim_put_base64(signature, arena, &field);
        buf_append_text(&field, "\r\n");
        buf_append(out, buf_slice(&field));
    }
    buf_finish(&field);
    buf_finish(&bytes);
    return is_done;
}

bool dkim_sign(struct arena *arena, struct slice message, const struct dkim_key *keys, size_t count, int64_t time_ms,
               struct buf *out, struct error *error)
{
    struct dkim_signing signing = {.time_s = 0};
    if (!dkim_prepare(arena, message, time_ms, &signing, error))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!dkim_sign_prepared(arena, &signing, &keys[i], out, error))
            return false;
    return true;
}

bool dkim_record(EVP_PKEY *key, struct buf *out, struct error *error)
{
    unsigned char *der = NULL, raw[32], text[2048];
    size_t raw_size = sizeof raw;
    bool is_rsa = EVP_PKEY_base_id(key) == EVP_PKEY_RSA;
    int size = is_rsa ? i2d_PUBKEY(key, &der) : EVP_PKEY_get_raw_public_key(key, raw, &raw_size) == 1 ? (int)raw_size : -1;
    bool is_done = size > 0 && (size_t)size * 4 / 3 + 8 < sizeof text;
    if (is_done) {
        (void)EVP_EncodeBlock(text, is_rsa ? der : raw, size);
        buf_printf(out, "v=DKIM1; k=%s; p=%s", is_rsa ? "rsa" : "ed25519", (const char *)text);
    }
    OPENSSL_free(der);
    return is_done || fail(error, "the public key");
}

/* ---- fewer of them ---- */

/* The DKIM-Signature field at the front, its line ends included; empty if none is there. */
static struct slice first_signature(struct slice message)
{
    size_t at = 0;
    if (!slice_starts_nocase(message, SLICE("DKIM-Signature:")))
        return slice_first(message, 0);
    do {
        ptrdiff_t end = slice_find_byte(slice_from(message, at), '\n');
        at = end < 0 ? message.size : at + (size_t)end + 1;
    } while (at < message.size && (message.data[at] == ' ' || message.data[at] == '\t'));
    return slice_first(message, at);
}

bool dkim_keep(struct slice message, size_t most, struct buf *out)
{
    enum { FRONT_MAX = 64 };
    struct slice fields[FRONT_MAX], rest = message;
    bool is_kept[FRONT_MAX] = {false};
    size_t count = 0, kept = 0;
    for (; count < FRONT_MAX && (fields[count] = first_signature(rest)).size; count++)
        rest = slice_from(rest, fields[count].size);
    if (count <= most)
        return false;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < count && kept < most; i++) {
            bool is_rsa = slice_find(fields[i], SLICE("a=rsa-")) >= 0;
            if (is_kept[i] || (round == 0 && !is_rsa))
                continue;
            is_kept[i] = true;
            kept++;
        }
    for (size_t i = 0; i < count; i++)
        if (is_kept[i])
            buf_append(out, fields[i]);
    buf_append(out, rest);
    return true;
}
