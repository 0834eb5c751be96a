"""Every call of the relay fails once, in turn, and then for good until the cause is gone.

One relay lives through many rounds: a round arms the shim for call number N of a kind, brings a scenario's mail, and waits
until each message has its outcome and the queue is empty. "For good" means until the relay has run into it and had time to
react; then the cause goes, and all has to come to its end without a restart.

  lost, wrong, taken_twice   as in lib/ledger.py
  beyond      sent again, although the call that failed has nothing to do with the answer of a server
  ended       a process left by itself; only memory is a reason for that (base/mem.h, EX_TEMPFAIL)
  crashed     a word from AddressSanitizer, LeakSanitizer, UBSan or a CHECK
  silent      it was held up and said nothing about why
  stuck       it did not come to the end after the cause was gone
"""
import errno
import itertools
import os
import random
import re
import signal
import smtplib
import socket
import subprocess
import sys
import time

from lib.ledger import Ledger
from lib.orders import CALLS
from lib.scenarios import LARGE, bad, dropped, message, one, undeliverable
from lib.world import CONNECTIONS, SHIM, Stuck, World, free_port, sanitized

FULL, IO, NOMEM_SQL, BUSY = 13, 10, 7, 5  # SQLite's codes
SHORT = "short"
ERRORS = {
    "open": (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOSPC, errno.ENOMEM),
    "write": (errno.ENOSPC, errno.EIO, errno.EINTR, SHORT),
    "pwrite": (errno.ENOSPC, errno.EIO, errno.EINTR, SHORT),
    "read": (errno.EIO, errno.EINTR, errno.ENOMEM),
    "pread": (errno.EIO, errno.EINTR),
    "fsync": (errno.EIO, errno.ENOSPC),
    "fdatasync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EIO, errno.ENOSPC),
    "unlink": (errno.EIO, errno.EROFS),
    "mkdir": (errno.ENOSPC,),
    "ftruncate": (errno.EIO, errno.ENOSPC),
    "fallocate": (errno.ENOSPC,),
    "stat": (errno.EIO, errno.ENOMEM),
    "readdir": (errno.EIO,),
    "socket": (errno.EMFILE, errno.ENFILE, errno.ENOBUFS),
    "connect": (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EINTR),
    "send": (errno.EPIPE, errno.ECONNRESET, errno.EAGAIN, errno.EINTR, errno.ENOBUFS, SHORT),
    "recv": (errno.ECONNRESET, errno.EAGAIN, errno.EINTR, errno.ENOMEM),
    "accept": (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.EINTR),
    "epoll_ctl": (errno.ENOMEM, errno.ENOSPC),
    "epoll_wait": (errno.EINTR,),
    "step": (FULL, IO, NOMEM_SQL, BUSY),
    "malloc": (errno.ENOMEM,),
}
# After these a server's 250 may not have been heard: what was in flight may be sent again.
WIRE = ("send", "recv", "epoll_ctl", "epoll_wait", "read", "write", "malloc")
NUMBERS_MAX = 400    # of a kind of call in a scenario; more are drawn by chance
HELD_S, ROUND_S = 0.35, 20
FAULTS = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|check failed|CHECK")
ENDED = re.compile(r"the (\w+) ended \((\d+)\)")
COMPLAINTS = ("error", "warning", "deferred", "unknown")
COMPLAINTS_ONCE = ("skipped",)  # of the same file not again for five minutes: anywhere in the log will do


class Way:
    """How a scenario's mail comes. bring(world, tag) puts it there and returns {token: {recipient: outcome}}."""

    def __init__(self, name, files=None, round=None):
        self.name, self.files = name, files
        self.round = round or Round

    def bring(self, world, tag):
        if not self.files:
            return submit(world, tag)
        expected = {}
        for token, (content, outcome) in self.files(tag):
            world.drop(f"{token}.eml", content)
            expected[token] = outcome
        return expected


