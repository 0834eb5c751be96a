/* folder: Pickup itself, and how one file is claimed from it.
 *
 *   Pickup/NAME ──open, look, lease──> rename ──> Pickup/.taken/ID.NAME ──commit──> unlink
 *
 * F1  only a plain file with one link, opened without following links, of at most the message size is read
 * F2  a file that anyone has open for writing is never claimed: a read lease fails then (fcntl(2) F_SETLEASE). Where
 *     leases are not to be had (another user's file without CAP_LEASE, network file systems) the writer's own end mark
 *     counts (close or rename seen by inotify) and its flock; a file merely found lying must have rested for
 *     pickup.settle with the same size and times
 * F3  the claim is the rename into .taken, a folder of ours on the same file system: what can't be removed from Pickup can't
 *     be renamed either, stays, and is never sent
 * F4  after the rename it is the very file that was looked at (device and inode compared), or the claim is undone
 * F5  a claim is recognised for ever by inode and birth time (origin): statx(2) stx_btime; where a file system keeps
 *     none, the modification time stands in
 * Dot-files, *.tmp, *.part and sub-folders are left alone.
 * Not here: when to look (pickup/watch.h), what the bytes mean (pickup/prepare.h). */
#ifndef MR_PICKUP_FOLDER_H
#define MR_PICKUP_FOLDER_H

#include "base/error.h"
#include "store/ids.h"

#include <stdint.h>
#include <sys/types.h>

enum { FOLDER_NAME_SIZE = 256 };

struct origin { uint64_t inode; int64_t born_ns; };

struct claim {
    uint64_t id;                       /* queue id its message gets */
    int fd;                            /* read-only, with a lease where possible; the holder closes it */
    struct origin origin;
    uid_t uid;
    uint64_t size;
    int64_t appeared_ms;               /* Unix time: when it was last written or renamed, before the claim */
    char name[FOLDER_NAME_SIZE];       /* as the writer named it */
    char taken_name[FOLDER_NAME_SIZE]; /* in .taken */
};

enum claim_result {
    CLAIM_TAKEN,   /* `claim` is filled */
    CLAIM_GONE,    /* nothing there any more, or a name that is left alone */
    CLAIM_BUSY,    /* still being written; an event or the next scan brings it back */
    CLAIM_STRAY,   /* it was not the file that was looked at, and lies in .taken: folder_recover() gives it back */
    CLAIM_LEFT,    /* stays in Pickup; error says why: somebody has to mend it */
    CLAIM_REFUSED, /* never can be a message; error says why; still in Pickup */
};

enum claim_seen { SEEN_FINISHED, SEEN_LYING }; /* by its close or rename; by a scan */

struct folder;
MUST_USE struct folder *folder_open(const char *path, int64_t settle_ms, uint64_t size_max,
                                    struct error *error);
void folder_close(struct folder **folder);
/* A Maildir: its writers link a finished file from tmp to new, and then unlink the other name. Two names are BUSY. */
void folder_expect_links(struct folder *folder);

enum claim_result folder_claim(struct folder *folder, const char *name, enum claim_seen seen,
                               struct ids *ids, struct claim *ret_claim, struct error *error);
bool folder_forget(struct folder *folder, const struct claim *claim); /* committed: unlink; false: it is still there */
/* It could not be committed; false: it is still in .taken. */
MUST_USE bool folder_give_back(struct folder *folder, const struct claim *claim);
MUST_USE bool folder_sync(struct folder *folder, struct error *error); /* renames and unlinks so far are durable */

/* When no claim is held: claims of an earlier process, and those that could not be unlinked or given back, are finished
 * (their origin is known: unlink) or given back, in .taken and in Pickup alike (an unlink or rename that a power cut
 * undid). Durable when it returns true; `*ret_is_clean` is false if some are still there, and then origins are still needed. */
typedef bool folder_known_fn(void *arg, const struct origin *origin);
MUST_USE bool folder_recover(struct folder *folder, folder_known_fn *is_known, void *arg, bool *ret_is_clean,
                             struct error *error);

/* Every name but "." and ".."; `type` is readdir's. A folder that can't be read to its end is an error, never an empty folder. */
typedef void folder_name_fn(void *arg, const char *name, unsigned char type);
MUST_USE bool folder_each_name(int folder_fd, folder_name_fn *fn, void *arg, struct error *error);

bool folder_leaves_alone(const char *name);
int folder_fd(const struct folder *folder);
int folder_taken_fd(const struct folder *folder);

#endif
