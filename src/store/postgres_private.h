/* postgres_private: what the files of the PostgreSQL store share.
 *
 *   postgres.c            a handle, its transactions, commits whose answer was lost
 *   postgres_schema.c     making and migrating the tables          postgres_steps.c  what each version adds
 *   postgres_write.c      changes, gathered and sent in bulk       postgres_read.c   what is read
 *   postgres_link.c       one connection in pipeline mode          postgres_value.c  parameters, arrays, rows
 *   postgres_statement.c  the texts of all statements
 *   postgres_node.c       a node: its thread, its lease      postgres_member.c  joining, leaving, fencing off, who is there
 *   postgres_claim.c      claims
 *
 * L1  a connection is always in pipeline mode: statements are sent, pglink_run() sends the sync and reads all results
 * L2  statements are prepared once a connection, when they are first sent; parameters and results are binary
 * L3  nothing waits longer than twice the place's timeout for the server to say anything (but for totals, which are counted row by
 *     row); then the connection is given up
 * L4  a connection that can't be made is not tried again for LINK_REST_MS: callers fail at once
 * L5  a transaction is written in bulk: changes are gathered as arrays and go out in one flight with the COMMIT, however many
 *     messages it is about, up to GATHERED_ROWS_MAX. A read in it sends what was gathered before
 * L6  a client that stops in the middle of a flight (its cable is cut, it is frozen) leaves a transaction with locks that no time-out of
 *     PostgreSQL 15 ends. Whoever is kept waiting by one, beyond its own time-out, ends it: pglink_end_orphans() */
#ifndef MR_STORE_POSTGRES_PRIVATE_H
#define MR_STORE_POSTGRES_PRIVATE_H

#include "store/store_private.h"

#include <libpq-fe.h>
#include <stdatomic.h>

enum {
    LINK_REST_MS = 500,
    PARAMS_MAX = 20,
    CONTENT_PART = 256 * 1024,
    GATHERED_MAX = 8 * 1024 * 1024, /* octets of content, then they are sent */
    GATHERED_ROWS_MAX = 5000,    /* a statement has a time-out */
    TOTALS_MS = 120 * 1000,
};

#define PG_MESSAGE_COLUMNS \
    "id, arrived_ms, sender, envid, auth, ret, flags, priority, pickup_name, owner, message_id, subject, size, " \
    "header_size, policy"
enum { PG_MESSAGE_COLUMN_COUNT = 15, PG_RECIPIENT_COLUMN_COUNT = 16 };

/* The database's clock is the one that leases are measured by. */
#define DATABASE_MS "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
/* Anything else fails the transaction. */
#define EXACTLY_ONE "1 / (CASE WHEN count(*) = 1 THEN 1 ELSE 0 END)"
#define EXACTLY_NONE "1 / (CASE WHEN count(*) = 0 THEN 1 ELSE 0 END)"
#define DIVISION_BY_ZERO "22012"
#define QUERY_CANCELED "57014" /* statement_timeout */

enum pg_statement {
    PG_BEGIN, PG_COMMIT, PG_ROLLBACK,
    PG_VERSION, PG_ADD_MESSAGES, PG_ADD_CONTENTS, PG_ADD_RECIPIENTS, PG_ADD_ORIGINS, PG_DROP_ORIGINS, PG_EACH_ORIGIN,
    PG_FORGET_ONCE, PG_ADD_ONCE, PG_FIND_ONCE, PG_EACH_ONCE, PG_SET_USAGE, PG_EACH_USAGE,
    PG_READ_HIGHEST, PG_RAISE_HIGHEST, PG_NUMBER_BATCH, PG_LOOK_UP_BATCH, PG_CLOSE_BATCH,
    PG_SETTLE, PG_END_CONTENT, PG_END_RECIPIENTS, PG_END_MESSAGES,
    PG_FINISH_MESSAGES, PG_FINISH_CONTENT, PG_FINISH_RECIPIENTS, PG_REFRESH, PG_CHANGE,
    PG_NEXT_DUE, PG_READ_MESSAGE, PG_READ_PARTS, PG_READ_RECIPIENTS, PG_READ_PAGE, PG_READ_PAGE_RECIPIENTS,
    PG_TOTAL_MESSAGES, PG_TOTAL_RECIPIENTS, PG_NOTIFY, PG_END_ORPHANS,
    PG_JOIN_NUMBER, PG_JOIN_FIND, PG_JOIN_SLOT, PG_JOIN_NEW_SLOT, PG_JOIN_TAKE_SLOT, PG_JOIN_ADD,
    PG_RENEW, PG_MEMBERS, PG_EACH_NODE, PG_STALE, PG_FENCE_NODE, PG_FENCE_SLOT, PG_FENCE_CLAIMS,
    PG_NUMBER_CLAIM, PG_CLOSE_CLAIM, PG_DROP_CLAIM, PG_CLAIM, PG_CLAIM_RECIPIENTS, PG_CLAIM_CONTENT, PG_RELEASE,
    PG_STATEMENT_COUNT
};
extern const char *const pg_statement_texts[PG_STATEMENT_COUNT];

