#include "store/sqlite_private.h"

#include "base/mem.h"
#include "os/clock.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SAVED_PER_COMMIT = 256, LOST_LINES_MAX = 100000, FAULT_LINES_MAX = 20 };
enum { PATH_SIZE_MAX = 4096 };

/* A column of keys in a table that may have holes: the next key at or behind a start, found by an
 * indexed seek. */
enum source_kind {
    SOURCE_MESSAGES,
    SOURCE_CONTENTS,
    SOURCE_RECIPIENTS,
    SOURCE_ORIGINS,
    SOURCE_NUMBERS,
    SOURCE_COUNT,
    SOURCE_IDS_COUNT = SOURCE_ORIGINS, /* the first ones say which messages there were */
};
static const char *const source_texts[SOURCE_COUNT] = {
    [SOURCE_MESSAGES] = "SELECT id FROM message WHERE id >= ?1 ORDER BY id LIMIT 1",
    [SOURCE_CONTENTS] = "SELECT id FROM content WHERE id >= ?1 ORDER BY id LIMIT 1",
    [SOURCE_RECIPIENTS] =
        "SELECT message FROM recipient WHERE message >= ?1 ORDER BY message LIMIT 1",
    [SOURCE_ORIGINS] = "SELECT id FROM origin WHERE id >= ?1 ORDER BY id LIMIT 1",
    [SOURCE_NUMBERS] =
        "SELECT number FROM recipient WHERE message = ?2 AND number >= ?1 ORDER BY number LIMIT 1",
};
static const char origin_text[] = "SELECT inode, born_ns FROM origin WHERE id = ?";
static const char recipient_text[] =
    "SELECT " RECIPIENT_COLUMNS " FROM recipient WHERE message = ? AND number = ?";

enum probe { PROBE_FOUND, PROBE_END, PROBE_BROKEN };

struct repair {
    const char *dir;
    char damaged[PATH_SIZE_MAX], fresh[PATH_SIZE_MAX], kept[PATH_SIZE_MAX], bodies[PATH_SIZE_MAX];
    struct sqlite *from; /* NULL when nothing of it can be read */
    struct sqlite *to;
    sqlite3_stmt *sources[SOURCE_COUNT], *recipient, *origin;
    uint64_t upcoming[SOURCE_IDS_COUNT]; /* each source's next id; 0 = ask it, UINT64_MAX = none */
    struct buf *report;
    struct arena arena; /* of the message at hand */
    size_t saved, lost, recipients_saved, in_transaction;
    bool has_gaps; /* there may have been ids that no table knows any more */
};

static enum probe probe(sqlite3_stmt *source, uint64_t start, uint64_t *ret_key)
{
    bind_id(source, 1, start);
    int result = sqlite3_step(source);
    uint64_t key = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(source, 0) : 0;
    sqlite3_reset(source);
    if (result == SQLITE_DONE)
        return PROBE_END;
    if (result != SQLITE_ROW || key < start || key > INT64_MAX)
        return PROBE_BROKEN;
    *ret_key = key;
    return PROBE_FOUND;
}

/* The next key at or behind `start` that can be read. Where a page is broken, starts twice as far
 * each time are tried until one works; halving the way back finds the hole's end. */
static bool source_next(sqlite3_stmt *source, uint64_t start, uint64_t *ret_key, bool *is_broken)
{
    if (!source)
        return false;
    uint64_t low = start, high = start, key = 0, stride = 1;
    enum probe result = probe(source, start, &key);
    *is_broken = *is_broken || result == PROBE_BROKEN;
    while (result == PROBE_BROKEN && stride <= INT64_MAX / 2 && start <= INT64_MAX - stride) {
        low = high;
        high = start + stride;
        stride *= 2;
        result = probe(source, high, &key);
    }
    if (result == PROBE_BROKEN)
        return false;
    bool is_found = result == PROBE_FOUND;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2, nearer;
        result = probe(source, middle, &nearer);
        if (result == PROBE_BROKEN) {
            low = middle;
            continue;
        }
        high = middle;
        is_found = is_found || result == PROBE_FOUND;
        if (result == PROBE_FOUND)
            key = nearer;
    }
    if (is_found)
        *ret_key = key;
    return is_found;
}

