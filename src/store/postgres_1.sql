-- The shared queue, version 1 (table mailroot). Times are Unix milliseconds; texts are bytea, as they came. Only what
-- PostgreSQL, CockroachDB and YugabyteDB share; postgres_schema.c adds what only PostgreSQL has.

-- One row: the schema's version, the oldest version of mailroot's schema that can still work with it, the last node's id.
CREATE TABLE mailroot (
    version     bigint NOT NULL,
    oldest      bigint NOT NULL,
    last_node   bigint NOT NULL
);
INSERT INTO mailroot VALUES (1, 1, 0);

CREATE TABLE message (
    id          bigint PRIMARY KEY,   -- as 16 hexadecimal digits it is the queue id that people see
    arrived_ms  bigint NOT NULL,
    sender      bytea NOT NULL,       -- '' is the null sender
    envid       bytea,
    auth        bytea,
    ret         bigint NOT NULL,
    flags       bigint NOT NULL,
    priority    bigint NOT NULL,      -- -1, 0, 1
    pickup_name bytea,
    owner       bytea,
    message_id  bytea,
    subject     bytea,
    size        bigint NOT NULL,
    header_size bigint NOT NULL,
    policy      bytea,
    node        bigint NOT NULL,      -- who has it in memory and sends it: node.id; 0 nobody
    claim       bigint NOT NULL DEFAULT 0, -- which of that node's claims it came with; 0: with its own commit
    due_ms      bigint,               -- the earliest next_ms of its queued recipients; NULL: none is queued
    bucket      bigint NOT NULL       -- 0 to 255, of its first queued recipient's domain: which node takes it rather
);
-- What can be claimed. Mail that the node that took it in sends at once is never in it.
CREATE INDEX message_due ON message (priority, due_ms, id) WHERE node = 0;
CREATE INDEX message_claimed ON message (node) WHERE node <> 0;

-- The octets, in parts of 256 KiB.
CREATE TABLE content (
    message     bigint NOT NULL,
    part        bigint NOT NULL,
    data        bytea NOT NULL,
    PRIMARY KEY (message, part)
);

CREATE TABLE recipient (
    message     bigint NOT NULL,
    number      bigint NOT NULL,
    address     bytea NOT NULL,
    domain      bytea NOT NULL,
    orcpt       bytea,
    notify      bigint NOT NULL,
    state       bigint NOT NULL,      -- 0 queued, 1 delivered, 2 bounced, 3 expired, 4 removed, 5 held
    attempts    bigint NOT NULL,
    next_ms     bigint NOT NULL,
    last_attempt_ms bigint NOT NULL,
    delay_noticed   bigint NOT NULL,
    last_status bytea,
    last_reply  bytea,
    last_host   bytea,
    route       bytea,
    priority    bigint NOT NULL,
    PRIMARY KEY (message, number)
);

-- Pickup files that were taken and may still come back, by the name of the node whose folder they lie in.
CREATE TABLE origin (
    owner       bytea NOT NULL,
    id          bigint NOT NULL,
    inode       bigint NOT NULL,
    born_ns     bigint NOT NULL,
    PRIMARY KEY (owner, id)
);

CREATE TABLE once (
    key         bytea PRIMARY KEY,
    id          bigint NOT NULL,
    until_ms    bigint NOT NULL
);
CREATE INDEX once_until ON once (until_ms);

CREATE TABLE usage (
    owner       bytea NOT NULL,
    name        bytea NOT NULL,
    since_ms    bigint NOT NULL,
    count       bigint NOT NULL,
    PRIMARY KEY (owner, name)
);

-- A place in the cluster: its number is the end of the ids that its holder gives away; `batch` numbers its transactions. A
-- transaction that does not find its own number has been fenced off. Slot 0 is for commands.
CREATE TABLE slot (
    slot        bigint PRIMARY KEY,
    node        bigint NOT NULL,
    batch       bigint NOT NULL,
    highest     bigint NOT NULL       -- the highest id given away
);
INSERT INTO slot VALUES (0, 0, 0, 0);

-- Who is alive: a node that stays away longer than its lease loses its row, and with it its claims.
CREATE TABLE node (
    id          bigint PRIMARY KEY,   -- a new one each time it joins
    name        bytea NOT NULL UNIQUE,
    root        bytea NOT NULL,       -- tells its folder from another machine's of the same name
    slot        bigint NOT NULL,
    joined_ms   bigint NOT NULL,
    expires_ms  bigint NOT NULL,
    claims      bigint NOT NULL,      -- how many times it has claimed
    room_for    bigint NOT NULL,      -- it counts every node up to this id when it shares limits out
    version     bytea NOT NULL,
    connections bigint NOT NULL,
    active      bigint NOT NULL,
    delivered   bigint NOT NULL,
    deferred    bigint NOT NULL,
    bounced     bigint NOT NULL
);
