"""Mail for local domains: Drop, Maildir, LMTP, and aliases."""
import mailbox
import os
import re
import shutil
import tempfile

import pytest
from aiosmtpd.controller import Controller, UnixSocketController
from aiosmtpd.lmtp import LMTP

from lib import mail
from lib.ports import loopback, MX_PORT
from lib.relay import USER
from lib.watch import wait_until

LOCAL = {"local": {"domains": ["example.test", "alias.test"]}}


def drops(folder):
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if folder.exists() else []


def wait_drops(folder, count=1):
    wait_until(lambda: len(drops(folder)) >= count, 20, what=f"{count} files in {folder}")
    return [(folder / name).read_bytes() for name in drops(folder)]


def give(path):
    path.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(path, USER)
    return path


def test_a_drop_file_is_named_and_headed_as_iis_did(make_relay):
    relay = make_relay(LOCAL)
    relay.drop("d.eml", b"X-Sender: <a@far.test>\r\nX-Receiver: <one@example.test>\r\nX-Receiver: <Two@alias.test>\r\n"
                        b"From: a@far.test\r\nSubject: s\r\n\r\n.dot\r\n")
    relay.wait_event("done")
    relay.wait_empty()
    assert re.fullmatch(r"[0-9a-f]{24}\.eml", *drops(relay.root / "Drop"))
    content = wait_drops(relay.root / "Drop")[0]
    assert content.startswith(b"x-sender: a@far.test\r\nx-receiver: one@example.test\r\nx-receiver: Two@alias.test\r\n"
                              b"Received: ")
    assert content.endswith(b"\r\n\r\n.dot\r\n")
    event = relay.events("delivered")[0]
    assert event["stage"] == "drop" and event["reason"].startswith("written as ")


def test_recipients_of_one_domain_share_a_drop_file(make_relay):
    relay = make_relay(LOCAL)
    relay.send("m.eml", mail.message(to="a@example.test, b@example.test, c@example.test"))
    content = wait_drops(relay.root / "Drop")[0]
    assert re.findall(rb"^x-receiver: (.*)\r$", content, re.M) == [b"a@example.test", b"b@example.test", b"c@example.test"]
    assert len(drops(relay.root / "Drop")) == 1


def test_a_drop_file_moved_into_pickup_goes_on(make_relay, relay_to, make_server):
    relay = make_relay(LOCAL)
    relay.send("m.eml", mail.message(to="a@example.test", body="..two\r\n"))
    content = wait_drops(relay.root / "Drop")[0]
    server = make_server()
    other = relay_to(server)
    other.send("again.eml", content)
    transaction = server.transactions[0]
    assert transaction.recipients == ["a@example.test"]
    assert b"x-receiver" not in transaction.content.lower() and transaction.content.endswith(b"..two\r\n")


def test_a_domain_may_have_a_drop_of_its_own_and_others_are_sent(make_relay, make_server):
    server = make_server()
    relay = make_relay({"route": {"one.test": {"deliver": "drop", "drop_dir": "Drop/one"},
                                  "*": {"hosts": [f"[{server.address}]:{server.port}"]}}})
    relay.drop("m.eml", mail.message(to="a@one.test, b@far.test"))
    relay.wait_events("delivered", 2)
    assert b"x-receiver: a@one.test\r\n" in wait_drops(relay.root / "Drop" / "one")[0]
    assert [t.recipients for t in server.transactions] == [["b@far.test"]]


def test_a_null_sender_and_a_large_message_are_dropped_whole(make_relay):
    relay = make_relay(LOCAL)
    body = "line of text\r\n" * 30000
    relay.send("n.eml", b"X-Sender: <>\r\nX-Receiver: <a@example.test>\r\nFrom: x@y.test\r\n\r\n" + body.encode())
    content = wait_drops(relay.root / "Drop")[0]
    assert content.startswith(b"x-sender: <>\r\n") and content.endswith(body.encode())


