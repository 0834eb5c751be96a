/* sqlite_private: what the files of the SQLite store share.
 *
 *   sqlite.c            open, migrate, transactions
 *   sqlite_statement.c  prepared statements, rows, error texts
 *   sqlite_message.c    messages and their recipients
 *   sqlite_select.c     filters, verbs, totals
 *   body.c              body files
 *   repair.c            a damaged queue
 *
 * Statements are prepared once a handle, bound without copies (what is bound outlives the step) and
 * reset as soon as their rows are read, so that no read transaction lasts while a callback runs:
 * the WAL can always start over. */
#ifndef MR_STORE_SQLITE_PRIVATE_H
#define MR_STORE_SQLITE_PRIVATE_H

#include "store/store.h"

#include <sqlite3.h>

enum {
    SCHEMA_VERSION = 2,
    APPLICATION_ID = 0x4d614c72, /* "MaLr": tells file(1) and us that it is a queue */
    HINT_COUNT = 256,            /* a power of two */
};

#define MESSAGE_COLUMNS \
    "id, arrived_ms, sender, envid, auth, ret, flags, priority, pickup_name, owner, " \
    "message_id, subject, size, header_size, in_file, policy"
#define RECIPIENT_COLUMNS \
    "message, number, address, domain, orcpt, notify, state, attempts, next_ms, " \
    "last_attempt_ms, delay_noticed, last_status, last_reply, last_host, route, priority"

enum statement {
    STATEMENT_BEGIN,
    STATEMENT_BEGIN_READ, STATEMENT_COMMIT, STATEMENT_ROLLBACK,
    STATEMENT_ADD_MESSAGE, STATEMENT_ADD_CONTENT, STATEMENT_ADD_RECIPIENT,
    STATEMENT_ADD_ORIGIN, STATEMENT_DROP_ORIGINS, STATEMENT_EACH_ORIGIN,
    STATEMENT_FORGET_ONCE, STATEMENT_ADD_ONCE, STATEMENT_FIND_ONCE, STATEMENT_SET_USAGE, STATEMENT_EACH_USAGE,
    STATEMENT_HAS_MESSAGE, STATEMENT_HAS_BODY, STATEMENT_READ_HIGHEST, STATEMENT_WRITE_HIGHEST,
    STATEMENT_SETTLE, STATEMENT_FIND_OPEN, STATEMENT_DELETE_MESSAGE, STATEMENT_DELETE_CONTENT,
    STATEMENT_DELETE_RECIPIENTS,
    STATEMENT_LOAD_DUE, STATEMENT_NEXT_DUE,
    STATEMENT_READ_MESSAGE, STATEMENT_READ_CONTENT, STATEMENT_READ_RECIPIENTS, STATEMENT_READ_PAGE,
    STATEMENT_TOTAL_MESSAGES, STATEMENT_TOTAL_RECIPIENTS, STATEMENT_TOTAL_DUE, STATEMENT_PAGE_COUNT,
    STATEMENT_CHANGE_STATE, STATEMENT_CHANGE_DUE, STATEMENT_CHANGE_ROUTE,
    STATEMENT_COUNT
};

/* Recipients below `number` are known to have their final state: a message of many is not read from
 * its first one each time one more is settled. */
struct finish_hint { uint64_t id; unsigned number; };

struct store {
    sqlite3 *db;
    char *dir;
    char *file;                   /* dir/queue.db, for error texts */
    enum store_mode mode;
    _Atomic bool is_stopped;      /* store_stop() */
    bool is_in_transaction;
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

/* sqlite_statement.c */
enum step { STEP_ROW, STEP_END, STEP_FAILED };

/* Ready to be bound; NULL with an error when it can't be prepared. */
sqlite3_stmt *statement_start(struct store *store, enum statement which, struct error *error);
void bind_slice(sqlite3_stmt *statement, int index, struct slice text); /* absent is NULL */
void bind_id(sqlite3_stmt *statement, int index, uint64_t id);
enum step statement_step(struct store *store, sqlite3_stmt *statement, struct error *error);
/* For statements without rows: steps to the end and resets. */
MUST_USE bool statement_run(struct store *store, sqlite3_stmt *statement, struct error *error);
/* The first column of the first row, or `otherwise` when there is none. */
MUST_USE bool statement_number(struct store *store, sqlite3_stmt *statement, int64_t otherwise,
                               int64_t *ret_number, struct error *error);
void statements_finish(struct store *store);
/* Says what SQLite's last error was, with the file and a way out; fails the transaction. Returns
 * false. */
bool store_fail(struct store *store, struct error *error);

struct slice column_slice(sqlite3_stmt *statement, int column); /* lives until the next step */
void column_message(sqlite3_stmt *statement, struct store_message *ret_message);
void column_recipient(sqlite3_stmt *statement, struct store_recipient *ret_recipient);
/* The same, copied into the arena. */
void keep_message(struct arena *arena, struct store_message *message);
void keep_recipient(struct arena *arena, struct store_recipient *recipient);

/* sqlite.c */
/* An open database `path` with our settings; a writer makes and migrates it. store->dir is not set.
 */
MUST_USE bool database_open(const char *path, enum store_mode mode, struct store **ret_store,
                            struct error *error);
bool store_names_body(void *store, uint64_t id); /* a body_is_wanted_fn; in doubt it is */

/* body.c */
typedef bool body_is_wanted_fn(void *arg, uint64_t id);
/* Removes (or, with `to_dir`, moves there) every body file that is not wanted, and all *.tmp. */
void body_sweep(const char *dir, const char *to_dir, body_is_wanted_fn *is_wanted, void *arg);
void body_remove(const char *dir, const uint64_t *ids, size_t count);
MUST_USE bool body_folder_make(const char *dir, struct error *error);

#endif
