"""The container's recipe, as far as no engine is needed: what it says of itself is true of this tree and this program."""
import json
import os
import re
import shutil
import subprocess

import pytest

from lib import mail
from lib.relay import BINARY, TREE

RECIPE = TREE / "packaging" / "Dockerfile"


def instructions():
    """[(word, rest)], continued lines joined."""
    lines = [line for line in RECIPE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def stages():
    result = []
    for word, rest in instructions():
        if word == "FROM":
            result.append([])
        result[-1].append((word, rest))
    return result


def packages(stage):
    installed = " ".join(rest for word, rest in stage if word == "RUN")
    found = re.search(r"apt-get install -y --no-install-recommends ([^&]+)", installed)[1]
    return set(found.split())


def said(word, stage):
    return [rest for found, rest in stage if found == word]


def test_the_image_is_a_user_s_and_ends_in_our_program():
    last = stages()[-1]
    assert said("USER", last) == ["mailroot"] and said("VOLUME", last) == ["/var/lib/mailroot"]
    assert json.loads(said("ENTRYPOINT", last)[0]) + json.loads(said("CMD", last)[0]) == ["mailroot", "run"]
    defaults = subprocess.run([BINARY, "check", "--defaults"], capture_output=True, text=True, check=True).stdout
    for setting in said("ENV", last):
        name, _ = setting.split("=")
        key = re.sub("_", ".", name.removeprefix("MAILROOT_").lower(), count=1)
        assert re.search(rf"^#?\s*{re.escape(key)}\b", defaults, re.M), key


def test_every_library_that_it_needs_is_in_the_image():
    build, last = stages()
    control = (TREE / "debian" / "control").read_text()
    wanted = set(re.findall(r"^ (lib[\w.+-]+-dev|uthash-dev)(?: <!nocheck>)?,$", control, re.M)) - {"libcmocka-dev"}
    assert wanted <= packages(build), wanted - packages(build)
    if not shutil.which("dpkg-query"):
        pytest.skip("no Debian to ask for the libraries' packages")
    needed = subprocess.run(["objdump", "-p", BINARY], capture_output=True, text=True, check=True).stdout
    base = {"libc.so.6", "libm.so.6"}
    for library in set(re.findall(r"NEEDED\s+(\S+)", needed)) - base:
        if re.match(r"lib(asan|ubsan|tsan|gcc_s)", library):
            continue  # of a build for tests
        owner = subprocess.run(["dpkg-query", "-S", f"*/{library}"], capture_output=True, text=True, check=True).stdout.split(":")[0]
        assert owner in packages(last), (library, owner)


def test_the_health_check_tells_a_relay_that_works_from_one_that_does_not(make_relay, tmp_path):
    check = said("HEALTHCHECK", stages()[-1])[0]
    options, command = re.fullmatch(r"((?:--\S+ )*)CMD (\[.*\])", check).groups()
    assert {option.split("=")[0] for option in options.split()} == {"--interval", "--timeout", "--start-period", "--retries"}
    (tmp_path / "mailroot").symlink_to(BINARY)
    relay = make_relay({"local": {"domains": ["x.test"]}})

    def healthy(root):
        environment = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}", MAILROOT_ROOT=str(root))
        done = subprocess.run(json.loads(command), env=environment, capture_output=True, timeout=10, check=False)
        assert not done.stdout and b"Sanitizer" not in done.stderr, done
        return done.returncode == 0

    relay.send("a.eml", mail.message(to="a@x.test"))
    assert healthy(relay.root)
    assert not healthy(tmp_path)  # a volume that is not the relay's
    relay.stop()
    assert not healthy(relay.root)
