/* place: a folder that files are taken from: Pickup itself, or a folder in it with a folder.conf.
 *
 * L1  folder.conf is a plain file with one name, no link, owned by root or the relay's user, and not writable by group or
 *     others; so is its folder owned. Anything else is a mistake: nobody makes a policy but who runs the relay
 * L2  while folder.conf has a mistake nothing is taken from the folder; what is in it stays
 * L3  place_look() is cheap when nothing changed: intake asks before each file, so a policy that changed holds at once
 * L4  a folder of Pickup without folder.conf is left alone
 * Not here: which files there are (pickup/watch.h), what the policy allows (pickup/rules.h). */
#ifndef MR_PICKUP_PLACE_H
#define MR_PICKUP_PLACE_H

#include "config/folder_conf.h"
#include "config/signer.h"
#include "pickup/folder.h"
#include "pickup/watch.h"

#include <sys/types.h>

/* Of folder.conf and its folder: what a change changes. */
struct place_mark { uint64_t device, inode, folder_inode, size; int64_t changed_ns; uid_t folder_uid; mode_t folder_mode; };

struct place {
    struct place *next;          /* the holder's list */
    char *name;                  /* "" is Pickup itself */
    char *path;
    struct folder *folder;       /* NULL until it can be used */
    struct watched *watched;     /* the holder's */
    struct folder_conf *conf;    /* NULL: Pickup itself, or a mistake */
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

struct place *place_create(const char *pickup_dir, const char *name);
void place_destroy(struct place **place);
/* Looks whether its folder.conf changed. After CHANGED the new policy holds; after FAULTY `fault` says why. */
enum place_state place_look(struct place *place, int pickup_fd, const char *pickup_dir, const struct place_rules *rules);
void place_drop_outdated(struct place *place); /* when nobody goes by them any more */
/* Names of the folders in Pickup that aren't left alone. */
typedef void place_name_fn(void *arg, const char *name);
MUST_USE bool place_each_name(int pickup_fd, place_name_fn *fn, void *arg, struct error *error);

#endif
