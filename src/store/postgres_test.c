#include "base/mem.h"
#include "os/clock.h"
#include "store/fixture.h"
#include "store/fixture_server.h"
#include "store/filter.h"
#include "store/node.h"
#include "store/postgres_private.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct ear { struct post *post; struct node *node; size_t claimed, first_due; bool is_fenced; };

static void on_claimed(void *arg, struct queued *list, bool is_all)
{
    struct ear *ear = arg;
    (void)is_all;
    while (list) {
        struct queued *queued = list;
        list = queued->next;
        ear->claimed++;
        assert_int_equal(queued->recipient_count, 1);
        assert_non_null(queued->content);
        queued_destroy(&queued);
    }
}

static void on_changed(void *arg, const uint64_t *ids, size_t count)
{
    (void)arg;
    (void)ids;
    (void)count;
}

static void on_shared(void *arg)
{
    (void)arg;
}

static void on_fenced(void *arg)
{
    ((struct ear *)arg)->is_fenced = true;
}

static void on_told(void *arg, bool is_error, const char *text)
{
    (void)arg;
    (void)is_error;
    (void)text;
}

/* Another name is another node. */
static struct node *join(struct fixture *fixture, struct ear *ear, const char *name, const char *root)
{
    static struct store_place places[4];
    static size_t next;
    struct store_place *place = &places[next++ % COUNT_OF(places)];
    *place = fixture->place;
    place->owner = name;
    ear->post = ear->post ? ear->post : post_create(&fixture->error);
    struct node_parts parts = {place, root, 3000, 100, ear->post, on_claimed, on_changed, on_shared, on_fenced, on_told, ear};
    bool may_help;
    ear->node = node_join(&parts, &may_help, &fixture->error);
    return ear->node;
}

static void leave(struct ear *ear)
{
    node_stop(ear->node);
    post_run(ear->post);
    node_leave(&ear->node);
    post_destroy(&ear->post);
}

#define UNTIL(ear, condition) \
    for (int64_t until_ms = clock_mono_ms() + 20000; !(condition);) { \
        struct pollfd watched = {.fd = post_fd((ear)->post), .events = POLLIN}; \
        assert_true(clock_mono_ms() < until_ms); \
        (void)poll(&watched, 1, 50); \
        post_run((ear)->post); \
    }

static void a_large_message_comes_back_from_its_parts(void **state)
{
    struct fixture *fixture = *state;
    struct arena arena = {0};
    struct store_message out;
    size_t size = 3 * 1024 * 1024 + 17;
    char *bytes = mem_alloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 31 + i / 4096);
    struct store_message m = {.id = 9, .sender = SLICE("a@b"), .size = size, .content = {bytes, size}};
    struct store_recipient to = {.message_id = 9, .address = SLICE("c@d"), .domain = SLICE("d")};
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_add_message(fixture->store, &m, &to, 1, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    assert_int_equal(fixture_server_number("SELECT count(*) FROM content"), 13);
    MUST(store_read_message(fixture->store, &arena, 9, true, &out, &fixture->error));
    assert_int_equal(out.content.size, size);
    assert_memory_equal(out.content.data, bytes, size);
    arena_finish(&arena);
    free(bytes);
}

static void a_schema_for_newer_nodes_alone_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct store *store;
    fixture_server_execute("UPDATE mailroot SET version = 900"); /* additive: older ones go on */
    MUST(store_open_at(&fixture->place, STORE_READER, &store, &fixture->error));
    store_close(&store);
    fixture_server_execute("UPDATE mailroot SET oldest = 900");
    assert_false(store_open_at(&fixture->place, STORE_WRITER, &store, &fixture->error));
    assert_non_null(strstr(fixture->error.text, "newer mailroot (schema 900"));
}

static bool prepare(struct fixture *fixture, const struct schema_step *steps, size_t count)
{
    struct pglink link;
    struct schema_steps all = {steps, count};
    pglink_init(&link, &fixture->place);
    bool is_done = schema_prepare(&link, STORE_WRITER, &all, &fixture->error);
    pglink_finish(&link);
    return is_done;
}

