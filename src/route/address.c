#include "route/route_private.h"

#include <arpa/inet.h>
#include <stdio.h>

struct range { uint8_t bytes[16]; unsigned bits; };

/* Where no mail of the internet belongs (N6); RFC 6890 and successors. */
static const struct range v4_ranges[] = {
    {{0}, 8},           {{10}, 8},          {{100, 64}, 10},    {{127}, 8},       {{169, 254}, 16},
    {{172, 16}, 12},    {{192, 0, 0}, 24},  {{192, 0, 2}, 24},  {{192, 168}, 16}, {{198, 18}, 15},
    {{198, 51, 100}, 24}, {{203, 0, 113}, 24}, {{224}, 4},      {{240}, 4},
};
static const struct range v6_ranges[] = {
    {{0}, 128},                        /* :: */
    {{[15] = 1}, 128},                 /* ::1 */
    {{1}, 64},                         /* 100::/64, discard */
    {{0x20, 1, 0x0d, 0xb8}, 32},       /* documentation */
    {{0xfc}, 7},   {{0xfe, 0x80}, 10}, {{0xfe, 0xc0}, 10}, {{0xff}, 8},
};
/* Forms that carry an IPv4 address: prefix, and where its octets stand. */
static const struct { struct range range; size_t at; } carriers[] = {
    {{{[10] = 0xff, [11] = 0xff}, 96}, 12}, /* ::ffff:a.b.c.d */
    {{{0}, 96}, 12},                        /* ::a.b.c.d */
    {{{0, 0x64, 0xff, 0x9b}, 96}, 12},      /* NAT64, RFC 6052 */
    {{{0x20, 2}, 16}, 2},                   /* 6to4 */
};

static bool is_in(const uint8_t *address, const struct range *range)
{
    size_t octets = range->bits / 8;
    unsigned rest = range->bits % 8;
    if (memcmp(address, range->bytes, octets) != 0)
        return false;
    return rest == 0 || ((address[octets] ^ range->bytes[octets]) >> (8 - rest)) == 0;
}

static bool is_public_v4(const uint8_t *address)
{
    for (size_t i = 0; i < COUNT_OF(v4_ranges); i++)
        if (is_in(address, &v4_ranges[i]))
            return false;
    return true;
}

bool route_address_is_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return is_public_v4((const uint8_t *)&((const struct sockaddr_in *)address)->sin_addr);
    const uint8_t *octets = ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
    for (size_t i = 0; i < COUNT_OF(v6_ranges); i++)
        if (is_in(octets, &v6_ranges[i]))
            return false;
    for (size_t i = 0; i < COUNT_OF(carriers); i++)
        if (is_in(octets, &carriers[i].range))
            return is_public_v4(octets + carriers[i].at);
    return true;
}

void route_address_text(const struct route_address *address, char *ret_text, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (address->to.any.sa_family == AF_UNIX) {
        (void)snprintf(ret_text, size, "unix:%s", address->to.local.sun_path);
        return;
    }
    if (address->to.any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &address->to.v4.sin_addr, ip, sizeof ip);
        (void)snprintf(ret_text, size, "%s:%d", ip, ntohs(address->to.v4.sin_port));
    } else {
        (void)inet_ntop(AF_INET6, &address->to.v6.sin6_addr, ip, sizeof ip);
        (void)snprintf(ret_text, size, "[%s]:%d", ip, ntohs(address->to.v6.sin6_port));
    }
}

bool address_from_text(struct slice text, int port, struct route_address *ret_address)
{
    char ip[INET6_ADDRSTRLEN];
    if (slice_starts(text, SLICE("unix:/")) && text.size - 5 < sizeof ret_address->to.local.sun_path) {
        *ret_address = (struct route_address){.to.local = {.sun_family = AF_UNIX}};
        memcpy(ret_address->to.local.sun_path, text.data + 5, text.size - 5);
        return true;
    }
    if (text.size > 2 && text.data[0] == '[' && text.data[text.size - 1] == ']')
        text = slice_make(text.data + 1, text.size - 2);
    if (slice_starts_nocase(text, SLICE("IPv6:")))
        text = slice_from(text, 5);
    if (text.size == 0 || text.size >= sizeof ip)
        return false;
    memcpy(ip, text.data, text.size);
    ip[text.size] = '\0';
    *ret_address = (struct route_address){0};
    if (inet_pton(AF_INET, ip, &ret_address->to.v4.sin_addr) == 1) {
        ret_address->to.v4.sin_family = AF_INET;
        ret_address->to.v4.sin_port = htons((uint16_t)port);
        return true;
    }
    if (inet_pton(AF_INET6, ip, &ret_address->to.v6.sin6_addr) != 1)
        return false;
    ret_address->to.v6.sin6_family = AF_INET6;
    ret_address->to.v6.sin6_port = htons((uint16_t)port);
    return true;
}

bool address_split_port(struct slice text, int default_port, char ret_name[256], int *ret_port)
{
    uint64_t port = (uint64_t)default_port;
    struct slice name = text;
    size_t colons = 0, last = 0;
    for (size_t i = 0; i < text.size; i++) {
        colons += text.data[i] == ':';
        last = text.data[i] == ':' ? i : last;
    }
    bool is_bracketed = text.size && text.data[0] == '[';
    bool has_port = colons && (is_bracketed ? text.data[last - 1] == ']' : colons == 1);
    if (has_port) {
        name = slice_first(text, last);
        if (!slice_to_u64(slice_from(text, last + 1), &port) || port == 0 || port > 65535)
            return false;
    }
    if (name.size == 0 || name.size > 255)
        return false;
    memcpy(ret_name, name.data, name.size);
    ret_name[name.size] = '\0';
    *ret_port = (int)port;
    return true;
}
