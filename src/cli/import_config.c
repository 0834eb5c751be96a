/* The metabase as a config. A value that is not what its key should hold is said in a comment and left out. */
#include "cli/import_iis.h"

#include "message/address.h"

enum { MINUTES_A_DAY = 1440, SESSION_SIZE_MAX_MB = 1024 * 1024, HOSTS_MAX = 50 };

enum { /* RouteAction */
    ACTION_DROP = 0x1, ACTION_SMARTHOST = 0x2, ACTION_SSL = 0x4, ACTION_SASL = 0x8, ACTION_ALIAS = 0x10, ACTION_DELIVER = 0x20,
    ACTION_DEFAULT = 0x40, ACTION_NTLM = 0x80, ACTION_CLEARTEXT = 0x100, ACTION_ETRN = 0x200, ACTION_RELAY = 0x1000,
};

struct slice import_value(const struct import *import, const char *name, unsigned id)
{
    const struct metabase_node *nodes[] = {import->server, import->service};
    for (size_t i = 0; i < COUNT_OF(nodes); i++) {
        const struct metabase_property *property = nodes[i] ? metabase_find(nodes[i], name, id) : NULL;
        if (property)
            return property->value;
    }
    return SLICE_NONE;
}

/* Clean for a comment or a quoted value: one line, no quotes or backslashes that would end it. */
static struct slice clean(struct import *import, struct slice text)
{
    struct buf out = {0};
    for (size_t i = 0; i < text.size && i < 200; i++) {
        unsigned char c = (unsigned char)text.data[i];
        buf_append_byte(&out, c < 0x20 || c == 0x7f ? ' ' : c == '"' ? '\'' : (char)c);
    }
    struct slice copy = arena_copy(&import->arena, buf_slice(&out));
    buf_finish(&out);
    return copy;
}

static void remark(struct import *import, struct buf *out, const char *name, struct slice value, const char *words)
{
    struct slice shown = clean(import, value);
    buf_printf(out, "# %s = %.*s: %s\n", name, SLICE_FMT(shown), words);
}

/* ---- numbers ---- */

struct number {
    const char *name;
    unsigned id;
    const char *key, *unit;      /* ours, and what stands behind the number */
    uint64_t least, most;        /* of ours, in its unit; more is cut to it */
    uint64_t divisor;            /* theirs to ours, rounded up */
};

static const struct number numbers[] = {
    {"MaxMessageSize", 0, "limits.message_size", "", 1024, UINT64_C(2048) << 20, 1},
    {"HopCount", 0, "limits.hops", "", 1, 1000, 1},
    {"SmtpRemoteDelayExpireMinutes", 37019, "queue.delay_notice", "m", 0, 30 * MINUTES_A_DAY, 1},
    {"SmtpRemoteNDRExpireMinutes", 37020, "queue.expire", "m", 1, 30 * MINUTES_A_DAY, 1},
    {"RemoteSmtpPort", 0, "delivery.port", "", 1, 65535, 1},
    {"MaxOutConnections", 0, "delivery.connections", "", 1, 100000, 1},
    {"MaxOutConnectionsPerDomain", 0, "delivery.connections_per_site", "", 1, 10000, 1},
    {"MaxBatchedMessages", 0, "delivery.messages_per_connection", "", 1, 10000000, 1},
    {"MaxRecipients", 0, "delivery.recipients_per_message", "", 1, 10000, 1},
};
static const struct number listener_numbers[] = {
    {"MaxConnections", 1014, "connections", "", 1, 100000, 1},
    {"MaxSmtpErrors", 0, "errors", "", 1, 1000, 1},
    {"MaxSessionSize", 0, "session_size", "", 1, UINT64_C(1024) << 30, 1},
    {"ConnectionTimeout", 1013, "timeouts.command", "s", 1, 86400, 1},
};

