"""Power cuts: a run is recorded call by call, and states in which what was not synced is missing are recovered from.

The model is pessimistic, after ALICE (OSDI 2014): data of a file that its own fsync does not cover may be missing, whole or in
part; a name may be missing, still there, or (a rename between two folders) be in both, until its folder is synced. Only the
loss of both names of a rename is left out: no journal does that. Order is kept by syncs alone.
  last      everything up to a call is there
  least     only what was synced by then
  dropped   all but one, or but a few, of what was not synced
"""
import collections
import os
import pathlib
import random
import shutil
import struct
import time

from lib.ledger import Ledger
from lib.scenarios import LARGE, SCENARIOS, Scenario, bad, one
from lib.world import CONNECTIONS, Stuck, World

ROW = struct.Struct("=II QQQQQ II Q")
CREATE, WRITE, TRUNCATE, RENAME, UNLINK, MKDIR, SYNC, LINK, SYNCFS = range(1, 10)
RECORD_SIZE = 256 << 20

Row = collections.namedtuple("Row", "type time_ns inode folder folder2 offset name name2 data")


def parse(data):
    """The rows of a record; an inode that is made anew gets a number of its own, as numbers are used again."""
    at, alias, rows, fresh = 0, {}, [], 1 << 60
    while at < len(data):
        size, kind, time_ns, inode, folder, folder2, offset, size1, size2, _ = ROW.unpack_from(data, at)
        rest = data[at + ROW.size:at + size]
        if kind in (CREATE, MKDIR):
            fresh += 1
            alias[inode] = fresh
        rows.append(Row(kind, time_ns, alias.get(inode, inode), alias.get(folder, folder), alias.get(folder2, folder2), offset,
                        rest[:size1].decode(), rest[size1:size1 + size2].decode(), rest[size1 + size2:]))
        at += size
    return rows, alias


class File:
    def __init__(self, data=b"", is_folder=False, born=None, real=None):
        self.data, self.is_folder, self.born, self.real = bytearray(data), is_folder, born, real

    def copy(self):
        return File(self.data, self.is_folder, self.born, self.real)


def apply_data(file, row):
    if row.type == WRITE:
        end = row.offset + len(row.data)
        if len(file.data) < row.offset:
            file.data.extend(bytes(row.offset - len(file.data)))
        file.data[row.offset:end] = row.data
    else:  # TRUNCATE
        del file.data[row.offset:]
        if len(file.data) < row.offset:
            file.data.extend(bytes(row.offset - len(file.data)))


def apply_name(names, row, parts=("add", "remove")):
    """names: {(folder, name): inode}."""
    if row.type in (CREATE, MKDIR):
        names[row.folder, row.name] = row.inode
    elif row.type == RENAME:
        if "add" in parts:
            names[row.folder2, row.name2] = row.inode
        if "remove" in parts and names.get((row.folder, row.name)) == row.inode \
                and (row.folder, row.name) != (row.folder2, row.name2):
            del names[row.folder, row.name]
    elif row.type == UNLINK and names.get((row.folder, row.name)) == row.inode:
        del names[row.folder, row.name]


