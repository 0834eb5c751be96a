"""`mailroot rehearse`: the whole way up to RCPT, and nothing is sent."""
import json
import os
import re
import shutil
import subprocess

import pytest

from lib import mail
from lib.relay import BINARY, USER, merge
from lib.scripted import EXTENSIONS

ACCEPTED, REFUSED, DEFERRED = "accepted", "refused", "deferred"
ROWS = [  # what the server says; the verdict and the exit code
    ("a_recipient_is_accepted", [], EXTENSIONS, ACCEPTED, 0),
    ("over_tls_where_it_is_offered", [], (*EXTENSIONS, "STARTTLS"), ACCEPTED, 0),
    ("without_pipelining", [], ("8BITMIME",), ACCEPTED, 0),
    ("chunking_is_not_begun", [], (*EXTENSIONS, "CHUNKING"), ACCEPTED, 0),
    ("an_unknown_recipient_is_refused", [("RCPT", "550 5.1.1 no such user")], EXTENSIONS, REFUSED, 69),
    ("a_greylisted_one_is_deferred", [("RCPT", "451 4.7.1 come back")], EXTENSIONS, DEFERRED, 75),
    ("the_sender_is_refused", [("MAIL", "550 5.7.1 not you")], EXTENSIONS, REFUSED, 69),
    ("the_message_is_too_large", [], ("SIZE 100", "PIPELINING"), REFUSED, 69),
]


