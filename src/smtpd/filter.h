/* filter: a whole message through the filters of smtp.milter.sockets, one behind the other (inbound/milter.h), on the loop.
 *
 *   "unix:/run/rspamd/milter.sock", "inet:127.0.0.1:8891", "inet:[::1]:8891"
 *
 * W1  a filter that is away, breaks the protocol, or is not done within smtp.milter.timeout: smtp.milter.failure says whether the
 *     message goes on without it (accept) or the client is told to come again (tempfail). Each is an event
 * W2  the next filter sees what the one before made of the message */
#ifndef MR_SMTPD_FILTER_H
#define MR_SMTPD_FILTER_H

#include "smtpd/smtpd_private.h"

enum filter_end { FILTER_TAKES, FILTER_REFUSES, FILTER_DISCARDS };

struct filter;
struct filter_outcome {
    enum filter_end end;
    const char *reply;            /* REFUSES */
    const char *hold;             /* why the message is to be held; NULL: it isn't */
    struct slice message;         /* changed, or as it was */
};
typedef void filter_done_fn(void *arg, const struct filter_outcome *outcome);

/* Whether the list can be read. */
MUST_USE bool filter_check(const struct config *config, struct error *error);
/* `done` is called on the loop, never before this returns. The outcome's texts live until filter_destroy(). */
struct filter *filter_create(struct session *session, struct slice message, filter_done_fn *done, void *arg);
void filter_destroy(struct filter **filter);

#endif
