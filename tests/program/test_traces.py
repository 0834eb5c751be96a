"""Traces: spans of OpenTelemetry for each message, joined to the application's, over restarts; mail waits for none of it."""
import json
import smtplib
import threading
import time

import pytest

from conftest import maker
from lib import mail
from lib.collector import Collector
from lib.ports import free_port
from lib.relay import Relay
from lib.signed import Authority
from lib.watch import wait_until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def parent(flags="01", trace=TRACE):
    return f"traceparent: 00-{trace}-{PARENT}-{flags}\r\n"


make_collector = maker(Collector)


def otlp(port, **changes):
    return {"otlp": {"url": f"http://127.0.0.1:{port}", "interval": "50ms", **changes}}


def test_a_trace_from_the_file_to_each_recipients_end(relay_to, make_server, make_collector):
    server = make_server([("RCPT TO:<nobody", "550 5.1.1 <nobody@d.test> is not here")])
    collector = make_collector()
    relay = relay_to(server, otlp(collector.port))
    before = time.time_ns()
    relay.drop("order.eml", mail.message(to="a@d.test, nobody@d.test", more=parent() + "tracestate: vendor=opaque\r\n"))
    message = collector.wait_span(name="message", mailroot__pickup="order.eml")
    notice = collector.wait_span(2, name="message")
    collector.check()
    assert (message.trace, message.parent, message.error) == (TRACE, PARENT, None)
    assert message.resource["service.name"] == "mailroot" and message.resource["host.name"] == "relay.test"
    take, = collector.spans(name="take")
    assert take.parent == message.id and take.begin == message.begin and take.end <= message.end
    assert take.attributes["mailroot.dialect"] == "plain" and take.attributes["mailroot.recipients"] == 2
    assert before - 20_000_000 <= message.begin <= message.end <= time.time_ns()
    recipients = {span.attributes["mailroot.outcome"]: span for span in collector.spans(name="recipient") if span.parent == message.id}
    attempts = {}
    assert set(recipients) == {"delivered", "bounced"}
    for outcome, span in recipients.items():
        attempt = [one for one in collector.spans(name="attempt") if one.parent == span.id]
        attempts[outcome] = attempt[0]
        assert len(attempt) == 1 and attempt[0].attributes["mailroot.outcome"] == outcome
        assert message.begin <= span.begin <= attempt[0].begin <= attempt[0].end <= span.end <= message.end
    fine, failed = attempts["delivered"], recipients["bounced"]
    assert fine.error is None and fine.attributes["mailroot.destination"] == "d.test" and fine.attributes["mailroot.reply_code"] == 250
    assert fine.attributes["network.peer.address"] == server.address and fine.attributes["network.peer.port"] == server.port
    assert fine.attributes["server.address"] and fine.attributes["mailroot.tls_policy"] and fine.attributes["mailroot.attempt"] == 1
    assert failed.error.startswith("bounced: 550 5.1.1 ") and failed.attributes["mailroot.enhanced_status"] == "5.1.1"
    assert notice.trace == TRACE and notice.parent == message.id, "the notice belongs to the trace of its message"
    for content in [one.content for one in server.transactions]:
        header = content.split(b"\r\n\r\n")[0].lower()
        assert b"traceparent" not in header and b"tracestate" not in header
    text = str([request["body"] for request in collector.requests])
    assert "@" not in text.replace(relay.events("taken")[0]["message_id"], ""), "N4: no address"


def test_N4_addresses_are_told_if_that_is_wished(relay_to, make_server, make_collector):
    collector = make_collector()
    relay = relay_to(make_server([("RCPT", "550 5.1.1 <a@d.test> is not here")]), otlp(collector.port, addresses=True, service_name="shop-mail"))
    relay.drop("a.eml", mail.message(to="a@d.test"))
    span = collector.wait_span(name="recipient", mailroot__recipient="a@d.test")
    assert span.attributes["mailroot.reply"].endswith("<a@d.test> is not here") and span.resource["service.name"] == "shop-mail"


def test_N2_a_message_without_a_traceparent_has_a_trace_of_its_own(relay_to, make_server, make_collector):
    collector = make_collector()
    relay = relay_to(make_server(), otlp(collector.port))
    bad = [parent(trace="0" * 32), parent(trace=TRACE.upper()), "traceparent: 00-1-2-3\r\n", parent() + parent(), "traceparent:\r\n"]
    for number, line in enumerate(["", *bad]):
        relay.send(f"{number}.eml", mail.message(more=line))
        assert ("traceparent-invalid" in relay.events("taken")[-1].get("repairs", "")) == bool(line)
    collector.wait_span(6, name="message")
    traces = {span.trace for span in collector.spans(name="message")}
    assert len(traces) == 6 and TRACE not in traces and all(span.parent is None for span in collector.spans(name="message"))
    for trace in traces:
        assert [span.name for span in collector.spans() if span.trace == trace] == ["take", "attempt", "recipient", "message"]


