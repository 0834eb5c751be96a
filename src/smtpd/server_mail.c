#include "smtpd/server_private.h"

#include "message/content.h"
#include "message/envelope.h"
#include "os/clock.h"
#include "smtp/path.h"

#include <stdio.h>

enum { PATH_SIZE_MAX = 254 };

/* A parameter's answer; NULL is fine. */
typedef const char *parameter_fn(struct server *server, struct slice value);

struct parameter { struct slice name; parameter_fn *fn; };

static struct slice keep(struct server *server, struct slice text)
{
    return arena_copy(&server->transaction.arena, text);
}

static const char bad_value[] = "501 5.5.4 a parameter's value can't be read";

static const char *on_size(struct server *server, struct slice value)
{
    uint64_t octets;
    if (!slice_to_u64(value, &octets))
        return value.size && value.size < 30 && strspn(arena_text(&server->transaction.arena, value), "0123456789") == value.size
                   ? "552 5.3.4 too large" : bad_value;
    return octets > server->options->message_size ? "552 5.3.4 too large" : NULL;
}

static const char *on_body(struct server *server, struct slice value)
{
    server->transaction.submission.is_8bit = slice_equals_nocase(value, SLICE("8BITMIME"));
    return server->transaction.submission.is_8bit || slice_equals_nocase(value, SLICE("7BIT"))
               ? NULL : "501 5.5.4 BODY=7BIT or BODY=8BITMIME were expected";
}

static const char *on_smtputf8(struct server *server, struct slice value)
{
    server->transaction.submission.is_smtputf8 = true;
    return slice_is_absent(value) ? NULL : bad_value;
}

static const char *on_ret(struct server *server, struct slice value)
{
    server->transaction.submission.ret = keep(server, value);
    return slice_equals_nocase(value, SLICE("FULL")) || slice_equals_nocase(value, SLICE("HDRS")) ? NULL : bad_value;
}

static const char *on_envid(struct server *server, struct slice value)
{
    server->transaction.submission.envid = keep(server, value);
    return value.size <= 100 && smtp_is_xtext(value) ? NULL : bad_value; /* RFC 3461 4.4 */
}

/* RFC 4954 5: kept only from those who may vouch for it. */
static const char *on_auth(struct server *server, struct slice value)
{
    bool is_known = value.size <= 500 && (slice_equals(value, SLICE("<>")) || smtp_is_xtext(value));
    if (is_known && (server->client.may_relay || server->is_authenticated))
        server->transaction.submission.auth = keep(server, value);
    return is_known ? NULL : bad_value;
}

/* RFC 8689 2: only where TLS is on; the envelope carries it to the next hops. */
static const char *on_requiretls(struct server *server, struct slice value)
{
    server->transaction.submission.is_requiretls = true;
    return !slice_is_absent(value) ? bad_value : server->is_secured ? NULL : "555 5.5.4 REQUIRETLS goes with TLS";
}

/* RFC 4865 4: for submission, so only from those who may. The file says the time itself: it may lie in Pickup for a while. */
static const char *hold(struct server *server, int64_t until_ms)
{
    char text[25];
    if (!server->options->hold_ms)
        return "555 5.5.4 FUTURERELEASE is not offered";
    if (!server->client.may_relay && !server->is_authenticated)
        return "530 5.7.0 FUTURERELEASE is for those who submit: AUTH first";
    if (!slice_is_absent(server->transaction.submission.deliver_at))
        return "501 5.5.4 HOLDFOR or HOLDUNTIL, once";
    if (until_ms < server->now_ms || until_ms > server->now_ms + server->options->hold_ms)
        return "501 5.5.4 held that long is nothing here, or it is in the past";
    clock_rfc3339(until_ms, text);
    server->transaction.submission.deliver_at = keep(server, slice_of(text));
    return NULL;
}

static const char *on_holdfor(struct server *server, struct slice value)
{
    uint64_t seconds;
    if (value.size > 9 || !slice_to_u64(value, &seconds))
        return bad_value;
    return hold(server, server->now_ms + (int64_t)seconds * 1000);
}

static const char *on_holduntil(struct server *server, struct slice value)
{
    int64_t until_ms;
    return slice_is_absent(value) || !envelope_time_parse(value, &until_ms) ? bad_value : hold(server, until_ms);
}

