/* bounce: whether a delivery status notification may be sent, and the message of the queue that it becomes.
 *   RFC 3461 5.2, RFC 3464, RFC 5321 4.5.5 and 6.1
 *
 * O1  a message with the null sender never causes one (the caller writes it to Badmail)
 * O2  NOTIFY decides: NEVER none; FAILURE, DELAY, SUCCESS what they name; not given: failures and delays
 * O3  it goes to the envelope sender, and to bounce.copy_to if that is set, with a null sender of its own
 * O4  what demanded TLS on its way demands it on the way back, and its body is not returned (RFC 8689 5)
 * Text and structure are message/dsn.h's. */
#ifndef MR_OUTCOME_BOUNCE_H
#define MR_OUTCOME_BOUNCE_H

#include "config/signer.h"
#include "message/dsn.h"
#include "store/ids.h"
#include "store/queued.h"

struct bounce {
    const struct config *config;
    struct ids *ids;
    const struct store_message *original;
    struct slice content;            /* of the original, canonical; its header at least */
    enum dsn_action action;
    const struct dsn_recipient *recipients;
    size_t recipient_count;
    const struct signer *signer;     /* DKIM; NULL: the notice is not signed */
};

bool bounce_is_wanted(enum dsn_action action, unsigned notify); /* O2 */
/* NULL when nobody may be told (O1, no recipients). The caller's; ready for queued_store(). */
struct queued *bounce_compose(struct arena *arena, const struct bounce *bounce);

#endif
