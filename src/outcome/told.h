/* told: events of the listener on their way to the relay, which writes the only log there is.
 *
 * A packet (os/link.h) begins with TOLD_MARK; events follow, each its kind, its texts and its numbers. What is read is taken
 * for what a process that faces the network says: the listener's kinds and keys alone, so that no delivery can be made up.
 * Texts longer than TOLD_TEXT_SIZE_MAX are cut. */
#ifndef MR_OUTCOME_TOLD_H
#define MR_OUTCOME_TOLD_H

#include "outcome/event.h"

enum { TOLD_TEXT_SIZE_MAX = 1000, TOLD_SIZE_MAX = 16 * 1024 }; /* of a text; of an event */
#define TOLD_MARK 'E'

void told_put(struct buf *packet, const struct event *event);
/* The next event of what follows the mark; its texts lie in the packet. False at the end, or where it can't be read. */
MUST_USE bool told_take(struct slice *rest, struct event *ret_event);

#endif
