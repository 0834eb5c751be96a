"""How much a site gets: limits from the config, and those that follow what the site answers."""
import json
import re
import socket
import time

import pytest

from lib import mail
from lib.ports import MX_PORT, has_ipv6, loopback
from lib.relay import Relay

NOW = "421 4.7.28 Our system has detected an unusual rate of mail from you. Too many messages"
MINUTES = {"queue": {"retry_first": "1h"}}


@pytest.fixture
def silent_address(open_things):
    """An address that answers no SYN: a listener whose queue is full."""
    address = loopback()
    listener = socket.create_server((address, MX_PORT), backlog=0)
    open_things.append(listener)
    for _ in range(3):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex((address, MX_PORT))
        open_things.append(waiting)
    return address


def drop_many(relay, count, sender="app@sender.test"):
    for number in range(count):
        relay.drop(f"m{number}.eml", mail.message(sender=sender, subject=str(number)))


def kept(relay):
    return json.loads((relay.root / "Queue" / "pace.json").read_text())


def test_a_rate_is_kept_and_what_is_over_it_waits(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {"delivery": {"rate": "3/1s, 1000/1h"}})
    start = time.monotonic()
    drop_many(relay, 8)
    relay.wait_events("delivered", 8)
    assert time.monotonic() - start > 1.2  # 3, then 3, then 2


def test_what_must_wait_for_long_is_deferred_and_says_which_limit_binds(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "delivery": {"rate": "2/1d"}})
    drop_many(relay, 4)
    relay.wait_events("delivered", 2)
    for event in relay.wait_events("deferred", 2):
        assert event["stage"] == "pace" and "rate 2/1d" in event["reason"], event
    assert len(server.transactions) == 2


def test_counts_of_a_day_outlive_a_restart(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "delivery": {"rate": "2/1d"}})
    drop_many(relay, 2)
    relay.wait_events("delivered", 2)
    relay.stop()
    relay.start()
    relay.drop("late.eml", mail.message())
    assert "rate 2/1d" in relay.wait_event("deferred", pickup="late.eml")["reason"]


def test_a_refusal_has_its_class_in_the_event(relay_to, make_server):
    server = make_server([("RCPT TO:<a", "550 5.1.1 User unknown"), ("RCPT TO:<b", "552 5.2.2 Mailbox full"),
                          ("RCPT TO:<c", "450 4.2.0 Greylisted, come again"), ("RCPT TO:<d", "550 5.7.1 Rejected as spam")])
    relay = relay_to(server, MINUTES)
    relay.drop("class.eml", mail.message(to="a@x.test, b@x.test, c@x.test, d@x.test"))
    for to, kind, name in [("a", "bounced", "unknown-user"), ("b", "deferred", "mailbox-full"), ("c", "deferred", "greylisted"),
                           ("d", "bounced", "content")]:
        assert relay.wait_event(kind, to=f"{to}@x.test")["class"] == name


def test_a_rule_turns_a_refusal_into_a_wait_and_a_wait_into_a_refusal(relay_to, make_server, tmp_path):
    rules = tmp_path / "replies.conf"
    rules.write_text("class ours retry : come back\nours 5xx * purple\nunknown-user/fail 4xx * gone for ever\n")
    tmp_path.chmod(0o755)
    server = make_server([("RCPT TO:<a", "554 5.7.1 not when purple"), ("RCPT TO:<b", "450 4.1.1 gone for ever")])
    relay = relay_to(server, {**MINUTES, "delivery": {"replies": str(rules)}})
    relay.drop("rules.eml", mail.message(to="a@x.test, b@x.test"))
    waits = relay.wait_event("deferred", to="a@x.test")
    assert waits["class"] == "ours" and waits["status"] == "4.7.1"
    assert relay.wait_event("bounced", to="b@x.test")["status"] == "5.1.1"


def test_a_mistake_in_the_rules_is_a_mistake_of_the_config(tmp_path):
    rules = tmp_path / "replies.conf"
    rules.write_text("# ours\nnobody 550 *\n")
    relay = Relay({"delivery": {"replies": str(rules)}}, start=False)
    try:
        done = relay.run("check", "--no-dns")
        assert done.returncode and f"{rules}:2: no class \"nobody\"" in (done.stdout + done.stderr).decode()
    finally:
        relay.close()


