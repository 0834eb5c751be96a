/* What the files of the listener's process share.
 *   smtpd.c  sockets, accepting, start and end       session.c  one connection       storage.c  its jobs for the pool
 *   tell.c   events for the relay's log       inbound.c  what is found out about a stranger's message */
#ifndef MR_SMTPD_SMTPD_PRIVATE_H
#define MR_SMTPD_SMTPD_PRIVATE_H

#include "os/pool.h"
#include "os/stream.h"
#include "smtpd/auth.h"
#include "smtpd/clients.h"
#include "smtpd/listen.h"
#include "smtpd/server.h"
#include "route/unbound.h"
#include "smtpd/smtpd.h"

struct event;

struct listener {
    struct smtpd *smtpd;
    struct listen_socket *socket;
    struct event *readable;
    struct server_options options;
};

struct smtpd {
    const struct config *config;
    struct policy policy;
    struct listen_sockets sockets;
    struct listener *listeners;
    SSL_CTX *tls;               /* NULL: no certificate */
    struct auth *auth;          /* NULL: no users */
    struct event_base *base;
    struct post *post;
    const struct link_pair *link_pair, *pam_pair;
    struct link *link;          /* to the relay */
    struct buf told;            /* events on their way to the relay (outcome/told.h) */
    uint64_t untold;            /* those that found no room, not yet said */
    struct event *tell_soon;
    bool has_dialogs;           /* every command is told */
    uint64_t ask_number;        /* of the last question, so that an answer finds who asked */
    struct pool *pool;
    struct pickup_folder *folder;
    struct clients *clients;
    struct session *sessions;   /* list of all */
    size_t session_count;
    struct event *on_term, *on_int, *on_hup, *again, *limit;
    smtpd_reload_fn *may_reload;
    void *reload_arg;
    enum smtpd_end how;
    bool is_ending;
    struct unbound *unbound;    /* of the checks; NULL: none is wanted */
    struct resolver resolver;   /* it */
    struct psl_ctx_st *suffixes;
    size_t held_octets;         /* of messages that are kept whole to be looked at */
};

enum session_phase {
    SESSION_PROXY,     /* the balancer's header is awaited */
    SESSION_SILENT,    /* nothing is said yet: who speaks now does not wait for the greeting */
    SESSION_HANDSHAKE,
    SESSION_TALK,
    SESSION_LINGER,    /* all is said; what still comes is read and dropped, so that our last words arrive */
};

struct session {
    struct smtpd *smtpd;
    struct listener *listener;
    struct session *next, *previous;
    enum session_phase phase;
    struct server server;
    struct server_client peer;
    struct client *client;      /* its count; NULL until admitted */
    struct stream *stream;
    struct event *timer;
    struct buf pending;         /* read, not consumed */
    int64_t started_ms, since_ms; /* since: the command or content that is awaited now */
    enum server_state awaited;
    bool is_pausing;            /* SERVER_PAUSE is on */
    bool is_gone;               /* the peer is; freed when the job comes back */
    uint64_t ask;               /* SERVER_ASK: its number, while the answer is awaited */
    bool has_job;
    size_t held_octets;         /* its part of smtpd's */
    struct inbound *inbound;    /* what is found out about its message; NULL: nothing */
    struct pool_job job;        /* below: the job's, while has_job */
    struct pickup_file *file;
    enum server_stored stored;
    char name[PICKUP_WRITER_NAME_SIZE];
    struct error error;
    struct auth_session *auth;
    enum server_verdict verdict;
    struct buf auth_out;
};

void session_begin(struct listener *listener, int fd, const struct in6_addr *address);
void session_end(struct session *session, const char *reply);  /* at the loop's end, or a shutdown */
void session_free(struct session *session);
void session_answered(struct session *session, enum server_asked how, uint64_t count);
void session_continue(struct session *session);                 /* a job came back */
void session_tell(const struct session *session, const char *format, ...) FORMAT(2, 3);

server_note_fn tell_note;                                    /* arg: the session */
void tell_accepted(struct session *session);                 /* before the server forgets the message */
/* What a filter did, `note` in a word or two; `reason` may be NULL. */
void tell_filtered(struct session *session, const char *filter, const char *note, const char *reason);
void tell_turned_away(struct session *session, const char *reply);
void tell_full(struct smtpd *smtpd, const struct in6_addr *address);
void tell_flush(struct smtpd *smtpd);

void storage_submit(struct session *session); /* SERVER_STORE, SERVER_AUTH: hands it to the pool */
void storage_auth(struct session *session);
void storage_drop(struct session *session);   /* content that was refused or given up */

#endif
