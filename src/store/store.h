/* store: the durable queue, one interface for two engines.
 *
 *   Queue/queue.db        SQLite, WAL, synchronous=FULL; open it with sqlite3
 *   Queue/body/ID         the canonical bytes of a message over STORE_INLINE_SIZE_MAX, one file
 *   postgresql://…        PostgreSQL, shared by the nodes of a cluster (docs/cluster.md, store/node.h); no body files
 *
 * Q1  all changes happen between store_begin() and store_commit(); after commit returns true they survive
 *     SIGKILL and loss of power; after anything else none of them happened
 * Q2  a message is stored once, whatever the number of its recipients; each recipient has a state of its own
 * Q3  message and recipients disappear together, when no recipient is QUEUED or HELD (store_finish_message)
 * Q4  the origin of a message (inode and birth time of its pickup file) outlives the message until its claim is durably
 *     gone (store_drop_origins): a file that is seen again with a known origin was accepted, once and for all
 * Q5  body files: written and synced (file, then folder) before the commit that names them, unlinked after
 *     the commit that forgets them; store_open() removes those that nothing names
 * Q6  a failed commit (disk full, I/O error) rolls back and is reported; it is never retried as if it had passed
 * Q7  text columns hold text or blobs as they came; times are Unix milliseconds
 * Q8  keys that count once (store_add_once) outlive their message, until their time is over
 *
 * A handle belongs to one thread; open one per thread (STORE_WRITER: exactly one process-wide). Slices given to callbacks
 * live until the callback returns.
 * Not here: batching (store/writer.h), schedules (config/schedule.h), files in Pickup (pickup/). */
#ifndef MR_STORE_STORE_H
#define MR_STORE_STORE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

enum { STORE_INLINE_SIZE_MAX = 128 * 1024 };
/* Where a queue is. Texts stay in place while a handle is open. */
struct store_place {
    const char *dir;           /* the folder Queue: the embedded queue, body files */
    const char *url;           /* postgresql://…; NULL: the embedded queue */
    const char *password;      /* NULL: what libpq finds by itself (PGPASSFILE, passfile=…) */
    const char *owner;         /* whose origins and counters are meant: the node's name */
    int64_t timeout_ms;        /* of one statement or an attempt to connect */
};

enum store_mode { STORE_WRITER, STORE_READER }; /* reader: never changes anything, works beside a writer */

enum store_state { /* of a recipient; kept in the database as these numbers */
    STATE_QUEUED = 0, STATE_DELIVERED = 1, STATE_BOUNCED = 2, STATE_EXPIRED = 3, STATE_REMOVED = 4, STATE_HELD = 5,
};

enum { /* flags of a message */
    MESSAGE_8BIT = 1, MESSAGE_SMTPUTF8 = 2, MESSAGE_LEADING_DOT = 4, MESSAGE_8BIT_HEADER = 8, MESSAGE_IS_DSN = 16,
    MESSAGE_REQUIRETLS = 32, MESSAGE_TLS_OPTIONAL = 64, /* RFC 8689: X-Sender's REQUIRETLS; TLS-Required: No */
};

struct store_message {
    uint64_t id;               /* queue id; shown as 16 hex digits */
    int64_t arrived_ms;
    struct slice sender;       /* "" = null sender */
    struct slice envid, auth;  /* absent if none */
    int ret;                   /* enum envelope_ret */
    unsigned flags;
    int priority;              /* -1, 0, 1 */
    struct slice pickup_name;  /* absent for what the relay itself made */
    struct slice owner;        /* who wrote the file, as text */
    struct slice message_id, subject;
    struct slice policy;       /* what the folder says of it (store/policy.h); absent: nothing */
    size_t size, header_size;  /* octets of the canonical message, and of its header with the blank line */
    struct slice content;      /* inline content; absent when it is in a body file or wasn't asked for */
    bool is_in_file;
};

struct store_recipient {
    uint64_t message_id;
    unsigned number;            /* 0.. within the message; with message_id the key */
    struct slice address, domain, orcpt;
    unsigned notify;            /* bits of enum envelope_notify */
    enum store_state state;
    unsigned attempts;
    int64_t next_ms;            /* when it is due */
    int64_t last_attempt_ms;
    bool is_delay_noticed;
    struct slice last_status, last_reply, last_host; /* of the last attempt; absent before */
    struct slice route;         /* "host:port" set by reroute; absent = as the config and DNS say */
    int priority;               /* the message's, for the due order */
};

