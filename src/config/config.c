#include "config/config.h"

#include "base/ip.h"
#include "base/mem.h"
#include "config/dkim.h"
#include "config/forms.h"
#include "config/hooks.h"
#include "config/keys.h"
#include "config/parse.h"
#include "config/replies.h"
#include "config/return_path.h"
#include "config/routes.h"
#include "config/sources.h"
#include "config/value.h"
#include "config/w3c.h"
#include "config/web.h"
#include "message/aliases.h"
#include "os/file.h"

#include <fcntl.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STANDARD_ANCHOR "/usr/share/dns/root.key" /* of Debian's dns-root-data */

struct load {
    struct config *config;
    struct buf *report;
    const char *place;   /* the file, "-o", or the environment */
    size_t mistakes;
};

static const struct config_key *key_find(struct slice name)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (slice_equals(name, slice_of(config_keys[i].name)))
            return &config_keys[i];
    return NULL;
}

static void complain(struct load *load, const char *key, const char *text)
{
    buf_printf(load->report, "%s: %s: %s\n", load->place, key, text);
    load->mistakes++;
}

static void complain_unknown(struct load *load, const char *name)
{
    char text[160];
    size_t best = SIZE_MAX;
    const char *nearest = "";
    for (size_t i = 0; i < config_key_count; i++) {
        size_t distance = value_distance(name, config_keys[i].name);
        if (distance < best) {
            best = distance;
            nearest = config_keys[i].name;
        }
    }
    (void)snprintf(text, sizeof text, "unknown key; did you mean %s?", nearest);
    complain(load, name, text);
}

/* dns.hosts { name = address }: as the list's items "name=address". */
static void set_host(struct load *load, const char *name, struct slice addresses)
{
    struct config_list *list = &load->config->dns.hosts;
    while (addresses.size) {
        struct buf item = {0};
        buf_printf(&item, "%s=", name);
        buf_append(&item, slice_trim(slice_cut(&addresses, ',')));
        list->items = mem_resize(list->items, (list->count + 1) * sizeof *list->items);
        list->items[list->count++] = buf_take(&item);
    }
}

static void set(struct load *load, const char *name, struct slice text)
{
    struct error error;
    const struct config_key *key = key_find(slice_of(name));
    if (strncmp(name, "route.", 6) == 0) {
        if (!routes_set(load->config, slice_of(name + 6), text, &error))
            complain(load, name, error.text);
    } else if (strncmp(name, "form.", 5) == 0) {
        if (!forms_set(load->config, slice_of(name + 5), text, &error))
            complain(load, name, error.text);
    } else if (strncmp(name, "hook.", 5) == 0) {
        if (!hooks_set(load->config, slice_of(name + 5), text, &error))
            complain(load, name, error.text);
    } else if (strncmp(name, "dkim.", 5) == 0) {
        if (!dkim_set(load->config, slice_of(name + 5), text, &error))
            complain(load, name, error.text);
    } else if (strncmp(name, "source.", 7) == 0) {
        if (!sources_set(load->config, slice_of(name + 7), text, &error))
            complain(load, name, error.text);
    } else if (strncmp(name, "dns.hosts.", 10) == 0)
        set_host(load, name + 10, text);
    else if (!key)
        complain_unknown(load, name);
    else if (!value_set(key, (char *)load->config, text, &error))
        complain(load, name, error.text);
}

static void on_setting(void *arg, const char *name, size_t line, struct slice text)
{
    struct load *load = arg;
    char place[4200];
    const char *file = load->place;
    (void)snprintf(place, sizeof place, "%s:%zu", file, line);
    load->place = place;
    if (slice_is_absent(text))
        complain(load, name, "given twice");
    else
        set(load, name, text);
    load->place = file;
}

static void read_file(struct load *load, const char *file)
{
    struct buf text = {0};
    struct error error;
    struct stat is;
    load->place = file;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &is) != 0 || !S_ISREG(is.st_mode))
        complain(load, "config", "can't be read: a plain file was expected");
    else if (is.st_mode & S_IWOTH)
        complain(load, "config", "writable by everybody: chmod o-w it");
    else if (!file_read(fd, CONFIG_FILE_SIZE_MAX, &text, &error)
             || !config_parse(buf_slice(&text), on_setting, NULL, load, &error))
        complain(load, "config", error.text);
    if (fd >= 0)
        close(fd);
    buf_finish(&text);
}

