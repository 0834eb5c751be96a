/* mailroot import-powermta [config]: a PowerMTA config as ours on stdout, what became of each directive behind it as comments, or
 * with --json both as one object. */
#include "base/ip.h"
#include "cli/command.h"
#include "cli/import_report.h"
#include "config/powermta.h"
#include "config/value.h"

#include "message/address.h"

#include <stdio.h>
#include <string.h>

struct import {
    struct arena arena;
    struct powermta powermta;
    const char *root; /* of the new config, NULL: the default */
};

static const struct import_fate fates[] = {
    {"acct-file", IMPORT_NOT_NEEDED, "the event log has each attempt; webhooks and w3c.dir give other forms of it"},
    {"always-allow-relaying", IMPORT_TAKEN, "smtp.relay_networks: the block's network"},
    {"auth-password", IMPORT_NOT_SUPPORTED, "passwords are not taken over; enter them anew"},
    {"auth-username", IMPORT_NOT_SUPPORTED, "passwords are not taken over; enter them anew"},
    {"backoff-max-msg-rate", IMPORT_NOT_NEEDED, "limits follow what sites answer: delivery.tune"},
    {"backoff-notify", IMPORT_NOT_NEEDED, "each change of a limit is an event"},
    {"backoff-retry-after", IMPORT_NOT_NEEDED, "limits follow what sites answer: delivery.tune"},
    {"bounce-after", IMPORT_TAKEN, "queue.expire, or the route's"},
    {"bounce-category-patterns", IMPORT_NOT_SUPPORTED, "replies.conf gives refusals their classes"},
    {"connect-timeout", IMPORT_TAKEN, "delivery.timeouts.connect"},
    {"dkim-sign", IMPORT_NOT_NEEDED, "what has a key is signed"},
    {"domain", IMPORT_TAKEN, "delivery and queue for *, else a route"},
    {"domain-key", IMPORT_TAKEN, "a dkim section; let the relay's user read the file"},
    {"domain-macro", IMPORT_TAKEN, "a route for each of its domains"},
    {"file-format", IMPORT_NOT_NEEDED, "PowerMTA's own"},
    {"host-name", IMPORT_TAKEN, "hostname, or a source's helo"},
    {"http-access", IMPORT_NOT_SUPPORTED, "the admin page asks for a token: web.enabled, mailroot-web(5)"},
    {"http-mgmt-port", IMPORT_NOT_SUPPORTED, "the admin page: web.listen"},
    {"include", IMPORT_NOT_SUPPORTED, "import that file too and join both"},
    {"log-commands", IMPORT_NOT_NEEDED, "events tell of each step"},
    {"log-connections", IMPORT_NOT_NEEDED, "events tell of each connection"},
    {"log-data", IMPORT_NOT_NEEDED, "nothing logs content"},
    {"log-file", IMPORT_NOT_NEEDED, "events.file"},
    {"log-rotate", IMPORT_TAKEN, "events.keep"},
    {"max-message-size", IMPORT_TAKEN, "limits.message_size: the largest of all"},
    {"max-msg-per-connection", IMPORT_TAKEN, "messages_per_connection"},
    {"max-msg-rate", IMPORT_TAKEN, "rate; in a virtual-mta its source's site_rate"},
    {"max-smtp-out", IMPORT_TAKEN, "connections of a site; in a virtual-mta its source's site_connections"},
    {"mail-from-timeout", IMPORT_TAKEN, "delivery.timeouts.mail"},
    {"pickup", IMPORT_TAKEN, "pickup.dir; bad files go to Badmail in root"},
    {"postmaster", IMPORT_NOT_SUPPORTED, "bounce.copy_to can name it, for copies of notices"},
    {"process-x-envid", IMPORT_NOT_NEEDED, "the folder reads it"},
    {"process-x-job", IMPORT_NOT_NEEDED, "the folder reads and removes it"},
    {"process-x-virtual-mta", IMPORT_NOT_NEEDED, "x-virtual-mta chooses among the sources that its folder.conf or the sender allows"},
    {"queue-to", IMPORT_NOT_SUPPORTED, "domains with the same hosts share their connections by themselves"},
    {"rcpt-to-timeout", IMPORT_TAKEN, "delivery.timeouts.rcpt"},
    {"relay-domain", IMPORT_TAKEN, "smtp.domains"},
    {"require-starttls", IMPORT_TAKEN, "tls = must"},
    {"retry-after", IMPORT_TAKEN, "retry_first and the others"},
    {"route", IMPORT_TAKEN, "hosts"},
    {"run-as-root", IMPORT_NOT_NEEDED, "the relay becomes an ordinary user: user"},
    {"smtp-433-connection-timeout", IMPORT_NOT_NEEDED, "PowerMTA's own"},
    {"smtp-greeting-timeout", IMPORT_TAKEN, "delivery.timeouts.greeting"},
    {"smtp-hosts", IMPORT_TAKEN, "hosts"},
    {"smtp-listener", IMPORT_TAKEN, "smtp.listen"},
    {"smtp-pattern-list", IMPORT_NOT_SUPPORTED, "replies.conf says what refusals mean"},
    {"smtp-server-tls-certificate", IMPORT_NOT_SUPPORTED, "name it as smtp.tls_cert, where the relay's user can read it"},
    {"smtp-service", IMPORT_NOT_NEEDED, "smtp.relay_networks and smtp.deny say who may"},
    {"smtp-source-host", IMPORT_TAKEN, "a source's addresses and helo"},
    {"smtp-source-ip", IMPORT_TAKEN, "a source's addresses"},
    {"smtp-user", IMPORT_NOT_SUPPORTED, "passwords are not taken over; make them for smtp.users"},
    {"source", IMPORT_TAKEN, "smtp.relay_networks, where it allows relaying"},
    {"spool", IMPORT_NOT_NEEDED, "the queue lies in root"},
    {"sync-msg-create", IMPORT_NOT_NEEDED, "what is accepted is always durable"},
    {"sync-msg-update", IMPORT_NOT_NEEDED, "outcomes are always durable"},
    {"total-max-smtp-out", IMPORT_TAKEN, "delivery.connections"},
    {"use-starttls", IMPORT_TAKEN, "tls = may or never"},
    {"virtual-mta", IMPORT_TAKEN, "a source; in a pool: folder.conf's source = [names] takes turns"},
    {"virtual-mta-pool", IMPORT_NOT_SUPPORTED, "folder.conf: source = [names]; or senders in each of the sources"},
};