class Disk:
    """What is durable, and what is waiting for a sync, after the rows so far."""

    def __init__(self, root):
        self.files, self.names, self.root = {}, {}, os.stat(root).st_ino
        self.waiting_data = collections.defaultdict(list)
        self.waiting_names = []          # [row, parts not yet durable]
        for folder, folders, files in os.walk(root):
            inode = os.stat(folder).st_ino
            self.files[inode] = File(is_folder=True)
            for name in [*folders, *files]:
                path = os.path.join(folder, name)
                number = os.stat(path).st_ino
                self.names[inode, name] = number
                if name in files:
                    self.files[number] = File(pathlib.Path(path).read_bytes(), real=number)

    def feed(self, row):
        if row.type in (CREATE, MKDIR):
            self.files[row.inode] = File(is_folder=row.type == MKDIR)
            self.waiting_names.append([row, {"add"}])
        elif row.type in (WRITE, TRUNCATE):
            self.waiting_data[row.inode].append(row)
        elif row.type == RENAME:
            self.waiting_names.append([row, {"add", "remove"}])
        elif row.type == UNLINK:
            self.waiting_names.append([row, {"remove"}])
        elif row.type == SYNC:
            self.sync(row.inode)
        elif row.type == SYNCFS:
            for inode in list(self.files):
                self.sync(inode)

    def sync(self, inode):
        for row in self.waiting_data.pop(inode, []):
            if inode in self.files:
                apply_data(self.files[inode], row)
        still = []
        for row, parts in self.waiting_names:
            if row.folder == inode and row.type in (CREATE, MKDIR, UNLINK):
                apply_name(self.names, row)
                continue
            if row.type == RENAME:
                if row.folder == inode:      # the name it left: it can't be in neither
                    apply_name(self.names, row, parts)
                    parts = parts - {"add", "remove"}
                elif row.folder2 == inode:
                    apply_name(self.names, row, parts & {"add"})
                    parts = parts - {"add"}
                if not parts:
                    continue
            still.append([row, parts])
        self.waiting_names = still

    def pending(self):
        """What a power cut may take: ("data", row) and ("name", row, parts)."""
        return ([("data", row) for rows in self.waiting_data.values() for row in rows]
                + [("name", row, frozenset(parts)) for row, parts in self.waiting_names])

    def state(self, kept):
        """(files, names) with only these of pending()."""
        files = {number: file.copy() for number, file in self.files.items()}
        names = dict(self.names)
        for item in kept:
            if item[0] == "data":
                if item[1].inode in files:
                    apply_data(files[item[1].inode], item[1])
            else:
                apply_name(names, item[1], item[2])
        return files, names


def choices(pending, chance, randoms):
    """Sets of what survives, each once: all; nothing; all but one; only one; one half of a rename; by chance."""
    seen = set()

    def new(kept):
        key = tuple(map(id, kept))
        if key in seen:
            return []
        seen.add(key)
        return [kept]
    yield from new(pending)
    yield from new([])
    for _ in range(randoms):
        way = chance.randrange(4)
        if way == 0 and pending:
            gone = chance.randrange(len(pending))
            yield from new(pending[:gone] + pending[gone + 1:])
        elif way == 1 and pending:
            yield from new([chance.choice(pending)])
        elif way == 2:
            yield from new([("name", item[1], frozenset({"add"})) if item[0] == "name" and item[1].type == RENAME else item
                            for item in pending])
        else:
            yield from new([item for item in pending if chance.random() < 0.5])


def build(world, disk, files, names):
    """The state as folders and files; the shim is told the inodes and birth times that the files had."""
    shutil.rmtree(world.root, ignore_errors=True)
    children = collections.defaultdict(list)
    for (folder, name), inode in names.items():
        children[folder].append((name, inode))
    made, rows = {}, []

    def fill(inode, path):
        path.mkdir(mode=0o700)
        for name, number in children[inode]:
            file = files.get(number)
            if file is None:
                continue
            if file.is_folder:
                fill(number, path / name)
            elif number in made:
                os.link(made[number], path / name)
            elif not name.endswith("-shm") and name != "control.sock":
                sparse(path / name, file.data)
                made[number] = path / name
                born = world.births.get(number, (number, 0, 1))
                rows.append(f"{os.stat(path / name).st_dev}:{os.stat(path / name).st_ino} {born[0]} {born[1]} {born[2]}\n")
    fill(disk.root, world.root)
    (world.root / "Pickup").mkdir(exist_ok=True)
    (world.base / "inodes").write_text("".join(rows))


def sparse(path, data):
    end = len(data.rstrip(b"\0"))
    with open(path, "wb") as file:
        file.write(data[:end])
        file.truncate(len(data))


def births(world):
    """{inode: (inode, seconds, nanoseconds)} of what lies in Pickup, as statx says."""
    from lib.statx import birth
    return {os.stat(path).st_ino: (os.stat(path).st_ino, *birth(path)) for path in (world.root / "Pickup").iterdir()
            if path.is_file()}


