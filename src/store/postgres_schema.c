#include "store/postgres_private.h"

#include "store/postgres_1.h" /* made from postgres_1.sql */

#include <stdio.h>

enum { ATTEMPTS = 3 };

/* Version N is made from N-1 by row N-1, while nodes of the versions from `oldest` on go on working: rows only add tables,
 * or columns with defaults. Never change one that was released. */
static const char *const migrations[PG_SCHEMA_VERSION] = {postgres_1};

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

/* In one transaction: after a crash the queue has the old version or the new one. Two nodes that do it at once: one of them
 * waits at the row, or fails at the first table, and looks again. */
static bool migrate(struct pglink *link, int64_t from, struct error *error)
{
    char sql[96];
    bool is_done = pglink_execute(link, "BEGIN", error);
    if (is_done && from > 0)
        is_done = pglink_execute(link, "SELECT version FROM mailroot FOR UPDATE", error);
    for (int64_t version = from; is_done && version < PG_SCHEMA_VERSION; version++)
        is_done = pglink_execute(link, migrations[version], error);
    (void)snprintf(sql, sizeof sql, "UPDATE mailroot SET version = %d", PG_SCHEMA_VERSION);
    is_done = is_done && pglink_execute(link, sql, error) && pglink_execute(link, "COMMIT", error);
    if (!is_done && pglink_is_open(link))
        (void)pglink_execute(link, "ROLLBACK", NULL);
    for (size_t i = 0; is_done && i < COUNT_OF(tunings); i++)
        (void)pglink_execute(link, tunings[i], NULL);
    return is_done;
}

bool schema_prepare(struct pglink *link, enum store_mode mode, struct error *error)
{
    struct versions versions;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (!look(link, &versions, error))
            return false;
        if (versions.oldest > PG_SCHEMA_VERSION)
            return error_set(error, "%s: made for a newer mailroot (schema %lld, this one knows %d): install that version",
                             link->name, (long long)versions.version, PG_SCHEMA_VERSION);
        if (versions.version >= PG_SCHEMA_VERSION)
            return true;
        if (mode == STORE_READER && versions.version == 0)
            return error_set(error, "%s: no queue here yet: `mailroot run` makes it", link->name);
        if (mode == STORE_READER)
            return error_set(error, "%s: made by an older mailroot (schema %lld) and not yet migrated: `mailroot run` does it",
                             link->name, (long long)versions.version);
        if (migrate(link, versions.version, error))
            return true;
    }
    return false;
}
