#include "outcome/event.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"
#include "outcome/w3c.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_SIZE_MAX = 256 * 1024, TEXT_SIZE_MAX = 1024, TEXT_SIZE_MIN = 32 };

struct event_log {
    pthread_mutex_t mutex;
    struct buf lines;        /* not yet written */
    pthread_mutex_t file_mutex; /* taken before the other: who writes keeps nobody from adding lines */
    struct buf writing;      /* taken out of `lines`; the file's mutex guards it and the file */
    struct w3c_log *w3c;     /* NULL: none is wished */
    char *path;              /* NULL: no file */
    char *node;              /* of a cluster; NULL: there is none */
    int file_fd;
    uint64_t file_size, rotate_size;
    int keep;
    bool is_stdout;
    bool may_be_torn;        /* the file's last line, see is_torn() */
    uint64_t lost_lines;     /* since writing last worked, and not yet said */
    uint64_t told_lines;     /* said in a line that is not yet written */
    uint64_t waiting_lines;  /* in `lines` */
};

static const char *const kind_names[EVENT_KIND_COUNT] = {
    [EVENT_STARTED] = "started",     [EVENT_STOPPED] = "stopped",   [EVENT_RELOADED] = "reloaded",
    [EVENT_TAKEN] = "taken",         [EVENT_QUEUED] = "queued",     [EVENT_REFUSED] = "refused",
    [EVENT_DUPLICATE] = "duplicate",
    [EVENT_REJECTED] = "rejected",   [EVENT_SKIPPED] = "skipped",   [EVENT_CONNECTED] = "connected",
    [EVENT_DISCONNECTED] = "disconnected", [EVENT_DELIVERED] = "delivered",
    [EVENT_DEFERRED] = "deferred",   [EVENT_BOUNCED] = "bounced",   [EVENT_EXPIRED] = "expired",
    [EVENT_UNKNOWN] = "unknown",     [EVENT_NOTICE] = "notice",     [EVENT_BADMAIL] = "badmail",
    [EVENT_TURNED_AWAY] = "turned-away", [EVENT_AUTHENTICATED] = "authenticated", [EVENT_AUTH_FAILED] = "auth-failed",
    [EVENT_DENIED] = "denied",       [EVENT_ACCEPTED] = "accepted", [EVENT_ETRN] = "etrn", [EVENT_FILTERED] = "filtered",
    [EVENT_COMMAND] = "command",     [EVENT_HELD] = "held",           [EVENT_RELEASED] = "released", [EVENT_RETRIED] = "retried",
    [EVENT_REMOVED] = "removed",     [EVENT_REROUTED] = "rerouted", [EVENT_DONE] = "done",
    [EVENT_REPORTED] = "reported",
    [EVENT_PACED] = "paced",         [EVENT_RETURNED] = "returned",
    [EVENT_SUSPENDED] = "suspended", [EVENT_RESUMED] = "resumed",
    [EVENT_WARNING] = "warning",     [EVENT_ERROR] = "error",
};

const char *event_kind_name(enum event_kind kind)
{
    CHECK(kind < EVENT_KIND_COUNT);
    return kind_names[kind];
}

static bool open_file(struct event_log *log, struct error *error)
{
    log->file_fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (log->file_fd < 0)
        return error_set_errno(error, log->path);
    struct stat is;
    log->file_size = fstat(log->file_fd, &is) == 0 ? (uint64_t)is.st_size : 0;
    log->may_be_torn = log->file_size > 0;
    return true;
}

struct event_log *event_log_open(const struct config *config, struct error *error)
{
    struct event_log *log = mem_alloc(sizeof *log);
    pthread_mutex_init(&log->mutex, NULL);
    pthread_mutex_init(&log->file_mutex, NULL);
    log->file_fd = -1;
    log->rotate_size = config->events.rotate_size;
    log->keep = config->events.keep;
    log->is_stdout = config->events.is_stdout;
    log->node = config->store && config->node ? mem_copy_text(config->node) : NULL;
    if (!w3c_open(config, &log->w3c, error)) {
        event_log_close(&log);
        return NULL;
    }
    if (config->events.file && config->events.file[0]) {
        log->path = mem_copy_text(config->events.file);
        char *folder = mem_copy_text(log->path);
        char *slash = strrchr(folder, '/');
        if (slash)
            *slash = '\0';
        bool is_open = (!slash || file_make_folder(folder, 0750, error)) && open_file(log, error);
        free(folder);
        if (!is_open) {
            event_log_close(&log);
            return NULL;
        }
    }
    return log;
}

