#include "store/sqlite_private.h"

#include "base/utf8.h"

#include <string.h>

static const char *const statement_texts[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_BEGIN_READ] = "BEGIN DEFERRED",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_ADD_MESSAGE] = "INSERT INTO message (" MESSAGE_COLUMNS ")"
                              " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_ADD_CONTENT] = "INSERT INTO content (id, data) VALUES (?, ?)",
    [STATEMENT_ADD_RECIPIENT] = "INSERT INTO recipient (" RECIPIENT_COLUMNS ")"
                                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_ADD_ORIGIN] = "INSERT INTO origin (id, inode, born_ns) VALUES (?, ?, ?)",
    [STATEMENT_DROP_ORIGINS] = "DELETE FROM origin WHERE id BETWEEN ? AND ?",
    [STATEMENT_EACH_ORIGIN] = "SELECT id, inode, born_ns FROM origin ORDER BY id",
    [STATEMENT_FORGET_ONCE] = "DELETE FROM once WHERE until_ms <= ?",
    [STATEMENT_ADD_ONCE] = "INSERT INTO once (key, id, until_ms) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
    [STATEMENT_FIND_ONCE] = "SELECT id FROM once WHERE key = ?",
    [STATEMENT_EACH_ONCE] = "SELECT key, id, until_ms FROM once ORDER BY key",
    [STATEMENT_SET_USAGE] = "INSERT INTO usage (name, since_ms, count) VALUES (?1, ?2, ?3)"
                            " ON CONFLICT (name) DO UPDATE SET since_ms = ?2, count = ?3",
    [STATEMENT_EACH_USAGE] = "SELECT name, since_ms, count FROM usage ORDER BY name",
    [STATEMENT_HAS_BODY] = "SELECT in_file FROM message WHERE id = ?",
    [STATEMENT_READ_HIGHEST] =
        "SELECT max((SELECT id FROM highest), coalesce((SELECT max(id) FROM message), 0),"
        " coalesce((SELECT max(id) FROM origin), 0))",
    [STATEMENT_WRITE_HIGHEST] = "UPDATE highest SET id = ?",
    /* A final state stays, and what was held while it was tried stays held when it is to be tried
       again. */
    [STATEMENT_SETTLE] =
        "UPDATE recipient SET state = CASE WHEN state = 5 AND ?3 = 0 THEN 5 ELSE ?3 END,"
        " attempts = ?4, next_ms = ?5, last_attempt_ms = ?6, delay_noticed = ?7,"
        " last_status = ?8, last_reply = ?9, last_host = ?10"
        " WHERE message = ?1 AND number = ?2 AND state IN (0, 5)",
    [STATEMENT_FIND_OPEN] =
        "SELECT number FROM recipient WHERE message = ? AND number >= ? AND state IN (0, 5)"
        " ORDER BY number LIMIT 1",
    [STATEMENT_DELETE_MESSAGE] = "DELETE FROM message WHERE id = ?",
    [STATEMENT_DELETE_CONTENT] = "DELETE FROM content WHERE id = ?",
    [STATEMENT_DELETE_RECIPIENTS] = "DELETE FROM recipient WHERE message = ?",
    [STATEMENT_LOAD_DUE] = "SELECT " RECIPIENT_COLUMNS " FROM recipient INDEXED BY recipient_due"
                           " WHERE state = 0 AND priority = ?1 AND next_ms <= ?2"
                           " AND (next_ms, message, number) > (?3, ?4, ?5)"
                           " ORDER BY next_ms, message, number LIMIT ?6",
    [STATEMENT_NEXT_DUE] = "SELECT min(next_ms) FROM ("
                           " SELECT min(next_ms) AS next_ms FROM recipient WHERE state = 0 AND "
                           "priority = -1 AND next_ms > ?1"
                           " UNION ALL SELECT min(next_ms) FROM recipient WHERE state = 0 AND "
                           "priority = 0 AND next_ms > ?1"
                           " UNION ALL SELECT min(next_ms) FROM recipient WHERE state = 0 AND "
                           "priority = 1 AND next_ms > ?1)"
                           " WHERE next_ms IS NOT NULL",
    [STATEMENT_READ_MESSAGE] = "SELECT " MESSAGE_COLUMNS " FROM message WHERE id = ?",
    [STATEMENT_READ_CONTENT] = "SELECT data FROM content WHERE id = ?",
    [STATEMENT_READ_RECIPIENTS] =
        "SELECT " RECIPIENT_COLUMNS " FROM recipient WHERE message = ? ORDER BY number",
    [STATEMENT_READ_PAGE] =
        "SELECT " MESSAGE_COLUMNS " FROM message WHERE id > ? ORDER BY id LIMIT ?",
    [STATEMENT_TOTAL_MESSAGES] = "SELECT count(*), total(size), min(arrived_ms) FROM message",
    [STATEMENT_TOTAL_RECIPIENTS] =
        "SELECT count(*), total(state = 0), total(state = 5) FROM recipient",
    [STATEMENT_TOTAL_DUE] = "SELECT count(*) FROM recipient INDEXED BY recipient_due"
                            " WHERE state = 0 AND priority IN (-1, 0, 1) AND next_ms <= ?",
    [STATEMENT_PAGE_COUNT] = "PRAGMA page_count",
    [STATEMENT_CHANGE] = "UPDATE recipient SET state = coalesce(?3, state), next_ms = coalesce(?4, next_ms),"
                         " route = coalesce(?5, route) WHERE message = ?1 AND number = ?2",
};