/* Version 2 adds something while a node of version 1 works on; version 3 breaks with it, and waits until it is gone. */
static void a_schema_is_migrated_beside_older_nodes_if_they_can_go_on(void **state)
{
    static const struct schema_step steps[] = {{"", 1}, {"ALTER TABLE message ADD COLUMN flavour bigint NOT NULL DEFAULT 7", 1},
                                               {"ALTER TABLE message DROP COLUMN flavour", 3}};
    struct fixture *fixture = *state;
    struct ear ear = {0}, late = {0};
    fixture_add_committed(fixture, 1, 1, 1000);
    assert_non_null(join(fixture, &ear, "a", "r"));
    store_join(fixture->store, ear.node);
    MUST(prepare(fixture, steps, 2));
    assert_int_equal(fixture_server_number("SELECT version * 10 + oldest FROM mailroot"), 21);
    fixture_add_committed(fixture, 2, 1, 1000); /* by the older node, with statements that it prepared before */
    assert_int_equal(fixture_server_number("SELECT sum(flavour) FROM message"), 14);
    assert_false(prepare(fixture, steps, 3));
    assert_non_null(strstr(fixture->error.text, "stop them first"));
    assert_int_equal(fixture_server_number("SELECT version * 10 + oldest FROM mailroot"), 21);
    fixture_add_committed(fixture, 3, 1, 1000);
    store_close(&fixture->store);
    leave(&ear);
    MUST(prepare(fixture, steps, 3));
    assert_int_equal(fixture_server_number("SELECT version * 10 + oldest FROM mailroot"), 33);
    assert_int_equal(fixture_server_number("SELECT count(*) FROM message"), 3);
    assert_null(join(fixture, &late, "b", "s"));
    assert_non_null(strstr(fixture->error.text, "newer mailroot (schema 3"));
    post_destroy(&late.post);
}

/* A table that somebody reads for long: the migration waits for it a little, lets the others pass, and tries again. */
static void a_migration_keeps_nobody_waiting_for_long(void **state)
{
    static const struct schema_step steps[] = {{"", 1}, {"ALTER TABLE message ADD COLUMN flavour bigint NOT NULL DEFAULT 7", 1}};
    struct fixture *fixture = *state;
    struct pglink reader;
    struct error error;
    pglink_init(&reader, &fixture->place);
    MUST(pglink_open(&reader, &fixture->error));
    MUST(pglink_execute(&reader, "SET idle_in_transaction_session_timeout = 2500", &error)); /* then it lets go */
    MUST(pglink_execute(&reader, "BEGIN; LOCK TABLE message IN ACCESS SHARE MODE", &error));
    MUST(prepare(fixture, steps, 2));
    assert_int_equal(fixture_server_number("SELECT version FROM mailroot"), 2);
    pglink_finish(&reader);
}

/* Counting all of a long queue takes longer than a statement may otherwise. */
static void totals_may_take_their_time(void **state)
{
    struct fixture *fixture = *state;
    struct store *reader;
    struct store_totals totals;
    struct store_place place = fixture->place;
    fixture_add_committed(fixture, 1, 1, 1000);
    fixture_server_execute("ALTER TABLE recipient RENAME TO slow; CREATE VIEW recipient AS SELECT slow.* FROM slow, pg_sleep(1.2)");
    place.timeout_ms = 300;
    MUST(store_open_at(&place, STORE_READER, &reader, &fixture->error));
    for (int i = 0; i < 2; i++)
        MUST(store_totals(reader, 5000, &totals, &fixture->error));
    assert_int_equal(totals.due, 1);
    struct arena arena = {0};
    struct store_recipient *recipients;
    size_t count;
    assert_false(store_read_recipients(reader, &arena, 1, &recipients, &count, &fixture->error));
    arena_finish(&arena);
    store_close(&reader);
}

