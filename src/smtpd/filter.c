#include "smtpd/filter.h"

#include "base/mem.h"
#include "inbound/milter.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

struct filter {
    struct session *session;
    struct arena arena;
    struct milter milter;
    struct stream *stream;
    struct event *timer, *next_soon;
    size_t number;                /* of the list */
    struct buf changed;           /* what the filters so far made of it; empty: nothing */
    struct filter_outcome outcome;
    filter_done_fn *done;
    void *arg;
    bool is_talking;
};

/* ---- where they are ---- */

static bool unix_address(struct slice path, struct sockaddr_storage *ret_address)
{
    struct sockaddr_un *address = (struct sockaddr_un *)ret_address;
    if (path.size == 0 || path.size >= sizeof address->sun_path || path.data[0] != '/')
        return false;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path.data, path.size);
    return true;
}

static bool inet_address(struct slice text, struct sockaddr_storage *ret_address)
{
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct in6_addr address;
    uint64_t port;
    size_t colon = text.size;
    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    struct slice host = slice_first(text, colon ? colon - 1 : 0);
    if (host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']')
        host = slice_make(host.data + 1, host.size - 2);
    if (!slice_to_u64(slice_from(text, colon), &port) || port < 1 || port > 65535 || !ip_parse(host, &address))
        return false;
    if (IN6_IS_ADDR_V4MAPPED(&address)) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        memcpy(&v4->sin_addr, &address.s6_addr[12], 4);
    } else {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        v6->sin6_addr = address;
    }
    return true;
}

static bool read_address(const char *text, struct sockaddr_storage *ret_address)
{
    struct slice rest = slice_of(text);
    struct slice kind = slice_cut(&rest, ':');
    *ret_address = (struct sockaddr_storage){.ss_family = AF_UNSPEC};
    return slice_equals(kind, SLICE("unix")) ? unix_address(rest, ret_address)
                                             : slice_equals(kind, SLICE("inet")) && inet_address(rest, ret_address);
}

bool filter_check(const struct config *config, struct error *error)
{
    struct sockaddr_storage address;
    for (size_t i = 0; i < config->smtp.milter.sockets.count; i++)
        if (!read_address(config->smtp.milter.sockets.items[i], &address))
            return error_set(error, "smtp.milter.sockets: \"%s\": unix:/path or inet:ADDRESS:PORT was expected",
                             config->smtp.milter.sockets.items[i]);
    return true;
}

/* ---- one after the other ---- */

static const struct config_list *sockets_of(const struct filter *filter) { return &filter->session->smtpd->config->smtp.milter.sockets; }

static const char *name_of(const struct filter *filter) { return sockets_of(filter)->items[filter->number]; }

static void hang_up(struct filter *filter)
{
    stream_destroy(&filter->stream);
    if (filter->is_talking)
        milter_finish(&filter->milter);
    filter->is_talking = false;
}

static void conclude(struct filter *filter)
{
    (void)event_del(filter->timer);
    hang_up(filter);
    filter->done(filter->arg, &filter->outcome); /* may destroy it */
}

static void go_on(struct filter *filter)
{
    hang_up(filter);
    filter->number++;
    event_active(filter->next_soon, EV_TIMEOUT, 0);
}

/* W1 */
static void fail(struct filter *filter, const char *reason)
{
    bool is_passed_over = filter->session->smtpd->config->smtp.milter.failure == CONFIG_MILTER_ACCEPT;
    tell_filtered(filter->session, name_of(filter), is_passed_over ? "passed over" : "failed", reason);
    if (is_passed_over) {
        go_on(filter);
        return;
    }
    filter->outcome.end = FILTER_REFUSES;
    filter->outcome.reply = "451 4.7.1 a filter can't be asked, try later";
    conclude(filter);
}

static void take_changes(struct filter *filter)
{
    struct buf changed = {0};
    if (!milter_apply(&filter->milter, &changed))
        return;
    hang_up(filter); /* its message may be the one that goes now */
    buf_finish(&filter->changed);
    filter->changed = changed;
    filter->outcome.message = buf_slice(&filter->changed);
    tell_filtered(filter->session, name_of(filter), "changed", NULL);
}

