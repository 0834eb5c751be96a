#include "store/fixture.h"

#include "base/mem.h"
#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>
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

enum { MESSAGES = 2000, CONTENT_SIZE = 1500, PAGE = 4096, IN_FILE_ID = 3000, HIGHEST_ID = 4010, ORIGINS = 11 };

static struct slice content_of(uint64_t id, char bytes[CONTENT_SIZE])
{
    for (size_t i = 0; i < CONTENT_SIZE; i++)
        bytes[i] = (char)('a' + (id * 7 + i) % 26);
    return slice_make(bytes, CONTENT_SIZE);
}

static void add_message(struct fixture *fixture, uint64_t id)
{
    char bytes[CONTENT_SIZE], address[2][40];
    struct store_recipient recipients[2];
    struct store_message m = {.id = id,
                              .arrived_ms = 5,
                              .sender = SLICE("s@x"),
                              .size = CONTENT_SIZE,
                              .content = content_of(id, bytes)};
    if (id == IN_FILE_ID) {
        MUST(store_body_write(fixture->dir, id, m.content, &fixture->error));
        m.is_in_file = true;
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(address[i], sizeof address[i], "r%llu.%u@y", (unsigned long long)id, i);
        recipients[i] = (struct store_recipient){.message_id = id,
                                                 .number = i,
                                                 .address = slice_of(address[i]),
                                                 .domain = SLICE("y"),
                                                 .attempts = i};
    }
    MUST(store_add_message(fixture->store, &m, recipients, 2, &fixture->error));
}

static void add_all(struct fixture *fixture)
{
    MUST(store_begin(fixture->store, &fixture->error));
    for (uint64_t id = 1; id <= MESSAGES; id++)
        add_message(fixture, id);
    add_message(fixture, IN_FILE_ID);
    for (uint64_t id = HIGHEST_ID - ORIGINS + 1; id <= HIGHEST_ID; id++)
        fixture_add_origin(fixture, id);
    MUST(store_commit(fixture->store, &fixture->error));
    store_close(&fixture->store);
}

/* The n-th page (from 0) of a table or index, leaf or internal; 0 if it has none. */
static int64_t page_of(struct fixture *fixture, const char *name, const char *type, int n)
{
    char path[96], sql[200];
    sqlite3 *db;
    sqlite3_stmt *statement;
    (void)snprintf(path, sizeof path, "%s/queue.db", fixture->dir);
    (void)snprintf(sql, sizeof sql,
                   "SELECT pageno FROM dbstat WHERE name = '%s' AND pagetype = '%s' ORDER BY path "
                   "LIMIT 1 OFFSET %d",
                   name, type, n);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    int64_t page = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return page;
}

static void overwrite(struct fixture *fixture, int64_t page, int filler)
{
    char path[96], bytes[PAGE];
    (void)snprintf(path, sizeof path, "%s/queue.db", fixture->dir);
    memset(bytes, filler, sizeof bytes);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, (page - 1) * PAGE), PAGE);
    close(fd);
}

/* Whether the message is there; what is there must be whole. */
static bool is_saved(struct fixture *fixture, uint64_t id, size_t *ret_recipients)
{
    char bytes[CONTENT_SIZE];
    struct arena arena = {0};
    struct store_message m;
    struct store_recipient *recipients;
    bool is_there = store_read_message(fixture->store, &arena, id, true, &m, &fixture->error);
    if (is_there) {
        if (!m.is_in_file)
            assert_true(slice_equals(m.content, content_of(id, bytes)));
        assert_true(slice_equals(m.sender, SLICE("s@x")));
        MUST(store_read_recipients(fixture->store, &arena, id, &recipients, ret_recipients,
                                   &fixture->error));
        for (size_t i = 0; i < *ret_recipients; i++) {
            char address[40];
            (void)snprintf(address, sizeof address, "r%llu.%u@y", (unsigned long long)id,
                           recipients[i].number);
            assert_true(slice_equals(recipients[i].address, slice_of(address)));
            assert_int_equal(recipients[i].attempts, recipients[i].number);
        }
    }
    arena_finish(&arena);
    return is_there;
}

