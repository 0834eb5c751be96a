"""One Mailroot of its own, and a relay that runs on it under the shim until all is drained, or until it is killed."""
import contextlib
import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

from lib.orders import Orders
from lib.sink import Sink

TREE = pathlib.Path(__file__).resolve().parents[3]
BUILD = TREE / "build-faults"
BINARY, SHIM = BUILD / "src" / "mailroot", BUILD / "tests" / "faults" / "libshim.so"
HOME = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SANITIZED = pathlib.Path(os.environ.get("MAILROOT") or TREE / "build-check" / "src" / "mailroot")
CONNECTIONS = 2
DRAIN_S = 30
NULL = subprocess.DEVNULL


def merge(base, changes):
    result = dict(base)
    for key, value in changes.items():
        result[key] = merge(result[key], value) if isinstance(value, dict) and key in result else value
    return result


def sanitized():
    """(the program built with AddressSanitizer, its library); the plain one and None where there is no such build."""
    if SANITIZED.exists():
        needs = subprocess.run(["ldd", SANITIZED], capture_output=True, text=True, check=False).stdout
        found = re.search(r"libasan\S* => (\S+)", needs)
        if found:
            return SANITIZED, found.group(1)
    return BINARY, None


def free_port():
    """Below the ports that outgoing connections get: nobody else takes it while a relay is started again."""
    while True:
        port = random.randrange(10000, 30000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


class Stuck(Exception):
    """The relay did not come to the end of its work."""


def is_alive(pid):
    """Dead ones that nobody waited for yet hold nothing any more."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rsplit(b")", 1)[1].split()[0] != b"Z"
    except OSError:
        return False


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as children:
            return [int(word) for word in children.read().split()]
    except OSError:
        return []


class World:
    def __init__(self, home=None):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-faults-", dir=home or HOME))
        self.root = self.base / "Mailroot"
        self.orders = Orders(self.base / "orders")
        self.sink = Sink()
        self.process, self.binary = None, BINARY

    def close(self):
        self.kill()
        self.sink.close()
        self.orders.close()
        shutil.rmtree(self.base, ignore_errors=True)

    # ---- what is there before ----

    def fresh(self, config=None):
        """A new, empty Mailroot, its folders made; the sink has forgotten all."""
        shutil.rmtree(self.root, ignore_errors=True)
        (self.root / "Pickup").mkdir(parents=True)
        self.sink.reset()
        self.config = merge({
            "sandbox": False,  # the shim kills and records from within
            "root": str(self.root), "user": "root", "hostname": "relay.test", "default_domain": "relay.test",
            "pickup": {"scan_interval": "2s", "settle": "1s"},
            "delivery": {"connections_per_site": CONNECTIONS, "idle_timeout": "10s"},
            "queue": {"volatile": True, "retry_first": "2s", "retry_second": "2s", "retry_third": "2s", "retry_subsequent": "2s",
                      "jitter": 0, "delay_notice": "1h", "expire": "1d"},
            "route": {"*": {"hosts": [f"[127.0.0.1]:{self.sink.port}"]}},
        }, config or {})
        (self.base / "conf").write_text(json.dumps(self.config))

    def drop(self, name, content):
        """A whole file, by rename, with the time of its birth as it comes."""
        part = self.base / "part"
        part.write_bytes(content)
        os.rename(part, self.root / "Pickup" / name)

    # ---- the relay ----

    def environment(self, **more):
        return {**os.environ, "LD_PRELOAD": str(SHIM), "FAULTS_ORDERS": str(self.orders.path),
                "MAILROOT_CONFIG": str(self.base / "conf"), **more}

    def start(self, shim=True, **environment):
        with open(self.base / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [self.binary, "run", "-c", self.base / "conf"], stdin=NULL, stdout=NULL, stderr=stderr,
                start_new_session=True, env=self.environment(**environment) if shim else None)

    def kill(self):
        """Until the last of its processes is gone: until then it may hold the lock, and who starts next is refused."""
        if not self.process:
            return
        left = children_of(self.process.pid)
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None
        while any(is_alive(pid) for pid in left) or not self.is_unlocked():
            time.sleep(0.002)

    def is_unlocked(self):
        try:
            with open(self.root / "Queue" / "lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:
            return True  # it never came so far

    def command(self, *arguments, input=b"", **environment):
        return subprocess.run([self.binary, *arguments], input=input, capture_output=True, start_new_session=True, timeout=60,
                              env=self.environment(**environment), check=False)

    def status(self):
        """None while it does not answer."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(5)
                client.connect(str(self.root / "control.sock"))
                client.sendall(b'{"do": "status"}\n')
                return json.loads(client.makefile().readline() or "null")
        except (OSError, ValueError):
            return None

    def names(self, folder="Pickup", dots=False):
        try:
            return [name for name in os.listdir(self.root / folder) if dots or not name.startswith(".")]
        except FileNotFoundError:
            return []

    def is_quiet(self):
        """Nothing in Pickup and nothing in the queue, without asking the relay: that counts calls, and its totals may be old."""
        if self.names() or self.names("Pickup/.taken"):
            return False
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.root}/Queue/queue.db?mode=ro", uri=True, timeout=0.2)) as queue:
                return queue.execute("SELECT count(*) FROM message").fetchone()[0] == 0
        except sqlite3.Error:
            return False

    def is_drained(self):
        return self.status() is not None and self.is_quiet() and self.status() is not None

    def run(self, until=None, limit_s=DRAIN_S, linger_s=0.0, **environment):
        """Starts it; True when it came to an end of its work (then it is killed), False when it died before."""
        self.start(**environment)
        return self.wait(until, limit_s, linger_s)

    def wait(self, until=None, limit_s=DRAIN_S, linger_s=0.0):
        until = until or self.is_drained
        end = time.monotonic() + limit_s
        while self.process.poll() is None:
            if until():
                if linger_s:
                    try:
                        self.process.wait(linger_s)
                        break
                    except subprocess.TimeoutExpired:
                        pass
                self.kill()
                return True
            if time.monotonic() > end:
                self.kill()
                raise Stuck(self.tail())
            time.sleep(0.003)
        self.kill()
        return False

    def tail(self):
        log = self.root / "Log" / "events.jsonl"
        events = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
        stderr = (self.base / "stderr").read_text(errors="replace")[-1500:]
        return "\n".join([*events, stderr, f"Pickup {self.names()} .taken {self.names('Pickup/.taken')}"])

    # ---- what is there after ----

    def clear(self):
        """Forgets what came out so far."""
        self.sink.reset()
        for folder in ("Badmail", "Drop"):
            for path in (self.root / folder).glob("[!.]*"):
                path.unlink(missing_ok=True)

    def dropped(self):
        return [path.read_bytes() for path in (self.root / "Drop").glob("*.eml")]

    def badmail(self):
        return [path.read_bytes() for path in (self.root / "Badmail").glob("*.BAD")]

    def queued(self):
        """(message, number) of what is in the queue."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.root}/Queue/queue.db?mode=ro", uri=True)) as queue:
                return queue.execute("SELECT message, number FROM recipient WHERE state IN (0, 5)").fetchall()
        except sqlite3.Error:
            return []
