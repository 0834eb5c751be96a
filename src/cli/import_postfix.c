/* mailroot import-postfix [main.cf]: Postfix's settings as a config on stdout, what became of each parameter behind it as
 * comments, or with --json both as one object. */
#include "cli/command.h"
#include "config/postfix.h"

#include "base/json.h"
#include "message/address.h"
#include "os/file.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct import {
    struct arena arena;
    struct postfix postfix;
    const char *root; /* of the new config, NULL: the default */
};

enum verdict { TAKEN, NOT_NEEDED, NOT_SUPPORTED };
static const char *const verdicts[] = {"taken", "not needed", "not supported"};

static const struct fate { const char *name; enum verdict verdict; const char *words; } fates[] = {
    {"alias_maps", NOT_SUPPORTED, "a file of aliases can be named as local.aliases"},
    {"biff", NOT_NEEDED, "nobody is told by comsat"},
    {"bounce_queue_lifetime", TAKEN, "queue.null_sender_expire"},
    {"compatibility_level", NOT_NEEDED, "Postfix's own"},
    {"default_destination_concurrency_limit", TAKEN, "delivery.connections_per_site"},
    {"delay_warning_time", TAKEN, "queue.delay_notice"},
    {"hopcount_limit", TAKEN, "limits.hops"},
    {"inet_interfaces", TAKEN, "smtp.listen, port 25: master.cf's other services are not read"},
    {"inet_protocols", TAKEN, "dns.ipv4, dns.ipv6"},
    {"mailbox_size_limit", NOT_NEEDED, "no mailboxes but Drop and Maildir"},
    {"maximal_backoff_time", TAKEN, "queue.retry_subsequent"},
    {"maximal_queue_lifetime", TAKEN, "queue.expire"},
    {"message_size_limit", TAKEN, "limits.message_size"},
    {"minimal_backoff_time", TAKEN, "queue.retry_first"},
    {"mydestination", NOT_SUPPORTED, "no mailboxes: local.domains would put their mail in Drop, a route in a Maildir or to LMTP"},
    {"mydomain", NOT_NEEDED, "expanded where it is used"},
    {"myhostname", TAKEN, "hostname"},
    {"mynetworks", TAKEN, "smtp.relay_networks"},
    {"myorigin", TAKEN, "default_domain"},
    {"readme_directory", NOT_NEEDED, "Postfix's own"},
    {"relayhost", TAKEN, "route \"*\""},
    {"smtp_bind_address", TAKEN, "delivery.source"},
    {"smtp_bind_address6", TAKEN, "delivery.source"},
    {"smtp_destination_concurrency_limit", TAKEN, "delivery.connections_per_site"},
    {"smtp_destination_recipient_limit", TAKEN, "delivery.recipients_per_message"},
    {"smtp_helo_name", TAKEN, "delivery.helo"},
    {"smtp_sasl_auth_enable", NOT_SUPPORTED, "passwords are not taken over; enter them anew"},
    {"smtp_sasl_password_maps", NOT_SUPPORTED, "passwords are not taken over; enter them anew"},
    {"smtp_tls_security_level", TAKEN, "delivery.tls"},
    {"smtp_tls_session_cache_database", NOT_NEEDED, "sessions are kept in memory"},
    {"smtpd_banner", NOT_SUPPORTED, "the greeting names the host, nothing else"},
    {"smtpd_client_connection_count_limit", TAKEN, "smtp.connections_per_client"},
    {"smtpd_relay_restrictions", NOT_SUPPORTED, "smtp.relay_networks, smtp.users and smtp.domains say who may relay"},
    {"smtpd_recipient_restrictions", NOT_SUPPORTED, "smtp.relay_networks, smtp.users and smtp.domains say who may relay"},
    {"smtpd_tls_cert_file", NOT_SUPPORTED, "name it as smtp.tls_cert, where the relay's user can read it"},
    {"smtpd_tls_key_file", NOT_SUPPORTED, "name it as smtp.tls_key, where the relay's user can read it"},
    {"transport_maps", TAKEN, "a route for each domain of the text files"},
};

static struct slice value_of(struct import *import, const char *name)
{
    return postfix_value(&import->arena, &import->postfix, slice_of(name));
}

/* One clean line of a comment. */
static void put_clean_text(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.size && i < 200; i++)
        buf_append_byte(out, (unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f ? ' ' : text.data[i]);
}

