#include "os/https.h"

#include "base/buf.h"
#include "base/mem.h"
#include "os/timer.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdlib.h>

struct https {
    struct event_base *base;
    CURLM *multi;
    struct timer *timer;
    struct https_call *calls;
};

struct https_call {
    struct https_call *next, *previous;
    struct https *https;
    CURL *easy;
    struct curl_slist *resolve, *headers;
    struct buf body;
    size_t size_max;
    char problem[CURL_ERROR_SIZE];
    https_fn *fn;
    void *arg;
};

/* ---- calls ---- */

void https_cancel(struct https_call *call)
{
    struct https *https = call->https;
    (void)curl_multi_remove_handle(https->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->resolve);
    curl_slist_free_all(call->headers);
    buf_finish(&call->body);
    if (call->previous)
        call->previous->next = call->next;
    else
        https->calls = call->next;
    if (call->next)
        call->next->previous = call->previous;
    free(call);
}

static void conclude(struct https_call *call, CURLcode code)
{
    struct https_answer answer = {.body = buf_slice(&call->body)};
    char *type = NULL;
    long status = 0;
    if (code == CURLE_OK) {
        (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        (void)curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
    } else {
        answer.problem = code == CURLE_WRITE_ERROR ? "the answer is too large"
                         : call->problem[0]        ? call->problem
                                                   : curl_easy_strerror(code);
    }
    answer.status = (int)status;
    curl_off_t retry_after_s = 0;
    (void)curl_easy_getinfo(call->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    answer.retry_after_s = retry_after_s;
    answer.content_type = type;
    call->fn(call->arg, &answer);
    https_cancel(call);
}

static void look_for_ends(struct https *https)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(https->multi, &left)) != NULL) {
        struct https_call *call = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        conclude(call, message->data.result);
    }
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *arg)
{
    struct https_call *call = arg;
    if (call->body.size + size * count > call->size_max)
        return 0; /* W2: ends the transfer */
    buf_append(&call->body, slice_make(bytes, size * count));
    return size * count;
}

/* ---- libcurl on the loop ---- */

static void on_ready(int fd, short what, void *arg)
{
    struct https *https = arg;
    int running, flags = (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    (void)curl_multi_socket_action(https->multi, fd, flags, &running);
    look_for_ends(https);
}

static void on_timer(void *arg)
{
    struct https *https = arg;
    int running;
    (void)curl_multi_socket_action(https->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    look_for_ends(https);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct https *https = arg;
    struct event *watched = socket_arg;
    (void)easy;
    if (watched)
        event_free(watched);
    watched = NULL;
    if (what != CURL_POLL_REMOVE) {
        short flags = (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
        watched = event_new(https->base, fd, flags, on_ready, https);
        if (!watched || event_add(watched, NULL) != 0)
            mem_exhausted(sizeof *https);
    }
    (void)curl_multi_assign(https->multi, fd, watched);
    return 0;
}

static int on_wish_for_time(CURLM *multi, long timeout_ms, void *arg)
{
    struct https *https = arg;
    (void)multi;
    if (timeout_ms < 0)
        timer_stop(https->timer);
    else
        timer_set(https->timer, timeout_ms);
    return 0;
}

/* ---- life ---- */

struct https *https_create(struct event_base *base, struct error *error)
{
    struct https *https = mem_alloc(sizeof *https);
    https->base = base;
    https->timer = timer_make(base, on_timer, https);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        https->multi = curl_multi_init();
    if (!https->multi) {
        (void)error_set(error, "HTTPS: libcurl does not start");
        https_destroy(&https);
        return NULL;
    }
    (void)curl_multi_setopt(https->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(https->multi, CURLMOPT_SOCKETDATA, https);
    (void)curl_multi_setopt(https->multi, CURLMOPT_TIMERFUNCTION, on_wish_for_time);
    (void)curl_multi_setopt(https->multi, CURLMOPT_TIMERDATA, https);
    return https;
}

void https_destroy(struct https **https)
{
    struct https *h = *https;
    if (!h)
        return;
    while (h->calls)
        https_cancel(h->calls);
    if (h->multi)
        (void)curl_multi_cleanup(h->multi);
    timer_free(&h->timer);
    curl_global_cleanup();
    free(h);
    *https = NULL;
}

static void set_body(struct https_call *call, const struct https_request *request)
{
    struct buf type = {0};
    buf_printf(&type, "Content-Type: %s", request->content_type);
    call->headers = curl_slist_append(call->headers, buf_text(&type));
    buf_finish(&type);
    (void)curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
    (void)curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS, request->body.data);
}

struct https_call *https_ask(struct https *https, const struct https_request *request, https_fn *fn, void *arg)
{
    struct https_call *call = mem_alloc(sizeof *call);
    *call = (struct https_call){.https = https, .easy = curl_easy_init(), .size_max = request->size_max, .fn = fn,
                                .arg = arg, .next = https->calls};
    if (!call->easy)
        mem_exhausted(sizeof *call);
    if (call->next)
        call->next->previous = call;
    https->calls = call;
    CURL *easy = call->easy;
    (void)curl_easy_setopt(easy, CURLOPT_URL, request->url);
    (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, request->may_be_clear ? "http,https" : "https");
    (void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    (void)curl_easy_setopt(easy, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, request->timeout_ms);
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->problem);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    (void)curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    (void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "mailroot/" MAILROOT_VERSION);
    if (request->ca_file)
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, request->ca_file);
    if (request->resolve) {
        call->resolve = curl_slist_append(NULL, request->resolve);
        (void)curl_easy_setopt(easy, CURLOPT_RESOLVE, call->resolve);
    }
    for (const char *const *header = request->headers; header && *header; header++)
        call->headers = curl_slist_append(call->headers, *header);
    if (!slice_is_absent(request->body))
        set_body(call, request);
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    (void)curl_multi_add_handle(https->multi, easy);
    return call;
}
