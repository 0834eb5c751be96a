#include "web/admin_private.h"

#include "base/mem.h"
#include "web/page_files.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>

struct route {
    const char *method, *path; /* a path that ends in "/" goes on with `rest` */
    unsigned scope;            /* 0: for everybody */
    admin_fn *run;
};

static admin_fn login, logout, page, page_script, page_style, page_openapi, health, events;

static const struct route routes[] = {
    {"GET", "/admin/", 0, page},
    {"GET", "/admin/admin.js", 0, page_script},
    {"GET", "/admin/admin.css", 0, page_style},
    {"POST", "/admin/login", 0, login},
    {"POST", "/admin/logout", 0, logout},
    {"GET", "/healthz", 0, health},
    {"GET", "/readyz", 0, admin_ready},
    {"GET", "/openapi.json", 0, page_openapi},
    {"GET", "/metrics", SCOPE_READ, admin_metrics},
    {"GET", "/v1/status", SCOPE_READ, admin_status},
    {"GET", "/v1/destinations", SCOPE_READ, admin_destinations},
    {"GET", "/v1/graph", SCOPE_READ, admin_graph},
    {"GET", "/v1/domains", SCOPE_READ, admin_domains},
    {"GET", "/v1/trace", SCOPE_READ, admin_trace},
    {"GET", "/v1/events", SCOPE_READ, events},
    {"GET", "/v1/messages", SCOPE_READ, admin_search},
    {"POST", "/v1/messages", SCOPE_SEND, admin_send},
    {"POST", "/v1/messages/change", SCOPE_MANAGE, admin_change},
    {"GET", "/v1/messages/", SCOPE_READ, admin_story},
    {"GET", "/v1/badmail", SCOPE_READ, admin_badmail_list},
    {"GET", "/v1/badmail/", SCOPE_READ, admin_badmail_show},
    {"POST", "/v1/badmail/", SCOPE_MANAGE, admin_badmail_resubmit},
    {"DELETE", "/v1/badmail/", SCOPE_MANAGE, admin_badmail_remove},
};

/* ---- answers ---- */

void admin_put_json(struct answer *answer, unsigned status, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    answer->status = status;
    answer->type = "application/json";
    buf_append_text(&answer->body, text ? text : "{}");
    buf_append_byte(&answer->body, '\n');
    free(text);
}

json_t *admin_body(const struct request *request, struct answer *answer)
{
    struct slice type = request_header(request, "Content-Type");
    if (!slice_starts_nocase(type, SLICE("application/json"))) {
        answer_json_error(answer, 415, "Content-Type: application/json was expected");
        return NULL;
    }
    json_error_t fault;
    json_t *value = json_loadb(buf_slice(&request->body).data, request->body.size, JSON_REJECT_DUPLICATES, &fault);
    if (json_is_object(value))
        return value;
    json_decref(value);
    answer_json_error(answer, 400, "a JSON object was expected");
    return NULL;
}

static unsigned type_of(const json_t *value)
{
    return json_is_string(value) ? ADMIN_TEXT : json_is_array(value) ? ADMIN_LIST : json_is_object(value) ? ADMIN_OBJECT
           : json_is_boolean(value) ? ADMIN_BOOL : 0;
}

bool admin_check_fields(const json_t *body, const struct admin_field *known, size_t count, struct error *error)
{
    static const char *const words[] = {[ADMIN_TEXT] = "text", [ADMIN_LIST] = "a list", [ADMIN_TEXT | ADMIN_LIST] = "text or a list",
                                        [ADMIN_OBJECT] = "an object", [ADMIN_BOOL] = "true or false"};
    const char *key;
    json_t *value;
    if (!json_is_object(body))
        return error_set(error, "an object was expected");
    json_object_foreach((json_t *)(uintptr_t)body, key, value) {
        size_t i = 0;
        while (i < count && strcmp(key, known[i].name) != 0)
            i++;
        if (i == count)
            return error_set(error, "\"%s\": no such field", key);
        if (!(type_of(value) & known[i].types))
            return error_set(error, "%s: %s was expected", key, words[known[i].types]);
    }
    return true;
}

static void put_file(struct answer *answer, const char *type, const char *text)
{
    answer->status = 200;
    answer->type = type;
    buf_append_text(&answer->body, text);
}

static void page(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)admin;
    (void)request;
    if (rest.size)
        answer_json_error(answer, 404, "no such page");
    else
        put_file(answer, "text/html; charset=utf-8", admin_html);
}

static void page_script(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)admin;
    (void)request;
    (void)rest;
    put_file(answer, "text/javascript; charset=utf-8", admin_js);
}

static void page_style(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)admin;
    (void)request;
    (void)rest;
    put_file(answer, "text/css; charset=utf-8", admin_css);
}

static void page_openapi(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)admin;
    (void)request;
    (void)rest;
    put_file(answer, "application/json", openapi_json);
}

