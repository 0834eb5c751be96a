#include "outcome/suppressed.h"

#include "base/hash.h"
#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_SIZE_MAX = 1024 * 1024 * 1024, LOOK_EVERY_MS = 1000, ADDRESS_SIZE_MAX = 512, WORDS_SIZE_MAX = 200, DEAD_LINES_MIN = 1000 };

struct entry { struct suppression is; char *text; UT_hash_handle hh; }; /* text: address (the key), class and words */

struct suppressed {
    char *path;
    int folder_fd;
    int64_t expire_ms, looked_ms;
    off_t read;               /* octets of the file that were read */
    ino_t inode;
    size_t lines;
    struct entry *entries;
};

/* ---- what the file says ---- */

static bool lower(struct slice address, char ret_text[ADDRESS_SIZE_MAX])
{
    if (address.size == 0 || address.size >= ADDRESS_SIZE_MAX)
        return false;
    for (size_t i = 0; i < address.size; i++) {
        char c = address.data[i];
        if ((unsigned char)c < 0x20)
            return false;
        ret_text[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    ret_text[address.size] = '\0';
    return true;
}

static void entry_drop(struct suppressed *s, struct entry *entry)
{
    HASH_DEL(s->entries, entry);
    free(entry->text);
    free(entry);
}

static void entry_set(struct suppressed *s, const char *address, int64_t added_ms, struct slice class, struct slice words)
{
    struct entry *entry;
    struct buf text = {0};
    HASH_FIND_STR(s->entries, address, entry);
    if (entry)
        entry_drop(s, entry);
    size_t class_at = strlen(address) + 1, words_at = class_at + class.size + 1;
    buf_append(&text, slice_make(address, class_at));
    buf_append(&text, class);
    buf_append_byte(&text, '\0');
    buf_append(&text, words);
    entry = mem_alloc(sizeof *entry);
    entry->text = buf_take(&text);
    entry->is = (struct suppression){entry->text, entry->text + class_at, entry->text + words_at, added_ms};
    HASH_ADD_KEYPTR(hh, s->entries, entry->text, strlen(entry->text), entry);
}

static void read_line(struct suppressed *s, struct slice line)
{
    char address[ADDRESS_SIZE_MAX];
    struct entry *entry;
    uint64_t added_ms;
    if (line.size < 2 || (line.data[0] != '+' && line.data[0] != '-'))
        return;
    bool is_added = line.data[0] == '+';
    line = slice_from(line, 1);
    if (!lower(slice_cut(&line, '\t'), address) || !slice_to_u64(slice_cut(&line, '\t'), &added_ms) || added_ms > INT64_MAX)
        return;
    s->lines++;
    if (is_added) {
        struct slice class = slice_cut(&line, '\t');
        entry_set(s, address, (int64_t)added_ms, class, line);
        return;
    }
    HASH_FIND_STR(s->entries, address, entry);
    if (entry)
        entry_drop(s, entry);
}

static void forget(struct suppressed *s)
{
    struct entry *entry, *next;
    HASH_ITER(hh, s->entries, entry, next)
        entry_drop(s, entry);
    s->read = 0;
    s->lines = 0;
}

/* What was appended since; all of it when the file is another one. A line that is not whole yet stays for the next time. */
static bool catch_up(struct suppressed *s, int fd, struct error *error)
{
    struct stat is;
    struct buf text = {0};
    if (fstat(fd, &is) != 0)
        return error_set_errno(error, s->path);
    if (is.st_ino != s->inode || is.st_size < s->read)
        forget(s);
    s->inode = is.st_ino;
    if (is.st_size == s->read)
        return true;
    if (is.st_size - s->read > FILE_SIZE_MAX)
        return error_set(error, "%s: too long", s->path);
    size_t size = (size_t)(is.st_size - s->read);
    ssize_t got = pread(fd, buf_reserve(&text, size), size, s->read);
    text.size = got > 0 ? (size_t)got : 0;
    struct slice rest = buf_slice(&text);
    for (ptrdiff_t end; (end = slice_find_byte(rest, '\n')) >= 0; rest = slice_from(rest, (size_t)end + 1)) {
        read_line(s, slice_first(rest, (size_t)end));
        s->read += end + 1;
    }
    buf_finish(&text);
    return true;
}

/* ---- the file ---- */

/* Opens it with its lock; not one that was renamed away meanwhile. */
static int open_locked(struct suppressed *s, struct error *error)
{
    struct stat folder, is, named;
    for (;;) {
        int fd = open(s->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || fstat(fd, &is) != 0) {
            (void)error_set_errno(error, s->path);
            if (fd >= 0)
                close(fd);
            return -1;
        }
        if (geteuid() == 0 && fstat(s->folder_fd, &folder) == 0 && is.st_uid != folder.st_uid)
            (void)!fchown(fd, folder.st_uid, folder.st_gid); /* the relay's, whoever makes it */
        if (stat(s->path, &named) == 0 && named.st_ino == is.st_ino)
            return fd;
        close(fd);
    }
}

static void put_line(struct buf *out, const struct suppression *entry)
{
    buf_printf(out, "+%s\t%lld\t%s\t", entry->address, (long long)entry->added_ms, entry->class);
    for (size_t i = 0; i < WORDS_SIZE_MAX && entry->words[i]; i++)
        buf_append_byte(out, (unsigned char)entry->words[i] < 0x20 ? ' ' : entry->words[i]);
    buf_append_byte(out, '\n');
}

static bool append(struct suppressed *s, struct slice line, struct error *error)
{
    struct stat is;
    char last = '\n';
    int fd = open_locked(s, error);
    if (fd < 0)
        return false;
    if (fstat(fd, &is) == 0 && is.st_size > 0)
        (void)!pread(fd, &last, 1, is.st_size - 1); /* a full disk may have cut a line */
    bool is_done = (last == '\n' || file_write_all(fd, SLICE("\n"), error)) && file_write_all(fd, line, error) && catch_up(s, fd, error);
    close(fd);
    return is_done;
}

static bool is_expired(const struct suppressed *s, const struct entry *entry, int64_t now_ms)
{
    return s->expire_ms && now_ms - entry->is.added_ms >= s->expire_ms;
}

static bool compact(struct suppressed *s, int64_t now_ms, struct error *error)
{
    struct entry *entry, *next;
    struct buf all = {0};
    HASH_ITER(hh, s->entries, entry, next)
        if (!is_expired(s, entry, now_ms))
            put_line(&all, &entry->is);
    bool is_done = file_publish(s->folder_fd, "suppressed", buf_slice(&all), FILE_SYNC, error);
    buf_finish(&all);
    return is_done;
}

struct suppressed *suppressed_open(const char *queue_dir, int64_t expire_ms, struct error *error)
{
    struct suppressed *s = mem_alloc(sizeof *s);
    struct buf path = {0};
    buf_printf(&path, "%s/suppressed", queue_dir);
    s->path = buf_take(&path);
    s->expire_ms = expire_ms;
    s->folder_fd = file_open_folder(queue_dir, error);
    int fd = s->folder_fd < 0 ? -1 : open_locked(s, error);
    bool is_done = fd >= 0 && catch_up(s, fd, error);
    if (is_done && s->lines > DEAD_LINES_MIN && s->lines > 2 * HASH_COUNT(s->entries))
        is_done = compact(s, clock_wall_ms(), error);
    if (fd >= 0)
        close(fd);
    if (!is_done)
        suppressed_close(&s);
    return s;
}

void suppressed_close(struct suppressed **suppressed)
{
    struct suppressed *s = *suppressed;
    if (!s)
        return;
    forget(s);
    if (s->folder_fd >= 0)
        close(s->folder_fd);
    free(s->path);
    free(s);
    *suppressed = NULL;
}

const struct suppression *suppressed_find(struct suppressed *s, struct slice address, int64_t now_ms)
{
    char key[ADDRESS_SIZE_MAX];
    struct entry *entry;
    int64_t mono_ms = clock_mono_ms();
    if (mono_ms - s->looked_ms >= LOOK_EVERY_MS) {
        int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        s->looked_ms = mono_ms;
        if (fd >= 0) {
            (void)!catch_up(s, fd, NULL); /* unreadable now: what is known stays */
            close(fd);
        }
    }
    if (!lower(address, key))
        return NULL;
    HASH_FIND_STR(s->entries, key, entry);
    return entry && !is_expired(s, entry, now_ms) ? &entry->is : NULL;
}

bool suppressed_add(struct suppressed *s, const struct suppression *entry, struct error *error)
{
    char key[ADDRESS_SIZE_MAX];
    struct buf line = {0};
    if (!lower(slice_of(entry->address), key))
        return error_set(error, "no address: %s", entry->address);
    put_line(&line, &(struct suppression){key, entry->class, entry->words, entry->added_ms});
    bool is_done = append(s, buf_slice(&line), error);
    buf_finish(&line);
    return is_done;
}

bool suppressed_remove(struct suppressed *s, struct slice address, int64_t now_ms, struct error *error)
{
    char key[ADDRESS_SIZE_MAX];
    struct entry *entry = NULL;
    struct buf line = {0};
    if (lower(address, key))
        HASH_FIND_STR(s->entries, key, entry);
    if (!entry)
        return error_set(error, "%.*s: not on the list", SLICE_FMT(address));
    buf_printf(&line, "-%s\t%lld\n", key, (long long)now_ms);
    bool is_done = append(s, buf_slice(&line), error);
    buf_finish(&line);
    return is_done;
}

static int by_address(const struct entry *a, const struct entry *b)
{
    return strcmp(a->text, b->text);
}

void suppressed_each(struct suppressed *s, int64_t now_ms, suppressed_fn *fn, void *arg)
{
    struct entry *entry, *next;
    HASH_SORT(s->entries, by_address);
    HASH_ITER(hh, s->entries, entry, next)
        if (!is_expired(s, entry, now_ms))
            fn(arg, &entry->is);
}
