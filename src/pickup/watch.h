/* watch: names of files in Pickup that may be ready, from inotify and from scans.
 *
 * W1  inotify is only a hint: IN_CLOSE_WRITE and IN_MOVED_TO give SEEN_FINISHED names at once
 * W2  a scan (start-up, overflow of inotify's queue, every pickup.scan_interval) gives SEEN_LYING names
 * W3  a scan is a stream: getdents a piece at a time, so that a folder of 10^6 files starves nobody and costs no memory
 * Used by the intake thread alone. */
#ifndef MR_PICKUP_WATCH_H
#define MR_PICKUP_WATCH_H

#include "pickup/folder.h"

struct watch;
MUST_USE struct watch *watch_open(const char *path, int64_t scan_ms, struct error *error);
void watch_close(struct watch **watch);
int watch_fd(const struct watch *watch); /* poll it; -1 where inotify is not to be had */
int watch_wait_ms(const struct watch *watch); /* until something is to be done; 0 = now, -1 = only by events */
void watch_scan_soon(struct watch *watch, int64_t delay_ms);
bool watch_overflowed(struct watch *watch); /* since the last call */
/* The next name; false when there is none now. `ret_name` is FOLDER_NAME_SIZE octets. */
bool watch_next(struct watch *watch, char *ret_name, enum claim_seen *ret_seen);

#endif
