"""What a server says at each step, and what must become of the message: a row each.

A row is the server's table (lib/scripted.py), and the outcome of the one recipient: event, enhanced status, stage. Where
the server says nothing special it takes everything.
"""
import re
from dataclasses import dataclass, field

import pytest

from lib import mail
from lib.scripted import CLOSE, ENDLESS_LINE, ENDLESS_REPLY, EXTENSIONS, GARBAGE, HANG, Then, Trickle

DELIVERED, DEFERRED, BOUNCED, UNKNOWN = "delivered", "deferred", "bounced", "unknown"
FAST = {"queue": {"retry_first": "1h"}, "delivery": {"timeouts": {
    "connect": "2s", "greeting": "1s", "ehlo": "1s", "mail": "1s", "rcpt": "1s", "data": "1s", "block": "1s",
    "final": "1s", "quit": "1s", "tls": "1s"}}}
ANY = re.compile("")


@dataclass
class Row:
    rule: str
    table: list
    outcome: str
    status: object = ANY
    extensions: tuple = EXTENSIONS
    wanted: dict = field(default_factory=dict)


ROWS = [
    Row("all_goes_well", [], DELIVERED, "2.0.0"),
    Row("a_server_without_extensions", [], DELIVERED, extensions=()),
    Row("greeting_of_many_lines", [("CONNECT", "220-hello\n220 there")], DELIVERED),
    Row("greeting_4xx_waits", [("CONNECT", "421 4.3.2 later")], DEFERRED, re.compile("^4")),
    Row("pitfall_24_greeting_5xx_fails_when_no_other_host_is_left", [("CONNECT", "554 5.7.1 no")], BOUNCED,
        re.compile("^5")),
    Row("greeting_that_never_comes", [("CONNECT", HANG)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("closed_at_once", [("CONNECT", CLOSE)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("garbage_as_greeting", [("CONNECT", GARBAGE)], DEFERRED, re.compile("^4")),
    Row("a_greeting_line_that_never_ends", [("CONNECT", ENDLESS_LINE)], DEFERRED, re.compile("^4")),
    Row("pitfall_26_helo_where_ehlo_is_unknown", [("EHLO", "502 5.5.1 no")], DELIVERED),
    Row("pitfall_26_no_helo_behind_a_4xx", [("EHLO", "451 4.3.0 later")], DEFERRED, re.compile("^4")),
    Row("ehlo_hangs", [("EHLO", HANG)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("ehlo_closes", [("EHLO", CLOSE)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("an_ehlo_reply_that_never_ends", [("EHLO", ENDLESS_REPLY)], DEFERRED, re.compile("^4")),
    Row("mail_4xx_waits", [("MAIL", "451 4.3.0 later")], DEFERRED, "4.3.0", wanted={"stage": "mail"}),
    Row("mail_5xx_fails", [("MAIL", "550 5.7.1 not you")], BOUNCED, "5.7.1", wanted={"stage": "mail"}),
    Row("mail_hangs", [("MAIL", HANG)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("mail_closes", [("MAIL", CLOSE)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("pitfall_24_421_at_mail", [("MAIL", Then("421 4.7.0 too many", CLOSE))], DEFERRED, "4.7.0"),
    Row("rcpt_4xx_waits", [("RCPT", "450 4.2.0 greylisted")], DEFERRED, "4.2.0", wanted={"stage": "rcpt"}),
    Row("rcpt_5xx_fails", [("RCPT", "550 5.1.1 no such user")], BOUNCED, "5.1.1",
        wanted={"code": 550, "reply": re.compile("no such user")}),
    Row("pitfall_24_552_at_rcpt_waits", [("RCPT", "552 5.2.2 too many")], DEFERRED),
    Row("rcpt_hangs", [("RCPT", HANG)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("rcpt_closes", [("RCPT", CLOSE)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("rcpt_421", [("RCPT", Then("421 4.3.2 going down", CLOSE))], DEFERRED, "4.3.2"),
    Row("a_bare_code_is_a_reply", [("RCPT", "550")], BOUNCED, "5.0.0"),
    Row("pitfall_24_enhanced_code_of_another_class_is_not_believed", [("RCPT", "550 4.1.1 hm")], BOUNCED,
        re.compile("^5")),
    Row("pitfall_24_unknown_code_goes_by_its_first_digit", [("RCPT", "599 hm")], BOUNCED, re.compile("^5")),
    Row("a_3xx_where_none_belongs_waits", [("RCPT", "354 hm")], DEFERRED),
    Row("data_4xx_waits", [("DATA", "451 4.3.0 later")], DEFERRED, "4.3.0"),
    Row("data_5xx_fails", [("DATA", "554 5.5.1 no")], BOUNCED, "5.5.1"),
    Row("data_2xx_is_no_go_ahead", [("DATA", "250 ok")], DEFERRED),
    Row("data_hangs", [("DATA", HANG)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("data_closes", [("DATA", CLOSE)], DEFERRED, re.compile(r"^4\.4\.")),
    Row("final_4xx_waits", [(r"\.$", "452 4.3.1 disk full")], DEFERRED, "4.3.1", wanted={"stage": "final"}),
    Row("final_5xx_fails", [(r"\.$", "550 5.7.1 spam")], BOUNCED, "5.7.1", wanted={"stage": "final"}),
    Row("final_421", [(r"\.$", Then("421 4.3.2 going down", CLOSE))], DEFERRED, "4.3.2"),
    Row("pitfall_23_lost_behind_the_final_dot_is_unknown", [(r"\.$", CLOSE)], UNKNOWN, re.compile("^4")),
    Row("pitfall_23_silence_behind_the_final_dot_is_unknown", [(r"\.$", HANG)], UNKNOWN, re.compile("^4")),
    Row("a_reply_that_trickles_is_waited_for", [(r"\.$", Trickle("250 ok"))], DELIVERED),
    Row("pitfall_29_quit_that_hangs_fails_nothing", [("QUIT", HANG)], DELIVERED),
    Row("pitfall_29_quit_that_closes_fails_nothing", [("QUIT", CLOSE)], DELIVERED),
    Row("starttls_is_used", [], DELIVERED, extensions=(*EXTENSIONS, "STARTTLS"), wanted={"tls": re.compile("TLSv1")}),
    Row("pitfall_39_refused_starttls_goes_on_in_the_clear", [("STARTTLS", "454 4.7.0 not now")], DELIVERED,
        extensions=(*EXTENSIONS, "STARTTLS"), wanted={"tls": None}),
    Row("chunking_is_used", [], DELIVERED, extensions=(*EXTENSIONS, "CHUNKING")),
    Row("bdat_5xx_fails", [("BDAT", "554 5.6.0 no")], BOUNCED, "5.6.0", extensions=(*EXTENSIONS, "CHUNKING")),
    Row("pitfall_28_a_message_over_the_servers_size_is_not_sent", [], BOUNCED, "5.3.4",
        extensions=("SIZE 100", "PIPELINING")),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.rule)
def test_replies(relay_to, make_server, row):
    server = make_server(row.table, extensions=row.extensions)
    relay = relay_to(server, FAST)
    relay.drop("reply.eml", mail.message())
    event = relay.wait_event(None, 25, event=re.compile("^(delivered|deferred|bounced|unknown)$"), pickup="reply.eml")
    assert event["event"] == row.outcome, event
    assert row.status.search(event["status"]) if isinstance(row.status, re.Pattern) else \
        event["status"] == row.status, event
    for key, value in row.wanted.items():
        actual = event.get(key)
        assert value.search(str(actual)) if isinstance(value, re.Pattern) else actual == value, (key, event)
    if row.outcome == DELIVERED:
        assert server.transactions[-1].recipients == ["user@example.test"]
        assert not mail.wire_problems(server.transactions[-1].wire)


def test_some_recipients_fail_and_the_others_are_delivered(relay_to, make_server):
    server = make_server([("RCPT TO:<bad", "550 5.1.1 no"), ("RCPT TO:<later", "450 4.2.0 wait")])
    relay = relay_to(server, FAST)
    relay.drop("some.eml", mail.message(to="a@x.test, bad@x.test, later@x.test, b@x.test"))
    for kind, to in [("delivered", "a@x.test"), ("bounced", "bad@x.test"), ("deferred", "later@x.test"),
                     ("delivered", "b@x.test")]:
        relay.wait_event(kind, to=to, pickup="some.eml")
    assert [t.recipients for t in server.transactions if t.sender == "app@sender.test"] == [["a@x.test", "b@x.test"]]


def test_pitfall_24_recipients_behind_a_452_go_at_once(relay_to, make_server):
    server = make_server([("RCPT TO:<c", ["452 4.5.3 too many", "250 ok"]), ("RCPT TO:<d", ["452 4.5.3 too many", "250 ok"])])
    relay = relay_to(server, FAST)
    relay.drop("many.eml", mail.message(to="a@x.test, b@x.test, c@x.test, d@x.test"))
    relay.wait_events("delivered", 4, 15, pickup="many.eml")
    assert sorted(len(t.recipients) for t in server.transactions) == [2, 2]


def test_a_failing_host_is_left_for_the_next_one_at_once(relay_with_names, make_server):
    for table in ([("MAIL", Then("421 4.3.2 later", CLOSE))], [("CONNECT", "554 no")], [("DATA", CLOSE)]):
        bad, good = make_server(table), make_server()
        relay = relay_with_names({"example.test": ["MX 10 a.test.", "MX 20 b.test."], "a.test": [f"A {bad.address}"],
                                  "b.test": [f"A {good.address}"]}, FAST)
        assert relay.send("next.eml", mail.message())["ip"].startswith(good.address)


def test_a_deferred_message_is_delivered_at_its_retry(relay_to, make_server):
    server = make_server([("RCPT", ["450 4.2.0 greylisted", "451 4.7.1 still", "250 ok"])])
    relay = relay_to(server, {"queue": {"retry_first": "100ms", "retry_second": "100ms"}})
    assert relay.send("grey.eml", mail.message())["attempt"] == 3
    relay.wait_empty()


def test_a_connection_serves_many_messages(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {"delivery": {"connections_per_site": 1}})
    for number in range(20):
        relay.drop(f"m{number}.eml", mail.message(subject=str(number)))
    relay.wait_events("delivered", 20)
    assert len(server.sessions) == 1


def test_pitfall_6_8bit_text_is_converted_for_a_hop_without_8bitmime(relay_to, make_server):
    server = make_server(extensions=("PIPELINING",))
    relay = relay_to(server)
    relay.send("eight.eml", mail.message(more="MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n",
                                         body="grüße\r\n"))
    content = server.transactions[0].content
    assert b"gr=C3=BC=C3=9Fe" in content and all(octet < 128 for octet in content)


def test_pitfall_44_dsn_parameters_go_to_a_host_that_knows_them(relay_to, make_server):
    server = make_server()
    relay = relay_to(server)
    relay.send("dsn.eml", b"X-Sender: <a@b.test> RET=HDRS ENVID=QQ314\r\n"
               b"X-Receiver: <c@d.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c@d.test\r\n"
               + mail.message(to="c@d.test"))
    transaction = server.transactions[0]
    assert "RET=HDRS" in transaction.sender_parameters and "ENVID=QQ314" in transaction.sender_parameters
    assert "NOTIFY=SUCCESS,FAILURE" in transaction.recipient_parameters[0]
    assert "ORCPT=rfc822;c@d.test" in transaction.recipient_parameters[0]


def test_pitfall_2_dots_arrive_as_they_were(relay_to, make_server):
    server = make_server()
    body = ".\r\n..\r\n.x\r\n" + "y" * 70000 + "\r\n.z\r\n"
    relay = relay_to(server, {"pickup": {"dot_stuffing": "never"}})
    relay.send("dots.eml", mail.message(body="x\r\n" + "q" * 900 + "\r\n" + ".\r\n..\r\n.x\r\nend\r\n"))
    assert mail.split(server.transactions[0].content)[1].endswith(b"\r\n.\r\n..\r\n.x\r\nend\r\n")
    assert len(body) > 64 * 1024


def test_pitfall_45_a_bounce_goes_to_the_sender_with_a_null_sender(relay_to, make_server):
    server = make_server([("RCPT TO:<bad", "550 5.1.1 no such user")])
    relay = relay_to(server)
    event = relay.send("bad.eml", mail.message(to="bad@x.test"), "bounced")
    notice = server.wait_transactions(1)[0]
    assert notice.sender == "" and notice.recipients == ["app@sender.test"]
    assert b"Final-Recipient: rfc822; bad@x.test" in notice.content
    assert b"Status: 5.1.1" in notice.content and b"no such user" in notice.content
    assert relay.events("notice", about=event["id"], note="failed")


def test_pitfall_8_a_bounce_is_never_bounced(relay_to, make_server):
    server = make_server([("RCPT", "550 5.1.1 no such user")])
    relay = relay_to(server)
    event = relay.send("null.eml", b"X-Sender: <>\r\nX-Receiver: <bad@x.test>\r\n" + mail.message(), "bounced")
    relay.wait_event("badmail", id=event["id"])
    relay.wait_event("done", id=event["id"])
    message, reason, properties = relay.bad("null.eml")
    assert b"Subject: test" in message and "no such user" in reason and properties["status"] == "5.1.1"
    assert not relay.events("notice")


def test_expired_with_the_last_real_reply(relay_to, make_server):
    server = make_server([("RCPT TO:<later", "450 4.2.0 still greylisted")])
    relay = relay_to(server, {"queue": {"retry_first": "100ms", "retry_second": "100ms", "retry_third": "100ms",
                                        "retry_subsequent": "100ms", "expire": "500ms"}})
    event = relay.send("late.eml", mail.message(to="later@x.test"), "expired")
    assert event["status"] == "5.4.7" and "greylisted" in event["reply"]
    assert b"still greylisted" in server.wait_transactions(1)[0].content


def test_a_delay_is_told_once(relay_to, make_server):
    server = make_server([("RCPT TO:<later", "450 4.2.0 wait")])
    relay = relay_to(server, {"queue": {"retry_first": "100ms", "retry_second": "100ms", "retry_third": "100ms",
                                        "retry_subsequent": "100ms", "delay_notice": "150ms", "expire": "1h"}})
    relay.drop("late.eml", mail.message(to="later@x.test"))
    relay.wait_events("deferred", 8, 15)
    assert len(relay.events("notice", note="delayed")) == 1
    assert b"Action: delayed" in server.transactions[0].content


def test_an_unknown_answer_is_held_if_the_config_says_so(relay_to, make_server):
    server = make_server([(r"\.$", CLOSE)])
    relay = relay_to(server, {"queue": {"answer_unknown": "hold"}})
    relay.send("unknown.eml", mail.message(), "unknown")
    relay.wait_event("unknown", note=re.compile("held"))