static bool is_named(struct slice name, const char *wanted)
{
    return slice_equals_nocase(name, slice_of(wanted));
}

/* The last mention in the block `name value` (absent: at the top) that itself lies in `outer value` (absent: at the top). */
static const struct powermta_directive *find(const struct import *import, struct powermta_block inner, struct slice outer, const char *name)
{
    const struct powermta_directive *found = NULL;
    for (size_t i = 0; i < import->powermta.count; i++) {
        const struct powermta_directive *item = &import->powermta.items[i];
        if (is_named(item->name, name) && slice_equals_nocase(item->inner.name, inner.name)
            && slice_equals_nocase(item->inner.value, inner.value) && slice_equals_nocase(item->outer.value, outer))
            found = item;
    }
    return found;
}

static const struct powermta_directive *find_top(const struct import *import, const char *name)
{
    return find(import, (struct powermta_block){SLICE_NONE, SLICE_NONE}, SLICE_NONE, name);
}

/* ---- values; each puts "key = value" or a remark ---- */

static void put_number(struct buf *out, const char *key, const struct powermta_directive *item)
{
    uint64_t number;
    if (!slice_to_u64(item->value, &number) || number == 0)
        import_remark(out, key, item->value, "no number or no limit: ours stays");
    else
        buf_printf(out, "%s = %llu  # line %zu\n", key, (unsigned long long)(number > 10000 ? 10000 : number), item->line);
}

/* "100/h", "20/min", "5/s" */
static void put_rate(struct buf *out, const char *key, const struct powermta_directive *item)
{
    struct slice unit = item->value, count = slice_trim(slice_cut(&unit, '/'));
    uint64_t number;
    char first = unit.size ? (char)(unit.data[0] | 0x20) : 0;
    if (!slice_to_u64(count, &number) || number == 0 || !first || !strchr("smhd", first))
        import_remark(out, key, item->value, "no rate or no limit: ours stays");
    else
        buf_printf(out, "%s = \"%llu/1%c\"  # line %zu\n", key, (unsigned long long)number, first, item->line);
}

