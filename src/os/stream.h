/* stream: one connection (TCP, or a Unix socket) on the loop, outgoing or accepted, in the clear or under TLS.
 *
 * Bytes to send are copied into a buffer by stream_write() and leave with stream_flush(), one system call for a flight of
 * commands. Callbacks run on the loop, never inside a stream_ call, so that the owner may destroy the stream in any of them:
 *   on_connected  the TCP connection stands            on_secured  the TLS handshake is done
 *   on_read       bytes arrived (valid during the call) on_drained  what stream_flush() had to leave behind is sent
 *   on_closed     the peer closed or an error came; the stream is dead, the owner destroys it
 * Not here: deadlines (the owner's one timer), certificates' meaning (relay/tls.h). */
#ifndef MR_OS_STREAM_H
#define MR_OS_STREAM_H

#include "base/error.h"
#include "base/slice.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

struct event_base;
struct stream;

struct stream_handler {
    void (*on_connected)(void *arg);
    void (*on_read)(void *arg, struct slice bytes);
    void (*on_drained)(void *arg);
    void (*on_secured)(void *arg);
    void (*on_closed)(void *arg, const char *reason);
};

/* Starts connecting; `from` (NULL: as the kernel likes) is bound first. NULL with a reason if it can't even start. */
MUST_USE struct stream *stream_connect(struct event_base *base, const struct sockaddr *to,
                                       const struct sockaddr *from, const struct stream_handler *handler,
                                       void *arg, struct error *error);
/* What a simulated network makes of an attempt to connect: a connected socket (taken over), or `problem`, an errno, either of them
 * after that time; neither: nothing ever comes of it. */
struct stream_end { int fd, problem; int64_t after_ms; }; /* fd -1: none */
MUST_USE struct stream *stream_simulated(struct event_base *base, struct stream_end end, const struct stream_handler *handler,
                                         void *arg, struct error *error);
/* A connection that accept() gave; reading begins at once. Takes the descriptor, also when it fails. */
MUST_USE struct stream *stream_accepted(struct event_base *base, int fd, const struct stream_handler *handler,
                                        void *arg, struct error *error);
void stream_destroy(struct stream **stream); /* closes at once */
/* Stops and starts on_read; what arrives meanwhile waits in the kernel. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);
void stream_end(struct stream *stream); /* nothing more is written: TLS's notice and the TCP end go out */

void stream_write(struct stream *stream, struct slice bytes);
void stream_flush(struct stream *stream);
size_t stream_pending(const struct stream *stream); /* octets written and not yet sent */

/* Handshake as a client on top of what is connected; `server_name` for SNI, NULL for none. */
MUST_USE bool stream_start_tls(struct stream *stream, SSL_CTX *context, const char *server_name,
                               struct error *error);
/* The same as the server. */
MUST_USE bool stream_serve_tls(struct stream *stream, SSL_CTX *context, struct error *error);
SSL *stream_handshake(struct stream *stream); /* to be set up between stream_start_tls() and the loop */
const SSL *stream_tls(const struct stream *stream); /* NULL in the clear */

#endif
