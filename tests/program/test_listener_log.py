"""What the listener tells: events in the relay's log, and its dialogs in IIS's forms."""
import base64
import crypt
import os
import re
import signal

import pytest

from lib.listener import FRIEND, PASSWORD, STRANGER, Talk, listener
from lib.relay import merge
from lib.watch import wait_until

MESSAGE = "From: a@x.test\r\nTo: user@ours.test\r\nSubject: hi\r\n\r\nhello\r\n"


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"user:{crypt.crypt(PASSWORD, crypt.METHOD_SHA256)}\n")
    return path


@pytest.fixture
def make_listener(relay_to, make_aio):
    def create(config=None, **options):
        sink = make_aio()
        settings, ports = listener(**options)
        return relay_to(sink, merge(config or {}, settings)), ports, sink
    return create


def b64(text):
    return base64.b64encode(text.encode()).decode()


def test_each_thing_that_clients_do_is_an_event(make_listener, users):
    denied = "127.0.0.66"
    relay, ports, _ = make_listener(users=users, deny=[f"{denied}/32"])
    with Talk(ports["mail"], denied) as talk:
        assert talk.greeting.startswith("554 5.7.1")
    assert relay.wait_event("turned-away", client=denied)["code"] == 554
    with Talk(ports["tls"], STRANGER, tls=True) as talk:
        talk.codes("EHLO branch.test", f"AUTH PLAIN {b64(chr(0) + 'user' + chr(0) + 'wrong')}", f"AUTH PLAIN {b64(chr(0) + 'user' + chr(0) + PASSWORD)}")
        failed = relay.wait_event("auth-failed", client=STRANGER)
        assert failed["code"] == 535 and failed["note"] == "PLAIN" and "user" not in failed
        proved = relay.wait_event("authenticated", client=STRANGER)
        assert proved["user"] == "user" and proved["helo"] == "branch.test"
        assert talk.codes("MAIL FROM:<a@x.test>", "RCPT TO:<user@ours.test>", "RCPT TO:<two@ours.test>", "DATA") == [250, 250, 250, 354]
        name = re.search(r"taken as (\S+)", talk.say(MESSAGE + "."))[1]
    accepted = relay.wait_event("accepted", pickup=name)
    assert {key: accepted[key] for key in ("client", "helo", "user", "from", "recipients")} == {
        "client": STRANGER, "helo": "branch.test", "user": "user", "from": "a@x.test", "recipients": 2}
    assert accepted["tls"].startswith("TLSv1.3 with cipher ") and accepted["size"] == len(MESSAGE)
    with Talk(ports["mail"], STRANGER) as talk:
        assert talk.codes("EHLO me", "MAIL FROM:<a@x.test>", "RCPT TO:<user@far.test>", "MAIL FROM:<b@x.test> SIZE=99999999999") == [250, 250, 550, 503]
        talk.say("DATA")
        talk.say("RSET")
        talk.say("MAIL FROM:<c@x.test> FOO=1")
    refused = relay.wait_event("denied", stage="rcpt")
    assert (refused["client"], refused["from"], refused["to"], refused["code"]) == (STRANGER, "a@x.test", "user@far.test", 550)
    assert relay.wait_event("denied", stage="mail", **{"from": "c@x.test"})["reply"].startswith("555 5.5.4 ")
    relay.wait_event("denied", stage="data", code=503)
    with Talk(ports["mail"]) as talk:
        talk.envelope()
        talk.say("Subject: x\n.\r\n.")
    assert "bare LF" in relay.wait_event("denied", stage="data", code=554)["reply"]
    with Talk(ports["mail"]) as talk:
        talk.say("NOOP\n", end="")
    assert "bare LF" in relay.wait_event("denied", stage="session")["reply"]
    # trace tells it together with what the relay did.
    relay.wait_event("done", pickup=name)
    queue_id = relay.wait_event("taken", pickup=name)["id"]
    for word in (name, queue_id):
        kinds = [event["event"] for event in relay.run("trace", word, "--json", check=0, json_out=True)]
        assert {"accepted", "taken"} <= set(kinds[:5]) and kinds[-1] == "done", kinds
    assert f"{STRANGER}  user" in relay.run("trace", name, check=0).stdout.decode()
    assert PASSWORD not in relay.events_file.read_text()


def test_events_wait_for_a_relay_that_comes_back(make_listener):
    relay, ports, _ = make_listener(tls=False)
    children = open(f"/proc/{relay.pid}/task/{relay.pid}/children").read().split()
    os.kill(int(children[0]), signal.SIGKILL)
    with Talk(ports["mail"]) as talk:
        talk.envelope()
        name = re.search(r"taken as (\S+)", talk.say(MESSAGE + "."))[1]
    relay.wait_event("accepted", pickup=name)
    relay.wait_event("delivered", pickup=name)


