"""Filters behind the listener: opendkim's real milter, and one on libmilter that does each thing a filter may."""
import re
import socket

import pytest

from lib import mail, verifiers
from lib.listener import STRANGER, Talk, listener
from lib.milters import ActionFilter, OpenDkim, Rspamd
from lib.ports import free_port
from lib.receivers import needs_root
from test_inbound_auth import PLAIN, send, signer  # noqa: F401  (a fixture)

CONTENT = (b"From: user@good.test\r\nTo: user@ours.test\r\nSubject:  hi\r\nX-Gone: 1\r\nX-Long: a\r\n\tb\r\nX-Gone: 2\r\n\r\n"
           b"hello\r\n..dots\r\n")


@pytest.fixture
def filtered(relay_to, make_aio, open_things):
    """(relay, port, sink) of a listener with that filter."""
    def create(filters, **milter):
        open_things.extend(one for one in filters if not isinstance(one, str))
        sink = make_aio()
        sockets = [one if isinstance(one, str) else one.socket for one in filters]
        settings, ports = listener(xclient=[STRANGER], milter={"sockets": sockets, **milter})
        return relay_to(sink, settings), ports["mail"], sink
    return create


def body_of(content):
    return mail.split(content)[1]


@pytest.mark.parametrize("kind", ["inet", "unix"])
def test_the_filter_is_told_the_whole_message(filtered, kind):
    one = ActionFilter("accept", kind)
    relay, port, sink = filtered([one])
    assert send(port, CONTENT, client="2001:db8::7").startswith("250")
    seen = one.seen()[0]
    assert seen["connect"] == ("[IPv6:2001:db8::7]", "2001:db8::7") and seen["helo"] == "helo.good.test"
    assert seen["sender"] == "<user@good.test>" and seen["rcpts"] == ["<user@ours.test>"] and seen["i"]
    assert seen["fields"] == [("From", "user@good.test"), ("To", "user@ours.test"), ("Subject", " hi"), ("X-Gone", "1"),
                              ("X-Long", "a\n\tb"), ("X-Gone", "2")]
    assert seen["body"] == b"hello\r\n..dots\r\n"
    got = sink.wait(1)[0].original_content
    assert got.endswith(CONTENT) and not relay.events("filtered")


def test_changes_of_fields_reach_the_reader(filtered):
    relay, port, sink = filtered([ActionFilter("change")])
    assert send(port, CONTENT).startswith("250")
    fields = [(name, raw) for name, raw in mail.fields(sink.wait(1)[0].original_content) if name != b"received"]
    assert [raw for _, raw in fields] == [
        b"X-First: 1\r\n", b"From: user@good.test\r\n", b"To: user@ours.test\r\n", b"Subject: changed\r\n", b"X-Long: a\r\n\tb\r\n",
        b"X-Last: one\r\n\ttwo\r\n", b"X-New: new\r\n\tFrom: forged\r\n"]
    assert body_of(sink.envelopes[0].original_content) == b"hello\r\n..dots\r\n"
    assert relay.wait_event("filtered")["note"] == "changed"


def test_a_new_body(filtered):
    _, port, sink = filtered([ActionFilter("body")])
    assert send(port, CONTENT).startswith("250")
    assert body_of(sink.wait(1)[0].original_content) == b"new body\r\nwith lines\r\n"


@pytest.mark.parametrize("name,reply,note", [
    ("reject", "550 5.7.1 refused by a filter", "refused"), ("tempfail", "451 4.7.1 ", "refused"),
    ("reply", "554 5.7.9 not this one", "refused"), ("reject_mail", "550 5.7.1 ", "refused"),
    ("recipients", "451 ", "refused"),  # libmilter itself says that it was not offered
])
def test_what_a_filter_refuses_is_refused(filtered, name, reply, note):
    relay, port, _ = filtered([ActionFilter(name)])
    assert send(port, CONTENT).startswith(reply)
    assert relay.wait_event("filtered")["note"] == note
    assert not relay.events("taken") and not list(relay.pickup.glob("*.eml"))


def test_one_recipient_that_is_refused_is_the_message_refused(filtered):
    relay, port, _ = filtered([ActionFilter("reject_second")])
    with Talk(port, STRANGER) as talk:
        assert talk.codes("EHLO x", "MAIL FROM:<a@b.test>", "RCPT TO:<user@ours.test>", "RCPT TO:<two@ours.test>", "DATA")[-1] == 354
        assert talk.say(PLAIN + b".").startswith("550")


def test_a_discarded_message_is_taken_and_gone_and_it_is_said(filtered):
    relay, port, sink = filtered([ActionFilter("discard")])
    assert send(port, CONTENT).startswith("250")
    event = relay.wait_event("filtered", note="discarded")
    assert event["from"] == "user@good.test" and event["to"] == "user@ours.test"
    assert not relay.events("taken") and not list(relay.pickup.glob("*.eml")) and not sink.envelopes


