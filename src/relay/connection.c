#include "base/mem.h"
#include "os/clock.h"
#include "relay/connection_private.h"

#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE_SIZE = 64 * 1024, PENDING_MAX = 256 * 1024, CLEAR_AFTER_TLS_MS = 60 * 60 * 1000 };

struct connection *connection_next(const struct connection *connection) { return connection->next; }

const char *connection_address(const struct connection *connection) { return connection->address; }

bool connection_is_slow(const struct connection *connection) { return connection->phase == PHASE_CONNECTING && connection->is_slow; }

bool connection_is_same_host(const struct connection *a, const struct connection *b) { return strcmp(a->host->name, b->host->name) == 0; }

bool connection_is_idle(const struct connection *connection) { return connection->phase == PHASE_IDLE; }

/* ---- time ---- */

/* One timer a connection, moved only when it must fire earlier: deadlines mostly move on. */
void connection_arm(struct connection *c, int64_t deadline_ms)
{
    c->deadline_ms = deadline_ms;
    if (c->armed_ms && c->armed_ms <= deadline_ms)
        return;
    c->armed_ms = deadline_ms;
    timer_set(c->timer, deadline_ms - clock_mono_ms());
}

static void fail_unconnected(struct connection *c, const char *reason);

static void on_timer(void *arg)
{
    struct connection *c = arg;
    int64_t now_ms = clock_mono_ms();
    c->armed_ms = 0;
    if (now_ms < c->deadline_ms) {
        connection_arm(c, c->deadline_ms);
        return;
    }
    switch (c->phase) {
    case PHASE_CONNECTING:
        if (c->is_slow || c->dial_until_ms == c->deadline_ms) {
            fail_unconnected(c, "no connection in time");
            return;
        }
        c->is_slow = true; /* goes on, but the host's next address has its chance too */
        connection_arm(c, c->dial_until_ms);
        site_touch(c->site);
        return;
    case PHASE_IDLE:
        c->phase = PHASE_TALKING;
        smtp_client_quit(c->client, now_ms);
        break;
    case PHASE_TALKING:
        smtp_client_timeout(c->client, now_ms);
        break;
    case PHASE_READING:
    case PHASE_SETTLING:
        return;
    }
    connection_step(c);
}

/* ---- life ---- */

static void tell(struct connection *c, enum event_kind kind, const char *reason)
{
    struct event event = EVENT(kind);
    event.host = slice_of(c->host->name);
    event.address = slice_of(c->address);
    const SSL *tls = c->stream ? stream_tls(c->stream) : NULL;
    event.tls = tls ? slice_of(SSL_get_version(tls)) : SLICE_NONE;
    event.reason = slice_of(reason);
    if (kind == EVENT_CONNECTED)
        event.connect_ms = c->connect_ms;
    event_put(c->relay->parts.log, &event);
}

void connection_destroy(struct connection *c)
{
    struct site *site = c->site;
    struct relay *relay = c->relay;
    if (c->settle)
        settle_leave(c->settle);
    if (c->job) {
        fetch_leave(c->job->item, &c->wait);
        item_release(c->job->item, c->job->count); /* cut: still due in the queue */
        job_destroy(c->job);
    }
    if (c->phase == PHASE_CONNECTING)
        site->connecting_count--;
    if (c->previous)
        c->previous->next = c->next;
    else
        site->connections = c->next;
    if (c->next)
        c->next->previous = c->previous;
    site->connection_count--;
    relay->connection_count--;
    if (site->source)
        source_state(relay, site->source)->connections--;
    connection_auth_end(c);
    stream_destroy(&c->stream);
    smtp_client_destroy(&c->client);
    timer_free(&c->timer);
    arena_finish(&c->arena);
    buf_finish(&c->converted);
    buf_finish(&c->trimmed);
    route_release(&c->route);
    free(c);
    site_touch(site);
    relay_check_finished(relay);
}

static void fail_unconnected(struct connection *c, const char *reason)
{
    char text[200];
    struct smtp_result result = {.kind = RESULT_DEFERRED, .stage = "connect", .status = "4.4.1"};
    (void)snprintf(text, sizeof text, "connection to %s[%s] failed: %s", c->host->name, c->address, reason);
    result.text = slice_of(text);
    c->connect_ms = clock_mono_ms() - c->started_ms;
    struct attempt attempt = transaction_attempt(c, &result);
    tell(c, EVENT_DISCONNECTED, text);
    site_host_failed(c->site, &attempt, c->address, false);
    connection_destroy(c);
}

