/* queued: one message of the queue in memory, in a single block, with the recipients that are to be tried.
 *
 * Made by intake (with content, straight from the commit) and by the scheduler's loader (with content while there is memory
 * for it, else it is read when it is sent).
 * All slices point into the block itself. */
#ifndef MR_STORE_QUEUED_H
#define MR_STORE_QUEUED_H

#include "store/store.h"

struct queued {
    struct queued *next;            /* the holder's list */
    char *content;                  /* canonical bytes on the heap, owned; NULL: in the store or a body file */
    struct store_message message;   /* message.content is absent: see content */
    size_t recipient_count;
    size_t open_count;              /* recipients of the message without a committed final state, here or not due yet */
    struct store_recipient recipients[];
};

struct queued *queued_create(const struct store_message *message,
                             const struct store_recipient *recipients, size_t count, char *taken_content);
/* Its rows; content that is not inline was written as a body file before. */
MUST_USE bool queued_store(const struct queued *queued, struct store *store, struct error *error);
void queued_destroy(struct queued **queued);

#endif
