/* One SMTP connection: connection.c drives the client machine on its stream, transaction.c gives it jobs and sorts
 * what became of them. */
#ifndef MR_RELAY_CONNECTION_PRIVATE_H
#define MR_RELAY_CONNECTION_PRIVATE_H

#include "os/stream.h"
#include "relay/body.h"
#include "relay/relay_private.h"

enum phase {
    PHASE_CONNECTING,
    PHASE_TALKING,   /* the client machine says what is next */
    PHASE_IDLE,      /* usable, nothing to send */
    PHASE_READING,   /* the content of its job is being fetched */
    PHASE_SETTLING,  /* an outcome is being committed */
};

struct connection {
    struct connection *next, *previous; /* of the site's list */
    struct site *site;
    struct relay *relay;
    struct route *route;
    const struct route_host *host;
    char address[64];
    enum phase phase;
    struct stream *stream;
    struct smtp_client_options options;
    struct tls_policy policy;
    char policy_text[300];           /* for events */
    struct smtp_client *client;
    struct timer *timer;
    int64_t deadline_ms, armed_ms;   /* monotonic; armed: when the timer fires */
    int64_t started_ms, dial_until_ms, connect_ms, transaction_ms;
    size_t transactions;
    struct job *job;
    struct fetch_wait wait;          /* for the job's content */
    struct smtp_transaction transaction;
    struct arena arena;              /* the transaction's */
    struct buf converted;            /* its content for a hop without 8BITMIME */
    struct buf trimmed;              /* its content with fewer signatures (dkim_signatures) */
    struct slice content;
    struct body body;
    bool is_body_started;
    struct settle *settle;
    bool is_usable;                  /* it got to its first transaction */
    bool is_tls_counted;             /* for the report (RFC 8460) */
    bool is_slow;                    /* its address was dialled for delivery.dial_next */
    struct login *login;             /* NULL: no AUTH here */
    struct sasl *sasl;
    unsigned token_number;           /* of the token that is being shown */
    const char *mechanism;           /* NULL: not yet chosen */
    struct buf auth_said;            /* our responses, a line each: not to be told */
    char auth_problem[ERROR_TEXT_SIZE_MAX]; /* ours */
};

/* connection.c */
/* How it was secured, once: `type` NULL as it should be, else RFC 8460 4.3's word for what failed. */
void connection_count_tls(struct connection *connection, const char *type, const char *reason);
void connection_arm(struct connection *connection, int64_t deadline_ms); /* monotonic */
void connection_step(struct connection *connection); /* does what the client machine wishes; may end it */

/* connection_auth.c */
void connection_authenticate(struct connection *connection); /* WANT_AUTH: the next step */
void connection_auth_end(struct connection *connection);     /* forgets what was said */
/* Whether the connection failed since the server does not let us in, for good; `result` is then without our secrets. */
bool connection_auth_failed(struct connection *connection, struct smtp_result *result);

/* transaction.c */
void transaction_next(struct connection *connection);   /* starts the next one, or idles, or takes its leave */
void transaction_read(struct fetch_wait *wait);         /* PHASE_READING is over: the job's content is there, or can't be had */
void transaction_settle(struct connection *connection); /* all its recipients have a result: sorts and submits them */
/* What the server's words mean may make a wait of a refusal, or a refusal of a wait: changes `result`. */
const struct reply_class *transaction_judge(const struct connection *connection, struct smtp_result *result);
/* `result` as an attempt at this host; its texts live as long as the connection and the result. */
struct attempt transaction_attempt(struct connection *connection, const struct smtp_result *result);

#endif
