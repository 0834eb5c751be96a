/* client: one outbound SMTP connection as a pure machine; bytes and times in, bytes and actions out.
 *   RFC 5321, 1870 (SIZE), 2920 (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS), 3461 (DSN), 4954 (AUTH), 6152, 6531, 8314
 *
 *   connect [-> handshake] -> GREETING -> EHLO [-> HELO] [-> STARTTLS -> handshake -> EHLO] [-> AUTH] -> IDLE
 *   IDLE -> MAIL, RCPT..., DATA | BDAT -> BODY -> FINAL -> (results) -> IDLE ... -> QUIT -> CLOSED
 *
 * The driver (relay/connection.c) owns socket, TLS and clock. It feeds what it reads, writes client->output, and
 * after every call looks at client->want:
 *   WANT_READ      nothing but more input (or the deadline) moves it on
 *   WANT_TLS       write the output out, handshake on the socket, then smtp_client_secured() or _lost()
 *   WANT_AUTH      smtp_client_auth() says at which point of AUTH it is:
 *                    SMTP_AUTH_BEGIN      choose one of _mechanisms(), then _auth_begin()
 *                    SMTP_AUTH_CHALLENGE  _challenge() (base64) wants _auth_respond() or _auth_cancel()
 *                    SMTP_AUTH_CLAIMED    the server says 235: _auth_passed(), or _auth_cancel() if it did not prove itself
 *   WANT_MESSAGE   ready for smtp_client_send(), or smtp_client_quit()
 *   WANT_BODY      append the transaction's body to the socket behind `output`, as want_body_is_bdat says
 *                  (as is; or dot-stuffed with the final dot), then smtp_client_body_queued()
 *   WANT_CLOSE     close the socket; `failure` tells why if the connection never became usable
 *
 * T1  the machine never waits without a deadline: client->deadline_ms is that of the stage (times of
 *     RFC 5321 4.5.3.2 from the options); the driver calls smtp_client_timeout() at it
 * T2  at STARTTLS all unread input is an attack: bytes behind the 220 line end the connection
 * T3  each recipient of a transaction gets exactly one result, also when the connection dies;
 *     `transaction->is_settled` is set with the last
 * T4  a connection lost (or timed out) between the body's last octet and its answer gives RESULT_UNKNOWN
 * T5  421 at any point: recipients not yet answered are DEFERRED, `is_host_failure` set, the connection closes
 * T6  452 (and 552, RFC 5321 4.5.3.1.10) to RCPT after at least one was accepted: RESULT_AGAIN, to be sent in the next
 *     transaction at once; to the first RCPT it is DEFERRED
 * T7  no command is built from unchecked text: addresses and parameters with CR, LF, NUL or blanks CHECK-fail
 * T9  a rehearsal ends with the last answer to RCPT, which is the recipient's result (DELIVERED: it would be taken), and RSET;
 *     neither DATA nor BDAT is ever sent
 * T10 AUTH comes only under TLS; with options.wants_auth no message is sent without it. A refusal (5xx) of AUTH is DEFERRED,
 *     its code in `failure`: it says nothing about any message. AUTH= on MAIL is sent after AUTH alone ("<>" if nothing is known)
 * T8  everything not understood defers, nothing not understood fails or delivers
 * Not here: what to convert (the driver asks smtp_client_offers() first), when to retry (config/schedule.h). */
#ifndef MR_SMTP_CLIENT_H
#define MR_SMTP_CLIENT_H

#include "base/arena.h"
#include "smtp/reply.h"

enum smtp_extension { /* bits */
    SMTP_PIPELINING = 1, SMTP_SIZE = 2, SMTP_8BITMIME = 4, SMTP_SMTPUTF8 = 8, SMTP_CHUNKING = 16,
    SMTP_ENHANCEDSTATUSCODES = 32, SMTP_DSN = 64, SMTP_STARTTLS = 128, SMTP_AUTH = 256, SMTP_LIMITS = 512,
    SMTP_REQUIRETLS = 1024, SMTP_DELIVERBY = 2048,
};

enum smtp_tls { SMTP_TLS_NEVER, SMTP_TLS_MAY, SMTP_TLS_MUST };
enum smtp_want { WANT_READ, WANT_TLS, WANT_AUTH, WANT_MESSAGE, WANT_BODY, WANT_CLOSE };
enum smtp_auth { SMTP_AUTH_BEGIN, SMTP_AUTH_CHALLENGE, SMTP_AUTH_CLAIMED };
enum smtp_result_kind { RESULT_UNSET, RESULT_DELIVERED, RESULT_DEFERRED, RESULT_FAILED, RESULT_AGAIN,
                        RESULT_UNKNOWN };

struct smtp_timeouts { int greeting_s, ehlo_s, mail_s, rcpt_s, data_s, block_s, final_s, quit_s, tls_s; };

