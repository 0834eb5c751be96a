#include "route/search_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/timer.h"

#include <stdio.h>
#include <stdlib.h>

static void proceed(struct search *search);
static void ask_addresses(struct search *search);

/* ---- ends ---- */

static void drop_from(struct search *search, size_t first)
{
    for (size_t i = first; i < search->host_count; i++) {
        free(search->hosts[i].name);
        free(search->hosts[i].canonical);
        dane_release(&search->hosts[i].dane);
    }
    if (first < search->host_count)
        search->host_count = first;
}

static void drop_queries(struct search *search)
{
    const struct resolver *resolver = &search->router->resolver;
    while (search->queries) {
        struct query *query = search->queries;
        search->queries = query->next;
        resolver->cancel(resolver->arg, query->async_id);
        free(query);
    }
    search->pending = 0;
}

static void search_destroy(struct search *search)
{
    drop_queries(search);
    if (search->is_sts_asked)
        sts_cancel(search->router->sts, search);
    sts_policy_release(&search->sts);
    free(search->sts_problem);
    drop_from(search, 0);
    free(search->hosts);
    timer_free(&search->timer);
    free(search->domain);
    free(search);
}

void search_cancel(struct search *search)
{
    search_destroy(search);
}

static struct route *route_create(struct search *search, enum route_kind kind)
{
    struct route *route = mem_alloc(sizeof *route);
    int64_t ttl_s = search->ttl_s > TTL_CAP_S ? TTL_CAP_S : search->ttl_s < TTL_FLOOR_S ? TTL_FLOOR_S : search->ttl_s;
    if (kind == ROUTE_DEFERRED)
        ttl_s = TTL_TEMPORARY_S;
    route->kind = kind;
    route->domain = mem_copy_text(search->domain);
    route->rule = search->rule;
    route->source = search->source;
    route->is_secure = search->is_secure;
    route->references = 1;
    route->expires_ms = clock_mono_ms() + ttl_s * 1000;
    return route;
}

static void conclude(struct search *search, struct route *route)
{
    struct cached *entry = search->entry;
    search_destroy(search);
    search_done(entry, route);
}

static void fail(struct search *search, int code, const char *status, const char *reason)
{
    struct route *route = route_create(search, code == 451 ? ROUTE_DEFERRED : ROUTE_FAILED);
    route->code = code;
    (void)snprintf(route->status, sizeof route->status, "%s", status);
    struct buf text = {0};
    buf_printf(&text, "%s: %s", search->domain, reason);
    route->reason = buf_take(&text);
    conclude(search, route);
}

/* ---- hosts ---- */

static struct candidate *add_host(struct search *search, const char *name, int port, unsigned preference)
{
    search->hosts = mem_resize(search->hosts, (search->host_count + 1) * sizeof *search->hosts);
    struct candidate *host = &search->hosts[search->host_count++];
    *host = (struct candidate){.name = mem_copy_text(name), .port = port, .preference = preference};
    return host;
}

static int port_of(const struct search *search)
{
    const struct config_route *rule = search->rule;
    if (rule && rule->port && !rule->is_direct_first)
        return rule->port;
    return rule && rule->deliver == CONFIG_DELIVER_LMTP ? ROUTE_LMTP_PORT : search->router->config->delivery.port;
}

/* NULL: it is no host. */
static struct candidate *add_config_host(struct search *search, const char *text, int port, unsigned preference)
{
    char name[256];
    if (strncmp(text, "unix:", 5) == 0)
        (void)snprintf(name, sizeof name, "%s", text);
    else if (!address_split_port(slice_of(text), port, name, &port))
        return NULL;
    struct candidate *host = add_host(search, name, port, preference);
    host->is_trusted = true;
    return host;
}

static void add_rule_hosts(struct search *search)
{
    const struct config_route *rule = search->rule;
    unsigned preference = 0x10000; /* behind every MX */
    int port = rule->port                      ? rule->port
               : config_route_has_login(rule) ? ROUTE_SUBMISSION_PORT
                                               : port_of(search);
    for (size_t i = 0; i < rule->hosts.count; i++) {
        struct candidate *host = add_config_host(search, rule->hosts.items[i], port, preference++);
        if (host)
            host->is_smart = true;
    }
}

static void add_address(struct search *search, struct candidate *host, const struct route_address *address)
{
    struct found *found = address->to.any.sa_family == AF_INET ? &host->v4 : &host->v6;
    const struct config *config = search->router->config;
    if (!host->is_trusted && !config->dns.is_private_allowed && !route_address_is_public(&address->to.any)) {
        host->is_private = true;
        route_address_text(address, host->private_text, sizeof host->private_text);
        return;
    }
    if (found->count < ROUTE_ADDRESSES_MAX)
        found->list[found->count++] = *address;
}

