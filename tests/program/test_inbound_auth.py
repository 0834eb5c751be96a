"""What the listener finds out about mail from strangers: SPF, DKIM, DMARC, ARC, reverse DNS, against real zones."""
import re
import subprocess
import threading

import authres
import dkim
import dns.rcode
import pytest
import spf

from lib import mail, verifiers
from lib.listener import FRIEND, STRANGER, Talk, listener
from lib.names import NameServer, answer
from lib.relay import BINARY, HOST, merge

ALL = {"iprev": "record", "spf": "record", "dkim": "record", "dmarc": "record", "arc": "record"}
ZONE = {
    "good.test": ['TXT "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"'],
    "_dmarc.good.test": ['TXT "v=DMARC1; p=reject"'],
    "soft.test": ['TXT "v=spf1 ~all"'], "_dmarc.soft.test": ['TXT "v=DMARC1; p=quarantine; pct=0"'],
    "10.2.0.192.in-addr.arpa": ["PTR mail.good.test."], "mail.good.test": ["A 192.0.2.10", "MX 10 mail.good.test."],
    "11.2.0.192.in-addr.arpa": ["PTR liar.good.test."], "liar.good.test": ["A 192.0.2.99"],
    "a.test": ['TXT "v=spf1 a:mail.good.test -all"'], "mx.test": ['TXT "v=spf1 mx:mail.good.test -all"'],
    "inc.test": ['TXT "v=spf1 include:good.test ?all"'], "red.test": ['TXT "v=spf1 redirect=good.test"'],
    "bad.test": ['TXT "v=spf1 ip4:999.1.1.1 -all"'], "two.test": ['TXT "v=spf1 -all"', 'TXT "v=spf1 +all"'],
    "loop.test": ['TXT "v=spf1 include:loop.test -all"'], "ptr.test": ['TXT "v=spf1 ptr:good.test -all"'],
    "exists.test": ['TXT "v=spf1 exists:%{ir}.%{l1r-}.ex.test -all"'], "10.2.0.192.user.ex.test": ["A 127.0.0.2"],
    "long.test": ['TXT "v=spf1 ip4:192.0.2.1 " "ip4:192.0.2.10 -all"'], "helo.good.test": ['TXT "v=spf1 a:mail.good.test -all"'],
    "void.test": ['TXT "v=spf1 a:v1.test a:v2.test a:v3.test a:mail.good.test -all"'],
    "p.test": ['TXT "v=spf1 exists:%{p}.px.test -all"'], "mail.good.test.px.test": ["A 127.0.0.2"],
    "broken2.test": ['TXT "v=spf1 a:x.broken.test +all"'],
}


def quoted(text):
    return "TXT " + " ".join(f'"{part}"' for part in re.findall(".{1,200}", text))


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    """(sign, {name: record}): signs for good.test with python3-dkim."""
    folder = tmp_path_factory.mktemp("signer")
    done = subprocess.run([BINARY, "dkim", "keygen", "good.test", "--selector", "s1", "--dir", folder], check=True,
                          capture_output=True, text=True)
    records = {name: "".join(re.findall(r'"([^"]*)"', rest))
               for name, rest in re.findall(r"^(\S+)\. IN TXT (.*)$", done.stdout, re.M)}
    path = next(folder.glob("*rsa*.pem"))

    def sign(content, domain=b"good.test", **options):
        return dkim.sign(content, b"s1-rsa", domain, path.read_bytes(), include_headers=[b"from", b"subject"], **options) + content
    sign.path = path
    return sign, records


@pytest.fixture(scope="module")
def names(signer):
    server = NameServer({**ZONE, **{name: [quoted(text)] for name, text in signer[1].items()}}, broken=["broken.test"])
    yield server
    server.close()


@pytest.fixture
def inbound(relay_to, make_aio, names):
    """(relay, port, sink) of a listener with these checks; the stranger may speak as any client by XCLIENT."""
    def create(checks=ALL, servers=None, dkim=None, **changes):
        sink = make_aio()
        settings, ports = listener(checks=checks, xclient=[STRANGER], **changes)
        config = merge(settings, {"dns": {"servers": [servers or names.address]}, **({"dkim": dkim} if dkim else {})})
        return relay_to(sink, config), ports["mail"], sink
    return create


def send(port, content, client="192.0.2.10", sender="user@good.test", helo="helo.good.test", source=STRANGER):
    """The reply to the final dot."""
    with Talk(port, source) as talk:
        address = client if "." in client else f"IPv6:{client}"
        assert talk.codes("EHLO x") == [250]
        if client:
            assert (talk.say(f"XCLIENT ADDR={address}") or "")[:3] == "220"
        assert talk.codes(f"EHLO {helo}", f"MAIL FROM:<{sender}>", "RCPT TO:<user@ours.test>", "DATA") == [250, 250, 250, 354]
        return talk.say(mail.canonical(content).replace(b"\r\n.", b"\r\n..") + b".")


