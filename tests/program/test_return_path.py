"""Which sender a message leaves with, and where what comes back goes: masquerade, rewriting, SRS, VERP."""
import re
import subprocess

import pytest

from lib import mail
from lib.listener import Talk, listener
from lib.relay import USER

SECRET = "a secret of the forwarder"
MINUTES = {"queue": {"retry_first": "1h"}}


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "sender.secret"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    return str(file)


def pickup(sender, *recipients):
    """A pickup file with its envelope in front."""
    lines = f"X-Sender: <{sender}>\r\n" + "".join(f"X-Receiver: <{to}>\r\n" for to in recipients)
    return lines.encode() + mail.message(sender="someone@header.test", to="list@header.test")


def judge(code, *arguments):
    """What Mail::SRS says, with the same secret."""
    script = ("use Mail::SRS; my $srs = Mail::SRS->new(Secret => shift @ARGV, AlwaysRewrite => 1); "
              f"print $srs->{code}(@ARGV);")
    return subprocess.run(["perl", "-e", script, SECRET, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def envelope(server, number=-1):
    transaction = server.transactions[number]
    return transaction.sender, transaction.recipients


def test_the_masquerade_domain_stands_for_ours_in_the_envelope_alone(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "sender": {"ours": ["*.inner.test"], "masquerade_domain": "outer.test"}})
    relay.send("ours.eml", pickup("app@web1.inner.test", "user@x.test"))
    assert envelope(server) == ("app@outer.test", ["user@x.test"])
    assert mail.field(server.transactions[-1].content, "From") == "someone@header.test"
    relay.send("host.eml", pickup("root@relay.test", "user@x.test"))
    assert envelope(server)[0] == "root@outer.test"
    relay.send("other.eml", pickup("app@elsewhere.test", "user@x.test"))
    assert envelope(server)[0] == "app@elsewhere.test"


def test_rules_rewrite_senders_and_recipients_once_and_the_first_that_fits(relay_to, make_server):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "sender": {"masquerade_domain": "outer.test"}, "rewrite": {
        "senders": ["root@relay.test = admin@example.test", "@old.test = @new.test", "@new.test = @newest.test"],
        "recipients": ["boss@x.test = ceo@y.test", "@x.test = @z.test"]}})
    relay.send("a.eml", pickup("root@relay.test", "boss@x.test", "other@x.test", "kept@k.test"))
    assert envelope(server) == ("admin@example.test", ["ceo@y.test", "other@z.test", "kept@k.test"])
    relay.send("b.eml", pickup("Joe@OLD.test", "u@k.test"))
    assert envelope(server)[0] == "Joe@new.test"
    assert "rewritten" in relay.wait_event("taken", pickup="b.eml")["repairs"]


@pytest.mark.parametrize("rule", ["nobody", "a@b.test = @c.test", "@b.test = x@c.test", "a@b.test = ", "@b.test = @-"])
def test_a_rule_that_is_none_is_a_mistake_of_the_config(relay_to, make_server, rule):
    relay = relay_to(make_server(), {"rewrite": {"senders": [rule]}}, start=False)
    done = relay.run("check", "--no-dns")
    assert done.returncode and b"\"a@b = c@d\" or \"@b = @d\" was expected" in done.stdout + done.stderr


def test_a_strangers_sender_becomes_an_srs_address_that_mail_srs_leads_back(relay_to, make_server, secret):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "sender": {"srs_domain": "fwd.test", "secret_files": [secret], "ours": ["ours.test"]}})
    relay.send("fwd.eml", pickup("Someone@stranger.test", "user@x.test"))
    sender, _ = envelope(server)
    assert re.match(r"SRS0=[\w+/]{4}=[A-Z2-7]{2}=stranger\.test=Someone@fwd\.test$", sender)
    assert judge("reverse", sender) == "Someone@stranger.test"
    for address in ("app@ours.test", "root@relay.test"):
        relay.send(f"{address[:3]}.eml", pickup(address, "user@x.test"))
        assert envelope(server)[0] == address
    first = judge("forward", "u@origin.test", "first.test")  # another forwarder's, with the same secret
    relay.send("second.eml", pickup(first, "user@x.test"))
    sender, _ = envelope(server)
    assert sender.startswith("SRS1=") and judge("reverse", sender) == first
    assert relay.wait_event("delivered", pickup="fwd.eml")["to"] == "user@x.test"


def test_bounces_to_srs_addresses_go_to_whom_they_were_made_from(relay_to, make_server, secret):
    server = make_server()
    config, ports = listener(tls=False, domains=["fwd.test"], relay_networks=[])
    relay = relay_to(server, {**MINUTES, **config, "sender": {"srs_domain": "fwd.test", "secret_files": [secret]}})
    good = judge("forward", "someone@stranger.test", "fwd.test")
    second = judge("forward", judge("forward", "u@origin.test", "first.test"), "fwd.test")
    with Talk(ports["mail"]) as talk:
        assert talk.codes("EHLO me", "MAIL FROM:<>", f"RCPT TO:<{good.lower()}>", f"RCPT TO:<{second}>", "DATA") == [250] * 4 + [354]
        assert talk.say("Subject: bounce\r\n\r\nit came back\r\n.").startswith("250")
    relay.wait_events("delivered", 2)
    sender, recipients = envelope(server)
    assert sender == "" and sorted(recipients) == sorted(["someone@stranger.test", judge("reverse", second)])


