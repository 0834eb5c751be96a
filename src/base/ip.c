#include "base/ip.h"

#include <arpa/inet.h>
#include <string.h>

bool ip_parse(struct slice text, struct in6_addr *ret_address)
{
    char copy[INET6_ADDRSTRLEN + 1];
    struct in_addr v4;
    if (text.size == 0 || text.size >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (inet_pton(AF_INET6, copy, ret_address) == 1)
        return true;
    if (inet_pton(AF_INET, copy, &v4) != 1)
        return false;
    *ret_address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&ret_address->s6_addr[12], &v4, 4);
    return true;
}

bool ip_is(struct slice text)
{
    struct in6_addr address;
    return ip_parse(text, &address);
}
