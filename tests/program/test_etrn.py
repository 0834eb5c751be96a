"""Mail that waits until its host asks for it (ETRN, RFC 1985)."""
import os
import re
import signal
import smtplib

import pytest

from lib import mail
from lib.listener import FRIEND, STRANGER, Talk, listener
from lib.relay import merge
from lib.watch import wait_until

WAITS = {"etrn": True, "etrn_clients": [f"{STRANGER}/32"], "etrn_queue": "branches"}


@pytest.fixture
def make_waiting(make_relay, make_aio):
    """(relay, port of its listener, the sink all goes to); mail for branch.test and what is below it waits."""
    def create(**changes):
        sink = make_aio()
        settings, ports = listener()
        hosts = {"hosts": [f"[{sink.address}]:{sink.port}"]}
        routes = {"branch.test": {**hosts, **WAITS, **changes}, "*.branch.test": {**hosts, **WAITS}, "*": hosts}
        return make_relay(merge(settings, {"route": routes})), ports["mail"], sink
    return create


def drop_for(relay, name, *recipients):
    lines = "".join(f"X-Receiver: <{to}>\r\n" for to in recipients)
    relay.drop(name, b"X-Sender: <a@x.test>\r\n" + lines.encode() + mail.message(to="all@x.test"))
    relay.wait_event("taken", pickup=name)
    wait_until(lambda: not relay.claims(), 10, what="the commit")


def test_mail_waits_until_its_host_asks(make_waiting):
    relay, port, sink = make_waiting()
    drop_for(relay, "mixed.eml", "one@branch.test", "two@far.test")
    drop_for(relay, "below.eml", "three@a.branch.test")
    relay.wait_event("delivered", pickup="mixed.eml", to="two@far.test")
    queued = relay.wait_event("queued", pickup="below.eml")
    assert queued["note"] == "waits for ETRN" and queued["next"] > relay.wait_event("taken", pickup="below.eml")["time"]
    with Talk(port, STRANGER) as talk:
        talk.say("EHLO branch.test")
        assert "250-ETRN" in talk.lines
        assert talk.say("ETRN far.test").startswith("458 4.3.0 ")
        assert talk.codes("ETRN", "ETRN a b", "ETRN @", "ETRN #", "ETRN <branch.test>", "ETRN [127.0.0.1]") == [501] * 6
        assert len(sink.envelopes) == 1
        assert talk.say("ETRN BRANCH.test") == "253 2.0.0 1 pending messages for node branch.test started"
        relay.wait_event("delivered", pickup="mixed.eml", to="one@branch.test")
        retried = relay.wait_event("retried", pickup=None)
        assert retried["note"].startswith(f"ETRN from [{STRANGER}]")
        assert not relay.events("delivered", pickup="below.eml")
        assert talk.say("ETRN @branch.test") == "253 2.0.0 1 pending messages for node @branch.test started"
        relay.wait_event("delivered", pickup="below.eml")
        assert talk.say("ETRN #branches").startswith("251 2.0.0 ")
        assert talk.say("MAIL FROM:<>").startswith("250")
        assert talk.say("ETRN branch.test").startswith("503")
    with Talk(port, FRIEND) as talk:  # its list says who, and this one isn't in it
        assert talk.codes("ETRN branch.test", "EHLO me", "ETRN branch.test", "ETRN #branches", "ETRN #other") == [503, 250, 459, 459, 458]
    relay.wait_empty()


def test_a_host_that_is_gone_again_has_to_ask_anew(make_waiting):
    relay, port, sink = make_waiting()
    sink.controller.stop()
    drop_for(relay, "gone.eml", "one@branch.test")
    with smtplib.SMTP("127.0.0.1", port, source_address=(STRANGER, 0)) as client:
        client.ehlo("branch.test")
        assert client.docmd("ETRN", "branch.test")[0] == 253
        deferred = relay.wait_event("deferred", pickup="gone.eml")
        assert deferred["next"][:10] > deferred["time"][:10]  # days, not minutes: the end of queue.expire
        sink.controller = type(sink.controller)(sink, hostname=sink.address, port=sink.port)
        sink.controller.start()
        assert client.docmd("ETRN", "branch.test")[0] == 253
        relay.wait_event("delivered", pickup="gone.eml")


def test_etrn_interval_lets_it_go_unasked(make_waiting):
    relay, _, sink = make_waiting(etrn_interval="2s")
    drop_for(relay, "beat.eml", "one@branch.test")
    queued = relay.wait_event("queued", pickup="beat.eml")
    seconds = re.search(r":(\d\d)\.(\d+)Z", queued["next"])
    assert int(seconds[1]) % 2 == 0 and int(seconds[2]) == 0  # on the beat of the clock
    assert relay.wait_event("delivered", pickup="beat.eml")["time"] >= queued["next"]


def test_what_is_asked_while_the_relay_comes_back_is_done(make_waiting):
    relay, port, _ = make_waiting()
    drop_for(relay, "patient.eml", "one@branch.test")
    with Talk(port, STRANGER) as talk:
        talk.say("EHLO branch.test")
        children = open(f"/proc/{relay.pid}/task/{relay.pid}/children").read().split()
        os.kill(int(children[0]), signal.SIGKILL)
        assert talk.say("ETRN branch.test").startswith("253 2.0.0 1 ")
    relay.wait_event("delivered", pickup="patient.eml")


def test_a_reload_makes_a_route_wait_and_lets_it_go(make_waiting):
    relay, port, sink = make_waiting()
    drop_for(relay, "kept.eml", "one@branch.test")
    started = len(relay.events("started"))
    route = dict(relay.config["route"]["branch.test"], etrn_clients=[f"{FRIEND}/32"])
    relay.configure(merge(relay.config, {"route": {"branch.test": route}}))
    relay.reload()
    relay.wait_event("started", count=started + 1)

    def is_taken_over():
        with Talk(port, FRIEND) as talk:
            return talk.codes("EHLO me", "ETRN branch.test") == [250, 253]
    wait_until(is_taken_over, 20, what="the new list of who may ask")
    relay.wait_event("delivered", pickup="kept.eml")


@pytest.mark.parametrize("route, word", [
    ({"*": {"etrn": True}}, "has to name it"), ({"x.test": {"etrn": True, "deliver": "drop"}}, "waits for nobody"),
    ({"x.test": {"etrn_queue": "q"}}, "go with etrn = true"),
    ({"x.test": {"etrn": True, "etrn_clients": ["nonsense"]}}, "user:NAME was expected")])
def test_check_says_what_is_wrong(make_relay, route, word):
    settings, _ = listener()
    relay = make_relay(merge(settings, {"route": route}), start=False)
    done = relay.run("check")
    assert done.returncode != 0 and word in (done.stdout + done.stderr).decode()
