/* watch: names of files in Pickup and its folders that may be ready, from inotify and from scans.
 *
 * W1  inotify is only a hint: IN_CLOSE_WRITE and IN_MOVED_TO give SEEN_FINISHED names at once
 * W2  a scan (start-up, overflow of inotify's queue, every pickup.scan_interval) gives SEEN_LYING names
 * W3  a scan is a stream: getdents a piece at a time, so that a folder of 10^6 files costs no memory; folders take turns, name
 *     by name, so that one starves nobody
 * W4  one inotify descriptor serves all folders: an ordinary user has 128 of them, and may have more folders
 * Used by the intake thread alone. */
#ifndef MR_PICKUP_WATCH_H
#define MR_PICKUP_WATCH_H

#include "pickup/folder.h"

struct watch;
struct watched;
struct watch_found {
    void *owner;                 /* of the folder, as given to watch_add() */
    enum claim_seen seen;
    bool is_folder;              /* a folder in it; only of a folder that was added with its folders */
    char name[FOLDER_NAME_SIZE];
};

struct watch *watch_open(int64_t scan_ms);
void watch_close(struct watch **watch);
/* NULL if there is no such folder. Its first scan begins at once. */
MUST_USE struct watched *watch_add(struct watch *watch, const char *path, void *owner, bool with_folders, struct error *error);
void watch_remove(struct watch *watch, struct watched *folder);
int watch_fd(const struct watch *watch); /* poll it; -1 where inotify is not to be had */
int watch_wait_ms(const struct watch *watch); /* until something is to be done; 0 = now, -1 = only by events */
void watch_scan_soon(struct watch *watch, int64_t delay_ms); /* all folders */
bool watch_overflowed(struct watch *watch); /* since the last call */
/* The next name; false when there is none now. */
bool watch_next(struct watch *watch, struct watch_found *ret_found);

#endif