static void remark(struct buf *out, const char *name, struct slice value, const char *words)
{
    buf_printf(out, "# %s = ", name);
    put_clean_text(out, value);
    buf_printf(out, ": %s\n", words);
}

static bool put_domain(struct import *import, struct buf *out, const char *name, const char *key)
{
    struct slice value = value_of(import, name), domain;
    struct error error;
    if (value.size == 0)
        return false;
    if (!address_domain(&import->arena, value, &domain, &error)) {
        remark(out, name, value, "a domain was expected, left out");
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
        remark(out, name, value, "no number or no limit: ours stays");
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
        remark(out, name, value, "a time of up to 30 days was expected, left out");
    else
        buf_printf(out, "%s = %llus  # %s\n", key, (unsigned long long)(n * seconds), name);
}

static bool is_ip(struct slice text)
{
    char copy[64];
    unsigned char address[16];
    if (text.size >= sizeof copy)
        return false;
    (void)snprintf(copy, sizeof copy, "%.*s", SLICE_FMT(text));
    return inet_pton(AF_INET, copy, address) == 1 || inet_pton(AF_INET6, copy, address) == 1;
}

static struct slice cut_word(struct slice *rest)
{
    size_t end = 0;
    *rest = slice_trim(*rest);
    while (end < rest->size && !strchr(", \t\r\n", rest->data[end]))
        end++;
    struct slice word = slice_first(*rest, end);
    *rest = slice_from(*rest, end);
    while (rest->size && strchr(", \t\r\n", rest->data[0]))
        *rest = slice_from(*rest, 1);
    return word;
}

/* "[::1]/128" -> "::1/128"; false if it is no address or network. */
static bool put_network(struct buf *list, struct slice word)
{
    struct slice prefix = word, address = slice_cut(&prefix, '/');
    uint64_t bits = 0;
    if (address.size > 2 && address.data[0] == '[' && address.data[address.size - 1] == ']')
        address = slice_make(address.data + 1, address.size - 2);
    bool is_v6 = slice_find_byte(address, ':') >= 0;
    if (!is_ip(address) || (prefix.size && (!slice_to_u64(prefix, &bits) || bits > (is_v6 ? 128 : 32))))
        return false;
    buf_printf(list, "%s\"%.*s", list->size ? ", " : "", SLICE_FMT(address));
    if (prefix.size)
        buf_printf(list, "/%llu", (unsigned long long)bits);
    buf_append_byte(list, '"');
    return true;
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
        struct slice word = cut_word(&rest);
        if (is_ip(word))
            buf_printf(&list, slice_find_byte(word, ':') >= 0 ? "%s\"[%.*s]:25\"" : "%s\"%.*s:25\"", list.size ? ", " : "", SLICE_FMT(word));
        else if (slice_equals(word, SLICE("localhost")))
            buf_printf(&list, "%s\"127.0.0.1:25\"", list.size ? ", " : "");
        else if (word.size)
            remark(out, "inet_interfaces", word, "an address was expected, left out");
        if (rest.size == 0)
            break;
    }
    if (list.size)
        buf_printf(out, "  listen = [%s]  # inet_interfaces\n", buf_text(&list));
    while (networks.size) {
        struct slice word = cut_word(&networks);
        if (!put_network(&relays, word))
            remark(out, "mynetworks", word, "a network was expected, left out");
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

static void put_tls(struct import *import, struct buf *out)
{
    static const struct { const char *level, *ours, *words; } levels[] = {
        {"none", "never", ""}, {"may", "may", ""}, {"encrypt", "must", ""}, {"dane", "may", ": DANE counts where it is published"},
        {"dane-only", "must", ": encrypted, not DANE alone"}, {"verify", "must", ": encrypted; look at what is verified"},
        {"secure", "must", ": encrypted; look at what is verified"}, {"fingerprint", "must", ": encrypted; fingerprints are not compared"},
    };
    struct slice value = value_of(import, "smtp_tls_security_level");
    bool is_known = value.size == 0;
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        if (!slice_equals(value, slice_of(levels[i].level)))
            continue;
        buf_printf(out, "delivery.tls = %s  # smtp_tls_security_level = %s%s\n", levels[i].ours, levels[i].level, levels[i].words);
        is_known = true;
    }
    if (!is_known)
        remark(out, "smtp_tls_security_level", value, "not known, left out");
}

static void put_sources(struct import *import, struct buf *out)
{
    static const char *const names[] = {"smtp_bind_address", "smtp_bind_address6"};
    struct buf list = {0};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct slice value = value_of(import, names[i]);
        if (is_ip(value))
            buf_printf(&list, "%s\"%.*s\"", list.size ? ", " : "", SLICE_FMT(value));
        else if (value.size)
            remark(out, names[i], value, "an address was expected, left out");
    }
    if (list.size)
        buf_printf(out, "delivery.source = [%s]  # smtp_bind_address\n", buf_text(&list));
    buf_finish(&list);
}

