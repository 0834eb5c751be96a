"""folder.conf: a sub-folder of Pickup is policy and identity. What it may not do ends in Badmail with the rule."""
import calendar
import json
import os
import pathlib
import pwd
import re
import shutil
import sqlite3
import subprocess
import time

import pytest

from lib import mail
from lib.relay import USER

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="files of several owners need root")


def make_folder(relay, name, conf, mode=0o755):
    path = relay.pickup / name
    path.mkdir()
    write_conf(path, conf)
    path.chmod(mode)
    if os.geteuid() == 0:
        shutil.chown(path, USER)
    return path


def write_conf(path, conf):
    """Renamed into place, as an editor does; the folder's own user may read it."""
    new = path / ".folder.conf.new"
    new.write_text(conf)
    new.chmod(0o644)
    new.rename(path / "folder.conf")


def drop(relay, folder, name, content, owner=None):
    staged = relay.stage / name
    staged.write_bytes(content)
    staged.chmod(0o644)
    if owner is not None:
        os.chown(staged, owner, -1)
    staged.rename(relay.pickup / folder / name)
    return f"{folder}/{name}"


def letter(sender="orders@shop.test", to="you@x.test", header_from=None, **options):
    lines = f"X-Sender: <{sender}>\r\nX-Receiver: <{to}>\r\n"
    return lines.encode() + mail.message(sender=header_from or sender, to=to, **options)


def wait_reloaded(relay, name, count=1):
    return relay.wait_event("reloaded", pickup=f"{name}/folder.conf", count=count)


@pytest.fixture
def shop(relay_to, make_server):
    """A relay with one folder; gives (relay, server, maker)."""
    server = make_server()

    def make(conf, name="shop", changes=None):
        relay = relay_to(server, changes or {}, start=False)
        make_folder(relay, name, conf)
        relay.start()
        wait_reloaded(relay, name)
        return relay, server
    return make


def test_a_folder_with_a_folder_conf_takes_files_and_says_where_they_came_from(shop):
    relay, server = shop("# nothing asked\n")
    name = drop(relay, "shop", "a.eml", letter())
    event = relay.wait_event("delivered", pickup=name)
    assert relay.events("taken", pickup=name)[0]["dialect"] == "iis"
    assert server.transactions[0].sender == "orders@shop.test"
    assert (relay.pickup / "shop" / "folder.conf").exists(), "the policy is no mail"
    assert event["id"] in relay.run("trace", "shop/a.eml").stdout.decode()


def test_only_allowed_senders_may_send(shop):
    relay, server = shop('senders = ["orders@shop.test", "*@news.shop.test"]\n')
    for sender in ("orders@shop.test", "ORDERS@shop.test", "x@news.shop.test"):
        relay.wait_event("delivered", pickup=drop(relay, "shop", f"{sender}.eml", letter(sender)))
    for number, (sender, shown) in enumerate([("eve@evil.test", None), ("orders@shop.test", "ceo@bank.test"),
                                              ("a@shop.test.evil.test", None), ("news.shop.test@x.test", None)]):
        name = drop(relay, "shop", f"bad{number}.eml", letter(sender, header_from=shown))
        event = relay.wait_event("refused", pickup=name)
        assert "shop/folder.conf:1: senders:" in event["reason"], event
        assert "not on this list" in relay.bad(name)[1]
    assert len(server.transactions) == 3


def test_from_has_a_list_of_its_own(shop):
    relay, _ = shop('senders = "bounce@shop.test"\nfrom = "*@shop.test"\n')
    relay.wait_event("delivered", pickup=drop(relay, "shop", "a.eml", letter("bounce@shop.test", header_from="Sales <sales@shop.test>")))
    two = letter("bounce@shop.test", header_from="sales@shop.test").replace(b"\r\nTo:", b"\r\nFrom: ceo@bank.test\r\nTo:", 1)
    event = relay.wait_event("refused", pickup=drop(relay, "shop", "two.eml", two))
    assert "folder.conf:2: from: From <ceo@bank.test>" in event["reason"]


def test_the_null_sender_has_to_be_allowed(shop):
    relay, _ = shop('senders = ["orders@shop.test", "<>"]\nfrom = "*"\n')
    relay.wait_event("delivered", pickup=drop(relay, "shop", "n.eml", letter("", header_from="d@shop.test")))
    write_conf(relay.pickup / "shop", 'senders = "orders@shop.test"\n')
    wait_reloaded(relay, "shop", 2)
    relay.wait_event("refused", pickup=drop(relay, "shop", "m.eml", letter("", header_from="orders@shop.test")))