def test_too_much_means_fewer_connections_a_rest_and_a_slow_way_back(relay_to, make_server):
    server = make_server([("MAIL", ["250 ok"] * 4 + [NOW] + ["250 ok"])])
    relay = relay_to(server, {**MINUTES, "delivery": {"tune_interval": "100ms", "connections_per_site": 4}})
    drop_many(relay, 4)
    relay.wait_events("delivered", 4)
    relay.drop("much.eml", mail.message())
    paced = relay.wait_event("paced")
    assert paced["class"] == "throttled" and "unusual rate" in paced["reply"] and "rests for 1m" in paced["note"], paced
    assert relay.wait_event("deferred", pickup="much.eml")["class"] == "throttled"
    told, = relay.status()["paced"]
    assert "unusual rate" in told["cause"] and told["rests_until"]
    state, = kept_when_written(relay).values()
    assert state["connections"] >= 1 and state["rests_until_ms"] > time.time() * 1000
    assert "unusual rate" in state["cause"]


def kept_when_written(relay):
    relay.stop()
    return kept(relay)


def test_what_was_learnt_outlives_a_restart_and_is_lost_again_by_successes(relay_to, make_server):
    server = make_server([("MAIL", [NOW, "250 ok"])])
    relay = relay_to(server, {"queue": {"retry_first": "300ms", "retry_second": "300ms", "retry_third": "300ms"},
                              "delivery": {"tune_interval": "100ms", "connections_per_site": 2}})
    relay.drop("one.eml", mail.message())
    relay.wait_event("paced")
    file = relay.root / "Queue" / "pace.json"
    states = kept_when_written(relay)
    name, state = next(iter(states.items()))
    state["rests_until_ms"] = 1  # the minute is over
    file.write_text(json.dumps({name: state}))
    relay.start()
    relay.wait_event("delivered")
    for number in range(30):
        relay.send(f"more{number}.eml", mail.message())
        if any("as configured" in event["note"] for event in relay.events("paced")):
            break
        time.sleep(0.1)
    notes = [event["note"] for event in relay.events("paced")]
    assert re.match(r"1 connection, 1 message each 1000ms", notes[0]), notes
    assert any("each 1000ms -> each 909ms" in note for note in notes), notes


def test_refusals_of_our_address_open_the_circuit_and_the_rest_is_kept(relay_to, make_server):
    server = make_server([("MAIL", "550 5.7.1 Client host blocked using zen.spamhaus.org")])
    relay = relay_to(server, {**MINUTES, "delivery": {"connections_per_site": 1}})
    for number in range(3):
        relay.drop(f"first{number}.eml", mail.message())
    relay.wait_events("bounced", 3)
    assert "rests for 15m" in relay.wait_event("paced", **{"class": "reputation"})["note"]
    relay.drop("kept.eml", mail.message())
    event = relay.wait_event("deferred", pickup="kept.eml")
    assert event["stage"] == "pace" and "spamhaus" in event["reason"]


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
def test_ipv4_is_tried_where_ipv6_is_refused_by_policy(relay_with_names, make_server):
    six = make_server([(r"\.$", "550 5.7.1 [::1] Our system has detected that this message does not meet IPv6 sending guidelines")],
                      address="::1")
    four = make_server()
    relay = relay_with_names({"example.test": ["MX 10 mx.google.com."], "mx.google.com": ["AAAA ::1", f"A {four.address}"]}, MINUTES)
    assert relay.send("six.eml", mail.message())["ip"].startswith(four.address)
    assert relay.wait_event("paced")["note"] == "IPv4 alone for a day"
    assert len(six.transactions) == 1
    relay.send("again.eml", mail.message())
    assert len(six.transactions) == 1


def test_the_next_address_is_dialled_while_the_first_is_silent(relay_with_names, make_server, silent_address):
    good = make_server()
    relay = relay_with_names({"example.test": ["MX 10 mx.test."], "mx.test": [f"A {silent_address}", f"A {good.address}"]},
                             {**MINUTES, "delivery": {"timeouts": {"connect": "20s"}}})
    for number in range(3):
        start = time.monotonic()
        assert relay.send(f"eyeballs{number}.eml", mail.message())["ip"].startswith(good.address)
        assert time.monotonic() - start < 8


