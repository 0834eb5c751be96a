"""SIGKILL before and after every point of every scenario, then again during the recovery."""
import random
import time
import zlib

from lib.ledger import Ledger
from lib.scenarios import LARGE, LOAD, SCENARIOS
from lib.world import CONNECTIONS, Stuck, World


def count_points(world, scenario):
    """How many points a run without a kill has."""
    scenario.set_up(world)
    world.orders.write()
    world.run(linger_s=scenario.linger_s)
    ledger = Ledger(world, scenario.expected, 0, CONNECTIONS)
    if not ledger.is_clean():
        raise AssertionError(f"{scenario.name}, undisturbed: {ledger.text()}\n{world.tail()}")
    return world.orders["points"]


def kill_at(world, scenario, kills, defect=0):
    """One run: killed at each of `kills` [(point, is_after)] in turn, then started plainly. (kills that hit, ledger)."""
    scenario.set_up(world)
    hits = 0
    for number, is_after in kills:
        world.orders.write(kill_at=number, kill_is_after=is_after, defect=defect)
        ended = world.run(linger_s=scenario.linger_s)
        hits += not ended
        scenario.after_kill(world)
    world.orders.write(defect=defect)
    world.run()
    return hits, Ledger(world, scenario.all_expected(), max(hits, 1), CONNECTIONS)


def order(row):
    """By chance, so that a run cut short has seen some of all; but the same each time, though a run has a call more or less: passes
    that go on where another stopped see the rest."""
    return zlib.crc32(repr(row).encode())


def plan(points, share, randoms):
    """(scenario, kills): every point before and after; pairs of kills for that share of them; kills under load."""
    rows = []
    for name, count in points.items():
        if name == LOAD.name:
            chance = random.Random(1)
            rows += [(name, ((int(chance.random() * count) + 1, chance.randrange(2)),)) for _ in range(randoms)]
            continue
        for number in range(1, count + 1):
            for is_after in (0, 1):
                row = (name, ((number, is_after),))
                chance = random.Random(order(row))
                rows.append(row)
                if chance.random() < share:
                    rows.append((name, ((number, is_after), (chance.randrange(1, 120), chance.randrange(2)))))
    return sorted(rows, key=order)


def kill_submitter(world, number, is_after):
    """sendmail killed there: 0 or 1 message, 1 if it said 0; never half of one."""
    world.fresh()
    world.orders.write(kill_at=number, kill_is_after=is_after)
    done = world.command("sendmail", "-f", "from@here.test", "ok@far.test", input=b"Subject: x\n\n" + LARGE)
    is_killed = done.returncode == -9
    if not is_killed and done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    world.orders.write()
    was_there = bool(world.names())
    world.run()
    copies = [delivery for delivery in world.sink.deliveries if LARGE in delivery.text]
    is_right = len(copies) == len(world.sink.deliveries) == (1 if was_there or not is_killed else 0)
    return is_killed, is_right


def run_submitter(world, done, findings, is_over):
    for number in range(1, 100):
        for is_after in (0, 1):
            is_killed, is_right = kill_submitter(world, number, is_after)
            done["points"] += is_killed
            done["runs"] += 1
            done["by_scenario"]["sendmail"] = done["by_scenario"].get("sendmail", 0) + is_killed
            if not is_right:
                done["lost"] += 1
                findings.append(f"sendmail killed at {number}: {len(world.sink.deliveries)} messages")
        if not is_killed or is_over():
            return


def new_counts():
    return {"points": 0, "second_level": 0, "runs": 0, "lost": 0, "taken_twice": 0, "duplicates": 0,
            "duplicates_beyond_in_flight": 0, "wrong_outcome": 0, "stuck": 0, "by_scenario": {}}


def add_up(done, ledger):
    done["lost"] += len(ledger.lost)
    done["taken_twice"] += len(ledger.taken_twice)
    done["duplicates"] += ledger.duplicates
    done["duplicates_beyond_in_flight"] += ledger.beyond
    done["wrong_outcome"] += len(ledger.wrong)


def run_rows(world, rows, done, findings, is_over):
    by_name = {scenario.name: scenario for scenario in [*SCENARIOS, LOAD]}
    for name, kills in rows:
        if is_over():
            break
        try:
            hits, ledger = kill_at(world, by_name[name], kills)
        except Stuck as stuck:
            done["stuck"] += 1
            findings.append(f"{name} {kills}: stuck\n{stuck}")
            continue
        done["runs"] += 1
        done["points"] += hits > 0
        done["second_level"] += hits > 1
        done["by_scenario"][name] = done["by_scenario"].get(name, 0) + (hits > 0)
        add_up(done, ledger)
        if not ledger.is_clean():
            findings.append(f"{name} {kills} in {world.orders.killed_in}: {ledger.text()}\n{world.tail()}")


def worker(number, workers, points, is_quick, seconds, first):
    """Its share of all rows from the first on, as of a ring: (counts, findings)."""
    end = time.monotonic() + seconds
    done, findings = new_counts(), []
    world = World()
    try:
        rows = plan(points, 0.1 if is_quick else 1.0, 100 if is_quick else 2000)
        if number == 0 and not first:
            run_submitter(world, done, findings, lambda: time.monotonic() > end)
        first %= len(rows)
        run_rows(world, (rows[first:] + rows[:first])[number::workers], done, findings, lambda: time.monotonic() > end)
    finally:
        world.close()
    return done, findings


def all_points():
    world = World()
    try:
        return {scenario.name: count_points(world, scenario) for scenario in [*SCENARIOS, LOAD]}
    finally:
        world.close()
