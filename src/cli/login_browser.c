/* The authorisation code: a URL for a browser, and what it brings back to a port of this machine, or what a person pastes. */
#include "cli/login.h"

#include "base/mem.h"
#include "os/clock.h"

#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 10 * 60 * 1000, CLIENT_MS = 5000, LINE_SIZE_MAX = 8192 };

struct visit { char state[65], verifier[65]; char redirect[64]; int socket_fd; };

static bool fail(struct oauth_answer *answer, const char *what)
{
    answer->verdict = OAUTH_REFUSED;
    (void)snprintf(answer->problem, sizeof answer->problem, "%s", what);
    return false;
}

/* 64 hexadecimal digits: RFC 7636 4.1 wants 43 at least. */
static bool make_random(char ret_text[65])
{
    unsigned char bytes[32];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(ret_text + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

static bool listen_here(const struct login_request *request, struct visit *visit)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    visit->socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (visit->socket_fd < 0 || bind(visit->socket_fd, (struct sockaddr *)&here, sizeof here) != 0 || listen(visit->socket_fd, 8) != 0
        || getsockname(visit->socket_fd, (struct sockaddr *)&here, &size) != 0)
        return false;
    /* Microsoft takes any port of http://localhost, Google any of 127.0.0.1. */
    (void)snprintf(visit->redirect, sizeof visit->redirect, "http://%s:%d/",
                   request->route->oauth.service == CONFIG_SERVICE_M365 ? "localhost" : "127.0.0.1", ntohs(here.sin_port));
    return true;
}

static void print_url(const struct login_request *request, const struct visit *visit)
{
    char *challenge = oauth_challenge(visit->verifier);
    struct buf url = {0};
    bool is_google = request->route->oauth.service == CONFIG_SERVICE_GOOGLE;
    const struct oauth_pair pairs[] = {
        {"response_type", "code"}, {"client_id", request->route->oauth.client_id}, {"redirect_uri", visit->redirect},
        {"scope", request->endpoints.scope}, {"state", visit->state}, {"code_challenge", challenge}, {"code_challenge_method", "S256"},
        {"login_hint", request->route->user}, {"access_type", is_google ? "offline" : NULL}, {"prompt", is_google ? "consent" : NULL},
    };
    buf_printf(&url, "%s%c", request->endpoints.authorize_url, strchr(request->endpoints.authorize_url, '?') ? '&' : '?');
    oauth_put_form(&url, pairs, COUNT_OF(pairs));
    printf("Open this in a browser of this machine and log in as %s:\n\n%s\n\n"
           "On another machine the browser ends at a page that can't be reached: paste its address here.\n", request->route->user, buf_text(&url));
    (void)fflush(stdout);
    buf_finish(&url);
    free(challenge);
}

/* ---- what comes back ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A parameter of "…?a=b&c=d", unescaped; the caller's, NULL: not there. */
static char *parameter(struct slice address, const char *name)
{
    ptrdiff_t mark = slice_find_byte(address, '?');
    struct slice rest = mark < 0 ? SLICE_NONE : slice_from(address, (size_t)mark + 1);
    while (rest.size) {
        struct slice value = slice_cut(&rest, '&');
        struct buf out = {0};
        if (!slice_equals(slice_cut(&value, '='), slice_of(name)))
            continue;
        for (size_t i = 0; i < value.size; i++) {
            bool is_escaped = value.data[i] == '%' && i + 2 < value.size && hex(value.data[i + 1]) >= 0 && hex(value.data[i + 2]) >= 0;
            buf_append_byte(&out, is_escaped ? (char)(16 * hex(value.data[i + 1]) + hex(value.data[i + 2])) : value.data[i] == '+' ? ' ' : value.data[i]);
            i += is_escaped ? 2 : 0;
        }
        return buf_take(&out);
    }
    return NULL;
}

/* True when it is the answer to our question; then `*ret_code` is the code, or NULL and the answer's problem is set. */
static bool read_address(const struct visit *visit, struct slice address, char **ret_code, struct oauth_answer *answer)
{
    char *state = parameter(address, "state"), *error = parameter(address, "error");
    bool is_ours = state && strlen(state) == strlen(visit->state) && CRYPTO_memcmp(state, visit->state, strlen(state)) == 0;
    *ret_code = is_ours ? parameter(address, "code") : NULL;
    if (is_ours && !*ret_code)
        (void)fail(answer, error ? error : "no code came back");
    for (char *c = answer->problem; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    free(state);
    free(error);
    return is_ours;
}

static bool read_line(int fd, int wait_ms, char line[LINE_SIZE_MAX])
{
    size_t size = 0;
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    while (size + 1 < LINE_SIZE_MAX && poll(&watched, 1, wait_ms) == 1) {
        ssize_t got = read(fd, line + size, LINE_SIZE_MAX - 1 - size);
        if (got <= 0)
            break;
        size += (size_t)got;
        line[size] = '\0';
        if (strchr(line, '\n')) {
            *strchr(line, '\n') = '\0';
            return true;
        }
    }
    return false;
}

static bool serve_browser(const struct visit *visit, char **ret_code, struct oauth_answer *answer)
{
    static const char fine[] = "Thank you. This page may be closed.\n", strange[] = "This is not what was asked for.\n";
    char line[LINE_SIZE_MAX], page[512];
    bool is_ours = false;
    int fd = accept4(visit->socket_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 && read_line(fd, CLIENT_MS, line)) { /* "GET /?code=… HTTP/1.1" */
        struct slice rest = slice_of(line), verb = slice_cut(&rest, ' ');
        is_ours = slice_equals(verb, SLICE("GET")) && read_address(visit, slice_cut(&rest, ' '), ret_code, answer);
        const char *text = is_ours ? fine : strange;
        int size = snprintf(page, sizeof page, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                            is_ours ? "200 OK" : "400 Bad Request", strlen(text), text);
        (void)!send(fd, page, (size_t)size, MSG_NOSIGNAL); /* the browser's loss */
        (void)shutdown(fd, SHUT_WR);
    }
    if (fd >= 0)
        close(fd);
    return is_ours;
}

/* The code; NULL with the answer's problem. */
static char *wait_for_code(const struct visit *visit, struct oauth_answer *answer)
{
    int64_t until_ms = clock_mono_ms() + WAIT_MS;
    char line[LINE_SIZE_MAX], *code = NULL;
    struct pollfd watched[] = {{.fd = visit->socket_fd, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
    for (int64_t left_ms; (left_ms = until_ms - clock_mono_ms()) > 0;) {
        if (poll(watched, 2, (int)left_ms) <= 0)
            continue;
        if ((watched[0].revents & POLLIN) && serve_browser(visit, &code, answer))
            return code;
        if (watched[1].revents & POLLIN) {
            line[0] = '\0';
            if (read_line(STDIN_FILENO, CLIENT_MS, line) && read_address(visit, slice_trim(slice_of(line)), &code, answer))
                return code;
            if (line[0])
                (void)fputs("That is not the address of that page.\n", stderr);
        }
        if (watched[1].revents & ~POLLIN || (watched[1].revents & POLLIN && !isatty(STDIN_FILENO)))
            watched[1].fd = -1; /* its end */
    }
    (void)fail(answer, "nobody agreed in time");
    return NULL;
}

void login_by_browser(struct login_request *request, struct oauth_answer *ret_answer)
{
    struct visit visit = {.socket_fd = -1};
    char *code = NULL;
    if (!make_random(visit.state) || !make_random(visit.verifier) || !listen_here(request, &visit))
        (void)fail(ret_answer, "no port of this machine can be listened at");
    else {
        print_url(request, &visit);
        code = wait_for_code(&visit, ret_answer);
    }
    const struct oauth_pair pairs[] = {
        {"grant_type", "authorization_code"}, {"code", code}, {"redirect_uri", visit.redirect}, {"code_verifier", visit.verifier},
        {"client_id", request->route->oauth.client_id}, {"client_secret", request->client_secret},
    };
    if (code)
        login_ask_token(request, pairs, COUNT_OF(pairs), ret_answer);
    free(code);
    explicit_bzero(visit.verifier, sizeof visit.verifier);
    if (visit.socket_fd >= 0)
        close(visit.socket_fd);
}
