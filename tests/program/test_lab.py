"""mailroot lab: the relay on a clock that jumps, against made-up servers."""
import json
import os
import re
import subprocess

import pytest

from lib.relay import BINARY, TREE

SCENARIOS = sorted((TREE / "examples" / "lab").glob("*.conf"))
ONE = """
domain "example.org" { mx = "mx.example.org" }
host "mx.example.org" { %s }
send { to = "alice@example.org" }
"""


def lab(*arguments, cwd=TREE, env=None):
    return subprocess.run([BINARY, "lab", *arguments], capture_output=True, text=True, check=False, timeout=120, cwd=cwd,
                          env={**os.environ, **(env or {})})


def play(tmp_path, text, *arguments):
    """The events of a scenario, and the verdict."""
    file = tmp_path / "scenario.conf"
    file.write_text(text)
    done = lab("--json", *arguments, file)
    assert done.returncode in (0, 1), done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "verdict"
    return events, done


def of(events, kind):
    return [event for event in events if event["event"] == kind]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.stem)
def test_what_ships_comes_as_expected(scenario):
    done = lab(scenario)
    assert done.returncode == 0, done.stderr + done.stdout[-4000:]
    assert done.stderr == ""
    assert len(SCENARIOS) >= 8


def test_the_same_scenario_gives_the_same_events(tmp_path):
    for name in ("throttling", "restart"):
        first, second = (lab("--json", TREE / "examples" / "lab" / f"{name}.conf").stdout for _ in range(2))
        assert first == second and len(first.splitlines()) > 50
    seeds = [play(tmp_path, f"seed = {seed}" + ONE % 'during "until 1d" { chance = 50; rcpt = "451 4.3.0 Not now" }')[0] for seed in (1, 2, 1)]
    assert seeds[0] == seeds[2] != seeds[1]


def test_the_timeline_in_the_readme_is_a_run():
    """README shows the default retry policy: printed anew, it is the same."""
    text = (TREE / "README.md").read_text()
    shown = re.search(r"^\$ mailroot lab examples/lab/away.conf\n(.*?)^```", text, re.M | re.S).group(1)
    assert lab("examples/lab/away.conf").stdout == shown


def test_the_session_in_the_docs_is_a_run():
    text = (TREE / "docs" / "lab.md").read_text()
    sessions = re.findall(r"^\$ mailroot lab (examples/lab/\S+)\n(.*?)^```", text, re.M | re.S)
    assert len(sessions) >= 2
    for scenario, shown in sessions:
        assert lab(scenario).stdout == shown, scenario


def test_an_expectation_that_fails_is_told_with_its_line(tmp_path):
    text = ONE % "" + 'expect "never" { event = bounced; at = "until 1h" }\nexpect { delivered = 2; deferred = "from 1"; notice = "0 to 3" }\n'
    events, done = play(tmp_path, text)
    assert done.returncode == 1
    assert 'scenario.conf:5: "never" did not come' in done.stderr
    assert "scenario.conf:6: delivered: 1 where 2 were expected" in done.stderr
    assert "scenario.conf:6: deferred: 0 where 1 or more were expected" in done.stderr
    assert events[-1] == {"event": "verdict", "scenario": str(tmp_path / "scenario.conf"), "expected": 4, "failed": 3, "left": 0}


@pytest.mark.parametrize("text, line, words", [
    ("sned { }", 1, "accepted: config, domain, host, dns, send, step, expect"),
    ('host "a.test" { rcp = "450 no" }', 1, 'unknown key "rcp"; accepted: connect, ehlo, mail, rcpt'),
    ('\nhost "a.test" { rcpt = "go away" }', 2, 'a reply as "451 4.7.1 Try later" was expected, or one of silent, close'),
    ('host "a.test" { tls = rusty }', 1, "accepted: good, none, expired, other-name, unknown, broken"),
    ('domain "a.test" { during "soon" { dns = servfail } }', 1, 'accepted: "10m to 2h", "from 10m", "until 2h", "5m"'),
    ('send { at = 5 }', 1, "is no duration"),
    ('send { to = "a@b.test" }\nsend { to = "c@b.test" }', 2, "given twice; sections of one kind have names of their own"),
    ("expect { delivered = many }", 1, 'accepted: "3", "3 to 5", "from 3"'),
    ('step { do = dance }', 1, "accepted: restart, kill, disk-full, clock"),
])
def test_mistakes_are_told_with_line_and_what_is_accepted(tmp_path, text, line, words):
    file = tmp_path / "bad.conf"
    file.write_text(text)
    done = lab(file)
    assert done.returncode == 65
    assert any(f"bad.conf:{line}: " in row and words in row for row in done.stderr.splitlines()), done.stderr


@pytest.mark.parametrize("text, words", [
    ('domain "a.test" { mx = "mx.a.test" }\nsend { to = "x@a.test" }', "its MX is not in the scenario"),
    ('send { to = "x@a.test" }', "its domain is not in the scenario"),
    ('domain "a.test" { dns = nxdomain }', "nothing is sent"),
    ('domain "a.test" { dns = nxdomain }\nsend { to = "x@a.test" }\nstep "s" { do = disk-full }', "for = 10m was expected"),
    ('host "a.test" { address = nowhere }\nsend { to = "x@a.test" }', "an IPv4 or IPv6 address was expected"),
    ("send {", '"}" at the end of a section'),
])
def test_what_cannot_be_played_is_told(tmp_path, text, words):
    file = tmp_path / "bad.conf"
    file.write_text(text)
    done = lab(file)
    assert done.returncode == 65 and words in done.stderr, done.stderr


