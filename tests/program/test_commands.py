"""The commands beside a running relay: queue, trace, wait, route, send, sendmail, receipts, signals."""
import json
import os
import pathlib
import pty
import re
import signal
import subprocess

import pytest

from lib import mail
from lib.relay import BINARY, merge
from lib.scripted import CLOSE, HANG
from lib.watch import wait_until

LATER = [("RCPT TO:<later", "450 4.2.0 greylisted")]


def deferred(relay_to, server, **config):
    relay = relay_to(server, {"queue": {"retry_first": "1h"}, **config})
    event = relay.send("q.eml", mail.message(to="later@x.test"), "deferred")
    return relay, event["id"]


def test_queue_hold_release_retry_remove(relay_to, make_server):
    server = make_server(LATER)
    relay, id = deferred(relay_to, server)
    shown = relay.run("queue", "list", "--json", json_out=True)
    assert id in json.dumps(shown)
    relay.run("queue", "hold", id, check=0)
    relay.wait_event("held", id=id)
    assert relay.run("status", "--json", json_out=True)["queue"]["held"] == 1
    relay.run("queue", "release", id, check=0)
    relay.run("queue", "retry", id, check=0)
    relay.wait_events("deferred", 2, pickup="q.eml")
    relay.run("queue", "remove", id, check=0)
    relay.wait_event("removed", id=id)
    relay.wait_empty()


def test_an_export_goes_on_where_it_stopped(relay_to, make_server):
    server = make_server(LATER)
    relay = relay_to(server, {"queue": {"retry_first": "1h"}})
    event = relay.send("x.eml", mail.message(to="later@x.test, done@x.test", body=".. dots\r\n"), "deferred")
    relay.wait_event("delivered", to="done@x.test")
    exported = relay.run("queue", "export", event["id"], check=0).stdout
    relay.run("queue", "remove", event["id"], check=0)
    relay.wait_empty()
    relay.drop("again.eml", exported)
    taken = relay.wait_event("taken", pickup="again.eml")
    assert taken["recipients"] == 1
    relay.run("queue", "retry", "--all", check=0)
    again = relay.wait_event("deferred", pickup="again.eml")
    assert again["attempt"] == 2 and again["delay_ms"] > event["delay_ms"]
    shown = relay.run("queue", "export", again["id"], check=0).stdout
    assert shown.endswith(b"\r\n\r\n.. dots\r\n")


def test_a_body_that_cannot_be_read_is_no_reason_to_bounce(relay_to, make_server):
    relay = relay_to(make_server(LATER), {"queue": {"retry_first": "1h"}})
    event = relay.send("l.eml", mail.message(to="later@x.test", body="x" * 70 + "\r\n" + "line\r\n" * 200000), "deferred")
    bodies = list((relay.root / "Queue" / "body").iterdir())
    assert len(bodies) == 1
    bodies[0].rename(relay.base / "away")
    relay.stop()
    relay.start()
    relay.run("queue", "retry", event["id"], check=0)
    relay.wait_event("deferred", pickup="l.eml", status="4.3.0")
    (relay.base / "away").rename(bodies[0])
    relay.run("queue", "retry", event["id"], check=0)
    relay.wait_event("deferred", pickup="l.eml", count=3, status=re.compile("."))
    assert not relay.events("bounced")


def test_an_idle_queue_gives_space_back(relay_to, make_server):
    relay = relay_to(make_server([("RCPT TO:<later", "450 4.2.0 wait")]), {"queue": {"retry_first": "1h"}})
    database = relay.root / "Queue" / "queue.db"
    for number in range(1600):
        relay.drop(f"n{number}.eml", mail.message(to="later@x.test", body="line\r\n" * 8000))
    relay.wait_events("deferred", 1600)
    assert database.stat().st_size > 64 << 20
    relay.run("queue", "remove", "--all", check=0)
    relay.wait_empty()
    wait_until(lambda: database.stat().st_size < 32 << 20, 20, what="a smaller queue.db")


