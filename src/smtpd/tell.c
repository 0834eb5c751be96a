/* What the listener has to say goes to the relay, which writes the log: gathered, and sent when the loop comes round. A relay
 * that doesn't read costs lines, never mail; how many is said when there is room again. */
#include "smtpd/smtpd_private.h"

#include "os/clock.h"
#include "outcome/told.h"
#include "smtp/path.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

static void send_told(struct smtpd *smtpd)
{
    if (smtpd->told.size > 1 && !link_send(smtpd->link, buf_slice(&smtpd->told)))
        smtpd->untold++;
    buf_clear(&smtpd->told);
}

static void put(struct smtpd *smtpd, const struct event *event)
{
    if (smtpd->told.size == 0)
        buf_append_byte(&smtpd->told, TOLD_MARK);
    told_put(&smtpd->told, event);
    if (smtpd->told.size > LINK_SIZE_MAX - TOLD_SIZE_MAX)
        send_told(smtpd);
    else
        event_active(smtpd->tell_soon, EV_TIMEOUT, 0);
}

void tell_flush(struct smtpd *smtpd)
{
    uint64_t before = smtpd->untold;
    send_told(smtpd);
    if (before == 0 || smtpd->untold > before)
        return;
    fprintf(stderr, "mailroot smtp: %llu packets of events found no room: the relay did not read\n", (unsigned long long)before);
    smtpd->untold = 0;
}

static struct event begin(const struct session *session, enum event_kind kind)
{
    const struct server_client *client = &session->server.client;
    struct event event = EVENT(kind);
    event.client = slice_of(client->address_text[0] ? client->address_text : session->peer.address_text);
    event.helo = client->helo[0] ? slice_of(client->helo) : SLICE_NONE;
    event.user = client->user[0] ? slice_of(client->user) : SLICE_NONE;
    return event;
}

void tell_full(struct smtpd *smtpd, const struct in6_addr *address)
{
    char text[48];
    struct event event = EVENT(EVENT_TURNED_AWAY);
    policy_address_text(address, text);
    event.client = slice_of(text);
    event.code = 421;
    event.reply = SLICE("421 4.3.2 too many connections");
    put(smtpd, &event);
}

void tell_turned_away(struct session *session, const char *reply)
{
    struct event event = begin(session, EVENT_TURNED_AWAY);
    event.code = atoi(reply);
    event.reply = slice_of(reply);
    put(session->smtpd, &event);
}

void tell_accepted(struct session *session)
{
    const struct server *server = &session->server;
    const struct submission *submission = server_submission(server);
    struct event event = begin(session, EVENT_ACCEPTED);
    event.pickup = slice_of(session->name);
    event.sender = submission->sender;
    if (submission->recipient_count == 1)
        event.recipient = submission->recipients[0].address;
    event.recipients = (int64_t)submission->recipient_count;
    event.size = (int64_t)server->content.size;
    event.tls = server->client.tls[0] ? slice_of(server->client.tls) : SLICE_NONE;
    put(session->smtpd, &event);
}

void tell_filtered(struct session *session, const char *filter, const char *note, const char *reason)
{
    const struct submission *submission = server_submission(&session->server);
    struct event event = begin(session, EVENT_FILTERED);
    event.stage = slice_of(filter);
    event.note = slice_of(note);
    event.reason = reason ? slice_of(reason) : SLICE_NONE;
    event.sender = submission->sender;
    if (submission->recipient_count == 1)
        event.recipient = submission->recipients[0].address;
    event.recipients = (int64_t)submission->recipient_count;
    put(session->smtpd, &event);
}

/* "domain", the address of TO:<…> or FROM:<…>; what is neither stays as it came. */
static struct slice about(struct slice argument)
{
    struct slice path, rest;
    bool is_path = smtp_path_read_bare(argument, SLICE("TO:"), &path, &rest) || smtp_path_read_bare(argument, SLICE("FROM:"), &path, &rest);
    return is_path ? path : argument;
}

static void put_denied(struct session *session, const struct server *server, const struct server_note *note, const char *stage)
{
    struct event event = begin(session, EVENT_DENIED);
    event.stage = slice_of(stage);
    event.code = note->code;
    event.reply = note->reply;
    if (strcmp(stage, "mail") == 0)
        event.sender = about(note->argument);
    else
        event.sender = server->transaction.submission.sender;
    if (strcmp(stage, "rcpt") == 0)
        event.recipient = about(note->argument);
    put(session->smtpd, &event);
}

static void put_event(struct session *session, const struct server *server, const struct server_note *note)
{
    static const struct { const char *word, *stage; } stages[] = {
        {"MAIL", "mail"}, {"RCPT", "rcpt"}, {"DATA", "data"}, {"BDAT", "data"}, {"", "session"}};
    if (strcmp(note->word, "AUTH") == 0) {
        struct event event = begin(session, note->code == 235 ? EVENT_AUTHENTICATED : EVENT_AUTH_FAILED);
        event.note = note->argument; /* the mechanism */
        event.code = note->code;
        event.reply = note->code == 235 ? SLICE_NONE : note->reply;
        put(session->smtpd, &event);
    } else if (strcmp(note->word, "ETRN") == 0) {
        struct event event = begin(session, EVENT_ETRN);
        event.recipient = note->argument;
        event.code = note->code;
        event.reply = note->reply;
        put(session->smtpd, &event);
    }
    for (size_t i = 0; note->code >= 400 && note->code != 421 && i < COUNT_OF(stages); i++)
        if (strcmp(note->word, stages[i].word) == 0)
            put_denied(session, server, note, stages[i].stage);
}

void tell_note(void *arg, const struct server *server, const struct server_note *note)
{
    struct session *session = arg;
    put_event(session, server, note);
    if (!session->smtpd->has_dialogs || note->word[0] == '\0')
        return;
    struct event event = begin(session, EVENT_COMMAND);
    event.note = slice_of(note->word);
    event.reason = note->argument;
    event.code = note->code;
    event.octets_in = (int64_t)note->octets_in;
    event.octets_out = (int64_t)note->octets_out;
    event.transaction_ms = clock_wall_ms() - note->since_ms;
    put(session->smtpd, &event);
}
