/* resume: a message that `mailroot queue export` wrote goes on where it stopped.
 *
 * The history lines (X-Mailroot-Export, X-Mailroot-Attempt; cli/queue_export.c has the form) are laid over the rows that
 * intake made: arrival, attempts, last reply, next attempt, held or not. Anybody may write such lines, so they can only
 * make a message older and its attempts more: times in the future are passed over, and a route is not taken from them. */
#ifndef MR_PICKUP_RESUME_H
#define MR_PICKUP_RESUME_H

#include "message/header.h"
#include "store/store.h"

bool resume_is_export(const struct header *header);
void resume_message(struct arena *arena, const struct header *header, int64_t now_ms, struct store_message *message);
void resume_recipients(struct arena *arena, const struct header *header, int64_t now_ms,
                       struct store_recipient *recipients, size_t count);

#endif
