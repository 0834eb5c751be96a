"""What the measurements stand on: a name server, the sink, a relay with default settings, files of 4 KiB, and counters."""
import os
import pathlib
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from lib import mail
from lib.names import NameServer
from lib.ports import MX_PORT, loopback
from lib.receivers import Sink
from lib.relay import Relay
from lib.watch import wait_until

BODY = ("0123456789" * 7 + "\r\n") * 55
DOMAINS = {f"d{number}.test": ["MX 10 mx.test."] for number in range(100)}
TICKS = os.sysconf("SC_CLK_TCK")
HERE = pathlib.Path(__file__).resolve().parent


def say(text):
    print(text, file=sys.stderr, flush=True)


class Helpers:
    """limit, offer and syncs.so, compiled for this run."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-bench-"))
        self.folder.chmod(0o755)
        for name in ("limit", "offer"):
            subprocess.run(["cc", "-O2", "-o", self.folder / name, HERE / f"{name}.c"], check=True)
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.folder / "syncs.so", HERE / "syncs.c"], check=True)

    def counting(self):
        """The environment in which fsync and fdatasync are counted, from zero."""
        counter = self.folder / "syncs"
        counter.write_bytes(bytes(8))
        counter.chmod(0o666)
        return {"LD_PRELOAD": str(self.folder / "syncs.so"), "SYNCS_FILE": str(counter)}

    def counted(self):
        return struct.unpack("=Q", (self.folder / "syncs").read_bytes())[0]


def message(number):
    return mail.message(to=f"u{number}@d{number % 100}.test", body=BODY)


def children(pid):
    found = [pid]
    try:
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += children(int(child))
    except OSError:
        pass  # it has ended: its parent's figures have it
    return found


def usage(pid):
    """CPU seconds, peak memory in MB and octets written to disk, of a process and all under it."""
    ticks, peak, written = 0, 0, 0
    for each in children(pid):
        try:
            fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            status, io = (pathlib.Path(f"/proc/{each}/{name}").read_text() for name in ("status", "io"))
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))  # with the children that have ended
        peak += int((re.search(r"VmHWM:\s+(\d+)", status) or [0, 0])[1])
        written += int(re.search(r"^write_bytes: (\d+)", io, re.M)[1])
    return ticks / TICKS, peak / 1024, written


class Place:
    """A name server and, if wanted, the sink that all domains' MX points to."""

    def __init__(self, has_sink=True, domains=None, sink=()):
        self.address = loopback()
        self.names = NameServer((domains or DOMAINS) | {"mx.test": [f"A {self.address}"]})
        self.sink_options = sink
        self.sink = None
        if has_sink:
            self.open()

    def open(self):
        self.sink = Sink(*self.sink_options, address=self.address)

    def relay(self, **more):
        config = {"dns": {"servers": [self.names.address]}, "delivery": {"port": MX_PORT},
                  "queue": {"retry_first": "1h", "volatile": True}}
        config.update(more)
        return Relay(config, start=False)

    def close(self):
        for thing in (self.sink, self.names):
            if thing:
                thing.close()


def fill(relay, count, first=0):
    for number in range(first, first + count):
        relay.drop(f"m{number}.eml", message(number))
    os.sync()


def wait_taken(relay, count):
    wait_until(lambda: not relay.waiting() and relay.is_ready() and relay.status()["messages"] == count, 900, what="intake")


def percentiles(values):
    values = sorted(values)
    return {"p50": round(statistics.median(values), 2), "p99": round(values[max(0, int(len(values) * 0.99) - 1)], 2)}


class Watch:
    """The time from here on."""

    def __init__(self):
        os.sync()  # nobody pays for what another left behind
        self.started = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.started

    def rate(self, count):
        return count / self.seconds()