/* RFC 2852 4: by-time;by-mode[by-trace]. From here on it is a moment, so that no stay anywhere is forgotten. */
static const char *on_by(struct server *server, struct slice value)
{
    struct slice mode = value;
    struct slice digits = slice_cut(&mode, ';');
    bool is_negative = slice_starts(digits, SLICE("-")), is_signed = is_negative || slice_starts(digits, SLICE("+"));
    char time[25];
    uint64_t seconds;
    digits = slice_from(digits, is_signed);
    bool is_return = mode.size && (mode.data[0] | 0x20) == 'r', is_notice = mode.size && (mode.data[0] | 0x20) == 'n';
    bool is_mode = (is_return || is_notice) && (mode.size == 1 || (mode.size == 2 && (mode.data[1] | 0x20) == 't'));
    if (!is_mode || digits.size > 9 || !slice_to_u64(digits, &seconds) || (is_return && (is_negative || seconds == 0)))
        return bad_value;
    clock_rfc3339(server->now_ms + (is_negative ? -1 : 1) * (int64_t)seconds * 1000, time);
    server->transaction.submission.deliver_by = arena_printf(&server->transaction.arena, "%s;%.*s", time, SLICE_FMT(mode));
    return NULL;
}

static struct submission_recipient *recipient(struct server *server)
{
    return &server->transaction.recipients[server->transaction.submission.recipient_count];
}

static const char *on_notify(struct server *server, struct slice value)
{
    unsigned notify;
    recipient(server)->notify = keep(server, value);
    return envelope_notify_parse(value, &notify) ? NULL : bad_value;
}

static const char *on_orcpt(struct server *server, struct slice value)
{
    struct slice rest = value;
    struct slice type = slice_cut(&rest, ';');
    recipient(server)->orcpt = keep(server, value);
    bool is_utf8 = slice_equals_nocase(type, SLICE("utf-8")); /* RFC 6533 3 */
    return value.size <= 500 && smtp_is_xtext(type) && (smtp_is_xtext(rest) || (is_utf8 && !slice_has_8bit(rest) && rest.size))
               ? NULL : bad_value;
}

static const struct parameter mail_parameters[] = {
    {{"SIZE", 4}, on_size}, {{"BODY", 4}, on_body},   {{"SMTPUTF8", 8}, on_smtputf8},
    {{"RET", 3}, on_ret},   {{"ENVID", 5}, on_envid}, {{"AUTH", 4}, on_auth},
    {{"REQUIRETLS", 10}, on_requiretls}, {{"HOLDFOR", 7}, on_holdfor}, {{"HOLDUNTIL", 9}, on_holduntil},
    {{"BY", 2}, on_by},
};
static const struct parameter rcpt_parameters[] = {{{"NOTIFY", 6}, on_notify}, {{"ORCPT", 5}, on_orcpt}};

static const char *read_parameters(struct server *server, struct slice rest, const struct parameter *known, size_t count)
{
    unsigned seen = 0;
    struct slice name, value;
    while (smtp_parameter_next(&rest, &name, &value)) {
        size_t i = 0;
        while (i < count && !slice_equals_nocase(name, known[i].name))
            i++;
        if (i == count || !server->is_esmtp)
            return "555 5.5.4 a parameter that was not offered";
        if (seen & 1u << i)
            return "501 5.5.4 a parameter given twice";
        seen |= 1u << i;
        const char *fault = known[i].fn(server, value);
        if (fault)
            return fault;
    }
    return NULL;
}

/* A path as an address; NULL, or the answer. The parsed form alone counts from here on (D8). */
static const char *read_path(struct server *server, struct slice path, struct address *ret_address)
{
    struct error reason;
    bool is_utf8 = server->transaction.submission.is_smtputf8;
    if (path.size > PATH_SIZE_MAX)
        return "501 5.1.3 address too long";
    if (slice_has_8bit(path) && !is_utf8)
        return "553 5.6.7 an address like that needs SMTPUTF8";
    if (path.size && path.data[0] == '@')
        return "553 5.1.3 no source routes";
    if (!address_parse(&server->transaction.arena, path, ret_address, &reason))
        return "501 5.1.3 that is no address";
    if (ret_address->domain.size == 0) {
        bool is_postmaster = slice_equals_nocase(ret_address->text, SLICE("postmaster")); /* RFC 5321 4.5.1 */
        if (!server->options->is_local && !is_postmaster)
            return "501 5.1.3 a domain was expected";
        address_qualify(&server->transaction.arena, server->options->default_domain, ret_address);
    }
    return NULL;
}

static const char *why_not_yet(const struct server *server)
{
    const struct server_options *options = server->options;
    if (options->is_tls_demanded && !server->is_secured)
        return "530 5.7.0 STARTTLS first";
    if (options->is_auth_demanded && !server->is_authenticated)
        return "530 5.7.0 AUTH first";
    return NULL;
}