@needs_root
def test_the_files_owner_is_the_sender(shop):
    owner, other = pwd.getpwnam("daemon"), pwd.getpwnam("bin")
    relay, server = shop(f'owner "daemon" {{ senders = "d@shop.test"; default_sender = "d@shop.test" }}\n'
                         f'group "{other.pw_gid}" {{ senders = "*@bin.test" }}\n')
    relay.wait_event("delivered", pickup=drop(relay, "shop", "own.eml", letter("d@shop.test"), owner.pw_uid))
    relay.wait_event("delivered", pickup=drop(relay, "shop", "grp.eml", letter("x@bin.test"), other.pw_uid))
    nobody = drop(relay, "shop", "none.eml", b"To: you@x.test\r\nSubject: s\r\n\r\nb\r\n", owner.pw_uid)
    relay.wait_event("delivered", pickup=nobody)
    assert server.transactions[-1].sender == "d@shop.test"
    for name, sender, uid, word in (("a.eml", "x@bin.test", owner.pw_uid, "owner's senders"),
                                    ("b.eml", "d@shop.test", other.pw_uid, "group's senders"),
                                    ("c.eml", "d@shop.test", pwd.getpwnam("games").pw_uid, "belongs to games")):
        event = relay.wait_event("refused", pickup=drop(relay, "shop", name, letter(sender), uid))
        assert word in event["reason"], event


@needs_root
def test_quotas_are_per_owner_and_survive_a_restart(shop):
    uids = [pwd.getpwnam(name).pw_uid for name in ("daemon", "bin")]
    relay, _ = shop(f'group "{pwd.getpwnam("daemon").pw_gid}" {{ quota = "2/1d" }}\nowner "bin" {{ quota = "1/1h" }}\n')
    for number in range(2):
        relay.wait_event("delivered", pickup=drop(relay, "shop", f"d{number}.eml", letter(), uids[0]))
    relay.wait_event("delivered", pickup=drop(relay, "shop", "b.eml", letter(), uids[1]))
    relay.kill()
    relay.start()
    for number, uid in enumerate(uids):
        name = drop(relay, "shop", f"over{number}.eml", letter(), uid)
        event = relay.wait_event("refused", pickup=name)
        assert "quota: " + ("2/1d", "1/1h")[number] + " is used up until 20" in event["reason"]
        assert relay.bad(name)[0] == letter()


def test_default_sender_and_priority(shop):
    relay, server = shop('default_sender = "robot@shop.test"\npriority = low\n')
    drop(relay, "shop", "a.eml", b"To: you@x.test\r\nSubject: s\r\n\r\nb\r\n")
    relay.wait_event("delivered", pickup="shop/a.eml")
    assert server.transactions[0].sender == "robot@shop.test"


def test_a_folder_has_its_own_next_hop_and_source_address(shop, make_server):
    other = make_server(address="127.0.0.3")
    relay, server = shop(f'route = "[127.0.0.3]:{other.port}"\nsource = "tenant"\n', changes={
        "source": {"tenant": {"addresses": ["127.0.0.9"], "helo": "tenant.test"}}})
    relay.wait_event("delivered", pickup=drop(relay, "shop", "a.eml", letter()))
    relay.send("b.eml", mail.message())
    assert len(other.transactions) == 1 and len(server.transactions) == 1
    assert other.sessions[0].peer == "127.0.0.9"
    assert server.sessions[0].peer != "127.0.0.9" and other.said("EHLO tenant.test")


def test_held_mail_waits_for_its_release_over_a_restart(shop):
    relay, server = shop("hold = true\n")
    name = drop(relay, "shop", "a.eml", letter())
    taken = relay.wait_event("taken", pickup=name)
    relay.wait_event("held", pickup=name)
    relay.send("free.eml", mail.message())
    assert len(server.transactions) == 1
    relay.kill()
    relay.start()
    relay.send("free2.eml", mail.message())
    assert len(server.transactions) == 2
    relay.run("queue", "release", taken["id"], check=0)
    relay.wait_event("delivered", pickup=name)


def test_an_archive_copy_goes_along_unseen(shop):
    relay, server = shop('archive = "archive@keep.test"\n')
    name = drop(relay, "shop", "a.eml", letter(to="you@x.test"))
    relay.wait_events("delivered", 2, pickup=name)
    assert sorted(r for t in server.transactions for r in t.recipients) == ["archive@keep.test", "you@x.test"]
    assert b"archive@keep.test" not in server.transactions[0].content


