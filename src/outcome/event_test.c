/* The rules of outcome/event.h: what a line says, whatever texts and disks do to it. */
#include "outcome/outcome_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/utf8.h"
#include "outcome/event.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEEP = 3 };

static struct event_log *open_log(struct world *world, const char *name, uint64_t rotate_size)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", world->path, name);
    struct config config = {.events = {.file = path, .rotate_size = rotate_size, .keep = KEEP}};
    struct event_log *log = event_log_open(&config, &world->error);
    if (!log)
        fail_msg("%s", world->error.text);
    return log;
}

static void put_note(struct event_log *log, const char *note)
{
    struct event event = EVENT(EVENT_WARNING);
    event.note = slice_of(note);
    event_put(log, &event);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)); text += strlen(part))
        count++;
    return count;
}

/* The notes of the lines in a file, parted by blanks; "?" for a line that is no JSON. */
static char *notes_of(const struct world *world, const char *name)
{
    struct buf notes = {0};
    char *text = read_text(world->fd, name);
    struct slice rest = slice_of(text);
    while (rest.size) {
        struct slice line = slice_cut(&rest, '\n');
        json_t *json = json_loadb(line.data, line.size, 0, NULL);
        const char *note = json_string_value(json_object_get(json, "note"));
        if (notes.size)
            buf_append_byte(&notes, ' ');
        buf_append_text(&notes, json ? note : "?");
        json_decref(json);
    }
    free(text);
    return buf_take(&notes);
}

static void must_have_notes(const struct world *world, const char *name, const char *expected)
{
    char *notes = notes_of(world, name);
    assert_string_equal(notes, expected);
    free(notes);
}

static json_t *only_line(const struct world *world, const char *name)
{
    char *text = read_text(world->fd, name);
    size_t size = strlen(text);
    assert_in_range(size, 1, EVENT_LINE_SIZE_MAX);
    assert_int_equal(count_of(text, "\n"), 1);
    assert_int_equal(text[size - 1], '\n');
    assert_true(utf8_is_valid(slice_of(text)));
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

static void V1_keys_and_their_order(void **state)
{
    static const char *const expected =
        "\"event\":\"deferred\",\"id\":\"00000000000000a1\",\"about\":\"00000000000000a2\","
        "\"pickup\":\"p\",\"message_id\":\"<m>\",\"from\":\"\",\"to\":\"c@d\",\"owner\":\"o\","
        "\"dialect\":\"iis\",\"repairs\":\"date\",\"mx\":\"mx.d\",\"ip\":\"192.0.2.1:25\","
        "\"tls\":\"TLSv1.3\",\"stage\":\"rcpt\",\"code\":451,\"status\":\"4.7.1\","
        "\"reply\":\"451 later\",\"reason\":\"r\",\"note\":\"n\",\"attempt\":2,"
        "\"next\":\"2026-11-24T04:18:00.000Z\",\"size\":10,\"recipients\":3,\"age_ms\":2,\"delay_ms\":0,"
        "\"connect_ms\":5,\"transaction_ms\":6}\n";
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 0);
    struct event event = {
        .kind = EVENT_DEFERRED, .id = 0xa1, .about = 0xa2, .pickup = SLICE("p"),
        .message_id = SLICE("<m>"), .sender = SLICE(""), .recipient = SLICE("c@d"),
        .owner = SLICE("o"), .dialect = SLICE("iis"), .repairs = SLICE("date"),
        .host = SLICE("mx.d"), .address = SLICE("192.0.2.1:25"), .tls = SLICE("TLSv1.3"),
        .stage = SLICE("rcpt"), .status = SLICE("4.7.1"), .reply = SLICE("451 later"),
        .reason = SLICE("r"), .note = SLICE("n"), .code = 451, .attempt = 2,
        .next_ms = INT64_C(1795493880000), .size = 10, .recipients = 3, .delay_ms = 0,
        .connect_ms = 5, .transaction_ms = 6, .age_ms = 2,
    };
    event_put(log, &event);
    event_log_close(&log);
    assert_null(log);
    char *text = read_text(world->fd, "log");
    assert_int_equal(strncmp(text, "{\"time\":\"", 9), 0);
    assert_string_equal(text + strlen("{\"time\":\"2026-11-24T04:18:00.000Z\","), expected);
    free(text);
}

