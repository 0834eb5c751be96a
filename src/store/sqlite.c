#include "store/sqlite_private.h"

#include "base/mem.h"
#include "os/file.h"
#include "store/schema.h" /* made from schema.sql */
#include "store/schema_2.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE_SIZE = 4096,
    BUSY_MS = 5000,
    CHECKPOINT_BUSY_MS = 20,
    CHECKPOINT_PAGES = 4096, /* 16 MiB of WAL, then it is copied into the database */
    CHECKPOINT_PAGES_WAIT = 8 * CHECKPOINT_PAGES, /* readers kept it from starting over: wait */
    WAL_REGION_SIZE = 32 * 1024, /* SQLite's "WAL-mode file format", 2: the wal-index */
    WAL_REGION_FRAMES = 4096,
    WAL_SIZE_KEPT = 32 * 1024 * 1024,      /* a longer WAL is cut to this when it starts over */
    GROWTH_STEP = 4 * 1024 * 1024,         /* queue.db grows by this much at a time */
    TIDY_LIVE_SIZE_MAX = 32 * 1024 * 1024, /* what a tidying may have to copy */
    TIDY_FREE_SIZE_MIN = 64 * 1024 * 1024,
};

/* Version N is made from N-1 by row N-1. Add rows; never change one that was released. */
static const char *const migrations[SCHEMA_VERSION] = {schema_1, schema_2};

static const char writer_settings[] =
    "PRAGMA synchronous = FULL;"  /* Q1: the WAL is synced at every commit */
    "PRAGMA secure_delete = OFF;" /* Debian's default writes zeros over each message that is done */
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA cache_size = -16384;" /* KiB */
    "PRAGMA cell_size_check = ON;"
    "PRAGMA trusted_schema = OFF;";
static const char reader_settings[] =
    "PRAGMA query_only = ON; PRAGMA cache_size = -4096; PRAGMA trusted_schema = OFF;";

static bool database_execute(struct sqlite *store, const char *sql, struct error *error)
{
    return sqlite3_exec(store->db, sql, NULL, NULL, NULL) == SQLITE_OK || store_fail(store, error);
}

static bool database_number(struct sqlite *store, const char *sql, int64_t *ret_number,
                            struct error *error)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return store_fail(store, error);
    bool is_done = statement_number(store, statement, 0, ret_number, error);
    sqlite3_finalize(statement);
    return is_done;
}

/* The commit before this call is durable whatever happens here, so nothing here fails it: what a
 * checkpoint could not copy stays in the WAL, and the next one copies all of it again. A reader that
 * sits on an old page is waited for when the WAL has grown long, but never for long. */
static int after_commit(void *arg, sqlite3 *db, const char *schema, int pages)
{
    struct sqlite *store = arg;
    int mode = pages < CHECKPOINT_PAGES_WAIT ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART;
    if (pages < store->checkpointed_pages)
        store->checkpointed_pages = 0; /* the WAL has started over */
    if (pages < store->checkpointed_pages + CHECKPOINT_PAGES)
        return SQLITE_OK;
    store->checkpointed_pages = pages; /* not again at each commit while a reader is in the way */
    sqlite3_busy_timeout(db, CHECKPOINT_BUSY_MS);
    (void)sqlite3_wal_checkpoint_v2(db, schema, mode, NULL, NULL);
    sqlite3_busy_timeout(db, BUSY_MS);
    return SQLITE_OK;
}

static bool migrate_steps(struct sqlite *store, int64_t from, struct error *error)
{
    char sql[96];
    for (int64_t version = from; version < SCHEMA_VERSION; version++)
        if (!database_execute(store, migrations[version], error))
            return false;
    (void)snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
                   APPLICATION_ID, SCHEMA_VERSION);
    return database_execute(store, sql, error) && database_execute(store, "COMMIT", error);
}

static bool version_refuse(const struct sqlite *store, int64_t version, struct error *error)
{
    if (version > SCHEMA_VERSION)
        return error_set(
            error,
            "%s: made by a newer mailroot (schema %lld, this one knows %d): install that version "
            "again",
            store->file, (long long)version, SCHEMA_VERSION);
    return error_set(
        error,
        "%s: made by an older mailroot (schema %lld) and not yet migrated: `mailroot run` does it",
        store->file, (long long)version);
}