def test_receipts_are_a_folders_own_wish(shop):
    relay, _ = shop("receipts = true\n")
    relay.wait_event("done", pickup=drop(relay, "shop", "a.eml", letter()))
    receipt = json.loads((relay.root / "Receipts" / "shop" / "a.eml.json").read_text())
    assert receipt["pickup"] == "shop/a.eml" and receipt["recipients"][0]["state"] == "delivered"
    relay.send("b.eml", mail.message(), kind="done")
    assert os.listdir(relay.root / "Receipts") == ["shop"]


def test_a_rate_spaces_the_messages_of_a_folder(shop):
    relay, server = shop('rate = "1/1h"\n')
    names = [drop(relay, "shop", f"{number}.eml", letter()) for number in range(3)]
    for name in names:
        relay.wait_event("taken", pickup=name)
    due = sorted(event.get("next", "") for name in names for event in relay.events("queued", pickup=name))
    assert due[0] == "" and due[1] and due[2] > due[1]
    relay.wait_event("delivered")
    relay.send("free.eml", mail.message())
    assert len(server.transactions) == 2
    relay.kill()
    relay.start()
    relay.wait_event("taken", pickup=drop(relay, "shop", "later.eml", letter()))
    assert relay.events("queued", pickup="shop/later.eml")[0]["next"] > due[2], "the rate counts over a restart"


def test_a_window_keeps_mail_until_it_opens(shop):
    later = time.localtime(time.time() + 3 * 3600)
    hours = f"{later.tm_hour:02}:00-{later.tm_hour:02}:59"
    relay, server = shop(f'window = "{hours}"\n')
    name = drop(relay, "shop", "a.eml", letter())
    event = relay.wait_event("queued", pickup=name)
    assert f"T{time.gmtime(time.mktime(later)).tm_hour:02}:00:00" in event["next"]
    relay.send("free.eml", mail.message())
    assert len(server.transactions) == 1


def test_the_dialect_is_the_folders(shop):
    relay, server = shop("dialect = plain\n")
    text = b"From <a@x.test>\r\nTo <b@x.test>\r\n\r\nhi\r\n"
    relay.wait_event("refused", pickup=drop(relay, "shop", "raw.eml", text))
    relay.drop("raw.eml", text)
    relay.wait_event("delivered", pickup="raw.eml")


# ---- mistakes ----

MISTAKES = [
    ("sender = x@y.test\n", "folder.conf:1: sender: unknown key; did you mean senders?"),
    ("hold = true\nrate = fast\n", "folder.conf:2: rate:"),
    ('window = "Mon 25:00"\n', "days and hours were expected"),
    ('senders = "nobody"\n', "an address was expected"),
    ("senders = []\n", "would forbid everything"),
    ('owner "no-such-user" { quota = "1/1d" }\n', 'there is no user "no-such-user"'),
    ('owner "no-such-user" { }\n', 'there is no user "no-such-user"'),
    ('route { host = x }\n', "unknown section"),
    ('dkim = "nowhere.test"\n', "dkim section"), ('source = "nowhere"\n', "source section"),
    ("hold = true\nhold = false\n", "given twice"),
    ("hold = \n {", "expected"),
]


def test_a_broken_folder_conf_takes_nothing_and_says_so(shop):
    relay, server = shop("hold = false\n")
    for number, (conf, words) in enumerate(MISTAKES):
        write_conf(relay.pickup / "shop", conf)
        event = relay.wait_event("skipped", pickup="shop/folder.conf", count=number + 1)
        assert words in event["reason"], event
        check = relay.run("check", "--no-dns")
        assert check.returncode == 78 and words in check.stdout.decode(), check.stdout
    name = drop(relay, "shop", "waits.eml", letter())
    relay.send("free.eml", mail.message())
    assert (relay.pickup / name).exists() and not relay.events("taken", pickup=name)
    write_conf(relay.pickup / "shop", "hold = false\n")
    relay.wait_event("delivered", pickup=name)
    assert relay.run("check", "--no-dns").returncode == 0


