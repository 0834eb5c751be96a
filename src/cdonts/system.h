/* system: all that libcdonts asks of the operating system, once for POSIX and once for Windows. Paths are UTF-8.
 * Functions that give text give a heap copy, NULL where there is none. */
#ifndef MR_CDONTS_SYSTEM_H
#define MR_CDONTS_SYSTEM_H

#include "pickup/pickup_writer.h"

enum system_folder { SYSTEM_PICKUP, SYSTEM_DROP, SYSTEM_RECEIPTS };

bool system_random(void *bytes, size_t size);
int64_t system_time_ms(void);
void system_sleep_ms(int ms);
char *system_user(void);                            /* who runs the process: a sender of last resort */
char *system_folder_path(enum system_folder which); /* from environment (or registry), else the usual place */
char system_separator(void);

MUST_USE bool system_read(const char *path, size_t size_max, struct buf *out, struct error *error);
MUST_USE bool system_write(const char *path, struct slice bytes, struct error *error);
MUST_USE bool system_remove(const char *path, struct error *error);
int64_t system_modified_ms(const char *path); /* 0 if unknown */
/* Plain names in a folder, in no order, until the function says false. */
MUST_USE bool system_list(const char *folder, bool (*each)(void *arg, const char *name), void *arg, struct error *error);
MUST_USE bool system_submit(const char *folder, const struct submission *submission,
                            char ret_name[PICKUP_WRITER_NAME_SIZE], struct error *error);

#endif