def recorded(world, run):
    """The rows of what run(path of the record) does."""
    path = world.base / "record"
    with open(path, "wb") as file:
        file.truncate(RECORD_SIZE)
    try:
        run(str(path))
    finally:
        with open(path, "rb") as file:
            file.seek(64)
            data = file.read(world.orders.record_size)
        path.unlink()
    return parse(data)[0]


def record(world, scenario, defect=0):
    scenario.set_up(world)
    world.births = births(world)
    disk = Disk(world.root)
    world.orders.write(defect=defect)
    rows = recorded(world, lambda path: world.run(linger_s=max(scenario.linger_s, 0.12), FAULTS_RECORD=path))
    return disk, rows, list(world.sink.deliveries)


def cuts(world, scenario, chance, randoms, rows_share=1.0, defect=0):
    """Yields states of the disk for that share of the calls; with what had been delivered by then."""
    disk, rows, deliveries = record(world, scenario, defect)
    for number, row in enumerate(rows):
        disk.feed(row)
        if len(row.data) == 1 or chance.random() > rows_share:
            continue  # (SQLite takes room an octet at a time)
        pending = disk.pending()
        next_ns = rows[number + 1].time_ns if number + 1 < len(rows) else row.time_ns + 10**9
        delivered = [delivery for delivery in deliveries if delivery.time_ns < next_ns]
        for kept in choices(pending, chance, randoms):
            yield number, disk, disk.state(kept), delivered


def recover(world, scenario, disk, state, delivered, clock_jump_ms=0):
    build(world, disk, *state)
    world.sink.reset()
    world.sink.deliveries = list(delivered)
    world.orders.write(clock_jump_ms=clock_jump_ms)
    world.run(FAULTS_INODES=str(world.base / "inodes"))
    return Ledger(world, scenario.expected, 1, CONNECTIONS)


RUNS = [SCENARIOS[0], SCENARIOS[1], SCENARIOS[2], SCENARIOS[3], SCENARIOS[5], SCENARIOS[6], SCENARIOS[10], SCENARIOS[11],
        Scenario("mix", [one("y1", ["ok1@far.test"], body=LARGE), bad("y2"), one("y3", ["no@far.test", "later@far.test"])])]


def new_counts():
    return {"states": 0, "lost": 0, "taken_twice": 0, "duplicates": 0, "duplicates_beyond_in_flight": 0, "wrong_outcome": 0,
            "stuck": 0, "by_scenario": {}}


def worker(number, workers, is_quick, seconds, earlier):
    """A share of the scenarios; in full, each call of each of them eight times over, with other states each time. `earlier`: how many
    states there were before; these are others."""
    end = time.monotonic() + seconds
    done, findings, world = new_counts(), [], World()
    chance = random.Random(number + 1000 * earlier)
    first = chance.randrange(len(RUNS)) if earlier else 0
    try:
        for turn in range(1 if is_quick else 8):
            for place, scenario in enumerate(RUNS[first:] + RUNS[:first]):
                if (place + turn) % workers == number:
                    run_one(world, scenario, chance, is_quick, done, findings, lambda: time.monotonic() > end)
    finally:
        world.close()
    return done, findings


def run_one(world, scenario, chance, is_quick, done, findings, is_over, defect=0):
    for number, disk, state, delivered in cuts(world, scenario, chance, 1 if is_quick else 4, 0.06 if is_quick else 1, defect):
        if is_over():
            return
        try:
            ledger = recover(world, scenario, disk, state, delivered)
        except Stuck as stuck:
            done["stuck"] += 1
            findings.append(f"power {scenario.name} row {number}: stuck\n{stuck}")
            continue
        done["states"] += 1
        done["by_scenario"][scenario.name] = done["by_scenario"].get(scenario.name, 0) + 1
        done["lost"] += len(ledger.lost)
        done["taken_twice"] += len(ledger.taken_twice)
        done["duplicates"] += ledger.duplicates
        done["duplicates_beyond_in_flight"] += ledger.beyond
        done["wrong_outcome"] += len(ledger.wrong)
        if not ledger.is_clean():
            findings.append(f"power {scenario.name} row {number}: {ledger.text()}\n{world.tail()}")
