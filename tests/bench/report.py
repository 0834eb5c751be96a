"""docs/performance.md and its plots, from what a run measured."""
import os
import pathlib
import subprocess
from xml.sax.saxutils import escape

COLOURS = {"mailroot": "#2f6fb0", "limit": "#9aa3ad", "peer": "#c98a3c"}
ROW, LEFT, WIDTH = 26, 250, 760


def bars(title, unit, rows):
    """Horizontal bars as SVG: rows of (name, value, kind)."""
    rows = [row for row in rows if row[1]]
    most = max(value for _, value, _ in rows)
    height = 44 + ROW * len(rows)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img" aria-label="{escape(title)}">',
             f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
             '<g font-family="sans-serif" font-size="13" fill="#222">',
             f'<text x="10" y="22" font-size="15" font-weight="bold">{escape(title)} ({escape(unit)})</text>']
    for place, (name, value, kind) in enumerate(rows):
        y, length = 38 + ROW * place, max(1, round((WIDTH - LEFT - 90) * value / most))
        lines += [f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
                  f'<rect x="{LEFT}" y="{y}" width="{length}" height="{ROW - 6}" fill="{COLOURS[kind]}"/>',
                  f'<text x="{LEFT + length + 6}" y="{y + 15}">{value:,}</text>']
    return "\n".join([*lines, "</g></svg>", ""])


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown processor")
    mount = subprocess.run(["df", "--output=fstype", "."], capture_output=True, text=True, check=True).stdout.split()[-1]
    return f"{os.cpu_count()} cores ({model}), Linux {os.uname().release}, {mount}"


def peer_rows(peers, key):
    return [(name, found[key], "peer") for name, found in peers.items() if isinstance(found, dict) and found.get(key)]


def plots(result):
    peers = result.get("peers", {})
    return {
        "performance-rates.svg": bars("Messages of 4 KiB", "a second", [
            ("wire ceiling (smtp-source)", result["wire_ceiling"], "limit"),
            ("intake limit (limit.c)", result["intake_limit"], "limit"),
            ("mailroot, from Pickup", result["pickup_drain"], "mailroot"),
            ("mailroot, from its queue", result["queue_drain"], "mailroot"),
            ("mailroot, from Pickup, TLS", result["tls"]["rate"], "mailroot"),
            ("mailroot, from Pickup, DKIM", result["dkim"]["rate"], "mailroot"), *peer_rows(peers, "rate")]),
        "performance-cpu.svg": bars("Processor time for 1000 messages", "ms", [
            ("mailroot, from Pickup", round(result["cpu_s_per_1000"] * 1000), "mailroot"),
            ("mailroot, from its queue", round(result["queue_cpu_s_per_1000"] * 1000), "mailroot"),
            *((name, round(value * 1000), kind) for name, value, kind in peer_rows(peers, "cpu_s_per_1000"))])}


def flat(prefix, value):
    """(name, figure) of nested results, names joined by blanks."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(f"{prefix} {key}".strip(), inner)
    else:
        yield prefix.replace("_", " "), f"{value:,}" if isinstance(value, (int, float)) else " ".join(str(value).split())[:100]


def write(result, path):
    """`path` is the page: what stands between its two marks is replaced; plots lie beside it."""
    page = pathlib.Path(path)
    pictures = plots(result) if "wire_ceiling" in result else {}  # the page of a part of them has none
    for name, text in pictures.items():
        (page.parent / name).write_text(text)
    table = "\n".join(f"| {name} | {value} |" for name, value in flat("", result))
    begin, end = "<!-- measured -->", "<!-- /measured -->"
    head, rest = page.read_text().split(begin)
    tail = rest.split(end)[1]
    shown = "".join(f"![{'rates' if 'rates' in name else 'processor time'}]({name})\n\n" for name in pictures)
    page.write_text(f"{head}{begin}\nMachine: {machine()}.\n\n{shown}| what | figure |\n| --- | --- |\n{table}\n{end}{tail}")
