"""docs/reliability.md, made from the results that are kept (lib/results.py); the text between its tables is here."""
import json

from lib import results, rows
from lib.world import TREE

FUZZ = TREE / "tests" / "fuzz" / "results"
HEAD = """# Reliability: what was done to mail, and what became of it

Made by `tests/faults/run --report docs/reliability.md` from the results in tests/faults/results and tests/fuzz/results: nothing here is
written by hand. A full pass takes hours, so passes are kept one by one (`tests/faults/run --only kill --seconds 900 --keep`, or
`tests/faults/long` for all of them until a given time) and add up here; each goes on where the one before it stopped. What is measured and
how: the modules of tests/faults/lib say it. A pass is made on whatever the machine had left: counts matter here, not times.
"""


def rows_of(counts):
    return "".join(f"| {name} | {counts[name]} |\n" for name in sorted(counts))


def table(head, counts):
    return f"| {head[0]} | {head[1]} |\n| --- | --- |\n{rows_of(counts)}"


def findings_text(found):
    """Those that are open, and what the others were."""
    texts = [text for row in found for text in row["findings"]]
    causes = [row["cause"] for row in found if row.get("cause") and row["findings"]]
    if not texts:
        return "No finding.\n"
    return f"{len(texts)} finding{'s' if len(texts) > 1 else ''}" + (": " + " ".join(causes) if causes else ", open") + "\n"


OUTCOME = """Recipients without an outcome: {lost}; messages made twice of one file: {taken_twice}. Messages sent twice: {duplicates}, all
between the server's 250 and the commit; beyond one a connection and crash: {duplicates_beyond_in_flight}. Not drained in time: {stuck}.
"""
KILL = """{kills} kills in {runs} runs: {points} at a call, before or after it, and {second_level} more during the recovery from one.
"""
POWER = """{states} states of the disk in which anything not covered by its own fsync is missing, alone or together (the model is more
pessimistic than ext4, xfs or btrfs: what it keeps, each of them keeps).
"""
IMAGES = """{states} images of a file system at an instant at which a call was about to change disk or wire: mounted, so that the
file system replays its journal, and recovered from; {not_mounted} could not be mounted.
"""


def kill(counts):
    kills = counts["points"] + counts["second_level"]
    return (KILL + OUTCOME).format(kills=kills, **counts) + "\n" + table(("scenario", "runs with a kill"), counts["by_scenario"])


def power(counts):
    return (POWER + OUTCOME).format(**counts) + "\n" + table(("scenario", "states"), counts["by_scenario"])


def images(counts):
    if not counts["states"]:
        return "None: this machine mounts no loop devices, or has no mkfs.xfs.\n"
    return "\n".join([(IMAGES + OUTCOME).format(**counts), table(("file system", "images"), counts["by_file_system"]),
                      table(("scenario", "images"), counts["by_scenario"])])


def failing(counts):
    return f"""{counts["hits"]} calls failed, each once or until it was released, with every errno that is plausible for it
(tests/faults/lib/failing.py, ERRORS), in a relay built with AddressSanitizer and LeakSanitizer. Problems (lost, crashed, leaked, stuck,
silent, left for another reason than memory): {counts["problems"]}.

{table(("call", "failures"), counts["by_call"])}
{table(("way of the mail", "failures"), counts["by_scenario"])}"""


def sharpness(counts):
    return f"""{counts["caught"]} of {counts["defects"]} seeded mistakes are caught (tests/faults/shim.c, enum defect).

{table(("mistake", "caught"), counts["by_defect"])}"""


def simulation(counts):
    return f"""{counts["seeds"]} days of mail, each drawn from a seed: domains, servers and their moods, DNS that fails, kills, restarts, a full disk, a clock that
is set. The relay's own code plays them on a simulated clock (docs/lab.md); what it told and what the servers saw is held against seven rules
(tests/simulate/ledger.h). {counts["repeated"]} of them were played twice: the same events, byte for byte. A seed that finds something is played again by
`tests/faults/simulate --seed N`.

{table(("counted", "in all"), {name: counts[name] for name in counts if name not in ("seeds", "repeated", "seconds", "findings")})}"""


