/* prepare: a pickup file's bytes become a message of the queue: header, envelope, content in one place.
 *
 * The same for intake and for `mailroot lint`. Pure but for what `about` brings: name, owner, id, time. */
#ifndef MR_PICKUP_PREPARE_H
#define MR_PICKUP_PREPARE_H

#include "config/signer.h"
#include "message/content.h"
#include "pickup/rules.h"
#include "store/queued.h"

struct prepare_about {
    struct slice name;   /* pickup file name */
    struct slice owner;
    const char *dialect; /* known beforehand (the two halves of a pair); NULL: by evidence */
    bool is_own;         /* the relay's user owns the file: it may be the listener's (message/envelope.h E8) */
    uint64_t id;
    int64_t time_ms;
    int64_t appeared_ms; /* its file in Pickup */
    int zone_s;
    const struct signer *signer; /* DKIM; NULL: nothing is signed */
    const struct folder_conf *folder; /* the folder it was dropped in; NULL: Pickup itself */
    struct rules_owner file_owner;    /* counts in a folder */
    int64_t not_before_ms;       /* the folder's rate and window: not due earlier; 0: at once */
};

struct prepared {
    struct header header;
    struct envelope envelope;
    struct content_facts facts;
    struct slice once_key;  /* what makes another file the same message; absent: nothing does */
    int64_t once_ms;        /* for how long */
    struct buf content;     /* the holder frees it, or takes its bytes */
};

/* O1  once = key: X-Idempotency-Key. It counts for one owner in one folder: nobody can make another's mail a duplicate
 * O2  once = message-id: that, else the file's own Message-ID with the envelope's recipients: the same letter to somebody else
 *     is another one
 * O3  an export goes on where it stopped: it is no second file
 * DONE: all is filled. LOOP: header and envelope are (too many hops). BAD: error says why, with the line. */
MUST_USE enum content_result prepare_message(struct arena *arena, const struct config *config,
                                             struct slice file, const struct prepare_about *about,
                                             struct prepared *ret_prepared, struct error *error);

/* The folder's dialect, else that of Pickup; no folder is NULL. */
int prepare_dialect(const struct config *config, const struct folder_conf *folder);
/* The rows of the queue for it; takes the content unless it is too large to be kept inline (then it is left for
 * store_body_write). The block is the caller's. */
/* Whether its content goes into a body file (store.h Q5). */
bool prepare_is_in_file(const struct config *config, const struct prepared *prepared);
struct queued *prepare_queued(struct arena *arena, const struct config *config, struct prepared *prepared,
                              const struct prepare_about *about);

#endif
