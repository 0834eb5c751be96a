/* ids: queue ids, unique for the life of a queue and in order of time.
 *
 *   63 bits: Unix milliseconds << 20 | counter                    shown as 16 hex digits (store_id_text)
 *            Unix milliseconds << 20 | counter << 8 | slot        where nodes share a queue: the slot is one node's (store/node.h)
 *
 * A clock that jumps back does not bring an id back: the next one is always above the last. Any thread. */
#ifndef MR_STORE_IDS_H
#define MR_STORE_IDS_H

#include <stdatomic.h>
#include <stdint.h>

struct ids { _Atomic uint64_t last; unsigned slot; };

void ids_start(struct ids *ids, uint64_t last_used, unsigned slot); /* store_last_id(); slot 0: the queue is not shared */
uint64_t ids_next(struct ids *ids, int64_t wall_ms);

#endif
