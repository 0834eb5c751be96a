#include "config/return_path.h"

#include "base/mem.h"
#include "config/secrets.h"

#include <stdlib.h>

enum { SECRET_SIZE_MIN = 8 };

struct return_path {
    const struct config *config;
    struct slice *secrets;
    struct srs srs;
};

struct return_path *return_path_open(const struct config *config, struct error *error)
{
    struct return_path *r = mem_alloc(sizeof *r);
    const struct config_list *files = &config->sender.secret_files;
    r->config = config;
    r->secrets = mem_alloc((files->count + 1) * sizeof *r->secrets);
    r->srs = (struct srs){.secrets = r->secrets, .domain = slice_of(config->sender.srs_domain),
                          .max_age_days = (int)(config->sender.srs_max_age_ms / (24 * 3600 * 1000))};
    for (size_t i = 0; r && i < files->count; i++) {
        char *secret = secret_read(files->items[i], error);
        r->secrets[i] = slice_of(secret);
        r->srs.secret_count++;
        if (secret && r->secrets[i].size >= SECRET_SIZE_MIN)
            continue;
        if (secret)
            (void)error_set(error, "%s: a secret of at least %d octets was expected: head -c 24 /dev/urandom | base64 makes one",
                            files->items[i], SECRET_SIZE_MIN);
        (void)error_prefix(error, "sender.secret_files");
        return_path_close(&r);
    }
    return r;
}

void return_path_close(struct return_path **return_path)
{
    struct return_path *r = *return_path;
    if (!r)
        return;
    for (size_t i = 0; i < r->srs.secret_count; i++)
        secret_free((char *)(uintptr_t)r->secrets[i].data);
    free(r->secrets);
    free(r);
    *return_path = NULL;
}

/* ---- whose ---- */

static bool fits(const char *pattern, struct slice domain)
{
    struct slice text = slice_of(pattern);
    return pattern && (slice_equals_nocase(text, domain)
                       || (slice_starts(text, SLICE("*.")) && slice_ends_nocase(domain, slice_from(text, 1))));
}

static bool fits_any(const struct config_list *patterns, struct slice domain)
{
    for (size_t i = 0; i < patterns->count; i++)
        if (fits(patterns->items[i], domain))
            return true;
    return false;
}

static bool is_ours(const struct config *config, struct slice domain)
{
    const char *const names[] = {config->hostname, config->default_domain, config->sender.masquerade_domain, config->sender.srs_domain};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (fits(names[i], domain))
            return true;
    for (size_t i = 0; i < config->dkim_count; i++)
        if (fits(config->dkim[i].domain, domain)
            || (config->dkim[i].is_subdomains && address_is_below(domain, slice_of(config->dkim[i].domain))))
            return true;
    return fits_any(&config->sender.ours, domain) || fits_any(&config->local.domains, domain);
}

static struct slice domain_of(struct slice address)
{
    for (size_t i = address.size; i > 0; i--)
        if (address.data[i - 1] == '@')
            return slice_from(address, i);
    return SLICE("");
}

static bool is_verp(const struct config *config, struct slice sender)
{
    for (size_t i = 0; i < config->sender.verp.count; i++)
        if (slice_equals_nocase(slice_of(config->sender.verp.items[i]), sender) || fits(config->sender.verp.items[i], domain_of(sender)))
            return true;
    return false;
}

/* ---- rules ---- */

/* "from = to": both addresses, or both "@domain". */
static bool split_rule(const char *rule, struct slice *ret_from, struct slice *ret_to)
{
    struct slice rest = slice_of(rule);
    *ret_from = slice_trim(slice_cut(&rest, '='));
    *ret_to = slice_trim(rest);
    bool is_domain = ret_from->size > 1 && ret_from->data[0] == '@';
    return ret_from->size && ret_to->size > 1 && is_domain == (ret_to->data[0] == '@');
}

