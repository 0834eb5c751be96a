/* mailroot login m365|google|other: the user's consent, by device code or browser, becomes the refresh token of a route's
 * oauth_token_file; the running relay is told. */
#include "cli/login.h"

#include "cli/command.h"
#include "cli/queue.h"
#include "config/secrets.h"
#include "os/clock.h"
#include "os/control.h"
#include "os/file.h"
#include "os/https.h"
#include "os/loop.h"

#include <event2/event.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SLOWER_S = 5 };

struct waiting { struct event_base *base; struct buf *out; int status; char *problem; };

/* ---- asking ---- */

static void on_answer(void *arg, const struct https_answer *answer)
{
    struct waiting *waiting = arg;
    waiting->status = answer->status;
    buf_append(waiting->out, answer->body);
    (void)snprintf(waiting->problem, 256, "%s", answer->problem ? answer->problem : "");
    event_base_loopbreak(waiting->base);
}

int login_ask(struct login_request *request, const char *url, struct slice body, struct buf *out, char problem[256])
{
    struct waiting waiting = {request->base, out, 0, problem};
    struct https_request question = {
        .url = url, .ca_file = request->route->oauth.ca_file, .timeout_ms = OAUTH_TIMEOUT_MS, .size_max = OAUTH_ANSWER_SIZE_MAX,
        .body = body, .content_type = "application/x-www-form-urlencoded",
    };
    (void)https_ask(request->https, &question, on_answer, &waiting);
    (void)event_base_dispatch(request->base);
    return waiting.status;
}

void login_ask_token(struct login_request *request, const struct oauth_pair *pairs, size_t count, struct oauth_answer *ret_answer)
{
    struct buf body = {0}, out = {0};
    char problem[256] = "";
    oauth_put_form(&body, pairs, count);
    int status = login_ask(request, request->endpoints.token_url, buf_slice(&body), &out, problem);
    oauth_answer_read(status, buf_slice(&out), problem, ret_answer);
    oauth_wipe(&body);
    oauth_wipe(&out);
}

/* ---- by device code (RFC 8628) ---- */

static json_t *ask_device_code(struct login_request *request, struct oauth_answer *ret_answer)
{
    struct buf body = {0}, out = {0};
    char problem[256] = "";
    const struct oauth_pair pairs[] = {{"client_id", request->route->oauth.client_id}, {"scope", request->endpoints.scope}};
    oauth_put_form(&body, pairs, COUNT_OF(pairs));
    int status = login_ask(request, request->endpoints.device_url, buf_slice(&body), &out, problem);
    json_t *json = status == 200 ? json_loadb(buf_text(&out), out.size, 0, NULL) : NULL;
    oauth_answer_read(status, buf_slice(&out), problem, ret_answer);
    buf_finish(&body);
    oauth_wipe(&out);
    return json;
}

static int64_t seconds_of(const json_t *json, const char *key, int64_t otherwise)
{
    int64_t seconds = json_integer_value(json_object_get(json, key));
    return seconds > 0 ? seconds : otherwise;
}

static void by_device(struct login_request *request, struct oauth_answer *ret_answer)
{
    json_t *device = ask_device_code(request, ret_answer);
    const char *code = json_string_value(json_object_get(device, "device_code")), *shown = json_string_value(json_object_get(device, "user_code"));
    const char *place = json_string_value(json_object_get(device, "verification_uri"));
    int64_t pause_s = seconds_of(device, "interval", SLOWER_S), until_ms = clock_mono_ms() + 1000 * seconds_of(device, "expires_in", 900);
    const struct oauth_pair pairs[] = {
        {"grant_type", "urn:ietf:params:oauth:grant-type:device_code"}, {"device_code", code},
        {"client_id", request->route->oauth.client_id}, {"client_secret", request->client_secret},
    };
    if (code && shown && place) {
        struct buf text = {0};
        buf_append_text(&text, "Open ");
        put_clean(&text, slice_of(place));
        buf_printf(&text, " in any browser, log in as %s, and enter the code\n\n    ", request->route->user);
        put_clean(&text, slice_of(shown));
        buf_append_text(&text, "\n\n");
        out_print(&text);
        (void)fflush(stdout);
        buf_finish(&text);
        ret_answer->verdict = OAUTH_PENDING;
    }
    while (ret_answer->verdict == OAUTH_PENDING && clock_mono_ms() < until_ms) {
        (void)sleep((unsigned)pause_s);
        oauth_answer_finish(ret_answer);
        login_ask_token(request, pairs, COUNT_OF(pairs), ret_answer);
        if (ret_answer->verdict == OAUTH_SLOWER || ret_answer->verdict == OAUTH_LATER) { /* 3.5: a time-out is answered by patience, too */
            pause_s += SLOWER_S;
            ret_answer->verdict = OAUTH_PENDING;
        }
    }
    json_decref(device);
}

/* ---- the file ---- */

/* The relay's user replaces the file when the service gives a new token: folder and file are its own. */
static bool give_to_user(const struct config *config, const char *path, struct error *error)
{
    const struct passwd *user = getpwnam(config->user);
    if (geteuid() != 0 || strcmp(config->user, "root") == 0)
        return true;
    if (!user)
        return error_set(error, "user \"%s\" does not exist: make it, or set `user`", config->user);
    return chown(path, user->pw_uid, user->pw_gid) == 0 || error_set_errno(error, path);
}