/* The config's own addresses for that name; false if it has none. */
static bool add_overrides(struct search *search, struct candidate *host)
{
    const struct config_list *list = &search->router->config->dns.hosts;
    struct route_address address;
    bool is_found = false;
    for (size_t i = 0; i < list->count; i++) {
        struct slice value = slice_of(list->items[i]);
        struct slice name = slice_trim(slice_cut(&value, '='));
        if (!slice_equals_nocase(name, slice_of(host->name))
            || !address_from_text(slice_trim(value), host->port, &address))
            continue;
        host->is_trusted = is_found = true;
        add_address(search, host, &address);
    }
    return is_found;
}

static bool has_override(const struct config *config, struct slice wanted)
{
    for (size_t i = 0; i < config->dns.hosts.count; i++) {
        struct slice value = slice_of(config->dns.hosts.items[i]);
        if (slice_equals_nocase(slice_trim(slice_cut(&value, '=')), wanted))
            return true;
    }
    return false;
}

/* ---- questions ---- */

static void on_mx(struct search *search, const struct ub_result *result);

static void note_canonical(struct candidate *host, const struct ub_result *result)
{
    struct slice name = slice_of(result->canonname);
    if (name.size && name.data[name.size - 1] == '.')
        name = slice_first(name, name.size - 1);
    if (!result->havedata || name.size == 0 || host->canonical || slice_equals_nocase(name, slice_of(host->name)))
        return;
    host->canonical = slice_copy(name);
}

static void on_address(struct search *search, size_t place, const struct ub_result *result)
{
    struct candidate *host = &search->hosts[place];
    struct route_address address = {0};
    if (!result || result->bogus || (result->rcode != 0 && result->rcode != RCODE_NXDOMAIN)) {
        host->is_temporary = true;
        return;
    }
    if (result->havedata && result->ttl < search->ttl_s)
        search->ttl_s = result->ttl;
    if (result->havedata) {
        host->has_secure = host->has_secure || result->secure;
        host->has_insecure = host->has_insecure || !result->secure;
    }
    note_canonical(host, result);
    for (size_t i = 0; result->havedata && result->data[i]; i++) {
        if (result->qtype == DNS_A && result->len[i] == 4) {
            address.to.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)host->port)};
            memcpy(&address.to.v4.sin_addr, result->data[i], 4);
            add_address(search, host, &address);
        } else if (result->qtype == DNS_AAAA && result->len[i] == 16) {
            address.to.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)host->port)};
            memcpy(&address.to.v6.sin6_addr, result->data[i], 16);
            add_address(search, host, &address);
        }
    }
}

static void on_answer(void *arg, int problem, struct ub_result *result)
{
    struct query *query = arg;
    struct search *search = query->search;
    size_t host = query->host;
    int type = query->type;
    struct query **at = &search->queries;
    while (*at != query)
        at = &(*at)->next;
    *at = query->next;
    free(query);
    if (problem) {
        ub_resolve_free(result);
        result = NULL;
    }
    search->pending--;
    if (type == DNS_MX)
        on_mx(search, result);
    else {
        if (type == DNS_A || type == DNS_AAAA)
            on_address(search, host, result);
        else
            search_dane_answer(search, host, type, result);
        if (search->pending == 0)
            proceed(search);
    }
    ub_resolve_free(result);
}

bool search_ask(struct search *search, const char *name, int type, size_t host)
{
    const struct resolver *resolver = &search->router->resolver;
    struct query *query = mem_alloc(sizeof *query);
    *query = (struct query){.search = search, .host = host, .type = type, .next = search->queries};
    if (!resolver->ask(resolver->arg, name, type, on_answer, query, &query->async_id)) {
        free(query);
        return false;
    }
    search->queries = query;
    search->pending++;
    return true;
}

static void ask_addresses(struct search *search)
{
    const struct config *config = search->router->config;
    struct route_address literal;
    for (size_t i = 0; i < search->host_count; i++) {
        struct candidate *host = &search->hosts[i];
        bool is_asked = false;
        host->is_vouched = host->is_trusted || search->is_secure;
        if (host->problem || add_overrides(search, host))
            continue;
        if (address_from_text(slice_of(host->name), host->port, &literal)) {
            add_address(search, host, &literal);
            continue;
        }
        if (config->dns.is_ipv4)
            is_asked = search_ask(search, host->name, DNS_A, i) || is_asked;
        if (config->dns.is_ipv6)
            is_asked = search_ask(search, host->name, DNS_AAAA, i) || is_asked;
        host->is_temporary = !is_asked;
    }
    if (search->pending == 0)
        proceed(search);
}