def results(content):
    """{method: (result, {property: value})} of our field, which stands on top of what the listener put there."""
    fields = [(name, raw) for name, raw in mail.fields(content) if name == b"authentication-results"]
    assert fields, content[:1000]
    parsed = authres.AuthenticationResultsHeader.parse(" ".join(fields[0][1].decode().split()))
    assert parsed.authserv_id == HOST
    found = {}
    for one in parsed.results:
        found.setdefault(one.method, []).append((one.result, {f"{p.type}.{p.name}": p.value for p in one.properties}))
    return found


def checked(inbound_relay, content, **options):
    """The results of a message that is taken."""
    _, port, sink = inbound_relay
    count = len(sink.envelopes)
    assert (send(port, content, **options) or "")[:3] == "250"
    return results(sink.wait(count + 1)[-1].original_content)


def verdicts(found):
    return {method: [result for result, _ in rows] for method, rows in found.items()}


PLAIN = b"From: user@good.test\r\nTo: user@ours.test\r\nSubject: hi\r\n\r\nhello\r\n"


def test_a_message_that_is_all_it_claims(inbound, signer):
    found = checked(inbound(), signer[0](PLAIN))
    assert verdicts(found) == {"iprev": ["pass"], "spf": ["pass"], "dkim": ["pass"], "dmarc": ["pass"], "arc": ["none"]}
    assert found["spf"][0][1] == {"smtp.mailfrom": "user@good.test"}
    assert found["dkim"][0][1]["header.d"] == "good.test" and found["dkim"][0][1]["header.s"] == "s1-rsa"
    assert found["dmarc"][0][1] == {"header.from": "good.test"}


def test_a_message_that_is_not(inbound, signer):
    found = checked(inbound(), signer[0](PLAIN).replace(b"hello", b"other"), client="198.51.100.1")
    assert verdicts(found) == {"iprev": ["permerror"], "spf": ["fail"], "dkim": ["fail"], "dmarc": ["fail"], "arc": ["none"]}


@pytest.mark.parametrize("checks,sender,client,code", [
    ({"spf": "record", "dmarc": "record"}, "user@good.test", "198.51.100.1", "250"),
    ({"spf": "enforce"}, "user@good.test", "198.51.100.1", "550"),
    ({"spf": "enforce"}, "user@good.test", "192.0.2.10", "250"),
    ({"spf": "enforce"}, "user@soft.test", "192.0.2.10", "250"),
    ({"spf": "enforce"}, "user@broken.test", "192.0.2.10", "250"),
    ({"dmarc": "enforce"}, "user@elsewhere.test", "198.51.100.1", "550"),
    ({"dmarc": "enforce"}, "user@good.test", "192.0.2.10", "250"),
], ids=lambda value: value if isinstance(value, str) else "-".join(value.values()))
def test_enforced_policies_refuse(inbound, checks, sender, client, code):
    relay, port, sink = inbound(checks)
    reply = send(port, PLAIN, client=client, sender=sender)
    assert reply.startswith(code), reply
    if code == "550":
        assert re.match(r"550 5\.7\.(1|23) (SPF|DMARC): ", reply)
        assert not relay.events("taken") and not list(relay.pickup.glob("*.eml"))
        relay.wait_event("denied", code=550, stage="data", **{"from": sender})


SPF_ROWS = [
    ("192.0.2.10", "user@good.test"), ("2001:db8::1", "user@good.test"), ("198.51.100.1", "user@good.test"),
    ("192.0.2.10", "user@soft.test"), ("192.0.2.10", "user@missing.test"), ("192.0.2.10", "user@a.test"),
    ("192.0.2.11", "user@a.test"), ("192.0.2.10", "user@mx.test"), ("192.0.2.10", "user@inc.test"), ("198.51.100.1", "user@inc.test"),
    ("192.0.2.10", "user@red.test"), ("192.0.2.10", "user@bad.test"), ("192.0.2.10", "user@two.test"),
    ("192.0.2.10", "user@loop.test"), ("192.0.2.10", "user@ptr.test"), ("192.0.2.11", "user@ptr.test"),
    ("192.0.2.10", "user@exists.test"), ("192.0.2.10", "other@exists.test"), ("192.0.2.10", "user@long.test"),
    ("192.0.2.10", ""), ("198.51.100.1", ""), ("192.0.2.10", "user@void.test"), ("192.0.2.10", "user@p.test"),
    ("192.0.2.10", "user@broken2.test"), ("192.0.2.10", "user@x.broken.test"),
]