static void report_lost(struct repair *repair, uint64_t id, const char *reason)
{
    char text[17];
    store_id_text(id, text);
    if (repair->lost++ < LOST_LINES_MAX)
        buf_printf(repair->report, "%s: not saved: %s\n", text, reason);
}

static bool body_is_whole(const struct repair *repair, const struct store_message *message)
{
    struct stat is;
    int fd = store_body_open(repair->dir, message->id, NULL);
    bool is_whole = fd >= 0 && fstat(fd, &is) == 0 && (uint64_t)is.st_size == message->size;
    if (fd >= 0)
        close(fd);
    return is_whole;
}

/* NULL, or what of the message can't be read. */
static const char *read_message(struct repair *repair, uint64_t id,
                                struct store_message *ret_message)
{
    struct store_message *m = ret_message;
    if (!store_read_message(&repair->from->base, &repair->arena, id, false, m, NULL))
        return "its envelope can't be read";
    if (slice_is_absent(m->sender) || m->priority < -1 || m->priority > 1 || m->size > INT64_MAX)
        return "its envelope is damaged";
    if (m->is_in_file)
        return body_is_whole(repair, m) ? NULL : "its body file is missing or has another size";
    if (!store_read_message(&repair->from->base, &repair->arena, id, true, m, NULL))
        return "its content can't be read";
    return m->content.size == m->size ? NULL : "its content is damaged";
}

static bool read_recipient(struct repair *repair, uint64_t id, uint64_t number,
                           struct store_recipient *ret_recipient)
{
    struct store_recipient r;
    bind_id(repair->recipient, 1, id);
    bind_id(repair->recipient, 2, number);
    bool is_read = sqlite3_step(repair->recipient) == SQLITE_ROW;
    if (is_read) {
        column_recipient(repair->recipient, &r);
        keep_recipient(&repair->arena, &r);
        is_read = r.message_id == id && (unsigned)r.state <= STATE_HELD
                  && !slice_is_absent(r.address) && !slice_is_absent(r.domain) && r.next_ms >= 0;
    }
    sqlite3_reset(repair->recipient);
    if (is_read)
        *ret_recipient = r;
    return is_read;
}

struct recipients { struct store_recipient *list; size_t count; bool is_any_open, is_any_missing; };

static void read_recipients(struct repair *repair, uint64_t id, struct recipients *ret_recipients)
{
    struct recipients r = {0};
    size_t capacity = 0;
    uint64_t number, next = 0;
    sqlite3_stmt *source = repair->sources[SOURCE_NUMBERS];
    if (source)
        bind_id(source, 2, id);
    for (; next <= UINT32_MAX && source_next(source, next, &number, &r.is_any_missing);
         next = number + 1) {
        if (r.count == capacity) {
            capacity = capacity ? 2 * capacity : 4;
            r.list = arena_grow(&repair->arena, r.list, r.count, capacity, sizeof *r.list);
        }
        if (number > UINT32_MAX || !read_recipient(repair, id, number, &r.list[r.count])) {
            r.is_any_missing = true;
            continue;
        }
        enum store_state state = r.list[r.count++].state;
        r.is_any_open = r.is_any_open || state == STATE_QUEUED || state == STATE_HELD;
    }
    *ret_recipients = r;
}

static void report_missing(struct repair *repair, uint64_t id)
{
    char text[17];
    store_id_text(id, text);
    buf_printf(repair->report, "%s: saved, but some of its recipients may be missing\n", text);
}

static bool save_message(struct repair *repair, uint64_t id, struct error *error)
{
    struct store_message message;
    struct recipients recipients = {0};
    arena_reset(&repair->arena);
    const char *problem = read_message(repair, id, &message);
    if (!problem)
        read_recipients(repair, id, &recipients);
    if (!problem && recipients.is_any_missing && !recipients.is_any_open)
        problem = "its recipients can't be read";
    if (problem) {
        report_lost(repair, id, problem);
        return true;
    }
    if (!recipients.is_any_open)
        return true; /* it was about to go */
    if (recipients.is_any_missing)
        report_missing(repair, id);
    repair->saved++;
    repair->recipients_saved += recipients.count;
    return store_add_message(&repair->to->base, &message, recipients.list, recipients.count, error);
}

