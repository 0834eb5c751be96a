/* follow: the lines of the event log as they are written, over rotations and over a restart of the reader.
 *
 * F1  a place is a file (inode and birth time: an inode number comes again) and an offset in it; a file that was rotated
 *     meanwhile is found under its new name, and the younger ones follow in their order
 * F2  a place whose file is gone (more rotations than events.keep) goes on at the oldest that is left, and says so once
 * F3  a line is given when it is whole
 * One thread. Lines live until the next call. */
#ifndef MR_OUTCOME_FOLLOW_H
#define MR_OUTCOME_FOLLOW_H

#include "base/buf.h"
#include "config/config.h"

#include <jansson.h>

struct follow_place { uint64_t inode; int64_t born_ns; uint64_t offset; }; /* zeroed: none */

struct follower {
    const struct config *config;
    int fd;                     /* -1: none is open */
    struct follow_place at;     /* behind the last line given */
    bool is_lost;               /* F2: the reader may take it back */
    struct buf read;            /* from at.offset on */
    size_t given;               /* octets of `read` that were */
};

/* At `place`, or, if it is none, in the youngest file `back` octets before its end. */
void follower_start(struct follower *follower, const struct config *config, const struct follow_place *place, uint64_t back);
void follower_finish(struct follower *follower);
/* False: nothing more for now. */
MUST_USE bool follower_next(struct follower *follower, struct slice *ret_line);
/* A place in a file of JSON, which may hold more: it is begun, for the caller to go on and close. */
void follow_put_place(const struct follow_place *place, struct buf *out);
struct follow_place follow_place_of(const json_t *state); /* zeroed if it holds none */
/* NULL in `ret_state` where there is no file, or nothing to be read in it; false: the file can't be read. */
MUST_USE bool follow_load(int folder_fd, const char *name, json_t **ret_state, struct error *error);
uint64_t follower_left(const struct follower *follower); /* octets of this file that were not given yet */

#endif
