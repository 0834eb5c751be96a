/* mailroot import-postfix [main.cf]: Postfix's settings as a config on stdout, what became of each parameter behind it as
 * comments, or with --json both as one object. */
#include "base/ip.h"
#include "cli/command.h"
#include "cli/import_report.h"
#include "config/postfix.h"

#include "message/address.h"

#include <stdio.h>
#include <string.h>

struct import {
    struct arena arena;
    struct postfix postfix;
    const char *root;    /* of the new config, NULL: the default */
    const char *secrets; /* folder of passwords, NULL: they are not taken over */
};

static const struct import_fate fates[] = {
    {"alias_maps", IMPORT_NOT_SUPPORTED, "a file of aliases can be named as local.aliases"},
    {"biff", IMPORT_NOT_NEEDED, "nobody is told by comsat"},
    {"bounce_queue_lifetime", IMPORT_TAKEN, "queue.null_sender_expire"},
    {"compatibility_level", IMPORT_NOT_NEEDED, "Postfix's own"},
    {"default_destination_concurrency_limit", IMPORT_TAKEN, "delivery.connections_per_site"},
    {"delay_warning_time", IMPORT_TAKEN, "queue.delay_notice"},
    {"hopcount_limit", IMPORT_TAKEN, "limits.hops"},
    {"inet_interfaces", IMPORT_TAKEN, "smtp.listen, port 25: master.cf's other services are not read"},
    {"inet_protocols", IMPORT_TAKEN, "dns.ipv4, dns.ipv6"},
    {"mailbox_size_limit", IMPORT_NOT_NEEDED, "no mailboxes but Drop and Maildir"},
    {"maximal_backoff_time", IMPORT_TAKEN, "queue.retry_subsequent"},
    {"maximal_queue_lifetime", IMPORT_TAKEN, "queue.expire"},
    {"message_size_limit", IMPORT_TAKEN, "limits.message_size"},
    {"minimal_backoff_time", IMPORT_TAKEN, "queue.retry_first"},
    {"mydestination", IMPORT_NOT_SUPPORTED, "no mailboxes: local.domains would put their mail in Drop, a route in a Maildir or to LMTP"},
    {"mydomain", IMPORT_NOT_NEEDED, "expanded where it is used"},
    {"myhostname", IMPORT_TAKEN, "hostname"},
    {"mynetworks", IMPORT_TAKEN, "smtp.relay_networks"},
    {"myorigin", IMPORT_TAKEN, "default_domain"},
    {"readme_directory", IMPORT_NOT_NEEDED, "Postfix's own"},
    {"relayhost", IMPORT_TAKEN, "route \"*\""},
    {"smtp_bind_address", IMPORT_TAKEN, "delivery.source"},
    {"smtp_bind_address6", IMPORT_TAKEN, "delivery.source"},
    {"smtp_destination_concurrency_limit", IMPORT_TAKEN, "delivery.connections_per_site"},
    {"smtp_destination_recipient_limit", IMPORT_TAKEN, "delivery.recipients_per_message"},
    {"smtp_helo_name", IMPORT_TAKEN, "delivery.helo"},
    {"smtp_sasl_auth_enable", IMPORT_TAKEN, "a route's user"},
    {"smtp_sasl_mechanism_filter", IMPORT_NOT_SUPPORTED, "the strongest mechanism is taken; auth_mechanisms names those that may be"},
    {"smtp_sasl_password_maps", IMPORT_TAKEN, "a route's user and password_file; with --secrets DIR"},
    {"smtp_sasl_security_options", IMPORT_NOT_NEEDED, "no password is sent in the clear"},
    {"smtp_sasl_tls_security_options", IMPORT_NOT_NEEDED, "the strongest mechanism is taken"},
    {"smtp_tls_CAfile", IMPORT_TAKEN, "delivery.tls_ca_file"},
    {"smtp_tls_cert_file", IMPORT_TAKEN, "delivery.tls_certificate"},
    {"smtp_tls_fingerprint_cert_match", IMPORT_TAKEN, "delivery.fingerprints"},
    {"smtp_tls_fingerprint_digest", IMPORT_NOT_NEEDED, "fingerprints are SHA-256"},
    {"smtp_tls_key_file", IMPORT_TAKEN, "delivery.tls_key"},
    {"smtp_tls_security_level", IMPORT_TAKEN, "delivery.tls"},
    {"smtp_tls_wrappermode", IMPORT_TAKEN, "a route's implicit_tls"},
    {"smtp_tls_session_cache_database", IMPORT_NOT_NEEDED, "sessions are kept in memory"},
    {"smtpd_banner", IMPORT_NOT_SUPPORTED, "the greeting names the host, nothing else"},
    {"smtpd_client_connection_count_limit", IMPORT_TAKEN, "smtp.connections_per_client"},
    {"smtpd_relay_restrictions", IMPORT_NOT_SUPPORTED, "smtp.relay_networks, smtp.users and smtp.domains say who may relay"},
    {"smtpd_recipient_restrictions", IMPORT_NOT_SUPPORTED, "smtp.relay_networks, smtp.users and smtp.domains say who may relay"},
    {"smtpd_tls_cert_file", IMPORT_NOT_SUPPORTED, "name it as smtp.tls_cert, where the relay's user can read it"},
    {"smtpd_tls_key_file", IMPORT_NOT_SUPPORTED, "name it as smtp.tls_key, where the relay's user can read it"},
    {"transport_maps", IMPORT_TAKEN, "a route for each domain of the text files"},
};