/* Every SAVED_PER_COMMIT calls what was copied becomes durable. */
static bool commit_some(struct repair *repair, struct error *error)
{
    if (++repair->in_transaction < SAVED_PER_COMMIT)
        return true;
    repair->in_transaction = 0;
    return store_commit(&repair->to->base, error) && store_begin(&repair->to->base, error);
}

/* Any table may be the one that still knows an id. */
static bool next_id(struct repair *repair, uint64_t start, uint64_t *ret_id)
{
    uint64_t nearest = UINT64_MAX;
    for (size_t i = 0; i < SOURCE_IDS_COUNT; i++) {
        uint64_t *upcoming = &repair->upcoming[i];
        if (*upcoming < start
            && !source_next(repair->sources[i], start, upcoming, &repair->has_gaps))
            *upcoming = UINT64_MAX;
        if (*upcoming < nearest)
            nearest = *upcoming;
    }
    *ret_id = nearest;
    return nearest != UINT64_MAX;
}

static bool save_messages(struct repair *repair, struct error *error)
{
    uint64_t id, start = 1;
    for (; start <= INT64_MAX && next_id(repair, start, &id); start = id + 1)
        if (!save_message(repair, id, error) || !commit_some(repair, error))
            return false;
    return true;
}

static bool read_origin(struct repair *repair, uint64_t id, struct store_origin *ret_origin)
{
    bind_id(repair->origin, 1, id);
    bool is_read = sqlite3_step(repair->origin) == SQLITE_ROW;
    if (is_read)
        *ret_origin = (struct store_origin){id, (uint64_t)sqlite3_column_int64(repair->origin, 0),
                                            sqlite3_column_int64(repair->origin, 1)};
    sqlite3_reset(repair->origin);
    return is_read;
}

static bool save_origins(struct repair *repair, struct error *error)
{
    uint64_t id, start = 1;
    struct store_origin origin;
    sqlite3_stmt *source = repair->sources[SOURCE_ORIGINS];
    for (; repair->origin && start <= INT64_MAX && source_next(source, start, &id, &repair->has_gaps);
         start = id + 1) {
        if (!read_origin(repair, id, &origin))
            continue;
        if (!store_add_origin(&repair->to->base, &origin, error) || !commit_some(repair, error))
            return false;
    }
    return true;
}

/* Keys that count once and counters: rows of a table whose pages are broken end there. */
static bool save_keys(struct repair *repair, struct error *error)
{
    sqlite3_stmt *once = NULL, *usage = NULL;
    bool is_done = true;
    uint64_t first;
    (void)sqlite3_prepare_v2(repair->from->db, "SELECT key, id, until_ms FROM once", -1, &once, NULL);
    (void)sqlite3_prepare_v2(repair->from->db, "SELECT name, since_ms, count FROM usage", -1, &usage, NULL);
    while (is_done && once && sqlite3_step(once) == SQLITE_ROW) {
        struct store_once key = {column_slice(once, 0), (uint64_t)sqlite3_column_int64(once, 1), sqlite3_column_int64(once, 2)};
        if (key.id != 0 && key.id <= INT64_MAX && !slice_is_absent(key.key))
            is_done = store_add_once(&repair->to->base, &key, 0, &first, error) && commit_some(repair, error);
    }
    while (is_done && usage && sqlite3_step(usage) == SQLITE_ROW) {
        struct store_usage counter = {column_slice(usage, 0), sqlite3_column_int64(usage, 1),
                                      (uint64_t)sqlite3_column_int64(usage, 2)};
        if (!slice_is_absent(counter.name))
            is_done = store_set_usage(&repair->to->base, &counter, error) && commit_some(repair, error);
    }
    sqlite3_finalize(once);
    sqlite3_finalize(usage);
    return is_done;
}

static void save_highest(struct repair *repair)
{
    uint64_t highest;
    if (store_last_id(&repair->from->base, &highest, NULL) && highest > repair->to->highest_seen)
        repair->to->highest_seen = highest;
}

