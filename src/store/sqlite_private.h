/* sqlite_private: what the files of the SQLite store share.
 *
 *   sqlite.c            open, migrate, transactions
 *   sqlite_statement.c  prepared statements, rows, error texts
 *   sqlite_message.c    changes of messages and their recipients
 *   sqlite_read.c       what is due, messages, pages, totals
 *   body.c              body files
 *   repair.c            a damaged queue
 *
 * Statements are prepared once a handle, bound without copies (what is bound outlives the step) and
 * reset as soon as their rows are read, so that no read transaction lasts while a callback runs:
 * the WAL can always start over. */
#ifndef MR_STORE_SQLITE_PRIVATE_H
#define MR_STORE_SQLITE_PRIVATE_H

#include "store/store_private.h"

#include <sqlite3.h>

enum {
    SCHEMA_VERSION = 2,
    APPLICATION_ID = 0x4d614c72, /* "MaLr": tells file(1) and us that it is a queue */
    HINT_COUNT = 256,            /* a power of two */
};

enum statement {
    STATEMENT_BEGIN,
    STATEMENT_BEGIN_READ, STATEMENT_COMMIT, STATEMENT_ROLLBACK,
    STATEMENT_ADD_MESSAGE, STATEMENT_ADD_CONTENT, STATEMENT_ADD_RECIPIENT,
    STATEMENT_ADD_ORIGIN, STATEMENT_DROP_ORIGINS, STATEMENT_EACH_ORIGIN,
    STATEMENT_FORGET_ONCE, STATEMENT_ADD_ONCE, STATEMENT_FIND_ONCE, STATEMENT_EACH_ONCE, STATEMENT_SET_USAGE,
    STATEMENT_EACH_USAGE,
    STATEMENT_HAS_BODY, STATEMENT_READ_HIGHEST, STATEMENT_WRITE_HIGHEST,
    STATEMENT_SETTLE, STATEMENT_FIND_OPEN, STATEMENT_DELETE_MESSAGE, STATEMENT_DELETE_CONTENT,
    STATEMENT_DELETE_RECIPIENTS,
    STATEMENT_LOAD_DUE, STATEMENT_NEXT_DUE,
    STATEMENT_READ_MESSAGE, STATEMENT_READ_CONTENT, STATEMENT_READ_RECIPIENTS, STATEMENT_READ_PAGE,
    STATEMENT_TOTAL_MESSAGES, STATEMENT_TOTAL_RECIPIENTS, STATEMENT_TOTAL_DUE, STATEMENT_PAGE_COUNT,
    STATEMENT_CHANGE,
    STATEMENT_COUNT
};

/* Recipients below `number` are known to have their final state: a message of many is not read from
 * its first one each time one more is settled. */
struct finish_hint { uint64_t id; unsigned number; };