static void put_time(struct buf *out, const char *key, const struct powermta_directive *item)
{
    int64_t ms;
    uint64_t seconds;
    if (slice_to_u64(item->value, &seconds))
        buf_printf(out, "%s = %llus  # line %zu\n", key, (unsigned long long)seconds, item->line);
    else if (value_duration(item->value, &ms))
        buf_printf(out, "%s = %.*s  # line %zu\n", key, SLICE_FMT(item->value), item->line);
    else
        import_remark(out, key, item->value, "a time as 10m or 4d12h was expected, left out");
}

/* One interval for all, or several: the last one stays. */
static void put_retries(struct buf *out, const char *prefix, const struct powermta_directive *item)
{
    static const char *const names[] = {"first", "second", "third", "subsequent"};
    struct slice rest = item->value, word = SLICE_NONE;
    int64_t ms;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct slice next = import_cut_word(&rest);
        word = next.size ? next : word;
        if (!value_duration(word, &ms)) {
            import_remark(out, "retry-after", item->value, "times as 10m were expected, left out");
            return;
        }
        buf_printf(out, "%sretry_%s = %.*s  # line %zu\n", prefix, names[i], SLICE_FMT(word), item->line);
    }
}

static bool is_yes(const struct powermta_directive *item)
{
    return item && (is_named(item->value, "yes") || is_named(item->value, "true"));
}

/* ---- a domain block ---- */

struct scope { struct powermta_block block; struct slice outer; bool is_all; }; /* all: <domain *> */

static void put_tls(const struct import *import, const struct scope *scope, struct buf *out)
{
    const struct powermta_directive *use = find(import, scope->block, scope->outer, "use-starttls");
    bool is_required = is_yes(find(import, scope->block, scope->outer, "require-starttls"));
    if (is_required || use)
        buf_printf(out, "%stls = %s\n", scope->is_all ? "delivery." : "  ", is_required ? "must" : is_yes(use) ? "may" : "never");
}

static void put_hosts(struct import *import, const struct scope *scope, struct buf *out)
{
    static const char *const names[] = {"route", "smtp-hosts"};
    struct buf hosts = {0};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct powermta_directive *item = find(import, scope->block, scope->outer, names[i]);
        struct slice rest = item ? item->value : SLICE("");
        while (rest.size) {
            struct slice word = import_cut_word(&rest);
            struct buf one = {0};
            if (import_put_host(&import->arena, &one, word))
                buf_printf(&hosts, "%s%s", hosts.size ? ", " : "", buf_text(&one));
            else
                import_remark(out, names[i], word, "a host was expected, left out");
            buf_finish(&one);
        }
    }
    if (hosts.size && scope->is_all)
        buf_printf(out, "route \"*\" { hosts = [%s] }\n", buf_text(&hosts));
    else if (hosts.size)
        buf_printf(out, "  hosts = [%s]\n", buf_text(&hosts));
    buf_finish(&hosts);
}

static void put_scope(struct import *import, const struct scope *scope, struct buf *out)
{
    static const struct {
        const char *name, *all, *route;
        void (*put)(struct buf *out, const char *key, const struct powermta_directive *item);
    } keys[] = {
        {"max-smtp-out", "delivery.connections_per_site", "  connections", put_number},
        {"max-msg-per-connection", "delivery.messages_per_connection", "  messages_per_connection", put_number},
        {"max-msg-rate", "delivery.rate", "  rate", put_rate},
        {"retry-after", "queue.", "  ", put_retries},
        {"bounce-after", "queue.expire", "  expire", put_time},
        {"connect-timeout", "delivery.timeouts.connect", NULL, put_time},
        {"smtp-greeting-timeout", "delivery.timeouts.greeting", NULL, put_time},
        {"mail-from-timeout", "delivery.timeouts.mail", NULL, put_time},
        {"rcpt-to-timeout", "delivery.timeouts.rcpt", NULL, put_time},
    };
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        const struct powermta_directive *item = find(import, scope->block, scope->outer, keys[i].name);
        const char *key = scope->is_all ? keys[i].all : keys[i].route;
        if (item && key)
            keys[i].put(out, key, item);
        else if (item)
            import_remark(out, keys[i].name, item->value, "counts for all or none here, left out");
    }
    put_tls(import, scope, out);
    put_hosts(import, scope, out);
}