/* ---- MX ---- */

static void add_mx(struct search *search, const uint8_t *data, size_t size, bool *ret_has_root)
{
    char name[256];
    struct route_address literal;
    if (size < 3 || !dns_name_from_wire(data + 2, size - 2, name))
        return;
    if (name[0] == '\0') {
        *ret_has_root = true;
        return;
    }
    struct candidate *host = add_host(search, name, port_of(search), (unsigned)data[0] << 8 | data[1]);
    if (address_from_text(slice_of(name), 25, &literal))
        host->problem = "an address where the name of a host was expected";
}

static int by_preference(const void *a, const void *b)
{
    const struct candidate *one = a, *other = b;
    return (one->preference > other->preference) - (one->preference < other->preference);
}

/* N5: ourselves, and all that are not better. */
static void drop_ourselves(struct search *search)
{
    struct slice us = slice_of(search->router->config->hostname);
    for (size_t i = 0; i < search->host_count; i++) {
        if (!slice_equals_nocase(slice_of(search->hosts[i].name), us))
            continue;
        size_t first = i;
        while (first > 0 && search->hosts[first - 1].preference == search->hosts[i].preference)
            first--;
        drop_from(search, first);
        search->has_us = true;
        return;
    }
}

static void use_mx(struct search *search, const struct ub_result *result)
{
    bool has_root = false;
    for (size_t i = 0; result->data[i] && search->host_count < 10 * ROUTE_HOSTS_MAX * 10; i++)
        add_mx(search, (const uint8_t *)result->data[i], (size_t)result->len[i], &has_root);
    if (search->host_count == 0) {
        if (has_root)
            fail(search, 556, "5.1.10", "the domain takes no mail (null MX, RFC 7505)");
        else
            fail(search, 550, "5.4.4", "its MX records are malformed");
        return;
    }
    qsort(search->hosts, search->host_count, sizeof *search->hosts, by_preference);
    drop_ourselves(search);
    if (search->host_count == 0) {
        fail(search, 550, "5.4.6", "the best mail exchanger is this relay itself, which does not take it: a loop");
        return;
    }
    drop_from(search, ROUTE_HOSTS_MAX);
    if (search->rule && search->rule->is_direct_first)
        add_rule_hosts(search);
    ask_addresses(search);
}

static void no_mx(struct search *search, int code, const char *status, const char *reason)
{
    if (search->rule && search->rule->is_direct_first && search->rule->hosts.count) {
        search->source = "route";
        add_rule_hosts(search);
        ask_addresses(search);
    } else {
        fail(search, code, status, reason);
    }
}

static void on_mx(struct search *search, const struct ub_result *result)
{
    char reason[200];
    if (result && result->havedata && result->ttl < search->ttl_s)
        search->ttl_s = result->ttl;
    if (result && !result->havedata && result->ttl > 0)
        search->ttl_s = result->ttl < 60 ? result->ttl : 60;
    if (!result) {
        no_mx(search, 451, "4.4.3", "the MX look-up failed");
    } else if (result->bogus) {
        (void)snprintf(reason, sizeof reason, "the DNSSEC signatures of its MX answer are wrong: %s",
                       result->why_bogus ? result->why_bogus : "bogus");
        no_mx(search, 451, "4.4.3", reason);
    } else if (result->nxdomain || result->rcode == RCODE_NXDOMAIN) {
        no_mx(search, 550, "5.1.2", "domain does not exist (NXDOMAIN)");
    } else if (result->rcode != 0) {
        (void)snprintf(reason, sizeof reason, "the name servers could not answer the MX look-up (%s)",
                       result->rcode == 2 ? "SERVFAIL" : result->rcode == 5 ? "REFUSED" : "an error");
        no_mx(search, 451, "4.4.3", reason);
    } else if (result->havedata) {
        search->is_secure = result->secure;
        use_mx(search, result);
    } else {
        search->source = "implicit mx";
        search->is_secure = result->secure;
        (void)add_host(search, search->domain, port_of(search), 0);
        if (search->rule && search->rule->is_direct_first)
            add_rule_hosts(search);
        ask_addresses(search);
    }
}

/* ---- the route ---- */

