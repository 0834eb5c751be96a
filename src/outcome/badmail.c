#include "outcome/badmail.h"

#include "base/json.h"
#include "os/clock.h"
#include "os/file.h"
#include "outcome/name.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TRIES_MAX = 100000,
    COPY_SIZE_MAX = 1 << 30,
    BASE_SIZE = OUTCOME_NAME_SIZE_MAX + 16, /* with the number of B2 */
    FILE_SIZE = BASE_SIZE + 8,              /* with the suffix */
};

bool badmail_open(const char *path, struct badmail_folder *ret_folder, struct error *error)
{
    if (!file_make_folder(path, 0750, error))
        return false;
    int fd = file_open_folder(path, error);
    if (fd < 0)
        return false;
    ret_folder->fd = fd;
    return true;
}

void badmail_close(struct badmail_folder *folder)
{
    if (folder->fd >= 0)
        close(folder->fd);
    folder->fd = -1;
}

static bool has_file(const struct badmail_folder *folder, const char *base, const char *suffix)
{
    char file[FILE_SIZE];
    struct stat is;
    (void)snprintf(file, sizeof file, "%s%s", base, suffix);
    return fstatat(folder->fd, file, &is, AT_SYMLINK_NOFOLLOW) == 0;
}

static void remove_file(const struct badmail_folder *folder, const char *base, const char *suffix)
{
    char file[FILE_SIZE];
    (void)snprintf(file, sizeof file, "%s%s", base, suffix);
    (void)unlinkat(folder->fd, file, 0); /* a reason too many is harmless */
}

/* After a failure: without its message a reason would only puzzle, and every new try would add one. */
static bool take_back(const struct badmail_folder *folder, const char *base)
{
    if (!has_file(folder, base, ".BAD")) {
        remove_file(folder, base, ".BDR");
        remove_file(folder, base, ".BDP");
    }
    return false;
}

/* Claims a base name by creating BASE.BDR exclusively; the reason goes in there. A message or
 * properties whose reason somebody removed keep their name too (B2). */
static int claim_base(const struct badmail_folder *folder, struct slice name,
                      char ret_base[BASE_SIZE], struct error *error)
{
    char clean[OUTCOME_NAME_SIZE_MAX + 1], file[FILE_SIZE];
    outcome_name_clean(name, clean);
    for (int i = 1; i < TRIES_MAX; i++) {
        if (i == 1)
            (void)snprintf(ret_base, BASE_SIZE, "%s", clean);
        else
            (void)snprintf(ret_base, BASE_SIZE, "%s.%d", clean, i);
        if (has_file(folder, ret_base, ".BAD") || has_file(folder, ret_base, ".BDP"))
            continue;
        (void)snprintf(file, sizeof file, "%s.BDR", ret_base);
        int fd = openat(folder->fd, file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST) {
            (void)error_set_errno(error, "Badmail");
            return -1;
        }
    }
    (void)error_set(error, "Badmail: no free name for %s", clean);
    return -1;
}

static void put_known(struct buf *out, const char *label, struct slice text)
{
    if (slice_is_absent(text))
        return;
    buf_append_text(out, label);
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_append_byte(out, (char)c);
    }
    buf_append_byte(out, '\n');
}

static void put_reason(struct buf *out, const struct badmail *about)
{
    char time[25], id[17];
    clock_rfc3339(about->time_ms, time);
    store_id_text(about->id, id);
    put_known(out, "Reason:     ", about->reason);
    put_known(out, "Status:     ", about->status);
    put_known(out, "File:       ", about->name);
    put_known(out, "Owner:      ", about->owner);
    put_known(out, "Sender:     ", about->sender);
    put_known(out, "Recipients: ", about->recipients);
    if (about->id)
        put_known(out, "Queue id:   ", slice_of(id));
    put_known(out, "Time:       ", slice_of(time));
    buf_append_text(out, "\nMend the message beside this file (.BAD) and move it into Pickup to send it.\n");
}

static void put_properties(struct buf *out, const struct badmail *about)
{
    char time[25], id[17];
    clock_rfc3339(about->time_ms, time);
    store_id_text(about->id, id);
    json_open(out, '{');
    json_put_text(out, "reason", about->reason);
    json_put_text(out, "status", about->status);
    json_put_text(out, "file", about->name);
    json_put_text(out, "owner", about->owner);
    json_put_text(out, "sender", about->sender);
    json_put_text(out, "recipients", about->recipients);
    json_put_text(out, "id", about->id ? slice_of(id) : SLICE_NONE);
    json_put_text(out, "time", slice_of(time));
    json_close(out, '}');
    buf_append_byte(out, '\n');
}