struct smtp_client_options {
    const char *helo_name;
    enum smtp_tls tls;
    unsigned ignored;               /* bits of enum smtp_extension not to be used even if offered */
    struct smtp_timeouts timeouts;
    bool is_lmtp;                   /* LHLO, one final reply a recipient (RFC 2033) */
    bool is_implicit;               /* TLS from the first octet (RFC 8314 3.3) */
    bool wants_auth;                /* T10 */
};

struct smtp_result {
    enum smtp_result_kind kind;
    bool is_host_failure;  /* says something about the host, not this recipient: back off the site */
    const char *stage;     /* "connect", "greeting", "ehlo", "starttls", "tls", "auth", "mail", "rcpt", "data", "body", "final" */
    int code;              /* 0 when no server spoke */
    char status[16];       /* "4.4.2"; always set */
    struct slice text;     /* the server's reply in one line, or our words; in the transaction's arena */
};

struct smtp_recipient {
    struct slice address;
    struct slice orcpt;       /* absent if none */
    unsigned notify;          /* bits of enum envelope_notify (message/envelope.h), 0 = not given */
    struct smtp_result result;
};

struct smtp_transaction { /* the driver's; stays in place until settled */
    struct arena *arena;      /* results' texts live here */
    struct slice sender;      /* "" = null sender */
    const char *ret;          /* "FULL", "HDRS" or NULL */
    struct slice envid;       /* absent if none */
    struct slice auth;        /* AUTH= xtext, absent if none; sent only after AUTH */
    size_t body_size;         /* octets of the canonical message, unstuffed */
    bool is_8bit, is_smtputf8;
    bool is_rehearsal;        /* T9 */
    struct slice by;          /* BY= value, absent if none; sent only where DELIVERBY is offered (RFC 2852) */
    bool is_requiretls;       /* RFC 8689: only to a server that offers it under TLS */
    struct smtp_recipient *recipients;
    size_t recipient_count;
    bool is_settled;
};

struct smtp_client;

struct smtp_client *smtp_client_create(const struct smtp_client_options *options, int64_t now_ms);
void smtp_client_destroy(struct smtp_client **client);

void smtp_client_feed(struct smtp_client *client, struct slice bytes, int64_t now_ms);
void smtp_client_secured(struct smtp_client *client, int64_t now_ms);
/* `first` in base64: the mechanism's initial response, absent if the server begins. */
void smtp_client_auth_begin(struct smtp_client *client, const char *mechanism, struct slice first, int64_t now_ms);
void smtp_client_auth_respond(struct smtp_client *client, struct slice response, int64_t now_ms);
/* Ends it; `reason` is the failure's text, it stays in place as long as the client. */
void smtp_client_auth_cancel(struct smtp_client *client, const char *reason, int64_t now_ms);
void smtp_client_auth_passed(struct smtp_client *client, int64_t now_ms);
void smtp_client_send(struct smtp_client *client, struct smtp_transaction *transaction, int64_t now_ms);
void smtp_client_body_queued(struct smtp_client *client, int64_t now_ms);
void smtp_client_progress(struct smtp_client *client, int64_t now_ms); /* body bytes moved: block time starts anew */
void smtp_client_quit(struct smtp_client *client, int64_t now_ms);
void smtp_client_timeout(struct smtp_client *client, int64_t now_ms);
void smtp_client_lost(struct smtp_client *client, const char *reason, int64_t now_ms);

enum smtp_want smtp_client_want(const struct smtp_client *client);
enum smtp_auth smtp_client_auth(const struct smtp_client *client);
struct slice smtp_client_mechanisms(const struct smtp_client *client); /* "PLAIN LOGIN", as the server offers them */
struct slice smtp_client_challenge(const struct smtp_client *client);
bool smtp_client_body_is_bdat(const struct smtp_client *client);
struct buf *smtp_client_output(struct smtp_client *client); /* the driver empties it */
int64_t smtp_client_deadline_ms(const struct smtp_client *client);
unsigned smtp_client_offers(const struct smtp_client *client); /* usable extensions, after EHLO */
uint64_t smtp_client_size_limit(const struct smtp_client *client); /* 0 = none announced */
size_t smtp_client_recipients_max(const struct smtp_client *client); /* LIMITS RCPTMAX, 0 = none */
size_t smtp_client_messages_max(const struct smtp_client *client);   /* LIMITS MAILMAX, 0 = none */
bool smtp_client_is_secured(const struct smtp_client *client);
/* After WANT_CLOSE before any transaction: why; kind is DEFERRED or FAILED, is_host_failure set. */
const struct smtp_result *smtp_client_failure(const struct smtp_client *client);
const char *smtp_client_state_name(const struct smtp_client *client);

#endif