static void put_number(struct import *import, struct buf *out, const struct number *number, const char *indent)
{
    struct slice value = import_value(import, number->name, number->id);
    uint64_t n;
    if (value.size == 0)
        return;
    if (!slice_to_u64(value, &n)) {
        remark(import, out, number->name, value, "no number, left out");
        return;
    }
    if (n == 0 && number->least > 0) { /* IIS: no limit */
        remark(import, out, number->name, value, "no limit was set; ours stays");
        return;
    }
    n = n < number->least ? number->least : n > number->most ? number->most : n;
    buf_printf(out, "%s%s = %llu%s  # %s\n", indent, number->key, (unsigned long long)n, number->unit, number->name);
}

static void put_retries(struct import *import, struct buf *out)
{
    static const char *const keys[] = {"first", "second", "third", "subsequent"};
    struct slice value = import_value(import, "SmtpRemoteProgressiveRetry", 36996), rest = value;
    for (size_t i = 0; i < COUNT_OF(keys) && rest.size; i++) {
        uint64_t minutes;
        size_t end = 0;
        while (end < rest.size && rest.data[end] != ',' && rest.data[end] != ' ')
            end++;
        if (!slice_to_u64(slice_trim(slice_first(rest, end)), &minutes) || minutes < 1 || minutes > 30 * MINUTES_A_DAY) {
            remark(import, out, "SmtpRemoteProgressiveRetry", value, "minutes were expected");
            return;
        }
        buf_printf(out, "queue.retry_%s = %llum  # SmtpRemoteProgressiveRetry\n", keys[i], (unsigned long long)minutes);
        rest = slice_trim(slice_from(rest, end < rest.size ? end + 1 : end));
    }
}

static bool is_true(struct slice value)
{
    return slice_equals_nocase(value, SLICE("TRUE")) || slice_equals(value, SLICE("1")) || slice_equals(value, SLICE("-1"));
}

static bool is_false(struct slice value)
{
    return slice_equals_nocase(value, SLICE("FALSE")) || slice_equals(value, SLICE("0"));
}

/* ---- names ---- */

static bool put_domain(struct import *import, struct buf *out, const char *name, unsigned id, const char *key)
{
    struct slice value = import_value(import, name, id), domain;
    struct error error;
    if (value.size == 0)
        return false;
    if (!address_domain(&import->arena, value, &domain, &error)) {
        remark(import, out, name, value, error.text);
        return false;
    }
    buf_printf(out, "%s = \"%.*s\"  # %s\n", key, SLICE_FMT(domain), name);
    return true;
}

static void put_address(struct import *import, struct buf *out, const char *name, const char *key)
{
    struct slice value = import_value(import, name, 0);
    struct address address;
    struct error error;
    if (value.size == 0)
        return;
    if (!address_parse(&import->arena, value, &address, &error) || address.domain.size == 0)
        remark(import, out, name, value, "an address with its domain was expected");
    else
        buf_printf(out, "%s = \"%.*s\"  # %s\n", key, SLICE_FMT(address.text), name);
}

/* "relay.example.com", "[192.0.2.1]", "[192.0.2.1], relay2" -> a list's items; false if one is neither. */
static bool put_hosts(struct import *import, struct buf *out, struct slice text)
{
    struct buf list = {0};
    bool is_fine = text.size > 0;
    for (size_t i = 0; is_fine && text.size && i < HOSTS_MAX; i++) {
        struct slice item = slice_trim(slice_cut(&text, ','));
        struct slice semicolon = item, host = slice_trim(slice_cut(&semicolon, ';')), domain;
        struct error error;
        is_fine = address_domain(&import->arena, host, &domain, &error);
        if (is_fine)
            buf_printf(&list, "%s\"%.*s\"", list.size ? ", " : "", SLICE_FMT(domain));
    }
    if (is_fine)
        buf_printf(out, "[%s]", buf_text(&list));
    buf_finish(&list);
    return is_fine;
}

/* ---- domains ---- */