@needs_root
def test_folder_conf_is_nobodys_but_who_runs_the_relay(shop):
    relay, _ = shop("hold = false\n")
    folder, conf = relay.pickup / "shop", relay.pickup / "shop" / "folder.conf"
    daemon = pwd.getpwnam("daemon").pw_uid
    spare = relay.stage / "spare"
    spare.write_text("hold = false\n")
    spare.chmod(0o644)

    def link():
        conf.unlink()
        conf.symlink_to(spare)

    def hard_link():
        conf.unlink()
        os.link(spare, conf)

    faults = [
        (lambda: os.chown(conf, daemon, -1), "must belong to root"), (lambda: conf.chmod(0o664), "others can change it"),
        (link, "no link"), (hard_link, "no hard links"), (lambda: os.chown(folder, daemon, -1), "the folder must belong"),
        (lambda: folder.chmod(0o777), "chmod +t"), (lambda: (os.chown(folder, 0, -1), folder.chmod(0o1777)), "sticky"),
    ]
    for number, (make, words) in enumerate(faults):
        make()
        name = drop(relay, "shop", f"{number}.eml", letter())
        relay.wait_event("skipped", pickup="shop/folder.conf", reason=re.compile(re.escape(words)))
        assert words in relay.run("check", "--no-dns").stdout.decode()
        assert (relay.pickup / name).exists()
        conf.unlink()
        shutil.chown(folder, USER)
        folder.chmod(0o755)
        write_conf(folder, "hold = false\n")
        relay.wait_event("delivered", pickup=name)


def test_folders_come_and_go_without_a_restart(shop):
    relay, _ = shop("hold = false\n")
    for name in ("one", "two"):
        make_folder(relay, name, "hold = false\n")
        wait_reloaded(relay, name)
        relay.wait_event("delivered", pickup=drop(relay, name, "a.eml", letter()))
    (relay.pickup / "one" / "folder.conf").unlink()
    kept = drop(relay, "one", "b.eml", letter())
    relay.wait_event("skipped", pickup="one/folder.conf")
    assert (relay.pickup / kept).exists()
    shutil.rmtree(relay.pickup / "two")
    make_folder(relay, "two", "hold = true\n")
    wait_reloaded(relay, "two", 2)
    relay.wait_event("held", pickup=drop(relay, "two", "c.eml", letter()))


def test_a_folder_without_folder_conf_is_left_alone(relay_to, make_server):
    relay = relay_to(make_server(), start=False)
    (relay.pickup / "plain").mkdir()
    (relay.pickup / "plain" / "a.eml").write_bytes(letter())
    relay.start()
    relay.send("b.eml", mail.message())
    assert (relay.pickup / "plain" / "a.eml").exists() and not (relay.pickup / "plain" / ".taken").exists()


def born_ns(path):
    text = subprocess.run(["stat", "-c", "%w", path], capture_output=True, text=True, check=True, env={"TZ": "UTC"}).stdout
    day, clock, _ = text.split()
    seconds, _, fraction = clock.partition(".")
    return calendar.timegm(time.strptime(f"{day} {seconds}", "%Y-%m-%d %H:%M:%S")) * 10**9 + int(fraction)


def test_claims_of_a_crash_are_known_in_folders_too(shop):
    """One that was committed is removed, one that wasn't is given back; also where folder.conf went meanwhile."""
    relay, server = shop("hold = false\n")
    relay.stop()
    folder = relay.pickup / "shop"
    claims = {}
    for number, name in enumerate(("committed.eml", "open.eml")):
        claims[name] = folder / ".taken" / f"{number + 1:016x}.{name}"
        claims[name].write_bytes(letter(subject=name))
        shutil.chown(claims[name], USER) if os.geteuid() == 0 else None
    known = claims["committed.eml"]
    with sqlite3.connect(relay.root / "Queue" / "queue.db") as queue:
        queue.execute("INSERT INTO origin VALUES (1, ?, ?)", (known.stat().st_ino, born_ns(known)))
    queue.close()
    (folder / "folder.conf").unlink()
    relay.start()
    assert not known.exists() and (folder / "open.eml").exists()
    write_conf(folder, "hold = false\n")
    relay.wait_event("delivered", pickup="shop/open.eml")
    assert [event["pickup"] for event in relay.events("taken")] == ["shop/open.eml"]


def test_the_rules_hold_for_lint_too(shop):
    relay, _ = shop('senders = "orders@shop.test"\n')
    file = pathlib.Path(relay.stage / "x.eml")
    file.write_bytes(letter("eve@evil.test"))
    refused = relay.run("lint", "--folder", "shop", file)
    assert refused.returncode == 65 and "folder.conf:1: senders" in refused.stdout.decode()
    assert relay.run("lint", file).returncode == 0
    assert relay.run("lint", "--folder", "nowhere", file).returncode == 78


# ---- taken once ----

def keyed(key, subject="s", **options):
    return letter(subject=subject, more=f"X-Idempotency-Key: {key}\r\n", **options)