void event_log_close(struct event_log **log)
{
    if (!*log)
        return;
    event_flush(*log);
    if ((*log)->file_fd >= 0)
        close((*log)->file_fd);
    pthread_mutex_destroy(&(*log)->mutex);
    pthread_mutex_destroy(&(*log)->file_mutex);
    buf_finish(&(*log)->lines);
    buf_finish(&(*log)->writing);
    w3c_close(&(*log)->w3c);
    free((*log)->path);
    free((*log)->node);
    free(*log);
    *log = NULL;
}

static void put_id(struct buf *out, const char *key, uint64_t id)
{
    char text[17];
    if (id == 0)
        return;
    store_id_text(id, text);
    json_put_text(out, key, slice_of(text));
}

struct text_limit { struct buf *out; size_t size_max; };

static void put_text(struct text_limit to, const char *key, struct slice text)
{
    if (slice_is_absent(text))
        return;
    if (text.size > to.size_max) { /* cut between characters */
        text.size = to.size_max;
        while (text.size > to.size_max - 3 && (text.data[text.size] & 0xC0) == 0x80)
            text.size--;
    }
    json_put_text(to.out, key, text);
}

static void put_positive(struct buf *out, const char *key, int64_t number)
{
    if (number > 0)
        json_put_number(out, key, number);
}

static void put_duration(struct buf *out, const char *key, int64_t ms)
{
    if (ms >= 0)
        json_put_number(out, key, ms);
}

static void put_time(struct buf *out, const char *key, int64_t wall_ms)
{
    char text[25];
    clock_rfc3339(wall_ms, text);
    json_put_text(out, key, slice_of(text));
}

static void put_fields(struct buf *out, const struct event *event, const char *node, size_t text_size_max)
{
    struct text_limit to = {out, text_size_max};
    json_open(out, '{');
    put_time(out, "time", clock_wall_ms());
    json_put_text(out, "event", slice_of(event_kind_name(event->kind)));
    put_text(to, "node", slice_of(node));
    put_id(out, "id", event->id);
    put_id(out, "about", event->about);
    put_text(to, "trace", event->trace);
    put_text(to, "pickup", event->pickup);
    put_text(to, "message_id", event->message_id);
    put_text(to, "from", event->sender);
    put_text(to, "to", event->recipient);
    put_text(to, "owner", event->owner);
    put_text(to, "dialect", event->dialect);
    put_text(to, "repairs", event->repairs);
    put_text(to, "client", event->client);
    put_text(to, "helo", event->helo);
    put_text(to, "user", event->user);
    put_text(to, "mx", event->host);
    put_text(to, "ip", event->address);
    put_text(to, "tls", event->tls);
    put_text(to, "cipher", event->cipher);
    put_text(to, "policy", event->policy);
    put_text(to, "route", event->route);
    put_text(to, "auth", event->auth);
    put_text(to, "stage", event->stage);
    put_positive(out, "code", event->code);
    put_text(to, "status", event->status);
    put_text(to, "class", event->class);
    put_text(to, "reply", event->reply);
    put_text(to, "reason", event->reason);
    put_text(to, "note", event->note);
    put_positive(out, "attempt", event->attempt);
    if (event->next_ms)
        put_time(out, "next", event->next_ms);
    put_positive(out, "size", event->size);
    put_positive(out, "recipients", event->recipients);
    put_duration(out, "age_ms", event->age_ms);
    put_duration(out, "delay_ms", event->delay_ms);
    put_duration(out, "connect_ms", event->connect_ms);
    put_duration(out, "transaction_ms", event->transaction_ms);
    json_close(out, '}');
    buf_append_byte(out, '\n');
}

/* Escaped, hostile text is up to six times as long: then all texts of the event are cut until the
 * line fits (V1). */