def test_queue_reroute(relay_to, make_server):
    server, other = make_server(LATER), make_server()
    relay, id = deferred(relay_to, server)
    relay.run("queue", "reroute", id, "--to", f"[{other.address}]:{other.port}", check=0)
    assert relay.wait_event("delivered", id=id)["ip"].startswith(other.address)


def test_trace_finds_by_every_name(relay_to, make_server):
    relay = relay_to(make_server())
    event = relay.send("t.eml", mail.message(more="Message-ID: <x@y>\r\n"))
    relay.wait_event("done", id=event["id"])
    for word in ("t.eml", "x@y", "<x@y>", event["id"], "user@example.test"):
        kinds = [step["event"] for step in relay.run("trace", word, "--json", json_out=True)]
        assert kinds[0] == "taken" and kinds[-1] == "done" and "delivered" in kinds, word
    assert b"250 2.0.0 taken" in relay.run("trace", "t.eml", check=0).stdout
    assert relay.run("trace", "nothing").returncode == 1


@pytest.mark.parametrize("table,code", [([], 0), ([("RCPT TO:<user", "550 5.1.1 no")], 69), ([("RCPT", "450 4.2.0 wait")], 75)])
def test_wait_tells_the_outcome_by_its_code(relay_to, make_server, table, code):
    relay = relay_to(make_server(table))
    relay.drop("w.eml", mail.message())
    assert relay.run("wait", "w.eml", "--timeout", "3s").returncode == code


def test_route_says_where_mail_goes(relay_with_names):
    relay = relay_with_names({"example.test": ["MX 10 mx.test."], "mx.test": ["A 127.0.0.9"]}, start=False)
    answer = relay.run("route", "a@example.test", "--json", json_out=True)
    assert answer["action"] == "deliver" and answer["hosts"][0]["addresses"][0].startswith("127.0.0.9:")
    failed = relay.run("route", "a@nowhere.test", "--json")
    assert failed.returncode == 68 and json.loads(failed.stdout)["status"] == "5.1.2"


def test_send_composes_what_other_programs_read(relay_to, make_server):
    import email
    import email.policy
    server = make_server()
    relay = relay_to(server)
    attachment = relay.base / "große Datei.bin"
    attachment.write_bytes(bytes(range(256)) * 10)
    relay.run("send", "-f", "app@sender.test", "-s", "Grüße " * 20, "--bcc", "hidden@x.test", "--attach", attachment,
              "--wait", "to@x.test", input="Schöne Grüße\n.\n".encode(), check=0)
    message = email.message_from_bytes(server.transactions[0].content, policy=email.policy.default)
    assert message["subject"] == ("Grüße " * 20).strip() or message["subject"] == "Grüße " * 20
    text, file = message.iter_parts()
    assert text.get_content().splitlines() == ["Schöne Grüße", "."]
    assert file.get_content() == attachment.read_bytes() and file.get_filename() == attachment.name
    assert "hidden" not in server.transactions[0].content.decode() and \
        sorted(server.transactions[0].recipients) == ["hidden@x.test", "to@x.test"]


def sendmail(relay, *arguments, text=b"Subject: x\n\nhi\n", code=0, **options):
    link = relay.base / "sendmail"
    if not link.exists():
        os.symlink(BINARY, link)
    done = subprocess.run([link, *arguments], input=text, capture_output=True, timeout=30, check=False,
                          env=dict(relay.environment, MAILROOT_CONFIG=str(relay.config_file)), **options)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done


