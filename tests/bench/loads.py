"""Loads of other shapes: many recipients, large messages, many slow sites, a deep queue."""
import os
import resource

from lib import mail
from lib.ports import MX_PORT, loopback
from lib.names import NameServer
from lib.receivers import Sink
from lib.watch import wait_until
from places import Place, Watch, fill, message, say, usage, wait_taken


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
    return sum(len(record["to"]) for record in sink.messages())


def large_messages(count=10, size=50 << 20):
    """Large files in Pickup: octets a second through the relay, and memory, which may not grow with them."""
    place = Place()
    relay = place.relay(limits={"message_size": 2 * size})
    for number in range(count):
        relay.drop(f"large{number}.eml", mail.message(to=f"u{number}@d{number}.test", body=("x" * 76 + "\r\n") * (size // 78)))
    watch = Watch()
    relay.start(wait=False)
    place.sink.wait(count, 900)
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
    if hard < 2 * count + 1000:
        return {"sites": count, "skipped": f"the machine allows {hard} open files"}
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = {}
    for number in range(count):
        names[f"s{number}.test"] = [f"MX 10 mx{number}.test."]
        names[f"mx{number}.test"] = [f"A 127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255 or 1}"]
    server, sink = NameServer(names), Sink("--latency", str(latency_ms), address="0.0.0.0")
    place = Place(has_sink=False)
    relay = place.relay(dns={"servers": [server.address]}, delivery={"port": MX_PORT, "connections_max": count})
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
    for thing in (relay, place, sink, server):
        thing.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return {"sites": count, "latency_ms": latency_ms, "seconds": round(seconds, 1), "connections_at_once": peak,
            "peak_rss_mb": round(rss_mb, 1)}


def scale(count, empty_intake, step=20000):
    """A queue of messages to hosts that don't answer; then new ones beside them, to a host that does."""
    place = Place(has_sink=False)
    relay = place.relay(events={"rotate_size": "16GB"})
    relay.start()
    watch = Watch()
    for first in range(0, count, step):
        fill(relay, step, first)
        wait_taken(relay, first + step)
        say(f"  {first + step} queued")
    filled = watch.rate(count)
    relay.stop()
    relay.start()
    fill(relay, 4000, count)
    watch = Watch()
    wait_taken(relay, count + 4000)
    beside = watch.rate(4000)
    rss_mb = usage(relay.pid)[1]
    relay.stop()
    place.open()
    relay.drop("last.eml", message(1))
    watch = Watch()
    relay.start(wait=False)
    place.sink.wait(1, 120)
    first_s = watch.seconds()
    relay.close()
    place.close()
    return {"messages": count, "files_a_second_with_their_making": round(filled), "peak_rss_mb": round(rss_mb, 1),
            "intake_beside": round(beside), "intake_empty": empty_intake, "first_delivery_s": round(first_s, 2)}
