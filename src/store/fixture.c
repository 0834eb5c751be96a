#include "store/fixture.h"

#include "base/mem.h"
#include "store/filter.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

void must(bool is_done, const struct error *error)
{
    if (!is_done)
        fail_msg("%s", error->text);
}

int fixture_open_with(void **state, const char *url)
{
    struct fixture *fixture = mem_alloc(sizeof *fixture);
    (void)snprintf(fixture->dir, sizeof fixture->dir, "/tmp/store-test-XXXXXX");
    if (!mkdtemp(fixture->dir))
        return -1;
    *state = fixture;
    fixture->place = (struct store_place){.dir = fixture->dir, .url = url, .owner = "here", .timeout_ms = 5000};
    if (!store_open_at(&fixture->place, STORE_WRITER, &fixture->store, &fixture->error)) {
        fprintf(stderr, "%s\n", fixture->error.text);
        return -1;
    }
    return 0;
}

int fixture_open(void **state)
{
    return fixture_open_with(state, NULL);
}

static int remove_one(const char *path, const struct stat *is, int type, struct FTW *where)
{
    (void)is;
    (void)type;
    (void)where;
    return remove(path);
}

void fixture_remove_folder(const char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* what stays in /tmp harms nobody */
}

int fixture_close(void **state)
{
    struct fixture *fixture = *state;
    store_close(&fixture->store);
    fixture_remove_folder(fixture->dir);
    free(fixture);
    return 0;
}

void fixture_reopen(struct fixture *fixture)
{
    store_close(&fixture->store);
    MUST(store_open_at(&fixture->place, STORE_WRITER, &fixture->store, &fixture->error));
}

void fixture_add(struct fixture *fixture, uint64_t id, size_t count, int64_t next_ms)
{
    struct store_message message = {
        .id = id,
        .arrived_ms = 1000,
        .sender = SLICE("s@example.com"),
        .pickup_name = SLICE("order.eml"),
        .message_id = SLICE("<1@example.com>"),
        .size = 12,
        .header_size = 6,
        .content = SLICE("A: b\r\n\r\nhi\r\n"),
    };
    struct store_recipient *recipients = mem_alloc(count * sizeof *recipients);
    char(*addresses)[40] = mem_alloc(count * sizeof *addresses);
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(addresses[i], sizeof addresses[i], "r%zu@example.net", i);
        recipients[i] = (struct store_recipient){
            .message_id = id,
            .number = (unsigned)i,
            .address = slice_of(addresses[i]),
            .domain = SLICE("example.net"),
            .next_ms = next_ms,
        };
    }
    MUST(store_add_message(fixture->store, &message, recipients, count, &fixture->error));
    free(addresses);
    free(recipients);
}

void fixture_add_committed(struct fixture *fixture, uint64_t id, size_t count, int64_t next_ms)
{
    MUST(store_begin(fixture->store, &fixture->error));
    fixture_add(fixture, id, count, next_ms);
    MUST(store_commit(fixture->store, &fixture->error));
}

struct store_settlement fixture_settlement(uint64_t id, unsigned number, enum store_state state)
{
    return (struct store_settlement){
        .message_id = id,
        .number = number,
        .state = state,
        .attempts = 1,
        .next_ms = 5000,
        .last_attempt_ms = 2000,
        .status = SLICE("2.0.0"),
        .reply = SLICE("250 2.0.0 Ok"),
        .host = SLICE("mx.example.net"),
    };
}

static bool count_one(void *arg, const struct store_message *message,
                      const struct store_recipient *recipients, size_t recipient_count)
{
    (void)message;
    (void)recipients;
    (void)recipient_count;
    ++*(size_t *)arg;
    return true;
}

size_t fixture_count(struct fixture *fixture, const struct store_filter *filter)
{
    size_t count = 0;
    MUST(store_select(fixture->store, filter, count_one, &count, &fixture->error));
    return count;
}

size_t fixture_messages(struct fixture *fixture)
{
    struct store_filter all = FILTER_ALL;
    return fixture_count(fixture, &all);
}

bool fixture_has_message(struct fixture *fixture, uint64_t id)
{
    struct arena arena = {0};
    struct store_message message;
    struct error error;
    bool has = store_read_message(fixture->store, &arena, id, false, &message, &error);
    arena_finish(&arena);
    return has;
}

void fixture_add_origin(struct fixture *fixture, uint64_t id)
{
    struct store_origin origin = {id, id + 1, (int64_t)id + 2};
    MUST(store_add_origin(fixture->store, &origin, &fixture->error));
}

static void look_for_origin(void *arg, const struct store_origin *origin)
{
    uint64_t *id = arg;
    if (origin->id != *id)
        return;
    assert_int_equal(origin->inode, *id + 1);
    assert_int_equal(origin->born_ns, *id + 2);
    *id = 0;
}

bool fixture_has_origin(struct fixture *fixture, uint64_t id)
{
    MUST(store_each_origin(fixture->store, look_for_origin, &id, &fixture->error));
    return id == 0;
}
