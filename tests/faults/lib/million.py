"""A million files put into Pickup at once, while it is stopped: how much memory that takes, and whether new mail waits for all of it.

A new file is dropped every few seconds under load; its time to the far end is what a user would wait."""
import os
import subprocess
import time

from lib.scenarios import message
from lib.world import World, free_port

COUNT, LATE_EVERY_S = 1_000_000, 10


class Far:
    """`mailroot sink`, whose log is read as it grows."""

    def __init__(self, world):
        self.port, self.log = free_port(), world.base / "sink.jsonl"
        self.process = subprocess.Popen([world.binary, "sink", "--listen", f"127.0.0.1:{self.port}", "--log", self.log, "--count"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.offset, self.count, self.late = 0, 0, {}

    def read(self):
        if not self.log.exists():
            return
        with open(self.log, "rb") as log:
            log.seek(self.offset)
            new = log.read()
        new = new[:new.rfind(b"\n") + 1]
        self.offset += len(new)
        self.count += new.count(b"\n")
        if b"late-" in new:
            for line in new.splitlines():
                if b"late-" in line:
                    name = line.split(b"late-", 1)[1].split(b"@", 1)[0]
                    self.late.setdefault(int(name), time.monotonic())

    def close(self):
        self.process.kill()
        self.process.wait()


def memory_mb(group):
    """The largest resident size that each process of the group ever had, by its role."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getpgid(int(pid)) != group:
                continue
            with open(f"/proc/{pid}/status", encoding="utf-8") as status:
                lines = dict(line.split(":", 1) for line in status.read().splitlines() if ":" in line)
        except OSError:
            continue
        role = lines["Name"].strip()
        peak = int(lines.get("VmHWM", "0").split()[0]) >> 10
        found[role] = max(found.get(role, 0), peak)
    return found


def fill(world, count):
    text = message("x", ["u@far.test"])
    pickup = str(world.root / "Pickup")
    for number in range(count):
        fd = os.open(f"{pickup}/m{number}.eml", os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, text.replace(b"u@far.test", b"u%d@far.test" % number).replace(b"X-Token: x", b"X-Token: m%d" % number))
        os.close(fd)


def run(seconds, count=COUNT):
    """(counts, findings)."""
    world, findings = World(), []
    far = Far(world)
    peaks, sent = {}, {}
    try:
        world.fresh({"route": {"*": {"hosts": [f"[127.0.0.1]:{far.port}"]}}, "delivery": {"connections_per_site": 20}})
        started = time.monotonic()
        fill(world, count)
        filled_s = time.monotonic() - started
        began = time.monotonic()
        world.start(shim=False)
        group, number, next_late = world.process.pid, 0, began + 5
        while far.count < count + len(sent) and time.monotonic() - began < seconds:
            time.sleep(0.5)
            far.read()
            if world.process.poll() is not None:
                findings.append("the relay ended\n" + world.tail())
                break
            if time.monotonic() > next_late:
                sent[number] = time.monotonic()
                world.drop(f"late{number}.eml", message(f"late{number}", [f"late-{number}@far.test"]))
                number, next_late = number + 1, time.monotonic() + LATE_EVERY_S
            for role, mb in memory_mb(group).items():
                peaks[role] = max(peaks.get(role, 0), mb)
        took_s = time.monotonic() - began
        waits = sorted(far.late[name] - sent[name] for name in far.late if name in sent)
        left = len(world.names()) if far.count < count else 0
        return {"files": count, "filled_s": round(filled_s), "seconds": round(took_s), "delivered": far.count, "left_in_pickup": left,
                "peak_mb": peaks, "late": {"dropped": len(sent), "arrived": len(waits),
                                           "median_s": round(waits[len(waits) // 2], 1) if waits else None,
                                           "most_s": round(waits[-1], 1) if waits else None}}, findings
    finally:
        world.close()
        far.close()