def simulation_sharpness(counts):
    return f"""{counts["caught"]} of {counts["defects"]} mistakes that the linker puts before the relay's functions are found (tests/simulate/defects.c).

{table(("mistake", "found after so many days"), counts["by_defect"])}"""


def peers(counts):
    lines = "".join(f"| {name} | {row['acked']} | {row['lost']} |\n" for name, row in sorted(counts["by_server"].items()))
    return f"""Each server takes messages over SMTP onto an ext4 of its own; as soon as it has said 250 the power is cut (an image of the device is
taken at that instant and mounted) and it is counted whose acknowledged messages are still there (tests/faults/lib/peers.py).

| server | acknowledged | lost by the cut |
| --- | --- | --- |
{lines}"""


def protections(counts):
    lines = "".join(f"| {row['protects']} | {row['removed']} | `{row['test']}` | {row['outcome']} |\n" for row in counts["rows"].values())
    return f"""tests/faults/protections takes each of these out of a copy of the tree, builds it, and runs the test that is for it, which has to
fail.

| protection | what was removed | the test | with it removed |
| --- | --- | --- | --- |
{lines}"""


MILLION = """{files:,} files lay in Pickup when the relay started; {delivered:,} messages were delivered in {seconds} s, {left_in_pickup:,} files
were left. Meanwhile {dropped} new files came, one every ten seconds: {arrived} of them arrived, the median after {median_s} s, the slowest after
{most_s} s.

"""


def million(counts):
    return MILLION.format(**counts, **counts["late"]) + table(("process", "most memory, MB"), counts["peak_mb"])


def fuzzing():
    executions, coverage = FUZZ / "executions.json", FUZZ / "coverage.json"
    if not executions.exists():
        return ""
    ran = json.loads(executions.read_text())
    seen = json.loads(coverage.read_text())["targets"] if coverage.exists() else {}
    text = """
## Fuzzing
libFuzzer with AddressSanitizer and UBSan on every parser of foreign bytes. Executions are counted over the project's life in
tests/fuzz/results/executions.json: each `tests/fuzz/run --keep` adds to them, and `tests/fuzz/long` runs until it is ended. Coverage is of the
kept corpus alone (`tests/fuzz/coverage`): lines of the parser's own files.

| target | what it is | executions | CPU minutes | findings open | kept inputs | lines covered |
| --- | --- | --- | --- | --- | --- | --- |
"""
    for name, row in sorted(ran.items()):
        cover = seen.get(name, {})
        lines = f"{cover['covered']} of {cover['lines']} ({100 * cover['covered'] // max(1, cover['lines'])} %)" if cover else ""
        columns = (name, row["what"], f"{row['executions']:,}", f"{row['seconds'] / 60:.1f}", row["findings"], cover.get("inputs", ""), lines)
        text += "| " + " | ".join(map(str, columns)) + " |\n"
    return text


SECTIONS = {
    "kill": ("Killed at a call that changes disk or wire", kill),
    "power": ("Power cuts", power),
    "images": ("Power cuts on real file systems", images),
    "peers": ("The same cut for other servers", peers),
    "million": ("A million files at once", million),
    "failing": ("Calls that fail", failing),
    "simulation": ("Simulated days", simulation),
    "simulation_sharpness": ("Would the simulation notice?", simulation_sharpness),
    "sharpness": ("Would these tests notice?", sharpness),
    "protections": ("Tests that fail when their protection is removed", protections),
}


ONE = ("peers", "protections", "sharpness", "simulation_sharpness", "million")  # of these the last pass counts


def write(path, folder):
    text = HEAD
    for name, (title, body) in SECTIONS.items():
        found = results.passes(folder, name)[-1 if name in ONE else 0:]
        if found:
            counted = found[-1]["counts"] if name in ONE else results.total(found)
            text += f"\n## {title}\n{body(counted)}\nFrom {results.of(found)}. {findings_text(found)}"
    text += fuzzing() + rows.text(folder)
    path.write_text(text)
