#include "store/fixture.h"
#include "store/fixture_server.h"

#include "base/mem.h"
#include "store/filter.h"

#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void assert_slice(struct slice actual, struct slice expected)
{
    assert_int_equal(slice_is_absent(actual), slice_is_absent(expected));
    assert_int_equal(actual.size, expected.size);
    if (expected.size)
        assert_memory_equal(actual.data, expected.data, expected.size);
}

static int64_t number_of(struct fixture *fixture, const char *sql)
{
    char path[96];
    sqlite3 *db;
    sqlite3_stmt *statement;
    if (fixture->place.url)
        return fixture_server_number(sql);
    (void)snprintf(path, sizeof path, "%s/queue.db", fixture->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

static void execute(const char *dir, const char *sql)
{
    char path[96];
    sqlite3 *db;
    (void)snprintf(path, sizeof path, "%s/queue.db", dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void ids_are_sixteen_hex_digits_and_nothing_else(void **state)
{
    static const struct { const char *text; uint64_t id; } rows[] = {
        {"0000000000000001", 1},
        {"7fffffffffffffff", INT64_MAX},
        {"00ABCDEF00abcdef", 0xabcdef00abcdef},
        {"0000000000000000", 0}, /* 0 = refused */
        {"8000000000000000", 0},
        {"000000000000001", 0},
        {"00000000000000001", 0},
        {"000000000000000g", 0},
        {"../../etc/passwd", 0},
        {"", 0},
    };
    char text[17];
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint64_t id = 0;
        assert_int_equal(store_id_parse(slice_of(rows[i].text), &id), rows[i].id != 0);
        assert_int_equal(id, rows[i].id);
    }
    store_id_text(0xabcdef00abcdef, text);
    assert_string_equal(text, "00abcdef00abcdef");
}

static void Q1_rolled_back_work_never_happened(void **state)
{
    struct fixture *fixture = *state;
    MUST(store_begin(fixture->store, &fixture->error));
    fixture_add(fixture, 7, 1, 0);
    fixture_add_origin(fixture, 8);
    store_rollback(fixture->store);
    assert_int_equal(fixture_messages(fixture), 0);
    assert_false(fixture_has_origin(fixture, 8));
    fixture_add_committed(fixture, 7, 1, 0); /* the handle still works */
    assert_int_equal(fixture_messages(fixture), 1);
}

static void Q1_a_transaction_with_a_failed_change_can_not_be_committed(void **state)
{
    struct fixture *fixture = *state;
    struct store_message twice = {
        .id = 8, .sender = SLICE("a@b"), .content = SLICE("x"), .size = 1};
    struct store_recipient to = {.message_id = 8, .address = SLICE("c@d"), .domain = SLICE("d")};
    MUST(store_begin(fixture->store, &fixture->error));
    fixture_add(fixture, 7, 1, 0);
    fixture_add(fixture, 8, 1, 0);
    /* The shared one finds it out when it sends what was gathered. */
    bool is_added = store_add_message(fixture->store, &twice, &to, 1, &fixture->error);
    assert_int_equal(is_added, store_is_shared(fixture->store));
    assert_false(store_commit(fixture->store, &fixture->error));
    assert_non_null(strstr(fixture->error.text, store_is_shared(fixture->store) ? "PostgreSQL" : "queue.db"));
    assert_non_null(strstr(fixture->error.text, store_is_shared(fixture->store) ? "unique" : "UNIQUE"));
    assert_int_equal(fixture_messages(fixture), 0);
}

static void Q2_two_thousand_recipients_share_one_message(void **state)
{
    struct fixture *fixture = *state;
    struct store_recipient *recipients;
    struct arena arena = {0};
    size_t count;
    fixture_add_committed(fixture, 7, 2000, 0);
    assert_int_equal(number_of(fixture, "SELECT count(*) FROM message"), 1);
    assert_int_equal(number_of(fixture, "SELECT count(*) FROM content"), 1);
    assert_int_equal(number_of(fixture, "SELECT count(*) FROM recipient"), 2000);
    MUST(store_read_recipients(fixture->store, &arena, 7, &recipients, &count, &fixture->error));
    assert_int_equal(count, 2000);
    assert_int_equal(recipients[1999].number, 1999);
    assert_slice(recipients[1999].address, SLICE("r1999@example.net"));
    arena_finish(&arena);
}

static void Q3_a_message_goes_with_its_last_open_recipient(void **state)
{
    struct fixture *fixture = *state;
    static const enum store_state states[] = {STATE_DELIVERED, STATE_HELD, STATE_BOUNCED};
    fixture_add_committed(fixture, 7, 4, 0);
    for (unsigned number = 0; number < 4; number++) {
        enum store_state to = number < 3 ? states[number] : STATE_EXPIRED;
        struct store_settlement settlement = fixture_settlement(7, number, to);
        bool is_gone = true;
        MUST(store_begin(fixture->store, &fixture->error));
        MUST(store_settle(fixture->store, &settlement, &fixture->error));
        MUST(store_finish_message(fixture->store, 7, &is_gone, &fixture->error));
        MUST(store_commit(fixture->store, &fixture->error));
        assert_false(is_gone); /* number 1 is held */
    }
    struct store_settlement last = fixture_settlement(7, 1, STATE_REMOVED);
    bool is_gone = false;
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_settle(fixture->store, &last, &fixture->error));
    MUST(store_finish_message(fixture->store, 7, &is_gone, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    assert_true(is_gone);
    assert_int_equal(
        number_of(fixture, "SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM content)"
                           " + (SELECT count(*) FROM recipient)"),
        0);
}

static void Q3_a_roll_back_makes_a_finished_recipient_open_again(void **state)
{
    struct fixture *fixture = *state;
    bool is_gone;
    fixture_add_committed(fixture, 7, 2, 0);
    struct store_settlement first = fixture_settlement(7, 0, STATE_DELIVERED);
    struct store_settlement second = fixture_settlement(7, 1, STATE_DELIVERED);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_settle(fixture->store, &first, &fixture->error));
    MUST(store_finish_message(fixture->store, 7, &is_gone, &fixture->error));
    store_rollback(fixture->store);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_settle(fixture->store, &second, &fixture->error));
    MUST(store_finish_message(fixture->store, 7, &is_gone, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    assert_false(is_gone); /* recipient 0 was not delivered after all */
}

static void Q4_an_origin_outlives_its_message(void **state)
{
    struct fixture *fixture = *state;
    bool is_gone;
    MUST(store_begin(fixture->store, &fixture->error));
    fixture_add(fixture, 20, 1, 0);
    for (uint64_t id = 20; id <= 25; id++)
        fixture_add_origin(fixture, id);
    MUST(store_commit(fixture->store, &fixture->error));
    struct store_settlement settlement = fixture_settlement(20, 0, STATE_DELIVERED);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_settle(fixture->store, &settlement, &fixture->error));
    MUST(store_finish_message(fixture->store, 20, &is_gone, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    fixture_reopen(fixture);
    assert_false(fixture_has_message(fixture, 20));
    assert_true(fixture_has_origin(fixture, 20));
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_drop_origins(fixture->store, 20, 23, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    for (uint64_t id = 20; id <= 25; id++)
        assert_true(fixture_has_origin(fixture, id) == (id > 23));
}

static void the_last_id_is_remembered_when_nothing_of_it_is_left(void **state)
{
    struct fixture *fixture = *state;
    uint64_t id;
    bool is_gone;
    MUST(store_begin(fixture->store, &fixture->error));
    fixture_add(fixture, 30, 1, 0);
    fixture_add_origin(fixture, 35);
    MUST(store_last_id(fixture->store, &id, &fixture->error));
    assert_int_equal(id, 35);
    MUST(store_commit(fixture->store, &fixture->error));
    struct store_settlement settlement = fixture_settlement(30, 0, STATE_DELIVERED);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_settle(fixture->store, &settlement, &fixture->error));
    MUST(store_finish_message(fixture->store, 30, &is_gone, &fixture->error));
    MUST(store_drop_origins(fixture->store, 1, 40, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    fixture_reopen(fixture);
    MUST(store_last_id(fixture->store, &id, &fixture->error));
    assert_int_equal(id, 35);
}

static void Q7_texts_come_back_as_they_came(void **state)
{
    struct fixture *fixture = *state;
    struct arena arena = {0};
    struct store_recipient *read;
    size_t count;
    struct store_message in = {
        .id = 3,
        .arrived_ms = 77,
        .sender = SLICE("\xff\x00@x"),
        .envid = SLICE(""),
        .ret = 2,
        .flags = 31,
        .priority = -1,
        .pickup_name = SLICE("caf\xe9.eml"),
        .owner = SLICE("jos\xc3\xa9"),
        .subject = SLICE("a\0b"),
        .size = 5,
        .header_size = 2,
        .content = SLICE("\0\r\n\xff."),
    };
    struct store_recipient to = {
        .message_id = 3,
        .number = 0,
        .address = SLICE("\xc3\xbc@x"),
        .domain = SLICE("x"),
        .notify = 6,
        .attempts = 4,
        .next_ms = 9,
        .last_attempt_ms = 8,
        .is_delay_noticed = true,
        .last_reply = SLICE("450 \x80"),
        .route = SLICE("h:25"),
        .priority = -1,
    };
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_add_message(fixture->store, &in, &to, 1, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    struct store_message out;
    MUST(store_read_message(fixture->store, &arena, 3, true, &out, &fixture->error));
    const struct {
        struct slice expected, actual;
    } texts[] = {
        {in.sender, out.sender},           {in.envid, out.envid},     {SLICE_NONE, out.auth},
        {in.pickup_name, out.pickup_name}, {in.owner, out.owner},     {SLICE_NONE, out.message_id},
        {in.subject, out.subject},         {in.content, out.content},
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_slice(texts[i].actual, texts[i].expected);
    assert_int_equal(out.arrived_ms, 77);
    assert_int_equal(out.ret * 100 + (int)out.flags, 231);
    assert_int_equal(out.priority, -1);
    MUST(store_read_recipients(fixture->store, &arena, 3, &read, &count, &fixture->error));
    assert_int_equal(count, 1);
    assert_slice(read->address, to.address);
    assert_slice(read->orcpt, SLICE_NONE);
    assert_slice(read->last_reply, to.last_reply);
    assert_slice(read->route, to.route);
    assert_int_equal(read->notify * 10 + read->attempts, 64);
    assert_true(read->is_delay_noticed);
    assert_int_equal(read->priority, -1);
    arena_finish(&arena);
    assert_false(store_read_message(fixture->store, &arena, 4, true, &out, &fixture->error));
    assert_string_equal(fixture->error.text, "no such message");
}

struct seen { uint64_t ids[16]; unsigned numbers[16]; size_t count; };

static void see(void *arg, const struct store_recipient *recipient)
{
    struct seen *seen = arg;
    assert_true(seen->count < COUNT_OF(seen->ids));
    seen->numbers[seen->count] = recipient->number;
    seen->ids[seen->count++] = recipient->message_id;
}

static void due_comes_in_order_of_time_then_id_then_number(void **state)
{
    struct fixture *fixture = *state;
    fixture_add_committed(fixture, 5, 2, 100);
    fixture_add_committed(fixture, 3, 1, 200);
    fixture_add_committed(fixture, 4, 3, 100);
    fixture_add_committed(fixture, 9, 1, 50);
    fixture_add_committed(fixture, 1, 1, 201); /* not due yet */
    static const struct {
        uint64_t id;
        unsigned number;
    } expected[] = {{9, 0}, {4, 0}, {4, 1}, {4, 2}, {5, 0}, {5, 1}, {3, 0}};
    for (size_t limit = 1; limit <= 8; limit++) {
        struct store_due_cursor cursor = {0};
        struct seen seen = {0};
        size_t before;
        do {
            before = seen.count;
            MUST(store_load_due(fixture->store, 0, 200, limit, &cursor, see, &seen,
                                &fixture->error));
            assert_true(seen.count - before <= limit);
        } while (seen.count > before);
        assert_int_equal(seen.count, COUNT_OF(expected));
        for (size_t i = 0; i < seen.count; i++) {
            assert_int_equal(seen.ids[i], expected[i].id);
            assert_int_equal(seen.numbers[i], expected[i].number);
        }
    }
    struct seen none = {0};
    struct store_due_cursor cursor = {0};
    MUST(store_load_due(fixture->store, 1, 200, 8, &cursor, see, &none, &fixture->error));
    assert_int_equal(none.count, 0); /* no message of that priority */
}

static void next_due_is_the_earliest_after_a_time(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        int64_t after, next;
    } rows[] = {{0, 100}, {99, 100}, {100, 300}, {300, INT64_MAX}};
    fixture_add_committed(fixture, 1, 1, 100);
    fixture_add_committed(fixture, 2, 2, 300);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t next;
        MUST(store_next_due(fixture->store, rows[i].after, &next, &fixture->error));
        assert_int_equal(next, rows[i].next);
    }
}

static void held_while_it_was_tried_stays_held(void **state)
{
    struct fixture *fixture = *state;
    struct store_filter held = {.state = STATE_HELD};
    fixture_add_committed(fixture, 7, 1, 0);
    struct store_settlement settlement = fixture_settlement(7, 0, STATE_QUEUED);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_change(fixture->store, &FILTER_ALL, VERB_HOLD, SLICE_NONE, NULL, NULL,
                      &fixture->error));
    MUST(store_settle(fixture->store, &settlement, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    assert_int_equal(fixture_count(fixture, &held), 1);
}

static void settling_what_is_gone_or_final_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct store_filter delivered = {.state = STATE_DELIVERED};
    bool is_gone = false;
    fixture_add_committed(fixture, 7, 2, 0);
    struct store_settlement first = fixture_settlement(7, 0, STATE_DELIVERED);
    struct store_settlement again = fixture_settlement(7, 0, STATE_QUEUED);
    struct store_settlement absent = fixture_settlement(8, 0, STATE_QUEUED);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_settle(fixture->store, &first, &fixture->error));
    MUST(store_settle(fixture->store, &again, &fixture->error));
    MUST(store_settle(fixture->store, &absent, &fixture->error));
    MUST(store_finish_message(fixture->store, 8, &is_gone, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    assert_true(is_gone);
    assert_int_equal(fixture_count(fixture, &delivered), 1);
}

static void totals_count_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct store_filter one = {.ids = (uint64_t[]){2}, .id_count = 1, .state = -1};
    struct store_totals totals;
    MUST(store_totals(fixture->store, 0, &totals, &fixture->error));
    assert_int_equal(totals.messages + totals.recipients + totals.bytes, 0);
    fixture_add_committed(fixture, 1, 3, 100);
    fixture_add_committed(fixture, 2, 2, 100);
    fixture_add_committed(fixture, 3, 1, 300);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_change(fixture->store, &one, VERB_HOLD, SLICE_NONE, NULL, NULL, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    MUST(store_totals(fixture->store, 200, &totals, &fixture->error));
    assert_int_equal(totals.messages, 3);
    assert_int_equal(totals.recipients, 6);
    assert_int_equal(totals.queued, 4);
    assert_int_equal(totals.held, 2);
    assert_int_equal(totals.due, 3);
    assert_int_equal(totals.bytes, 36);
    assert_int_equal(totals.oldest_ms, 1000);
}

static void a_reader_sees_commits_and_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct store *reader, *writer = fixture->store;
    fixture_add_committed(fixture, 1, 1, 0);
    MUST(store_open_at(&fixture->place, STORE_READER, &reader, &fixture->error));
    fixture->store = reader;
    assert_int_equal(fixture_messages(fixture), 1);
    fixture->store = writer;
    MUST(store_begin(writer, &fixture->error));
    fixture_add(fixture, 2, 1, 0);
    fixture->store = reader;
    assert_int_equal(fixture_messages(fixture), 1);
    MUST(store_commit(writer, &fixture->error));
    assert_int_equal(fixture_messages(fixture), 2);
    store_close(&reader);
    fixture->store = writer;
}

static void a_queue_never_made_is_named_as_such(void **state)
{
    struct fixture *fixture = *state;
    char dir[96];
    struct store *store = NULL;
    (void)snprintf(dir, sizeof dir, "%s/other", fixture->dir);
    assert_false(store_open(dir, STORE_READER, &store, &fixture->error));
    assert_non_null(strstr(fixture->error.text, "no queue here yet"));
    assert_null(store);
}

static void an_empty_database_is_migrated_from_version_0(void **state)
{
    struct fixture *fixture = *state;
    char dir[96];
    struct store *store;
    (void)snprintf(dir, sizeof dir, "%s/new", fixture->dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    execute(dir, "VACUUM"); /* writes an empty database */
    assert_false(store_open(dir, STORE_READER, &store, &fixture->error));
    assert_non_null(strstr(fixture->error.text, "not yet migrated"));
    MUST(store_open(dir, STORE_WRITER, &store, &fixture->error));
    store_close(&store);
    MUST(store_open(dir, STORE_READER, &store, &fixture->error));
    store_close(&store);
}

static void a_queue_of_version_1_keeps_its_messages(void **state)
{
    struct fixture *fixture = *state;
    struct arena arena = {0};
    struct store_message message;
    fixture_add_committed(fixture, 7, 2, 0);
    store_close(&fixture->store);
    execute(fixture->dir, "ALTER TABLE message DROP COLUMN policy; DROP TABLE once; DROP TABLE usage; PRAGMA user_version = 1");
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
    MUST(store_read_message(fixture->store, &arena, 7, true, &message, &fixture->error));
    assert_true(slice_is_absent(message.policy));
    assert_int_equal(number_of(fixture, "SELECT count(*) FROM once"), 0);
    arena_finish(&arena);
}

static uint64_t first_of(struct fixture *fixture, const char *key, uint64_t id, int64_t now_ms)
{
    struct store_once once = {slice_of(key), id, now_ms + 1000};
    uint64_t first;
    MUST(store_add_once(fixture->store, &once, now_ms, &first, &fixture->error));
    return first;
}

static void a_key_is_the_first_ones_until_its_time_is_over(void **state)
{
    struct fixture *fixture = *state;
    MUST(store_begin(fixture->store, &fixture->error));
    assert_int_equal(first_of(fixture, "a", 1, 5000), 1);
    assert_int_equal(first_of(fixture, "a", 2, 5999), 1);
    assert_int_equal(first_of(fixture, "b", 3, 5999), 3);
    MUST(store_commit(fixture->store, &fixture->error));
    fixture_reopen(fixture);
    MUST(store_begin(fixture->store, &fixture->error));
    assert_int_equal(first_of(fixture, "a", 4, 5999), 1);
    assert_int_equal(first_of(fixture, "a", 5, 6000), 5);
    store_rollback(fixture->store);
    assert_int_equal(number_of(fixture, "SELECT min(id) FROM once"), 1);
}

static void sum_usage(void *arg, const struct store_usage *usage)
{
    *(uint64_t *)arg += usage->count + (uint64_t)usage->since_ms;
}

static void counters_outlive_a_restart(void **state)
{
    struct fixture *fixture = *state;
    struct store_usage usage = {SLICE("shop"), 100, 1};
    uint64_t sum = 0;
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_set_usage(fixture->store, &usage, &fixture->error));
    usage.count = 9;
    MUST(store_set_usage(fixture->store, &usage, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    fixture_reopen(fixture);
    MUST(store_each_usage(fixture->store, sum_usage, &sum, &fixture->error));
    assert_int_equal(sum, 109);
}

static void other_versions_and_databases_are_refused_untouched(void **state)
{
    struct fixture *fixture = *state;
    static const struct { const char *sql, *text; } rows[] = {
        {"PRAGMA user_version = 999", "newer mailroot (schema 999"},
        {"PRAGMA user_version = 1; PRAGMA application_id = 1", "no queue of mailroot's"},
        {"PRAGMA user_version = 0", "no queue of mailroot's"},
    };
    struct store *store;
    fixture_add_committed(fixture, 1, 1, 0);
    store_close(&fixture->store);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        execute(fixture->dir, rows[i].sql);
        assert_false(store_open(fixture->dir, STORE_WRITER, &store, &fixture->error));
        assert_non_null(strstr(fixture->error.text, rows[i].text));
        assert_false(store_open(fixture->dir, STORE_READER, &store, &fixture->error));
    }
    assert_int_equal(number_of(fixture, "SELECT count(*) FROM message"), 1);
}

static void the_queue_is_closed_to_other_users(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"queue.db", "queue.db-wal", "queue.db-shm", "body"};
    fixture_add_committed(fixture, 1, 1, 0);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[128];
        struct stat is;
        (void)snprintf(path, sizeof path, "%s/%s", fixture->dir, names[i]);
        assert_int_equal(stat(path, &is), 0);
        assert_int_equal(is.st_mode & 07, 0);
    }
}

static void a_drained_queue_gives_its_space_back(void **state)
{
    struct fixture *fixture = *state;
    enum { MESSAGES = 700 };
    size_t size = STORE_INLINE_SIZE_MAX;
    char *bytes = mem_alloc(size);
    bool is_gone;
    MUST(store_begin(fixture->store, &fixture->error));
    for (uint64_t id = 1; id <= MESSAGES; id++) {
        struct store_message m = {
            .id = id, .sender = SLICE(""), .size = size, .content = {bytes, size}};
        struct store_recipient to = {
            .message_id = id, .address = SLICE("c@d"), .domain = SLICE("d")};
        MUST(store_add_message(fixture->store, &m, &to, 1, &fixture->error));
    }
    MUST(store_commit(fixture->store, &fixture->error));
    free(bytes);
    store_tidy(fixture->store);
    assert_true(number_of(fixture, "PRAGMA page_count") > MESSAGES * 32);
    MUST(store_begin(fixture->store, &fixture->error));
    for (uint64_t id = 2; id <= MESSAGES; id++) {
        struct store_settlement settlement = fixture_settlement(id, 0, STATE_DELIVERED);
        MUST(store_settle(fixture->store, &settlement, &fixture->error));
        MUST(store_finish_message(fixture->store, id, &is_gone, &fixture->error));
    }
    MUST(store_commit(fixture->store, &fixture->error));
    assert_true(number_of(fixture, "PRAGMA page_count") > MESSAGES * 32);
    store_tidy(fixture->store);
    assert_true(number_of(fixture, "PRAGMA page_count") < 100);
    assert_int_equal(fixture_messages(fixture), 1);
}

static void the_wal_starts_over_instead_of_growing(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct stat is;
    size_t size = STORE_INLINE_SIZE_MAX;
    char *bytes = mem_alloc(size);
    for (uint64_t id = 1; id <= 1000; id++) { /* 125 MiB in all */
        struct store_message m = {
            .id = id, .sender = SLICE(""), .size = size, .content = {bytes, size}};
        struct store_recipient to = {
            .message_id = id, .address = SLICE("c@d"), .domain = SLICE("d")};
        bool is_gone;
        MUST(store_begin(fixture->store, &fixture->error));
        MUST(store_add_message(fixture->store, &m, &to, 1, &fixture->error));
        MUST(store_commit(fixture->store, &fixture->error));
        struct store_settlement settlement = fixture_settlement(id, 0, STATE_DELIVERED);
        MUST(store_begin(fixture->store, &fixture->error));
        MUST(store_settle(fixture->store, &settlement, &fixture->error));
        MUST(store_finish_message(fixture->store, id, &is_gone, &fixture->error));
        MUST(store_commit(fixture->store, &fixture->error));
    }
    free(bytes);
    (void)snprintf(path, sizeof path, "%s/queue.db-wal", fixture->dir);
    assert_int_equal(stat(path, &is), 0);
    assert_true(is.st_size < 40 * 1024 * 1024);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_open, fixture_close)
#define SHARED(function) cmocka_unit_test_setup_teardown(function, fixture_open_shared, fixture_close)
#define BOTH(M) \
    M(Q1_rolled_back_work_never_happened), M(Q1_a_transaction_with_a_failed_change_can_not_be_committed), \
    M(Q2_two_thousand_recipients_share_one_message), M(Q3_a_message_goes_with_its_last_open_recipient), \
    M(Q3_a_roll_back_makes_a_finished_recipient_open_again), M(Q4_an_origin_outlives_its_message), \
    M(the_last_id_is_remembered_when_nothing_of_it_is_left), M(Q7_texts_come_back_as_they_came), \
    M(next_due_is_the_earliest_after_a_time), M(held_while_it_was_tried_stays_held), \
    M(settling_what_is_gone_or_final_changes_nothing), M(totals_count_what_is_there), \
    M(a_reader_sees_commits_and_changes_nothing), M(a_key_is_the_first_ones_until_its_time_is_over), \
    M(counters_outlive_a_restart)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_sixteen_hex_digits_and_nothing_else),
        BOTH(TEST),
        TEST(due_comes_in_order_of_time_then_id_then_number),
        TEST(a_queue_never_made_is_named_as_such),
        TEST(an_empty_database_is_migrated_from_version_0),
        TEST(a_queue_of_version_1_keeps_its_messages),
        TEST(other_versions_and_databases_are_refused_untouched),
        TEST(the_queue_is_closed_to_other_users),
        TEST(a_drained_queue_gives_its_space_back),
        TEST(the_wal_starts_over_instead_of_growing),
    };
    const struct CMUnitTest shared[] = {BOTH(SHARED)};
    int failed = cmocka_run_group_tests_name("embedded", tests, NULL, NULL);
    return failed + (fixture_server_url() ? cmocka_run_group_tests_name("shared", shared, NULL, NULL) : 0);
}
