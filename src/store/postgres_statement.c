#include "store/postgres_private.h"

const char *const pg_statement_texts[PG_STATEMENT_COUNT] = {
    [PG_BEGIN] = "BEGIN ISOLATION LEVEL READ COMMITTED",
    [PG_COMMIT] = "COMMIT",
    [PG_ROLLBACK] = "ROLLBACK",
    [PG_VERSION] = "SELECT version, oldest FROM mailroot",

    [PG_ADD_MESSAGES] =
        "INSERT INTO message (" PG_MESSAGE_COLUMNS ", node, due_ms, bucket) SELECT * FROM unnest($1::bigint[], $2::bigint[],"
        " $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[],"
        " $11::bytea[], $12::bytea[], $13::bigint[], $14::bigint[], $15::bytea[], $16::bigint[], $17::bigint[],"
        " $18::bigint[])",
    [PG_ADD_CONTENTS] = "INSERT INTO content (message, part, data)"
                        " SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])",
    [PG_ADD_RECIPIENTS] =
        "INSERT INTO recipient (" RECIPIENT_COLUMNS ") SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[],"
        " $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],"
        " $12::bytea[], $13::bytea[], $14::bytea[], $15::bytea[], $16::bigint[])",
    [PG_ADD_ORIGINS] = "INSERT INTO origin (owner, id, inode, born_ns)"
                       " SELECT $1::bytea, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[])",
    [PG_DROP_ORIGINS] = "DELETE FROM origin o USING unnest($2::bigint[], $3::bigint[]) AS d(first, last)"
                        " WHERE o.owner = $1::bytea AND o.id BETWEEN d.first AND d.last",
    [PG_EACH_ORIGIN] = "SELECT id, inode, born_ns FROM origin WHERE owner = $1::bytea ORDER BY id",

    [PG_FORGET_ONCE] = "DELETE FROM once WHERE until_ms <= $1::bigint",
    [PG_ADD_ONCE] = "INSERT INTO once (key, id, until_ms) VALUES ($1::bytea, $2::bigint, $3::bigint)"
                    " ON CONFLICT (key) DO NOTHING",
    [PG_FIND_ONCE] = "SELECT id FROM once WHERE key = $1::bytea",
    [PG_EACH_ONCE] = "SELECT key, id, until_ms FROM once WHERE key > $1::bytea ORDER BY key LIMIT $2::bigint",
    [PG_SET_USAGE] = "INSERT INTO usage (owner, name, since_ms, count) VALUES ($1::bytea, $2::bytea, $3::bigint, $4::bigint)"
                     " ON CONFLICT (owner, name) DO UPDATE SET since_ms = excluded.since_ms, count = excluded.count",
    [PG_EACH_USAGE] = "SELECT name, since_ms, count FROM usage WHERE owner = $1::bytea ORDER BY name",

    [PG_READ_HIGHEST] = "SELECT max(highest) FROM slot",
    [PG_RAISE_HIGHEST] = "UPDATE slot SET highest = $2::bigint WHERE slot = $1::bigint AND highest < $2::bigint",
    [PG_NUMBER_BATCH] =
        "WITH mine AS (UPDATE slot SET batch = $3::bigint, highest = CASE WHEN highest < $4::bigint THEN $4::bigint ELSE highest"
        " END WHERE slot = $1::bigint AND node = $2::bigint AND batch = $3::bigint - 1 RETURNING 1)"
        " SELECT " EXACTLY_ONE " FROM mine",
    [PG_LOOK_UP_BATCH] = "SELECT batch FROM slot WHERE slot = $1::bigint AND node = $2::bigint FOR UPDATE",
    [PG_CLOSE_BATCH] = "UPDATE slot SET batch = $3::bigint WHERE slot = $1::bigint AND node = $2::bigint",

    /* A final state stays, and what was held while it was tried stays held when it is to be tried again. */
    [PG_SETTLE] =
        "UPDATE recipient r SET state = CASE WHEN r.state = 5 AND s.state = 0 THEN 5 ELSE s.state END, attempts = s.attempts,"
        " next_ms = s.next_ms, last_attempt_ms = s.last_attempt_ms, delay_noticed = s.delay_noticed,"
        " last_status = s.status, last_reply = s.reply, last_host = s.host"
        " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],"
        " $8::bytea[], $9::bytea[], $10::bytea[])"
        " AS s(message, number, state, attempts, next_ms, last_attempt_ms, delay_noticed, status, reply, host)"
        " WHERE r.message = s.message AND r.number = s.number AND r.state IN (0, 5)",
    [PG_END_CONTENT] = "DELETE FROM content WHERE message = ANY($1::bigint[])",
    [PG_END_RECIPIENTS] = "DELETE FROM recipient WHERE message = ANY($1::bigint[])",
    [PG_END_MESSAGES] = "DELETE FROM message WHERE id = ANY($1::bigint[])",
    [PG_FINISH_MESSAGES] =
        "DELETE FROM message m WHERE m.id = ANY($1::bigint[])"
        " AND NOT EXISTS (SELECT 1 FROM recipient r WHERE r.message = m.id AND r.state IN (0, 5))",
    [PG_FINISH_CONTENT] = "DELETE FROM content c WHERE c.message = ANY($1::bigint[])"
                          " AND NOT EXISTS (SELECT 1 FROM message m WHERE m.id = c.message)",
    [PG_FINISH_RECIPIENTS] = "DELETE FROM recipient r WHERE r.message = ANY($1::bigint[])"
                             " AND NOT EXISTS (SELECT 1 FROM message m WHERE m.id = r.message)",
    [PG_REFRESH] =
        "UPDATE message m SET due_ms = (SELECT min(r.next_ms) FROM recipient r WHERE r.message = m.id AND r.state = 0)"
        " WHERE m.id = ANY($1::bigint[]) RETURNING m.id",
    [PG_CHANGE] = "UPDATE recipient r SET state = coalesce(c.state, r.state), next_ms = coalesce(c.next_ms, r.next_ms),"
                  " route = coalesce(c.route, r.route)"
                  " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])"
                  " AS c(message, number, state, next_ms, route) WHERE r.message = c.message AND r.number = c.number",

    [PG_NEXT_DUE] = "SELECT min(due_ms) FROM (SELECT (SELECT due_ms FROM message WHERE node = 0 AND priority = p.priority"
                    " AND due_ms > $1::bigint ORDER BY due_ms LIMIT 1) AS due_ms"
                    " FROM (VALUES (-1::bigint), (0::bigint), (1::bigint)) AS p(priority)) AS d",
    [PG_READ_MESSAGE] = "SELECT " PG_MESSAGE_COLUMNS " FROM message WHERE id = $1::bigint",
    [PG_READ_PARTS] = "SELECT data FROM content WHERE message = $1::bigint AND part >= $2::bigint AND part < $3::bigint"
                      " ORDER BY part",
    [PG_READ_RECIPIENTS] = "SELECT " RECIPIENT_COLUMNS " FROM recipient WHERE message = $1::bigint ORDER BY number",
    [PG_READ_PAGE] = "SELECT " PG_MESSAGE_COLUMNS " FROM message WHERE id > $1::bigint ORDER BY id LIMIT $2::bigint",
    [PG_READ_PAGE_RECIPIENTS] =
        "SELECT " RECIPIENT_COLUMNS " FROM recipient WHERE message = ANY(ARRAY(SELECT id FROM message WHERE id > $1::bigint"
        " ORDER BY id LIMIT $2::bigint)) ORDER BY message, number",
    [PG_TOTAL_MESSAGES] = "SELECT count(*), coalesce(sum(size), 0)::bigint, coalesce(min(arrived_ms), 0) FROM message",
    [PG_TOTAL_RECIPIENTS] =
        "SELECT count(*), count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 5),"
        " count(*) FILTER (WHERE state = 0 AND next_ms <= $1::bigint) FROM recipient",
    [PG_NOTIFY] = "SELECT pg_notify('mailroot', convert_from($1::bytea, 'UTF8'))",

    /* No message has come whole for that long in the middle of a transaction. */
    [PG_END_ORPHANS] = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = current_user AND datname = current_database()"
                       " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND wait_event = 'ClientRead'"
                       " AND query_start < clock_timestamp() - $1::bigint * interval '1 millisecond'",

    [PG_JOIN_NUMBER] = "UPDATE mailroot SET last_node = last_node + 1 WHERE oldest <= $1::bigint RETURNING last_node",
    [PG_JOIN_FIND] = "SELECT id, root, expires_ms - " DATABASE_MS " FROM node WHERE name = $1::bytea FOR UPDATE",
    [PG_JOIN_SLOT] = "SELECT slot, batch, highest FROM slot WHERE node = 0 AND slot > 0 ORDER BY slot LIMIT 1 FOR UPDATE",
    [PG_JOIN_NEW_SLOT] = "INSERT INTO slot (slot, node, batch, highest) SELECT max(slot) + 1, 0, 0, 0 FROM slot",
    [PG_JOIN_TAKE_SLOT] = "UPDATE slot SET node = $2::bigint WHERE slot = $1::bigint",
    [PG_JOIN_ADD] = "INSERT INTO node VALUES ($1::bigint, $2::bytea, $3::bytea, $4::bigint, " DATABASE_MS ", " DATABASE_MS
                    " + $5::bigint, 0, $1::bigint, $6::bytea, 0, 0, 0, 0, 0)",
    [PG_RENEW] =
        "UPDATE node SET expires_ms = " DATABASE_MS " + $2::bigint, room_for = $3::bigint, connections = $4::bigint,"
        " active = $5::bigint, delivered = $6::bigint, deferred = $7::bigint, bounced = $8::bigint"
        " WHERE id = $1::bigint RETURNING id",
    [PG_MEMBERS] = "SELECT id, room_for FROM node ORDER BY id",
    [PG_EACH_NODE] = "SELECT n.id, n.name, n.version, n.joined_ms, n.expires_ms - " DATABASE_MS ","
                     " (SELECT count(*) FROM message m WHERE m.node = n.id AND m.node <> 0),"
                     " n.connections, n.active, n.delivered, n.deferred, n.bounced FROM node n ORDER BY n.name",
    /* One whose lease is over. A node that is just renewing it, or claiming, is passed over: it lives. */
    [PG_STALE] = "SELECT id, name FROM node WHERE expires_ms < " DATABASE_MS " AND id <> $1::bigint ORDER BY id LIMIT 1"
                 " FOR UPDATE SKIP LOCKED",
    [PG_FENCE_NODE] = "DELETE FROM node WHERE id = $1::bigint",
    [PG_FENCE_SLOT] = "UPDATE slot SET node = 0, batch = 0 WHERE node = $1::bigint",
    [PG_FENCE_CLAIMS] = "UPDATE message SET node = 0 WHERE node = $1::bigint AND node <> 0",

    /* Nobody can fence this node off, nor has, before the transaction ends; and see PG_NUMBER_BATCH. */
    [PG_NUMBER_CLAIM] = "WITH mine AS (UPDATE node SET claims = $2::bigint WHERE id = $1::bigint AND claims = $2::bigint - 1"
                        " RETURNING 1) SELECT " EXACTLY_ONE " FROM mine",
    [PG_CLOSE_CLAIM] = "UPDATE node SET claims = $2::bigint WHERE id = $1::bigint",
    [PG_DROP_CLAIM] = "UPDATE message SET node = 0 WHERE node = $1::bigint AND node <> 0 AND claim = $2::bigint",
    [PG_CLAIM] =
        "UPDATE message SET node = $1::bigint, claim = $8::bigint WHERE id = ANY(ARRAY(SELECT id FROM message WHERE node = 0"
        " AND priority = $2::bigint AND due_ms <= $3::bigint AND (bucket = ANY($4::bigint[]) OR due_ms <= $5::bigint)"
        " AND NOT (bucket = ANY($6::bigint[])) ORDER BY due_ms, id LIMIT $7::bigint FOR UPDATE SKIP LOCKED))"
        " RETURNING " PG_MESSAGE_COLUMNS,
    [PG_CLAIM_RECIPIENTS] = "SELECT " RECIPIENT_COLUMNS " FROM recipient WHERE message = ANY($1::bigint[])"
                            " ORDER BY message, number",
    [PG_CLAIM_CONTENT] = "SELECT message, data FROM content WHERE message = ANY($1::bigint[]) AND part = 0 ORDER BY message",
    [PG_RELEASE] = "UPDATE message SET node = 0 WHERE id = ANY($1::bigint[]) AND node = $2::bigint",
};
