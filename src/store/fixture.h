/* fixture: a queue in a folder of its own, for tests. */
#ifndef MR_STORE_FIXTURE_H
#define MR_STORE_FIXTURE_H

#include "store/store.h"

struct fixture {
    char dir[64];
    struct store_place place;
    struct store *store;
    struct error error;
};

/* cmocka set-up and tear-down: an open, empty queue in a new folder, which is removed again. */
int fixture_open(void **state);
int fixture_open_with(void **state, const char *url); /* the same, on that PostgreSQL, which is empty */
int fixture_close(void **state);
void fixture_reopen(struct fixture *fixture);
void fixture_remove_folder(const char *dir);

/* Fails the test with the error's text. */
void must(bool is_done, const struct error *error);
#define MUST(call) must((call), &fixture->error)

/* A message from s@example.com to r0@example.net, r1@… (`count` of them), due at `next_ms`. */
void fixture_add(struct fixture *fixture, uint64_t id, size_t count, int64_t next_ms);
void fixture_add_committed(struct fixture *fixture, uint64_t id, size_t count, int64_t next_ms);
struct store_settlement fixture_settlement(uint64_t id, unsigned number, enum store_state state);
/* Messages that match; all. */
size_t fixture_count(struct fixture *fixture, const struct store_filter *filter);
size_t fixture_messages(struct fixture *fixture);

bool fixture_has_message(struct fixture *fixture, uint64_t id);
bool fixture_has_origin(struct fixture *fixture, uint64_t id);
void fixture_add_origin(struct fixture *fixture, uint64_t id); /* inode id + 1, born id + 2 */

#endif