def test_a_held_message_waits_until_it_is_released(filtered):
    relay, port, sink = filtered([ActionFilter("hold")])
    assert send(port, CONTENT).startswith("250")
    assert relay.wait_event("filtered", note="held")["reason"] == "looks odd"
    taken = relay.wait_event("taken")
    assert '"held"' in relay.run("queue", "list", "--json").stdout.decode() and not sink.envelopes
    relay.run("queue", "release", taken["id"], check=0)
    assert b"X-Mailroot-Hold" not in sink.wait(1)[0].original_content


def test_a_stranger_s_hold_line_is_text_and_is_not_sent_on(filtered):
    _, port, sink = filtered([ActionFilter("accept")])
    assert send(port, b"X-Mailroot-Hold: please\r\n" + PLAIN).startswith("250")
    assert sink.wait(1)


@pytest.mark.parametrize("failure", ["tempfail", "accept"])
@pytest.mark.parametrize("what", ["away", "hangs", "garbage", "closes"])
def test_a_filter_that_fails(filtered, open_things, failure, what):
    timeout = {"timeout": "500ms"} if what == "hangs" else {}
    if what == "away":
        place = f"inet:127.0.0.1:{free_port()}"
    elif what == "hangs":
        place = ActionFilter("hang")
    else:
        place = Nonsense(b"\0\0\0\1c\xff\xff\xff\xff\xffhello" if what == "garbage" else b"")
    relay, port, sink = filtered([place], failure=failure, **timeout)
    reply = send(port, PLAIN)
    assert reply.startswith("451 4.7.1" if failure == "tempfail" else "250"), reply
    event = relay.wait_event("filtered", note="failed" if failure == "tempfail" else "passed over")
    assert event["reason"]
    if failure == "accept":
        assert sink.wait(1)


class Nonsense:
    """Accepts, says that, closes."""

    def __init__(self, text):
        import threading
        self.server = socket.create_server(("127.0.0.1", 0))
        self.socket = f"inet:127.0.0.1:{self.server.getsockname()[1]}"
        self.text = text
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with client:
                client.sendall(self.text)
                client.recv(1000)

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)  # a thread that still waits here would take a later socket's connection
        self.thread.join()
        self.server.close()


def test_filters_come_one_behind_the_other_and_large_messages_go_through(filtered):
    first, second = ActionFilter("change"), ActionFilter("skip", "unix")
    _, port, sink = filtered([first, second])
    content = CONTENT + b"0123456789 abcdefgh\r\n" * 100000
    assert send(port, content).startswith("250")
    assert ("Subject", "changed") in second.seen()[0]["fields"] and len(second.seen()[0]["body"]) < 1000000
    assert len(first.seen()[0]["body"]) > 2000000
    assert body_of(sink.wait(1)[0].original_content) == body_of(content)


# ---- opendkim itself ----

def test_opendkim_verifies_what_it_is_told(filtered, signer):  # noqa: F811
    sign, records = signer
    relay, port, sink = filtered([OpenDkim(records={name: text for name, text in records.items() if "rsa" in name})])
    for options in ({}, {"canonicalize": (b"simple", b"simple")}):
        assert send(port, sign(CONTENT, **options)).startswith("250")
    assert send(port, sign(CONTENT).replace(b"hello", b"other")).startswith("250")
    found = [mail.field(envelope.original_content, "Authentication-Results") for envelope in sink.wait(3)]
    assert [re.search(r"dkim=(\w+)", text)[1] for text in found] == ["pass", "pass", "fail"], found


def test_what_opendkim_signs_is_signed_rightly(filtered, signer):  # noqa: F811
    sign, records = signer
    _, port, sink = filtered([OpenDkim(sign=("good.test", "s1-rsa", sign.path))])
    with Talk(port, STRANGER) as talk:
        talk.envelope()
        assert talk.say(CONTENT.replace(b"\r\n..", b"\r\n...") + b".").startswith("250")
    got = sink.wait(1)[0].original_content
    assert verifiers.dkimpy(got, records) == [True]


@pytest.mark.skipif(not needs_root(), reason="rspamd wants to be started by root")
def test_rspamd_refuses_what_scanners_are_tested_with(filtered):
    relay, port, sink = filtered([Rspamd()])
    gtube = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
    assert re.match(r"55\d 5\.7\.1 .*gtube", send(port, PLAIN + gtube), re.I)
    relay.wait_event("filtered", note="refused")
    assert send(port, PLAIN).startswith("250") and len(sink.wait(1)) == 1
