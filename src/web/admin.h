/* admin: the admin page and the API: who may ask, and what for.   RELIABILITY 2.6
 *
 * A1  nothing changes by GET. With a session (cookie, SameSite=Strict) a change also needs the header X-Mailroot: 1, which no
 *     form of another page can set, and an Origin, if any, that is ours; with a bearer token neither
 * A2  names: server.h H3
 * A3  the token is 256 bits, made at the first start in web.token_file (0600), compared in constant time, never part of a path
 *     or query. Tokens of web.tokens are kept as SHA-256 and have scopes: read, send, manage
 * A4  ten log-ins a minute of an address, then 429
 * A5  what came from outside is JSON text; the page puts it in by textContent
 * It asks the relay through ROOT/control.sock alone, reads Log and Badmail, writes Pickup. */
#ifndef MR_WEB_ADMIN_H
#define MR_WEB_ADMIN_H

#include "web/request.h"

MUST_USE bool admin_start(const struct config *config, struct admin **ret_admin, struct error *error);
void admin_stop_streams(struct admin *admin); /* before the server stops; NULL is fine */
void admin_stop(struct admin **admin);
/* status 0: a stream was queued on the connection. */
void admin_answer(struct admin *admin, struct request *request, struct answer *answer);

#endif