/* ---- wake-ups ---- */

void connection_settled(struct connection *c)
{
    c->settle = NULL;
    c->phase = PHASE_TALKING;
    connection_step(c);
}

void connection_wake(struct connection *c)
{
    CHECK(c->phase == PHASE_IDLE);
    c->phase = PHASE_TALKING;
    connection_step(c);
}

/* ---- the machine's wishes ---- */

static void flush_output(struct connection *c)
{
    struct buf *output = smtp_client_output(c->client);
    if (output->size) {
        stream_write(c->stream, buf_slice(output));
        buf_clear(output);
    }
    stream_flush(c->stream);
}

/* Gives the stream what it can hold; true when the body's last octet is handed over. */
static bool push_body(struct connection *c)
{
    struct buf piece = {0};
    if (!c->is_body_started) {
        c->body = (struct body){.rest = c->content, .is_stuffed = !smtp_client_body_is_bdat(c->client)};
        c->is_body_started = true;
    }
    struct buf *output = smtp_client_output(c->client);
    if (output->size) {
        stream_write(c->stream, buf_slice(output));
        buf_clear(output);
    }
    while (!c->body.is_done && stream_pending(c->stream) < PENDING_MAX) {
        buf_clear(&piece);
        body_piece(&c->body, PIECE_SIZE, &piece);
        stream_write(c->stream, buf_slice(&piece));
    }
    buf_finish(&piece);
    return c->body.is_done;
}

static void start_tls(struct connection *c)
{
    struct error error;
    struct in6_addr literal;
    const char *name = c->policy.server_name;
    bool is_literal = evutil_inet_pton(AF_INET, name, &literal) == 1 || strchr(name, ':') || name[0] == '[';
    flush_output(c);
    if (stream_pending(c->stream))
        return; /* on_drained comes back here */
    if (!stream_start_tls(c->stream, tls_context(c->relay->tls), is_literal ? NULL : name, &error)
        || !tls_prepare(c->relay->tls, stream_handshake(c->stream), &c->policy, c->address, &error))
        smtp_client_lost(c->client, error.text, clock_mono_ms());
}

static void note_policy(struct connection *c, const char *result)
{
    (void)snprintf(c->policy_text, sizeof c->policy_text, "%s, %s: %s", tls_source_name(c->policy.source), result,
                   c->policy.why);
}

void connection_count_tls(struct connection *c, const char *type, const char *reason)
{
    char ip[64];
    const char *text = c->address[0] == '[' ? c->address + 1 : c->address;
    size_t size = strcspn(text, c->address[0] == '[' ? "]" : ":");
    struct tlsrpt_failure failure = {.type = type, .host = c->host->name, .receiving_ip = ip, .reason = reason};
    (void)snprintf(ip, sizeof ip, "%.*s", (int)size, text);
    if (!c->is_tls_counted && !c->options.is_lmtp)
        tls_reports_count(c->relay, c->site, c->route, &c->policy, type ? &failure : NULL);
    c->is_tls_counted = true;
}

/* TLS that fails is left out the next time, where it isn't demanded (PITFALLS 39). */
static bool is_tls_failure(const struct connection *c, const struct smtp_result *failure)
{
    return c->options.tls == SMTP_TLS_MAY && failure->stage
           && (strcmp(failure->stage, "tls") == 0 || strcmp(failure->stage, "starttls") == 0);
}

/* It never came to a transaction. */
static void note_failure(struct connection *c, struct smtp_result *failure)
{
    bool is_refused = connection_auth_failed(c, failure);
    const struct reply_class *class = transaction_judge(c, failure);
    if (strcmp(failure->stage, "starttls") == 0)
        connection_count_tls(c, "starttls-not-supported", NULL);
    else if (strcmp(failure->stage, "tls") == 0)
        connection_count_tls(c, "validation-failure", arena_text(&c->arena, failure->text));
    struct attempt attempt = transaction_attempt(c, failure);
    attempt.class = class;
    if (is_refused) {
        site_login_refused(c->site, &attempt, c->token_number);
        return;
    }
    if (is_tls_failure(c, failure)) {
        site_mark(c->relay, c->address, true)->clear_until_ms = clock_mono_ms() + CLEAR_AFTER_TLS_MS;
        return;
    }
    if (class && class->is_other_family && failure->kind == RESULT_DEFERRED) {
        site_leave_ipv6(c->site, &attempt);
        return;
    }
    site_host_failed(c->site, &attempt, c->address, false);
    if (class && class->is_slow)
        site_complained(c->site, &attempt);
}

