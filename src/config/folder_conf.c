#include "config/folder_conf.h"

#include "base/mem.h"
#include "config/parse.h"
#include "config/keys.h"
#include "config/value.h"

#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define AT(field) offsetof(struct folder_conf, field)
#define OWNER_AT(field) offsetof(struct folder_owner, field)
#define DAY_MS (24 * 3600 * 1000LL)

static const char *const priority_names[] = {"low", "normal", "high", NULL};
static const char *const bool_names[] = {"false", "true", NULL};

static const struct config_key folder_keys[] = {
    {"senders", KEY_LIST, AT(senders), 0, 0, NULL, NULL},
    {"from", KEY_LIST, AT(from), 0, 0, NULL, NULL},
    {"default_sender", KEY_TEXT, AT(default_sender), 0, 0, NULL, NULL},
    {"route", KEY_TEXT, AT(route), 0, 0, NULL, NULL},
    {"source", KEY_LIST, AT(sources), 0, 0, NULL, NULL},
    {"dkim", KEY_LIST, AT(dkim), 0, 0, NULL, NULL},
    {"rate", KEY_RATE, AT(rates), 0, 0, NULL, NULL},
    {"quota", KEY_TEXT, AT(quota_text), 0, 0, NULL, NULL},
    {"window", KEY_TEXT, AT(window_text), 0, 0, NULL, NULL},
    {"priority", KEY_ENUM, AT(priority), 0, 0, NULL, priority_names},
    {"hold", KEY_BOOL, AT(is_held), 0, 0, NULL, NULL},
    {"archive", KEY_TEXT, AT(archive), 0, 0, NULL, NULL},
    {"receipts", KEY_ENUM, AT(receipts), 0, 0, NULL, bool_names},
    {"dialect", KEY_ENUM, AT(dialect), 0, 0, NULL, config_dialect_names},
    {"dot_stuffing", KEY_ENUM, AT(dots), 0, 0, NULL, config_dots_names},
    {"once", KEY_ENUM, AT(once), 0, 0, NULL, config_once_names},
    {"once_window", KEY_DURATION, AT(once_ms), 1000, 400 * DAY_MS, NULL, NULL},
};

static const struct config_key owner_keys[] = {
    {"senders", KEY_LIST, OWNER_AT(senders), 0, 0, NULL, NULL},
    {"default_sender", KEY_TEXT, OWNER_AT(default_sender), 0, 0, NULL, NULL},
    {"quota", KEY_TEXT, OWNER_AT(quota_text), 0, 0, NULL, NULL},
};

static const struct folder_conf unset = {.priority = -1, .receipts = -1, .dialect = -1, .dots = -1, .once = -1};

struct reading {
    struct folder_conf *conf;
    struct buf *report;
    size_t line;
    size_t mistakes;
};

static void complain(struct reading *reading, const char *key, const char *text)
{
    buf_printf(reading->report, "%s:%zu: %s: %s\n", reading->conf->file, reading->line, key, text);
    reading->mistakes++;
}

static const struct config_key *key_find(const struct config_key *keys, size_t count, const char *name, struct error *error)
{
    size_t best = SIZE_MAX;
    const struct config_key *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t distance = value_distance(name, keys[i].name);
        if (distance < best) {
            best = distance;
            nearest = &keys[i];
        }
    }
    if (best == 0)
        return nearest;
    (void)error_set(error, "unknown key; did you mean %s?", nearest->name);
    return NULL;
}

/* ---- values that are more than their type ---- */

/* K1: the pattern as it is compared: domains as A-labels. */
static bool pattern_clean(char **item, struct error *error)
{
    struct slice text = slice_of(*item), domain = SLICE_NONE;
    struct arena arena = {0};
    struct buf clean = {0};
    if (slice_equals(text, SLICE("*")) || slice_equals(text, SLICE("<>")))
        return true;
    for (size_t i = text.size; i > 0 && slice_is_absent(domain); i--)
        if (text.data[i - 1] == '@')
            domain = slice_from(text, i);
    if (slice_is_absent(domain))
        return error_set(error, "\"%s\": an address was expected, or *@domain, *@*.domain, \"*\" or \"<>\"", *item);
    struct slice local = slice_first(text, (size_t)(domain.data - text.data) - 1);
    buf_printf(&clean, "%.*s@", SLICE_FMT(local.size ? local : SLICE("*")));
    if (slice_starts(domain, SLICE("*."))) {
        buf_append_text(&clean, "*.");
        domain = slice_from(domain, 2);
    }
    bool is_fine = slice_equals(domain, SLICE("*")) || address_domain(&arena, domain, &domain, error);
    buf_append(&clean, domain);
    arena_finish(&arena);
    if (is_fine) {
        free(*item);
        *item = buf_take(&clean);
    }
    buf_finish(&clean);
    return is_fine;
}

static bool patterns_clean(struct config_list *list, struct error *error)
{
    if (list->count == 0)
        return error_set(error, "at least one address was expected: an empty list would forbid everything");
    for (size_t i = 0; i < list->count; i++)
        if (!pattern_clean(&list->items[i], error))
            return false;
    return true;
}

