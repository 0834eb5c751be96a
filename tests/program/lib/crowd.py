"""A queue with many messages, made by SQL: none of them is due."""
import os
import shutil
import sqlite3
import time

FILL = """
WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < :count)
INSERT INTO message (id, arrived_ms, sender, ret, flags, priority, pickup_name, message_id, subject, size, header_size, in_file)
    SELECT :first + n, :now, 'from@crowd.test', 0, 0, 0, n || '.eml', '<' || n || '@crowd.test>', 'number ' || n, 4096, 300, 0 FROM counter
"""
FILL_CONTENT = "INSERT INTO content (id, data) SELECT id, x'46726f6d3a20610d0a0d0a' FROM message"
FILL_RECIPIENTS = """
INSERT INTO recipient (message, number, address, domain, notify, state, attempts, next_ms, last_attempt_ms, delay_noticed,
                       last_status, last_reply, last_host, priority)
    SELECT id, 0, 'u' || id || '@d' || (id % :domains) || '.test', 'd' || (id % :domains) || '.test', 0, 0, 1, :due, :now, 0,
           '4.4.1', 'connection refused', 'mx.test', 0 FROM message
"""


def fill(relay, count, domains=50):
    """Puts so many messages into the queue of a relay that was started once and is stopped."""
    file = relay.root / "Queue" / "queue.db"
    now = int(time.time() * 1000)
    database = sqlite3.connect(file)
    first = now << 20
    with database:
        database.execute(FILL, {"count": count, "first": first, "now": now})
        database.execute(FILL_CONTENT)
        database.execute(FILL_RECIPIENTS, {"due": now + 86400000, "now": now, "domains": domains})
        database.execute("UPDATE highest SET id = ?", (first + count,))
    database.close()
    for name in os.listdir(file.parent):
        if os.geteuid() == 0:
            shutil.chown(file.parent / name, relay.config["user"])
