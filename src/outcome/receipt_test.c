/* The rules of outcome/receipt.h. */
#include "outcome/outcome_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "outcome/receipt.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TIME_MS INT64_C(1795493880000)

static struct store_message message_usual(const char *pickup_name)
{
    return (struct store_message){.id = 0xa1, .arrived_ms = TIME_MS, .sender = SLICE("a@b"),
                                  .pickup_name = slice_of(pickup_name),
                                  .message_id = SLICE("<1@b>")};
}

static struct store_recipient recipient_usual(void)
{
    return (struct store_recipient){
        .address = SLICE("c@d"), .state = STATE_QUEUED, .attempts = 2, .next_ms = TIME_MS + 2000,
        .last_attempt_ms = TIME_MS + 1000, .last_status = SLICE("4.7.1"),
        .last_reply = SLICE("451 4.7.1 later"), .last_host = SLICE("mx.d"),
    };
}

static void must_write(struct world *world, const struct store_message *message,
                       const struct store_recipient *recipients, size_t count, bool is_done)
{
    if (!receipt_write(world->fd, message, recipients, count, is_done, &world->error))
        fail_msg("%s", world->error.text);
}

static void R1_receipt_is_one_line_of_json(void **state)
{
    struct world *world = *state;
    struct store_message message = message_usual("a.eml");
    struct store_recipient recipients[] = {recipient_usual(), {.address = SLICE("e@f")}};
    must_write(world, &message, recipients, 2, false);
    char *text = read_text(world->fd, "a.eml.json");
    assert_string_equal(text,
        "{\"pickup\":\"a.eml\",\"id\":\"00000000000000a1\",\"message_id\":\"<1@b>\","
        "\"from\":\"a@b\","
        "\"arrived\":\"2026-11-24T04:18:00.000Z\",\"done\":false,\"recipients\":["
        "{\"to\":\"c@d\",\"state\":\"queued\",\"attempts\":2,\"status\":\"4.7.1\","
        "\"reply\":\"451 4.7.1 later\",\"host\":\"mx.d\","
        "\"last_attempt\":\"2026-11-24T04:18:01.000Z\",\"next\":\"2026-11-24T04:18:02.000Z\"},"
        "{\"to\":\"e@f\",\"state\":\"queued\",\"attempts\":0,\"status\":null,\"reply\":null,"
        "\"host\":null,\"last_attempt\":null,\"next\":null}]}\n");
    free(text);
}

static void R1_hostile_text_stays_a_value(void **state)
{
    struct world *world = *state;
    struct store_message message = message_usual("a\n\"done\":true");
    struct store_recipient recipient = recipient_usual();
    message.sender = SLICE("");
    message.message_id = SLICE_NONE;
    recipient.last_reply = SLICE("550 \"},{\r\n\x01\xFF");
    must_write(world, &message, &recipient, 1, true);
    char *text = read_text(world->fd, "a_\"done\":true.json");
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "pickup")), "a\n\"done\":true");
    assert_string_equal(json_string_value(json_object_get(json, "from")), "");
    assert_true(json_is_null(json_object_get(json, "message_id")));
    assert_true(json_is_true(json_object_get(json, "done")));
    json_t *one = json_array_get(json_object_get(json, "recipients"), 0);
    assert_int_equal(json_array_size(json_object_get(json, "recipients")), 1);
    assert_string_equal(json_string_value(json_object_get(one, "reply")),
                        "550 \"},{\r\n\x01\xEF\xBF\xBD");
    json_decref(json);
    free(text);
}

static void R3_only_what_is_queued_has_a_next_attempt(void **state)
{
    static const struct { enum store_state state; const char *name, *next; } rows[] = {
        {STATE_QUEUED, "\"queued\"", "\"next\":\"2026-11-24T04:18:02.000Z\""},
        {STATE_HELD, "\"held\"", "\"next\":null"},
        {STATE_DELIVERED, "\"delivered\"", "\"next\":null"},
        {STATE_BOUNCED, "\"bounced\"", "\"next\":null"},
        {STATE_EXPIRED, "\"expired\"", "\"next\":null"},
        {STATE_REMOVED, "\"removed\"", "\"next\":null"},
    };
    struct world *world = *state;
    struct store_message message = message_usual("a");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct store_recipient recipient = recipient_usual();
        recipient.state = rows[i].state;
        must_write(world, &message, &recipient, 1, false);
        char *text = read_text(world->fd, "a.json");
        const char *state_text = strstr(text, "\"state\":");
        assert_non_null(state_text);
        assert_int_equal(strncmp(state_text + 8, rows[i].name, strlen(rows[i].name)), 0);
        assert_non_null(strstr(text, rows[i].next));
        free(text);
    }
}

