#include "relay/tokens.h"

#include "base/mem.h"
#include "config/secrets.h"
#include "os/clock.h"
#include "os/timer.h"
#include "relay/oauth.h"

#include <stdio.h>
#include <stdlib.h>

enum { LEAST_LEFT_MS = 60 * 1000 /* or half of what it is renewed ahead */, RENEW_AHEAD_MS = 10 * 60 * 1000, AGAIN_MS = 60 * 1000, AGAIN_MOST_MS = 15 * 60 * 1000 };

struct tokens {
    struct https *https;
    struct https_call *call;
    const struct config_oauth *oauth;
    const char *client_secret;
    struct arena arena;
    struct oauth_endpoints endpoints;
    char *access, *asked_with, *unsaved; /* unsaved: a refresh token that the file does not have */
    int64_t useful_until_ms, retry_ms, again_ms; /* monotonic; again: the next pause */
    struct timer *timer;
    enum tokens_state state;
    char problem[400], warning[ERROR_TEXT_SIZE_MAX];
    tokens_fn *fn;
    void *arg;
};

static void replace(char **secret, char *with)
{
    secret_free(*secret);
    *secret = with;
}

/* J1: the service gave a new refresh token; the old one may be worth nothing from now on. */
static void keep_refresh_token(struct tokens *tokens, const char *given)
{
    struct error error;
    bool is_newer;
    tokens->warning[0] = '\0';
    if (!given || !tokens->oauth->token_file || (tokens->asked_with && strcmp(given, tokens->asked_with) == 0))
        return;
    if (oauth_token_save(tokens->oauth, given, tokens->asked_with, &is_newer, &error)) {
        replace(&tokens->unsaved, NULL);
        return;
    }
    replace(&tokens->unsaved, mem_copy_text(given));
    (void)snprintf(tokens->warning, sizeof tokens->warning, "the new refresh token could not be kept: %s", error.text);
}

static void granted(struct tokens *tokens, struct oauth_answer *answer)
{
    int64_t life_ms = answer->life_s * 1000, ahead_ms = life_ms / 5 < RENEW_AHEAD_MS ? life_ms / 5 : RENEW_AHEAD_MS;
    replace(&tokens->access, answer->access_token);
    answer->access_token = NULL;
    tokens->useful_until_ms = clock_mono_ms() + life_ms - (ahead_ms / 2 < LEAST_LEFT_MS ? ahead_ms / 2 : LEAST_LEFT_MS);
    tokens->state = TOKENS_READY;
    tokens->again_ms = AGAIN_MS;
    keep_refresh_token(tokens, answer->refresh_token);
    timer_set(tokens->timer, life_ms - ahead_ms);
}

static void not_granted(struct tokens *tokens, enum oauth_verdict verdict, const char *problem)
{
    (void)snprintf(tokens->problem, sizeof tokens->problem, "%s", problem);
    tokens->state = verdict == OAUTH_REFUSED ? TOKENS_REFUSED : TOKENS_LATER;
    if (tokens->state == TOKENS_REFUSED) {
        replace(&tokens->access, NULL);
        replace(&tokens->unsaved, NULL); /* what the file has may be better */
        return;
    }
    tokens->retry_ms = clock_mono_ms() + tokens->again_ms;
    timer_set(tokens->timer, tokens->again_ms);
    tokens->again_ms = 2 * tokens->again_ms > AGAIN_MOST_MS ? AGAIN_MOST_MS : 2 * tokens->again_ms;
}

static void on_answer(void *arg, const struct https_answer *given)
{
    struct tokens *tokens = arg;
    struct oauth_answer answer;
    tokens->call = NULL;
    oauth_answer_read(given->status, given->body, given->problem, &answer);
    if (answer.verdict == OAUTH_GRANTED)
        granted(tokens, &answer);
    else
        not_granted(tokens, answer.verdict, answer.problem);
    oauth_answer_finish(&answer);
    replace(&tokens->asked_with, NULL);
    tokens->fn(tokens->arg, tokens);
}

