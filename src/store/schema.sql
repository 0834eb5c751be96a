-- The queue, version 1 (PRAGMA user_version). Times are Unix milliseconds; texts are TEXT, or BLOB when their octets
-- are no UTF-8. Look at it with `sqlite3 queue.db`; change it with `mailroot queue` only.

CREATE TABLE message (
    id          INTEGER PRIMARY KEY,  -- printf('%016x', id) is the queue id that people see
    arrived_ms  INTEGER NOT NULL,
    sender      NOT NULL,             -- '' is the null sender
    envid,
    auth,
    ret         INTEGER NOT NULL,     -- 0 not given, 1 FULL, 2 HDRS
    flags       INTEGER NOT NULL,     -- 1 8-bit body, 2 SMTPUTF8, 4 a line begins with a dot, 8 8-bit header, 16 a DSN
    priority    INTEGER NOT NULL,     -- -1, 0, 1
    pickup_name,
    owner,
    message_id,
    subject,
    size        INTEGER NOT NULL,
    header_size INTEGER NOT NULL,
    in_file     INTEGER NOT NULL      -- 1: the octets are in body/ID, else in content
);

-- Apart from message, so that lists and totals don't read what was written.
CREATE TABLE content (
    id          INTEGER PRIMARY KEY,
    data        BLOB NOT NULL
);

CREATE TABLE recipient (
    message     INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    address     NOT NULL,
    domain      NOT NULL,
    orcpt,
    notify      INTEGER NOT NULL,     -- bits: 1 NEVER, 2 SUCCESS, 4 FAILURE, 8 DELAY
    state       INTEGER NOT NULL,     -- 0 queued, 1 delivered, 2 bounced, 3 expired, 4 removed, 5 held
    attempts    INTEGER NOT NULL,
    next_ms     INTEGER NOT NULL,
    last_attempt_ms INTEGER NOT NULL,
    delay_noticed   INTEGER NOT NULL,
    last_status,
    last_reply,
    last_host,
    route,                            -- 'host:port' of `mailroot queue reroute`
    priority    INTEGER NOT NULL,     -- the message's
    PRIMARY KEY (message, number)
) WITHOUT ROWID;

-- What is due, in its order: (message, number) follow by themselves.
CREATE INDEX recipient_due ON recipient (priority, next_ms) WHERE state = 0;

-- Pickup files that were taken and may still come back: what a lost unlink or rename brings is known by these.
CREATE TABLE origin (
    id          INTEGER PRIMARY KEY,  -- of the message
    inode       INTEGER NOT NULL,
    born_ns     INTEGER NOT NULL      -- birth time of the file, Unix nanoseconds
);

-- The highest id that was ever given away: one row.
CREATE TABLE highest (id INTEGER NOT NULL);
INSERT INTO highest VALUES (0);