static void sources_open(struct repair *repair)
{
    sqlite3 *db = repair->from->db;
    (void)sqlite3_exec(db, "PRAGMA cell_size_check = ON", NULL, NULL, NULL); /* only notices more */
    for (size_t i = 0; i < SOURCE_COUNT; i++)
        /* What can't be prepared stays NULL: it has no keys. */
        (void)sqlite3_prepare_v2(db, source_texts[i], -1, &repair->sources[i], NULL);
    (void)sqlite3_prepare_v2(db, recipient_text, -1, &repair->recipient, NULL);
    (void)sqlite3_prepare_v2(db, origin_text, -1, &repair->origin, NULL);
}

static void sources_close(struct repair *repair)
{
    for (size_t i = 0; i < SOURCE_COUNT; i++)
        sqlite3_finalize(repair->sources[i]);
    sqlite3_finalize(repair->recipient);
    sqlite3_finalize(repair->origin);
}

static bool copy_all(struct repair *repair, struct error *error)
{
    if (!repair->from)
        return true;
    if (!store_begin(&repair->to->base, error))
        return false;
    sources_open(repair);
    /* Without that statement not even the schema can be read. */
    bool is_copied =
        !repair->recipient
        || (save_messages(repair, error) && save_origins(repair, error) && save_keys(repair, error));
    sources_close(repair);
    if (!is_copied) {
        if (repair->to->base.is_in_transaction)
            store_rollback(&repair->to->base);
        return false;
    }
    save_highest(repair);
    return store_commit(&repair->to->base, error);
}

static int report_fault(void *arg, int count, char **values, char **names)
{
    struct repair *repair = arg;
    (void)names;
    if (count == 1 && values[0])
        buf_printf(repair->report, "damage: %s\n", values[0]);
    return 0;
}

/* Says what SQLite finds; true when that is nothing. */
static bool is_sound(struct repair *repair)
{
    size_t before = repair->report->size;
    char sql[64];
    (void)snprintf(sql, sizeof sql, "PRAGMA integrity_check(%d)", FAULT_LINES_MAX);
    bool is_read = sqlite3_exec(repair->from->db, sql, report_fault, repair, NULL) == SQLITE_OK;
    struct slice found = slice_from(buf_slice(repair->report), before);
    if (!is_read || !slice_equals(found, SLICE("damage: ok\n")))
        return false;
    repair->report->size = before;
    return true;
}

/* Whether the file is damaged, rather than foreign, too new, locked or not ours to read: only then
 * it may be set aside. */
static bool is_unreadable(const char *path)
{
    sqlite3 *db;
    sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL);
    sqlite3_exec(db, "PRAGMA user_version; SELECT count(*) FROM sqlite_master", NULL, NULL, NULL);
    int code = sqlite3_errcode(db) & 0xff;
    sqlite3_close(db);
    return code == SQLITE_NOTADB || code == SQLITE_CORRUPT;
}

static bool names_make(struct repair *repair, struct error *error)
{
    char time[25];
    clock_rfc3339(clock_wall_ms(), time);
    for (char *c = time; *c; c++)
        if (*c == ':')
            *c = '.';
    const struct { char *text; const char *name; bool has_time; } names[] = {
        {repair->damaged, "queue.db", false}, {repair->fresh, "queue.db.new", false},
        {repair->kept, "queue.db.damaged-", true}, {repair->bodies, "body.damaged-", true},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int length = snprintf(names[i].text, PATH_SIZE_MAX - 8, "%s/%s%s", repair->dir,
                              names[i].name, names[i].has_time ? time : "");
        if (length < 0 || length >= PATH_SIZE_MAX - 8)
            return error_set(error, "%s: path too long", repair->dir);
    }
    return true;
}

static char *with_suffix(const char *path, const char *suffix, char ret_path[PATH_SIZE_MAX + 8])
{
    (void)snprintf(ret_path, PATH_SIZE_MAX + 8, "%s%s", path, suffix);
    return ret_path;
}

static void fresh_remove(const struct repair *repair)
{
    char path[PATH_SIZE_MAX + 8];
    (void)unlink(repair->fresh); /* none of them need be there */
    (void)unlink(with_suffix(repair->fresh, "-wal", path));
    (void)unlink(with_suffix(repair->fresh, "-shm", path));
}

/* Run by root, the new file still has to be the relay's. */
static bool fresh_give(const struct repair *repair, struct error *error)
{
    struct stat old;
    if (stat(repair->damaged, &old) != 0 || chown(repair->fresh, old.st_uid, old.st_gid) != 0
        || chmod(repair->fresh, old.st_mode & 0777) != 0)
        return error_set_errno(error, repair->fresh);
    return true;
}

