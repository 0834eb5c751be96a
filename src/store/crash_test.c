#include "store/fixture.h"

#include "base/mem.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 40, PER_TRANSACTION = 3 };

/* What the child has done so far; it outlives the child. */
struct progress { unsigned operations, begun, committed; };

struct life { struct progress *progress; unsigned operations_max; /* then it kills itself */ };

static void step(struct life *life)
{
    if (++life->progress->operations == life->operations_max)
        (void)raise(SIGKILL);
}

static void live_add(struct fixture *fixture, struct life *life, unsigned transaction)
{
    uint64_t first = (uint64_t)transaction * PER_TRANSACTION + 1;
    for (uint64_t id = first; id < first + PER_TRANSACTION; id++) {
        fixture_add(fixture, id, 2, 0);
        step(life);
    }
    for (uint64_t id = first; id < first + PER_TRANSACTION; id++) {
        fixture_add_origin(fixture, id);
        step(life);
    }
}

/* All that the transaction before the last one added is delivered. */
static void live_settle(struct fixture *fixture, struct life *life, unsigned transaction)
{
    if (transaction < 2)
        return;
    uint64_t first = (uint64_t)(transaction - 2) * PER_TRANSACTION + 1;
    for (uint64_t id = first; id < first + PER_TRANSACTION; id++) {
        bool is_gone = false;
        for (unsigned number = 0; number < 2; number++) {
            struct store_settlement settlement = fixture_settlement(id, number, STATE_DELIVERED);
            MUST(store_settle(fixture->store, &settlement, &fixture->error));
            step(life);
        }
        MUST(store_finish_message(fixture->store, id, &is_gone, &fixture->error));
        step(life);
    }
}

static _Noreturn void live(struct fixture *fixture, struct life *life)
{
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
    for (unsigned transaction = 0;; transaction++) {
        MUST(store_begin(fixture->store, &fixture->error));
        life->progress->begun = transaction + 1;
        live_add(fixture, life, transaction);
        live_settle(fixture, life, transaction);
        MUST(store_commit(fixture->store, &fixture->error));
        life->progress->committed = transaction + 1;
        step(life);
    }
}

/* Exactly the first `committed` transactions happened. */
static bool is_state_after(struct fixture *fixture, unsigned committed)
{
    struct arena arena = {0};
    bool is_right = true;
    for (unsigned transaction = 0; transaction < committed + 2; transaction++) {
        bool is_expected = transaction < committed && transaction + 2 >= committed;
        uint64_t first = (uint64_t)transaction * PER_TRANSACTION + 1;
        for (uint64_t id = first; id < first + PER_TRANSACTION; id++) {
            struct store_message message;
            struct store_recipient *recipients;
            size_t count;
            struct error error;
            bool is_there = store_read_message(fixture->store, &arena, id, true, &message, &error);
            MUST(store_read_recipients(fixture->store, &arena, id, &recipients, &count,
                                       &fixture->error));
            is_right = is_right && is_there == is_expected && count == (is_expected ? 2 : 0)
                       && fixture_has_origin(fixture, id) == (transaction < committed);
        }
        arena_reset(&arena);
    }
    arena_finish(&arena);
    return is_right;
}

/* Runs a child in an empty queue until it is dead: by its own hand after `operations_max`, or, with
 * 0, by ours while it runs. */
static void run_life(struct fixture *fixture, struct progress *progress, unsigned operations_max,
                     unsigned wanted)
{
    int status;
    *progress = (struct progress){0};
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct life life = {progress, operations_max};
        live(fixture, &life);
    }
    if (operations_max == 0) {
        while (__atomic_load_n(&progress->operations, __ATOMIC_RELAXED) < wanted
               && waitpid(child, &status, WNOHANG) == 0)
            (void)sched_yield();
        (void)kill(child, SIGKILL);
    }
    (void)waitpid(child, &status, 0);
}

static struct progress *progress_share(void)
{
    struct progress *progress =
        mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(progress != MAP_FAILED);
    return progress;
}

static void Q1_killed_between_two_operations_only_what_was_committed_is_there(void **state)
{
    struct fixture *fixture = *state;
    struct progress *progress = progress_share();
    srandom(20261124);
    for (int round = 0; round < ROUNDS; round++) {
        store_close(&fixture->store);
        fixture_remove_folder(fixture->dir);
        run_life(fixture, progress, 1 + (unsigned)random() % 200, 0);
        fixture_reopen(fixture);
        assert_true(is_state_after(fixture, progress->committed));
    }
    (void)munmap(progress, sizeof *progress);
}

static void Q1_killed_at_any_instant_a_commit_happened_whole_or_not_at_all(void **state)
{
    struct fixture *fixture = *state;
    struct progress *progress = progress_share();
    srandom(19691124);
    for (int round = 0; round < ROUNDS; round++) {
        store_close(&fixture->store);
        fixture_remove_folder(fixture->dir);
        run_life(fixture, progress, 0, 1 + (unsigned)random() % 400);
        fixture_reopen(fixture);
        /* Killed inside store_commit() it may have happened already. */
        assert_true(
            is_state_after(fixture, progress->committed)
            || (progress->begun > progress->committed && is_state_after(fixture, progress->begun)));
    }
    (void)munmap(progress, sizeof *progress);
}

