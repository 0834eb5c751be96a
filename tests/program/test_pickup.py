"""Files in Pickup: taken once and whole, refused with a reason, or left alone; none holds up the next."""
import fcntl
import os
import pathlib
import random
import stat

import pytest

from lib import mail
from lib.relay import USER

GOOD = mail.message(subject="good")


def plain(size):
    return mail.message(body="x" * 70 + "\r\n" + "y" * size)


BAD = [  # name, bytes, what the reason must say
    ("empty", b"", "empty"),
    ("blank", b"\r\n\r\n", "line"),
    ("no_header", b"just some words\r\nand more\r\n", "header"),
    ("no_recipient", b"From: a@b.test\r\nSubject: x\r\n\r\nhi\r\n", "recipient"),
    ("no_sender", b"To: a@b.test\r\n\r\nhi\r\n", "sender"),
    ("nul_in_header", b"From: a@b.test\r\nTo: c\x00@d.test\r\n\r\nhi\r\n", "NUL"),
    ("bad_addresses", b"From: a@b.test\r\nTo: @, <>, x@\r\n\r\nhi\r\n", "recipient"),
    ("utf16", "From: a@b.test\r\nTo: c@d.test\r\n\r\nhi\r\n".encode("utf-16"), "UTF-16"),
    ("header_of_100_megabytes", b"From: a@b.test\r\nTo: c@d.test\r\nX: " + b"y" * (100 << 20) + b"\r\n\r\nhi\r\n", "header"),
    ("header_of_a_million_fields", b"From: a@b.test\r\nTo: c@d.test\r\n" + b"X: y\r\n" * 1000000 + b"\r\nhi\r\n", "header"),
    ("fifty_thousand_recipients", b"From: a@b.test\r\nTo: " + b",\r\n ".join(b"u%d@d.test" % n for n in range(50000))
     + b"\r\n\r\nhi\r\n", "10000"),
]


@pytest.mark.parametrize("name,content,word", BAD, ids=[row[0] for row in BAD])
def test_a_bad_file_goes_to_badmail_and_the_next_one_is_delivered(relay_to, make_server, name, content, word):
    server = make_server()
    relay = relay_to(server, {"limits": {"header_size": "4MB", "message_size": "200MB", "recipients": 10000}})
    relay.drop(f"{name}.eml", content)
    relay.drop("good.eml", GOOD)
    relay.wait_event("delivered", 10, pickup="good.eml")
    event = relay.wait_event("refused", 10, pickup=f"{name}.eml")
    message, reason, _ = relay.bad(f"{name}.eml")
    assert message == content and word in reason and word in event["reason"]
    assert not relay.waiting()


def test_as_many_receivers_as_limits_allow_are_no_header_too_large(relay_to, make_aio):
    sink = make_aio()
    relay = relay_to(sink)
    receivers = "".join(f"X-Receiver: <{'u' * 50}{number}@ours.test>\r\n" for number in range(5000))
    relay.drop("many.eml", b"X-Sender: <a@x.test>\r\n" + receivers.encode() + GOOD)
    relay.wait_event("done", 40, pickup="many.eml")
    assert len(relay.events("delivered")) == 5000


def test_pitfall_47_what_is_no_plain_file_is_refused_or_left(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, start=False)
    secret = relay.base / "secret"
    secret.write_bytes(mail.message(to="thief@x.test", body="canary\r\n"))
    secret.chmod(0o600)
    os.mkfifo(relay.pickup / "fifo.eml")
    os.symlink(secret, relay.pickup / "link.eml")
    (relay.pickup / "folder").mkdir()
    os.link(secret, relay.pickup / "hard.eml")
    relay.start()
    relay.send("good.eml", GOOD, seconds=5)
    for name in ("fifo.eml", "link.eml", "hard.eml"):
        relay.wait_event(None, pickup=name, event=lambda kind: kind in ("refused", "skipped"))
    assert (relay.pickup / "folder").is_dir()
    assert b"canary" not in b"".join(t.content for t in server.transactions)


def test_unreadable_files_stay_and_are_told_once(relay_to, make_server):
    relay = relay_to(make_server(), start=False)
    path = relay.pickup / "closed.eml"
    path.write_bytes(GOOD)
    path.chmod(0)
    relay.start()
    if os.geteuid() == 0 and USER != "root":
        relay.wait_event("skipped", pickup="closed.eml")
        relay.send("good.eml", GOOD)
        assert path.exists() and len(relay.events("skipped")) == 1


def test_pitfall_46_a_file_open_for_writing_is_not_taken(relay_to, make_server):
    relay = relay_to(make_server())
    path = relay.pickup / "slow.eml"
    with open(path, "wb") as file:
        file.write(GOOD[:40])
        file.flush()
        relay.send("other.eml", GOOD)
        assert path.exists() and not relay.events("taken", pickup="slow.eml")
        file.write(GOOD[40:])
        os.fchmod(file.fileno(), 0o644)
    relay.wait_event("delivered", pickup="slow.eml")


def test_pitfall_46_dot_files_and_unfinished_names_are_left(relay_to, make_server):
    relay = relay_to(make_server(), start=False)
    names = [".hidden", "a.tmp", "b.TMP", "c.part"]
    for name in names:
        (relay.pickup / name).write_bytes(GOOD)
    relay.start()
    relay.send("good.eml", GOOD)
    assert sorted(os.listdir(relay.pickup)) == sorted([*names, ".taken"])