static struct slice value_of(struct import *import, const char *name)
{
    return postfix_value(&import->arena, &import->postfix, slice_of(name));
}

static bool put_domain(struct import *import, struct buf *out, const char *name, const char *key)
{
    struct slice value = value_of(import, name), domain;
    struct error error;
    if (value.size == 0)
        return false;
    if (!address_domain(&import->arena, value, &domain, &error)) {
        import_remark(out, name, value, "a domain was expected, left out");
        return false;
    }
    buf_printf(out, "%s = \"%.*s\"  # %s\n", key, SLICE_FMT(domain), name);
    return true;
}

static bool put_number(struct import *import, struct buf *out, const char *name, const char *key, uint64_t most)
{
    struct slice value = value_of(import, name);
    uint64_t n;
    if (value.size == 0)
        return false;
    if (!slice_to_u64(value, &n) || n == 0)
        import_remark(out, name, value, "no number or no limit: ours stays");
    else
        buf_printf(out, "%s = %llu  # %s\n", key, (unsigned long long)(n > most ? most : n), name);
    return true;
}

/* postconf(5): a number and s, m, h, d or w; each parameter has a unit of its own where none stands. */
static void put_time(struct import *import, struct buf *out, const char *name, const char *key, char unit)
{
    static const struct { char unit; uint64_t seconds; } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    struct slice value = value_of(import, name), digits = value;
    uint64_t n, seconds = 0;
    if (value.size == 0)
        return;
    if (value.data[value.size - 1] > '9') {
        unit = (char)(value.data[value.size - 1] | 0x20);
        digits.size--;
    }
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (units[i].unit == unit)
            seconds = units[i].seconds;
    if (!slice_to_u64(digits, &n) || seconds == 0 || n > 30 * 86400 / seconds || (n == 0 && strcmp(key, "queue.delay_notice") != 0))
        import_remark(out, name, value, "a time of up to 30 days was expected, left out");
    else
        buf_printf(out, "%s = %llus  # %s\n", key, (unsigned long long)n * seconds, name);
}

