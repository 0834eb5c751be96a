#include "relay/login.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/https.h"
#include "relay/relay_private.h"
#include "relay/tokens.h"

#include <stdio.h>
#include <stdlib.h>

enum { SECRET_SHOWN_MIN = 4 }; /* a shorter one would take letters out of every text */

struct offer { struct offer *next; char *host, *mechanism; };

struct login {
    struct login *next;
    struct relay *relay;
    const struct config_route *rule;
    const char *password, *client_secret; /* the secrets' */
    struct tokens *tokens;       /* NULL: a password, or a certificate */
    unsigned token_number;       /* of the one that is there */
    bool is_token_proved;        /* it was let in once */
    bool is_token_missing;       /* why it is suspended */
    struct offer *offers;        /* the strongest mechanism that each host had for us */
    enum login_state state;      /* as it was when it was last changed */
    char *why;
    int64_t since_ms;            /* wall */
    int64_t retry_ms;            /* monotonic */
    bool is_proved;              /* the last to try passed */
};

/* ---- life ---- */

static void on_tokens(void *arg, struct tokens *tokens);

static bool login_create(struct relay *relay, const struct config_route *rule, struct error *error)
{
    struct login *login = mem_alloc(sizeof *login);
    login->relay = relay;
    login->rule = rule;
    login->password = secrets_password(relay->parts.secrets, rule);
    login->client_secret = secrets_client_secret(relay->parts.secrets, rule);
    login->next = relay->logins;
    relay->logins = login;
    if (rule->oauth.service == CONFIG_SERVICE_NONE)
        return true;
    if (!relay->https && !(relay->https = https_create(relay->parts.base, error)))
        return false;
    login->tokens = tokens_create(relay->parts.base, relay->https, &rule->oauth, login->client_secret, on_tokens, login);
    tokens_fetch(login->tokens);
    return true;
}

bool login_open_all(struct relay *relay, struct error *error)
{
    for (size_t i = 0; i < relay->config->route_count; i++)
        if (config_route_has_login(&relay->config->routes[i]) && !login_create(relay, &relay->config->routes[i], error))
            return false;
    return true;
}

void login_close_all(struct relay *relay)
{
    while (relay->logins) {
        struct login *login = relay->logins;
        relay->logins = login->next;
        while (login->offers) {
            struct offer *offer = login->offers;
            login->offers = offer->next;
            free(offer->host);
            free(offer->mechanism);
            free(offer);
        }
        tokens_destroy(&login->tokens);
        free(login->why);
        free(login);
    }
    https_destroy(&relay->https);
}

struct login *login_find(struct relay *relay, const struct config_route *rule)
{
    struct login *login = relay->logins;
    while (login && login->rule != rule)
        login = login->next;
    return login;
}

/* ---- the state ---- */

enum login_state login_state(struct login *login)
{
    bool is_over = clock_mono_ms() >= login->retry_ms; /* U2: suspended still, until somebody passes */
    if (login->state != LOGIN_READY && !is_over)
        return login->state;
    if (!login->tokens || tokens_state(login->tokens) == TOKENS_READY)
        return LOGIN_READY;
    tokens_fetch(login->tokens);
    return LOGIN_WAITING;
}

unsigned login_token_number(const struct login *login) { return login->token_number; }

bool login_is_proved(const struct login *login) { return login->is_proved; }

const char *login_why(const struct login *login) { return login->why; }

int64_t login_retry_ms(const struct login *login) { return login->retry_ms; }

static void tell(struct login *login, enum event_kind kind, const struct attempt *attempt, const char *reason)
{
    struct event event = EVENT(kind);
    event.route = slice_of(login->rule->pattern);
    if (attempt) {
        event.host = attempt->host;
        event.address = attempt->address;
        event.tls = attempt->tls;
        event.auth = attempt->auth;
        event.stage = slice_of(attempt->stage);
        event.code = attempt->code;
        event.status = attempt->status;
    }
    event.reason = slice_of(reason);
    if (kind == EVENT_SUSPENDED)
        event.next_ms = clock_wall_ms() + login->rule->auth_retry_ms;
    event_put(login->relay->parts.log, &event);
    event_flush(login->relay->parts.log);
}

