#include "config/config.h"

#include "base/mem.h"
#include "config/parse.h"
#include "config/routes.h"
#include "config/value.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define AT(field) offsetof(struct config, field)
#define DAY_MS (24 * 3600 * 1000LL)
#define MB (1024 * 1024LL)

static const char *const dots_names[] = {"auto", "never", "always", NULL};
static const char *const x_lines_names[] = {"leading", "anywhere", NULL};
static const char *const tls_names[] = {"never", "may", "must", NULL};
static const char *const unknown_names[] = {"retry", "hold", NULL};
static const char *const store_names[] = {"sqlite", NULL};

static const struct config_key keys[] = {
    {"root", KEY_TEXT, AT(root), 0, 0, "/var/lib/mailroot", NULL},
    {"user", KEY_TEXT, AT(user), 0, 0, "mailroot", NULL},
    {"hostname", KEY_DOMAIN, AT(hostname), 0, 0, NULL, NULL},
    {"default_domain", KEY_DOMAIN, AT(default_domain), 0, 0, NULL, NULL},
    {"default_sender", KEY_TEXT, AT(default_sender), 0, 0, NULL, NULL},
    {"shutdown_timeout", KEY_DURATION, AT(shutdown_ms), 0, DAY_MS, "30s", NULL},
    {"store", KEY_ENUM, AT(store), 0, 0, "sqlite", store_names},
    {"pickup.dir", KEY_TEXT, AT(pickup.dir), 0, 0, NULL, NULL},
    {"pickup.scan_interval", KEY_DURATION, AT(pickup.scan_ms), 50, DAY_MS, "10s", NULL},
    {"pickup.settle", KEY_DURATION, AT(pickup.settle_ms), 0, DAY_MS, "2s", NULL},
    {"pickup.dot_stuffing", KEY_ENUM, AT(pickup.dots), 0, 0, "auto", dots_names},
    {"pickup.x_lines", KEY_ENUM, AT(pickup.x_lines), 0, 0, "anywhere", x_lines_names},
    {"pickup.batch_max", KEY_INT, AT(pickup.batch_max), 1, 512, "256", NULL},
    {"limits.message_size", KEY_SIZE, AT(limits.message_size), 1024, 2048 * MB, "50MB", NULL},
    {"limits.header_size", KEY_SIZE, AT(limits.header_size), 1024, 64 * MB, "256KB", NULL},
    {"limits.header_count", KEY_INT, AT(limits.header_count), 10, 1000000, "2000", NULL},
    {"limits.recipients", KEY_INT, AT(limits.recipients), 1, 1000000, "10000", NULL},
    {"limits.hops", KEY_INT, AT(limits.hops), 1, 1000, "100", NULL},
    {"limits.active", KEY_INT, AT(limits.active), 1, 10000000, "20000", NULL},
    {"limits.content_memory", KEY_SIZE, AT(limits.content_memory), MB, 65536 * MB, "64MB", NULL},
    {"queue.retry_first", KEY_DURATION, AT(queue.schedule.retry_ms[0]), 10, 30 * DAY_MS, "5m", NULL},
    {"queue.retry_second", KEY_DURATION, AT(queue.schedule.retry_ms[1]), 10, 30 * DAY_MS, "15m", NULL},
    {"queue.retry_third", KEY_DURATION, AT(queue.schedule.retry_ms[2]), 10, 30 * DAY_MS, "30m", NULL},
    {"queue.retry_subsequent", KEY_DURATION, AT(queue.schedule.retry_ms[3]), 10, 30 * DAY_MS, "1h", NULL},
    {"queue.delay_notice", KEY_DURATION, AT(queue.schedule.delay_notice_ms), 0, 30 * DAY_MS, "4h", NULL},
    {"queue.expire", KEY_DURATION, AT(queue.schedule.expire_ms), 10, 30 * DAY_MS, "4d", NULL},
    {"queue.null_sender_expire", KEY_DURATION, AT(queue.null_expire_ms), 10, 30 * DAY_MS, "1d", NULL},
    {"queue.jitter", KEY_INT, AT(queue.schedule.jitter_percent), 0, 50, "10", NULL},
    {"queue.answer_unknown", KEY_ENUM, AT(queue.unknown), 0, 0, "retry", unknown_names},
    {"dns.servers", KEY_LIST, AT(dns.servers), 0, 0, NULL, NULL},
    {"dns.timeout", KEY_DURATION, AT(dns.timeout_ms), 100, DAY_MS, "20s", NULL},
    {"dns.allow_private", KEY_BOOL, AT(dns.is_private_allowed), 0, 0, "false", NULL},
    {"dns.ipv6", KEY_BOOL, AT(dns.is_ipv6), 0, 0, "true", NULL},
    {"dns.ipv4", KEY_BOOL, AT(dns.is_ipv4), 0, 0, "true", NULL},
    {"dns.trust_anchor", KEY_TEXT, AT(dns.trust_anchor), 0, 0, NULL, NULL},
    {"dns.hosts", KEY_LIST, AT(dns.hosts), 0, 0, NULL, NULL},
    {"delivery.port", KEY_INT, AT(delivery.port), 1, 65535, "25", NULL},
    {"delivery.connections", KEY_INT, AT(delivery.connections_max), 1, 100000, "1000", NULL},
    {"delivery.connections_per_site", KEY_INT, AT(delivery.connections_per_site), 1, 10000, "20", NULL},
    {"delivery.messages_per_connection", KEY_INT, AT(delivery.messages_per_connection), 1, 10000000, "1000", NULL},
    {"delivery.recipients_per_message", KEY_INT, AT(delivery.recipients_per_message), 1, 10000, "100", NULL},
    {"delivery.source", KEY_LIST, AT(delivery.sources), 0, 0, NULL, NULL},
    {"delivery.helo", KEY_DOMAIN, AT(delivery.helo), 0, 0, NULL, NULL},
    {"delivery.tls", KEY_ENUM, AT(delivery.tls), 0, 0, "may", tls_names},
    {"delivery.chunking", KEY_BOOL, AT(delivery.is_chunking), 0, 0, "true", NULL},
    {"delivery.pipelining", KEY_BOOL, AT(delivery.is_pipelining), 0, 0, "true", NULL},
    {"delivery.rate", KEY_RATE, AT(delivery.rate_interval_ms), 0, 0, NULL, NULL},
    {"delivery.idle_timeout", KEY_DURATION, AT(delivery.idle_ms), 0, DAY_MS, "5s", NULL},
    {"delivery.timeouts.connect", KEY_DURATION, AT(delivery.timeout_ms.connect), 100, DAY_MS, "30s", NULL},
    {"delivery.timeouts.greeting", KEY_DURATION, AT(delivery.timeout_ms.greeting), 1000, DAY_MS, "5m", NULL},
    {"delivery.timeouts.ehlo", KEY_DURATION, AT(delivery.timeout_ms.ehlo), 1000, DAY_MS, "5m", NULL},
    {"delivery.timeouts.mail", KEY_DURATION, AT(delivery.timeout_ms.mail), 1000, DAY_MS, "5m", NULL},
    {"delivery.timeouts.rcpt", KEY_DURATION, AT(delivery.timeout_ms.rcpt), 1000, DAY_MS, "5m", NULL},
    {"delivery.timeouts.data", KEY_DURATION, AT(delivery.timeout_ms.data), 1000, DAY_MS, "2m", NULL},
    {"delivery.timeouts.block", KEY_DURATION, AT(delivery.timeout_ms.block), 1000, DAY_MS, "3m", NULL},
    {"delivery.timeouts.final", KEY_DURATION, AT(delivery.timeout_ms.final), 1000, DAY_MS, "10m", NULL},
    {"delivery.timeouts.quit", KEY_DURATION, AT(delivery.timeout_ms.quit), 1000, DAY_MS, "30s", NULL},
    {"delivery.timeouts.tls", KEY_DURATION, AT(delivery.timeout_ms.tls), 1000, DAY_MS, "1m", NULL},
    {"bounce.copy_to", KEY_TEXT, AT(bounce.copy_to), 0, 0, NULL, NULL},
    {"bounce.from", KEY_TEXT, AT(bounce.from), 0, 0, NULL, NULL},
    {"bounce.returned_size", KEY_SIZE, AT(bounce.returned_size), 0, 100 * MB, "50KB", NULL},
    {"events.file", KEY_TEXT, AT(events.file), 0, 0, "Log/events.jsonl", NULL},
    {"events.stdout", KEY_BOOL, AT(events.is_stdout), 0, 0, "false", NULL},
    {"events.rotate_size", KEY_SIZE, AT(events.rotate_size), 0, 1024 * 1024 * MB, "100MB", NULL},
    {"events.keep", KEY_INT, AT(events.keep), 1, 1000, "10", NULL},
    {"receipts.enabled", KEY_BOOL, AT(receipts.is_on), 0, 0, "false", NULL},
    {"receipts.dir", KEY_TEXT, AT(receipts.dir), 0, 0, NULL, NULL},
};

