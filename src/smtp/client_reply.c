/* What a reply means: one handler a state, and the sorting of codes into results (T4 to T6, T8). */
#include "smtp/client_private.h"

#include <stdio.h>

enum { COMMAND_SIZE_MAX = 512 }; /* RFC 5321 4.5.3.1.4, with CRLF */

static enum smtp_result_kind kind_of(int code)
{
    return code / 100 == 2 ? RESULT_DELIVERED : code / 100 == 5 ? RESULT_FAILED : RESULT_DEFERRED;
}

/* Words by which a server speaks of itself, not of this message. */
static bool is_about_host(const struct reply *reply)
{
    static const struct slice words[] = {
        {"too many connections", 20}, {"too many concurrent", 19}, {"rate limit", 10}, {"try again later, closing", 24},
    };
    struct slice text = buf_slice(&reply->text);
    if (reply->code == 421)
        return true;
    for (size_t i = 0; reply->code / 100 == 4 && i < COUNT_OF(words); i++)
        for (size_t at = 0; at + words[i].size <= text.size; at++)
            if (slice_equals_nocase(slice_make(text.data + at, words[i].size), words[i]))
                return true;
    return false;
}

static void fill(struct arena *arena, const struct reply *reply, enum smtp_result_kind kind, const char *stage,
                 struct smtp_result *ret_result)
{
    struct buf line = {0};
    struct smtp_result result = {.kind = kind, .is_host_failure = is_about_host(reply), .stage = stage,
                                 .code = reply->code};
    reply_one_line(reply, 512, &line);
    result.text = arena_copy(arena, buf_slice(&line));
    buf_finish(&line);
    reply_status(reply, result.status);
    if (kind == RESULT_DEFERRED && result.status[0] != '4')
        (void)snprintf(result.status, sizeof result.status, "4.0.0");
    *ret_result = result;
}

static void note_settled(struct smtp_client *client)
{
    client->transaction->is_settled = true;
    client->transaction = NULL;
}

void client_settle_all(struct smtp_client *client, enum smtp_result_kind kind, const char *stage,
                       const char *status, const char *text)
{
    struct smtp_transaction *transaction = client->transaction;
    for (size_t i = 0; i < transaction->recipient_count; i++) {
        struct smtp_result *result = &transaction->recipients[i].result;
        if (result->kind != RESULT_UNSET)
            continue;
        *result = (struct smtp_result){.kind = kind, .stage = stage,
                                       .text = arena_copy(transaction->arena, slice_of(text))};
        (void)snprintf(result->status, sizeof result->status, "%s", status);
    }
    transaction->is_settled = true;
}

static void settle_by_reply(struct smtp_client *client, enum smtp_result_kind kind, const char *stage)
{
    struct smtp_transaction *transaction = client->transaction;
    struct smtp_result result;
    fill(transaction->arena, &client->reply, kind, stage, &result);
    for (size_t i = 0; i < transaction->recipient_count; i++)
        if (transaction->recipients[i].result.kind == RESULT_UNSET)
            transaction->recipients[i].result = result;
    note_settled(client);
}

static const char *stage_name(const struct smtp_client *client)
{
    static const char *const names[] = {
        [STATE_GREETING] = "greeting", [STATE_EHLO] = "ehlo", [STATE_HELO] = "ehlo", [STATE_STARTTLS] = "starttls",
        [STATE_HANDSHAKE] = "tls", [STATE_AUTH] = "auth", [STATE_IDLE] = "idle", [STATE_MAIL] = "mail", [STATE_RCPT] = "rcpt",
        [STATE_DATA] = "data", [STATE_BODY] = "body", [STATE_FINAL] = "final", [STATE_DROPPED] = "data",
        [STATE_RSET] = "rset", [STATE_QUIT] = "quit", [STATE_CLOSED] = "closed",
    };
    return names[client->state];
}

/* The connection never became usable, or is lost: why. */
static void fail_connection(struct smtp_client *client, const struct smtp_result *result)
{
    client->failure = *result;
    client->failure.is_host_failure = true;
    client_enter(client, STATE_CLOSED);
}

