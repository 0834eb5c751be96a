"""Whether these tests would notice: mistakes that the shim plays, each caught by the tests that are for it, or not."""
import random
import subprocess
import time

from lib import images
from lib.kill import kill_at
from lib.orders import CALLS, DEFECTS
from lib.power import Disk, births, build, cuts, recorded, recover
from lib.scenarios import LARGE, SCENARIOS, Scenario, one
from lib.world import Stuck, World

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
EIGHT_LARGE = Scenario("large", [one("l1", ["ok@far.test"], body=LARGE)])
# In the queue for an hour, which passes while the power is off: what is not on the disk then can't have been delivered.
WAITING = Scenario("waiting", [one("w1", ["ok@far.test"])], {"queue": {"retry_first": "1h"}})
WHILE_OFF_MS = 2 * 3600 * 1000
CLAIMS = Scenario("claims", [one(f"c{n}", [f"ok{n}@far.test"]) for n in range(3)], linger_s=0.15)


def by_kill(world, scenario, defect, is_over):
    """The first kill that shows it; None."""
    chance = random.Random(3)
    points = [(number, is_after) for number in range(30, 260) for is_after in (0, 1)]
    chance.shuffle(points)
    for point in points:
        if is_over():
            return None
        try:
            hits, ledger = kill_at(world, scenario, (point,), defect)
        except Stuck:
            return f"stuck after a kill at {point[0]}"
        if not ledger.is_clean():
            return f"kill at {point[0]}: {ledger.text()}"
        if not hits:
            continue
    return None


def by_power(world, scenario, defect, is_over):
    """The first state that shows it: the least that was durable after each call, and others by chance."""
    chance = random.Random(5)
    while not is_over():
        for number, disk, state, delivered in cuts(world, scenario, chance, 1, 0.25, defect):
            if is_over():
                return None
            try:
                ledger = recover(world, scenario, disk, state, delivered)
            except Stuck:
                return f"stuck after a cut at call {number}"
            if not ledger.is_clean():
                return f"cut at call {number}: {ledger.text()}"
    return None


def by_submitter(world, _, defect, is_over):
    """sendmail says 0, then the power goes: is the message there?"""
    world.fresh()
    disk = Disk(world.root)
    world.orders.write(defect=defect)
    codes = []
    rows = recorded(world, lambda path: codes.append(world.command(
        "sendmail", "-f", "from@here.test", "ok@far.test", input=b"Subject: x\n\nhi\n", FAULTS_RECORD=path).returncode))
    if codes != [0]:
        return None
    for row in rows:
        disk.feed(row)
    world.births = {}
    build(world, disk, *disk.state([]))
    whole = [name for name in world.names() if b"hi" in (world.root / "Pickup" / name).read_bytes()]
    return None if whole else f"exit code 0, and after a cut Pickup holds {world.names(dots=True)}"


def by_two_relays(world, _, defect, is_over):
    """A second relay on the same folder has to go, and to name the first."""
    world.fresh()
    world.orders.write(defect=defect)
    world.start()
    while world.status() is None and not is_over():
        time.sleep(0.005)
    try:
        second = subprocess.run(["timeout", "8", world.binary, "run", "-c", world.base / "conf"], capture_output=True, check=False,
                                env=world.environment())
    finally:
        world.kill()
    text = second.stderr.decode()
    if second.returncode != 0 and "held by process" in text:
        return None
    return f"a second relay: exit code {second.returncode}, {text[-200:]!r}"


def failing_run(world, scenario, defect, call, errno, number):
    """A run in which that call fails from its number-th time on; then the power goes, and all that was not synced with it."""
    scenario.set_up(world)
    world.births = births(world)
    world.sink.is_deferring = scenario is WAITING
    disk = Disk(world.root)
    world.orders.write(defect=defect, fail_at=number, fail_call=CALLS[call], fail_errno=errno, fail_is_ever=1, is_failing=1)

    def run(path):
        try:
            world.run(limit_s=1.5, FAULTS_RECORD=path)
        except Stuck:
            pass  # it waits for the disk: as it should
    for row in recorded(world, run):
        disk.feed(row)
    world.sink.is_deferring = False
    kept = disk.pending() if call == "pwrite" else []  # what was written stands: it is the rest that is missing
    return recover(world, scenario, disk, disk.state(kept), list(world.sink.deliveries), WHILE_OFF_MS)


def by_failing(world, scenario, defect, is_over):
    """A call whose failure is passed over."""
    call, errno = ("fdatasync", 5) if defect == DEFECTS["fsync_retried"] else ("pwrite", 28)
    for number in range(1, 90, 4):
        if is_over():
            return None
        try:
            ledger = failing_run(world, scenario, defect, call, errno, number)
        except Stuck:
            return f"stuck after {call} {number} failed"
        if not ledger.is_clean():
            return f"{call} {number} failed: {ledger.text()}"
    return None


def by_images(world, scenario, defect, is_over):
    """The same on real file systems; `world` is not used."""
    del world
    return images.first_finding(scenario, defect, is_over)


TABLE = {
    "body_not_synced": (by_power, EIGHT_LARGE),
    "body_folder_not_synced": (by_power, EIGHT_LARGE),
    "commit_not_synced": (by_power, BY_NAME["pickup eight"]),
    "claims_not_synced": (by_power, CLAIMS),
    "unlink_before_commit": (by_kill, BY_NAME["pickup eight"]),
    "badmail_not_synced": (by_power, BY_NAME["undeliverable"]),
    "badmail_folder_not_synced": (by_power, BY_NAME["undeliverable"]),
    "submit_not_synced": (by_submitter, None),
    "submit_folder_not_synced": (by_submitter, None),
    "claims_not_read": (by_kill, BY_NAME["pickup eight"]),
    "origin_unknown": (by_kill, BY_NAME["pickup eight"]),
    "claim_not_removed": (by_kill, CLAIMS),
    "body_after_commit": (by_kill, EIGHT_LARGE),
    "torn_commit": (by_kill, BY_NAME["pickup eight"]),
    "overwrite": (by_kill, BY_NAME["same name again"]),
    "claim_dropped": (by_kill, BY_NAME["pickup eight"]),
    "no_lock": (by_two_relays, None),
    "fsync_retried": (by_failing, BY_NAME["pickup one"]),
    "no_space_ignored": (by_failing, WAITING),
    "never_settled": (by_power, BY_NAME["pickup eight"]),
}
IMAGES = {
    "body_not_synced": EIGHT_LARGE,
    "commit_not_synced": BY_NAME["pickup eight"],
    "badmail_not_synced": BY_NAME["undeliverable"],
}
TABLE.update({f"{name} (images)": (by_images, scenario) for name, scenario in IMAGES.items()})
# Which the quick run has time for: one for each way of catching.
QUICK = ("claims_not_read", "submit_not_synced", "no_lock", "unlink_before_commit")


def worker(number, workers, is_quick, seconds):
    """The defects of its share; each must be caught, and the same test without it must not cry."""
    counts = {"defects": 0, "caught": 0, "by_defect": {}}
    findings, world = [], World()
    names = [name for place, name in enumerate(QUICK if is_quick else TABLE) if place % workers == number]
    try:
        for name in names:
            end = time.monotonic() + seconds
            method, scenario = TABLE[name]
            counts["defects"] += 1
            how = method(world, scenario, DEFECTS[name.split()[0]], lambda: time.monotonic() > end)
            counts["caught"] += how is not None
            counts["by_defect"][name] = int(how is not None)
            if how is None:
                findings.append(f"seeded defect {name}: not caught")
    finally:
        world.close()
    return counts, findings
