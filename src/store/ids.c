#include "store/ids.h"

enum { COUNTER_BITS = 20, SLOT_BITS = 8 };

void ids_start(struct ids *ids, uint64_t last_used, unsigned slot)
{
    ids->slot = slot;
    atomic_store(&ids->last, slot ? ((last_used >> SLOT_BITS) + 1) << SLOT_BITS | slot : last_used);
}

uint64_t ids_next(struct ids *ids, int64_t wall_ms)
{
    uint64_t floor = wall_ms > 0 ? (uint64_t)wall_ms << COUNTER_BITS | ids->slot : 0;
    uint64_t last = atomic_load(&ids->last), next, step = ids->slot ? 1 << SLOT_BITS : 1;
    do
        next = last >= floor ? last + step : floor;
    while (!atomic_compare_exchange_weak(&ids->last, &last, next));
    return next;
}
