"""Files as other relays' pickup folders take them; the trace says which writer was seen."""
import mailbox
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
        assert "x-virtual-mta-unheeded x-job-unheeded x-schedule-unheeded" in taken["repairs"]
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


MBOX = ("From env@a.test Tue Nov 24 04:18:00 2026\nFrom: app@sender.test\nTo: one@x.test\nSubject: 1\n\nfirst\n>From here\n\n"
        "From env@a.test Tue Nov 24 04:18:01 2026\nFrom: app@sender.test\nTo: two@x.test\nSubject: 2\n\nsecond\n\nFrom you\n\n")


def bodies(server):
    return sorted(mail.split(one.content)[1] for one in server.transactions)


def test_an_mbox_of_several_messages_is_taken_apart(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {"receipts": {"enabled": True}})
    relay.drop("batch.mbox", MBOX.encode())
    relay.wait_events("done", 2)
    relay.wait_empty()
    assert bodies(server) == [b"first\r\nFrom here\r\n", b"second\r\n\r\nFrom you\r\n"]
    assert sorted(one.recipients[0] for one in server.transactions) == ["one@x.test", "two@x.test"]
    assert [(event["pickup"], event["dialect"]) for event in relay.events("taken")] == [("batch.mbox#1", "mbox"), ("batch.mbox#2", "mbox")]
    assert sorted(path.name for path in (relay.root / "Receipts").iterdir()) == ["batch.mbox#1.json", "batch.mbox#2.json"]
    assert relay.run("wait", "batch.mbox", check=0).stdout == b"batch.mbox: delivered\n"
    path = relay.base / "lint.mbox"
    path.write_text(MBOX)
    assert relay.run("lint", "--json", path, check=0, json_out=True)["messages"] == 2
    assert b"an mbox of 2 messages" in relay.run("rehearse", path).stderr
    traced = relay.run("trace", "batch.mbox", check=0).stdout.decode()
    assert traced.count("delivered") == 2


