/* event: every step of every message, one JSON line each; the only source of traces and receipts.
 *
 * V1  one line an event, at most EVENT_LINE_SIZE_MAX octets, UTF-8, keys as in the table of event.c (mailroot-events(5))
 * V2  text of others is escaped by base/json.h: a line can't be forged
 * V3  lines are written with one write(2) per batch (event_flush), before the commit of what they tell
 * V4  a full or failing disk never stops mail: lost lines are counted and said when writing works again
 * One log per process; calls from any thread (a mutex inside). */
#ifndef MR_OUTCOME_EVENT_H
#define MR_OUTCOME_EVENT_H

#include "config/config.h"

enum { EVENT_LINE_SIZE_MAX = 8192 };

enum event_kind {
    EVENT_STARTED, EVENT_STOPPED, EVENT_RELOADED, /* the relay itself */
    EVENT_TAKEN,       /* a pickup file is durably in the queue */
    EVENT_QUEUED,      /* a recipient of it (one line each for the first EVENT_RECIPIENTS_MAX) */
    EVENT_REFUSED,     /* a pickup file went to Badmail; `reason` says why */
    EVENT_REJECTED,    /* one recipient of a taken file can't be used */
    EVENT_DUPLICATE,   /* a pickup file whose key was taken before; `about` = the first message */
    EVENT_SKIPPED,     /* a pickup file stays where it is; `reason` says why */
    EVENT_CONNECTED, EVENT_DISCONNECTED,
    EVENT_DELIVERED, EVENT_DEFERRED, EVENT_BOUNCED, EVENT_EXPIRED, EVENT_UNKNOWN, /* a recipient's attempt */
    EVENT_NOTICE,      /* a DSN was made: `note` = failed, delayed, relayed…; `about` = the message it is about */
    EVENT_BADMAIL,     /* what could be neither delivered nor returned */
    EVENT_HELD, EVENT_RELEASED, EVENT_RETRIED, EVENT_REMOVED, EVENT_REROUTED, /* by an operator */
    EVENT_SUSPENDED, EVENT_RESUMED, /* a route whose user is refused; and let in again */
    /* of the listener (outcome/told.h) */
    EVENT_TURNED_AWAY, /* a connection that is not served */
    EVENT_AUTHENTICATED, EVENT_AUTH_FAILED,
    EVENT_DENIED,      /* MAIL, RCPT or content that was not taken; `stage` says which */
    EVENT_ACCEPTED,    /* a message is in Pickup as `pickup`, and the client has its 250 */
    EVENT_ETRN,        /* mail that waits was asked for */
    EVENT_FILTERED,    /* a milter changed, held, refused or discarded a message, or couldn't be asked: `note` says which */
    EVENT_COMMAND,     /* any command and its answer: for the W3C log alone */
    EVENT_DONE,        /* the message is gone from the queue: every recipient has its outcome */
    EVENT_REPORTED,    /* a report about TLS was sent (RFC 8460) */
    EVENT_RETURNED,    /* a bounce of VERP mail came back: `to` is whom it is about */
    EVENT_PACED,       /* the relay's own limits for a site changed: `note` says how, `reply` why */
    EVENT_WARNING, EVENT_ERROR,
    EVENT_KIND_COUNT
};

struct event {
    enum event_kind kind;
    uint64_t id;                /* queue id, 0 = none */
    uint64_t about;             /* 0 = none */
    struct slice pickup, message_id, sender, recipient, owner, dialect, repairs;
    struct slice client, helo, user; /* of the listener's: its address, what it calls itself, who it proved to be */
    struct slice host, address; /* MX host, and IP with port */
    struct slice tls, cipher;   /* "TLSv1.3", "TLS_AES_256_GCM_SHA384"; absent in the clear */
    struct slice route, auth;   /* a route's pattern; the mechanism of AUTH */
    struct slice policy;        /* "dane, verified: 1 usable TLSA record at mx.example.com" */
    struct slice stage, status, reply, reason, note;
    struct slice trace;         /* of the application, or begun here (message/trace.h) */
    struct slice class;         /* of a refusal (config/replies.h): "mailbox-full" */
    int code;
    unsigned attempt;
    int64_t next_ms;            /* Unix time of the next attempt, 0 = none */
    int64_t size, recipients;   /* 0 = not said */
    int64_t octets_in, octets_out; /* EVENT_COMMAND: its line or content, and the answer */
    int64_t delay_ms, connect_ms, transaction_ms; /* -1 = not said; since arrival; to connect; MAIL to answer */
    int64_t age_ms;             /* -1 = not said; since the file appeared in Pickup */
};

#define EVENT(kind_) ((struct event){.kind = (kind_), .delay_ms = -1, .connect_ms = -1, .transaction_ms = -1, .age_ms = -1})

struct event_log;
MUST_USE struct event_log *event_log_open(const struct config *config, struct error *error);
void event_log_close(struct event_log **log); /* flushes */
void event_put(struct event_log *log, const struct event *event); /* buffered; a full buffer is written */
void event_flush(struct event_log *log);
const char *event_kind_name(enum event_kind kind);

#endif
