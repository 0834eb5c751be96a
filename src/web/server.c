#include "web/server.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "web/access.h"
#include "web/admin.h"
#include "web/endpoint.h"
#include "web/frontpage.h"
#include "web/rate.h"
#include "web/request.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { THREADS = 16, HEADER_MEMORY = 32 * 1024, FILE_SIZE_MAX = 256 * 1024 };

struct web {
    const struct config *config;
    struct MHD_Daemon *daemon;
    struct rate *rate;
    struct admin *admin;
    struct endpoints *endpoints;
    struct buf certificate, key;
};

/* ---- asking a request ---- */

struct slice request_header(const struct request *request, const char *name)
{
    return slice_of(MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name));
}

struct slice request_argument(const struct request *request, const char *name)
{
    return slice_of(MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name));
}

static bool has_name(const struct config_list *list, struct slice host)
{
    for (size_t i = 0; i < list->count; i++)
        if (slice_equals_nocase(host, slice_of(list->items[i])))
            return true;
    return false;
}

static bool is_loopback_name(struct slice host)
{
    return slice_equals_nocase(host, SLICE("localhost")) || slice_equals(host, SLICE("127.0.0.1"))
           || slice_equals(host, SLICE("[::1]"));
}

/* "host:8025" without its port. */
static struct slice host_name(struct slice field)
{
    size_t end = field.size;
    while (end > 0 && field.data[end - 1] >= '0' && field.data[end - 1] <= '9')
        end--;
    return end > 1 && end < field.size && field.data[end - 1] == ':' ? slice_first(field, end - 1) : field;
}

bool request_is_own_origin(const struct request *request)
{
    struct slice origin = request_header(request, "Origin"), host = request_header(request, "Host");
    if (slice_is_absent(origin))
        return true;
    ptrdiff_t at = slice_find(origin, SLICE("://"));
    return at > 0 && slice_equals_nocase(slice_from(origin, (size_t)at + 3), host);
}

/* ---- what is refused at once ---- */

struct counts { size_t lengths, hosts, encodings, total; };

static enum MHD_Result count_field(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct counts *counts = arg;
    (void)kind;
    (void)value;
    counts->total++;
    counts->lengths += slice_equals_nocase(slice_of(name), SLICE("Content-Length"));
    counts->hosts += slice_equals_nocase(slice_of(name), SLICE("Host"));
    counts->encodings += slice_equals_nocase(slice_of(name), SLICE("Transfer-Encoding"));
    return MHD_YES;
}

static bool is_admin_path(struct slice path)
{
    static const char *const prefixes[] = {"/admin/", "/v1/"};
    static const char *const whole[] = {"/admin", "/metrics", "/healthz", "/readyz", "/openapi.json"};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++)
        if (slice_starts(path, slice_of(prefixes[i])))
            return true;
    for (size_t i = 0; i < COUNT_OF(whole); i++)
        if (slice_equals(path, slice_of(whole[i])))
            return true;
    return false;
}

static bool is_known_host(const struct request *request)
{
    const struct config *config = request->config;
    if (is_loopback_name(request->host))
        return true;
    if (request->admin && is_admin_path(request->path))
        return has_name(&config->web.admin_hosts, request->host);
    return has_name(&config->web.hosts, request->host) || (config->web.hosts.count == 0 && (config->web.pages || config->form_count));
}

/* 0: go on. */
static unsigned refuse(const struct request *request)
{
    struct counts counts = {0};
    uint64_t length;
    struct slice declared = request_header(request, "Content-Length");
    (void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_field, &counts);
    if (counts.lengths > 1 || counts.hosts != 1 || counts.encodings > 1 || (counts.lengths && counts.encodings)
        || slice_find_byte(request->path, '\0') >= 0
        || (!slice_is_absent(declared) && !slice_to_u64(declared, &length)))
        return 400;
    if (counts.encodings && !slice_equals_nocase(request_header(request, "Transfer-Encoding"), SLICE("chunked")))
        return 400;
    if (!slice_is_absent(declared) && length > request->config->web.body_size)
        return 413;
    return is_known_host(request) ? 0 : 421;
}

/* ---- answering ---- */

static void set_headers(const struct answer *answer, struct MHD_Response *response)
{
    static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
                                 "img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    (void)MHD_add_response_header(response, "Content-Type", answer->type);
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    (void)MHD_add_response_header(response, "Referrer-Policy", "same-origin");
    (void)MHD_add_response_header(response, "Cache-Control", answer->is_cached ? "max-age=300" : "no-store");
    if (!answer->is_foreign_page) {
        (void)MHD_add_response_header(response, "Content-Security-Policy", policy);
        (void)MHD_add_response_header(response, "X-Frame-Options", "DENY");
    }
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer *answer, bool is_closed)
{
    size_t size = answer->body.size;
    struct buf location = answer->location, cookie = answer->cookie, origin = answer->origin;
    struct MHD_Response *response = MHD_create_response_from_buffer(size, buf_take(&answer->body), MHD_RESPMEM_MUST_FREE);
    if (!response)
        return MHD_NO;
    set_headers(answer, response);
    if (location.size)
        (void)MHD_add_response_header(response, "Location", buf_text(&location));
    if (cookie.size)
        (void)MHD_add_response_header(response, "Set-Cookie", buf_text(&cookie));
    if (origin.size) {
        (void)MHD_add_response_header(response, "Access-Control-Allow-Origin", buf_text(&origin));
        (void)MHD_add_response_header(response, "Access-Control-Allow-Headers", "Content-Type");
        (void)MHD_add_response_header(response, "Vary", "Origin");
    }
    if (is_closed)
        (void)MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    answer_finish(answer);
    return result;
}