/* It is time for the next one; or the file could not be used, which is as good as a refusal and told from the loop. */
static void on_timer(void *arg)
{
    struct tokens *tokens = arg;
    if (tokens->state == TOKENS_FETCHING) {
        tokens->state = TOKENS_REFUSED;
        tokens->fn(tokens->arg, tokens);
    } else {
        tokens_fetch(tokens);
    }
}

void tokens_fetch(struct tokens *tokens)
{
    struct buf body = {0};
    struct error error;
    if (tokens->call || tokens->state == TOKENS_FETCHING)
        return;
    tokens->state = TOKENS_FETCHING;
    timer_stop(tokens->timer);
    if (!oauth_has_own_token(tokens->oauth)) {
        char *token = tokens->unsaved ? mem_copy_text(tokens->unsaved) : oauth_token_load(tokens->oauth, &error);
        if (!token) {
            (void)snprintf(tokens->problem, sizeof tokens->problem, "%.*s", (int)sizeof tokens->problem - 1, error.text);
            timer_set(tokens->timer, 0);
            return;
        }
        replace(&tokens->asked_with, token);
    }
    oauth_token_body(tokens->oauth, &tokens->endpoints, tokens->asked_with, tokens->client_secret, &body);
    struct https_request request = {
        .url = tokens->endpoints.token_url, .ca_file = tokens->oauth->ca_file, .timeout_ms = OAUTH_TIMEOUT_MS,
        .size_max = OAUTH_ANSWER_SIZE_MAX, .body = buf_slice(&body), .content_type = "application/x-www-form-urlencoded",
    };
    tokens->call = https_ask(tokens->https, &request, on_answer, tokens);
    oauth_wipe(&body);
}

void tokens_drop(struct tokens *tokens)
{
    replace(&tokens->access, NULL);
    if (tokens->state != TOKENS_FETCHING)
        tokens->state = TOKENS_NONE;
}

enum tokens_state tokens_state(const struct tokens *tokens)
{
    /* While a new one is fetched the old one serves on. */
    if (tokens->access && tokens->useful_until_ms > clock_mono_ms())
        return TOKENS_READY;
    if (tokens->state == TOKENS_READY)
        return TOKENS_NONE;
    return tokens->state == TOKENS_LATER && tokens->retry_ms <= clock_mono_ms() ? TOKENS_NONE : tokens->state;
}

const char *tokens_text(const struct tokens *tokens) { return tokens->access; }

bool tokens_is_new(const struct tokens *tokens) { return tokens->state == TOKENS_READY; }

const char *tokens_problem(const struct tokens *tokens) { return tokens->problem; }

const char *tokens_warning(const struct tokens *tokens) { return tokens->warning[0] ? tokens->warning : NULL; }

int64_t tokens_retry_ms(const struct tokens *tokens) { return tokens->retry_ms; }

struct tokens *tokens_create(struct event_base *base, struct https *https, const struct config_oauth *oauth, const char *client_secret,
                             tokens_fn *fn, void *arg)
{
    struct tokens *tokens = mem_alloc(sizeof *tokens);
    *tokens = (struct tokens){.https = https, .oauth = oauth, .client_secret = client_secret, .again_ms = AGAIN_MS, .fn = fn, .arg = arg};
    oauth_endpoints(&tokens->arena, oauth, &tokens->endpoints);
    tokens->timer = timer_make(base, on_timer, tokens);
    return tokens;
}

void tokens_destroy(struct tokens **tokens)
{
    struct tokens *t = *tokens;
    if (!t)
        return;
    if (t->call)
        https_cancel(t->call);
    timer_free(&t->timer);
    secret_free(t->access);
    secret_free(t->asked_with);
    secret_free(t->unsaved);
    arena_finish(&t->arena);
    free(t);
    *tokens = NULL;
}
