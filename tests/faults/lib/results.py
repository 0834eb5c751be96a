"""What passes found, kept as a file each: a full pass takes hours, so many shorter ones add up. One file:

  {"section", "date", "commit", "load", "workers", "counts", "findings"}

`findings` are texts; a kept one stays in the page's count until its file is removed, or says with "cause" what it was."""
import datetime
import json
import os
import pathlib
import subprocess

from lib.world import TREE

FOLDER = TREE / "tests" / "faults" / "results"
FINDINGS_MAX, FINDING_SIZE = 10, 2500


def merge_counts(into, more):
    for key, value in more.items():
        if isinstance(value, dict):
            merge_counts(into.setdefault(key, {}), value)
        else:
            into[key] = into.get(key, 0) + value


def commit():
    """Of the tree as it is: with a + when something in src/ was changed since."""
    def git(*command):
        return subprocess.run(["git", "-C", TREE, *command], capture_output=True, text=True, check=False).stdout.strip()
    return git("rev-parse", "--short=9", "HEAD") + ("+" if git("status", "--porcelain", "src") else "")


def keep(folder, section, counts, findings, workers):
    now = datetime.datetime.now(datetime.timezone.utc)
    folder.mkdir(parents=True, exist_ok=True)
    row = {"section": section, "date": now.strftime("%Y-%m-%d"), "commit": commit(), "load": round(os.getloadavg()[2]),
           "workers": workers, "counts": counts, "findings": [text[:FINDING_SIZE] for text in findings[:FINDINGS_MAX]]}
    (folder / f"{section}-{now:%Y%m%d-%H%M%S}.json").write_text(json.dumps(row, indent=1) + "\n")


def passes(folder, section):
    return [json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob(f"{section}-*.json"))]


def total(rows):
    """Their counts, added up; of what says how much there is (and not how much was done) the last counts."""
    counts = {}
    for row in rows:
        merge_counts(counts, {key: value for key, value in row["counts"].items() if key != "points_of_one_run"})
    return counts


def of(rows):
    """Where the figures come from: "3 passes, 2026-11-25, commits a, b"."""
    dates = sorted({row["date"] for row in rows})
    commits = list(dict.fromkeys(row["commit"] for row in rows))
    loads = sorted(row["load"] for row in rows)
    return (f"{len(rows)} pass{'es' if len(rows) > 1 else ''}, {dates[0]}{' to ' + dates[-1] if len(dates) > 1 else ''}, "
            f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}, at a load of {loads[0]} to {loads[-1]}")
