"""Nodes that share a queue on PostgreSQL, beside the embedded queue (docs/cluster.md). The database, the sink and all nodes share this
machine: what is measured is the sum of their processor time."""
import os

from lib.pgproxy import PostgresProxy
from lib.postgres import NO_SERVER, Postgres
from places import Place, Watch, message, say

NODES = (1, 2, 4)
DEPTHS = (100000, 1000000)
FILLED_AT_ONCE = 100000
FILL = """
INSERT INTO message SELECT n, 0, 'a@b', NULL, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, 1000, 100, NULL, 0, 0, 9000000000000000, n % 256
  FROM generate_series({first}, {last}) AS n;
INSERT INTO recipient SELECT n, 0, 'c@d', 'd', NULL, 0, 0, 1, 9000000000000000, 0, 0, NULL, NULL, NULL, NULL, 0
  FROM generate_series({first}, {last}) AS n;
INSERT INTO content SELECT n, 0, repeat('x', 1000)::bytea FROM generate_series({first}, {last}) AS n"""


def work(database):
    """Commits, and octets of WAL."""
    return (database.number("SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'"),
            database.number("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"))


def drain(count, nodes, url=None):
    """Messages a second, all in Pickup folders at the start, to the last one at the sink."""
    place = Place()
    relays = [place.relay(**({"store": url, "node": f"n{number}"} if url else {})) for number in range(nodes)]
    for number in range(count):
        relays[number % nodes].drop(f"m{number}.eml", message(number))
    watch = Watch()
    for relay in relays:
        relay.start(wait=False)
    place.sink.wait_lines(count, 600)
    rate = round(watch.rate(count))
    for relay in relays:
        relay.close()
    place.close()
    return rate


def costs(count, database):
    """Of one node, for each message: commits and WAL at full speed; statements and round trips as a proxy counts them."""
    before = work(database)
    rate = drain(count, 1, database.url)
    commits, octets = [now - then for now, then in zip(work(database), before)]
    proxy = PostgresProxy(database)
    drain(count, 1, proxy.url)
    proxy.close()
    return rate, {"commits_a_message": round(commits / count, 3), "wal_octets_a_message": round(octets / count),
                  "statements_a_message": round((proxy.counts[b"B"] + proxy.counts[b"Q"]) / count, 3),
                  "round_trips_a_message": round((proxy.counts[b"S"] + proxy.counts[b"Q"]) / count, 3)}


def fill_to(database, depth, before):
    for first in range(before + 1, depth + 1, FILLED_AT_ONCE):
        database.sql(FILL.format(first=first, last=min(depth, first + FILLED_AT_ONCE - 1)))
    database.sql("ANALYZE")
    database.sql("CHECKPOINT")


def clusters(count, depths=DEPTHS):
    """sqlite; nodes_N; what a message costs; depth_N: one node beside N messages that are not due."""
    if NO_SERVER:
        return None
    found = {"messages": count, "load_before": round(os.getloadavg()[0], 1), "sqlite": drain(count, 1)}
    for nodes in NODES:
        say(f"  {nodes} nodes")
        database = Postgres(["fsync=on"])
        if nodes == 1:
            found["nodes_1"], of_one = costs(count, database)
            found |= of_one
        else:
            found[f"nodes_{nodes}"] = drain(count, nodes, database.url)
        database.close()
    database, before = Postgres(["fsync=on"]), 0
    drain(count // 10 + 1, 1, database.url)  # makes the tables
    for depth in depths:
        say(f"  {depth} wait")
        fill_to(database, depth, before)
        found[f"depth_{depth}"], before = drain(count, 1, database.url), depth
    database.close()
    return found
