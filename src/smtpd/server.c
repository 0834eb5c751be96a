#include "smtpd/server_private.h"

#include <stdarg.h>
#include <stdio.h>

enum { PATIENCE = 3 };

/* ---- replies ---- */

/* Tells the log of a last line that begins at `start`. 3xx asks for more: its command is not answered yet. */
static void note(const struct server *server, size_t start)
{
    struct slice line = slice_from(buf_slice(&server->output), start);
    if (!server->note || line.data[0] == '3')
        return;
    const struct server_note note = {
        .word = server->command.word ? server->command.word : "", .argument = buf_slice(&server->command.argument),
        .code = (line.data[0] - '0') * 100 + (line.data[1] - '0') * 10 + line.data[2] - '0', .reply = slice_trim(line),
        .octets_in = server->command.octets, .octets_out = line.size, .since_ms = server->command.since_ms,
    };
    server->note(server->note_arg, server, &note);
}

static void reply(struct server *server, const char *format, va_list args)
{
    size_t start = server->output.size;
    buf_vprintf(&server->output, format, args);
    buf_append(&server->output, SLICE("\r\n"));
    note(server, start);
}

void server_reply(struct server *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    reply(server, format, args);
    va_end(args);
}

void server_break(struct server *server, const char *reply)
{
    server_reply(server, "%s", reply);
    server->want = SERVER_CLOSE;
}

void server_refuse(struct server *server, const char *format, ...)
{
    va_list args;
    server->error_count++;
    if (server->error_count >= server->options->errors) {
        server_break(server, "421 4.7.0 too many errors");
        return;
    }
    va_start(args, format);
    reply(server, format, args);
    va_end(args);
    if (server->error_count > PATIENCE && server->options->tarpit_ms > 0) {
        server->want_next = server->want;
        server->want = SERVER_PAUSE;
        server->pause_ms = server->options->tarpit_ms;
    }
}

void server_resume(struct server *server)
{
    CHECK(server->want == SERVER_PAUSE);
    server->want = server->want_next;
}

void server_end(struct server *server, const char *reply)
{
    if (server->want != SERVER_CLOSE)
        server_break(server, reply);
}

void server_greet(struct server *server, const char *refusal)
{
    CHECK(server->state == STATE_GREETING);
    server->state = STATE_COMMAND;
    if (refusal)
        server_break(server, refusal);
    else
        server_reply(server, "220 %s ESMTP mailroot", server->options->host);
}

/* ---- session ---- */

void server_init(struct server *server, const struct server_options *options, const struct server_client *client)
{
    *server = (struct server){.options = options, .client = *client, .state = STATE_GREETING,
                              .phase = options->is_local ? PHASE_READY : PHASE_NEW, .is_esmtp = options->is_local};
}

void server_finish(struct server *server)
{
    arena_finish(&server->transaction.arena);
    buf_finish(&server->content.bytes);
    buf_finish(&server->output);
    buf_finish(&server->line);
    buf_finish(&server->auth_text);
    buf_finish(&server->command.argument);
}

void server_forget_message(struct server *server)
{
    struct buf bytes = server->content.bytes;
    arena_reset(&server->transaction.arena);
    server->transaction = (struct server_transaction){.arena = server->transaction.arena};
    buf_clear(&bytes);
    server->content = (struct server_content){.bytes = bytes};
    if (server->phase > PHASE_READY)
        server->phase = PHASE_READY;
}

static void on_rset(struct server *server, struct slice argument)
{
    if (slice_trim(argument).size)
        server_refuse(server, "501 5.5.4 RSET takes nothing");
    else {
        server_forget_message(server);
        server_reply(server, "250 2.0.0 forgotten");
    }
}

static void on_noop(struct server *server, struct slice argument)
{
    (void)argument; /* RFC 5321 4.1.1.9: ignored */
    server_reply(server, "250 2.0.0 ok");
}

static void on_vrfy(struct server *server, struct slice argument)
{
    if (slice_trim(argument).size)
        server_reply(server, "252 2.5.2 not told here: send, and an answer will come"); /* RFC 5321 3.5.3 */
    else
        server_refuse(server, "501 5.5.4 an address was expected");
}

static void on_expn(struct server *server, struct slice argument)
{
    (void)argument; /* for any list */
    server_refuse(server, "502 5.5.1 EXPN is not offered");
}

/* ---- ETRN: RFC 1985 ---- */

/* "domain", "@domain", "#queue" as the config has them; false if it is none of these. */
static bool read_node(struct server *server, struct slice text)
{
    struct arena *arena = &server->transaction.arena;
    struct slice domain = text;
    struct error error;
    bool is_wide = slice_starts(text, SLICE("@"));
    if (slice_starts(text, SLICE("#"))) {
        server->etrn_node = arena_copy(arena, text);
        return text.size > 1 && slice_find_byte(text, ' ') < 0 && !slice_has_8bit(text);
    }
    if (!address_domain(arena, slice_from(domain, is_wide), &domain, &error) || domain.data[0] == '[')
        return false;
    server->etrn_node = arena_printf(arena, "%s%.*s", is_wide ? "@" : "", SLICE_FMT(domain));
    return true;
}