static void health(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)admin;
    (void)request;
    (void)rest;
    put_file(answer, "text/plain; charset=utf-8", "ok\n");
}

static void events(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)rest;
    if (!streams_begin(admin->streams, request->connection))
        answer_json_error(answer, 503, "too many streams");
}

/* ---- log in ---- */

static void login(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    bool is_too_often;
    (void)rest;
    json_t *body = admin_body(request, answer);
    if (!body)
        return;
    struct slice token = slice_of(json_string_value(json_object_get(body, "token")));
    if (!request_is_own_origin(request))
        answer_json_error(answer, 403, "asked by another page");
    else if (access_login(admin->access, request, token, &answer->cookie, &is_too_often))
        admin_put_json(answer, 200, json_pack("{s:b}", "ok", 1));
    else
        answer_json_error(answer, is_too_often ? 429 : 401, is_too_often ? "too many tries: wait a minute" : "that is not the token");
    json_decref(body);
}

static void logout(struct admin *admin, struct request *request, struct slice rest, struct answer *answer)
{
    (void)rest;
    if (access_of(admin->access, request, true) == 0) {
        answer_json_error(answer, 401, "log in first");
        return;
    }
    access_logout(admin->access, request, &answer->cookie);
    admin_put_json(answer, 200, json_pack("{s:b}", "ok", 1));
}

/* ---- routes ---- */

static bool is_route(const struct route *route, struct slice path, struct slice *ret_rest)
{
    struct slice wanted = slice_of(route->path);
    bool goes_on = wanted.data[wanted.size - 1] == '/';
    if (!slice_starts(path, wanted) || (!goes_on && path.size != wanted.size))
        return false;
    *ret_rest = slice_from(path, wanted.size);
    return true;
}

/* The route of this method, the most exact one first; *ret_is_path: the path is known with another method. */
static const struct route *find_route(const struct request *request, struct slice *ret_rest, bool *ret_is_path)
{
    const struct route *found = NULL;
    struct slice rest, method = request->method;
    if (slice_equals(method, SLICE("HEAD")))
        method = SLICE("GET");
    *ret_is_path = false;
    for (size_t i = 0; i < COUNT_OF(routes); i++) {
        if (!is_route(&routes[i], request->path, &rest))
            continue;
        *ret_is_path = true;
        bool is_better = !found || strlen(routes[i].path) > strlen(found->path);
        if (!slice_equals(method, slice_of(routes[i].method)) || !is_better)
            continue;
        found = &routes[i];
        *ret_rest = rest;
    }
    return found;
}

void admin_answer(struct admin *admin, struct request *request, struct answer *answer)
{
    struct slice rest;
    bool is_path;
    if (slice_equals(request->path, SLICE("/admin"))) {
        answer_text(answer, 303, "The admin page is at /admin/.");
        buf_append_text(&answer->location, "/admin/");
        return;
    }
    const struct route *route = find_route(request, &rest, &is_path);
    if (!route) {
        answer_json_error(answer, is_path ? 405 : 404, is_path ? "that method has no meaning here" : "no such path");
        return;
    }
    unsigned scopes = route->scope ? access_of(admin->access, request, !slice_equals(slice_of(route->method), SLICE("GET"))) : 0;
    if (route->scope && scopes == 0)
        answer_json_error(answer, 401, "a token is needed: Authorization: Bearer TOKEN, or log in at /admin/");
    else if ((scopes & route->scope) != route->scope)
        answer_json_error(answer, 403, "this token doesn't have the scope for that");
    else
        route->run(admin, request, rest, answer);
}

/* ---- life ---- */

static void wake(void *arg)
{
    struct admin *admin = arg;
    streams_wake(admin->streams);
}

bool admin_start(const struct config *config, struct admin **ret_admin, struct error *error)
{
    struct admin *admin = mem_alloc(sizeof *admin);
    admin->config = config;
    pthread_mutex_init(&admin->mutex, NULL);
    (void)snprintf(admin->control_path, sizeof admin->control_path, "%s/control.sock", config->root);
    (void)snprintf(admin->badmail_dir, sizeof admin->badmail_dir, "%s/Badmail", config->root);
    admin->streams = streams_create(&admin->watch);
    bool is_fine = access_open(config, &admin->access, error) && watch_start(config, wake, admin, &admin->watch, error);
    if (!is_fine)
        admin_stop(&admin);
    *ret_admin = admin;
    return is_fine;
}

void admin_stop_streams(struct admin *admin)
{
    if (admin)
        streams_end(admin->streams);
}

void admin_stop(struct admin **admin)
{
    struct admin *a = *admin;
    if (!a)
        return;
    watch_stop(&a->watch);
    streams_destroy(&a->streams);
    access_close(&a->access);
    admin_forget_sent(a);
    json_decref(a->status.value);
    json_decref(a->destinations.value);
    pthread_mutex_destroy(&a->mutex);
    free(a);
    *admin = NULL;
}