@pytest.mark.parametrize("table,extensions,verdict,code", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_rehearse(relay_to, make_server, tmp_path, table, extensions, verdict, code):
    server = make_server(table, extensions=extensions)
    relay = relay_to(server, start=False)
    (tmp_path / "a.eml").write_bytes(mail.message(to="anna@x.test"))
    found = json.loads(relay.run("rehearse", tmp_path / "a.eml", "--json", check=code).stdout)
    assert found["verdict"] == verdict and found["recipients"][0]["recipient"] == "anna@x.test"
    assert not server.said("^(DATA|BDAT)") and not server.transactions
    assert not relay.waiting() and not list(relay.root.glob("Queue/*")) and not list(relay.badmail.glob("*"))


def test_each_recipient_has_its_verdict_and_the_worst_is_the_file_s(relay_to, make_server, tmp_path):
    server = make_server([("RCPT TO:<bad", "550 5.1.1 no"), ("RCPT TO:<later", "450 4.2.0 wait")])
    relay = relay_to(server, start=False)
    (tmp_path / "a.eml").write_bytes(mail.message(to="a@x.test, bad@x.test, later@y.test"))
    found = json.loads(relay.run("rehearse", tmp_path / "a.eml", "--json", check=69).stdout)
    assert {each["recipient"]: each["verdict"] for each in found["recipients"]} == {
        "a@x.test": ACCEPTED, "bad@x.test": REFUSED, "later@y.test": DEFERRED}
    assert found["verdict"] == REFUSED


def test_a_file_that_intake_would_refuse_is_told_with_the_line(relay_to, make_server, tmp_path):
    server = make_server()
    relay = relay_to(server, start=False)
    (tmp_path / "bad.eml").write_bytes(b"Subject: nobody\r\n\r\nx\r\n")
    done = relay.run("rehearse", tmp_path / "bad.eml", check=65)
    assert b"refused at intake" in done.stdout and b"recipient" in done.stdout
    assert not server.commands


def test_a_host_that_cannot_be_reached_is_deferred(make_relay, tmp_path):
    relay = make_relay({"route": {"*": {"hosts": ["[127.0.0.1]:1"]}}}, start=False)
    (tmp_path / "a.eml").write_bytes(mail.message())
    found = json.loads(relay.run("rehearse", tmp_path / "a.eml", "--json", check=75).stdout)
    assert found["verdict"] == DEFERRED and "connection" in found["recipients"][0]["reason"]


def test_mail_for_a_local_folder_is_not_written(make_relay, tmp_path):
    relay = make_relay({"local": {"domains": ["here.test"]}}, start=False)
    (tmp_path / "a.eml").write_bytes(mail.message(to="me@here.test"))
    done = relay.run("rehearse", tmp_path / "a.eml", check=0)
    assert b"accepted" in done.stdout and not list(relay.root.glob("Drop/**/*.eml"))


# ---- how the message fits its receiver ----

def rehearse(relay, tmp_path, content, code=0, *options):
    (tmp_path / "a.eml").write_bytes(content)
    return json.loads(relay.run("rehearse", tmp_path / "a.eml", "--json", *options, check=code).stdout)


def test_what_the_receiver_offers_is_compared_with_what_the_message_needs(relay_to, make_server, tmp_path):
    umlauts = mail.message(to="anna@x.test", body="Grüße\r\n", more="MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                           "Content-Transfer-Encoding: 8bit\r\n")
    plenty = make_server(extensions=("SIZE 1000000", "8BITMIME", "SMTPUTF8", "PIPELINING"))
    found = rehearse(relay_to(plenty, start=False), tmp_path, umlauts)["recipients"][0]
    assert set(found["offers"]) == {"size=1000000", "8bitmime", "smtputf8"}
    assert found["fit"] == ["size fits: it takes 1000000 octets", "8-bit text goes as it is"]
    bare = make_server(extensions=("PIPELINING",))
    found = rehearse(relay_to(bare, start=False), tmp_path, umlauts)["recipients"][0]
    assert found["fit"] == ["it names no limit of size", "no 8BITMIME: 8-bit text is converted"]
    small = make_server(extensions=("SIZE 100", "PIPELINING"))
    found = rehearse(relay_to(small, start=False), tmp_path, umlauts, 69)["recipients"][0]
    assert "too large: it takes 100 octets" in found["fit"]
    utf8 = mail.message(to="grüße@x.test")
    found = rehearse(relay_to(bare, start=False), tmp_path, utf8, 69)["recipients"][0]
    assert "no SMTPUTF8: it can't be sent there" in found["fit"]


# ---- what the receiver finds out about the sender ----

def sender_zone(tmp_path, **changes):
    """(records, the config's dkim section): a sender whose papers are in order, but for the changes."""
    (tmp_path / "keys").mkdir(exist_ok=True)
    done = subprocess.run([BINARY, "dkim", "keygen", "sender.test", "--selector", "s1", "--dir", tmp_path / "keys"], check=True,
                          capture_output=True, text=True)
    records = {
        "relay.test": ["A 192.0.2.7"], "7.2.0.192.in-addr.arpa": ["PTR relay.test."],
        "sender.test": ['TXT "v=spf1 ip4:192.0.2.7 -all"'], "_dmarc.sender.test": ['TXT "v=DMARC1; p=reject"'],
        "x.test": ["MX 10 mx.x.test."],
    }
    for name, rest in re.findall(r"^(\S+)\. IN TXT (.*)$", done.stdout, re.M):
        records[name] = [f"TXT {rest}"]
    records.update(changes)
    return ({name: answers for name, answers in records.items() if answers},
            {"sender.test": {"keys": re.search(r'keys = "([^"]*)"', done.stdout)[1]}})


def judged(relay_with_names, make_server, tmp_path, content=None, signed=True, config=None, **changes):
    server = make_server()
    records, section = sender_zone(tmp_path, **changes)
    records["mx.x.test"] = [f"A {server.address}"]
    relay = relay_with_names(records, merge({"dkim": section} if signed else {}, config or {}), start=False)
    return rehearse(relay, tmp_path, content or mail.message(sender="app@sender.test", to="anna@x.test"))["sender"], relay


def test_a_sender_whose_papers_are_in_order(relay_with_names, make_server, tmp_path):
    sender, relay = judged(relay_with_names, make_server, tmp_path)
    assert sender["verdict"] == "good" and sender["from"] == "sender.test" and sender["words"] == []
    found = sender["addresses"][0]
    assert (found["ip"], found["ptr"], found["spf"], found["dmarc"]) == ("192.0.2.7", "pass", "pass", "pass")
    assert [each["result"] for each in found["dkim"]] == ["pass", "pass"]
    words = relay.run("rehearse", tmp_path / "a.eml", check=0).stdout.decode()
    assert "sender    good" in words and "from 192.0.2.7: PTR pass, SPF pass, DKIM pass (sender.test)" in words


FAULTS = [  # what is changed in DNS or the config; the verdict; what the words say
    ({"sender.test": ['TXT "v=spf1 ip4:192.0.2.8 -all"']}, {}, "good", "SPF of sender.test says fail"),
    ({"sender.test": ['TXT "v=spf1 ip4:192.0.2.8 -all"']}, {"signed": False}, "bad", "DMARC fail: sender.test asks for reject"),
    ({"sender.test": None}, {"signed": False}, "bad", "it is not signed"),
    ({"7.2.0.192.in-addr.arpa": None}, {}, "weak", "no PTR that leads back to it"),
    ({"7.2.0.192.in-addr.arpa": ["PTR other.test."], "other.test": ["A 192.0.2.7"]}, {}, "good", "its PTR names other.test, HELO says"),
    ({"_dmarc.sender.test": None}, {}, "good", "has no DMARC record"),
    ({"s1-rsa._domainkey.sender.test": None}, {}, "good", "look at s1-rsa._domainkey.sender.test"),
    ({"relay.test": None}, {}, "unknown", "not known which address"),
]


@pytest.mark.parametrize("changes,options,verdict,words", FAULTS, ids=[row[3].replace(" ", "_") for row in FAULTS])
def test_what_a_receiver_will_hold_against_the_sender_is_said(relay_with_names, make_server, tmp_path, changes, options, verdict, words):
    sender, _ = judged(relay_with_names, make_server, tmp_path, **options, **changes)
    assert sender["verdict"] == verdict, sender
    assert any(words in word for word in sender["words"]), sender


def test_another_s_name_in_from_fails(relay_with_names, make_server, tmp_path):
    content = b"X-Sender: <app@sender.test>\r\n" + mail.message(sender="ceo@bank.test", to="anna@x.test")
    sender, _ = judged(relay_with_names, make_server, tmp_path, content, **{"_dmarc.bank.test": ['TXT "v=DMARC1; p=reject"']})
    assert sender["verdict"] == "bad" and sender["from"] == "bank.test"


# ---- the folder ----

def test_a_file_in_the_rehearse_folder_gets_a_verdict_beside_it(relay_to, make_server):
    server = make_server([("RCPT TO:<bad", "550 5.1.1 no such user")], extensions=("SIZE 1000000", "PIPELINING"))
    relay = relay_to(server, start=False)
    folder = relay.pickup / ".rehearse"
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    folder.chmod(0o1733)
    (folder / "before.eml").write_bytes(mail.message(to="a@x.test"))
    (folder / ".rehearse-old").mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder / ".rehearse-old", USER)
    relay.start()

    def verdict(name):
        path = folder / f"{name}.verdict.json"
        relay._wait(path.exists, f"the verdict of {name}", 30)
        assert path.stat().st_mode & 0o777 == 0o644
        return json.loads(path.read_text())
    assert verdict("before.eml")["verdict"] == ACCEPTED
    (folder / "bad.eml").write_bytes(mail.message(to="a@x.test, bad@x.test"))
    assert verdict("bad.eml")["verdict"] == REFUSED
    assert "nothing is sent" in (folder / "bad.eml.verdict.txt").read_text()
    secret = relay.base / "secret"
    secret.write_bytes(mail.message(to="canary@x.test"))
    os.symlink(secret, folder / "link.eml")
    os.link(secret, folder / "hard.eml")
    (folder / "none.eml").write_bytes(b"Subject: nobody\r\n\r\nx\r\n")
    assert verdict("none.eml")["verdict"] == "refused at intake"
    assert not (folder / "link.eml.verdict.json").exists() and not (folder / "hard.eml.verdict.json").exists()
    assert not server.transactions and not server.said("^(DATA|BDAT)") and not relay.events("taken")
    (folder / "bad.eml.verdict.json").unlink()
    (folder / "bad.eml").write_bytes(mail.message(to="a@x.test"))
    assert verdict("bad.eml")["verdict"] == ACCEPTED, "written anew, rehearsed anew"
    assert not [path for path in folder.iterdir() if path.name.startswith(".rehearse-")]
