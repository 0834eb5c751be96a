/* badmail: the folder of what could be neither delivered nor returned.
 *
 *   NAME.BAD  the message, byte for byte      NAME.BDR  the reason, for people      NAME.BDP  the same as JSON
 *
 * B1  the reason is durable before the message comes to lie beside it (RELIABILITY R6)
 * B2  nothing is ever overwritten: a taken NAME gets ".2", ".3"…
 * B3  NAME keeps the pickup file's name as far as it is printable; other octets become "_"
 * B4  what badmail_write() wrote for a queue id is not written again: a crash before the commit repeats the call
 * B5  a file that lies there already under a second link (a rename that a power cut left half done) only loses the first
 * Calls come from any thread; each is synchronous and durable when it returns true. */
#ifndef MR_OUTCOME_BADMAIL_H
#define MR_OUTCOME_BADMAIL_H

#include "base/buf.h"
#include "base/error.h"

struct badmail {            /* what is said about it */
    struct slice name;      /* of the pickup file, or the queue id */
    struct slice reason;    /* one sentence */
    struct slice status;    /* "5.1.1", absent if none */
    struct slice owner;     /* absent if unknown */
    struct slice sender, recipients; /* absent if unknown; recipients blank-separated */
    uint64_t id;            /* 0 = none */
    int64_t time_ms;
};

struct badmail_folder { int fd; };

MUST_USE bool badmail_open(const char *path, struct badmail_folder *ret_folder, struct error *error);
void badmail_close(struct badmail_folder *folder);
/* Moves folder_fd/file_name there. Across file systems it is copied, synced, then removed. */
MUST_USE bool badmail_move(const struct badmail_folder *folder, int folder_fd, const char *file_name,
                           const struct badmail *about, struct error *error);
/* Writes these bytes as the message. */
MUST_USE bool badmail_write(const struct badmail_folder *folder, struct slice message,
                            const struct badmail *about, struct error *error);

#endif
