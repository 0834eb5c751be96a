/* Lines: the sender, HELO, then TXT records that questions get one after the other (in turn, for any name). It ends within the limits
 * of RFC 7208 4.6.4, with a result, and asks for no name that DNS could not hold. */
#include "inbound/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES_MAX = 20, QUESTIONS_MAX = 10 * 11 + 12 };

static void answer(struct lookups *lookups, struct lookup *lookup, const struct slice *lines, size_t count, size_t number)
{
    static const struct slice addresses[] = {{"\300\0\2\1", 4}, {"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16}};
    static const struct slice hosts[] = {{"mx.x.test", 9}, {"a.b", 3}, {"", 0}, {"x", 1}, {"y.test", 6}};
    struct slice text = count ? lines[number % count] : SLICE("v=spf1");
    CHECK(lookup->name.size > 0 && lookup->name.size <= 253);
    if (number % 11 == 10)
        lookup_fill(lookups, lookup, LOOKUP_NONE, NULL, 0);
    else if (number % 23 == 22)
        lookup_fill(lookups, lookup, LOOKUP_FAILED, NULL, 0);
    else if (lookup->type == 16)
        lookup_fill(lookups, lookup, LOOKUP_FOUND, &text, 1);
    else if (lookup->type == 1 || lookup->type == 28)
        lookup_fill(lookups, lookup, LOOKUP_FOUND, &addresses[lookup->type == 28], 1);
    else
        lookup_fill(lookups, lookup, LOOKUP_FOUND, hosts, number % COUNT_OF(hosts) + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lookups lookups = {.count = 0};
    struct slice rest = slice_make((const char *)data, size), lines[LINES_MAX];
    struct spf_query query = {.client = {.s6_addr = {[10] = 0xff, [11] = 0xff, 192, 0, 2, size % 3}}, .host = SLICE("me.test")};
    struct spf_answer is = {SPF_WAITS, NULL};
    size_t count = 0, asked = 0;
    if (size % 5 == 0)
        query.client = (struct in6_addr){.s6_addr = {0x20, 1, 0xd, 0xb8, [15] = 1}};
    query.domain = slice_cut(&rest, '\n');
    query.local = slice_cut(&query.domain, '@');
    query.helo = slice_cut(&rest, '\n');
    while (rest.size && count < LINES_MAX)
        lines[count++] = slice_cut(&rest, '\n');
    for (size_t round = 0; is.result == SPF_WAITS; round++) {
        struct arena arena = {0};
        CHECK(round <= QUESTIONS_MAX);
        is = spf_check(&arena, &query, &lookups);
        CHECK((is.result == SPF_WAITS) <= lookups_are_open(&lookups));
        for (; asked < lookups.count; asked++)
            answer(&lookups, lookups.items[asked], lines, count, asked);
        arena_finish(&arena);
    }
    CHECK(lookups.count <= QUESTIONS_MAX + 22);
    lookups_finish(&lookups);
    return 0;
}
