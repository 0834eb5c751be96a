#include "os/file.h"

#include "os/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool sync_parent(const char *path, struct error *error)
{
    char parent[4096];
    (void)snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent)
        *slash = '\0';
    int fd = file_open_folder(slash ? parent : ".", error);
    if (fd < 0)
        return false;
    bool is_done = file_sync_folder(fd, error);
    close(fd);
    return is_done;
}

static bool make_one(const char *path, mode_t mode, struct error *error)
{
    if (mkdir(path, mode) == 0) {
        /* mkdir's mode is cut by the umask; a drop folder needs all of its bits. */
        if (chmod(path, mode) != 0)
            return error_set_errno(error, path);
        return sync_parent(path, error);
    }
    struct stat is;
    if (errno == EEXIST && stat(path, &is) == 0 && S_ISDIR(is.st_mode))
        return true;
    return error_set_errno(error, path);
}

bool file_make_folder(const char *path, mode_t mode, struct error *error)
{
    char part[4096];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return error_set(error, "%s: path too long", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!make_one(part, 0755, error))
            return false;
        *slash = '/';
    }
    return make_one(part, mode, error);
}

int file_open_folder(const char *path, struct error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        (void)error_set_errno(error, path);
    return fd;
}

bool file_sync_folder(int folder_fd, struct error *error)
{
    return fsync(folder_fd) == 0 || error_set_errno(error, "fsync of a folder");
}

bool file_read_secret(const char *path, const char *what, size_t size_max, struct buf *out, struct error *error)
{
    struct stat is;
    bool is_read = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &is) != 0)
        (void)error_set_errno(error, path);
    else if (is.st_mode & (S_IROTH | S_IWOTH))
        (void)error_set(error, "%s: everybody can %s this %s: chmod o-rw it", path, is.st_mode & S_IWOTH ? "change" : "read", what);
    else
        is_read = file_read(fd, size_max, out, error) || error_prefix(error, "%s", path);
    if (fd >= 0)
        close(fd);
    return is_read;
}

bool file_write_all(int fd, struct slice bytes, struct error *error)
{
    while (bytes.size) {
        ssize_t written = write(fd, bytes.data, bytes.size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return error_set_errno(error, "write");
        bytes = slice_from(bytes, (size_t)written);
    }
    return true;
}

bool file_publish(int folder_fd, const char *name, struct slice bytes, enum file_sync sync,
                  struct error *error)
{
    char temporary[64];
    (void)snprintf(temporary, sizeof temporary, ".new-%d-%llx", (int)getpid(),
                   (unsigned long long)clock_wall_ns());
    int fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                    sync == FILE_SYNC_PRIVATE ? 0600 : 0640);
    if (fd < 0)
        return error_set_errno(error, name);
    bool is_written = file_write_all(fd, bytes, error)
                      && (sync == FILE_NO_SYNC || fsync(fd) == 0 || error_set_errno(error, "fsync"));
    if (close(fd) != 0 && is_written)
        is_written = error_set_errno(error, "close");
    if (is_written && renameat(folder_fd, temporary, folder_fd, name) != 0)
        is_written = error_set_errno(error, "rename");
    if (!is_written) {
        (void)unlinkat(folder_fd, temporary, 0); /* a leftover dot-file harms nobody */
        return error_prefix(error, "%s", name);
    }
    return true;
}

bool file_read(int fd, size_t size_max, struct buf *out, struct error *error)
{
    struct stat is;
    size_t expected = fstat(fd, &is) == 0 && is.st_size > 0 ? (size_t)is.st_size : 0;
    if (expected > size_max) {
        errno = EFBIG;
        return error_set(error, "too large: %zu octets, at most %zu are taken", expected, size_max);
    }
    size_t start = out->size;
    for (;;) {
        size_t have = out->size - start;
        if (have > size_max) {
            errno = EFBIG;
            return error_set(error, "too large: more than the %zu octets that are taken", size_max);
        }
        size_t room = expected > have ? expected - have + 1 : 4096;
        char *to = buf_reserve(out, room);
        ssize_t got = pread(fd, to, room, (off_t)have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, "read");
        if (got == 0)
            return true;
        out->size += (size_t)got;
    }
}

bool file_make_temporary(const char *name, char *ret_path, size_t size, struct error *error)
{
    const char *places[] = {getenv("TMPDIR"), "/dev/shm", "/tmp"};
    for (size_t i = 0; i < COUNT_OF(places); i++)
        if (places[i] && *places[i] && snprintf(ret_path, size, "%s/%s-XXXXXX", places[i], name) < (int)size && mkdtemp(ret_path))
            return true;
    return error_set_errno(error, "a temporary folder");
}

static int remove_one(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is;
    (void)kind;
    (void)walk;
    return remove(path);
}

void file_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int file_lock(const char *path, int wait_ms, struct error *error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0) {
        (void)error_set_errno(error, path);
        return -1;
    }
    int64_t until = clock_mono_ms() + wait_ms;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK && clock_mono_ms() < until) {
            (void)poll(NULL, 0, 10); /* flock has no time-out; a killed holder is gone within a tick */
            continue;
        }
        char holder[32] = "";
        ssize_t got = pread(fd, holder, sizeof holder - 1, 0);
        if (got > 0)
            holder[strcspn(holder, "\n")] = '\0';
        (void)error_set(error, "%s: held by process %s: another relay runs on this folder", path,
                        holder[0] ? holder : "unknown");
        close(fd);
        return -1;
    }
    char pid[32];
    int length = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)length, 0) != length) {
        (void)error_set_errno(error, path);
        close(fd);
        return -1;
    }
    return fd;
}