static void close_down(struct connection *c)
{
    if (!c->is_usable) {
        struct smtp_result failure = *smtp_client_failure(c->client);
        note_failure(c, &failure);
        char *reason = slice_copy(failure.text);
        tell(c, EVENT_DISCONNECTED, reason);
        free(reason);
    } else {
        flush_output(c);
        tell(c, EVENT_DISCONNECTED, NULL);
    }
    connection_destroy(c);
}

/* One wish; false when there is nothing more to do now, or the connection is gone. */
static bool fulfil(struct connection *c, enum smtp_want want)
{
    switch (want) {
    case WANT_READ:
        flush_output(c);
        return false;
    case WANT_TLS:
        start_tls(c);
        return smtp_client_want(c->client) != WANT_TLS;
    case WANT_AUTH:
        connection_authenticate(c);
        return true;
    case WANT_MESSAGE:
        transaction_next(c);
        return c->phase == PHASE_TALKING;
    case WANT_BODY:
        if (!push_body(c)) {
            flush_output(c);
            return stream_pending(c->stream) == 0; /* all gone: on_drained() has nothing to tell */
        }
        smtp_client_body_queued(c->client, clock_mono_ms());
        return true;
    case WANT_CLOSE:
        close_down(c);
        return false;
    }
    return false;
}

void connection_step(struct connection *c)
{
    while (c->phase == PHASE_TALKING) {
        enum smtp_want want = smtp_client_want(c->client);
        if (c->job && c->transaction.is_settled && (want == WANT_MESSAGE || want == WANT_CLOSE)) {
            flush_output(c);
            transaction_settle(c);
            return;
        }
        if (want == WANT_READ || want == WANT_TLS || want == WANT_BODY) {
            int64_t deadline_ms = smtp_client_deadline_ms(c->client);
            connection_arm(c, deadline_ms > 0 ? deadline_ms : INT64_MAX / 2);
        }
        if (!fulfil(c, want))
            return;
    }
}

void connection_cut(struct connection *c, const char *reason)
{
    bool is_out = c->is_body_started && c->body.is_done;
    if (c->phase != PHASE_TALKING || !c->job || is_out)
        return;
    smtp_client_lost(c->client, reason, clock_mono_ms());
    connection_step(c);
}

/* ---- the stream's calls ---- */

static void on_connected(void *arg)
{
    struct connection *c = arg;
    int64_t now_ms = clock_mono_ms();
    c->connect_ms = now_ms - c->started_ms;
    c->phase = PHASE_TALKING;
    c->site->connecting_count--;
    dial_won(c->site, c);
    c->client = smtp_client_create(&c->options, now_ms);
    tell(c, EVENT_CONNECTED, NULL);
    connection_step(c);
}

static void on_read(void *arg, struct slice bytes)
{
    struct connection *c = arg;
    enum phase phase = c->phase;
    smtp_client_feed(c->client, bytes, clock_mono_ms());
    if (phase == PHASE_SETTLING || phase == PHASE_READING)
        return; /* what it said unasked is looked at afterwards */
    c->phase = PHASE_TALKING;
    connection_step(c);
}

static void on_drained(void *arg)
{
    struct connection *c = arg;
    if (c->phase != PHASE_TALKING)
        return;
    smtp_client_progress(c->client, clock_mono_ms());
    connection_step(c);
}

static void on_secured(void *arg)
{
    struct connection *c = arg;
    struct error error;
    SSL *ssl = stream_handshake(c->stream);
    if (tls_verify(c->relay->tls, ssl, &c->policy, &error)) {
        note_policy(c, tls_is_verified(ssl, &c->policy) ? "verified" : "not verified");
        connection_count_tls(c, c->policy.is_testing && !tls_is_verified(ssl, &c->policy) ? tls_failure_type(ssl) : NULL, NULL);
        smtp_client_secured(c->client, clock_mono_ms());
    } else {
        note_policy(c, "refused");
        connection_count_tls(c, tls_failure_type(ssl), error.text);
        smtp_client_lost(c->client, error.text, clock_mono_ms());
    }
    connection_step(c);
}