static bool is_mailbox(const char *text, struct error *error)
{
    struct arena arena = {0};
    struct address address;
    bool is_fine = address_parse(&arena, slice_of(text), &address, error)
                   && (address.domain.size || error_set(error, "\"%s\": an address with a domain was expected", text));
    arena_finish(&arena);
    return is_fine;
}

static bool quota_parse(const char *text, struct folder_quota *ret_quota, struct error *error)
{
    struct slice rest = slice_of(text);
    if (slice_to_u64(slice_cut(&rest, '/'), &ret_quota->count) && ret_quota->count && value_duration(rest, &ret_quota->per_ms)
        && ret_quota->per_ms >= 1000)
        return true;
    return error_set(error, "\"%s\": messages/duration was expected, as in \"500/1d\"", text);
}

/* Messages at even distances keep all of the rates. */
static int64_t interval_of(const struct config_rates *rates)
{
    int64_t interval_ms = 0;
    for (size_t i = 0; i < rates->count; i++) {
        int64_t one_ms = rates->items[i].span_ms / rates->items[i].count;
        interval_ms = one_ms > interval_ms ? one_ms : interval_ms;
    }
    return rates->count && interval_ms == 0 ? 1 : interval_ms;
}

static bool route_check(const char *text, struct error *error)
{
    struct slice host = slice_of(text), port = SLICE_NONE;
    struct arena arena = {0};
    struct slice domain;
    uint64_t number = 25;
    ptrdiff_t close = slice_find_byte(host, ']');
    size_t end = close >= 0 ? (size_t)close + 1 : host.size;
    for (size_t i = host.size; close < 0 && i > 0; i--)
        if (host.data[i - 1] == ':')
            end = i - 1;
    if (end < host.size)
        port = slice_from(host, end + 1);
    host = slice_first(host, end);
    bool is_fine = host.size && (slice_is_absent(port) || (slice_to_u64(port, &number) && number && number < 65536))
                   && (close >= 0 ? host.data[0] == '[' : address_domain(&arena, host, &domain, NULL));
    arena_finish(&arena);
    return is_fine || error_set(error, "\"%s\": host, host:port or [address]:port was expected", text);
}

static bool folder_value_check(struct reading *reading, const struct config_key *key, struct error *error)
{
    struct folder_conf *conf = reading->conf;
    switch (key->offset) {
    case AT(senders):
        conf->senders_line = reading->line;
        return patterns_clean(&conf->senders, error);
    case AT(from):
        conf->from_line = reading->line;
        return patterns_clean(&conf->from, error);
    case AT(default_sender):
        return is_mailbox(conf->default_sender, error);
    case AT(archive):
        return is_mailbox(conf->archive, error);
    case AT(route):
        return route_check(conf->route, error);
    case AT(rates):
        conf->rate_interval_ms = interval_of(&conf->rates);
        return true;
    case AT(window_text):
        return window_parse(slice_of(conf->window_text), &conf->window, error);
    case AT(quota_text):
        conf->quota_line = reading->line;
        return quota_parse(conf->quota_text, &conf->quota, error);
    default:
        return true;
    }
}

static bool owner_value_check(const struct reading *reading, struct folder_owner *owner, const struct config_key *key,
                              struct error *error)
{
    switch (key->offset) {
    case OWNER_AT(senders):
        owner->senders_line = reading->line;
        return patterns_clean(&owner->senders, error);
    case OWNER_AT(default_sender):
        return is_mailbox(owner->default_sender, error);
    default:
        return quota_parse(owner->quota_text, &owner->quota, error);
    }
}

/* ---- sections ---- */

/* A name of the system's, or a number (containers have uids without names). */
static bool owner_number(const char *name, bool is_group, unsigned *ret_number, struct error *error)
{
    uint64_t number;
    if (slice_to_u64(slice_of(name), &number) && number < UINT32_MAX) {
        *ret_number = (unsigned)number;
        return true;
    }
    char texts[16384];
    struct passwd user, *found_user = NULL;
    struct group group, *found_group = NULL;
    if (is_group)
        (void)getgrnam_r(name, &group, texts, sizeof texts, &found_group);
    else
        (void)getpwnam_r(name, &user, texts, sizeof texts, &found_user);
    if (!found_user && !found_group)
        return error_set(error, "there is no %s \"%s\"; a name of this system or a number was expected", is_group ? "group" : "user",
                         name);
    *ret_number = is_group ? found_group->gr_gid : found_user->pw_uid;
    return true;
}

static struct folder_owner *owner_get(struct reading *reading, bool is_group, struct slice name, struct error *error)
{
    struct folder_conf *conf = reading->conf;
    for (size_t i = 0; i < conf->owner_count; i++)
        if (conf->owners[i].is_group == is_group && slice_equals(slice_of(conf->owners[i].name), name))
            return &conf->owners[i];
    struct folder_owner owner = {.name = slice_copy(name), .is_group = is_group, .line = reading->line};
    if (!owner_number(owner.name, is_group, &owner.number, error)) {
        free(owner.name);
        return NULL;
    }
    conf->owners = mem_resize(conf->owners, (conf->owner_count + 1) * sizeof *conf->owners);
    conf->owners[conf->owner_count] = owner;
    return &conf->owners[conf->owner_count++];
}

