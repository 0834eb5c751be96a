#include "config/routes.h"

#include "base/mem.h"
#include "config/value.h"
#include "message/address.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <strings.h>

#define AT(field) offsetof(struct config_route, field)
#define DAY_MS (24 * 3600 * 1000LL)

static const char *const deliver_names[] = {"smtp", "drop", "lmtp", "maildir", NULL};
static const char *const tls_names[] = {"never", "may", "must", "verify", "fingerprint", NULL};

static const char *const implicit_names[] = {"auto", "false", "true", NULL};
static const char *const service_names[] = {"none", "m365", "google", "other", NULL};

static const struct config_key route_keys[] = {
    {"hosts", KEY_LIST, AT(hosts), 0, 0, NULL, NULL},
    {"port", KEY_INT, AT(port), 1, 65535, NULL, NULL},
    {"deliver", KEY_ENUM, AT(deliver), 0, 0, NULL, deliver_names},
    {"drop_dir", KEY_TEXT, AT(drop_dir), 0, 0, NULL, NULL},
    {"maildir", KEY_TEXT, AT(maildir), 0, 0, NULL, NULL},
    {"direct_first", KEY_BOOL, AT(is_direct_first), 0, 0, NULL, NULL},
    {"tls", KEY_ENUM, AT(tls), 0, 0, NULL, tls_names},
    {"implicit_tls", KEY_ENUM, AT(implicit_tls), 0, 0, NULL, implicit_names},
    {"fingerprints", KEY_LIST, AT(fingerprints), 0, 0, NULL, NULL},
    {"user", KEY_TEXT, AT(user), 0, 0, NULL, NULL},
    {"password_file", KEY_TEXT, AT(password_file), 0, 0, NULL, NULL},
    {"auth_mechanisms", KEY_LIST, AT(auth_mechanisms), 0, 0, NULL, NULL},
    {"auth_retry", KEY_DURATION, AT(auth_retry_ms), 1000, DAY_MS, NULL, NULL},
    {"oauth", KEY_ENUM, AT(oauth.service), 0, 0, NULL, service_names},
    {"oauth_tenant", KEY_TEXT, AT(oauth.tenant), 0, 0, NULL, NULL},
    {"oauth_client_id", KEY_TEXT, AT(oauth.client_id), 0, 0, NULL, NULL},
    {"oauth_client_secret_file", KEY_TEXT, AT(oauth.client_secret_file), 0, 0, NULL, NULL},
    {"oauth_token_file", KEY_TEXT, AT(oauth.token_file), 0, 0, NULL, NULL},
    {"oauth_scope", KEY_TEXT, AT(oauth.scope), 0, 0, NULL, NULL},
    {"oauth_token_url", KEY_TEXT, AT(oauth.token_url), 0, 0, NULL, NULL},
    {"oauth_device_url", KEY_TEXT, AT(oauth.device_url), 0, 0, NULL, NULL},
    {"oauth_authorize_url", KEY_TEXT, AT(oauth.authorize_url), 0, 0, NULL, NULL},
    {"oauth_ca_file", KEY_TEXT, AT(oauth.ca_file), 0, 0, NULL, NULL},
    {"connections", KEY_INT, AT(connections_max), 1, 10000, NULL, NULL},
    {"messages_per_connection", KEY_INT, AT(messages_per_connection), 1, 10000000, NULL, NULL},
    {"dkim_signatures", KEY_INT, AT(dkim_signatures), 1, 10, NULL, NULL},
    {"rate", KEY_RATE, AT(rates), 0, 0, NULL, NULL},
    {"etrn", KEY_BOOL, AT(is_etrn), 0, 0, NULL, NULL},
    {"etrn_clients", KEY_LIST, AT(etrn_clients), 0, 0, NULL, NULL},
    {"etrn_queue", KEY_TEXT, AT(etrn_queue), 0, 0, NULL, NULL},
    {"etrn_interval", KEY_DURATION, AT(etrn_interval_ms), 0, 30 * DAY_MS, NULL, NULL},
    {"retry_first", KEY_DURATION, AT(schedule.retry_ms[0]), 10, 30 * DAY_MS, NULL, NULL},
    {"retry_second", KEY_DURATION, AT(schedule.retry_ms[1]), 10, 30 * DAY_MS, NULL, NULL},
    {"retry_third", KEY_DURATION, AT(schedule.retry_ms[2]), 10, 30 * DAY_MS, NULL, NULL},
    {"retry_subsequent", KEY_DURATION, AT(schedule.retry_ms[3]), 10, 30 * DAY_MS, NULL, NULL},
    {"delay_notice", KEY_DURATION, AT(schedule.delay_notice_ms), 0, 30 * DAY_MS, NULL, NULL},
    {"expire", KEY_DURATION, AT(schedule.expire_ms), 10, 30 * DAY_MS, NULL, NULL},
    {"jitter", KEY_INT, AT(schedule.jitter_percent), 0, 50, NULL, NULL},
};

