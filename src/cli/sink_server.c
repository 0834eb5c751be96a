#include "cli/sink_server.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_MAX = 64, READ_SIZE = 256 * 1024 };

struct connection {
    int fd;
    uint32_t watched; /* events epoll was asked for */
    SSL *tls;
    struct sink_session session;
    struct sink_receipt receipt;
    struct buf pending; /* read, but not fed: an answer goes out first */
    size_t written;     /* octets of the session's output */
    int64_t due_us;     /* when the output may go, 0 = at once */
    bool is_due_listed, is_answering, is_closing, is_handshaking;
    struct connection *next_due;
    struct connection *previous, *next; /* all of the thread's */
};

struct loop { /* a thread's */
    struct sink_server *server;
    int epoll_fd;
    struct connection *connections;
    struct connection *due_first, *due_last; /* latency is the same for all: first in, first due */
    uint64_t seed;
    int64_t now_us;
    char *input;
};

enum outcome { GOES_ON, IS_GONE }; /* whether the connection still exists */

static enum outcome connection_feed(struct loop *loop, struct connection *connection,
                                    struct slice bytes);
static enum outcome connection_advance(struct loop *loop, struct connection *connection);

static int64_t clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void connection_watch(struct loop *loop, struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};

    if (connection->watched == events)
        return;
    connection->watched = events;
    CHECK(epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) == 0);
}

static void due_remove(struct loop *loop, struct connection *connection)
{
    struct connection *previous = NULL;

    for (struct connection *c = loop->due_first; c && c != connection; c = c->next_due)
        previous = c;
    if (previous)
        previous->next_due = connection->next_due;
    else
        loop->due_first = connection->next_due;
    if (loop->due_last == connection)
        loop->due_last = previous;
    connection->is_due_listed = false;
}

static enum outcome connection_close(struct loop *loop, struct connection *connection)
{
    struct sink_recorder *recorder = loop->server->recorder;

    if (connection->is_due_listed)
        due_remove(loop, connection);
    if (connection->is_answering) /* its answer never left */
        sink_record_answered(recorder, &connection->receipt, 0);
    pthread_mutex_lock(&recorder->mutex);
    recorder->totals.rejected += connection->session.rejected_count;
    recorder->totals.open--;
    pthread_mutex_unlock(&recorder->mutex);
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        loop->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    SSL_free(connection->tls);
    close(connection->fd);
    sink_finish(&connection->session);
    buf_finish(&connection->receipt.line);
    buf_finish(&connection->pending);
    free(connection);
    return IS_GONE;
}

