/* suppressed: addresses that nothing is sent to: hard bounces feed it if wished (suppress.enabled), `mailroot suppress` changes it.
 *
 * Queue/suppressed is a text file that only grows: "+ADDRESS TAB TIME TAB CLASS TAB WORDS" adds, "-ADDRESS TAB TIME" takes off.
 * X1  an address counts in any case; the last line about it decides
 * X2  lines are appended under flock(2) by the relay and by the command; the relay sees the others' within a second
 * X3  it is written anew without what no longer counts when it is opened and most of it is dead: under the lock, by rename
 * X4  an entry older than suppress.expire counts no more (0: for ever)
 * X5  lines are not synced: what a power cut takes bounces once more
 * For one thread. */
#ifndef MR_OUTCOME_SUPPRESSED_H
#define MR_OUTCOME_SUPPRESSED_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#include <stdint.h>

struct suppressed;
struct suppression { const char *address, *class, *words; int64_t added_ms; };

MUST_USE struct suppressed *suppressed_open(const char *queue_dir, int64_t expire_ms, struct error *error);
void suppressed_close(struct suppressed **suppressed);
/* NULL: mail may be sent there. Valid until the next call. */
const struct suppression *suppressed_find(struct suppressed *suppressed, struct slice address, int64_t now_ms);
MUST_USE bool suppressed_add(struct suppressed *suppressed, const struct suppression *entry, struct error *error);
MUST_USE bool suppressed_remove(struct suppressed *suppressed, struct slice address, int64_t now_ms, struct error *error);
typedef void suppressed_fn(void *arg, const struct suppression *entry);
void suppressed_each(struct suppressed *suppressed, int64_t now_ms, suppressed_fn *fn, void *arg); /* by address */

#endif
