"""Points of the relays' check-list that are about what goes over the wire, each named by its number."""
import re

import pytest

from lib import mail
from lib.names import answer
from lib.ports import MX_PORT

ENVELOPE = b"X-Sender: <app@sender.test>\r\nX-Receiver: <user@example.test>\r\n"


def through(relay_to, make_server, content, **options):
    """The transaction that a file makes."""
    server = make_server(**options)
    relay = relay_to(server)
    relay.send("p.eml", content)
    return server.transactions[0]


def test_pitfall_4_a_hundred_recipients_go_at_once_and_lengths_are_kept(relay_to, make_server):
    to = ", ".join(f"{'x' * 60}{n:04}@example.test" for n in range(100))
    assert len(through(relay_to, make_server, mail.message(to=to)).recipients) == 100


def test_pitfall_4_an_over_long_local_part_is_rejected(relay_to, make_server):
    relay = relay_to(make_server())
    relay.drop("long.eml", mail.message(to="x" * 65 + "@example.test"))
    assert "64" in relay.wait_event("refused", pickup="long.eml")["reason"]


ENDS = [
    ("no_line_end_at_the_end", b"From: a@b.test\nTo: c@d.test\n\nhi", b"hi\r\n"),
    ("mbox_line", b"From a@b.test Mon Jan  1 00:00:00 2026\nFrom: a@b.test\nTo: c@d.test\n\nhi\n", b"hi\r\n"),
    ("byte_order_mark", b"\xef\xbb\xbfFrom: a@b.test\nTo: c@d.test\n\nhi\n", b"hi\r\n"),
    ("no_blank_line", b"From: a@b.test\nTo: c@d.test\nhi there\n", b"hi there\r\n"),
    ("bare_cr_and_lf", b"From: a@b.test\nTo: c@d.test\n\none\rtwo\nthree\r\n", b"one\r\ntwo\r\nthree\r\n"),
]


@pytest.mark.parametrize("rule,content,body", ENDS, ids=[row[0] for row in ENDS])
def test_pitfall_5_and_1(relay_to, make_server, rule, content, body):
    transaction = through(relay_to, make_server, content)
    header, got = mail.split(transaction.content)
    assert got == body and not mail.wire_problems(transaction.wire)
    assert b"from" in dict(header) and not transaction.content.startswith(b"From ")


def test_pitfall_7_a_declared_encoding_that_lies_goes_by_content(relay_to, make_server):
    content = mail.message(more="MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n", body="grüße\r\n")
    assert "BODY=8BITMIME" in through(relay_to, make_server, content).sender_parameters


LOCALS = [('"a b"@x.test', '"a b"@x.test'), ('"abc"@x.test', "abc@x.test"), ('"a@b"@x.test', '"a@b"@x.test'),
          ("Case.Kept@X.Test", "Case.Kept@x.test"), ("<@relay.test,@b.test:u@c.test>", "u@c.test"),
          ("u%d@c.test", "u%d@c.test")]


@pytest.mark.parametrize("written,wire", LOCALS)
def test_pitfall_9_local_parts_are_opaque(relay_to, make_server, written, wire):
    assert through(relay_to, make_server, mail.message(to=written)).recipients == [wire]


def test_pitfall_12_bcc_is_found_everywhere_and_shown_nowhere(relay_to, make_server):
    content = mail.message(to=None, more="Bcc: a@x.test\r\nBcc: b@x.test,\r\n c@x.test\r\n")
    transaction = through(relay_to, make_server, content)
    assert sorted(transaction.recipients) == ["a@x.test", "b@x.test", "c@x.test"]
    assert not re.search(rb"(?i)bcc|[abc]@x\.test", transaction.content)
    assert mail.field(transaction.content, "To") == "undisclosed-recipients:;"


