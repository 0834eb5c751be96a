/* A load balancer's header: never longer than it may be; half of one is never taken for a whole one. */
#include "smtpd/proxy.h"

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct in6_addr address = {0};
    size_t consumed = 0, less;
    struct slice bytes = slice_make((const char *)data, size);
    enum parse result = proxy_parse(bytes, &address, &consumed);
    CHECK(result != PARSE_DONE || (consumed > 0 && consumed <= size && consumed <= PROXY_SIZE_MAX));
    for (size_t i = 0; result == PARSE_DONE && i < consumed; i++)
        CHECK(proxy_parse(slice_first(bytes, i), &address, &less) != PARSE_DONE);
    return 0;
}