void smtp_client_lost(struct smtp_client *client, const char *reason, int64_t now_ms)
{
    struct smtp_result result = {.kind = RESULT_DEFERRED, .is_host_failure = true, .stage = stage_name(client)};
    client->now_ms = now_ms;
    if (client->state == STATE_CLOSED)
        return;
    (void)snprintf(result.status, sizeof result.status, "%s", client->state == STATE_HANDSHAKE ? "4.7.5" : "4.4.2");
    struct smtp_transaction *transaction = client->transaction;
    if (transaction) {
        bool is_unknown = client->is_body_sent && client->state != STATE_DROPPED;
        result.kind = is_unknown ? RESULT_UNKNOWN : RESULT_DEFERRED;
        result.text = arena_printf(transaction->arena, "%s%s", is_unknown ? "answer to the message unknown: " : "",
                                   reason);
        for (size_t i = 0; i < transaction->recipient_count; i++)
            if (transaction->recipients[i].result.kind == RESULT_UNSET)
                transaction->recipients[i].result = result;
        note_settled(client);
    }
    result.text = arena_copy(&client->arena, slice_of(reason));
    fail_connection(client, &result);
}

static void refuse_connection(struct smtp_client *client)
{
    struct smtp_result result;
    fill(&client->arena, &client->reply, client->reply.code / 100 == 5 ? RESULT_FAILED : RESULT_DEFERRED,
         stage_name(client), &result);
    fail_connection(client, &result);
}

static void on_greeting(struct smtp_client *client)
{
    if (client->reply.code / 100 != 2) {
        refuse_connection(client);
        return;
    }
    client_put_hello(client);
    client_enter(client, STATE_EHLO);
}

static const struct { struct slice word; unsigned extension; } keywords[] = {
    {{"PIPELINING", 10}, SMTP_PIPELINING}, {{"SIZE", 4}, SMTP_SIZE},         {{"8BITMIME", 8}, SMTP_8BITMIME},
    {{"SMTPUTF8", 8}, SMTP_SMTPUTF8},      {{"CHUNKING", 8}, SMTP_CHUNKING}, {{"DSN", 3}, SMTP_DSN},
    {{"ENHANCEDSTATUSCODES", 19}, SMTP_ENHANCEDSTATUSCODES},                 {{"STARTTLS", 8}, SMTP_STARTTLS},
    {{"LIMITS", 6}, SMTP_LIMITS},          {{"REQUIRETLS", 10}, SMTP_REQUIRETLS}, {{"DELIVERBY", 9}, SMTP_DELIVERBY},
};

static void read_limits(struct smtp_client *client, struct slice words) /* RFC 9422 */
{
    while (words.size) {
        struct slice value = slice_cut(&words, ' ');
        struct slice name = slice_cut(&value, '=');
        uint64_t number;
        if (!slice_to_u64(value, &number))
            continue;
        if (slice_equals_nocase(name, SLICE("RCPTMAX")))
            client->rcpt_max = number;
        else if (slice_equals_nocase(name, SLICE("MAILMAX")))
            client->mail_max = number;
    }
}

static void add_mechanisms(struct smtp_client *client, struct slice words)
{
    client->offers |= SMTP_AUTH;
    if (client->mechanisms.size)
        buf_append_byte(&client->mechanisms, ' ');
    buf_append(&client->mechanisms, slice_trim(words));
}

static void read_keyword(struct smtp_client *client, struct slice line)
{
    struct slice rest = slice_trim(line);
    if (slice_starts_nocase(rest, SLICE("AUTH=")))
        add_mechanisms(client, slice_from(rest, 5)); /* an old form that servers still have */
    struct slice word = slice_cut(&rest, ' ');
    if (slice_equals_nocase(word, SLICE("AUTH")))
        add_mechanisms(client, rest);
    for (size_t i = 0; i < COUNT_OF(keywords); i++)
        if (slice_equals_nocase(word, keywords[i].word))
            client->offers |= keywords[i].extension;
    if (slice_equals_nocase(word, SLICE("SIZE")) && !slice_to_u64(slice_trim(rest), &client->size_limit))
        client->size_limit = 0;
    if (slice_equals_nocase(word, SLICE("LIMITS")))
        read_limits(client, rest);
}

static void fail_without_tls(struct smtp_client *client)
{
    struct smtp_result result = {.kind = RESULT_DEFERRED, .stage = "starttls", .status = "4.7.4",
                                 .text = SLICE("TLS is required and the server does not offer it")};
    fail_connection(client, &result);
}