def test_a_drop_that_cannot_be_written_waits_and_loses_nothing(make_relay):
    relay = make_relay({"route": {"example.test": {"deliver": "drop", "drop_dir": "Log/events.jsonl/no"}},
                        "queue": {"retry_first": "1s"}})
    event = relay.send("w.eml", mail.message(to="a@example.test"), "deferred")
    assert event["status"] == "4.3.0"
    relay.configure({"route": {"example.test": {"deliver": "drop"}}, "queue": {"retry_first": "1s"}})
    relay.stop()
    relay.start()
    relay.wait_event("delivered", pickup="w.eml", seconds=30)
    assert len(wait_drops(relay.root / "Drop")) == 1


def test_kill_9_neither_loses_nor_doubles_what_nobody_took(make_relay, quick):
    relay = make_relay(LOCAL)
    count = 150
    for number in range(count):
        relay.drop(f"k{number}.eml", mail.message(to="a@example.test", subject=f"number {number}."))
    for _ in range(2 if quick else 4):
        wait_until(lambda: len(drops(relay.root / "Drop")) >= 5, 20, what="some of it")
        relay.kill()
        relay.start()
    relay.wait_empty(60)
    found = [re.search(rb"number (\d+)\.", content)[1] for content in wait_drops(relay.root / "Drop", count)]
    assert sorted(map(int, found)) == list(range(count))


def test_success_is_told_as_delivered(make_relay):
    relay = make_relay({"local": {"domains": ["example.test", "sender.test"]}})
    relay.send("s.eml", b"X-Sender: <me@sender.test> ENVID=e1\r\nX-Receiver: <a@example.test> NOTIFY=SUCCESS\r\n"
                        b"From: me@sender.test\r\n\r\nx\r\n")
    relay.wait_event("notice", note="delivered")
    contents = wait_drops(relay.root / "Drop", 2)
    report = next(content for content in contents if content.startswith(b"x-sender: <>"))
    assert b"Action: delivered" in report and b"x-receiver: me@sender.test" in report


# ---- Maildir ----

def test_a_maildir_gets_what_python_reads(make_relay):
    relay = make_relay({"route": {"example.test": {"deliver": "maildir", "maildir": "Mail/%d/%u"}}})
    give(relay.root / "Mail" / "example.test" / "joe")
    relay.send("j.eml", mail.message(to="Joe@example.test", subject="to joe", body="one\r\ntwo\r\n"))
    box = mailbox.Maildir(relay.root / "Mail" / "example.test" / "joe", create=False)
    wait_until(lambda: len(box) == 1, 20, what="a message in the Maildir")
    message = next(iter(box))
    assert message["subject"] == "to joe" and message["delivered-to"] == "Joe@example.test"
    assert message.get_payload() == "one\ntwo\n" and message["return-path"]
    assert message.get_subdir() == "new"


def test_no_mailbox_is_told_to_the_sender(make_relay):
    relay = make_relay({"route": {"example.test": {"deliver": "maildir", "maildir": "Mail/%u"},
                                  "sender.test": {"deliver": "drop"}}})
    give(relay.root / "Mail")
    relay.drop("n.eml", mail.message(sender="me@sender.test", to="nobody@example.test"))
    event = relay.wait_event("bounced", pickup="n.eml")
    assert event["status"] == "5.1.1"
    assert b"no such mailbox here" in wait_drops(relay.root / "Drop")[0]


@pytest.mark.parametrize("local", ['"../x"', '"a/../../b"', '".ssh"', '"/etc/cron.d/x"'])
def test_an_address_never_leads_out_of_the_folder(make_relay, local):
    relay = make_relay({"route": {"example.test": {"deliver": "maildir", "maildir": "Mail/%u"}}})
    give(relay.root / "Mail")
    before = sorted(path for path in relay.base.rglob("*") if "Queue" not in str(path))
    relay.drop("t.eml", f"X-Sender: <>\r\nX-Receiver: <{local}@example.test>\r\nFrom: a@b.test\r\n\r\nx\r\n".encode())
    assert relay.wait_event("bounced", pickup="t.eml")["status"] == "5.1.1"
    after = sorted(path for path in relay.base.rglob("*") if "Queue" not in str(path) and "Badmail" not in str(path))
    assert [path for path in after if path not in before and path.parent.name != "Log"] == []


