#include "os/volume.h"

#include "base/check.h"

#include <stddef.h>
#include <sys/vfs.h>

static const struct {
    unsigned magic;
    enum volume_kind kind;
    const char *name;
} volumes[] = { /* linux/magic.h, and the file systems' own headers */
    {0x794c7630, VOLUME_VOLATILE, "overlayfs"}, {0x01021994, VOLUME_VOLATILE, "tmpfs"},
    {0x858458f6, VOLUME_VOLATILE, "ramfs"},     {0x00006969, VOLUME_REMOTE, "NFS"},
    {0x0000517b, VOLUME_REMOTE, "SMB"},         {0xff534d42, VOLUME_REMOTE, "SMB"},
    {0xfe534d42, VOLUME_REMOTE, "SMB"},         {0x01021997, VOLUME_REMOTE, "9p"},
    {0x65735546, VOLUME_REMOTE, "FUSE"},        {0x00c36400, VOLUME_REMOTE, "Ceph"},
    {0x5346414f, VOLUME_REMOTE, "AFS"},
};

bool volume_look(const char *path, enum volume_kind *ret_kind, const char **ret_name, struct error *error)
{
    struct statfs is;
    if (statfs(path, &is) != 0)
        return error_set_errno(error, path);
    *ret_kind = VOLUME_LOCAL;
    *ret_name = "a local file system";
    for (size_t i = 0; i < COUNT_OF(volumes); i++) {
        if ((unsigned)is.f_type != volumes[i].magic)
            continue;
        *ret_kind = volumes[i].kind;
        *ret_name = volumes[i].name;
    }
    return true;
}