def test_N3_what_the_application_does_not_record_has_no_spans(relay_to, make_server, make_collector):
    collector, server = make_collector(), make_server()
    relay = relay_to(server, otlp(collector.port))
    relay.send("quiet.eml", mail.message(more=parent("00")))
    relay.send("told.eml", mail.message(more=parent("03")))
    collector.wait_span(name="message", mailroot__pickup="told.eml")
    assert collector.spans(mailroot__pickup="quiet.eml") == []
    assert all(b"traceparent" not in one.content for one in server.transactions)


def test_the_header_goes_without_otlp_too_and_events_name_the_trace(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    delivered = relay.send("a.eml", mail.message(more=parent()))
    assert delivered["trace"] == f"{TRACE}-{PARENT}-01"
    assert b"traceparent" not in server.transactions[0].content
    assert "trace" not in relay.send("b.eml", mail.message())


def test_submissions_are_joined_and_what_another_relay_sends_is_left_as_it_is(relay_to, make_server, make_collector):
    collector, server, address = make_collector(), make_server(), ("127.0.0.1", free_port())
    relay = relay_to(server, {**otlp(collector.port), "smtp": {"listen": [f"{address[0]}:{address[1]}"], "domains": ["d.test"]}})
    content = mail.message(to="u@d.test", more=parent())
    with smtplib.SMTP(*address) as client:
        client.sendmail("app@sender.test", ["u@d.test"], content)
    assert collector.wait_span(name="message").trace == TRACE
    relay.configure({**relay.config, "smtp": {**relay.config["smtp"], "relay_networks": ["203.0.113.0/24"]}})
    relay.stop()
    relay.start()
    with smtplib.SMTP(*address) as client:
        client.sendmail("stranger@sender.test", ["u@d.test"], content)
    assert collector.wait_span(2, name="message").trace != TRACE, "a stranger joins no trace of ours"
    relay.wait_events("done", 2)
    assert [one.content.count(b"traceparent") for one in server.transactions] == [0, 1]


def test_deferred_messages_keep_their_trace_over_restarts(relay_to, make_server, make_collector):
    """Taken and tried by one process, killed; delivered by the next one: the same trace, the root begins with the file."""
    collector, server = make_collector(), make_server([("RCPT", "450 4.2.0 later")])
    config = {**otlp(collector.port), "queue": {"retry_first": "1s", "retry_second": "1s", "retry_third": "1s", "retry_subsequent": "1s"}}
    relay = relay_to(server, config)
    relay.drop("joined.eml", mail.message(more=parent()))
    relay.drop("own.eml", mail.message())
    collector.wait_span(name="attempt", mailroot__outcome="deferred", mailroot__queue_id=relay.wait_event("taken", pickup="own.eml")["id"])
    deferred = collector.wait_span(name="attempt", mailroot__outcome="deferred",
                                   mailroot__queue_id=relay.wait_event("taken", pickup="joined.eml")["id"])
    assert deferred.error.startswith("deferred: 450 4.2.0")
    assert collector.spans(name="recipient") == []
    relay.kill()
    server.table.clear()
    relay.start()
    for name in ("joined.eml", "own.eml"):
        message = collector.wait_span(name="message", mailroot__pickup=name)
        take, = {span.id: span for span in collector.spans(name="take", mailroot__pickup=name)}.values()
        assert take.trace == message.trace and abs(take.begin - message.begin) <= 2_000_000 and take.parent == message.id  # ns
        assert {span.trace for span in collector.spans(mailroot__queue_id=message.attributes["mailroot.queue_id"])} == {message.trace}
        attempts = {span.id for span in collector.spans(name="attempt", mailroot__queue_id=message.attributes["mailroot.queue_id"])}
        assert len(attempts) >= 2
    assert collector.spans(name="message", mailroot__pickup="joined.eml")[0].trace == TRACE
    collector.check()


def test_P3_429_and_503_are_obeyed_and_nothing_is_lost(relay_to, make_server, make_collector):
    times = []

    def answer(_, count):
        times.append(time.monotonic())
        return {1: 503, 2: 429, 3: 502, 4: 504}.get(count, 200)
    collector = make_collector(answer=answer)
    collector.headers["Retry-After"] = "1"
    relay = relay_to(make_server(), otlp(collector.port))
    for number in range(5):
        relay.send(f"{number}.eml", mail.message())
    collector.wait_span(5, name="message")
    waits = [after - before for before, after in zip(times, times[1:5])]
    assert all(0.9 < wait < 3 for wait in waits), waits
    assert len({span.id for span in collector.spans(name="message")}) == 5 and collector.most_at_once == 1
    assert relay.stderr_text().count("otlp: the collector does not take spans: it answered 503") == 1
    wait_until(lambda: "otlp: the collector answers again" in relay.stderr_text(), 10)


def test_P3_P4_what_may_not_be_sent_again_is_dropped_counted_and_told(relay_to, make_server, make_collector):
    collector = make_collector(answer=lambda _, count: 400 if count == 1 else 200)
    relay = relay_to(make_server(), otlp(collector.port, interval="1s"))
    relay.send("a.eml", mail.message())
    wait_until(lambda: "otlp: 4 spans dropped: it answered 400" in relay.stderr_text(), 20, what="the count")
    collector.body = b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}}'
    relay.send("b.eml", mail.message())
    collector.wait_span(name="message", mailroot__pickup="b.eml")
    relay.stop()
    assert "otlp: 2 spans dropped: it rejected them: too old" in relay.stderr_text()