struct store_settlement { /* what became of one attempt for one recipient */
    uint64_t message_id;
    unsigned number;
    enum store_state state;     /* QUEUED with next_ms = try again */
    unsigned attempts;
    int64_t next_ms, last_attempt_ms;
    bool is_delay_noticed;
    struct slice status, reply, host;
};

struct store_due_cursor { int64_t next_ms; uint64_t message_id; unsigned number; }; /* zeroed = from the front */

/* Absent or zero fields don't filter; all that are set must match. It is matched recipient by recipient: a message is
 * found if one of its recipients matches, and a verb changes only those that do. */
struct store_filter {
    const uint64_t *ids; size_t id_count;
    struct slice sender, recipient, domain, pickup_name, message_id, status /* of the last attempt */; /* case-insensitive equality; "*" globs */
    int64_t older_than_ms, younger_than_ms; /* ages before now_ms */
    int64_t now_ms;
    uint64_t larger_than;
    int state;                  /* -1 = any; an enum store_state otherwise. zeroed means QUEUED: set it */
    bool is_inverted;           /* every recipient for which not all of that holds */
    uint64_t after_id;          /* only messages behind this one */
    size_t limit;               /* messages; 0 = all */
};

enum store_verb { VERB_HOLD, VERB_RELEASE, VERB_RETRY, VERB_REMOVE, VERB_REROUTE };
struct store_origin { uint64_t id; uint64_t inode; int64_t born_ns; }; /* id: the message's */
struct store_once { struct slice key; uint64_t id; int64_t until_ms; }; /* a key that counts once, and whose it is */
struct store_usage { struct slice name; int64_t since_ms; uint64_t count; }; /* a counter that outlives a restart */
struct store_totals { uint64_t messages, recipients, queued, held, due, bytes; int64_t oldest_ms; };

struct store;
typedef void store_origin_fn(void *arg, const struct store_origin *origin);
typedef void store_once_fn(void *arg, const struct store_once *once);
typedef void store_usage_fn(void *arg, const struct store_usage *usage);
typedef void store_recipient_fn(void *arg, const struct store_recipient *recipient);
/* false stops the walk */
typedef bool store_message_fn(void *arg, const struct store_message *message,
                              const struct store_recipient *recipients, size_t recipient_count);

/* Opens (a writer creates and migrates) the queue in folder `dir`. The error names the file and the way out. */
MUST_USE bool store_open(const char *dir, enum store_mode mode, struct store **ret_store, struct error *error);
MUST_USE bool store_open_at(const struct store_place *place, enum store_mode mode, struct store **ret_store,
                            struct error *error);
/* The files that the database's library reads for that URL, if they are there: passwords, certificates. */
void store_url_files(const char *url, void (*fn)(void *arg, const char *path), void *arg);
void store_close(struct store **store);
/* From any thread: store_select() and what a statement is reading end with an error. For a handle that is to be closed. */
void store_stop(struct store *store);
/* From any thread: a transaction whose answer was lost is not waited for any longer than one more attempt. */
void store_interrupt(struct store *store);
bool store_is_shared(const struct store *store); /* by nodes: its due messages are claimed (store/node.h) */
/* Gives the space of a queue that has drained back to the file system. Does nothing while much is queued; otherwise it
 * copies what lives, 32 MiB at most. For a writer that has nothing to do; opening a writer does it too. */
void store_tidy(struct store *store);

MUST_USE bool store_begin(struct store *store, struct error *error);
MUST_USE bool store_commit(struct store *store, struct error *error); /* false: rolled back */
void store_rollback(struct store *store);

MUST_USE bool store_add_message(struct store *store, const struct store_message *message,
                                const struct store_recipient *recipients, size_t count, struct error *error);
MUST_USE bool store_add_origin(struct store *store, const struct store_origin *origin, struct error *error);
MUST_USE bool store_drop_origins(struct store *store, uint64_t first, uint64_t last, struct error *error); /* ids */
MUST_USE bool store_each_origin(struct store *store, store_origin_fn *fn, void *arg, struct error *error);
/* Q8: forgets keys whose time is over, then notes this one for message `once->id` unless another one has it. `ret_first` is
 * who has it: once->id itself if it is the first. In the transaction of the message: keys and messages are there together. */