/* `name` is what stands behind "owner." or "group.": the name, ".", key. */
static bool owner_set(struct reading *reading, bool is_group, struct slice name, struct slice text, struct error *error)
{
    struct slice word = slice_cut_last(&name, '.');
    if (name.size == 0)
        return error_set(error, "%s \"name\" { senders = […]; quota = \"…\" } was expected", is_group ? "group" : "owner");
    const struct config_key *key = key_find(owner_keys, COUNT_OF(owner_keys), word.data, error);
    struct folder_owner *owner = key ? owner_get(reading, is_group, name, error) : NULL;
    return owner && value_set(key, (char *)owner, text, error) && owner_value_check(reading, owner, key, error);
}

static void on_setting(void *arg, const char *name, size_t line, struct slice text)
{
    struct reading *reading = arg;
    struct error error;
    bool is_fine = true;
    reading->line = line;
    if (slice_is_absent(text)) {
        is_fine = error_set(&error, "given twice");
    } else if (strncmp(name, "owner.", 6) == 0 || strncmp(name, "group.", 6) == 0) {
        is_fine = owner_set(reading, name[0] == 'g', slice_of(name + 6), text, &error);
    } else {
        const struct config_key *key = key_find(folder_keys, COUNT_OF(folder_keys), name, &error);
        is_fine = key && value_set(key, (char *)reading->conf, text, &error) && folder_value_check(reading, key, &error);
    }
    if (!is_fine)
        complain(reading, name, error.text);
}

static void on_section(void *arg, const char *name, size_t line)
{
    struct reading *reading = arg;
    struct error error;
    bool is_owner = strncmp(name, "owner.", 6) == 0 || strncmp(name, "group.", 6) == 0;
    reading->line = line;
    if (!is_owner)
        (void)error_set(&error, "unknown section; owner \"name\" { … } and group \"name\" { … } are known");
    if (!is_owner || !owner_get(reading, name[0] == 'g', slice_of(name + 6), &error))
        complain(reading, name, error.text);
}

/* ---- life ---- */

struct folder_conf *folder_conf_parse(const char *name, const char *file, struct slice text, struct buf *report)
{
    struct folder_conf *conf = mem_alloc(sizeof *conf);
    struct reading reading = {.conf = conf, .report = report};
    struct error error;
    *conf = unset;
    conf->name = mem_copy_text(name);
    conf->file = mem_copy_text(file);
    if (!config_parse(text, on_setting, on_section, &reading, &error)) {
        buf_printf(report, "%s: %s\n", file, error.text);
        reading.mistakes++;
    }
    if (reading.mistakes)
        folder_conf_destroy(&conf);
    return conf;
}

void folder_conf_destroy(struct folder_conf **conf)
{
    struct folder_conf *c = *conf;
    if (!c)
        return;
    for (size_t i = 0; i < COUNT_OF(folder_keys); i++)
        value_clear(&folder_keys[i], (char *)c);
    for (size_t i = 0; i < c->owner_count; i++) {
        for (size_t k = 0; k < COUNT_OF(owner_keys); k++)
            value_clear(&owner_keys[k], (char *)&c->owners[i]);
        free(c->owners[i].name);
    }
    free(c->owners);
    free(c->name);
    free(c->file);
    free(c);
    *conf = NULL;
}

bool folder_conf_is_name(const char *name)
{
    size_t size = strlen(name);
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_' || *c == '-' || *c == '.'))
            return false;
    return size > 0 && size <= FOLDER_CONF_NAME_MAX && name[0] != '.' && name[0] != '-';
}

/* ---- patterns ---- */

/* "*" stands for any octets; ASCII case doesn't count. Linear but for the last "*", which is tried at each place. */
static bool fits(struct slice pattern, struct slice text)
{
    size_t star = SIZE_MAX, mark = 0, p = 0, t = 0;
    while (t < text.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            mark = t;
        } else if (p < pattern.size && slice_equals_nocase(slice_make(pattern.data + p, 1), slice_make(text.data + t, 1))) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*')
        p++;
    return p == pattern.size;
}

bool folder_conf_allows(const struct config_list *patterns, const struct address *address)
{
    for (size_t i = 0; i < patterns->count; i++) {
        struct slice pattern = slice_of(patterns->items[i]);
        if (slice_equals(pattern, SLICE("*")))
            return true;
        if (slice_equals(pattern, SLICE("<>"))) {
            if (address->text.size == 0)
                return true;
            continue;
        }
        size_t at = pattern.size;
        while (at > 0 && pattern.data[at - 1] != '@')
            at--;
        if (address->text.size && at && fits(slice_first(pattern, at - 1), address->local)
            && fits(slice_from(pattern, at), address->domain))
            return true;
    }
    return false;
}