enum { ROUTE_SOCKET_SIZE_MAX = 62 }; /* "unix:/path", as an address in texts */

static const struct config_route unset = {
    .tls = -1, .auth_retry_ms = 15 * 60 * 1000,
    .schedule = {.retry_ms = {-1, -1, -1, -1}, .delay_notice_ms = -1, .expire_ms = -1, .jitter_percent = -1},
};

/* "*", "*.example.com", "example.com"; A-labels, lower case. */
static bool clean_pattern(struct slice text, struct buf *out, struct error *error)
{
    struct arena arena = {0};
    struct slice domain = text;
    bool is_fine = true;
    if (slice_starts(text, SLICE("*."))) {
        buf_append_text(out, "*.");
        domain = slice_from(text, 2);
    }
    if (slice_equals(text, SLICE("*"))) {
        buf_append(out, text);
    } else {
        is_fine = address_domain(&arena, domain, &domain, error);
        if (is_fine)
            buf_append(out, domain);
    }
    arena_finish(&arena);
    return is_fine;
}

static struct config_route *route_get(struct config *config, const char *pattern)
{
    for (size_t i = 0; i < config->route_count; i++)
        if (strcmp(config->routes[i].pattern, pattern) == 0)
            return &config->routes[i];
    config->routes = mem_resize(config->routes, (config->route_count + 1) * sizeof *config->routes);
    struct config_route *route = &config->routes[config->route_count++];
    *route = unset;
    route->pattern = mem_copy_text(pattern);
    return route;
}

static const struct config_key *route_key(struct slice name, struct error *error)
{
    const char *nearest = "hosts";
    size_t best = SIZE_MAX;
    char *text = slice_copy(name);
    for (size_t i = 0; i < COUNT_OF(route_keys); i++) {
        size_t distance = value_distance(text, route_keys[i].name);
        if (distance < best) {
            best = distance;
            nearest = route_keys[i].name;
        }
        if (distance == 0)
            break;
    }
    free(text);
    for (size_t i = 0; best == 0 && i < COUNT_OF(route_keys); i++)
        if (slice_equals(name, slice_of(route_keys[i].name)))
            return &route_keys[i];
    (void)error_set(error, "unknown key of a route; did you mean %s?", nearest);
    return NULL;
}

bool routes_set(struct config *config, struct slice name, struct slice text, struct error *error)
{
    struct buf pattern = {0};
    struct slice word = slice_cut_last(&name, '.');
    if (name.size == 0)
        return error_set(error, "route \"domain\" { key = value } was expected");
    const struct config_key *key = route_key(word, error);
    bool is_fine = key && clean_pattern(name, &pattern, error)
                   && value_set(key, (char *)route_get(config, buf_text(&pattern)), text, error);
    buf_finish(&pattern);
    return is_fine;
}

/* A local domain without a section of its own goes to Drop. */
static void add_local_domains(struct config *config)
{
    for (size_t i = 0; i < config->local.domains.count; i++) {
        struct buf pattern = {0};
        if (clean_pattern(slice_of(config->local.domains.items[i]), &pattern, NULL)) {
            size_t count = config->route_count;
            struct config_route *route = route_get(config, buf_text(&pattern));
            if (config->route_count > count)
                route->deliver = CONFIG_DELIVER_DROP;
        }
        buf_finish(&pattern);
    }
}

static void make_absolute(char **path, const char *root, const char *standard)
{
    struct buf whole = {0};
    if (*path ? (*path)[0] == '/' : !standard)
        return;
    buf_printf(&whole, "%s/%s", root, *path ? *path : standard);
    free(*path);
    *path = buf_take(&whole);
}

/* The word "hostname" stands for it, so that one config does for many machines. */
static void name_ourselves(struct config *config)
{
    for (size_t i = 0; i < config->local.domains.count; i++) {
        char **item = &config->local.domains.items[i];
        if (strcmp(*item, "hostname") != 0)
            continue;
        free(*item);
        *item = mem_copy_text(config->hostname);
    }
}

