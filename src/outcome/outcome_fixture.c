#include "outcome/outcome_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct faults faults;
static char mounted_path[128]; /* by world_tiny_disk(), empty if nothing is */

static void trace(const char *call, const char *path)
{
    if (!faults.is_tracing)
        return;
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    buf_printf(&faults.trace, "%s %s\n", call, name[0] == '.' ? "new" : name);
}

int fsync(int fd)
{
    char link[64], path[4096] = "";
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) > 0)
        trace("fsync", path);
    if (faults.fsync_fails_at && --faults.fsync_fails_at == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    if (faults.is_rename_exdev && from_fd != to_fd) {
        errno = EXDEV;
        return -1;
    }
    trace("rename", to);
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

ssize_t write(int fd, const void *data, size_t size)
{
    int number = __atomic_add_fetch(&faults.writes, 1, __ATOMIC_RELAXED);
    if (faults.write_fails_at && number >= faults.write_fails_at) {
        errno = ENOSPC;
        return -1;
    }
    if (faults.short_size && number + 1 == faults.write_fails_at && size > faults.short_size)
        size = faults.short_size;
    return syscall(SYS_write, fd, data, size);
}

int world_open(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    if (!world)
        return -1;
    faults = (struct faults){0};
    (void)snprintf(world->path, sizeof world->path, "/tmp/mailroot-outcome-XXXXXX");
    if (!mkdtemp(world->path))
        return -1;
    world->fd = open(world->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = world;
    return world->fd < 0 ? -1 : 0;
}

int world_close(void **state)
{
    struct world *world = *state;
    char command[128];
    buf_finish(&faults.trace);
    faults = (struct faults){0};
    close(world->fd);
    if (mounted_path[0])
        (void)umount2(mounted_path, MNT_DETACH);
    mounted_path[0] = '\0';
    (void)snprintf(command, sizeof command, "rm -rf '%s'", world->path);
    free(world);
    return system(command);
}

int world_folder(const struct world *world, const char *name)
{
    if (mkdirat(world->fd, name, 0755) != 0 && errno != EEXIST)
        fail_msg("%s: can't be made", name);
    int fd = openat(world->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

void put_file(int folder_fd, const char *name, const char *text)
{
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(syscall(SYS_write, fd, text, strlen(text)), strlen(text));
    close(fd);
}

bool is_there(int folder_fd, const char *name)
{
    struct stat is;
    return fstatat(folder_fd, name, &is, AT_SYMLINK_NOFOLLOW) == 0;
}

char *read_text(int folder_fd, const char *name)
{
    struct buf text = {0};
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: not there", name);
    for (;;) {
        ssize_t got = read(fd, buf_reserve(&text, 4096), 4096);
        assert_true(got >= 0);
        if (got == 0)
            break;
        text.size += (size_t)got;
    }
    close(fd);
    return buf_take(&text);
}

size_t file_count(int folder_fd)
{
    size_t count = 0;
    DIR *dir = fdopendir(openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

void world_tiny_disk(struct world *world, const char *name, size_t size)
{
    char options[64], path[sizeof mounted_path];
    (void)snprintf(options, sizeof options, "size=%zu", size);
    (void)snprintf(path, sizeof path, "%s/%s", world->path, name);
    close(world_folder(world, name));
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
        || mount("tmpfs", path, "tmpfs", 0, options) != 0)
        skip();
    memcpy(mounted_path, path, sizeof path);
    /* The old descriptor looks into the old mount namespace. */
    close(world->fd);
    world->fd = open(world->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(world->fd >= 0);
}