/* Everything is either saved or named in the report, and never both. Returns how many are not
 * saved. */
static size_t account(struct fixture *fixture, struct buf *report)
{
    size_t lost = 0;
    for (uint64_t id = 1; id <= IN_FILE_ID; id = id == MESSAGES ? IN_FILE_ID : id + 1) {
        char text[32], name[17];
        size_t recipients = 0;
        store_id_text(id, name);
        (void)snprintf(text, sizeof text, "%s: not saved", name);
        bool is_there = is_saved(fixture, id, &recipients);
        bool is_named = strstr(buf_text(report), text) != NULL;
        if (is_there == is_named)
            fail_msg("%s: %s", name, is_there ? "saved and reported lost" : "lost without a word");
        (void)snprintf(text, sizeof text, "%s: saved, but", name);
        if (is_there && recipients < 2)
            assert_non_null(strstr(buf_text(report), text));
        lost += !is_there;
        if (id == IN_FILE_ID)
            break;
    }
    return lost;
}

/* Files of that name, WALs not counted. */
static size_t count_files(const char *dir, const char *prefix)
{
    size_t count = 0;
    DIR *folder = opendir(dir);
    const struct dirent *entry;
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL)
        count += slice_starts(slice_of(entry->d_name), slice_of(prefix))
                 && !slice_ends_nocase(slice_of(entry->d_name), SLICE("-wal"));
    closedir(folder);
    return count;
}

static void what_can_be_read_is_saved_and_the_rest_is_named(void **state)
{
    static const struct {
        const char *table, *type;
        int n, filler;
        size_t lost_min, lost_max;
    } rows[] = {
        {"content", "leaf", 3, 0, 1, 4},
        {"content", "leaf", 3, 0xff, 1, 4},
        {"content", "internal", 0, 0, MESSAGES, MESSAGES}, /* the root */
        {"content", "internal", 1, 0, 100, MESSAGES - 100},
        {"message", "leaf", 2, 0x55, 1, 200},
        {"message", "leaf", 0, 0, 1, 200},
        {"message", "internal", 0, 0, MESSAGES + 1, MESSAGES + 1},
        {"recipient", "leaf", 4, 0, 1, 100},
        {"recipient", "internal", 0, 0xff, MESSAGES + 1, MESSAGES + 1},
        {"recipient_due", "leaf", 1, 0, 0, 0}, /* an index holds nothing of its own */
        {"recipient_due", "internal", 0, 0, 0, 0},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buf report = {0};
        store_close(&fixture->store);
        fixture_remove_folder(fixture->dir);
        MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
        add_all(fixture);
        int64_t page = page_of(fixture, rows[i].table, rows[i].type, rows[i].n);
        assert_true(page > 1);
        overwrite(fixture, page, rows[i].filler);
        MUST(store_repair(fixture->dir, &report, &fixture->error));
        assert_int_equal(count_files(fixture->dir, "queue.db.damaged-"), 1);
        assert_int_equal(count_files(fixture->dir, "queue.db.new"), 0);
        MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
        size_t lost = account(fixture, &report);
        if (lost < rows[i].lost_min || lost > rows[i].lost_max)
            fail_msg("row %zu: %zu lost\n%s", i, lost, buf_text(&report));
        uint64_t highest;
        MUST(store_last_id(fixture->store, &highest, &fixture->error));
        assert_int_equal(highest, HIGHEST_ID);
        assert_true(fixture_has_origin(fixture, HIGHEST_ID - 5));
        buf_finish(&report);
    }
}