static void put_listener(struct import *import, struct buf *out)
{
    struct slice rest = value_of(import, "inet_interfaces"), networks = value_of(import, "mynetworks"), all = rest;
    struct buf list = {0}, relays = {0};
    buf_append_text(out, "\nsmtp {\n");
    if (rest.size == 0 || slice_equals(rest, SLICE("all")))
        buf_append_text(&list, "\"0.0.0.0:25\", \"[::]:25\"");
    else if (slice_equals(rest, SLICE("loopback-only")))
        buf_append_text(&list, "\"127.0.0.1:25\", \"[::1]:25\"");
    while (list.size == 0 || (rest.size && !slice_equals(all, SLICE("all")) && !slice_equals(all, SLICE("loopback-only")))) {
        struct slice word = import_cut_word(&rest);
        if (ip_is(word))
            buf_printf(&list, slice_find_byte(word, ':') >= 0 ? "%s\"[%.*s]:25\"" : "%s\"%.*s:25\"", list.size ? ", " : "", SLICE_FMT(word));
        else if (slice_equals(word, SLICE("localhost")))
            buf_printf(&list, "%s\"127.0.0.1:25\"", list.size ? ", " : "");
        else if (word.size)
            import_remark(out, "inet_interfaces", word, "an address was expected, left out");
        if (rest.size == 0)
            break;
    }
    if (list.size)
        buf_printf(out, "  listen = [%s]  # inet_interfaces\n", buf_text(&list));
    while (networks.size) {
        struct slice word = import_cut_word(&networks);
        if (!import_put_network(&relays, word))
            import_remark(out, "mynetworks", word, "a network was expected, left out");
    }
    if (relays.size)
        buf_printf(out, "  relay_networks = [%s]  # mynetworks\n", buf_text(&relays));
    buf_append_text(out, "  ");
    if (!put_number(import, out, "smtpd_client_connection_count_limit", "connections_per_client", 10000))
        buf_append_byte(out, '\n');
    buf_append_text(out, "}\n");
    buf_finish(&list);
    buf_finish(&relays);
}

/* A list's items of those that are SHA-256; false if there is none. */
static bool put_fingerprints(struct import *import, struct buf *list)
{
    struct slice rest = value_of(import, "smtp_tls_fingerprint_cert_match");
    while (rest.size) {
        struct slice word = import_cut_word(&rest);
        size_t digits = 0, others = 0;
        for (size_t i = 0; i < word.size; i++) {
            digits += strchr("0123456789abcdefABCDEF", word.data[i]) != NULL;
            others += word.data[i] == ':';
        }
        if (digits == 64 && digits + others == word.size)
            buf_printf(list, "%s\"%.*s\"", list->size ? ", " : "", SLICE_FMT(word));
    }
    return list->size > 0;
}

static void put_path(struct import *import, struct buf *out, const char *name, const char *key)
{
    struct slice value = value_of(import, name);
    char *path = arena_text(&import->arena, value);
    if (value.size == 0)
        return;
    if (import_is_folder(path))
        buf_printf(out, "%s = \"%s\"  # %s\n", key, path, name);
    else
        import_remark(out, name, value, "an absolute path was expected, left out");
}

static void put_tls(struct import *import, struct buf *out)
{
    static const struct { const char *level, *ours, *words; } levels[] = {
        {"none", "never", ""}, {"may", "may", ""}, {"encrypt", "must", ""}, {"dane", "may", ": DANE counts where it is published"},
        {"dane-only", "must", ": encrypted, not DANE alone"}, {"verify", "verify", ""}, {"secure", "verify", ": the host's own name is verified"},
    };
    struct buf fingerprints = {0};
    struct slice value = value_of(import, "smtp_tls_security_level");
    bool is_known = value.size == 0, is_fingerprint = slice_equals(value, SLICE("fingerprint"));
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        if (!slice_equals(value, slice_of(levels[i].level)))
            continue;
        buf_printf(out, "delivery.tls = %s  # smtp_tls_security_level = %s%s\n", levels[i].ours, levels[i].level, levels[i].words);
        is_known = true;
    }
    if (is_fingerprint && put_fingerprints(import, &fingerprints))
        buf_printf(out, "delivery.tls = fingerprint  # smtp_tls_security_level\ndelivery.fingerprints = [%s]\n", buf_text(&fingerprints));
    else if (is_fingerprint)
        buf_append_text(out, "delivery.tls = must  # smtp_tls_security_level = fingerprint: none of its fingerprints is SHA-256; name such in delivery.fingerprints\n");
    else if (!is_known)
        import_remark(out, "smtp_tls_security_level", value, "not known, left out");
    buf_finish(&fingerprints);
    put_path(import, out, "smtp_tls_CAfile", "delivery.tls_ca_file");
    put_path(import, out, "smtp_tls_cert_file", "delivery.tls_certificate");
    put_path(import, out, "smtp_tls_key_file", "delivery.tls_key");
}

