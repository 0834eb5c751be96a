#include "store/postgres_private.h"

#include "base/mem.h"
#include "os/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOOK_MS = 200 };

/* What keeps a plan of the first days, when the tables were empty, from reading all of a table later. Other databases that
 * speak the protocol may not know these: then they are passed over. */
static const char *const hints[] = {
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET jit = off",
};

void pglink_init(struct pglink *link, const struct store_place *place)
{
    *link = (struct pglink){.place = place, .patience_ms = place->timeout_ms};
    (void)snprintf(link->name, sizeof link->name, "PostgreSQL");
}

void store_url_files(const char *url, void (*fn)(void *arg, const char *path), void *arg)
{
    static const char *const keys[] = {"passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "servicefile"};
    static const char *const usual[] = {".pgpass", ".postgresql"};
    const char *home = getenv("HOME"), *passfile = getenv("PGPASSFILE");
    char path[4096];
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    for (const PQconninfoOption *option = options; option && option->keyword; option++)
        for (size_t i = 0; option->val && i < COUNT_OF(keys); i++)
            if (strcmp(option->keyword, keys[i]) == 0 && access(option->val, R_OK) == 0)
                fn(arg, option->val);
    PQconninfoFree(options);
    if (passfile && access(passfile, R_OK) == 0)
        fn(arg, passfile);
    for (size_t i = 0; home && i < COUNT_OF(usual); i++)
        if ((size_t)snprintf(path, sizeof path, "%s/%s", home, usual[i]) < sizeof path && access(path, R_OK) == 0)
            fn(arg, path);
}

bool pglink_is_open(const struct pglink *link)
{
    return link->connection != NULL;
}

void pglink_close(struct pglink *link)
{
    PQfinish(link->connection);
    link->connection = NULL;
    link->wait_count = 0;
    memset(link->is_prepared, 0, sizeof link->is_prepared);
}

void pglink_finish(struct pglink *link)
{
    pglink_close(link);
    free(link->waits);
    link->waits = NULL;
}

/* libpq's texts may have several lines: the first one says it. */
static bool fail(struct pglink *link, const char *text, struct error *error)
{
    struct slice rest = slice_of(text ? text : ""), line = slice_trim(slice_cut(&rest, '\n'));
    return error_set(error, "%s: %.*s", link->name, SLICE_FMT(line));
}

static bool broke(struct pglink *link, const char *text, struct error *error)
{
    link->sqlstate[0] = '\0';
    (void)fail(link, text, error);
    pglink_close(link);
    return false;
}

static bool refused(struct pglink *link, const PGresult *result, struct error *error)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE), *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    (void)snprintf(link->sqlstate, sizeof link->sqlstate, "%s", state ? state : "");
    return fail(link, text ? text : PQresultErrorMessage(result), error);
}

static void name_it(struct pglink *link)
{
    const char *host = PQhost(link->connection), *port = PQport(link->connection), *db = PQdb(link->connection);
    (void)snprintf(link->name, sizeof link->name, "PostgreSQL %s:%s/%s", host ? host : "", port ? port : "", db ? db : "");
}

/* Waits until a result can be had without waiting; sends what is to be sent meanwhile. */
static bool wait_ready(struct pglink *link, struct error *error)
{
    int64_t until_ms = clock_mono_ms() + 2 * link->patience_ms; /* the server's own comes first */
    for (;;) {
        int unsent = PQflush(link->connection);
        if (unsent < 0)
            return broke(link, PQerrorMessage(link->connection), error);
        if (!unsent && !PQisBusy(link->connection))
            return true;
        int64_t left_ms = until_ms - clock_mono_ms();
        if (link->is_stopped && *link->is_stopped)
            return broke(link, "the relay ends", error);
        struct pollfd watched = {.fd = PQsocket(link->connection), .events = (short)(POLLIN | (unsent ? POLLOUT : 0))};
        int ready = left_ms > 0 ? poll(&watched, 1, left_ms < LOOK_MS ? (int)left_ms : LOOK_MS) : 0;
        if (left_ms <= 0 || (ready < 0 && errno != EINTR))
            return broke(link, "no answer in time: the connection is given up", error);
        if (ready > 0 && (watched.revents & ~POLLOUT) && !PQconsumeInput(link->connection))
            return broke(link, PQerrorMessage(link->connection), error);
    }
}

