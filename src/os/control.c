#include "os/control.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/clock.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    REQUEST_SIZE_MAX = 1024 * 1024,
    ANSWER_SIZE_MAX = 256 * 1024 * 1024, /* bounds the client against a peer that never ends */
    CLIENTS_MAX = 64,
    SILENCE_S = 10,
    CLIENT_WAIT_MS = 30 * 1000,
    BACKLOG = 64,
};

struct control_question {
    struct control *control;
    struct control_question *previous, *next;
    struct bufferevent *channel;
    struct event *deadline;  /* for the whole request; then the channel's write time-out rules */
    json_t *request, *answer;
    bool is_asked;           /* the request is there: nothing more is read */
    bool is_deferred;        /* until control_finish() */
    bool is_gone;            /* while it was: only this struct is left */
};

struct control {
    struct event_base *base;
    struct evconnlistener *listener;
    control_fn *fn;
    void *arg;
    char *path;
    struct control_question *clients;
    size_t client_count;
};

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int size, void *arg);

/* The address of a socket file. sun_path is short: a long path is reached through a descriptor of
 * its folder, which the caller closes (-1: none was needed). */
static bool address_make(const char *path, struct sockaddr_un *address, int *ret_folder_fd,
                         struct error *error)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_folder_fd = -1;
    if (strlen(path) < sizeof address->sun_path) {
        memcpy(address->sun_path, path, strlen(path));
        return true;
    }
    const char *slash = strrchr(path, '/');
    char *folder = slash ? slice_copy(slice_make(path, (size_t)(slash - path))) : NULL;
    *ret_folder_fd = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    free(folder);
    if (*ret_folder_fd < 0)
        return error_set_errno(error, path);
    int length = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d%s",
                          *ret_folder_fd, slash);
    if (length > 0 && (size_t)length < sizeof address->sun_path)
        return true;
    close(*ret_folder_fd);
    return error_set(error, "%s: the socket's name is too long", path);
}

static int socket_connect(const char *path, struct error *error)
{
    struct sockaddr_un address;
    int folder_fd;
    if (!address_make(path, &address, &folder_fd, error))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int problem = errno;
        (void)error_set_errno(error, path);
        if (fd >= 0)
            close(fd);
        fd = -1;
        errno = problem;
    }
    int kept = errno;
    if (folder_fd >= 0)
        close(folder_fd);
    errno = kept;
    return fd;
}

/* What a killed relay left is in the way of bind(); the socket of a living one stays. */
static bool stale_remove(const char *path, struct error *error)
{
    int fd = socket_connect(path, NULL);
    if (fd >= 0) {
        close(fd);
        return error_set(error, "%s: another relay answers here", path);
    }
    if (errno == ECONNREFUSED && unlink(path) != 0 && errno != ENOENT)
        return error_set_errno(error, path);
    return true;
}

