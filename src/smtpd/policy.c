#include "smtpd/policy.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

static const struct slice user_prefix = {"user:", 5};

void policy_address_text(const struct in6_addr *address, char ret_text[48])
{
    char text[INET6_ADDRSTRLEN];
    bool is_v4 = IN6_IS_ADDR_V4MAPPED(address);
    (void)inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? (const void *)&address->s6_addr[12] : address, text, sizeof text);
    (void)snprintf(ret_text, 48, "%s%s", is_v4 ? "" : "IPv6:", text);
}

static bool network_parse(struct slice text, struct policy_network *ret_network)
{
    struct slice rest = text;
    struct slice address = slice_cut(&rest, '/');
    unsigned whole = slice_find_byte(address, ':') >= 0 ? 128 : 32;
    uint64_t bits = whole;
    bool has_bits = address.size < text.size;
    if (!ip_parse(address, &ret_network->address) || (has_bits && !slice_to_u64(rest, &bits)) || bits > whole)
        return false;
    ret_network->bits = (unsigned)bits + 128 - whole;
    return true;
}

static bool networks_load(const char *key, const struct config_list *list, struct policy_networks *ret_networks,
                          struct error *error)
{
    ret_networks->items = mem_alloc((list->count + 1) * sizeof *ret_networks->items);
    for (size_t i = 0; i < list->count; i++)
        if (!network_parse(slice_of(list->items[i]), &ret_networks->items[ret_networks->count++]))
            return error_set(error, "smtp.%s: \"%s\": an address or a network was expected, as in \"10.0.0.0/8\"", key,
                             list->items[i]);
    return true;
}

/* An open relay is found within hours and blocked everywhere; a slip of the pen should not make one. */
static bool is_everybody_meant(const struct config *config, const struct policy_networks *relay, struct error *error)
{
    for (size_t i = 0; i < relay->count && !config->smtp.is_open_relay; i++) {
        const struct policy_network *network = &relay->items[i];
        if (network->bits == 0 || (network->bits == 96 && IN6_IS_ADDR_V4MAPPED(&network->address)))
            return error_set(error, "smtp.relay_networks: \"%s\" is everybody, which makes an open relay: name the networks, or set "
                                    "smtp.open_relay = true if nobody from outside can connect", config->smtp.relay_networks.items[i]);
    }
    return true;
}

/* The networks among a route's etrn_clients; "user:NAME" are looked for in the list itself. */
static bool queue_load(const struct config_route *rule, struct policy_queue *ret_queue, struct error *error)
{
    *ret_queue = (struct policy_queue){.rule = rule};
    ret_queue->clients.items = mem_alloc((rule->etrn_clients.count + 1) * sizeof *ret_queue->clients.items);
    for (size_t i = 0; i < rule->etrn_clients.count; i++) {
        struct slice client = slice_of(rule->etrn_clients.items[i]);
        if (!slice_starts(client, user_prefix) && !network_parse(client, &ret_queue->clients.items[ret_queue->clients.count++]))
            return error_set(error, "route \"%s\": etrn_clients: \"%s\": a network, as in \"10.0.0.0/8\", or user:NAME was expected",
                             rule->pattern, rule->etrn_clients.items[i]);
    }
    return true;
}

static bool queues_load(const struct config *config, struct policy *policy, struct error *error)
{
    policy->queues = mem_alloc((config->route_count + 1) * sizeof *policy->queues);
    for (size_t i = 0; i < config->route_count; i++)
        if (config->routes[i].is_etrn && !queue_load(&config->routes[i], &policy->queues[policy->queue_count++], error))
            return false;
    return true;
}

