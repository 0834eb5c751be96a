/* server: the listener's side of SMTP as a pure machine; bytes and times in, bytes and actions out.
 *   RFC 5321, 1870 (SIZE), 1985 (ETRN), 2034, 2920 (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS), 3461 (DSN), 4954 (AUTH),
 *   2852 (DELIVERBY), 4865 (FUTURERELEASE), 6152, 6531 (SMTPUTF8), 8689 (REQUIRETLS), 9422 (LIMITS)
 *
 *   NEW --EHLO--> READY --MAIL--> MAIL --RCPT--> RCPT --DATA--> content --CRLF "." CRLF--> STORE --> READY
 *                                                     --BDAT--> BDAT (content)   --LAST--> STORE --> READY
 *
 * The driver (smtpd/session.c, cli/sendmail_bs.c) feeds what it reads, writes server->output, and looks at the result:
 *   SERVER_READ    all was consumed, more input moves it on
 *   SERVER_STORE   store->bytes go into the file of server_submission(); is_last: make it durable; then server_stored()
 *   SERVER_AUTH    auth->mechanism and auth->response (base64, absent: none yet) want a verdict: server_auth()
 *   SERVER_ASK     etrn_node is to be asked for: server_asked()
 *   SERVER_TLS     write the output out, handshake, then server_secured()
 *   SERVER_PAUSE   hold the output back for pause_ms (tarpit), then server_resume()
 *   SERVER_CLOSE   write the output out and close
 *
 * D1  250 after DATA or the last BDAT is said by server_stored() alone
 * D2  only CRLF ends a line and only CRLF "." CRLF ends DATA; a bare CR or LF, in a command or in content, is answered 554
 *     5.6.0 (commands: 500) and the connection ends, so that nothing behind it is ever taken for a command. So is a NUL
 * D3  input behind STARTTLS ends the connection; after the handshake nothing of before is known (3207 4.2)
 * D4  every command has a row in the table of server.c that says in which phases it may come
 * D5  input that came with EHLO, DATA or before the greeting, where the client had to wait for our answer (2920 3.1), ends
 *     the connection, unless is_local
 * D6  command lines have at most 2048 octets, AUTH's 12288; a longer one ends the connection
 * D7  is_local is for `sendmail -bs`, whose peer is a program of this machine: D5 doesn't hold, EHLO may be left out,
 *     addresses need no domain, and what comes of it is an ordinary pickup file
 * D8  a relaying decision is taken on the parsed domain (smtpd/policy.h)
 * D9  no reply holds a text of the client's but an address that was parsed and is printable
 * D10 a client that may_bare_lf, an old program in a network that is trusted: its bare LF ends a line as CRLF does, and is made
 *     one. CRLF "." CRLF alone ends DATA even so; a dot on a line that a bare LF begins or ends is only taken off
 * Not here: time-outs (the driver's), how a password is checked (smtpd/auth.h). */
#ifndef MR_SMTPD_SERVER_H
#define MR_SMTPD_SERVER_H

#include "base/arena.h"
#include "pickup/pickup_writer.h"
#include "smtpd/policy.h"

enum { SERVER_LINE_SIZE_MAX = 2048, SERVER_AUTH_SIZE_MAX = 12288, SERVER_PIECE_SIZE = 256 * 1024 };
enum server_want { SERVER_READ, SERVER_STORE, SERVER_AUTH, SERVER_ASK, SERVER_TLS, SERVER_PAUSE, SERVER_CLOSE };
enum server_phase { /* bits: D4 */
    PHASE_NEW = 1, PHASE_READY = 2, PHASE_MAIL = 4, PHASE_RCPT = 8, PHASE_BDAT = 16, PHASE_ANY = 31,
};
enum server_stored { STORED_SAFE, STORED_NO_SPACE, STORED_FAILED };
enum server_asked { ASKED_STARTED, ASKED_LATE, ASKED_FAILED }; /* late: it is on its way, how many there are isn't known */
enum server_verdict { AUTH_CHALLENGE, AUTH_PASSED, AUTH_REFUSED, AUTH_BUSY, AUTH_MALFORMED };

struct server_options {
    const char *host;
    const struct policy *policy;
    struct slice default_domain;
    uint64_t message_size, session_size;  /* octets; session_size 0 = no limit */
    size_t header_size, header_count, hops;
    int recipients, messages, errors;     /* a message, a connection, a connection */
    int64_t hold_ms;                      /* FUTURERELEASE: the longest; 0 = not offered */
    int64_t tarpit_ms;                    /* held back after every refusal from the fourth on */
    const char *mechanisms;               /* "PLAIN LOGIN SCRAM-SHA-256", NULL = no AUTH at all */
    bool is_tls_offered, is_tls_demanded; /* demanded: no MAIL before it */
    bool is_auth_demanded;                /* no MAIL before it */
    bool is_held, is_held_from_all;       /* a stranger's, or everybody's, message is stored in one piece */
    bool is_etrn_offered;                 /* some route's mail waits to be asked for */
    bool is_auth_in_clear;                /* loopback only, and the driver knows which clients are that */
    bool is_local;                        /* D7 */
};

