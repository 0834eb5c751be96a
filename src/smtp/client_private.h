/* What the files of the client machine share.
 *
 *   GREETING ─> EHLO ─> IDLE ─> MAIL ─> RCPT ─> DATA ─> BODY ─> FINAL ─> IDLE        client_on_reply() walks each edge but
 *      │        │ └─> HELO ─┘    │        │       │                                  IDLE -> MAIL   smtp_client_send()
 *      │        └─> STARTTLS ─> HANDSHAKE ─> EHLO │                                  BODY -> FINAL  smtp_client_body_queued()
 *      │        └─> AUTH ─> IDLE         │        │       │                          AUTH -> AUTH, IDLE smtp_client_auth_…()
 *      │                         └────────┴───────┴─> DROPPED ─> RSET ─> IDLE        HANDSHAKE -> EHLO smtp_client_secured()
 *      └─> any state ─> CLOSED   smtp_client_lost(), 421                             IDLE -> QUIT   smtp_client_quit()
 *   DROPPED reads out what is still owed for a transaction that has failed */
#ifndef MR_SMTP_CLIENT_PRIVATE_H
#define MR_SMTP_CLIENT_PRIVATE_H

#include "smtp/client.h"

#define TO(state) (1u << (state))
#define GO(state) (1u << STATE_##state)
#define SMTP_CLIENT_STATES(X)                                                          \
    X(GREETING, GO(GREETING) | GO(EHLO) | GO(CLOSED))                                  \
    X(EHLO, GO(IDLE) | GO(HELO) | GO(STARTTLS) | GO(AUTH) | GO(CLOSED))                \
    X(HELO, GO(IDLE) | GO(CLOSED))                                                     \
    X(STARTTLS, GO(HANDSHAKE) | GO(IDLE) | GO(CLOSED))                                 \
    X(HANDSHAKE, GO(HANDSHAKE) | GO(GREETING) | GO(EHLO) | GO(CLOSED))                 \
    X(AUTH, GO(AUTH) | GO(IDLE) | GO(CLOSED))                                          \
    X(IDLE, GO(MAIL) | GO(QUIT) | GO(CLOSED))                                          \
    X(MAIL, GO(RCPT) | GO(DROPPED) | GO(RSET) | GO(CLOSED))                            \
    X(RCPT, GO(RCPT) | GO(DATA) | GO(FINAL) | GO(DROPPED) | GO(RSET) | GO(CLOSED))     \
    X(DATA, GO(BODY) | GO(RSET) | GO(CLOSED))                                          \
    X(BODY, GO(FINAL) | GO(CLOSED))                                                    \
    X(FINAL, GO(FINAL) | GO(IDLE) | GO(RSET) | GO(CLOSED))                             \
    X(DROPPED, GO(DROPPED) | GO(RSET) | GO(CLOSED))                                    \
    X(RSET, GO(IDLE) | GO(CLOSED))                                                     \
    X(QUIT, GO(CLOSED))                                                                \
    X(CLOSED, GO(CLOSED))

enum smtp_client_state {
#define STATE(state, successors) STATE_##state,
    SMTP_CLIENT_STATES(STATE)
#undef STATE
};

struct smtp_client {
    enum smtp_client_state state;
    enum smtp_want want;
    struct smtp_client_options options;
    struct arena arena;
    struct buf output;
    struct reply reply;
    int64_t now_ms, deadline_ms;
    unsigned offers;
    uint64_t size_limit;
    size_t rcpt_max, mail_max;
    bool is_secured, is_bdat, is_body_sent, is_authenticated;
    struct buf mechanisms;    /* of EHLO's AUTH lines, parted by blanks */
    enum smtp_auth auth;      /* what AUTH waits for */
    struct buf challenge;     /* base64, of the last 334 */
    struct buf held;          /* a first response too long for the command's line */
    const char *cancelled;    /* "*" was sent: why */
    bool has_answer;          /* the server answered something in this transaction */
    struct smtp_transaction *transaction;
    size_t rcpt_next;         /* recipient whose RCPT reply (or LMTP final reply) comes next */
    size_t accepted;
    size_t owed;              /* DROPPED: replies still to come */
    struct smtp_result failure;
};

void client_enter(struct smtp_client *client, enum smtp_client_state state);
void client_put_data(struct smtp_client *client);
void client_put_next_rcpt(struct smtp_client *client);
void client_put_hello(struct smtp_client *client);

/* client_reply.c */
void client_on_reply(struct smtp_client *client);
/* Gives every recipient without a result this one, and lets the transaction go. */
void client_settle_all(struct smtp_client *client, enum smtp_result_kind kind, const char *stage,
                       const char *status, const char *text);

#endif