static void what_is_not_said_has_no_key(void **state)
{
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 0);
    event_put(log, &EVENT(EVENT_STARTED));
    event_log_close(&log);
    json_t *json = only_line(world, "log");
    assert_int_equal(json_object_size(json), 2);
    assert_string_equal(json_string_value(json_object_get(json, "event")), "started");
    assert_non_null(json_object_get(json, "time"));
    json_decref(json);
}

static void every_kind_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int a = 0; a < EVENT_KIND_COUNT; a++) {
        assert_non_null(event_kind_name((enum event_kind)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal(event_kind_name((enum event_kind)a),
                                    event_kind_name((enum event_kind)b));
    }
}

static void V1_no_text_makes_a_line_too_long(void **state)
{
    static const char *const units[] = {"a",  "\x01",     "\xFF",            "\"",
                                        "\n", "\xC3\xA9", "\xF0\x9F\x98\x80"};
    struct world *world = *state;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        struct buf text = {0};
        struct event event = EVENT(EVENT_BOUNCED);
        struct event_log *log = open_log(world, "log", 0);
        while (text.size < 5000)
            buf_append_text(&text, units[i]);
        struct slice *const texts[] = {
            &event.pickup, &event.message_id, &event.sender, &event.recipient, &event.owner,
            &event.dialect, &event.repairs, &event.host, &event.address, &event.tls, &event.stage,
            &event.status, &event.reply, &event.reason, &event.note,
        };
        for (size_t n = 0; n < COUNT_OF(texts); n++)
            *texts[n] = buf_slice(&text);
        event_put(log, &event);
        event_log_close(&log);
        json_t *json = only_line(world, "log");
        assert_int_equal(json_object_size(json), 2 + COUNT_OF(texts));
        assert_true(json_string_length(json_object_get(json, "note")) >= 30);
        json_decref(json);
        assert_int_equal(unlinkat(world->fd, "log", 0), 0);
        buf_finish(&text);
    }
}

static void V1_a_long_text_is_cut_between_characters(void **state)
{
    static const struct { const char *character; size_t before, kept; } rows[] = {
        {"\xC3\xA9", 1022, 1024},         {"\xC3\xA9", 1023, 1023},
        {"\xF0\x9F\x98\x80", 1020, 1024}, {"\xF0\x9F\x98\x80", 1021, 1021},
        {"y", 1023, 1024},                {"y", 1024, 1024},
    };
    struct world *world = *state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char text[1100];
        struct event_log *log = open_log(world, "log", 0);
        memset(text, 'x', rows[i].before);
        (void)snprintf(text + rows[i].before, sizeof text - rows[i].before, "%szzzzzzzz",
                       rows[i].character);
        put_note(log, text);
        event_log_close(&log);
        json_t *json = only_line(world, "log");
        const char *note = json_string_value(json_object_get(json, "note"));
        assert_int_equal(strlen(note), rows[i].kept);
        assert_memory_equal(note, text, rows[i].kept);
        json_decref(json);
        assert_int_equal(unlinkat(world->fd, "log", 0), 0);
    }
}

/* PITFALLS 49: a file name or a reply with a line of its own in it. */
static void V2_a_line_can_not_be_forged(void **state)
{
    static const char forged[] = "a\n{\"time\":\"x\",\"event\":\"delivered\"}\r\n"
                                 "\",\"id\":\"\\\t\x1b[2J";
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 0);
    struct event event = EVENT(EVENT_SKIPPED);
    event.pickup = event.reply = slice_of(forged);
    event.note = slice_make("a\0b", 3);
    event_put(log, &event);
    event_log_close(&log);
    json_t *json = only_line(world, "log");
    assert_int_equal(json_object_size(json), 5);
    assert_string_equal(json_string_value(json_object_get(json, "event")), "skipped");
    assert_string_equal(json_string_value(json_object_get(json, "pickup")), forged);
    assert_string_equal(json_string_value(json_object_get(json, "reply")), forged);
    json_decref(json);
}

static void V3_a_batch_is_one_write(void **state)
{
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 0);
    faults.writes = 0;
    for (int i = 0; i < 100; i++)
        put_note(log, "x");
    assert_int_equal(faults.writes, 0);
    event_flush(log);
    assert_int_equal(faults.writes, 1);
    event_flush(log);
    assert_int_equal(faults.writes, 1); /* nothing new, nothing written */
    put_note(log, "x");
    event_log_close(&log);
    assert_int_equal(faults.writes, 2); /* closing flushes */
    char *text = read_text(world->fd, "log");
    assert_int_equal(count_of(text, "\n"), 101);
    free(text);
}