/* "dns.servers" is MAILROOT_DNS_SERVERS there. */
static void environment_name(const char *key, char ret_name[96])
{
    size_t size = (size_t)snprintf(ret_name, 96, "MAILROOT_");
    for (const char *c = key; *c && size + 1 < 96; c++)
        ret_name[size++] = *c == '.' ? '_' : *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    ret_name[size] = '\0';
}

static void read_variable(struct load *load, const char *variable)
{
    char name[96];
    struct slice value = slice_of(variable);
    struct slice given = slice_cut(&value, '=');
    for (size_t i = 0; i < config_key_count; i++) {
        environment_name(config_keys[i].name, name);
        if (slice_equals(given, slice_of(name))) {
            set(load, config_keys[i].name, value);
            return;
        }
    }
    char *text = slice_copy(given);
    complain(load, text, "no key of that name; MAILROOT_ and the key in capitals was expected");
    free(text);
}

static void read_environment(struct load *load)
{
    load->place = "environment";
    for (char **variable = environ; *variable; variable++)
        if (strncmp(*variable, "MAILROOT_", 9) == 0 && strncmp(*variable, "MAILROOT_CONFIG=", 16) != 0)
            read_variable(load, *variable);
}

static void read_settings(struct load *load, const char *const *settings, size_t count)
{
    load->place = "-o";
    for (size_t i = 0; i < count; i++) {
        struct slice value = slice_of(settings[i]);
        bool has_value = slice_find_byte(value, '=') > 0;
        struct slice name = slice_cut(&value, '=');
        char *key = slice_copy(name);
        if (has_value)
            set(load, key, value);
        else
            complain(load, key, "KEY=VALUE was expected");
        free(key);
    }
}

/* "127.0.0.1", "127.0.0.1:53", "::1", "[::1]", "[::1]:53". */
static bool is_address(struct slice text, bool may_have_port)
{
    uint64_t port;
    struct slice rest = text, part = text;
    bool is_bracketed = text.size && text.data[0] == '[';
    if (is_bracketed) {
        rest = slice_from(text, 1);
        part = slice_cut(&rest, ']');
        if (rest.size && rest.data[0] != ':')
            return false;
        rest = rest.size ? slice_from(rest, 1) : SLICE_NONE;
    } else if (may_have_port && slice_find_byte(text, '.') >= 0) {
        part = slice_cut(&rest, ':');
    } else {
        rest = SLICE_NONE;
    }
    if (rest.size && (!may_have_port || !slice_to_u64(rest, &port) || port == 0 || port > 65535))
        return false;
    return ip_is(part);
}

/* What only the whole list shows: items that are no addresses would be passed over later. */
static void check_addresses(struct load *load)
{
    const struct config *config = load->config;
    const struct {
        const char *key, *expected;
        const struct config_list *list;
        bool may_have_port, has_name;
    } lists[] = {
        {"dns.servers", "an address, with or without a port", &config->dns.servers, true, false},
        {"delivery.source", "an address", &config->delivery.sources, false, false},
        {"dns.hosts", "name = address", &config->dns.hosts, false, true},
    };
    load->place = config->file ? config->file : "settings";
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        for (size_t k = 0; k < lists[i].list->count; k++) {
            struct error error;
            struct slice value = slice_of(lists[i].list->items[k]);
            struct slice name = lists[i].has_name ? slice_trim(slice_cut(&value, '=')) : SLICE("-");
            if (name.size && is_address(slice_trim(value), lists[i].may_have_port))
                continue;
            (void)error_set(&error, "\"%s\": %s was expected", lists[i].list->items[k], lists[i].expected);
            complain(load, lists[i].key, error.text);
        }
}

static void on_fault(void *arg, const char *key, const char *text)
{
    complain(arg, key, text);
}

static void on_alias_fault(void *arg, size_t line, const char *text)
{
    struct load *load = arg;
    buf_printf(load->report, "%s:%zu: %s\n", load->config->local.alias_file, line, text);
    load->mistakes++;
}

static bool is_local(void *arg, struct slice domain)
{
    return config_is_local(arg, domain);
}

