#include "config/signer.h"

#include "base/mem.h"
#include "config/dkim.h"
#include "message/address.h"
#include "message/content.h"
#include "message/header.h"
#include "os/file.h"

#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_FILE_SIZE_MAX = 64 * 1024 };

struct signer {
    const struct config *config;
    struct dkim_key *keys;      /* those of the first section, then of the second… */
    size_t *firsts;             /* of each section; one more behind the last */
    size_t count;
    struct return_path *return_path;
};

/* ---- the files ---- */

static EVP_PKEY *parse_key(struct slice pem, const char *path, struct error *error)
{
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.size);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    int kind = key ? EVP_PKEY_base_id(key) : 0;
    if (kind == EVP_PKEY_ED25519 || (kind == EVP_PKEY_RSA && EVP_PKEY_get_bits(key) >= DKIM_RSA_BITS_MIN))
        return key;
    (void)error_set(error, key ? "%s: an RSA key of at least 1024 bits, or an Ed25519 key, was expected"
                               : "%s: a private key in PEM form was expected", path);
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *read_key(const char *path, struct error *error)
{
    struct buf text = {0};
    EVP_PKEY *key = file_read_secret(path, "key", KEY_FILE_SIZE_MAX, &text, error) ? parse_key(buf_slice(&text), path, error) : NULL;
    if (text.data)
        OPENSSL_cleanse(text.data, text.capacity);
    buf_finish(&text);
    return key;
}

static bool read_section(struct signer *signer, const struct config_dkim *section, struct error *error)
{
    for (size_t i = 0; i < section->keys.count; i++) {
        struct dkim_entry entry;
        if (!dkim_entry_parse(slice_of(section->keys.items[i]), &entry))
            return error_set(error, "dkim \"%s\": selector:/file was expected", section->domain);
        char *path = slice_copy(entry.path);
        EVP_PKEY *key = read_key(path, error);
        free(path);
        if (!key)
            return error_prefix(error, "dkim \"%s\"", section->domain);
        signer->keys = mem_resize(signer->keys, (signer->count + 1) * sizeof *signer->keys);
        signer->keys[signer->count++] = (struct dkim_key){slice_of(section->domain), entry.selector, key, entry.from_ms};
    }
    return true;
}

struct signer *signer_open(const struct config *config, struct error *error)
{
    struct signer *signer = mem_alloc(sizeof *signer);
    signer->config = config;
    signer->firsts = mem_alloc((config->dkim_count + 1) * sizeof *signer->firsts);
    for (size_t i = 0; i < config->dkim_count; i++) {
        signer->firsts[i] = signer->count;
        if (!read_section(signer, &config->dkim[i], error)) {
            signer_close(&signer);
            return NULL;
        }
    }
    signer->firsts[config->dkim_count] = signer->count;
    signer->return_path = return_path_open(config, error);
    if (!signer->return_path)
        signer_close(&signer);
    return signer;
}

void signer_close(struct signer **signer)
{
    struct signer *s = *signer;
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        EVP_PKEY_free(s->keys[i].key);
    free(s->keys);
    free(s->firsts);
    return_path_close(&s->return_path);
    free(s);
    *signer = NULL;
}

const struct return_path *signer_return_path(const struct signer *signer) { return signer ? signer->return_path : NULL; }

size_t signer_count(const struct signer *signer) { return signer->count; }

const struct dkim_key *signer_key(const struct signer *signer, size_t index) { return &signer->keys[index]; }

/* ---- one message ---- */

/* G1: the section's place, or -1. */
static ptrdiff_t section_of(const struct config *config, struct slice domain)
{
    ptrdiff_t best = -1;
    size_t longest = 0;
    for (size_t i = 0; i < config->dkim_count; i++) {
        struct slice mine = slice_of(config->dkim[i].domain);
        bool is_same = slice_equals(domain, mine);
        bool is_below = config->dkim[i].is_subdomains && address_is_below(domain, mine);
        if ((is_same || is_below) && mine.size > longest) {
            longest = mine.size;
            best = (ptrdiff_t)i;
        }
    }
    return best;
}

