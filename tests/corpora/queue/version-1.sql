-- A queue of schema version 1 with one message, as mailroot 0.1.0 left it: `sqlite3 queue.db < version-1.sql` makes it.
PRAGMA application_id = 1298222194;
BEGIN;
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

INSERT INTO message VALUES (1882854078613028864, 1795493880000, 'app@sender.test', NULL, NULL, 0, 0, 0, 'old.eml', 'root', '<old@sender.test>', 'an old one', 224, 203, 0);
INSERT INTO content VALUES (1882854078613028864, X'52656365697665643a2062792072656c61792e7465737420286d61696c726f6f74293b205475652c203234204e6f7620323032362030343a31383a3030202b303030300d0a46726f6d3a206170704073656e6465722e746573740d0a546f3a206f6c64406661722e746573740d0a5375626a6563743a20616e206f6c64206f6e650d0a446174653a205475652c203234204e6f7620323032362030343a31383a3030202b303030300d0a4d6573736167652d49443a203c6f6c644073656e6465722e746573743e0d0a0d0a66726f6d20616e206f6c6465722071756575650d0a');
INSERT INTO recipient VALUES (1882854078613028864, 0, 'old@far.test', 'far.test', NULL, 0, 0, 0, 1795493880000, 0, 0, NULL, NULL, NULL, NULL, 0);
INSERT INTO origin VALUES (1882854078613028864, 12345, 1795493880000000000);
UPDATE highest SET id = 1882854078613028864;
COMMIT;
PRAGMA user_version = 1;