static void a_change_of_very_many_is_made_in_parts(void **state)
{
    struct fixture *fixture = *state;
    struct store_filter filter = FILTER_ALL;
    fixture_server_execute("INSERT INTO message SELECT n, 0, 'a@b', NULL, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, 1000, 100, NULL, 0, 0, 5, 1"
                           " FROM generate_series(1, 12001) AS n;"
                           "INSERT INTO recipient SELECT n, 0, 'c@d', 'd', NULL, 0, 0, 1, 5, 0, 0, NULL, NULL, NULL, NULL, 0"
                           " FROM generate_series(1, 12001) AS n");
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_change(fixture->store, &filter, VERB_HOLD, SLICE_NONE, NULL, NULL, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    assert_int_equal(fixture_server_number("SELECT count(*) FROM recipient WHERE state = 5"), 12001);
    assert_int_equal(fixture_server_number("SELECT count(*) FROM message WHERE due_ms IS NULL"), 12001);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_change(fixture->store, &filter, VERB_REMOVE, SLICE_NONE, NULL, NULL, &fixture->error));
    store_rollback(fixture->store); /* what was sent already, too */
    assert_int_equal(fixture_server_number("SELECT count(*) FROM recipient WHERE state = 5"), 12001);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_change(fixture->store, &filter, VERB_REMOVE, SLICE_NONE, NULL, NULL, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    assert_int_equal(fixture_server_number("SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM recipient)"), 0);
}

/* What CockroachDB or YugabyteDB do not have (docs/cluster.md). LISTEN, planner hints and tunings are tried and passed over. */
static void statements_keep_to_what_databases_share(void **state)
{
    static const char *const only_here[] = {"advisory", "ctid", "xmin", "LATERAL", "DISTINCT ON", "MERGE", "COPY", "plpgsql", "FUNCTION", "TRIGGER",
                                            "txid_", "pg_current", "REFERENCES", "SERIAL", "nextval", "GENERATED", "ONLY ", "TABLESAMPLE", "LOCK TABLE",
                                            "NOWAIT", "FOR SHARE", "CURSOR", "array_agg", "hstore", "UNLOGGED"};
    (void)state;
    for (size_t i = 0; i < PG_STATEMENT_COUNT; i++)
        for (size_t k = 0; k < COUNT_OF(only_here); k++)
            if (strcasestr(pg_statement_texts[i], only_here[k]))
                fail_msg("%s: %s", only_here[k], pg_statement_texts[i]);
    for (size_t i = 0; i < schema_steps.count; i++)
        for (size_t k = 0; k < COUNT_OF(only_here); k++)
            if (strcasestr(schema_steps.steps[i].sql, only_here[k]))
                fail_msg("%s in version %zu of the schema", only_here[k], i + 1);
}

static void errors_and_names_show_no_password(void **state)
{
    struct fixture *fixture = *state;
    struct store *store;
    struct store_place place = fixture->place;
    place.url = "postgresql://nobody:sesame@127.0.0.1:1/x";
    place.password = "hunter2";
    place.timeout_ms = 500;
    assert_false(store_open_at(&place, STORE_READER, &store, &fixture->error));
    assert_null(strstr(fixture->error.text, "sesame"));
    assert_null(strstr(fixture->error.text, "hunter2"));
}

/* L3: every connection is cut right behind the COMMIT, and right before it, again and again. What the store says is what is there. */
static void a_commit_whose_answer_is_lost_is_looked_up(void **state)
{
    struct fixture *fixture = *state;
    struct ear ear = {0};
    size_t committed = 0;
    assert_non_null(join(fixture, &ear, "a", "r"));
    store_join(fixture->store, ear.node);
    /* The server ends the connection itself, in the middle of what it was sent: before the commit, or with it. */
    fixture_server_execute(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid());"
        " RETURN NULL; END $$");
    for (uint64_t id = 1; id <= 6; id++) {
        bool is_cut = id % 2 == 0;
        if (is_cut)
            fixture_server_execute("CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON message DEFERRABLE INITIALLY DEFERRED"
                                   " FOR EACH ROW EXECUTE FUNCTION cut()");
        MUST(store_begin(fixture->store, &fixture->error));
        fixture_add(fixture, id, 1, 0);
        bool is_committed = store_commit(fixture->store, &fixture->error);
        committed += is_committed;
        assert_int_equal(is_committed, fixture_server_number("SELECT count(*) FROM message") == (int64_t)committed
                                           && fixture_has_message(fixture, id));
        if (is_cut)
            fixture_server_execute("DROP TRIGGER cut ON message");
    }
    assert_int_equal(fixture_server_number("SELECT count(*) FROM message"), (int64_t)committed);
    assert_true(committed >= 3);
    store_close(&fixture->store);
    leave(&ear);
}

