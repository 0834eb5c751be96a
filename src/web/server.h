/* server: the web process's HTTP: limits, who may ask for what, and the way to the part that answers.   RFC 9110, 9112
 *
 * H1  a request's body is at most web.body_size, its header 32 KiB, its time web.timeout from first to last octet; over: 413, 431,
 *     closed
 * H2  more than one Content-Length or Host, Transfer-Encoding beside Content-Length, or a chunked body of another kind: 400 and closed
 * H3  pages and forms answer to loopback's names and web.hosts (all names if that is empty and pages are given out); the admin page and API
 *     only to loopback's names and web.admin_hosts: others get 421 (DNS rebinding)
 * H4  posts of forms: an Origin that isn't this host is 403; more than web.posts_per_minute of one address is 429
 * H5  every answer says nosniff; ours have a Content-Security-Policy and can't be framed
 * H6  with a certificate TLS 1.2 and newer alone is spoken
 * Threads of libmicrohttpd answer; what they share has locks of its own. */
#ifndef MR_WEB_SERVER_H
#define MR_WEB_SERVER_H

#include "config/config.h"

struct web;

/* The socket for web.listen, ready; -1 with an error. For a caller who may still bind low ports. */
int web_bind(const struct config *config, struct error *error);
/* Makes what must be there first: the token, the folder of results. As the user, before the sandbox. */
MUST_USE bool web_prepare(const struct config *config, struct error *error);
/* Takes the socket over. */
MUST_USE bool web_start(const struct config *config, int listen_fd, struct web **ret_web, struct error *error);
void web_stop(struct web **web);

#endif