SENDMAIL = [
    (("-f", "a@b.test", "c@d.test"), b"Subject: x\n\nhi\n", "a@b.test", ["c@d.test"]),
    (("-t", "-i"), b"From: a@b.test\nTo: c@d.test\nBcc: e@f.test\n\nhi\n.\nmore\n", "a@b.test", ["c@d.test", "e@f.test"]),
    (("-i", "-fa@b.test", "--", "c@d.test", "e@f.test"), b"Subject: x\n\nhi\n", "a@b.test", ["c@d.test", "e@f.test"]),
    (("-oi", "-odb", "-oem", "-Fme", "-f", "a@b.test", "c@d.test"), b"Subject: x\n\nhi\n", "a@b.test", ["c@d.test"]),
    (("-N", "failure,delay", "-R", "hdrs", "-V", "id1", "-f", "a@b.test", "c@d.test"), b"Subject: x\n\nhi\n", "a@b.test",
     ["c@d.test"]),
    (("-f", "<>", "c@d.test"), b"From: x@y.test\n\nhi\n", "", ["c@d.test"]),
]


@pytest.mark.parametrize("arguments,text,sender,recipients", SENDMAIL, ids=[" ".join(row[0])[:40] for row in SENDMAIL])
def test_sendmail(relay_to, make_server, arguments, text, sender, recipients):
    server = make_server()
    relay = relay_to(server)
    sendmail(relay, *arguments, text=text)
    got = server.wait_transactions(1)[0]
    assert (got.sender, sorted(got.recipients)) == (sender, recipients)
    assert b"e@f.test" not in got.content


