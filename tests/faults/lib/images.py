"""Power cuts on real file systems: images of ext4, xfs and btrfs as they are at an instant, each mounted and recovered from.

The Mailroot lies on a loop device whose file lies on an XFS with reflinks. At chosen points (lib/orders.py, image_every) the
shim clones that file (FICLONE): what the file system had not yet sent to its device is not in the clone, as it is not after a
power cut. Mounting a clone replays its journal; then the relay starts on it and everything is counted as in lib/kill.py.
Needs root, loop devices, mkfs.xfs and mkfs.btrfs; what a machine lacks is said in the counts.
"""
import os
import pathlib
import random
import shutil
import smtplib
import subprocess
import threading
import time

from lib.ledger import Ledger
from lib.scenarios import LARGE, SCENARIOS, Scenario, bad, message, one
from lib.world import CONNECTIONS, HOME, Stuck, World, free_port

SIZES_MB = {"ext4": 96, "xfs": 320, "btrfs": 160}
STORE_MB = 6000
MIX = Scenario("mix", [one("y1", ["ok1@far.test"], body=LARGE), bad("y2"), one("y3", ["no@far.test", "later@far.test"]),
                       one("y4", ["ok4@far.test"])], linger_s=0.12)
SUBMITTERS, SUBMITTED = 4, 3


