#include "smtpd/server_private.h"

#include "base/base64.h"
#include "base/ip.h"
#include "os/clock.h"
#include "smtp/path.h"

#include <stdio.h>

enum { AUTH_FAILURES_MAX = 3 };

/* RFC 3207 4.2, XCLIENT: as if the connection were new. */
static void forget_session(struct server *server)
{
    server_forget_message(server);
    server->phase = PHASE_NEW;
    server->is_esmtp = server->is_authenticated = false;
    server->client.helo[0] = server->client.user[0] = '\0';
    buf_clear(&server->line);
    server->has_cr = false;
}

static bool is_auth_offered(const struct server *server)
{
    const struct server_options *options = server->options;
    return options->mechanisms && (server->is_secured || (options->is_auth_in_clear && server->client.is_loopback));
}

static bool take_helo(struct server *server, struct slice name)
{
    if (name.size == 0 || name.size >= sizeof server->client.helo)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] <= 0x20 || (unsigned char)name.data[i] >= 0x7f || strchr("()<>\"\\;,", name.data[i]))
            return false;
    memcpy(server->client.helo, name.data, name.size);
    server->client.helo[name.size] = '\0';
    return true;
}

/* RFC 4865 3: the longest interval in seconds, and the latest time. For those who submit (or are about to). */
static void put_future_release(struct server *server)
{
    char latest[25];
    clock_rfc3339(server->now_ms + server->options->hold_ms, latest);
    buf_printf(&server->output, "250-FUTURERELEASE %lld %s\r\n", (long long)(server->options->hold_ms / 1000), latest);
}

void server_on_ehlo(struct server *server, struct slice argument)
{
    const struct server_options *options = server->options;
    if (!take_helo(server, slice_trim(argument))) {
        server_refuse(server, "501 5.5.4 EHLO and your host name were expected");
        return;
    }
    server_forget_message(server);
    server->phase = PHASE_READY;
    server->is_esmtp = true;
    buf_printf(&server->output,
               "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n250-DELIVERBY\r\n"
               "250-ENHANCEDSTATUSCODES\r\n",
               options->host, (unsigned long long)options->message_size);
    if (options->is_tls_offered && !server->is_secured)
        buf_append(&server->output, SLICE("250-STARTTLS\r\n"));
    if (is_auth_offered(server) && !server->is_authenticated)
        buf_printf(&server->output, "250-AUTH %s\r\n", options->mechanisms);
    if (server->is_secured)
        buf_append(&server->output, SLICE("250-REQUIRETLS\r\n"));
    if (options->hold_ms && (server->client.may_relay || server->is_authenticated || is_auth_offered(server)))
        put_future_release(server);
    if (options->is_etrn_offered)
        buf_append(&server->output, SLICE("250-ETRN\r\n"));
    if (server->client.may_xclient)
        buf_append(&server->output, SLICE("250-XCLIENT NAME ADDR HELO LOGIN\r\n"));
    buf_printf(&server->output, "250-LIMITS MAILMAX=%d RCPTMAX=%d\r\n", options->messages, options->recipients);
    server_reply(server, "250 HELP");
}

void server_on_helo(struct server *server, struct slice argument)
{
    if (!take_helo(server, slice_trim(argument))) {
        server_refuse(server, "501 5.5.4 HELO and your host name were expected");
        return;
    }
    server_forget_message(server);
    server->phase = PHASE_READY;
    server->is_esmtp = false;
    server_reply(server, "250 %s", server->options->host);
}

/* ---- STARTTLS ---- */

void server_on_starttls(struct server *server, struct slice argument)
{
    if (server->is_secured || !server->options->is_tls_offered) {
        server_refuse(server, server->is_secured ? "503 5.5.1 TLS is on already" : "502 5.5.1 STARTTLS is not offered");
    } else if (slice_trim(argument).size) {
        server_refuse(server, "501 5.5.4 STARTTLS takes nothing");
    } else {
        server_reply(server, "220 2.0.0 go on");
        server->want = SERVER_TLS;
    }
}

void server_secured(struct server *server, const char *tls)
{
    bool is_implicit = server->state == STATE_GREETING;
    CHECK(is_implicit || server->want == SERVER_TLS);
    forget_session(server);
    server->is_secured = true;
    (void)snprintf(server->client.tls, sizeof server->client.tls, "%s", tls);
    server->want = SERVER_READ;
}

/* ---- AUTH: RFC 4954 ---- */

static bool is_base64(struct slice text)
{
    struct buf octets = {0};
    bool is_fine = base64_decode(text, &octets);
    if (octets.size)
        explicit_bzero(octets.data, octets.size); /* it may be a password */
    buf_finish(&octets);
    return is_fine;
}

static void auth_malformed(struct server *server, const char *reply)
{
    server->state = STATE_COMMAND;
    if (++server->auth_failures >= AUTH_FAILURES_MAX)
        server_break(server, "421 4.7.0 too many failed tries");
    else
        server_refuse(server, "%s", reply);
}

static void auth_step(struct server *server, struct slice response)
{
    if (!slice_is_absent(response) && !is_base64(response)) {
        auth_malformed(server, "501 5.5.2 that is not base64");
        return;
    }
    server->auth.response = response;
    server->want = SERVER_AUTH;
}