/* Bodies that the new queue does not name would be removed when it is opened: they are the rest of
 * what was lost. */
static bool bodies_keep(struct repair *repair, struct error *error)
{
    if (!body_folder_make(repair->dir, error) || !file_make_folder(repair->bodies, 0750, error))
        return false;
    body_sweep(repair->dir, repair->bodies, store_names_body, repair->to);
    if (rmdir(repair->bodies) != 0)
        buf_printf(repair->report, "bodies that belong to no saved message are now in %s\n",
                   repair->bodies);
    return true;
}

/* The damaged file and its WAL get their new names first; the WAL must be gone before the new file
 * takes its place, or SQLite would play it into that. A crash on the way leaves the pair under the
 * new names. */
static bool files_swap(const struct repair *repair, struct error *error)
{
    char wal[PATH_SIZE_MAX + 8], kept_wal[PATH_SIZE_MAX + 8], shm[PATH_SIZE_MAX + 8];
    (void)with_suffix(repair->damaged, "-wal", wal);
    (void)with_suffix(repair->kept, "-wal", kept_wal);
    if (access(with_suffix(repair->fresh, "-wal", shm), F_OK) == 0)
        return error_set(error, "%s: could not be completed: free space on this file system",
                         repair->fresh);
    (void)with_suffix(repair->damaged, "-shm", shm);
    int folder_fd = file_open_folder(repair->dir, error);
    if (folder_fd < 0)
        return false;
    bool is_done =
        (link(repair->damaged, repair->kept) == 0 || error_set_errno(error, repair->kept))
        && (link(wal, kept_wal) == 0 || errno == ENOENT || error_set_errno(error, kept_wal))
        && file_sync_folder(folder_fd, error)
        && (unlink(wal) == 0 || errno == ENOENT || error_set_errno(error, wal))
        && (unlink(shm) == 0 || errno == ENOENT || error_set_errno(error, shm))
        && file_sync_folder(folder_fd, error)
        && (rename(repair->fresh, repair->damaged) == 0 || error_set_errno(error, repair->fresh))
        && file_sync_folder(folder_fd, error);
    close(folder_fd);
    return is_done;
}

static void report_end(struct repair *repair)
{
    if (!repair->from)
        buf_append_text(repair->report, "nothing of the damaged file can be read\n");
    if (repair->has_gaps)
        buf_append_text(repair->report,
                        "pages of ids are broken: the event log says which messages were taken\n");
    if (repair->lost > LOST_LINES_MAX)
        buf_printf(repair->report, "… and %zu more that are not saved\n",
                   repair->lost - LOST_LINES_MAX);
    buf_printf(repair->report,
               "saved: %zu messages with %zu recipients; not saved: %zu messages; the damaged file "
               "is kept as %s\n",
               repair->saved, repair->recipients_saved, repair->lost, repair->kept);
}

static bool rebuild(struct repair *repair, struct error *error)
{
    fresh_remove(repair);
    if (!database_open(repair->fresh, STORE_WRITER, &repair->to, error))
        return false;
    repair->to->dir = mem_copy_text(repair->dir);
    bool is_done = copy_all(repair, error) && bodies_keep(repair, error);
    database_close(&repair->to); /* puts all of the WAL into the file */
    return is_done && fresh_give(repair, error);
}

bool store_repair(const char *dir, struct buf *report, struct error *error)
{
    struct repair repair = {.dir = dir, .report = report};
    if (!names_make(&repair, error))
        return false;
    if (!database_open(repair.damaged, STORE_READER, &repair.from, error)
        && !is_unreadable(repair.damaged))
        return false;
    if (repair.from && is_sound(&repair)) {
        buf_append_text(report, "no damage found: the queue stays as it is\n");
        database_close(&repair.from);
        return true;
    }
    bool is_done = rebuild(&repair, error);
    if (is_done)
        report_end(&repair);
    database_close(&repair.from); /* before its WAL gets another name */
    arena_finish(&repair.arena);
    if (is_done && files_swap(&repair, error))
        return true;
    fresh_remove(&repair);
    return false;
}