/* What an operator can do about it. */
static const struct { int code; const char *advice; } advices[] = {
    {SQLITE_FULL, "free space on this file system"},
    {SQLITE_CORRUPT, "stop the relay and run `mailroot queue repair`"},
    {SQLITE_NOTADB, "stop the relay and run `mailroot queue repair`"},
    {SQLITE_IOERR, "look for disk errors in the kernel's log"},
    {SQLITE_CANTOPEN, "check the folder's owner and rights"},
    {SQLITE_PERM, "check the file's owner and rights"},
    {SQLITE_READONLY, "check the owner and rights of the file and its -wal and -shm"},
    {SQLITE_BUSY, "another process holds it"},
};

bool store_fail(struct sqlite *store, struct error *error)
{
    int code = sqlite3_extended_errcode(store->db);
    int system_errno = sqlite3_system_errno(store->db);
    const char *cause = "", *advice = NULL;
    for (size_t i = 0; i < COUNT_OF(advices); i++)
        if ((code & 0xff) == advices[i].code)
            advice = advices[i].advice;
    if ((code & 0xff) != SQLITE_CORRUPT && system_errno && strerrordesc_np(system_errno))
        cause = strerrordesc_np(system_errno);
    struct error text;
    (void)error_set(&text, "%s: %s (%d%s%s)%s%s", store->file, sqlite3_errmsg(store->db), code,
                    *cause ? ", " : "", cause, advice ? ": " : "",
                    advice ? advice : "");
    if (store->base.is_in_transaction && !store->is_failed) {
        store->is_failed = true;
        store->failure = text;
    }
    return error_set(error, "%s", text.text);
}

sqlite3_stmt *statement_start(struct sqlite *store, enum statement which, struct error *error)
{
    sqlite3_stmt **statement = &store->statements[which];
    if (!*statement
        && sqlite3_prepare_v3(store->db, statement_texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                              statement, NULL)
               != SQLITE_OK) {
        (void)store_fail(store, error);
        return NULL;
    }
    sqlite3_reset(*statement);
    return *statement;
}

void statements_finish(struct sqlite *store)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
}

/* Binding fails only for a wrong index, a running statement, or more than SQLite's 1 GB. */
void bind_slice(sqlite3_stmt *statement, int index, struct slice text)
{
    int result;
    if (slice_is_absent(text))
        result = sqlite3_bind_null(statement, index);
    else if (slice_find_byte(text, '\0') < 0 && utf8_is_valid(text))
        result =
            sqlite3_bind_text64(statement, index, text.data, text.size, SQLITE_STATIC, SQLITE_UTF8);
    else
        result = sqlite3_bind_blob64(statement, index, text.data, text.size, SQLITE_STATIC);
    CHECK(result == SQLITE_OK);
}

