#include "store/fixture.h"
#include "store/fixture_server.h"

#include "store/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NOW = 100000 };

/* Four messages that differ in everything a filter looks at. */
static const struct {
    uint64_t id;
    const char *sender, *recipients[3], *domains[3], *pickup, *message_id;
    int64_t arrived_ms;
    size_t size;
} messages[] = {
    {1, "alice@shop.example", {"bob@A.example"}, {"a.example"}, "one.eml", "<1@shop>", 10000, 100},
    {2, "alice@shop.example", {"carol@b.example", "dave@a.example"}, {"b.example", "a.example"},
     "two.eml", "<2@shop>", 50000, 200},
    {3, "", {"eve@c.example"}, {"c.example"}, NULL, NULL, 90000, 300},
    {4, "news@list.example", {"bob@a.example", "x*y@b.example", "z@c.example"},
     {"a.example", "b.example", "c.example"}, "news.txt", "<4@list>", 99000, 4000},
};

static void add_messages(struct fixture *fixture)
{
    MUST(store_begin(fixture->store, &fixture->error));
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        struct store_message m = {
            .id = messages[i].id,
            .arrived_ms = messages[i].arrived_ms,
            .sender = slice_of(messages[i].sender),
            .pickup_name = slice_of(messages[i].pickup),
            .message_id = slice_of(messages[i].message_id),
            .size = messages[i].size,
            .content = SLICE("x"),
        };
        struct store_recipient recipients[3] = {0};
        size_t count = 0;
        for (; count < 3 && messages[i].recipients[count]; count++)
            recipients[count] = (struct store_recipient){
                .message_id = m.id,
                .number = (unsigned)count,
                .address = slice_of(messages[i].recipients[count]),
                .domain = slice_of(messages[i].domains[count]),
                .next_ms = NOW + 500,
            };
        MUST(store_add_message(fixture->store, &m, recipients, count, &fixture->error));
    }
    MUST(store_commit(fixture->store, &fixture->error));
}

struct listed { char text[64]; };

static bool list_one(void *arg, const struct store_message *message,
                     const struct store_recipient *recipients, size_t count)
{
    struct listed *listed = arg;
    size_t used = strlen(listed->text);
    (void)recipients;
    assert_true(count > 0);
    (void)snprintf(listed->text + used, sizeof listed->text - used, "%llu ",
                   (unsigned long long)message->id);
    return true;
}