struct sqlite {
    struct store base;
    sqlite3 *db;
    char *dir;
    char *file;                   /* dir/queue.db, for error texts */
    bool is_failed; /* a change of this transaction failed: it can't be committed any more (Q6) */
    struct error failure;
    bool is_growing;              /* this transaction adds messages */
    int checkpointed_pages; /* the WAL's length at the last checkpoint; 0: it has started over */
    uint64_t highest_stored, highest_seen;
    uint64_t *forgotten; /* ids whose body files go when the transaction is committed (Q5) */
    size_t forgotten_count, forgotten_capacity;
    struct finish_hint hints[HINT_COUNT];
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

static inline struct sqlite *sqlite_of(struct store *store)
{
    return (struct sqlite *)store;
}

/* sqlite_statement.c */
enum step { STEP_ROW, STEP_END, STEP_FAILED };

/* Ready to be bound; NULL with an error when it can't be prepared. */
sqlite3_stmt *statement_start(struct sqlite *store, enum statement which, struct error *error);
void bind_slice(sqlite3_stmt *statement, int index, struct slice text); /* absent is NULL */
void bind_number(sqlite3_stmt *statement, int index, int64_t number);
void bind_id(sqlite3_stmt *statement, int index, uint64_t id);
enum step statement_step(struct sqlite *store, sqlite3_stmt *statement, struct error *error);
/* For statements without rows: steps to the end and resets. */
MUST_USE bool statement_run(struct sqlite *store, sqlite3_stmt *statement, struct error *error);
/* The first column of the first row, or `otherwise` when there is none. */
MUST_USE bool statement_number(struct sqlite *store, sqlite3_stmt *statement, int64_t otherwise,
                               int64_t *ret_number, struct error *error);
void statements_finish(struct sqlite *store);
/* Says what SQLite's last error was, with the file and a way out; fails the transaction. Returns
 * false. */
bool store_fail(struct sqlite *store, struct error *error);

struct slice column_slice(sqlite3_stmt *statement, int column); /* lives until the next step */
void column_message(sqlite3_stmt *statement, struct store_message *ret_message);
void column_recipient(sqlite3_stmt *statement, struct store_recipient *ret_recipient);

/* sqlite.c */
/* An open database `path` with our settings; a writer makes and migrates it. store->dir is not set.
 */
MUST_USE bool database_open(const char *path, enum store_mode mode, struct sqlite **ret_store,
                            struct error *error);
void database_close(struct sqlite **store); /* NULL inside is fine */
bool store_names_body(void *store, uint64_t id); /* a body_is_wanted_fn; in doubt it is */

/* body.c */
typedef bool body_is_wanted_fn(void *arg, uint64_t id);
/* Removes (or, with `to_dir`, moves there) every body file that is not wanted, and all *.tmp. */
void body_sweep(const char *dir, const char *to_dir, body_is_wanted_fn *is_wanted, void *arg);
void body_remove(const char *dir, const uint64_t *ids, size_t count);
MUST_USE bool body_folder_make(const char *dir, struct error *error);

/* The engine: store_private.h */
void sqlite_close(struct store *base);
void sqlite_stop(struct store *base);
void sqlite_tidy(struct store *base);
bool sqlite_begin(struct store *base, struct error *error);
bool sqlite_snapshot_begin(struct store *base, struct error *error);
void sqlite_snapshot_end(struct store *base);
bool sqlite_commit(struct store *base, struct error *error);
void sqlite_rollback(struct store *base);
bool sqlite_add_message(struct store *base, const struct store_message *message,
                        const struct store_recipient *recipients, size_t count, struct error *error);
bool sqlite_add_origin(struct store *base, const struct store_origin *origin, struct error *error);
bool sqlite_drop_origins(struct store *base, uint64_t first, uint64_t last, struct error *error);
bool sqlite_each_origin(struct store *base, store_origin_fn *fn, void *arg, struct error *error);
bool sqlite_add_once(struct store *base, const struct store_once *once, int64_t now_ms, uint64_t *ret_first,
                     struct error *error);
bool sqlite_each_once(struct store *base, store_once_fn *fn, void *arg, struct error *error);
void sqlite_raise_last_id(struct store *base, uint64_t id);
bool sqlite_set_usage(struct store *base, const struct store_usage *usage, struct error *error);
bool sqlite_each_usage(struct store *base, store_usage_fn *fn, void *arg, struct error *error);
bool sqlite_last_id(struct store *base, uint64_t *ret_id, struct error *error);
bool sqlite_settle(struct store *base, const struct store_settlement *settlement, struct error *error);
bool sqlite_end_message(struct store *base, uint64_t id, struct error *error);
bool sqlite_finish_message(struct store *base, uint64_t id, bool *ret_is_gone, struct error *error);
bool sqlite_change(struct store *base, uint64_t id, unsigned number, const struct store_change *change, struct error *error);
bool sqlite_load_due(struct store *base, int priority, int64_t now_ms, size_t limit, struct store_due_cursor *cursor,
                     store_recipient_fn *fn, void *arg, struct error *error);
bool sqlite_next_due(struct store *base, int64_t after_ms, int64_t *ret_ms, struct error *error);
bool sqlite_read_message(struct store *base, struct arena *arena, uint64_t id, bool with_content,
                         struct store_message *ret_message, bool *ret_is_found, struct error *error);
bool sqlite_read_recipients(struct store *base, struct arena *arena, uint64_t id,
                            struct store_recipient **ret_recipients, size_t *ret_count, struct error *error);
bool sqlite_read_page(struct store *base, struct arena *arena, uint64_t after, struct store_message *messages,
                      size_t *ret_count, struct error *error);
bool sqlite_totals(struct store *base, int64_t now_ms, struct store_totals *ret_totals, struct error *error);

#endif
