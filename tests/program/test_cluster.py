"""Nodes that share a queue on PostgreSQL."""
import collections
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess

import pytest

from conftest import everything_to, maker
from lib.collector import Collector
from lib.browser import browse, needs_browser
from lib.pgproxy import PostgresProxy
from lib.postgres import NO_SERVER, WHY, Postgres
from lib.relay import BINARY, merge
from lib.watch import wait_until
from lib.web import Web, web_config

pytestmark = pytest.mark.skipif(NO_SERVER, reason=WHY)
make_postgres = maker(Postgres)
make_collector = maker(Collector)
make_proxy = maker(PostgresProxy)

SHORT = {"lease": "3s", "poll": "200ms", "timeout": "1s"}


def message(number, to="b@dest.test"):
    return f"X-Sender: <a@relay.test>\r\nX-Receiver: <{to}>\r\nSubject: {number}\r\nX-Token: m{number}\r\n\r\nbody\r\n".encode()


@pytest.fixture
def make_node(make_relay):
    """A node of a cluster on that database, which sends everything to one server."""
    def create(database, server, name, changes=None, **options):
        config = merge(everything_to(server), {"store": getattr(database, "url", database), "node": name, "cluster": SHORT})
        return make_relay(merge(config, changes or {}), **options)
    return create


def ids_of(sink):
    """How often each message came."""
    return collections.Counter(line["token"] for line in sink.messages())


def test_one_node_takes_sends_and_forgets(make_postgres, make_sink, make_node):
    database, sink = make_postgres(), make_sink()
    node = make_node(database, sink, "a")
    for number in range(20):
        node.drop(f"{number}.eml", message(number))
    node.wait_empty()
    assert ids_of(sink) == {f"m{number}": 1 for number in range(20)}
    assert database.number("SELECT count(*) FROM message") == 0
    assert database.number("SELECT count(*) FROM content") + database.number("SELECT count(*) FROM recipient") == 0
    assert all(event["node"] == "a" for event in node.events())
    assert node.run("status", "--json", json_out=True)["queue"]["nodes"]["a"]["delivered"] >= 0


def drop_many(nodes, count):
    for number in range(count):
        nodes[number % len(nodes)].drop(f"{number}.eml", message(number))


def wait_drained(database, nodes, seconds=120):
    """Until no message is in any Pickup, nor in the database."""
    def is_empty():
        for node in nodes:
            node.check_alive()
        return (not any(node.waiting() or node.claims() for node in nodes)
                and database.sql("SELECT count(*) FROM message", check=False) == "0")
    wait_until(is_empty, seconds, what="a drained cluster")


def check_ledger(sink, count, twice_at_most):
    """None lost; sent twice at most what was in flight."""
    seen = ids_of(sink)
    lost = [number for number in range(count) if f"m{number}" not in seen]
    assert not lost, f"{len(lost)} lost, as m{lost[0]}"
    twice = sum(times - 1 for times in seen.values())
    assert twice <= twice_at_most, f"{twice} sent again, {twice_at_most} at most were in flight"
    return twice


@pytest.fixture
def make_three(make_node):
    def create(database, server, changes=None):
        return [make_node(database, server, name, changes) for name in "abc"]
    return create


def test_three_nodes_send_each_message_once(make_postgres, make_sink, make_three):
    database, sink = make_postgres(), make_sink()
    nodes = make_three(database, sink)
    drop_many(nodes, 300)
    wait_drained(database, nodes)
    assert check_ledger(sink, 300, 0) == 0
    assert {node.events("delivered")[0]["node"] for node in nodes} == {"a", "b", "c"}


def test_site_limit_holds_across_nodes(make_postgres, make_sink, make_three, make_node):
    """N6: nodes join and leave while mail is sent; a sink that allows ten never sees eleven."""
    database, sink = make_postgres(), make_sink("--latency", "20", "--threads", "1")
    limit = {"delivery": {"connections_per_site": 10, "idle_timeout": "300ms"}}
    nodes = make_three(database, sink, limit)
    drop_many(nodes, 900)
    sink.wait(200)
    fourth = make_node(database, sink, "d", limit)
    for number in range(900, 1100):
        fourth.drop(f"{number}.eml", message(number))
    sink.wait(600)
    nodes[0].stop()
    wait_drained(database, [*nodes[1:], fourth])
    check_ledger(sink, 1100, 0)
    most = sink.totals()["most_open"]
    assert 8 <= most <= 10, most


