/* pickup_writer: how every submitter of ours puts a message into Pickup: whole or not at all.
 *
 *   .mailroot-UNIQUE  envelope lines, message, fsync  ──rename──>  UNIQUE.eml  ──fsync of the folder
 *
 * S1  the file is complete and synced before it gets a name that the relay looks at; a failure leaves nothing
 * S2  UNIQUE is made of time, process and randomness; an existing file is never overwritten
 * S3  the folder may be closed for reading to us (mode 1733): then it can't be opened to be synced, and the rename is made
 *     durable by syncing its file system (syncfs on the file)
 * S4  addresses and parameters with CR, LF or NUL are refused: no line of the envelope can be forged (PITFALLS 19)
 * The file is readable by the relay's user: mode 0644 less nothing, since the folder itself keeps others from finding it. */
#ifndef MR_PICKUP_PICKUP_WRITER_H
#define MR_PICKUP_PICKUP_WRITER_H

#include "base/buf.h"
#include "base/error.h"

enum { PICKUP_WRITER_NAME_SIZE = 80 };

struct submission {
    struct slice sender;             /* absent: no X-Sender line; "" is the null sender */
    struct slice ret, envid;         /* absent if not given; envid is xtext */
    const struct slice *recipients;  /* none: the relay finds them in the header */
    size_t recipient_count;
    struct slice notify;             /* of every recipient; absent if not given */
    struct slice message;            /* header and body, any line ends */
};

/* `ret_name` is the file's name in Pickup. */
MUST_USE bool pickup_write(const char *dir, const struct submission *submission,
                           char ret_name[PICKUP_WRITER_NAME_SIZE], struct error *error);

#endif