void server_on_mail(struct server *server, struct slice argument)
{
    struct slice path, rest;
    struct address address = {.text = SLICE("")};
    const char *fault = why_not_yet(server);
    if (fault) {
        server_refuse(server, "%s", fault);
        return;
    }
    if (server->is_held_off) {
        server_refuse(server, "450 4.7.0 too many messages a minute");
        return;
    }
    if (server->message_count >= server->options->messages) {
        server_break(server, "421 4.7.0 enough messages for one connection");
        return;
    }
    if (!smtp_path_read_bare(argument, SLICE("FROM:"), &path, &rest)) {
        server_refuse(server, "501 5.5.4 MAIL FROM:<address> was expected");
        return;
    }
    fault = read_parameters(server, rest, mail_parameters, COUNT_OF(mail_parameters));
    bool is_null = path.size == 0 || slice_equals(path, SLICE("<>"));
    if (!fault && !is_null)
        fault = read_path(server, path, &address);
    if (fault) {
        server_forget_message(server);
        server_refuse(server, "%s", fault);
        return;
    }
    server->transaction.submission.sender = address.text;
    server->phase = PHASE_MAIL;
    server_reply(server, "250 2.1.0 ok");
}

static const char *why_not_to(const struct server *server, const struct address *address)
{
    if (server->client.may_relay || server->is_authenticated)
        return NULL;
    return policy_is_ours(server->options->policy, address) ? NULL : "550 5.7.1 no relaying to there for you";
}

static void make_room(struct server_transaction *transaction)
{
    size_t count = transaction->submission.recipient_count;
    if (count < transaction->capacity)
        return;
    transaction->capacity = count ? count * 2 : 4;
    transaction->recipients = arena_grow(&transaction->arena, transaction->recipients, count, transaction->capacity,
                                         sizeof *transaction->recipients);
}

void server_on_rcpt(struct server *server, struct slice argument)
{
    struct server_transaction *transaction = &server->transaction;
    struct slice path, rest;
    struct address address;
    if (!smtp_path_read_bare(argument, SLICE("TO:"), &path, &rest) || path.size == 0) {
        server_refuse(server, "501 5.5.4 RCPT TO:<address> was expected");
        return;
    }
    if (transaction->submission.recipient_count >= (size_t)server->options->recipients) {
        server_refuse(server, "452 4.5.3 enough recipients: send to the others in a message of their own");
        return;
    }
    make_room(transaction);
    *recipient(server) = (struct submission_recipient){.address = SLICE_NONE};
    const char *fault = read_path(server, path, &address);
    if (!fault)
        fault = read_parameters(server, rest, rcpt_parameters, COUNT_OF(rcpt_parameters));
    if (!fault)
        fault = why_not_to(server, &address);
    if (fault) {
        server_refuse(server, "%s", fault);
        return;
    }
    recipient(server)->address = address.text;
    transaction->submission.recipient_count++;
    server->phase = PHASE_RCPT;
    server_reply(server, "250 2.1.5 ok");
}

/* RFC 3848, 6531 4.3: how it came, as the word behind "with". */
static void with_token(const struct server *server, char ret_token[12])
{
    const char *base = server->transaction.submission.is_smtputf8 ? "UTF8SMTP" : server->is_esmtp ? "ESMTP" : "SMTP";
    bool has_suffix = server->is_esmtp;
    (void)snprintf(ret_token, 12, "%s%s%s", base, has_suffix && server->is_secured ? "S" : "",
                   has_suffix && server->is_authenticated ? "A" : "");
}

void server_complete_submission(struct server *server)
{
    struct submission *submission = &server->transaction.submission;
    struct arena *arena = &server->transaction.arena;
    const struct server_client *client = &server->client;
    char token[12];
    submission->recipients = server->transaction.recipients;
    submission->is_block_ended = true;
    if (server->options->is_local)
        return;
    submission->origin = client->may_relay || server->is_authenticated ? SUBMISSION_ACCEPTED : SUBMISSION_RELAYED;
    with_token(server, token);
    struct slice date = content_date(arena, server->now_ms, server->zone_s);
    struct slice to = submission->recipient_count == 1 && submission->recipients[0].address.size < 200
                          ? arena_printf(arena, "\r\n\tfor <%.*s>", SLICE_FMT(submission->recipients[0].address))
                          : SLICE(""); /* of more, one would learn of the others */
    submission->trace = arena_printf(arena, "Received: from %s (%s%s[%s])\r\n\t%s%s%sby %s (mailroot) with %s%.*s;\r\n\t%.*s\r\n",
                                     client->helo[0] ? client->helo : "unknown", client->name, client->name[0] ? " " : "",
                                     client->address_text, client->tls[0] ? "(" : "", client->tls,
                                     client->tls[0] ? ")\r\n\t" : "", server->options->host, token, SLICE_FMT(to),
                                     SLICE_FMT(date));
}
