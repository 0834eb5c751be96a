"""The SMTP listener: what good clients deliver through it, and what bad ones are told."""
import base64
import crypt
import json
import os
import re
import resource
import shutil
import smtplib
import ssl
import subprocess

import pytest

from lib import mail
from lib.listener import FRIEND, PASSWORD, STRANGER, Talk, listener
from lib.ports import free_port
from lib.receivers import needs_root
from lib.relay import BINARY, HOST, TREE
from lib.tls import certificate
from lib.watch import wait_until

MESSAGE = "From: a@x.test\r\nTo: user@ours.test\r\nSubject: hi\r\n\r\nhello\r\n"


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"# who may submit\nuser@testserver:{crypt.crypt(PASSWORD, crypt.METHOD_SHA256)}\n")
    return path


@pytest.fixture
def make_listener(relay_to, make_aio):
    """(relay, its ports, the sink that all goes to)."""
    def create(config=None, **options):
        sink = make_aio()
        settings, ports = listener(**options)
        relay = relay_to(sink, {**(config or {}), **settings})
        return relay, ports, sink
    return create


def plain(name, password):
    return base64.b64encode(f"\0{name}\0{password}".encode()).decode()


def received(envelope):
    """The listener's own line, unfolded."""
    return " ".join(mail.field(envelope.original_content, "Received").split())


# ---- good clients ----

def test_250_means_that_it_is_in_pickup_or_further(make_listener):
    relay, ports, sink = make_listener()
    with Talk(ports["mail"]) as talk:
        talk.envelope()
        reply = talk.say(MESSAGE + ".")
    name = re.fullmatch(r"250 2\.0\.0 taken as (\S+\.eml)", reply)[1]
    relay.wait_event("delivered", pickup=name)
    got = sink.wait()[0]
    assert got.mail_from == "a@x.test" and got.rcpt_tos == ["user@ours.test"]
    assert received(got).startswith(f"from me ([127.0.0.1]) by {HOST} (mailroot) with ESMTP for <user@ours.test>;")


def test_what_a_stranger_sends_is_not_changed_and_what_a_friend_submits_is_completed(make_listener):
    relay, ports, sink = make_listener()
    bare = "Subject: bare\r\nX-Receiver: thief@far.test\r\nX-Deliver-At: 2099-01-01T00:00:00Z\r\n\r\n..dot\r\n"
    for source in (STRANGER, FRIEND):
        with Talk(ports["mail"], source) as talk:
            talk.envelope()
            assert talk.say(bare + ".").startswith("250")
        got = sink.wait(1 if source == STRANGER else 2)[-1]
        assert got.rcpt_tos == ["user@ours.test"]
        names = [name for name, _ in mail.fields(got.original_content)]
        assert names == ([b"received", b"subject"] if source == STRANGER
                         else [b"date", b"message-id", b"received", b"subject"])
        assert got.original_content.endswith(b"\r\n\r\n.dot\r\n")


def test_a_forged_mark_in_a_dropped_file_has_no_effect(make_listener):
    relay, _, sink = make_listener()
    relay.send("forged.eml", b"X-Mailroot-Accepted: relay\r\nFrom: a@x.test\r\nTo: b@ours.test\r\n\r\nhi\r\n")
    names = [name for name, _ in mail.fields(sink.wait()[0].original_content)]
    if os.geteuid() == 0:  # the file is root's, the relay is not
        assert b"message-id" in names and b"date" in names
    assert b"x-mailroot-accepted" not in names


def test_esmtp_parameters_reach_the_next_server(relay_to, make_server):
    server = make_server()
    config, ports = listener()
    relay_to(server, config)
    with Talk(ports["mail"]) as talk:
        assert talk.codes("EHLO me", "MAIL FROM:<a@x.test> BODY=8BITMIME RET=HDRS ENVID=a+20b SIZE=100",
                          "RCPT TO:<b@ours.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2Bd@e.test", "DATA") == [250, 250, 250, 354]
        assert talk.say(MESSAGE + ".").startswith("250")
    wait_until(lambda: server.transactions and server.transactions[0].is_whole, 20, what="the transaction")
    sent = server.transactions[0]
    assert "RET=HDRS" in sent.sender_parameters and "ENVID=a+20b" in sent.sender_parameters
    assert "NOTIFY=SUCCESS,DELAY" in sent.recipient_parameters[0] and "ORCPT=rfc822;c+2Bd@e.test" in sent.recipient_parameters[0]


