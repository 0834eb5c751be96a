#include "inbound/fixture.h"

#include <arpa/inet.h>
#include <stdlib.h>

static const struct { const char *name; int type; } types[] = {
    {"A", 1}, {"PTR", 12}, {"MX", 15}, {"TXT", 16}, {"AAAA", 28},
};

static int type_of(struct slice name)
{
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (slice_equals(name, slice_of(types[i].name)))
            return types[i].type;
    return 0;
}

static struct slice record_of(struct arena *arena, int type, struct slice data)
{
    char *octets = arena_alloc(arena, 16);
    if (type != 1 && type != 28)
        return data;
    CHECK(inet_pton(type == 1 ? AF_INET : AF_INET6, arena_text(arena, data), octets) == 1);
    return slice_make(octets, type == 1 ? 4 : 16);
}

static void answer(struct lookups *lookups, struct lookup *lookup, const char *const *zone)
{
    struct slice records[LOOKUP_RECORDS_MAX];
    size_t count = 0;
    for (; *zone; zone++) {
        struct slice data = slice_of(*zone);
        if (!slice_equals_nocase(slice_cut(&data, ' '), lookup->name))
            continue;
        struct slice type = slice_cut(&data, ' ');
        if (slice_equals(type, SLICE("FAIL"))) {
            lookup_fill(lookups, lookup, LOOKUP_FAILED, NULL, 0);
            return;
        }
        if (type_of(type) == lookup->type)
            records[count++] = record_of(&lookups->arena, lookup->type, data);
    }
    lookup_fill(lookups, lookup, count ? LOOKUP_FOUND : LOOKUP_NONE, records, count);
}

void fixture_answer(struct lookups *lookups, const char *const *zone)
{
    for (size_t i = 0; i < lookups->count; i++)
        if (lookups->items[i]->status == LOOKUP_OPEN)
            answer(lookups, lookups->items[i], zone);
}