/* The domain of /LM/SmtpSvc/1/Domain/NAME, clean; "*.name" allowed. False: not this server's, or none. */
static bool domain_of(struct import *import, const struct metabase_node *node, struct slice *ret_domain)
{
    struct slice rest = node->location, prefix = import->server->location;
    struct error error;
    if (!slice_equals_nocase(node->class, SLICE("IIsSmtpDomain")) || !slice_starts_nocase(rest, prefix))
        return false;
    rest = slice_from(rest, prefix.size);
    if (!slice_starts_nocase(rest, SLICE("/Domain/")))
        return false;
    rest = slice_from(rest, 8);
    bool is_wild = slice_starts(rest, SLICE("*."));
    if (!address_domain(&import->arena, is_wild ? slice_from(rest, 2) : rest, ret_domain, &error)) {
        *ret_domain = SLICE("");
        return rest.size > 0;
    }
    if (is_wild)
        *ret_domain = arena_printf(&import->arena, "*.%.*s", SLICE_FMT(*ret_domain));
    return true;
}

static uint64_t action_of(const struct metabase_node *node)
{
    const struct metabase_property *property = metabase_find(node, "RouteAction", 36946);
    uint64_t action = 0;
    return property && slice_to_u64(property->value, &action) ? action : 0;
}

static bool is_local(uint64_t action)
{
    return (action & (ACTION_DROP | ACTION_ALIAS | ACTION_DELIVER | ACTION_DEFAULT)) && !(action & ACTION_SMARTHOST);
}

static void put_local_domains(struct import *import, struct buf *out)
{
    struct buf list = {0};
    struct slice standard = import_value(import, "DefaultDomain", 0), domain;
    struct error error;
    if (standard.size && address_domain(&import->arena, standard, &domain, &error))
        buf_printf(&list, "\"%.*s\"", SLICE_FMT(domain));
    for (size_t i = 0; i < import->metabase.count; i++)
        if (domain_of(import, &import->metabase.nodes[i], &domain) && domain.size
            && is_local(action_of(&import->metabase.nodes[i])) && !slice_equals_nocase(domain, standard))
            buf_printf(&list, "%s\"%.*s\"", list.size ? ", " : "", SLICE_FMT(domain));
    if (list.size)
        buf_printf(out, "\n# Local domains: their mail goes to Drop, as it did.\nlocal.domains = [%s]\n", buf_text(&list));
    buf_finish(&list);
}

/* Kept until it is asked for, by the accounts of AuthTurnList. They were Windows': smtp.users needs them too. */
static void put_etrn(struct import *import, struct buf *out, const struct metabase_node *node)
{
    const struct metabase_property *accounts = metabase_find(node, "AuthTurnList", 0);
    struct slice rest = accounts ? accounts->value : SLICE("");
    struct buf list = {0};
    while (rest.size) {
        struct slice account = clean(import, slice_trim(slice_cut(&rest, '\n')));
        if (account.size)
            buf_printf(&list, "%s\"user:%.*s\"", list.size ? ", " : "", SLICE_FMT(account));
    }
    buf_append_text(out, " etrn = true;");
    if (list.size)
        buf_printf(out, " etrn_clients = [%s];", buf_text(&list));
    buf_finish(&list);
}

/* RouteUserName and RoutePassword for the first of the hosts. A password that the metabase keeps for its machine alone begins with
 * "IcDb", in hexadecimal digits. */
static void put_login(struct import *import, struct buf *keys, struct buf *remarks, struct slice hosts, struct slice user, struct slice password)
{
    struct slice rest = slice_trim(slice_cut(&hosts, ',')), host = slice_trim(slice_cut(&rest, ';'));
    struct slice shown = clean(import, host), port = import_value(import, "RemoteSmtpPort", 0);
    uint64_t number = 25;
    if (user.size == 0)
        return;
    if (slice_starts(password, SLICE("49634462")))
        password = SLICE_NONE;
    import_put_login(&(struct import_login){import->secrets, arena_text(&import->arena, shown), user, password}, keys, remarks);
    if (!slice_to_u64(port, &number) || number == 0 || number > 65535)
        number = 25;
    if (keys->size)
        buf_printf(keys, " port = %llu;", (unsigned long long)number);
}

