/* expect: whether a run came to what its scenario expects.
 *
 * Counts are of all events of a kind. Events expected by name are looked for in their order: each behind the one before it, others may
 * stand between. */
#ifndef MR_LAB_EXPECT_H
#define MR_LAB_EXPECT_H

#include "lab/scenario.h"

#include <jansson.h>

struct expecting;
struct expecting *expecting_create(const struct scenario *scenario);
void expecting_event(struct expecting *expecting, const json_t *event, int64_t at_ms);
/* What failed, a line each; none: all came as expected. */
size_t expecting_end(const struct expecting *expecting, const char *place, struct buf *report);
void expecting_destroy(struct expecting **expecting);

#endif