static void rest(struct login *login, enum login_state state, char *why, int64_t rest_ms)
{
    if (login->state != state)
        login->since_ms = clock_wall_ms();
    free(login->why);
    login->why = why;
    login->state = state;
    login->retry_ms = clock_mono_ms() + rest_ms;
}

static void suspend(struct login *login, const struct attempt *attempt, struct slice text)
{
    struct buf why = {0};
    buf_printf(&why, "route \"%s\" is suspended, its mail is kept: ", login->rule->pattern);
    buf_printf(&why, "%s is refused", login->rule->user ? login->rule->user : "our certificate");
    if (attempt && !slice_is_absent(attempt->host))
        buf_printf(&why, " by %.*s", SLICE_FMT(attempt->host));
    if (attempt && attempt->auth.size)
        buf_printf(&why, " (%.*s)", SLICE_FMT(attempt->auth));
    buf_append_text(&why, ": ");
    buf_append(&why, text);
    rest(login, LOGIN_SUSPENDED, buf_take(&why), login->rule->auth_retry_ms);
    login->is_proved = false;
    login->is_token_missing = false;
    tell(login, EVENT_SUSPENDED, attempt, login->why);
    fprintf(stderr, "mailroot run: %s\n", login->why);
}

/* U6: whether a new token may help; the refusal of an old one says nothing about it. */
static bool has_better_token(struct login *login, const struct attempt *attempt, unsigned token_number)
{
    if (!login->tokens || attempt->code / 100 != 5)
        return false;
    if (token_number != login->token_number)
        return true;
    if (!login->is_token_proved)
        return false;
    tokens_drop(login->tokens);
    login->token_number++;
    tell(login, EVENT_WARNING, attempt, "the access token is refused that passed before; a new one is asked for");
    return true;
}

void login_refused(struct login *login, const struct attempt *attempt, unsigned token_number)
{
    if (has_better_token(login, attempt, token_number))
        return;
    suspend(login, attempt, attempt->text);
    if (login->tokens)
        tokens_drop(login->tokens);
}

static void touch_sites(const struct login *login)
{
    struct site *site, *next;
    HASH_ITER(hh, login->relay->sites, site, next)
        if (site->login == login)
            site_touch(site);
}

/* The service did not give one; what it said is without our secrets. */
static void token_missing(struct login *login)
{
    struct buf clean = {0}, why = {0};
    bool is_refused = tokens_state(login->tokens) == TOKENS_REFUSED;
    login_mask(login, slice_of(tokens_problem(login->tokens)), &clean);
    buf_printf(&why, "no access token for %s: %s", login->rule->user, buf_text(&clean));
    if (is_refused && login->rule->oauth.token_file)
        buf_append_text(&why, "; `mailroot login` asks for consent anew");
    if (is_refused) {
        suspend(login, NULL, buf_slice(&why));
        login->is_token_missing = true;
    } else {
        tell(login, EVENT_WARNING, NULL, buf_text(&why));
        if (tokens_state(login->tokens) != TOKENS_READY)
            rest(login, LOGIN_RESTING, buf_take(&why), tokens_retry_ms(login->tokens) - clock_mono_ms());
    }
    buf_finish(&clean);
    buf_finish(&why);
}

static void on_tokens(void *arg, struct tokens *tokens)
{
    struct login *login = arg;
    if (tokens_is_new(tokens)) {
        login->token_number++;
        login->is_token_proved = false;
        if (login->state == LOGIN_SUSPENDED && login->is_token_missing)
            tell(login, EVENT_RESUMED, NULL, "there is an access token again");
        if (login->state == LOGIN_RESTING || login->is_token_missing)
            login->state = LOGIN_READY;
        login->is_token_missing = false;
        if (tokens_warning(tokens))
            tell(login, EVENT_WARNING, NULL, tokens_warning(tokens));
    } else {
        token_missing(login);
    }
    touch_sites(login);
}

