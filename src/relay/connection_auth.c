/* AUTH on a connection: what the client machine asks, answered by the route's login through SASL. */
#include "base/mem.h"
#include "os/clock.h"
#include "relay/connection_private.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static int port_of(const struct connection *c)
{
    const char *colon = strrchr(c->address, ':');
    uint64_t port = 0;
    return colon && slice_to_u64(slice_of(colon + 1), &port) ? (int)port : 0;
}

static void give_up(struct connection *c, const char *problem)
{
    (void)snprintf(c->auth_problem, sizeof c->auth_problem, "%s", problem);
    smtp_client_auth_cancel(c->client, c->auth_problem, clock_mono_ms());
}

static void remember(struct connection *c, struct slice response)
{
    buf_append(&c->auth_said, response);
    buf_append_byte(&c->auth_said, '\n');
}

static void finish(struct buf *response)
{
    if (response->data)
        explicit_bzero(response->data, response->capacity);
    buf_finish(response);
}

static void begin(struct connection *c)
{
    struct sasl_identity identity = login_identity(c->login, c->host->name, port_of(c));
    struct slice offered = smtp_client_mechanisms(c->client);
    struct buf first = {0};
    struct error error;
    bool has_first;
    c->token_number = login_token_number(c->login);
    const char *mechanism = sasl_choose(offered, &c->site->rule->auth_mechanisms, &identity);
    login_note_offer(c->login, c->host->name, offered, mechanism);
    if (!mechanism) {
        (void)error_set(&error, "the server offers AUTH %.*s: nothing that this route may use", (int)(offered.size > 200 ? 200 : offered.size),
                        offered.data);
        give_up(c, error.text);
        return;
    }
    c->mechanism = mechanism;
    c->sasl = sasl_begin(mechanism, &identity, &first, &has_first, &error);
    if (c->sasl) {
        remember(c, buf_slice(&first));
        smtp_client_auth_begin(c->client, mechanism, has_first ? buf_slice(&first) : SLICE_NONE, clock_mono_ms());
    } else {
        give_up(c, error.text);
    }
    finish(&first);
}

static void respond(struct connection *c)
{
    struct buf response = {0};
    struct error error;
    if (sasl_step(c->sasl, smtp_client_challenge(c->client), &response, &error)) {
        remember(c, buf_slice(&response));
        smtp_client_auth_respond(c->client, buf_slice(&response), clock_mono_ms());
    } else {
        give_up(c, error.text);
    }
    finish(&response);
}

static void conclude(struct connection *c)
{
    if (!sasl_is_proved(c->sasl)) {
        give_up(c, "the server says that we are in, and did not prove that it knows the password");
        return;
    }
    login_passed(c->login, c->host->name, c->mechanism);
    connection_auth_end(c);
    smtp_client_auth_passed(c->client, clock_mono_ms());
    site_touch(c->site); /* the others need not wait any more */
}

void connection_authenticate(struct connection *c)
{
    switch (smtp_client_auth(c->client)) {
    case SMTP_AUTH_BEGIN:
        begin(c);
        break;
    case SMTP_AUTH_CHALLENGE:
        respond(c);
        break;
    case SMTP_AUTH_CLAIMED:
        conclude(c);
        break;
    }
}

void connection_auth_end(struct connection *c)
{
    sasl_end(&c->sasl);
    finish(&c->auth_said);
}

/* `text` without what we said, then without the secret itself. */
static struct slice masked(struct connection *c, struct slice text)
{
    struct buf out = {0}, clean = {0};
    struct slice said = buf_slice(&c->auth_said);
    bool is_told = false;
    while (said.size) {
        struct slice line = slice_cut(&said, '\n');
        is_told = is_told || (line.size >= 4 && slice_find(text, line) >= 0);
    }
    if (is_told)
        buf_append_text(&out, "[the server repeated our response]");
    else
        buf_append(&out, text);
    login_mask(c->login, buf_slice(&out), &clean);
    struct slice copy = arena_copy(&c->arena, buf_slice(&clean));
    buf_finish(&out);
    buf_finish(&clean);
    return copy;
}

bool connection_auth_failed(struct connection *c, struct smtp_result *result)
{
    const char *complaint = c->sasl ? sasl_complaint(c->sasl) : NULL;
    if (!c->login || !result->stage || strcmp(result->stage, "auth") != 0)
        return false;
    if (complaint)
        result->text = arena_printf(&c->arena, "%.*s (%s)", SLICE_FMT(result->text), complaint);
    result->text = masked(c, result->text);
    return result->code / 100 == 5 || (result->code == 0 && strncmp(result->status, "4.7.", 4) == 0);
}
