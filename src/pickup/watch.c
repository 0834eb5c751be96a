#include "pickup/watch.h"

#include "base/buf.h"
#include "base/mem.h"
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
#include <unistd.h>

enum { EVENTS_SIZE = 64 * 1024 };

struct watch {
    char *path;
    int inotify_fd;
    int64_t scan_ms, next_scan_ms; /* monotonic */
    DIR *scan;                     /* under way */
    bool has_overflowed;
    size_t events_at, events_size;
    alignas(struct inotify_event) char events[EVENTS_SIZE];
};

struct watch *watch_open(const char *path, int64_t scan_ms, struct error *error)
{
    struct watch *watch = mem_alloc(sizeof *watch);
    watch->path = mem_copy_text(path);
    watch->scan_ms = scan_ms;
    watch->next_scan_ms = clock_mono_ms();
    watch->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    /* Without inotify (watch limit, odd file systems) the scans still find everything. */
    if (watch->inotify_fd >= 0
        && inotify_add_watch(watch->inotify_fd, path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
        int why = errno;
        close(watch->inotify_fd);
        watch->inotify_fd = -1;
        if (why == ENOENT || why == ENOTDIR) {
            (void)error_set(error, "%s: %s", path, strerrordesc_np(why));
            watch_close(&watch);
        }
    }
    return watch;
}

void watch_close(struct watch **watch)
{
    if (!*watch)
        return;
    if ((*watch)->scan)
        closedir((*watch)->scan);
    if ((*watch)->inotify_fd >= 0)
        close((*watch)->inotify_fd);
    free((*watch)->path);
    free(*watch);
    *watch = NULL;
}

int watch_fd(const struct watch *watch)
{
    return watch->inotify_fd;
}

int watch_wait_ms(const struct watch *watch)
{
    if (watch->scan || watch->events_at < watch->events_size)
        return 0;
    int64_t wait = watch->next_scan_ms - clock_mono_ms();
    return wait < 0 ? 0 : wait > INT_MAX ? INT_MAX : (int)wait;
}

void watch_scan_soon(struct watch *watch, int64_t delay_ms)
{
    int64_t at = clock_mono_ms() + delay_ms;
    if (at < watch->next_scan_ms)
        watch->next_scan_ms = at;
}

bool watch_overflowed(struct watch *watch)
{
    bool has = watch->has_overflowed;
    watch->has_overflowed = false;
    return has;
}

static bool next_event(struct watch *watch, char *ret_name)
{
    for (;;) {
        if (watch->events_at >= watch->events_size) {
            if (watch->inotify_fd < 0)
                return false;
            ssize_t got = read(watch->inotify_fd, watch->events, sizeof watch->events);
            if (got <= 0)
                return false;
            watch->events_at = 0;
            watch->events_size = (size_t)got;
        }
        const struct inotify_event *event = (const void *)(watch->events + watch->events_at);
        watch->events_at += sizeof *event + event->len;
        if (event->mask & IN_Q_OVERFLOW) {
            watch->has_overflowed = true;
            watch_scan_soon(watch, 0);
            continue;
        }
        if (event->len == 0 || (event->mask & IN_ISDIR))
            continue;
        (void)snprintf(ret_name, FOLDER_NAME_SIZE, "%s", event->name);
        return true;
    }
}

static void start_scan(struct watch *watch)
{
    watch->next_scan_ms = clock_mono_ms() + watch->scan_ms;
    watch->scan = opendir(watch->path); /* a failure is tried again at the next interval */
}

static bool next_scanned(struct watch *watch, char *ret_name)
{
    if (!watch->scan && clock_mono_ms() >= watch->next_scan_ms)
        start_scan(watch);
    while (watch->scan) {
        const struct dirent *entry = readdir(watch->scan);
        if (!entry) {
            closedir(watch->scan);
            watch->scan = NULL;
            break;
        }
        if (folder_leaves_alone(entry->d_name) || entry->d_type == DT_DIR)
            continue;
        (void)snprintf(ret_name, FOLDER_NAME_SIZE, "%s", entry->d_name);
        return true;
    }
    return false;
}

bool watch_next(struct watch *watch, char *ret_name, enum claim_seen *ret_seen)
{
    if (next_event(watch, ret_name)) {
        *ret_seen = SEEN_FINISHED;
        return true;
    }
    if (next_scanned(watch, ret_name)) {
        *ret_seen = SEEN_LYING;
        return true;
    }
    return false;
}