def submit(world, tag):
    """By SMTP, as a client that tries until it hears 250: what it heard is promised, what it did not may be there or not."""
    end = time.monotonic() + ROUND_S
    for number in itertools.count():
        token = f"{tag}-s{number}"
        try:
            with smtplib.SMTP("127.0.0.1", world.smtp_port, "client.test", timeout=1.5) as client:
                client.sendmail("from@here.test", ["ok@far.test"], message(token, ["ok@far.test"]).split(b"\r\n", 2)[2])
            return {token: {"ok@far.test": "delivered"}}
        except (OSError, smtplib.SMTPException):
            if time.monotonic() > end:
                raise Stuck(f"nobody took {token}\n{world.tail()}") from None
            if world.process.poll() == os.EX_TEMPFAIL:
                world.come_up()  # as what runs it would
            elif world.process.poll() is not None:
                raise Stuck(f"the supervisor ended with {world.process.returncode}\n{world.tail()}") from None
            elif world.orders["failed"]:
                time.sleep(0.05)
                if time.monotonic() > end - ROUND_S + HELD_S:
                    world.orders["is_failing"] = 0


class FailingWorld(World):
    """A relay with a listener and a local domain, built with sanitizers where there is such a build."""

    def __init__(self):
        super().__init__()
        self.binary, self.libasan = sanitized()
        self.stderr_at = 0

    def begin(self):
        self.smtp_port = free_port()
        self.fresh({"local": {"domains": ["home.test"]},
                    "smtp": {"listen": [f"127.0.0.1:{self.smtp_port}"], "relay_networks": ["127.0.0.1"], "greet_pause": "0ms",
                             "tarpit": "0ms", "connections_per_client": 1000},
                    "pickup": {"scan_interval": "1s"}})
        self.come_up()

    def arm(self, orders):
        """Calls are counted from here, and one of them fails."""
        self.orders["is_failing"] = 0
        self.orders.forget_calls()
        for name, value in orders.items():
            self.orders[name] = value

    def come_up(self):
        self.orders.write(clock_scale=20)
        self.kill()
        log = self.root / "Log" / "events.jsonl"
        before = log.stat().st_size if log.exists() else 0
        self.start()
        if not self.is_up(before):
            raise Stuck("it did not come up\n" + self.tail())
        self.stderr_at = len(self.stderr_text())

    def environment(self, **more):
        """The shim stands in front of the sanitizer: its calls are then everybody's."""
        before = f"{SHIM} {self.libasan}" if self.libasan else str(SHIM)
        return super().environment(**{
            "LD_PRELOAD": before,
            "ASAN_OPTIONS": "abort_on_error=1:use_sigaltstack=0:verify_asan_link_order=0:detect_leaks=1:handle_abort=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", **more})

    def is_up(self, events_at):
        """Waits for a whole start behind that place of the event log: it answers before it has read all that a start reads."""
        def has_started():
            with open(self.root / "Log" / "events.jsonl", "rb") as events:
                events.seek(events_at)
                return b'"event":"started"' in events.read()
        return self.wait_for(lambda: self.status() is not None and self.is_listening() and has_started(), 30)

    def is_listening(self):
        try:
            with socket.create_connection(("127.0.0.1", self.smtp_port), 1) as peer:
                peer.settimeout(5)
                return peer.recv(100).startswith(b"220")
        except OSError:
            return False

    def stderr_text(self):
        path = self.base / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(self, condition, limit_s):
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                return False
            time.sleep(0.002)
        return True

    def leave(self):
        """SIGTERM: it has to end by itself, and LeakSanitizer looks."""
        if not self.process or self.process.poll() is not None:
            return ""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return "SIGTERM did not end it"
        self.process = None
        text = self.stderr_text()[self.stderr_at:]
        return text[-4000:] if FAULTS.search(text) else ""


