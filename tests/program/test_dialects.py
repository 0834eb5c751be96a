"""Files as other relays' pickup folders take them; the trace says which writer was seen."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from lib import mail
from lib.relay import BINARY, USER

BODY = "From: app@sender.test\r\nTo: other@x.test\r\nSubject: s\r\n\r\n.dot\r\nhello\r\n"
STUFFED = BODY.replace("\r\n.", "\r\n..")

FILES = [  # dialect, name, the file, sender, recipients, body
    ("powermta", "pmta.eml", "x-sender: env@a.test\r\nx-receiver: one@x.test\r\nx-receiver: two@x.test\r\nx-virtual-mta: pool\r\n"
     "x-job: j1\r\nx-envid: e1\r\nx-schedule: later\r\n" + BODY, "env@a.test", ["one@x.test", "two@x.test"], b".dot\r\nhello\r\n"),
    ("bsmtp", "b.bsmtp", "EHLO app.test\r\nMAIL FROM:<env@a.test> RET=HDRS\r\nRCPT TO:<one@x.test> NOTIFY=FAILURE\r\nDATA\r\n"
     + STUFFED + ".\r\nQUIT\r\n", "env@a.test", ["one@x.test"], b".dot\r\nhello\r\n"),
    ("bsmtp", "bare", "MAIL FROM:<>\nRCPT TO:<one@x.test>\nDATA\n" + STUFFED.replace("\r\n", "\n") + ".\n", "", ["one@x.test"],
     b".dot\r\nhello\r\n"),
    ("mdaemon-raw", "m.raw", "From <env@a.test>\r\nTo <one@x.test, two@x.test>\r\nSubject <s>\r\nX-FLAG=CONFIRM_DELIVERY\r\n\r\n.dot\r\n",
     "env@a.test", ["one@x.test", "two@x.test"], b".dot\r\n"),
    ("mbox", "one.mbox", "From env@a.test Tue Nov 24 04:18:00 2026\n" + BODY.replace("\r\n", "\n"), "app@sender.test",
     ["other@x.test"], b".dot\r\nhello\r\n"),
    ("plain", "1763958000.M1P2.host:2,S", "Return-Path: <env@a.test>\n" + BODY.replace("\r\n", "\n"), "app@sender.test",
     ["other@x.test"], b".dot\r\nhello\r\n"),
]


@pytest.mark.parametrize("dialect,name,text,sender,recipients,body", FILES, ids=[f"{row[0]}-{row[1][:4]}" for row in FILES])
def test_each_writer_s_file_is_sent_and_named(relay_to, make_server, dialect, name, text, sender, recipients, body):
    server = make_server()
    relay = relay_to(server)
    relay.send(name, text.encode())
    got = server.wait_transactions(1)[0]
    assert (got.sender, sorted(got.recipients)) == (sender, recipients)
    assert mail.split(got.content)[1] == body
    assert not [field for field, _ in mail.split(got.content)[0] if mail.REMOVED.match(field)], "an envelope line was sent on"
    taken = relay.wait_event("taken", pickup=name)
    assert taken["dialect"] == dialect
    if dialect == "powermta":
        assert "x-job-unheeded x-virtual-mta-unheeded x-schedule-unheeded" in taken["repairs"]
    path = relay.base / "lint"
    path.write_bytes(text.encode())
    assert relay.run("lint", "--json", path, check=0, json_out=True)["dialect"] == dialect


@pytest.mark.parametrize("text,reason", [
    ("HELO h\nMAIL FROM:<a@x.test>\nRCPT TO:<b@x.test>\nDATA\nA: 1\n\n.\nMAIL FROM:<a@x.test>\n", "several"),
    ("MAIL FROM:<a@x.test>\nRCPT TO:<b@x.test>\nDATA\nA: 1\n", "not whole"),
    ("From <a@x.test>\nTo <b@x.test>\nX-FLAG=ATTACH <c:\\secret.txt, MIME>\n\nhi\n", "never read"),
], ids=["several", "cut", "attach"])
def test_what_is_not_one_whole_message_is_refused(relay_to, make_server, text, reason):
    relay = relay_to(make_server())
    relay.drop("file", text.encode())
    relay.wait_event("refused", pickup="file")
    assert reason in relay.bad("file")[1]


def test_the_dialect_can_be_said(relay_to, make_server):
    relay = relay_to(make_server(), {"pickup": {"dialect": "bsmtp"}})
    relay.drop("file", BODY.encode())
    relay.wait_event("refused", pickup="file")
    assert "BSMTP" in relay.bad("file")[1]


ENVELOPE = ("X-MailRelay-Format: #2821.7\r\nX-MailRelay-Content: 8bit\r\nX-MailRelay-From: env@a.test\r\nX-MailRelay-ToCount: 1\r\n"
            "X-MailRelay-To-Remote: one@x.test\r\nX-MailRelay-Authentication: \r\nX-MailRelay-Client: 127.0.0.1\r\n"
            "X-MailRelay-Utf8MailboxNames: 0\r\nX-MailRelay-End: 1\r\n")


@pytest.mark.parametrize("first", ["content", "envelope"])
def test_an_e_mailrelay_pair_is_one_message_whichever_half_comes_first(relay_to, make_server, first):
    server = make_server()
    relay = relay_to(server)
    halves = {"content": BODY, "envelope": ENVELOPE}
    relay.drop(f"emailrelay.1.{first}", halves.pop(first).encode())
    relay.wait_event("skipped", pickup=f"emailrelay.1.{first}", reason=lambda text: "one half of a pair" in text)
    (second, text), = halves.items()
    relay.drop(f"emailrelay.1.{second}", text.encode())
    relay.wait_event("delivered", pickup="emailrelay.1.envelope")
    got = server.wait_transactions(1)[0]
    assert (got.sender, got.recipients, mail.split(got.content)[1]) == ("env@a.test", ["one@x.test"], b".dot\r\nhello\r\n")
    relay.wait_empty()
    assert relay.wait_event("taken")["dialect"] == "emailrelay"
    assert len(server.wait_transactions(1)) == 1


def test_a_pair_is_taken_once_over_a_crash_before_its_commit(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, start=False)
    taken = relay.pickup / ".taken"
    taken.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(taken, USER)
    relay.drop("p.envelope", ENVELOPE.encode())
    relay.drop("p.content", BODY.encode())
    os.rename(relay.pickup / "p.content", taken / "00000000000000ff.p.content")  # killed between the two renames
    relay.start()
    relay.wait_event("delivered", pickup="p.envelope")
    relay.wait_empty()
    assert len(server.wait_transactions(1)) == 1


def test_a_pair_that_cannot_be_read_goes_to_badmail_whole(relay_to, make_server):
    relay = relay_to(make_server())
    relay.drop("p.content", BODY.encode())
    relay.drop("p.envelope", ENVELOPE.replace("X-MailRelay-End: 1\r\n", "").encode())
    relay.wait_event("refused", pickup="p.content")
    assert "X-MailRelay-End" in relay.bad("p.envelope")[1]
    assert relay.bad("p.content")[0] == BODY.encode()


def test_a_queue_on_a_tmpfs_is_refused_unless_it_is_meant(make_relay):
    if os.stat("/dev/shm").st_dev == os.stat("/").st_dev:
        pytest.skip("no tmpfs here")
    relay = make_relay(start=False)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.chmod(folder, 0o755)
        relay.configure({"root": str(pathlib.Path(folder, "Mailroot")), "queue": {"volatile": False}})
        done = relay.run("run", check=78)
        assert b"tmpfs" in done.stderr and b"queue.volatile" in done.stderr


def test_probes_say_it_by_their_exit_code(make_relay):
    relay = make_relay()
    for probe in ("--live", "--ready"):
        assert relay.run("status", probe, check=0).stdout == b""
    relay.stop()
    for probe in ("--live", "--ready"):
        relay.run("status", probe, check=69)


def test_sendmail_submits_while_no_relay_runs(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, start=False)
    relay.environment["MAILROOT_CONFIG"] = str(relay.config_file)
    subprocess.run([BINARY, "sendmail", "-i", "-f", "env@a.test", "one@x.test"], input=b"Subject: s\n\nhi\n", check=True, timeout=60,
                   env=relay.environment)
    relay.start()
    relay.wait_event("delivered", to="one@x.test")
