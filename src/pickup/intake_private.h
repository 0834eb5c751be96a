/* What the files of the intake share: its state and the batch under way.
 *
 *   intake.c        the thread, batches, origins      intake_file.c    one file: taken, refused, left
 *   intake_pair.c   which files are halves of a pair  intake_place.c   the folders of Pickup, their policies
 *   intake_usage.c  quotas and rates of folders       intake_prepare.c files that are being prepared, on all cores
 *   intake_mbox.c   several messages in one file */
#ifndef MR_PICKUP_INTAKE_PRIVATE_H
#define MR_PICKUP_INTAKE_PRIVATE_H

#include "base/hash.h"
#include "os/pool.h"
#include "pickup/intake.h"
#include "pickup/owner.h"
#include "pickup/place.h"
#include "pickup/prepare.h"
#include "pickup/watch.h"

#include <pthread.h>

enum { BATCHES_MAX = 4, BATCH_SIZE_MAX = 8 << 20, OWNERS = 64, ENTRY_USAGES = 3, PICKUP_NAME_SIZE = 2 * FOLDER_NAME_SIZE };

struct usage {                 /* a counter (store_set_usage); lives as long as the intake */
    char *name;                /* key */
    int64_t since_ms;          /* when its time began; of a rate: when the next one may go */
    uint64_t count;
    bool is_dirty;             /* not yet in a batch */
    UT_hash_handle hh;
};

struct claim_pair { struct place *place; struct claim claim, partner; }; /* partner.id 0: a lone file */

/* A message of a file, on its way into the batch. */
struct ready { struct prepare_about about; struct prepared prepared; struct usage *counted[ENTRY_USAGES]; };

/* A claimed file that is read, on its way through prepare_message(): pure, so any thread may do it. All that it needs is its own, or
 * stays until the last one of the turn is through (config, signer, a folder's policy). */
struct preparation {
    struct pool_job job;
    struct intake *intake;
    struct claim_pair pair;    /* descriptors closed */
    struct arena arena;
    struct buf bytes;          /* of the file */
    struct owner owner;
    struct prepare_about about;
    struct prepared prepared;
    struct ready *parts;       /* of an mbox, in the arena, in place of `prepared`; NULL: it is one message */
    size_t part_count;
    enum content_result result;
    struct error error;
};

struct batch_entry {
    struct place *place;
    struct claim claim;        /* its descriptor is closed; id 0: the file is that of an entry before it (mbox.h X3) */
    struct claim partner;      /* the content of a pair, id 0: none. Claimed first, so its id is the lower one */
    struct queued *queued;     /* NULL: only a notice came of it */
    struct queued *notice;     /* a DSN made at once; NULL if none */
    const char *dialect;
    char *repairs;
    char *once_key;            /* NULL: it may come as often as it likes */
    int64_t once_until_ms;
    uint64_t first_id;         /* whose key it is; another one's: this is a duplicate */
    bool is_held;              /* its folder says: wait for a release */
    bool is_told;              /* by its event, taken or duplicate */
    struct usage *counted[ENTRY_USAGES]; /* counters that it is in, NULL behind the last */
};

struct batch_usage { struct usage *usage; int64_t since_ms; uint64_t count; };

struct batch {
    struct writer_job job;
    struct intake *intake;
    struct batch_entry *entries;
    size_t count, capacity;
    size_t size;               /* octets of content */
    struct batch_usage *usages; /* counters as they are after it */
    size_t usage_count;
};

struct told { char name[PICKUP_NAME_SIZE]; int64_t at_ms; UT_hash_handle hh; };