/* ---- postgres_value.c ---- */

struct pg_array { struct buf bytes; int count; };

void array_number(struct pg_array *array, int64_t number);
void array_null_number(struct pg_array *array);
void array_text(struct pg_array *array, struct slice text); /* absent is NULL */
void array_clear(struct pg_array *array);

struct pg_params { struct buf bytes; struct { size_t offset; int size; } items[PARAMS_MAX]; int count; };

void params_number(struct pg_params *params, int64_t number);
void params_text(struct pg_params *params, struct slice text);
enum pg_type { PG_NUMBERS = 20, PG_TEXTS = 17 }; /* OIDs of bigint and bytea */
void params_array(struct pg_params *params, struct pg_array *array, enum pg_type type);

int64_t row_number(const PGresult *rows, int row, int column); /* NULL is 0 */
struct slice row_text(const PGresult *rows, int row, int column); /* lives as long as the rows */
void row_message(const PGresult *rows, int row, struct store_message *ret_message); /* PG_MESSAGE_COLUMNS come first */
void row_recipient(const PGresult *rows, int row, struct store_recipient *ret_recipient); /* RECIPIENT_COLUMNS */

/* ---- postgres_link.c ---- */

typedef void pglink_rows_fn(void *arg, const PGresult *rows);

struct pglink_wait { enum pg_statement statement; bool is_prepare; pglink_rows_fn *fn; void *arg; };

struct pglink {
    const struct store_place *place;
    PGconn *connection;          /* NULL: none */
    char name[160];              /* for error texts: hosts and database, no password */
    bool is_prepared[PG_STATEMENT_COUNT];
    struct pglink_wait *waits;     /* what was sent and not answered yet */
    size_t wait_count, wait_capacity;
    int64_t rest_until_ms;       /* monotonic (L4) */
    int64_t patience_ms;         /* with one statement (L3) */
    struct error down;           /* why */
    char sqlstate[6];            /* of the last error; "" when the connection broke */
    const _Atomic bool *is_stopped; /* the handle's, or NULL: nothing is waited for any more */
    bool is_too_new;             /* the schema: schema_prepare() can't succeed with this program */
    _Atomic bool is_interrupted; /* no more new connections, no more waiting */
    uint64_t statements, round_trips, connects;
};

void pglink_init(struct pglink *link, const struct store_place *place); /* the place stays there */
MUST_USE bool pglink_open(struct pglink *link, struct error *error); /* does nothing when it is open */
void pglink_close(struct pglink *link);
void pglink_finish(struct pglink *link);
/* Sent when pglink_run() is called. `fn` (may be NULL) gets the rows; the params are empty afterwards. */
void pglink_send(struct pglink *link, enum pg_statement statement, struct pg_params *params, pglink_rows_fn *fn, void *arg);
/* The first error of the flight; what stood behind it was not done. A broken connection is closed. */
bool pglink_run(struct pglink *link, struct error *error);
bool pglink_is_open(const struct pglink *link);
bool pglink_be_patient(struct pglink *link, int64_t patience_ms, struct error *error); /* of this connection; not in a flight */
/* After a statement that was cut short by its time-out, outside of transactions: L6. Does nothing after anything else. */
void pglink_end_orphans(struct pglink *link);
/* One plain command, without parameters or rows; not in the middle of a flight. */
bool pglink_execute(struct pglink *link, const char *sql, struct error *error);

/* ---- postgres.c ---- */

struct node;
struct finish { uint64_t id; bool *ret_is_gone; };

