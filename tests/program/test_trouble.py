"""What the world does to a relay: a disk that is full for a while, a clock that is set, name servers in trouble, a queue that
is old or damaged. It says what is wrong, loses nothing, and goes on by itself when the trouble is over."""
import os
import pwd
import random
import re
import shutil
import sqlite3
import subprocess
import threading
import time

import dns.rcode
import pytest

from lib import mail
from lib.names import answer
from lib.ports import MX_PORT
from lib.relay import USER
from lib.shim import Shim
from lib.watch import wait_until

DAY_MS = 24 * 3600 * 1000
OFTEN = {f"retry_{which}": "2s" for which in ("first", "second", "third", "subsequent")}
NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def shim(open_things):
    thing = Shim()
    open_things.append(thing)
    return thing


# ---- the disk ----

LATE = 200  # of 57 kB: more than there is room for beforehand


class Disk:
    """A file system of its own, of so many MiB, over a folder."""

    def __init__(self, place, image, size_mb):
        self.image, self.place = image, place
        with open(self.image, "wb") as image:
            image.truncate(size_mb << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True)
        if subprocess.run(["mount", "-o", "loop", self.image, place], check=False, capture_output=True).returncode:
            pytest.skip("no mounting here")
        shutil.chown(place, USER)

    def fill(self):
        """To the last block."""
        with open(self.place / "ballast", "ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError:
                    continue

    def free(self):
        (self.place / "ballast").unlink()

    def close(self):
        subprocess.run(["umount", "-l", self.place], check=True)
        self.image.unlink()


@NOT_ROOT
def test_a_full_disk_delivers_what_it_has_takes_nothing_and_recovers(relay_to, make_server, open_things, tmp_path):
    """F5: what is queued still goes out and is settled, new mail stays in Pickup, and all goes on when there is room."""
    server = make_server([("RCPT", ["451 4.2.0 not now"] * 20 + ["250 ok"] * (20 + LATE))])
    relay = relay_to(server, {"queue": {"retry_first": "5s"}, "delivery": {"connections_per_site": 1}})
    relay.stop()
    disk = Disk(relay.root / "Queue", tmp_path / "image", 100)
    open_things.append(disk)
    open_things.append(relay)  # it ends before the disk goes
    relay.start()
    for number in range(20):
        relay.drop(f"early{number}.eml", mail.message(to=f"e{number}@example.test", body="x" * 3000 + "\r\n"))
    relay.wait_events("deferred", 20)
    disk.fill()
    for number in range(LATE):
        relay.drop(f"late{number}.eml", mail.message(to=f"l{number}@example.test", body=("y" * 70 + "\r\n") * 800))
    relay.wait_event("error", reason=re.compile("intake rests.*(full|space|room)"))
    relay.wait_event("done", count=20, pickup=re.compile("early"))
    assert relay.waiting()
    disk.free()
    relay.wait_events("done", 20 + LATE)
    relay.wait_empty()
    assert len([t for t in server.transactions if t.is_whole]) == 20 + LATE and not relay.events("bounced")
    relay.stop()


@NOT_ROOT
def test_a_disk_without_inodes_takes_nothing_and_recovers(relay_to, make_server):
    """Pickup on a disk without inodes: a rename needs none, so what is there is taken; large bodies need one in Queue."""
    relay = relay_to(make_server())
    relay.stop()
    place = relay.root / "Queue" / "body"
    assert place.is_dir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=64m,nr_inodes=1,uid={pwd.getpwnam(USER).pw_uid}", "tmpfs", place],
                      check=False).returncode:
        pytest.skip("no mounting here")
    try:
        relay.start()
        large = mail.message(body="a line of a large message\r\n" * 8000)
        relay.drop("large.eml", large)
        relay.wait_event("error", reason=re.compile("intake rests"))
        assert relay.waiting() == ["large.eml"]
        subprocess.run(["mount", "-o", "remount,nr_inodes=100", place], check=True)
        relay.wait_event("delivered", pickup="large.eml")
        relay.stop()
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_large_message_whose_file_was_cut_holds_up_nobody(relay_to, make_server):
    """Its pages can't be had: the relay would be killed by SIGBUS, at every start again."""
    server = make_server([("RCPT TO:<slow", ["451 4.2.0 not now", "250 ok"])])
    relay = relay_to(server, {"queue": {"retry_first": "2s"}})
    relay.send("cut.eml", mail.message(to="slow@example.test", body="a line of a large message\r\n" * 8000), "deferred")
    body, = (relay.root / "Queue" / "body").iterdir()
    whole = body.read_bytes()
    os.truncate(body, 4096)
    assert "body file" in relay.wait_event("deferred", pickup="cut.eml", attempt=2)["reason"]
    relay.send("next.eml", mail.message())
    body.write_bytes(whole)
    relay.run("queue", "retry", "--all", check=0)
    relay.wait_event("delivered", pickup="cut.eml")


