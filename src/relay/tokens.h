/* tokens: the access token of one route, fetched over HTTPS and renewed ahead of its end.
 *
 * J1  it is kept in memory alone; the refresh token is read from its file for each question, and written back when the service
 *     gives a new one (oauth.h B3). Until that is written it is kept in memory and used
 * J2  it is renewed when a fifth of its life, at most ten minutes, is left: also where no mail goes, for refresh tokens end
 *     when they aren't used
 * J3  what is no refusal is tried again after a minute, doubling to a quarter of an hour
 * Loop's thread; the callback runs when the state has changed. */
#ifndef MR_RELAY_TOKENS_H
#define MR_RELAY_TOKENS_H

#include "config/config.h"
#include "os/https.h"

enum tokens_state { TOKENS_NONE, TOKENS_FETCHING, TOKENS_READY, TOKENS_REFUSED, TOKENS_LATER };

struct tokens;
typedef void tokens_fn(void *arg, struct tokens *tokens);

struct tokens *tokens_create(struct event_base *base, struct https *https, const struct config_oauth *oauth, const char *client_secret,
                             tokens_fn *fn, void *arg);
void tokens_destroy(struct tokens **tokens);
void tokens_fetch(struct tokens *tokens);            /* unless it is being done */
void tokens_drop(struct tokens *tokens);             /* the access token is of no use: forgotten */
enum tokens_state tokens_state(const struct tokens *tokens); /* READY: good for a minute at least */
const char *tokens_text(const struct tokens *tokens); /* NULL: none */
bool tokens_is_new(const struct tokens *tokens);      /* in the callback: it came with a new one */
const char *tokens_problem(const struct tokens *tokens); /* REFUSED, LATER: in words */
const char *tokens_warning(const struct tokens *tokens); /* of the last fetch that went well: its refresh token could not be kept; NULL */
int64_t tokens_retry_ms(const struct tokens *tokens); /* LATER: monotonic */

#endif