static void a_body_whose_message_is_lost_is_kept_aside(void **state)
{
    struct fixture *fixture = *state;
    struct buf report = {0};
    add_all(fixture);
    overwrite(fixture, page_of(fixture, "message", "internal", 0), 0);
    MUST(store_repair(fixture->dir, &report, &fixture->error));
    assert_non_null(strstr(buf_text(&report), "bodies that belong to no saved message"));
    assert_int_equal(count_files(fixture->dir, "body.damaged-"), 1);
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
    assert_int_equal(store_body_open(fixture->dir, IN_FILE_ID, &fixture->error), -1);
    buf_finish(&report);
}

static void a_file_that_is_no_database_any_more_is_set_aside(void **state)
{
    struct fixture *fixture = *state;
    struct buf report = {0};
    struct store *store = NULL;
    add_all(fixture);
    overwrite(fixture, 1, 0x20);
    assert_false(store_open(fixture->dir, STORE_WRITER, &store, &fixture->error));
    assert_non_null(strstr(fixture->error.text, "mailroot queue repair"));
    MUST(store_repair(fixture->dir, &report, &fixture->error));
    assert_non_null(strstr(buf_text(&report), "nothing of the damaged file can be read"));
    assert_int_equal(count_files(fixture->dir, "queue.db.damaged-"), 1);
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
    assert_int_equal(fixture_messages(fixture), 0);
    buf_finish(&report);
}

static void a_sound_queue_stays_as_it_is(void **state)
{
    struct fixture *fixture = *state;
    struct buf report = {0};
    add_all(fixture);
    MUST(store_repair(fixture->dir, &report, &fixture->error));
    assert_string_equal(buf_text(&report), "no damage found: the queue stays as it is\n");
    assert_int_equal(count_files(fixture->dir, "queue.db.damaged-"), 0);
    assert_int_equal(count_files(fixture->dir, "body.damaged-"), 0);
    buf_finish(&report);
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
    assert_int_equal(fixture_messages(fixture), MESSAGES + 1);
}

static void what_was_committed_but_is_still_in_the_wal_is_saved(void **state)
{
    struct fixture *fixture = *state;
    struct buf report = {0};
    char copy[96], command[400];
    add_all(fixture);
    int64_t page = page_of(fixture, "recipient_due", "leaf", 1);
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
    fixture_add_committed(fixture, 2500, 1, 0);
    /* As a kill leaves it: the WAL is not yet copied. */
    (void)snprintf(copy, sizeof copy, "%s/copy", fixture->dir);
    (void)snprintf(command, sizeof command, "mkdir %s && cp %s/queue.db %s/queue.db-wal %s", copy,
                   fixture->dir, fixture->dir, copy);
    assert_int_equal(system(command), 0);
    struct fixture killed = {0};
    (void)snprintf(killed.dir, sizeof killed.dir, "%.50s/copy", fixture->dir);
    overwrite(&killed, page, 0);
    must(store_repair(killed.dir, &report, &killed.error), &killed.error);
    must(store_open(killed.dir, STORE_WRITER, &killed.store, &killed.error), &killed.error);
    assert_true(fixture_has_message(&killed, 2500));
    assert_int_equal(count_files(killed.dir, "queue.db.damaged-"), 1);
    store_close(&killed.store);
    buf_finish(&report);
}

static void a_foreign_or_newer_database_is_not_touched(void **state)
{
    struct fixture *fixture = *state;
    struct buf report = {0};
    char path[96];
    sqlite3 *db;
    store_close(&fixture->store);
    (void)snprintf(path, sizeof path, "%s/queue.db", fixture->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_false(store_repair(fixture->dir, &report, &fixture->error));
    assert_non_null(strstr(fixture->error.text, "newer mailroot"));
    assert_int_equal(count_files(fixture->dir, "queue.db.damaged-"), 0);
    buf_finish(&report);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_can_be_read_is_saved_and_the_rest_is_named),
        TEST(a_body_whose_message_is_lost_is_kept_aside),
        TEST(a_file_that_is_no_database_any_more_is_set_aside),
        TEST(a_sound_queue_stays_as_it_is),
        TEST(what_was_committed_but_is_still_in_the_wal_is_saved),
        TEST(a_foreign_or_newer_database_is_not_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
