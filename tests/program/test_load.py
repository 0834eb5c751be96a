"""Attacks by load: the rest keeps flowing, and memory stays within what the config allows.

Numbers are small by default. LOAD=full runs 10,000 slow clients, 100,000 waiting messages and a million files (an
hour, and a program built without sanitizers: MAILROOT names it)."""
import os
import re
import signal
import socket
import subprocess

import pytest

from lib import mail
from lib.listener import Talk, listener
from lib.ports import loopback
from lib.relay import BINARY
from lib.watch import wait_until

IS_FULL = os.environ.get("LOAD") == "full"
IS_SANITIZED = "libasan" in subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=False).stdout
CLIENTS = 9000 if IS_FULL else 300
WAITING = 100_000 if IS_FULL else 1500
FILES = 1_000_000 if IS_FULL else 3000
BOUNCES = 10_000 if IS_FULL else 150
SECONDS = 3600 if IS_FULL else 120


def roles(relay):
    """{pid: what it holds in memory, in MiB} of all its processes."""
    children = subprocess.run(["pgrep", "-g", str(relay.pid)], capture_output=True, text=True, check=False).stdout.split()
    sizes = {}
    for pid in children:
        try:
            with open(f"/proc/{pid}/status") as status:
                sizes[pid] = int(re.search(r"VmHWM:\s+(\d+)", status.read()).group(1)) / 1024
        except (OSError, AttributeError):
            continue  # ended, or a zombie
    return sizes


def check_memory(relay, limit_mb):
    """No process of it grew beyond that. What a sanitizer needs for itself says nothing."""
    if not IS_SANITIZED:
        assert max(roles(relay).values()) < limit_mb, roles(relay)


def drop_many(relay, names_and_contents):
    for name, content in names_and_contents:
        relay.drop(name, content)


@pytest.fixture
def deaf():
    """A server that takes connections and never says a word."""
    server = socket.create_server((loopback(), 0), backlog=4096)
    yield server.getsockname()
    server.close()


def test_a_destination_that_hangs_with_many_waiting_holds_up_no_other(make_relay, make_sink, deaf):
    """F: the hanging one has its connections and no more; what others get is delivered at once; memory is bounded by limits.active."""
    sink = make_sink()
    relay = make_relay({"route": {"hangs.test": {"hosts": [f"[{deaf[0]}]:{deaf[1]}"]}, "*": {"hosts": [f"[{sink.address}]:{sink.port}"]}},
                        "limits": {"active": 1000}})
    drop_many(relay, ((f"h{number}.eml", mail.message(to=f"u{number}@hangs.test")) for number in range(WAITING)))
    relay.wait_events("taken", WAITING, SECONDS)
    for number in range(30):
        relay.send(f"good{number}.eml", mail.message(to=f"g{number}@good.test"), seconds=15)
    assert not relay.events("delivered", pickup=re.compile("^h"))
    check_memory(relay, 200)
    relay.kill()


def test_files_that_come_all_at_once_are_each_delivered_once_and_a_late_one_does_not_wait_for_all(relay_to, make_sink):
    sink = make_sink()
    relay = relay_to(sink)
    os.killpg(relay.pid, signal.SIGSTOP)
    drop_many(relay, ((f"f{number}.eml", mail.message(to=f"u{number}@example.test")) for number in range(FILES)))
    os.killpg(relay.pid, signal.SIGCONT)
    wait_until(lambda: sink.lines() >= FILES // 10, SECONDS, what="a tenth delivered")
    wait_until(lambda: sink.lines() >= FILES, SECONDS, what="all delivered")
    relay.wait_empty(60)
    seen = [str(message["rcpts"]) for message in sink.messages()]
    assert len(seen) == FILES and len(set(seen)) == FILES
    check_memory(relay, 300)


def test_a_storm_of_bounces_ends_in_one_notice_each_and_none_of_a_notice(relay_to, make_server):
    """Forged senders that don't exist either: a notice that fails goes to Badmail, nobody is told of it."""
    server = make_server([("RCPT TO:<ghost", "550 5.1.1 no such user"), ("RCPT TO:<forged", "550 5.1.1 no such user")])
    relay = relay_to(server)
    drop_many(relay, ((f"b{number}.eml", mail.message(sender=f"forged{number}@victim.test", to=f"ghost{number}@example.test"))
                      for number in range(BOUNCES)))
    relay.wait_events("badmail", BOUNCES, SECONDS)
    relay.wait_empty()
    assert len(relay.events("bounced")) == 2 * BOUNCES and len(relay.events("notice")) == BOUNCES
    assert len(list(relay.badmail.glob("*.BAD"))) == BOUNCES
    assert not [t for t in server.transactions if t.is_whole]
    check_memory(relay, 200)


def test_two_relays_that_point_at_each_other_stop_with_one_notice(make_relay, make_sink):
    """RFC 5321 6.3: the hops are counted; the notice itself goes elsewhere."""
    sink = make_sink()
    settings, ports = [], []
    for _ in range(2):
        config, port = listener(tls=False)
        settings.append(config)
        ports.append(port["mail"])
    relays = []
    for config, other in zip(settings, reversed(ports)):
        config["route"] = {"loop.test": {"hosts": [f"[127.0.0.1]:{other}"]}, "*": {"hosts": [f"[{sink.address}]:{sink.port}"]}}
        config["limits"] = {"hops": 30}
        relays.append(make_relay(config))
    relays[0].drop("loop.eml", mail.message(to="u@loop.test"))
    sink.wait(1, 60)
    for relay in relays:
        relay.wait_empty()
    refused = [event for relay in relays for event in relay.events() if event.get("status") == "5.4.6"]
    assert len(sink.messages()) == 1 and len(refused) <= 2, refused
    assert sum(len(relay.events("taken")) for relay in relays) <= 32


def test_a_full_accept_queue_is_worked_off(relay_to, make_aio):
    """More clients than it is told of while it is stopped: each has its greeting afterwards, or its 421; nobody waits for ever."""
    count = min(CLIENTS, 3500)  # what the kernel keeps for a program that does not accept
    config, ports = listener(tls=False, connections=count // 2)
    relay = relay_to(make_aio(), config)
    os.killpg(relay.pid, signal.SIGSTOP)
    talks = [Talk(ports["mail"], greeting=False) for _ in range(count)]
    os.killpg(relay.pid, signal.SIGCONT)
    greetings = [(talk.reply() or "")[:3] for talk in talks]
    assert greetings.count("220") == count // 2 and greetings.count("421") == count - count // 2
    for talk in talks:
        talk.close()
    wait_until(lambda: Talk(ports["mail"]).greeting.startswith("220"), 20, what="a free place")
    check_memory(relay, 200)


def test_slow_clients_are_gone_by_their_deadline_and_cost_little(relay_to, make_aio):
    """F7: an octet at a time, without an end."""
    config, ports = listener(tls=False, connections=20000, timeouts={"command": "3s", "data": "3s", "session": "10s"})
    relay = relay_to(make_aio(), config)
    slow = [Talk(ports["mail"], greeting=False) for _ in range(CLIENTS)]
    for talk in slow:
        talk.send("E")
    with Talk(ports["mail"]) as talk:
        talk.envelope()
        assert talk.say("Subject: x\r\n\r\nx\r\n.").startswith("250")
    assert all(talk.is_closed() for talk in slow)
    check_memory(relay, 30 + CLIENTS / 100)