def rows_of(relay, pattern):
    folder = relay.root / "Log" / "W3C"
    return "".join(path.read_text() for path in sorted(folder.glob(pattern))) if folder.exists() else ""


DIALOG = ["EHLO nwtraders.test", "MAIL FROM:<a@x.test> SIZE=100", "RCPT TO:<user@ours.test>", "RCPT TO:<user@far.test>", "DATA"]


def hold_dialog(ports):
    with Talk(ports["mail"], STRANGER) as talk:
        assert talk.codes(*DIALOG) == [250, 250, 250, 550, 354]
        assert talk.codes(MESSAGE + ".", "QUIT") == [250, 221]


def test_the_w3c_log_has_a_line_a_command(make_listener, users):
    relay, ports, _ = make_listener({"w3c": {"dir": "Log/W3C", "fields": [
        "time", "c-ip", "cs-username", "cs-method", "cs-uri-stem", "cs-uri-query", "sc-status", "sc-bytes", "cs-bytes", "cs-version"]}},
        users=users)
    hold_dialog(ports)
    with Talk(ports["tls"], tls=True) as talk:  # no password, in whatever way it comes
        talk.codes("EHLO me", f"AUTH PLAIN {b64(chr(0) + 'user' + chr(0) + 'nope' + PASSWORD)}", "AUTH LOGIN", b64("user"), b64(PASSWORD), b64(PASSWORD),
                   f"PASS {PASSWORD}")
    wait_until(lambda: rows_of(relay, "ex*.log").count("AUTH") == 2, 20, what="the second AUTH in the log")
    relay.stop()
    text = rows_of(relay, "ex*.log")
    rows = [line.split(" ")[1:] for line in text.splitlines() if STRANGER in line and not line.startswith("#")]
    assert rows == [
        [STRANGER, "nwtraders.test", "EHLO", "-", "+nwtraders.test", "250", "10", "21", "SMTP"],
        [STRANGER, "nwtraders.test", "MAIL", "-", "+FROM:<a@x.test>+SIZE=100", "250", "14", "31", "SMTP"],
        [STRANGER, "nwtraders.test", "RCPT", "-", "+TO:<user@ours.test>", "250", "14", "26", "SMTP"],
        [STRANGER, "nwtraders.test", "RCPT", "-", "+TO:<user@far.test>", "550", rows[3][6], "25", "SMTP"],
        [STRANGER, "nwtraders.test", "DATA", "-", "-", "250", rows[4][6], str(len(MESSAGE)), "SMTP"],
        [STRANGER, "nwtraders.test", "QUIT", "-", "-", "221", "15", "6", "SMTP"]]
    assert " AUTH - +PLAIN 535 " in text and " AUTH - +LOGIN 235 " in text
    assert PASSWORD not in text and b64(PASSWORD) not in text and b64(chr(0) + "user" + chr(0) + "nope" + PASSWORD) not in text


@pytest.mark.parametrize("form, pattern, expected", [
    ("ncsa", "nc*.log", r'SOURCE - nwtraders\.test \[\d\d/[A-Z][a-z]{2}/\d{4}:[\d:]{8} \+0000\] "MAIL -\?\+FROM:<a@x\.test>\+SIZE=100 SMTP" 250 14'),
    ("iis", "in*.log", r"SOURCE, nwtraders\.test, [\d/]{8}, [\d:]{8}, SMTPSVC1, relay\.test, -, \d+, 31, 14, 250, 0, MAIL, -, \+FROM:<a@x\.test>\+SIZE=100,")])
def test_the_other_forms(make_listener, form, pattern, expected):
    relay, ports, _ = make_listener({"w3c": {"dir": "Log/W3C", "format": form}}, tls=False)
    hold_dialog(ports)
    wait_until(lambda: "QUIT" in rows_of(relay, pattern), 20, what="the end of the dialog")
    lines = rows_of(relay, pattern).splitlines()
    assert [line for line in lines if re.fullmatch(expected.replace("SOURCE", re.escape(STRANGER)), line)]
    assert not any(line.startswith("#") for line in lines)


def test_dialogs_can_be_left_out(make_listener):
    relay, ports, _ = make_listener({"w3c": {"dir": "Log/W3C", "dialogs": False}}, tls=False)
    hold_dialog(ports)
    relay.wait_event("delivered")
    relay.stop()
    text = rows_of(relay, "ex*.log")
    assert "PICKUP" in text and "RCPT" not in text and f" {STRANGER} " not in text