def test_a_lower_preference_waits_until_the_better_one_has_failed(relay_with_names, make_server, silent_address):
    second = make_server()
    relay = relay_with_names({"example.test": ["MX 10 a.test.", "MX 20 b.test."], "a.test": [f"A {silent_address}"],
                              "b.test": [f"A {second.address}"]}, {**MINUTES, "delivery": {"timeouts": {"connect": "2s"}}})
    start = time.monotonic()
    relay.send("order.eml", mail.message())
    assert time.monotonic() - start >= 2


def test_sources_by_sender_each_with_their_own_limits(relay_to, make_server):
    server = make_server()
    one, two, other = loopback(), loopback(), loopback()
    relay = relay_to(server, {**MINUTES, "source": {
        "news": {"addresses": [one], "senders": ["news.test", "*.news.test"], "helo": "out1.news.test", "warmup": "2, 5"},
        "shop": {"addresses": [two], "senders": ["shop.test"], "site_rate": "1/1h"},
        "rest": {"addresses": [other], "senders": ["*"]}}})
    seen = {}
    for sender in ("a@news.test", "b@eu.news.test", "c@news.test", "d@shop.test", "e@shop.test", "f@else.test"):
        relay.drop(f"{sender[0]}.eml", mail.message(sender=sender))
        event = relay.wait_event(None, event=re.compile("^(delivered|deferred)$"), pickup=f"{sender[0]}.eml")
        seen[sender[0]] = event["reason"] if event["event"] == "deferred" else "sent"
    assert [seen[c] for c in "abdf"] == ["sent"] * 4
    assert "warm-up, 2 today" in seen["c"] and "rate 1/1h" in seen["e"]
    peers = {session.transaction.sender: session.peer for session in server.sessions if session.transaction}
    assert peers["d@shop.test"] == two and peers["f@else.test"] == other
    hello = [session.commands[0] for session in server.sessions if session.peer == one]
    assert hello[0] == "EHLO out1.news.test"


def test_hard_bounces_feed_the_suppression_list_if_wished(relay_to, make_server):
    server = make_server([("RCPT TO:<gone", "550 5.1.1 User unknown"), ("RCPT TO:<full", "550 5.2.2 Mailbox full")])
    relay = relay_to(server, {**MINUTES, "suppress": {"enabled": True}})
    relay.drop("first.eml", mail.message(to="gone@x.test, full@x.test, good@x.test"))
    relay.wait_events("bounced", 2)
    asked = len(server.said("RCPT TO:<gone"))
    relay.drop("second.eml", mail.message(to="Gone@x.test, full@x.test, good@x.test"))
    event = relay.wait_event("bounced", to="Gone@x.test", pickup="second.eml")
    assert event["stage"] == "suppressed" and "User unknown" in event["reason"] and event["status"] == "5.1.1"
    assert relay.wait_event("bounced", to="full@x.test", pickup="second.eml")["stage"] == "rcpt"
    assert len(server.said("RCPT TO:<gone")) == asked
    entry, = relay.run("suppress", "list", "--json", check=0, json_out=True)
    assert entry["address"] == "gone@x.test" and entry["class"] == "unknown-user"
    relay.run("suppress", "remove", "GONE@x.test", check=0)
    relay.wait_events("delivered", 2, to="good@x.test")
    relay._wait(lambda: relay.send("third.eml", mail.message(to="gone@x.test"), "bounced")["stage"] == "rcpt"
                or relay._events.clear(), "the relay to see the change", 10)


def test_the_list_is_kept_by_hand_with_or_without_a_relay(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "suppress": {"expire": "1h"}})
    relay.stop()
    relay.run("suppress", "add", "a@x.test", "b@x.test", check=0)
    relay.run("suppress", "add", "nobody", check=65)
    relay.run("suppress", "remove", "c@x.test", check=65)
    with open(relay.root / "Queue" / "suppressed", "a") as file:
        file.write("+old@x.test\t1000\toperator\tlong ago\nnonsense\n+torn@x.test\t17")
    relay.start()
    relay.drop("list.eml", mail.message(to="a@x.test, c@x.test, old@x.test"))
    relay.wait_event("bounced", to="a@x.test", stage="suppressed")
    relay.wait_events("delivered", 2)
    relay.run("suppress", "add", "d@x.test", check=0)  # behind a line that was cut
    assert len(relay.run("suppress", "list", check=0).stdout.splitlines()) == 3
