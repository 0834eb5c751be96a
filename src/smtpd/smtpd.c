#include "smtpd/inbound.h"

#include "base/mem.h"
#include "os/clock.h"
#include "smtpd/filter.h"
#include "os/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACCEPTS_AT_ONCE = 64, NO_DESCRIPTOR_PAUSE_MS = 200 };

/* ---- what needs rights ---- */

static bool load_tls(struct smtpd *smtpd, struct error *error)
{
    const struct config *config = smtpd->config;
    const char *key = config->smtp.tls_key ? config->smtp.tls_key : config->smtp.tls_cert;
    for (size_t i = 0; !config->smtp.tls_cert && i < smtpd->sockets.count; i++)
        if (smtpd->sockets.items[i].is_tls_demanded || smtpd->sockets.items[i].is_tls_implicit)
            return error_set(error, "smtp.tls_cert: TLS is asked for in smtp.listen, a certificate was expected");
    if (!config->smtp.tls_cert)
        return true;
    smtpd->tls = SSL_CTX_new(TLS_server_method());
    if (!smtpd->tls || SSL_CTX_use_certificate_chain_file(smtpd->tls, config->smtp.tls_cert) != 1
        || SSL_CTX_use_PrivateKey_file(smtpd->tls, key, SSL_FILETYPE_PEM) != 1
        || SSL_CTX_check_private_key(smtpd->tls) != 1) { /* a key of another kind than the certificate's passes the first two */
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());
        ERR_clear_error();
        return error_set(error, "smtp.tls_cert: %s: %s", config->smtp.tls_cert, reason ? reason : "can't be used");
    }
    (void)SSL_CTX_set_min_proto_version(smtpd->tls, TLS1_2_VERSION); /* always known */
    (void)SSL_CTX_set_options(smtpd->tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(smtpd->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                                           | SSL_MODE_RELEASE_BUFFERS);
    return true;
}

static struct server_options options_of(const struct smtpd *smtpd, const struct listen_socket *socket)
{
    const struct config *config = smtpd->config;
    return (struct server_options){
        .host = config->hostname, .policy = &smtpd->policy, .default_domain = slice_of(config->default_domain),
        .message_size = config->limits.message_size, .session_size = config->smtp.session_size,
        .header_size = config->limits.header_size, .header_count = (size_t)config->limits.header_count,
        .hops = (size_t)config->limits.hops, .recipients = config->smtp.recipients,
        .messages = config->smtp.messages_per_connection, .errors = config->smtp.errors,
        .hold_ms = config->smtp.hold_ms, .tarpit_ms = config->smtp.tarpit_ms, .mechanisms = smtpd->auth ? auth_mechanisms(smtpd->auth) : NULL,
        .is_tls_offered = smtpd->tls != NULL, .is_tls_demanded = socket->is_tls_demanded,
        .is_held = inbound_is_wanted(config), .is_held_from_all = config->smtp.checks.is_for_all,
        .is_etrn_offered = smtpd->policy.queue_count > 0, .is_auth_demanded = socket->is_auth_demanded, .is_auth_in_clear = config->smtp.is_auth_in_clear,
    };
}

static bool open_all(struct smtpd *smtpd, struct error *error)
{
    const struct config *config = smtpd->config;
    if (!filter_check(config, error) || !policy_load(config, &smtpd->policy, error) || !listen_open(&config->smtp.listen, &smtpd->sockets, error)
        || !load_tls(smtpd, error))
        return false;
    if (config->smtp.users || config->smtp.pam) {
        smtpd->auth = auth_open(config->smtp.users, config->smtp.pam ? smtpd->pam_pair->fds[LINK_LISTENER] : -1, error);
        if (!smtpd->auth)
            return false;
    }
    smtpd->listeners = mem_alloc((smtpd->sockets.count + 1) * sizeof *smtpd->listeners);
    for (size_t i = 0; i < smtpd->sockets.count; i++) {
        struct listen_socket *socket = &smtpd->sockets.items[i];
        smtpd->listeners[i] = (struct listener){smtpd, socket, NULL, options_of(smtpd, socket)};
        if (socket->is_auth_demanded && !smtpd->auth)
            return error_set(error, "smtp.users: /auth stands in smtp.listen, a users' file, or smtp.pam, was expected");
    }
    return true;
}