MUST_USE bool store_add_once(struct store *store, const struct store_once *once, int64_t now_ms, uint64_t *ret_first,
                             struct error *error);
MUST_USE bool store_each_once(struct store *store, store_once_fn *fn, void *arg, struct error *error);
MUST_USE bool store_set_usage(struct store *store, const struct store_usage *usage, struct error *error); /* new or changed */
MUST_USE bool store_each_usage(struct store *store, store_usage_fn *fn, void *arg, struct error *error);
MUST_USE bool store_last_id(struct store *store, uint64_t *ret_id, struct error *error);
void store_raise_last_id(struct store *store, uint64_t id); /* in a transaction: ids up to that one were given away elsewhere */

/* A recipient that is gone or has a final state is left as it is; one that was held meanwhile stays held if it is to be
 * tried again. */
MUST_USE bool store_settle(struct store *store, const struct store_settlement *settlement, struct error *error);
/* `ret_is_gone` may be NULL; it is valid once the transaction is committed, and has to stay in place until then. */
MUST_USE bool store_finish_message(struct store *store, uint64_t id, bool *ret_is_gone, struct error *error);
/* The message with all its recipients, for a caller that knows that none of them is left to be tried. */
MUST_USE bool store_end_message(struct store *store, uint64_t id, struct error *error);

/* Many reads of one state of the queue, in a reader; cheaper than each on its own. Keep it short: a WAL can't start over
 * while it lasts. */
MUST_USE bool store_snapshot_begin(struct store *store, struct error *error);
void store_snapshot_end(struct store *store);

/* Due recipients of one priority (next_ms <= now_ms, QUEUED) in order of (next_ms, id, number) behind the
 * cursor, which moves to the last one given. */
MUST_USE bool store_load_due(struct store *store, int priority, int64_t now_ms, size_t limit,
                             struct store_due_cursor *cursor, store_recipient_fn *fn, void *arg,
                             struct error *error);
/* The earliest next_ms of QUEUED recipients after `after_ms`; INT64_MAX if none. */
MUST_USE bool store_next_due(struct store *store, int64_t after_ms, int64_t *ret_ms, struct error *error);

/* One message; content is read too if asked for and inline. Absent message: false with "no such message". No recipients:
 * a count of 0. */
MUST_USE bool store_read_message(struct store *store, struct arena *arena, uint64_t id, bool with_content,
                                 struct store_message *ret_message, struct error *error);
MUST_USE bool store_read_recipients(struct store *store, struct arena *arena, uint64_t id,
                                    struct store_recipient **ret_recipients, size_t *ret_count,
                                    struct error *error);
MUST_USE bool store_select(struct store *store, const struct store_filter *filter, store_message_fn *fn,
                           void *arg, struct error *error);
MUST_USE bool store_totals(struct store *store, int64_t now_ms, struct store_totals *ret_totals,
                           struct error *error);

/* Applies a verb to the QUEUED and HELD recipients of what matches, inside a transaction; with `fn`, says which
 * messages (as they are after it). REMOVE finishes messages; REROUTE sets `route` and makes them due. */
MUST_USE bool store_change(struct store *store, const struct store_filter *filter, enum store_verb verb,
                           struct slice route, store_message_fn *fn, void *arg, struct error *error);

/* Body files. Write: complete and synced, folder too, when it returns true. Open: a read-only fd, -1 on error. */
MUST_USE bool store_body_write(const char *dir, uint64_t id, struct slice content, struct error *error);
void store_body_remove(const char *dir, uint64_t id); /* one that no message will name */
int store_body_open(const char *dir, uint64_t id, struct error *error);

/* In a transaction: that recipient, which is held, is queued from then on, due at `next_ms`. */
MUST_USE bool store_set_due(struct store *store, const struct store_recipient *recipient, int64_t next_ms, struct error *error);

/* Saves what can be read of a damaged queue.db into a new one; the damaged file stays beside it under a new name.
 * `report` gets lines for people: what was saved, what was not. */
MUST_USE bool store_repair(const char *dir, struct buf *report, struct error *error);

/* "%016x" and back. */
void store_id_text(uint64_t id, char ret_text[17]);
MUST_USE bool store_id_parse(struct slice text, uint64_t *ret_id);

#endif
