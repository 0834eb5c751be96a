"""docs/performance.md and its plots, from what a run measured."""
import os
import pathlib
import subprocess
from xml.sax.saxutils import escape

COLOURS = {"mailroot": "#2f6fb0", "limit": "#9aa3ad", "peer": "#c98a3c"}
ROW, LEFT, WIDTH = 26, 250, 760
DRAINS = (("from Pickup", "pickup_drain"), ("from its queue", "queue_drain"), ("from Pickup, TLS", "tls"), ("from Pickup, DKIM", "dkim"))
COSTS = ("rate", "cpu_s_per_1000", "peak_rss_mb", "fdatasync_per_message", "written_per_octet")


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
            *(("mailroot, " + name, result[key]["rate"], "mailroot") for name, key in DRAINS), *peer_rows(peers, "rate")]),
        "performance-cpu.svg": bars("Processor time for 1000 messages", "ms", [
            *(("mailroot, " + name, round(result[key]["cpu_s_per_1000"] * 1000), "mailroot") for name, key in DRAINS),
            *((name, round(value * 1000), kind) for name, value, kind in peer_rows(peers, "cpu_s_per_1000"))])}


def flat(prefix, value):
    """(name, figure) of nested results, names joined by blanks."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(f"{prefix} {key}".strip(), inner)
    else:
        yield prefix.replace("_", " "), f"{value:,}" if isinstance(value, (int, float)) else " ".join(str(value).split())[:100]


def table(heads, rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def drains_table(result):
    runs = [("mailroot, " + name, result[key]) for name, key in DRAINS if key in result]
    runs += [(name, found) for name, found in result.get("peers", {}).items() if isinstance(found, dict)]
    rows = [[name, *(f"{found[key]:,}" if key in found else "" for key in COSTS)] if "rate" in found
            else [name, "not measured: " + dict(flat("", found)).get("skipped", ""), *[""] * 4] for name, found in runs]
    return table(["4 KiB, one recipient, 100 domains", "a second", "CPU s for 1000", "peak memory, MB", "fdatasync a message",
                  "octets written for one of mail"], rows)


def best(peers, key, choose, is_queued):
    found = [peer[key] for name, peer in peers.items() if isinstance(peer, dict) and key in peer and ("queue" in name) == is_queued]
    return choose(found) if found else None


def bar_rows(result):
    """(what, wanted, figure, whether it is met) for each bar whose measurement was made."""
    peers = result.get("peers", {})

    def figure(*path):
        value = result
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def to(value, other):
        return round(value / other, 3) if value and other else None

    pickup, queue = figure("pickup_drain", "rate"), figure("queue_drain", "rate")
    large = figure("large_messages")
    for what, sign, wanted, value in (
            ("pickup drain, times the best peer's from its drop folder", ">=", 8, to(pickup, best(peers, "rate", max, False))),
            ("pickup drain, of the intake limit", ">=", 0.6, to(pickup, result.get("intake_limit"))),
            ("queue drain, times the best tuned peer's", ">=", 8, to(queue, best(peers, "rate", max, True))),
            ("queue drain, of the wire ceiling", ">=", 0.35, to(queue, result.get("wire_ceiling"))),
            ("CPU a message, of the best peer's, from Pickup", "<=", 0.1,
             to(figure("pickup_drain", "cpu_s_per_1000"), best(peers, "cpu_s_per_1000", min, False))),
            ("CPU a message, of the best peer's, from the queue", "<=", 0.1,
             to(figure("queue_drain", "cpu_s_per_1000"), best(peers, "cpu_s_per_1000", min, True))),
            ("rename to MAIL FROM, idle, median ms", "<=", 2, figure("idle_latency_ms", "p50")),
            ("rename to MAIL FROM, idle, 99th percentile ms", "<=", 10, figure("idle_latency_ms", "p99")),
            ("rename to delivered at half the top rate, 99th percentile ms", "<=", 100, figure("loaded_latency_ms", "p99")),
            ("fdatasync calls a message", "<=", 0.05, figure("pickup_drain", "fdatasync_per_message")),
            ("TLS, of the clear rate", ">=", 0.7, to(figure("tls", "rate"), pickup)),
            ("DKIM, of what `openssl speed` signs on all cores that do nothing else", ">=", 0.8,
             to(figure("dkim", "rate"), figure("dkim", "openssl_limit_all_cores"))),
            ("DKIM, of that beside the drain's own work", ">=", 0.8, figure("dkim", "to_limit_beside_the_drain")),
            ("50 MB messages, of the rate of copying them to the disk", ">=", 0.8,
             to(large["mb_per_s"], large["copy_mb_per_s"]) if large else None),
            ("50 MB messages, peak memory MB", "<=", 64, figure("large_messages", "peak_rss_mb")),
            ("10,000 slow sites, connections at once", ">=", figure("many_sites", "sites"), figure("many_sites", "connections_at_once")),
            ("10,000 slow sites, peak memory MB", "<=", 1000, figure("many_sites", "peak_rss_mb")),
            ("deep queue, peak memory MB", "<=", 300, figure("scale", "peak_rss_mb")),
            ("deep queue, s from the start to the first new message at the sink", "<=", 2, figure("scale", "first_delivery_s")),
            ("deep queue, rate of new mail, of a shallow one's", ">=", 0.8, figure("scale", "rate_ratio")),
            ("deep queue, CPU a new message, of a shallow one's", "<=", 1.2, figure("scale", "cost_ratio"))):
        if value is not None:
            is_met = value >= wanted if sign == ">=" else value <= wanted
            yield [what, f"{sign} {wanted:,}", f"{value:,}", "yes" if is_met else "**no**"]


def write(result, path):
    """`path` is the page: what stands between its two marks is replaced; plots lie beside it."""
    page = pathlib.Path(path)
    pictures = plots(result) if "wire_ceiling" in result else {}  # the page of a part of them has none
    for name, text in pictures.items():
        (page.parent / name).write_text(text)
    others = {key: value for key, value in result.items() if key not in ("pickup_drain", "queue_drain", "tls", "peers")}
    parts = [f"Machine: {machine()}.", *(f"![{'rates' if 'rates' in name else 'processor time'}]({name})" for name in pictures)]
    if pictures:
        parts += ["### Drains", drains_table(result), "### Bars", table(["bar", "wanted", "measured", "met"], bar_rows(result)),
                  "### All other figures"]
    parts += [table(["what", "figure"], flat("", others))]
    begin, end = "<!-- measured -->", "<!-- /measured -->"
    head, rest = page.read_text().split(begin)
    tail = rest.split(end)[1]
    page.write_text("\n".join([head + begin, "\n\n".join(parts), end + tail]))