bool smtpd_check(const struct config *config, struct error *error)
{
    struct policy policy;
    if (!filter_check(config, error) || !listen_check(&config->smtp.listen, error) || !policy_load(config, &policy, error))
        return false;
    policy_finish(&policy);
    return true;
}

struct smtpd *smtpd_open(const struct config *config, const struct link_pair *link, const struct link_pair *pam, struct error *error)
{
    struct smtpd *smtpd = mem_alloc(sizeof *smtpd);
    smtpd->config = config;
    smtpd->link_pair = link;
    smtpd->pam_pair = pam;
    close(pam->fds[LINK_RELAY]); /* the judge's */
    smtpd->has_dialogs = config->w3c.dir && config->w3c.dir[0] && config->w3c.is_dialogs;
    smtpd->ask_number = (uint64_t)clock_wall_ms() << 20; /* no answer for an earlier process is taken for ours */
    if (!open_all(smtpd, error))
        smtpd_close(&smtpd);
    return smtpd;
}

bool smtpd_open_folder(struct smtpd *smtpd, struct error *error)
{
    smtpd->folder = pickup_folder_open(smtpd->config->pickup.dir, error);
    return smtpd->folder && pickup_folder_spread(smtpd->folder, error);
}

/* ---- accepting ---- */

static void watch_listeners(struct smtpd *smtpd, bool is_on)
{
    for (size_t i = 0; i < smtpd->sockets.count; i++) {
        struct event *readable = smtpd->listeners[i].readable;
        if (readable)
            (void)(is_on ? event_add(readable, NULL) : event_del(readable));
    }
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct smtpd *smtpd = arg;
    if (!smtpd->is_ending)
        watch_listeners(smtpd, true);
}

/* Out of descriptors (RELIABILITY S12): trying again at once would only spin. */
static void rest(struct smtpd *smtpd)
{
    struct timeval pause = {0, NO_DESCRIPTOR_PAUSE_MS * 1000};
    watch_listeners(smtpd, false);
    (void)evtimer_add(smtpd->again, &pause);
}

static struct in6_addr address_of(const struct sockaddr_storage *from)
{
    struct in6_addr address = IN6ADDR_LOOPBACK_INIT; /* a Unix socket's peer is this machine */
    if (from->ss_family == AF_INET6)
        return ((const struct sockaddr_in6 *)from)->sin6_addr;
    if (from->ss_family == AF_INET) {
        address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
        memcpy(&address.s6_addr[12], &((const struct sockaddr_in *)from)->sin_addr, 4);
    }
    return address;
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
    struct listener *listener = arg;
    struct smtpd *smtpd = listener->smtpd;
    (void)what;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof from;
        int client = accept4(fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                rest(smtpd);
            return;
        }
        struct in6_addr address = address_of(&from);
        if (smtpd->session_count >= (size_t)smtpd->config->smtp.connections_max) {
            static const char full[] = "421 4.3.2 too many connections\r\n";
            (void)send(client, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* if it is read, good */
            close(client);
            tell_full(smtpd, &address);
            continue;
        }
        session_begin(listener, client, &address);
    }
}

/* ---- the end ---- */

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopbreak(arg);
}

static void end(struct smtpd *smtpd, enum smtpd_end how)
{
    struct session *next;
    if (smtpd->is_ending)
        return;
    smtpd->is_ending = true;
    smtpd->how = how;
    watch_listeners(smtpd, false);
    for (struct session *session = smtpd->sessions; session; session = next) {
        next = session->next;
        session_end(session, "421 4.3.2 the service ends");
    }
    int64_t wait_ms = smtpd->config->shutdown_ms;
    struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
    (void)evtimer_add(smtpd->limit, &wait);
    if (smtpd->session_count == 0)
        event_base_loopbreak(smtpd->base);
}

static void on_end(evutil_socket_t number, short what, void *arg)
{
    (void)number;
    (void)what;
    end(arg, SMTPD_ENDED);
}

static void on_reload(evutil_socket_t number, short what, void *arg)
{
    struct smtpd *smtpd = arg;
    (void)number;
    (void)what;
    if (smtpd->may_reload(smtpd->reload_arg))
        end(smtpd, SMTPD_RELOADS);
}

/* ---- the loop ---- */

static void on_tell_soon(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    tell_flush(arg);
}