bool policy_load(const struct config *config, struct policy *ret_policy, struct error *error)
{
    *ret_policy = (struct policy){.config = config, .domains = config->smtp.domains};
    const struct { const char *key; const struct config_list *list; struct policy_networks *networks; } lists[] = {
        {"relay_networks", &config->smtp.relay_networks, &ret_policy->relay},
        {"allow", &config->smtp.allow, &ret_policy->allow},
        {"deny", &config->smtp.deny, &ret_policy->deny},
        {"xclient", &config->smtp.xclient, &ret_policy->xclient},
        {"proxy", &config->smtp.proxy, &ret_policy->proxy},
        {"bare_lf", &config->smtp.bare_lf, &ret_policy->bare_lf},
    };
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (!networks_load(lists[i].key, lists[i].list, lists[i].networks, error)) {
            policy_finish(ret_policy);
            return false;
        }
    }
    if (is_everybody_meant(config, &ret_policy->relay, error) && queues_load(config, ret_policy, error))
        return true;
    policy_finish(ret_policy);
    return false;
}

void policy_finish(struct policy *policy)
{
    struct policy_networks *all[] = {&policy->relay, &policy->allow, &policy->deny, &policy->xclient, &policy->proxy,
                                    &policy->bare_lf};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        free(all[i]->items);
    for (size_t i = 0; i < policy->queue_count; i++)
        free(policy->queues[i].clients.items);
    free(policy->queues);
    *policy = (struct policy){0};
}

static bool is_within(const struct policy_network *network, const struct in6_addr *address)
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(network->address.s6_addr, address->s6_addr, whole) != 0)
        return false;
    unsigned mask = 0xff00u >> rest & 0xff;
    return rest == 0 || ((network->address.s6_addr[whole] ^ address->s6_addr[whole]) & mask) == 0;
}

bool policy_has(const struct policy_networks *networks, const struct in6_addr *address)
{
    for (size_t i = 0; i < networks->count; i++)
        if (is_within(&networks->items[i], address))
            return true;
    return false;
}

bool policy_admits(const struct policy *policy, const struct in6_addr *address)
{
    return !policy_has(&policy->deny, address) && (policy->allow.count == 0 || policy_has(&policy->allow, address));
}

static bool domain_fits(struct slice pattern, struct slice domain)
{
    if (slice_starts(pattern, SLICE("*.")))
        return domain.size > pattern.size - 1 && slice_ends_nocase(domain, slice_from(pattern, 1));
    return slice_equals_nocase(pattern, domain);
}

bool policy_is_ours(const struct policy *policy, const struct address *address)
{
    for (size_t i = 0; i < address->local.size; i++)
        if (strchr("%!@", address->local.data[i]))
            return false;
    for (size_t i = 0; i < policy->domains.count; i++)
        if (domain_fits(slice_of(policy->domains.items[i]), address->domain))
            return true;
    return false;
}

static bool may_start(const struct policy_queue *queue, const struct in6_addr *address, const char *user, bool may_relay)
{
    const struct config_list *clients = &queue->rule->etrn_clients;
    if (clients->count == 0)
        return may_relay || user[0];
    for (size_t i = 0; user[0] && i < clients->count; i++) {
        struct slice client = slice_of(clients->items[i]);
        if (slice_starts(client, user_prefix) && slice_equals(slice_from(client, user_prefix.size), slice_of(user)))
            return true;
    }
    return policy_has(&queue->clients, address);
}

enum policy_etrn policy_etrn(const struct policy *policy, const struct in6_addr *address, const char *user, bool may_relay,
                             struct slice node)
{
    bool is_queue = slice_starts(node, SLICE("#")), is_wide = slice_starts(node, SLICE("@")), is_known = false;
    struct slice name = slice_from(node, is_queue || is_wide);
    const struct config_route *closest = is_queue ? NULL : config_route_find(policy->config, name);
    for (size_t i = 0; i < policy->queue_count; i++) {
        const struct policy_queue *queue = &policy->queues[i];
        const char *its_name = queue->rule->etrn_queue;
        bool is_named = is_queue ? its_name && slice_equals_nocase(slice_of(its_name), name) : queue->rule == closest;
        if (!is_named && !(is_wide && address_is_below(slice_of(queue->rule->pattern), name)))
            continue;
        if (!may_start(queue, address, user, may_relay))
            return ETRN_DENIED;
        is_known = is_known || is_named;
    }
    return is_known ? ETRN_ALLOWED : ETRN_UNKNOWN;
}
