"""Files as the original's documentation, its articles and real writers leave them in Pickup: each behaviour a test.

The articles' numbers are Microsoft's (Q201314 and so on).
"""
import email
import os
import pathlib
import re
import subprocess

import pytest

from lib import mail
from lib.relay import HOST

WRITERS = pathlib.Path(__file__).resolve().parents[1] / "corpora" / "messages" / "pickup-writers"
PLAIN = "From: app@sender.test\r\nTo: to@x.test\r\nSubject: s\r\n\r\nhello\r\n"

ENVELOPES = [  # rule, the file's first lines, its header, envelope sender, recipients
    ("q201314_x_lines_win", "X-Sender: <env@a.test>\r\nX-Receiver: <one@x.test>\r\n", PLAIN, "env@a.test", ["one@x.test"]),
    ("lower_case_and_bare", "x-sender: env@a.test\r\nx-receiver: one@x.test\r\n", PLAIN, "env@a.test", ["one@x.test"]),
    ("q221384_bare_local_names", "x-sender: Sender\r\nx-receiver: user1@x.test\r\n", "Subject: s\r\n\r\nhello\r\n",
     f"Sender@{HOST}", ["user1@x.test"]),
    ("a_line_each", "X-Sender: env@a.test\r\n" + "".join(f"X-Receiver: r{n}@x.test\r\n" for n in range(3)), PLAIN,
     "env@a.test", ["r0@x.test", "r1@x.test", "r2@x.test"]),
    ("esmtp_parameters", "X-Sender: <env@a.test> RET=HDRS ENVID=q+2B1 BODY=8BITMIME\r\n"
     "X-Receiver: <one@x.test> NOTIFY=FAILURE ORCPT=rfc822;one@x.test\r\n", PLAIN, "env@a.test", ["one@x.test"]),
    ("esmtp_parameters_folded", "X-Sender: <env@a.test>\r\nX-Receiver: <one@x.test> ORCPT=rfc822;one@x.test\r\n"
     "\tNOTIFY=NEVER;\r\n", PLAIN, "env@a.test", ["one@x.test"]),
    ("dotnet_whole_mailbox", "X-Sender: \"Shop, The\" <env@a.test>\r\nX-Receiver: =?utf-8?Q?J=C3=B6rg?=\r\n <one@x.test>\r\n",
     PLAIN, "env@a.test", ["one@x.test"]),
    ("null_sender", "X-Sender: <>\r\nX-Receiver: <one@x.test>\r\n", PLAIN, "", ["one@x.test"]),
    ("sender_beats_from", "", "Sender: agent@a.test\r\n" + PLAIN, "agent@a.test", ["to@x.test"]),
    ("from_s_first_address", "", PLAIN.replace("app@sender.test", "first@a.test, second@a.test"), "first@a.test", ["to@x.test"]),
    ("to_cc_and_bcc", "", PLAIN.replace("Subject", "Cc: cc@x.test\r\nBcc: bcc@x.test\r\nSubject"), "app@sender.test",
     ["bcc@x.test", "cc@x.test", "to@x.test"]),
    ("bare_recipient_gets_the_default_domain", "", PLAIN.replace("to@x.test", "operator"), "app@sender.test",
     [f"operator@{HOST}"]),
    ("exchange_s_block", "X-Receiver: <one@x.test> NOTIFY=NEVER ORcpt=rfc822;one@x.test\r\nX-Sender: <env@a.test> RET=FULL\r\n"
     "X-CreatedBy: MSExchange15\r\nX-HeloDomain: mail.a.test\r\nX-ExtendedProps: AAAAAA==\r\nX-EndOfInjectedXHeaders: 210\r\n",
     PLAIN, "env@a.test", ["one@x.test"]),
    ("powermta", "x-sender: env@a.test\r\nx-receiver: one@x.test\r\nx-envid: e1\r\nx-job: j1\r\nx-virtual-mta: pool\r\n", PLAIN,
     "env@a.test", ["one@x.test"]),
]


@pytest.mark.parametrize("lines,header,sender,recipients", [row[1:] for row in ENVELOPES], ids=[row[0] for row in ENVELOPES])
@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["crlf", "lf"])
def test_envelope(relay_to, make_server, lines, header, sender, recipients, end):
    server = make_server()
    relay = relay_to(server)
    relay.send("file.txt", (lines + header).replace("\r\n", end).encode(), seconds=10)
    got = server.wait_transactions(1)[0]
    assert (got.sender, sorted(got.recipients)) == (sender, recipients)
    names = {name for name, _ in mail.split(got.content)[0]}
    assert not [name for name in names if mail.REMOVED.match(name)], "an envelope line was sent on"
    assert mail.split(got.content)[1] == b"hello\r\n"


