/* pickup_writer: how every submitter of ours puts a message into Pickup: whole or not at all.
 *
 *   .mailroot-UNIQUE  envelope lines, message, fsync  ──rename──>  UNIQUE.eml  ──fsync of the folder
 *
 * S1  the file is complete and synced before it gets a name that the relay looks at; a failure leaves nothing
 * S2  UNIQUE is made of time, process and randomness; an existing file is never overwritten
 * S3  the folder may be closed for reading to us (mode 1733): then it can't be opened to be synced, and the rename is made
 *     durable by syncing its file system (syncfs on the file)
 * S4  addresses and parameters with CR, LF or NUL are refused: no line of the envelope can be forged (PITFALLS 19)
 * S5  where foreign content follows (is_block_ended) the envelope lines end with X-EndOfInjectedXHeaders: N, the octets in
 *     front of it: X-Receiver and its like in the content are then no envelope
 * S6  threads may finish files of one folder together: one fsync of it serves all whose rename came before it
 * S7  a writer that makes thousands of files a second makes them in sub-folders of Pickup/.new (pickup_folder_spread), which
 *     ext4 puts into groups of their own: in one group, making files beside the relay's removing them costs up to 40 times as
 *     much processor time, and all wait for the folder's one lock. Only the rename goes to Pickup
 * The file is readable by the relay's user: mode 0644 less nothing, since the folder itself keeps others from finding it. */
#ifndef MR_PICKUP_PICKUP_WRITER_H
#define MR_PICKUP_PICKUP_WRITER_H

#include "base/buf.h"
#include "base/error.h"

enum { PICKUP_WRITER_NAME_SIZE = 80 };

enum submission_origin {
    SUBMISSION_LOCAL,     /* an ordinary pickup file */
    SUBMISSION_ACCEPTED,  /* came by SMTP from one who may submit: Date and Message-ID are added where missing */
    SUBMISSION_RELAYED,   /* came by SMTP from another relay: nothing is added */
};

struct submission_recipient {
    struct slice address;
    struct slice notify, orcpt; /* absent if not given; orcpt is "type;xtext" */
};

struct submission {
    struct slice sender;             /* absent: no X-Sender line; "" is the null sender */
    struct slice ret, envid, auth;   /* absent if not given; envid and auth are xtext */
    bool is_8bit, is_smtputf8, is_requiretls; /* BODY=8BITMIME, SMTPUTF8, REQUIRETLS */
    struct slice deliver_at;         /* RFC 3339: not before; absent: at once */
    struct slice deliver_by;         /* X-Deliver-By's value; absent: whenever */
    const struct submission_recipient *recipients; /* none: the relay finds them in the header */
    size_t recipient_count;
    enum submission_origin origin;
    struct slice hold;               /* why it is to be held; absent: it isn't */
    bool is_block_ended;             /* S5 */
    struct slice once_key;           /* X-Idempotency-Key, absent if none: a second file with it is not sent again */
    struct slice trace;              /* whole header lines of ours in front of the message, absent if none */
    struct slice message;            /* header and body, any line ends; pickup_write() only */
};

/* S4, and the lines themselves; for a writer on another system. */
MUST_USE bool submission_check(const struct submission *submission, struct error *error);
void submission_put_envelope(struct buf *out, const struct submission *submission);

/* `ret_name` is the file's name in Pickup. */
MUST_USE bool pickup_write(const char *dir, const struct submission *submission,
                           char ret_name[PICKUP_WRITER_NAME_SIZE], struct error *error);

/* The same in steps, for content that comes in pieces. Commit and abandon both let the file go. After a failure only
 * pickup_file_abandon() is left to do. A folder serves any number of threads, a file one at a time. */
struct pickup_folder;
struct pickup_file;
MUST_USE struct pickup_folder *pickup_folder_open(const char *dir, struct error *error);
/* S7; for the one process that may: what an earlier one left there half-made is removed. */
MUST_USE bool pickup_folder_spread(struct pickup_folder *folder, struct error *error);
/* Once a sandbox was entered: if it lets no file out of .new (landlock before Linux 5.19), they are made in Pickup itself. */
void pickup_folder_settle(struct pickup_folder *folder);
void pickup_folder_close(struct pickup_folder **folder);
MUST_USE struct pickup_file *pickup_file_begin(struct pickup_folder *folder, const struct submission *submission,
                                               struct error *error);
MUST_USE bool pickup_file_append(struct pickup_file *file, struct slice bytes, struct error *error);
MUST_USE bool pickup_file_commit(struct pickup_file **file, char ret_name[PICKUP_WRITER_NAME_SIZE],
                                 struct error *error);
void pickup_file_abandon(struct pickup_file **file);

#endif
