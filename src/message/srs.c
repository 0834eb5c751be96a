#include "message/srs.h"

#include "base/buf.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { LOCAL_SIZE_MAX = 64, SRS_HASH_SIZE = 4, VERP_HASH_SIZE = 6, DIGEST_SIZE = 20, DAYS = 1024 };
#define DAY_MS (24 * 3600 * 1000LL)

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void digest_of(struct slice secret, const struct slice *parts, size_t count, unsigned char ret_digest[DIGEST_SIZE])
{
    struct buf text = {0};
    unsigned size = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < parts[i].size; k++)
            buf_append_byte(&text, (char)tolower((unsigned char)parts[i].data[k]));
    CHECK(HMAC(EVP_sha1(), secret.data, (int)secret.size, (const unsigned char *)buf_slice(&text).data, text.size, ret_digest, &size));
    buf_finish(&text);
}

/* The digest's first bits, `bits` a character. */
static void letters(const unsigned char digest[DIGEST_SIZE], const char *alphabet, unsigned bits, size_t size, char *ret_text)
{
    unsigned value = 0, have = 0;
    for (size_t i = 0, at = 0; i < size; i++) {
        if (have < bits) {
            value = value << 8 | digest[at++];
            have += 8;
        }
        have -= bits;
        ret_text[i] = alphabet[value >> have & ((1U << bits) - 1)];
    }
    ret_text[size] = '\0';
}

static void srs_hash(struct slice secret, const struct slice *parts, size_t count, char ret_text[SRS_HASH_SIZE + 1])
{
    unsigned char digest[DIGEST_SIZE];
    digest_of(secret, parts, count, digest);
    letters(digest, base64, 6, SRS_HASH_SIZE, ret_text);
}

/* Our hash, or a longer one that others made; any of the secrets. */
static bool is_hash(const struct srs *srs, struct slice hash, const struct slice *parts, size_t count)
{
    char text[SRS_HASH_SIZE + 1];
    for (size_t i = 0; i < srs->secret_count && hash.size >= SRS_HASH_SIZE; i++) {
        srs_hash(srs->secrets[i], parts, count, text);
        if (slice_equals_nocase(slice_first(hash, SRS_HASH_SIZE), slice_of(text)))
            return true;
    }
    return false;
}

/* ---- SRS ---- */

static bool split_address(struct slice address, struct slice *ret_local, struct slice *ret_domain)
{
    size_t at = address.size;
    while (at > 0 && address.data[at - 1] != '@')
        at--;
    if (at < 2 || at == address.size)
        return false;
    *ret_local = slice_first(address, at - 1);
    *ret_domain = slice_from(address, at);
    return true;
}

/* "SRS0" or "SRS1" and one of the separators = - +; what follows goes to `ret_rest` with its separator. */
static bool is_tagged(struct slice local, const char *tag, struct slice *ret_rest)
{
    if (local.size < 6 || !slice_starts_nocase(local, slice_of(tag)) || !strchr("=-+", local.data[4]))
        return false;
    *ret_rest = slice_from(local, 4);
    return true;
}

static struct slice day_text(int64_t now_ms, char ret_text[3])
{
    unsigned day = (unsigned)(now_ms / DAY_MS % DAYS);
    ret_text[0] = base32[day >> 5];
    ret_text[1] = base32[day & 31];
    ret_text[2] = '\0';
    return slice_make(ret_text, 2);
}

static bool is_recent(const struct srs *srs, struct slice text, int64_t now_ms)
{
    int day = 0;
    if (text.size != 2)
        return false;
    for (size_t i = 0; i < 2; i++) {
        const char *place = text.data[i] ? strchr(base32, toupper((unsigned char)text.data[i])) : NULL;
        if (!place)
            return false;
        day = day << 5 | (int)(place - base32);
    }
    int age = ((int)(now_ms / DAY_MS % DAYS) - day + DAYS) % DAYS;
    return age <= srs->max_age_days;
}

static bool give(struct arena *arena, const struct srs *srs, struct slice local, struct slice *ret_sender)
{
    if (local.size > LOCAL_SIZE_MAX)
        return false;
    *ret_sender = arena_printf(arena, "%.*s@%.*s", SLICE_FMT(local), SLICE_FMT(srs->domain));
    return true;
}

bool srs_forward(struct arena *arena, const struct srs *srs, struct slice sender, int64_t now_ms, struct slice *ret_sender)
{
    struct slice local, domain, rest;
    char hash[SRS_HASH_SIZE + 1], day[3];
    if (srs->secret_count == 0 || !split_address(sender, &local, &domain) || slice_equals_nocase(domain, srs->domain))
        return false;
    if (slice_find_byte(local, '"') >= 0)
        return false; /* a quoted local part does not fit inside another one */
    if (is_tagged(local, "SRS0", &rest)) {
        struct slice parts[] = {domain, rest};
        srs_hash(srs->secrets[0], parts, 2, hash);
        return give(arena, srs, arena_printf(arena, "SRS1=%s=%.*s=%.*s", hash, SLICE_FMT(domain), SLICE_FMT(rest)), ret_sender);
    }
    if (is_tagged(local, "SRS1", &rest)) {
        rest = slice_from(rest, 1);
        (void)slice_cut(&rest, '='); /* their hash */
        struct slice first = slice_cut(&rest, '=');
        struct slice parts[] = {first, rest};
        if (first.size == 0 || rest.size < 2)
            return false; /* it would not lead back */
        srs_hash(srs->secrets[0], parts, 2, hash);
        return give(arena, srs, arena_printf(arena, "SRS1=%s=%.*s=%.*s", hash, SLICE_FMT(first), SLICE_FMT(rest)), ret_sender);
    }
    struct slice parts[] = {day_text(now_ms, day), domain, local};
    srs_hash(srs->secrets[0], parts, 3, hash);
    return give(arena, srs, arena_printf(arena, "SRS0=%s=%s=%.*s=%.*s", hash, day, SLICE_FMT(domain), SLICE_FMT(local)), ret_sender);
}

