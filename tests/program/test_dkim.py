"""DKIM: what is signed verifies elsewhere; what is wrong with a key is said."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from lib import mail
from lib.relay import USER
from lib.verifiers import dkimpy as verdicts
from lib.watch import wait_until

DOMAIN = "sender.test"
TEXTS = [  # what is dropped; the rule
    ("a_plain_message", mail.message(sender=f"app@{DOMAIN}")),
    ("an_empty_body", f"From: app@{DOMAIN}\r\nTo: a@x.test\r\nSubject: empty\r\n\r\n".encode()),
    ("blanks_and_empty_lines_at_the_end", mail.message(sender=f"app@{DOMAIN}", body="a  b \t c \r\n\r\n \t\r\n\r\n")),
    ("line_ends_of_unix", mail.message(sender=f"app@{DOMAIN}", body="one\r\ntwo\r\n").replace(b"\r\n", b"\n")),
    ("eight_bit_text", mail.message(sender=f"app@{DOMAIN}", body="Grüße aus Köln\r\n",
                                    more="MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                         "Content-Transfer-Encoding: 8bit\r\n")),
    ("a_long_line", mail.message(sender=f"app@{DOMAIN}", body="x" * 3000 + "\r\n")),
    ("lines_that_begin_with_dots", mail.message(sender=f"app@{DOMAIN}", body=".\r\n..two\r\n.x\r\n")),
    ("a_folded_header", mail.message(sender=f"app@{DOMAIN}", more="References: <a@x>\r\n\t<b@x>\r\nX-Long: a\r\n   b\r\n")),
    ("a_subdomain_of_ours", mail.message(sender=f"app@news.{DOMAIN}")),
]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """`mailroot dkim keygen`: the files, the config's section, the records by name."""
    from lib.relay import BINARY
    folder = tmp_path_factory.mktemp("dkim")
    done = subprocess.run([BINARY, "dkim", "keygen", DOMAIN, "--selector", "s1", "--dir", folder], check=True,
                          capture_output=True, text=True)
    records = {name: "".join(re.findall(r'"([^"]*)"', rest))
               for name, rest in re.findall(r"^(\S+)\. IN TXT (.*)$", done.stdout, re.M)}
    keys = re.search(r'keys = "([^"]*)"', done.stdout)[1]
    assert len(records) == 2 and all(pathlib.Path(part.split(":")[1]).stat().st_mode & 0o77 == 0 for part in keys.split(", "))
    return {"section": {DOMAIN: {"keys": keys}}, "records": records}


