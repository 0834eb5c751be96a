#include "os/link.h"

#include "base/mem.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKETS_AT_ONCE = 64, ROOM = 1024 * 1024 };

struct link {
    int fd;
    struct event *readable;
    link_fn *fn;
    void *arg;
};

bool link_make(struct link_pair *ret_pair, struct error *error)
{
    int room = ROOM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_pair->fds) != 0)
        return error_set_errno(error, "socketpair");
    for (size_t i = 0; i < LINK_ENDS; i++) /* more than net.core.wmem_max is for root; less will do */
        if (setsockopt(ret_pair->fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0)
            (void)setsockopt(ret_pair->fds[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    return true;
}

void link_leave(const struct link_pair *pair)
{
    for (size_t i = 0; i < LINK_ENDS; i++)
        close(pair->fds[i]);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct link *link = arg;
    char packet[LINK_SIZE_MAX];
    (void)what;
    for (int i = 0; i < PACKETS_AT_ONCE; i++) {
        ssize_t size = recv(fd, packet, sizeof packet, MSG_DONTWAIT);
        if (size <= 0)
            return;
        link->fn(link->arg, slice_make(packet, (size_t)size));
    }
}

struct link *link_attach(const struct link_pair *pair, enum link_end end, struct event_base *base, link_fn *fn, void *arg,
                         struct error *error)
{
    struct link *link = mem_alloc(sizeof *link);
    *link = (struct link){.fd = pair->fds[end], .fn = fn, .arg = arg};
    close(pair->fds[end == LINK_RELAY ? LINK_LISTENER : LINK_RELAY]);
    link->readable = event_new(base, link->fd, EV_READ | EV_PERSIST, on_readable, link);
    if (!link->readable || event_add(link->readable, NULL) != 0) {
        (void)error_set(error, "can't watch the link");
        link_close(&link);
    }
    return link;
}

bool link_send(struct link *link, struct slice packet)
{
    CHECK(packet.size > 0 && packet.size <= LINK_SIZE_MAX);
    return send(link->fd, packet.data, packet.size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)packet.size;
}

void link_stop(struct link *link)
{
    (void)event_del(link->readable);
}

void link_close(struct link **link)
{
    if (!*link)
        return;
    if ((*link)->readable)
        event_free((*link)->readable);
    close((*link)->fd);
    free(*link);
    *link = NULL;
}
