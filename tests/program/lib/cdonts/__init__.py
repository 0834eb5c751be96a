"""Running what uses libcdonts: in processes of their own, with ASan's runtime in front where the library was built with it."""
import json
import os
import pathlib
import shutil
import subprocess

from lib.relay import BINARY

HERE = pathlib.Path(__file__).parent
BUILD = pathlib.Path(BINARY).parent / "cdonts"
LIBRARY = BUILD / "libcdonts.so"
PYTHON = "/usr/bin/python3"


def environment(**more):
    env = dict(os.environ, CDONTS_LIBRARY=str(LIBRARY), PYTHONPATH=str(HERE), LD_LIBRARY_PATH=str(BUILD),
               GI_TYPELIB_PATH=str(BUILD), PYTHONDONTWRITEBYTECODE="1",
               ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")
    linked = subprocess.run(["ldd", LIBRARY], capture_output=True, text=True, check=True).stdout
    runtimes = [line.split()[2] for line in linked.splitlines() if "libasan" in line]
    if runtimes:
        env["LD_PRELOAD"] = runtimes[0]
    env.update(more)
    return env


def run(command, check=True, **env):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False,
                          env=environment(**{key: str(value) for key, value in env.items()}))
    assert not check or done.returncode == 0, (command[:4], done.returncode, done.stdout[-2000:], done.stderr[-4000:])
    return done


def python(script, *arguments, **env):
    """A script that may `from native import …`; what it prints."""
    return run([PYTHON, "-c", script, *arguments], **env).stdout


def node_path():
    """Where ./check put mailparser; a missing one is a failure, never a skipped test."""
    places = [os.environ.get("NODE_PATH"), pathlib.Path.home() / ".cache/mailroot-check/node_modules"]
    for place in filter(None, places):
        if (pathlib.Path(place) / "mailparser").is_dir():
            return str(place)
    raise AssertionError("npm's mailparser is missing: ./check installs it")


def readers():
    return {"python": [PYTHON, HERE / "read_python.py"], "gmime": [PYTHON, HERE / "read_gmime.py"],
            "mailparser": [shutil.which("node") or "node", HERE / "read_mailparser.js"]}


def read(reader, files):
    """What a reader sees in each file, by the file's name."""
    env = dict(os.environ, NODE_PATH=node_path())
    done = subprocess.run([str(word) for word in [*readers()[reader], *files]], capture_output=True, timeout=120, check=False, env=env)
    assert done.returncode == 0, (reader, done.stderr[-3000:])
    seen = (json.loads(line) for line in done.stdout.decode().split("\n") if line)
    return {one["file"]: one for one in seen}


# ---- the property test ----

def compose_random(folder, count, seed):
    """Files N.eml and N.json of random messages: what was composed and what was set."""
    run([PYTHON, HERE / "random_messages.py", folder, count, seed])


def _lines(text):
    """What all mail does to text: line ends are CRLF, and whether there is a last one isn't told."""
    return (text or "").replace("\r\n", "\n").rstrip("\n")


def _words(addresses):
    """Blanks of a display name count as one: RFC 5322 3.2.2."""
    return [[" ".join(name.split()), address] for name, address in addresses]


def check_random(reader, folder, seed):
    """What that reader sees in each message is what was set; how many there were."""
    files = sorted(folder.glob("*.eml"))
    seen = read(reader, files)
    assert len(seen) == len(files)
    for file in files:
        wanted, got = json.loads(file.with_suffix(".json").read_text()), seen[file.name]
        where = (reader, seed, file.name)
        assert _words(got["from"]) == _words([[wanted["from"], "from@b.test"]]), where
        assert _words(got["to"]) == _words([[wanted["to"], "to@b.test"], ["", "second@b.test"]]), where
        for key in ("subject", "header"):
            assert (got[key] or "") == wanted.get(key, ""), (where, key)
        for key in ("text", "html"):
            assert _lines(got[key]) == _lines(wanted.get(key)), (where, key)
        assert got["attachments"] == wanted["attachments"], where
    return len(files)