static void connection_accept(struct loop *loop)
{
    int fd = accept4(loop->server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int on = 1;

    if (fd < 0)
        return; /* another thread was faster, or the client went away; no descriptors left: the next
                   event tries */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a matter of speed alone */
    struct connection *connection = mem_alloc(sizeof *connection);
    connection->fd = fd;
    connection->watched = EPOLLIN;
    connection->next = loop->connections;
    if (loop->connections)
        loop->connections->previous = connection;
    loop->connections = connection;
    loop->seed += 0x9e3779b97f4a7c15u;
    sink_init(&connection->session, &loop->server->options, loop->seed);

    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    CHECK(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
    struct sink_recorder *recorder = loop->server->recorder;
    pthread_mutex_lock(&recorder->mutex);
    recorder->totals.connections++;
    if (++recorder->totals.open > recorder->totals.most_open)
        recorder->totals.most_open = recorder->totals.open;
    pthread_mutex_unlock(&recorder->mutex);
    (void)connection_advance(loop,
                             connection); /* gone or not, nothing more is to do with it here */
}

/* ---- bytes in and out: 0 = would block, -1 = gone ---- */

static ssize_t tls_result(struct connection *connection, int result)
{
    if (result > 0)
        return result;
    int error = SSL_get_error(connection->tls, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t connection_read(struct connection *connection, char *to, size_t size)
{
    if (connection->tls)
        return tls_result(connection, SSL_read(connection->tls, to, (int)size));
    ssize_t got = recv(connection->fd, to, size, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return got > 0 ? got : -1;
}

static ssize_t connection_write(struct connection *connection, struct slice bytes)
{
    if (connection->tls)
        return tls_result(connection, SSL_write(connection->tls, bytes.data, (int)bytes.size));
    ssize_t sent = send(connection->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return sent > 0 ? sent : -1;
}

/* ---- a connection's turns ---- */

static bool is_dropped(struct loop *loop)
{
    loop->seed = loop->seed * 6364136223846793005u + 1442695040888963407u;
    return (loop->seed >> 33) % 100 < loop->server->drop_percent;
}

static void stop_if_enough(struct sink_server *server)
{
    uint64_t one = 1;

    if (server->exit_after == 0)
        return;
    pthread_mutex_lock(&server->recorder->mutex);
    bool is_enough = server->recorder->totals.messages >= server->exit_after;
    pthread_mutex_unlock(&server->recorder->mutex);
    if (is_enough)
        CHECK(write(server->stop_fd, &one, sizeof one) == sizeof one);
}

static enum outcome on_message(struct loop *loop, struct connection *connection)
{
    struct sink_recorder *recorder = loop->server->recorder;
    const char *tls = connection->tls ? SSL_get_version(connection->tls) : NULL;
    struct error error;

    connection->receipt.dot_us = loop->now_us;
    connection->is_answering = true;
    if (!sink_record_message(recorder, &connection->session.message, tls, &connection->receipt,
                             &error)) {
        fprintf(stderr, "mailroot sink: %s\n", error.text);
        sink_answer(&connection->session, "451 4.3.0 could not be written down");
        return GOES_ON;
    }
    if (loop->server->drop_percent > 0 && is_dropped(loop)) {
        pthread_mutex_lock(&recorder->mutex);
        recorder->totals.dropped++;
        pthread_mutex_unlock(&recorder->mutex);
        return connection_close(loop, connection);
    }
    sink_answer(&connection->session, "250 2.0.0 taken");
    return GOES_ON;
}

/* Feeds until something has to go out first; the rest waits in `pending`. */
static enum outcome connection_feed(struct loop *loop, struct connection *connection,
                                    struct slice bytes)
{
    size_t used;
    enum sink_want want = sink_feed(&connection->session, bytes, loop->now_us, &used);

    if (used < bytes.size)
        buf_append(&connection->pending, slice_from(bytes, used));
    switch (want) {
    case SINK_READ: break;
    case SINK_MESSAGE:
        if (on_message(loop, connection) == IS_GONE)
            return IS_GONE;
        break;
    case SINK_TLS:
        if (connection->pending.size > 0) /* injected before the handshake */
            return connection_close(loop, connection);
        connection->is_handshaking = true;
        break;
    case SINK_CLOSE: connection->is_closing = true; break;
    }
    return GOES_ON;
}

static bool output_is_due(struct loop *loop, struct connection *connection)
{
    if (loop->server->latency_ms == 0)
        return true;
    if (connection->due_us == 0) {
        connection->due_us = loop->now_us + loop->server->latency_ms * 1000;
        if (loop->due_last)
            loop->due_last->next_due = connection;
        else
            loop->due_first = connection;
        loop->due_last = connection;
        connection->next_due = NULL;
        connection->is_due_listed = true;
    }
    return connection->due_us <= loop->now_us;
}

static enum outcome handshake(struct loop *loop, struct connection *connection)
{
    if (!connection->tls) {
        connection->tls = SSL_new(loop->server->tls);
        CHECK(connection->tls && SSL_set_fd(connection->tls, connection->fd) == 1);
    }
    int result = SSL_accept(connection->tls);
    if (result == 1) {
        connection->is_handshaking = false;
        sink_secured(&connection->session);
        return GOES_ON;
    }
    int error = SSL_get_error(connection->tls, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return connection_close(loop, connection);
    connection_watch(loop, connection, error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
    return GOES_ON;
}

static void output_gone(struct loop *loop, struct connection *connection)
{
    buf_clear(&connection->session.output);
    connection->written = 0;
    connection->due_us = 0;
    if (connection->is_answering) {
        sink_record_answered(loop->server->recorder, &connection->receipt, clock_us());
        connection->is_answering = false;
        stop_if_enough(loop->server);
    }
}

/* Writes what may go out, then feeds what waits, until one of them has to wait. */
static enum outcome connection_advance(struct loop *loop, struct connection *connection)
{
    struct buf *output = &connection->session.output;

    for (;;) {
        while (connection->written < output->size) {
            if (!output_is_due(loop, connection)) {
                connection_watch(loop, connection, 0);
                return GOES_ON;
            }
            ssize_t sent =
                connection_write(connection, slice_from(buf_slice(output), connection->written));
            if (sent < 0)
                return connection_close(loop, connection);
            connection->written += (size_t)sent;
            if (sent == 0) {
                connection_watch(loop, connection, EPOLLOUT);
                return GOES_ON;
            }
        }
        output_gone(loop, connection);
        if (connection->is_closing)
            return connection_close(loop, connection);
        if (connection->is_handshaking)
            return handshake(loop, connection);
        connection_watch(loop, connection, EPOLLIN);
        if (connection->pending.size == 0)
            return GOES_ON;
        struct buf bytes = connection->pending;
        connection->pending = (struct buf){0};
        enum outcome outcome = connection_feed(loop, connection, buf_slice(&bytes));
        buf_finish(&bytes);
        if (outcome == IS_GONE)
            return IS_GONE;
    }
}

static void connection_event(struct loop *loop, struct connection *connection, uint32_t events)
{
    bool is_idle =
        connection->written == connection->session.output.size && !connection->is_handshaking;

    if (!is_idle || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        if (events & (EPOLLHUP | EPOLLERR))
            (void)connection_close(loop, connection); /* nothing more can go out */
        else
            (void)connection_advance(loop, connection); /* gone or not, this event is dealt with */
        return;
    }
    do {
        ssize_t got = connection_read(connection, loop->input, READ_SIZE);
        if (got < 0) {
            (void)connection_close(loop, connection); /* as above */
            return;
        }
        if (got == 0)
            return;
        if (connection_feed(loop, connection, slice_make(loop->input, (size_t)got)) == IS_GONE
            || connection_advance(loop, connection) == IS_GONE)
            return;
    } while (connection->tls && !connection->is_handshaking && SSL_pending(connection->tls) > 0);
}

static void advance_due(struct loop *loop)
{
    while (loop->due_first && loop->due_first->due_us <= loop->now_us) {
        struct connection *connection = loop->due_first;
        due_remove(loop, connection);
        (void)connection_advance(loop, connection); /* gone or not, its turn is over */
    }
}

static int wait_ms(const struct loop *loop)
{
    if (!loop->due_first)
        return -1;
    int64_t left_us = loop->due_first->due_us - clock_us();
    return left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
}

static void *loop_run(void *arg)
{
    struct loop *loop = arg;
    struct epoll_event events[EVENTS_MAX];
    bool is_stopped = false;

    while (!is_stopped) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, wait_ms(loop));
        loop->now_us = clock_us();
        for (int i = 0; i < count; i++) {
            void *what = events[i].data.ptr;
            if (what == &loop->server->listen_fd)
                connection_accept(loop);
            else if (what == &loop->server->stop_fd)
                is_stopped = true;
            else
                connection_event(loop, what, events[i].events);
        }
        advance_due(loop);
        sink_record_flush(loop->server->recorder);
    }
    while (loop->connections)
        (void)connection_close(loop, loop->connections); /* the loop's end */
    sink_record_flush(loop->server->recorder);
    return NULL;
}

bool sink_server_run(struct sink_server *server, struct error *error)
{
    struct loop loop = {.server = server, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    /* EPOLLEXCLUSIVE: a new client wakes one of the threads */
    struct epoll_event on_listen = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                    .data.ptr = &server->listen_fd};
    struct epoll_event on_stop = {.events = EPOLLIN, .data.ptr = &server->stop_fd};

    if (loop.epoll_fd < 0)
        return error_set_errno(error, "epoll");
    loop.seed = (uint64_t)clock_us();
    loop.input = mem_alloc(READ_SIZE);
    bool is_ready = epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &on_listen) == 0
                    && epoll_ctl(loop.epoll_fd, EPOLL_CTL_ADD, server->stop_fd, &on_stop) == 0;
    if (is_ready)
        (void)loop_run(&loop); /* returns nothing */
    else
        error_set_errno(error, "epoll");
    free(loop.input);
    close(loop.epoll_fd);
    return is_ready;
}

/* ---- set-up ---- */

static bool address_read(const char *text, struct sockaddr_storage *ret_address,
                         socklen_t *ret_size)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    char host[64];
    int port;

    memset(ret_address, 0, sizeof *ret_address);
    if (sscanf(text, "[%63[0-9a-fA-F:.]]:%d", host, &port) == 2
        && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *ret_size = sizeof *v6;
        return port >= 0 && port <= 65535;
    }
    if (sscanf(text, "%63[0-9.]:%d", host, &port) == 2
        && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_size = sizeof *v4;
        return port >= 0 && port <= 65535;
    }
    return false;
}

bool sink_server_listen(struct sink_server *server, const char *address, int *ret_port,
                        struct error *error)
{
    struct sockaddr_storage to;
    socklen_t size;
    int on = 1;

    if (!address_read(address, &to, &size))
        return error_set(error, "%s is no address with a port (127.0.0.1:2525, [::1]:0)", address);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(error, "socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* a restart should not wait */
    if (bind(fd, (struct sockaddr *)&to, size) < 0 || listen(fd, SOMAXCONN) < 0
        || getsockname(fd, (struct sockaddr *)&to, &size) < 0) {
        error_set_errno(error, address);
        close(fd);
        return false;
    }
    *ret_port = ntohs(to.ss_family == AF_INET ? ((struct sockaddr_in *)&to)->sin_port
                                              : ((struct sockaddr_in6 *)&to)->sin6_port);
    server->listen_fd = fd;
    return true;
}