static void on_etrn(struct server *server, struct slice argument)
{
    const struct server_client *client = &server->client;
    if (!server->options->is_etrn_offered) {
        server_refuse(server, "502 5.5.1 ETRN is not offered");
        return;
    }
    if (!read_node(server, slice_trim(argument))) {
        server_refuse(server, "501 5.5.4 ETRN domain, @domain or #queue was expected");
        return;
    }
    if (server->message_count++ >= server->options->messages) { /* each costs as much as a message */
        server_break(server, "421 4.7.0 enough for one connection");
        return;
    }
    switch (policy_etrn(server->options->policy, &client->address, client->user, client->may_relay, server->etrn_node)) {
    case ETRN_ALLOWED:
        server->want = SERVER_ASK;
        break;
    case ETRN_UNKNOWN:
        server_refuse(server, "458 4.3.0 nothing is kept here for that node"); /* printable, but not ours to repeat */
        break;
    case ETRN_DENIED:
        server_refuse(server, "459 4.7.1 that node is not for you to ask for");
        break;
    }
}

void server_asked(struct server *server, enum server_asked how, uint64_t count)
{
    CHECK(server->want == SERVER_ASK);
    struct slice node = server->etrn_node; /* parsed: D9 */
    server->want = SERVER_READ;
    if (how == ASKED_FAILED)
        server_reply(server, "458 4.3.0 the mail for node %.*s can't be started now", SLICE_FMT(node));
    else if (how == ASKED_LATE)
        server_reply(server, "250 2.0.0 queuing for node %.*s started", SLICE_FMT(node));
    else if (count == 0)
        server_reply(server, "251 2.0.0 no messages waiting for node %.*s", SLICE_FMT(node));
    else
        server_reply(server, "253 2.0.0 %llu pending messages for node %.*s started", (unsigned long long)count, SLICE_FMT(node));
    server_forget_message(server);
}

static void on_help(struct server *server, struct slice argument)
{
    (void)argument; /* on any subject */
    server_reply(server, "214 2.0.0 EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY ETRN STARTTLS AUTH QUIT: RFC 5321");
}

static void on_quit(struct server *server, struct slice argument)
{
    if (slice_trim(argument).size)
        server_refuse(server, "501 5.5.4 QUIT takes nothing");
    else
        server_break(server, "221 2.0.0 bye");
}

/* ---- the table of commands ---- */

enum { LAST_OF_GROUP = 1, ESMTP_ONLY = 2 }; /* flags */

static const struct row {
    struct slice word;
    void (*fn)(struct server *server, struct slice argument);
    unsigned phases; /* where it may come; elsewhere 503 and `otherwise` */
    unsigned flags;
    const char *otherwise;
} rows[] = {
    {{"RCPT", 4}, server_on_rcpt, PHASE_MAIL | PHASE_RCPT, 0, "MAIL first"},
    {{"MAIL", 4}, server_on_mail, PHASE_READY, 0, "EHLO first, and one MAIL at a time"},
    {{"DATA", 4}, server_on_data, PHASE_RCPT, LAST_OF_GROUP, "MAIL and a RCPT that is taken first"},
    {{"BDAT", 4}, server_on_bdat, PHASE_ANY, 0, NULL}, /* looks itself: its octets must be read in any case */
    {{"EHLO", 4}, server_on_ehlo, PHASE_ANY, LAST_OF_GROUP, NULL},
    {{"HELO", 4}, server_on_helo, PHASE_ANY, LAST_OF_GROUP, NULL},
    {{"RSET", 4}, on_rset, PHASE_ANY, 0, NULL},
    {{"NOOP", 4}, on_noop, PHASE_ANY, 0, NULL},
    {{"VRFY", 4}, on_vrfy, PHASE_ANY, 0, NULL},
    {{"EXPN", 4}, on_expn, PHASE_ANY, 0, NULL},
    {{"HELP", 4}, on_help, PHASE_ANY, 0, NULL},
    {{"ETRN", 4}, on_etrn, PHASE_READY, 0, "EHLO first"},
    {{"QUIT", 4}, on_quit, PHASE_ANY, 0, NULL},
    {{"STARTTLS", 8}, server_on_starttls, PHASE_READY, LAST_OF_GROUP, "EHLO first, and no message under way"},
    {{"AUTH", 4}, server_on_auth, PHASE_READY, 0, "EHLO first, and no message under way"},
    {{"XCLIENT", 7}, server_on_xclient, PHASE_NEW | PHASE_READY, LAST_OF_GROUP, "no message under way"},
};