def test_mixed_line_ends_become_crlf(relay_to, make_server):
    server = make_server()
    relay_to(server).send("mixed", b"From: a@b.test\nTo: c@x.test\r\nSubject: s\n\r\none\ntwo\r\nthree\rfour")
    assert server.transactions[0].content.endswith(b"\r\n\r\none\r\ntwo\r\nthree\r\nfour\r\n")


def test_q319285_a_message_without_from_goes_to_badmail_unless_x_sender_is_there(relay_to, make_server):
    relay = relay_to(make_server())
    relay.drop("none.eml", b"To: c@x.test\r\nSubject: s\r\n\r\nhi\r\n")
    relay.wait_event("refused", pickup="none.eml")
    assert "sender" in relay.bad("none.eml")[1]
    relay.send("with.eml", b"X-Sender: <a@b.test>\r\nX-Receiver: <c@x.test>\r\nSubject: s\r\n\r\nhi\r\n")


DOTS = [  # name, body in the file, body delivered, config's dot_stuffing
    ("raw_dots_stay", ".one\r\n..two\r\n.\r\nthree\r\n", ".one\r\n..two\r\n.\r\nthree\r\n", "auto"),
    ("q221384_a_lone_dot_ends_nothing", "a\r\n.\r\nMAIL FROM:<evil@x.test>\r\nb\r\n", "a\r\n.\r\nMAIL FROM:<evil@x.test>\r\nb\r\n", "auto"),
    ("a_lone_dot_at_the_end_is_the_writer_s_mark", "a\r\nb\r\n.\r\n", "a\r\nb\r\n", "auto"),
    ("never", "..a\r\n.\r\n", "..a\r\n.\r\n", "never"),
    ("always", "..a\r\n...\r\n", ".a\r\n..\r\n", "always"),
]


@pytest.mark.parametrize("body,wanted,setting", [row[1:] for row in DOTS], ids=[row[0] for row in DOTS])
def test_dots(relay_to, make_server, body, wanted, setting):
    server = make_server()
    relay_to(server, {"pickup": {"dot_stuffing": setting}}).send("dots.eml", mail.message(body=body))
    assert mail.split(server.transactions[0].content)[1] == wanted.encode()


DOTNET = ("X-Sender: app@a.test\r\nX-Receiver: to@x.test\r\nMIME-Version: 1.0\r\nFrom: app@a.test\r\n"
          "To: to@x.test\r\nDate: 24 Nov 2026 10:00:00 +0000\r\nSubject: s\r\n\r\n")


@pytest.mark.parametrize("body,wanted", [("..one\r\ntext\r\n...\r\n", ".one\r\ntext\r\n..\r\n"),
                                         ("..one\r\n.two\r\n", "..one\r\n.two\r\n")], ids=["stuffed", "proved_raw"])
def test_q286358_a_writer_that_stuffs_is_known_by_its_signs(relay_to, make_server, body, wanted):
    server = make_server()
    relay = relay_to(server)
    relay.send("net.eml", (DOTNET + body).encode())
    assert mail.split(server.transactions[0].content)[1] == wanted.encode()
    taken = relay.wait_event("taken", pickup="net.eml")
    assert taken["dialect"] == "dotnet"
    if wanted != body:
        assert "dot" in taken["repairs"], "the trace must say what was done"


def test_q294379_folding_stays_as_written(relay_to, make_server):
    server = make_server()
    fold = "To: " + ",\r\n\t".join(f"User {n} <u{n}@x.test>" for n in range(200)) + "\r\n"
    relay_to(server, {"delivery": {"recipients_per_message": 1000}}).send("fold.eml", PLAIN.replace("To: to@x.test\r\n", fold).encode())
    assert fold.encode() in server.transactions[0].content and len(server.transactions[0].recipients) == 200


