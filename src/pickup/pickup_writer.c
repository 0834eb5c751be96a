#include "pickup/pickup_writer.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES_MAX = 100, SPREAD = 16 };

struct pickup_folder {
    char *dir;
    int path_fd;            /* O_PATH: names are made under it */
    int spread[SPREAD];     /* S7: where files are made, in turn; path_fd if not spread */
    atomic_uint turn;
    int sync_fd;            /* -1: closed to us for reading (S3) */
    pthread_mutex_t mutex;
    pthread_cond_t synced;
    uint64_t begun, done;   /* syncs of the folder, counted */
    bool is_syncing, is_last_bad;
};

struct pickup_file {
    struct pickup_folder *folder;
    int fd, made_in;        /* made_in: the folder that `hidden` is in */
    bool is_named;          /* renamed: not to be removed */
    char hidden[PICKUP_WRITER_NAME_SIZE];
};

static int create_hidden(int folder_fd, char ret_name[PICKUP_WRITER_NAME_SIZE], struct error *error)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        uint64_t random = 0;
        (void)!getrandom(&random, sizeof random, GRND_NONBLOCK); /* O_EXCL guards uniqueness in any case */
        (void)snprintf(ret_name, PICKUP_WRITER_NAME_SIZE, ".mailroot-%013llx-%x-%016llx",
                       (unsigned long long)clock_wall_ms(), (unsigned)getpid(), (unsigned long long)random);
        int fd = openat(folder_fd, ret_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            break;
    }
    (void)error_set_errno(error, "can't make a file there");
    return -1;
}

struct pickup_folder *pickup_folder_open(const char *dir, struct error *error)
{
    int path_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (path_fd < 0) {
        (void)error_set_errno(error, dir);
        return NULL;
    }
    struct pickup_folder *folder = mem_alloc(sizeof *folder);
    folder->dir = mem_copy_text(dir);
    folder->path_fd = path_fd;
    for (size_t i = 0; i < SPREAD; i++)
        folder->spread[i] = path_fd;
    folder->sync_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)pthread_mutex_init(&folder->mutex, NULL);
    (void)pthread_cond_init(&folder->synced, NULL);
    return folder;
}

/* The folder `name` in `parent`, made if it isn't there; -1 if it can't be. */
static int open_sub_folder(int parent, const char *name, struct error *error)
{
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST) {
        (void)error_set_errno(error, name);
        return -1;
    }
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        (void)error_set_errno(error, name);
    return fd;
}

/* Folders made in one with this flag don't follow it into its group (chattr(1) +T). Others than ext4 know no such thing. */
static void mark_as_top(int fd)
{
    int flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_TOPDIR_FL)) {
        flags |= FS_TOPDIR_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags); /* slower without */
    }
}

static void remove_left_over(int fd)
{
    DIR *entries = fdopendir(dup(fd));
    for (struct dirent *entry; entries && (entry = readdir(entries));)
        (void)unlinkat(fd, entry->d_name, 0); /* "." and ".." can't be */
    if (entries)
        closedir(entries);
}

bool pickup_folder_spread(struct pickup_folder *folder, struct error *error)
{
    int top = open_sub_folder(folder->path_fd, ".new", error);
    if (top >= 0)
        mark_as_top(top);
    for (int i = 0; top >= 0 && i < SPREAD; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%d", i);
        int fd = open_sub_folder(top, name, error);
        if (fd < 0)
            break;
        remove_left_over(fd);
        folder->spread[i] = fd;
    }
    if (top >= 0)
        close(top);
    return folder->spread[SPREAD - 1] != folder->path_fd || error_prefix(error, "%s/.new", folder->dir);
}

void pickup_folder_settle(struct pickup_folder *folder)
{
    char name[PICKUP_WRITER_NAME_SIZE];
    int fd = create_hidden(folder->spread[0], name, NULL);
    bool is_fine = fd >= 0 && renameat2(folder->spread[0], name, folder->path_fd, name, RENAME_NOREPLACE) == 0;
    if (fd >= 0)
        close(fd);
    (void)unlinkat(is_fine ? folder->path_fd : folder->spread[0], name, 0);
    for (size_t i = 0; !is_fine && i < SPREAD; i++) {
        if (folder->spread[i] != folder->path_fd)
            close(folder->spread[i]);
        folder->spread[i] = folder->path_fd;
    }
}

