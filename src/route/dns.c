#include "route/dns.h"

#include "base/mem.h"
#include "os/clock.h"
#include "route/route_private.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROBE_MS_MAX = 3000 };
enum probe { PROBE_NEVER, PROBE_SIGNED, PROBE_UNSIGNED };

static _Atomic int probed; /* enum probe: of this process's resolver (D3) */

static bool set_server(struct ub_ctx *context, const char *server, struct error *error)
{
    char name[256], forward[300];
    int port;
    if (!address_split_port(slice_of(server), 53, name, &port))
        return error_set(error, "dns.servers: %s: an address with or without a port was expected", server);
    struct slice ip = slice_of(name);
    if (ip.size > 2 && name[0] == '[')
        ip = slice_make(name + 1, ip.size - 2);
    (void)snprintf(forward, sizeof forward, "%.*s@%d", SLICE_FMT(ip), port);
    int result = ub_ctx_set_fwd(context, forward);
    return result == 0 || error_set(error, "dns.servers: %s: %s", server, ub_strerror(result));
}

static bool set_servers(struct ub_ctx *context, const struct config *config, struct error *error)
{
    for (size_t i = 0; i < config->dns.servers.count; i++)
        if (!set_server(context, config->dns.servers.items[i], error))
            return false;
    /* A missing resolv.conf means a resolver on this host (resolv.conf(5)). */
    return config->dns.servers.count || ub_ctx_resolvconf(context, NULL) == 0
           || set_server(context, "127.0.0.1", error);
}

static bool configure(struct ub_ctx *context, const struct config *config, struct error *error)
{
    static const char *const options[][2] = {
        {"do-not-query-localhost:", "no"}, {"cache-max-negative-ttl:", "60"}, {"infra-host-ttl:", "30"},
        {"edns-buffer-size:", "1232"},     {"use-caps-for-id:", "no"},       {"serve-expired:", "no"},
        {"infra-keep-probing:", "yes"},  {"unblock-lan-zones:", "yes"},
    };
    for (size_t i = 0; i < COUNT_OF(options); i++) {
        int result = ub_ctx_set_option(context, options[i][0], options[i][1]);
        if (result)
            return error_set(error, "DNS: %s %s", options[i][0], ub_strerror(result));
    }
    if (!set_servers(context, config, error))
        return false;
    if (dns_is_validating(config)) {
        int result = ub_ctx_add_ta_file(context, config->dns.trust_anchor);
        if (result)
            return error_set(error, "dns.trust_anchor: %s: %s", config->dns.trust_anchor, ub_strerror(result));
    }
    int result = ub_ctx_async(context, 1); /* its worker is a thread of ours, not a process */
    if (result)
        return error_set(error, "DNS: %s", ub_strerror(result));
    /* From here on the context takes no more settings, but its zones can go (D2). */
    static const char *const zones[] = {"test.", "home.arpa.", "127.in-addr.arpa."};
    for (size_t i = 0; i < COUNT_OF(zones); i++)
        (void)ub_ctx_zone_remove(context, zones[i]);
    return true;
}

bool dns_is_validating(const struct config *config)
{
    return config->dns.trust_anchor && !(config->dns.is_anchor_standard && atomic_load(&probed) == PROBE_UNSIGNED);
}

const char *dns_problem(const struct config *config)
{
    return config->dns.is_anchor_standard && atomic_load(&probed) == PROBE_UNSIGNED
               ? "the resolver takes DNSSEC signatures out of its answers: there is no DANE. Give dns.servers one that passes them, as "
                 "unbound on this host; dns.trust_anchor = none ends this warning"
               : NULL;
}

struct ub_ctx *dns_open_unprobed(const struct config *config, struct error *error)
{
    struct ub_ctx *context = ub_ctx_create();
    if (!context) {
        (void)error_set(error, "DNS: libunbound has no memory");
        return NULL;
    }
    if (!configure(context, config, error)) {
        ub_ctx_delete(context);
        return NULL;
    }
    return context;
}

