/* The states and the one function that changes them; what a reply means in each is client_reply.c's table. */
#include "smtp/client_private.h"

#include "base/mem.h"
#include "message/envelope.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const state_names[] = {
#define NAME(state, successors) [STATE_##state] = #state,
    SMTP_CLIENT_STATES(NAME)
#undef NAME
};

static const unsigned state_successors[] = {
#define SUCCESSORS(state, successors) [STATE_##state] = (successors),
    SMTP_CLIENT_STATES(SUCCESSORS)
#undef SUCCESSORS
};

const char *smtp_client_state_name(const struct smtp_client *client)
{
    return state_names[client->state];
}

static int64_t seconds_of(const struct smtp_client *client, enum smtp_client_state state)
{
    const struct smtp_timeouts *t = &client->options.timeouts;
    const int seconds[] = {
        [STATE_GREETING] = t->greeting_s, [STATE_EHLO] = t->ehlo_s,   [STATE_HELO] = t->ehlo_s,
        [STATE_STARTTLS] = t->ehlo_s,     [STATE_HANDSHAKE] = t->tls_s, [STATE_AUTH] = t->ehlo_s, [STATE_IDLE] = 0,
        [STATE_MAIL] = t->mail_s,         [STATE_RCPT] = t->rcpt_s,   [STATE_DATA] = t->data_s,
        [STATE_BODY] = t->block_s,        [STATE_FINAL] = t->final_s, [STATE_DROPPED] = t->data_s,
        [STATE_RSET] = t->mail_s,         [STATE_QUIT] = t->quit_s,   [STATE_CLOSED] = 0,
    };
    return seconds[state];
}

void client_enter(struct smtp_client *client, enum smtp_client_state state)
{
    CHECK(state_successors[client->state] & TO(state));
    client->state = state;
    int64_t seconds = seconds_of(client, state);
    client->deadline_ms = seconds ? client->now_ms + seconds * 1000 : INT64_MAX;
    client->want = state == STATE_IDLE        ? WANT_MESSAGE
                   : state == STATE_HANDSHAKE ? WANT_TLS
                   : state == STATE_BODY      ? WANT_BODY
                   : state == STATE_CLOSED    ? WANT_CLOSE
                                              : WANT_READ;
}

struct smtp_client *smtp_client_create(const struct smtp_client_options *options, int64_t now_ms)
{
    struct smtp_client *client = mem_alloc(sizeof *client);
    client->options = *options;
    client->options.helo_name = mem_copy_text(options->helo_name);
    client->now_ms = now_ms;
    client->state = client->options.is_implicit ? STATE_HANDSHAKE : STATE_GREETING;
    client_enter(client, client->state);
    return client;
}

void smtp_client_destroy(struct smtp_client **client)
{
    if (!*client)
        return;
    struct buf *secret[] = {&(*client)->output, &(*client)->held};
    for (size_t i = 0; i < COUNT_OF(secret); i++) {
        if (secret[i]->data)
            explicit_bzero(secret[i]->data, secret[i]->capacity);
        buf_finish(secret[i]);
    }
    reply_finish(&(*client)->reply);
    buf_finish(&(*client)->mechanisms);
    buf_finish(&(*client)->challenge);
    arena_finish(&(*client)->arena);
    free((char *)(uintptr_t)(*client)->options.helo_name);
    free(*client);
    *client = NULL;
}

/* T7: what others gave never makes a line of its own. */
static void put_checked(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.size; i++)
        CHECK((unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7f);
    buf_append(out, text);
}