def test_q279320_a_file_written_slowly_is_never_taken_half(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    writer = subprocess.Popen(["sh", "-c", f"umask 022; exec 3>'{relay.pickup}/slow.eml'; cat >&3"], stdin=subprocess.PIPE)
    text = mail.message(body="line\r\n" * 50)
    for at in range(0, len(text), 60):
        writer.stdin.write(text[at:at + 60])
        writer.stdin.flush()
        relay.send(f"other{at}.eml", mail.message(subject=f"other{at}"))  # time passes, other mail flows
    assert not relay.events("taken", pickup="slow.eml")
    writer.stdin.close()
    writer.wait()
    relay.wait_event("delivered", pickup="slow.eml")
    whole = [t.content for t in server.transactions if mail.split(t.content)[1] == b"line\r\n" * 50]
    assert len(whole) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs chattr")
def test_q221432_what_cannot_be_removed_is_not_sent(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, start=False)
    path = relay.pickup / "fixed.eml"
    path.write_bytes(mail.message(subject="fixed"))
    path.chmod(0o444)
    if subprocess.run(["chattr", "+i", path], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no chattr +i")
    try:
        relay.start()
        relay.wait_event("skipped", pickup="fixed.eml")
        relay.send("next.eml", mail.message(subject="next"))
        relay.stop()
        relay.start()
        relay.send("later.eml", mail.message(subject="later"))
        assert not [t for t in server.transactions if b"Subject: fixed" in t.content]
        assert len(relay.events("skipped", pickup="fixed.eml")) == 2, "said once a start"
    finally:
        subprocess.run(["chattr", "-i", path], check=False)


def test_q221432_a_read_only_file_is_sent_once(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, start=False)
    path = relay.pickup / "read-only.eml"
    path.write_bytes(mail.message())
    path.chmod(0o444)
    relay.start()
    relay.wait_event("delivered", pickup="read-only.eml")
    relay.wait_empty()
    relay.stop()
    relay.start()
    relay.send("next.eml", mail.message(subject="next"))
    assert len(server.transactions) == 2


def test_q201314_a_file_over_the_limit_goes_to_badmail_with_the_reason(relay_to, make_server):
    relay = relay_to(make_server(), {"limits": {"message_size": "100KB"}})
    relay.drop("large.eml", mail.message(body="x" * 70 + "\r\n" + "yyyyyyyyy\r\n" * 20000))
    relay.send("good.eml", mail.message())
    relay.wait_event("refused", pickup="large.eml")
    assert re.search(r"limit.*message_size|message_size.*limit|larger", relay.bad("large.eml")[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user as the writer")
def test_q260985_a_writer_needs_no_more_than_add_file(relay_to, make_server):
    """As a user who can neither list Pickup nor read what others put there."""
    server = make_server()
    relay = relay_to(server, start=False)
    os.rmdir(relay.pickup)
    relay.start()
    for folder in (relay.base, relay.root):
        os.chmod(folder, 0o755)
    script = (f"umask 022; ls '{relay.pickup}' 2>/dev/null && exit 9; cat > '{relay.pickup}/mine.eml'; exit 0")
    done = subprocess.run(["setpriv", "--reuid=daemon", "--clear-groups", "sh", "-c", script],
                          input=mail.message(), check=False)
    assert done.returncode == 0
    assert relay.wait_event("delivered", pickup="mine.eml")
    assert b"daemon" in mail.split(server.transactions[0].content)[0][0][1], "Received names the file's owner"


def texts(content):
    """What a reader sees of each part."""
    return [part.get_payload(decode=True) for part in email.message_from_bytes(content).walk() if not part.is_multipart()]


WRITTEN = sorted(path.name for path in WRITERS.iterdir() if path.name.startswith("mono"))


@pytest.mark.parametrize("name", WRITTEN)
def test_mono_s_files_arrive_as_written(relay_to, make_server, name):
    server = make_server()
    content = (WRITERS / name).read_bytes()
    relay_to(server).send(name, content)
    got = server.transactions[0].content
    assert texts(got) == texts(mail.canonical(content)), "a line over 998 octets is encoded, and says the same"
    assert mail.field(got, "Message-ID").endswith(f"@{HOST}>"), "mono writes none: ours"


def test_django_s_log_of_several_is_refused_by_name(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    relay.drop("20261124.log", (WRITERS / "django-3.2-filebased.log").read_bytes())
    relay.wait_event("refused", pickup="20261124.log")
    assert "Django" in relay.bad("20261124.log")[1] and not server.transactions


def test_ruby_s_file_of_one_is_taken_and_of_several_refused_by_name(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    content = (WRITERS / "ruby-mail-2.7-file.eml").read_bytes()
    first = content[:content.index(b"Date:", 10)] if content.count(b"\nDate:") else content
    relay.send("b@example.net", first)
    relay.drop("several", first.rstrip() + b"\r\n\r\n" + first)
    relay.wait_event("refused", pickup="several")
    assert "Ruby" in relay.bad("several")[1] and len(server.transactions) == 1


def test_a_script_s_mbox_line_is_left_out(relay_to, make_server):
    server = make_server()
    relay_to(server).send("mbox", b"From app@sender.test Tue Nov 24 10:00:00 2026\n" + mail.message(end="\n"))
    assert not server.transactions[0].content.startswith(b"From ")
    assert mail.field(server.transactions[0].content, "Subject") == "test"