def test_node_that_is_killed_is_taken_over(make_postgres, make_sink, make_three, quick):
    database, sink = make_postgres(), make_sink("--latency", "5")
    nodes = make_three(database, sink, {"delivery": {"connections_per_site": 12}})
    count = 300 if quick else 900
    drop_many(nodes, count)
    sink.wait(count // 3)
    nodes[0].kill()
    waits = len(nodes[0].waiting()) + len(nodes[0].claims())
    wait_until(lambda: database.number("SELECT count(*) FROM node") == 2, 30, what="the take-over")
    wait_until(lambda: database.number("SELECT count(*) FROM message") == 0, 60, what="the others' work")
    nodes[0].start()  # what was in its Pickup
    wait_drained(database, nodes)
    check_ledger(sink, count, 12)
    assert any("has not renewed" in event.get("reason", "") for node in nodes[1:] for event in node.events("warning")), waits


def test_node_that_stands_still_longer_than_its_lease(make_postgres, make_sink, make_three):
    """SIGSTOP: another one has its messages when it goes on; it finds out and joins anew (N4)."""
    database, sink = make_postgres(), make_sink("--latency", "5")
    nodes = make_three(database, sink, {"delivery": {"connections_per_site": 12}})
    drop_many(nodes, 600)
    sink.wait(150)
    os.killpg(nodes[1].pid, signal.SIGSTOP)
    try:
        wait_until(lambda: database.number("SELECT count(*) FROM node WHERE name = 'b'") == 0, 30, what="the take-over")
        wait_until(lambda: database.number("SELECT count(*) FROM message") == 0, 60, what="the others' work")
    finally:
        os.killpg(nodes[1].pid, signal.SIGCONT)
    wait_until(lambda: database.number("SELECT count(*) FROM node WHERE name = 'b'") == 1, 30, what="a new start")
    wait_drained(database, nodes)
    check_ledger(sink, 600, 12)


def test_a_trace_goes_on_at_the_node_that_takes_over(make_postgres, make_server, make_node, make_collector):
    """Taken and deferred by a, which is killed; delivered by b: one trace, whose root begins with the file."""
    database, collector, server = make_postgres(), make_collector(), make_server([("RCPT", "450 4.2.0 later")])
    config = {"otlp": {"url": f"http://127.0.0.1:{collector.port}", "interval": "50ms"},
              "queue": {f"retry_{which}": "1s" for which in ("first", "second", "third", "subsequent")}}
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    first = make_node(database, server, "a", config)
    first.drop("1.eml", f"traceparent: 00-{trace}-{parent}-01\r\n".encode() + message(1))
    first.drop("2.eml", message(2))
    for name in ("1.eml", "2.eml"):
        collector.wait_span(name="attempt", mailroot__queue_id=first.wait_event("deferred", pickup=name)["id"])
    first.kill()
    server.table.clear()
    make_node(database, server, "b", config)
    for name in ("1.eml", "2.eml"):
        root = collector.wait_span(name="message", mailroot__pickup=name, seconds=60)
        take, = {span.id: span for span in collector.spans(name="take", mailroot__pickup=name)}.values()
        assert root.attributes["mailroot.node"] == "b" and (take.trace, take.parent, take.begin) == (root.trace, root.id, root.begin)
    assert [(span.trace, span.parent) for span in collector.spans(name="message", mailroot__pickup="1.eml")] == [(trace, parent)]
    collector.check()


def test_node_that_is_frozen_in_the_middle_of_a_transaction(make_postgres, make_proxy, make_sink, make_node):
    """The server waits for the rest of it, with all its locks: who takes over ends it (L6)."""
    database, sink = make_postgres(), make_sink("--latency", "5")
    proxy = make_proxy(database)
    limit = {"delivery": {"connections_per_site": 12}}
    frozen, other = make_node(proxy, sink, "a", limit), make_node(database, sink, "b", limit)
    wait_until(lambda: all(node.run("status", "--json", json_out=True)["queue"]["nodes"].keys() == {"a", "b"} for node in (frozen, other)), 20)
    for number in range(200):
        frozen.drop(f"{number}.eml", message(number))
    sink.wait(50)
    proxy.stop("COMMIT")
    wait_until(lambda: proxy.stopped, 20, what="a transaction that stands open")
    os.killpg(frozen.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: database.number("SELECT count(*) FROM node WHERE name = 'a'") == 0, 30, what="the take-over")
        wait_until(lambda: database.number("SELECT count(*) FROM message") == 0, 60, what="the other's work")
    finally:
        proxy.go_on()
        os.killpg(frozen.pid, signal.SIGCONT)
    wait_until(lambda: database.number("SELECT count(*) FROM node WHERE name = 'a'") == 1, 30, what="a new start")
    wait_drained(database, [frozen, other])
    check_ledger(sink, 200, 12)


def test_short_outage_repeats_nothing(make_postgres, make_sink, make_three):
    """Every connection is cut in the middle of commits: each is looked up, what was sent is settled (L3, N3)."""
    database, sink = make_postgres(), make_sink("--latency", "5")
    nodes = make_three(database, sink, {"cluster": {"lease": "30s"}})
    drop_many(nodes, 600)
    for share in range(1, 6):
        sink.wait(share * 80)
        database.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'mailroot %'")
    wait_drained(database, nodes)
    check_ledger(sink, 600, 0)


INTAKE, COMPLETION, CLAIM = "INSERT INTO message", "DELETE FROM message", "UPDATE message SET node = $1::bigint, claim"


@pytest.mark.parametrize("how", ["before", "after", "late", "never"])
@pytest.mark.parametrize("what", [INTAKE, COMPLETION, CLAIM])
def test_a_commit_whose_answer_is_lost(make_postgres, make_proxy, make_sink, make_node, what, how):
    """The connection breaks at a COMMIT, whatever became of it: nothing is lost, taken twice or sent twice (L3)."""
    count = 12
    database, sink = make_postgres(), make_sink()
    proxy = make_proxy(database)
    node = make_node(proxy, sink, "a", {"cluster": {"lease": "30s", "timeout": "1s" if how == "never" else "10s"}})
    proxy.cut_at(what, how, 1 if how == "never" else 3)
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for number in range(count):
        head = f"X-Deliver-At: {later}\r\n".encode() if what == CLAIM else b""
        node.drop(f"{number}.eml", head + message(number))
        if what != CLAIM:
            wait_until(lambda number=number: proxy.left == 0 or ids_of(sink)[f"m{number}"], 30, what="the message at the sink")
    wait_until(lambda: proxy.left == 0, 30, what="the cuts")
    wait_drained(database, [node])
    check_ledger(sink, count, 0)
    assert len({event["id"] for event in node.wait_events("done", count)}) == len(node.events("done")) == count
    assert proxy.committed == (0 if how in ("before", "never") else proxy.cuts), "the server did what its client heard nothing of"


@pytest.mark.parametrize("how", ["before", "after", "late", "never"])
def test_a_node_whose_joining_got_no_answer_joins_anew(make_postgres, make_proxy, make_sink, make_node, how):
    database, sink = make_postgres(), make_sink()
    proxy = make_proxy(database)
    node = make_node(proxy, sink, "a")
    node.stop()
    proxy.cut_at("UPDATE mailroot SET last_node", how)
    node.start(wait=False)
    node.wait_event("started", 60, count=2)
    assert proxy.cuts == 1
    node.send("0.eml", message(0))
    wait_drained(database, [node])
    assert database.number("SELECT count(*) FROM node") == database.number("SELECT count(*) FROM slot WHERE node <> 0") == 1
    check_ledger(sink, 1, 0)


def test_a_database_that_hangs(make_postgres, make_sink, make_three):
    """It takes connections and says nothing: what waits for it gives up in time, a node can be ended, and all goes on afterwards."""
    database, sink = make_postgres(), make_sink("--latency", "5")
    nodes = make_three(database, sink, {"delivery": {"connections_per_site": 12}})
    drop_many(nodes, 300)
    sink.wait(60)
    database.pause()
    try:
        for node in nodes:
            node.wait_event("error", 30, reason=re.compile("the lease is over"))
        before = sink.lines()
        for number in range(300, 330):
            nodes[number % 2].drop(f"{number}.eml", message(number))
        nodes[2].stop()
        assert sink.lines() == before
    finally:
        database.resume()
    nodes[2].start()
    wait_drained(database, nodes)
    check_ledger(sink, 330, 12)


def test_a_database_without_listen_and_notify(make_postgres, make_proxy, make_sink, make_node):
    """N7, as CockroachDB is: polls find what is due, who joins and leaves, and what an operator changed at another node."""
    database, sink = make_postgres(), make_sink("--latency", "5")
    proxy = make_proxy(database, {b"LISTEN mailroot": b"LISTEN", b"pg_notify(": b"pg_no_such_function("})
    nodes = [make_node(proxy, sink, name) for name in "abc"]
    drop_many(nodes, 150)
    wait_drained(database, nodes)
    check_ledger(sink, 150, 0)
    for number in range(150, 160):
        nodes[0].drop(f"{number}.eml", b"X-Deliver-At: 2099-01-01T00:00:00Z\r\n" + message(number))
    wait_until(lambda: database.number("SELECT count(*) FROM message WHERE node = 0") == 10, 30, what="mail that waits")
    assert nodes[1].run("queue", "retry", "--all", "--json", check=0, json_out=True)["count"] == 10
    wait_drained(database, nodes)
    nodes[2].kill()
    wait_until(lambda: database.number("SELECT count(*) FROM node") == 2, 30, what="the take-over")
    assert proxy.replaced >= 6, "each node has tried both"
    check_ledger(sink, 160, 0)


def test_a_key_counts_once_in_the_whole_cluster(make_postgres, make_sink, make_node):
    """The same files in the Pickup of two nodes that take them at once, in opposite orders: one mail for each key."""
    count = 40
    database, sink = make_postgres(), make_sink()
    nodes = [make_node(database, sink, name, start=False) for name in "ab"]
    for node, order in zip(nodes, (1, -1)):
        for number in range(count)[::order]:
            node.drop(f"{number if order == 1 else count - number:03}.eml", f"X-Idempotency-Key: key-{number}\r\n".encode() + message(number))
        node.start(wait=False)
    wait_until(lambda: sum(len(node.events("duplicate")) for node in nodes) >= count, 60, what="the second ones")
    wait_drained(database, nodes)
    check_ledger(sink, count, 0)
    assert len({event["id"] for node in nodes for event in node.events("duplicate")}) == count
    assert database.number("SELECT count(*) FROM once") == count


def test_large_content_is_read_beside_the_loop(make_postgres, make_proxy, make_sink, make_server, make_node):
    """What is too large to come with a claim is read by a thread: other mail goes out meanwhile, questions are answered."""
    database, sink, refuser = make_postgres(), make_sink(), make_server([("RCPT", "550 5.1.1 no")])
    proxy = make_proxy(database)
    node = make_node(proxy, sink, "a", {"cluster": {"lease": "60s", "timeout": "15s"}, "route": {
        "refused.test": {"hosts": [f"[{refuser.address}]:{refuser.port}"]}, "drop.test": {"deliver": "drop", "drop_dir": "Drop"}}})
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = (b"x" * 70 + b"\r\n") * 8000
    proxy.stop("SELECT data FROM content")
    for number, to in enumerate(("b@dest.test", "b@refused.test", "b@drop.test")):
        node.drop(f"{number}.eml", f"X-Deliver-At: {later}\r\n".encode() + message(number, to) + body)
    wait_until(lambda: proxy.stopped, 30, what="the reading of content")
    node.drop("3.eml", message(3))
    sink.wait(1)
    assert ids_of(sink) == {"m3": 1}
    assert node.status()["ok"]
    proxy.go_on()
    wait_drained(database, [node])
    assert ids_of(sink) == {"m3": 1, "m0": 1, None: 1}  # and the notice to a@relay.test
    assert node.events("notice") and node.events("bounced")[0]["to"] == "b@refused.test"
    dropped = list((node.root / "Drop").glob("*.eml"))
    assert len(dropped) == 1 and dropped[0].read_bytes().endswith(body)


def test_a_change_is_answered_when_it_is_committed_and_the_loop_goes_on(make_postgres, make_proxy, make_sink, make_node):
    database, sink = make_postgres(), make_sink()
    proxy = make_proxy(database)
    node = make_node(proxy, sink, "a", {"cluster": {"lease": "60s", "timeout": "15s"}})
    node.drop("0.eml", b"X-Deliver-At: 2099-01-01T00:00:00Z\r\n" + message(0))
    wait_until(lambda: database.number("SELECT count(*) FROM message WHERE node = 0") == 1, 30, what="mail that waits")
    proxy.stop("UPDATE recipient r SET state = coalesce")
    with concurrent.futures.ThreadPoolExecutor(1) as others:
        held = others.submit(lambda: node.run("queue", "hold", "--all", "--json", check=0, json_out=True))
        wait_until(lambda: proxy.stopped, 30, what="the change")
        assert node.status()["held"] == 0 and not held.done() and not node.events("held")
        proxy.go_on()
        assert held.result()["count"] == 1
    assert node.events("held") and database.number("SELECT state FROM recipient") == 5


def test_outage_longer_than_the_lease(make_postgres, make_sink, make_three):
    """Pickup fills, intake rests, nothing is sent; when the database is back all goes on, and nobody is taken over from (N3)."""
    database, sink = make_postgres(), make_sink("--latency", "5")
    nodes = make_three(database, sink, {"delivery": {"connections_per_site": 12}})
    drop_many(nodes, 300)
    sink.wait(60)
    database.kill()
    for node in nodes:
        node.wait_event("error", 20, reason=re.compile("the lease is over"))
    before = sink.lines()
    for number in range(300, 360):
        nodes[number % 3].drop(f"{number}.eml", message(number))
    wait_until(lambda: nodes[0].claims() or nodes[0].events("error", reason=re.compile("intake rests")), 20, what="intake tries")
    assert sink.lines() == before
    database.start()
    wait_drained(database, nodes)
    check_ledger(sink, 360, 12)
    assert not any(node.events("error", reason=re.compile("taken this one's messages over")) for node in nodes)


def test_primary_dies_and_the_standby_is_promoted(make_postgres, make_sink, make_three, open_things, quick, request):
    count = request.config.getoption("--drain") or (500 if quick else 2000)
    primary, sink = make_postgres(), make_sink("--latency", "2")
    standby = primary.standby()
    open_things.append(standby)
    url = (f"postgresql://mailroot@{primary.address}:{primary.port},{standby.address}:{standby.port}/postgres"
           "?target_session_attrs=read-write")
    nodes = make_three(url, sink, {"cluster": {"lease": "10s"}, "delivery": {"connections_per_site": 12}})
    drop_many(nodes, count)
    sink.wait(count // 3, 120)
    primary.kill()
    standby.promote()
    standby.sql("SELECT 1")
    wait_drained(standby, nodes, 300)
    twice = check_ledger(sink, count, 12)
    print(f"{count} messages, {twice} sent twice")


NEXT = BINARY + "-next"  # the same program with one more version of the schema


def make_next(make_node, database, sink, name):
    node = make_node(database, sink, name, start=False)
    node.binary = NEXT
    return node


@pytest.mark.skipif(not os.path.exists(NEXT), reason="no mailroot-next beside mailroot: only a part was built")
def test_newer_nodes_migrate_while_an_older_one_works(make_postgres, make_sink, make_node):
    """Two start at once, beside one of the older schema that sends and has mail waiting; all go on together, then the older one again."""
    database, sink = make_postgres(), make_sink("--latency", "5")
    older = make_node(database, sink, "a")
    for number in range(10):
        older.drop(f"{number}.eml", b"X-Deliver-At: 2099-01-01T00:00:00Z\r\n" + message(number))
    wait_until(lambda: database.number("SELECT count(*) FROM message WHERE node = 0") == 10, 30, what="mail that waits")
    for number in range(10, 210):
        older.drop(f"{number}.eml", message(number))
    sink.wait(30)
    newer = [make_next(make_node, database, sink, name) for name in "bc"]
    for node in newer:
        node.start(wait=False)
    for node in newer:
        node.wait_event("started", 30)
    assert database.sql("SELECT version, oldest FROM mailroot") == "2|1"
    assert database.number("SELECT count(*) FROM message WHERE flavour = 7") >= 10
    nodes = [older, *newer]
    for number in range(210, 300):
        nodes[number % 3].drop(f"{number}.eml", message(number))
    newer[0].run("queue", "retry", "--all", check=0)
    wait_drained(database, nodes)
    check_ledger(sink, 300, 0)
    assert older.events("error") == [] and len(older.events("started")) == 1
    older.stop()
    older.start()  # version 2 is for version 1's nodes, too
    older.send("300.eml", message(300))


@pytest.mark.skipif(not os.path.exists(NEXT), reason="no mailroot-next beside mailroot: only a part was built")
def test_what_is_too_old_or_too_new_says_so(make_postgres, make_sink, make_node):
    database, sink = make_postgres(), make_sink()
    node = make_next(make_node, database, sink, "a")
    assert b"no queue here yet" in node.run("queue", "list").stderr
    node.binary = BINARY
    node.start()
    node.stop()
    node.binary = NEXT
    assert b"not yet migrated" in node.run("queue", "list").stderr
    node.start()
    node.stop()
    node.run("queue", "list", check=0)
    database.sql("UPDATE mailroot SET oldest = 2")  # as a version that breaks with the first one would
    node.binary = BINARY
    assert b"made for a newer mailroot (schema 2, this one knows 1): install that version" in node.run("queue", "list").stderr
    node.start(wait=False)
    wait_until(lambda: "made for a newer mailroot" in node.stderr_text(), 20, what="the refusal")
    if node.process.wait(20) == 0:
        raise AssertionError("it started")
    node.process = None


def test_a_move_leaves_nothing_behind(make_postgres, make_relay, make_sink):
    """Every table, there and back: messages with their policies, origins, keys that count once, counters, the last id."""
    texts = {"message": "sender envid auth pickup_name owner message_id subject policy", "recipient": "address domain orcpt last_status last_reply last_host route",
             "once": "key", "usage": "name", "origin": "", "content": "data"}
    numbers = {"message": "id arrived_ms ret flags priority size header_size", "content": "", "origin": "id inode born_ns", "once": "id until_ms",
               "recipient": "message number notify state attempts next_ms last_attempt_ms delay_noticed priority", "usage": "since_ms count"}

    def in_sqlite(table):
        file = sqlite3.connect(relay.root / "Queue" / "queue.db")
        file.text_factory = bytes
        columns = [f"hex({name})" if name in texts[table].split() else name for name in (texts[table] + " " + numbers[table]).split()]
        found = file.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
        file.close()
        return sorted("|".join((value.decode() if isinstance(value, bytes) else str(value)).lower() for value in row) for row in found)

    def in_postgres(table):
        columns = [f"coalesce(encode({name}, 'hex'), '')" if name in texts[table].split() else name for name in (texts[table] + " " + numbers[table]).split()]
        return sorted(database.sql(f"SELECT {', '.join(columns)} FROM {table}").splitlines())

    database, sink = make_postgres(), make_sink()
    relay = make_relay(everything_to(sink))
    for number in range(6):
        head = f"X-Receiver: <c@other.test>\r\nX-Idempotency-Key: key-{number}\r\nX-Deliver-At: 2099-01-01T00:00:00Z\r\n".encode()
        relay.drop(f"{number}.eml", head + message(number) + (b"x" * 70 + b"\r\n") * (3000 if number == 1 else 1))
    relay.wait_events("taken", 6)
    relay.run("queue", "hold", relay.events("taken")[2]["id"], check=0)
    relay.stop()
    file = sqlite3.connect(relay.root / "Queue" / "queue.db")
    file.executemany("INSERT INTO once VALUES (?, ?, ?)", [(b"\xff\x00 no text", 5, 4000000000000), *((f"k{n}", n + 1, 4000000000000) for n in range(1500))])
    file.execute("INSERT INTO once VALUES ('forgotten', 7, 5)")
    file.executemany("INSERT INTO usage VALUES (?, ?, ?)", [("quota shop", 1700000000000, 41), ("rate shop", 1700000000001, 0)])
    file.execute("INSERT INTO origin VALUES (12, 34, 56)")
    file.execute("UPDATE highest SET id = 8000000000000000000")
    file.commit()
    file.close()
    tables = [table for table in texts if table != "content"]  # body files, parts: content is compared by `mailroot queue show`
    before = {table: in_sqlite(table) for table in tables}
    ids = [row["id"] for row in relay.run("queue", "list", "--json", check=0, json_out=True)]
    bodies = [relay.run("queue", "export", name, check=0).stdout for name in ids]
    assert len(before["once"]) == 1508 and len(before["message"]) == 6 and len(before["recipient"]) == 12
    before["once"] = [row for row in before["once"] if not row.endswith("|7|5")]
    relay.run("queue", "move", "--to", database.url, check=0)
    there = {table: in_postgres(table) for table in tables}
    assert there == before
    assert database.number("SELECT max(highest) FROM slot") == 8000000000000000000
    assert not os.listdir(relay.root / "Queue" / "body") and in_sqlite("message") == in_sqlite("recipient") == []
    with_store = merge(everything_to(sink), {"store": database.url, "node": relay.config.get("node")})
    relay.configure(with_store)
    database.sql("UPDATE usage SET count = 42 WHERE name = 'quota shop'")  # counted there meanwhile
    assert [relay.run("queue", "export", name, check=0).stdout for name in ids] == bodies
    relay.run("queue", "move", "--to", "sqlite", check=0)
    relay.configure(everything_to(sink))
    before["usage"] = [row.replace("|41", "|42") for row in before["usage"]]
    assert {table: [row for row in in_sqlite(table) if not row.endswith("|7|5")] for table in tables} == before
    assert [relay.run("queue", "export", name, check=0).stdout for name in ids] == bodies


def test_queue_moves_to_the_database_and_back(make_postgres, make_relay, make_sink, make_node):
    """Held and queued mail, small and large; a move that broke off behind any of its steps is taken up."""
    database, sink = make_postgres(), make_sink()
    relay = make_relay(everything_to(sink))
    for number in range(30):
        later = b"X-Deliver-At: 2099-01-01T00:00:00Z\r\n" if number % 2 else b""
        relay.drop(f"{number}.eml", later + message(number) + (b"x" * 70 + b"\r\n") * (5000 if number == 1 else 1))
    sink.wait(15)
    relay.wait_event("done", count=15)
    relay.run("queue", "move", "--to", database.url, check=75)  # it runs
    relay.stop()
    secret = database.url.replace("mailroot@", "mailroot:secret@")
    assert b"seen by all" in relay.run("queue", "move", "--to", secret, check=64).stderr
    # As if it had broken off when the first batch was committed there, marked: what is here goes, what is there is let go.
    assert relay.run("queue", "move", "--to", database.url, "--json", check=0, json_out=True)["count"] == 15
    assert relay.run("queue", "list", "--json", check=0, json_out=True) == []
    assert database.number("SELECT count(*) FROM recipient WHERE state = 0 AND next_ms > 0") == 15
    assert database.number("SELECT max(size) FROM message") == database.number("SELECT max(sum) FROM (SELECT sum(length(data)) FROM"
                                                                              " content GROUP BY message) AS s")
    database.sql("UPDATE recipient SET state = 5, next_ms = -1 - next_ms WHERE message IN (SELECT id FROM message ORDER BY id LIMIT 4)")
    assert relay.run("queue", "move", "--to", database.url, "--json", check=0, json_out=True)["count"] == 4
    assert database.number("SELECT count(*) FROM recipient WHERE state = 0 AND next_ms > 0") == 15
    relay.configure(merge(everything_to(sink), {"store": database.url, "node": "a", "cluster": SHORT}))
    assert relay.run("queue", "move", "--to", "sqlite", "--json", check=0, json_out=True)["count"] == 15
    assert database.number("SELECT count(*) FROM message") == 0
    relay.configure(everything_to(sink))
    relay.start()
    relay.run("queue", "retry", "--all", check=0)
    sink.wait(30)
    relay.wait_empty()
    check_ledger(sink, 30, 0)


def test_the_password_comes_from_a_file_and_is_shown_nowhere(make_postgres, make_sink, make_node, tmp_path):
    database, sink = make_postgres(), make_sink()
    database.sql("ALTER ROLE mailroot PASSWORD 'hunter2'")
    rules = database.data / "pg_hba.conf"
    rules.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    os.chown(rules, *[os.stat(database.data).st_uid, os.stat(database.data).st_gid])
    database.process.send_signal(signal.SIGHUP)
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    node = make_node(database, sink, "a", {"cluster": {"password_file": str(secret)}})  # read before privileges are dropped
    node.send("1.eml", message(1))
    lines = b"".join(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
                     for pid in subprocess.run(["pgrep", "-g", str(node.pid)], capture_output=True, text=True).stdout.split())
    assert b"hunter2" not in lines
    wrong = tmp_path / "wrong"
    wrong.write_text("swordfish\n")
    wrong.chmod(0o600)
    done = node.run("status", "-o", f"cluster.password_file={wrong}")
    assert b"password authentication failed" in done.stderr and b"swordfish" not in done.stderr
    assert "hunter2" not in node.events_file.read_text() + node.stderr_text()


def web_of_nodes(make_postgres, make_sink, make_node):
    """Node a with a web process, node b beside it; mail that waits."""
    database, sink = make_postgres(), make_sink()
    first = make_node(database, sink, "a", {"web": web_config()})
    second = make_node(database, sink, "b")
    for number in range(4):
        second.drop(f"{number}.eml", b"X-Deliver-At: 2099-01-01T00:00:00Z\r\n" + message(number))
    wait_until(lambda: database.number("SELECT count(*) FROM message WHERE node = 0") == 4, 30, what="the mail that waits")
    return Web(first), second


def test_every_node_tells_of_all(make_postgres, make_sink, make_node):
    """`mailroot queue`, `mailroot status` and the API show the whole cluster from any node, as the API's description says."""
    web, second = web_of_nodes(make_postgres, make_sink, make_node)
    description = json.loads(web.get("/openapi.json")[2])["paths"]["/v1/status"]["get"]["responses"]["200"]
    schema = description["content"]["application/json"]["schema"]["properties"]
    assert len(web.api("GET", "/v1/messages")[1]["messages"]) == len(web.relay.run("queue", "list", "--json", check=0, json_out=True)) == 4
    status = web.api("GET", "/v1/status")[1]
    assert set(status) <= set(schema) and status["messages"] == 4
    by_command = second.run("status", "--json", check=0, json_out=True)["queue"]["nodes"]
    for nodes in (status["nodes"], by_command):
        assert set(nodes) == {"a", "b"}
        for node in nodes.values():
            assert set(node) == set(schema["nodes"]["additionalProperties"]["required"]) and 0 < node["lease_ms"] <= 3000


@needs_browser
def test_admin_page_shows_the_nodes(make_postgres, make_sink, make_node):
    web, second = web_of_nodes(make_postgres, make_sink, make_node)
    seen = browse("nodes.js", f"http://127.0.0.1:{web.port}", web.token(), 2)
    assert seen["findings"] == [] and seen["bad"] == [] and seen["figures"]["in the queue"] == "4"
    assert {name: text for name, text in seen["figures"].items() if name.startswith("node ")} == {
        f"node {name}": "0 claimed, 0 connections" for name in "ab"}
    second.stop()
    assert "node b" not in browse("nodes.js", f"http://127.0.0.1:{web.port}", web.token(), 1)["figures"]


def has_namespaces():
    done = subprocess.run(["ip", "netns", "add", f"probe{os.getpid()}"], capture_output=True, check=False)
    if done.returncode == 0:
        subprocess.run(["ip", "netns", "del", f"probe{os.getpid()}"], capture_output=True, check=False)
    return done.returncode == 0


class Island:
    """A network namespace with one cable to here, which can be cut."""

    def __init__(self, number):
        self.name, self.here, self.there = f"mr{os.getpid()}", f"10.213.{number}.1", f"10.213.{number}.2"
        for words in (f"netns add {self.name}", f"link add {self.name}h type veth peer name {self.name}n netns {self.name}",
                      f"addr add {self.here}/24 dev {self.name}h", f"link set {self.name}h up",
                      f"-n {self.name} addr add {self.there}/24 dev {self.name}n", f"-n {self.name} link set {self.name}n up",
                      f"-n {self.name} link set lo up"):
            subprocess.run(["ip", *words.split()], check=True)

    def cut(self):
        subprocess.run(["ip", "link", "set", f"{self.name}h", "down"], check=True)

    def mend(self):
        subprocess.run(["ip", "link", "set", f"{self.name}h", "up"], check=True)

    def close(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False)


make_island = maker(Island)


@pytest.mark.skipif(os.geteuid() != 0 or not has_namespaces(), reason="no network namespaces here")
def test_node_that_is_cut_off_stops_before_others_take_over(make_postgres, make_sink, make_node, make_island):
    """Its cable is cut: it says that its lease is over before its claims are free; when it is mended it joins anew."""
    island = make_island(1 + os.getpid() % 250)
    database, sink = make_postgres(address="0.0.0.0"), make_sink("--latency", "5", address=island.here)
    limit = {"delivery": {"connections_per_site": 12}}
    url = f"postgresql://mailroot@{island.here}:{database.port}/postgres"
    other = make_node(url, sink, "a", limit)
    island_node = make_node(url, sink, "b", limit, start=False)
    island_node.wrapper = ["ip", "netns", "exec", island.name]
    island_node.start()
    drop_many([other, island_node], 400)
    sink.wait(100)
    island.cut()
    over = island_node.wait_event("error", 20, reason=re.compile("the lease is over"))
    taken = other.wait_event("warning", 20, reason=re.compile("node b has not renewed"))
    assert over["time"] < taken["time"]
    wait_until(lambda: database.number("SELECT count(*) FROM message WHERE node = 0") == 0, 60, what="the other's work")
    island.mend()
    island_node.wait_event("started", 30, count=2)
    wait_drained(database, [other, island_node])
    check_ledger(sink, 400, 12)
