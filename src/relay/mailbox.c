#include "relay/mailbox.h"

#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES_MAX = 100, DROP_MODE = 0770, COMPARED_SIZE = 64 * 1024 };

/* ---- whose ---- */

static struct slice local_part(struct slice address, struct slice *ret_domain)
{
    size_t at = address.size;
    while (at > 0 && address.data[at - 1] != '@')
        at--;
    *ret_domain = at ? slice_from(address, at) : SLICE("");
    return at ? slice_first(address, at - 1) : address;
}

static void put_lower(struct buf *out, struct slice text)
{
    bool is_quoted = text.size >= 2 && text.data[0] == '"';
    if (is_quoted)
        text = slice_make(text.data + 1, text.size - 2);
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (is_quoted && c == '\\' && i + 1 < text.size)
            c = text.data[++i];
        buf_append_byte(out, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
    }
}

static bool is_file_name(struct slice name)
{
    if (name.size == 0 || name.data[0] == '.' || name.size > 255)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] < 0x20 || name.data[i] == 0x7f || name.data[i] == '/')
            return false;
    return true;
}

bool mailbox_path(const char *template, struct slice address, struct buf *out)
{
    struct buf user = {0}, host = {0};
    struct slice domain;
    put_lower(&user, local_part(address, &domain));
    put_lower(&host, domain);
    bool is_fine = is_file_name(buf_slice(&user)) && is_file_name(buf_slice(&host));
    for (const char *c = template; is_fine && *c; c++) {
        if (*c != '%' || !c[1])
            buf_append_byte(out, *c);
        else if (*++c == 'u')
            buf_append(out, buf_slice(&user));
        else if (*c == 'd')
            buf_append(out, buf_slice(&host));
        else
            buf_append_byte(out, *c);
    }
    buf_finish(&user);
    buf_finish(&host);
    return is_fine && out->size < MAILBOX_PATH_SIZE;
}

/* ---- folders ---- */

static const char *temporary_of(enum mailbox_kind kind) { return kind == MAILBOX_DROP ? ".new" : "tmp"; }

static const char *final_of(enum mailbox_kind kind) { return kind == MAILBOX_DROP ? "." : "new"; }

/* A sub-folder of ours, made if it is missing; -1 with errno. */
static int open_below(int folder_fd, const char *name, mode_t mode)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(folder_fd, name, flags);
    if (fd < 0 && errno == ENOENT && (mkdirat(folder_fd, name, mode) == 0 || errno == EEXIST))
        fd = openat(folder_fd, name, flags);
    return fd;
}

static bool parent_exists(const char *path)
{
    char parent[MAILBOX_PATH_SIZE];
    struct stat is;
    (void)snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent)
        *slash = '\0';
    return stat(parent, &is) == 0 && S_ISDIR(is.st_mode);
}

/* The folder itself; -1 with what that means (M4). */
static int open_folder(const struct mailbox_file *file, enum mailbox_result *ret_result, struct error *error)
{
    int fd = open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && file->kind == MAILBOX_DROP && file_make_folder(file->folder, DROP_MODE, error))
        fd = open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    *ret_result = MAILBOX_LATER;
    if (file->kind == MAILBOX_MAILDIR && errno == ENOENT && parent_exists(file->folder)) {
        *ret_result = MAILBOX_NONE;
        (void)error_set(error, "no such mailbox here");
    } else {
        (void)error_set_errno(error, file->folder);
    }
    return -1;
}

/* ---- one file ---- */

static bool write_lines(int fd, struct slice text, struct error *error)
{
    struct buf lines = {0};
    bool is_done = true;
    while (text.size && is_done) {
        struct slice line = slice_cut(&text, '\n');
        bool has_end = line.data + line.size < text.data; /* else the text ends here, without one */
        if (line.size && line.data[line.size - 1] == '\r' && has_end)
            line.size--;
        buf_append(&lines, line);
        if (has_end)
            buf_append_byte(&lines, '\n');
        if (lines.size > COMPARED_SIZE || text.size == 0) {
            is_done = file_write_all(fd, buf_slice(&lines), error);
            buf_clear(&lines);
        }
    }
    buf_finish(&lines);
    return is_done;
}

static bool write_bytes(const struct mailbox_file *file, int fd, struct error *error)
{
    if (file->kind == MAILBOX_MAILDIR)
        return write_lines(fd, file->head, error) && write_lines(fd, file->content, error);
    return file_write_all(fd, file->head, error) && file_write_all(fd, file->content, error);
}

