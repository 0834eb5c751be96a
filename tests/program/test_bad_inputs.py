"""Bad inputs with their right outcome, where no other test has them: for Pickup, for the listener, for the config.

What comes into Pickup is delivered, or it is in Badmail byte for byte with its reason, or it stays where it is and is told of;
the next good file is delivered in any case, and the relay's pid stays the same."""
import ctypes
import email
import os
import re
import subprocess
import threading
import time

import pytest

from lib import mail
from lib.listener import Talk, listener
from lib.tls import certificate
from lib.watch import wait_until

GOOD = mail.message(subject="good")
ENVELOPE = b"X-Sender: <a@b.test>\r\nX-Receiver: <c@d.test>\r\n"
HEADER = b"From: a@b.test\r\nTo: c@d.test\r\nSubject: x\r\n"
MULTIPART = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'


def deep(levels):
    """A multipart in a multipart in…"""
    parts = [HEADER + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b0"\r\n\r\n']
    parts += [b'--b%d\r\nContent-Type: multipart/mixed; boundary="b%d"\r\n\r\n' % (n, n + 1) for n in range(levels)]
    return b"".join(parts) + b"text\r\n"


def outcome(relay, name):
    """The event that says what became of a file."""
    def look():
        return [event for event in relay.events(pickup=name) if event["event"] in ("delivered", "refused", "bounced")]
    wait_until(look, 20, relay.events_file.parent, f"an outcome of {name}", relay.check_alive)
    return look()[0]


DELIVERED = [
    ("headers_only", HEADER.rstrip(b"\r\n"), b""),
    ("a_body_line_of_a_megabyte", HEADER + b"\r\n" + b"y" * (1 << 20) + b"\r\n", None),
    ("ten_thousand_levels", deep(10000), None),
    ("a_hundred_thousand_parts", HEADER + MULTIPART + b"--b\r\n\r\nx\r\n" * 100000 + b"--b--\r\n", None),
    ("a_hundred_thousand_empty_attachments",
     HEADER + MULTIPART + b"--b\r\nContent-Disposition: attachment; filename=x\r\n\r\n\r\n" * 100000 + b"--b--\r\n", None),
    ("a_second_message_behind_false_ends", HEADER + b"\r\none\n.\r\nMAIL FROM:<e@x.test>\r\nRCPT TO:<f@x.test>\r\nDATA\r\n\r\ntwo\r.\rthree\n.\n",
     None),
    ("dots", HEADER + b"\r\n.\r\n..\r\n.x\r\n", b".\r\n..\r\n.x\r\n"),
    ("half_a_boundary_at_the_end", HEADER + MULTIPART + b"--b\r\n\r\nx\r\n--", None),
    ("an_encoding_that_does_not_exist", HEADER + b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: uuencode9\r\n\r\nx\r\n", b"x\r\n"),
]


@pytest.mark.parametrize("name,content,body", DELIVERED, ids=[row[0] for row in DELIVERED])
def test_odd_but_honest_files_arrive_as_one_message_with_lines_that_fit(relay_to, make_server, name, content, body):
    server = make_server()
    relay = relay_to(server, {"limits": {"message_size": "50MB"}})
    relay.drop(f"{name}.eml", content)
    relay.drop("good.eml", GOOD)
    relay.wait_event("delivered", 15, pickup="good.eml")
    event = outcome(relay, f"{name}.eml")
    if event["event"] == "refused":
        assert relay.bad(f"{name}.eml")[0] == content and event["reason"]
        return
    whole = [transaction for transaction in server.transactions if transaction.is_whole]
    assert len(whole) == 2 and not any(mail.wire_problems(transaction.wire) for transaction in whole)
    got = next(transaction for transaction in whole if b"Subject: good" not in transaction.content)
    assert got.recipients == ["c@d.test"]
    if body is not None:
        assert mail.split(got.content)[1] == body


REFUSED = [
    ("one_octet_too_many", HEADER + b"\r\n" + b"x" * (1 << 20), "too large"),
    ("a_receiver_with_a_line_end", b'X-Sender: <a@b.test>\r\nX-Receiver: <"a\rRCPT TO:<x@y.test>"@b.test>\r\n' + HEADER + b"\r\nx\r\n", ""),
    ("a_receiver_that_is_no_address", b"X-Sender: <a@b.test>\r\nX-Receiver: c@d.test> RCPT TO:<x@y.test\r\n" + HEADER + b"\r\nx\r\n", ""),
    ("a_folded_receiver", b'X-Sender: <a@b.test>\r\nX-Receiver: <"a\r\n RCPT TO:<x@y.test>"@b.test>\r\n' + HEADER + b"\r\nx\r\n", ""),
]


@pytest.mark.parametrize("name,content,word", REFUSED, ids=[row[0] for row in REFUSED])
def test_files_that_can_be_no_message_go_to_badmail_whole(relay_to, make_server, name, content, word):
    server = make_server()
    relay = relay_to(server, {"limits": {"message_size": "1MB"}})
    relay.drop(f"{name}.eml", content)
    relay.send("good.eml", GOOD)
    outcome(relay, f"{name}.eml")
    recipients = [recipient for transaction in server.transactions for recipient in transaction.recipients]
    assert "x@y.test" not in recipients and not any("\r" in recipient or "\n" in recipient for recipient in recipients)
    if relay.events("refused", pickup=f"{name}.eml"):
        message, reason, _ = relay.bad(f"{name}.eml")
        assert message == content and word in reason


def test_a_sparse_file_of_a_terabyte_is_refused_unread(relay_to, make_server):
    relay = relay_to(make_server())
    path = relay.stage / "sparse"
    path.write_bytes(HEADER)
    os.truncate(path, 1 << 40)
    os.rename(path, relay.pickup / "sparse.eml")
    started = time.monotonic()
    assert "too large" in relay.wait_event("refused", pickup="sparse.eml")["reason"]
    assert time.monotonic() - started < 5
    relay.send("good.eml", GOOD)


def test_a_nul_in_a_body_cuts_nothing_off(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    content = HEADER + b"\r\nbefore\0behind\r\n"
    relay.drop("nul.eml", content)
    event = outcome(relay, "nul.eml")
    if event["event"] == "refused":
        assert relay.bad("nul.eml")[0] == content and "NUL" in event["reason"]
    else:
        assert email.message_from_bytes(server.transactions[0].content).get_payload(decode=True).rstrip() == b"before\0behind"


def test_an_address_that_needs_smtputf8_bounces_where_nobody_speaks_it(relay_to, make_server):
    relay = relay_to(make_server(extensions=("PIPELINING", "8BITMIME")))
    relay.drop("utf8.eml", "X-Sender: <a@b.test> SMTPUTF8\r\nX-Receiver: <grüße@d.test>\r\n".encode() + HEADER + b"\r\nx\r\n")
    event = relay.wait_event("bounced", pickup="utf8.eml")
    assert event["status"] in ("5.6.7", "5.6.9"), event


@pytest.mark.skipif(os.geteuid() != 0, reason="permissions mean nothing else")
def test_what_cannot_be_removed_from_pickup_is_not_sent(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    relay.pickup.chmod(0o555)
    relay.drop("stays.eml", GOOD)
    assert relay.wait_event("skipped", pickup="stays.eml")["reason"].count("could not be removed")
    assert not server.transactions and relay.waiting() == ["stays.eml"]
    relay.pickup.chmod(0o1777)
    relay.wait_event("delivered", pickup="stays.eml")
    relay.wait_empty()
    assert len(server.transactions) == 1


@pytest.mark.parametrize("seconds", [0, 4294967295, -1])
def test_a_file_of_any_age_is_taken_at_once(relay_to, make_server, seconds):
    relay = relay_to(make_server())
    path = relay.stage / "old"
    path.write_bytes(GOOD)
    os.utime(path, (seconds, seconds))
    os.rename(path, relay.pickup / "old.eml")
    relay.wait_event("delivered", 5, pickup="old.eml")


def exchange(folder, first, second):
    """renameat2(RENAME_EXCHANGE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.renameat2(-100, os.fsencode(folder / first), -100, os.fsencode(folder / second), 2)


def test_a_file_that_becomes_a_link_and_back_shows_nothing_of_what_it_leads_to(relay_to, make_server, quick):
    """P1: the open descriptor decides, never the name."""
    server = make_server()
    relay = relay_to(server)
    secret = relay.base / "secret"
    secret.write_bytes(mail.message(to="thief@x.test", body="canary\r\n"))
    secret.chmod(0o600)
    stage = relay.pickup / ".stage"
    stage.mkdir(mode=0o755)
    is_over = threading.Event()

    def swap():
        number = 0
        while not is_over.is_set():
            number += 1
            name = f"swap{number}.eml"
            (stage / "file").write_bytes(GOOD)
            os.symlink(secret, stage / "link")
            os.rename(stage / "file", relay.pickup / name)
            for _ in range(20):
                if exchange(relay.pickup, name, ".stage/link") != 0:
                    break
            for path in (stage / "file", stage / "link", relay.pickup / name):
                path.unlink(missing_ok=True)
    threads = [threading.Thread(target=swap)]
    for thread in threads:
        thread.start()
    time.sleep(2 if quick else 8)  # the attack's length, not a wait
    is_over.set()
    for thread in threads:
        thread.join()
    relay.send("good.eml", GOOD)
    assert not any(b"canary" in transaction.content for transaction in server.transactions)
    assert not any(b"canary" in path.read_bytes() for path in relay.badmail.glob("*.BAD") if path.is_file() and not path.is_symlink())


# ---- the listener ----

FALSE_ENDS = ["\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\n\0.\r\n", "\r\n.\0\r\n", "\r\n.\r\r\n",
              "\r\r\n.\r\r\n", "\n\n.\r\n", "\r\n. \r\n", "\r\n.\t\r\n", "\x0b.\r\n", "\x85.\r\n", "\u2028.\r\n", "\r\n..\r\n"]


@pytest.fixture
def open_listener(relay_to, make_aio):
    sink = make_aio()
    config, ports = listener(tls=False)
    return relay_to(sink, config), ports["mail"], sink


def test_no_false_end_of_content_begins_a_second_message_wherever_it_is_cut(open_listener, quick):
    """F16: one in, one out, or refused with the connection closed."""
    relay, port, sink = open_listener
    accepted = 0
    for end in FALSE_ENDS:
        octets = end.encode("utf-8" if ord(max(end)) > 255 else "latin-1")
        content = b"Subject: x\r\n\r\none" + octets + b"MAIL FROM:<e@x.test>\r\nRCPT TO:<smuggled@ours.test>\r\nDATA\r\n\r\ntwo"
        start = content.index(b"one") + 3
        for cut in range(start, start + len(octets) + 1, 2 if quick else 1):
            with Talk(port) as talk:
                talk.envelope()
                talk.send(content[:cut])
                talk.send(content[cut:])
                reply = talk.say("\r\n.")
                if reply and reply.startswith("250"):
                    accepted += 1
                else:
                    assert reply is None or reply.startswith("5"), (end, cut, reply)
    relay.wait_empty(60)
    assert accepted and len(sink.envelopes) == accepted
    assert all(envelope.rcpt_tos == ["user@ours.test"] for envelope in sink.envelopes)


ORDER = [  # what is said in turn, the codes
    (["EHLO x", "DATA"], [250, 503]),
    (["EHLO x", "RCPT TO:<user@ours.test>"], [250, 503]),
    (["EHLO x", "MAIL FROM:<a@x.test>", "MAIL FROM:<b@x.test>"], [250, 250, 503]),
    (["EHLO x", "MAIL FROM:<a@x.test>", "DATA"], [250, 250, 503]),
    (["EHLO x", "MAIL FROM:<a@x.test>", "RCPT TO:<user@ours.test>", "RSET", "DATA"], [250, 250, 250, 250, 503]),
    (["EHLO x", "MAIL FROM:<a@x.test>", "RCPT TO:<user@ours.test>", "EHLO y", "DATA"], [250, 250, 250, 250, 503]),
    (["EHLO x", "MAIL FROM:<a@x.test>", "RCPT TO:<user@ours.test>", "VRFY a", "NOOP", "DATA"], [250, 250, 250, 252, 250, 354]),
    (["MAIL FROM:<a@x.test>"], [503]),
    (["EHLO x", "MAIL FROM:<ü@x.test>"], [250, 553]),
    (["EHLO x", "MAIL FROM:<a@x.test> SIZE=1000000000000000000000000000000"], [250, (501, 552)]),
    (["EHLO x", "MAIL FROM:<;sleep 66;>"], [250, (501, 553)]),
    (["EHLO x", "MAIL FROM:<${run{id}}@x.test>", "RCPT TO:<|id@ours.test>"], [250, (250, 501, 553), (250, 501, 503, 550, 553)]),
    (["EHLO x", "MAIL FROM:<a@x.test>", "RCPT TO:</etc/passwd>", "RCPT TO:<-oX/tmp/x@far.test>"],
     [250, 250, (501, 550, 553), (250, 501, 553)]),
]


@pytest.mark.parametrize("said,codes", ORDER, ids=[" ".join(row[0])[-60:] for row in ORDER])
def test_commands_out_of_order_and_odd_ones_get_their_code(open_listener, said, codes):
    _, port, _ = open_listener
    with Talk(port) as talk:
        for text, wanted in zip(said, codes):
            got = int((talk.say(text) or "0")[:3])
            assert got in (wanted if isinstance(wanted, tuple) else (wanted,)), (text, got)


def test_a_chunk_that_is_refused_leaves_no_half_message(open_listener):
    relay, port, sink = open_listener
    with Talk(port) as talk:
        assert talk.codes("EHLO x", "MAIL FROM:<a@x.test>", "RCPT TO:<user@ours.test>") == [250, 250, 250]
        assert talk.say("BDAT 10\r\nSubject: x", end="").startswith("250")
        assert talk.say("RCPT TO:<more@ours.test>").startswith("503")
        assert talk.say("DATA").startswith("503")
        assert talk.say("RSET").startswith("250")
        assert talk.say("BDAT 0 LAST").startswith("503")
    relay.wait_empty()
    assert not sink.envelopes


def test_a_client_that_goes_at_any_octet_leaves_a_whole_message_or_none(open_listener, quick):
    relay, port, sink = open_listener
    session = (b"EHLO me\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<user@ours.test>\r\nDATA\r\n", b"Subject: x\r\n\r\nwhole\r\n.\r\n", b"QUIT\r\n")
    whole = 0
    for number in range(0, len(session[1]) + 1, 3 if quick else 1):
        with Talk(port) as talk:
            assert talk.codes(*session[0].decode().split("\r\n")[:-1]) == [250, 250, 250, 354]
            talk.send(session[1][:number])
        whole += number == len(session[1])
    relay.wait_empty(30)
    if whole:
        sink.wait(1)
    assert len(sink.envelopes) in (whole, 0) and all(b"whole" in envelope.original_content for envelope in sink.envelopes)


# ---- the config ----

CONFIGS = [  # the file's bytes, exit code of check, what it says
    ("unknown_key", b"deliverry.port = 25\n", 78, r"conf:1.*unknown.*did you mean"),
    ("out_of_range", b"delivery.port = 65536\n", 78, r"conf:1.*delivery.port"),
    ("negative", b"delivery.port = -1\n", 78, r"conf:1.*delivery.port"),
    ("two_to_the_64", b"limits.hops = 18446744073709551616\n", 78, r"conf:1.*limits.hops"),
    ("a_size_with_a_space", b'limits.message_size = "10 MB"\n', (0, 78), r""),
    ("nul", b"hostname = a\0b\n", 78, r"NUL|octet|control"),
    ("utf16", "hostname = a.test\n".encode("utf-16"), 78, r"UTF-16|NUL|octet"),
    ("crlf", b"hostname = a.test\r\ndefault_domain = a.test\r\n", 0, r""),
    ("byte_order_mark", b"\xef\xbb\xbfhostname = a.test\n", 0, r""),
    ("open_brackets", b"route { " * 10000, 78, r"conf"),
    ("a_line_of_a_hundred_megabytes", b"hostname = " + b"a" * (100 << 20), 78, r"large|long|characters|host"),
    ("relay_for_everybody", b'smtp.listen = ["0.0.0.0:2525"]\nsmtp.relay_networks = ["0.0.0.0/0"]\n', 78, r"relay_networks"),
]


@pytest.mark.parametrize("name,text,code,words", CONFIGS, ids=[row[0] for row in CONFIGS])
def test_check_and_run_agree_about_a_bad_config(make_relay, name, text, code, words):
    """Exit code 78, with the file, the line and what was wrong, within a moment."""
    relay = make_relay(start=False)
    relay.config_file.write_bytes(text)
    codes = code if isinstance(code, tuple) else (code,)
    started = time.monotonic()
    done = relay.run("check")
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode in codes or (0 in codes and not re.search(r"conf:\d+", said)), (done.returncode, said[-500:])
    assert time.monotonic() - started < 20
    if 0 in codes:
        return
    assert re.search(words, said, re.S), said[-500:]
    run = relay.run("run")
    assert run.returncode == 78 and re.search(words, (run.stdout + run.stderr).decode(errors="replace"), re.S)


def test_a_missing_config_is_said_by_name(make_relay):
    relay = make_relay(start=False)
    relay.config_file.unlink()
    for command in ("check", "run"):
        done = relay.run(command)
        assert done.returncode == 78 and str(relay.config_file).encode() in done.stderr + done.stdout


def test_a_key_that_does_not_fit_its_certificate_is_refused(relay_to, make_aio, tmp_path):
    config, _ = listener()
    other = tmp_path / "other.key"
    subprocess.run(["openssl", "genrsa", "-out", other, "2048"], check=True, capture_output=True)
    config["smtp"]["tls_cert"], config["smtp"]["tls_key"] = certificate()[0], str(other)
    relay = relay_to(make_aio(), config, start=False)
    done = relay.run("run")
    assert done.returncode == 78 and b"tls" in done.stderr
    config["smtp"]["tls_key"] = str(tmp_path / "none.key")
    relay.configure({**relay.config, **config})
    done = relay.run("run")
    assert done.returncode == 78 and b"tls" in done.stderr
