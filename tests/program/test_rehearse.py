"""`mailroot rehearse`: the whole way up to RCPT, and nothing is sent."""
import json

import pytest

from lib import mail
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
