"""kill -9 at random moments of a drain: nothing lost, nothing taken twice, few duplicates."""
import collections
import random
import subprocess

import pytest

from lib import mail
from lib.watch import wait_until

FILES, KILLS, CONNECTIONS = 5000, 50, 20


def test_kill_9_during_a_drain(relay_to, make_sink, quick):
    files, kills = (500, 5) if quick else (FILES, KILLS)
    sink = make_sink()
    relay = relay_to(sink, {"delivery": {"connections_per_site": CONNECTIONS}, "queue": {"retry_first": "100ms"}},
                     start=False)
    names = [f"m{number}.eml" for number in range(files)]
    for number, name in enumerate(names):
        relay.drop(name, mail.message(to=f"user{number}@d{number % 100}.test", more=f"X-Token: {name}\r\n"))
    chance = random.Random(7)
    relay.start(wait=False)
    for _ in range(kills):
        chance_s = chance.uniform(0.02, 0.4)
        with pytest.raises(subprocess.TimeoutExpired):
            relay.process.wait(chance_s)
        relay.kill()
        relay.start(wait=False)
    wait_until(relay.is_ready, 30, what="an answer")
    relay.wait_empty(240)
    relay.stop()
    arrived = collections.Counter(message["token"] for message in sink.messages())
    assert len(arrived) == files, f"{files - len(arrived)} lost"
    duplicates = sum(arrived.values()) - files
    assert duplicates <= kills * CONNECTIONS, duplicates
    ids = collections.defaultdict(set)
    for message in sink.messages():
        ids[message["token"]].add(message["id"])
    assert all(len(found) == 1 for found in ids.values()), "taken twice"
    print(f"{kills} kills: 0 lost, 0 taken twice, {duplicates} duplicates at the server")
