"""What the manuals promise: every command and key has its place there."""
import re
import subprocess

from lib.relay import BINARY, TREE

TESTS_ONLY = {"libcmocka-dev", "libclang-rt-14-dev", "libgirepository1.0-dev", "libgmime-3.0-dev"}


def test_every_key_is_in_the_manual():
    page = (TREE / "man" / "mailroot.conf.5").read_text()
    keys = re.findall(r"^# (\S+) =", subprocess.run([BINARY, "check", "--defaults"], capture_output=True, text=True,
                                                     check=True).stdout, re.M)
    assert len(keys) > 50
    assert [key for key in keys if f".It Va {key} " not in page] == []


def test_every_event_and_its_keys_are_in_the_manual():
    source, page = (TREE / "src" / "outcome" / "event.c").read_text(), (TREE / "man" / "mailroot-events.5").read_text()
    kinds = re.findall(r'\[EVENT_\w+\] = "([\w-]+)"', source)
    keys = re.findall(r'put_\w+\((?:to|out), "(\w+)"', source) + ["event"]
    items = " , ".join(re.findall(r"^\.It (?:Va )?(.*)$", page, re.M)).split(" , ")
    assert len(kinds) > 30 and len(keys) > 30
    assert [name for name in kinds + keys if name not in items] == []


def test_every_command_has_a_manual_and_help():
    commands = re.findall(r"^  (\w+) ", subprocess.run([BINARY, "help"], capture_output=True, text=True, check=True).stdout, re.M)
    assert {"run", "send", "sendmail", "queue", "trace", "route", "check", "explain", "lint", "wait", "status", "sink"} <= set(commands)
    for command in commands:
        name = "sendmail.1" if command == "sendmail" else f"mailroot-{command}.1"
        assert (TREE / "man" / name).exists(), name
        if command != "sendmail":
            done = subprocess.run([BINARY, command, "--help"], capture_output=True, text=True, check=False)
            assert done.returncode == 0 and "usage:" in done.stdout, command


def test_the_example_config_is_one():
    done = subprocess.run([BINARY, "check", "-c", TREE / "examples" / "mailroot.conf"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_defaults_are_a_config(tmp_path):
    lines = subprocess.run([BINARY, "check", "--defaults"], capture_output=True, text=True, check=True).stdout
    (tmp_path / "all.conf").write_text("\n".join(line[2:] for line in lines.splitlines() if not line.endswith('""')))
    done = subprocess.run([BINARY, "check", "-c", tmp_path / "all.conf"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_way_to_build_names_the_same_libraries():
    wanted = {name for name in re.findall(r"\b(?:lib[\w.+-]+-dev|uthash-dev)\b", (TREE / "check").read_text())}
    wanted -= TESTS_ONLY
    assert len(wanted) > 10
    for place in ("quickstart", "packaging/Dockerfile", "debian/control"):
        assert [name for name in sorted(wanted) if name not in (TREE / place).read_text()] == [], place


def test_every_session_of_the_docs_is_run():
    runner = (TREE / "tests" / "program" / "test_sessions.py").read_text()
    pages = [page.name for page in sorted((TREE / "docs").glob("*.md")) if "```console\n" in page.read_text()]
    assert {"dialects.md", "folders.md", "once.md", "rehearse.md", "explain.md", "containers.md", "traces.md"} <= set(pages)
    assert [page for page in pages if f'check("{page}")' not in runner] == []


def test_every_page_is_linked_from_the_readme():
    readme = (TREE / "README.md").read_text()
    assert [page.name for page in sorted((TREE / "docs").glob("*.md")) if f"docs/{page.name}" not in readme] == []