static void put_remote_domain(struct import *import, struct buf *out, const struct metabase_node *node, struct slice domain)
{
    const struct metabase_property *to = metabase_find(node, "RouteActionString", 36947);
    uint64_t action = action_of(node);
    struct buf hosts = {0}, keys = {0};
    bool has_hosts = to && to->value.size && put_hosts(import, &hosts, to->value);
    if (to && to->value.size && !has_hosts)
        remark(import, out, "RouteActionString", to->value, "a host was expected");
    const struct metabase_property *user = metabase_find(node, "RouteUserName", 0), *password = metabase_find(node, "RoutePassword", 0);
    if (has_hosts && user && user->value.size)
        put_login(import, &keys, out, to->value, user->value, password ? password->value : SLICE_NONE);
    else if (action & (ACTION_SASL | ACTION_CLEARTEXT | ACTION_NTLM))
        buf_printf(out, "# %.*s wants a user and a password (RouteUserName): enter them anew.\n", SLICE_FMT(domain));
    buf_printf(out, "route \"%.*s\" {", SLICE_FMT(domain));
    if (has_hosts)
        buf_printf(out, " hosts = %s;", buf_text(&hosts));
    else
        buf_append_text(out, " deliver = smtp;"); /* by its MX, whatever "*" says */
    if (action & ACTION_ETRN)
        put_etrn(import, out, node);
    buf_append(out, buf_slice(&keys)); /* TLS is verified with a user */
    buf_printf(out, "%s }\n", action & ACTION_SSL && !keys.size ? " tls = must;" : "");
    buf_finish(&hosts);
    buf_finish(&keys);
}

static void put_drop(struct import *import, struct buf *out, const struct metabase_node *node, struct slice domain)
{
    const struct metabase_property *to = metabase_find(node, "RouteActionString", 36947);
    if ((action_of(node) & ACTION_DROP) && to && to->value.size) {
        remark(import, out, "RouteActionString", to->value, "a folder of Windows; one in root instead");
        buf_printf(out, "route \"%.*s\" { deliver = drop; drop_dir = \"Drop/%.*s\" }\n", SLICE_FMT(domain), SLICE_FMT(domain));
    }
}

static void put_domains(struct import *import, struct buf *out)
{
    struct slice domain;
    put_local_domains(import, out);
    for (size_t i = 0; i < import->metabase.count; i++) {
        const struct metabase_node *node = &import->metabase.nodes[i];
        if (!domain_of(import, node, &domain))
            continue;
        if (domain.size == 0)
            remark(import, out, "Domain", node->location, "no domain that mail could have");
        else if (is_local(action_of(node)))
            put_drop(import, out, node, domain);
        else
            put_remote_domain(import, out, node, domain);
    }
}

static void put_smart_host(struct import *import, struct buf *out)
{
    struct slice host = import_value(import, "SmartHost", 0), type = import_value(import, "SmartHostType", 36905);
    struct buf hosts = {0}, keys = {0}, remarks = {0};
    if (host.size == 0 || slice_equals(type, SLICE("0")))
        return;
    put_login(import, &keys, &remarks, host, import_value(import, "RouteUserName", 0), import_value(import, "RoutePassword", 0));
    if (!put_hosts(import, &hosts, host))
        remark(import, out, "SmartHost", host, "a host was expected");
    else
        buf_printf(out, "\n# SmartHost, SmartHostType = %.*s\nroute \"*\" { hosts = %s;%s%s }\n",
                   SLICE_FMT(type.size ? type : SLICE("2")), buf_text(&hosts),
                   slice_equals(type, SLICE("1")) ? " direct_first = true;" : "", buf_text(&keys));
    buf_append(out, buf_slice(&remarks));
    buf_finish(&hosts);
    buf_finish(&keys);
    buf_finish(&remarks);
}

/* ---- the listener ---- */

static void put_bindings(struct import *import, struct buf *list, const char *name, const char *suffix)
{
    struct slice rest = import_value(import, name, 0);
    while (rest.size) {
        struct slice binding = slice_trim(slice_cut(&rest, ' '));
        struct slice address = slice_cut(&binding, ':'), port = slice_cut(&binding, ':');
        uint64_t number;
        if (!slice_to_u64(port, &number) || number == 0 || number > 65535)
            continue;
        struct slice shown = clean(import, address.size ? address : SLICE("0.0.0.0"));
        buf_printf(list, "%s\"%.*s:%llu%s\"", list->size ? ", " : "", SLICE_FMT(shown), (unsigned long long)number, suffix);
    }
}

