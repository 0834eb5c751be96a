/* The rules of outcome/badmail.h on a real file system, with failing calls in between. */
#include "outcome/outcome_fixture.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "outcome/badmail.h"

#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE "From: a@b\r\n\r\nbody\r\n"

static struct badmail about_file(const char *name)
{
    return (struct badmail){.name = slice_of(name), .reason = SLICE("line 3: no domain"),
                            .time_ms = INT64_C(1795493880000)};
}

static void must(bool is_done, const struct world *world)
{
    if (!is_done)
        fail_msg("%s", world->error.text);
}

static void must_read(int folder_fd, const char *name, const char *expected)
{
    char *text = read_text(folder_fd, name);
    assert_string_equal(text, expected);
    free(text);
}

/* A world with Pickup and an open Badmail. */
struct place { struct world *world; int pickup_fd; struct badmail_folder folder; };

static struct place place_open(void **state)
{
    struct place place = {.world = *state};
    char path[128];
    (void)snprintf(path, sizeof path, "%s/Badmail", place.world->path);
    place.pickup_fd = world_folder(place.world, "Pickup");
    must(badmail_open(path, &place.folder, &place.world->error), place.world);
    return place;
}

static void place_close(struct place *place)
{
    close(place->pickup_fd);
    badmail_close(&place->folder);
    assert_int_equal(place->folder.fd, -1);
}

static bool move(struct place *place, const char *name)
{
    struct badmail about = about_file(name);
    return badmail_move(&place->folder, place->pickup_fd, name, &about, &place->world->error);
}

static bool write_one(struct place *place, const char *name, const char *message)
{
    struct badmail about = about_file(name);
    return badmail_write(&place->folder, slice_of(message), &about, &place->world->error);
}

static void file_moves_with_its_reason_beside_it(void **state)
{
    struct place place = place_open(state);
    put_file(place.pickup_fd, "a.eml", MESSAGE);
    must(move(&place, "a.eml"), place.world);
    must_read(place.folder.fd, "a.eml.BAD", MESSAGE);
    assert_true(is_there(place.folder.fd, "a.eml.BDR"));
    assert_true(is_there(place.folder.fd, "a.eml.BDP"));
    assert_int_equal(file_count(place.folder.fd), 3);
    assert_int_equal(file_count(place.pickup_fd), 0);
    place_close(&place);
}

static void bytes_are_written_with_their_reason_beside_them(void **state)
{
    struct place place = place_open(state);
    must(write_one(&place, "0018f0", MESSAGE), place.world);
    must_read(place.folder.fd, "0018f0.BAD", MESSAGE);
    assert_int_equal(file_count(place.folder.fd), 3);
    place_close(&place);
}

/* B1, RELIABILITY R6: reason, properties and their names are on the disk before the message is. */
static void B1_reason_is_durable_before_the_message_lies_there(void **state)
{
#define REASON_FIRST "fsync a.BDR\nfsync new\nrename a.BDP\nfsync Badmail\n"
    static const struct { bool is_write, is_other_disk; const char *trace; } rows[] = {
        {false, false, REASON_FIRST "rename a.BAD\nfsync Pickup\nfsync Badmail\n"},
        {false, true, REASON_FIRST "fsync new\nrename a.BAD\nfsync Badmail\n"},
        {true, false, REASON_FIRST "fsync new\nrename a.BAD\nfsync Badmail\n"},
    };
    struct place place = place_open(state);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        put_file(place.pickup_fd, "a", MESSAGE);
        buf_clear(&faults.trace);
        faults.is_tracing = true;
        faults.is_rename_exdev = rows[i].is_other_disk;
        must(rows[i].is_write ? write_one(&place, "a", MESSAGE) : move(&place, "a"), place.world);
        faults.is_tracing = false;
        assert_string_equal(buf_text(&faults.trace), rows[i].trace);
        must_read(place.folder.fd, "a.BAD", MESSAGE);
        assert_int_equal(is_there(place.pickup_fd, "a"), rows[i].is_write);
        unlinkat(place.folder.fd, "a.BAD", 0);
        unlinkat(place.folder.fd, "a.BDR", 0);
        unlinkat(place.folder.fd, "a.BDP", 0);
    }
    place_close(&place);
}