/* "[host]:port", "host:port", "host" -> "host:port" in quotes; false if it is no host. */
static bool put_host(struct import *import, struct buf *out, struct slice text)
{
    struct slice host = text, port = SLICE_NONE, domain;
    struct error error;
    uint64_t number = 25;
    ptrdiff_t close = slice_find_byte(text, ']'), colon = slice_find_byte(text, ':');
    if (text.size && text.data[0] == '[' && close > 1) {
        host = slice_make(text.data + 1, (size_t)close - 1);
        port = slice_from(text, (size_t)close + 1);
        if (port.size && port.data[0] != ':')
            return false;
        port = port.size ? slice_from(port, 1) : port;
    } else if (colon >= 0) {
        host = slice_first(text, (size_t)colon);
        port = slice_from(text, (size_t)colon + 1);
    }
    if (slice_equals(port, SLICE("submission")))
        number = 587;
    else if (port.size && (!slice_to_u64(port, &number) || number == 0 || number > 65535))
        return false;
    if (is_ip(host))
        buf_printf(out, "\"[%.*s]:%llu\"", SLICE_FMT(host), (unsigned long long)number);
    else if (address_domain(&import->arena, host, &domain, &error))
        buf_printf(out, "\"%.*s:%llu\"", SLICE_FMT(domain), (unsigned long long)number);
    else
        return false;
    return true;
}

/* transport(5): "domain smtp:[host]:port", ".domain", "*". */
static void put_transport(struct import *import, struct buf *out, struct slice line, bool has_relayhost)
{
    struct slice pattern = cut_word(&line), next = cut_word(&line), whole = next, transport = slice_cut(&next, ':'), domain;
    struct buf host = {0};
    struct error error;
    bool is_star = slice_equals(pattern, SLICE("*")), is_sub = pattern.size > 1 && pattern.data[0] == '.';
    bool is_smtp = slice_equals(transport, SLICE("smtp")) || slice_equals(transport, SLICE("relay")) || transport.size == 0;
    if (is_star && has_relayhost) {
        remark(out, "transport *", whole, "relayhost is in its place");
    } else if (!is_smtp || slice_find_byte(pattern, '@') >= 0
               || (!is_star && !address_domain(&import->arena, is_sub ? slice_from(pattern, 1) : pattern, &domain, &error))) {
        buf_append_text(out, "# transport ");
        put_clean_text(out, pattern);
        buf_append_byte(out, ' ');
        put_clean_text(out, whole);
        buf_append_text(out, ": only smtp: and relay: for whole domains are taken\n");
    } else if (next.size && !put_host(import, &host, next)) {
        remark(out, "transport", whole, "a host was expected, left out");
    } else {
        buf_printf(out, "route \"%s", is_star ? "*" : is_sub ? "*." : "");
        if (!is_star)
            buf_append(out, domain);
        if (host.size)
            buf_printf(out, "\" { hosts = [%s] }\n", buf_text(&host));
        else
            buf_append_text(out, "\" { deliver = smtp }\n");
    }
    buf_finish(&host);
}

static void put_transport_file(struct import *import, struct buf *out, const char *path, bool has_relayhost)
{
    struct buf text = {0};
    struct error error;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 ? file_read(fd, POSTFIX_SIZE_MAX, &text, &error) : error_set_errno(&error, "open");
    struct slice rest = arena_copy(&import->arena, buf_slice(&text));
    if (!is_read)
        remark(out, "transport_maps", slice_of(path), error.text);
    while (is_read && rest.size) {
        struct slice line = slice_trim(slice_cut(&rest, '\n'));
        if (line.size && line.data[0] != '#')
            put_transport(import, out, line, has_relayhost);
    }
    if (fd >= 0)
        close(fd);
    buf_finish(&text);
}

