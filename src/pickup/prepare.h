/* prepare: a pickup file's bytes become a message of the queue: header, envelope, content in one place.
 *
 * The same for intake and for `mailroot lint`. Pure but for what `about` brings: name, owner, id, time. */
#ifndef MR_PICKUP_PREPARE_H
#define MR_PICKUP_PREPARE_H

#include "config/signer.h"
#include "message/content.h"
#include "store/queued.h"

struct prepare_about {
    struct slice name;   /* pickup file name */
    struct slice owner;
    const char *dialect; /* known beforehand (the two halves of a pair); NULL: by evidence */
    bool is_own;         /* the relay's user owns the file: it may be the listener's (message/envelope.h E8) */
    uint64_t id;
    int64_t time_ms;
    int zone_s;
    const struct signer *signer; /* DKIM; NULL: nothing is signed */
};

struct prepared {
    struct header header;
    struct envelope envelope;
    struct content_facts facts;
    struct buf content;     /* the holder frees it, or takes its bytes */
};

/* DONE: all is filled. LOOP: header and envelope are (too many hops). BAD: error says why, with the line. */
MUST_USE enum content_result prepare_message(struct arena *arena, const struct config *config,
                                             struct slice file, const struct prepare_about *about,
                                             struct prepared *ret_prepared, struct error *error);

/* The rows of the queue for it; takes the content unless it is too large to be kept inline (then it is left for
 * store_body_write). The block is the caller's. */
struct queued *prepare_queued(struct arena *arena, const struct config *config, struct prepared *prepared,
                              const struct prepare_about *about);

#endif