def test_a_forged_srs_address_is_no_recipient(relay_to, make_server, secret):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "sender": {"srs_domain": "fwd.test", "secret_files": [secret]}})
    relay.drop("forged.eml", pickup("", "SRS0=aaaa=AA=victim.test=user@fwd.test"))
    event = relay.wait_event("refused", pickup="forged.eml")
    assert "hash is wrong" in event["reason"]
    relay.drop("half.eml", pickup("app@fwd.test", "SRS0=aaaa=AA=victim.test=user@fwd.test", "good@x.test"))
    assert relay.wait_event("delivered", pickup="half.eml")["to"] == "good@x.test"
    assert "hash is wrong" in relay.wait_event("rejected", pickup="half.eml")["reason"]


REPORT = """From: MAILER-DAEMON@x.test\r
To: <{to}>\r
Subject: failed\r
MIME-Version: 1.0\r
Content-Type: multipart/report; report-type=delivery-status; boundary=b\r
\r
--b\r
Content-Type: text/plain\r
\r
Sorry.\r
--b\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.x.test\r
\r
Final-Recipient: rfc822; joe@x.test\r
Action: failed\r
Status: {status}\r
Diagnostic-Code: smtp; {reply}\r
\r
--b--\r
"""


def test_verp_senders_tell_whom_a_bounce_is_about(relay_to, make_server, secret):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "local": {"domains": ["lists.test"]}, "suppress": {"enabled": True},
                              "sender": {"verp": ["news@lists.test"], "secret_files": [secret]}})
    relay.drop("news.eml", pickup("news@lists.test", "joe@x.test", "ann+tag@y.test"))
    relay.wait_events("delivered", 2)
    senders = {t.recipients[0]: t.sender for t in server.transactions}
    assert set(senders) == {"joe@x.test", "ann+tag@y.test"}
    assert re.match(r"news\+joe=x\.test=[A-Z2-7]{6}@lists\.test$", senders["joe@x.test"])
    assert re.match(r"news\+ann\+tag=y\.test=[A-Z2-7]{6}@lists\.test$", senders["ann+tag@y.test"])
    for name, to, status, reply, known in (("hard", "joe@x.test", "5.1.1", "550 5.1.1 User unknown", "unknown-user"),
                                           ("soft", "ann+tag@y.test", "4.2.2", "452 4.2.2 Mailbox full", "mailbox-full")):
        back = senders[to]
        relay.drop(f"{name}.eml", f"X-Sender: <>\r\nX-Receiver: <{back}>\r\n".encode()
                   + REPORT.format(to=back, status=status, reply=reply).encode())
        event = relay.wait_event("returned", to=to)
        assert (event["status"], event["class"], event["reply"]) == (status, known, reply)
    entry, = relay.run("suppress", "list", "--json", check=0, json_out=True)
    assert entry["address"] == "joe@x.test"
    assert len(list((relay.root / "Drop").glob("*.eml"))) == 2
    relay.drop("forged.eml", b"X-Sender: <>\r\nX-Receiver: <news+ann=y.test=AAAAAA@lists.test>\r\n"
               + REPORT.format(to="x", status="5.1.1", reply="550 no").encode())
    relay.wait_event("delivered", pickup="forged.eml")
    assert len(relay.events("returned")) == 2


def test_secrets_are_read_before_the_relay_becomes_its_user_and_told_nowhere(relay_to, make_server, secret):
    server = make_server()
    relay = relay_to(server, {**MINUTES, "sender": {"srs_domain": "fwd.test", "secret_files": [secret]}})
    relay.send("one.eml", pickup("a@stranger.test", "user@x.test"))
    assert SECRET not in relay.events_file.read_text() + relay.stderr_text() and USER


def test_srs_without_a_secret_is_a_mistake(relay_to, make_server):
    relay = relay_to(make_server(), {"sender": {"srs_domain": "fwd.test"}}, start=False)
    assert b"sender.srs_domain needs sender.secret_files" in relay.run("check", "--no-dns").stderr


@pytest.mark.parametrize("domains,is_warned", [(["fwd.test"], False), (["*.test"], False), (["other.test"], True), ([], True)])
def test_check_warns_of_an_srs_domain_that_no_bounce_comes_back_to(relay_to, make_server, secret, domains, is_warned):
    relay = relay_to(make_server(), {"sender": {"srs_domain": "fwd.test", "secret_files": [secret]}, "smtp": {"domains": domains}}, start=False)
    told = relay.run("check", "--no-dns", check=0).stdout
    assert (b"sender.srs_domain: warning: smtp.domains does not name fwd.test" in told) == is_warned
