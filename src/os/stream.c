#include "os/stream.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/timer.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_SIZE = 16 * 1024, KEEP_BUFFER_SIZE = 64 * 1024 };
enum stream_phase { CONNECTING, PLAIN, HANDSHAKE, SECURED, DEAD };

struct stream {
    int socket_fd;
    enum stream_phase phase;
    struct event *readable, *writable;
    SSL *ssl;
    bool is_paused;
    struct buf out;
    size_t out_sent;              /* octets of `out` that have left */
    const struct stream_handler *handler;
    void *arg;
    const char *close_reason;     /* set when an error came inside a stream_ call; told from the loop */
    struct timer *arrival;        /* of a simulated connection on its way; NULL else */
    int problem;                  /* what it comes to: an errno, or 0 */
};

static void close_now(struct stream *stream, const char *reason);
static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

static int open_socket(const struct sockaddr *to, const struct sockaddr *from, struct error *error)
{
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        (void)error_set_errno(error, "socket");
        return -1;
    }
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only a delay if refused */
    socklen_t size = to->sa_family == AF_INET6  ? sizeof(struct sockaddr_in6)
                     : to->sa_family == AF_UNIX ? sizeof(struct sockaddr_un)
                                                : sizeof(struct sockaddr_in);
    if (from && bind(fd, from, size) != 0) {
        (void)error_set_errno(error, "bind to the source address");
        close(fd);
        return -1;
    }
    if (connect(fd, to, size) != 0 && errno != EINPROGRESS) {
        (void)error_set_errno(error, "connect");
        close(fd);
        return -1;
    }
    return fd;
}

/* Takes the descriptor, also when it fails. */
static struct stream *make(struct event_base *base, int fd, enum stream_phase phase, const struct stream_handler *handler, void *arg,
                           struct error *error)
{
    struct stream *stream = mem_alloc(sizeof *stream);
    stream->socket_fd = fd;
    stream->phase = phase;
    stream->handler = handler;
    stream->arg = arg;
    stream->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, stream);
    stream->writable = event_new(base, fd, EV_WRITE, on_writable, stream);
    if (stream->readable && stream->writable)
        return stream;
    stream_destroy(&stream);
    (void)error_set(error, "can't watch a socket");
    return NULL;
}

static bool watch(struct stream **stream, struct event *event, struct error *error)
{
    if (event_add(event, NULL) == 0)
        return true;
    stream_destroy(stream);
    return error_set(error, "can't watch a socket");
}

static void begin_plain(struct stream *stream)
{
    stream->phase = PLAIN;
    (void)event_add(stream->readable, NULL);
    stream->handler->on_connected(stream->arg);
}

struct stream *stream_connect(struct event_base *base, const struct sockaddr *to,
                              const struct sockaddr *from, const struct stream_handler *handler,
                              void *arg, struct error *error)
{
    int fd = open_socket(to, from, error);
    if (fd < 0)
        return NULL;
    struct stream *stream = make(base, fd, CONNECTING, handler, arg, error);
    return stream && watch(&stream, stream->writable, error) ? stream : NULL;
}

struct stream *stream_accepted(struct event_base *base, int fd, const struct stream_handler *handler, void *arg,
                               struct error *error)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* only a delay if refused */
    struct stream *stream = make(base, fd, PLAIN, handler, arg, error);
    return stream && watch(&stream, stream->readable, error) ? stream : NULL;
}

static void on_arrival(void *arg)
{
    struct stream *stream = arg;
    if (stream->problem)
        close_now(stream, strerrordesc_np(stream->problem));
    else
        begin_plain(stream);
}

struct stream *stream_simulated(struct event_base *base, struct stream_end end, const struct stream_handler *handler, void *arg,
                                struct error *error)
{
    struct stream *stream = make(base, end.fd, CONNECTING, handler, arg, error);
    if (!stream)
        return NULL;
    stream->problem = end.problem;
    stream->arrival = timer_make(base, on_arrival, stream);
    if (end.fd >= 0 || end.problem)
        timer_set(stream->arrival, end.after_ms);
    return stream;
}

void stream_pause(struct stream *stream)
{
    stream->is_paused = true;
    if (stream->phase == PLAIN || stream->phase == SECURED)
        (void)event_del(stream->readable);
}

void stream_resume(struct stream *stream)
{
    if (!stream->is_paused)
        return;
    stream->is_paused = false;
    if (stream->phase != PLAIN && stream->phase != SECURED)
        return;
    (void)event_add(stream->readable, NULL);
    if (stream->phase == SECURED && SSL_pending(stream->ssl) > 0)
        event_active(stream->readable, EV_READ, 0);
}

