#include "smtpd/listen.h"

#include "base/mem.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SYSTEMD_FIRST_FD = 3, BACKLOG = 4096 };

static bool read_flags(struct slice flags, struct listen_socket *socket, struct error *error)
{
    while (flags.size) {
        struct slice flag = slice_cut(&flags, '/');
        if (slice_equals(flag, SLICE("starttls")))
            socket->is_tls_demanded = true;
        else if (slice_equals(flag, SLICE("tls")))
            socket->is_tls_implicit = true;
        else if (slice_equals(flag, SLICE("auth")))
            socket->is_auth_demanded = true;
        else
            return error_set(error, "\"/%.*s\": /starttls, /tls or /auth was expected", SLICE_FMT(flag));
    }
    return true;
}

static bool read_address(struct slice text, struct sockaddr_storage *ret_address, socklen_t *ret_size, struct error *error)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    char host[64];
    uint64_t port;
    size_t colon = text.size;
    while (colon && text.data[colon - 1] != ':')
        colon--;
    if (colon == 0 || !slice_to_u64(slice_from(text, colon), &port) || port > 65535)
        return error_set(error, "ADDRESS:PORT was expected, as in \"127.0.0.1:25\" or \"[::1]:25\"");
    struct slice name = slice_first(text, colon - 1);
    bool is_bracketed = name.size > 1 && name.data[0] == '[' && name.data[name.size - 1] == ']';
    (void)snprintf(host, sizeof host, "%.*s", (int)(is_bracketed ? name.size - 2 : name.size), name.data + is_bracketed);
    *ret_address = (struct sockaddr_storage){0};
    if (!is_bracketed && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *ret_size = sizeof *v4;
        return true;
    }
    if (name.size && (!is_bracketed || inet_pton(AF_INET6, host, &v6->sin6_addr) != 1))
        return error_set(error, "an IPv4 address or an IPv6 address in brackets was expected");
    v6->sin6_family = AF_INET6; /* no address: every one of both families */
    v6->sin6_port = htons((uint16_t)port);
    *ret_size = sizeof *v6;
    return true;
}

static bool bind_one(struct slice text, struct listen_socket *ret_socket, struct error *error)
{
    struct sockaddr_storage address;
    socklen_t size;
    int on = 1, v6_only = text.size && text.data[0] != ':';
    if (!read_address(text, &address, &size, error))
        return false;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ret_socket->fd = fd;
    if (fd < 0)
        return error_set_errno(error, "socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* a restart should not wait */
    if (address.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only); /* IPv6 alone otherwise */
    return (bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, BACKLOG) == 0) || error_set_errno(error, "bind");
}

static void add(struct listen_sockets *sockets, const struct listen_socket *socket)
{
    sockets->items = mem_resize(sockets->items, (sockets->count + 1) * sizeof *sockets->items);
    sockets->items[sockets->count++] = *socket;
}

/* sd_listen_fds(3): LISTEN_FDS descriptors from 3 on, LISTEN_FDNAMES their names. The supervisor, whose pid LISTEN_PID is,
 * has handed them on. */
static bool take_from_systemd(struct slice name, const struct listen_socket *like, struct listen_sockets *sockets,
                              struct error *error)
{
    uint64_t count = 0;
    struct slice names = slice_of(getenv("LISTEN_FDNAMES"));
    size_t before = sockets->count;
    (void)slice_to_u64(slice_of(getenv("LISTEN_FDS")), &count);
    for (uint64_t i = 0; i < count && i < 64; i++) {
        struct slice its_name = slice_is_absent(names) ? SLICE("") : slice_cut(&names, ':');
        if (name.size && !slice_equals(name, its_name))
            continue;
        struct listen_socket socket = *like;
        socket.fd = fcntl(SYSTEMD_FIRST_FD + (int)i, F_DUPFD_CLOEXEC, 64);
        if (socket.fd < 0 || fcntl(socket.fd, F_SETFL, O_NONBLOCK) != 0)
            return error_set_errno(error, "a socket of systemd");
        add(sockets, &socket);
    }
    return sockets->count > before || error_set(error, "systemd handed over no such socket (LISTEN_FDS)");
}

static bool is_systemd(struct slice place)
{
    return slice_equals(place, SLICE("systemd")) || slice_starts(place, SLICE("systemd:"));
}

bool listen_check(const struct config_list *list, struct error *error)
{
    for (size_t i = 0; i < list->count; i++) {
        struct listen_socket socket = {.fd = -1};
        struct sockaddr_storage address;
        socklen_t size;
        struct slice rest = slice_of(list->items[i]);
        struct slice place = slice_cut(&rest, '/');
        if (!read_flags(rest, &socket, error) || (!is_systemd(place) && !read_address(place, &address, &size, error)))
            return error_prefix(error, "smtp.listen: %s", list->items[i]);
    }
    return true;
}

static bool open_one(struct slice text, struct listen_sockets *sockets, struct error *error)
{
    struct listen_socket socket = {.fd = -1};
    struct slice rest = text;
    struct slice place = slice_cut(&rest, '/');
    if (!read_flags(rest, &socket, error))
        return false;
    if (is_systemd(place)) {
        (void)slice_cut(&place, ':');
        return take_from_systemd(place, &socket, sockets, error);
    }
    bool is_done = bind_one(place, &socket, error);
    if (is_done)
        add(sockets, &socket);
    else if (socket.fd >= 0)
        close(socket.fd);
    return is_done;
}

bool listen_open(const struct config_list *list, struct listen_sockets *ret_sockets, struct error *error)
{
    *ret_sockets = (struct listen_sockets){0};
    for (size_t i = 0; i < list->count; i++) {
        if (!open_one(slice_of(list->items[i]), ret_sockets, error)) {
            listen_close(ret_sockets);
            return error_prefix(error, "smtp.listen: %s", list->items[i]);
        }
    }
    return true;
}

void listen_close(struct listen_sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        close(sockets->items[i].fd);
    free(sockets->items);
    *sockets = (struct listen_sockets){0};
}
