#include "config/web.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

enum { SHA256_HEX = 64 };

bool config_web_address(const struct config *config, struct sockaddr_storage *ret_address, unsigned *ret_size)
{
    char ip[64];
    uint64_t port;
    struct slice text = slice_of(config->web.listen);
    size_t colon = text.size;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    struct slice host = colon ? slice_first(text, colon - 1) : SLICE("");
    if (host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']')
        host = slice_make(host.data + 1, host.size - 2);
    if (colon == 0 || !slice_to_u64(slice_from(text, colon), &port) || port == 0 || port > 65535 || host.size >= sizeof ip)
        return false;
    (void)snprintf(ip, sizeof ip, "%.*s", SLICE_FMT(host));
    memset(ret_address, 0, sizeof *ret_address);
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_size = sizeof *v4;
        return true;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *ret_size = sizeof *v6;
    return inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    if (address->ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* "ci:read+send:9f86d0…" */
static bool is_token(struct slice text)
{
    struct slice name = slice_cut(&text, ':'), scopes = slice_cut(&text, ':');
    bool is_fine = name.size > 0 && scopes.size > 0 && text.size == SHA256_HEX;
    while (is_fine && scopes.size) {
        struct slice scope = slice_cut(&scopes, '+');
        is_fine = slice_equals(scope, SLICE("read")) || slice_equals(scope, SLICE("send")) || slice_equals(scope, SLICE("manage"));
    }
    for (size_t i = 0; is_fine && i < text.size; i++)
        is_fine = (text.data[i] >= '0' && text.data[i] <= '9') || (text.data[i] >= 'a' && text.data[i] <= 'f');
    return is_fine;
}

bool web_check(const struct config *config, const char **ret_key, struct error *error)
{
    struct sockaddr_storage address;
    unsigned size;
    *ret_key = "web.listen";
    if (!config_web_address(config, &address, &size))
        return error_set(error, "\"%s\": an address with a port was expected, as 127.0.0.1:8025", config->web.listen);
    if (!is_loopback(&address) && !(config->web.certificate && config->web.key))
        return error_set(error, "\"%s\" is open to the network: web.certificate and web.key are needed for it; or listen on "
                         "127.0.0.1 behind a proxy", config->web.listen);
    *ret_key = "web.certificate";
    if (!config->web.certificate != !config->web.key)
        return error_set(error, "web.certificate and web.key belong together");
    *ret_key = "web.tokens";
    for (size_t i = 0; i < config->web.tokens.count; i++)
        if (!is_token(slice_of(config->web.tokens.items[i])))
            return error_set(error, "NAME:SCOPES:SHA256 was expected; scopes are read, send, manage, parted by +; the hash has 64 "
                             "hex digits");
    return true;
}