@pytest.mark.parametrize("content", [row[1] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_both_signatures_verify_behind_the_wire(relay_to, make_server, keys, content):
    server = make_server()
    relay = relay_to(server, {"dkim": keys["section"]})
    relay.drop("a.eml", content)
    server.wait_transactions(1)
    arrived = server.transactions[0].content
    assert verdicts(arrived, keys["records"]) == [True, True]
    assert "dkim" in relay.wait_event("taken", pickup="a.eml")["repairs"]
    # Over-signed: one more From, or another subject, and it is broken.
    assert not any(verdicts(b"From: evil@x.test\r\n" + arrived, keys["records"]))
    assert not any(verdicts(arrived.replace(b"\r\nSubject:", b"\r\nSubject: not", 1), keys["records"]))
    assert not any(verdicts(arrived + b"more\r\n", keys["records"]))


def test_a_hop_without_8bitmime_does_not_break_it(relay_to, make_server, keys):
    server = make_server(extensions=("PIPELINING",))
    relay = relay_to(server, {"dkim": keys["section"]})
    relay.drop("a.eml", dict((row[0], row[1]) for row in TEXTS)["eight_bit_text"])
    server.wait_transactions(1)
    assert verdicts(server.transactions[0].content, keys["records"]) == [True, True]


def test_another_domain_is_not_signed_for(relay_to, make_server, keys):
    server = make_server()
    relay = relay_to(server, {"dkim": keys["section"]})
    relay.drop("a.eml", mail.message(sender="app@notsender.test"))
    server.wait_transactions(1)
    assert b"DKIM-Signature" not in server.transactions[0].content


@pytest.mark.parametrize("day,selector", [("2020-01-01", "s2"), ("2120-01-01", "s1")])
def test_a_key_signs_from_its_day_on_instead_of_the_earlier_one(relay_to, make_server, keys, tmp_path, day, selector):
    from lib.relay import BINARY
    subprocess.run([BINARY, "dkim", "keygen", DOMAIN, "--selector", "s2", "--dir", tmp_path], check=True, capture_output=True)
    newer = [f"{path.stem.split('.')[0]}:{path} from {day}" for path in sorted(tmp_path.glob("s2*.pem"))]
    assert len(newer) == 2
    server = make_server()
    relay = relay_to(server, {"dkim": {DOMAIN: {"keys": [*keys["section"][DOMAIN]["keys"].split(", "), *newer]}}})
    relay.drop("a.eml", mail.message(sender=f"a@{DOMAIN}"))
    fields = re.findall(rb"^DKIM-Signature:.*?s=([\w-]+);", server.wait_transactions(1)[0].content, re.M | re.S)
    assert len(fields) == 2 and all(field.decode().startswith(selector) for field in fields)


def test_a_bounce_from_our_domain_is_signed(relay_to, make_server, keys):
    server = make_server([("RCPT TO:<gone", "550 5.1.1 no")])
    relay = relay_to(server, {"dkim": keys["section"], "hostname": DOMAIN})
    relay.drop("a.eml", mail.message(sender="app@other.test", to="gone@x.test"))
    server.wait_transactions(1)
    assert verdicts(server.transactions[-1].content, keys["records"]) == [True, True]


def test_the_records_of_the_configs_keys_are_shown(keys, tmp_path):
    from lib.relay import BINARY
    config = tmp_path / "c.conf"
    config.write_text(f'dkim "{DOMAIN}" {{ keys = "{keys["section"][DOMAIN]["keys"]}" }}\n')
    shown = subprocess.run([BINARY, "dkim", "records", "-c", config], check=True, capture_output=True, text=True).stdout
    assert all(f"{name}. IN TXT" in shown for name in keys["records"]) and shown.count("v=DKIM1") == 2


FAULTS = [
    ("missing", lambda path: None, "No such file"),
    ("readable_by_everybody", lambda path: (path.write_text("x"), path.chmod(0o644)), "chmod o-rw"),
    ("no_key", lambda path: (path.write_text("hello"), path.chmod(0o600)), "PEM"),
    ("too_short", lambda path: subprocess.run(["openssl", "genrsa", "-out", path, "512"], check=True, capture_output=True),
     "1024"),
]


@pytest.mark.parametrize("make,word", [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_check_names_what_is_wrong_with_a_key(tmp_path, make, word):
    from lib.relay import BINARY
    path = tmp_path / "key.pem"
    make(path)
    config = tmp_path / "c.conf"
    config.write_text(f'root = "{tmp_path}"\nhostname = "a.test"\ndkim "x.test" {{ keys = "s1:{path}" }}\n')
    done = subprocess.run([BINARY, "check", "--no-dns", "-c", config], capture_output=True, text=True, check=False)
    assert done.returncode == 78 and word in done.stdout and str(path) in done.stdout, done.stdout


def test_check_compares_keys_with_dns(make_relay, make_names, keys):
    name = f"s1-rsa._domainkey.{DOMAIN}"
    text = keys["records"][name]
    names = make_names({name: [f'TXT "{text[:200]}" "{text[200:]}"']})
    relay = make_relay({"dns": {"servers": [names.address]}, "dkim": keys["section"]}, start=False)
    text = relay.run("check").stdout.decode()
    assert f"s1-ed._domainkey.{DOMAIN}: warning" in text and "s1-rsa._domainkey" not in text


def test_many_are_signed_at_once_and_stay_in_order(relay_to, make_server, keys):
    """Threads sign beside each other: each message gets its own signatures, one that is none its reason; files of a folder are
    under way while its folder.conf changes."""
    server = make_server()
    relay = relay_to(server, {"dkim": keys["section"]}, start=False)
    shop = relay.pickup / "shop"
    shop.mkdir()
    if os.geteuid() == 0:
        shutil.chown(shop, USER)

    def policy(version):
        new = shop / ".new"
        new.write_text(f"# {version}\ndkim = \"{DOMAIN}\"\nsenders = \"@other{version % 2}.test, @shop.test\"\n")
        new.chmod(0o644)
        new.rename(shop / "folder.conf")

    policy(0)
    count = 300
    for number in range(count):
        relay.drop(f"m{number}.eml", mail.message(sender=f"app@{DOMAIN}", to=f"u{number}@x.test", body=f"body {number}\r\n" * (1 + number % 50)))
        relay.drop(f"shop/s{number}.eml", b"X-Sender: <a@shop.test>\r\n" + mail.message(sender="a@shop.test", to=f"s{number}@x.test"))
        if number % 50 == 0:
            relay.drop(f"bad{number}.eml", b"no header at all")
    relay.start(wait=False)
    for version in range(1, 30):
        policy(version)
        wait_until(lambda seen=version: len(server.transactions) > seen * 10, 30, what="mail going on")
    arrived = server.wait_transactions(2 * count, 60)
    taken = relay.wait_events("taken", 2 * count)
    assert sorted(event["pickup"] for event in taken) == sorted([f"m{n}.eml" for n in range(count)] + [f"shop/s{n}.eml" for n in range(count)])
    assert [event["id"] for event in taken] == sorted(event["id"] for event in taken)
    assert all("dkim" in event["repairs"] for event in taken)
    assert len(relay.events("refused")) == count // 50
    for each in arrived[::15]:
        assert verdicts(each.content, keys["records"]) == [True, True]
    own = [each for each in arrived if each.recipients[0].startswith("u")]
    assert all(f"body {each.recipients[0][1:].split('@')[0]}\r\n".encode() in each.content for each in own)
