#include "config/sealer.h"

#include "message/arc.h"
#include "os/clock.h"

/* The domain's RSA key whose day came last (config/signer.h G5). */
static const struct dkim_key *find_key(const struct config *config, const struct signer *signer, int64_t time_ms)
{
    struct slice domain = slice_of(config->smtp.checks.arc_seal);
    const struct dkim_key *found = NULL;
    for (size_t i = 0; i < signer_count(signer); i++) {
        const struct dkim_key *key = signer_key(signer, i);
        if (slice_equals(key->domain, domain) && EVP_PKEY_base_id(key->key) == EVP_PKEY_RSA && key->from_ms <= time_ms
            && (!found || key->from_ms > found->from_ms))
            found = key;
    }
    return found;
}

bool sealer_check(const struct config *config, const struct signer *signer, struct error *error)
{
    const char *domain = config->smtp.checks.arc_seal;
    if (!domain)
        return true;
    if (!config->smtp.checks.arc)
        return error_set(error, "smtp.checks.arc_seal: smtp.checks.arc = record was expected with it");
    return find_key(config, signer, clock_wall_ms())
           || error_set(error, "smtp.checks.arc_seal: a section dkim \"%s\" with an RSA key was expected", domain);
}

/* The word behind "arc=" in our results, as cv= says it; NULL: none was found out. */
static const char *cv_of(struct slice results)
{
    static const char *const words[] = {"none", "pass", "fail"};
    while (results.size) {
        struct slice method = slice_trim(slice_cut(&results, ';'));
        for (size_t i = 0; slice_starts(method, SLICE("arc=")) && i < COUNT_OF(words); i++)
            if (slice_starts(slice_from(method, 4), slice_of(words[i])))
                return words[i];
    }
    return NULL;
}

bool sealer_seal(const struct config *config, const struct signer *signer, struct arena *arena, int64_t time_ms,
                 struct buf *message, size_t *ret_added, struct error *error)
{
    struct header header;
    struct header_limits limits = {message->size, message->size}; /* those of intake were kept */
    struct buf set = {0};
    *ret_added = 0;
    if (!config->smtp.checks.arc_seal || !header_scan(arena, buf_slice(message), &limits, &header, NULL))
        return true;
    const struct header_field *results = &header.fields[0];
    const char *cv = slice_equals(results->name, SLICE("Authentication-Results")) ? cv_of(results->value) : NULL;
    if (!cv)
        return true;
    struct arc_sealing sealing = {find_key(config, signer, time_ms), cv, results->value, time_ms};
    bool is_done = arc_seal(arena, buf_slice(message), &sealing, &set, error);
    if (is_done && set.size) {
        *ret_added = set.size;
        buf_append(&set, buf_slice(message));
        buf_finish(message);
        *message = set;
        return true;
    }
    buf_finish(&set);
    return is_done;
}
