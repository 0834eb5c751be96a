"""The relay from outside: what it may do is little, and mail flows all the same."""
import json
import os
import re
import subprocess

import pytest

from lib import mail
from lib.relay import BINARY

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def processes(relay):
    """(status as a dict) of the relay's own process, the supervisor's child."""
    children = open(f"/proc/{relay.pid}/task/{relay.pid}/children").read().split()
    return [dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)
            for pid in children]


def test_the_relay_is_confined(relay_to, make_sink):
    relay = relay_to(make_sink())
    relay.send("a.eml", mail.message())
    for status in processes(relay):
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
        assert int(status["CapEff"], 16) == 0 or status["Uid"].split()[1] == "0"
        if os.geteuid() == 0:
            assert "0" not in status["Uid"].split() + status["Gid"].split(), "root after the start"


def test_a_confined_relay_writes_where_the_config_says_and_nowhere_else(relay_to, make_sink):
    relay = relay_to(make_sink(), {"receipts": {"enabled": True}})
    relay.send("a.eml", mail.message())
    relay.drop("bad.eml", b"Subject: nobody\r\n\r\n")
    relay.wait_event("refused")
    relay.wait_empty()
    assert json.loads((relay.root / "Receipts" / "a.eml.json").read_text())["done"]
    relay.reload()
    relay.wait_events("started", 2)
    relay.send("b.eml", mail.message())


def test_sandbox_false_does_without(relay_to, make_sink):
    relay = relay_to(make_sink(), {"sandbox": False})
    relay.send("a.eml", mail.message())
    assert {status["Seccomp"] for status in processes(relay)} == {"0"}


@pytest.fixture(scope="module")
def hardened(tmp_path_factory):
    """A program built as it is shipped, without sanitizers."""
    folder = tmp_path_factory.mktemp("hardened")
    flags = dict(os.environ, CC="gcc")
    subprocess.run(["/usr/bin/python3", "/usr/bin/meson", "setup", folder, TREE, "-Dbuildtype=debugoptimized"], check=True,
                   capture_output=True, env=flags)
    subprocess.run(["ninja", "-C", folder, "src/mailroot"], check=True, capture_output=True)
    return folder / "src" / "mailroot"


def readelf(option, binary):
    return subprocess.run(["readelf", "-W", option, binary], check=True, capture_output=True, text=True).stdout


HARDENING = [
    ("position independent", "-h", r"Type:\s+DYN"),
    ("addresses read-only after the start", "-d", r"BIND_NOW"),
    ("relro", "-l", r"GNU_RELRO"),
    ("no executable stack", "-l", r"GNU_STACK\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+RW\s"),
    ("stack protector", "-s", r"__stack_chk_fail"),
    ("fortified calls", "-s", r"__snprintf_chk"),
]


@pytest.mark.parametrize("what, option, pattern", HARDENING, ids=[row[0] for row in HARDENING])
def test_the_shipped_program_is_hardened(hardened, what, option, pattern):
    assert re.search(pattern, readelf(option, hardened)), what


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="endbr64 is x86's")
def test_the_shipped_program_marks_where_calls_may_land(hardened):
    assert hardened.read_bytes().count(b"\xf3\x0f\x1e\xfa") > 300  # -fcf-protection


def test_no_setuid_anywhere():
    assert os.stat(BINARY).st_mode & 0o6000 == 0
