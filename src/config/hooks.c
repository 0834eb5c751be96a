#include "config/hooks.h"

#include "base/mem.h"
#include "config/value.h"
#include "outcome/event.h" /* names of events */

#include <stddef.h>
#include <stdlib.h>

#define AT(field) offsetof(struct config_hook, field)
#define DAY_MS (24 * 3600 * 1000LL)

enum { NAME_SIZE_MAX = 40 };

static const struct config_key hook_keys[] = {
    {"url", KEY_TEXT, AT(url), 0, 0, NULL, NULL},
    {"secret_file", KEY_TEXT, AT(secret_file), 0, 0, NULL, NULL},
    {"ca_file", KEY_TEXT, AT(ca_file), 0, 0, NULL, NULL},
    {"events", KEY_LIST, AT(events), 0, 0, NULL, NULL},
    {"timeout", KEY_DURATION, AT(timeout_ms), 100, DAY_MS, NULL, NULL},
    {"retry_first", KEY_DURATION, AT(retry_first_ms), 10, DAY_MS, NULL, NULL},
    {"retry_longest", KEY_DURATION, AT(retry_longest_ms), 10, DAY_MS, NULL, NULL},
    {"give_up", KEY_DURATION, AT(give_up_ms), 1000, 30 * DAY_MS, NULL, NULL},
    {"parallel", KEY_INT, AT(parallel), 1, 100, NULL, NULL},
};

static struct config_hook *hook_get(struct config *config, struct slice name)
{
    for (size_t i = 0; i < config->hook_count; i++)
        if (slice_equals(slice_of(config->hooks[i].name), name))
            return &config->hooks[i];
    config->hooks = mem_resize(config->hooks, (config->hook_count + 1) * sizeof *config->hooks);
    struct config_hook *hook = &config->hooks[config->hook_count++];
    *hook = (struct config_hook){.name = slice_copy(name), .timeout_ms = 10000, .retry_first_ms = 1000,
                                 .retry_longest_ms = 5 * 60 * 1000, .give_up_ms = DAY_MS, .parallel = 8};
    return hook;
}

bool hooks_set(struct config *config, struct slice name, struct slice text, struct error *error)
{
    struct slice key = slice_cut_last(&name, '.');
    if (name.size == 0 || !value_is_name(name, NAME_SIZE_MAX))
        return error_set(error, "hook \"name\" { key = value } was expected; a name is made of a-z, 0-9, - and _");
    for (size_t i = 0; i < COUNT_OF(hook_keys); i++)
        if (slice_equals(key, slice_of(hook_keys[i].name)))
            return value_set(&hook_keys[i], (char *)hook_get(config, name), text, error);
    return error_set(error, "unknown key of a hook; there are url, secret_file, ca_file, events, timeout, retry_first, retry_longest, "
                     "give_up, parallel");
}

static bool is_clean(struct slice url)
{
    for (size_t i = 0; i < url.size; i++)
        if (url.data[i] <= ' ' || url.data[i] >= 0x7f)
            return false;
    return true;
}

static bool is_https(struct slice url)
{
    return is_clean(url) && slice_starts_nocase(url, SLICE("https://")) && url.size > 8 && url.data[8] != '/';
}

static bool is_http(struct slice url)
{
    return is_clean(url) && slice_starts_nocase(url, SLICE("http://")) && url.size > 7 && url.data[7] != '/';
}

static bool is_http_here(struct slice url)
{
    static const char *const local[] = {"localhost", "127.0.0.1", "[::1]"};
    struct slice host = is_http(url) ? slice_from(url, 7) : SLICE("");
    for (size_t i = 0; i < COUNT_OF(local); i++) {
        size_t size = strlen(local[i]);
        if (slice_starts_nocase(host, slice_of(local[i])) && (host.size == size || strchr(":/?", host.data[size])))
            return true;
    }
    return false;
}

/* In the clear only to this machine: events hold addresses. */
static bool is_url(struct slice url)
{
    return is_https(url) || is_http_here(url);
}

static bool is_event(struct slice name)
{
    for (int kind = 0; kind < EVENT_KIND_COUNT; kind++)
        if (slice_equals(name, slice_of(event_kind_name((enum event_kind)kind))))
            return true;
    return false;
}

static bool check_one(const struct config_hook *hook, struct error *error)
{
    if (!hook->url || !is_url(slice_of(hook->url)))
        return error_set(error, "hook \"%s\": url: https://… was expected, or http:// to localhost", hook->name);
    if (!hook->secret_file || hook->secret_file[0] != '/')
        return error_set(error, "hook \"%s\": secret_file: the absolute path of a file with the secret was expected", hook->name);
    for (size_t i = 0; i < hook->events.count; i++)
        if (!is_event(slice_of(hook->events.items[i])))
            return error_set(error, "hook \"%s\": events: there is no event \"%s\"; there are taken, delivered, deferred, bounced, "
                             "expired, refused, badmail, done and the others of mailroot-trace(1)", hook->name, hook->events.items[i]);
    return true;
}

bool hooks_check(const struct config *config, struct error *error)
{
    for (size_t i = 0; i < config->hook_count; i++)
        if (!check_one(&config->hooks[i], error))
            return false;
    return config->hook_count == 0 || config->events.file[0]
           || error_set(error, "hooks are fed from the event log: events.file must not be empty");
}

bool otlp_check(const struct config *config, const char **ret_key, struct error *error)
{
    struct slice url = slice_of(config->otlp.url);
    bool is_private = config->otlp.has_addresses || config->otlp.headers_file;
    *ret_key = "otlp.url";
    if (!config_has_traces(config))
        return true;
    if (!is_https(url) && !is_http(url))
        return error_set(error, "https://… or http://… was expected, as in https://collector.example.org:4318");
    if (is_private && !is_https(url) && !is_http_here(url))
        return error_set(error, "http:// to another machine goes with neither addresses nor headers_file: https:// was expected");
    if (!config->events.file[0])
        return error_set(error, "traces are made of the event log: events.file must not be empty");
    *ret_key = "otlp.headers_file";
    return !config->otlp.headers_file || config->otlp.headers_file[0] == '/' || error_set(error, "an absolute path was expected");
}

void hooks_clear(struct config *config)
{
    for (size_t i = 0; i < config->hook_count; i++) {
        for (size_t k = 0; k < COUNT_OF(hook_keys); k++)
            value_clear(&hook_keys[k], (char *)&config->hooks[i]);
        free(config->hooks[i].name);
    }
    free(config->hooks);
    config->hooks = NULL;
    config->hook_count = 0;
}