static struct slice referer_path(struct request *request)
{
    struct slice referer = request_header(request, "Referer");
    ptrdiff_t at = slice_find(referer, SLICE("://"));
    if (at < 0)
        return SLICE_NONE;
    struct slice rest = slice_from(referer, (size_t)at + 3);
    struct slice host = slice_first(rest, slice_find_byte(rest, '/') < 0 ? rest.size : (size_t)slice_find_byte(rest, '/'));
    if (!slice_equals_nocase(host, request_header(request, "Host")))
        return SLICE_NONE;
    rest = slice_from(rest, host.size);
    rest = slice_cut(&rest, '?');
    return form_unescape(&request->arena, slice_cut(&rest, '#'), false);
}

static void answer_form(struct web *web, struct request *request, struct answer *answer)
{
    if (!request_is_own_origin(request)) {
        answer_text(answer, 403, "This form was posted from another site.");
    } else if (!rate_take(web->rate, request->address, clock_mono_ms())) {
        answer_text(answer, 429, "Too many forms came from your address. Please wait a minute.");
    } else {
        struct slice agent = request_header(request, "User-Agent");
        struct frontpage_post post = {
            .config = web->config, .path = request->path, .referer_path = referer_path(request),
            .content_type = request_header(request, "Content-Type"), .body = buf_slice(&request->body),
            .visit = {request->address, SLICE(""), slice_is_absent(agent) ? SLICE("") : agent, clock_wall_ms() / 1000}};
        frontpage_post(&request->arena, &post, answer);
    }
}

static void answer_any(struct web *web, struct request *request, struct answer *answer)
{
    bool is_get = slice_equals(request->method, SLICE("GET")) || slice_equals(request->method, SLICE("HEAD"));
    bool is_post = slice_equals(request->method, SLICE("POST"));
    if (request->is_too_much) {
        answer_text(answer, 413, "That was too much.");
    } else if (web->admin && is_admin_path(request->path)) {
        admin_answer(web->admin, request, answer);
    } else if (is_get && web->config->form_count && endpoint_is_script(request->path)) {
        endpoint_script(answer);
    } else if (endpoint_find(web->config, request->path)) {
        endpoint_answer(web->endpoints, request, answer);
    } else if (is_post && frontpage_is_post(request->path)) {
        answer_form(web, request, answer);
    } else if (!is_get) {
        answer_text(answer, 405, "That can't be done here.");
    } else if (frontpage_get(web->config, &request->arena, request->path, endpoints_hidden(web->endpoints, &request->arena), answer)) {
        return;
    } else if (slice_equals(request->path, SLICE("/")) && web->admin && is_loopback_name(request->host)) {
        answer_text(answer, 303, "The admin page is at /admin/.");
        buf_append_text(&answer->location, "/admin/");
    } else {
        answer_text(answer, 404, "There is no such page.");
    }
}

/* ---- libmicrohttpd's calls ---- */


static size_t unescape(void *arg, struct MHD_Connection *connection, char *text)
{
    struct arena arena = {0};
    (void)arg;
    (void)connection;
    struct slice clean = form_unescape(&arena, slice_of(text), true);
    size_t size = 0;
    for (size_t i = 0; i < clean.size; i++)
        text[size++] = clean.data[i] ? clean.data[i] : '\x01'; /* no page and no argument holds that */
    text[size] = '\0';
    arena_finish(&arena);
    return size;
}

static struct slice address_of(struct request *request)
{
    char text[INET6_ADDRSTRLEN] = "";
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)info->client_addr)->sin_addr, text, sizeof text);
    else if (info && info->client_addr->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)info->client_addr)->sin6_addr, text, sizeof text);
    struct slice peer = arena_copy(&request->arena, slice_of(text));
    struct slice forwarded = request_header(request, "X-Forwarded-For");
    if (slice_is_absent(forwarded) || !has_name(&request->config->web.proxies, peer))
        return peer;
    for (size_t i = forwarded.size; i > 0; i--) /* what our own proxy added stands last */
        if (forwarded.data[i - 1] == ',') {
            forwarded = slice_from(forwarded, i);
            break;
        }
    return slice_trim(forwarded);
}