static void a_full_buffer_is_written_without_flush(void **state)
{
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 0);
    faults.writes = 0;
    for (int i = 0; i < 10000; i++)
        put_note(log, "some text that fills the buffer, line after line");
    assert_in_range(faults.writes, 2, 10);
    event_log_close(&log);
}

static void both_file_and_standard_output_get_the_line(void **state)
{
    struct world *world = *state;
    char path[128], line[512];
    int pair[2], old_fd = dup(STDOUT_FILENO);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    (void)snprintf(path, sizeof path, "%s/log", world->path);
    struct config config = {.events = {.file = path, .is_stdout = true, .keep = 1}};
    struct event_log *log = event_log_open(&config, &world->error);
    assert_non_null(log);
    (void)fflush(stdout);
    dup2(pair[1], STDOUT_FILENO);
    put_note(log, "both");
    event_log_close(&log);
    dup2(old_fd, STDOUT_FILENO);
    ssize_t got = read(pair[0], line, sizeof line - 1);
    assert_in_range(got, 10, sizeof line - 1);
    line[got] = '\0';
    char *text = read_text(world->fd, "log");
    assert_string_equal(text, line);
    free(text);
    close(pair[0]);
    close(pair[1]);
    close(old_fd);
}

#define LOST(count) "up to " count " event lines could not be written"

/* Lost lines add up while nothing can be written, and are said once. */
static void V4_lost_lines_are_counted_and_said(void **state)
{
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 0);
    put_note(log, "first");
    event_flush(log);
    for (int i = 0; i < 3; i++) {
        faults.writes = 0;
        faults.write_fails_at = 1;
        put_note(log, "lost");
        put_note(log, "lost");
        event_flush(log);
    }
    faults.write_fails_at = 0;
    put_note(log, "second");
    event_flush(log);
    put_note(log, "third");
    event_log_close(&log);
    must_have_notes(world, "log", "first " LOST("6") " second third");
}

/* A disk that fills within a batch cuts a line; what comes later is whole. */
static void V4_a_torn_line_spoils_no_other(void **state)
{
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 0);
    put_note(log, "first");
    event_flush(log);
    faults.writes = 0;
    faults.short_size = 20;
    faults.write_fails_at = 2;
    put_note(log, "lost");
    event_flush(log);
    faults.write_fails_at = 0;
    put_note(log, "second");
    event_log_close(&log);
    must_have_notes(world, "log", "first ? " LOST("1") " second");
}

static void V1_a_line_torn_by_a_crash_spoils_no_other(void **state)
{
    struct world *world = *state;
    put_file(world->fd, "log", "{\"time\":\"x\",\"note\":\"first\"}\n{\"time\":\"2026");
    for (int i = 0; i < 2; i++) {
        struct event_log *log = open_log(world, "log", 0);
        put_note(log, i ? "third" : "second");
        event_log_close(&log);
    }
    must_have_notes(world, "log", "first ? second third");
}

static void V4_a_really_full_disk(void **state)
{
    struct world *world = *state;
    world_tiny_disk(world, "disk", 64 * 1024);
    int folder_fd = world_folder(world, "disk");
    struct event_log *log = open_log(world, "disk/log", 0);
    char filler[20001];
    memset(filler, 'x', sizeof filler - 1);
    filler[sizeof filler - 1] = '\0';
    put_file(folder_fd, "filler", filler);
    for (int i = 0; i < 2000; i++) {
        put_note(log, "x");
        if (i % 10 == 0)
            event_flush(log);
    }
    assert_int_equal(unlinkat(folder_fd, "filler", 0), 0);
    put_note(log, "again");
    event_log_close(&log);
    char *notes = notes_of(world, "disk/log");
    assert_int_equal(count_of(notes, "up to "), 1);
    assert_int_equal(count_of(notes, " again"), 1);
    assert_in_range(count_of(notes, "?"), 0, 1);
    free(notes);
    close(folder_fd);
}