/* "gmail.com", "*.gmail.com"; or the domains of a macro, "$gmail". Each as a pattern of ours. */
static void each_pattern(struct import *import, struct slice name, struct buf *out, struct buf *keys)
{
    struct slice domain, rest = name;
    bool is_macro = name.size && (name.data[0] == '$' || name.data[0] == '[');
    for (size_t i = 0; is_macro && i < import->powermta.count; i++) {
        struct slice words = import->powermta.items[i].value;
        if (!is_named(import->powermta.items[i].name, "domain-macro"))
            continue;
        struct slice macro = import_cut_word(&words), wanted = name;
        while (wanted.size && strchr("$[", wanted.data[0]))
            wanted = slice_from(wanted, 1);
        if (wanted.size && wanted.data[wanted.size - 1] == ']')
            wanted.size--;
        if (slice_equals_nocase(macro, wanted))
            rest = words;
    }
    while (rest.size) {
        struct slice word = import_cut_word(&rest);
        bool is_below = slice_starts(word, SLICE("*."));
        if (address_domain(&import->arena, is_below ? slice_from(word, 2) : word, &domain, NULL))
            buf_printf(out, "route \"%s%.*s\" {\n%s}\n", is_below ? "*." : "", SLICE_FMT(domain), buf_text(keys));
        else
            import_remark(out, "domain", word, "a domain was expected, left out");
    }
}

static void put_domains(struct import *import, struct buf *out)
{
    for (size_t i = 0; i < import->powermta.count; i++) {
        const struct powermta_directive *item = &import->powermta.items[i];
        if (!is_named(item->name, "domain") || !slice_is_absent(item->inner.name))
            continue;
        struct scope scope = {{item->name, item->value}, SLICE_NONE, slice_equals(item->value, SLICE("*"))};
        struct buf keys = {0};
        put_scope(import, &scope, &keys);
        if (scope.is_all)
            buf_append(out, buf_slice(&keys));
        else if (keys.size)
            each_pattern(import, item->value, out, &keys);
        buf_finish(&keys);
    }
}

/* ---- virtual MTAs ---- */

/* Our names of sources: small letters, digits, "-", "_". */
static struct slice clean_name(struct import *import, struct slice name)
{
    char *text = arena_text(&import->arena, name);
    for (char *c = text; *c; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_'))
            *c = '-';
    }
    return slice_of(text);
}

/* smtp-source-host ADDRESS NAME, smtp-source-ip ADDRESS */
static bool put_addresses(struct import *import, struct powermta_block block, struct buf *out)
{
    struct buf list = {0};
    struct slice helo = SLICE_NONE, domain;
    for (size_t i = 0; i < import->powermta.count; i++) {
        const struct powermta_directive *item = &import->powermta.items[i];
        bool is_host = is_named(item->name, "smtp-source-host");
        if ((!is_host && !is_named(item->name, "smtp-source-ip")) || !slice_equals_nocase(item->inner.name, block.name)
            || !slice_equals_nocase(item->inner.value, block.value))
            continue;
        struct slice rest = item->value, address = import_cut_word(&rest);
        if (!ip_is(address)) {
            import_remark(out, "smtp-source", item->value, "an address was expected, left out");
            continue;
        }
        buf_printf(&list, "%s\"%.*s\"", list.size ? ", " : "", SLICE_FMT(address));
        helo = is_host && rest.size ? import_cut_word(&rest) : helo;
    }
    const struct powermta_directive *name = find(import, block, SLICE_NONE, "host-name");
    helo = name ? name->value : helo;
    bool has_any = list.size > 0;
    if (has_any)
        buf_printf(out, "  addresses = [%s]\n", buf_text(&list));
    if (has_any && helo.size && address_domain(&import->arena, helo, &domain, NULL))
        buf_printf(out, "  helo = \"%.*s\"\n", SLICE_FMT(domain));
    buf_finish(&list);
    return has_any;
}

static void put_virtual(struct import *import, const struct powermta_directive *item, struct buf *out)
{
    struct powermta_block block = {item->name, item->value};
    struct powermta_block all = {SLICE("domain"), SLICE("*")};
    struct slice name = clean_name(import, item->value);
    struct buf keys = {0};
    if (!put_addresses(import, block, &keys)) {
        import_remark(out, "virtual-mta", item->value, "no smtp-source-host or smtp-source-ip: nothing of its own, left out");
    } else {
        const struct powermta_directive *out_max = find(import, all, item->value, "max-smtp-out");
        const struct powermta_directive *rate = find(import, all, item->value, "max-msg-rate");
        const struct powermta_directive *total = find(import, block, SLICE_NONE, "max-smtp-out");
        if (out_max)
            put_number(&keys, "  site_connections", out_max);
        if (rate)
            put_rate(&keys, "  site_rate", rate);
        if (total)
            put_number(&keys, "  connections", total);
        buf_printf(out, "source \"%.*s\" {  # a folder.conf names it, or senders = [\"domain\"] here\n%s}\n", SLICE_FMT(name), buf_text(&keys));
    }
    buf_finish(&keys);
}