static enum MHD_Result begin(struct web *web, struct MHD_Connection *connection, const char *url, const char *method,
                             void **context)
{
    struct request *request = mem_alloc(sizeof *request);
    *context = request;
    request->connection = connection;
    request->config = web->config;
    request->admin = web->admin;
    request->started_ms = clock_mono_ms();
    request->method = arena_copy(&request->arena, slice_of(method));
    request->path = arena_copy(&request->arena, slice_of(url));
    request->host = host_name(request_header(request, "Host"));
    request->address = address_of(request);
    unsigned code = refuse(request);
    if (code == 0)
        return MHD_YES;
    struct answer answer = {0};
    request->is_refused = true;
    answer_text(&answer, code, code == 413 ? "That was too much." : code == 421 ? "This name isn't served here." : "Bad request.");
    return send_answer(connection, &answer, true);
}

static enum MHD_Result take_body(struct request *request, const char *data, size_t *size)
{
    const struct config *config = request->config;
    bool is_late = clock_mono_ms() - request->started_ms > config->web.timeout_ms;
    if (is_late || (request->is_too_much && request->body.size > 4 * config->web.body_size))
        return MHD_NO;
    if (request->body.size + *size > config->web.body_size) {
        request->is_too_much = true;
        request->body.size += *size;
        *size = 0;
        return MHD_YES;
    }
    buf_append(&request->body, slice_make(data, *size));
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **context)
{
    struct web *web = arg;
    struct answer answer = {0};
    (void)version;
    if (!*context)
        return begin(web, connection, url, method, context);
    struct request *request = *context;
    if (request->is_refused)
        return MHD_YES;
    if (*size)
        return take_body(request, data, size);
    answer_any(web, request, &answer);
    if (answer.status == 0) /* a stream was begun */
        return MHD_YES;
    return send_answer(connection, &answer, false);
}

static void completed(void *arg, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode code)
{
    struct request *request = *context;
    (void)arg;
    (void)connection;
    (void)code;
    if (!request)
        return;
    buf_finish(&request->body);
    arena_finish(&request->arena);
    free(request);
    *context = NULL;
}

/* ---- life ---- */

int web_bind(const struct config *config, struct error *error)
{
    struct sockaddr_storage address;
    socklen_t size;
    int on = 1;
    if (!config_web_address(config, &address, &size)) {
        (void)error_set(error, "web.listen: an address with a port was expected");
        return -1;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 128) != 0) {
        (void)error_set_errno(error, config->web.listen);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

bool web_prepare(const struct config *config, struct error *error)
{
    struct access *access = NULL;
    if (config->web.pages && !file_make_folder(config->web.results, 0750, error))
        return false;
    if (config->web.is_admin && !access_open(config, &access, error))
        return false;
    if (access)
        access_close(&access);
    return true;
}

static bool read_pem(const char *path, struct buf *out, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, path);
    bool is_read = file_read(fd, FILE_SIZE_MAX, out, error);
    close(fd);
    return is_read;
}

static bool start_daemon(struct web *web, int listen_fd, struct error *error)
{
    const struct config *config = web->config;
    bool is_tls = config->web.certificate && config->web.key;
    if (is_tls && (!read_pem(config->web.certificate, &web->certificate, error) || !read_pem(config->web.key, &web->key, error)))
        return false;
    struct MHD_OptionItem tls[] = {
        {is_tls ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, is_tls ? (void *)(uintptr_t)buf_text(&web->certificate) : NULL},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, is_tls ? (void *)(uintptr_t)buf_text(&web->key) : NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"}, /* RFC 8996 */
        {MHD_OPTION_END, 0, NULL}};
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | (is_tls ? (unsigned)MHD_USE_TLS : 0);
    web->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, web, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)config->web.connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(config->web.timeout_ms / 1000 + 1), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEADER_MEMORY, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    return web->daemon || error_set(error, "the HTTP server can't start on %s", config->web.listen);
}

bool web_start(const struct config *config, int listen_fd, struct web **ret_web, struct error *error)
{
    struct web *web = mem_alloc(sizeof *web);
    web->config = config;
    web->rate = rate_create(config->web.posts_per_minute);
    web->endpoints = endpoints_create(config, web->rate);
    bool is_fine = !config->web.is_admin || admin_start(config, &web->admin, error);
    is_fine = is_fine && start_daemon(web, listen_fd, error);
    if (!is_fine) {
        close(listen_fd);
        web_stop(&web);
    }
    *ret_web = web;
    return is_fine;
}

void web_stop(struct web **web)
{
    struct web *w = *web;
    if (!w)
        return;
    admin_stop_streams(w->admin);
    if (w->daemon)
        MHD_stop_daemon(w->daemon);
    admin_stop(&w->admin);
    endpoints_destroy(&w->endpoints);
    rate_destroy(&w->rate);
    buf_finish(&w->certificate);
    buf_finish(&w->key);
    free(w);
    *web = NULL;
}
