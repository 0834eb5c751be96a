-- Version 2: what the folder that a message was dropped in says of it; keys that count once; counters that outlive a restart.

ALTER TABLE message ADD COLUMN policy; -- blank-separated words: folder=shop source=newsletter window=… (store/policy.h)

-- X-Idempotency-Key and its like: who has the key already.
CREATE TABLE once (
    key         PRIMARY KEY,
    id          INTEGER NOT NULL,     -- of the first message
    until_ms    INTEGER NOT NULL      -- then it is forgotten
) WITHOUT ROWID;
CREATE INDEX once_until ON once (until_ms);

-- Counters of folders: quotas, rates.
CREATE TABLE usage (
    name        PRIMARY KEY,
    since_ms    INTEGER NOT NULL,
    count       INTEGER NOT NULL
) WITHOUT ROWID;