def test_pitfall_14_and_15_what_is_there_stays_and_what_is_missing_is_added(relay_to, make_server):
    kept = through(relay_to, make_server, mail.message(
        more="Message-ID:  <odd id@here>  \r\nDate: Mon, 1 Jan 26 00:00 EST\r\nReply-To: r@x.test\r\n")).content
    assert b"Message-ID:  <odd id@here>  \r\n" in kept and b"Date: Mon, 1 Jan 26 00:00 EST\r\n" in kept
    added = through(relay_to, make_server, ENVELOPE + b"Subject: x\r\n\r\nhi\r\n").content
    assert re.search(rb"\r\nDate: \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n", added)
    assert re.search(rb"\r\nMessage-ID: <[0-9a-f]+@relay\.test>\r\n", added, re.I)
    assert mail.field(added, "From") == "app@sender.test" or "app@sender.test" in mail.field(added, "From")


def test_pitfall_16_return_path_goes_and_received_comes_in_front(relay_to, make_server):
    content = through(relay_to, make_server, b"Return-Path: <x@y.test>\r\nReceived: from a by b; then\r\n" + mail.message()).content
    assert b"Return-Path" not in content and content.startswith(b"Received: ")
    first = mail.field(content, "Received")
    assert "p.eml" in first and "relay.test" in first and content.count(b"Received: ") == 2


def test_pitfall_17_a_header_line_over_998_octets_is_refolded(relay_to, make_server):
    content = mail.message(more="X-Long: " + "word " * 400 + "\r\n")
    transaction = through(relay_to, make_server, content)
    assert not mail.wire_problems(transaction.wire)
    assert re.sub(r"\s+", " ", mail.field(transaction.content, "X-Long")).split() == ["word"] * 400
    assert not re.search(rb"\r\n[ \t]+\r\n", transaction.content)


def test_pitfall_18_words_are_short_and_whole(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    relay.run("send", "-f", "a@b.test", "-s", "日本語" * 60, "c@d.test", input=b"x", check=0)
    words = re.findall(rb"=\?utf-8\?B\?([^?]*)\?=", server.wait_transactions(1)[0].content)
    import base64
    assert len(words) > 5
    assert "".join(base64.b64decode(word).decode() for word in words) == "日本語" * 60
    assert all(len(word) + 12 <= 75 for word in words)


def test_pitfall_25_no_recipient_taken_but_354_comes(relay_to, make_server):
    server = make_server([("RCPT TO:<bad", "550 5.1.1 no")])
    relay = relay_to(server)
    relay.send("none.eml", mail.message(to="bad@x.test"), "bounced")
    relay.send("next.eml", mail.message(to="good@x.test"))
    assert not any(b"Subject: test" in t.content and "bad@x.test" in t.recipients for t in server.transactions)


def test_pitfall_25_no_pipelining_unless_offered(relay_to, make_server):
    transaction = through(relay_to, make_server, mail.message(), extensions=("8BITMIME",))
    assert transaction.recipients == ["user@example.test"]


def test_pitfall_30_the_same_recipient_counts_once(relay_to, make_server):
    transaction = through(relay_to, make_server, mail.message(to="a@x.test, A <a@x.test>, a@X.TEST", more="Cc: a@x.test\r\n"))
    assert transaction.recipients == ["a@x.test"]


def test_pitfall_36_one_look_up_for_many_messages(make_relay, make_server, make_scripted_names):
    server = make_server()

    def names(name, kind, query, is_tcp):
        if kind == "MX" and name == "many.test":
            return answer(query, "many.test. MX 10 mx.many.test.")
        if kind == "A" and name == "mx.many.test":
            return answer(query, f"mx.many.test. A {server.address}")
        return answer(query)
    scripted = make_scripted_names(names)
    relay = make_relay({"dns": {"servers": [scripted.address]}, "delivery": {"port": MX_PORT}})
    for number in range(30):
        relay.drop(f"m{number}.eml", mail.message(to=f"u{number}@many.test"))
    relay.wait_events("delivered", 30)
    assert len([name for name, kind, _ in scripted.asked if kind == "MX"]) == 1
