/* oauth: OAuth 2.0 as mail providers have it: where they are asked, what is sent, what the answers mean. No network here.
 *   RFC 6749 (refresh token 6, client credentials 4.4, authorisation code 4.1), 7636 (PKCE), 8628 (device code), 8252 (loopback)
 *
 *   rule ─> oauth_endpoints() ─> oauth_…_body() ──POST──> token URL ──> oauth_answer_read() ─> OAUTH_GRANTED | …
 *
 * B1  an answer that isn't understood, or none, is OAUTH_LATER: only an error that the standards name is a refusal
 * B2  no token and no secret stands in an answer's `problem`
 * B3  the token file is JSON {"refresh_token": …, "client_id": …}, mode 0600, replaced as a whole and synced; it is not replaced
 *     when it has changed since it was read: who logged in meanwhile has the newer one
 * B4  bodies and answers hold secrets: oauth_wipe() them */
#ifndef MR_RELAY_OAUTH_H
#define MR_RELAY_OAUTH_H

#include "config/config.h"

#include "base/arena.h"

enum { OAUTH_ANSWER_SIZE_MAX = 64 * 1024, OAUTH_TIMEOUT_MS = 30000 };

struct oauth_endpoints { const char *token_url, *device_url, *authorize_url, *scope; }; /* NULL: the service has none */
/* In the arena. The rule has a service. */
void oauth_endpoints(struct arena *arena, const struct config_oauth *oauth, struct oauth_endpoints *ret_endpoints);
bool oauth_has_own_token(const struct config_oauth *oauth); /* client credentials: there is no token file */

struct oauth_pair { const char *name, *value; }; /* a value of NULL is left out */
void oauth_put_form(struct buf *out, const struct oauth_pair *pairs, size_t count); /* application/x-www-form-urlencoded */
char *oauth_challenge(const char *verifier); /* RFC 7636 4.2, S256; the caller's */
/* `refresh_token` NULL: client credentials. */
void oauth_token_body(const struct config_oauth *oauth, const struct oauth_endpoints *endpoints, const char *refresh_token,
                      const char *client_secret, struct buf *out);

enum oauth_verdict { OAUTH_GRANTED, OAUTH_REFUSED, OAUTH_PENDING, OAUTH_SLOWER, OAUTH_LATER };
struct oauth_answer {
    enum oauth_verdict verdict;
    char *access_token, *refresh_token; /* NULL: not given */
    int64_t life_s;
    char problem[400];                  /* unless granted */
};
/* `status` 0: no answer came, `problem` says why. oauth_answer_finish() it. */
void oauth_answer_read(int status, struct slice body, const char *problem, struct oauth_answer *ret_answer);
void oauth_answer_finish(struct oauth_answer *answer);
void oauth_wipe(struct buf *secret); /* overwrites and frees */

/* The caller's (secret_free()); NULL with an error that names the file. */
MUST_USE char *oauth_token_load(const struct config_oauth *oauth, struct error *error);
/* `before`: what the file is to hold now, NULL: whatever it holds. `*ret_is_newer`: it holds something else, nothing was done. */
MUST_USE bool oauth_token_save(const struct config_oauth *oauth, const char *token, const char *before, bool *ret_is_newer,
                               struct error *error);

#endif