struct postgres {
    struct store base;
    struct store_place place;    /* copies */
    struct pglink link;
    struct node *node;           /* whose claims, whose batches; NULL: a command's */
    uint64_t batch;              /* the last one that is known to have ended */
    uint64_t last_node;          /* whose number that is */
    bool is_begun;               /* BEGIN was sent */
    bool is_failed;              /* this transaction can't be committed any more (Q6) */
    struct error failure;
    uint64_t highest_seen, highest_sent;
    size_t gathered_size;
    struct pg_array messages[PG_MESSAGE_COLUMN_COUNT + 3], contents[3], recipients[PG_RECIPIENT_COLUMN_COUNT], origins[3],
        settles[10], changes[5], ends, drops[2], releases;
    struct finish *finishes;
    size_t finish_count, finish_capacity;
    struct arena page;           /* of the recipients of the page that is walked over */
    struct store_recipient *page_recipients; /* in order */
    size_t page_count;
};

static inline struct postgres *postgres_of(struct store *store)
{
    return (struct postgres *)store;
}

/* Before a statement is sent: a connection, and in a transaction all that was gathered on its way (with BEGIN, the first time). */
MUST_USE bool postgres_ready(struct postgres *postgres, struct error *error);
/* After it: the answers. An error in a transaction fails it. */
MUST_USE bool postgres_run(struct postgres *postgres, struct error *error);
void place_copy(const struct store_place *place, struct store_place *ret_copy);
void place_finish(struct store_place *copy);

/* postgres_steps.c: version N is made from N-1 by step N-1 while older nodes go on working, from version `oldest` on: a step only
 * adds tables, or columns with defaults. A step whose `oldest` is higher is not made while older nodes live. */
struct schema_step { const char *sql; int64_t oldest; };
struct schema_steps { const struct schema_step *steps; size_t count; };
extern const struct schema_steps schema_steps;

/* postgres_schema.c */
MUST_USE bool schema_prepare(struct pglink *link, enum store_mode mode, const struct schema_steps *steps, struct error *error);
bool schema_too_new(struct pglink *link, int64_t version, const struct schema_steps *steps, struct error *error); /* false */

/* postgres_write.c */
void gathered_send(struct postgres *postgres); /* the statements for all that was gathered */
bool gathered_any(const struct postgres *postgres);
void gathered_clear(struct postgres *postgres);
void gathered_finish(struct postgres *postgres);

/* The engine: store_private.h */
bool postgres_add_message(struct store *store, const struct store_message *m, const struct store_recipient *recipients,
                          size_t count, struct error *error);
bool postgres_add_origin(struct store *store, const struct store_origin *origin, struct error *error);
bool postgres_drop_origins(struct store *store, uint64_t first, uint64_t last, struct error *error);
bool postgres_settle(struct store *store, const struct store_settlement *s, struct error *error);
bool postgres_end_message(struct store *store, uint64_t id, struct error *error);
bool postgres_finish_message(struct store *store, uint64_t id, bool *ret_is_gone, struct error *error);
bool postgres_changed(struct store *store, uint64_t id, struct error *error);
bool postgres_change(struct store *store, uint64_t id, unsigned number, const struct store_change *change,
                     struct error *error);
bool postgres_last_id(struct store *base, uint64_t *ret_id, struct error *error);
bool postgres_next_due(struct store *base, int64_t after_ms, int64_t *ret_ms, struct error *error);
bool postgres_totals(struct store *base, int64_t now_ms, struct store_totals *ret_totals, struct error *error);
bool postgres_each_origin(struct store *base, store_origin_fn *fn, void *arg, struct error *error);
bool postgres_add_once(struct store *base, const struct store_once *once, int64_t now_ms, uint64_t *ret_first,
                       struct error *error);
bool postgres_each_once(struct store *base, store_once_fn *fn, void *arg, struct error *error);
void postgres_raise_last_id(struct store *base, uint64_t id);
bool postgres_set_usage(struct store *base, const struct store_usage *usage, struct error *error);
bool postgres_each_usage(struct store *base, store_usage_fn *fn, void *arg, struct error *error);
bool postgres_read_message(struct store *base, struct arena *arena, uint64_t id, bool with_content,
                           struct store_message *ret_message, bool *ret_is_found, struct error *error);
bool postgres_read_recipients(struct store *base, struct arena *arena, uint64_t id,
                              struct store_recipient **ret_recipients, size_t *ret_count, struct error *error);
void postgres_end_page(struct store *base);
bool postgres_read_page(struct store *base, struct arena *arena, uint64_t after, struct store_message *messages,
                        size_t *ret_count, struct error *error);

#endif
