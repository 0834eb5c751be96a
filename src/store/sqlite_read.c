#include "store/sqlite_private.h"

bool sqlite_load_due(struct store *base, int priority, int64_t now_ms, size_t limit,
                    struct store_due_cursor *cursor, store_recipient_fn *fn, void *arg,
                    struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_LOAD_DUE, error);
    if (!s)
        return false;
    bind_number(s, 1, priority);
    bind_number(s, 2, now_ms);
    bind_number(s, 3, cursor->next_ms);
    bind_id(s, 4, cursor->message_id);
    bind_number(s, 5, cursor->number);
    bind_number(s, 6, (int64_t)limit);
    enum step step;
    while ((step = statement_step(store, s, error)) == STEP_ROW) {
        struct store_recipient recipient;
        column_recipient(s, &recipient);
        *cursor =
            (struct store_due_cursor){recipient.next_ms, recipient.message_id, recipient.number};
        fn(arg, &recipient);
    }
    return step == STEP_END;
}

bool sqlite_next_due(struct store *base, int64_t after_ms, int64_t *ret_ms, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    sqlite3_stmt *s = statement_start(store, STATEMENT_NEXT_DUE, error);
    if (!s)
        return false;
    bind_number(s, 1, after_ms);
    return statement_number(store, s, INT64_MAX, ret_ms, error);
}

static bool read_content(struct sqlite *store, struct arena *arena, struct store_message *message,
                         struct error *error)
{
    sqlite3_stmt *s = statement_start(store, STATEMENT_READ_CONTENT, error);
    if (!s)
        return false;
    bind_id(s, 1, message->id);
    enum step step = statement_step(store, s, error);
    if (step == STEP_FAILED)
        return false;
    if (step == STEP_END)
        return error_set(error, "%s: the message has no content: run `mailroot queue repair`",
                         store->file);
    message->content = arena_copy(arena, column_slice(s, 0));
    sqlite3_reset(s);
    return true;
}

bool sqlite_read_message(struct store *base, struct arena *arena, uint64_t id, bool with_content,
                         struct store_message *ret_message, bool *ret_is_found, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    struct store_message message;
    sqlite3_stmt *s = statement_start(store, STATEMENT_READ_MESSAGE, error);
    if (!s)
        return false;
    bind_id(s, 1, id);
    enum step step = statement_step(store, s, error);
    if (step == STEP_FAILED)
        return false;
    *ret_is_found = step == STEP_ROW;
    if (step == STEP_END)
        return true;
    column_message(s, &message);
    keep_message(arena, &message);
    sqlite3_reset(s);
    if (with_content && !message.is_in_file && !read_content(store, arena, &message, error))
        return false;
    *ret_message = message;
    return true;
}

bool sqlite_read_recipients(struct store *base, struct arena *arena, uint64_t id,
                           struct store_recipient **ret_recipients, size_t *ret_count,
                           struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    struct store_recipient *recipients = NULL;
    size_t count = 0, capacity = 0;
    sqlite3_stmt *s = statement_start(store, STATEMENT_READ_RECIPIENTS, error);
    if (!s)
        return false;
    bind_id(s, 1, id);
    enum step step;
    while ((step = statement_step(store, s, error)) == STEP_ROW) {
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : 1;
            recipients = arena_grow(arena, recipients, count, capacity, sizeof *recipients);
        }
        column_recipient(s, &recipients[count]);
        keep_recipient(arena, &recipients[count++]);
    }
    if (step != STEP_END)
        return false;
    *ret_recipients = recipients;
    *ret_count = count;
    return true;
}

bool sqlite_read_page(struct store *base, struct arena *arena, uint64_t after, struct store_message *messages,
                      size_t *ret_count, struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    size_t count = 0;
    sqlite3_stmt *s = statement_start(store, STATEMENT_READ_PAGE, error);
    if (!s)
        return false;
    bind_id(s, 1, after);
    bind_id(s, 2, STORE_PAGE);
    enum step step;
    while ((step = statement_step(store, s, error)) == STEP_ROW) {
        CHECK(count < STORE_PAGE);
        column_message(s, &messages[count]);
        keep_message(arena, &messages[count++]);
    }
    *ret_count = count;
    return step == STEP_END;
}

bool sqlite_totals(struct store *base, int64_t now_ms, struct store_totals *ret_totals,
                  struct error *error)
{
    struct sqlite *store = sqlite_of(base);
    struct store_totals totals = {0};
    int64_t due;
    sqlite3_stmt *s = statement_start(store, STATEMENT_TOTAL_MESSAGES, error);
    if (!s || statement_step(store, s, error) != STEP_ROW)
        return false;
    totals.messages = (uint64_t)sqlite3_column_int64(s, 0);
    totals.bytes = (uint64_t)sqlite3_column_int64(s, 1);
    totals.oldest_ms = sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    s = statement_start(store, STATEMENT_TOTAL_RECIPIENTS, error);
    if (!s || statement_step(store, s, error) != STEP_ROW)
        return false;
    totals.recipients = (uint64_t)sqlite3_column_int64(s, 0);
    totals.queued = (uint64_t)sqlite3_column_int64(s, 1);
    totals.held = (uint64_t)sqlite3_column_int64(s, 2);
    sqlite3_reset(s);
    s = statement_start(store, STATEMENT_TOTAL_DUE, error);
    if (!s)
        return false;
    bind_id(s, 1, (uint64_t)now_ms);
    if (!statement_number(store, s, 0, &due, error))
        return false;
    totals.due = (uint64_t)due;
    *ret_totals = totals;
    return true;
}
