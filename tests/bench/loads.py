"""Loads of other shapes: many recipients, large messages, many slow sites, a deep queue."""
import os
import resource
import statistics
import time

from lib import mail
from lib.ports import MX_PORT, loopback
from lib.names import NameServer
from lib.receivers import Sink
from lib.watch import wait_until
from places import BODY, DOMAINS, Place, Watch, fill, say, usage, wait_taken


def many_recipients(count=100000, domains=1000):
    """One message to very many: seconds to the last one, and memory."""
    place = Place(domains={f"d{number}.test": ["MX 10 mx.test."] for number in range(domains)})
    relay = place.relay(limits={"recipients": count})
    lines = "".join(f"X-Receiver: u{number}@d{number % domains}.test\r\n" for number in range(count))
    relay.drop("many.eml", f"X-Sender: a@relay.test\r\n{lines}".encode() + mail.message(to="all@d1.test"))
    watch = Watch()
    relay.start(wait=False)
    wait_until(lambda: _recipients(place.sink) >= count, 900, what=f"{count} recipients at the sink")
    seconds = watch.seconds()
    relay.wait_empty(120)
    cpu_s, rss_mb, _ = usage(relay.pid)
    relay.close()
    place.close()
    return {"recipients": count, "domains": domains, "seconds": round(seconds, 1), "rate": round(count / seconds),
            "cpu_s_per_1000": round(cpu_s / count * 1000, 3), "peak_rss_mb": round(rss_mb, 1)}


def _recipients(sink):
    return sum(len(record["rcpts"]) for record in sink.messages())


def large_messages(count=10, size=50 << 20):
    """Large files in Pickup: octets a second through the relay, and memory, which may not grow with them."""
    place = Place()
    relay = place.relay(limits={"message_size": 2 * size})
    for number in range(count):
        relay.drop(f"large{number}.eml", mail.message(to=f"u{number}@d{number}.test", body=("x" * 76 + "\r\n") * (size // 78)))
    watch = Watch()
    relay.start(wait=False)
    place.sink.wait_lines(count, 900)
    seconds = watch.seconds()
    relay.wait_empty(120)
    rss_mb = usage(relay.pid)[1]
    copy_mb_per_s = _copy_rate(relay, count, size)
    relay.close()
    place.close()
    return {"messages": count, "size_mb": size >> 20, "mb_per_s": round(count * (size >> 20) / seconds),
            "copy_mb_per_s": copy_mb_per_s, "peak_rss_mb": round(rss_mb, 1)}


def _copy_rate(relay, count, size):
    """The disk's own rate for the same octets: one file written and synced."""
    piece, path = bytes(1 << 20), relay.root / "copy"
    watch = Watch()
    with open(path, "wb") as out:
        for _ in range(count * (size >> 20)):
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    rate = round(count * (size >> 20) / watch.seconds())
    path.unlink()
    return rate


def many_sites(count=10000, latency_ms=1000):
    """A message to each of very many sites that all answer slowly: connections at once, memory, and the time that the last one
    had to wait. The sink listens on all of loopback; each site has an address of its own in 127.64.0.0/10."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 1000:  # of each process
        return {"sites": count, "skipped": f"the machine allows {hard} open files"}
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = {}
    for number in range(count):
        names[f"s{number}.test"] = [f"MX 10 mx{number}.test."]
        names[f"mx{number}.test"] = [f"A 127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255 or 1}"]
    server, sink = NameServer(names), Sink("--latency", str(latency_ms), address="0.0.0.0")
    place = Place(has_sink=False)
    relay = place.relay(dns={"servers": [server.address]}, delivery={"port": MX_PORT, "connections": count})
    for number in range(count):
        relay.drop(f"m{number}.eml", mail.message(to=f"u@s{number}.test"))
    relay.start()
    peak, watch = 0, Watch()

    def all_sent():
        nonlocal peak
        peak = max(peak, relay.status()["connections"])
        return sink.lines() >= count

    wait_until(all_sent, 600, what=f"{count} sites")
    seconds = watch.seconds()
    rss_mb = usage(relay.pid)[1]
    begun = sorted(record["mail_us"] for record in sink.messages())
    for thing in (relay, place, sink, server):
        thing.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return {"sites": count, "latency_ms": latency_ms, "seconds": round(seconds, 1), "connections_at_once": peak,
            "last_mail_from_behind_first_s": round((begun[-1] - begun[0]) / 1e6, 1), "peak_rss_mb": round(rss_mb, 1)}


def _stage(relay, count, name):
    """`count` messages to the host that answers, beside Pickup; renaming them into it takes no time that counts."""
    for number in range(count):
        path = relay.stage / f"{name}-{number}.eml"
        path.write_bytes(mail.message(to=f"u{number}@live.test", body=BODY))
        path.chmod(0o644)


def _beside(relay, sink, depth, count=4000, rounds=5):
    """New mail beside what is queued, medians of some rounds: messages a second from their rename to the sink, and processor time."""
    rates, costs = [], []
    for number in range(rounds):
        name = f"beside{depth}-{number}"
        _stage(relay, count, name)
        before, before_s = sink.lines(), usage(relay.pid)[0]
        watch = Watch()
        for path in relay.stage.glob(f"{name}-*"):
            os.rename(path, relay.pickup / path.name)
        sink.wait_lines(before + count, 300)
        rates.append(watch.rate(count))
        wait_until(lambda: relay.status()["messages"] == depth, 60, what="what is new to be gone")
        costs.append((usage(relay.pid)[0] - before_s) / count * 1000)
    return round(statistics.median(rates)), round(statistics.median(costs), 4)


def scale(count, step=20000, few=1000):
    """A queue of messages to hosts that don't answer, and new ones beside them to a host that does: at `few` queued and at `count`."""
    address = loopback()
    place = Place(has_sink=False, domains=DOMAINS | {"live.test": ["MX 10 live-mx.test."], "live-mx.test": [f"A {address}"]})
    sink = Sink(address=address)
    relay = place.relay(events={"rotate_size": "16GB"})
    relay.start()
    fill(relay, few)
    wait_taken(relay, few)
    few_rate, few_cost = _beside(relay, sink, few)
    few_rss_mb = usage(relay.pid)[1]
    for first in range(few, count, step):
        fill(relay, min(step, count - first), first)
        wait_taken(relay, min(first + step, count))
    say(f"  {count} queued")
    rate, cost = _beside(relay, sink, count)
    rss_mb = usage(relay.pid)[1]
    relay.stop()
    seen = sink.lines()
    relay.drop("last.eml", mail.message(to="last@live.test"))
    relay.pass_over_events()
    watch = Watch()
    relay.start(wait=False)
    wait_until(lambda: sink.lines() > seen, 120, what="the first delivery")
    first_s = watch.seconds()
    time.sleep(3)
    started_rss_mb = usage(relay.pid)[1]
    queue_mb = sum(path.stat().st_size for path in (relay.root / "Queue").rglob("*") if path.is_file()) >> 20
    relay.close()
    place.close()
    sink.close()
    return {"messages": count, "rate_beside_few": few_rate, "rate_beside_all": rate, "rate_ratio": round(rate / few_rate, 3),
            "cpu_s_per_1000_few": few_cost, "cpu_s_per_1000_all": cost, "cost_ratio": round(cost / few_cost, 3),
            "peak_rss_mb_few": round(few_rss_mb, 1), "peak_rss_mb": round(rss_mb, 1),
            "peak_rss_mb_after_start": round(started_rss_mb, 1), "first_delivery_s": round(first_s, 2), "queue_mb": queue_mb}