/* After any failed call the message is somewhere, and a reason lies only beside a message. */
static void must_be_somewhere(const struct place *place, const char *name)
{
    char file[64];
    (void)snprintf(file, sizeof file, "%s.BAD", name);
    bool is_moved = is_there(place->folder.fd, file);
    assert_true(is_moved || is_there(place->pickup_fd, name));
    (void)snprintf(file, sizeof file, "%s.BDR", name);
    assert_int_equal(is_there(place->folder.fd, file), is_moved);
    assert_true(place->world->error.text[0]);
}

static void B1_a_failed_sync_is_told_and_loses_nothing(void **state)
{
    static const struct { bool is_other_disk; int syncs; } rows[] = {{false, 5}, {true, 5}};
    struct place place = place_open(state);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (int n = 1; n <= rows[i].syncs + 1; n++) {
            char name[32];
            (void)snprintf(name, sizeof name, "f%zu-%d", i, n);
            put_file(place.pickup_fd, name, MESSAGE);
            place.world->error.text[0] = '\0';
            faults.is_rename_exdev = rows[i].is_other_disk;
            faults.fsync_fails_at = n;
            bool is_done = move(&place, name);
            assert_int_equal(is_done, n > rows[i].syncs);
            faults.fsync_fails_at = 0;
            if (!is_done)
                must_be_somewhere(&place, name);
        }
    }
    place_close(&place);
}

static void B4_a_message_of_the_queue_is_written_once(void **state)
{
    struct place place = place_open(state);
    struct badmail first = {.name = SLICE("a"), .reason = SLICE("no \"id\":\"0000000000000002\""), .id = 1};
    struct badmail other = first;
    other.id = 2;
    for (int i = 0; i < 3; i++) {
        must(badmail_write(&place.folder, SLICE(MESSAGE), &first, &place.world->error), place.world);
        assert_int_equal(file_count(place.folder.fd), 3);
    }
    for (int i = 0; i < 3; i++) {
        must(badmail_write(&place.folder, SLICE(MESSAGE), &other, &place.world->error), place.world);
        assert_int_equal(file_count(place.folder.fd), 6);
    }
    must_read(place.folder.fd, "a.2.BAD", MESSAGE);
    place_close(&place);
}

static void B5_a_half_done_move_is_finished(void **state)
{
    struct place place = place_open(state);
    put_file(place.pickup_fd, "a", MESSAGE);
    must(move(&place, "a"), place.world);
    assert_int_equal(linkat(place.folder.fd, "a.BAD", place.pickup_fd, "a", 0), 0);
    must(move(&place, "a"), place.world);
    assert_false(is_there(place.pickup_fd, "a"));
    assert_int_equal(file_count(place.folder.fd), 3);
    must_read(place.folder.fd, "a.BAD", MESSAGE);
    place_close(&place);
}

/* Each of the three writes (reason, properties, message) in turn fails, or stops in its middle. */
static void pitfall_50_full_disk_leaves_the_file_where_it_is(void **state)
{
    struct place place = place_open(state);
    faults.is_rename_exdev = true;
    for (int n = 1; n <= 5; n++) {
        char name[32];
        (void)snprintf(name, sizeof name, "w%d", n);
        put_file(place.pickup_fd, name, MESSAGE);
        faults.writes = 0;
        faults.write_fails_at = n;
        faults.short_size = 5;
        bool is_done = move(&place, name);
        faults.write_fails_at = 0;
        assert_int_equal(is_done, n > 4);
        assert_int_equal(file_count(place.folder.fd), is_done ? 3 : 0);
        assert_int_equal(is_there(place.pickup_fd, name), !is_done);
    }
    faults.writes = 0;
    faults.write_fails_at = 4;
    assert_false(write_one(&place, "b", MESSAGE));
    assert_int_equal(file_count(place.folder.fd), 3);
    place_close(&place);
}