/* What the connection needs is there, but for AUTH. */
static void be_ready(struct smtp_client *client)
{
    struct smtp_result result = {.kind = RESULT_DEFERRED, .stage = "auth", .status = "4.7.0"};
    if (!client->options.wants_auth) {
        client_enter(client, STATE_IDLE);
        return;
    }
    result.text = client->is_secured ? SLICE("a user is configured and the server offers no AUTH")
                                     : SLICE("a user is configured and there is no TLS: no password is sent in the clear");
    if (!client->is_secured || !(client->offers & SMTP_AUTH)) {
        fail_connection(client, &result);
        return;
    }
    client_enter(client, STATE_AUTH);
    client->auth = SMTP_AUTH_BEGIN;
    client->want = WANT_AUTH;
}

static void on_ehlo(struct smtp_client *client)
{
    int code = client->reply.code;
    if (code / 100 == 5 && code != 521 && code != 554 && !client->is_secured && !client->options.is_lmtp) {
        buf_printf(&client->output, "HELO %s\r\n", client->options.helo_name);
        client_enter(client, STATE_HELO);
        return;
    }
    if (code / 100 != 2) {
        refuse_connection(client);
        return;
    }
    struct slice lines = buf_slice(&client->reply.text);
    (void)slice_cut(&lines, '\n');
    client->offers = 0;
    buf_clear(&client->mechanisms);
    while (lines.size)
        read_keyword(client, slice_cut(&lines, '\n'));
    client->offers &= ~client->options.ignored;
    bool may_secure = client->options.tls != SMTP_TLS_NEVER && !client->is_secured;
    if (may_secure && (client->offers & SMTP_STARTTLS)) {
        buf_append_text(&client->output, "STARTTLS\r\n");
        client_enter(client, STATE_STARTTLS);
    } else if (may_secure && client->options.tls == SMTP_TLS_MUST) {
        fail_without_tls(client);
    } else {
        be_ready(client);
    }
}

static void on_helo(struct smtp_client *client)
{
    if (client->reply.code / 100 != 2)
        refuse_connection(client);
    else if (client->options.tls == SMTP_TLS_MUST && !client->is_secured)
        fail_without_tls(client);
    else
        be_ready(client);
}

static void on_starttls(struct smtp_client *client)
{
    if (client->reply.code / 100 == 2) {
        client_enter(client, STATE_HANDSHAKE);
    } else if (client->options.tls == SMTP_TLS_MUST) {
        client->reply.code = 454;
        refuse_connection(client);
    } else {
        be_ready(client);
    }
}

/* ---- AUTH (RFC 4954) ---- */

void smtp_client_auth_begin(struct smtp_client *client, const char *mechanism, struct slice first, int64_t now_ms)
{
    CHECK(client->state == STATE_AUTH && client->want == WANT_AUTH && client->is_secured);
    client->now_ms = now_ms;
    buf_printf(&client->output, "AUTH %s", mechanism);
    if (strlen(mechanism) + first.size + 8 > COMMAND_SIZE_MAX) { /* RFC 4954 4: then it goes behind an empty challenge */
        buf_append(&client->held, first);
    } else if (!slice_is_absent(first)) {
        buf_append_byte(&client->output, ' ');
        buf_append(&client->output, first.size ? first : SLICE("="));
    }
    buf_append_text(&client->output, "\r\n");
    client_enter(client, STATE_AUTH);
}

void smtp_client_auth_respond(struct smtp_client *client, struct slice response, int64_t now_ms)
{
    CHECK(client->state == STATE_AUTH && client->want == WANT_AUTH);
    client->now_ms = now_ms;
    buf_append(&client->output, response);
    buf_append_text(&client->output, "\r\n");
    client_enter(client, STATE_AUTH);
}

void smtp_client_auth_cancel(struct smtp_client *client, const char *reason, int64_t now_ms)
{
    struct smtp_result result = {.kind = RESULT_DEFERRED, .stage = "auth", .status = "4.7.8", .text = slice_of(reason)};
    if (client->auth == SMTP_AUTH_CHALLENGE) {
        smtp_client_auth_respond(client, SLICE("*"), now_ms);
        client->cancelled = reason;
    } else {
        client->now_ms = now_ms;
        fail_connection(client, &result);
    }
}