static void put_sources(struct import *import, struct buf *out)
{
    static const char *const names[] = {"smtp_bind_address", "smtp_bind_address6"};
    struct buf list = {0};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct slice value = value_of(import, names[i]);
        if (ip_is(value))
            buf_printf(&list, "%s\"%.*s\"", list.size ? ", " : "", SLICE_FMT(value));
        else if (value.size)
            import_remark(out, names[i], value, "an address was expected, left out");
    }
    if (list.size)
        buf_printf(out, "delivery.source = [%s]  # smtp_bind_address\n", buf_text(&list));
    buf_finish(&list);
}

/* The text file that a map is made of; NULL: it is of another kind. */
static const char *file_of(struct import *import, struct slice map)
{
    static const struct slice types[] = {{"hash:", 5}, {"lmdb:", 5}, {"btree:", 6}, {"texthash:", 9}, {"cdb:", 4}, {"dbm:", 4}};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (slice_starts(map, types[i]))
            return arena_text(&import->arena, slice_from(map, types[i].size));
    return NULL;
}

/* "user:password" of a next hop in the file's text, by "[host]:port" as it is written, or by the host alone; absent if none. */
static struct slice credentials_in(struct slice text, struct slice next, struct slice host)
{
    while (text.size) {
        struct slice rest = slice_trim(slice_cut(&text, '\n'));
        if (rest.size == 0 || rest.data[0] == '#')
            continue;
        struct slice key = import_cut_word(&rest);
        if (slice_equals_nocase(key, next) || slice_equals_nocase(key, host))
            return slice_trim(rest);
    }
    return SLICE_NONE;
}

/* smtp_sasl_password_maps of a next hop. */
static struct slice credentials_of(struct import *import, struct buf *out, struct slice next, struct slice host)
{
    struct slice maps = value_of(import, "smtp_sasl_password_maps"), found = SLICE_NONE, text;
    struct error error;
    if (!slice_equals_nocase(value_of(import, "smtp_sasl_auth_enable"), SLICE("yes")))
        return SLICE_NONE;
    while (maps.size && slice_is_absent(found)) {
        struct slice map = import_cut_word(&maps);
        const char *file = file_of(import, map);
        if (slice_starts(map, SLICE("static:")))
            found = slice_from(map, 7);
        else if (!file)
            import_remark(out, "smtp_sasl_password_maps", slice_first(map, slice_find_byte(map, ':') > 0 ? (size_t)slice_find_byte(map, ':') : 0),
                          "only maps made of a text file are read");
        else if (import_read(&import->arena, file, POSTFIX_SIZE_MAX, &text, &error))
            found = credentials_in(text, next, host);
        else
            import_remark(out, "smtp_sasl_password_maps", slice_of(file), error.text);
    }
    return found;
}

