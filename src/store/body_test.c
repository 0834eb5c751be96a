#include "store/fixture.h"

#include "base/mem.h"
#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static bool has_body(struct fixture *fixture, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/body/%s", fixture->dir, name);
    return access(path, F_OK) == 0;
}

static void add_in_file(struct fixture *fixture, uint64_t id)
{
    struct store_message message = {.id = id, .sender = SLICE(""), .size = 3, .is_in_file = true};
    struct store_recipient to = {.message_id = id, .address = SLICE("c@d"), .domain = SLICE("d")};
    MUST(store_body_write(fixture->dir, id, SLICE("abc"), &fixture->error));
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_add_message(fixture->store, &message, &to, 1, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
}

static void Q5_a_body_file_goes_after_the_commit_that_forgets_it(void **state)
{
    struct fixture *fixture = *state;
    bool is_gone;
    struct store_settlement settlement = fixture_settlement(9, 0, STATE_DELIVERED);
    add_in_file(fixture, 9);
    for (int round = 0; round < 2; round++) {
        MUST(store_begin(fixture->store, &fixture->error));
        MUST(store_settle(fixture->store, &settlement, &fixture->error));
        MUST(store_finish_message(fixture->store, 9, &is_gone, &fixture->error));
        assert_true(is_gone);
        assert_true(has_body(fixture, "0000000000000009"));
        if (round == 0)
            store_rollback(fixture->store);
        else
            MUST(store_commit(fixture->store, &fixture->error));
        assert_int_equal(has_body(fixture, "0000000000000009"), round == 0);
    }
}

static void Q5_opening_removes_bodies_that_nothing_names(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    add_in_file(fixture, 9);
    fixture_add_committed(fixture, 11, 1, 0); /* inline: a body file of its name is a leftover */
    MUST(store_body_write(fixture->dir, 10, SLICE("x"), &fixture->error));
    MUST(store_body_write(fixture->dir, 11, SLICE("x"), &fixture->error));
    static const char *const others[] = {"0000000000000009.tmp", "README"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        (void)snprintf(path, sizeof path, "%s/body/%s", fixture->dir, others[i]);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        (void)fclose(file);
    }
    fixture_reopen(fixture);
    assert_true(has_body(fixture, "0000000000000009"));
    assert_false(has_body(fixture, "000000000000000a"));
    assert_false(has_body(fixture, "000000000000000b"));
    assert_false(has_body(fixture, "0000000000000009.tmp"));
    assert_true(has_body(fixture, "README")); /* not ours to remove */
}

static void Q5_a_body_comes_back_byte_for_byte(void **state)
{
    struct fixture *fixture = *state;
    struct buf read = {0};
    size_t size = 3 * STORE_INLINE_SIZE_MAX + 17;
    char *bytes = mem_alloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 31);
    MUST(store_body_write(fixture->dir, 5, slice_make(bytes, size), &fixture->error));
    int fd = store_body_open(fixture->dir, 5, &fixture->error);
    assert_true(fd >= 0);
    MUST(file_read(fd, size, &read, &fixture->error));
    assert_int_equal(read.size, size);
    assert_memory_equal(read.data, bytes, size);
    close(fd);
    buf_finish(&read);
    free(bytes);
    assert_int_equal(store_body_open(fixture->dir, 6, &fixture->error), -1);
    assert_non_null(strstr(fixture->error.text, "0000000000000006"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(Q5_a_body_file_goes_after_the_commit_that_forgets_it),
        TEST(Q5_opening_removes_bodies_that_nothing_names),
        TEST(Q5_a_body_comes_back_byte_for_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
