"""`mailroot explain`: on one screen, what is known of a message or an address."""
import os
import shutil

import pytest

from lib import mail
from lib.ports import MX_PORT
from lib.relay import USER

REPLIES = [  # what a provider says; what it means, from share/replies.conf or the status
    ("452 4.2.2 The email account that you tried to reach is over quota.", "the recipient's mailbox is full (mailbox-full)"),
    ("451 4.7.1 Greylisted, please try again in 300 seconds", "a stranger is asked to come again later; the next attempt usually passes (greylisted)"),
    ("450 4.3.9 something of theirs", "something is wrong on their side (system)"),
]


@pytest.mark.parametrize("reply,words", REPLIES, ids=["full", "greylisted", "system"])
def test_a_reply_is_put_in_plain_words_with_what_comes_next(relay_with_names, make_server, reply, words):
    server = make_server([("RCPT", reply)])
    other = make_server()
    relay = relay_with_names({"x.test": ["MX 10 mx1.x.test.", "MX 20 mx2.x.test."], "mx1.x.test": [f"A {server.address}"],
                              "mx2.x.test": [f"A {other.address}"]},
                             {"queue": {"retry_first": "1h"}, "route": {"x.test": {"connections": 7, "rate": "10/1s"}}})
    relay.send("a.eml", mail.message(to="anna@x.test"), kind="deferred")
    text = relay.run("explain", "a.eml", check=0).stdout.decode()
    for expected in (f"said     {reply}", f"means    {words}", ", after 1 attempt\n", "limits   7 connections, 10 each 1000 ms",
                     "answers  not validated by DNSSEC, kept for ", "order    the lowest preference first, equals in turn",
                     f"   10    mx1.x.test {server.address}:{MX_PORT}", "TLS may", "deferred"):
        assert expected in text, (expected, text)
    by_address = relay.run("explain", "anna@x.test", check=0).stdout.decode()
    assert words in by_address and by_address.count("answers  ") == 1


def test_what_the_relay_has_learnt_of_a_host_is_told_with_its_cause(relay_with_names, make_server):
    server = make_server([("RCPT", "421 4.7.0 Too many messages, slow down")])
    relay = relay_with_names({"x.test": ["MX 10 mx.x.test."], "mx.x.test": [f"A {server.address}"]}, {"queue": {"retry_first": "1h"}})
    relay.send("a.eml", mail.message(to="anna@x.test"), kind="deferred")
    text = relay.run("explain", "a.eml", check=0).stdout.decode()
    assert "(throttled)" in text and "learnt   " in text and "since it said: " in text, text


def test_a_held_message_of_a_folder_says_how_it_is_let_go(relay_to, make_server):
    relay = relay_to(make_server(), start=False)
    folder = relay.pickup / "shop"
    folder.mkdir()
    (folder / "folder.conf").write_text('hold = true\nwindow = "00:00-24:00"\n')
    (folder / "folder.conf").chmod(0o644)
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
    relay.start()
    (folder / "a.eml").write_bytes(mail.message(to="anna@x.test"))
    relay.wait_event("held")
    text = relay.run("explain", "shop/a.eml", check=0).stdout.decode()
    assert "folder   shop" in text and "mailroot queue release" in text


def test_a_file_is_linted_and_nothing_known_is_said(relay_to, make_server, tmp_path):
    relay = relay_to(make_server(), start=False)
    (tmp_path / "a.eml").write_bytes(mail.message())
    assert "fine" in relay.run("explain", tmp_path / "a.eml", check=0).stdout.decode()
    assert relay.run("explain", "nobody-knows").returncode != 0
