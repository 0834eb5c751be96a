/* What the files of the intake share: its state and the batch under way.
 *
 *   intake.c   the thread, batches, origins      intake_file.c   one file: taken, refused, left
 *   intake_pair.c   which files are the halves of a pair */
#ifndef MR_PICKUP_INTAKE_PRIVATE_H
#define MR_PICKUP_INTAKE_PRIVATE_H

#include "base/hash.h"
#include "pickup/folder.h"
#include "pickup/intake.h"
#include "pickup/watch.h"

#include <pthread.h>

enum { BATCHES_MAX = 4, BATCH_SIZE_MAX = 8 << 20, OWNERS = 64 };

struct batch_entry {
    struct claim claim;        /* its descriptor is closed */
    struct claim partner;      /* the content of a pair, id 0: none. Claimed first, so its id is the lower one */
    struct queued *queued;     /* NULL: only a notice came of it */
    struct queued *notice;     /* a DSN made at once; NULL if none */
    const char *dialect;
    char *repairs;
};

struct batch {
    struct writer_job job;
    struct intake *intake;
    struct batch_entry *entries;
    size_t count, capacity;
    size_t size;               /* octets of content */
};

struct told { char name[FOLDER_NAME_SIZE]; int64_t at_ms; UT_hash_handle hh; };

struct intake {
    struct intake_parts parts;
    pthread_t thread;
    struct post *post;
    struct letter stop_letter;
    bool is_stopping;
    struct folder *folder;
    struct watch *watch;
    struct batch *batch;       /* being filled; NULL if empty */
    size_t batches_in_flight, drops_in_flight;
    struct arena arena;        /* of the file at hand */
    struct buf bytes;          /* of the file at hand */
    struct told *told;         /* files left in Pickup that were complained of */
    int64_t paused_until_ms;   /* monotonic; 0 = not */
    uint64_t drop_first, drop_last; /* origins whose claims are unlinked, not yet durably */
    int64_t drop_since_ms;
    bool keeps_origins;        /* a sync failed: they stay until the next start */
    bool has_strays;           /* claims that could be neither unlinked nor given back */
    int64_t recover_at_ms;     /* not before; monotonic */
    bool is_unsure;            /* since the start: what lies in Pickup may be known, so nothing is taken */
    struct { uid_t uid; bool is_known; char name[64]; } owners[OWNERS];
};

/* Looks at one name and adds to the batch what comes of it. */
void intake_file(struct intake *intake, const char *name, enum claim_seen seen);
enum pair_part { PAIR_NOT, PAIR_HALF, PAIR_ENVELOPE }; /* HALF: nothing to do with it now */
enum pair_part pair_find(struct intake *intake, const char *name, char ret_content[FOLDER_NAME_SIZE]);
void intake_tell_left(struct intake *intake, const char *name, const struct error *error);
void intake_pause(struct intake *intake, const char *what, const struct error *error);
struct batch_entry *intake_add(struct intake *intake);
const char *intake_owner(struct intake *intake, uid_t uid); /* the user's name, or "uid N" */
void intake_give_back(struct intake *intake, const struct claim *claim);

#endif
