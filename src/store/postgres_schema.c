#include "store/postgres_private.h"

#include <stdio.h>
#include <time.h>

enum { ATTEMPTS = 10, AGAIN_NS = 200 * 1000 * 1000, LOCK_WAIT_MS = 1000 };

/* What makes it faster where it is known: bodies are not looked at by pglz, rows that come and go are cleaned up often. */
static const char *const tunings[] = {
    "ALTER TABLE content ALTER COLUMN data SET STORAGE EXTERNAL",
    "ALTER TABLE message SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05)",
    "ALTER TABLE recipient SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05)",
    "ALTER TABLE content SET (autovacuum_vacuum_scale_factor = 0.05)",
    "ALTER TABLE origin SET (autovacuum_vacuum_scale_factor = 0.05)",
    "ALTER TABLE slot SET (fillfactor = 20)",
};

struct versions { int64_t version, oldest; bool is_there; };

static void read_versions(void *arg, const PGresult *rows)
{
    struct versions *versions = arg;
    versions->is_there = PQntuples(rows) == 1;
    if (versions->is_there)
        *versions = (struct versions){row_number(rows, 0, 0), row_number(rows, 0, 1), true};
}

/* No table at all is version 0. */
static bool look(struct pglink *link, struct versions *ret_versions, struct error *error)
{
    *ret_versions = (struct versions){0};
    pglink_send(link, PG_VERSION, NULL, read_versions, ret_versions);
    if (pglink_run(link, error))
        return ret_versions->is_there || error_set(error, "%s: table mailroot is empty: another program's?", link->name);
    return strcmp(link->sqlstate, "42P01") == 0;
}

/* A step that older nodes can't work with waits until none lives. None can join meanwhile: that needs mailroot's row, too. */
static bool nobody_is_too_old(struct pglink *link, struct error *error)
{
    if (pglink_execute(link, "SELECT " EXACTLY_NONE " FROM node WHERE expires_ms > " DATABASE_MS, error))
        return true;
    return strcmp(link->sqlstate, DIVISION_BY_ZERO) != 0 ? false
           : error_set(error, "%s: nodes of an older mailroot work with that queue, and this one's schema is not for them: stop them first",
                       link->name);
}

static bool apply_steps(struct pglink *link, const struct versions *from, const struct schema_steps *steps, struct error *error)
{
    char sql[96];
    int64_t oldest = from->oldest;
    for (size_t version = (size_t)from->version; version < steps->count; version++) {
        bool is_breaking = from->version > 0 && steps->steps[version].oldest > from->version;
        if ((is_breaking && !nobody_is_too_old(link, error)) || !pglink_execute(link, steps->steps[version].sql, error))
            return false;
        oldest = steps->steps[version].oldest;
    }
    (void)snprintf(sql, sizeof sql, "UPDATE mailroot SET version = %zu, oldest = %lld", steps->count, (long long)oldest);
    return pglink_execute(link, sql, error);
}

/* In one transaction: after a crash the queue has the old version or the new one. Two nodes that do it at once: one of them
 * waits at the row, or fails at the first table, and looks again. */
static bool migrate(struct pglink *link, const struct versions *from, const struct schema_steps *steps, struct error *error)
{
    char sql[96];
    /* A table that is changed is waited for in front of all others: they are not kept for long. */
    (void)snprintf(sql, sizeof sql, "SET lock_timeout = %d", LOCK_WAIT_MS);
    (void)pglink_execute(link, sql, NULL);
    bool is_done = pglink_execute(link, "BEGIN", error);
    if (is_done && from->version > 0)
        is_done = pglink_execute(link, "SELECT version FROM mailroot FOR UPDATE", error);
    is_done = is_done && apply_steps(link, from, steps, error) && pglink_execute(link, "COMMIT", error);
    if (!is_done && pglink_is_open(link))
        (void)pglink_execute(link, "ROLLBACK", NULL);
    for (size_t i = 0; is_done && i < COUNT_OF(tunings); i++)
        (void)pglink_execute(link, tunings[i], NULL);
    if (pglink_is_open(link))
        (void)pglink_execute(link, "SET lock_timeout = 0", NULL);
    return is_done;
}

bool schema_too_new(struct pglink *link, int64_t version, const struct schema_steps *steps, struct error *error)
{
    link->is_too_new = true;
    return error_set(error, "%s: made for a newer mailroot (schema %lld, this one knows %zu): install that version", link->name,
                     (long long)version, steps->count);
}

static bool may_migrate(const struct pglink *link, enum store_mode mode, const struct versions *versions, struct error *error)
{
    if (mode == STORE_WRITER)
        return true;
    if (versions->version == 0)
        return error_set(error, "%s: no queue here yet: `mailroot run` makes it", link->name);
    return error_set(error, "%s: made by an older mailroot (schema %lld) and not yet migrated: `mailroot run` does it", link->name,
                     (long long)versions->version);
}

bool schema_prepare(struct pglink *link, enum store_mode mode, const struct schema_steps *steps, struct error *error)
{
    static const struct timespec again = {.tv_nsec = AGAIN_NS};
    struct versions versions;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (!pglink_open(link, error) || !look(link, &versions, error))
            return false;
        if (versions.oldest > (int64_t)steps->count)
            return schema_too_new(link, versions.version, steps, error);
        if (versions.version >= (int64_t)steps->count)
            return true;
        if (!may_migrate(link, mode, &versions, error))
            return false;
        if (migrate(link, &versions, steps, error))
            return true;
        if (strcmp(link->sqlstate, DIVISION_BY_ZERO) == 0)
            return false;
        (void)nanosleep(&again, NULL);
    }
    return false;
}