static void put_mail(struct smtp_client *client, const struct smtp_transaction *transaction)
{
    struct buf *out = &client->output;
    buf_append_text(out, "MAIL FROM:<");
    put_checked(out, transaction->sender);
    buf_append_text(out, ">");
    if (client->offers & SMTP_SIZE)
        buf_printf(out, " SIZE=%zu", transaction->body_size);
    if (transaction->is_8bit && (client->offers & SMTP_8BITMIME))
        buf_append_text(out, " BODY=8BITMIME");
    if (transaction->is_smtputf8)
        buf_append_text(out, " SMTPUTF8");
    if (transaction->is_requiretls && (client->offers & SMTP_REQUIRETLS))
        buf_append_text(out, " REQUIRETLS");
    if ((client->offers & SMTP_DELIVERBY) && transaction->by.size) {
        buf_append_text(out, " BY=");
        put_checked(out, transaction->by);
    }
    if ((client->offers & SMTP_DSN) && transaction->ret)
        buf_printf(out, " RET=%s", transaction->ret);
    if ((client->offers & SMTP_DSN) && transaction->envid.size) {
        buf_append_text(out, " ENVID=");
        put_checked(out, transaction->envid);
    }
    if (client->is_authenticated && (client->offers & SMTP_AUTH)) {
        buf_append_text(out, " AUTH=");
        put_checked(out, transaction->auth.size ? transaction->auth : SLICE("<>")); /* RFC 4954 5 */
    }
    buf_append_text(out, "\r\n");
}

static void put_rcpt(struct smtp_client *client, const struct smtp_recipient *recipient)
{
    struct buf *out = &client->output;
    buf_append_text(out, "RCPT TO:<");
    put_checked(out, recipient->address);
    buf_append_text(out, ">");
    if ((client->offers & SMTP_DSN) && recipient->notify) {
        struct slice notify = envelope_notify_text(&client->arena, recipient->notify);
        buf_printf(out, " NOTIFY=%.*s", SLICE_FMT(notify));
    }
    if ((client->offers & SMTP_DSN) && recipient->orcpt.size) {
        buf_append_text(out, " ORCPT=");
        put_checked(out, recipient->orcpt);
    }
    buf_append_text(out, "\r\n");
}

void client_put_data(struct smtp_client *client)
{
    if (client->is_bdat)
        buf_printf(&client->output, "BDAT %zu LAST\r\n", client->transaction->body_size);
    else
        buf_append_text(&client->output, "DATA\r\n");
}

void client_put_next_rcpt(struct smtp_client *client)
{
    put_rcpt(client, &client->transaction->recipients[client->rcpt_next]);
}

/* Failures known before a word is on the wire. */
static bool settle_unsendable(struct smtp_client *client, struct smtp_transaction *transaction)
{
    if ((client->offers & SMTP_SIZE) && client->size_limit && transaction->body_size > client->size_limit) {
        client_settle_all(client, RESULT_FAILED, "mail", "5.3.4", "message larger than the server takes (SIZE)");
        return true;
    }
    bool is_notice = transaction->sender.size == 0 && client->is_secured; /* RFC 8689 5: not lost for want of the word */
    if (transaction->is_requiretls && !is_notice && !(client->is_secured && (client->offers & SMTP_REQUIRETLS))) {
        client_settle_all(client, RESULT_FAILED, "mail", "5.7.30",
                          "the message demands REQUIRETLS, which the server does not offer");
        for (size_t i = 0; i < transaction->recipient_count; i++)
            transaction->recipients[i].result.is_host_failure = true;
        return true;
    }
    if (transaction->is_smtputf8 && !(client->offers & SMTP_SMTPUTF8)) {
        client_settle_all(client, RESULT_FAILED, "mail", "5.6.7",
                          "an address or header needs SMTPUTF8, which the server does not offer");
        for (size_t i = 0; i < transaction->recipient_count; i++)
            transaction->recipients[i].result.is_host_failure = true;
        return true;
    }
    return false;
}

void smtp_client_send(struct smtp_client *client, struct smtp_transaction *transaction, int64_t now_ms)
{
    CHECK(client->state == STATE_IDLE && transaction->recipient_count > 0);
    client->now_ms = now_ms;
    client->transaction = transaction;
    client->accepted = client->rcpt_next = 0;
    client->is_body_sent = false;
    client->has_answer = false;
    transaction->is_settled = false;
    arena_reset(&client->arena);
    if (settle_unsendable(client, transaction)) {
        client->transaction = NULL;
        return;
    }
    bool is_pipelining = client->offers & SMTP_PIPELINING;
    client->is_bdat = is_pipelining && (client->offers & SMTP_CHUNKING) && transaction->body_size > 0
                      && !transaction->is_rehearsal;
    put_mail(client, transaction);
    if (is_pipelining) {
        for (size_t i = 0; i < transaction->recipient_count; i++)
            put_rcpt(client, &transaction->recipients[i]);
        if (!transaction->is_rehearsal)
            client_put_data(client);
    }
    client_enter(client, STATE_MAIL);
    if (client->is_bdat)
        client->want = WANT_BODY;
}

