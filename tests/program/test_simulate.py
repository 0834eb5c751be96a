"""A few simulated days (tests/simulate): tests/faults/run plays more of them, and all seeded mistakes."""
import json
import pathlib
import subprocess

import pytest

from lib.relay import BINARY

SIMULATE = pathlib.Path(BINARY).parents[1] / "tests" / "simulate" / "simulate"


def simulate(*arguments):
    return subprocess.run([SIMULATE, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300)


def last(done):
    return json.loads(done.stdout.splitlines()[-1])


def test_nothing_is_found_in_a_few_days():
    done = simulate("--seeds", 12)
    assert done.returncode == 0, done.stderr
    counts = last(done)
    assert counts["seeds"] == 12 and counts["repeated"] == 1 and counts["findings"] == 0
    assert counts["messages"] > 500 and counts["delivered"] > 1000 and counts["returned"] > 50 and counts["kills"] > 5


def test_a_seed_gives_the_same_events_each_time():
    first, second = (simulate("--seed", 7, "--events").stdout for _ in range(2))
    assert first == second and len(first.splitlines()) > 100
    assert first != simulate("--seed", 8, "--events").stdout


def test_a_seed_can_be_played_as_a_scenario(tmp_path):
    file = tmp_path / "seven.conf"
    file.write_text(simulate("--seed", 7, "--scenario").stdout)
    events = subprocess.run([BINARY, "lab", "--json", file], capture_output=True, text=True, check=True).stdout.splitlines()
    assert events[:-1] == simulate("--seed", 7, "--events").stdout.splitlines()


@pytest.mark.parametrize("defect, rule", [("retries-too-early", "I5"), ("others-servers", "I2"), ("tells-no-sender", "I7")])
def test_seeded_mistakes_are_found(defect, rule):
    done = simulate("--seeds", 4, "--defect", defect)
    assert done.returncode == 1 and last(done)["findings"] > 0
    assert f"\n{rule}" in done.stderr, done.stderr