class Round:
    """One armed run; `problems` is empty when all was well."""
    is_slow = False  # it takes longer than HELD_S without being held up

    def __init__(self, world, way, tag, call, error, number, is_ever):
        self.world, self.way, self.call, self.problems = world, way, call, []
        self.what = f"{way.name}: {call} {number} {'from then on ' if is_ever else ''}" \
                    f"{error if error == SHORT or call == 'step' else errno.errorcode[error]}"
        self.events_at = self.events_size()
        world.clear()
        self.expected, self.ledger, self.was_held = {}, None, False
        try:
            self.begin(tag, dict(fail_call=CALLS[call], fail_is_short=int(error == SHORT), fail_is_ever=int(is_ever),
                                 fail_errno=0 if error == SHORT else error, fail_at=number, is_failing=1))
            self.is_hit = self.wait(is_ever)
        except Stuck as stuck:
            self.is_hit = True
            self.problems.append(f"stuck {stuck}")
        world.orders["is_failing"] = 0
        self.look()

    def begin(self, tag, orders):
        self.world.arm(orders)
        self.expected = self.way.bring(self.world, tag)

    def ended(self, code):
        """The program left by itself, as only a lack of memory is a reason for."""
        if self.call != "malloc" or code != os.EX_TEMPFAIL:
            self.problems.append(f"the supervisor ended with {code}")
        self.world.come_up()

    def events_size(self):
        log = self.world.root / "Log" / "events.jsonl"
        return log.stat().st_size if log.exists() else 0

    def judge(self):
        crashes = self.deaths() + (1 if self.call in WIRE else 0)
        self.ledger = Ledger(self.world, self.expected, crashes, CONNECTIONS)
        return self.ledger

    def is_done(self):
        return self.world.is_quiet() and not self.judge().lost

    def wait(self, is_ever):
        """True when the armed call was reached."""
        world, orders = self.world, self.world.orders
        end, held_end = time.monotonic() + ROUND_S, None
        while not self.is_done():
            now = time.monotonic()
            if is_ever and orders["failed"] and orders["is_failing"]:
                held_end = held_end or now + HELD_S
                if now > held_end:
                    self.was_held = True
                    orders["is_failing"] = 0
            if world.process.poll() is not None:
                self.ended(world.process.returncode)
            if now > end:
                raise Stuck(world.tail())
            time.sleep(0.002)
        time.sleep(0.01)  # the last unlinks and syncs
        return orders["failed"] > 0

    def deaths(self):
        return len(ENDED.findall(self.world.stderr_text()[self.world.stderr_at:]))

    def look(self):
        world, ledger = self.world, self.judge()
        text = world.stderr_text()[world.stderr_at:]
        if not ledger.is_clean():
            self.problems.append(ledger.text())
        world.stderr_at = len(world.stderr_text())
        if self.call == "malloc" and "pthread_getattr_np" in text:
            return  # AddressSanitizer itself gives up where a new thread can't be asked for its stack
        if FAULTS.search(text):
            self.problems.append("crashed\n" + text[-5000:])
        self.judge_ends(text)
        if self.was_held and not self.is_slow and self.call != "epoll_wait" and not text.strip() and not self.has_complaint():
            self.problems.append("silent")

    def judge_ends(self, text):
        for role, code in ENDED.findall(text):
            if self.call != "malloc" or int(code) != os.EX_TEMPFAIL:
                self.problems.append(f"ended: {role} {code}")

    def has_complaint(self):
        text = (self.world.root / "Log" / "events.jsonl").read_text(errors="replace")
        return any(f'"event":"{kind}"' in text[self.events_at:] for kind in COMPLAINTS) or \
            any(f'"event":"{kind}"' in text for kind in COMPLAINTS_ONCE)


class StartRound(Round):
    """A relay that was killed in the middle starts anew, and a call of the start fails. It may refuse to start, with a word
    why; what had come up once before tries again by itself."""
    is_slow = True

    def begin(self, tag, orders):
        self.world.orders["is_failing"] = 0
        self.expected = self.way.bring(self.world, tag)
        time.sleep(random.Random(tag).random() * 0.02)
        self.world.kill()
        self.world.orders.write(clock_scale=20)
        self.world.arm(orders)
        self.world.start()

    def ended(self, code):
        if code not in (os.EX_TEMPFAIL, os.EX_CONFIG) or not self.world.stderr_text()[self.world.stderr_at:].strip():
            self.problems.append(f"the start ended with {code}")
        self.world.orders["is_failing"] = 0
        self.world.start()

    def look(self):
        if not self.world.is_up(self.events_at):
            self.world.come_up()  # the next round is not about this start
        super().look()

    def deaths(self):
        return super().deaths() + 1  # it was killed

    def judge_ends(self, text):
        del text  # a start may fail


