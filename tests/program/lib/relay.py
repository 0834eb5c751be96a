"""The relay under test: a Mailroot of its own in a temporary folder, and `mailroot run` on it."""
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from lib.watch import Timeout, wait_until

TREE = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("MAILROOT", str(TREE / "build" / "src" / "mailroot"))
HOST = "relay.test"
FAULTS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|UndefinedBehavior|CHECK|check failed", re.I)
# Under root the relay becomes an ordinary user, as it would in service; permissions then mean something.
USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def merge(base, changes):
    """A copy of nested dicts with `changes` on top; None removes a key."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


def matches(event, kind, wanted):
    if kind is not None and event.get("event") != kind:
        return False
    for key, value in wanted.items():
        actual = event.get(key)
        if isinstance(value, re.Pattern):
            if actual is None or not value.search(str(actual)):
                return False
        elif callable(value):
            if not value(actual):
                return False
        elif actual != value:
            return False
    return True


class Relay:
    """A relay whose files can be dropped in and whose events can be waited for.

    `config` is laid over the defaults below; keys are those of mailroot.conf(5). The file is written as JSON, which
    libucl reads.
    """

    def __init__(self, config=None, start=True, environment=None):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-test-"))
        self.base.chmod(0o755)
        self.root = self.base / "Mailroot"
        self.stage = self.base / "stage"
        self.pickup, self.badmail = self.root / "Pickup", self.root / "Badmail"
        self.events_file = self.root / "Log" / "events.jsonl"
        self.control = self.root / "control.sock"
        self.config_file = self.base / "mailroot.conf"
        self.stderr_file = self.base / "stderr"
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None
        self.wrapper, self.binary = [], BINARY
        self._events, self._read, self._part = [], 0, b""
        for folder in (self.root, self.stage, self.pickup, self.events_file.parent):
            folder.mkdir()
            if os.geteuid() == 0:
                shutil.chown(folder, USER)
        self.configure(config or {})
        if start:
            self.start()

    def configure(self, changes):
        defaults = {
            "root": str(self.root), "user": USER, "hostname": HOST, "default_domain": HOST,
            "shutdown_timeout": "5s",
            "pickup": {"scan_interval": "1s", "settle": "200ms"},
            "dns": {"allow_private": True, "timeout": "3s", "trust_anchor": "none"},
            "queue": {"jitter": 0, "volatile": True},  # temporary folders may lie on tmpfs or overlayfs
        }
        self.config = merge(defaults, changes)
        self.config_file.write_text(json.dumps(self.config, indent=1))

    # ---- the process ----

    def start(self, wait=True):
        assert self.process is None, "already running"
        seen = len(self.events("started"))
        with open(self.stderr_file, "ab") as stderr:
            self.process = subprocess.Popen(
                [*self.wrapper, self.binary, "run", "-c", str(self.config_file)], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=stderr, env=self.environment, start_new_session=True)
        if wait:
            self._wait(lambda: len(self.events("started")) > seen, "the start", 20)
        return self

    def stop(self):
        """Ends the relay with SIGTERM; it must leave with 0 and without a word from a sanitizer."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"SIGTERM did not end the relay in 20 s\n{self.tail()}") from None
        self.check_faults()
        assert code == 0, f"the relay left with {code}\n{self.tail()}"

    def kill(self):
        """kill -9 of all its processes."""
        process, self.process = self.process, None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.check_faults()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def close(self):
        """Stops it and removes the folder; the folder of a failed test stays for a look."""
        try:
            self.stop()
        finally:
            if not os.environ.get("KEEP"):
                subprocess.run(["rm", "-rf", str(self.base)], check=False)

    @property
    def pid(self):
        return self.process.pid

    def check_alive(self):
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"the relay ended by itself with {self.process.returncode}\n{self.tail()}")

    def check_faults(self):
        text = self.stderr_text()
        assert not FAULTS.search(text), text[-6000:]

    def stderr_text(self):
        return self.stderr_file.read_text(errors="replace") if self.stderr_file.exists() else ""

    def tail(self):
        events = "\n".join(json.dumps(event) for event in self.events()[-15:])
        return f"--- last events\n{events}\n--- stderr\n{self.stderr_text()[-3000:]}"

    # ---- files ----

    def drop(self, name, content):
        """Puts a finished file into Pickup, by rename."""
        path = self.stage / re.sub(r"[^\w.-]", "_", str(name))[:100]
        path.write_bytes(content)
        path.chmod(0o644)
        os.rename(path, os.path.join(os.fsencode(self.pickup), os.fsencode(name)))
        return name

    def drop_in_place(self, name, content):
        """Writes a file in Pickup and closes it, as most programs do."""
        (self.pickup / name).write_bytes(content)
        return name

    def waiting(self):
        """Names in Pickup, but for dot-files (claims among them)."""
        return [name for name in os.listdir(self.pickup) if not name.startswith(".")]

    def claims(self):
        """Names of files that are being taken."""
        folder = self.pickup / ".taken"
        return os.listdir(folder) if folder.exists() else []

    def is_ready(self):
        """Whether it answers."""
        try:
            return bool(self.status()["ok"])
        except OSError:
            return False

    def bad(self, name=None):
        """(message, reason text, properties) of the one file in Badmail, or of the one that came as `name`."""
        found = []
        for reason in sorted(self.badmail.glob("*.BDR")):
            stem = reason.with_suffix("")
            about = stem.parent / (stem.name + ".BDP")
            properties = json.loads(about.read_text()) if about.exists() else {}
            if name is None or properties.get("file") == name or stem.name.startswith(str(name)):
                bad = stem.parent / (stem.name + ".BAD")
                found.append((bad.read_bytes() if bad.is_file() else None, reason.read_text(), properties))
        assert len(found) == 1, f"{len(found)} files in Badmail for {name}: {sorted(os.listdir(self.badmail))}"
        return found[0]

    # ---- events ----

    def events(self, kind=None, **wanted):
        """All events so far, or those that match."""
        try:
            with open(self.events_file, "rb") as file:
                file.seek(self._read)
                more = file.read()
        except FileNotFoundError:
            more = b""
        self._read += len(more)
        *lines, self._part = (self._part + more).split(b"\n")
        self._events += [json.loads(line) for line in lines]
        return [event for event in self._events if matches(event, kind, wanted)]

    def pass_over_events(self):
        """Those so far are never read: for logs of millions of lines."""
        self._read, self._part = self.events_file.stat().st_size, b""

    def _wait(self, condition, what, seconds):
        try:
            return wait_until(condition, seconds, self.events_file.parent, what, self.check_alive)
        except Timeout as timeout:
            raise Timeout(f"{timeout}\n{self.tail()}") from None

    def wait_event(self, kind, seconds=15, count=1, **wanted):
        """The count-th event of that kind whose keys equal (or match: regex, function) what is wanted."""
        found = self._wait(lambda: self.events(kind, **wanted)[count - 1:count], f"event {kind} {wanted}", seconds)
        return found[0]

    def wait_events(self, kind, count, seconds=60, **wanted):
        self.wait_event(kind, seconds, count, **wanted)
        return self.events(kind, **wanted)

    def wait_empty(self, seconds=30):
        """Until Pickup holds nothing the relay would take and the queue is empty."""
        self._wait(lambda: not self.waiting() and not self.claims() and self.status()["messages"] == 0,
                   "an empty queue", seconds)

    def send(self, name, content, kind="delivered", seconds=15, **wanted):
        """Drops a file and waits for an outcome of it."""
        self.drop(name, content)
        return self.wait_event(kind, seconds, pickup=name, **wanted)

    # ---- the command line ----

    def run(self, *arguments, check=None, input=None, json_out=False, name="mailroot"):
        """`mailroot COMMAND … -c CONFIG`; asserts the exit code if `check` is one."""
        command, *rest = arguments
        done = subprocess.run([self.binary, command, "-c", str(self.config_file), *map(str, rest)], input=input,
                              capture_output=True, timeout=60, env=self.environment, check=False)
        text = done.stderr.decode(errors="replace")
        assert not FAULTS.search(text), text[-6000:]
        if check is not None:
            assert done.returncode == check, (arguments, done.returncode, done.stdout[-2000:], text[-2000:])
        return json.loads(done.stdout) if json_out else done

    def request(self, **request):
        """One request on the control socket."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(self.control))
            client.sendall(json.dumps(request).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n"):
                more = client.recv(65536)
                if not more:
                    break
                data += more
        if not data:
            raise ConnectionError("the relay closed the control connection without an answer")
        return json.loads(data)

    def status(self):
        return self.request(do="status")