def test_a_null_senders_message_that_cannot_be_read_stays_until_it_can(make_relay, make_scripted_names):
    """It has nobody to be told: Badmail gets it whole, or it stays in the queue."""
    is_gone = threading.Event()
    names = make_scripted_names(lambda name, kind, query, is_tcp: answer(
        query, rcode=dns.rcode.NXDOMAIN if is_gone.is_set() else dns.rcode.SERVFAIL))
    relay = make_relay({"dns": {"servers": [names.address]}, "queue": OFTEN})
    lines = b"a line of a large message\r\n" * 8000
    relay.send("null.eml", b"X-Sender: <>\r\nX-Receiver: <u@nowhere.test>\r\n" + mail.message() + lines, "deferred")
    body, = (relay.root / "Queue" / "body").iterdir()
    whole = body.read_bytes()
    os.truncate(body, 10)
    is_gone.set()
    relay.wait_event("error", 30, note=re.compile("tried again"), reason=re.compile("body file"))
    assert not list(relay.badmail.glob("*.BAD"))
    body.write_bytes(whole)
    relay.wait_event("badmail", 30)
    relay.wait_event("done", 30)
    assert relay.bad("null.eml")[0].endswith(lines)


# ---- the clock ----

@pytest.mark.parametrize("days", [1, -1, 3650, -3650])
def test_a_clock_that_is_set_lets_nothing_expire_and_holds_nothing_up(relay_to, make_server, shim, days):
    """F6, while it runs: nothing expires, the next tries come at their time, there is no storm of them."""
    server = make_server([("RCPT TO:<slow", ["451 4.2.0 not now"] * 3 + ["250 ok"])])
    relay = relay_to(server, {"queue": OFTEN | {"expire": "12h"}, "sandbox": False}, environment=shim.environment)
    relay.send("slow.eml", mail.message(to="slow@example.test"), "deferred")
    started = time.monotonic()
    shim.orders["clock_jump_ms"] = days * DAY_MS
    relay.wait_event("delivered", 30, pickup="slow.eml")
    assert time.monotonic() - started > 3 and not relay.events("expired")
    relay.send("new.eml", mail.message())
    relay.wait_empty()


# ---- name servers ----

def test_a_name_server_that_is_gone_defers_and_comes_back(relay_with_names, make_server):
    server = make_server()
    relay = relay_with_names({"a.test": [f"MX 10 mx.a.test."], "mx.a.test": [f"A {server.address}"]},
                             {"queue": OFTEN, "dns": {"timeout": "1s"}})
    relay.names.process.kill()
    relay.names.process.wait()
    event = relay.send("m.eml", mail.message(to="u@a.test"), "deferred")
    assert "DNS" in event["reason"] or "name" in event["reason"], event
    relay.names.start()
    relay.wait_event("delivered", 60, pickup="m.eml")


def test_a_name_server_that_takes_its_time_holds_up_nobody_else(make_relay, make_server, make_scripted_names):
    server = make_server()
    may_answer = threading.Event()

    def handler(name, kind, query, is_tcp):
        if name.endswith("slow.test"):
            may_answer.wait(20)
        if kind == "MX":
            return answer(query, f"{name}. MX 10 mx.{name}.")
        return answer(query, f"{name}. A {server.address}") if kind == "A" else answer(query)
    names = make_scripted_names(handler)
    relay = make_relay({"dns": {"servers": [names.address], "timeout": "10s"}, "delivery": {"port": MX_PORT}})
    for number in range(20):
        relay.drop(f"slow{number}.eml", mail.message(to=f"u{number}@d{number}.slow.test"))
    relay.wait_events("taken", 20)
    relay.send("fast.eml", mail.message(to="u@fast.test"))
    assert not relay.events("delivered", pickup=re.compile("slow"))
    may_answer.set()
    relay.wait_events("delivered", 21)