/* Browsers and their like are talked into speaking to port 25 (RELIABILITY S10). */
static bool is_foreign_protocol(struct slice word)
{
    static const char *const words[] = {"GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH", "TRACE",
                                        "PRI", "REGISTER", "INVITE"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (slice_equals_nocase(word, slice_of(words[i])))
            return true;
    return false;
}

/* What the log is told with the answer. No secret is in it: what AUTH brings, and a line that is no command, isn't kept. */
static void begin_command(struct server *server, const struct row *row, struct slice argument)
{
    if (!server->note)
        return;
    server->command.word = row->word.data;
    server->command.octets = server->line.size;
    server->command.since_ms = server->now_ms;
    buf_clear(&server->command.argument);
    buf_append(&server->command.argument, row->fn == server_on_auth ? slice_cut(&argument, ' ') : argument);
}

/* `more`: octets that came with the line, behind it. */
static void on_command(struct server *server, struct slice line, size_t more)
{
    struct slice rest = line;
    struct slice word = slice_cut(&rest, ' ');
    if (is_foreign_protocol(word)) {
        server_break(server, "521 5.7.0 this is SMTP");
        return;
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (!slice_equals_nocase(word, rows[i].word))
            continue;
        begin_command(server, &rows[i], slice_trim(rest));
        bool is_rude = (rows[i].flags & LAST_OF_GROUP) && more && !server->options->is_local;
        if (is_rude || (more && rows[i].fn == server_on_starttls))
            server_break(server, "554 5.5.0 you did not wait for the answer");
        else if (rows[i].phases & server->phase)
            rows[i].fn(server, rest);
        else
            server_refuse(server, "503 5.5.1 %s", rows[i].otherwise);
        return;
    }
    server_refuse(server, "500 5.5.2 no such command");
}

/* ---- lines ---- */

/* What a line must not hold; octets over 127 are looked at by those who take them. NULL if it is fine. */
static const char *line_fault(struct slice line)
{
    for (size_t i = 0; i < line.size; i++)
        if ((unsigned char)line.data[i] < 0x20 || line.data[i] == 0x7f)
            return "500 5.5.2 a control octet";
    return NULL;
}

static void on_line(struct server *server, size_t more)
{
    struct slice line = slice_first(buf_slice(&server->line), server->line.size - 2);
    const char *fault = line_fault(line);
    if (fault)
        server_break(server, fault);
    else if (server->state == STATE_AUTH)
        server_on_auth_line(server, line);
    else
        on_command(server, line, more);
    if (server->want != SERVER_AUTH) /* its response lies in the line */
        buf_clear(&server->line);
}

/* Whether a first octet can begin a command: a TLS hello and other protocols are told at once. */
static bool is_line_begin(const struct server *server, char c)
{
    bool is_letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    return is_letter || c == '\r' || c == '\n' || server->state == STATE_AUTH;
}

static bool is_auth_line(const struct server *server)
{
    return server->state == STATE_AUTH
           || (server->line.size >= 5 && slice_starts_nocase(buf_slice(&server->line), SLICE("AUTH ")));
}

static size_t feed_line(struct server *server, struct slice bytes)
{
    if (server->line.size == 0 && server->state == STATE_COMMAND) {
        server->command.word = NULL;
        server->command.octets = 0;
        buf_clear(&server->command.argument);
        server->command.since_ms = server->now_ms;
    }
    if (server->line.size == 0 && !is_line_begin(server, bytes.data[0])) {
        server_break(server, "521 5.5.2 this is SMTP");
        return bytes.size;
    }
    for (size_t i = 0; i < bytes.size; i++) {
        char c = bytes.data[i];
        if (c == '\n' && !server->has_cr && server->client.may_bare_lf) { /* D10 */
            buf_append_byte(&server->line, '\r');
            server->has_cr = true;
        }
        if (server->has_cr != (c == '\n')) { /* D2: a CR that no LF follows, a LF that no CR precedes */
            server_break(server, server->has_cr ? "500 5.5.2 a bare CR" : "500 5.5.2 a bare LF");
            return bytes.size;
        }
        server->has_cr = c == '\r';
        buf_append_byte(&server->line, c);
        if (c == '\n') {
            on_line(server, bytes.size - i - 1);
            return i + 1;
        }
        if (server->line.size > (is_auth_line(server) ? SERVER_AUTH_SIZE_MAX : SERVER_LINE_SIZE_MAX)) {
            server_break(server, "500 5.5.2 line too long");
            return bytes.size;
        }
    }
    return bytes.size;
}

enum server_want server_feed(struct server *server, struct slice bytes, int64_t now_ms, int zone_s, size_t *ret_consumed)
{
    size_t used = 0;
    server->now_ms = now_ms;
    server->zone_s = zone_s;
    if (server->state == STATE_GREETING && bytes.size) {
        server->state = STATE_COMMAND;
        server_break(server, "554 5.5.0 you spoke before the greeting");
    }
    while (used < bytes.size && server->want == SERVER_READ) {
        struct slice rest = slice_from(bytes, used);
        size_t took = server->state == STATE_DATA    ? server_feed_data(server, rest)
                      : server->state == STATE_CHUNK ? server_feed_chunk(server, rest)
                                                     : feed_line(server, rest);
        used += took;
        server->session_size += took;
        if (server->options->session_size && server->session_size > server->options->session_size
            && server->want == SERVER_READ)
            server_break(server, "421 4.7.0 enough for one connection");
    }
    *ret_consumed = used;
    return server->want;
}
