/* https: requests to web servers on the loop, by libcurl.
 *
 * W1  https only (and http where may_be_clear says so), TLS 1.2 and up, the certificate and its name verified; redirects are not followed, proxies not used
 * W2  an answer larger than size_max, or not there in time, is a problem like any other
 * W3  the callback runs once, from the loop, never inside https_ask(); not after https_cancel()
 * Loop's thread. */
#ifndef MR_OS_HTTPS_H
#define MR_OS_HTTPS_H

#include "base/error.h"
#include "base/slice.h"

struct event_base;
struct https;
struct https_call;

struct https_request {
    const char *url;
    const char *resolve;       /* "host:port:address,address"; NULL: as the system resolves */
    const char *ca_file;       /* NULL: the system's */
    long timeout_ms;
    size_t size_max;
    struct slice body;         /* present: POST */
    const char *content_type;  /* of the body */
    const char *const *headers; /* "Name: value", ends with NULL; NULL: none */
    bool may_be_clear;
};

struct https_answer {
    int status;                /* 0: none came, `problem` says why */
    const char *content_type;  /* NULL: not said */
    struct slice body;
    const char *problem;
    int64_t retry_after_s;     /* Retry-After; 0: not said */
};

typedef void https_fn(void *arg, const struct https_answer *answer);

MUST_USE struct https *https_create(struct event_base *base, struct error *error);
void https_destroy(struct https **https); /* calls are cancelled */
struct https_call *https_ask(struct https *https, const struct https_request *request, https_fn *fn, void *arg);
void https_cancel(struct https_call *call);

#endif