void routes_complete(struct config *config)
{
    name_ourselves(config);
    add_local_domains(config);
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_route *route = &config->routes[i];
        make_absolute(&route->oauth.token_file, config->root, NULL);
        for (size_t k = 0; k < route->auth_mechanisms.count; k++)
            for (char *c = route->auth_mechanisms.items[k]; *c; c++)
                *c = (char)toupper((unsigned char)*c);
        make_absolute(&route->maildir, config->root, NULL);
        make_absolute(&route->drop_dir, config->root, route->deliver == CONFIG_DELIVER_DROP ? "Drop" : NULL);
    }
    const struct config_schedule *standard = &config->queue.schedule;
    for (size_t i = 0; i < config->route_count; i++) {
        struct config_schedule *schedule = &config->routes[i].schedule;
        bool has_any = false;
        for (size_t k = 0; k < COUNT_OF(schedule->retry_ms); k++) {
            has_any = has_any || schedule->retry_ms[k] >= 0;
            if (schedule->retry_ms[k] < 0)
                schedule->retry_ms[k] = standard->retry_ms[k];
        }
        config->routes[i].has_schedule = has_any || schedule->delay_notice_ms >= 0 || schedule->expire_ms >= 0
                                         || schedule->jitter_percent >= 0;
        if (schedule->delay_notice_ms < 0)
            schedule->delay_notice_ms = standard->delay_notice_ms;
        if (schedule->expire_ms < 0)
            schedule->expire_ms = standard->expire_ms;
        if (schedule->jitter_percent < 0)
            schedule->jitter_percent = standard->jitter_percent;
    }
}

static bool is_file_or_credential(const char *text)
{
    return text[0] == '/' || (strncmp(text, "credential:", 11) == 0 && text[11] && !strchr(text, '/'));
}

static const char *oauth_fault(const struct config_oauth *oauth)
{
    const char *const urls[] = {oauth->token_url, oauth->device_url, oauth->authorize_url};
    for (size_t i = 0; i < COUNT_OF(urls); i++)
        if (urls[i] && strncmp(urls[i], "https://", 8) != 0)
            return "oauth_…_url: https://… was expected";
    if (!oauth->client_id)
        return "oauth: oauth_client_id was expected, the id of the application that is registered with the service";
    if (oauth->service == CONFIG_SERVICE_OTHER && (!oauth->token_url || !oauth->scope))
        return "oauth = other: oauth_token_url and oauth_scope were expected";
    if (oauth->client_secret_file && !is_file_or_credential(oauth->client_secret_file))
        return "oauth_client_secret_file: /absolute/file or credential:NAME was expected";
    if (!oauth->token_file && !oauth->client_secret_file)
        return "oauth: oauth_token_file (what `mailroot login` writes), or oauth_client_secret_file (client credentials), was expected";
    if (!oauth->token_file && oauth->service == CONFIG_SERVICE_M365 && !oauth->tenant)
        return "oauth = m365 with client credentials: oauth_tenant was expected";
    return NULL;
}

static const char *login_lacks_user(const struct config_route *route)
{
    return route->password_file || route->oauth.service != CONFIG_SERVICE_NONE
               ? "user = \"name\" was expected with password_file or oauth" : NULL;
}

/* What is wrong with a route's user and secrets; NULL if nothing. */
static const char *login_fault(const struct config_route *route)
{
    static const char *const known[] = {"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2", "EXTERNAL"};
    bool has_external = false;
    for (size_t i = 0; i < route->auth_mechanisms.count; i++) {
        size_t k = 0;
        while (k < COUNT_OF(known) && strcasecmp(known[k], route->auth_mechanisms.items[i]) != 0)
            k++;
        if (k == COUNT_OF(known))
            return "auth_mechanisms: SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN, OAUTHBEARER, XOAUTH2 or EXTERNAL was expected";
        has_external = has_external || strcmp(known[k], "EXTERNAL") == 0;
    }
    if (route->deliver != CONFIG_DELIVER_SMTP || route->hosts.count == 0)
        return "user goes with hosts, by SMTP: it is never told to a host that DNS names";
    if (route->tls >= 0 && route->tls != CONFIG_TLS_VERIFY && route->tls != CONFIG_TLS_FINGERPRINT)
        return "tls = verify or fingerprint goes with user: no password is sent in the clear, or to an unknown host";
    if (!route->user && !has_external)
        return "user = \"name\" was expected";
    if (route->oauth.service != CONFIG_SERVICE_NONE)
        return route->password_file ? "password_file and oauth exclude each other" : oauth_fault(&route->oauth);
    if (!route->password_file && !has_external)
        return "password_file, or oauth, was expected with user";
    if (route->password_file && !is_file_or_credential(route->password_file))
        return "password_file: /absolute/file or credential:NAME was expected";
    return NULL;
}