void smtp_client_auth_passed(struct smtp_client *client, int64_t now_ms)
{
    CHECK(client->state == STATE_AUTH && client->auth == SMTP_AUTH_CLAIMED);
    client->now_ms = now_ms;
    client->is_authenticated = true;
    client_enter(client, STATE_IDLE);
}

static void ask_driver(struct smtp_client *client, enum smtp_auth auth)
{
    client_enter(client, STATE_AUTH);
    client->auth = auth;
    client->want = WANT_AUTH;
}

static void refuse_auth(struct smtp_client *client)
{
    struct smtp_result result;
    fill(&client->arena, &client->reply, RESULT_DEFERRED, "auth", &result);
    if (client->cancelled)
        result.text = arena_copy(&client->arena, slice_of(client->cancelled));
    if (client->reply.code / 100 != 4)
        (void)snprintf(result.status, sizeof result.status, "4.7.8");
    fail_connection(client, &result);
}

static void on_auth(struct smtp_client *client)
{
    int code = client->reply.code;
    if (client->want == WANT_AUTH) { /* it answers what nobody said */
        refuse_auth(client);
        return;
    }
    if (code == 334 && !client->cancelled && client->held.size) {
        buf_append(&client->output, buf_slice(&client->held));
        buf_append_text(&client->output, "\r\n");
        explicit_bzero(client->held.data, client->held.capacity);
        buf_clear(&client->held);
        client_enter(client, STATE_AUTH);
    } else if (code == 334 && !client->cancelled) {
        buf_clear(&client->challenge);
        buf_append(&client->challenge, slice_trim(buf_slice(&client->reply.text)));
        ask_driver(client, SMTP_AUTH_CHALLENGE);
    } else if (code == 235 && !client->cancelled) {
        ask_driver(client, SMTP_AUTH_CLAIMED);
    } else {
        refuse_auth(client);
    }
}

static bool is_pipelining(const struct smtp_client *client)
{
    return client->offers & SMTP_PIPELINING;
}

/* Answers still to come behind that to the last RCPT when the flight went out whole. */
static size_t owed_for_data(const struct smtp_client *client)
{
    return is_pipelining(client) && !client->transaction->is_rehearsal ? 1 : 0;
}

/* The transaction has failed; `owed` replies of its flight are still to come. */
static void drop(struct smtp_client *client, size_t owed)
{
    client->owed = owed;
    if (owed) {
        client_enter(client, STATE_DROPPED);
        return;
    }
    buf_append_text(&client->output, "RSET\r\n");
    client_enter(client, STATE_RSET);
}

static void on_mail(struct smtp_client *client)
{
    size_t owed = is_pipelining(client) ? client->transaction->recipient_count + owed_for_data(client) : 0;
    enum smtp_want body = client->want; /* a BDAT body may still have to be written */
    if (client->reply.code / 100 != 2) {
        settle_by_reply(client, kind_of(client->reply.code), "mail");
        drop(client, owed);
        if (client->is_bdat && body == WANT_BODY)
            client->want = WANT_BODY;
        return;
    }
    client_enter(client, STATE_RCPT);
    if (is_pipelining(client))
        client->want = body;
    else
        client_put_next_rcpt(client);
}

static void sort_rcpt(struct smtp_client *client)
{
    struct smtp_recipient *recipient = &client->transaction->recipients[client->rcpt_next];
    int code = client->reply.code;
    bool is_full = code == 452 || code == 552; /* RFC 5321 4.5.3.1.10 */
    if (code / 100 == 2) {
        client->accepted++;
        if (client->transaction->is_rehearsal)
            fill(client->transaction->arena, &client->reply, RESULT_DELIVERED, "rcpt", &recipient->result);
        return;
    }
    enum smtp_result_kind kind = is_full ? (client->accepted ? RESULT_AGAIN : RESULT_DEFERRED) : kind_of(code);
    fill(client->transaction->arena, &client->reply, kind, "rcpt", &recipient->result);
}