def test_sendmail_ends_at_a_lone_dot_unless_told_not_to(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    sendmail(relay, "-f", "a@b.test", "c@d.test", text=b"Subject: x\n\nhi\n.\nnever\n")
    assert b"never" not in server.wait_transactions(1)[0].content


@pytest.mark.parametrize("arguments", [(), ("-f",), ("--nonsense", "a@b.test"), ("a@b.test\nc@d.test",),
                                       ("-f", "a@b.test\nX: y", "c@d.test")])
def test_sendmail_refuses(relay_to, make_server, arguments):
    relay = relay_to(make_server(), start=False)
    done = subprocess.run([BINARY, "sendmail", *arguments], input=b"Subject: x\n\nhi\n", capture_output=True, timeout=30,
                          env=dict(relay.environment, MAILROOT_CONFIG=str(relay.config_file)), check=False)
    assert done.returncode in (64, 75) and done.stderr and not relay.waiting()


def test_sendmail_with_closed_descriptors(relay_to, make_server):
    relay = relay_to(make_server(), start=False)
    script = f'exec "{BINARY}" sendmail -f a@b.test c@d.test >&- 2>&-'
    done = subprocess.run(["sh", "-c", script], input=b"Subject: x\n\nhi\n", timeout=30, check=False,
                          env=dict(relay.environment, MAILROOT_CONFIG=str(relay.config_file)))
    assert done.returncode == 0 and len(relay.waiting()) == 1


def test_receipts(relay_to, make_server):
    relay = relay_to(make_server([("RCPT TO:<bad", "550 5.1.1 no such user")]), {"receipts": {"enabled": True}})
    event = relay.send("r.eml", mail.message(to="good@x.test, bad@x.test"), "bounced")
    relay.wait_event("done", id=event["id"])
    receipt = json.loads((relay.root / "Receipts" / "r.eml.json").read_text())
    assert receipt["done"] is True
    assert {r["to"]: r["state"] for r in receipt["recipients"]} == {"good@x.test": "delivered", "bad@x.test": "bounced"}


def test_sigterm_finishes_what_is_in_flight(relay_to, make_server):
    import threading
    gate = threading.Event()
    server = make_server()
    answer = server.action

    def slow(line):
        if line == ".":
            gate.wait(5)
        return answer(line)
    server.action = slow
    relay = relay_to(server)
    relay.drop("s.eml", mail.message())
    relay.wait_event("connected")
    wait_until(lambda: server.transactions, 10, what="the body")
    relay.process.send_signal(signal.SIGTERM)
    gate.set()
    assert relay.process.wait(15) == 0
    relay.wait_event("delivered", pickup="s.eml")


def test_sigterm_cuts_a_server_that_hangs(relay_to, make_server):
    relay = relay_to(make_server([("MAIL", HANG)]), {"shutdown_timeout": "500ms"})
    relay.drop("h.eml", mail.message())
    relay.wait_event("connected")
    relay.stop()
    assert relay.run("queue", "list", "--json", check=0).stdout.count(b"h.eml") == 1


def test_what_does_not_end_is_killed(relay_to, make_server):
    relay = relay_to(make_server(), {"shutdown_timeout": "100ms"})
    for child in pathlib.Path(f"/proc/{relay.pid}/task/{relay.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGSTOP)
    process, relay.process = relay.process, None
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGKILL
    relay.start()
    relay.send("next.eml", mail.message())


def test_sighup_takes_the_new_config_and_refuses_a_bad_one(relay_to, make_server):
    server, other = make_server(), make_server()
    relay = relay_to(server)
    relay.send("one.eml", mail.message())
    relay.config_file.write_text("rot = /nowhere\n")
    relay.reload()
    relay.wait_event("error", reason=re.compile("did you mean root"))
    relay.send("two.eml", mail.message())
    relay.configure({"delivery": {"port": other.port},
                     "route": {"*": {"hosts": [f"[{other.address}]:{other.port}"]}}})
    relay.reload()
    relay.wait_events("started", 2)
    assert relay.send("three.eml", mail.message())["ip"].startswith(other.address)


def test_sighup_with_a_key_that_can_t_be_read_changes_nothing(relay_to, make_server, tmp_path):
    """Only the supervisor may read keys by then: the relay would end to find out, and could not start again."""
    relay = relay_to(make_server())
    relay.send("one.eml", mail.message())
    relay.configure(merge(relay.config, {"dkim": {"x.test": {"keys": f"s1:{tmp_path}/missing.pem"}}}))
    relay.reload()
    wait_until(lambda: "the old config stays: dkim" in relay.stderr_file.read_text(), what="the supervisor's word")
    relay.send("two.eml", mail.message())
    assert len(relay.events("started")) == 1
    subprocess.run(["openssl", "genpkey", "-algorithm", "ED25519", "-out", tmp_path / "missing.pem"], check=True)
    relay.reload()
    relay.wait_events("started", 2)
    relay.send("three.eml", mail.message())


def test_a_second_relay_is_refused(relay_to, make_server):
    relay = relay_to(make_server())
    done = relay.run("run")
    assert done.returncode != 0 and b"another relay" in done.stderr
    assert b"held by process" in done.stderr  # by the lock; a first one that no longer answers is found, too


def test_a_message_survives_a_lost_connection_everywhere(relay_to, make_server):
    server = make_server([("RCPT", [CLOSE, "250 ok"])])
    relay = relay_to(server, {"queue": {"retry_first": "200ms"}})
    relay.send("c.eml", mail.message())
    relay.wait_empty()


NAMES = {"relay.test": ["A 192.0.2.7", "AAAA 2001:db8::7", 'TXT "v=spf1 a -all"', "MX 10 relay.test."],
         "7.2.0.192.in-addr.arpa": ["PTR relay.test."],
         "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": ["PTR relay.test."]}
WITHOUT = [  # what is taken away or changed, what the warning says
    ({"7.2.0.192.in-addr.arpa": []}, "192.0.2.7: warning: this address of relay.test has no PTR"),
    ({"7.2.0.192.in-addr.arpa": ["PTR pool-7.isp.test."]}, "192.0.2.7: warning: its PTR names pool-7.isp.test, not relay.test"),
    ({"relay.test": ["A 192.0.2.7"]}, "relay.test: warning: no SPF record"),
    ({"relay.test": ["A 192.0.2.7", 'TXT "v=spf1 a"', 'TXT "v=spf1 mx"']}, "relay.test: warning: 2 SPF records"),
    ({"relay.test": ['TXT "v=spf1 -all"']}, "relay.test: warning: the HELO name has no address"),
    ({"relay.test": ['TXT "v=spf1 -all"']}, "relay.test: warning: neither MX nor address"),
]


def test_check_finds_nothing_wrong_with_sound_names(relay_with_names):
    relay = relay_with_names(NAMES, start=False)
    assert relay.run("check", check=0).stdout.decode() == f"{relay.config_file}: ok\n"


@pytest.mark.parametrize("change,warning", WITHOUT, ids=[row[1].split("warning: ")[1] for row in WITHOUT])
def test_check_warns_of_what_makes_mail_bounce(relay_with_names, change, warning):
    relay = relay_with_names(NAMES | change, start=False)
    assert warning in relay.run("check", check=0).stdout.decode()


def test_check_says_when_dns_is_silent(make_relay):
    relay = make_relay({"dns": {"servers": ["127.0.0.1:1"]}}, start=False)
    assert "dns: warning: no usable answer" in relay.run("check", check=0).stdout.decode()


@pytest.mark.parametrize("folder,mode,word", [("Pickup", 0o777, "chmod 1733"), ("Pickup", 0o1777, "warning: everybody can list"),
                                              ("Pickup", 0o770, "chmod +t"), ("Queue", 0o755, "read"), ("Badmail", 0o757, "change")])
def test_check_looks_at_the_folders(make_relay, folder, mode, word):
    relay = make_relay(start=False)
    path = relay.root / folder
    path.mkdir(exist_ok=True)
    path.chmod(mode)
    done = relay.run("check", "--no-dns", check=0 if "warning" in word or "+t" in word else 78)
    assert word in done.stdout.decode()


# ---- send, at a terminal ----

def at_a_terminal(relay, keys, *arguments):
    """(exit code, what was shown) of `mailroot send` whose input and output are a terminal at which that is typed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BINARY, [BINARY, "send", "-c", str(relay.config_file), *arguments], dict(os.environ))
    shown = b""
    for key, prompt in keys:
        while prompt not in shown:
            shown += os.read(fd, 1000)
        os.write(fd, key)
    try:
        while more := os.read(fd, 1000):
            shown += more
    except OSError:
        pass  # the other end is closed
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_send_asks_at_a_terminal_for_what_is_missing(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    code, shown = at_a_terminal(relay, [(b"one@x.test, two@x.test\n", b"To: "), (b"hello\n", b"Subject: "),
                                        (b"first\nsecond\n\x04", b"Ctrl-D")], "-f", "a@y.test")
    assert code == 0, shown
    sent = server.wait_transactions()[0]
    assert sent.recipients == ["one@x.test", "two@x.test"] and b"Subject: hello\r\n" in sent.content
    assert sent.content.endswith(b"\r\n\r\nfirst\r\nsecond\r\n")
    name = shown.splitlines()[-1].strip()
    relay.wait_event("delivered", pickup=name)
    code, shown = at_a_terminal(relay, [(b"text\n\x04", b"Ctrl-D")], "-f", "a@y.test", "-t", "one@x.test", "-s", "given")
    assert code == 0 and "To: " not in shown and "Subject: " not in shown
    code, shown = at_a_terminal(relay, [(b"\n", b"To: "), (b"\n", b"Subject: "), (b"x\n\x04", b"Ctrl-D")], "-f", "a@y.test")
    assert code == 64, shown  # nobody to send to
    assert len(server.wait_transactions(2)) == 2


def test_send_asks_nothing_of_a_pipe(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    done = relay.run("send", "-f", "a@y.test", "one@x.test", input=b"piped\n", check=0)
    assert b"To:" not in done.stderr and b"Ctrl-D" not in done.stderr
    assert server.wait_transactions()[0].content.endswith(b"\r\n\r\npiped\r\n")
