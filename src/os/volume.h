/* volume: what kind of file system a folder lies on, by statfs(2)'s magic numbers.
 *
 * LOCAL     keeps what was synced
 * VOLATILE  goes with the container or the machine: overlayfs, tmpfs, ramfs
 * REMOTE    locks and syncs are another machine's or a program's: NFS, SMB, 9p, FUSE, Ceph, AFS */
#ifndef MR_OS_VOLUME_H
#define MR_OS_VOLUME_H

#include "base/error.h"

enum volume_kind { VOLUME_LOCAL, VOLUME_VOLATILE, VOLUME_REMOTE };

/* `ret_name` is static text ("overlayfs"); "a local file system" for what the table doesn't name. */
MUST_USE bool volume_look(const char *path, enum volume_kind *ret_kind, const char **ret_name, struct error *error);

#endif