CLIENTS = {
    "swaks": lambda ports, file: ["swaks", "-s", f"127.0.0.1:{ports['mail']}", "-f", "a@x.test", "-t", "user@ours.test",
                                  "--data", f"@{file}"],
    "swaks_starttls_auth": lambda ports, file: ["swaks", "-s", f"127.0.0.1:{ports['submission']}", "-tls", "-f", "a@x.test", "-t",
                                                "user@ours.test", "-a", "LOGIN", "-au", "user@testserver", "-ap", PASSWORD,
                                                "--data", f"@{file}"],
    "swaks_pipelined": lambda ports, file: ["swaks", "-s", f"127.0.0.1:{ports['mail']}", "--pipeline", "-f", "a@x.test", "-t",
                                            "user@ours.test", "--data", f"@{file}"],
    "curl": lambda ports, file: ["curl", "-sS", f"smtp://127.0.0.1:{ports['mail']}", "--mail-from", "a@x.test", "--mail-rcpt",
                                 "user@ours.test", "-T", file],
    "curl_tls_auth": lambda ports, file: ["curl", "-sS", "-k", f"smtps://127.0.0.1:{ports['tls']}", "-u",
                                          f"user@testserver:{PASSWORD}", "--mail-from", "a@x.test", "--mail-rcpt",
                                          "user@ours.test", "-T", file],
    "msmtp": lambda ports, file: ["sh", "-c", f"msmtp --host=127.0.0.1 --port={ports['mail']} -f a@x.test user@ours.test <{file}"],
    "msmtp_auth": lambda ports, file: ["sh", "-c", f"msmtp --host=127.0.0.1 --port={ports['tls']} --tls=on --tls-starttls=off "
                                       f"--tls-certcheck=off --auth=plain --user=user@testserver --passwordeval='echo {PASSWORD}' "
                                       f"-f a@x.test user@ours.test <{file}"],
    "smtp_source": lambda ports, file: ["/usr/sbin/smtp-source", "-f", "a@x.test", "-t", "user@ours.test", "-l", "2000",
                                        f"inet:127.0.0.1:{ports['mail']}"],
}