/* Whether a blank-parted list holds the word. */
static bool list_has(const char *list, struct slice word)
{
    struct slice rest = slice_of(list);
    while (rest.size)
        if (slice_equals_nocase(slice_cut(&rest, ' '), word))
            return true;
    return false;
}

void server_on_auth(struct server *server, struct slice argument)
{
    struct slice rest = slice_trim(argument);
    struct slice mechanism = slice_cut(&rest, ' ');
    if (server->is_authenticated || !server->is_esmtp) {
        server_refuse(server, server->is_authenticated ? "503 5.5.1 you have done that" : "503 5.5.1 EHLO first");
    } else if (!server->options->mechanisms) {
        server_refuse(server, "502 5.5.1 AUTH is not offered");
    } else if (!is_auth_offered(server)) {
        server_refuse(server, "538 5.7.11 STARTTLS first");
    } else if (mechanism.size == 0) {
        server_refuse(server, "501 5.5.4 a mechanism was expected");
    } else if (!list_has(server->options->mechanisms, mechanism)) {
        server_refuse(server, "504 5.5.4 this mechanism is not offered");
    } else {
        buf_clear(&server->auth_text);
        buf_append(&server->auth_text, mechanism);
        server->auth.mechanism = buf_slice(&server->auth_text);
        auth_step(server, rest.size == 0 ? SLICE_NONE : slice_equals(rest, SLICE("=")) ? SLICE("") : rest);
    }
}

void server_on_auth_line(struct server *server, struct slice line)
{
    server->state = STATE_COMMAND;
    if (slice_equals(line, SLICE("*")))
        auth_malformed(server, "501 5.7.0 given up");
    else
        auth_step(server, line);
}

void server_auth(struct server *server, enum server_verdict verdict, struct slice text)
{
    CHECK(server->want == SERVER_AUTH);
    server->want = SERVER_READ;
    buf_clear(&server->line);
    switch (verdict) {
    case AUTH_CHALLENGE:
        server_reply(server, "334 %.*s", SLICE_FMT(text));
        server->state = STATE_AUTH;
        break;
    case AUTH_PASSED:
        (void)snprintf(server->client.user, sizeof server->client.user, "%.*s", SLICE_FMT(text));
        server->is_authenticated = true;
        server_reply(server, "235 2.7.0 welcome");
        break;
    case AUTH_REFUSED:
        auth_malformed(server, "535 5.7.8 user name or password is wrong");
        break;
    case AUTH_BUSY:
        server_refuse(server, "454 4.7.0 not now: too many tries, or no answer");
        break;
    case AUTH_MALFORMED:
        auth_malformed(server, "501 5.5.2 that is not what the mechanism says");
        break;
    }
}

/* ---- XCLIENT: from a trusted relay or proxy in front ---- */

static bool xclient_address(struct server *server, struct slice value)
{
    struct slice address = slice_starts_nocase(value, SLICE("IPV6:")) ? slice_from(value, 5) : value;
    if (!ip_parse(address, &server->client.address))
        return false;
    (void)snprintf(server->client.address_text, sizeof server->client.address_text, "%s%.*s",
                   slice_find_byte(address, ':') >= 0 ? "IPv6:" : "", SLICE_FMT(address));
    server->client.is_loopback = false;
    return true;
}

static bool xclient_attribute(struct server *server, struct slice name, struct slice value)
{
    bool is_unknown = slice_equals_nocase(value, SLICE("[UNAVAILABLE]")) || slice_equals_nocase(value, SLICE("[TEMPUNAVAIL]"));
    struct slice text = is_unknown ? SLICE("") : value;
    if (!smtp_is_xtext(value) || slice_find_byte(value, '+') >= 0 || strcspn(arena_text(&server->transaction.arena, value), "()<>\\\"")
                                                                     != value.size)
        return false;
    if (slice_equals_nocase(name, SLICE("ADDR")))
        return is_unknown || xclient_address(server, value);
    if (slice_equals_nocase(name, SLICE("NAME")))
        (void)snprintf(server->client.name, sizeof server->client.name, "%.*s", SLICE_FMT(text));
    else if (slice_equals_nocase(name, SLICE("HELO")))
        return is_unknown || take_helo(server, text);
    else if (slice_equals_nocase(name, SLICE("LOGIN"))) {
        (void)snprintf(server->client.user, sizeof server->client.user, "%.*s", SLICE_FMT(text));
        server->is_authenticated = text.size > 0;
    } else
        return false;
    return true;
}

void server_on_xclient(struct server *server, struct slice argument)
{
    struct slice name, value;
    if (!server->client.may_xclient) {
        server_refuse(server, "550 5.7.0 not from you");
        return;
    }
    forget_session(server);
    while (smtp_parameter_next(&argument, &name, &value)) {
        if (slice_is_absent(value) || !xclient_attribute(server, name, value)) {
            server_refuse(server, "501 5.5.4 an attribute can't be read");
            return;
        }
    }
    server->client.may_relay = policy_has(&server->options->policy->relay, &server->client.address);
    server->client.may_xclient = policy_has(&server->options->policy->xclient, &server->client.address);
    server->client.may_bare_lf = policy_has(&server->options->policy->bare_lf, &server->client.address);
    if (policy_admits(server->options->policy, &server->client.address))
        server_reply(server, "220 %s ESMTP mailroot", server->options->host);
    else
        server_break(server, "554 5.7.1 not from your address");
}