struct load {
    struct config *config;
    struct buf *report;
    const char *place;   /* the file, "-o", or the environment */
    size_t mistakes;
};

static const struct config_key *key_find(struct slice name)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (slice_equals(name, slice_of(keys[i].name)))
            return &keys[i];
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
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        size_t distance = value_distance(name, keys[i].name);
        if (distance < best) {
            best = distance;
            nearest = keys[i].name;
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
             || !config_parse(buf_slice(&text), on_setting, load, &error))
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
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        environment_name(keys[i].name, name);
        if (slice_equals(given, slice_of(name))) {
            set(load, keys[i].name, value);
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
    char ip[64];
    uint64_t port;
    unsigned char binary[16];
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
    if (part.size >= sizeof ip)
        return false;
    memcpy(ip, part.data, part.size);
    ip[part.size] = '\0';
    return inet_pton(AF_INET, ip, binary) == 1 || inet_pton(AF_INET6, ip, binary) == 1;
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
    default_text(&config->default_domain, config->hostname);
    default_text(&config->delivery.helo, config->hostname);
    default_path(&config->pickup.dir, config->root, "Pickup");
    default_path(&config->events.file, config->root, "Log/events.jsonl");
    default_path(&config->receipts.dir, config->root, "Receipts");
    config->pickup.is_x_lines_anywhere = config->pickup.x_lines == 1;
    routes_complete(config);
}

struct config *config_load(const char *file, const char *const *settings, size_t setting_count,
                           struct buf *report)
{
    struct config *config = mem_alloc(sizeof *config);
    struct load load = {config, report, "default", 0};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (keys[i].standard)
            set(&load, keys[i].name, slice_of(keys[i].standard));
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
    if (load.mistakes)
        config_destroy(&config);
    else
        complete(config);
    return config;
}

void config_destroy(struct config **config)
{
    struct config *c = *config;
    if (!c)
        return;
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        value_clear(&keys[i], (char *)c);
    routes_clear(c);
    free(c->file);
    free(c);
    *config = NULL;
}

void config_print_defaults(struct buf *out)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        buf_printf(out, "# %s = \"%s\"\n", keys[i].name, keys[i].standard ? keys[i].standard : "");
}