def test_files_that_disappear_again_harm_nobody(relay_to, make_server):
    relay = relay_to(make_server())
    for number in range(300):
        path = relay.pickup / f"gone{number}.eml"
        path.write_bytes(GOOD[:number])
        try:
            path.unlink()
        except FileNotFoundError:
            pass  # it was faster
    relay.send("good.eml", GOOD, seconds=5)
    relay.wait_event("delivered", pickup="good.eml")
    assert not relay.waiting()


def test_any_other_name_counts(relay_to, make_server):
    relay = relay_to(make_server())
    names = ["a.eml", "b", "c.txt", "-d", "e f.msg", "%n%s", "ü.eml", "x" * 200]
    for name in names:
        relay.drop(name, GOOD)
    for name in names:
        relay.wait_event("delivered", pickup=name)


def test_pitfall_49_hostile_names_forge_nothing(relay_to, make_server):
    relay = relay_to(make_server(), start=False)
    random.seed(1)
    names = {bytes(random.choice([n for n in range(1, 256) if n != 47]) for _ in range(random.randint(1, 60)))
             for _ in range(200)}
    names = [b"n" + name for name in names if not name.lower().endswith((b".tmp", b".part"))]
    names.append(b'x\n{"event":"delivered"}\n')
    for name in names:
        path = os.path.join(os.fsencode(relay.pickup), name)
        with open(path, "wb") as file:
            file.write(GOOD)
        os.chmod(path, 0o644)
    relay.start()
    relay.wait_events("delivered", len(names), 60)
    assert len(relay.events("taken")) == len(names)
    assert all("time" in event for event in relay.events())


def test_a_reused_name_is_a_new_message(relay_to, make_server):
    relay = relay_to(make_server())
    for number in range(20):
        relay.drop("same.eml", mail.message(subject=str(number)))
        relay.wait_events("delivered", number + 1)


def test_many_writers_in_a_sticky_folder(relay_to, make_server):
    relay = relay_to(make_server(), start=False)
    os.rmdir(relay.pickup)
    relay.start()
    mode = os.stat(relay.pickup).st_mode
    assert stat.S_IMODE(mode) == 0o1733
    relay.drop_in_place("own.eml", GOOD)
    (relay.pickup / "own.eml").exists() and (relay.pickup / "own.eml").chmod(0o644)
    relay.wait_event("delivered", pickup="own.eml")


def test_pitfall_46_files_found_at_the_start_and_after_an_overflow(relay_to, make_sink):
    sink = make_sink()
    relay = relay_to(sink, start=False)
    for number in range(300):
        relay.drop(f"before{number}.eml", GOOD)
    relay.start()
    sink.wait(300)
    relay.wait_empty()


def test_a_message_of_many_megabytes(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {"limits": {"message_size": "64MB"}})
    body = ("." + "z" * 76 + "\r\n") * 300000
    relay.send("large.eml", mail.message(body=body), seconds=60)
    assert mail.split(server.transactions[0].content)[1] == body.encode()
    relay.wait_empty()
    assert not os.listdir(relay.root / "Queue" / "body")


def test_scheduled_sending(relay_to, make_server):
    import datetime
    relay = relay_to(make_server())
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    event = relay.send("later.eml", mail.message(more=f"X-Deliver-At: {at.isoformat(timespec='milliseconds')}\r\n"))
    assert 1500 <= event["delay_ms"] <= 6000


def test_pitfall_34_too_many_hops_is_a_loop(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {"limits": {"hops": 5}})
    relay.drop("loop.eml", b"".join(b"Received: from a by b; date\r\n" for _ in range(6)) + GOOD)
    relay.wait_event("refused", pickup="loop.eml", status="5.4.6")
    assert b"Status: 5.4.6" in server.wait_transactions(1)[0].content


def test_good_recipients_among_bad_ones_are_delivered(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    relay.drop("mixed.eml", b"X-Sender: <app@sender.test>\r\nX-Receiver: <good@x.test>\r\nX-Receiver: <b@d@@>\r\n" + GOOD)
    relay.wait_event("delivered", pickup="mixed.eml", to="good@x.test")
    relay.wait_event("rejected", pickup="mixed.eml")
    notices = [t for t in server.wait_transactions(2) if t.sender == ""]
    assert notices[0].recipients == ["app@sender.test"] and b"5.1.3" in notices[0].content


def test_a_full_lease_less_share_waits_until_the_file_rests(relay_to, make_server):
    """flock by the writer keeps a file from being taken where leases can't tell."""
    relay = relay_to(make_server())
    path = relay.pickup / "locked.eml"
    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(GOOD)
        file.flush()
        relay.send("other.eml", GOOD)
        assert path.exists()
        os.fchmod(file.fileno(), 0o644)
    relay.wait_event("delivered", pickup="locked.eml")
    assert isinstance(path, pathlib.Path)


def test_a_queue_that_is_loaded_at_once_opens_more_connections_as_they_prove_good(relay_to, make_sink):
    """No new message comes that would do it: the window's growth itself must."""
    sink = make_sink("--latency", "20")
    relay = relay_to(sink, {"delivery": {"connections_per_site": 20}}, start=False)
    for number in range(200):
        relay.drop(f"m{number}.eml", mail.message(to=f"u{number}@x.test"))
    relay.start()
    sink.wait(200)
    relay.wait_empty()
    assert len(relay.events("connected")) > 5
