#include "sandbox/sandbox_private.h"

#include "base/slice.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of later kernels than Debian 12's header: landlock(7). */
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)
#define ACCESS_IOCTL_DEV (UINT64_C(1) << 15)

#define ACCESS_FILE_READ LANDLOCK_ACCESS_FS_READ_FILE
#define ACCESS_FILE_WRITE (LANDLOCK_ACCESS_FS_WRITE_FILE | ACCESS_TRUNCATE)
#define ACCESS_READ (ACCESS_FILE_READ | LANDLOCK_ACCESS_FS_READ_DIR)
#define ACCESS_MOVE \
    (LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REFER)
/* The relay moves what lies in Pickup to Badmail, whatever it is: a link or a FIFO is "made" there. */
#define ACCESS_WRITE \
    (ACCESS_READ | ACCESS_FILE_WRITE | ACCESS_MOVE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR \
     | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM)
/* A folder that can't be opened can't be synced, which needs the right to list it. */
#define ACCESS_DROP (ACCESS_FILE_WRITE | ACCESS_MOVE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ACCESS_ALL \
    (ACCESS_WRITE | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK \
     | ACCESS_IOCTL_DEV)

static const uint64_t accesses[] = {
    [SANDBOX_READ] = ACCESS_READ, [SANDBOX_WRITE] = ACCESS_WRITE, [SANDBOX_DROP] = ACCESS_DROP,
};

static const char *const readable[] = {
    "/etc", "/usr", "/lib", "/lib64", "/run", "/dev", "/proc/self", "/sys/devices/system/cpu",
};

struct ruleset { int fd; uint64_t handled; };

static int syscall_abi(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static uint64_t handled_by(int abi)
{
    uint64_t handled = ACCESS_ALL;
    if (abi < 5)
        handled &= ~ACCESS_IOCTL_DEV;
    if (abi < 3)
        handled &= ~ACCESS_TRUNCATE;
    if (abi < 2)
        handled &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
    return handled;
}

/* The path itself, or the nearest folder above it that is there. */
static int open_nearest(const char *path)
{
    char part[4096];
    (void)snprintf(part, sizeof part, "%s", path);
    for (;;) {
        int fd = open(part, O_PATH | O_CLOEXEC);
        if (fd >= 0 || errno != ENOENT)
            return fd;
        char *slash = strrchr(part, '/');
        if (!slash || slash == part)
            return -1;
        *slash = '\0';
    }
}

static bool allow(const struct ruleset *rules, const char *path, uint64_t access, struct error *error)
{
    struct stat is;
    int fd = open_nearest(path);
    if (fd < 0)
        return errno == ENOENT || errno == EACCES || error_set_errno(error, path);
    if (fstat(fd, &is) == 0 && !S_ISDIR(is.st_mode))
        access &= ACCESS_FILE_READ | ACCESS_FILE_WRITE | LANDLOCK_ACCESS_FS_EXECUTE | ACCESS_IOCTL_DEV;
    struct landlock_path_beneath_attr rule = {.allowed_access = access & rules->handled, .parent_fd = fd};
    bool is_done = syscall(SYS_landlock_add_rule, rules->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0
                   || error_set_errno(error, path);
    close(fd);
    return is_done;
}

static bool allow_all(const struct ruleset *rules, const struct sandbox_path *paths, size_t count,
                      struct error *error)
{
    for (size_t i = 0; i < COUNT_OF(readable); i++)
        if (!allow(rules, readable[i], ACCESS_READ, error))
            return false;
    if (!allow(rules, "/dev/null", ACCESS_FILE_READ | ACCESS_FILE_WRITE, error)
        || (SANDBOX_IS_INSTRUMENTED && !allow(rules, "/proc", ACCESS_READ, error)))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!allow(rules, paths[i].path, accesses[paths[i].access], error))
            return false;
    return true;
}

bool landlock_enter(const struct sandbox_path *paths, size_t count, bool *ret_is_missing, struct error *error)
{
    int abi = syscall_abi();
    *ret_is_missing = abi < 1;
    if (*ret_is_missing)
        return true;
    struct ruleset rules = {.handled = handled_by(abi)};
    struct landlock_ruleset_attr attributes = {.handled_access_fs = rules.handled};
    rules.fd = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (rules.fd < 0)
        return error_set_errno(error, "landlock");
    bool is_done = allow_all(&rules, paths, count, error)
                   && (syscall(SYS_landlock_restrict_self, rules.fd, 0) == 0 || error_set_errno(error, "landlock"));
    close(rules.fd);
    return is_done;
}