void stream_end(struct stream *stream)
{
    ERR_clear_error();
    if (stream->phase == SECURED)
        (void)SSL_shutdown(stream->ssl); /* the peer's answer is not waited for */
    (void)shutdown(stream->socket_fd, SHUT_WR);
}

void stream_destroy(struct stream **stream)
{
    struct stream *s = *stream;
    if (!s)
        return;
    timer_free(&s->arrival);
    if (s->readable)
        event_free(s->readable);
    if (s->writable)
        event_free(s->writable);
    if (s->ssl)
        SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session could not be resumed */
    SSL_free(s->ssl);
    if (s->socket_fd >= 0)
        close(s->socket_fd);
    buf_finish(&s->out);
    free(s);
    *stream = NULL;
}

size_t stream_pending(const struct stream *stream)
{
    return stream->out.size - stream->out_sent;
}

SSL *stream_handshake(struct stream *stream)
{
    return stream->ssl;
}

const SSL *stream_tls(const struct stream *stream)
{
    return stream->phase == SECURED ? stream->ssl : NULL;
}

void stream_write(struct stream *stream, struct slice bytes)
{
    buf_append(&stream->out, bytes);
}

static const char *tls_reason(const char *fallback)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return reason ? reason : fallback;
}

/* The owner hears of it from the loop: a callback inside its own call would pull the ground from under it. */
static void die_later(struct stream *stream, const char *reason)
{
    if (stream->phase == DEAD)
        return;
    stream->phase = DEAD;
    stream->close_reason = reason;
    event_active(stream->writable, EV_WRITE, 0);
}

static void close_now(struct stream *stream, const char *reason)
{
    stream->phase = DEAD;
    (void)event_del(stream->readable);
    (void)event_del(stream->writable);
    stream->handler->on_closed(stream->arg, reason);
}

/* Octets taken by the kernel; 0 = none now (the right event is armed); -1 = dead. */
static ssize_t send_some(struct stream *stream, struct slice bytes)
{
    if (stream->phase == SECURED) {
        ERR_clear_error();
        int size = bytes.size > 1 << 20 ? 1 << 20 : (int)bytes.size;
        int sent = SSL_write(stream->ssl, bytes.data, size);
        if (sent > 0)
            return sent;
        int why = SSL_get_error(stream->ssl, sent);
        if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ)
            return 0;
        die_later(stream, tls_reason("connection lost while sending under TLS"));
        return -1;
    }
    ssize_t sent = send(stream->socket_fd, bytes.data, bytes.size, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    die_later(stream, strerrordesc_np(errno));
    return -1;
}

void stream_flush(struct stream *stream)
{
    if (stream->phase != PLAIN && stream->phase != SECURED)
        return;
    while (stream_pending(stream)) {
        ssize_t sent = send_some(stream, slice_from(buf_slice(&stream->out), stream->out_sent));
        if (sent < 0)
            return;
        if (sent == 0) {
            (void)event_add(stream->writable, NULL);
            return;
        }
        stream->out_sent += (size_t)sent;
    }
    stream->out_sent = 0;
    if (stream->out.capacity > KEEP_BUFFER_SIZE)
        buf_finish(&stream->out);
    else
        buf_clear(&stream->out);
}

static void on_connect_result(struct stream *stream)
{
    int problem = 0;
    socklen_t size = sizeof problem;
    if (getsockopt(stream->socket_fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0)
        problem = errno;
    if (problem) {
        close_now(stream, strerrordesc_np(problem));
        return;
    }
    begin_plain(stream);
}

/* What a person can act on, with OpenSSL's words behind it. */
static const char *handshake_reason(void)
{
    static const struct { int reason; const char *words; } known[] = {
        {SSL_R_WRONG_VERSION_NUMBER, "what the server says is no TLS"},
        {SSL_R_UNSUPPORTED_PROTOCOL, "there is no TLS version that both sides take"},
        {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "there is no TLS version that both sides take"},
        {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "there is no cipher that both sides take, or the server wants another certificate"},
        {SSL_R_NO_SHARED_CIPHER, "there is no cipher that both sides take"},
        {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "the server wants a certificate of ours"},
        {SSL_R_TLSV1_UNRECOGNIZED_NAME, "the server does not know the name that it was asked for"},
        {SSL_R_DH_KEY_TOO_SMALL, "the server's Diffie-Hellman key is too short"},
        {SSL_R_UNEXPECTED_EOF_WHILE_READING, "the server hung up"},
    };
    static char text[256]; /* the loop's thread only */
    unsigned long code = ERR_peek_last_error();
    const char *words = NULL, *theirs = tls_reason("connection lost");
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == known[i].reason)
            words = known[i].words;
    (void)snprintf(text, sizeof text, "the TLS handshake failed: %s%s%s%s", words ? words : theirs, words ? " (" : "", words ? theirs : "",
                   words ? ")" : "");
    return text;
}

