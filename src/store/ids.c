#include "store/ids.h"

enum { COUNTER_BITS = 20 };

void ids_start(struct ids *ids, uint64_t last_used)
{
    atomic_store(&ids->last, last_used);
}

uint64_t ids_next(struct ids *ids, int64_t wall_ms)
{
    uint64_t floor = wall_ms > 0 ? (uint64_t)wall_ms << COUNTER_BITS : 0;
    uint64_t last = atomic_load(&ids->last), next;
    do
        next = last >= floor ? last + 1 : floor;
    while (!atomic_compare_exchange_weak(&ids->last, &last, next));
    return next;
}