static void on_rcpt(struct smtp_client *client)
{
    sort_rcpt(client);
    client->rcpt_next++;
    enum smtp_want body = client->want;
    if (client->rcpt_next < client->transaction->recipient_count) {
        client_enter(client, STATE_RCPT);
        client->want = body;
        if (!is_pipelining(client))
            client_put_next_rcpt(client);
        return;
    }
    if (client->accepted == 0 || client->transaction->is_rehearsal) {
        size_t owed = owed_for_data(client);
        note_settled(client);
        drop(client, owed);
        if (client->is_bdat && body == WANT_BODY)
            client->want = WANT_BODY; /* the octets that BDAT announced have to follow */
        return;
    }
    if (client->is_bdat) {
        client_enter(client, STATE_FINAL);
        client->want = body;
        return;
    }
    client_enter(client, STATE_DATA);
    if (!is_pipelining(client))
        client_put_data(client);
}

static void on_data(struct smtp_client *client)
{
    if (client->reply.code == 354) {
        client_enter(client, STATE_BODY);
        return;
    }
    settle_by_reply(client, client->reply.code / 100 == 2 ? RESULT_DEFERRED : kind_of(client->reply.code), "data");
    drop(client, 0);
}

/* LMTP answers once for each accepted recipient: RFC 2033 4.2. */
static void on_final_lmtp(struct smtp_client *client)
{
    struct smtp_transaction *transaction = client->transaction;
    size_t left = 0;
    bool is_given = false;
    for (size_t i = 0; i < transaction->recipient_count; i++) {
        struct smtp_result *result = &transaction->recipients[i].result;
        if (result->kind != RESULT_UNSET)
            continue;
        if (is_given)
            left++;
        else
            fill(transaction->arena, &client->reply, kind_of(client->reply.code), "final", result);
        is_given = true;
    }
    if (left) {
        client_enter(client, STATE_FINAL);
        return;
    }
    note_settled(client);
    client_enter(client, STATE_IDLE);
}

static void on_final(struct smtp_client *client)
{
    if (client->options.is_lmtp) {
        on_final_lmtp(client);
        return;
    }
    enum smtp_result_kind kind = kind_of(client->reply.code);
    settle_by_reply(client, kind, "final");
    if (client->reply.code == 421)
        return;
    if (kind == RESULT_DELIVERED)
        client_enter(client, STATE_IDLE);
    else
        drop(client, 0);
}

static void on_dropped(struct smtp_client *client)
{
    /* PITFALLS 25: a server that says 354 although all was refused gets an empty message and is not believed. */
    if (client->reply.code == 354 && !client->is_bdat) {
        buf_append_text(&client->output, ".\r\n");
        client_enter(client, STATE_DROPPED);
        return;
    }
    drop(client, client->owed - 1);
}

static void on_rset(struct smtp_client *client)
{
    if (client->reply.code / 100 == 2)
        client_enter(client, STATE_IDLE);
    else
        refuse_connection(client);
}

static void on_unasked(struct smtp_client *client)
{
    refuse_connection(client);
}

static void on_quit(struct smtp_client *client)
{
    client_enter(client, STATE_CLOSED);
}

void client_on_reply(struct smtp_client *client)
{
    static void (*const handlers[])(struct smtp_client *client) = {
        [STATE_GREETING] = on_greeting, [STATE_EHLO] = on_ehlo,   [STATE_HELO] = on_helo,
        [STATE_STARTTLS] = on_starttls, [STATE_HANDSHAKE] = on_unasked, [STATE_AUTH] = on_auth, [STATE_IDLE] = on_unasked,
        [STATE_MAIL] = on_mail,         [STATE_RCPT] = on_rcpt,   [STATE_DATA] = on_data,
        [STATE_BODY] = on_unasked,      [STATE_FINAL] = on_final, [STATE_DROPPED] = on_dropped,
        [STATE_RSET] = on_rset,         [STATE_QUIT] = on_quit,   [STATE_CLOSED] = on_unasked,
    };
    client->has_answer = true;
    /* T5. A refusal while octets of the body still go out ends the connection too: there is no way to stop in time. */
    if ((client->reply.code == 421 || client->state == STATE_BODY) && client->transaction) {
        settle_by_reply(client, kind_of(client->reply.code) == RESULT_FAILED ? RESULT_FAILED : RESULT_DEFERRED,
                        stage_name(client));
        refuse_connection(client);
        return;
    }
    if (client->reply.code == 421 && client->state != STATE_QUIT) {
        refuse_connection(client);
        return;
    }
    handlers[client->state](client);
}