/* Whole and synced under its name in the folder of unfinished files. A leftover of a crash is ours: it goes. */
static bool write_unfinished(const struct mailbox_file *file, int temporary_fd, struct error *error)
{
    mode_t mode = file->kind == MAILBOX_DROP ? 0640 : 0660;
    (void)unlinkat(temporary_fd, file->name, 0);
    int fd = openat(temporary_fd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set_errno(error, file->folder);
    bool is_written = write_bytes(file, fd, error) && (fsync(fd) == 0 || error_set_errno(error, "fsync"));
    if (close(fd) != 0 && is_written)
        is_written = error_set_errno(error, "close");
    if (!is_written)
        (void)unlinkat(temporary_fd, file->name, 0); /* at the next try, then */
    return is_written;
}

static bool have_same_bytes(int a_fd, int b_fd)
{
    static _Thread_local char a[COMPARED_SIZE], b[COMPARED_SIZE];
    struct stat a_is, b_is;
    if (fstat(a_fd, &a_is) != 0 || fstat(b_fd, &b_is) != 0 || !S_ISREG(b_is.st_mode) || a_is.st_size != b_is.st_size)
        return false;
    for (off_t at = 0; at < a_is.st_size;) {
        ssize_t got = pread(a_fd, a, sizeof a, at);
        if (got <= 0 || pread(b_fd, b, (size_t)got, at) != got || memcmp(a, b, (size_t)got) != 0)
            return false;
        at += got;
    }
    return true;
}

static bool is_same(int temporary_fd, const char *name, int final_fd, const char *final_name)
{
    int a = openat(temporary_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int b = openat(final_fd, final_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool is_same = a >= 0 && b >= 0 && have_same_bytes(a, b);
    if (a >= 0)
        close(a);
    if (b >= 0)
        close(b);
    return is_same;
}

/* "1d5c….eml" -> "1d5c….2.eml" */
static void further_name(const struct mailbox_file *file, int number, char ret_name[MAILBOX_NAME_SIZE])
{
    size_t size = strlen(file->name);
    bool has_suffix = size > 4 && strcmp(file->name + size - 4, ".eml") == 0;
    if (number == 1)
        (void)snprintf(ret_name, MAILBOX_NAME_SIZE, "%s", file->name);
    else
        (void)snprintf(ret_name, MAILBOX_NAME_SIZE, "%.*s.%d%s", (int)(has_suffix ? size - 4 : size), file->name, number,
                       has_suffix ? ".eml" : "");
}

/* M2, M3. Where the file system knows no RENAME_NOREPLACE a link does the same. */
static bool give_name(struct mailbox_file *file, int temporary_fd, int final_fd, struct error *error)
{
    char name[MAILBOX_NAME_SIZE];
    for (int number = 1; number <= NAMES_MAX; number++) {
        further_name(file, number, name);
        bool is_moved = renameat2(temporary_fd, file->name, final_fd, name, RENAME_NOREPLACE) == 0;
        if (!is_moved && (errno == EINVAL || errno == ENOSYS)) {
            is_moved = linkat(temporary_fd, file->name, final_fd, name, 0) == 0;
            if (is_moved)
                (void)unlinkat(temporary_fd, file->name, 0);
        }
        if (!is_moved && errno != EEXIST)
            break;
        if (!is_moved && !is_same(temporary_fd, file->name, final_fd, name))
            continue;
        if (!is_moved)
            (void)unlinkat(temporary_fd, file->name, 0); /* delivered before the crash */
        (void)memcpy(file->name, name, sizeof name);
        return true;
    }
    (void)error_set_errno(error, file->folder);
    (void)unlinkat(temporary_fd, file->name, 0);
    return false;
}

enum mailbox_result mailbox_write(struct mailbox_file *file, struct error *error)
{
    enum mailbox_result result = MAILBOX_LATER;
    int folder_fd = open_folder(file, &result, error);
    if (folder_fd < 0)
        return result;
    int temporary_fd = open_below(folder_fd, temporary_of(file->kind), 0770);
    int final_fd = temporary_fd < 0 ? -1 : open_below(folder_fd, final_of(file->kind), 0770);
    int current_fd = final_fd >= 0 && file->kind == MAILBOX_MAILDIR ? open_below(folder_fd, "cur", 0770) : -1;
    if (final_fd < 0)
        (void)error_set_errno(error, file->folder);
    else if (write_unfinished(file, temporary_fd, error) && give_name(file, temporary_fd, final_fd, error))
        result = MAILBOX_DONE;
    int fds[] = {folder_fd, temporary_fd, final_fd, current_fd};
    for (size_t i = 0; i < COUNT_OF(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return result;
}

bool mailbox_sync(enum mailbox_kind kind, const char *folder, struct error *error)
{
    int folder_fd = file_open_folder(folder, error);
    if (folder_fd < 0)
        return false;
    int final_fd = open_below(folder_fd, final_of(kind), 0770);
    /* A Maildir's new/ may itself be new. */
    bool is_done = final_fd >= 0 ? file_sync_folder(final_fd, error) : error_set_errno(error, folder);
    if (is_done && kind == MAILBOX_MAILDIR)
        is_done = file_sync_folder(folder_fd, error);
    if (final_fd >= 0)
        close(final_fd);
    close(folder_fd);
    return is_done;
}