static void really_full_disk_and_another_file_system(void **state)
{
    char large[200001];
    world_tiny_disk(*state, "Badmail", 64 * 1024);
    struct place place = place_open(state);
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    put_file(place.pickup_fd, "large", large);
    put_file(place.pickup_fd, "small", MESSAGE);
    for (int i = 0; i < 20; i++)
        assert_false(move(&place, "large"));
    assert_non_null(strstr(place.world->error.text, "No space left"));
    assert_int_equal(file_count(place.folder.fd), 0);
    must_read(place.pickup_fd, "large", large);
    must(move(&place, "small"), place.world);
    must_read(place.folder.fd, "small.BAD", MESSAGE);
    assert_false(is_there(place.pickup_fd, "small"));
    place_close(&place);
}

static void B2_same_name_gets_a_number(void **state)
{
    static const char *const names[] = {"a.BAD", "a.2.BAD", "a.3.BAD", "a.4.BAD"};
    struct place place = place_open(state);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "message %zu", i);
        if (i % 2 == 0) {
            put_file(place.pickup_fd, "a", text);
            must(move(&place, "a"), place.world);
        } else {
            must(write_one(&place, "a", text), place.world);
        }
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "message %zu", i);
        must_read(place.folder.fd, names[i], text);
    }
    assert_int_equal(file_count(place.folder.fd), 3 * COUNT_OF(names));
    place_close(&place);
}

/* An operator may have read and removed any of the three; a link may have been planted. */
static void B2_whatever_lies_there_stays(void **state)
{
    static const char *const suffixes[] = {".BAD", ".BDR", ".BDP"};
    struct place place = place_open(state);
    for (size_t i = 0; i < COUNT_OF(suffixes); i++) {
        for (int is_link = 0; is_link < 2; is_link++) {
            char name[16], taken[32], next[32];
            (void)snprintf(name, sizeof name, "%c%d", (int)('a' + i), is_link);
            (void)snprintf(taken, sizeof taken, "%s%s", name, suffixes[i]);
            (void)snprintf(next, sizeof next, "%s.2.BAD", name);
            if (is_link)
                assert_int_equal(symlinkat("nowhere", place.folder.fd, taken), 0);
            else
                put_file(place.folder.fd, taken, "kept");
            put_file(place.pickup_fd, name, MESSAGE);
            must(move(&place, name), place.world);
            must_read(place.folder.fd, next, MESSAGE);
            if (!is_link)
                must_read(place.folder.fd, taken, "kept");
        }
    }
    assert_false(is_there(place.folder.fd, "nowhere"));
    place_close(&place);
}

enum { THREADS = 4, EACH = 10 };

static void *write_many(void *arg)
{
    struct place *place = arg;
    struct badmail about = about_file("same");
    struct error error;
    for (int i = 0; i < EACH; i++)
        if (!badmail_write(&place->folder, SLICE(MESSAGE), &about, &error))
            return (void *)1;
    return NULL;
}

static void B2_threads_never_meet_in_a_name(void **state)
{
    struct place place = place_open(state);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &place), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(file_count(place.folder.fd), 3 * THREADS * EACH);
    place_close(&place);
}

/* PITFALLS 49: names are whatever another program made them. */
static void B3_name_is_kept_as_far_as_it_is_printable(void **state)
{
    static const struct { const char *name, *file; } rows[] = {
        {"order 7.eml", "order_7.eml.BAD"},
        {"a\nReason: forged", "a_Reason:_forged.BAD"},
        {"../../etc/passwd", "_._.._etc_passwd.BAD"},
        {".hidden", "_hidden.BAD"},
        {"-rf", "_rf.BAD"},
        {"\x1b[2J\x7f", "_[2J_.BAD"},
        {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F.BAD"},
        {"", "_.BAD"},
    };
    struct place place = place_open(state);
    char name[301], file[256];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        must(write_one(&place, rows[i].name, MESSAGE), place.world);
        if (!is_there(place.folder.fd, rows[i].file))
            fail_msg("%s is not there", rows[i].file);
    }
    memset(name, 'n', 300);
    name[300] = '\0';
    must(write_one(&place, name, MESSAGE), place.world);
    must(write_one(&place, name, MESSAGE), place.world);
    (void)snprintf(file, sizeof file, "%.200s.2.BAD", name);
    assert_true(is_there(place.folder.fd, file));
    place_close(&place);
}

