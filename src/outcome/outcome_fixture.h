/* outcome_fixture: a folder of its own for a test, and the system calls that durability hangs on,
 * traced and failing at will: the test program's own write(), fsync() and renameat() stand in front
 * of the C library's. */
#ifndef MR_OUTCOME_OUTCOME_FIXTURE_H
#define MR_OUTCOME_OUTCOME_FIXTURE_H

#include "base/buf.h"
#include "base/error.h"

struct world {
    char path[64];
    int fd;
    struct error error;
};

/* cmocka set-up and tear-down. Set-up also forgets all faults. */
int world_open(void **state);
int world_close(void **state);
int world_folder(const struct world *world, const char *name); /* made and opened */

void put_file(int folder_fd, const char *name, const char *text);
bool is_there(int folder_fd, const char *name);
char *read_text(int folder_fd, const char *name); /* free() it; fails the test if there is none */
size_t file_count(int folder_fd);                 /* dot-files too */

/* A folder of the world with a tmpfs of that size over it, gone with the test; skips the test where
 * none may be mounted. To be called before any folder is opened: world->fd is another one then. */
void world_tiny_disk(struct world *world, const char *name, size_t size);

struct faults {
    bool is_tracing;
    struct buf trace;      /* "fsync NAME\n", "rename NAME\n" in order; dot-names as "new" */
    int fsync_fails_at;    /* the n-th from now on, with EIO; 0 = none */
    int write_fails_at;    /* the n-th and all after it, with ENOSPC; 0 = none */
    size_t short_size;     /* the write before the failing one takes only so many octets; 0 = all */
    bool is_rename_exdev;  /* renames between two folders say EXDEV */
    int writes;            /* counted always */
};
extern struct faults faults;

#endif