# ---- LMTP ----

class LmtpHandler:
    def __init__(self):
        self.envelopes = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        self.envelopes.append(envelope)
        return "\r\n".join(f"250 2.0.0 <{to}> saved" for to in envelope.rcpt_tos)


@pytest.fixture
def make_lmtp(open_things):
    class Lmtp:
        def __init__(self, path=None):
            handler = self.handler = LmtpHandler()
            factory = lambda self: LMTP(handler, enable_SMTPUTF8=True, hostname="lmtp.test")  # noqa: E731
            if path:
                kind = type("UnixLmtp", (UnixSocketController,), {"factory": factory})
                self.controller = kind(handler, str(path))
                self.host = f"unix:{path}"
            else:
                kind = type("TcpLmtp", (Controller,), {"factory": factory})
                address = loopback()
                self.controller = kind(handler, hostname=address, port=MX_PORT)
                self.host = f"[{address}]:{MX_PORT}"
            self.controller.start()
            if path:
                os.chmod(path, 0o777)

        def close(self):
            self.controller.stop()

    def create(path=None):
        thing = Lmtp(path)
        open_things.append(thing)
        return thing
    return create


@pytest.mark.parametrize("is_unix", [False, True])
def test_lmtp_takes_it_and_has_a_word_for_each_recipient(make_relay, make_lmtp, is_unix):
    folder = tempfile.mkdtemp(prefix="lmtp-")
    os.chmod(folder, 0o755)
    server = make_lmtp(f"{folder}/s" if is_unix else None)
    relay = make_relay({"route": {"example.test": {"deliver": "lmtp", "hosts": [server.host]}}})
    relay.drop("l.eml", mail.message(to="a@example.test, unknown@example.test, b@example.test"))
    relay.wait_events("delivered", 2)
    assert relay.wait_event("bounced")["to"] == "unknown@example.test"
    assert server.handler.envelopes[0].rcpt_tos == ["a@example.test", "b@example.test"]
    assert {event["reply"] for event in relay.events("delivered")} == {
        "250 2.0.0 <a@example.test> saved", "250 2.0.0 <b@example.test> saved"}
    shutil.rmtree(folder, ignore_errors=True)


def test_an_lmtp_socket_that_is_not_there_is_a_reason_to_wait(make_relay):
    relay = make_relay({"route": {"example.test": {"deliver": "lmtp", "hosts": "unix:/nonexistent/lmtp"}}})
    assert relay.send("w.eml", mail.message(to="a@example.test"), "deferred")["status"] == "4.4.1"


# ---- aliases ----

def with_aliases(make_relay, text, config=None, start=True):
    relay = make_relay(LOCAL, start=False)
    path = relay.base / "aliases"
    path.write_text(text)
    relay.configure({"local": {"domains": ["example.test"], "aliases": str(path)}, **(config or {})})
    return relay.start() if start else relay


def test_aliases_are_expanded_once_each_and_orcpt_is_kept(make_relay, make_server):
    server = make_server()
    relay = with_aliases(make_relay, "root: admin, far@x.test\nadmin: joe\npostmaster: root\nbin: root\n",
                         {"route": {"*": {"hosts": [f"[{server.address}]:{server.port}"]}}})
    relay.drop("a.eml", b"X-Sender: <s@x.test>\r\nX-Receiver: <postmaster@example.test>\r\nX-Receiver: <bin@example.test>\r\n"
                        b"X-Receiver: <far@x.test>\r\nX-Receiver: <Root@x.test>\r\nFrom: s@x.test\r\n\r\nx\r\n")
    relay.wait_events("delivered", 3)
    assert b"x-receiver: joe@example.test\r\nReceived" in wait_drops(relay.root / "Drop")[0]
    transaction = server.transactions[0]
    assert transaction.recipients == ["far@x.test", "Root@x.test"]
    assert "ORCPT=rfc822;postmaster@example.test" in transaction.recipient_parameters[0]