/* What is wrong with one route as a whole; NULL if nothing. */
static const char *fault_of(const struct config *config, const struct config_route *route)
{
    const char *socket = route->hosts.count ? route->hosts.items[0] : "";
    for (size_t i = 0; i < route->hosts.count; i++) {
        const char *host = route->hosts.items[i];
        if (strncmp(host, "unix:", 5) != 0)
            continue;
        if (route->deliver != CONFIG_DELIVER_LMTP)
            return "hosts: a unix: socket goes with deliver = lmtp";
        if (host[5] != '/' || strlen(host) > ROUTE_SOCKET_SIZE_MAX)
            return "hosts: unix:/absolute/path of at most 57 octets was expected";
    }
    if (route->is_etrn && (route->deliver == CONFIG_DELIVER_DROP || route->deliver == CONFIG_DELIVER_MAILDIR))
        return "etrn: mail for a folder waits for nobody";
    if (route->is_etrn && strcmp(route->pattern, "*") == 0)
        return "etrn: a domain, or *.domain, was expected: who asks for mail has to name it";
    if (!route->is_etrn && (route->etrn_clients.count || route->etrn_queue || route->etrn_interval_ms))
        return "etrn_clients, etrn_queue and etrn_interval go with etrn = true";
    const char *fault = config_route_has_login(route) ? login_fault(route) : login_lacks_user(route);
    if (fault)
        return fault;
    if (route->implicit_tls == CONFIG_IMPLICIT_YES && route->tls == CONFIG_TLS_NEVER)
        return "implicit_tls = true and tls = never contradict each other";
    switch (route->deliver) {
    case CONFIG_DELIVER_LMTP:
        return socket[0] ? NULL : "deliver = lmtp: hosts, or hosts = \"unix:/path\", was expected";
    case CONFIG_DELIVER_MAILDIR:
        return route->maildir && strstr(route->maildir, "%u")
                   ? NULL : "deliver = maildir: maildir = \"/path/%d/%u\" was expected";
    case CONFIG_DELIVER_DROP:
        return route->drop_dir && strcmp(route->drop_dir, config->pickup.dir) == 0
                   ? "drop_dir: Pickup can't be Drop, mail would go round" : NULL;
    default:
        return route->drop_dir || route->maildir ? "drop_dir and maildir go with deliver = drop and maildir" : NULL;
    }
}

void routes_check(const struct config *config, routes_fault_fn *fn, void *arg)
{
    struct buf ignored = {0};
    struct error error;
    for (size_t i = 0; i < config->local.domains.count; i++)
        if (!clean_pattern(slice_of(config->local.domains.items[i]), &ignored, &error))
            fn(arg, "local.domains", error.text);
    buf_finish(&ignored);
    for (size_t i = 0; i < config->route_count; i++) {
        const char *fault = fault_of(config, &config->routes[i]);
        if (fault)
            fn(arg, config->routes[i].pattern, fault);
    }
}

void routes_clear(struct config *config)
{
    for (size_t i = 0; i < config->route_count; i++) {
        for (size_t k = 0; k < COUNT_OF(route_keys); k++)
            value_clear(&route_keys[k], (char *)&config->routes[i]);
        free(config->routes[i].pattern);
    }
    free(config->routes);
    config->routes = NULL;
    config->route_count = 0;
}

/* How well a pattern fits: 0 = not, else more for a longer one; an exact one is best. */
static size_t fit(const char *pattern, struct slice domain)
{
    struct slice text = slice_of(pattern);
    if (slice_equals_nocase(text, domain))
        return SIZE_MAX;
    if (strcmp(pattern, "*") == 0)
        return 1;
    if (text.size > 2 && slice_starts(text, SLICE("*.")) && slice_ends_nocase(domain, slice_from(text, 1)))
        return text.size;
    return 0;
}

const struct config_route *config_route_find(const struct config *config, struct slice domain)
{
    const struct config_route *found = NULL;
    size_t best = 0;
    for (size_t i = 0; i < config->route_count; i++) {
        size_t how_well = fit(config->routes[i].pattern, domain);
        if (how_well > best) {
            best = how_well;
            found = &config->routes[i];
        }
    }
    return found;
}

bool config_is_local(const struct config *config, struct slice domain)
{
    const struct config_route *route = config_route_find(config, domain);
    if (route && route->deliver != CONFIG_DELIVER_SMTP)
        return true;
    for (size_t i = 0; i < config->local.domains.count; i++)
        if (fit(config->local.domains.items[i], domain))
            return true;
    return false;
}
