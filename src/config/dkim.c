#include "config/dkim.h"

#include "base/mem.h"
#include "config/value.h"
#include "message/address.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define AT(field) offsetof(struct config_dkim, field)

static const struct config_key dkim_keys[] = {
    {"keys", KEY_LIST, AT(keys), 0, 0, NULL, NULL},
    {"subdomains", KEY_BOOL, AT(is_subdomains), 0, 0, NULL, NULL},
};

static struct config_dkim *section_get(struct config *config, struct slice domain)
{
    for (size_t i = 0; i < config->dkim_count; i++)
        if (slice_equals(domain, slice_of(config->dkim[i].domain)))
            return &config->dkim[i];
    config->dkim = mem_resize(config->dkim, (config->dkim_count + 1) * sizeof *config->dkim);
    struct config_dkim *section = &config->dkim[config->dkim_count++];
    *section = (struct config_dkim){.domain = slice_copy(domain), .is_subdomains = true};
    return section;
}

bool dkim_set(struct config *config, struct slice name, struct slice text, struct error *error)
{
    struct arena arena = {0};
    struct slice domain, word = slice_cut_last(&name, '.');
    const struct config_key *key = NULL;
    if (name.size == 0)
        return error_set(error, "dkim \"domain\" { keys = \"selector:/file\" } was expected");
    for (size_t i = 0; i < COUNT_OF(dkim_keys); i++)
        if (slice_equals(word, slice_of(dkim_keys[i].name)))
            key = &dkim_keys[i];
    bool is_fine = (key || error_set(error, "unknown key of a dkim section; keys and subdomains are known"))
                   && address_domain(&arena, name, &domain, error)
                   && value_set(key, (char *)section_get(config, domain), text, error);
    arena_finish(&arena);
    return is_fine;
}

static bool is_label(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
            return false;
    }
    return text.size > 0 && text.size <= 63;
}

static bool parse_day(struct slice text, int64_t *ret_ms)
{
    char day[sizeof "2026-12-31"];
    struct tm tm = {0};
    if (text.size != sizeof day - 1)
        return false;
    (void)snprintf(day, sizeof day, "%.*s", SLICE_FMT(text));
    const char *rest = strptime(day, "%Y-%m-%d", &tm);
    *ret_ms = rest && !*rest ? (int64_t)timegm(&tm) * 1000 : 0;
    return *ret_ms > 0;
}

bool dkim_entry_parse(struct slice text, struct dkim_entry *ret_entry)
{
    static const struct slice from = SLICE(" from ");
    struct slice path = text;
    *ret_entry = (struct dkim_entry){.selector = slice_trim(slice_cut(&path, ':'))};
    ptrdiff_t at = slice_find(path, from);
    ret_entry->path = slice_trim(at < 0 ? path : slice_first(path, (size_t)at));
    return is_label(ret_entry->selector) && ret_entry->path.size > 0 && ret_entry->path.data[0] == '/'
           && (at < 0 || parse_day(slice_trim(slice_from(path, (size_t)at + from.size)), &ret_entry->from_ms));
}

bool dkim_check(const struct config *config, struct error *error)
{
    for (size_t i = 0; i < config->dkim_count; i++) {
        const struct config_dkim *section = &config->dkim[i];
        if (section->keys.count == 0)
            return error_set(error, "dkim \"%s\": keys = \"selector:/file\" was expected", section->domain);
        for (size_t k = 0; k < section->keys.count; k++) {
            struct dkim_entry entry;
            if (!dkim_entry_parse(slice_of(section->keys.items[k]), &entry))
                return error_set(error, "dkim \"%s\": \"%s\": selector:/absolute/file was expected, or selector:/absolute/file from YYYY-MM-DD",
                                 section->domain,
                                 section->keys.items[k]);
        }
    }
    return true;
}

void dkim_clear(struct config *config)
{
    for (size_t i = 0; i < config->dkim_count; i++) {
        for (size_t k = 0; k < COUNT_OF(dkim_keys); k++)
            value_clear(&dkim_keys[k], (char *)&config->dkim[i]);
        free(config->dkim[i].domain);
    }
    free(config->dkim);
}