@pytest.mark.parametrize("text,expected", [
    ("a: b\nb: a\n", ":2: a loop: b leads back to a"), ("x: ok\na: |/bin/sh\n", ":2: programs are never run"),
    ("a: :include:/etc/passwd\n", ":1: \":include:\""), ("a: /var/mail/x\n", ":1: files are not written"),
])
def test_a_mistake_in_the_aliases_is_said_with_its_line(make_relay, text, expected):
    relay = with_aliases(make_relay, text, start=False)
    done = relay.run("check", "--no-dns")
    assert done.returncode == 78 and expected in done.stderr.decode(), done.stderr


def test_a_notice_follows_an_alias(make_relay):
    relay = with_aliases(make_relay, "me: joe\n", {"route": {"gone.test": {"deliver": "maildir", "maildir": "Mail/%u"}}})
    give(relay.root / "Mail")
    relay.drop("b.eml", mail.message(sender="me@example.test", to="nobody@gone.test"))
    relay.wait_event("bounced")
    assert b"x-receiver: joe@example.test\r\n" in wait_drops(relay.root / "Drop")[0]


def test_route_says_which_folder(make_relay):
    relay = make_relay(LOCAL, start=False)
    answer = relay.run("route", "a@example.test", "--json", json_out=True)
    assert answer["action"] == "deliver" and answer["source"] == "drop" and answer["folder"].endswith("/Drop")


@pytest.mark.parametrize("section,expected", [
    ({"deliver": "lmtp"}, "hosts"), ({"deliver": "maildir", "maildir": "/var/mail"}, "%u"), ({"deliver": "dorp"}, "accepted: smtp, drop"),
    ({"hosts": "unix:/x"}, "lmtp"), ({"deliver": "lmtp", "hosts": "unix:" + "/x" * 40}, "octets"), ({"drop_dir": "/x"}, "deliver = drop"),
])
def test_a_route_that_cannot_be_is_refused(make_relay, section, expected):
    relay = make_relay({"route": {"example.test": section}}, start=False)
    done = relay.run("check", "--no-dns")
    assert done.returncode == 78 and expected in done.stderr.decode(), done.stderr


# ---- the W3C log ----

def test_the_w3c_log_tells_what_the_events_tell(make_relay, make_server):
    server = make_server([("RCPT TO:<bad", "550 5.1.1 no such user")])
    relay = make_relay({"w3c": {"dir": "Log/W3C"}, "local": {"domains": ["example.test"]},
                        "route": {"*": {"hosts": [f"[{server.address}]:{server.port}"]}}})
    relay.drop("w c.eml", mail.message(to="good@far.test, bad@far.test, here@example.test"))
    relay.wait_event("bounced")
    relay.wait_events("delivered", 2)
    relay.stop()
    text = "".join(path.read_text() for path in sorted((relay.root / "Log" / "W3C").glob("ex??????.log")))
    fields = re.search(r"^#Fields: (.*)$", text, re.M)[1].split()
    rows = [dict(zip(fields, line.split(" "), strict=True)) for line in text.splitlines() if not line.startswith("#")]
    assert {(row["cs-method"], row["cs-uri-query"], row["sc-status"]) for row in rows} >= {
        ("PICKUP", "+FROM:<app@sender.test>", "250"), ("DATA", "+TO:<good@far.test>", "250"),
        ("RCPT", "+TO:<bad@far.test>", "550"), ("DROP", "+TO:<here@example.test>", "250")}
    assert {row["c-ip"] for row in rows if row["cs-username"] == "OutboundConnectionCommand"} == {server.address}
    assert {row["cs-uri-stem"] for row in rows if row["cs-method"] == "PICKUP"} == {"w+c.eml"}