/* PITFALLS 49; the rules of outcome/name.h. */
static void R3_name_is_made_safe(void **state)
{
    static const struct { const char *name, *file; } rows[] = {
        {"a.eml", "a.eml.json"},           {"../../x", "_._.._x.json"},
        {".profile", "_profile.json"},     {"-rf", "_rf.json"},
        {"a b\nc\td\x7f", "a_b_c_d_.json"}, {"", "_.json"},
        {"\xC3\xBC", "\xC3\xBC.json"},     {"/", "_.json"},
    };
    struct world *world = *state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct store_message message = message_usual(rows[i].name);
        must_write(world, &message, NULL, 0, true);
        if (!is_there(world->fd, rows[i].file))
            fail_msg("%s is not there", rows[i].file);
        assert_int_equal(unlinkat(world->fd, rows[i].file, 0), 0);
    }
    char longest[256], file[256];
    memset(longest, 'n', 255);
    longest[255] = '\0';
    struct store_message message = message_usual(longest);
    must_write(world, &message, NULL, 0, true);
    (void)snprintf(file, sizeof file, "%.200s.json", longest);
    assert_true(is_there(world->fd, file));
    assert_int_equal(file_count(world->fd), 1);
}

static void R4_a_folders_files_have_a_folder(void **state)
{
    static const struct { const char *name, *file; } rows[] = {
        {"shop/a.eml", "shop/a.eml.json"}, {"shop/../x", "shop/_._x.json"}, {"../x", "_._x.json"}, {"sh op/x", "sh_op_x.json"},
    };
    struct world *world = *state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct store_message message = message_usual(rows[i].name);
        must_write(world, &message, NULL, 0, true);
        if (!is_there(world->fd, rows[i].file))
            fail_msg("%s is not there", rows[i].file);
    }
}

static void R2_a_reader_sees_a_whole_receipt(void **state)
{
    struct world *world = *state;
    struct store_message message = message_usual("a");
    must_write(world, &message, NULL, 0, false);
    int reader_fd = openat(world->fd, "a.json", O_RDONLY | O_CLOEXEC);
    must_write(world, &message, NULL, 0, true);
    char old[512] = "";
    assert_true(pread(reader_fd, old, sizeof old - 1, 0) > 0);
    assert_non_null(strstr(old, "\"done\":false,\"recipients\":[]}\n"));
    close(reader_fd);
    char *text = read_text(world->fd, "a.json");
    assert_non_null(strstr(text, "\"done\":true,\"recipients\":[]}\n"));
    assert_int_equal(file_count(world->fd), 1);
    free(text);
}

static void R2_a_full_disk_leaves_the_old_receipt(void **state)
{
    struct world *world = *state;
    struct store_message message = message_usual("a");
    must_write(world, &message, NULL, 0, false);
    faults.writes = 0;
    faults.write_fails_at = 2;
    faults.short_size = 10;
    assert_false(receipt_write(world->fd, &message, NULL, 0, true, &world->error));
    assert_non_null(strstr(world->error.text, "Receipts: a.json"));
    assert_int_equal(file_count(world->fd), 1);
    char *text = read_text(world->fd, "a.json");
    assert_non_null(strstr(text, "\"done\":false,\"recipients\":[]}\n"));
    free(text);
}

static void R5_nothing_is_synced(void **state)
{
    struct world *world = *state;
    struct store_message message = message_usual("a");
    faults.is_tracing = true;
    must_write(world, &message, NULL, 0, false);
    assert_string_equal(buf_text(&faults.trace), "rename a.json\n");
}

static void what_the_relay_made_itself_has_no_receipt(void **state)
{
    struct world *world = *state;
    struct store_message message = message_usual(NULL);
    must_write(world, &message, NULL, 0, true);
    assert_int_equal(file_count(world->fd), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(R1_receipt_is_one_line_of_json),
        TEST(R1_hostile_text_stays_a_value),
        TEST(R2_a_reader_sees_a_whole_receipt),
        TEST(R2_a_full_disk_leaves_the_old_receipt),
        TEST(R3_only_what_is_queued_has_a_next_attempt),
        TEST(R3_name_is_made_safe),
        TEST(R4_a_folders_files_have_a_folder),
        TEST(R5_nothing_is_synced),
        TEST(what_the_relay_made_itself_has_no_receipt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