static void look_at_end(struct filter *filter)
{
    struct milter *milter = &filter->milter;
    if (milter->hold && milter->end == MILTER_ACCEPTS) {
        filter->outcome.hold = milter->hold;
        tell_filtered(filter->session, name_of(filter), "held", milter->hold);
    }
    switch (milter->end) {
    case MILTER_TALKS:
        break;
    case MILTER_ACCEPTS:
        take_changes(filter);
        go_on(filter);
        break;
    case MILTER_REFUSES:
        filter->outcome.end = FILTER_REFUSES;
        filter->outcome.reply = milter->reply;
        tell_filtered(filter->session, name_of(filter), "refused", milter->reply);
        conclude(filter);
        break;
    case MILTER_DISCARDS:
        filter->outcome.end = FILTER_DISCARDS;
        tell_filtered(filter->session, name_of(filter), "discarded", NULL);
        conclude(filter);
        break;
    case MILTER_FAILED:
        fail(filter, milter->reason);
        break;
    }
}

/* ---- the stream's callbacks ---- */

static void flush_output(struct filter *filter)
{
    stream_write(filter->stream, buf_slice(&filter->milter.output));
    buf_clear(&filter->milter.output);
    stream_flush(filter->stream);
}

static void on_connected(void *arg)
{
    struct filter *filter = arg;
    stream_resume(filter->stream);
    flush_output(filter);
}

static void on_read(void *arg, struct slice bytes)
{
    struct filter *filter = arg;
    milter_feed(&filter->milter, bytes);
    flush_output(filter);
    look_at_end(filter);
}

static void on_nothing(void *arg) { (void)arg; }

static void on_closed(void *arg, const char *reason)
{
    fail(arg, reason);
}

static void begin(struct filter *filter)
{
    static const struct stream_handler handler = {on_connected, on_read, on_nothing, on_nothing, on_closed};
    struct session *session = filter->session;
    const struct server *server = &session->server;
    int64_t wait_ms = session->smtpd->config->smtp.milter.timeout_ms;
    struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
    struct sockaddr_storage address;
    struct error error;
    const struct milter_subject subject = {
        .client = server->client.address, .helo = slice_of(server->client.helo), .user = slice_of(server->client.user),
        .client_name = server->client.name[0] ? slice_of(server->client.name)
                                              : arena_printf(&filter->arena, "[%s]", server->client.address_text),
        .submission = server_submission(server), .host = slice_of(session->smtpd->config->hostname),
        .id = arena_printf(&filter->arena, "%llx", (unsigned long long)server->now_ms), .message = filter->outcome.message,
    };
    (void)evtimer_add(filter->timer, &wait);
    if (!read_address(name_of(filter), &address)) {
        fail(filter, "its address can't be read");
        return;
    }
    filter->stream = stream_connect(session->smtpd->base, (const struct sockaddr *)&address, NULL, &handler, filter, &error);
    if (!filter->stream) {
        fail(filter, error.text);
        return;
    }
    milter_begin(&filter->milter, &filter->arena, &subject);
    filter->is_talking = true;
}

static void on_next(evutil_socket_t fd, short what, void *arg)
{
    struct filter *filter = arg;
    (void)fd;
    (void)what;
    if (filter->number < sockets_of(filter)->count)
        begin(filter);
    else
        conclude(filter);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    fail(arg, "not done in time");
}

struct filter *filter_create(struct session *session, struct slice message, filter_done_fn *done, void *arg)
{
    struct event_base *base = session->smtpd->base;
    struct filter *filter = mem_alloc(sizeof *filter);
    *filter = (struct filter){.session = session, .done = done, .arg = arg, .outcome = {.message = message},
                              .timer = evtimer_new(base, on_timeout, filter), .next_soon = evtimer_new(base, on_next, filter)};
    if (!filter->timer || !filter->next_soon)
        mem_exhausted(sizeof *filter);
    event_active(filter->next_soon, EV_TIMEOUT, 0);
    return filter;
}

void filter_destroy(struct filter **filter)
{
    struct filter *f = *filter;
    *filter = NULL;
    if (!f)
        return;
    hang_up(f);
    event_free(f->timer);
    event_free(f->next_soon);
    buf_finish(&f->changed);
    arena_finish(&f->arena);
    free(f);
}