static bool apply(const struct config_list *rules, struct arena *arena, struct address *address)
{
    struct slice from, to;
    struct address changed;
    for (size_t i = 0; i < rules->count; i++) {
        if (!split_rule(rules->items[i], &from, &to))
            continue;
        bool is_domain = from.data[0] == '@';
        if (!slice_equals_nocase(is_domain ? slice_from(from, 1) : from, is_domain ? address->domain : address->text))
            continue;
        struct slice text = is_domain ? arena_printf(arena, "%.*s%.*s", SLICE_FMT(address->local), SLICE_FMT(to)) : arena_copy(arena, to);
        if (!address_parse(arena, text, &changed, NULL))
            return false; /* return_path_check() refused it */
        *address = changed;
        return true;
    }
    return false;
}

static bool check_rules(const char *key, const struct config_list *rules, struct error *error)
{
    for (size_t i = 0; i < rules->count; i++) {
        struct arena arena = {0};
        struct slice from, to;
        struct address address;
        bool is_fine = split_rule(rules->items[i], &from, &to);
        if (is_fine && to.data[0] == '@')
            is_fine = address_domain(&arena, slice_from(to, 1), &to, NULL) && address_domain(&arena, slice_from(from, 1), &from, NULL);
        else if (is_fine)
            is_fine = address_parse(&arena, to, &address, NULL) && address.domain.size && address_parse(&arena, from, &address, NULL);
        arena_finish(&arena);
        if (!is_fine)
            return error_set(error, "%s: \"%s\": \"a@b = c@d\" or \"@b = @d\" was expected", key, rules->items[i]);
    }
    return true;
}

bool return_path_check(const struct config *config, struct error *error)
{
    if (config->sender.srs_domain && config->sender.secret_files.count == 0)
        return error_set(error, "sender.srs_domain needs sender.secret_files");
    if (config->sender.verp.count && config->sender.secret_files.count == 0)
        return error_set(error, "sender.verp needs sender.secret_files");
    return check_rules("rewrite.senders", &config->rewrite.senders, error)
           && check_rules("rewrite.recipients", &config->rewrite.recipients, error);
}

bool return_path_rewrite_sender(const struct config *config, struct arena *arena, struct address *sender)
{
    struct address changed;
    if (sender->text.size == 0)
        return false;
    if (apply(&config->rewrite.senders, arena, sender))
        return true;
    const char *domain = config->sender.masquerade_domain;
    if (!domain || !is_ours(config, sender->domain) || slice_equals_nocase(slice_of(domain), sender->domain)
        || !address_parse(arena, arena_printf(arena, "%.*s@%s", SLICE_FMT(sender->local), domain), &changed, NULL))
        return false;
    *sender = changed;
    return true;
}

bool return_path_rewrite_recipient(const struct config *config, struct arena *arena, struct address *recipient)
{
    return apply(&config->rewrite.recipients, arena, recipient);
}

/* ---- as it is sent, and back ---- */

bool return_path_is_single(const struct return_path *r, struct slice sender)
{
    return r && sender.size && is_verp(r->config, sender);
}

struct slice return_path_of(const struct return_path *r, struct arena *arena, struct slice sender, struct slice recipient, int64_t now_ms)
{
    struct slice made;
    if (!r || sender.size == 0)
        return sender;
    if (is_verp(r->config, sender))
        return verp_encode(arena, &r->srs, sender, recipient, &made) ? made : sender;
    if (r->srs.domain.size && !is_ours(r->config, domain_of(sender)) && srs_forward(arena, &r->srs, sender, now_ms, &made))
        return made;
    return sender;
}

enum srs_result return_path_back(const struct return_path *r, struct arena *arena, struct slice recipient, int64_t now_ms,
                                 struct slice *ret_recipient, struct error *error)
{
    return r && r->srs.domain.size ? srs_reverse(arena, &r->srs, recipient, now_ms, ret_recipient, error) : SRS_NONE;
}

bool return_path_bounced(const struct return_path *r, struct arena *arena, struct slice recipient, struct slice *ret_bounced)
{
    struct slice sender;
    return r && r->config->sender.verp.count && verp_decode(arena, &r->srs, recipient, &sender, ret_bounced) == SRS_DONE
           && is_verp(r->config, sender);
}