static void a_filter_finds_what_meets_all_its_conditions(void **state)
{
    struct fixture *fixture = *state;
    static const uint64_t some[] = {4, 2, 2, 77}, all[] = {1, 2, 3, 4}, none[] = {99};
    const struct {
        struct store_filter filter;
        const char *found;
    } rows[] = {
        {{.state = -1}, "1 2 3 4 "},
        {{.state = -1, .sender = SLICE("ALICE@shop.example")}, "1 2 "},
        {{.state = -1, .sender = SLICE("alice")}, ""},
        {{.state = -1, .sender = SLICE("")}, "3 "},
        {{.state = -1, .sender = SLICE("*@*.example")}, "1 2 4 "},
        {{.state = -1, .recipient = SLICE("bob@a.example")}, "1 4 "},
        {{.state = -1, .recipient = SLICE("*o*@b*")}, "2 "},
        {{.state = -1, .recipient = SLICE("x*y@b.example")}, "4 "},
        {{.state = -1, .domain = SLICE("c.example")}, "3 4 "},
        {{.state = -1, .domain = SLICE("*")}, "1 2 3 4 "},
        {{.state = -1, .recipient = SLICE("bob*"), .domain = SLICE("b.example")},
         ""}, /* no single recipient meets both */
        {{.state = -1, .pickup_name = SLICE("*.EML")}, "1 2 "},
        {{.state = -1, .pickup_name = SLICE("*")}, "1 2 4 "}, /* what has none does not match */
        {{.state = -1, .message_id = SLICE("2@shop")}, "2 "},
        {{.state = -1, .message_id = SLICE("<2@shop>")}, "2 "},
        {{.state = -1, .older_than_ms = 10000, .now_ms = NOW},
         "1 2 "}, /* exactly as old is not older */
        {{.state = -1, .younger_than_ms = 10000, .now_ms = NOW}, "4 "},
        {{.state = -1, .older_than_ms = 9999, .younger_than_ms = 60000, .now_ms = NOW}, "2 3 "},
        {{.state = -1, .larger_than = 300}, "4 "},
        {{.state = -1, .larger_than = 100, .sender = SLICE("alice*")}, "2 "},
        {{.state = STATE_QUEUED}, "1 2 3 4 "},
        {{.state = STATE_HELD}, ""},
        {{.state = -1, .limit = 2}, "1 2 "},
        {{.state = -1, .limit = 1, .domain = SLICE("c.example")}, "3 "},
        {{.state = -1, .ids = some, .id_count = 4}, "2 4 "},
        {{.state = -1, .ids = none, .id_count = 1}, ""},
        {{.state = -1, .ids = all, .id_count = 4, .limit = 3}, "1 2 3 "},
        {{.state = -1, .ids = some, .id_count = 4, .is_inverted = true}, "1 3 "},
        {{.state = -1, .domain = SLICE("a.example"), .is_inverted = true},
         "2 3 4 "}, /* they have others, too */
        {{.state = -1, .sender = SLICE("alice*"), .is_inverted = true}, "3 4 "},
        {{.state = -1, .is_inverted = true}, ""},
    };
    add_messages(fixture);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct listed listed = {0};
        MUST(store_select(fixture->store, &rows[i].filter, list_one, &listed, &fixture->error));
        if (strcmp(listed.text, rows[i].found) != 0)
            fail_msg("row %zu: found \"%s\", expected \"%s\"", i, listed.text, rows[i].found);
    }
}

static bool stop_at_second(void *arg, const struct store_message *message,
                           const struct store_recipient *recipients, size_t count)
{
    (void)message;
    (void)recipients;
    (void)count;
    return ++*(size_t *)arg < 2;
}

static void a_callback_stops_the_walk(void **state)
{
    struct fixture *fixture = *state;
    size_t calls = 0;
    add_messages(fixture);
    MUST(store_select(fixture->store, &FILTER_ALL, stop_at_second, &calls, &fixture->error));
    assert_int_equal(calls, 2);
}

static void a_walk_goes_over_many_pages_once(void **state)
{
    struct fixture *fixture = *state;
    struct store_filter last = {.state = -1, .ids = (uint64_t[]){1000}, .id_count = 1};
    MUST(store_begin(fixture->store, &fixture->error));
    for (uint64_t id = 1; id <= 1000; id++)
        fixture_add(fixture, id, 1, 0);
    MUST(store_commit(fixture->store, &fixture->error));
    assert_int_equal(fixture_messages(fixture), 1000);
    last.is_inverted = true;
    assert_int_equal(fixture_count(fixture, &last), 999);
}

/* A verb's work as text: "ID.NUMBER:STATE@NEXT" of every recipient, in order. */
static bool describe(void *arg, const struct store_message *message,
                     const struct store_recipient *recipients, size_t count)
{
    struct buf *text = arg;
    for (size_t i = 0; i < count; i++)
        buf_printf(text, "%llu.%u:%s@%lld%s%.*s ", (unsigned long long)message->id,
                   recipients[i].number, state_name(recipients[i].state),
                   (long long)recipients[i].next_ms, recipients[i].route.size ? ">" : "",
                   SLICE_FMT(recipients[i].route));
    return true;
}