def test_P1_a_collector_that_is_down_or_hangs_holds_no_mail_up(relay_to, make_server, make_collector):
    hangs = threading.Event()
    collector = make_collector(answer=lambda *_: hangs.wait(60) and 200)
    relay = relay_to(make_server(), otlp(collector.port, timeout="1s"))
    for number in range(200):
        relay.drop(f"{number}.eml", mail.message())
    relay.wait_events("delivered", 200)
    relay.wait_empty()
    hangs.set()
    wait_until(lambda: len({span.id for span in collector.spans(name="message")}) == 200, 60, what="all spans")
    collector.check()


def test_P5_what_a_collector_missed_while_it_was_away_comes_after_a_restart(relay_to, make_server, make_collector):
    port = free_port()
    relay = relay_to(make_server(), otlp(port))
    for number in range(20):
        relay.send(f"{number}.eml", mail.message())
    relay.wait_events("done", 20)
    relay.kill()
    collector = make_collector(port=port)
    relay.start()
    wait_until(lambda: len({span.id for span in collector.spans(name="message")}) == 20, 30, what="spans of before")
    relay.send("last.eml", mail.message())
    collector.wait_span(name="message", mailroot__pickup="last.eml")
    state = relay.root / "Hooks" / ".otlp.json"
    wait_until(lambda: json.loads(state.read_text())["offset"] == relay.events_file.stat().st_size, 10, what="the place behind all")
    seen = len(collector.requests)
    relay.stop()
    relay.start()
    relay.send("again.eml", mail.message())
    collector.wait_span(name="message", mailroot__pickup="again.eml")
    late = collector.requests[seen:]
    assert "last.eml" not in str(late), "what was told is not told again after an orderly end"


def test_refused_and_duplicate_files_are_told(relay_to, make_server, make_collector):
    collector = make_collector()
    relay = relay_to(make_server(), otlp(collector.port))
    relay.drop("bad.eml", b"Subject: from nobody\r\nTo: a@d.test\r\n\r\nx\r\n")
    assert collector.wait_span(name="message", mailroot__pickup="bad.eml").error.startswith("refused: ")
    for number in range(2):
        relay.drop(f"{number}.eml", mail.message(more="X-Idempotency-Key: k\r\n" + parent()))
        relay.wait_event("delivered" if number == 0 else "duplicate", pickup=f"{number}.eml")
    second = collector.wait_span(name="message", mailroot__pickup="1.eml")
    assert second.trace == TRACE and second.attributes["mailroot.about"] == relay.wait_event("taken", pickup="0.eml")["id"]


def test_headers_come_from_a_file_and_stay_secret_over_https(relay_to, make_server, make_collector, tmp_path, open_things):
    authority = Authority()
    open_things.append(authority)
    collector = make_collector(tls=authority.certificate("localhost"))
    secret = tmp_path / "headers"
    secret.write_text("Authorization: Bearer hush-hush\nX-Tenant: 7\n")
    secret.chmod(0o600)
    relay = relay_to(make_server(), {"otlp": {"url": f"https://localhost:{collector.port}/otlp/v1/traces", "interval": "50ms",
                                              "headers_file": str(secret), "ca_file": str(authority.file)}})
    relay.send("a.eml", mail.message())
    collector.wait_span(name="message")
    assert collector.requests[0]["headers"]["Authorization"] == "Bearer hush-hush" and collector.requests[0]["headers"]["X-Tenant"] == "7"
    assert "hush-hush" not in relay.stderr_text() + relay.events_file.read_text()
    children = open(f"/proc/{relay.pid}/task/{relay.pid}/children").read().split()
    assert all("Seccomp:\t2" in open(f"/proc/{pid}/status").read() for pid in children) and len(children) == 2


@pytest.mark.parametrize("changes,words", [
    ({"url": "ftp://x.test/"}, "otlp.url"), ({"url": "https:///x"}, "otlp.url"), ({"url": "http://collector.test:4318", "addresses": True}, "neither addresses nor"),
    ({"headers_file": "relative"}, "otlp.headers_file"), ({"adresses": True}, "did you mean otlp.addresses")])
def test_mistakes_are_told_with_what_was_expected(changes, words):
    relay = Relay(otlp(1, **changes), start=False)
    done = relay.run("check", "--no-dns", check=78)
    assert words in (done.stdout + done.stderr).decode()
    relay.close()


def test_a_headers_file_that_is_none_stops_the_start(tmp_path):
    path = tmp_path / "headers"
    for content, mode, words in (("no colon\n", 0o600, "line 1: a header as in"), ("A: b\n", 0o644, "everybody"), (None, 0, "No such file")):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
            path.chmod(mode)
        relay = Relay(otlp(1, headers_file=str(path)), start=False)
        done = relay.run("run")
        assert done.returncode == 78 and words in done.stderr.decode(), done.stderr
        relay.close()