static void put_ip_list(struct import *import, struct buf *out, const char *name, const char *granted, const char *denied)
{
    struct slice value = import_value(import, name, 0);
    struct metabase_ip_list list;
    struct error error;
    if (value.size == 0)
        return;
    if (!metabase_ip_list(&import->arena, value, &list, &error)) {
        buf_printf(out, "  # %s: %s\n", name, error.text);
        return;
    }
    const char *key = list.is_denied ? denied : granted;
    if (!key) {
        buf_printf(out, "  # %s let everybody relay but a list: that would be an open relay; name who may.\n", name);
        return;
    }
    buf_printf(out, "  %s = [", key);
    for (size_t i = 0; i < list.count; i++)
        buf_printf(out, "%s\"%.*s\"", i ? ", " : "", SLICE_FMT(list.items[i]));
    buf_printf(out, "]  # %s%s\n", name, list.count ? "" : ": nobody");
}

static void put_relayed_domains(struct import *import, struct buf *out)
{
    struct buf list = {0};
    struct slice domain;
    for (size_t i = 0; i < import->metabase.count; i++) {
        const struct metabase_node *node = &import->metabase.nodes[i];
        uint64_t action = action_of(node);
        if (domain_of(import, node, &domain) && domain.size && (is_local(action) || (action & ACTION_RELAY)))
            buf_printf(&list, "%s\"%.*s\"", list.size ? ", " : "", SLICE_FMT(domain));
    }
    if (list.size)
        buf_printf(out, "  domains = [%s]  # taken from anybody: local domains, and \"allow incoming mail to be relayed\"\n",
                   buf_text(&list));
    buf_finish(&list);
}

static void put_listener(struct import *import, struct buf *out)
{
    struct buf list = {0};
    put_bindings(import, &list, "ServerBindings", "");
    put_bindings(import, &list, "SecureBindings", "/tls");
    buf_append_text(out, "\nsmtp {\n");
    if (import_value(import, "SecureBindings", 0).size)
        buf_append_text(out, "  # tls_cert = \"/etc/mailroot/tls.pem\"  # certificates stay in Windows' store: name one, then take /tls in\n");
    if (list.size)
        buf_printf(out, "  %slisten = [%s]  # ServerBindings, SecureBindings\n",
                   import_value(import, "SecureBindings", 0).size ? "# " : "", buf_text(&list));
    put_relayed_domains(import, out);
    put_ip_list(import, out, "RelayIpList", "relay_networks", NULL);
    put_ip_list(import, out, "IPSecurity", "allow", "deny");
    for (size_t i = 0; i < COUNT_OF(listener_numbers); i++)
        put_number(import, out, &listener_numbers[i], "  ");
    if (is_true(import_value(import, "AuthBasic", 0))
        || slice_find(import_value(import, "AuthFlags", 0), SLICE("AuthBasic")) >= 0)
        buf_append_text(out, "  # users = \"/etc/mailroot/users\"  # AuthBasic: accounts were Windows'; make a file of them\n");
    buf_append_text(out, "}\n");
    buf_finish(&list);
}

/* ---- logs ---- */