/* Reason and properties, durable (B1); the base name is then ours. */
static bool write_reason(const struct badmail_folder *folder, const struct badmail *about,
                         char ret_base[BASE_SIZE], struct error *error)
{
    int fd = claim_base(folder, about->name, ret_base, error);
    if (fd < 0)
        return false;
    struct buf text = {0}, properties = {0};
    char file[FILE_SIZE];
    put_reason(&text, about);
    put_properties(&properties, about);
    (void)snprintf(file, sizeof file, "%s.BDP", ret_base);
    bool is_done = file_write_all(fd, buf_slice(&text), error)
                   && (fsync(fd) == 0 || error_set_errno(error, "fsync"));
    if (close(fd) != 0 && is_done)
        is_done = error_set_errno(error, "close");
    is_done = is_done && file_publish(folder->fd, file, buf_slice(&properties), FILE_SYNC, error)
              && file_sync_folder(folder->fd, error);
    buf_finish(&text);
    buf_finish(&properties);
    return is_done || take_back(folder, ret_base);
}

/* Whether BASE was written for that message of the queue. */
static bool is_about(const struct badmail_folder *folder, const char *base, uint64_t id)
{
    char file[FILE_SIZE], id_text[17], wanted[32];
    struct buf properties = {0};
    struct error error;
    (void)snprintf(file, sizeof file, "%s.BDP", base);
    store_id_text(id, id_text);
    (void)snprintf(wanted, sizeof wanted, "\"id\":\"%s\"", id_text); /* no text can hold it: quotes are escaped */
    int fd = openat(folder->fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_it = file_read(fd, COPY_SIZE_MAX, &properties, &error)
                 && slice_find(buf_slice(&properties), slice_of(wanted)) >= 0;
    close(fd);
    buf_finish(&properties);
    return is_it;
}

static bool is_inode(const struct badmail_folder *folder, const char *base, ino_t inode)
{
    char file[FILE_SIZE];
    struct stat is;
    (void)snprintf(file, sizeof file, "%s.BAD", base);
    return fstatat(folder->fd, file, &is, AT_SYMLINK_NOFOLLOW) == 0 && is.st_ino == inode;
}

/* B4, B5: whether it lies there already, as this file (inode, not 0) or from this message of the queue. */
static bool has_message(const struct badmail_folder *folder, const struct badmail *about, ino_t inode)
{
    char clean[OUTCOME_NAME_SIZE_MAX + 1], base[BASE_SIZE];
    outcome_name_clean(about->name, clean);
    (void)snprintf(base, sizeof base, "%s", clean);
    for (int i = 2; i < TRIES_MAX && has_file(folder, base, ".BAD"); i++) {
        if (inode ? is_inode(folder, base, inode) : is_about(folder, base, about->id))
            return true;
        (void)snprintf(base, sizeof base, "%s.%d", clean, i);
    }
    return false;
}

bool badmail_write(const struct badmail_folder *folder, struct slice message,
                   const struct badmail *about, struct error *error)
{
    char base[BASE_SIZE], file[FILE_SIZE];
    if (about->id && has_message(folder, about, 0))
        return file_sync_folder(folder->fd, error);
    if (!write_reason(folder, about, base, error))
        return false;
    (void)snprintf(file, sizeof file, "%s.BAD", base);
    return (file_publish(folder->fd, file, message, FILE_SYNC, error)
            && file_sync_folder(folder->fd, error))
           || take_back(folder, base);
}

/* For a Badmail on another file system: copied and synced before the original goes. */
static bool copy_over(const struct badmail_folder *folder, int folder_fd, const char *file_name,
                      const char *to, struct error *error)
{
    int fd = openat(folder_fd, file_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, file_name);
    struct buf bytes = {0};
    struct stat is;
    bool is_done = fstat(fd, &is) == 0 && S_ISREG(is.st_mode);
    if (!is_done)
        (void)error_set(error, "Badmail is on another file system and this is no plain file");
    is_done = is_done && file_read(fd, COPY_SIZE_MAX, &bytes, error)
              && file_publish(folder->fd, to, buf_slice(&bytes), FILE_SYNC, error)
              && file_sync_folder(folder->fd, error);
    if (is_done && unlinkat(folder_fd, file_name, 0) != 0)
        is_done = error_set_errno(error, file_name);
    close(fd);
    buf_finish(&bytes);
    return is_done;
}

bool badmail_move(const struct badmail_folder *folder, int folder_fd, const char *file_name,
                  const struct badmail *about, struct error *error)
{
    char base[BASE_SIZE], file[FILE_SIZE];
    struct stat is;
    if (fstatat(folder_fd, file_name, &is, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(is.st_mode) && is.st_nlink > 1
        && has_message(folder, about, is.st_ino))
        return (unlinkat(folder_fd, file_name, 0) == 0 || error_set_errno(error, file_name))
               && file_sync_folder(folder_fd, error);
    if (!write_reason(folder, about, base, error))
        return false;
    (void)snprintf(file, sizeof file, "%s.BAD", base);
    /* The folder that it left first: synced after the other one, both names could come back. */
    if (renameat(folder_fd, file_name, folder->fd, file) == 0)
        return file_sync_folder(folder_fd, error) && file_sync_folder(folder->fd, error);
    bool is_done = errno == EXDEV ? copy_over(folder, folder_fd, file_name, file, error)
                                  : error_set_errno(error, file_name);
    return is_done || take_back(folder, base);
}
