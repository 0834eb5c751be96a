/* login: what routes with a user may do now: go on, wait for a token, or rest.
 *
 * U1  a refusal (5xx to AUTH, no mechanism that may be used, consent that was taken back) suspends the route: told by an event, by
 *     `mailroot status` and `mailroot route`. Its mail is kept, past queue.expire too, and never bounced for this reason
 * U2  one connection tries again after auth_retry, at SIGHUP (a new process), and at an operator's word (login_resume_all());
 *     passing it ends the suspension, with an event
 * U3  4xx is the host's trouble: it rests as after any other failure, the route goes on
 * U4  a server that offers less than it did is told in a warning; what a route's auth_mechanisms does not list is never used
 * U5  texts of servers lose what they repeat of our secrets before they go anywhere
 * U6  a token is asked for at the start and renewed in time (tokens.h). One that passed before and is refused now is replaced
 *     once; a refusal of a new one, or of our asking for one, suspends. A service that can't be asked lets the route rest
 * Loop's thread. */
#ifndef MR_RELAY_LOGIN_H
#define MR_RELAY_LOGIN_H

#include "config/secrets.h"
#include "relay/sasl.h"

#include <jansson.h>

#define LOGIN_REFUSED_STATUS "4.7.8" /* of mail that waits for a suspended route: RFC 4954 6, for a while */

struct relay;
struct login;
struct attempt;

/* One for each route with a user. */
MUST_USE bool login_open_all(struct relay *relay, struct error *error);
void login_close_all(struct relay *relay);
struct login *login_find(struct relay *relay, const struct config_route *rule); /* NULL: it has no user */

enum login_state { LOGIN_READY, LOGIN_WAITING /* for a token; sites are touched when it comes */, LOGIN_RESTING, LOGIN_SUSPENDED };
enum login_state login_state(struct login *login);      /* asks for a token if none is there */
unsigned login_token_number(const struct login *login); /* of the token that login_identity() has now; 0: a password */
bool login_is_proved(const struct login *login);        /* false: one connection tries first, the others wait for it */
const char *login_why(const struct login *login);       /* it rests or is suspended; in words */
int64_t login_retry_ms(const struct login *login);      /* monotonic: until then */

/* Who we are at that host; its texts live as long as the login stays as it is. */
struct sasl_identity login_identity(const struct login *login, const char *host, int port);
/* U4; `chosen` NULL: none of what it offers may be used. */
void login_note_offer(struct login *login, const char *host, struct slice offered, const char *chosen);
void login_passed(struct login *login, const char *host, const char *mechanism);
void login_refused(struct login *login, const struct attempt *attempt, unsigned token_number);
void login_mask(const struct login *login, struct slice text, struct buf *out); /* U5 */

void login_resume_all(struct relay *relay); /* U2 */
json_t *login_describe_suspended(struct relay *relay); /* {"*": {"since": …, "until": …, "reason": …}}; the caller's */

#endif