/* ---- keys, listener, the rest ---- */

/* domain-key SELECTOR,DOMAIN,FILE, at the top or in a virtual MTA. */
static void put_keys(struct import *import, struct buf *out)
{
    struct buf seen = {0};
    for (size_t i = 0; i < import->powermta.count; i++) {
        const struct powermta_directive *item = &import->powermta.items[i];
        struct slice rest = item->value, selector = import_cut_word(&rest), name = import_cut_word(&rest), file = import_cut_word(&rest), domain;
        if (!is_named(item->name, "domain-key"))
            continue;
        struct slice mark = arena_printf(&import->arena, "\n%.*s\n", SLICE_FMT(name));
        if (file.size == 0 || file.data[0] != '/' || slice_find_byte(file, '"') >= 0 || !address_domain(&import->arena, name, &domain, NULL))
            import_remark(out, "domain-key", item->value, "selector,domain,/file was expected (a key for * signs nothing here), left out");
        else if (slice_find(buf_slice(&seen), mark) >= 0)
            import_remark(out, "domain-key", item->value, "a second one of that domain: add it to the list above");
        else
            buf_printf(out, "dkim \"%.*s\" { keys = [\"%.*s:%.*s\"] }  # line %zu\n", SLICE_FMT(domain), SLICE_FMT(selector), SLICE_FMT(file),
                       item->line);
        buf_append(&seen, mark);
    }
    buf_finish(&seen);
}

/* "0.0.0.0:25", "0.0.0.0/0:2525", "[::]:25", "10.0.0.1" */
static bool put_listen(struct buf *list, struct slice text)
{
    struct slice address = text, port = SLICE("25");
    size_t colon = text.size;
    uint64_t number;
    while (colon > 0 && text.data[colon - 1] != ':' && text.data[colon - 1] != ']')
        colon--;
    if (colon > 0 && text.data[colon - 1] == ':') {
        port = slice_from(text, colon);
        address = slice_first(text, colon - 1);
    }
    if (address.size > 2 && address.data[0] == '[')
        address = slice_make(address.data + 1, address.size - 2);
    address = slice_cut(&address, '/');
    if (slice_equals(address, SLICE("0")))
        address = SLICE("0.0.0.0");
    if (!ip_is(address) || !slice_to_u64(port, &number) || number == 0 || number > 65535)
        return false;
    buf_printf(list, slice_find_byte(address, ':') >= 0 ? "%s\"[%.*s]:%llu\"" : "%s\"%.*s:%llu\"", list->size ? ", " : "", SLICE_FMT(address),
               (unsigned long long)number);
    return true;
}

static void put_listener(struct import *import, struct buf *out)
{
    struct buf listen = {0}, relays = {0}, domains = {0};
    struct slice domain;
    for (size_t i = 0; i < import->powermta.count; i++) {
        const struct powermta_directive *item = &import->powermta.items[i];
        if (is_named(item->name, "smtp-listener") && !put_listen(&listen, item->value))
            import_remark(out, "smtp-listener", item->value, "address:port was expected, left out");
        if (is_named(item->name, "relay-domain")) {
            if (address_domain(&import->arena, item->value, &domain, NULL))
                buf_printf(&domains, "%s\"%.*s\"", domains.size ? ", " : "", SLICE_FMT(domain));
            else
                import_remark(out, "relay-domain", item->value, "a domain was expected, left out");
        }
        if (!is_named(item->name, "always-allow-relaying") || !is_yes(item) || !is_named(item->inner.name, "source"))
            continue;
        if (slice_equals(item->inner.value, SLICE("0/0")) || slice_equals(item->inner.value, SLICE("0.0.0.0/0")))
            import_remark(out, "source", item->inner.value, "everybody might relay: left out, name your own networks");
        else if (!import_put_network(&relays, item->inner.value))
            import_remark(out, "source", item->inner.value, "a network was expected, left out");
    }
    if (listen.size)
        buf_printf(out, "smtp {\n  listen = [%s]\n  relay_networks = [%s]\n  domains = [%s]\n}\n", buf_text(&listen), buf_text(&relays),
                   buf_text(&domains));
    buf_finish(&listen);
    buf_finish(&relays);
    buf_finish(&domains);
}