class Listener(Scenario):
    """Mail that comes by SMTP while it runs: what a client heard 250 for before a cut is there after it. The listener's
    renames go from one folder to another (Pickup/.new/N to Pickup)."""

    def __init__(self):
        super().__init__("listener", [], linger_s=0.12)

    def set_up(self, world):
        self.port = free_port()
        self.acked = {}  # token: when its 250 was there
        world.fresh({"smtp": {"listen": [f"127.0.0.1:{self.port}"], "relay_networks": ["127.0.0.1"], "greet_pause": "0ms"}})

    def submit(self, number):
        for part in range(SUBMITTED):
            token = f"s{number}-{part}"
            while token not in self.acked:
                try:
                    with smtplib.SMTP("127.0.0.1", self.port, "client.test", timeout=5) as client:
                        client.sendmail("from@here.test", ["ok@far.test"], message(token, ["ok@far.test"]).split(b"\r\n", 2)[2])
                    self.acked[token] = time.monotonic_ns()
                except (OSError, smtplib.SMTPException):
                    time.sleep(0.01)

    def until(self, world):
        """What the run ends at: all were taken, and all is drained."""
        if not self.acked:
            threads = [threading.Thread(target=self.submit, args=(number,), daemon=True) for number in range(SUBMITTERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return world.is_drained()

    def expected_at(self, begin_ns):
        return {token: {"ok@far.test": "delivered"} for token, at_ns in self.acked.items() if at_ns < begin_ns}


RUNS = [SCENARIOS[1], SCENARIOS[2], SCENARIOS[4], SCENARIOS[10], SCENARIOS[11], MIX, Listener()]


def tool(*command):
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Store:
    """The XFS that holds the images, and the mounts of one image after another."""

    def __init__(self):
        self.base = pathlib.Path(subprocess.run(["mktemp", "-d", "-p", HOME or "/tmp", "mailroot-images-XXXX"], capture_output=True,
                                                text=True, check=True).stdout.strip())
        self.folder, self.mounted = self.base / "store", []
        self.folder.mkdir()
        file = self.base / "xfs"
        with open(file, "wb") as image:
            image.truncate(STORE_MB << 20)
        self.is_there = tool("mkfs.xfs", "-q", "-m", "reflink=1", str(file)) and self.mount(file, self.folder)

    def mount(self, image, place):
        place.mkdir(exist_ok=True)
        is_mounted = tool("mount", "-o", "loop", str(image), str(place))
        if is_mounted:
            self.mounted.append(place)
        return is_mounted

    def unmount(self, place):
        for _ in range(100):
            if tool("umount", str(place)):
                break
            time.sleep(0.02)
        else:
            tool("umount", "-l", str(place))
        self.mounted.remove(place)

    def make(self, kind):
        """An empty file system; None where it can't be made."""
        image = self.folder / f"{kind}.img"
        with open(image, "wb") as file:
            file.truncate(SIZES_MB[kind] << 20)
        quiet = {"ext4": ["-q", "-E", "lazy_itable_init=0"], "xfs": ["-q", "-f"], "btrfs": ["-q", "-f"]}[kind]
        return image if tool(f"mkfs.{kind}", *quiet, str(image)) else None

    def close(self):
        for place in reversed(list(self.mounted)):
            self.unmount(place)
        shutil.rmtree(self.base, ignore_errors=True)


class ImageWorld(World):
    """A World whose Mailroot is a mounted image."""

    def __init__(self, store):
        super().__init__()
        self.store, self.place = store, self.base / "disk"
        self.root = self.place / "Mailroot"

    def fresh(self, config=None):
        assert self.place in self.store.mounted
        super().fresh(config)
        self.part = self.root / "part"

    def drop(self, name, content):
        """A whole file; its writer made it durable (what was not is nobody's promise)."""
        with open(self.part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(self.part, self.root / "Pickup" / name)

    def settle(self):
        """All so far is on the disk."""
        os.sync() if not tool("sync", "-f", str(self.place)) else None

    def close(self):
        self.kill()
        if self.place in self.store.mounted:
            self.store.unmount(self.place)
        super().close()


def record(world, image, scenario, every, first, defect=0):
    """Runs it; [(clone, time before it, time after it)] and what came out."""
    clones = world.store.folder / "clones"
    shutil.rmtree(clones, ignore_errors=True)
    clones.mkdir()
    assert world.store.mount(image, world.place)
    try:
        scenario.set_up(world)
        world.settle()
        world.orders.write(image_every=every, image_first=first, defect=defect)
        until = (lambda: scenario.until(world)) if isinstance(scenario, Listener) else None
        world.run(until, linger_s=max(scenario.linger_s, 0.12), FAULTS_IMAGE=str(image), FAULTS_CLONES=str(clones))
        deliveries = list(world.sink.deliveries)
    finally:
        world.store.unmount(world.place)
    found = []
    for path in clones.glob("[!.]*"):  # (a half made one begins with a dot)
        begin, end = (int(part) for part in path.name.split("-")[1:])
        found.append((path, begin, end))
    return sorted(found, key=lambda row: row[1]), deliveries


def recover(world, expected, clone, delivered):
    if not world.store.mount(clone, world.place):
        return None
    try:
        world.sink.reset()
        world.sink.deliveries = list(delivered)
        world.orders.write()
        world.run()
        return Ledger(world, expected, 1, CONNECTIONS)
    finally:
        world.kill()
        world.store.unmount(world.place)


def new_counts():
    return {"states": 0, "lost": 0, "taken_twice": 0, "duplicates": 0, "duplicates_beyond_in_flight": 0, "wrong_outcome": 0,
            "stuck": 0, "not_mounted": 0, "by_file_system": {}, "by_scenario": {}}


def add_up(done, kind, scenario, ledger):
    done["states"] += 1
    done["by_file_system"][kind] = done["by_file_system"].get(kind, 0) + 1
    done["by_scenario"][scenario.name] = done["by_scenario"].get(scenario.name, 0) + 1
    done["lost"] += len(ledger.lost)
    done["taken_twice"] += len(ledger.taken_twice)
    done["duplicates"] += ledger.duplicates
    done["duplicates_beyond_in_flight"] += ledger.beyond
    done["wrong_outcome"] += len(ledger.wrong)


def run_one(world, image, kind, scenario, every, first, done, findings, is_over, defect=0):
    clones, deliveries = record(world, image, scenario, every, first, defect)
    for clone, begin, end in clones:
        if is_over():
            break
        delivered = [delivery for delivery in deliveries if delivery.time_ns < end]
        expected = scenario.expected_at(begin) if isinstance(scenario, Listener) else scenario.expected
        try:
            ledger = recover(world, expected, clone, delivered)
        except Stuck as stuck:
            done["stuck"] += 1
            findings.append(f"image {kind} {scenario.name} {clone.name}: stuck\n{stuck}")
            continue
        if ledger is None:
            done["not_mounted"] += 1
            findings.append(f"image {kind} {scenario.name} {clone.name} can't be mounted")
            continue
        add_up(done, kind, scenario, ledger)
        if not ledger.is_clean():
            findings.append(f"image {kind} {scenario.name} {clone.name}: {ledger.text()}")
        clone.unlink()


def first_finding(scenario, defect, is_over):
    """A seeded defect on the file systems, turn by turn: what was found first; None."""
    store, chance, findings = Store(), random.Random(2), []
    world = ImageWorld(store)
    try:
        while store.is_there and not is_over() and not findings:
            for kind in SIZES_MB:
                image = store.make(kind)
                if image and not findings:
                    run_one(world, image, kind, scenario, 3, chance.randrange(3), new_counts(), findings,
                            lambda: is_over() or findings, defect)
        return findings[0] if findings else None
    finally:
        world.close()
        store.close()


def worker(number, workers, is_quick, seconds, earlier):
    """Each scenario on each file system, over and over, with images at other points. `earlier`: how many there were of each file system;
    these are others, and the one with the fewest comes first."""
    del workers  # each draws its own
    end = time.monotonic() + seconds
    done, findings, store = new_counts(), [], Store()
    chance = random.Random(number + 1000 * sum(earlier.values()))
    try:
        if not store.is_there:
            done["unavailable"] = 1
            return done, findings
        world = ImageWorld(store)
        try:
            pairs = [(kind, scenario) for kind in SIZES_MB for scenario in RUNS]
            every = 40 if is_quick else 2
            while time.monotonic() < end:
                chance.shuffle(pairs)
                pairs.sort(key=lambda pair: earlier.get(pair[0], 0) + done["by_file_system"].get(pair[0], 0))
                for kind, scenario in pairs:
                    image = store.make(kind) if time.monotonic() < end else None
                    if image:
                        run_one(world, image, kind, scenario, every, chance.randrange(every), done, findings,
                                lambda: time.monotonic() > end)
        finally:
            world.close()
    finally:
        store.close()
    return done, findings