/* All steps in one transaction: after a crash the queue has the old version or the new one. */
static bool database_migrate(struct sqlite *store, struct error *error)
{
    int64_t version, application, tables;
    if (!database_number(store, "PRAGMA user_version", &version, error)
        || !database_number(store, "PRAGMA application_id", &application, error)
        || !database_number(store, "SELECT count(*) FROM sqlite_master", &tables, error))
        return false;
    if (version == 0 ? tables != 0 : application != APPLICATION_ID)
        return error_set(
            error, "%s: this is an SQLite database, but no queue of mailroot's: move it elsewhere",
            store->file);
    if (version == SCHEMA_VERSION)
        return true;
    if (version > SCHEMA_VERSION || store->base.mode == STORE_READER)
        return version_refuse(store, version, error);
    if (!database_execute(store, "BEGIN IMMEDIATE", error))
        return false;
    if (migrate_steps(store, version, error))
        return true;
    (void)sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL); /* closing it would do the same */
    return false;
}

/* What is on its way can be delivered and settled on a full disk: the WAL's room is taken
 * beforehand, beyond its end, where SQLite does not look; and room_reserve() sees to it that a
 * checkpoint always finds room in queue.db. */
static void wal_reserve(const struct sqlite *store)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s-wal", store->file) >= sizeof path)
        return;
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    (void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, WAL_SIZE_KEPT); /* not every file system has it */
    close(fd);
}

/* The same for the WAL's index, which grows by regions that cover some 4,096 frames each. SQLite
 * writes to every page of a region when it makes it, and its locks on that file forbid us to open
 * it ourselves. */
