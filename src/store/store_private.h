/* store_private: what the engines behind store.h share.
 *
 *   store.c         calls the engine of a handle, checks what holds for all of them
 *   select.c        filters and verbs, over an engine's pages of messages
 *   sqlite*.c       the embedded queue            postgres*.c   the shared queue of several nodes
 *   body.c          body files of the embedded one
 *
 * An engine's handle begins with a struct store. What its functions have to do stands at store.h's of the same name. */
#ifndef MR_STORE_STORE_PRIVATE_H
#define MR_STORE_STORE_PRIVATE_H

#include "store/store.h"

#define MESSAGE_COLUMNS \
    "id, arrived_ms, sender, envid, auth, ret, flags, priority, pickup_name, owner, " \
    "message_id, subject, size, header_size, in_file, policy"
#define RECIPIENT_COLUMNS \
    "message, number, address, domain, orcpt, notify, state, attempts, next_ms, " \
    "last_attempt_ms, delay_noticed, last_status, last_reply, last_host, route, priority"

struct store {
    const struct store_engine *engine;
    enum store_mode mode;
    bool is_in_transaction;
    _Atomic bool is_stopped; /* store_stop() */
};

struct store_change { int state; int64_t next_ms; struct slice route; }; /* -1, -1, absent: as it is */

struct store_engine {
    void (*close)(struct store *store);
    void (*tidy)(struct store *store); /* NULL: it does that by itself */
    void (*stop)(struct store *store); /* NULL: it looks at is_stopped itself */
    void (*interrupt)(struct store *store); /* NULL: it never waits for long */
    bool (*begin)(struct store *store, struct error *error);
    bool (*commit)(struct store *store, struct error *error);
    void (*rollback)(struct store *store);
    bool (*add_message)(struct store *store, const struct store_message *message, const struct store_recipient *recipients,
                        size_t count, struct error *error);
    bool (*add_origin)(struct store *store, const struct store_origin *origin, struct error *error);
    bool (*drop_origins)(struct store *store, uint64_t first, uint64_t last, struct error *error);
    bool (*each_origin)(struct store *store, store_origin_fn *fn, void *arg, struct error *error);
    bool (*add_once)(struct store *store, const struct store_once *once, int64_t now_ms, uint64_t *ret_first,
                     struct error *error);
    bool (*each_once)(struct store *store, store_once_fn *fn, void *arg, struct error *error);
    bool (*set_usage)(struct store *store, const struct store_usage *usage, struct error *error);
    bool (*each_usage)(struct store *store, store_usage_fn *fn, void *arg, struct error *error);
    bool (*last_id)(struct store *store, uint64_t *ret_id, struct error *error);
    void (*raise_last_id)(struct store *store, uint64_t id);
    bool (*settle)(struct store *store, const struct store_settlement *settlement, struct error *error);
    bool (*finish_message)(struct store *store, uint64_t id, bool *ret_is_gone, struct error *error);
    bool (*end_message)(struct store *store, uint64_t id, struct error *error);
    bool (*snapshot_begin)(struct store *store, struct error *error); /* NULL, and its end: each read is one by itself */
    void (*snapshot_end)(struct store *store);
    /* NULL: the engine is shared, its due messages are claimed (store/node.h). */
    bool (*load_due)(struct store *store, int priority, int64_t now_ms, size_t limit, struct store_due_cursor *cursor,
                     store_recipient_fn *fn, void *arg, struct error *error);
    bool (*next_due)(struct store *store, int64_t after_ms, int64_t *ret_ms, struct error *error);
    bool (*read_message)(struct store *store, struct arena *arena, uint64_t id, bool with_content,
                         struct store_message *ret_message, bool *ret_is_found, struct error *error);
    bool (*read_recipients)(struct store *store, struct arena *arena, uint64_t id, struct store_recipient **ret_recipients,
                            size_t *ret_count, struct error *error);
    /* The first messages above `after` in order of their ids, without content, at most STORE_PAGE. What changes the queue
     * or reads anything else may follow: nothing stays locked. */
    bool (*read_page)(struct store *store, struct arena *arena, uint64_t after, struct store_message *messages,
                      size_t *ret_count, struct error *error);
    void (*end_page)(struct store *store); /* the page's recipients are not asked for any more; may be NULL */
    bool (*change)(struct store *store, uint64_t id, unsigned number, const struct store_change *change, struct error *error);
    bool (*changed)(struct store *store, uint64_t id, struct error *error); /* after a message's changes; may be NULL */
    bool (*totals)(struct store *store, int64_t now_ms, struct store_totals *ret_totals, struct error *error);
};

enum { STORE_PAGE = 128 };

MUST_USE bool postgres_open(const struct store_place *place, enum store_mode mode, struct store **ret_store,
                            struct error *error);

/* The message's texts, copied into the arena; a recipient's. */
void keep_message(struct arena *arena, struct store_message *message);
void keep_recipient(struct arena *arena, struct store_recipient *recipient);

#endif