static void on_closed(void *arg, const char *reason)
{
    struct connection *c = arg;
    if (c->phase == PHASE_CONNECTING) {
        fail_unconnected(c, reason);
        return;
    }
    smtp_client_lost(c->client, reason, clock_mono_ms());
    if (c->phase == PHASE_SETTLING || c->phase == PHASE_READING)
        return;
    c->phase = PHASE_TALKING;
    connection_step(c);
}

static const struct stream_handler handler = {on_connected, on_read, on_drained, on_secured, on_closed};

/* ---- opening ---- */

static void set_options(struct connection *c)
{
    const struct config *config = c->relay->config;
    const struct config_route *rule = c->site->rule;
    const struct host_mark *mark = site_mark(c->relay, c->address, false);
    c->login = c->host->is_smart ? c->site->login : NULL;
    c->options.wants_auth = c->login != NULL;
    c->options.is_implicit = c->host->is_implicit;
    c->options.is_lmtp = rule && rule->deliver == CONFIG_DELIVER_LMTP;
    c->options.helo_name = c->site->source && c->site->source->helo ? c->site->source->helo : config->delivery.helo;
    route_tls(c->route, c->host, config, c->site->demand, &c->policy);
    note_policy(c, "in the clear");
    c->options.tls = c->policy.level;
    if (strncmp(c->address, "unix:", 5) == 0)
        c->options.tls = SMTP_TLS_NEVER; /* it does not leave the machine */
    if (c->options.tls == SMTP_TLS_MAY && mark && clock_mono_ms() < mark->clear_until_ms)
        c->options.tls = SMTP_TLS_NEVER;
    c->options.ignored = (config->delivery.is_chunking ? 0U : SMTP_CHUNKING)
                         | (config->delivery.is_pipelining ? 0U : SMTP_PIPELINING);
#define SECONDS(name) (int)((config->delivery.timeout_ms.name + 999) / 1000)
    c->options.timeouts = (struct smtp_timeouts){
        SECONDS(greeting), SECONDS(ehlo), SECONDS(mail), SECONDS(rcpt), SECONDS(data),
        SECONDS(block),    SECONDS(final), SECONDS(quit), SECONDS(tls)};
#undef SECONDS
}

static struct stream *dial(struct connection *c, const struct sockaddr *to, const struct sockaddr *from, struct error *error)
{
    const struct relay_parts *parts = &c->relay->parts;
    return parts->network ? stream_simulated(parts->base, parts->network->dial(parts->network->arg, to, from), &handler, c, error)
                          : stream_connect(parts->base, to, from, &handler, c, error);
}

void connection_open(struct site *site, struct route *route, const struct route_host *host,
                     const struct route_address *address)
{
    struct connection *c = mem_alloc(sizeof *c);
    struct sockaddr_storage from;
    struct error error;
    c->site = site;
    c->relay = site->relay;
    c->route = route_hold(route);
    c->host = host;
    c->phase = PHASE_CONNECTING;
    c->started_ms = clock_mono_ms();
    route_address_text(address, c->address, sizeof c->address);
    c->timer = timer_make(site->relay->parts.base, on_timer, c);
    c->next = site->connections;
    if (c->next)
        c->next->previous = c;
    site->connections = c;
    site->connection_count++;
    site->connecting_count++;
    site->relay->connection_count++;
    if (site->source)
        source_state(site->relay, site->source)->connections++;
    set_options(c);
    bool has_source = dial_source(site, address->to.any.sa_family, &from);
    c->stream = dial(c, &address->to.any, has_source ? (struct sockaddr *)&from : NULL, &error);
    int64_t dial_ms = c->relay->config->delivery.dial_ms, most_ms = c->relay->config->delivery.timeout_ms.connect;
    c->dial_until_ms = c->started_ms + most_ms;
    if (c->stream)
        connection_arm(c, dial_ms && dial_ms < most_ms ? c->started_ms + dial_ms : c->dial_until_ms);
    else
        fail_unconnected(c, error.text);
}
