"""Webhooks: every outcome is told, signed, in order for each message, again until it is taken; over restarts and rotations."""
import json
import os

import pytest

from lib import mail
from lib.endpoint import Endpoint
from lib.ports import free_port
from lib.relay import Relay
from lib.signed import Authority
from lib.watch import wait_until

SECRET = b"a secret of the test"


@pytest.fixture
def make_endpoint():
    opened = []

    def create(*arguments, **options):
        opened.append(Endpoint(*arguments, **options))
        return opened[-1]
    yield create
    for endpoint in opened:
        endpoint.close()


@pytest.fixture
def make_authority():
    opened = []

    def create():
        opened.append(Authority())
        return opened[-1]
    yield create
    for authority in opened:
        authority.close()


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "hook.secret"
    path.write_bytes(SECRET + b"\n")
    path.chmod(0o600)
    return path


def hook(port, secret, **changes):
    return {"hook": {"shop": {"url": f"http://127.0.0.1:{port}/mail?x=1", "secret_file": str(secret), "retry_first": "20ms",
                              "retry_longest": "100ms", **changes}}}


def send(relay, count, to="u@d.test", kind="delivered"):
    names = [relay.drop(f"m{number}-{kind}.eml", mail.message(to=to)) for number in range(count)]
    for name in names:
        relay.wait_event(kind, pickup=name)
    return names


def kinds(requests, pickup=None):
    return [request["type"] for request in requests if pickup in (None, request["data"].get("pickup"))]


def test_outcomes_are_told_and_signed(relay_to, make_server, make_endpoint, secret_file):
    server, endpoint = make_server([("RCPT TO:<nobody", "550 5.1.1 nobody")]), make_endpoint()
    relay = relay_to(server, hook(endpoint.port, secret_file))
    relay.send("bad.eml", mail.message(to="nobody@d.test"), kind="bounced")
    send(relay, 2)
    taken = endpoint.wait(4)
    assert sorted(kinds(taken)) == ["bounced", "delivered", "delivered", "delivered"]  # one is the notice of the bounce
    log = relay.events()
    for request in taken:
        assert set(request) == {"id", "status", "type", "timestamp", "data"} and request["data"] in log
        assert request["timestamp"] == request["data"]["time"]
    assert len({request["id"] for request in taken}) == len(taken)
    assert SECRET.decode() not in relay.stderr_text() + relay.events_file.read_text()


def test_the_process_is_confined_and_reads_its_config_again(relay_to, make_server, make_endpoint, secret_file):
    first, second = make_endpoint(), make_endpoint()
    relay = relay_to(make_server(), hook(first.port, secret_file))
    send(relay, 1)
    first.wait(1)
    children = open(f"/proc/{relay.pid}/task/{relay.pid}/children").read().split()
    assert len(children) == 2
    for pid in children:
        status = open(f"/proc/{pid}/status").read()
        assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status
    relay.configure({**relay.config, **hook(second.port, secret_file)})
    relay.reload()
    relay.wait_events("started", 2)
    relay._wait(lambda: not {*children} & {*open(f"/proc/{relay.pid}/task/{relay.pid}/children").read().split()}, "both processes anew", 20)
    relay.send("after.eml", mail.message())
    assert [request["data"]["pickup"] for request in second.wait(1)] == ["after.eml"]


def test_a_secret_may_be_base64(relay_to, make_server, make_endpoint, secret_file):
    import base64
    key = os.urandom(24)
    secret_file.write_bytes(b"whsec_" + base64.b64encode(key))
    endpoint = make_endpoint(secret=key)
    relay = relay_to(make_server(), hook(endpoint.port, secret_file, events="taken,done"))
    send(relay, 1)
    assert kinds(endpoint.wait(2)) == ["taken", "done"]


def test_B3_an_endpoint_that_fails_is_probed_by_one_request_until_it_works(relay_to, make_server, make_endpoint, secret_file):
    endpoint = make_endpoint(answer=lambda event, count: 200 if len(endpoint.requests) >= 6 else (503, 500, 429, 302, 408, 425)[len(endpoint.requests)])
    relay = relay_to(make_server(), hook(endpoint.port, secret_file))
    relay.send("first.eml", mail.message())
    wait_until(lambda: "does not take events" in relay.stderr_text(), 10, what="the first answer")  # several at once would come in any order
    names = ["first.eml", *send(relay, 9)]
    taken = endpoint.wait(10)
    assert {request["data"]["pickup"] for request in taken} == set(names) and len(taken) == 10
    assert [request["status"] for request in endpoint.requests][:6] == [503, 500, 429, 302, 408, 425]
    assert "does not take events: it answered 503" in relay.stderr_text() and relay.stderr_text().count("does not take events") == 1


def test_B2_a_message_has_its_events_in_order_and_others_overtake(relay_to, make_server, make_endpoint, secret_file):
    """The first event of one message is refused four times: its later ones wait for it, those of other messages do not."""
    def answer(event, count):
        return 422 if event["type"] == "taken" and event["data"]["pickup"] == "slow.eml" and count < 5 else 200
    endpoint = make_endpoint(answer=answer)
    relay = relay_to(make_server(), hook(endpoint.port, secret_file, events="taken,delivered,done", retry_first="50ms"))
    relay.send("slow.eml", mail.message())
    send(relay, 5)
    taken = endpoint.wait(18)
    assert kinds(taken, "slow.eml") == ["taken", "delivered", "done"]
    order = [request["data"]["pickup"] for request in taken]
    assert order.index("slow.eml") > 0, "nothing overtook the message that was refused"
    for number in range(5):
        assert kinds(taken, f"m{number}-delivered.eml") == ["taken", "delivered", "done"]
    assert not (relay.root / "Hooks" / "shop.undelivered").exists()


