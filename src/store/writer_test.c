#include "store/writer.h"

#include "store/fixture.h"
#include "store/fixture_server.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { JOBS = 300 };

struct test_job {
    struct writer_job job;
    uint64_t id;
    bool is_refused;      /* its apply() says no */
    size_t *done_count;
};

static bool apply(struct writer_job *job, struct store *store, struct error *error)
{
    const struct test_job *test = (const struct test_job *)job;
    struct store_message message = {.id = test->id, .sender = SLICE("a@b"), .content = SLICE("x"), .size = 1};
    struct store_recipient to = {.message_id = test->id, .address = SLICE("c@d"), .domain = SLICE("d")};
    if (test->is_refused)
        return error_set(error, "refused by the test");
    return store_add_message(store, &message, &to, 1, error);
}

static void done(struct writer_job *job)
{
    (*((struct test_job *)job)->done_count)++;
}

static void run_until(struct post *post, const size_t *count, size_t wanted)
{
    while (*count < wanted) {
        struct pollfd watched = {.fd = post_fd(post), .events = POLLIN};
        assert_true(poll(&watched, 1, 20000) > 0);
        post_run(post);
    }
}

/* Every seventh job fails alone (G2); the others are durable when done() runs (G4); jobs share commits (G1). */
static void G1_G2_G4_a_job_that_fails_fails_alone(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    static struct test_job jobs[JOBS];
    size_t done_count = 0;
    store_close(&fixture->store);
    struct post *post = post_create(&error);
    struct writer *writer = writer_start(&fixture->place, NULL, &error);
    assert_non_null(post);
    assert_non_null(writer);
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct test_job){.job = {.apply = apply, .done = done, .post = post}, .id = i + 1,
                                    .is_refused = i % 7 == 3, .done_count = &done_count};
        writer_submit(writer, &jobs[i].job);
    }
    run_until(post, &done_count, JOBS);
    for (size_t i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].job.is_committed, !jobs[i].is_refused);
        if (jobs[i].is_refused)
            assert_string_equal(jobs[i].job.error.text, "refused by the test");
    }
    struct writer_counts counts = writer_counts(writer);
    assert_int_equal(counts.jobs, JOBS);
    writer_stop(&writer);
    must(store_open_at(&fixture->place, STORE_WRITER, &fixture->store, &fixture->error), &fixture->error);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(fixture_has_message(fixture, i + 1), !jobs[i].is_refused);
    post_destroy(&post);
}

static void stopping_commits_what_waits(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    struct test_job jobs[20];
    size_t done_count = 0;
    store_close(&fixture->store);
    struct post *post = post_create(&error);
    struct writer *writer = writer_start(&fixture->place, NULL, &error);
    for (size_t i = 0; i < COUNT_OF(jobs); i++) {
        jobs[i] = (struct test_job){.job = {.apply = apply, .done = done, .post = post}, .id = i + 1,
                                    .done_count = &done_count};
        writer_submit(writer, &jobs[i].job);
    }
    writer_stop(&writer);
    post_run(post);
    assert_int_equal(done_count, COUNT_OF(jobs));
    must(store_open_at(&fixture->place, STORE_WRITER, &fixture->store, &fixture->error), &fixture->error);
    assert_int_equal(fixture_messages(fixture), COUNT_OF(jobs));
    post_destroy(&post);
}

/* Here the refusal comes with the commit: an id that is there already. */
static void G2_what_the_database_refuses_fails_alone(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    static struct test_job jobs[JOBS];
    size_t done_count = 0;
    fixture_add_committed(fixture, 17, 1, 0);
    struct post *post = post_create(&error);
    struct writer *writer = writer_start(&fixture->place, NULL, &error);
    assert_non_null(post);
    assert_non_null(writer);
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct test_job){.job = {.apply = apply, .done = done, .post = post}, .id = i + 1, .done_count = &done_count};
        writer_submit(writer, &jobs[i].job);
    }
    run_until(post, &done_count, JOBS);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(jobs[i].job.is_committed, jobs[i].id != 17);
    assert_non_null(strstr(jobs[16].job.error.text, "duplicate key"));
    writer_stop(&writer);
    assert_int_equal(fixture_messages(fixture), JOBS);
    post_destroy(&post);
}

static void without_a_thread_jobs_wait_for_their_turn(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    struct test_job jobs[20];
    size_t done_count = 0;
    store_close(&fixture->store);
    struct post *post = post_create(&error);
    struct writer *writer = writer_open(&fixture->place, &error);
    assert_non_null(writer);
    assert_false(writer_turn(writer, NULL));
    for (size_t i = 0; i < COUNT_OF(jobs); i++) {
        jobs[i] = (struct test_job){.job = {.apply = apply, .done = done, .post = post}, .id = i + 1, .done_count = &done_count};
        writer_submit(writer, &jobs[i].job);
        if (i == 9)
            assert_true(writer_turn(writer, "the disk is full"));
    }
    assert_true(writer_turn(writer, NULL));
    post_run(post);
    assert_int_equal(done_count, COUNT_OF(jobs));
    for (size_t i = 0; i < COUNT_OF(jobs); i++)
        assert_int_equal(jobs[i].job.is_committed, i > 9);
    assert_string_equal(jobs[3].job.error.text, "the disk is full");
    writer_stop(&writer);
    must(store_open_at(&fixture->place, STORE_WRITER, &fixture->store, &fixture->error), &fixture->error);
    assert_int_equal(fixture_messages(fixture), COUNT_OF(jobs) - 10);
    post_destroy(&post);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_a_thread_jobs_wait_for_their_turn, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(G1_G2_G4_a_job_that_fails_fails_alone, fixture_open, fixture_close),
        cmocka_unit_test_setup_teardown(stopping_commits_what_waits, fixture_open, fixture_close),
    };
    const struct CMUnitTest shared[] = {
        cmocka_unit_test_setup_teardown(G2_what_the_database_refuses_fails_alone, fixture_open_shared, fixture_close),
        cmocka_unit_test_setup_teardown(G1_G2_G4_a_job_that_fails_fails_alone, fixture_open_shared, fixture_close),
    };
    int failed = cmocka_run_group_tests_name("embedded", tests, NULL, NULL);
    return failed + (fixture_server_url() ? cmocka_run_group_tests_name("shared", shared, NULL, NULL) : 0);
}