static bool watch_all(struct smtpd *smtpd)
{
    smtpd->tell_soon = event_new(smtpd->base, -1, 0, on_tell_soon, smtpd);
    smtpd->on_term = evsignal_new(smtpd->base, SIGTERM, on_end, smtpd);
    smtpd->on_int = evsignal_new(smtpd->base, SIGINT, on_end, smtpd);
    smtpd->on_hup = evsignal_new(smtpd->base, SIGHUP, on_reload, smtpd);
    smtpd->again = evtimer_new(smtpd->base, on_again, smtpd);
    smtpd->limit = evtimer_new(smtpd->base, on_limit, smtpd->base);
    for (size_t i = 0; i < smtpd->sockets.count; i++) {
        struct listener *listener = &smtpd->listeners[i];
        listener->readable = event_new(smtpd->base, listener->socket->fd, EV_READ | EV_PERSIST, on_acceptable, listener);
        if (!listener->readable || event_add(listener->readable, NULL) != 0)
            return false;
    }
    return smtpd->tell_soon && smtpd->on_term && smtpd->on_int && smtpd->on_hup && smtpd->again && smtpd->limit
           && event_add(smtpd->on_term, NULL) == 0 && event_add(smtpd->on_int, NULL) == 0
           && event_add(smtpd->on_hup, NULL) == 0;
}

/* {"n": N, "count": messages, or -1}: the relay's answer to SERVER_ASK. */
static void on_answer(void *arg, struct slice packet)
{
    struct smtpd *smtpd = arg;
    json_t *answer = json_loadb(packet.data, packet.size, 0, NULL);
    uint64_t number = (uint64_t)json_integer_value(json_object_get(answer, "n"));
    json_int_t count = json_integer_value(json_object_get(answer, "count"));
    struct session *session = smtpd->sessions;
    json_decref(answer);
    while (session && (session->ask == 0 || session->ask != number))
        session = session->next;
    if (session)
        session_answered(session, count < 0 ? ASKED_FAILED : ASKED_STARTED, count < 0 ? 0 : (uint64_t)count);
}

static bool start(struct smtpd *smtpd, struct error *error)
{
    const struct config *config = smtpd->config;
    const struct clients_limits limits = {config->smtp.connections_per_client, config->smtp.connections_per_minute,
                                          config->smtp.messages_per_minute};
    pickup_folder_settle(smtpd->folder);
    smtpd->clients = clients_create(&limits);
    smtpd->base = loop_create(error);
    smtpd->post = smtpd->base ? post_create(error) : NULL;
    if (!smtpd->post || !post_attach(smtpd->post, smtpd->base, error))
        return false;
    smtpd->link = link_attach(smtpd->link_pair, LINK_LISTENER, smtpd->base, on_answer, smtpd, error);
    smtpd->pool = smtpd->link ? pool_create(config->smtp.writers, smtpd->post, error) : NULL;
    return smtpd->pool && inbound_open(smtpd, error) && (watch_all(smtpd) || error_set(error, "can't watch the sockets"));
}

bool smtpd_run(struct smtpd *smtpd, smtpd_reload_fn *may_reload, void *arg, enum smtpd_end *ret_end,
               struct error *error)
{
    smtpd->may_reload = may_reload;
    smtpd->reload_arg = arg;
    if (!start(smtpd, error) || !loop_run(smtpd->base, error))
        return false;
    *ret_end = smtpd->how;
    return true;
}

void smtpd_close(struct smtpd **smtpd)
{
    struct smtpd *s = *smtpd;
    struct event *events[] = {s->on_term, s->on_int, s->on_hup, s->again, s->limit, s->tell_soon};
    pool_destroy(&s->pool); /* what is being written becomes whole; the client may not hear of it */
    while (s->sessions)
        session_free(s->sessions);
    if (s->link)
        tell_flush(s);
    buf_finish(&s->told);
    for (size_t i = 0; s->listeners && i < s->sockets.count; i++)
        if (s->listeners[i].readable)
            event_free(s->listeners[i].readable);
    for (size_t i = 0; i < COUNT_OF(events); i++)
        if (events[i])
            event_free(events[i]);
    link_close(&s->link);
    inbound_close(s);
    post_destroy(&s->post);
    if (s->base)
        event_base_free(s->base);
    if (s->clients)
        clients_destroy(&s->clients);
    pickup_folder_close(&s->folder);
    auth_close(&s->auth);
    SSL_CTX_free(s->tls);
    listen_close(&s->sockets);
    policy_finish(&s->policy);
    free(s->listeners);
    free(s);
    *smtpd = NULL;
}
