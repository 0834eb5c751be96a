#include "pickup/watch.h"

#include "base/buf.h"
#include "base/hash.h"
#include "os/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS_SIZE = 64 * 1024 };

struct watched {
    char *path;
    void *owner;
    bool with_folders;
    int wd;                    /* key; -1: scans only */
    int64_t next_scan_ms;      /* monotonic */
    DIR *scan;                 /* under way */
    struct watched *next;      /* in a ring: folders take turns */
    UT_hash_handle hh;
};

struct watch {
    int inotify_fd;
    int64_t scan_ms;
    struct watched *turn;      /* NULL: no folder */
    struct watched *by_wd;
    size_t count;
    bool has_overflowed;
    size_t events_at, events_size;
    alignas(struct inotify_event) char events[EVENTS_SIZE];
};

struct watch *watch_open(int64_t scan_ms)
{
    struct watch *watch = mem_alloc(sizeof *watch);
    watch->scan_ms = scan_ms;
    watch->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC); /* without it the scans still find everything */
    return watch;
}

struct watched *watch_add(struct watch *watch, const char *path, void *owner, bool with_folders, struct error *error)
{
    int wd = watch->inotify_fd < 0 ? -1 : inotify_add_watch(watch->inotify_fd, path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR);
    if (wd < 0 && watch->inotify_fd >= 0 && (errno == ENOENT || errno == ENOTDIR)) {
        (void)error_set(error, "%s: %s", path, strerrordesc_np(errno));
        return NULL;
    }
    struct watched *folder = NULL;
    if (wd >= 0)
        HASH_FIND_INT(watch->by_wd, &wd, folder);
    if (folder)
        wd = -1; /* one folder under two names (a bind mount): the kernel tells of one of them */
    folder = mem_alloc(sizeof *folder);
    *folder = (struct watched){.path = mem_copy_text(path), .owner = owner, .with_folders = with_folders, .wd = wd,
                               .next_scan_ms = clock_mono_ms()};
    folder->next = watch->turn ? watch->turn->next : folder;
    if (watch->turn)
        watch->turn->next = folder;
    else
        watch->turn = folder;
    if (wd >= 0)
        HASH_ADD_INT(watch->by_wd, wd, folder);
    watch->count++;
    return folder;
}

void watch_remove(struct watch *watch, struct watched *folder)
{
    struct watched *before = folder;
    while (before->next != folder)
        before = before->next;
    before->next = folder->next;
    if (watch->turn == folder)
        watch->turn = before == folder ? NULL : before;
    if (folder->wd >= 0) {
        HASH_DEL(watch->by_wd, folder);
        (void)inotify_rm_watch(watch->inotify_fd, folder->wd); /* gone already where the folder is */
    }
    if (folder->scan)
        closedir(folder->scan);
    watch->count--;
    free(folder->path);
    free(folder);
}

void watch_close(struct watch **watch)
{
    if (!*watch)
        return;
    while ((*watch)->turn)
        watch_remove(*watch, (*watch)->turn);
    if ((*watch)->inotify_fd >= 0)
        close((*watch)->inotify_fd);
    free(*watch);
    *watch = NULL;
}

int watch_fd(const struct watch *watch)
{
    return watch->inotify_fd;
}

int watch_wait_ms(const struct watch *watch)
{
    int64_t now_ms = clock_mono_ms(), wait = INT_MAX;
    const struct watched *folder = watch->turn;
    if (watch->events_at < watch->events_size)
        return 0;
    for (size_t i = 0; i < watch->count; i++, folder = folder->next) {
        if (folder->scan || folder->next_scan_ms <= now_ms)
            return 0;
        if (folder->next_scan_ms - now_ms < wait)
            wait = folder->next_scan_ms - now_ms;
    }
    return (int)wait;
}

void watch_scan_soon(struct watch *watch, int64_t delay_ms)
{
    int64_t at = clock_mono_ms() + delay_ms;
    struct watched *folder = watch->turn;
    for (size_t i = 0; i < watch->count; i++, folder = folder->next)
        if (at < folder->next_scan_ms)
            folder->next_scan_ms = at;
}

bool watch_overflowed(struct watch *watch)
{
    bool has = watch->has_overflowed;
    watch->has_overflowed = false;
    return has;
}

static const struct inotify_event *read_event(struct watch *watch)
{
    if (watch->events_at >= watch->events_size) {
        ssize_t got = watch->inotify_fd < 0 ? -1 : read(watch->inotify_fd, watch->events, sizeof watch->events);
        if (got <= 0)
            return NULL;
        watch->events_at = 0;
        watch->events_size = (size_t)got;
    }
    const struct inotify_event *event = (const void *)(watch->events + watch->events_at);
    watch->events_at += sizeof *event + event->len;
    return event;
}

static bool next_event(struct watch *watch, struct watch_found *ret_found)
{
    const struct inotify_event *event;
    while ((event = read_event(watch)) != NULL) {
        struct watched *folder;
        bool is_folder = (event->mask & IN_ISDIR) != 0;
        if (event->mask & IN_Q_OVERFLOW) {
            watch->has_overflowed = true;
            watch_scan_soon(watch, 0);
            continue;
        }
        HASH_FIND_INT(watch->by_wd, &event->wd, folder);
        if (!folder || event->len == 0 || (is_folder && !folder->with_folders))
            continue;
        ret_found->owner = folder->owner;
        ret_found->seen = SEEN_FINISHED;
        ret_found->is_folder = is_folder;
        (void)snprintf(ret_found->name, sizeof ret_found->name, "%s", event->name);
        return true;
    }
    return false;
}

static bool is_folder(DIR *scan, const struct dirent *entry)
{
    struct stat is;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type == DT_DIR;
    return fstatat(dirfd(scan), entry->d_name, &is, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(is.st_mode);
}

/* The next name of this folder's scan; at its end the scan is over. */
static bool next_of(struct watched *folder, struct watch_found *ret_found)
{
    const struct dirent *entry;
    while (folder->scan && (entry = readdir(folder->scan)) != NULL) {
        if (folder_leaves_alone(entry->d_name))
            continue;
        ret_found->is_folder = is_folder(folder->scan, entry);
        if (ret_found->is_folder && !folder->with_folders)
            continue;
        ret_found->owner = folder->owner;
        ret_found->seen = SEEN_LYING;
        (void)snprintf(ret_found->name, sizeof ret_found->name, "%s", entry->d_name);
        return true;
    }
    if (folder->scan)
        closedir(folder->scan);
    folder->scan = NULL;
    return false;
}

static bool next_scanned(struct watch *watch, struct watch_found *ret_found)
{
    for (size_t i = 0; i < watch->count; i++) {
        struct watched *folder = watch->turn = watch->turn->next;
        if (!folder->scan && clock_mono_ms() >= folder->next_scan_ms) {
            folder->next_scan_ms = clock_mono_ms() + watch->scan_ms;
            folder->scan = opendir(folder->path); /* a failure is tried again at the next interval */
        }
        if (next_of(folder, ret_found))
            return true;
    }
    return false;
}

bool watch_next(struct watch *watch, struct watch_found *ret_found)
{
    return next_event(watch, ret_found) || next_scanned(watch, ret_found);
}