static void rotation_keeps_the_newest_in_order(void **state)
{
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 1);
    static const char *const notes[] = {"0", "1", "2", "3", "4", "5"};
    for (size_t i = 0; i < COUNT_OF(notes); i++) {
        put_note(log, notes[i]);
        event_flush(log);
    }
    put_note(log, "6");
    event_log_close(&log);
    must_have_notes(world, "log.1", "6");
    must_have_notes(world, "log.2", "5");
    must_have_notes(world, "log.3", "4");
    must_have_notes(world, "log", "");
    assert_int_equal(file_count(world->fd), 1 + KEEP);
}

static void rotation_waits_for_the_size_also_after_a_restart(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 10; i++) {
        struct event_log *log = open_log(world, "log", 300); /* a line has about 70 octets */
        put_note(log, "x");
        event_log_close(&log);
    }
    must_have_notes(world, "log.2", "x x x x x");
    must_have_notes(world, "log.1", "x x x x x");
    must_have_notes(world, "log", "");
}

static void rotation_loses_no_line_where_it_fails(void **state)
{
    struct world *world = *state;
    put_file(world->fd, "log.2", "");
    struct event_log *log = open_log(world, "log", 1);
    put_note(log, "x");
    event_log_close(&log);
    assert_true(is_there(world->fd, "log.3"));
    must_have_notes(world, "log.1", "x");
    /* Folders in the way: the old file goes on. */
    assert_int_equal(unlinkat(world->fd, "log.1", 0), 0);
    close(world_folder(world, "log.1"));
    close(world_folder(world, "log.2"));
    close(world_folder(world, "log.2/full"));
    log = open_log(world, "log", 1);
    put_note(log, "y");
    event_flush(log);
    put_note(log, "z");
    event_log_close(&log);
    must_have_notes(world, "log", "y z");
}

static void folders_are_made_and_links_not_followed(void **state)
{
    struct world *world = *state;
    struct event_log *log = open_log(world, "some/where/log", 0);
    put_note(log, "x");
    event_log_close(&log);
    must_have_notes(world, "some/where/log", "x");
    char path[128];
    assert_int_equal(symlinkat("target", world->fd, "link"), 0);
    (void)snprintf(path, sizeof path, "%s/link", world->path);
    struct config config = {.events = {.file = path, .keep = 1}};
    assert_null(event_log_open(&config, &world->error));
    assert_non_null(strstr(world->error.text, "link"));
    assert_false(is_there(world->fd, "target"));
}

static void without_file_nothing_is_written(void **state)
{
    struct world *world = *state;
    struct config config = {.events = {.keep = 1}};
    struct event_log *log = event_log_open(&config, &world->error);
    assert_non_null(log);
    faults.writes = 0;
    put_note(log, "x");
    event_log_close(&log);
    assert_int_equal(faults.writes, 0);
}

enum { THREADS = 4, EACH = 500 };

static void *put_many(void *arg)
{
    for (int i = 0; i < EACH; i++) {
        put_note(arg, "x");
        if (i % 50 == 0)
            event_flush(arg);
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    struct world *world = *state;
    struct event_log *log = open_log(world, "log", 0);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, log), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    event_log_close(&log);
    char *notes = notes_of(world, "log");
    assert_int_equal(count_of(notes, "x"), THREADS * EACH);
    assert_int_equal(strlen(notes), 2 * THREADS * EACH - 1);
    free(notes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(V1_keys_and_their_order),
        TEST(what_is_not_said_has_no_key),
        TEST(every_kind_has_a_name_of_its_own),
        TEST(V1_no_text_makes_a_line_too_long),
        TEST(V1_a_long_text_is_cut_between_characters),
        TEST(V1_a_line_torn_by_a_crash_spoils_no_other),
        TEST(V2_a_line_can_not_be_forged),
        TEST(V3_a_batch_is_one_write),
        TEST(a_full_buffer_is_written_without_flush),
        TEST(both_file_and_standard_output_get_the_line),
        TEST(V4_lost_lines_are_counted_and_said),
        TEST(V4_a_torn_line_spoils_no_other),
        TEST(rotation_keeps_the_newest_in_order),
        TEST(rotation_waits_for_the_size_also_after_a_restart),
        TEST(rotation_loses_no_line_where_it_fails),
        TEST(folders_are_made_and_links_not_followed),
        TEST(without_file_nothing_is_written),
        TEST(lines_of_threads_do_not_mix),
        TEST(V4_a_really_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