static void put_log_fields(struct import *import, struct buf *out)
{
    static const struct { const char *flag, *field; } fields[] = {
        {"Date", "date"},                {"Time", "time"},           {"ClientIp", "c-ip"},
        {"UserName", "cs-username"},     {"SiteName", "s-sitename"}, {"ComputerName", "s-computername"},
        {"ServerIp", "s-ip"},            {"ServerPort", "s-port"},   {"Method", "cs-method"},
        {"UriStem", "cs-uri-stem"},      {"UriQuery", "cs-uri-query"}, {"HttpStatus", "sc-status"},
        {"Win32Status", "sc-win32-status"}, {"BytesSent", "sc-bytes"}, {"BytesRecv", "cs-bytes"},
        {"TimeTaken", "time-taken"},     {"ProtocolVersion", "cs-version"}, {"Host", "cs-host"},
    };
    struct slice rest = import_value(import, "LogExtFileFlags", 0);
    struct buf list = {0};
    while (rest.size) {
        struct slice flag = slice_trim(slice_cut(&rest, '|'));
        for (size_t i = 0; i < COUNT_OF(fields); i++)
            if (slice_starts(flag, SLICE("LogExtFile")) && slice_equals(slice_from(flag, 10), slice_of(fields[i].flag)))
                buf_printf(&list, "%s\"%s\"", list.size ? ", " : "", fields[i].field);
    }
    if (list.size)
        buf_printf(out, "; fields = [%s]", buf_text(&list));
    buf_finish(&list);
}

/* NULL: the W3C form, which is also what stands in for ODBC. */
static const char *log_format(struct import *import)
{
    struct slice class = import_value(import, "LogPluginClsid", 0);
    return slice_starts_nocase(class, SLICE("{FF16065F-"))   ? "ncsa"
           : slice_starts_nocase(class, SLICE("{FF160657-")) ? "iis"
                                                             : NULL;
}

static void put_log(struct import *import, struct buf *out)
{
    static const char *const periods[] = {"size", "daily", "weekly", "monthly", "hourly"};
    struct slice type = import_value(import, "LogType", 0), size = import_value(import, "LogFileTruncateSize", 0);
    uint64_t period = 1, octets = 0;
    if (is_true(import_value(import, "DontLog", 0)) || !slice_equals(type, SLICE("1")))
        return;
    if (!slice_to_u64(import_value(import, "LogFilePeriod", 0), &period) || period >= COUNT_OF(periods))
        period = 1;
    const char *format = log_format(import);
    buf_printf(out, "\n# LogType, LogFilePeriod, LogPluginClsid: IIS's log beside events.jsonl\nw3c { dir = \"Log/W3C\"; period = %s",
               periods[period]);
    if (format)
        buf_printf(out, "; format = %s", format);
    if (period == 0 && slice_to_u64(size, &octets) && octets >= 1024 && octets < UINT64_C(1) << 40)
        buf_printf(out, "; rotate_size = %llu", (unsigned long long)octets);
    put_log_fields(import, out);
    buf_append_text(out, " }\n");
}

void import_config(struct import *import, struct buf *out)
{
    struct slice comment = clean(import, import_value(import, "ServerComment", 1015));
    buf_printf(out, "# From an IIS metabase: %.*s", SLICE_FMT(import->server->location));
    if (comment.size)
        buf_printf(out, " (%.*s)", SLICE_FMT(comment));
    buf_append_text(out, ". mailroot check reads it.\n\n");
    if (import->root)
        buf_printf(out, "root = \"%s\"\n", import->root);
    (void)put_domain(import, out, "FullyQualifiedDomainName", 0, "hostname");
    (void)put_domain(import, out, "DefaultDomain", 0, "default_domain");
    if (!is_false(import_value(import, "DoMasquerade", 0)))
        (void)put_domain(import, out, "MasqueradeDomain", 36912, "sender.masquerade_domain");
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        put_number(import, out, &numbers[i], "");
    put_retries(import, out);
    put_address(import, out, "SendNdrTo", "bounce.copy_to");
    if (is_true(import_value(import, "AlwaysUseSsl", 0)))
        buf_append_text(out, "delivery.tls = must  # AlwaysUseSsl\n");
    if (is_false(import_value(import, "ShouldPipelineOut", 0)))
        buf_append_text(out, "delivery.pipelining = false  # ShouldPipelineOut\n");
    if (is_false(import_value(import, "SmtpDotStuffPickupDirFiles", 37030)))
        buf_append_text(out, "pickup.dot_stuffing = never  # SmtpDotStuffPickupDirFiles\n");
    put_domains(import, out);
    put_smart_host(import, out);
    put_listener(import, out);
    put_log(import, out);
}