bool pglink_execute(struct pglink *link, const char *sql, struct error *error)
{
    bool is_done = true;
    CHECK(link->wait_count == 0);
    if (PQpipelineStatus(link->connection) != PQ_PIPELINE_OFF)
        CHECK(PQexitPipelineMode(link->connection) == 1);
    if (PQsendQuery(link->connection, sql) != 1)
        return broke(link, PQerrorMessage(link->connection), error);
    for (;;) {
        if (!wait_ready(link, error))
            return false;
        PGresult *result = PQgetResult(link->connection);
        if (!result)
            return is_done;
        ExecStatusType status = PQresultStatus(result);
        if (is_done && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
            is_done = refused(link, result, error);
        PQclear(result);
    }
}

bool pglink_be_patient(struct pglink *link, int64_t patience_ms, struct error *error)
{
    char sql[96];
    (void)snprintf(sql, sizeof sql, "SET statement_timeout = %lld", (long long)patience_ms);
    link->patience_ms = patience_ms;
    return pglink_execute(link, sql, error);
}

static bool set_up(struct pglink *link, struct error *error)
{
    char sql[96];
    if (!pglink_be_patient(link, link->place->timeout_ms, error))
        return false;
    (void)snprintf(sql, sizeof sql, "SET idle_in_transaction_session_timeout = %lld", (long long)link->place->timeout_ms);
    (void)pglink_execute(link, sql, NULL); /* a node that stopped in the middle of one holds nobody up for long */
    for (size_t i = 0; i < COUNT_OF(hints); i++)
        (void)pglink_execute(link, hints[i], NULL);
    if (!link->connection)
        return error_set(error, "%s: the connection broke", link->name);
    return PQsetnonblocking(link->connection, 1) == 0 || fail(link, PQerrorMessage(link->connection), error);
}

/* The server may have closed it meanwhile. */
static bool is_stale(struct pglink *link)
{
    struct pollfd watched = {.fd = PQsocket(link->connection), .events = POLLIN};
    return link->wait_count == 0 && poll(&watched, 1, 0) > 0 && !PQconsumeInput(link->connection);
}

/* Notices are for people at a prompt. */
static void pass_over(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

bool pglink_open(struct pglink *link, struct error *error)
{
    if (link->connection && !is_stale(link))
        return true;
    pglink_close(link);
    if (clock_mono_ms() < link->rest_until_ms)
        return error_set(error, "%s", link->down.text);
    char seconds[24], milliseconds[24], application[80];
    const struct store_place *place = link->place;
    (void)snprintf(seconds, sizeof seconds, "%lld", (long long)(place->timeout_ms < 2000 ? 2 : place->timeout_ms / 1000));
    (void)snprintf(milliseconds, sizeof milliseconds, "%lld", (long long)place->timeout_ms);
    (void)snprintf(application, sizeof application, "mailroot %s", place->owner ? place->owner : "");
    /* What stands before dbname the URL may say otherwise. */
    const char *const keys[] = {"fallback_application_name", "connect_timeout", "tcp_user_timeout", "target_session_attrs",
                                "dbname", place->password ? "password" : NULL, NULL};
    const char *const values[] = {application, seconds, milliseconds, "read-write", place->url, place->password, NULL};
    link->connection = PQconnectdbParams(keys, values, 1);
    if (!link->connection)
        mem_exhausted(sizeof *link);
    (void)PQsetNoticeProcessor(link->connection, pass_over, NULL);
    name_it(link);
    link->connects++;
    bool is_open = PQstatus(link->connection) == CONNECTION_OK ? set_up(link, &link->down)
                                                              : fail(link, PQerrorMessage(link->connection), &link->down);
    if (!is_open) {
        pglink_close(link);
        link->rest_until_ms = clock_mono_ms() + LINK_REST_MS;
        return error_set(error, "%s", link->down.text);
    }
    return true;
}

static void expect(struct pglink *link, enum pg_statement statement, bool is_prepare, pglink_rows_fn *fn, void *arg)
{
    if (link->wait_count == link->wait_capacity) {
        link->wait_capacity = link->wait_capacity ? 2 * link->wait_capacity : 32;
        link->waits = mem_resize(link->waits, link->wait_capacity * sizeof *link->waits);
    }
    link->waits[link->wait_count++] = (struct pglink_wait){statement, is_prepare, fn, arg};
}

void pglink_send(struct pglink *link, enum pg_statement statement, struct pg_params *params, pglink_rows_fn *fn, void *arg)
{
    static const struct pg_params none;
    const struct pg_params *p = params ? params : &none;
    const char *values[PARAMS_MAX];
    int lengths[PARAMS_MAX], formats[PARAMS_MAX];
    char name[16];
    (void)snprintf(name, sizeof name, "s%d", statement);
    for (int i = 0; i < p->count; i++) {
        values[i] = p->items[i].size < 0 ? NULL : p->bytes.size ? p->bytes.data + p->items[i].offset : "";
        lengths[i] = p->items[i].size;
        formats[i] = 1;
    }
    /* A connection that is not there, or refuses, is found out by pglink_run(). */
    if (link->connection && PQpipelineStatus(link->connection) == PQ_PIPELINE_OFF)
        (void)PQenterPipelineMode(link->connection);
    if (link->connection && !link->is_prepared[statement]
        && PQsendPrepare(link->connection, name, pg_statement_texts[statement], 0, NULL) == 1)
        expect(link, statement, true, NULL, NULL);
    if (link->connection && PQsendQueryPrepared(link->connection, name, p->count, values, lengths, formats, 1) == 1) {
        expect(link, statement, false, fn, arg);
        link->is_prepared[statement] = true; /* it fails as a whole flight, or not */
    }
    link->statements++;
    if (params) {
        buf_clear(&params->bytes);
        params->count = 0;
    }
}

/* One statement's result and the NULL behind it; false when the connection broke. */
static bool read_one(struct pglink *link, const struct pglink_wait *wait, bool *is_failed, struct error *error)
{
    for (;;) {
        if (!wait_ready(link, error))
            return false;
        PGresult *result = PQgetResult(link->connection);
        if (!result)
            return true;
        ExecStatusType status = PQresultStatus(result);
        bool is_fine = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
        if (!is_fine && !*is_failed && status != PGRES_PIPELINE_ABORTED) {
            *is_failed = true;
            (void)refused(link, result, error);
        }
        if (is_fine && wait->fn)
            wait->fn(wait->arg, result);
        if (!is_fine && wait->is_prepare)
            link->is_prepared[wait->statement] = false;
        PQclear(result);
        if (PQstatus(link->connection) != CONNECTION_OK) {
            pglink_close(link);
            return false;
        }
    }
}

static bool read_sync(struct pglink *link, struct error *error)
{
    if (!wait_ready(link, error))
        return false;
    PGresult *result = PQgetResult(link->connection);
    bool is_sync = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    PQclear(result);
    return is_sync || broke(link, "an answer came that was not expected", error);
}

bool pglink_run(struct pglink *link, struct error *error)
{
    bool is_failed = false;
    struct error first;
    if (!link->connection)
        return error_set(error, "%s: there is no connection", link->name);
    if (PQpipelineSync(link->connection) != 1)
        return broke(link, PQerrorMessage(link->connection), error);
    link->round_trips++;
    size_t count = link->wait_count;
    for (size_t i = 0; i < count; i++) {
        struct pglink_wait wait = link->waits[i];
        if (!read_one(link, &wait, &is_failed, &first))
            return error_set(error, "%s", first.text);
    }
    if (!read_sync(link, is_failed ? NULL : &first)) {
        if (!is_failed)
            return error_set(error, "%s", first.text);
    }
    link->wait_count = 0;
    return !is_failed || error_set(error, "%s", first.text);
}

void pglink_end_orphans(struct pglink *link)
{
    struct pg_params params = {0};
    if (!pglink_is_open(link) || strcmp(link->sqlstate, QUERY_CANCELED) != 0)
        return;
    params_number(&params, 2 * link->place->timeout_ms);
    pglink_send(link, PG_END_ORPHANS, &params, NULL, NULL);
    (void)pglink_run(link, NULL); /* where the database can't do that its own time-outs have to */
    buf_finish(&params.bytes);
}