void pickup_folder_close(struct pickup_folder **folder)
{
    struct pickup_folder *f = *folder;
    if (!f)
        return;
    for (size_t i = 0; i < SPREAD; i++)
        if (f->spread[i] != f->path_fd)
            close(f->spread[i]);
    close(f->path_fd);
    if (f->sync_fd >= 0)
        close(f->sync_fd);
    (void)pthread_mutex_destroy(&f->mutex);
    (void)pthread_cond_destroy(&f->synced);
    free(f->dir);
    free(f);
    *folder = NULL;
}

struct pickup_file *pickup_file_begin(struct pickup_folder *folder, const struct submission *submission,
                                      struct error *error)
{
    struct buf envelope = {0};
    if (!submission_check(submission, error))
        return NULL;
    struct pickup_file *file = mem_alloc(sizeof *file);
    file->folder = folder;
    file->made_in = folder->spread[atomic_fetch_add(&folder->turn, 1) % SPREAD];
    file->fd = create_hidden(file->made_in, file->hidden, error);
    submission_put_envelope(&envelope, submission);
    if (file->fd < 0 || !file_write_all(file->fd, buf_slice(&envelope), error)) {
        (void)error_prefix(error, "%s", folder->dir);
        pickup_file_abandon(&file);
    }
    buf_finish(&envelope);
    return file;
}

bool pickup_file_append(struct pickup_file *file, struct slice bytes, struct error *error)
{
    return file_write_all(file->fd, bytes, error) || error_prefix(error, "%s", file->folder->dir);
}

/* S6: the first to come syncs for all that wait; who comes during a sync waits for the next one. */
static bool sync_together(struct pickup_folder *folder)
{
    pthread_mutex_lock(&folder->mutex);
    uint64_t wanted = folder->begun + 1;
    while (folder->is_syncing && folder->done < wanted)
        pthread_cond_wait(&folder->synced, &folder->mutex);
    bool is_done = !folder->is_last_bad;
    if (folder->done < wanted) {
        folder->is_syncing = true;
        folder->begun++;
        pthread_mutex_unlock(&folder->mutex);
        is_done = fsync(folder->sync_fd) == 0;
        pthread_mutex_lock(&folder->mutex);
        folder->is_syncing = false;
        folder->is_last_bad = !is_done;
        folder->done++;
        pthread_cond_broadcast(&folder->synced);
    }
    pthread_mutex_unlock(&folder->mutex);
    return is_done;
}

static bool commit(struct pickup_file *file, char ret_name[PICKUP_WRITER_NAME_SIZE], struct error *error)
{
    struct pickup_folder *folder = file->folder;
    if (fchmod(file->fd, 0644) != 0) /* the umask took its part */
        return error_set_errno(error, "chmod");
    if (fsync(file->fd) != 0)
        return error_set_errno(error, "fsync");
    (void)snprintf(ret_name, PICKUP_WRITER_NAME_SIZE, "%.70s.eml", file->hidden + strlen(".mailroot-"));
    if (renameat2(file->made_in, file->hidden, folder->path_fd, ret_name, RENAME_NOREPLACE) != 0)
        return error_set_errno(error, "rename");
    file->is_named = true;
    return (folder->sync_fd >= 0 ? sync_together(folder) : syncfs(file->fd) == 0) || error_set_errno(error, "sync");
}

bool pickup_file_commit(struct pickup_file **file, char ret_name[PICKUP_WRITER_NAME_SIZE], struct error *error)
{
    bool is_done = commit(*file, ret_name, error) || error_prefix(error, "%s", (*file)->folder->dir);
    pickup_file_abandon(file);
    return is_done;
}

void pickup_file_abandon(struct pickup_file **file)
{
    struct pickup_file *f = *file;
    if (!f)
        return;
    if (f->fd >= 0 && !f->is_named)
        (void)unlinkat(f->made_in, f->hidden, 0);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
    *file = NULL;
}

bool pickup_write(const char *dir, const struct submission *submission,
                  char ret_name[PICKUP_WRITER_NAME_SIZE], struct error *error)
{
    struct pickup_folder *folder = pickup_folder_open(dir, error);
    struct pickup_file *file = folder ? pickup_file_begin(folder, submission, error) : NULL;
    bool is_done = file && pickup_file_append(file, submission->message, error)
                   && pickup_file_commit(&file, ret_name, error);
    pickup_file_abandon(&file);
    pickup_folder_close(&folder);
    return is_done;
}
