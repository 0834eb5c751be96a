#include "store/sqlite_private.h"

#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int body_folder_open(const char *dir, struct error *error)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/body", dir) >= sizeof path) {
        (void)error_set(error, "%s: path too long", dir);
        return -1;
    }
    return file_open_folder(path, error);
}

bool body_folder_make(const char *dir, struct error *error)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/body", dir) >= sizeof path)
        return error_set(error, "%s: path too long", dir);
    return file_make_folder(path, 0750, error);
}

static int temporary_create(int folder_fd, const char *name, struct error *error)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(folder_fd, name, flags, 0640);
    if (fd < 0 && errno == EEXIST && unlinkat(folder_fd, name, 0) == 0)
        fd = openat(folder_fd, name, flags, 0640); /* left by an attempt that failed */
    if (fd < 0)
        (void)error_set_errno(error, name);
    return fd;
}

/* Whole and synced under the temporary name, or not there. */
static bool temporary_write(int folder_fd, const char *name, struct slice content,
                            struct error *error)
{
    int fd = temporary_create(folder_fd, name, error);
    if (fd < 0)
        return false;
    bool is_done =
        file_write_all(fd, content, error) && (fsync(fd) == 0 || error_set_errno(error, "fsync"));
    if (close(fd) != 0 && is_done)
        is_done = error_set_errno(error, "close");
    if (!is_done)
        (void)unlinkat(folder_fd, name, 0); /* store_open() removes what stays */
    return is_done;
}

bool store_body_write(const char *dir, uint64_t id, struct slice content, struct error *error)
{
    char name[17], temporary[24];
    store_id_text(id, name);
    (void)snprintf(temporary, sizeof temporary, "%s.tmp", name);
    int folder_fd = body_folder_open(dir, error);
    if (folder_fd < 0)
        return false;
    bool is_done = temporary_write(folder_fd, temporary, content, error)
                   && (renameat(folder_fd, temporary, folder_fd, name) == 0
                       || error_set_errno(error, "rename"))
                   && file_sync_folder(folder_fd, error);
    close(folder_fd);
    return is_done || error_prefix(error, "%s/body/%s", dir, name);
}

int store_body_open(const char *dir, uint64_t id, struct error *error)
{
    char name[17];
    store_id_text(id, name);
    int folder_fd = body_folder_open(dir, error);
    if (folder_fd < 0)
        return -1;
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        (void)error_set_errno(error, name);
        (void)error_prefix(error, "%s/body", dir);
    }
    close(folder_fd);
    return fd;
}

void body_remove(const char *dir, const uint64_t *ids, size_t count)
{
    char name[17];
    if (count == 0)
        return;
    int folder_fd = body_folder_open(dir, NULL);
    if (folder_fd < 0)
        return; /* store_open() removes them */
    for (size_t i = 0; i < count; i++) {
        store_id_text(ids[i], name);
        (void)unlinkat(folder_fd, name, 0); /* as above */
    }
    close(folder_fd);
}

static void put_away(int folder_fd, int to_fd, const char *name)
{
    if (to_fd < 0)
        (void)unlinkat(folder_fd, name, 0); /* the next sweep finds it again */
    else
        (void)renameat(folder_fd, name, to_fd, name); /* stays where it is */
}

static bool is_leftover(const char *name, body_is_wanted_fn *is_wanted, void *arg)
{
    uint64_t id;
    if (slice_ends_nocase(slice_of(name), SLICE(".tmp")))
        return true;
    return store_id_parse(slice_of(name), &id) && !is_wanted(arg, id);
}

void body_sweep(const char *dir, const char *to_dir, body_is_wanted_fn *is_wanted, void *arg)
{
    int folder_fd = body_folder_open(dir, NULL);
    if (folder_fd < 0)
        return;
    int to_fd = to_dir ? file_open_folder(to_dir, NULL) : -1;
    DIR *folder = !to_dir || to_fd >= 0 ? fdopendir(dup(folder_fd)) : NULL;
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL)
        if (entry->d_name[0] != '.' && is_leftover(entry->d_name, is_wanted, arg))
            put_away(folder_fd, to_fd, entry->d_name);
    if (folder)
        closedir(folder);
    if (to_fd >= 0)
        close(to_fd);
    close(folder_fd);
}

void store_body_remove(const char *dir, uint64_t id)
{
    body_remove(dir, &id, 1);
}
