/* place: a folder that files are taken from: Pickup itself, a folder in it with a folder.conf, or new or cur of a Maildir in it.
 *
 * L1  folder.conf is a plain file with one name, no link, owned by root or the relay's user, and not writable by group or
 *     others; so is its folder owned. Anything else is a mistake: nobody makes a policy but who runs the relay
 * L2  while folder.conf has a mistake nothing is taken from the folder; what is in it stays
 * L3  place_look() is cheap when nothing changed: intake asks before each file, so a policy that changed holds at once
 * L4  a folder of Pickup without folder.conf is left alone, unless it is a Maildir
 * L5  a Maildir (cur, new and tmp) with a folder.conf goes by that, without one by Pickup's rules. It and both folders belong to root
 *     or the relay's user as in L1. What a mail reader marked as a draft or as removed (":2,…D", "T") is no mail to send
 * Not here: which files there are (pickup/watch.h), what the policy allows (pickup/rules.h). */
#ifndef MR_PICKUP_PLACE_H
#define MR_PICKUP_PLACE_H

#include "config/folder_conf.h"
#include "config/signer.h"
#include "pickup/folder.h"
#include "pickup/watch.h"

#include <sys/types.h>

/* Of folder.conf and its folder: what a change changes. */
struct place_mark {
    uint64_t device, inode, folder_inode, size;
    int64_t changed_ns;
    uid_t folder_uid, box_uid;
    mode_t folder_mode, box_mode;
    uint64_t box_inode;          /* of a Maildir's new or cur; 0: none */
};

struct place {
    struct place *next;          /* the holder's list */
    char *name;                  /* "" is Pickup itself */
    const char *box;             /* "new" or "cur" of a Maildir, static text; NULL: no Maildir */
    char *path;
    struct folder *folder;       /* NULL until it can be used */
    struct watched *watched;     /* the holder's */
    struct folder_conf *conf;    /* NULL: Pickup itself, a Maildir without one, or a mistake */
    struct folder_conf *outdated; /* those before it, by `older`: files that are being prepared may go by them */
    struct place_mark mark;
    struct error fault;          /* why nothing is taken; text empty: all is well */
    size_t in_flight;            /* claims not committed yet: the holder's */
    bool is_dirty;               /* claimed from since the last sync: the holder's */
    bool is_retired;             /* gone; the holder's */
};

struct place_rules {             /* what a folder.conf is judged by */
    const struct config *config;
    const struct signer *signer; /* keys that it may name; NULL: none is looked for */
    uid_t trusted;               /* beside root */
};

/* Trusted: the user that the relay runs as, or would become. */
struct place_rules place_rules_of(const struct config *config, const struct signer *signer);

enum place_state { PLACE_NONE, PLACE_SAME, PLACE_CHANGED, PLACE_FAULTY };

/* Reads and judges Pickup/NAME/folder.conf. NONE: there is no such folder, or no folder.conf in it. FAULTY: `report` has the
 * mistakes, a line each. CHANGED: `ret_conf` is the caller's. SAME: it is as `mark` says (NULL: always read). */
enum place_state place_read(int pickup_fd, const char *pickup_dir, const char *name, const struct place_rules *rules,
                            struct place_mark *mark, struct folder_conf **ret_conf, struct buf *report);

extern const char *const place_boxes[2]; /* "new", "cur" */
bool place_is_maildir(int pickup_fd, const char *name);
/* Like place_read(), of a Maildir's `box`; CHANGED may come without a `ret_conf`. */
enum place_state place_read_box(int pickup_fd, const char *pickup_dir, const char *name, const char *box, const struct place_rules *rules,
                                struct place_mark *mark, struct folder_conf **ret_conf, struct buf *report);
bool place_is_for_sending(const struct place *place, const char *file); /* L5 */

struct place *place_create(const char *pickup_dir, const char *name, const char *box);
void place_destroy(struct place **place);
/* Looks whether its folder.conf changed. After CHANGED the new policy holds; after FAULTY `fault` says why. */
enum place_state place_look(struct place *place, int pickup_fd, const char *pickup_dir, const struct place_rules *rules);
void place_drop_outdated(struct place *place); /* when nobody goes by them any more */
/* Names of the folders in Pickup that aren't left alone. */
typedef void place_name_fn(void *arg, const char *name);
MUST_USE bool place_each_name(int pickup_fd, place_name_fn *fn, void *arg, struct error *error);

#endif