static enum srs_result reverse_first(struct arena *arena, const struct srs *srs, struct slice rest, int64_t now_ms,
                                     struct slice *ret_address, struct error *error)
{
    struct slice hash = slice_cut(&rest, '='), day = slice_cut(&rest, '='), domain = slice_cut(&rest, '=');
    struct slice parts[] = {day, domain, rest};
    if (domain.size == 0 || rest.size == 0 || !is_hash(srs, hash, parts, 3))
        return (void)error_set(error, "an SRS address that was not made here: its hash is wrong"), SRS_BAD;
    if (!is_recent(srs, day, now_ms))
        return (void)error_set(error, "an SRS address that is older than sender.srs_max_age"), SRS_BAD;
    *ret_address = arena_printf(arena, "%.*s@%.*s", SLICE_FMT(rest), SLICE_FMT(domain));
    return SRS_DONE;
}

static enum srs_result reverse_second(struct arena *arena, const struct srs *srs, struct slice rest, struct slice *ret_address,
                                      struct error *error)
{
    struct slice hash = slice_cut(&rest, '='), domain = slice_cut(&rest, '=');
    struct slice parts[] = {domain, rest};
    if (domain.size == 0 || rest.size < 2 || !is_hash(srs, hash, parts, 2))
        return (void)error_set(error, "an SRS address that was not made here: its hash is wrong"), SRS_BAD;
    *ret_address = arena_printf(arena, "SRS0%.*s@%.*s", SLICE_FMT(rest), SLICE_FMT(domain));
    return SRS_DONE;
}

enum srs_result srs_reverse(struct arena *arena, const struct srs *srs, struct slice address, int64_t now_ms,
                            struct slice *ret_address, struct error *error)
{
    struct slice local, domain, rest;
    if (!split_address(address, &local, &domain) || !slice_equals_nocase(domain, srs->domain))
        return SRS_NONE;
    if (is_tagged(local, "SRS0", &rest))
        return reverse_first(arena, srs, slice_from(rest, 1), now_ms, ret_address, error);
    if (is_tagged(local, "SRS1", &rest))
        return reverse_second(arena, srs, slice_from(rest, 1), ret_address, error);
    return SRS_NONE;
}

/* ---- VERP ---- */

static void verp_hash(struct slice secret, struct slice sender, struct slice recipient, char ret_text[VERP_HASH_SIZE + 1])
{
    unsigned char digest[DIGEST_SIZE];
    struct slice parts[] = {SLICE("verp "), sender, SLICE(" "), recipient};
    digest_of(secret, parts, COUNT_OF(parts), digest);
    letters(digest, base32, 5, VERP_HASH_SIZE, ret_text);
}

bool verp_encode(struct arena *arena, const struct srs *srs, struct slice sender, struct slice recipient, struct slice *ret_sender)
{
    struct slice local, domain, to_local, to_domain;
    char hash[VERP_HASH_SIZE + 1];
    if (srs->secret_count == 0 || !split_address(sender, &local, &domain) || !split_address(recipient, &to_local, &to_domain)
        || slice_find_byte(local, '"') >= 0 || slice_find_byte(to_local, '"') >= 0 || to_domain.data[0] == '['
        || local.size + to_local.size + to_domain.size + VERP_HASH_SIZE + 3 > LOCAL_SIZE_MAX)
        return false;
    verp_hash(srs->secrets[0], sender, recipient, hash);
    *ret_sender = arena_printf(arena, "%.*s+%.*s=%.*s=%s@%.*s", SLICE_FMT(local), SLICE_FMT(to_local), SLICE_FMT(to_domain), hash,
                               SLICE_FMT(domain));
    return true;
}

static ptrdiff_t find_last(struct slice text, char byte)
{
    ptrdiff_t at = (ptrdiff_t)text.size - 1;
    while (at >= 0 && text.data[at] != byte)
        at--;
    return at;
}

enum srs_result verp_decode(struct arena *arena, const struct srs *srs, struct slice address, struct slice *ret_sender,
                            struct slice *ret_recipient)
{
    struct slice local, domain;
    char hash[VERP_HASH_SIZE + 1];
    if (!split_address(address, &local, &domain))
        return SRS_NONE;
    ptrdiff_t plus = slice_find_byte(local, '+'), last = find_last(local, '=');
    if (plus < 1 || last <= plus)
        return SRS_NONE;
    struct slice given = slice_from(local, (size_t)last + 1), to = slice_first(slice_from(local, (size_t)plus + 1), (size_t)(last - plus - 1));
    ptrdiff_t at = find_last(to, '=');
    if (at < 1)
        return SRS_NONE;
    struct slice sender = arena_printf(arena, "%.*s@%.*s", SLICE_FMT(slice_first(local, (size_t)plus)), SLICE_FMT(domain));
    struct slice recipient = arena_printf(arena, "%.*s@%.*s", SLICE_FMT(slice_first(to, (size_t)at)),
                                          SLICE_FMT(slice_from(to, (size_t)at + 1)));
    for (size_t i = 0; i < srs->secret_count; i++) {
        verp_hash(srs->secrets[i], sender, recipient, hash);
        if (!slice_equals_nocase(given, slice_of(hash)))
            continue;
        *ret_sender = sender;
        *ret_recipient = recipient;
        return SRS_DONE;
    }
    return SRS_NONE;
}