static void reason_for_people_can_not_be_forged(void **state)
{
    struct place place = place_open(state);
    struct badmail about = about_file("a\nStatus:     2.0.0");
    about.reason = SLICE("no\r\nTime: \x1b[2J");
    about.status = SLICE("5.1.3");
    about.owner = SLICE("www-data");
    about.sender = SLICE("a@b");
    about.recipients = SLICE("c@d e@f");
    about.id = 0xa1;
    must(badmail_write(&place.folder, SLICE(MESSAGE), &about, &place.world->error), place.world);
    must_read(place.folder.fd, "a_Status:_____2.0.0.BDR",
              "Reason:     no\\x0d\\x0aTime: \\x1b[2J\n"
              "Status:     5.1.3\n"
              "File:       a\\x0aStatus:     2.0.0\n"
              "Owner:      www-data\n"
              "Sender:     a@b\n"
              "Recipients: c@d e@f\n"
              "Queue id:   00000000000000a1\n"
              "Time:       2026-11-24T04:18:00.000Z\n"
              "\nMend the message beside this file (.BAD) and move it into Pickup to send it.\n");
    must(write_one(&place, "plain", MESSAGE), place.world);
    must_read(place.folder.fd, "plain.BDR",
              "Reason:     line 3: no domain\n"
              "File:       plain\n"
              "Time:       2026-11-24T04:18:00.000Z\n"
              "\nMend the message beside this file (.BAD) and move it into Pickup to send it.\n");
    place_close(&place);
}

static void properties_are_json(void **state)
{
    struct place place = place_open(state);
    struct badmail about = about_file("a");
    about.reason = SLICE("no\n\"x\": \xFF");
    about.sender = SLICE("");
    about.id = 0xa1;
    must(badmail_write(&place.folder, SLICE(MESSAGE), &about, &place.world->error), place.world);
    char *text = read_text(place.folder.fd, "a.BDP");
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "reason")),
                        "no\n\"x\": \xEF\xBF\xBD");
    assert_string_equal(json_string_value(json_object_get(json, "file")), "a");
    assert_string_equal(json_string_value(json_object_get(json, "sender")), "");
    assert_true(json_is_null(json_object_get(json, "status")));
    assert_string_equal(json_string_value(json_object_get(json, "id")), "00000000000000a1");
    json_decref(json);
    free(text);
    place_close(&place);
}

/* What can't be moved stays, and no reason is left for it however often it is tried. */
static void what_can_not_be_moved_leaves_nothing_behind(void **state)
{
    struct place place = place_open(state);
    assert_int_equal(mkfifoat(place.pickup_fd, "fifo", 0644), 0);
    assert_int_equal(symlinkat("/etc/hostname", place.pickup_fd, "link"), 0);
    for (int i = 0; i < 3; i++) {
        assert_false(move(&place, "missing"));
        assert_non_null(strstr(place.world->error.text, "missing"));
        faults.is_rename_exdev = true;
        assert_false(move(&place, "fifo"));
        assert_false(move(&place, "link"));
        faults.is_rename_exdev = false;
    }
    assert_int_equal(file_count(place.folder.fd), 0);
    assert_int_equal(file_count(place.pickup_fd), 2);
    place_close(&place);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(file_moves_with_its_reason_beside_it),
        TEST(bytes_are_written_with_their_reason_beside_them),
        TEST(B1_reason_is_durable_before_the_message_lies_there),
        TEST(B1_a_failed_sync_is_told_and_loses_nothing),
        TEST(B4_a_message_of_the_queue_is_written_once),
        TEST(B5_a_half_done_move_is_finished),
        TEST(pitfall_50_full_disk_leaves_the_file_where_it_is),
        TEST(B2_same_name_gets_a_number),
        TEST(B2_whatever_lies_there_stays),
        TEST(B2_threads_never_meet_in_a_name),
        TEST(B3_name_is_kept_as_far_as_it_is_printable),
        TEST(reason_for_people_can_not_be_forged),
        TEST(properties_are_json),
        TEST(what_can_not_be_moved_leaves_nothing_behind),
        TEST(really_full_disk_and_another_file_system),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