/* What stands behind the pattern: hosts, and who we are there. `quoted` is "host:port" in quotes. */
static void put_hosts(struct import *import, struct buf *out, struct slice next, const char *quoted, const char *words)
{
    struct slice inner = slice_make(quoted + 1, strlen(quoted) - 2), host = inner;
    struct buf keys = {0}, remarks = {0};
    while (host.size && host.data[host.size - 1] != ':')
        host.size--;
    host.size -= host.size > 0;
    bool is_literal = host.size > 2 && host.data[0] == '[';
    struct slice bare = is_literal ? slice_make(host.data + 1, host.size - 2) : host;
    struct slice password = credentials_of(import, &remarks, next, bare), user = slice_cut(&password, ':');
    if (user.size)
        import_put_login(&(struct import_login){import->secrets, arena_text(&import->arena, host), user, password}, &keys, &remarks);
    if (keys.size && slice_equals(value_of(import, "smtp_tls_security_level"), SLICE("fingerprint")))
        buf_append_text(&keys, " tls = fingerprint;");
    if (slice_equals_nocase(value_of(import, "smtp_tls_wrappermode"), SLICE("yes")))
        buf_append_text(&keys, " implicit_tls = true;");
    buf_printf(out, "\" { hosts = [%s]%s", quoted, keys.size ? ";" : "");
    buf_append(out, buf_slice(&keys));
    buf_printf(out, " }%s\n", words);
    buf_append(out, buf_slice(&remarks));
    buf_finish(&keys);
    buf_finish(&remarks);
}

/* transport(5): "domain smtp:[host]:port", ".domain", "*". */
static void put_transport(struct import *import, struct buf *out, struct slice line, bool has_relayhost)
{
    struct slice pattern = import_cut_word(&line), next = import_cut_word(&line), whole = next, transport = slice_cut(&next, ':'), domain;
    struct buf host = {0};
    struct error error;
    bool is_star = slice_equals(pattern, SLICE("*")), is_sub = pattern.size > 1 && pattern.data[0] == '.';
    bool is_smtp = slice_equals(transport, SLICE("smtp")) || slice_equals(transport, SLICE("relay")) || transport.size == 0;
    if (is_star && has_relayhost) {
        import_remark(out, "transport *", whole, "relayhost is in its place");
    } else if (!is_smtp || slice_find_byte(pattern, '@') >= 0
               || (!is_star && !address_domain(&import->arena, is_sub ? slice_from(pattern, 1) : pattern, &domain, &error))) {
        buf_append_text(out, "# transport ");
        import_put_clean(out, pattern);
        buf_append_byte(out, ' ');
        import_put_clean(out, whole);
        buf_append_text(out, ": only smtp: and relay: for whole domains are taken\n");
    } else if (next.size && !import_put_host(&import->arena, &host, next)) {
        import_remark(out, "transport", whole, "a host was expected, left out");
    } else {
        buf_printf(out, "route \"%s", is_star ? "*" : is_sub ? "*." : "");
        if (!is_star)
            buf_append(out, domain);
        if (host.size)
            put_hosts(import, out, next, buf_text(&host), "");
        else
            buf_append_text(out, "\" { deliver = smtp }\n");
    }
    buf_finish(&host);
}

static void put_transport_file(struct import *import, struct buf *out, const char *path, bool has_relayhost)
{
    struct slice rest;
    struct error error;
    if (!import_read(&import->arena, path, POSTFIX_SIZE_MAX, &rest, &error)) {
        import_remark(out, "transport_maps", slice_of(path), error.text);
        return;
    }
    while (rest.size) {
        struct slice line = slice_trim(slice_cut(&rest, '\n'));
        if (line.size && line.data[0] != '#')
            put_transport(import, out, line, has_relayhost);
    }
}