struct server;
struct server_note { /* a command and an answer to it, for whoever keeps a log */
    const char *word;       /* of the table; "" for what is none, and for what was said unasked */
    struct slice argument;  /* as it came; of AUTH the mechanism alone */
    int code;
    struct slice reply;     /* its last line */
    uint64_t octets_in;     /* the command's line, or the message */
    size_t octets_out;
    int64_t since_ms;       /* when it came */
};
typedef void server_note_fn(void *arg, const struct server *server, const struct server_note *note);

struct server_client {
    struct in6_addr address;
    char address_text[48];  /* as in RFC 5321's literals: "192.0.2.1", "IPv6:2001:db8::1", or "local" */
    char helo[256], user[256];
    char name[256];         /* host name if XCLIENT told it, else empty */
    char tls[80];           /* "TLSv1.3 with cipher …", empty in the clear */
    bool is_loopback, may_relay, may_xclient, may_bare_lf; /* bare_lf: D10 */
};

struct server_transaction { /* lives in the arena until the next one begins */
    struct arena arena;
    struct submission submission;
    struct submission_recipient *recipients;
    size_t capacity;
};

struct server_content { /* of DATA or BDAT */
    enum server_line { LINE_START, LINE_MIDDLE, LINE_CR, LINE_DOT, LINE_DOT_CR,
                       LINE_START_LF, LINE_DOT_LF } line; /* …_LF: behind a bare LF (D10) */
    struct buf bytes;       /* not stored yet */
    uint64_t size;
    size_t header_size, header_count, hops, field_size;
    size_t unbroken_size;   /* of the header's line, since it could be folded */
    bool has_word;          /* the line has more than blanks */
    char field[10];         /* the first octets of the line under way */
    bool is_body;           /* behind the header */
    const char *refusal;    /* what it will be answered with; the rest is read and dropped */
    bool is_begun;          /* something of it was stored */
    bool is_held;           /* nothing of it is stored before all is there */
};

struct server {
    const struct server_options *options;
    struct server_client client;
    enum server_phase phase;
    enum server_state { STATE_GREETING, STATE_COMMAND, STATE_AUTH, STATE_DATA, STATE_CHUNK } state;
    enum server_want want, want_next; /* next: behind a pause */
    struct buf output;
    struct buf line;
    bool has_cr;                      /* the line so far ends in CR */
    bool is_esmtp, is_secured, is_authenticated;
    struct server_transaction transaction;
    struct server_content content;
    uint64_t chunk_left, session_size;
    bool is_last_chunk;
    struct { bool is_last; struct slice bytes; } store;
    struct { struct slice mechanism, response; } auth;
    struct buf auth_text;
    struct slice etrn_node;           /* "domain", "@domain" in A-labels, "#queue" */
    server_note_fn *note;             /* set by the driver, or NULL */
    void *note_arg;
    struct { const char *word; struct buf argument; uint64_t octets; int64_t since_ms; } command; /* under way */
    bool is_held_off;                 /* the driver's word: MAIL gets 450 for now */
    int64_t now_ms, pause_ms;
    int zone_s;
    int message_count, error_count, auth_failures;
};

void server_init(struct server *server, const struct server_options *options, const struct server_client *client);
void server_finish(struct server *server);
/* The greeting, or the refusal of one who is turned away ("421 …", "554 …"). */
void server_greet(struct server *server, const char *refusal);
enum server_want server_feed(struct server *server, struct slice bytes, int64_t now_ms, int zone_s, size_t *ret_consumed);
/* The envelope of the content under way, from the first SERVER_STORE to server_stored() of the last. */
const struct submission *server_submission(const struct server *server);
/* `name`: what the client may ask for later, absent if there is none. */
void server_stored(struct server *server, enum server_stored how, struct slice name);
/* Instead of server_stored(), of the last piece: it was looked at and won't be taken. */
void server_refused(struct server *server, const char *reply);
/* The content under way can't be kept: what is still to come is dropped, and this is the answer. */
void server_give_up(struct server *server, const char *reply);
/* `text`: the challenge in base64, or the user's name. */
void server_auth(struct server *server, enum server_verdict verdict, struct slice text);
void server_asked(struct server *server, enum server_asked how, uint64_t count); /* count: messages that were waiting */
void server_secured(struct server *server, const char *tls);
void server_resume(struct server *server);
/* Ends it with that reply: time-outs, shutdown. */
void server_end(struct server *server, const char *reply);

#endif
