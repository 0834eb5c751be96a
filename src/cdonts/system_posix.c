#include "cdonts/system.h"

#include "os/clock.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

bool system_random(void *bytes, size_t size)
{
    return getrandom(bytes, size, 0) == (ssize_t)size;
}

int64_t system_time_ms(void)
{
    return clock_wall_ms();
}

void system_sleep_ms(int ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    (void)nanosleep(&time, NULL); /* a signal only makes the next look earlier */
}

char *system_user(void)
{
    struct passwd entry, *found = NULL;
    char room[4096];
    if (getpwuid_r(geteuid(), &entry, room, sizeof room, &found) != 0 || !found)
        return NULL;
    return strdup(entry.pw_name);
}

char *system_folder_path(enum system_folder which)
{
    static const char *const variables[] = {"MAILROOT_PICKUP", "MAILROOT_DROP", "MAILROOT_RECEIPTS"};
    static const char *const usual[] = {"/var/lib/mailroot/Pickup", "/var/lib/mailroot/Drop",
                                        "/var/lib/mailroot/Receipts"};
    const char *set = secure_getenv(variables[which]);
    return strdup(set && *set ? set : usual[which]);
}

char system_separator(void)
{
    return '/';
}

bool system_read(const char *path, size_t size_max, struct buf *out, struct error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_done = fd >= 0 ? file_read(fd, size_max, out, error) : error_set_errno(error, "open");
    if (fd >= 0)
        close(fd);
    return is_done || error_prefix(error, "%s", path);
}

bool system_write(const char *path, struct slice bytes, struct error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool is_done = fd >= 0 ? file_write_all(fd, bytes, error) : error_set_errno(error, "open");
    if (fd >= 0 && close(fd) != 0 && is_done)
        is_done = error_set_errno(error, "close");
    return is_done || error_prefix(error, "%s", path);
}

bool system_remove(const char *path, struct error *error)
{
    return unlink(path) == 0 || error_set_errno(error, path);
}

int64_t system_modified_ms(const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0)
        return 0;
    return (int64_t)facts.st_mtim.tv_sec * 1000 + facts.st_mtim.tv_nsec / 1000000;
}

bool system_list(const char *folder, bool (*each)(void *arg, const char *name), void *arg, struct error *error)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return error_set_errno(error, folder);
    const struct dirent *entry;
    bool is_wanted = true;
    while (is_wanted && (entry = readdir(dir)))
        is_wanted = each(arg, entry->d_name);
    closedir(dir);
    return true;
}

bool system_submit(const char *folder, const struct submission *submission, char ret_name[PICKUP_WRITER_NAME_SIZE],
                   struct error *error)
{
    return pickup_write(folder, submission, ret_name, error);
}
