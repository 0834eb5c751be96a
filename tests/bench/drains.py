"""Drains and latencies: how fast what lies there gets out, and how soon what is put there."""
import os
import subprocess
import time
from datetime import datetime

from lib import mail
from lib.receivers import PostfixJudge, Sink, needs_root
from lib.listener import listener
from places import BODY, Place, Watch, fill, message, percentiles, usage, wait_taken


def wire_ceiling(count):
    """smtp-source straight to the sink: nothing that relays can be faster."""
    sink = Sink()
    watch = Watch()
    subprocess.run(["smtp-source", "-d", "-s", "50", "-m", str(count), "-l", "4096", "-f", "a@b.test", "-t", "u@d1.test",
                    f"inet:{sink.address}:{sink.port}"], check=True)
    sink.wait_lines(count, 300)
    rate = watch.rate(count)
    sink.close()
    return round(rate)


def intake_limit(helpers, count):
    """limit.c over the same files in the same kind of folder."""
    place = Place(has_sink=False)
    relay = place.relay()
    fill(relay, count)
    done = subprocess.run([helpers.folder / "limit", relay.pickup, relay.root / "limit.log"], check=True, capture_output=True)
    relay.close()
    place.close()
    return round(float(done.stdout))


def _costs(helpers, pid, count):
    """Of the relay's processes since their start."""
    cpu_s, rss_mb, written = usage(pid)
    return {"cpu_s_per_1000": round(cpu_s / count * 1000, 3), "peak_rss_mb": round(rss_mb, 1),
            "fdatasync_per_message": round(helpers.counted() / count, 4),
            "written_per_octet": round(written / (count * len(message(0))), 2)}


def pickup_drain(helpers, count, sink=(), **config):
    """Files lie in Pickup when the relay starts; to the last one at the sink."""
    place = Place(sink=sink)
    relay = place.relay(**config)
    fill(relay, count)
    relay.environment |= helpers.counting()
    watch = Watch()
    relay.start(wait=False)
    place.sink.wait_lines(count, 600)
    rate = watch.rate(count)
    relay.wait_empty(60)
    costs = _costs(helpers, relay.pid, count)
    relay.close()
    place.close()
    return {"rate": round(rate)} | costs


def queue_drain(helpers, count, sink=(), **config):
    """The same files taken while nobody answers, then sent when the relay starts again."""
    place = Place(has_sink=False, sink=sink)
    relay = place.relay(**config)
    fill(relay, count)
    watch = Watch()
    relay.start(wait=False)
    wait_taken(relay, count)
    intake = watch.rate(count)
    relay.stop()
    relay.run("queue", "retry", "--all", check=0)
    place.open()
    relay.environment |= helpers.counting()
    watch = Watch()
    relay.start(wait=False)
    place.sink.wait_lines(count, 600)
    rate = watch.rate(count)
    relay.wait_empty(60)
    costs = _costs(helpers, relay.pid, count)
    relay.close()
    place.close()
    return {"intake": round(intake), "rate": round(rate)} | costs


def _stage(relay, number, name):
    path = relay.stage / name
    path.write_bytes(mail.message(to=f"u@d{number % 100}.test", body=BODY))
    path.chmod(0o644)
    return path


def _stamped(relay, number, name):
    """A file whose rename's time is noted, in microseconds."""
    path = _stage(relay, number, name)
    before_us = time.time_ns() // 1000
    os.rename(path, relay.pickup / f"{name}.eml")
    return before_us


def idle_latency(count):
    """Rename into Pickup to MAIL FROM at the sink, one file at a time, in ms."""
    place = Place()
    relay = place.relay()
    relay.start()
    found = []
    for number in range(count):
        before_us = _stamped(relay, number, f"one{number}")
        record = place.sink.wait(number + 1)[-1]
        found.append((record["mail_us"] - before_us) / 1000)
    relay.close()
    place.close()
    return percentiles(found)


def loaded_latency(helpers, rate, seconds):
    """The same while files come at a fixed rate (offer.c): offered, not waited for."""
    place = Place()
    relay = place.relay(events={"rotate_size": "16GB"})
    relay.start()
    total = int(rate * seconds)
    for number in range(total):
        _stage(relay, number, f"load{number}")
    watch = Watch()
    done = subprocess.run([helpers.folder / "offer", relay.stage, relay.pickup, str(total), str(rate)], check=True, capture_output=True,
                          text=True)
    offered = watch.rate(total)
    renamed = {name: int(us) for name, us in (line.split() for line in done.stdout.splitlines())}
    place.sink.wait_lines(total, 300)
    relay.wait_empty(60)
    found = [(event_us - renamed[name]) / 1000 for name, event_us in _accepted(relay)]
    relay.close()
    place.close()
    return {"offered_per_s": round(offered), **percentiles(found)}


def _accepted(relay):
    """(pickup name, time of its `delivered` event in microseconds, whole milliseconds rounded up): later than MAIL FROM."""
    for event in relay.events("delivered"):
        yield event["pickup"], datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp() * 1e6 + 1000


def _accept_rate(place, count):
    watch = Watch()
    subprocess.run(["smtp-source", "-d", "-s", "100", "-m", str(count), "-l", "4096", "-f", "a@b.test", "-t", "u@d1.test",
                    f"inet:{place}"], check=True)
    return round(watch.rate(count))


def smtp_accept(count):
    """Durable accepts a second while nothing can be delivered; Postfix's smtpd first, so that neither pays for the other."""
    result = {}
    if needs_root():
        postfix = PostfixJudge()
        result["postfix"] = _accept_rate(f"{postfix.address}:{postfix.port}", count // 4)
        postfix.close()
    config, ports = listener(tls=False, messages_per_connection=1000000)
    place = Place(has_sink=False)
    relay = place.relay(**config)
    relay.start()
    result["mailroot"] = _accept_rate(f"127.0.0.1:{ports['mail']}", count)
    if "postfix" in result:
        result["times_postfix"] = round(result["mailroot"] / result["postfix"], 1)
    relay.close()
    place.close()
    return result