static void put_routes(struct import *import, struct buf *out)
{
    struct slice relayhost = value_of(import, "relayhost"), maps = value_of(import, "transport_maps");
    struct buf host = {0};
    bool has_relayhost = relayhost.size && import_put_host(&import->arena, &host, relayhost);
    if (has_relayhost) {
        buf_append_text(out, "\nroute \"*");
        put_hosts(import, out, relayhost, buf_text(&host),
                  relayhost.data[0] == '[' ? "  # relayhost" : "  # relayhost: its MX was asked for, this is the host itself");
    } else if (relayhost.size)
        import_remark(out, "relayhost", relayhost, "a host was expected, left out");
    while (maps.size) {
        struct slice map = import_cut_word(&maps);
        const char *file = file_of(import, map);
        if (file)
            put_transport_file(import, out, file, has_relayhost);
        else if (map.size)
            import_remark(out, "transport_maps", map, "only maps made of a text file are read");
    }
    buf_finish(&host);
}

static void put_config(struct import *import, struct buf *out)
{
    struct slice protocols = value_of(import, "inet_protocols");
    buf_append_text(out, "# From Postfix's main.cf. mailroot check reads it.\n\n");
    if (import->root)
        buf_printf(out, "root = \"%s\"\n", import->root);
    (void)put_domain(import, out, "myhostname", "hostname");
    (void)put_domain(import, out, "myorigin", "default_domain");
    (void)put_domain(import, out, "smtp_helo_name", "delivery.helo");
    (void)put_number(import, out, "message_size_limit", "limits.message_size", UINT64_C(2048) << 20);
    (void)put_number(import, out, "hopcount_limit", "limits.hops", 1000);
    put_time(import, out, "minimal_backoff_time", "queue.retry_first", 's');
    put_time(import, out, "maximal_backoff_time", "queue.retry_subsequent", 's');
    put_time(import, out, "maximal_queue_lifetime", "queue.expire", 'd');
    put_time(import, out, "bounce_queue_lifetime", "queue.null_sender_expire", 'd');
    put_time(import, out, "delay_warning_time", "queue.delay_notice", 'h');
    if (!put_number(import, out, "smtp_destination_concurrency_limit", "delivery.connections_per_site", 10000))
        (void)put_number(import, out, "default_destination_concurrency_limit", "delivery.connections_per_site", 10000);
    (void)put_number(import, out, "smtp_destination_recipient_limit", "delivery.recipients_per_message", 10000);
    if (slice_equals(protocols, SLICE("ipv4")))
        buf_append_text(out, "dns.ipv6 = false  # inet_protocols\n");
    if (slice_equals(protocols, SLICE("ipv6")))
        buf_append_text(out, "dns.ipv4 = false  # inet_protocols\n");
    put_tls(import, out);
    put_sources(import, out);
    put_routes(import, out);
    put_listener(import, out);
}

static void print_import(struct import *import, bool is_json)
{
    struct buf config = {0};
    size_t count = import->postfix.count;
    struct import_setting *settings = arena_alloc(&import->arena, (count + 1) * sizeof *settings);
    for (size_t i = 0; i < count; i++) {
        const struct postfix_parameter *parameter = &import->postfix.items[i];
        settings[i] = (struct import_setting){parameter->name, parameter->line,
                                              import_fate_find(fates, COUNT_OF(fates), parameter->name)};
    }
    put_config(import, &config);
    import_print(&config, settings, count, is_json);
    buf_finish(&config);
}

int command_import_postfix(int argc, char **argv)
{
    struct command_options options;
    struct import import = {.root = NULL};
    struct error error;
    struct slice text;
    const char *path = "/etc/postfix/main.cf";
    command_parse(&argc, argv, &options);
    int code = import_arguments(argc, argv, &import.root, &import.secrets, &path);
    if (code != EX_OK)
        return code;
    if (!import_read(&import.arena, path, POSTFIX_SIZE_MAX, &text, &error)
        || (!postfix_parse(&import.arena, text, &import.postfix, &error) && !error_prefix(&error, "%s", path)))
        code = command_fail("import-postfix", EX_DATAERR, "%s", error.text);
    else
        print_import(&import, options.is_json);
    arena_finish(&import.arena);
    return code;
}