def test_mistakes_of_the_config(tmp_path):
    file = tmp_path / "scenario.conf"
    file.write_text(ONE % "" + "config { queue.expire = soon }")
    done = lab(file)
    assert done.returncode == 78 and "queue.expire" in done.stderr
    assert lab().returncode == 64


def test_settings_of_the_users_own_config(tmp_path):
    (tmp_path / "mine.conf").write_text('queue.retry_first = 2h\nqueue.jitter = 0\nroot = "/nonexistent"\nevents.file = "/nonexistent/x"\n')
    events, _ = play(tmp_path, ONE % 'during "until 1h" { rcpt = "451 4.3.0 Not now" }', "-c", tmp_path / "mine.conf")
    times = [event["time"][11:16] for event in of(events, "deferred") + of(events, "delivered")]
    assert times == ["09:00", "11:00"]


@pytest.mark.parametrize("says, kind, words", [
    ('connect = "554 5.7.1 Go away"', "bounced", "554"),
    ("connect = unreachable", "expired", "No route to host"),
    ("connect = close", "expired", ""),
    ('ehlo = "421 4.3.2 Not today"', "expired", "421"),
    ('mail = "550 5.1.8 Sender not liked"', "bounced", "Sender not liked"),
    ('rcpt = "550 5.1.1 No such user"', "bounced", "No such user"),
    ('data = "554 5.7.1 No data from you"', "bounced", "No data from you"),
    ('message = "554 5.6.0 Bad content\\n5.6.0 on two lines"', "bounced", "on two lines"),
    ("message = close", "expired", ""),
    ("rcpt = close", "expired", ""),
    ("data = silent", "expired", ""),
    ('mailbox "alice@example.org" = "550 5.2.1 Closed"', "bounced", "Closed"),
    ('dns = nxdomain', "bounced", "no"),
])
def test_what_servers_can_say(tmp_path, says, kind, words):
    events, _ = play(tmp_path, "config { queue.expire = 1h }" + ONE % says)
    outcome = [event for event in events if event["event"] in ("bounced", "expired", "delivered") and event["to"] == "alice@example.org"]
    assert [event["event"] for event in outcome] == [kind], outcome
    assert words in outcome[0].get("reply", outcome[0].get("reason", ""))


def test_a_message_whose_answer_is_lost_arrives_again(tmp_path):
    events, _ = play(tmp_path, ONE % 'during "until 1m" { message = lost }')
    assert [event["answer"][:4] for event in of(events, "arrived")] == ["lost", "250 "]
    assert len(of(events, "delivered")) == 1


def test_limits_of_a_server(tmp_path):
    events, _ = play(tmp_path, """
        config { delivery.tune = false }
        domain "example.org" { mx = "mx.example.org" }
        host "mx.example.org" { connections = 3; delay = 5s; rate = "10/1m" }
        send { to = "alice@example.org"; count = 40 }
        """)
    assert max(event["open"] for event in of(events, "visited")) > 3
    replies = {event.get("reply", "")[:4] for event in of(events, "deferred")}
    assert "421 " in replies or "451 " in replies
    assert len(of(events, "delivered")) == 40


def test_what_a_resting_site_holds_back_is_deferred_together(tmp_path):
    """Many messages, each with its own route to two hosts: the name that is told is the first one's."""
    events, _ = play(tmp_path, """
        domain "example.org" { mx = ["mx1.google.com", "mx2.google.com"] }
        host "mx1.google.com" { during "until 1h" { mail = "421 4.7.0 This message is suspicious" } }
        host "mx2.google.com" { during "until 1h" { mail = "421 4.7.0 This message is suspicious" } }
        send "first" { to = "alice@example.org" }
        send "more" { to = "bob@example.org"; at = 30s; count = 20 }
        """)
    held = [event for event in of(events, "deferred") if event["stage"] == "pace"]
    assert len(held) >= 20 and {event["mx"] for event in held} <= {"mx1.google.com", "mx2.google.com"}
    assert len(of(events, "delivered")) == 21


def test_nothing_is_left_behind_and_nothing_touched(tmp_path):
    (tmp_path / "tmp").mkdir()
    done = lab("--quiet", TREE / "examples" / "lab" / "greylisting.conf", env={"TMPDIR": str(tmp_path / "tmp")})
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    assert list((tmp_path / "tmp").iterdir()) == []


def test_it_has_no_network(tmp_path):
    """The run's process: a socket is not made, whatever for; a file is opened in the run's folder alone."""
    log = tmp_path / "calls"
    done = subprocess.run(["strace", "-f", "-qq", "-e", "trace=socket,connect,bind,listen", "-o", log, BINARY, "lab", "--quiet",
                           TREE / "examples" / "lab" / "greylisting.conf"], capture_output=True, text=True, check=False,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0, done.stderr
    assert not re.search(r"AF_INET|connect\(|listen\(", log.read_text())
