"""A deep queue, made in a moment: rows as the relay would have written them."""
import sqlite3
import time

DEEP = "WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < :count)"
MESSAGES = DEEP + """ INSERT INTO message (id, arrived_ms, sender, ret, flags, priority, pickup_name, size, header_size, in_file)
 SELECT (:now_ms - :count + i) << 20, :now_ms - :count + i, 'a@relay.test', 0, 0, 0, i || '.eml', 4096, 200, 0 FROM number"""
CONTENTS = DEEP + " INSERT INTO content SELECT (:now_ms - :count + i) << 20, zeroblob(100) FROM number"
RECIPIENTS = DEEP + """ INSERT INTO recipient (message, number, address, domain, notify, state, attempts, next_ms, last_attempt_ms,
 delay_noticed, last_status, last_reply, last_host, priority)
 SELECT (:now_ms - :count + i) << 20, 0, 'u' || i || '@d' || (i % :destinations) || '.test', 'd' || (i % :destinations) || '.test', 0, 0, 1,
 :now_ms + 86400000, :now_ms - 1000, 0, '4.4.1', 'connection refused', 'mx.test', 0 FROM number"""


def deepen(relay, count, destinations):
    """Messages that wait for a retry tomorrow in the queue of a relay that does not run."""
    values = {"count": count, "now_ms": int(time.time() * 1000), "destinations": destinations}
    connection = sqlite3.connect(relay.root / "Queue" / "queue.db")
    for statement in (MESSAGES, CONTENTS, RECIPIENTS):
        connection.execute(statement, values)
    connection.commit()
    connection.close()
