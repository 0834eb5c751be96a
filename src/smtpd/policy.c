#include "smtpd/policy.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <stdlib.h>

bool policy_address_parse(struct slice text, struct in6_addr *ret_address)
{
    char copy[INET6_ADDRSTRLEN + 1];
    struct in_addr v4;
    if (text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (inet_pton(AF_INET6, copy, ret_address) == 1)
        return true;
    if (inet_pton(AF_INET, copy, &v4) != 1)
        return false;
    *ret_address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}}; /* ::ffff:a.b.c.d */
    memcpy(&ret_address->s6_addr[12], &v4, 4);
    return true;
}

static bool network_parse(struct slice text, struct policy_network *ret_network)
{
    struct slice rest = text;
    struct slice address = slice_cut(&rest, '/');
    unsigned whole = slice_find_byte(address, ':') >= 0 ? 128 : 32;
    uint64_t bits = whole;
    bool has_bits = address.size < text.size;
    if (!policy_address_parse(address, &ret_network->address) || (has_bits && !slice_to_u64(rest, &bits)) || bits > whole)
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

bool policy_load(const struct config *config, struct policy *ret_policy, struct error *error)
{
    *ret_policy = (struct policy){.domains = config->smtp.domains};
    const struct { const char *key; const struct config_list *list; struct policy_networks *networks; } lists[] = {
        {"relay_networks", &config->smtp.relay_networks, &ret_policy->relay},
        {"allow", &config->smtp.allow, &ret_policy->allow},
        {"deny", &config->smtp.deny, &ret_policy->deny},
        {"xclient", &config->smtp.xclient, &ret_policy->xclient},
        {"proxy", &config->smtp.proxy, &ret_policy->proxy},
    };
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        if (!networks_load(lists[i].key, lists[i].list, lists[i].networks, error)) {
            policy_finish(ret_policy);
            return false;
        }
    }
    return true;
}

void policy_finish(struct policy *policy)
{
    struct policy_networks *all[] = {&policy->relay, &policy->allow, &policy->deny, &policy->xclient, &policy->proxy};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        free(all[i]->items);
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
