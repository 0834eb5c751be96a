/* form_token: what a form carries so that it was loaded before it is sent, sends once, and was worked for.   endpoint.h N2, N6
 *
 *   12 hex digits of the monotonic time, 12 of chance, 32 of the HMAC-SHA256
 *
 * The key is made at the start. Any thread. */
#ifndef MR_WEB_FORM_TOKEN_H
#define MR_WEB_FORM_TOKEN_H

#include "base/error.h"
#include "base/slice.h"

enum { FORM_STAMP_SIZE = 24, FORM_MAC_SIZE = 16, FORM_TOKEN_SIZE = FORM_STAMP_SIZE + 2 * FORM_MAC_SIZE };

struct form_tokens;
struct form_tokens *form_tokens_create(void);
void form_tokens_destroy(struct form_tokens **tokens);
void form_token_make(const struct form_tokens *tokens, char ret_token[FORM_TOKEN_SIZE + 1]);
/* True: ours, and not too old. */
bool form_token_is_signed(const struct form_tokens *tokens, struct slice token, int64_t *ret_age_ms);
MUST_USE bool form_token_use(struct form_tokens *tokens, struct slice token); /* false: it was used before */
void form_token_free(struct form_tokens *tokens, struct slice token);        /* it didn't send after all */
bool form_token_is_work_done(struct slice token, struct slice number, int bits);

#endif