bool dns_is_probe_due(const struct config *config)
{
    return config->dns.is_anchor_standard && atomic_load(&probed) == PROBE_NEVER;
}

int dns_probe_ms(const struct config *config)
{
    return config->dns.timeout_ms < PROBE_MS_MAX ? (int)config->dns.timeout_ms : PROBE_MS_MAX;
}

void dns_learn(const struct ub_result *root_ns)
{
    int never = PROBE_NEVER; /* the first answer counts: who comes between later can't take DNSSEC away */
    if (root_ns->secure || root_ns->bogus)
        (void)atomic_compare_exchange_strong(&probed, &never, root_ns->secure ? PROBE_SIGNED : PROBE_UNSIGNED);
}

struct ub_ctx *dns_open(const struct config *config, struct error *error)
{
    struct ub_ctx *context = dns_open_unprobed(config, error);
    if (!context || !dns_is_probe_due(config))
        return context;
    struct dns_question root = {.name = ".", .type = DNS_NS};
    dns_ask(context, &root, 1, dns_probe_ms(config));
    if (root.result)
        dns_learn(root.result);
    ub_resolve_free(root.result);
    if (dns_is_validating(config))
        return context;
    ub_ctx_delete(context);
    return dns_open_unprobed(config, error);
}

static void on_answer(void *arg, int problem, struct ub_result *result)
{
    struct dns_question *question = arg;
    if (!problem)
        question->result = result;
}

static bool is_open(const struct dns_question *questions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!questions[i].result)
            return true;
    return false;
}

void dns_ask(struct ub_ctx *context, struct dns_question *questions, size_t count, int timeout_ms)
{
    int64_t end_ms = clock_mono_ms() + timeout_ms, left_ms = timeout_ms;
    int *ids = mem_alloc(count * sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        questions[i].result = NULL;
        (void)ub_resolve_async(context, questions[i].name, questions[i].type, DNS_CLASS_IN, &questions[i], on_answer, &ids[i]);
    }
    while (is_open(questions, count) && left_ms > 0) {
        struct pollfd readable = {.fd = ub_fd(context), .events = POLLIN};
        if (poll(&readable, 1, (int)left_ms) > 0)
            (void)ub_process(context);
        left_ms = end_ms - clock_mono_ms();
    }
    for (size_t i = 0; i < count; i++)
        if (!questions[i].result)
            (void)ub_cancel(context, ids[i]);
    free(ids);
}

void dns_reverse_name(const struct sockaddr *address, char ret_name[DNS_NAME_SIZE])
{
    size_t at = 0;
    if (address->sa_family == AF_INET) {
        const unsigned char *octet = (const unsigned char *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
        (void)snprintf(ret_name, DNS_NAME_SIZE, "%d.%d.%d.%d.in-addr.arpa", octet[3], octet[2], octet[1], octet[0]);
        return;
    }
    const unsigned char *octet = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr;
    for (int i = 15; i >= 0; i--)
        at += (size_t)snprintf(ret_name + at, DNS_NAME_SIZE - at, "%x.%x.", octet[i] & 15, octet[i] >> 4);
    (void)snprintf(ret_name + at, DNS_NAME_SIZE - at, "ip6.arpa");
}

bool dns_name_from_wire(const uint8_t *wire, size_t size, char ret_name[DNS_NAME_SIZE])
{
    size_t at = 0, out = 0;
    while (at < size && wire[at]) {
        size_t label = wire[at++];
        if (label > 63 || at + label > size || out + label + 1 >= 255)
            return false;
        if (out)
            ret_name[out++] = '.';
        for (size_t i = 0; i < label; i++) {
            uint8_t c = wire[at + i];
            if (c <= 0x20 || c >= 0x7f || c == '.')
                return false;
            ret_name[out++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
        }
        at += label;
    }
    ret_name[out] = '\0';
    return at < size;
}

void dns_join_strings(const char *data, size_t size, struct buf *out)
{
    for (size_t at = 0; at < size;) {
        size_t length = (unsigned char)data[at++];
        if (length > size - at)
            length = size - at;
        buf_append(out, slice_make(data + at, length));
        at += length;
    }
}