void login_passed(struct login *login, const char *host, const char *mechanism)
{
    struct attempt attempt = {.host = slice_of(host), .auth = slice_of(mechanism), .stage = "auth"};
    bool was_suspended = login->state == LOGIN_SUSPENDED;
    login->state = LOGIN_READY;
    login->is_proved = true;
    login->is_token_proved = true;
    if (was_suspended)
        tell(login, EVENT_RESUMED, &attempt, "the server lets us in again");
}

void login_resume_all(struct relay *relay)
{
    for (struct login *login = relay->logins; login; login = login->next) {
        login->retry_ms = 0;
        (void)login_state(login); /* a token is asked for */
    }
}

json_t *login_describe_suspended(struct relay *relay)
{
    json_t *all = json_object();
    char since[25];
    for (struct login *login = relay->logins; login; login = login->next) {
        if (login->state != LOGIN_SUSPENDED)
            continue;
        clock_rfc3339(login->since_ms, since);
        json_object_set_new(all, login->rule->pattern, json_pack("{s:s, s:s}", "since", since, "reason", login->why));
    }
    return all;
}

/* ---- at a server ---- */

struct sasl_identity login_identity(const struct login *login, const char *host, int port)
{
    return (struct sasl_identity){
        .user = login->rule->user, .password = login->password,
        .token = login->tokens ? tokens_text(login->tokens) : NULL, .host = host, .port = port,
        .has_certificate = login->relay->config->delivery.tls_certificate != NULL,
    };
}

static void warn_of_downgrade(struct login *login, const char *host, struct slice offered, const char *before, const char *now)
{
    struct attempt attempt = {.host = slice_of(host), .auth = slice_of(now), .stage = "auth"};
    struct buf text = {0};
    buf_printf(&text, "downgrade: %s offers AUTH ", host);
    buf_append(&text, offered.size > 200 ? slice_first(offered, 200) : offered);
    if (before)
        buf_printf(&text, "; before it had %s", before);
    else
        buf_append_text(&text, "; the route's auth_mechanisms allow none of these");
    tell(login, EVENT_WARNING, &attempt, buf_text(&text));
    buf_finish(&text);
}

void login_note_offer(struct login *login, const char *host, struct slice offered, const char *chosen)
{
    struct offer *offer = login->offers;
    while (offer && strcmp(offer->host, host) != 0)
        offer = offer->next;
    if (offer && (!chosen || sasl_strength(chosen) < sasl_strength(offer->mechanism)))
        warn_of_downgrade(login, host, offered, offer->mechanism, chosen);
    else if (!chosen)
        warn_of_downgrade(login, host, offered, NULL, NULL);
    if (!chosen)
        return;
    if (!offer) {
        offer = mem_alloc(sizeof *offer);
        *offer = (struct offer){.next = login->offers, .host = mem_copy_text(host)};
        login->offers = offer;
    }
    free(offer->mechanism);
    offer->mechanism = mem_copy_text(chosen);
}

/* ---- U5 ---- */

void login_mask(const struct login *login, struct slice text, struct buf *out)
{
    const char *const secrets[] = {login->password, login->client_secret, login->tokens ? tokens_text(login->tokens) : NULL};
    size_t at = 0;
    while (at < text.size) {
        size_t hidden = 0;
        for (size_t i = 0; i < COUNT_OF(secrets); i++) {
            struct slice secret = slice_of(secrets[i]);
            if (secret.size >= SECRET_SHOWN_MIN && secret.size > hidden && slice_starts(slice_from(text, at), secret))
                hidden = secret.size;
        }
        if (hidden)
            buf_append_text(out, "[hidden]");
        else
            buf_append_byte(out, text.data[at]);
        at += hidden ? hidden : 1;
    }
}