def test_a_name_server_that_lies_about_another_name_is_not_believed(make_relay, make_server, make_scripted_names):
    """An answer with a record of a name that was not asked for, or with another question, leads nowhere else."""
    server, thief = make_server(), make_server()

    def handler(name, kind, query, is_tcp):
        if kind == "MX" and name == "a.test":
            return answer(query, "a.test. MX 10 mx.a.test.", f"mx.victim.test. A {thief.address}")
        if kind == "MX" and name == "victim.test":
            return answer(query, "victim.test. MX 10 mx.victim.test.")
        if kind == "A":
            more = [] if name == "mx.victim.test" else [f"mx.victim.test. A {thief.address}"]
            return answer(query, f"{name}. A {server.address}", *more)
        return answer(query)
    names = make_scripted_names(handler)
    relay = make_relay({"dns": {"servers": [names.address]}, "delivery": {"port": MX_PORT}})
    relay.send("a.eml", mail.message(to="u@a.test"))
    relay.send("v.eml", mail.message(to="u@victim.test"))
    assert len(server.transactions) == 2 and not thief.transactions


# ---- the queue ----

def test_a_queue_of_schema_1_is_migrated_and_delivered(relay_to, make_server, corpora):
    server = make_server()
    relay = relay_to(server, start=False)
    folder = relay.root / "Queue"
    folder.mkdir()
    with sqlite3.connect(folder / "queue.db") as queue:
        queue.executescript((corpora / "queue" / "version-1.sql").read_text())
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, USER) if os.geteuid() == 0 else None
    done = relay.run("queue", "list")
    assert done.returncode != 0 and b"older mailroot" in done.stderr and b"mailroot run" in done.stderr
    relay.start()
    relay.wait_event("done", id="1a213dcf07a00000")
    assert server.transactions[0].recipients == ["old@far.test"] and b"from an older queue" in server.transactions[0].content


def test_a_queue_of_a_newer_schema_is_refused_in_words(relay_to, make_server):
    relay = relay_to(make_server())
    relay.stop()
    with sqlite3.connect(relay.root / "Queue" / "queue.db") as queue:
        queue.execute("PRAGMA user_version = 999")
    done = relay.run("run")
    assert done.returncode == 78 and b"newer mailroot" in done.stderr


MESSAGES = 60


@pytest.fixture(scope="module")
def full_queue(tmp_path_factory):
    """The bytes of a queue with messages in it."""
    from lib.relay import Relay
    relay = Relay({"route": {"*": {"hosts": ["[127.0.0.1]:1"]}}})
    try:
        for number in range(MESSAGES):
            relay.drop(f"m{number}.eml", mail.message(to=f"u{number}@example.test", body=f"body {number}\r\n" * 400))
        relay.wait_events("deferred", MESSAGES)
        relay.stop()
        return (relay.root / "Queue" / "queue.db").read_bytes()
    finally:
        relay.close()


def damages(size, count):
    """(what, change) by a fixed seed."""
    chance = random.Random(8)

    def cut(at):
        return lambda data: data[:at]

    def overwrite(at, length, octets):
        return lambda data: data[:at] + octets + data[at + length:]
    for number in range(count):
        at = chance.randrange(size)
        if number % 4 == 0:
            yield f"cut at {at}", cut(at)
        elif number % 4 == 1:
            length = chance.choice((1, 8, 512, 4096))
            yield f"{length} zeros at {at}", overwrite(at, length, bytes(length))
        elif number % 4 == 2:
            length = chance.choice((1, 8, 512, 4096, 20000))
            yield f"{length} by chance at {at}", overwrite(at, length, chance.randbytes(length))
        else:
            at = at // 4096 * 4096 + chance.randrange(108)
            yield f"a page's head at {at}", overwrite(at, 2, chance.randbytes(2))


def test_repair_saves_what_can_be_saved_of_any_damage_and_says_what_it_could_not(make_relay, full_queue, quick):
    """Never a crash (the program is built with sanitizers), never a wrong message, and every one is accounted for."""
    relay = make_relay(start=False)
    folder = relay.root / "Queue"
    for what, change in damages(len(full_queue), 24 if quick else 80):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "body").mkdir(parents=True)
        (folder / "queue.db").write_bytes(change(full_queue))
        done = relay.run("queue", "repair")
        text = done.stdout.decode() + done.stderr.decode()
        assert done.returncode in (0, 74), (what, done.returncode, text)
        if done.returncode:
            assert text.strip(), what
            continue
        listed = relay.run("queue", "list", json_out=True) if (folder / "queue.db").exists() else []
        rows = listed if isinstance(listed, list) else listed.get("messages", [])
        assert len(rows) <= MESSAGES, what
        assert len(rows) == MESSAGES or re.search("damage|not saved|could not|lost", text), (what, len(rows), text)
        with sqlite3.connect(folder / "queue.db") as queue:
            assert queue.execute("PRAGMA integrity_check").fetchall() == [("ok",)], what
            for (data,) in queue.execute("SELECT data FROM content"):
                number = re.search(rb"body (\d+)\r\n", bytes(data)).group(1)
                assert bytes(data).count(b"body " + number + b"\r\n") >= 399, what