static void read_aliases(struct load *load)
{
    struct config *config = load->config;
    struct buf text = {0};
    struct error error;
    if (!config->local.alias_file || !config->local.alias_file[0])
        return;
    int fd = open(config->local.alias_file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        (void)error_set_errno(&error, config->local.alias_file);
    if (fd < 0 || !file_read(fd, ALIASES_SIZE_MAX, &text, &error))
        complain(load, "local.aliases", error.text);
    else
        config->aliases = aliases_parse(buf_slice(&text), is_local, config, on_alias_fault, load);
    if (fd >= 0)
        close(fd);
    buf_finish(&text);
}

static void on_reply_fault(void *arg, size_t line, const char *text)
{
    struct load *load = arg;
    buf_printf(load->report, "%s:%zu: %s\n", load->config->delivery.replies_file, line, text);
    load->mistakes++;
}

static void read_replies(struct load *load)
{
    struct config *config = load->config;
    const char *file = config->delivery.replies_file;
    struct buf text = {0};
    struct error error;
    if (file && file[0]) {
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            (void)error_set_errno(&error, file);
        if (fd < 0 || !file_read(fd, CONFIG_FILE_SIZE_MAX, &text, &error))
            complain(load, "delivery.replies", error.text);
        if (fd >= 0)
            close(fd);
    }
    config->replies = replies_create(buf_slice(&text), on_reply_fault, load);
    buf_finish(&text);
}

/* A URL may hold a password: it is not repeated. */
static void check_store(struct load *load)
{
    const struct config *config = load->config;
    bool is_url = strncmp(config->store, "postgresql://", 13) == 0 || strncmp(config->store, "postgres://", 11) == 0;
    struct error error;
    if (!is_url && strcmp(config->store, "sqlite") != 0) {
        (void)error_set(&error, "%s%s%saccepted: sqlite, postgresql://USER@HOST/DATABASE", strstr(config->store, "://") ? "" : "\"",
                        strstr(config->store, "://") ? "" : config->store, strstr(config->store, "://") ? "" : "\"; ");
        complain(load, "store", error.text);
    }
    if (config->cluster.lease_ms < 2 * config->cluster.poll_ms)
        complain(load, "cluster.lease", "at least twice cluster.poll was expected");
    if (config->node && (!*config->node || strlen(config->node) > 60))
        complain(load, "node", "a name of 1 to 60 octets was expected");
}

static void check_w3c_fields(struct load *load)
{
    const struct config_list *fields = &load->config->w3c.fields;
    for (size_t i = 0; i < fields->count; i++) {
        struct error error;
        if (w3c_field_find(slice_of(fields->items[i])) != W3C_FIELD_COUNT)
            continue;
        (void)error_set(&error, "\"%s\": a field of IIS's log was expected, as date, time, c-ip, cs-method, sc-status", fields->items[i]);
        complain(load, "w3c.fields", error.text);
    }
}

static void check_web(struct load *load)
{
    struct error error;
    const char *key;
    load->place = load->config->file ? load->config->file : "settings";
    if (!web_check(load->config, &key, &error))
        complain(load, key, error.text);
    if (!forms_check(load->config, &error))
        complain(load, "form", error.text);
    if (!hooks_check(load->config, &error))
        complain(load, "hook", error.text);
    if (!otlp_check(load->config, &key, &error))
        complain(load, key, error.text);
}

static void default_path(char **path, const char *root, const char *name)
{
    struct buf whole = {0};
    if (*path && ((*path)[0] == '/' || (*path)[0] == '\0'))
        return;
    buf_printf(&whole, "%s/%s", root, *path ? *path : name);
    free(*path);
    *path = buf_take(&whole);
}

static void default_text(char **text, const char *value)
{
    if (!*text)
        *text = mem_copy_text(value);
}

static char *machine_name(void)
{
    char name[256] = "localhost";
    struct addrinfo hints = {.ai_flags = AI_CANONNAME}, *found = NULL;
    if (gethostname(name, sizeof name - 1) != 0)
        return mem_copy_text("localhost");
    if (!strchr(name, '.') && getaddrinfo(name, NULL, &hints, &found) == 0 && found->ai_canonname)
        (void)snprintf(name, sizeof name, "%s", found->ai_canonname);
    if (found)
        freeaddrinfo(found);
    return mem_copy_text(name);
}

static void complete(struct config *config)
{
    if (config->root[0] != '/') {
        char *absolute = realpath(config->root, NULL), here[4096];
        struct buf whole = {0};
        if (!absolute && getcwd(here, sizeof here)) {
            buf_printf(&whole, "%s/%s", here, config->root);
            absolute = buf_take(&whole);
        }
        free(config->root);
        config->root = absolute ? absolute : mem_copy_text("/var/lib/mailroot");
    }
    if (!config->hostname)
        config->hostname = machine_name();
    if (strcmp(config->store, "sqlite") == 0) {
        free(config->store);
        config->store = NULL;
    }
    default_text(&config->node, config->hostname);
    default_text(&config->default_domain, config->hostname);
    default_text(&config->delivery.helo, config->hostname);
    if (!config->dns.trust_anchor && access(STANDARD_ANCHOR, R_OK) == 0) {
        config->dns.trust_anchor = mem_copy_text(STANDARD_ANCHOR);
        config->dns.is_anchor_standard = true;
    } else if (config->dns.trust_anchor && (!config->dns.trust_anchor[0] || strcmp(config->dns.trust_anchor, "none") == 0)) {
        free(config->dns.trust_anchor);
        config->dns.trust_anchor = NULL;
    }
    default_path(&config->pickup.dir, config->root, "Pickup");
    if (config->local.alias_file && config->local.alias_file[0])
        default_path(&config->local.alias_file, "/etc/mailroot", NULL);
    if (config->delivery.replies_file && config->delivery.replies_file[0])
        default_path(&config->delivery.replies_file, "/etc/mailroot", NULL);
    default_path(&config->events.file, config->root, "Log/events.jsonl");
    if (config->w3c.dir && config->w3c.dir[0])
        default_path(&config->w3c.dir, config->root, NULL);
    default_path(&config->receipts.dir, config->root, "Receipts");
    default_path(&config->web.results, config->root, "Forms");
    default_path(&config->web.token_file, config->root, "web.token");
    config->pickup.is_x_lines_anywhere = config->pickup.x_lines == 1;
    routes_complete(config);
}

struct config *config_load(const char *file, const char *const *settings, size_t setting_count,
                           struct buf *report)
{
    struct config *config = mem_alloc(sizeof *config);
    struct error error;
    struct load load = {config, report, "default", 0};
    for (size_t i = 0; i < config_key_count; i++)
        if (config_keys[i].standard)
            set(&load, config_keys[i].name, slice_of(config_keys[i].standard));
    CHECK(load.mistakes == 0);
    if (!file)
        file = getenv("MAILROOT_CONFIG");
    if (!file && access("/etc/mailroot/mailroot.conf", F_OK) == 0)
        file = "/etc/mailroot/mailroot.conf";
    if (file) {
        read_file(&load, file);
        config->file = mem_copy_text(file);
    }
    read_environment(&load);
    read_settings(&load, settings, setting_count);
    check_addresses(&load);
    check_store(&load);
    if (load.mistakes == 0) {
        complete(config);
        load.place = config->file ? config->file : "settings";
        routes_check(config, on_fault, &load);
        if (!dkim_check(config, &error))
            complain(&load, "dkim", error.text);
        if (!sources_check(config, &error))
            complain(&load, "source", error.text);
        if (!return_path_check(config, &error))
            complain(&load, "sender", error.text);
        read_aliases(&load);
        read_replies(&load);
        check_w3c_fields(&load);
    }
    check_web(&load);
    if (load.mistakes)
        config_destroy(&config);
    return config;
}

void config_destroy(struct config **config)
{
    struct config *c = *config;
    if (!c)
        return;
    for (size_t i = 0; i < config_key_count; i++)
        value_clear(&config_keys[i], (char *)c);
    routes_clear(c);
    forms_clear(c);
    hooks_clear(c);
    dkim_clear(c);
    sources_clear(c);
    aliases_destroy(&c->aliases);
    replies_destroy(&c->replies);
    free(c->file);
    free(c);
    *config = NULL;
}

void config_print_defaults(struct buf *out)
{
    for (size_t i = 0; i < config_key_count; i++)
        buf_printf(out, "# %s = \"%s\"\n", config_keys[i].name, config_keys[i].standard ? config_keys[i].standard : "");
}