static void wal_index_reserve(const struct sqlite *store)
{
    sqlite3_file *file = NULL;
    void volatile *region;
    (void)sqlite3_file_control(store->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    CHECK(file && file->pMethods->iVersion >= 2);
    for (int i = 0; i <= WAL_SIZE_KEPT / PAGE_SIZE / WAL_REGION_FRAMES; i++)
        if (file->pMethods->xShmMap(file, i, WAL_REGION_SIZE, 1, &region) != SQLITE_OK)
            return; /* the disk is full already */
}

static bool wal_turn_on(struct sqlite *store, struct error *error)
{
    char sql[160];
    sqlite3_stmt *statement;
    (void)snprintf(sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA journal_size_limit = %d;",
                   PAGE_SIZE, WAL_SIZE_KEPT);
    if (!database_execute(store, sql, error))
        return false;
    if (sqlite3_prepare_v2(store->db, "PRAGMA journal_mode = WAL", -1, &statement, NULL)
        != SQLITE_OK)
        return store_fail(store, error);
    enum step step = statement_step(store, statement, error);
    bool is_wal = step == STEP_ROW && slice_equals(column_slice(statement, 0), SLICE("wal"));
    sqlite3_finalize(statement);
    if (step == STEP_ROW && !is_wal)
        return error_set(error,
                         "%s: SQLite's WAL does not work here: the queue needs a local file system",
                         store->file);
    return is_wal;
}

static bool writer_prepare(struct sqlite *store, struct error *error)
{
    if (!wal_turn_on(store, error) || !database_execute(store, writer_settings, error)
        || !database_migrate(store, error))
        return false;
    int step = GROWTH_STEP;
    /* Where it can't, room_reserve() only takes less beforehand. */
    (void)sqlite3_file_control(store->db, "main", SQLITE_FCNTL_CHUNK_SIZE, &step);
    /* SQLite opens queue.db or its WAL for reading when it can't for writing, were it only for a lack of descriptors:
     * here that is an error, not a relay that takes nothing until it is restarted. */
    if (!database_execute(store, "BEGIN IMMEDIATE; ROLLBACK", error))
        return error_prefix(error, "can't be opened for writing");
    sqlite3_wal_hook(store->db, after_commit, store);
    wal_reserve(store);
    wal_index_reserve(store);
    sqlite3_stmt *statement = statement_start(store, STATEMENT_READ_HIGHEST, error);
    int64_t highest;
    if (!statement || !statement_number(store, statement, 0, &highest, error))
        return false;
    store->highest_stored = store->highest_seen = (uint64_t)highest;
    return true;
}

/* Made here and not by SQLite, so that no other user can read it whatever the umask; -wal and -shm
 * get the same. */
static bool file_prepare(const char *path, enum store_mode mode, struct error *error)
{
    struct stat is;
    if (mode == STORE_READER) {
        if (stat(path, &is) == 0)
            return true;
        if (errno == ENOENT)
            return error_set(
                error,
                "%s: no queue here yet: `mailroot run` makes it (is `root` in the config right?)",
                path);
        return error_set_errno(error, path);
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return error_set_errno(error, path);
    close(fd);
    return true;
}

static const struct store_engine sqlite_engine = {
    .close = sqlite_close, .stop = sqlite_stop, .tidy = sqlite_tidy, .begin = sqlite_begin, .commit = sqlite_commit,
    .rollback = sqlite_rollback, .add_message = sqlite_add_message, .add_origin = sqlite_add_origin,
    .drop_origins = sqlite_drop_origins, .each_origin = sqlite_each_origin, .add_once = sqlite_add_once,
    .each_once = sqlite_each_once, .raise_last_id = sqlite_raise_last_id, .set_usage = sqlite_set_usage, .each_usage = sqlite_each_usage, .last_id = sqlite_last_id, .settle = sqlite_settle,
    .finish_message = sqlite_finish_message, .end_message = sqlite_end_message, .snapshot_begin = sqlite_snapshot_begin,
    .snapshot_end = sqlite_snapshot_end, .load_due = sqlite_load_due, .next_due = sqlite_next_due,
    .read_message = sqlite_read_message, .read_recipients = sqlite_read_recipients, .read_page = sqlite_read_page,
    .change = sqlite_change, .totals = sqlite_totals,
};

bool database_open(const char *path, enum store_mode mode, struct sqlite **ret_store,
                   struct error *error)
{
    if (!file_prepare(path, mode, error))
        return false;
    struct sqlite *store = mem_alloc(sizeof *store);
    store->file = mem_copy_text(path);
    store->base.engine = &sqlite_engine;
    store->base.mode = mode;
    int access = mode == STORE_WRITER ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    bool is_open =
        sqlite3_open_v2(path, &store->db, access | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK;
    if (!store->db)
        mem_exhausted(sizeof *store);
    sqlite3_extended_result_codes(store->db, 1);
    sqlite3_busy_timeout(store->db, BUSY_MS);
    if (!is_open)
        (void)store_fail(store, error);
    else if (mode == STORE_WRITER)
        is_open = writer_prepare(store, error);
    else
        is_open = database_execute(store, reader_settings, error) && database_migrate(store, error);
    if (!is_open) {
        sqlite_close(&store->base);
        return false;
    }
    *ret_store = store;
    return true;
}

void database_close(struct sqlite **store)
{
    if (*store)
        sqlite_close(&(*store)->base);
    *store = NULL;
}

bool store_names_body(void *arg, uint64_t id)
{
    struct sqlite *store = arg;
    struct error error;
    int64_t is_in_file;
    sqlite3_stmt *statement = statement_start(store, STATEMENT_HAS_BODY, &error);
    if (!statement)
        return true;
    bind_id(statement, 1, id);
    /* What can't be read may name it: the file stays. */
    return !statement_number(store, statement, 0, &is_in_file, &error) || is_in_file != 0;
}

/* The names of queue.db and its WAL, which SQLite syncs for a rollback journal only. */
static bool names_sync(const char *dir, struct error *error)
{
    int folder_fd = file_open_folder(dir, error);
    if (folder_fd < 0)
        return false;
    bool is_done = file_sync_folder(folder_fd, error);
    close(folder_fd);
    return is_done;
}

bool store_open(const char *dir, enum store_mode mode, struct store **ret_store, struct error *error)
{
    char path[4096];
    struct sqlite *store;
    if ((size_t)snprintf(path, sizeof path, "%s/queue.db", dir) >= sizeof path)
        return error_set(error, "%s: path too long", dir);
    if (mode == STORE_WRITER
        && (!file_make_folder(dir, 0750, error) || !body_folder_make(dir, error)))
        return false;
    if (!database_open(path, mode, &store, error))
        return false;
    if (mode == STORE_WRITER && !names_sync(dir, error)) {
        sqlite_close(&store->base);
        return false;
    }
    store->dir = mem_copy_text(dir);
    if (mode == STORE_WRITER) {
        body_sweep(dir, NULL, store_names_body, store);
        sqlite_tidy(&store->base);
    }
    *ret_store = &store->base;
    return true;
}

void sqlite_stop(struct store *base)
{
    sqlite3_interrupt(sqlite_of(base)->db);
}

void sqlite_close(struct store *base)
{
    struct sqlite *s = sqlite_of(base);
    statements_finish(s);
    CHECK(sqlite3_close(s->db) == SQLITE_OK); /* an open transaction is rolled back */
    free(s->forgotten);
    free(s->dir);
    free(s->file);
    free(s);
}

/* VACUUM copies what lives and cuts off the rest, atomically; it is asked for only when that is
 * little. */
void sqlite_tidy(struct store *base)
{
    struct sqlite *store = sqlite_of(base);
    int64_t pages, free_pages;
    if (!database_number(store, "PRAGMA page_count", &pages, NULL)
        || !database_number(store, "PRAGMA freelist_count", &free_pages, NULL))
        return;
    if (free_pages * PAGE_SIZE < TIDY_FREE_SIZE_MIN
        || (pages - free_pages) * PAGE_SIZE > TIDY_LIVE_SIZE_MAX)
        return;
    /* A disk too full for it only keeps the space. The file itself shrinks with the checkpoint. */
    if (database_execute(store, "VACUUM", NULL))
        (void)database_execute(store, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
}

bool sqlite_begin(struct store *base, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    store->is_failed = store->is_growing = false;
    store->forgotten_count = 0;
    store->highest_seen = store->highest_stored;
    sqlite3_stmt *statement = statement_start(store, STATEMENT_BEGIN, error);
    if (!statement || !statement_run(store, statement, error))
        return false;
    store->base.is_in_transaction = true;
    return true;
}

bool sqlite_snapshot_begin(struct store *base, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    CHECK(sqlite3_get_autocommit(store->db));
    sqlite3_stmt *statement = statement_start(store, STATEMENT_BEGIN_READ, error);
    return statement && statement_run(store, statement, error);
}

void sqlite_snapshot_end(struct store *base)
{
    struct sqlite *store = sqlite_of(base);
    struct error error;
    sqlite3_stmt *statement = statement_start(store, STATEMENT_COMMIT, &error);
    if (!statement || !statement_run(store, statement, &error))
        CHECK(sqlite3_get_autocommit(store->db)); /* an I/O error ended it */
}

static bool highest_write(struct sqlite *store, struct error *error)
{
    if (store->highest_seen == store->highest_stored)
        return true;
    sqlite3_stmt *statement = statement_start(store, STATEMENT_WRITE_HIGHEST, error);
    if (!statement)
        return false;
    bind_id(statement, 1, store->highest_seen);
    return statement_run(store, statement, error);
}

/* New messages are refused as long as the file system has no room for all pages in queue.db, too.
 */
static bool room_reserve(struct sqlite *store, struct error *error)
{
    int64_t pages;
    if (!store->is_growing)
        return true;
    sqlite3_stmt *statement = statement_start(store, STATEMENT_PAGE_COUNT, error);
    if (!statement || !statement_number(store, statement, 0, &pages, error))
        return false;
    sqlite3_int64 size = pages * PAGE_SIZE + GROWTH_STEP / 2;
    return sqlite3_file_control(store->db, "main", SQLITE_FCNTL_SIZE_HINT, &size) == SQLITE_OK
           || error_set(error, "%s: no room to grow: free space on this file system", store->file);
}

static bool commit_write(struct sqlite *store, struct error *error)
{
    if (store->is_failed) {
        *error = store->failure;
        return false;
    }
    sqlite3_stmt *statement = statement_start(store, STATEMENT_COMMIT, error);
    return statement && highest_write(store, error) && room_reserve(store, error)
           && statement_run(store, statement, error);
}

bool sqlite_commit(struct store *base, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    struct error cause;
    if (!commit_write(store, &cause)) {
        sqlite_rollback(base);
        return error_set(error, "%s", cause.text);
    }
    CHECK(sqlite3_get_autocommit(store->db));
    store->base.is_in_transaction = false;
    store->highest_stored = store->highest_seen;
    body_remove(store->dir, store->forgotten, store->forgotten_count);
    store->forgotten_count = 0;
    return true;
}

void sqlite_rollback(struct store *base)
{
    struct sqlite *store = sqlite_of(base);
    /* Some errors (disk full, I/O) have made SQLite roll back by itself. */
    if (!sqlite3_get_autocommit(store->db)) {
        int result = sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        if (result == SQLITE_NOMEM && !sqlite3_get_autocommit(store->db))
            mem_exhausted(0); /* nothing of it is durable; the next start sees nothing of it */
        CHECK(result == SQLITE_OK || sqlite3_get_autocommit(store->db));
    }
    store->base.is_in_transaction = false;
    store->is_failed = false;
    store->forgotten_count = 0;
    store->highest_seen = store->highest_stored;
    memset(store->hints, 0, sizeof store->hints); /* what was final may be open again */
}