static void change(struct fixture *fixture, const struct store_filter *filter, enum store_verb verb,
                   struct buf *told)
{
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_change(fixture->store, filter, verb,
                      verb == VERB_REROUTE ? SLICE("mx:26") : SLICE_NONE, describe, told,
                      &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
}

static void a_verb_changes_the_recipients_that_match_and_says_which_messages(void **state)
{
    struct fixture *fixture = *state;
    static const struct { enum store_verb verb; const char *domain, *told; } rows[] = {
        /* number 0 of message 2 is carol@b.example, 1 is dave@a.example */
        {VERB_HOLD, "a.example", "2.0:queued@100500 2.1:held@100500 "},
        {VERB_HOLD, "a.example", "2.0:queued@100500 2.1:held@100500 "},
        {VERB_RETRY, "a.example", "2.0:queued@100500 2.1:held@100000 "},
        {VERB_RETRY, "b.example", "2.0:queued@100000 2.1:held@100000 "},
        {VERB_REROUTE, "a.example", "2.0:queued@100000 2.1:held@100000>mx:26 "},
        {VERB_RELEASE, "*", "2.0:queued@100000 2.1:queued@100000>mx:26 "},
        {VERB_REMOVE, "b.example", "2.0:removed@100000 2.1:queued@100000>mx:26 "},
        {VERB_REMOVE, "b.example", ""}, /* it has its final state */
        {VERB_REMOVE, "a.example", "2.0:removed@100000 2.1:removed@100000>mx:26 "},
        {VERB_REMOVE, "*", ""},
    };
    add_messages(fixture);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct store_filter filter = {.state = -1,
                                      .now_ms = NOW,
                                      .ids = (uint64_t[]){2},
                                      .id_count = 1,
                                      .domain = slice_of(rows[i].domain)};
        struct buf told = {0};
        change(fixture, &filter, rows[i].verb, &told);
        if (strcmp(buf_text(&told), rows[i].told) != 0)
            fail_msg("row %zu: \"%s\", expected \"%s\"", i, buf_text(&told), rows[i].told);
        buf_finish(&told);
    }
    assert_int_equal(fixture_messages(fixture), 3); /* message 2 went with its last recipient */
}

static void a_verb_has_told_what_is_then_read(void **state)
{
    struct fixture *fixture = *state;
    struct store_filter all = {.state = -1, .now_ms = NOW};
    static const enum store_verb verbs[] = {VERB_HOLD, VERB_REROUTE, VERB_RELEASE, VERB_RETRY};
    add_messages(fixture);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        struct buf told = {0}, read = {0};
        change(fixture, &all, verbs[i], &told);
        MUST(store_select(fixture->store, &FILTER_ALL, describe, &read, &fixture->error));
        assert_string_equal(buf_text(&told), buf_text(&read));
        buf_finish(&told);
        buf_finish(&read);
    }
}

static void a_limit_counts_messages_that_a_verb_can_change(void **state)
{
    struct fixture *fixture = *state;
    struct store_filter first = {.state = -1, .limit = 1, .now_ms = NOW};
    struct store_settlement settlement = fixture_settlement(1, 0, STATE_DELIVERED);
    struct buf told = {0};
    add_messages(fixture);
    MUST(store_begin(fixture->store, &fixture->error));
    MUST(store_settle(fixture->store, &settlement, &fixture->error));
    MUST(store_commit(fixture->store, &fixture->error));
    change(fixture, &first, VERB_RETRY, &told);
    assert_non_null(strstr(buf_text(&told), "2.0:"));
    buf_finish(&told);
}

static void a_filter_goes_through_json_and_back(void **state)
{
    static const uint64_t ids[] = {1, INT64_MAX};
    const struct store_filter rows[] = {
        {.state = -1},
        {.state = STATE_QUEUED, .is_inverted = true, .limit = 5},
        {.state = STATE_HELD,
         .ids = ids,
         .id_count = 2,
         .sender = SLICE(""),
         .recipient = SLICE("\"a\\b\"@x\0y"),
         .domain = SLICE("b\xc3\xbc*"),
         .pickup_name = SLICE("p"),
         .message_id = SLICE("<m@i>"),
         .older_than_ms = 1,
         .younger_than_ms = 1LL << 40,
         .larger_than = 1LL << 50},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct store_filter *in = &rows[i];
        struct store_filter out;
        struct arena arena = {0};
        struct error error;
        json_t *json = filter_to_json(in, &error);
        assert_non_null(json);
        must(filter_from_json(&arena, json, &out, &error), &error);
        json_decref(json);
        assert_int_equal(out.id_count, in->id_count);
        for (size_t k = 0; k < in->id_count; k++)
            assert_int_equal(out.ids[k], in->ids[k]);
        const struct { struct slice in, out; } texts[] = {
            {in->sender, out.sender}, {in->recipient, out.recipient}, {in->domain, out.domain},
            {in->pickup_name, out.pickup_name}, {in->message_id, out.message_id},
        };
        for (size_t k = 0; k < COUNT_OF(texts); k++) {
            assert_true(slice_equals(texts[k].in, texts[k].out));
            assert_int_equal(slice_is_absent(texts[k].in), slice_is_absent(texts[k].out));
        }
        assert_int_equal(out.older_than_ms, in->older_than_ms);
        assert_int_equal(out.younger_than_ms, in->younger_than_ms);
        assert_int_equal(out.larger_than, in->larger_than);
        assert_int_equal(out.state, in->state);
        assert_int_equal(out.is_inverted, in->is_inverted);
        assert_int_equal(out.limit, in->limit);
        arena_finish(&arena);
    }
}