void smtp_client_body_queued(struct smtp_client *client, int64_t now_ms)
{
    CHECK(client->want == WANT_BODY);
    client->now_ms = now_ms;
    client->is_body_sent = true;
    if (client->state == STATE_BODY)
        client_enter(client, STATE_FINAL);
    else
        client->want = WANT_READ; /* BDAT in flight: the replies to MAIL and RCPT come first */
}

void smtp_client_progress(struct smtp_client *client, int64_t now_ms)
{
    client->now_ms = now_ms;
    if (client->state == STATE_BODY || client->want == WANT_BODY)
        client->deadline_ms = now_ms + (int64_t)client->options.timeouts.block_s * 1000;
    else if (client->state == STATE_FINAL)
        client->deadline_ms = now_ms + (int64_t)client->options.timeouts.final_s * 1000;
}

void smtp_client_quit(struct smtp_client *client, int64_t now_ms)
{
    CHECK(client->state == STATE_IDLE);
    client->now_ms = now_ms;
    buf_append_text(&client->output, "QUIT\r\n");
    client_enter(client, STATE_QUIT);
}

void smtp_client_secured(struct smtp_client *client, int64_t now_ms)
{
    CHECK(client->state == STATE_HANDSHAKE);
    client->now_ms = now_ms;
    client->is_secured = true;
    client->offers = 0; /* RFC 3207 4.2: everything learned before is forgotten */
    client->size_limit = 0;
    if (client->options.is_implicit) {
        client_enter(client, STATE_GREETING);
        return;
    }
    client_put_hello(client);
    client_enter(client, STATE_EHLO);
}

void client_put_hello(struct smtp_client *client)
{
    buf_printf(&client->output, "%s %s\r\n", client->options.is_lmtp ? "LHLO" : "EHLO", client->options.helo_name);
}

void smtp_client_timeout(struct smtp_client *client, int64_t now_ms)
{
    smtp_client_lost(client, "timed out", now_ms);
}

void smtp_client_feed(struct smtp_client *client, struct slice bytes, int64_t now_ms)
{
    client->now_ms = now_ms;
    while (bytes.size && client->want != WANT_CLOSE) {
        size_t consumed = 0;
        /* T2: what came behind the answer to STARTTLS was put there by somebody else. */
        if (client->state == STATE_HANDSHAKE) {
            smtp_client_lost(client, "bytes ahead of the TLS handshake: an injection", now_ms);
            return;
        }
        enum parse result = reply_feed(&client->reply, bytes, &consumed);
        if (result == PARSE_BAD) {
            smtp_client_lost(client, client->reply.bad_reason, now_ms);
            return;
        }
        bytes = slice_from(bytes, consumed);
        if (result == PARSE_DONE) {
            client_on_reply(client);
            reply_reset(&client->reply);
        }
    }
}

enum smtp_want smtp_client_want(const struct smtp_client *client) { return client->want; }
enum smtp_auth smtp_client_auth(const struct smtp_client *client) { return client->auth; }
struct slice smtp_client_mechanisms(const struct smtp_client *client) { return buf_slice(&client->mechanisms); }
struct slice smtp_client_challenge(const struct smtp_client *client) { return buf_slice(&client->challenge); }
bool smtp_client_body_is_bdat(const struct smtp_client *client) { return client->is_bdat; }
struct buf *smtp_client_output(struct smtp_client *client) { return &client->output; }
int64_t smtp_client_deadline_ms(const struct smtp_client *client) { return client->deadline_ms; }
unsigned smtp_client_offers(const struct smtp_client *client) { return client->offers; }
uint64_t smtp_client_size_limit(const struct smtp_client *client) { return client->size_limit; }
size_t smtp_client_recipients_max(const struct smtp_client *client) { return client->rcpt_max; }
size_t smtp_client_messages_max(const struct smtp_client *client) { return client->mail_max; }
bool smtp_client_is_secured(const struct smtp_client *client) { return client->is_secured; }
const struct smtp_result *smtp_client_failure(const struct smtp_client *client) { return &client->failure; }
