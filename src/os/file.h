/* file: the steps of durable file work, each in one place.
 *
 * All take folder descriptors and plain names, never paths from outside. A failed fsync is reported and never repeated on
 * the same descriptor: the kernel forgets the error and the data with it. */
#ifndef MR_OS_FILE_H
#define MR_OS_FILE_H

#include "base/buf.h"
#include "base/error.h"

#include <sys/types.h>

MUST_USE bool file_make_folder(const char *path, mode_t mode, struct error *error); /* with parents; synced */
int file_open_folder(const char *path, struct error *error); /* -1 on failure */
MUST_USE bool file_sync_folder(int folder_fd, struct error *error);

/* Creates `name` with these bytes: written under a dot-name, synced, renamed over. The folder is not synced. */
enum file_sync { FILE_SYNC, FILE_NO_SYNC, FILE_SYNC_PRIVATE /* and nobody else may read it (0600) */ };
MUST_USE bool file_publish(int folder_fd, const char *name, struct slice bytes, enum file_sync sync,
                           struct error *error);

/* All bytes of `fd` from its start, at most size_max (more is an error that says so). Errors of the system leave errno set, and
 * EFBIG stands for too large: the first may pass by, the second not. */
MUST_USE bool file_read(int fd, size_t size_max, struct buf *out, struct error *error);
/* A whole file that is a `what` ("key", "secret"), which the caller wipes: that everybody may read or change it is an error. */
MUST_USE bool file_read_secret(const char *path, const char *what, size_t size_max, struct buf *out, struct error *error);
MUST_USE bool file_write_all(int fd, struct slice bytes, struct error *error);

/* A new folder "NAME-XXXXXX" for what is not to last: in $TMPDIR, else in memory (/dev/shm), else in /tmp. */
MUST_USE bool file_make_temporary(const char *name, char *ret_path, size_t size, struct error *error);
void file_remove_tree(const char *path); /* the folder with all that is in it, without following links */

/* Takes the lock of a file for the life of the descriptor; -1 if somebody else has it or on error. `wait_ms` bounds
 * how long a dying holder is waited for. The holder's pid is in the file and in the error. */
int file_lock(const char *path, int wait_ms, struct error *error);

#endif