static int socket_listen(const char *path, struct error *error)
{
    struct sockaddr_un address;
    int folder_fd;
    if (!stale_remove(path, error) || !address_make(path, &address, &folder_fd, error))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode before bind() bounds what the file is made with, so that it is never open to all. */
    bool is_done = fd >= 0 && fchmod(fd, 0660) == 0
                   && bind(fd, (struct sockaddr *)&address, sizeof address) == 0
                   && chmod(address.sun_path, 0660) == 0 && listen(fd, BACKLOG) == 0;
    if (!is_done) {
        (void)error_set_errno(error, path);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    if (folder_fd >= 0)
        close(folder_fd);
    return fd;
}

bool control_listen(struct event_base *base, const char *path, control_fn *fn, void *arg,
                    struct control **ret_control, struct error *error)
{
    int fd = socket_listen(path, error);
    if (fd < 0)
        return false;
    struct control *control = mem_alloc(sizeof *control);
    *control = (struct control){.base = base, .fn = fn, .arg = arg, .path = mem_copy_text(path)};
    control->listener = evconnlistener_new(base, on_accept, control,
                                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!control->listener) {
        close(fd);
        control_close(&control);
        return error_set(error, "%s: libevent can't listen", path);
    }
    *ret_control = control;
    return true;
}

static void client_free(struct control_question *client)
{
    json_decref(client->request);
    json_decref(client->answer);
    free(client);
}

static void client_destroy(struct control_question *client)
{
    struct control *control = client->control;
    if (client->previous)
        client->previous->next = client->next;
    else
        control->clients = client->next;
    if (client->next)
        client->next->previous = client->previous;
    if (control->client_count-- == CLIENTS_MAX && control->listener)
        (void)evconnlistener_enable(control->listener); /* fails for a closed one only */
    event_free(client->deadline);
    bufferevent_free(client->channel);
    client->is_gone = true;
    if (!client->is_deferred)
        client_free(client);
}

void control_close(struct control **control)
{
    struct control *c = *control;
    if (!c)
        return;
    if (c->listener) {
        evconnlistener_free(c->listener);
        (void)unlink(c->path); /* a stale one is removed by the next relay */
    }
    c->listener = NULL;
    while (c->clients)
        client_destroy(c->clients);
    free(c->path);
    free(c);
    *control = NULL;
}

static void client_answer(struct control_question *client, bool is_done, const struct error *error)
{
    json_object_set_new(client->answer, "ok", json_boolean(is_done));
    if (!is_done)
        json_object_set_new(client->answer, "error", json_string(error->text[0] ? error->text : "failed"));
    char *text = json_dumps(client->answer, JSON_COMPACT);
    if (text) {
        struct evbuffer *output = bufferevent_get_output(client->channel);
        evbuffer_add(output, text, strlen(text));
        evbuffer_add(output, "\n", 1);
        free(text);
    } else {
        client_destroy(client);
    }
}

static void client_ask(struct control_question *client, const char *line, size_t size)
{
    struct control *control = client->control;
    struct error error = {0};
    json_error_t problem;
    client->answer = json_object();
    client->request = json_loadb(line, size, JSON_REJECT_DUPLICATES, &problem);
    bool is_done = json_is_object(client->request)
                       ? control->fn(control->arg, client, client->request, client->answer, &error)
                       : error_set(&error, "the request is no JSON object: %s", problem.text);
    if (!client->is_deferred)
        client_answer(client, is_done, &error);
}

void control_defer(struct control_question *question)
{
    question->is_deferred = true;
}

void control_finish(struct control_question *question, bool is_done, const struct error *error)
{
    CHECK(question->is_deferred);
    question->is_deferred = false;
    if (question->is_gone)
        client_free(question);
    else
        client_answer(question, is_done, error);
}

static void on_read(struct bufferevent *channel, void *arg)
{
    struct control_question *client = arg;
    struct evbuffer *input = bufferevent_get_input(channel);
    struct evbuffer_ptr end = evbuffer_search(input, "\n", 1, NULL);
    size_t size = evbuffer_get_length(input);
    if (client->is_asked) {
        evbuffer_drain(input, size);
        return;
    }
    if ((end.pos < 0 ? size : (size_t)end.pos) > REQUEST_SIZE_MAX) {
        client_destroy(client);
        return;
    }
    if (end.pos < 0)
        return;
    client->is_asked = true;
    event_del(client->deadline);
    struct buf line = {0};
    buf_append(&line, slice_make((const char *)evbuffer_pullup(input, end.pos), (size_t)end.pos));
    evbuffer_drain(input, size);
    client_ask(client, line.data, line.size); /* the client may be gone after it */
    buf_finish(&line);
}

static void on_written(struct bufferevent *channel, void *arg)
{
    struct control_question *client = arg;
    (void)channel;
    if (client->is_asked && !client->is_deferred)
        client_destroy(client);
}

static void on_event(struct bufferevent *channel, short what, void *arg)
{
    struct control_question *client = arg;
    (void)channel;
    /* A client may close its side as soon as it has asked; it still gets its answer. */
    if (!(what & BEV_EVENT_EOF) || !client->is_asked)
        client_destroy(client);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    client_destroy(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int size, void *arg)
{
    static const struct timeval silence = {.tv_sec = SILENCE_S};
    struct control *control = arg;
    (void)peer;
    (void)size;
    struct control_question *client = mem_alloc(sizeof *client);
    client->control = control;
    client->channel = bufferevent_socket_new(control->base, fd, BEV_OPT_CLOSE_ON_FREE);
    client->deadline = evtimer_new(control->base, on_deadline, client);
    if (!client->channel || !client->deadline)
        mem_exhausted(sizeof *client);
    client->next = control->clients;
    if (client->next)
        client->next->previous = client;
    control->clients = client;
    if (++control->client_count == CLIENTS_MAX)
        (void)evconnlistener_disable(listener); /* the others wait in the backlog */
    bufferevent_setcb(client->channel, on_read, on_written, on_event, client);
    bufferevent_set_timeouts(client->channel, NULL, &silence);
    bufferevent_enable(client->channel, EV_READ | EV_WRITE);
    evtimer_add(client->deadline, &silence);
}

static bool wait_for(int fd, short events, int64_t until_ms, struct error *error)
{
    for (;;) {
        struct pollfd watched = {.fd = fd, .events = events};
        int64_t left = until_ms - clock_mono_ms();
        int ready = left > 0 ? poll(&watched, 1, (int)left) : 0;
        if (ready > 0)
            return true;
        if (ready == 0)
            return error_set(error, "the relay did not answer in %d s", CLIENT_WAIT_MS / 1000);
        if (errno != EINTR)
            return error_set_errno(error, "poll");
    }
}

static bool send_all(int fd, struct slice bytes, int64_t until_ms, struct error *error)
{
    while (bytes.size) {
        if (!wait_for(fd, POLLOUT, until_ms, error))
            return false;
        ssize_t sent = send(fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (sent < 0)
            return error_set_errno(error, "the relay hung up");
        bytes = slice_from(bytes, (size_t)sent);
    }
    return true;
}

static bool receive_line(int fd, struct buf *line, int64_t until_ms, struct error *error)
{
    while (line->size == 0 || line->data[line->size - 1] != '\n') {
        if (line->size > ANSWER_SIZE_MAX)
            return error_set(error, "the answer is too long");
        if (!wait_for(fd, POLLIN, until_ms, error))
            return false;
        ssize_t got = recv(fd, buf_reserve(line, 65536), 65536, 0);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            return error_set_errno(error, "the relay hung up");
        if (got == 0)
            return error_set(error, "the relay hung up without an answer");
        line->size += (size_t)got;
    }
    return true;
}

static bool answer_check(struct slice line, json_t **ret_answer, struct error *error)
{
    json_error_t problem;
    json_t *answer = json_loadb(line.data, line.size, 0, &problem);
    if (json_is_true(json_object_get(answer, "ok"))) {
        *ret_answer = answer;
        return true;
    }
    const char *text = json_string_value(json_object_get(answer, "error"));
    (void)error_set(error, "%s", text ? text : "the relay's answer is no JSON object with \"ok\"");
    json_decref(answer);
    return false;
}

enum control_result control_request(const char *path, json_t *request, json_t **ret_answer,
                                    struct error *error)
{
    int64_t until_ms = clock_mono_ms() + CLIENT_WAIT_MS;
    int fd = socket_connect(path, error);
    if (fd < 0)
        return errno == ENOENT || errno == ECONNREFUSED ? CONTROL_NOT_RUNNING : CONTROL_FAILED;
    struct buf line = {0};
    char *text = json_dumps(request, JSON_COMPACT);
    CHECK(text); /* what we ask is our own clean JSON */
    buf_append_text(&line, text);
    buf_append_byte(&line, '\n');
    free(text);
    bool is_done = send_all(fd, buf_slice(&line), until_ms, error);
    buf_clear(&line);
    is_done = is_done && receive_line(fd, &line, until_ms, error)
              && answer_check(buf_slice(&line), ret_answer, error);
    close(fd);
    buf_finish(&line);
    return is_done ? CONTROL_ANSWERED : CONTROL_FAILED;
}