static void put_routes(struct import *import, struct buf *out)
{
    static const struct slice types[] = {{"hash:", 5}, {"lmdb:", 5}, {"btree:", 6}, {"texthash:", 9}, {"cdb:", 4}, {"dbm:", 4}};
    struct slice relayhost = value_of(import, "relayhost"), maps = value_of(import, "transport_maps");
    struct buf host = {0};
    bool has_relayhost = relayhost.size && put_host(import, &host, relayhost);
    if (has_relayhost)
        buf_printf(out, "\nroute \"*\" { hosts = [%s] }  # relayhost%s\n", buf_text(&host),
                   relayhost.data[0] == '[' ? "" : ": its MX was asked for, this is the host itself");
    else if (relayhost.size)
        remark(out, "relayhost", relayhost, "a host was expected, left out");
    while (maps.size) {
        struct slice map = cut_word(&maps);
        bool is_text = false;
        for (size_t i = 0; i < COUNT_OF(types); i++) {
            if (!slice_starts(map, types[i]))
                continue;
            is_text = true;
            put_transport_file(import, out, arena_text(&import->arena, slice_from(map, types[i].size)), has_relayhost);
        }
        if (!is_text && map.size)
            remark(out, "transport_maps", map, "only maps made of a text file are read");
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

static const struct fate *fate_of(struct slice name)
{
    static const struct fate unknown = {"", NOT_SUPPORTED, "nothing here stands for it"};
    for (size_t i = 0; i < COUNT_OF(fates); i++)
        if (slice_equals(name, slice_of(fates[i].name)))
            return &fates[i];
    return &unknown;
}

static void put_fates(const struct import *import, struct buf *out, bool is_json)
{
    for (size_t i = 0; i < import->postfix.count; i++) {
        const struct postfix_parameter *parameter = &import->postfix.items[i];
        const struct fate *fate = fate_of(parameter->name);
        if (is_json) {
            json_open(out, '{');
            json_put_text(out, "key", parameter->name);
            json_put_number(out, "line", (int64_t)parameter->line);
            json_put_text(out, "verdict", slice_of(verdicts[fate->verdict]));
            json_put_text(out, "here", slice_of(fate->words));
            json_close(out, '}');
        } else {
            buf_printf(out, "#   %-38.*s %-13s  %s\n", SLICE_FMT(parameter->name), verdicts[fate->verdict], fate->words);
        }
    }
}

static void print_import(struct import *import, bool is_json)
{
    struct buf out = {0}, config = {0};
    put_config(import, &config);
    if (is_json) {
        json_open(&out, '{');
        json_put_text(&out, "config", buf_slice(&config));
        json_key(&out, "keys");
        json_open(&out, '[');
        put_fates(import, &out, true);
        json_close(&out, ']');
        json_close(&out, '}');
        buf_append_byte(&out, '\n');
    } else {
        buf_append(&out, buf_slice(&config));
        buf_append_text(&out, "\n# What became of each parameter:\n");
        put_fates(import, &out, false);
    }
    (void)fwrite(out.data, 1, out.size, stdout);
    buf_finish(&config);
    buf_finish(&out);
}

static bool read_file(struct import *import, const char *path, struct error *error)
{
    struct buf text = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_read = fd >= 0 ? file_read(fd, POSTFIX_SIZE_MAX, &text, error) : error_set_errno(error, "open");
    is_read = is_read && postfix_parse(&import->arena, buf_slice(&text), &import->postfix, error);
    if (fd >= 0)
        close(fd);
    buf_finish(&text);
    return is_read || error_prefix(error, "%s", path);
}

int command_import_postfix(int argc, char **argv)
{
    struct command_options options;
    struct import import = {.root = NULL};
    struct error error;
    const char *path = NULL;
    command_parse(&argc, argv, &options);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--root") == 0 && i + 1 < argc && argv[i + 1][0] == '/' && !strpbrk(argv[i + 1], "\"\\\n"))
            import.root = argv[++i];
        else if (!path && argv[i][0] != '-')
            path = argv[i];
        else
            return command_fail("import-postfix", EX_USAGE, "%s: not expected here; see --help", argv[i]);
    }
    int code = EX_OK;
    if (!read_file(&import, path ? path : "/etc/postfix/main.cf", &error))
        code = command_fail("import-postfix", EX_DATAERR, "%s", error.text);
    else
        print_import(&import, options.is_json);
    arena_finish(&import.arena);
    return code;
}
