#include "smtpd/inbound.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/clock.h"
#include "smtpd/proxy.h"

#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { OUTPUT_SIZE_MAX = 64 * 1024, LINGER_MS = 2000, HANDSHAKE_MS = 30000, PROXY_MS = 10000, ASK_MS = 10000, LEAST_RATE = 500 };

static void advance(struct session *session);

void session_tell(const struct session *session, const char *format, ...)
{
    struct error text;
    char line[ERROR_TEXT_SIZE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    (void)error_set(&text, "%s", line); /* makes it printable */
    fprintf(stderr, "mailroot smtp: [%s] %s\n", session->peer.address_text, text.text);
}

void session_free(struct session *session)
{
    struct smtpd *smtpd = session->smtpd;
    if (session->previous)
        session->previous->next = session->next;
    else
        smtpd->sessions = session->next;
    if (session->next)
        session->next->previous = session->previous;
    smtpd->session_count--;
    if (session->client)
        clients_leave(smtpd->clients, session->client, clock_mono_ms());
    stream_destroy(&session->stream);
    if (session->timer)
        event_free(session->timer);
    storage_drop(session);
    inbound_drop(session);
    smtpd->held_octets -= session->held_octets;
    auth_end(&session->auth);
    buf_finish(&session->pending);
    buf_finish(&session->auth_out);
    server_finish(&session->server);
    free(session);
    if (smtpd->is_ending && smtpd->session_count == 0)
        event_base_loopbreak(smtpd->base);
}

/* ---- waiting ---- */

static void wait_ms(struct session *session, int64_t ms)
{
    struct timeval wait = {ms / 1000, ms % 1000 * 1000};
    (void)evtimer_add(session->timer, &wait);
}

/* How long the client may take for what is awaited now (O2). */
static int64_t patience_ms(struct session *session)
{
    const struct config *config = session->smtpd->config;
    const struct server *server = &session->server;
    int64_t now_ms = clock_mono_ms();
    bool is_content = server->state == STATE_DATA || server->state == STATE_CHUNK;
    if (server->state != session->awaited || (!is_content && server->line.size == 0))
        session->since_ms = now_ms;
    session->awaited = server->state;
    int64_t until_ms = session->since_ms + config->smtp.command_ms;
    if (is_content)
        until_ms = session->since_ms + config->smtp.data_ms + (int64_t)server->content.size * 1000 / LEAST_RATE;
    int64_t session_end_ms = session->started_ms + config->smtp.session_ms;
    int64_t left_ms = (until_ms < session_end_ms ? until_ms : session_end_ms) - now_ms;
    return left_ms > 1 ? left_ms : 1;
}

static void flush_output(struct session *session)
{
    stream_write(session->stream, buf_slice(&session->server.output));
    buf_clear(&session->server.output);
    stream_flush(session->stream);
}

static void close_softly(struct session *session)
{
    session->phase = SESSION_LINGER;
    if (stream_pending(session->stream) == 0)
        stream_end(session->stream);
    stream_resume(session->stream);
    wait_ms(session, LINGER_MS);
}

/* ---- what the server wants ---- */

static void greet(struct session *session)
{
    struct smtpd *smtpd = session->smtpd;
    const char *refusal = NULL;
    if (!policy_admits(&smtpd->policy, &session->peer.address))
        refusal = "554 5.7.1 not from your address";
    else
        session->client = clients_enter(smtpd->clients, &session->peer.address, !session->peer.may_relay, clock_mono_ms(),
                                       &refusal);
    if (refusal) {
        tell_turned_away(session, refusal);
        session->server.note = NULL; /* that is all there is to say of it */
    }
    session->phase = SESSION_TALK;
    server_greet(&session->server, refusal);
    advance(session);
}

static void start_tls(struct session *session)
{
    struct error error;
    session->phase = SESSION_HANDSHAKE;
    stream_resume(session->stream);
    wait_ms(session, HANDSHAKE_MS);
    if (!stream_serve_tls(session->stream, session->smtpd->tls, &error)) {
        session_tell(session, "%s", error.text);
        session_free(session);
    }
}

/* Feeds what waits. Content that was refused, or forgotten by RSET, leaves no file behind. */
static void feed(struct session *session, struct slice bytes, size_t *ret_used)
{
    int64_t now_ms = clock_wall_ms();
    struct server *server = &session->server;
    server->is_held_off = session->client
                          && !clients_may_send(session->smtpd->clients, session->client, clock_mono_ms());
    (void)server_feed(server, bytes, now_ms, clock_zone_s(now_ms), ret_used);
    inbound_account(session);
    if (session->file && !server->content.is_begun)
        storage_drop(session);
    if (session->auth && server->want != SERVER_AUTH && server->state != STATE_AUTH)
        auth_end(&session->auth);
}

static void ask_auth(struct session *session)
{
    if (clients_may_try(session->client, clock_mono_ms())) {
        stream_pause(session->stream);
        storage_auth(session);
        return;
    }
    auth_end(&session->auth);
    server_auth(&session->server, AUTH_BUSY, SLICE_NONE);
    advance(session);
}

/* The relay starts the queue; its answer comes to session_answered(). What has been sent is done even if it comes too late. */
static void ask_etrn(struct session *session)
{
    struct smtpd *smtpd = session->smtpd;
    const struct server *server = &session->server;
    struct buf packet = {0};
    char by[320];
    if (session->ask)
        return;
    (void)snprintf(by, sizeof by, "ETRN from [%s]%s%s", session->peer.address_text, server->client.user[0] ? " " : "",
                   server->client.user);
    session->ask = ++smtpd->ask_number;
    json_open(&packet, '{');
    json_put_text(&packet, "ask", SLICE("etrn"));
    json_put_number(&packet, "n", (int64_t)session->ask);
    json_put_text(&packet, "node", server->etrn_node);
    json_put_text(&packet, "by", slice_of(by));
    json_close(&packet, '}');
    bool is_sent = link_send(smtpd->link, buf_slice(&packet));
    buf_finish(&packet);
    stream_pause(session->stream);
    wait_ms(session, ASK_MS);
    if (!is_sent)
        session_answered(session, ASKED_FAILED, 0);
}

void session_answered(struct session *session, enum server_asked how, uint64_t count)
{
    session->ask = 0;
    if (session->server.want != SERVER_ASK)
        return; /* it ended meanwhile */
    server_asked(&session->server, how, count);
    advance(session);
}

/* Goes on as far as it can: feeds, writes, and sees that what is awaited will wake it. */
static void advance(struct session *session)
{
    struct server *server = &session->server;
    while (server->want == SERVER_READ && session->pending.size && stream_pending(session->stream) < OUTPUT_SIZE_MAX) {
        size_t used;
        struct buf bytes = session->pending;
        session->pending = (struct buf){0};
        feed(session, buf_slice(&bytes), &used);
        buf_remove_front(&bytes, used);
        session->pending = bytes;
        flush_output(session);
    }
    if (server->want == SERVER_PAUSE) {
        session->is_pausing = true;
        stream_pause(session->stream);
        wait_ms(session, server->pause_ms);
        return;
    }
    flush_output(session);
    switch (server->want) {
    case SERVER_READ:
        if (stream_pending(session->stream) < OUTPUT_SIZE_MAX)
            stream_resume(session->stream);
        else
            stream_pause(session->stream);
        wait_ms(session, patience_ms(session));
        break;
    case SERVER_STORE:
        stream_pause(session->stream);
        (void)event_del(session->timer);
        if (server->content.is_held)
            inbound_submit(session);
        else
            storage_submit(session);
        break;
    case SERVER_AUTH:
        (void)event_del(session->timer);
        ask_auth(session);
        break;
    case SERVER_ASK:
        ask_etrn(session);
        break;
    case SERVER_TLS:
        stream_pause(session->stream);
        if (stream_pending(session->stream) == 0)
            start_tls(session);
        break;
    case SERVER_CLOSE:
        close_softly(session);
        break;
    case SERVER_PAUSE:
        break;
    }
}

static void stored(struct session *session)
{
    const char *refusal = inbound_refusal(session);
    if (refusal) {
        server_refused(&session->server, refusal);
        inbound_drop(session);
        return;
    }
    if (inbound_is_discarded(session)) {
        inbound_drop(session);
        server_stored(&session->server, STORED_SAFE, SLICE_NONE);
        return;
    }
    inbound_drop(session);
    if (session->stored != STORED_SAFE)
        session_tell(session, "could not be stored: %s", session->error.text);
    else if (session->server.store.is_last) {
        clients_sent(session->client);
        tell_accepted(session);
    }
    server_stored(&session->server, session->stored, slice_of(session->name));
}

static void tried(struct session *session)
{
    if (session->verdict == AUTH_REFUSED)
        clients_failed(session->client);
    server_auth(&session->server, session->verdict, buf_slice(&session->auth_out));
}

void session_continue(struct session *session)
{
    if (session->is_gone) {
        session_free(session);
        return;
    }
    if (session->server.want == SERVER_STORE)
        stored(session);
    else
        tried(session);
    inbound_account(session);
    if (session->smtpd->is_ending && session->server.phase <= PHASE_READY)
        server_end(&session->server, "421 4.3.2 the service ends");
    advance(session);
}

/* ---- the stream's callbacks ---- */

static void greet_later(struct session *session)
{
    int64_t pause_ms = session->peer.may_relay ? 0 : session->smtpd->config->smtp.greet_pause_ms;
    session->phase = SESSION_SILENT;
    stream_resume(session->stream);
    if (pause_ms)
        wait_ms(session, pause_ms);
    else
        greet(session);
}

static void know_peer(struct session *session, const struct in6_addr *address)
{
    const struct policy *policy = &session->smtpd->policy;
    struct server_client *peer = &session->peer;
    *peer = (struct server_client){.address = *address};
    policy_address_text(address, peer->address_text);
    peer->is_loopback = IN6_IS_ADDR_V4MAPPED(address) ? address->s6_addr[12] == 127 : IN6_IS_ADDR_LOOPBACK(address);
    peer->may_relay = policy_has(&policy->relay, address);
    peer->may_xclient = policy_has(&policy->xclient, address);
    peer->may_bare_lf = policy_has(&policy->bare_lf, address);
}

/* The connection stands and its client is known. */
static void open_session(struct session *session)
{
    server_finish(&session->server);
    server_init(&session->server, &session->listener->options, &session->peer);
    session->server.note = tell_note;
    session->server.note_arg = session;
    if (session->listener->socket->is_tls_implicit)
        start_tls(session);
    else
        greet_later(session);
}

static void read_proxy(struct session *session)
{
    struct in6_addr address = session->peer.address;
    size_t used = 0;
    enum parse result = proxy_parse(buf_slice(&session->pending), &address, &used);
    if (result == PARSE_MORE && session->pending.size < PROXY_SIZE_MAX)
        return;
    if (result != PARSE_DONE) {
        session_tell(session, "no PROXY header where one was expected");
        session_free(session);
        return;
    }
    buf_remove_front(&session->pending, used);
    know_peer(session, &address);
    if (session->pending.size && session->listener->socket->is_tls_implicit) {
        session_tell(session, "a TLS hello in one segment with the PROXY header can't be taken");
        session_free(session);
        return;
    }
    open_session(session);
}

static void on_read(void *arg, struct slice bytes)
{
    struct session *session = arg;
    if (session->phase == SESSION_LINGER)
        return;
    buf_append(&session->pending, bytes);
    if (session->phase == SESSION_PROXY) {
        read_proxy(session);
    } else if (session->phase == SESSION_SILENT) {
        session->phase = SESSION_TALK;
        advance(session); /* the server knows that it has not greeted */
    } else if (session->phase == SESSION_TALK && !session->has_job && !session->is_pausing) {
        advance(session);
    }
}

static void on_drained(void *arg)
{
    struct session *session = arg;
    if (session->phase == SESSION_LINGER)
        stream_end(session->stream);
    else if (session->phase == SESSION_TALK && !session->has_job && !session->is_pausing)
        advance(session);
}

static void on_secured(void *arg)
{
    struct session *session = arg;
    const SSL *ssl = stream_tls(session->stream);
    char about[80];
    (void)snprintf(about, sizeof about, "%s with cipher %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
    server_secured(&session->server, about);
    if (session->server.state == STATE_GREETING) {
        greet_later(session);
        return;
    }
    session->phase = SESSION_TALK;
    advance(session);
}

static void on_closed(void *arg, const char *reason)
{
    struct session *session = arg;
    if (session->phase == SESSION_HANDSHAKE)
        session_tell(session, "no TLS: %s", reason);
    session->is_gone = true;
    if (!session->has_job)
        session_free(session);
}

static void on_connected(void *arg)
{
    (void)arg; /* accepted ones are */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct session *session = arg;
    (void)fd;
    (void)what;
    switch (session->phase) {
    case SESSION_SILENT:
        greet(session);
        break;
    case SESSION_TALK:
        if (session->is_pausing) {
            session->is_pausing = false;
            server_resume(&session->server);
            advance(session);
        } else if (session->ask) {
            session_answered(session, ASKED_LATE, 0);
        } else if (stream_pending(session->stream) == 0) {
            server_end(&session->server, "421 4.4.2 too slow");
            advance(session);
        } else {
            session_free(session); /* it does not read what it is told */
        }
        break;
    case SESSION_PROXY:
    case SESSION_HANDSHAKE:
    case SESSION_LINGER:
        session_free(session);
        break;
    }
}

void session_end(struct session *session, const char *reply)
{
    bool is_idle = session->phase == SESSION_TALK && session->server.phase <= PHASE_READY && !session->has_job;
    if (session->phase == SESSION_LINGER || session->has_job)
        return;
    if (session->phase != SESSION_TALK) {
        session_free(session);
    } else if (is_idle && !session->is_pausing) {
        server_end(&session->server, reply);
        advance(session);
    }
}

void session_begin(struct listener *listener, int fd, const struct in6_addr *address)
{
    static const struct stream_handler handler = {on_connected, on_read, on_drained, on_secured, on_closed};
    struct smtpd *smtpd = listener->smtpd;
    struct session *session = mem_alloc(sizeof *session);
    struct error error;
    session->smtpd = smtpd;
    session->listener = listener;
    session->started_ms = session->since_ms = clock_mono_ms();
    session->next = smtpd->sessions;
    if (session->next)
        session->next->previous = session;
    smtpd->sessions = session;
    smtpd->session_count++;
    know_peer(session, address);
    session->timer = evtimer_new(smtpd->base, on_timer, session);
    session->stream = stream_accepted(smtpd->base, fd, &handler, session, &error);
    if (!session->timer || !session->stream) {
        session_free(session);
        return;
    }
    if (policy_has(&smtpd->policy.proxy, address)) {
        session->phase = SESSION_PROXY;
        wait_ms(session, PROXY_MS);
    } else {
        open_session(session);
    }
}
