#include "smtpd/proxy.h"

#include "smtpd/policy.h"

enum { V1_SIZE_MAX = 107, V2_HEAD_SIZE = 16 };

static enum parse parse_v1(struct slice bytes, struct in6_addr *ret_address, size_t *ret_consumed)
{
    ptrdiff_t end = slice_find(bytes, SLICE("\r\n"));
    if (end < 0)
        return bytes.size > V1_SIZE_MAX ? PARSE_BAD : PARSE_MORE;
    struct slice line = slice_first(bytes, (size_t)end);
    *ret_consumed = (size_t)end + 2;
    (void)slice_cut(&line, ' '); /* PROXY */
    struct slice family = slice_cut(&line, ' ');
    if (slice_equals(family, SLICE("UNKNOWN")))
        return PARSE_DONE;
    bool is_known = slice_equals(family, SLICE("TCP4")) || slice_equals(family, SLICE("TCP6"));
    return is_known && ip_parse(slice_cut(&line, ' '), ret_address) ? PARSE_DONE : PARSE_BAD;
}

static enum parse parse_v2(struct slice bytes, struct in6_addr *ret_address, size_t *ret_consumed)
{
    if (bytes.size < V2_HEAD_SIZE)
        return PARSE_MORE;
    const unsigned char *head = (const unsigned char *)bytes.data, *addresses = head + V2_HEAD_SIZE;
    size_t size = (size_t)head[14] << 8 | head[15];
    if ((head[12] & 0xf0) != 0x20 || (head[12] & 0x0f) > 1 || size > PROXY_SIZE_MAX - V2_HEAD_SIZE)
        return PARSE_BAD;
    if (bytes.size < V2_HEAD_SIZE + size)
        return PARSE_MORE;
    *ret_consumed = V2_HEAD_SIZE + size;
    if ((head[12] & 0x0f) == 0) /* LOCAL: the balancer speaks for itself */
        return PARSE_DONE;
    if (head[13] == 0x11 && size >= 12) {
        *ret_address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
        memcpy(&ret_address->s6_addr[12], addresses, 4);
    } else if (head[13] == 0x21 && size >= 36) {
        memcpy(ret_address->s6_addr, addresses, 16);
    } else if (head[13] != 0) {
        return PARSE_BAD;
    }
    return PARSE_DONE;
}

enum parse proxy_parse(struct slice bytes, struct in6_addr *ret_address, size_t *ret_consumed)
{
    static const struct slice v1 = {"PROXY ", 6}, v2 = {"\r\n\r\n\0\r\nQUIT\n", 12};
    const struct slice marks[] = {v1, v2};
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        size_t size = bytes.size < marks[i].size ? bytes.size : marks[i].size;
        if (memcmp(bytes.data, marks[i].data, size) != 0)
            continue;
        if (size < marks[i].size)
            return PARSE_MORE;
        return i == 0 ? parse_v1(bytes, ret_address, ret_consumed) : parse_v2(bytes, ret_address, ret_consumed);
    }
    return PARSE_BAD;
}