static void N4_a_node_that_was_taken_over_from_commits_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct ear ear = {0};
    assert_non_null(join(fixture, &ear, "a", "r"));
    store_join(fixture->store, ear.node);
    fixture_add_committed(fixture, 1, 1, 0);
    fixture_server_execute("DELETE FROM node; UPDATE slot SET node = 0, batch = 0; UPDATE message SET node = 0");
    struct store_settlement delivered = fixture_settlement(1, 0, STATE_DELIVERED);
    MUST(store_begin(fixture->store, &fixture->error));
    fixture_add(fixture, 2, 1, 0);
    MUST(store_settle(fixture->store, &delivered, &fixture->error));
    assert_false(store_commit(fixture->store, &fixture->error));
    assert_non_null(strstr(fixture->error.text, "taken for dead"));
    assert_int_equal(fixture_server_number("SELECT count(*) FROM message"), 1);
    assert_int_equal(fixture_server_number("SELECT state FROM recipient"), STATE_QUEUED);
    assert_false(node_may_send(ear.node));
    UNTIL(&ear, ear.is_fenced);
    store_close(&fixture->store);
    leave(&ear);
}

static void two_living_nodes_can_not_share_a_name(void **state)
{
    struct fixture *fixture = *state;
    struct ear first = {0}, second = {0}, again = {0};
    assert_non_null(join(fixture, &first, "a", "one"));
    assert_null(join(fixture, &second, "a", "two"));
    assert_non_null(strstr(fixture->error.text, "is named a, too"));
    post_destroy(&second.post);
    assert_non_null(join(fixture, &again, "a", "one")); /* the same folder: its earlier process is dead */
    UNTIL(&first, first.is_fenced);
    leave(&first);
    leave(&again);
}

static void claims_take_what_is_due_once(void **state)
{
    static const bool none[NODE_BUCKETS];
    struct fixture *fixture = *state;
    struct ear ear = {0};
    for (uint64_t id = 1; id <= 40; id++)
        fixture_add_committed(fixture, id, 1, id <= 30 ? 1000 : INT64_MAX / 2);
    assert_non_null(join(fixture, &ear, "a", "r"));
    UNTIL(&ear, node_may_send(ear.node));
    node_want(ear.node, 20, 1 << 20, none);
    UNTIL(&ear, ear.claimed >= 20);
    node_want(ear.node, 1000, 1 << 20, none);
    UNTIL(&ear, ear.claimed >= 30);
    assert_int_equal(ear.claimed, 30);
    assert_int_equal(fixture_server_number("SELECT count(*) FROM message WHERE node <> 0"), 30);
    leave(&ear); /* gives them back */
    assert_int_equal(fixture_server_number("SELECT count(*) FROM message WHERE node <> 0"), 0);
}

static void N6_a_limit_is_divided_without_a_rest(void **state)
{
    struct fixture *fixture = *state;
    struct ear ears[3] = {{0}, {0}, {0}};
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        assert_non_null(join(fixture, &ears[i], names[i], names[i]));
        assert_true(i == 0 || !node_may_send(ears[i].node)); /* the others have not made room */
        for (size_t k = 0; k <= i; k++) {
            UNTIL(&ears[k], node_count(ears[k].node) == i + 1);
            node_made_room(ears[k].node);
        }
        UNTIL(&ears[i], node_may_send(ears[i].node));
    }
    for (size_t limit = 0; limit < 12; limit++) {
        size_t sum = 0;
        for (size_t i = 0; i < 3; i++)
            sum += node_share(ears[i].node, limit);
        assert_int_equal(sum, limit);
    }
    for (size_t i = 0; i < 3; i++)
        leave(&ears[i]);
}

#define SHARED(function) cmocka_unit_test_setup_teardown(function, fixture_open_shared, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARED(a_large_message_comes_back_from_its_parts),
        SHARED(a_schema_for_newer_nodes_alone_is_refused),
        SHARED(a_schema_is_migrated_beside_older_nodes_if_they_can_go_on),
        SHARED(a_migration_keeps_nobody_waiting_for_long),
        SHARED(totals_may_take_their_time),
        SHARED(a_change_of_very_many_is_made_in_parts),
        cmocka_unit_test(statements_keep_to_what_databases_share),
        SHARED(errors_and_names_show_no_password),
        SHARED(a_commit_whose_answer_is_lost_is_looked_up),
        SHARED(N4_a_node_that_was_taken_over_from_commits_nothing),
        SHARED(two_living_nodes_can_not_share_a_name),
        SHARED(claims_take_what_is_due_once),
        SHARED(N6_a_limit_is_divided_without_a_rest),
    };
    return fixture_server_url() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