def test_spf_agrees_with_pyspf(inbound, names, monkeypatch):
    relay = inbound({"spf": "record"})
    monkeypatch.setattr(dns.resolver, "default_resolver", dns.resolver.Resolver(configure=False))
    resolver = dns.resolver.default_resolver
    resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], names.port, 3
    for client, sender in SPF_ROWS:
        ours = checked(relay, PLAIN, client=client, sender=sender)["spf"][0][0]
        theirs = spf.check2(i=client, s=sender, h="helo.good.test")[0]
        assert ours == theirs, (client, sender, ours, theirs)


def test_claims_to_be_ours_are_taken_out_and_others_stay(inbound):
    relay = inbound()
    forged = (f"Authentication-Results: {HOST};\r\n\tdmarc=pass header.from=good.test\r\n"
              f"authentication-results: (x) {HOST.upper()} 1; spf=pass\r\n"
              "Authentication-Results: other.test; spf=pass smtp.mailfrom=x@y.test\r\n").encode()
    found = checked(relay, forged + PLAIN, client="198.51.100.1")
    assert verdicts(found)["dmarc"] == ["fail"]
    fields = [raw for name, raw in mail.fields(relay[2].envelopes[-1].original_content) if name == b"authentication-results"]
    assert len(fields) == 2 and b"other.test" in fields[1]


def test_friends_are_not_checked_unless_asked(inbound):
    relay, port, sink = inbound()
    assert send(port, PLAIN, client="", source=FRIEND).startswith("250")
    assert b"Authentication-Results" not in sink.wait(1)[0].original_content
    relay, port, sink = inbound({**ALL, "everybody": True})
    assert send(port, PLAIN, client="", source=FRIEND).startswith("250")
    assert b"Authentication-Results" in sink.wait(1)[0].original_content


def test_names_that_are_not_answered_are_temperror_and_hold_up_nobody(inbound, make_scripted_names):
    asked = threading.Event()

    def silent(name, kind, query, is_tcp):
        if name.endswith("silent.test"):
            asked.set()
            return None
        return answer(query, rcode=dns.rcode.NXDOMAIN)
    server = make_scripted_names(silent)
    relay, port, sink = inbound({**ALL, "timeout": "3s"}, servers=server.address)
    replies = []
    slow = threading.Thread(target=lambda: replies.append(send(port, PLAIN.replace(b"good", b"silent"), sender="user@silent.test")))
    slow.start()
    assert asked.wait(10)
    assert send(port, PLAIN).startswith("250") and not replies
    slow.join()
    assert replies[0].startswith("250")
    late = sink.wait(2)[-1]
    assert late.mail_from == "user@silent.test"
    found = verdicts(results(late.original_content))
    assert found["spf"] == ["temperror"] and found["dmarc"] == ["temperror"]


def test_a_client_that_leaves_meanwhile_and_a_stop_do_no_harm(inbound, make_scripted_names):
    asked = threading.Event()

    def silent(*_):
        asked.set()
    relay, port, _ = inbound({**ALL, "timeout": "30s"}, servers=make_scripted_names(silent).address)
    for leaves in (True, False):
        asked.clear()
        talk = Talk(port, STRANGER)
        assert talk.codes("EHLO x", "MAIL FROM:<a@b.test>", "RCPT TO:<user@ours.test>", "DATA") == [250, 250, 250, 354]
        talk.send(PLAIN + b".\r\n")
        assert asked.wait(10)
        if leaves:
            talk.close()
    relay.stop()  # asserts that nothing leaks
    talk.close()


def test_what_is_held_is_bounded(inbound):
    relay, port, sink = inbound({**ALL, "memory": "1MB"})
    with Talk(port, STRANGER) as first, Talk(port, STRANGER) as second:
        for talk in (first, second):
            assert talk.codes("EHLO x", "MAIL FROM:<a@b.test>", "RCPT TO:<user@ours.test>", "DATA") == [250, 250, 250, 354]
        first.send(PLAIN + (b"x" * 98 + b"\r\n") * 12000)
        assert first.say(".").startswith("452")
        assert second.say(PLAIN + b".").startswith("250")
    assert len(sink.wait(1)) == 1


def test_large_messages_are_held_and_verified(inbound, signer):
    content = signer[0](PLAIN + b"0123456789 " * 9 + b"\r\n" + (b".line \t with  blanks \r\n" * 50000))
    found = checked(inbound(), content)
    assert verdicts(found)["dkim"] == ["pass"]


