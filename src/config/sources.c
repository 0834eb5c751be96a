#include "config/sources.h"

#include "base/ip.h"
#include "base/mem.h"
#include "config/value.h"

#include <stddef.h>
#include <stdlib.h>

#define AT(field) offsetof(struct config_source, field)

static const struct config_key source_keys[] = {
    {"addresses", KEY_LIST, AT(addresses), 0, 0, NULL, NULL},
    {"senders", KEY_LIST, AT(senders), 0, 0, NULL, NULL},
    {"helo", KEY_DOMAIN, AT(helo), 0, 0, NULL, NULL},
    {"connections", KEY_INT, AT(connections_max), 1, 100000, NULL, NULL},
    {"rate", KEY_RATE, AT(rates), 0, 0, NULL, NULL},
    {"site_connections", KEY_INT, AT(site_connections_max), 1, 10000, NULL, NULL},
    {"site_rate", KEY_RATE, AT(site_rates), 0, 0, NULL, NULL},
    {"warmup", KEY_WARMUP, AT(warmup), 0, 0, NULL, NULL},
};

static struct config_source *section_get(struct config *config, struct slice name)
{
    for (size_t i = 0; i < config->source_count; i++)
        if (slice_equals(name, slice_of(config->sources[i].name)))
            return &config->sources[i];
    config->sources = mem_resize(config->sources, (config->source_count + 1) * sizeof *config->sources);
    struct config_source *section = &config->sources[config->source_count++];
    *section = (struct config_source){.name = slice_copy(name)};
    return section;
}

bool sources_set(struct config *config, struct slice name, struct slice text, struct error *error)
{
    const struct config_key *key = NULL;
    struct slice word = slice_cut_last(&name, '.');
    if (name.size == 0)
        return error_set(error, "source \"name\" { addresses = \"192.0.2.1\" } was expected");
    for (size_t i = 0; i < COUNT_OF(source_keys); i++)
        if (slice_equals(word, slice_of(source_keys[i].name)))
            key = &source_keys[i];
    return (key || error_set(error, "unknown key of a source; known: addresses, senders, helo, connections, rate, site_connections, "
                                    "site_rate, warmup"))
           && value_set(key, (char *)section_get(config, name), text, error);
}

bool sources_check(const struct config *config, struct error *error)
{
    for (size_t i = 0; i < config->source_count; i++) {
        const struct config_source *source = &config->sources[i];
        if (source->addresses.count == 0) /* without senders it is for folders that name it (config/folder_conf.h) */
            return error_set(error, "source \"%s\": addresses were expected", source->name);
        for (size_t k = 0; k < source->addresses.count; k++)
            if (!ip_is(slice_of(source->addresses.items[k])))
                return error_set(error, "source \"%s\": \"%s\": an address was expected", source->name, source->addresses.items[k]);
    }
    return true;
}

void sources_clear(struct config *config)
{
    for (size_t i = 0; i < config->source_count; i++) {
        for (size_t k = 0; k < COUNT_OF(source_keys); k++)
            value_clear(&source_keys[k], (char *)&config->sources[i]);
        free(config->sources[i].name);
    }
    free(config->sources);
}

int config_source_fits(const struct config_source *source, struct slice sender_domain)
{
    int fit = 0;
    for (size_t i = 0; i < source->senders.count; i++) {
        struct slice pattern = slice_of(source->senders.items[i]);
        if (slice_equals_nocase(pattern, sender_domain)
            || (slice_starts(pattern, SLICE("*.")) && slice_ends_nocase(sender_domain, slice_from(pattern, 1))))
            return 2;
        if (slice_equals(pattern, SLICE("*")))
            fit = 1;
    }
    return fit;
}
