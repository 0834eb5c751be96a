/* sink: the server side of SMTP as tests and demonstrations want it: takes everything, keeps what
 * it is asked to. RFC 5321, 1870 (SIZE), 2034, 2920 (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS),
 * 3461 (DSN), 6152, 6531
 *
 *   COMMAND --DATA--> DATA  --CRLF "." CRLF--> ANSWER --sink_answer()--> COMMAND
 *   COMMAND --BDAT--> CHUNK --last octet-----> COMMAND, or ANSWER after LAST
 *
 * A pure machine: the driver (cli/sink_server.c) feeds what it reads, writes session->output and
 * looks at the result: SINK_READ     all was consumed, more input moves it on SINK_MESSAGE
 * session->message is whole; sink_answer() says what becomes of it SINK_TLS      write the output
 * out, handshake, then sink_secured(); input behind STARTTLS is an attack SINK_CLOSE    write the
 * output out and close
 *
 * K1  a body is looked through for its end only, never line by line: the sink must not be what a
 * measurement measures K2  only CRLF "." CRLF ends a message; a bare LF or CR is content K3  a
 * command line has at most SINK_LINE_SIZE_MAX octets; a longer one ends the session Not here: what
 * is done with a message (cli/sink_record.h). Not for mail that matters: nothing is kept durably.
 */
#ifndef MR_SMTP_SINK_H
#define MR_SMTP_SINK_H

#include "base/buf.h"
#include "smtp/client.h"

enum { SINK_LINE_SIZE_MAX = 8192, SINK_HEADER_KEPT_MAX = 64 * 1024 };
enum sink_want { SINK_READ, SINK_MESSAGE, SINK_TLS, SINK_CLOSE };
enum sink_state { SINK_STATE_COMMAND, SINK_STATE_DATA, SINK_STATE_CHUNK, SINK_STATE_ANSWER };
enum sink_keep { SINK_KEEP_NOTHING, SINK_KEEP_HEADER, SINK_KEEP_ALL };

/* Where a scripted server may have its own word. `argument` is the command's; NULL: as usual, "": hang up, else a reply, whose lines
 * are parted by "\n" without their code. A reply that is no success ends the command there, one with 421 the session too. */
enum sink_stage { SINK_AT_EHLO, SINK_AT_MAIL, SINK_AT_RCPT, SINK_AT_DATA };
typedef const char *sink_script_fn(void *arg, enum sink_stage stage, struct slice argument);

struct sink_options {
    sink_script_fn *script;  /* NULL: none */
    const char *host;        /* our name in the greeting */
    unsigned extensions;     /* offered; bits of enum smtp_extension */
    enum sink_keep keep;     /* of a message's content */
    unsigned reject_percent; /* recipients answered with reject_code */
    int reject_code;
};

struct sink_message {
    struct buf sender;     /* path without angle brackets */
    struct buf recipients; /* paths, each ended by a NUL */
    size_t recipient_count;
    uint64_t size;      /* octets as they came; stuffing dots count, the final dot does not */
    struct buf content; /* as options->keep says, as it came */
    bool is_stuffed;    /* came by DATA */
    int64_t mail_us;    /* time of MAIL */
};

struct sink_session {
    const struct sink_options *options;
    void *script_arg;
    enum sink_state state;
    enum sink_want want;
    struct buf output;
    struct buf line; /* the command line under way */
    struct sink_message message;
    char tail[4]; /* DATA: the last octets seen, for an end that is spread over two reads */
    uint64_t chunk_left;
    bool is_last_chunk, is_chunk_ignored;
    bool is_greeted, is_secured, has_sender;
    uint64_t random; /* state of the generator behind reject_percent; not zero */
    uint64_t rejected_count;
    int64_t now_us;
};

/* Puts the greeting into the output. `seed` decides which recipients are rejected. */
void sink_init(struct sink_session *session, const struct sink_options *options, uint64_t seed);
void sink_finish(struct sink_session *session);
enum sink_want sink_feed(struct sink_session *session, struct slice bytes, int64_t now_us,
                         size_t *ret_consumed);
/* The answer to a whole message, which is forgotten: 250, or a refusal. */
void sink_answer(struct sink_session *session, const char *reply);
void sink_secured(struct sink_session *session);
/* A reply of one line or of several ("451 4.7.1 Not now\ntry later"), appended to the output. */
void sink_say(struct sink_session *session, const char *text);
/* The message's content with its dots removed, in place; all of it must have been kept. */
struct slice sink_unstuff(struct sink_message *message);

#endif
