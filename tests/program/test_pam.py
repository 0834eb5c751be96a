"""Passwords that PAM judges, asked by a process of its own. The judge behind PAM is a script of pam_exec(8)."""
import base64
import crypt
import os
import re
import signal
import subprocess

import pytest

from lib.listener import PASSWORD, STRANGER, Talk, listener
from lib.ports import free_port
from lib.receivers import needs_root
from lib.relay import BINARY
from lib.watch import wait_until

pytestmark = pytest.mark.skipif(not needs_root(), reason="an ordinary user's PAM reads no shadow file, and pam_exec's script here is root's")

JUDGE = """#!/bin/sh
# The password comes on standard input, ended by NUL or by the end.
password=$(tr -d '\\000')
echo "$PAM_SERVICE $PAM_USER $PAM_RHOST $(id -u)" >>FOLDER/asked
case "$PAM_USER" in slow*) echo $$ >>FOLDER/pids; exec sleep 60;; esac
[ "$PAM_USER" = alice ] && [ "$password" = "PASSWORD" ]
"""


@pytest.fixture
def service(site_folder):
    judge, service = site_folder / "judge", site_folder / "mailroot-test"
    judge.write_text(JUDGE.replace("FOLDER", str(site_folder)).replace("PASSWORD", PASSWORD))
    judge.chmod(0o755)
    service.write_text(f"auth required pam_exec.so quiet expose_authtok {judge}\naccount required pam_permit.so\n")
    return service


@pytest.fixture
def make_listener(relay_to, make_aio, service):
    def create(**options):
        sink = make_aio()
        ports = {"tls": free_port()}
        settings, more = listener(pam=str(service), listen=[f"127.0.0.1:{ports['tls']}/tls/auth"], **options)
        return relay_to(sink, settings), {**more, **ports}, sink
    return create


def sleepers(service):
    pids = service.parent / "pids"
    return [int(pid) for pid in pids.read_text().split()] if pids.exists() else []


def plain(name, password):
    return "AUTH PLAIN " + base64.b64encode(f"\0{name}\0{password}".encode()).decode()


def child_of(relay, word):
    """The process of a role, by what its open descriptors and name can't tell: the order in which they were started."""
    children = open(f"/proc/{relay.pid}/task/{relay.pid}/children").read().split()
    return int(children[{"relay": 0, "smtp": 1, "pam": 2}[word]])


def test_pam_judges_in_a_process_of_its_own(make_listener, service):
    relay, ports, sink = make_listener()
    with Talk(ports["tls"], STRANGER, tls=True) as talk:
        talk.say("EHLO me")
        assert "250-AUTH PLAIN LOGIN" in talk.lines
        assert talk.codes(plain("alice", "wrong"), plain("bob", PASSWORD), "MAIL FROM:<a@x.test>") == [535, 535, 530]
        assert talk.codes(plain("alice", PASSWORD)) == [235]
        assert talk.codes("MAIL FROM:<a@x.test>", "RCPT TO:<far@far.test>", "DATA", "Subject: x\r\n\r\n.") == [250, 250, 354, 250]
    assert sink.wait()[0].rcpt_tos == ["far@far.test"]
    assert relay.wait_event("authenticated")["user"] == "alice"
    asked = (service.parent / "asked").read_text().splitlines()
    assert asked == [f"mailroot-test alice {STRANGER} 0", f"mailroot-test bob {STRANGER} 0", f"mailroot-test alice {STRANGER} 0"]
    # The listener itself is nobody, as ever.
    status = open(f"/proc/{child_of(relay, 'smtp')}/status").read()
    assert "Uid:\t0" not in status and "NoNewPrivs:\t1" in status
    for text in (relay.events_file.read_text(), relay.stderr_text()):
        assert PASSWORD not in text
    for text in (chr(0).join(["alice", "x" * 400]), "a\nlice", ""):
        with Talk(ports["tls"], STRANGER, tls=True) as talk:
            talk.say("EHLO me")
            name, _, password = text.partition("\0")
            assert talk.codes(plain(name, password or PASSWORD))[0] in (535, 501)
    assert len((service.parent / "asked").read_text().splitlines()) == 3


def test_the_users_file_comes_first(make_listener, service, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{crypt.crypt('another', crypt.METHOD_SHA256)}\n")
    _, ports, _ = make_listener(users=users)
    with Talk(ports["tls"], tls=True) as talk:
        talk.say("EHLO me")
        assert talk.codes(plain("alice", PASSWORD), plain("alice", "another")) == [535, 235]
    assert not (service.parent / "asked").exists()


def test_no_answer_is_no_refusal(make_listener, service):
    relay, ports, _ = make_listener()
    pam = child_of(relay, "pam")
    with Talk(ports["tls"], tls=True) as talk:
        talk.say("EHLO me")
        os.kill(pam, signal.SIGSTOP)
        talk.send(plain("slow", "x") + "\r\n")
        os.kill(pam, signal.SIGKILL)  # the question waits in the link; the next process of the role takes it
        os.kill(pam, signal.SIGCONT)
        wait_until(lambda: child_of_or_none(relay) not in (None, pam), 20, what="the next process")
        sleeping = wait_until(lambda: sleepers(service), 20, what="the judge that sleeps")
        os.kill(sleeping[0], signal.SIGKILL)
        assert talk.reply().startswith("535")
        assert talk.codes(plain("alice", PASSWORD)) == [235]


def child_of_or_none(relay):
    try:
        return child_of(relay, "pam")
    except IndexError:
        return None


def test_slow_judges_hold_up_no_mail(make_listener, service):
    relay, ports, sink = make_listener(writers=20, connections_per_client=0)
    held = [Talk(ports["tls"], f"127.0.7.{number}", tls=True) for number in range(1, 25)]
    for number, talk in enumerate(held):
        talk.say("EHLO me")
        talk.send(plain(f"slow{number}", "x") + "\r\n")
    # Eight are asked, some wait, the rest is told to come back: and all the while there are threads for messages.
    told = [talk for talk in held[16:] if talk.reply().startswith("454 4.7.0")]
    assert len(told) == 8
    with Talk(ports["mail"]) as talk:
        talk.envelope()
        assert talk.say("Subject: x\r\n\r\n.").startswith("250")
    sink.wait()
    for pid in wait_until(lambda: sleepers(service) if len(sleepers(service)) >= 8 else None, 20, what="eight judges"):
        os.kill(pid, signal.SIGKILL)
    for talk in held:
        talk.close()


def test_auth_wants_users_or_pam(make_relay):
    settings, _ = listener(tls=True, listen=[f"127.0.0.1:{free_port()}/tls/auth"])
    relay = make_relay(settings, start=False)
    done = subprocess.run([BINARY, "run", "-c", str(relay.config_file)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 78 and re.search("users' file, or smtp.pam", done.stderr)
