/* login: what the two ways of `mailroot login` share (RFC 8628: login.c; RFC 8252 with 7636: login_browser.c). */
#ifndef MR_CLI_LOGIN_H
#define MR_CLI_LOGIN_H

#include "relay/oauth.h"

struct login_request {
    const struct config_route *route;
    struct oauth_endpoints endpoints;
    char *client_secret;            /* NULL: the application has none */
    struct event_base *base;
    struct https *https;
};

/* A POST; `out` gets the answer's body, the result is its HTTP status, 0 with `problem` if none came. */
int login_ask(struct login_request *request, const char *url, struct slice body, struct buf *out, char problem[256]);
/* Asks the token URL. */
void login_ask_token(struct login_request *request, const struct oauth_pair *pairs, size_t count, struct oauth_answer *ret_answer);
/* Sends the user to the service and waits for what the browser brings back. Errors are in the answer's `problem`. */
void login_by_browser(struct login_request *request, struct oauth_answer *ret_answer);

#endif