struct intake {
    struct intake_parts parts;
    pthread_t thread;
    struct post *post;
    struct letter stop_letter;
    bool is_stopping;
    struct place *places;      /* the first is Pickup itself; those that are gone while claims of theirs are in flight, too */
    struct watch *watch;
    struct usage *usages;
    struct batch *batch;       /* being filled; NULL if empty */
    size_t batches_in_flight, drops_in_flight;
    struct arena arena;        /* of the name at hand */
    struct pool *pool;         /* prepares what may have to be signed; NULL: the intake's thread prepares all */
    struct post *pool_post;    /* of the pool alone: what waits for it runs nothing else */
    struct preparation *preparations; /* those of this turn, in the order of their claims, then room */
    size_t preparation_count, preparation_capacity;
    size_t preparing;          /* still with the pool */
    size_t prepared_size;      /* octets read for this turn's */
    struct told *told;         /* files left in Pickup that were complained of */
    int64_t paused_until_ms;   /* monotonic; 0 = not */
    uint64_t drop_first, drop_last; /* origins whose claims are unlinked, not yet durably */
    int64_t drop_since_ms;
    bool keeps_origins;        /* a sync failed: they stay until the next start */
    bool has_strays;           /* claims that could be neither unlinked nor given back */
    int64_t recover_at_ms;     /* not before; monotonic */
    bool is_unsure;            /* since the start: what lies in Pickup may be known, so nothing is taken */
    bool has_usages;           /* they were read from the store */
    struct { bool is_known; struct owner owner; } owners[OWNERS]; /* remembered: files are mostly one user's */
};

/* Looks at one name: what it claims it reads, and begins to prepare. */
void intake_file(struct intake *intake, struct place *place, const char *name, enum claim_seen seen);
/* Waits for what is being prepared, and adds to the batch what comes of each file, in order. */
void intake_conclude(struct intake *intake);
enum pair_part { PAIR_NOT, PAIR_HALF, PAIR_ENVELOPE }; /* HALF: nothing to do with it now */
enum pair_part pair_find(struct intake *intake, struct place *place, const char *name, char ret_content[FOLDER_NAME_SIZE]);
void intake_tell_left(struct intake *intake, struct place *place, const char *name, const struct error *error);
void intake_forget_left(struct intake *intake, struct place *place, const char *name); /* it is told again at once */

/* intake_prepare.c */
MUST_USE bool preparations_start(struct intake *intake, struct error *error);
struct preparation *preparation_next(struct intake *intake);             /* room for one more; it counts when it is begun */
void preparation_begin(struct preparation *preparation);
bool preparations_are_full(const struct intake *intake);
void preparations_wait(struct intake *intake);
void preparations_clear(struct intake *intake);                          /* after all were looked at */
void preparations_free(struct intake *intake);

/* intake_mbox.c: false: it is none. Any thread. */
bool preparation_mbox(struct preparation *of);

/* intake_place.c */
MUST_USE bool places_open(struct intake *intake, struct error *error);
MUST_USE bool places_recover(struct intake *intake, folder_known_fn *is_known, void *arg, bool *ret_is_clean,
                              struct error *error); /* all folders */
MUST_USE bool places_watch(struct intake *intake, struct error *error);
void places_found(struct intake *intake, const char *name);             /* a folder in Pickup */
bool place_may_take(struct intake *intake, struct place *place);        /* its policy is read again if it changed */
bool places_sync(struct intake *intake, struct error *error);           /* what was claimed from */
void places_drop_retired(struct intake *intake);                         /* and outdated policies; with nothing being prepared */
void places_close(struct intake *intake);
/* "NAME" of Pickup itself, "FOLDER/NAME" else. In the arena. */
struct slice place_file_name(struct arena *arena, const struct place *place, const char *name);

/* intake_usage.c */
MUST_USE bool usages_load(struct intake *intake, struct store *store, struct error *error);
/* Whether the quotas of the folder and of the file's owner leave room for one more; counts it (`ret_counted`). */
MUST_USE bool usages_count(struct intake *intake, const struct folder_conf *conf, const struct rules_owner *owner, int64_t now_ms,
                           struct usage *ret_counted[ENTRY_USAGES], struct error *error);
void usages_give_back(struct usage *const counted[ENTRY_USAGES]);         /* nothing came of it */
/* When the folder's rate and window let a message go that is due now. */
int64_t usages_due(struct intake *intake, const struct folder_conf *conf, int64_t now_ms);
void usages_to_batch(struct intake *intake, struct batch *batch);
void usages_free(struct intake *intake);
void intake_pause(struct intake *intake, const char *what, const struct error *error);
struct batch_entry *intake_add(struct intake *intake, struct place *place);
struct rules_owner intake_owner(struct intake *intake, uid_t uid, struct owner *ret_owner); /* points into ret_owner */
void intake_give_back(struct intake *intake, const struct place *place, const struct claim *claim);

#endif
