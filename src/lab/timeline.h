/* timeline: what happened in a run, in words, a line an event. Attempts that come to the same again and again are shortened: the first few
 * and the last are shown, and how many there were between them. */
#ifndef MR_LAB_TIMELINE_H
#define MR_LAB_TIMELINE_H

#include "base/buf.h"

#include <jansson.h>

struct timeline {              /* zeroed: the start */
    struct buf key;            /* of the attempts under way: recipient and words */
    struct buf last;           /* the line of the last of them, if it was not shown */
    size_t count, hidden;
};

/* Appends the event's line; nothing for what only machines want to know (connections, what servers saw), or not yet. */
void timeline_put(struct timeline *timeline, struct buf *out, const json_t *event, int64_t at_ms, int64_t now_wall_ms);
/* What was held back. */
void timeline_end(struct timeline *timeline, struct buf *out);

#endif