def test_what_l_leaves_out_counts_for_nothing(inbound, signer):
    content = signer[0](PLAIN, length=True) + b"appended\r\n"
    found = checked(inbound(), content, client="198.51.100.1")
    assert verdicts(found)["dkim"] == ["policy"] and verdicts(found)["dmarc"] == ["fail"]


# ---- ARC ----

def arc_verdict(content, records):
    """python3-dkim's of the chain: cv, and why not."""
    cv, _, reason = dkim.arc_verify(content, dnsfunc=verifiers.looked_up(records))
    return (cv or b"fail").decode(), reason


@pytest.fixture
def sealing(inbound, signer):
    """(relay, port, sink) of one that seals for good.test."""
    def create(**checks):
        path = signer[0].path
        return inbound({**ALL, "arc_seal": "good.test", **checks}, dkim={"good.test": {"keys": f"s1-rsa:{path}"}})
    return create


BODIES = {"plain": PLAIN, "signed": None, "eight_bit": PLAIN.replace(b"hello", "Grüße".encode()),
          "blanks": PLAIN + b" a  b \r\n\r\n\r\n", "empty": PLAIN.replace(b"hello\r\n", b""), "dots": PLAIN + b".x\r\n..\r\n"}


@pytest.mark.parametrize("kind", BODIES)
def test_our_seal_verifies_elsewhere(sealing, signer, kind):
    sign, records = signer
    relay, port, sink = sealing()
    assert send(port, BODIES[kind] or sign(PLAIN)).startswith("250")
    first = sink.wait(1)[0].original_content
    assert [name for name, _ in mail.fields(first)][:4] == [b"arc-seal", b"arc-message-signature", b"arc-authentication-results",
                                                            b"authentication-results"]
    assert arc_verdict(first, records) == ("pass", "success")
    found = verifiers.mailauth([first, first.replace(b"Subject: hi", b"Subject: ho")], records)
    assert [one["arc"] for one in found] == ["pass", "fail"], found
    assert arc_verdict(first.replace(b"Subject: hi", b"Subject: ho"), records)[0] == "fail"


def test_a_chain_of_ours_and_others(sealing, signer):
    sign, records = signer
    relay, port, sink = sealing()
    results = b"Authentication-Results: first.test; spf=pass smtp.mailfrom=user@good.test\r\n"
    content = results + sign(PLAIN)
    others = b"".join(dkim.arc_sign(content, b"s1-rsa", b"good.test", sign.path.read_bytes(), b"first.test",
                                    include_headers=[b"from", b"subject"])) + content
    for count in range(1, 4):  # each time what went out comes in again
        found = checked((relay, port, sink), others)
        assert verdicts(found)["arc"] == ["pass"], sink.envelopes[-1].original_content
        others = mail.canonical(sink.envelopes[-1].original_content)
        assert others.count(b"ARC-Seal: i=") == count + 1 and f"ARC-Seal: i={count + 1};".encode() in others
        assert arc_verdict(others, records) == ("pass", "success")
    assert verifiers.mailauth([others], records)[0]["arc"] == "pass"
    # Broken on the way: it is said, sealed as failed once, and no more.
    changed = others.replace(b"Subject: hi", b"Subject: ho")
    assert verdicts(checked((relay, port, sink), changed))["arc"] == ["fail"]
    failed = mail.canonical(sink.envelopes[-1].original_content)
    assert b"cv=fail" in failed.split(b"\r\n\t")[0] and arc_verdict(failed, records)[0] == "fail"
    assert verdicts(checked((relay, port, sink), failed))["arc"] == ["fail"]
    assert sink.envelopes[-1].original_content.count(b"ARC-Seal: i=") == failed.count(b"ARC-Seal: i=")


def test_what_friends_submit_is_not_sealed(sealing):
    _, port, sink = sealing()
    assert send(port, PLAIN, client="", source=FRIEND).startswith("250")
    assert b"ARC-Seal" not in sink.wait(1)[0].original_content


def test_check_names_what_sealing_lacks(tmp_path, signer):
    config = tmp_path / "c.conf"
    for text, word in (("smtp { checks { arc = record; arc_seal = good.test } }", "with an RSA key"),
                       (f'smtp {{ checks {{ arc_seal = good.test }} }}\ndkim "good.test" {{ keys = "s:{signer[0].path}" }}', "arc = record")):
        config.write_text(f'root = "{tmp_path}"\nhostname = "a.test"\n{text}\n')
        done = subprocess.run([BINARY, "check", "--no-dns", "-c", config], capture_output=True, text=True, check=False)
        assert done.returncode == 78 and word in done.stdout, done.stdout