void bind_id(sqlite3_stmt *statement, int index, uint64_t id)
{
    CHECK(id <= INT64_MAX);
    CHECK(sqlite3_bind_int64(statement, index, (int64_t)id) == SQLITE_OK);
}

enum step statement_step(struct sqlite *store, sqlite3_stmt *statement, struct error *error)
{
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        return STEP_ROW;
    if (result == SQLITE_DONE) {
        sqlite3_reset(statement);
        return STEP_END;
    }
    (void)store_fail(store, error);
    sqlite3_reset(statement);
    return STEP_FAILED;
}

bool statement_run(struct sqlite *store, sqlite3_stmt *statement, struct error *error)
{
    enum step step = statement_step(store, statement, error);
    CHECK(step != STEP_ROW);
    return step == STEP_END;
}

bool statement_number(struct sqlite *store, sqlite3_stmt *statement, int64_t otherwise,
                      int64_t *ret_number, struct error *error)
{
    enum step step = statement_step(store, statement, error);
    if (step == STEP_FAILED)
        return false;
    bool has_value = step == STEP_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL;
    *ret_number = has_value ? sqlite3_column_int64(statement, 0) : otherwise;
    sqlite3_reset(statement);
    return true;
}

struct slice column_slice(sqlite3_stmt *statement, int column)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return SLICE_NONE;
    const char *data = sqlite3_column_blob(statement, column); /* text as its octets, too */
    return slice_make(data ? data : "", (size_t)sqlite3_column_bytes(statement, column));
}

/* In the order of MESSAGE_COLUMNS. */
void column_message(sqlite3_stmt *s, struct store_message *ret_message)
{
    *ret_message = (struct store_message){
        .id = (uint64_t)sqlite3_column_int64(s, 0),
        .arrived_ms = sqlite3_column_int64(s, 1),
        .sender = column_slice(s, 2),
        .envid = column_slice(s, 3),
        .auth = column_slice(s, 4),
        .ret = sqlite3_column_int(s, 5),
        .flags = (unsigned)sqlite3_column_int(s, 6),
        .priority = sqlite3_column_int(s, 7),
        .pickup_name = column_slice(s, 8),
        .owner = column_slice(s, 9),
        .message_id = column_slice(s, 10),
        .subject = column_slice(s, 11),
        .size = (size_t)sqlite3_column_int64(s, 12),
        .header_size = (size_t)sqlite3_column_int64(s, 13),
        .is_in_file = sqlite3_column_int(s, 14) != 0,
        .policy = column_slice(s, 15),
    };
}

/* In the order of RECIPIENT_COLUMNS. */
void column_recipient(sqlite3_stmt *s, struct store_recipient *ret_recipient)
{
    *ret_recipient = (struct store_recipient){
        .message_id = (uint64_t)sqlite3_column_int64(s, 0),
        .number = (unsigned)sqlite3_column_int64(s, 1),
        .address = column_slice(s, 2),
        .domain = column_slice(s, 3),
        .orcpt = column_slice(s, 4),
        .notify = (unsigned)sqlite3_column_int(s, 5),
        .state = (enum store_state)sqlite3_column_int(s, 6),
        .attempts = (unsigned)sqlite3_column_int64(s, 7),
        .next_ms = sqlite3_column_int64(s, 8),
        .last_attempt_ms = sqlite3_column_int64(s, 9),
        .is_delay_noticed = sqlite3_column_int(s, 10) != 0,
        .last_status = column_slice(s, 11),
        .last_reply = column_slice(s, 12),
        .last_host = column_slice(s, 13),
        .route = column_slice(s, 14),
        .priority = sqlite3_column_int(s, 15),
    };
}