/* "10M", "500K", "10485760"; 0 and unlimited say nothing. */
static void put_size(const struct import *import, struct buf *out)
{
    uint64_t largest = 0;
    for (size_t i = 0; i < import->powermta.count; i++) {
        struct slice value = import->powermta.items[i].value;
        uint64_t octets = 0;
        char unit = value.size ? (char)(value.data[value.size - 1] | 0x20) : 0;
        uint64_t factor = unit == 'k' ? 1 << 10 : unit == 'm' ? 1 << 20 : unit == 'g' ? 1 << 30 : 1;
        if (!is_named(import->powermta.items[i].name, "max-message-size"))
            continue;
        if (factor > 1)
            value.size--;
        if (slice_to_u64(slice_trim(value), &octets) && octets < UINT64_MAX / factor && octets * factor > largest)
            largest = octets * factor;
    }
    if (largest)
        buf_printf(out, "limits.message_size = %llu  # max-message-size\n",
                   (unsigned long long)(largest > (UINT64_C(2048) << 20) ? UINT64_C(2048) << 20 : largest < 1024 ? 1024 : largest));
}

static void put_config(struct import *import, struct buf *out)
{
    const struct powermta_directive *name = find_top(import, "host-name"), *pickup = find_top(import, "pickup");
    const struct powermta_directive *keep = find_top(import, "log-rotate"), *total = find_top(import, "total-max-smtp-out");
    struct slice domain;
    buf_append_text(out, "# From a PowerMTA config. mailroot check reads it.\n\n");
    if (import->root)
        buf_printf(out, "root = \"%s\"\n", import->root);
    if (name && address_domain(&import->arena, name->value, &domain, NULL))
        buf_printf(out, "hostname = \"%.*s\"  # line %zu\n", SLICE_FMT(domain), name->line);
    if (pickup) {
        struct slice rest = pickup->value, dir = import_cut_word(&rest);
        if (dir.size && dir.data[0] == '/' && slice_find_byte(dir, '"') < 0)
            buf_printf(out, "pickup.dir = \"%.*s\"  # line %zu\n", SLICE_FMT(dir), pickup->line);
    }
    if (keep)
        put_number(out, "events.keep", keep);
    if (total)
        put_number(out, "delivery.connections", total);
    put_size(import, out);
    put_domains(import, out);
    for (size_t i = 0; i < import->powermta.count; i++)
        if (is_named(import->powermta.items[i].name, "virtual-mta") && slice_is_absent(import->powermta.items[i].inner.name))
            put_virtual(import, &import->powermta.items[i], out);
    put_keys(import, out);
    put_listener(import, out);
}

static void print_import(struct import *import, bool is_json)
{
    struct buf config = {0};
    size_t count = import->powermta.count;
    struct import_setting *settings = arena_alloc(&import->arena, (count + 1) * sizeof *settings);
    for (size_t i = 0; i < count; i++) {
        const struct powermta_directive *item = &import->powermta.items[i];
        settings[i] = (struct import_setting){item->name, item->line, import_fate_find(fates, COUNT_OF(fates), item->name)};
    }
    put_config(import, &config);
    import_print(&config, settings, count, is_json);
    buf_finish(&config);
}

int command_import_powermta(int argc, char **argv)
{
    struct command_options options;
    struct import import = {.root = NULL};
    struct error error;
    struct slice text;
    const char *path = "/etc/pmta/config";
    command_parse(&argc, argv, &options);
    int code = import_arguments(argc, argv, &import.root, NULL, &path);
    if (code != EX_OK)
        return code;
    if (!import_read(&import.arena, path, POWERMTA_SIZE_MAX, &text, &error)
        || (!powermta_parse(&import.arena, text, &import.powermta, &error) && !error_prefix(&error, "%s", path)))
        code = command_fail("import-powermta", EX_DATAERR, "%s", error.text);
    else
        print_import(&import, options.is_json);
    arena_finish(&import.arena);
    return code;
}