static struct slice from_domain(struct arena *arena, struct slice message)
{
    struct header_limits limits = {message.size, message.size}; /* those of intake were kept */
    struct header header;
    struct address_list list;
    if (!header_scan(arena, message, &limits, &header, NULL))
        return SLICE_NONE;
    const struct header_field *from = header_find(&header, SLICE("From"), 0);
    if (!from || !address_list_parse(arena, from->value, 100, &list, NULL) || list.count == 0)
        return SLICE_NONE;
    return list.items[0].domain;
}

static void take(struct buf *message, struct buf *other)
{
    buf_finish(message);
    *message = *other;
    *other = (struct buf){0};
}

static bool is_named(const struct dkim_key *key, struct slice name)
{
    struct slice domain = slice_cut(&name, '/');
    return slice_equals_nocase(domain, key->domain) && (name.size == 0 || slice_equals(name, key->selector));
}

bool signer_has(const struct signer *signer, struct slice name)
{
    for (size_t i = 0; i < signer->count; i++)
        if (is_named(&signer->keys[i], name))
            return true;
    return false;
}

/* G4: a copy, since what is named need not lie side by side. */
static size_t keys_named(const struct signer *signer, struct arena *arena, const struct config_list *named, struct dkim_key **ret_keys)
{
    size_t count = 0;
    *ret_keys = arena_alloc(arena, (signer->count + 1) * sizeof **ret_keys);
    for (size_t i = 0; i < signer->count; i++) {
        bool is_wanted = false;
        for (size_t k = 0; k < named->count; k++)
            is_wanted = is_wanted || is_named(&signer->keys[i], slice_of(named->items[k]));
        if (is_wanted)
            (*ret_keys)[count++] = signer->keys[i];
    }
    return count;
}

static bool is_same_line(const struct dkim_key *a, const struct dkim_key *b)
{
    return slice_equals(a->domain, b->domain) && EVP_PKEY_base_id(a->key) == EVP_PKEY_base_id(b->key);
}

/* G5: of a domain's keys of a kind those whose day came last. In place. */
static size_t keys_of_today(struct dkim_key *keys, size_t count, int64_t time_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_current = keys[i].from_ms <= time_ms;
        for (size_t k = 0; k < count && is_current; k++)
            is_current = !is_same_line(&keys[i], &keys[k]) || keys[k].from_ms > time_ms || keys[k].from_ms <= keys[i].from_ms;
        if (is_current) {
            struct dkim_key chosen = keys[i]; /* swapped to the front, so that those behind are still compared with */
            keys[i] = keys[kept];
            keys[kept++] = chosen;
        }
    }
    return kept;
}

/* The keys that sign it; none: 0. */
static size_t keys_for(const struct signer *signer, struct arena *arena, const struct config_list *named, struct slice message,
                       int64_t time_ms, struct dkim_key **ret_keys)
{
    size_t count;
    if (signer->count == 0)
        return 0;
    if (named && named->count) {
        count = keys_named(signer, arena, named, ret_keys);
    } else {
        ptrdiff_t section = section_of(signer->config, from_domain(arena, message));
        if (section < 0)
            return 0;
        count = signer->firsts[section + 1] - signer->firsts[section];
        *ret_keys = arena_alloc(arena, (count + 1) * sizeof **ret_keys);
        memcpy(*ret_keys, &signer->keys[signer->firsts[section]], count * sizeof **ret_keys);
    }
    return keys_of_today(*ret_keys, count, time_ms);
}

bool signer_sign(const struct signer *signer, struct arena *arena, int64_t time_ms, const struct config_list *named,
                 struct buf *message, struct signer_result *ret_result, struct error *error)
{
    struct buf converted = {0}, whole = {0};
    struct dkim_key *keys;
    *ret_result = (struct signer_result){0};
    size_t count = keys_for(signer, arena, named, buf_slice(message), time_ms, &keys);
    if (count == 0)
        return true;
    bool is_converted = slice_has_8bit(buf_slice(message)) && content_to_7bit(arena, buf_slice(message), &converted, NULL);
    struct slice subject = is_converted ? buf_slice(&converted) : buf_slice(message);
    bool is_signed = dkim_sign(arena, subject, keys, count, time_ms, &whole, error);
    if (is_signed) {
        *ret_result = (struct signer_result){whole.size, is_converted};
        buf_append(&whole, subject);
        take(message, &whole);
    }
    buf_finish(&whole);
    buf_finish(&converted);
    return is_signed;
}
