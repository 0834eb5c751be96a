/* sink_record: what `mailroot sink` writes down: message files, a line of JSON a message, totals.
 *
 * A message file begins with X-MailFrom and one X-RcptTo line a recipient (as aiosmtpd's Mailbox
 * does), then the octets as they came, dots removed. It is renamed in, so that a reader sees whole
 * files only. Lines go out with sink_record_flush(), a write a batch. Calls from any thread. */
#ifndef MR_CLI_SINK_RECORD_H
#define MR_CLI_SINK_RECORD_H

#include "base/error.h"
#include "smtp/sink.h"

#include <pthread.h>

struct sink_totals {
    uint64_t messages, recipients, octets, connections, dropped, rejected;
    uint64_t open, most_open;  /* connections: now, and the most there were at a time */
    int64_t first_us, last_us; /* when the first and the last message were whole */
};

struct sink_recorder {
    const char *dir;       /* NULL: no files */
    int log_fd;            /* -1: no lines */
    bool is_hashing;       /* the lines hold the body's SHA-256 */
    pthread_mutex_t mutex; /* guards all below */
    struct buf lines;
    uint64_t number; /* of the next message file */
    struct sink_totals totals;
};

struct sink_receipt { /* of one message: its line, until the answer's time is known */
    struct buf line;
    int64_t dot_us;
};

/* What of a message must be kept for this recorder. */
enum sink_keep sink_record_keep(const struct sink_recorder *recorder);
/* Counts it, writes its file, begins its line. `tls` NULL in the clear. False when the file can't
 * be written. */
MUST_USE bool sink_record_message(struct sink_recorder *recorder, struct sink_message *message,
                                  const char *tls, struct sink_receipt *receipt,
                                  struct error *error);
/* Ends the line: answered at `reply_us`, or never (0). */
void sink_record_answered(struct sink_recorder *recorder, struct sink_receipt *receipt,
                          int64_t reply_us);
void sink_record_flush(struct sink_recorder *recorder);
/* {"messages": …, "per_second": …} and a line end. */
void sink_record_print_totals(struct sink_recorder *recorder, struct buf *out);

#endif