static uint64_t fill(struct fixture *fixture, uint64_t id_max)
{
    size_t size = 64 * 1024;
    char *bytes = mem_alloc(size);
    uint64_t id = 1;
    for (bool is_done = true; is_done && id <= id_max; id += is_done) {
        struct store_message m = {
            .id = id, .sender = SLICE(""), .size = size, .content = {bytes, size}};
        struct store_recipient to = {
            .message_id = id, .address = SLICE("c@d"), .domain = SLICE("d")};
        MUST(store_begin(fixture->store, &fixture->error));
        is_done = store_add_message(fixture->store, &m, &to, 1, &fixture->error);
        if (is_done)
            is_done = store_commit(fixture->store, &fixture->error);
        else
            store_rollback(fixture->store);
    }
    free(bytes);
    return id - 1; /* committed */
}

static void Q6_a_file_that_may_not_grow_fails_the_commit_and_names_itself(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before, small = {.rlim_cur = 6 * 1024 * 1024};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint64_t committed = fill(fixture, 1000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(committed > 0 && committed < 1000);
    assert_non_null(strstr(fixture->error.text, "queue.db: "));
    assert_int_equal(fixture_messages(fixture), committed);
    fixture_reopen(fixture);
    assert_int_equal(fixture_messages(fixture), committed);
    fixture_add_committed(fixture, 5000, 1, 0); /* and on it goes */
}

/* Mounts a small file system on the fixture's folder; false where that is not allowed. */
static bool mount_small(struct fixture *fixture)
{
    store_close(&fixture->store);
    fixture_remove_folder(fixture->dir);
    if (mkdir(fixture->dir, 0700) != 0
        || mount("none", fixture->dir, "tmpfs", 0, "size=64m") != 0) {
        MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
        return false;
    }
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
    return true;
}

static void Q6_on_a_full_disk_new_messages_fail_and_old_ones_are_settled(void **state)
{
    struct fixture *fixture = *state;
    if (!mount_small(fixture))
        skip();
    uint64_t committed = fill(fixture, 5000);
    assert_true(committed > 100 && committed < 5000);
    assert_non_null(strstr(fixture->error.text, "free space"));
    assert_int_equal(fixture_messages(fixture), committed);
    for (uint64_t id = 1; id <= committed; id++) {
        struct store_settlement again = fixture_settlement(id, 0, STATE_QUEUED);
        struct store_settlement done = fixture_settlement(id, 0, STATE_DELIVERED);
        bool is_gone;
        MUST(store_begin(fixture->store, &fixture->error));
        MUST(store_settle(fixture->store, &again, &fixture->error));
        MUST(store_commit(fixture->store, &fixture->error));
        if (id % 2 == 0)
            continue;
        MUST(store_begin(fixture->store, &fixture->error));
        MUST(store_settle(fixture->store, &done, &fixture->error));
        MUST(store_finish_message(fixture->store, id, &is_gone, &fixture->error));
        MUST(store_commit(fixture->store, &fixture->error));
    }
    assert_int_equal(fixture_messages(fixture), committed / 2);
    fixture_add_committed(fixture, 9000, 1, 0); /* what was freed is used again */
    store_close(&fixture->store);
    assert_int_equal(umount(fixture->dir), 0);
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
}

/* Somebody else's file takes all the room that is left. */
static void ballast(struct fixture *fixture)
{
    char path[96];
    static const char block[64 * 1024];
    (void)snprintf(path, sizeof path, "%s/ballast", fixture->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    setbuf(file, NULL);
    while (fwrite(block, sizeof block, 1, file) == 1)
        continue;
    (void)fclose(file);
}

static void Q6_the_room_for_settling_is_taken_beforehand(void **state)
{
    struct fixture *fixture = *state;
    if (!mount_small(fixture))
        skip();
    for (uint64_t id = 1; id <= 50; id++)
        fixture_add_committed(fixture, id, 1, 0);
    ballast(fixture);
    for (uint64_t id = 1; id <= 50; id++) {
        for (unsigned attempt = 1; attempt <= 40; attempt++) {
            struct store_settlement again = fixture_settlement(id, 0, STATE_QUEUED);
            again.attempts = attempt;
            MUST(store_begin(fixture->store, &fixture->error));
            MUST(store_settle(fixture->store, &again, &fixture->error));
            MUST(store_commit(fixture->store, &fixture->error));
        }
    }
    store_close(&fixture->store);
    assert_int_equal(umount(fixture->dir), 0);
    MUST(store_open(fixture->dir, STORE_WRITER, &fixture->store, &fixture->error));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(Q1_killed_between_two_operations_only_what_was_committed_is_there),
        TEST(Q1_killed_at_any_instant_a_commit_happened_whole_or_not_at_all),
        TEST(Q6_a_file_that_may_not_grow_fails_the_commit_and_names_itself),
        TEST(Q6_on_a_full_disk_new_messages_fail_and_old_ones_are_settled),
        TEST(Q6_the_room_for_settling_is_taken_beforehand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