static void a_filter_that_is_not_understood_is_refused(void **state)
{
    static const struct { const char *json, *reason; } rows[] = {
        {"[]", "no JSON object"},
        {"{\"sendr\": \"a\"}", "\"sendr\" is not understood"},
        {"{\"sender\": 5}", "\"sender\" is no text"},
        {"{\"ids\": []}", "\"ids\" is no list"},
        {"{\"ids\": [\"12\"]}", "12 is no queue id"},
        {"{\"ids\": [12]}", "no queue id"},
        {"{\"limit\": 0}", "\"limit\" is no number above 0"},
        {"{\"older_ms\": -1}", "\"older_ms\" is no number above 0"},
        {"{\"state\": \"asleep\"}", "\"state\" is no state"},
        {"{\"state\": 5}", "\"state\" is no state"},
        {"{\"not\": 1}", "\"not\" is not understood"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena = {0};
        struct store_filter out;
        struct error error;
        json_t *json = json_loads(rows[i].json, 0, NULL);
        assert_non_null(json);
        assert_false(filter_from_json(&arena, json, &out, &error));
        if (!strstr(error.text, rows[i].reason))
            fail_msg("%s: \"%s\"", rows[i].json, error.text);
        json_decref(json);
        arena_finish(&arena);
    }
    struct error error;
    struct store_filter latin = {.state = -1, .sender = SLICE("\xe9@x")};
    assert_null(filter_to_json(&latin, &error));
    assert_non_null(strstr(error.text, "sender"));
}

static void only_conditions_make_a_filter_set(void **state)
{
    const struct { struct store_filter filter; bool is_set; } rows[] = {
        {{.state = -1}, false},
        {{.state = -1, .limit = 3, .is_inverted = true, .now_ms = 7}, false},
        {{.state = STATE_QUEUED}, true},
        {{.state = -1, .sender = SLICE("")}, true},
        {{.state = -1, .larger_than = 1}, true},
        {{.state = -1, .id_count = 1}, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(filter_is_set(&rows[i].filter), rows[i].is_set);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_open, fixture_close)
#define SHARED(function) cmocka_unit_test_setup_teardown(function, fixture_open_shared, fixture_close)
#define BOTH(M) \
    M(a_filter_finds_what_meets_all_its_conditions), M(a_callback_stops_the_walk), M(a_walk_goes_over_many_pages_once), \
    M(a_verb_changes_the_recipients_that_match_and_says_which_messages), M(a_verb_has_told_what_is_then_read), \
    M(a_limit_counts_messages_that_a_verb_can_change)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(TEST),
        cmocka_unit_test(a_filter_goes_through_json_and_back),
        cmocka_unit_test(a_filter_that_is_not_understood_is_refused),
        cmocka_unit_test(only_conditions_make_a_filter_set),
    };
    const struct CMUnitTest shared[] = {BOTH(SHARED)};
    int failed = cmocka_run_group_tests_name("embedded", tests, NULL, NULL);
    return failed + (fixture_server_url() ? cmocka_run_group_tests_name("shared", shared, NULL, NULL) : 0);
}