static bool save(const struct config *config, const struct config_oauth *oauth, const char *token, struct error *error)
{
    char *folder = slice_copy(slice_make(oauth->token_file, (size_t)(strrchr(oauth->token_file, '/') - oauth->token_file)));
    bool is_newer, was_there = access(folder, F_OK) == 0;
    bool is_done = (was_there || (file_make_folder(folder, 0700, error) && give_to_user(config, folder, error)))
                   && oauth_token_save(oauth, token, NULL, &is_newer, error) && give_to_user(config, oauth->token_file, error);
    free(folder);
    return is_done;
}

static void tell_relay(const struct config *config)
{
    char path[4096];
    struct error error;
    json_t *answer = NULL, *question = json_pack("{s:s}", "do", "resume");
    (void)snprintf(path, sizeof path, "%s/control.sock", config->root);
    enum control_result result = control_request(path, question, &answer, &error);
    if (result == CONTROL_ANSWERED)
        printf("The relay uses it now.\n");
    else if (result == CONTROL_FAILED)
        (void)command_fail("login", 0, "the relay could not be told (%s): SIGHUP does it, too", error.text);
    json_decref(question);
    json_decref(answer);
}

/* ---- the command ---- */

static const char *const services[] = {
    [CONFIG_SERVICE_M365] = "m365", [CONFIG_SERVICE_GOOGLE] = "google", [CONFIG_SERVICE_OTHER] = "other",
};

/* The one route of that service that keeps a token file. NULL: said what is missing. */
static const struct config_route *choose_route(const struct config *config, const char *service, const char *pattern)
{
    const struct config_route *found = NULL;
    for (size_t i = 0; i < config->route_count; i++) {
        const struct config_route *route = &config->routes[i];
        bool is_meant = route->oauth.service != CONFIG_SERVICE_NONE && strcmp(services[route->oauth.service], service) == 0
                        && route->oauth.token_file && (!pattern || strcmp(pattern, route->pattern) == 0);
        if (is_meant && found) {
            (void)command_fail("login", 0, "several routes have oauth = %s: name one by --route", service);
            return NULL;
        }
        if (is_meant)
            found = route;
    }
    if (!found)
        (void)command_fail("login", 0, "no route%s%s%s with oauth = %s and oauth_token_file: see mailroot-login(1)", pattern ? " \"" : "",
                           pattern ? pattern : "", pattern ? "\"" : "", service);
    return found;
}

static int ask_for_consent(struct login_request *request, const struct config *config, bool is_by_device)
{
    struct oauth_answer answer = {0};
    struct error error;
    int code = EX_OK;
    if (is_by_device)
        by_device(request, &answer);
    else
        login_by_browser(request, &answer);
    if (answer.verdict != OAUTH_GRANTED)
        code = command_fail("login", EX_NOPERM, "%s", answer.problem[0] ? answer.problem : "nobody agreed in time");
    else if (!answer.refresh_token)
        code = command_fail("login", EX_PROTOCOL, "the service gave no refresh token: the scope or the application does not allow it");
    else if (!save(config, &request->route->oauth, answer.refresh_token, &error))
        code = command_fail("login", EX_CANTCREAT, "%s", error.text);
    if (code == EX_OK) {
        printf("%s is written, for route \"%s\" as %s.\n", request->route->oauth.token_file, request->route->pattern, request->route->user);
        tell_relay(config);
    }
    oauth_answer_finish(&answer);
    return code;
}

static int login(const struct config *config, const struct config_route *route, int way)
{
    struct login_request request = {.route = route};
    struct arena arena = {0};
    struct error error = {0};
    int code = EX_CONFIG;
    oauth_endpoints(&arena, &route->oauth, &request.endpoints);
    bool is_by_device = way == 'd' || (way == 0 && request.endpoints.device_url);
    const char *file = route->oauth.client_secret_file;
    if (is_by_device ? !request.endpoints.device_url : !request.endpoints.authorize_url)
        code = command_fail("login", EX_CONFIG, "the service has no %s for this", is_by_device ? "oauth_device_url" : "oauth_authorize_url");
    else if (file && !(request.client_secret = secret_read(file, &error)))
        code = command_fail("login", EX_CONFIG, "%s", error.text);
    else if (!(request.base = loop_create(&error)) || !(request.https = https_create(request.base, &error)))
        code = command_fail("login", EX_OSERR, "%s", error.text);
    else
        code = ask_for_consent(&request, config, is_by_device);
    https_destroy(&request.https);
    if (request.base)
        event_base_free(request.base);
    secret_free(request.client_secret);
    arena_finish(&arena);
    return code;
}

int command_login(int argc, char **argv)
{
    struct command_options options;
    const char *service = NULL, *pattern = NULL;
    int way = 0;
    command_parse(&argc, argv, &options);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--route") == 0 && i + 1 < argc)
            pattern = argv[++i];
        else if (strcmp(argv[i], "--device") == 0 || strcmp(argv[i], "--browser") == 0)
            way = (unsigned char)argv[i][2];
        else if (!service && argv[i][0] != '-')
            service = argv[i];
        else
            return command_fail("login", EX_USAGE, "%s: not expected here; see --help", argv[i]);
    }
    if (!service || (strcmp(service, "m365") != 0 && strcmp(service, "google") != 0 && strcmp(service, "other") != 0))
        return command_fail("login", EX_USAGE, "m365, google or other was expected");
    struct config *config = command_config(&options);
    const struct config_route *route = choose_route(config, service, pattern);
    int code = route ? login(config, route, way) : EX_CONFIG;
    config_destroy(&config);
    return code;
}