static void shake_hands(struct stream *stream)
{
    ERR_clear_error();
    int result = SSL_do_handshake(stream->ssl);
    if (result == 1) {
        stream->phase = SECURED;
        if (SSL_pending(stream->ssl) > 0)
            event_active(stream->readable, EV_READ, 0);
        stream->handler->on_secured(stream->arg);
        return;
    }
    int why = SSL_get_error(stream->ssl, result);
    if (why == SSL_ERROR_WANT_WRITE)
        (void)event_add(stream->writable, NULL);
    else if (why != SSL_ERROR_WANT_READ)
        close_now(stream, handshake_reason());
}

static bool begin_tls(struct stream *stream, SSL_CTX *context, struct error *error)
{
    CHECK(stream->phase == PLAIN && stream_pending(stream) == 0);
    stream->ssl = SSL_new(context);
    return (stream->ssl && SSL_set_fd(stream->ssl, stream->socket_fd) == 1)
           || error_set(error, "TLS: %s", tls_reason("no session"));
}

bool stream_serve_tls(struct stream *stream, SSL_CTX *context, struct error *error)
{
    if (!begin_tls(stream, context, error))
        return false;
    SSL_set_accept_state(stream->ssl);
    stream->phase = HANDSHAKE;
    event_active(stream->writable, EV_WRITE, 0); /* the client's hello may be here already */
    return true;
}

bool stream_start_tls(struct stream *stream, SSL_CTX *context, const char *server_name,
                      struct error *error)
{
    if (!begin_tls(stream, context, error))
        return false;
    SSL_set_connect_state(stream->ssl);
    if (server_name)
        (void)SSL_set_tlsext_host_name(stream->ssl, server_name); /* no SNI is no failure */
    stream->phase = HANDSHAKE;
    event_active(stream->writable, EV_WRITE, 0); /* the first flight leaves from the loop */
    return true;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct stream *stream = arg;
    switch (stream->phase) {
    case CONNECTING:
        on_connect_result(stream);
        return;
    case HANDSHAKE:
        shake_hands(stream);
        return;
    case DEAD:
        if (stream->close_reason)
            close_now(stream, stream->close_reason);
        return;
    case PLAIN:
    case SECURED:
        break;
    }
    stream_flush(stream);
    if (stream_pending(stream) == 0 && stream->phase != DEAD)
        stream->handler->on_drained(stream->arg);
}

/* Octets read; 0 = nothing now; -1 = closed, `reason` says how. */
static ssize_t receive_some(struct stream *stream, char *to, size_t size, const char **reason)
{
    if (stream->phase == SECURED) {
        ERR_clear_error();
        int got = SSL_read(stream->ssl, to, (int)size);
        if (got > 0)
            return got;
        int why = SSL_get_error(stream->ssl, got);
        if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
            return 0;
        *reason = why == SSL_ERROR_ZERO_RETURN ? "closed by the server"
                                               : tls_reason("connection lost under TLS");
        return -1;
    }
    ssize_t got = recv(stream->socket_fd, to, size, 0);
    if (got > 0)
        return got;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    *reason = got == 0 ? "closed by the server" : strerrordesc_np(errno);
    return -1;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct stream *stream = arg;
    static char bytes[READ_SIZE]; /* the loop's thread only */
    const char *reason = NULL;

    if (stream->phase == HANDSHAKE) {
        shake_hands(stream);
        return;
    }
    if (stream->phase != PLAIN && stream->phase != SECURED)
        return;
    ssize_t got = receive_some(stream, bytes, sizeof bytes, &reason);
    if (got < 0) {
        close_now(stream, reason);
        return;
    }
    /* What OpenSSL holds decrypted raises no event of its own: come again before polling. */
    if (got > 0 && stream->phase == SECURED && SSL_pending(stream->ssl) > 0)
        event_active(stream->readable, EV_READ, 0);
    if (got > 0)
        stream->handler->on_read(stream->arg, slice_make(bytes, (size_t)got));
}