static void put_line(struct buf *out, const struct event *event, const char *node)
{
    size_t start = out->size;
    for (size_t size_max = TEXT_SIZE_MAX; size_max >= TEXT_SIZE_MIN; size_max /= 2) {
        out->size = start;
        put_fields(out, event, node, size_max);
        if (out->size - start <= EVENT_LINE_SIZE_MAX)
            return;
    }
    CHECK(out->size - start <= EVENT_LINE_SIZE_MAX);
}

static void rotate(struct event_log *log)
{
    char from[4200], to[4200];
    for (int i = log->keep - 1; i >= 1; i--) {
        (void)snprintf(from, sizeof from, "%s.%d", log->path, i);
        (void)snprintf(to, sizeof to, "%s.%d", log->path, i + 1);
        (void)rename(from, to); /* a gap in the row is no harm */
    }
    (void)snprintf(to, sizeof to, "%s.1", log->path);
    if (rename(log->path, to) != 0)
        return; /* goes on in the old file */
    int old_fd = log->file_fd;
    struct error error;
    if (open_file(log, &error))
        close(old_fd);
    else
        log->file_fd = old_fd;
}

/* Whether the file ends within a line: a disk that filled, or a crash, cut it. */
static bool is_torn(const struct event_log *log)
{
    struct stat is;
    char last = '\n';
    int fd = open(log->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    if (fstat(fd, &is) == 0 && S_ISREG(is.st_mode) && is.st_size > 0)
        (void)!pread(fd, &last, 1, is.st_size - 1); /* unreadable: taken for whole */
    close(fd);
    return last != '\n';
}

/* What comes behind a torn line stands on a line of its own (V1). */
static bool append_to_file(struct event_log *log)
{
    struct error error;
    bool is_written =
        (!log->may_be_torn || !is_torn(log)
         || file_write_all(log->file_fd, SLICE("\n"), &error))
        && file_write_all(log->file_fd, buf_slice(&log->writing), &error);
    if (is_written)
        log->file_size += log->writing.size;
    log->may_be_torn = !is_written;
    return is_written;
}

/* Writes what was taken; the file's mutex is held. A failing disk loses lines, never mail (V4). */
static bool write_lines(struct event_log *log)
{
    struct error error;
    bool is_written = true;
    if (log->is_stdout && !file_write_all(STDOUT_FILENO, buf_slice(&log->writing), &error))
        is_written = false;
    if (log->file_fd >= 0 && !append_to_file(log))
        is_written = false;
    buf_clear(&log->writing);
    if (log->file_fd >= 0 && log->rotate_size && log->file_size >= log->rotate_size)
        rotate(log);
    return is_written;
}

static void tell_lost(struct event_log *log)
{
    struct event event = EVENT(EVENT_WARNING);
    char note[80];
    (void)snprintf(note, sizeof note, "up to %llu event lines could not be written",
                   (unsigned long long)log->lost_lines);
    event.note = slice_of(note);
    log->told_lines = log->lost_lines;
    log->lost_lines = 0;
    put_line(&log->lines, &event, log->node);
}

void event_put(struct event_log *log, const struct event *event)
{
    pthread_mutex_lock(&log->mutex);
    if (log->lost_lines)
        tell_lost(log);
    if (event->kind != EVENT_COMMAND) {
        put_line(&log->lines, event, log->node);
        log->waiting_lines++;
    }
    if (log->w3c)
        w3c_put(log->w3c, event, clock_wall_ms());
    bool is_large = log->lines.size >= BUFFER_SIZE_MAX;
    pthread_mutex_unlock(&log->mutex);
    if (is_large)
        event_flush(log);
}

void event_flush(struct event_log *log)
{
    pthread_mutex_lock(&log->file_mutex);
    pthread_mutex_lock(&log->mutex);
    struct buf taken = log->lines;
    uint64_t lines = log->waiting_lines + log->told_lines;
    bool is_written = !log->w3c || w3c_flush(log->w3c);
    log->lines = log->writing;
    log->writing = taken;
    log->waiting_lines = log->told_lines = 0;
    pthread_mutex_unlock(&log->mutex);
    if (taken.size && !write_lines(log))
        is_written = false;
    if (!is_written) {
        pthread_mutex_lock(&log->mutex);
        log->lost_lines += lines;
        pthread_mutex_unlock(&log->mutex);
    }
    pthread_mutex_unlock(&log->file_mutex);
}