def test_all_clients_deliver(make_listener, users, tmp_path):
    relay, ports, sink = make_listener(users=users)
    file = tmp_path / "message"
    file.write_bytes(MESSAGE.encode())
    for count, (name, arguments) in enumerate(CLIENTS.items(), 1):
        done = subprocess.run(arguments(ports, file), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        got = sink.wait(count)[-1]
        assert got.rcpt_tos == ["user@ours.test"], name
        is_proved = "auth" in name
        assert ("ESMTPSA" in received(got)) == is_proved, (name, received(got))


NODEMAILER = """
const nodemailer = require('nodemailer');
const [port, tls, user, password] = process.argv.slice(2);
const transport = nodemailer.createTransport({host: '127.0.0.1', port: Number(port), secure: tls === 'tls', ignoreTLS: tls === 'clear',
    requireTLS: tls === 'starttls', tls: {rejectUnauthorized: false}, pool: true, auth: user ? {user, pass: password} : undefined});
const message = number => ({from: 'a@x.test', to: ['user@ours.test', 'two@ours.test'], subject: 'ü ' + number, text: '.dot\\n' + number,
    envelope: {from: 'a@x.test', to: ['user@ours.test', 'two@ours.test'], dsn: undefined},
    attachments: [{filename: 'a.bin', content: Buffer.alloc(100000, number)}]});
Promise.all([1, 2, 3].map(number => transport.sendMail(message(number)))).then(
    results => { console.log(JSON.stringify(results.map(result => [result.accepted.length, result.response]))); transport.close(); },
    error => { console.error(error.message); process.exit(1); });
"""


@pytest.mark.skipif(not shutil.which("node") or not os.path.isdir(os.path.join(os.environ.get("NODE_PATH", ""), "nodemailer")),
                    reason="no Node with nodemailer")
def test_nodemailer_delivers_by_a_pool(make_listener, users, tmp_path):
    relay, ports, sink = make_listener(users=users)
    script = tmp_path / "send.js"
    script.write_text(NODEMAILER)
    for count, arguments in enumerate(([ports["mail"], "clear"], [ports["submission"], "starttls", "user@testserver", PASSWORD],
                                       [ports["tls"], "tls", "user@testserver", PASSWORD]), 1):
        done = subprocess.run(["node", str(script), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert all(accepted == 2 and reply.startswith("250 2.0.0 taken as ") for accepted, reply in json.loads(done.stdout))
        got = sink.wait(3 * count)[-3:]
        assert all(envelope.rcpt_tos == ["user@ours.test", "two@ours.test"] for envelope in got)
        assert all(("ESMTPSA" in received(envelope)) == (len(arguments) > 2) for envelope in got)


@pytest.mark.parametrize("count", [100])
def test_smtp_source_with_many_sessions_loses_nothing(relay_to, make_sink, count):
    sink = make_sink()
    config, ports = listener()
    relay = relay_to(sink, config)
    subprocess.run(["/usr/sbin/smtp-source", "-s", "100", "-m", str(10 * count), "-l", "4096", "-f", "a@x.test", "-t", "u@ours.test",
                    f"inet:127.0.0.1:{ports['mail']}"], check=True, timeout=120)
    assert len(sink.wait(10 * count)) == 10 * count
    relay.wait_empty()


def test_smtplib_with_starttls_and_utf8(make_listener, users):
    relay, ports, sink = make_listener(users=users)
    context = ssl.create_default_context(cafile=certificate()[0])
    context.check_hostname = False
    with smtplib.SMTP("127.0.0.1", ports["submission"], timeout=20) as client:
        client.starttls(context=context)
        client.login("user@testserver", PASSWORD)
        client.sendmail("é@x.test", ["ü@ours.test"], MESSAGE.replace("hi", "ö").encode(), mail_options=["SMTPUTF8"])
    got = sink.wait()[0]
    assert got.rcpt_tos == ["ü@ours.test"] and "with UTF8SMTPSA" in received(got) and "TLSv1.3" in received(got)


def scram_line(name, password, iterations=4096):
    import hashlib
    import hmac
    salt = b"salt of 12by"
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"{name}:{{SCRAM-SHA-256}}{iterations}," + ",".join(base64.b64encode(part).decode() for part in (salt, stored, server))


def test_scram_hashes_serve_scram_and_plain(make_listener, tmp_path):
    users = tmp_path / "users"
    users.write_text(scram_line("user@testserver", PASSWORD) + "\n")
    relay, ports, sink = make_listener(users=users)
    for count, method in enumerate(("scram-sha-256", "plain", "login"), 1):
        for password, is_right in ((PASSWORD, True), ("wrong", False)):
            done = subprocess.run(
                ["msmtp", "--host=127.0.0.1", f"--port={ports['tls']}", "--tls=on", "--tls-starttls=off", "--tls-certcheck=off",
                 f"--auth={method}", "--user=user@testserver", f"--passwordeval=echo {password}", "-f", "a@x.test",
                 "user@ours.test"], input=MESSAGE.encode(), capture_output=True, timeout=60, check=False)
            assert (done.returncode == 0) == is_right, (method, password, done.stderr)
        assert "ESMTPSA" in received(sink.wait(count)[-1])
    assert PASSWORD not in relay.stderr_text()


@pytest.mark.skipif(not needs_root(), reason="Postfix needs root")
def test_postfix_delivers_through_it(make_listener, make_judge):
    relay, ports, sink = make_listener()
    postfix = make_judge()
    postfix.command("postconf", "-e", "default_transport = smtp", f"relayhost = [127.0.0.1]:{ports['mail']}",
                    "smtp_tls_security_level = encrypt", "smtp_bind_address = 127.0.0.1")
    postfix.command("postfix", "reload")
    for number in range(3):
        content = b"From: a@x.test\r\nTo: user@ours.test\r\nMessage-ID: <%d@x>\r\nDate: Tue, 24 Nov 2026 04:18:00 +0000\r\n\r\n.dots\r\n" % number
        assert postfix.submit(number, content) == 0
    got = sink.wait(3, 60)
    assert all(envelope.original_content.endswith(b"\r\n\r\n.dots\r\n") and "with ESMTPS" in received(envelope) for envelope in got)


# ---- bad clients ----

def early(port):
    with Talk(port, STRANGER, greeting=False) as talk:
        talk.send("EHLO me\r\n")
        return talk.reply(), talk.is_closed()


def group(*texts, source=FRIEND, first=("EHLO me",)):
    """Says some commands one by one, then the rest in one segment; the last reply before the end, or after all of them."""
    def run(port):
        with Talk(port, source) as talk:
            for text in first:
                talk.say(text)
            talk.send("".join(texts) if isinstance(texts[0], str) else b"".join(texts))
            talk.socket.shutdown(1)
            last = None
            while (reply := talk.reply()) is not None:
                last = reply
            return last, True
    return run


def one(text, source=FRIEND, first=("EHLO me",), is_closing=False):
    def run(port):
        with Talk(port, source) as talk:
            for command in first:
                talk.say(command)
            return talk.say(text), not is_closing or talk.is_closed()
    return run


ENVELOPE = ("EHLO me", "MAIL FROM:<a@x.test>", "RCPT TO:<user@ours.test>")
CONTENT = ENVELOPE + ("DATA",)
BAD_CLIENTS = [  # what it does, how, the reply it gets
    ("speaks_before_the_greeting", early, "554 5.5.0"),
    ("sends_commands_with_EHLO", group("EHLO me\r\nMAIL FROM:<a@x.test>\r\n", first=()), "554 5.5.0"),
    ("sends_content_with_DATA", group("DATA\r\nSubject: x\r\n\r\n.\r\n", first=ENVELOPE), "554 5.5.0"),
    ("sends_commands_with_STARTTLS", group("STARTTLS\r\nMAIL FROM:<a@x.test>\r\n"), "554 5.5.0"),
    ("sends_a_megabyte_without_an_end", group("A" * (1 << 20)), "500 5.5.2"),
    ("sends_a_long_line", one("NOOP " + "x" * 5000, is_closing=True), "500 5.5.2"),
    ("sends_a_NUL_in_a_command", one(b"NOOP \0", is_closing=True), "500 5.5.2"),
    ("sends_a_NUL_in_content", one(b"Subject: \0\r\n\r\n.", first=CONTENT, is_closing=True), "554 5.6.0"),
    ("ends_a_command_with_LF", one("NOOP\nNOOP", is_closing=True), "500 5.5.2"),
    ("ends_a_command_with_CR", one("NOOP\rNOOP", is_closing=True), "500 5.5.2"),
    ("ends_content_with_LF_dot_LF", one("x\n.\nMAIL FROM:<e@x.test>\r\n.", first=CONTENT, is_closing=True), "554 5.6.0"),
    ("ends_content_with_CR_dot_CR", one("x\r.\rMAIL FROM:<e@x.test>\r\n.", first=CONTENT, is_closing=True), "554 5.6.0"),
    ("ends_content_with_LF_dot_CRLF", one("x\n.\r\nMAIL FROM:<e@x.test>\r\n.", first=CONTENT, is_closing=True), "554 5.6.0"),
    ("hides_a_bare_LF_in_BDAT", group("BDAT 4 LAST\r\na\nb\n", first=ENVELOPE), "554 5.6.0"),
    ("lies_about_the_size", one("MAIL FROM:<a@x.test> SIZE=99999999999", first=("EHLO me",)), "552 5.3.4"),
    ("sends_more_than_it_said", one("x" * 990 + "\r\n" + ("y" * 990 + "\r\n") * 1200 + ".", first=CONTENT), "552 5.3.4"),
    ("sends_a_chunk_of_2_to_the_64", one("BDAT 18446744073709551616", first=ENVELOPE, is_closing=True), "501 5.5.4"),
    ("sends_a_negative_chunk", one("BDAT -1", first=ENVELOPE, is_closing=True), "501 5.5.4"),
    ("sends_a_chunk_without_a_size", one("BDAT LAST", first=ENVELOPE, is_closing=True), "501 5.5.4"),
    ("sends_a_huge_chunk", one("BDAT 4000000000 LAST", first=ENVELOPE, is_closing=True), "552 5.3.4"),
    ("sends_a_chunk_without_an_envelope", group("BDAT 6 LAST\r\nQUIT\r\n"), "503 5.5.1"),
    ("speaks_HTTP", one("GET / HTTP/1.1\r\nHost: x\r\n", first=(), is_closing=True), "521 5.7.0"),
    ("posts_a_form", one("POST / HTTP/1.1\r\n\r\nEHLO x", first=(), is_closing=True), "521 5.7.0"),
    ("speaks_TLS_where_none_is", one(b"\x16\x03\x01\x02\x00\x01\x00", first=(), is_closing=True), "521 5.5.2"),
    ("tries_a_password_in_the_clear", one("AUTH PLAIN AHUAcA=="), "538 5.7.11"),
    ("sends_what_is_no_base64", group("AUTH PLAIN !!!\r\n"), "538 5.7.11"),
    ("is_binary", one("MAIL FROM:<a@x.test> BODY=BINARYMIME"), "501 5.5.4"),
    ("hides_a_line_end_in_xtext", one("MAIL FROM:<a@x.test> ENVID=a+0D+0AX"), "501 5.5.4"),
    ("relays_from_outside", one("RCPT TO:<b@far.test>", source=STRANGER, first=ENVELOPE[:2]), "550 5.7.1"),
    ("names_a_route", one("RCPT TO:<@ours.test:b@far.test>", source=STRANGER, first=ENVELOPE[:2]), "553 5.1.3"),
    ("hides_a_domain_behind_a_percent", one("RCPT TO:<b%far.test@ours.test>", source=STRANGER, first=ENVELOPE[:2]), "550 5.7.1"),
    ("expands_lists", one("EXPN staff"), "502 5.5.1"),
    ("asks_for_users", one("VRFY root"), "252 2.5.2"),
    ("pretends_to_be_another", one("XCLIENT ADDR=127.0.0.1", source=STRANGER), "550 5.7.0"),
    ("talks_nonsense_without_end", group("FOO\r\n" * 30), "421 4.7.0"),
]


def test_bad_clients_get_their_replies_and_nothing_comes_of_it(make_listener, users):
    relay, ports, sink = make_listener({"limits": {"message_size": "1MB"}}, users=users, greet_pause="1s")
    for name, run, wanted in BAD_CLIENTS:
        reply, is_as_it_should = run(ports["mail"])
        assert reply and reply.startswith(wanted), (name, reply)
        assert is_as_it_should, name
    assert relay.waiting() == [] and sink.envelopes == []
    with Talk(ports["mail"]) as talk:  # and good ones are served on
        talk.envelope()
        assert talk.say(MESSAGE + ".").startswith("250")
    sink.wait()


def test_passwords_are_not_guessed(make_listener, users):
    relay, ports, _ = make_listener(users=users)
    codes = []
    for name in ["user@testserver", "nobody"] * 3:
        with Talk(ports["tls"], tls=True) as talk:
            codes += talk.codes("EHLO me", *[f"AUTH PLAIN {plain(name, 'x')}"] * 3)[1:]
    assert codes[:3] == [535, 535, 421] and codes[3:6] == [535, 535, 421]
    assert set(codes[12:]) == {454}, "after ten tries in a minute nothing is looked at any more"
    assert len(relay.wait_events("auth-failed", 6)) >= 6


def test_tls_garbage_and_half_a_handshake_hold_up_nobody(make_listener, users):
    relay, ports, sink = make_listener(users=users)
    held = [Talk(ports["tls"], greeting=False) for _ in range(20)]
    for number, talk in enumerate(held):
        talk.send(b"garbage garbage garbage\r\n" if number % 2 else b"\x16\x03\x01")
    with Talk(ports["tls"], tls=True) as talk:
        assert talk.greeting.startswith("220")
    assert all(talk.is_closed() for number, talk in enumerate(held) if number % 2)
    for talk in held:
        talk.close()


def test_ten_thousand_half_open_sessions_hold_up_nobody(make_listener):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    relay, ports, sink = make_listener(connections=20000)
    held = [Talk(ports["mail"], greeting=False) for _ in range(min(10000, most - 500))]
    for talk in held:
        talk.send("EHLO slow\r\nMA"[:3])
    with Talk(ports["mail"]) as talk:
        talk.envelope()
        assert talk.say(MESSAGE + ".").startswith("250")
    sink.wait()
    for talk in held:
        talk.close()


LIMITS = [  # config, source, connections held open, what the next one is greeted with
    ({"connections": 3}, FRIEND, 3, "421 4.3.2"),
    ({"connections_per_client": 2}, STRANGER, 2, "421 4.7.0"),
    ({"connections_per_client": 2}, FRIEND, 2, "220"),
    ({"connections_per_minute": 2}, STRANGER, 2, "421 4.7.0"),
    ({"deny": [STRANGER]}, STRANGER, 0, "554 5.7.1"),
    ({"allow": ["10.0.0.0/8", FRIEND]}, STRANGER, 0, "554 5.7.1"),
    ({"allow": [STRANGER + "/32"]}, STRANGER, 0, "220"),
]


@pytest.mark.parametrize("settings,source,count,greeting", LIMITS, ids=[str(row[0]) + row[1][-1] for row in LIMITS])
def test_connections_are_limited(make_listener, settings, source, count, greeting):
    _, ports, _ = make_listener(tls=False, **settings)
    held = [Talk(ports["mail"], source) for _ in range(count)]
    assert all(talk.greeting.startswith("220") for talk in held)
    with Talk(ports["mail"], source) as talk:
        assert talk.greeting.startswith(greeting)
    for talk in held:
        talk.close()


def test_messages_and_recipients_are_limited(make_listener):
    _, ports, _ = make_listener(messages_per_connection=1, recipients=2, messages_per_minute=2, tls=False)
    with Talk(ports["mail"], STRANGER) as talk:
        assert talk.codes("EHLO me", "MAIL FROM:<>", *["RCPT TO:<a@ours.test>"] * 3) == [250, 250, 250, 250, 452]
        assert talk.codes("DATA", MESSAGE + ".", "MAIL FROM:<>") == [354, 250, 421] and talk.is_closed()
    for wanted in (250, 450):
        with Talk(ports["mail"], STRANGER) as talk:
            assert talk.codes("EHLO me", "MAIL FROM:<>") == [250, wanted]
            if wanted == 250:
                talk.codes("RCPT TO:<a@ours.test>", "DATA", MESSAGE + ".")


def test_slow_clients_are_told_so(make_listener):
    _, ports, _ = make_listener(tls=False, timeouts={"command": "300ms", "data": "300ms"})
    with Talk(ports["mail"]) as talk:
        assert talk.reply().startswith("421 4.4.2") and talk.is_closed()
    with Talk(ports["mail"]) as talk:
        talk.envelope()
        talk.send("Subject: slow\r\n")
        assert talk.reply().startswith("421 4.4.2") and talk.is_closed()


def test_xclient_and_proxy_tell_the_real_client(make_listener):
    _, ports, sink = make_listener(tls=False, xclient=[FRIEND], proxy=[STRANGER])
    with Talk(ports["mail"]) as talk:
        assert talk.codes("EHLO me", "XCLIENT ADDR=192.0.2.7 NAME=out.test", "EHLO out", "MAIL FROM:<>", "RCPT TO:<b@far.test>",
                          "RCPT TO:<b@ours.test>", "DATA", MESSAGE + ".") == [250, 220, 250, 250, 550, 250, 354, 250]
    assert received(sink.wait()[0]).startswith("from out (out.test [192.0.2.7]) by")
    for header in (b"PROXY TCP4 192.0.2.8 192.0.2.9 1 2\r\n",
                   b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc0\0\x02\x09\0\1\0\2"):
        with Talk(ports["mail"], STRANGER, greeting=False) as talk:
            talk.send(header)
            assert talk.reply().startswith("220")
            assert talk.codes("EHLO me", "MAIL FROM:<>", "RCPT TO:<b@far.test>", "RCPT TO:<b@ours.test>", "DATA",
                              MESSAGE + ".") == [250, 250, 550, 250, 354, 250]
    assert all("[192.0.2.8]" in received(got) for got in sink.wait(3)[1:])
    with Talk(ports["mail"], STRANGER, greeting=False) as talk:
        talk.send("EHLO me\r\n")
        assert talk.is_closed()


@pytest.mark.skipif(not needs_root(), reason="mounting needs root")
def test_no_space_is_452_and_nothing_is_left(make_listener):
    relay, ports, _ = make_listener(tls=False)
    relay.stop()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=1777", "tmpfs", relay.pickup], check=False).returncode:
        pytest.skip("no mounting here")
    try:
        relay.start()
        (relay.pickup / ".fill").write_bytes(b"x" * 150000)
        with Talk(ports["mail"]) as talk:
            talk.envelope()
            assert talk.say(MESSAGE + ("x" * 900 + "\r\n") * 200 + ".").startswith("452 4.3.1")
            assert sorted(os.listdir(relay.pickup)) == [".fill", ".new", ".taken"]
            assert not [path for path in (relay.pickup / ".new").rglob("*") if path.is_file()]
            (relay.pickup / ".fill").unlink()
            assert talk.codes("MAIL FROM:<>", "RCPT TO:<a@ours.test>", "DATA", MESSAGE + ".") == [250, 250, 354, 250]
        relay.stop()
    finally:
        subprocess.run(["umount", "-l", relay.pickup], check=True)


def test_the_end_is_told(make_listener):
    relay, ports, _ = make_listener(tls=False)
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        relay.stop()
        assert talk.reply().startswith("421 4.3.2") and talk.is_closed()


def test_a_reload_takes_new_settings_and_keeps_the_old_ones_on_a_mistake(make_listener):
    relay, ports, _ = make_listener(tls=False)
    good = relay.config_file.read_text()
    relay.config_file.write_text("smtp { nonsense = 1 }")
    relay.reload()
    relay.wait_event("error")
    with Talk(ports["mail"]) as talk:
        assert talk.say("EHLO me").startswith("250")
    relay.config_file.write_text(good.replace('"ours.test"', '"new.test"'))
    relay.reload()

    def is_new():
        try:
            with Talk(ports["mail"], STRANGER) as talk:
                return talk.codes("EHLO me", "MAIL FROM:<>", "RCPT TO:<a@new.test>")[-1] == 250
        except OSError:
            return False
    wait_until(is_new, 20, what="the new settings")


@pytest.mark.parametrize("key,value,word", [
    ("smtp.listen", "25", "ADDRESS:PORT"), ("smtp.listen", "mail.test:25", "IPv4"), ("smtp.listen", ":25/ssl", "/starttls"),
    ("smtp.listen", "1.2.3.4:99999", "ADDRESS:PORT"), ("smtp.relay_networks", "10.0.0.0/33", "network"), ("smtp.deny", "me", "network")])
def test_check_says_what_is_wrong_with_the_listener(key, value, word):
    done = subprocess.run([BINARY, "check", "--no-dns", "-o", f"{key}={value}"], capture_output=True, text=True, check=False)
    assert done.returncode == 78 and f"{key}: " in done.stdout and value in done.stdout and word in done.stdout


SYSTEMD = """
import os, socket, sys
held = socket.create_server(("127.0.0.1", int(sys.argv[1])))
if held.fileno() != 3:
    os.dup2(held.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="mail", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_systemd_hands_its_sockets_over(make_sink, relay_to):
    port = free_port()
    config, _ = listener(tls=False)
    config["smtp"]["listen"] = ["systemd:mail"]
    relay = relay_to(make_sink(), config, start=False)
    relay.wrapper = ["/usr/bin/python3", "-c", SYSTEMD, str(port)]
    relay.start()
    with Talk(port) as talk:
        assert talk.greeting.startswith("220")


# ---- sendmail -bs ----

def test_sendmail_bs_speaks_smtp_to_a_script(relay_to, make_aio):
    sink = make_aio()
    relay = relay_to(sink)
    script = """MAIL FROM:<root>
RCPT TO:<user@ours.test> NOTIFY=NEVER
RCPT TO:<nobody>
DATA
From: a@x.test
X-Receiver: thief@far.test
Subject: by hand

..one dot
.
RSET
MAIL FROM:<>
RCPT TO:<@a:b@c.test>
QUIT
"""
    done = subprocess.run([BINARY, "sendmail", "-bs"], input=script, capture_output=True, text=True, timeout=30,
                          env=dict(relay.environment, MAILROOT_CONFIG=str(relay.config_file)), check=True)
    assert re.findall(r"^(\d+) ", done.stdout, re.M) == "220 250 250 250 354 250 250 250 553 221".split()
    got = sink.wait(1)
    assert got[0].mail_from == f"root@{HOST}" and sorted(sum((one.rcpt_tos for one in got), [])) == [f"nobody@{HOST}", "user@ours.test"]
    assert got[0].original_content.endswith(b"\r\n\r\n.one dot\r\n") and b"X-Receiver" not in got[0].original_content
    assert "(pickup" in received(got[0]) and mail.field(got[0].original_content, "Message-ID")


def test_sendmail_bs_takes_what_smtplib_would_say(relay_to, make_aio):
    """Symfony's and PHPMailer's way: a dialog with waiting."""
    sink = make_aio()
    relay = relay_to(sink)
    with subprocess.Popen([BINARY, "sendmail", "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=dict(relay.environment, MAILROOT_CONFIG=str(relay.config_file))) as process:
        def say(text):
            if text:
                process.stdin.write(text.encode() + b"\r\n")
                process.stdin.flush()
            while not re.match(rb"\d{3} ", line := process.stdout.readline()):
                assert line
            return int(line[:3])
        assert [say(text) for text in ("", "EHLO [127.0.0.1]", "MAIL FROM:<a@x.test>", "RCPT TO:<user@ours.test>", "DATA",
                                       MESSAGE + ".", "QUIT")] == [220, 250, 250, 250, 354, 250, 221]
        assert process.wait(20) == 0
    sink.wait()


# ---- chasquid's dialogs ----

# Where we differ from chasquid, and why.
OUR_WAY = {
    ("bad_data.cmy", "554 5.6.0 Error parsing message"): "250",  # what can't be a field begins the body, as Postfix has it
}
DIALOGS = sorted((TREE / "tests" / "corpora" / "dialogs" / "chasquid" / "t-12-minor_dialogs").glob("*.cmy"))


def run_dialog(path, ports):
    talk, last = None, None
    for line in path.read_text().splitlines():
        words = re.match(r"c (\S+) ?(.*)", line)
        if not words:
            continue
        verb, text = words.groups()
        if verb in ("tcp_connect", "tls_connect"):
            talk = Talk(ports["tls" if verb[:3] == "tls" else "mail"], tls=verb[:3] == "tls", greeting=False)
        elif verb == "->":
            talk.send(text + "\r\n")
        elif verb == "~>":
            talk.send(eval(text, {"__builtins__": {}}))  # our own copy of the corpus: string expressions
        elif verb == "close":
            talk.close()
        else:
            reply = talk.reply()
            wanted = OUR_WAY.get((path.name, text), text)
            assert reply and reply[0] == wanted[0], (path.name, line, reply)
            last = reply
    talk.close()
    return last


def test_chasquids_dialogs_get_the_right_replies(make_listener, users):
    assert len(DIALOGS) > 15
    relay, ports, sink = make_listener({"limits": {"message_size": "1MB"}}, users=users)
    for path in DIALOGS:
        before = len(relay.events("taken"))
        last = run_dialog(path, ports)
        verify = path.with_suffix(".cmy.verify")
        if verify.exists():
            assert last.startswith("221")
            relay.wait_event("delivered", 20, before + 1)
            body = mail.split(sink.envelopes[-1].original_content)[1]
            assert body.replace(b"\r\n", b"\n").rstrip() == verify.read_bytes().split(b"\n\n", 1)[1].rstrip(), path.name