def test_B4_what_is_refused_is_set_aside_and_told(relay_to, make_server, make_endpoint, secret_file):
    endpoint = make_endpoint(answer=lambda event, count: 400 if event["data"]["pickup"] == "bad.eml" and event["type"] == "taken" else 200)
    relay = relay_to(make_server(), hook(endpoint.port, secret_file, events="taken,delivered"))
    relay.send("bad.eml", mail.message())
    taken = endpoint.wait(1)
    assert kinds(taken) == ["delivered"]
    aside = [json.loads(line) for line in (relay.root / "Hooks" / "shop.undelivered").read_text().splitlines()]
    assert len(aside) == 1 and aside[0]["reason"] == "it answered 400" and aside[0]["event"]["data"]["pickup"] == "bad.eml"
    assert list(endpoint.counts.values()).count(5) == 1 and "set aside: evt_" in relay.stderr_text()


def test_B4_what_is_older_than_give_up_is_set_aside(relay_to, make_server, secret_file):
    """Nobody listens: an event is kept for give_up, then it is in the file, not lost."""
    relay = relay_to(make_server(), hook(free_port(), secret_file, give_up="1s"))
    names = send(relay, 3)
    file = relay.root / "Hooks" / "shop.undelivered"
    wait_until(lambda: file.exists() and len(file.read_text().splitlines()) == 3, 30, what="three events set aside")
    assert sorted(json.loads(line)["event"]["data"]["pickup"] for line in file.read_text().splitlines()) == names


def test_B1_events_survive_the_end_of_the_relay_and_come_once(relay_to, make_server, make_endpoint, secret_file):
    """SIGTERM, and kill -9 while the endpoint is down: what was taken doesn't come again, the rest comes."""
    endpoint = make_endpoint()
    relay = relay_to(make_server(), hook(endpoint.port, secret_file))
    send(relay, 3)
    endpoint.wait(3)
    relay.stop()
    relay.start()
    endpoint.close()
    names = [relay.drop(f"later{number}.eml", mail.message()) for number in range(20)]
    for name in names:
        relay.wait_event("delivered", pickup=name)
    relay.kill()
    second = make_endpoint(port=endpoint.port)
    relay.start()
    second.wait(20)
    relay.send("last.eml", mail.message())
    taken = second.wait(21)
    assert sorted(request["data"]["pickup"] for request in taken) == sorted(names + ["last.eml"])
    assert len(endpoint.taken()) == 3


def test_F1_events_in_rotated_logs_are_told(relay_to, make_server, make_endpoint, secret_file):
    """The endpoint is down while the log is rotated several times, and the relay is started anew."""
    relay = relay_to(make_server(), {"events": {"rotate_size": "4KB", "keep": 50}, **hook(port := free_port(), secret_file)})
    names = []
    for number in range(30):
        relay._events, relay._read, relay._part = [], 0, b""
        names.append(relay.drop(f"r{number}.eml", mail.message()))
        relay._wait(lambda: not relay.waiting() and not relay.claims() and relay.status()["messages"] == 0, "delivery", 30)
    assert len(list((relay.root / "Log").iterdir())) > 3
    relay._events, relay._read = [], 0
    os.kill(relay.pid, 15)
    relay.process.wait(20)
    relay.process = None
    endpoint = make_endpoint(port=port)
    relay.start(wait=False)
    taken = endpoint.wait(30)
    assert sorted(request["data"]["pickup"] for request in taken) == sorted(names)


def test_https_with_the_right_authority_only(relay_to, make_server, make_endpoint, secret_file, make_authority):
    good, other = make_authority(), make_authority()
    endpoint = make_endpoint(tls=good.certificate("localhost"))
    relay = relay_to(make_server(), hook(endpoint.port, secret_file, url=f"https://localhost:{endpoint.port}/", ca_file=str(good.file)))
    send(relay, 1)
    endpoint.wait(1)
    relay.stop()
    relay.configure({**relay.config, **hook(endpoint.port, secret_file, url=f"https://localhost:{endpoint.port}/", ca_file=str(other.file))})
    relay.start()
    relay.send("second.eml", mail.message())
    relay._wait(lambda: "does not take events: SSL" in relay.stderr_text(), "a refusal", 20)
    assert len(endpoint.requests) == 1


MISTAKES = [
    ({"url": "ftp://x.test/"}, "url: https://"), ({"url": "http://example.com/"}, "url: https://"), ({"url": "http://localhost.evil.test/"}, "url: https://"),
    ({"url": "https:///x"}, "url: https://"), ({"secret_file": "relative"}, "secret_file: the absolute path"),
    ({"events": "delivered,delivred"}, 'there is no event "delivred"'), ({"parallel": 0}, "parallel"), ({"colour": "red"}, "unknown key of a hook"),
]


@pytest.mark.parametrize("changes,words", MISTAKES, ids=[row[1] for row in MISTAKES])
def test_mistakes_are_told_with_what_was_expected(secret_file, changes, words):
    relay = Relay(hook(1, secret_file, **changes), start=False)
    assert words in relay.run("check", check=78).stdout.decode() + relay.run("check").stderr.decode()
    relay.close()


@pytest.mark.parametrize("content,mode,words", [(b"short", 0o600, "at least 16 octets"), (SECRET, 0o644, "everybody may read it"),
                                                (b"whsec_!!!!", 0o600, "at least 16 octets"), (None, 0o600, "No such file")])
def test_a_secret_that_is_none_stops_the_start(secret_file, content, mode, words):
    if content is None:
        secret_file.unlink()
    else:
        secret_file.write_bytes(content)
        secret_file.chmod(mode)
    relay = Relay(hook(1, secret_file), start=False)
    done = relay.run("run")
    assert done.returncode == 78 and words in done.stderr.decode()
    relay.close()