WAYS = [
    Way("pickup", lambda tag: [one(f"{tag}-p", ["ok@far.test"])]),
    Way("mixed", lambda tag: [one(f"{tag}-m{n}", [f"ok{n}@far.test", f"later-{tag}-{n}@far.test"]) for n in range(3)]),
    Way("bounce", lambda tag: [one(f"{tag}-n", ["no@far.test"])]),
    Way("large body", lambda tag: [one(f"{tag}-l", [f"later-{tag}@far.test"], body=LARGE)]),
    Way("to Badmail", lambda tag: [bad(f"{tag}-b"), one(f"{tag}-g", ["ok@far.test"])]),
    Way("undeliverable", lambda tag: [undeliverable(f"{tag}-u"), (f"{tag}-ul", (
        message(f"{tag}-ul", [f"no-{tag}-ul@far.test"], sender="", body=LARGE), {f"no-{tag}-ul@far.test": "badmail"}))]),
    Way("drop", lambda tag: [dropped(f"{tag}-d", "you@home.test")]),
    Way("listener"),
    Way("start", lambda tag: [one(f"{tag}-p{n}", ["ok@far.test"]) for n in range(3)] + [bad(f"{tag}-b")] + [
        dropped(f"{tag}-d", "you@home.test")], StartRound),
]


def count_calls(world, way):
    """{call: number} of an undisturbed round."""
    counts = {}
    for armed in ("malloc", "step"):  # (the shim counts SQLite's steps only while they are what may fail)
        done = way.round(world, way, f"c{time.monotonic_ns()}", armed, errno.ENOMEM, 1 << 40, False)
        if done.problems:
            raise AssertionError(f"{way.name}, undisturbed: {done.problems}")
        counts.update({call: world.orders.calls(call) for call in ERRORS if armed == "malloc" or call == "step"})
    return counts


def plan(counts, seed, share=1.0):
    """(way, call, error, number, is_ever): each call of each way once with every error, and a tenth of them for good."""
    chance, rows = random.Random(seed), []
    for way in WAYS:
        for call, errors in ERRORS.items():
            count = counts[way.name][call]
            numbers = range(1, count + 1)
            if count > NUMBERS_MAX:
                numbers = sorted(chance.sample(numbers, NUMBERS_MAX))
            for number in numbers:
                for error in errors:
                    rows.append((way, call, error, number, False))
            for error in errors:
                if error in (errno.EINTR, errno.EAGAIN, errno.ECONNABORTED, SHORT) and call != "step" or not count:
                    continue  # these never last
                for number in sorted({1, *(chance.choice(numbers) for _ in range(4))}):
                    rows.append((way, call, error, number, True))
    chance.shuffle(rows)
    return rows[:max(1, int(len(rows) * share))]


def new_counts():
    return {"rounds": 0, "hits": 0, "lost": 0, "taken_twice": 0, "duplicates_beyond_in_flight": 0, "wrong_outcome": 0,
            "problems": 0, "by_call": {}, "by_scenario": {}}


def add_up(counts, done, way, call):
    counts["rounds"] += 1
    counts["hits"] += done.is_hit
    counts["problems"] += bool(done.problems)
    if done.is_hit:
        counts["by_call"][call] = counts["by_call"].get(call, 0) + 1
        counts["by_scenario"][way.name] = counts["by_scenario"].get(way.name, 0) + 1
    counts["lost"] += len(done.ledger.lost)
    counts["taken_twice"] += len(done.ledger.taken_twice)
    counts["duplicates_beyond_in_flight"] += done.ledger.beyond
    counts["wrong_outcome"] += len(done.ledger.wrong)


LIVES = 40  # rounds of one relay, then LeakSanitizer has its look


def worker(number, workers, is_quick, seconds, seed):
    """Its share of all rows, in an order of that seed."""
    end = time.monotonic() + seconds
    counts, findings, world = new_counts(), [], FailingWorld()
    try:
        world.begin()
        calls = {way.name: count_calls(world, way) for way in WAYS}
        rows = plan(calls, 1 + seed)[number::workers]
        for place, (way, call, error, at, is_ever) in enumerate(rows):
            if time.monotonic() > end:
                break
            done = way.round(world, way, f"f{number}x{place}", call, error, at, is_ever)
            add_up(counts, done, way, call)
            if done.problems:
                findings.append(f"{done.what}: " + "; ".join(done.problems) + "\n" + world.tail())
            if done.problems or place % LIVES == LIVES - 1:
                leak = world.leave()
                if leak:
                    counts["problems"] += 1
                    findings.append(f"at the end, behind {done.what}: {leak}")
                world.kill()
                world.begin()
            if not is_quick and place % 500 == 499:
                print(f"failing calls, worker {number}: {place + 1} of {len(rows)}, {len(findings)} findings", file=sys.stderr)
        leak = world.leave()
        if leak:
            counts["problems"] += 1
            findings.append(f"at the end: {leak}")
    finally:
        world.close()
    return counts, findings
