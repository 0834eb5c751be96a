#include "pickup/pickup_writer.h"

#include "os/clock.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES_MAX = 100 };

static bool is_clean(struct slice text)
{
    return slice_find_byte(text, '\r') < 0 && slice_find_byte(text, '\n') < 0 && slice_find_byte(text, '\0') < 0;
}

static bool check(const struct submission *submission, struct error *error)
{
    const struct slice texts[] = {submission->sender, submission->ret, submission->envid, submission->notify};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (!slice_is_absent(texts[i]) && !is_clean(texts[i]))
            return error_set(error, "a line end in the sender or a parameter");
    for (size_t i = 0; i < submission->recipient_count; i++)
        if (submission->recipients[i].size == 0 || !is_clean(submission->recipients[i]))
            return error_set(error, "a recipient that is empty or holds a line end");
    return true;
}

static void put_path(struct buf *out, const char *field, struct slice address)
{
    bool is_bracketed = address.size && address.data[0] == '<';
    buf_append_text(out, field);
    if (!is_bracketed)
        buf_append_byte(out, '<');
    buf_append(out, address);
    if (!is_bracketed)
        buf_append_byte(out, '>');
}

static void put_parameter(struct buf *out, const char *name, struct slice value)
{
    if (slice_is_absent(value))
        return;
    buf_append_text(out, name);
    buf_append(out, value);
}

static void put_envelope(struct buf *out, const struct submission *submission)
{
    if (!slice_is_absent(submission->sender)) {
        put_path(out, "X-Sender: ", submission->sender);
        put_parameter(out, " RET=", submission->ret);
        put_parameter(out, " ENVID=", submission->envid);
        buf_append_text(out, "\r\n");
    }
    for (size_t i = 0; i < submission->recipient_count; i++) {
        put_path(out, "X-Receiver: ", submission->recipients[i]);
        put_parameter(out, " NOTIFY=", submission->notify);
        buf_append_text(out, "\r\n");
    }
}

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

static bool fill(int fd, const struct submission *submission, struct error *error)
{
    struct buf envelope = {0};
    put_envelope(&envelope, submission);
    bool is_done = file_write_all(fd, buf_slice(&envelope), error)
                   && file_write_all(fd, submission->message, error)
                   && (fchmod(fd, 0644) == 0 || error_set_errno(error, "chmod"))
                   && (fsync(fd) == 0 || error_set_errno(error, "fsync"));
    buf_finish(&envelope);
    return is_done;
}

/* S3. */
static bool sync_name(const char *dir, int fd, struct error *error)
{
    int folder_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_done = folder_fd >= 0 ? fsync(folder_fd) == 0 : syncfs(fd) == 0;
    if (!is_done)
        (void)error_set_errno(error, "sync");
    if (folder_fd >= 0)
        close(folder_fd);
    return is_done;
}

bool pickup_write(const char *dir, const struct submission *submission,
                  char ret_name[PICKUP_WRITER_NAME_SIZE], struct error *error)
{
    char hidden[PICKUP_WRITER_NAME_SIZE];
    if (!check(submission, error))
        return false;
    int folder_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return error_set_errno(error, dir);
    int fd = create_hidden(folder_fd, hidden, error);
    bool is_done = fd >= 0 && fill(fd, submission, error);
    if (is_done) {
        (void)snprintf(ret_name, PICKUP_WRITER_NAME_SIZE, "%.70s.eml", hidden + strlen(".mailroot-"));
        is_done = renameat2(folder_fd, hidden, folder_fd, ret_name, RENAME_NOREPLACE) == 0
                  || error_set_errno(error, "rename");
    }
    if (fd >= 0 && !is_done)
        (void)unlinkat(folder_fd, hidden, 0);
    is_done = is_done && sync_name(dir, fd, error);
    if (fd >= 0)
        close(fd);
    close(folder_fd);
    return is_done || error_prefix(error, "%s", dir);
}