def test_a_second_file_with_the_same_key_is_an_event(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    first = relay.send("a.eml", keyed("order-7"))
    event = relay.send("b.eml", keyed("order-7", subject="other"), kind="duplicate")
    assert event["about"] == first["id"] and event["id"] != first["id"]
    relay.send("c.eml", keyed("order-8"))
    assert len(server.transactions) == 2
    assert b"idempotency" not in server.transactions[0].content.lower(), "the key is for us alone"
    assert "duplicate" in relay.run("trace", "b.eml").stdout.decode()
    assert relay.waiting() == []


def test_a_key_is_kept_over_a_crash_and_for_its_window(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {"pickup": {"once_window": "3s"}})
    relay.send("a.eml", keyed("k"))
    relay.kill()
    relay.start()
    relay.send("b.eml", keyed("k"), kind="duplicate")
    relay._wait(lambda: relay.drop("c.eml", keyed("k")) and relay.wait_event(None, pickup="c.eml", event=lambda kind: kind in (
        "delivered", "duplicate")) and relay.events("delivered", pickup="c.eml"), "the end of the window", 30)
    assert len(server.transactions) == 2


def test_two_with_one_key_in_one_batch(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, start=False)
    for number in range(20):
        relay.drop(f"{number}.eml", keyed(f"k{number % 2}", body="x" * 200000 if number > 10 else "b\r\n"))
    relay.start()
    relay.wait_events("duplicate", 18)
    relay.wait_empty()
    assert len(server.transactions) == 2 and len(relay.events("taken")) == 2
    assert not list((relay.root / "Queue" / "body").iterdir()), "a duplicate's body is removed"


def test_message_ids_count_where_the_folder_asks(shop):
    relay, server = shop("once = message-id\n")
    text = letter(more="Message-ID: <1@shop.test>\r\n")
    first = relay.wait_event("delivered", pickup=drop(relay, "shop", "a.eml", text))
    event = relay.wait_event("duplicate", pickup=drop(relay, "shop", "b.eml", text))
    assert event["about"] == first["id"]
    other = letter(to="other@x.test", more="Message-ID: <1@shop.test>\r\n")
    relay.wait_event("delivered", pickup=drop(relay, "shop", "c.eml", other))
    for number in range(2):
        relay.send(f"top{number}.eml", text)
        relay.wait_event("delivered", pickup=drop(relay, "shop", f"none{number}.eml", letter()))
    assert len(server.transactions) == 6


def test_a_key_is_its_folders_and_can_be_turned_off(shop):
    relay, server = shop("once = off\n")
    make_folder(relay, "other", "hold = false\n")
    wait_reloaded(relay, "other")
    relay.send("a.eml", keyed("k"))
    for folder, name, kind in (("shop", "a", "delivered"), ("shop", "b", "delivered"), ("other", "a", "delivered"),
                               ("other", "b", "duplicate")):
        relay.wait_event(kind, pickup=drop(relay, folder, f"{name}.eml", keyed("k")))
    assert len(server.transactions) == 4


@needs_root
def test_a_key_is_its_owners(relay_to, make_server):
    """Else whoever guesses a key could keep another's mail from being sent."""
    relay = relay_to(make_server())
    relay.send("a.eml", keyed("k"))
    path = relay.stage / "b.eml"
    path.write_bytes(keyed("k"))
    os.chown(path, pwd.getpwnam("daemon").pw_uid, -1)
    path.rename(relay.pickup / "b.eml")
    relay.wait_event("delivered", pickup="b.eml")


def test_a_duplicate_takes_nothing_of_a_quota(shop):
    relay, _ = shop('quota = "2/1d"\n')
    for name, key, kind in (("a", "1", "delivered"), ("b", "1", "duplicate"), ("c", "2", "delivered"), ("d", "3", "refused")):
        relay.wait_event(kind, pickup=drop(relay, "shop", f"{name}.eml", keyed(key)))


def test_an_export_is_no_second_file(shop):
    relay, server = shop("once = message-id\nhold = true\n")
    name = drop(relay, "shop", "a.eml", letter(more="Message-ID: <1@shop.test>\r\n"))
    taken = relay.wait_event("held", pickup=name)
    exported = relay.run("queue", "export", taken["id"], check=0).stdout
    relay.run("queue", "remove", taken["id"], check=0)
    drop(relay, "shop", "again.eml", exported)
    relay.wait_event("taken", pickup="shop/again.eml")


def test_a_key_that_is_too_long_is_refused(relay_to, make_server):
    relay = relay_to(make_server())
    event = relay.send("a.eml", keyed("k" * 256), kind="refused")
    assert "at most 255" in event["reason"]