static bool is_implicit(const struct config_route *rule, const struct candidate *host)
{
    if (!host->is_smart || rule->deliver != CONFIG_DELIVER_SMTP)
        return false;
    return rule->implicit_tls == CONFIG_IMPLICIT_YES
           || (rule->implicit_tls == CONFIG_IMPLICIT_AUTO && host->port == ROUTE_SUBMISSIONS_PORT);
}

/* Families in turn, IPv6 first: a dead family costs one try (N1). */
static void fill_host(const struct config_route *rule, const struct candidate *from, struct route_host *to)
{
    *to = (struct route_host){.name = mem_copy_text(from->name), .preference = from->preference,
                              .problem = from->problem, .is_secure = from->has_secure && !from->has_insecure,
                              .is_vouched = from->is_vouched, .is_smart = from->is_smart,
                              .is_implicit = is_implicit(rule, from), .dane = dane_hold(from->dane)};
    for (size_t i = 0; i < ROUTE_ADDRESSES_MAX && to->address_count < ROUTE_ADDRESSES_MAX; i++) {
        if (i < from->v6.count)
            to->addresses[to->address_count++] = from->v6.list[i];
        if (i < from->v4.count && to->address_count < ROUTE_ADDRESSES_MAX)
            to->addresses[to->address_count++] = from->v4.list[i];
    }
    if (to->address_count == 0 && !to->problem)
        to->problem = from->is_temporary ? "its address look-up failed"
                      : from->is_private ? "it resolves to a private address"
                                         : "it has no address";
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has_authority(const struct dane *dane)
{
    for (size_t i = 0; dane && i < dane->count; i++)
        if (dane->records[i].usage == 2)
            return true;
    return false;
}

/* N9: rule, then hosts with preference and addresses, in an order that chance doesn't change. */
static char *site_name(const struct search *search, const struct route *route)
{
    char *texts[TARGETS], address[64];
    size_t count = 0;
    struct buf name = {0};
    bool has_names = false; /* the domain is among the names that a certificate may have (RFC 7672 3.2.2) */
    for (size_t i = 0; i < route->usable_count; i++) {
        const struct route_host *host = &route->hosts[i];
        has_names = has_names || has_authority(host->dane);
        for (size_t k = 0; k < host->address_count && count < TARGETS; k++) {
            struct buf text = {0};
            route_address_text(&host->addresses[k], address, sizeof address);
            buf_printf(&text, "%05u %s %s%s%s", host->preference, host->name, address, host->is_smart ? " smart" : "",
                       !host->dane                          ? ""
                       : host->dane->state == DANE_USABLE   ? " dane"
                       : host->dane->state == DANE_UNUSABLE ? " dane-unusable"
                                                            : " dane-failed");
            texts[count++] = buf_take(&text);
        }
    }
    qsort(texts, count, sizeof *texts, by_text);
    if (search->rule)
        buf_printf(&name, "%s: ", search->rule->pattern);
    for (size_t i = 0; i < count; i++) {
        buf_append_text(&name, texts[i]);
        buf_append_byte(&name, '\n');
        free(texts[i]);
    }
    if (search->sts && search->sts->mode != STS_NONE)
        buf_printf(&name, "mta-sts %s %s %s\n", sts_mode_name(search->sts->mode), search->sts->id, search->domain);
    if (has_names)
        buf_printf(&name, "dane-ta %s\n", search->domain);
    return buf_take(&name);
}

static void fail_unusable(struct search *search)
{
    char reason[400];
    const char *private_text = NULL;
    bool is_temporary = false;
    for (size_t i = 0; i < search->host_count; i++) {
        is_temporary = is_temporary || search->hosts[i].is_temporary;
        if (search->hosts[i].is_private)
            private_text = search->hosts[i].private_text;
    }
    if (is_temporary) {
        fail(search, 451, "4.4.3", "the address look-up of its mail hosts failed");
    } else if (private_text) {
        (void)snprintf(reason, sizeof reason, "resolves to a private address (%s), which dns.allow_private refuses",
                       private_text);
        fail(search, 550, "5.4.4", reason);
    } else if (strcmp(search->source, "implicit mx") == 0) {
        fail(search, 550, "5.4.4", "it has neither MX nor address records");
    } else {
        fail(search, 550, "5.4.4", "none of its mail hosts has an address");
    }
}

static bool has_address(const struct search *search)
{
    for (size_t i = 0; i < search->host_count; i++)
        if (search->hosts[i].v4.count + search->hosts[i].v6.count > 0)
            return true;
    return false;
}

static void finish(struct search *search)
{
    size_t usable = 0;
    for (size_t i = 0; i < search->host_count; i++) {
        const struct candidate *host = &search->hosts[i];
        usable += !host->problem && host->v4.count + host->v6.count > 0;
    }
    if (usable == 0) {
        fail_unusable(search);
        return;
    }
    struct route *route = route_create(search, ROUTE_HOSTS);
    route->hosts = mem_alloc(search->host_count * sizeof *route->hosts);
    route->host_count = search->host_count;
    size_t behind = usable;
    for (size_t i = 0; i < search->host_count; i++) {
        const struct candidate *host = &search->hosts[i];
        bool is_usable = !host->problem && host->v4.count + host->v6.count > 0;
        fill_host(search->rule, host, &route->hosts[is_usable ? route->usable_count++ : behind++]);
    }
    route->sts = sts_policy_hold(search->sts);
    route->sts_problem = search->sts_problem ? mem_copy_text(search->sts_problem) : NULL;
    route->site = site_name(search, route);
    route_shuffle(search->router, route);
    conclude(search, route);
}

/* All that was asked is answered: what comes next. */
static void proceed(struct search *search)
{
    if (!search->is_dane_asked && has_address(search)) {
        search->is_dane_asked = true;
        search_dane_start(search);
        if (search->pending)
            return;
    }
    if (!search->is_sts_asked)
        finish(search);
}

static void on_sts(void *arg, struct sts_policy *policy, const char *problem)
{
    struct search *search = arg;
    search->is_sts_asked = false;
    search->sts = sts_policy_hold(policy);
    search->sts_problem = problem ? mem_copy_text(problem) : NULL;
    if (search->pending == 0)
        proceed(search);
}

/* ---- beginnings ---- */

static void on_timeout(void *arg)
{
    struct search *search = arg;
    char reason[100];
    /* Hosts whose addresses are known are tried rather than waited for. */
    if (has_address(search)) {
        search->ttl_s = TTL_FLOOR_S;
        search_dane_give_up(search);
        drop_queries(search);
        proceed(search); /* a policy that is being fetched has a deadline of its own */
        return;
    }
    (void)snprintf(reason, sizeof reason, "the name servers did not answer in %lld s",
                   (long long)((search->router->config->dns.timeout_ms + 999) / 1000));
    fail(search, 451, "4.4.3", reason);
}

static void start_literal(struct search *search)
{
    struct route_address address;
    search->source = "literal";
    struct candidate *host = add_host(search, search->domain, port_of(search), 0);
    if (address_from_text(slice_of(search->domain), host->port, &address)) {
        add_address(search, host, &address);
        proceed(search);
    } else {
        fail(search, 550, "5.1.3", "no address literal that could be connected to");
    }
}

static void conclude_local(struct search *search, const char *source)
{
    search->source = source;
    conclude(search, route_create(search, ROUTE_LOCAL));
}

void search_start(struct cached *entry, struct slice domain, struct slice reroute)
{
    struct router *router = entry->router;
    const struct config *config = router->config;
    struct search *search = mem_alloc(sizeof *search);
    search->entry = entry;
    search->router = router;
    search->domain = slice_copy(domain);
    search->rule = config_route_find(config, domain);
    search->source = "mx";
    search->ttl_s = TTL_CAP_S;
    search->timer = timer_make(router->base, on_timeout, search);
    timer_set(search->timer, config->dns.timeout_ms);
    entry->search = search;
    bool has_rule_hosts = search->rule && search->rule->hosts.count && !search->rule->is_direct_first;
    if (reroute.size) {
        search->source = "reroute";
        char *text = slice_copy(reroute);
        (void)add_config_host(search, text, port_of(search), 0);
        free(text);
        ask_addresses(search);
    } else if (search->rule && search->rule->deliver == CONFIG_DELIVER_DROP) {
        conclude_local(search, "drop");
    } else if (search->rule && search->rule->deliver == CONFIG_DELIVER_MAILDIR) {
        conclude_local(search, "maildir");
    } else if (has_rule_hosts) {
        search->source = "route";
        add_rule_hosts(search);
        ask_addresses(search);
    } else if (domain.size && domain.data[0] == '[') {
        start_literal(search);
    } else if (has_override(config, domain)) {
        search->source = "hosts";
        (void)add_host(search, search->domain, port_of(search), 0);
        ask_addresses(search);
    } else if (!search_ask(search, search->domain, DNS_MX, 0)) {
        fail(search, 451, "4.4.3", "the MX look-up could not be asked");
    } else if (router->sts) {
        search->is_sts_asked = true;
        sts_lookup(router->sts, search->domain, on_sts, search);
    }
}