def test_mbox_X2_text_that_looks_like_a_message_makes_none_unless_the_file_says_so(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    relay.drop("from-a-script.eml", MBOX.replace("Subject:", "Date: Tue, 24 Nov 2026 04:18:00 +0000\nSubject:").encode())
    relay.wait_event("refused", pickup="from-a-script.eml", reason=lambda text: "name it *.mbox" in text)
    assert server.transactions == []


def test_mbox_X3_all_of_its_messages_are_taken_or_none(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    relay.drop("half.mbox", MBOX.replace("To: two@x.test\n", "").encode())
    refused = relay.wait_event("refused", pickup="half.mbox")
    assert refused["reason"].startswith("mbox, message 2, from line 10 on: no recipient")
    assert relay.bad("half.mbox")[0] == MBOX.replace("To: two@x.test\n", "").encode()
    relay.wait_empty()
    assert server.transactions == []


def test_an_mbox_taken_when_the_relay_is_killed_is_sent_once(relay_to, make_server, quick):
    server = make_server()
    relay = relay_to(server)
    count = 20 if quick else 60
    text = "".join(f"From a@b.test Tue Nov 24 04:18:00 2026\nFrom: a@b.test\nTo: m{n}@x.test\n\n{n}\n\n" for n in range(count))
    relay.drop("many.mbox", text.encode())
    relay.wait_event("taken", pickup="many.mbox#1")
    relay.kill()
    relay.start()
    relay.wait_empty()
    sent = [one.recipients[0] for one in server.transactions if one.is_whole]
    assert set(sent) == {f"m{n}@x.test" for n in range(count)} and len(relay.events("taken", pickup=f"many.mbox#{count}")) <= 2


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_what_git_format_patch_writes_is_an_mbox(relay_to, make_server, tmp_path):
    """A real writer of mbox files: one message a commit, separators with git's own date."""
    def git(*arguments):
        return subprocess.run(["git", "-C", tmp_path, "-c", "user.name=A", "-c", "user.email=a@b.test", *arguments], check=True,
                              capture_output=True).stdout
    git("init", "-q")
    for number in range(3):
        (tmp_path / "file").write_text(f"{number}\nFrom here\n")
        git("add", "file")
        git("commit", "-q", "-m", f"change {number}")
    server = make_server()
    relay = relay_to(server)
    relay.drop("patches.mbox", git("format-patch", "--stdout", "--root", "--to=list@x.test"))
    relay.wait_events("delivered", 3)
    contents = [one.content for one in server.wait_transactions(3)]
    assert all(any(b"change %d" % number in content for content in contents) for number in range(3))


def test_a_folder_says_mbox(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    folder = relay.pickup / "boxes"
    folder.mkdir()
    (folder / "folder.conf").write_text('dialect = mbox\nquota = "3/1d"\n')
    give(folder)
    relay.wait_event("reloaded")
    for name in ("a", "b"):
        staged = relay.stage / name
        staged.write_text(MBOX)
        staged.rename(folder / name)
    relay.wait_events("delivered", 2)
    refused = relay.wait_event("refused")
    assert "quota" in refused["reason"]
    assert len(relay.events("taken")) == 2, "X3: nothing of the second"
    (relay.stage / "c").write_text(MBOX.split("From env", 2)[1].join(["From env", ""]))
    (relay.stage / "c").rename(folder / "c")
    relay.wait_event("delivered", pickup="boxes/c")  # what the refused one had counted was given back


def give(path):
    """To the relay's user, with all that is in it."""
    if os.geteuid() == 0:
        for part in [path, *path.rglob("*")]:
            shutil.chown(part, USER)


def maildir(path):
    box = mailbox.Maildir(path, create=True)
    for number, (folder, flags) in enumerate([("new", ""), ("cur", "S"), ("cur", "ST"), ("cur", "D")]):
        message = mailbox.MaildirMessage(mail.message(to=f"{number}@x.test", more="X-Mailroot-Accepted: relay\r\n"))
        message.set_subdir(folder)
        message.set_flags(flags)
        box.add(message)
    return box


def test_a_maildir_dropped_in_is_sent(relay_to, make_server):
    """Made by Python's mailbox; renamed in. What is marked as removed or as a draft stays."""
    server = make_server()
    relay = relay_to(server)
    box = maildir(relay.stage / "box")
    give(relay.stage / "box")
    (relay.stage / "box").rename(relay.pickup / "box")
    relay.wait_events("delivered", 2)
    assert sorted(one.recipients[0] for one in server.transactions) == ["0@x.test", "1@x.test"]
    assert {event["dialect"] for event in relay.events("taken")} == {"maildir"}
    assert all(event["pickup"].startswith(("box/new/", "box/cur/")) for event in relay.events("taken"))
    assert len(list((relay.pickup / "box" / "cur").glob("[!.]*"))) == 2
    box = type(box)(relay.pickup / "box")
    key = box.add(mail.message(to="live@x.test"))  # a writer that goes on: tmp, then link or rename to new
    give(relay.pickup / "box")
    relay.wait_event("delivered", to="live@x.test")
    assert not list((relay.pickup / "box" / "new").glob(f"{key}*"))
    relay.stop()
    relay.start()
    box.add(mail.message(to="again@x.test"))
    relay.wait_event("delivered", to="again@x.test")


def test_a_maildir_goes_by_its_folder_conf(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    maildir(relay.stage / "box")
    (relay.stage / "box" / "folder.conf").write_text('senders = "other@sender.test"\n')
    give(relay.stage / "box")
    (relay.stage / "box").rename(relay.pickup / "box")
    relay.wait_events("refused", 2)
    assert server.transactions == []


@pytest.mark.skipif(os.geteuid() != 0, reason="another's folder needs root")
def test_a_maildir_of_somebody_else_is_left_and_told(relay_to, make_server):
    relay = relay_to(make_server())
    maildir(relay.stage / "box")
    for part in (relay.stage / "box", *(relay.stage / "box").rglob("*")):
        os.chown(part, 4242, 4242)
        part.chmod(0o755)
    (relay.stage / "box").rename(relay.pickup / "box")
    skipped = relay.wait_event("skipped", pickup="box/new/folder.conf")
    assert "must belong to root or to the relay's user" in skipped["reason"]
    assert not relay.events("taken")
    checked = relay.run("check", "--no-dns", check=78).stdout.decode()
    assert "box/new: the folder must belong" in checked and "box/cur: " in checked


def test_a_maildir_taken_when_the_relay_is_killed_is_sent_once(relay_to, make_server):
    server, connections = make_server(), 10
    relay = relay_to(server, {"delivery": {"connections_per_site": connections}})
    box = mailbox.Maildir(relay.stage / "box", create=True)
    for number in range(50):
        box.add(mail.message(to=f"{number}@x.test"))
    give(relay.stage / "box")
    (relay.stage / "box").rename(relay.pickup / "box")
    relay.wait_event("taken")
    relay.kill()
    relay.start()
    relay._wait(lambda: {one.recipients[0] for one in server.transactions if one.is_whole} == {f"{n}@x.test" for n in range(50)}, "all", 30)
    relay._wait(lambda: relay.status()["messages"] == 0, "an empty queue", 30)
    left = [name for part in ("new", "cur") for name in (relay.pickup / "box" / part).rglob("*") if name.is_file()]
    assert left == [] and len([one for one in server.transactions if one.is_whole]) <= 50 + connections


def test_x_virtual_mta_chooses_a_source_that_is_allowed(relay_to, make_server):
    """PowerMTA's line, by the names that import-powermta gives: among those of the folder, else those that the sender may use."""
    server = make_server()
    config = {"source": {"mta-1": {"addresses": "127.0.0.11", "senders": ["a.test"]}, "mta-2": {"addresses": "127.0.0.12", "senders": ["a.test"]},
                         "other": {"addresses": "127.0.0.13", "senders": ["b.test"]}, "shop": {"addresses": "127.0.0.14"}}}
    relay = relay_to(server, config)
    folder = relay.pickup / "shop"
    folder.mkdir()
    (folder / "folder.conf").write_text('source = ["shop", "mta-1"]\n')
    give(folder)
    relay.wait_event("reloaded")

    def sent_from(name, mta):
        staged = relay.stage / "file"
        staged.write_bytes(f"x-sender: env@a.test\r\nx-receiver: {len(server.transactions)}@x.test\r\nx-virtual-mta: {mta}\r\n{BODY}".encode())
        staged.chmod(0o644)
        before = len(relay.events("delivered"))
        staged.rename(relay.pickup / name)
        relay.wait_event("delivered", count=before + 1)
        taken = relay.events("taken")[-1]
        peer, = [one.peer for one in server.sessions if one.transaction is server.transactions[-1]]
        return peer, "x-virtual-mta-unheeded" in taken.get("repairs", "")
    for number, (name, mta, address, is_unheeded) in enumerate([
            ("{}.eml", "Mta.1", "127.0.0.11", False), ("{}.eml", "MTA-2", "127.0.0.12", False), ("{}.eml", "Mta.1", "127.0.0.11", False),
            ("{}.eml", "other", None, True), ("{}.eml", "shop", None, True), ("{}.eml", "nobody", None, True),
            ("shop/{}.eml", "shop", "127.0.0.14", False), ("shop/{}.eml", "mta-1", "127.0.0.11", False), ("shop/{}.eml", "mta-2", None, True)]):
        peer, unheeded = sent_from(name.format(number), mta)
        allowed = {address} if address else {"127.0.0.11", "127.0.0.12"} if name.startswith("{") else {"127.0.0.14", "127.0.0.11"}
        assert (peer in allowed, unheeded) == (True, is_unheeded), (name, mta, peer)
