"""How connections are secured: each row is a domain, what DNS says of it, how its server behaves, and what must come of it.

Zones are signed with ldns-signzone and served by nsd; the relay validates them from the root's key. Where a row must be
deferred its server must not have been told a sender, a recipient or a message in the clear.
"""
import hashlib
import pathlib
import re
import ssl
from dataclasses import dataclass, field

import pytest

from lib import finger, mail
from lib.ports import MX_PORT
from lib.relay import Relay
from lib.scripted import EXTENSIONS, ScriptedServer
from lib.signed import Authority, SignedNameServer
from lib.tls import certificate

SECURED, CLEAR, DEFERRED, BOUNCED = "secured", "clear", "deferred", "bounced"
MX = {"{d}": ["MX 10 mx.{d}."], "mx.{d}": ["A {a}"]}
TLSA = "_{port}._tcp.mx.{d}"
INSECURE = "insecure.test"


@dataclass
class Row:
    rule: str
    outcome: str
    tlsa: list = field(default_factory=list)   # at mx.{d}; {ee311}, {ta201}, {other}… are filled in
    records: dict = field(default_factory=lambda: MX)
    more: dict = field(default_factory=dict)
    certificate: dict = field(default_factory=dict)
    name: str = "mx.{d}"                       # of the certificate
    domain: str = None
    starttls: bool = True
    table: tuple = ()
    why: str = ""                              # regex of the event's policy, reason or reply
    header: str = ""                           # of the message
    versions: tuple = (None, None)             # least, most
    extensions: tuple = ()


BAD = "TLSA 3 1 1 " + "ab" * 32
CNAME = {"{d}": ["MX 10 mx.{d}."], "mx.{d}": ["CNAME real.{d}."], "real.{d}": ["A {a}"]}
ROWS = [
    Row("opportunistic_no_starttls_is_clear", CLEAR, starttls=False, why="nothing demands"),
    Row("opportunistic_454_is_clear", CLEAR, table=((r"STARTTLS", "454 4.7.0 not now"),)),
    Row("opportunistic_bad_certificate_is_encrypted", SECURED, certificate={"self_signed": True}, why="not verified"),
    Row("dane_3_1_1", SECURED, ["{ee311}"], why="dane, verified: 1 usable TLSA record at mx"),
    Row("dane_3_0_2", SECURED, ["{ee302}"], why="dane, verified"),
    Row("dane_3_0_0", SECURED, ["{ee300}"], why="dane, verified"),
    Row("dane_3_1_0", SECURED, ["{ee310}"], why="dane, verified"),
    Row("dane_2_0_1", SECURED, ["{ta201}"], why="dane, verified"),
    Row("dane_2_0_1_names_the_domain", SECURED, ["{ta201}"], name="{d}", why="dane, verified"),
    Row("dane_roll_over_two_records", SECURED, [BAD, "{ee311}"], why="2 usable TLSA records"),
    Row("dane_mismatch_defers", DEFERRED, [BAD], why="no TLSA record matches"),
    Row("dane_without_starttls_defers", DEFERRED, ["{ee311}"], starttls=False, why="TLS is required"),
    Row("dane_454_defers", DEFERRED, ["{ee311}"], table=((r"STARTTLS", "454 4.7.0 not now"),), why="not now"),
    Row("dane_bogus_defers", DEFERRED, ["TLSA 3 1 1 " + "77" * 32], why="not validly signed"),
    Row("dane_servfail_defers", DEFERRED, records={"{d}": ["MX 10 mx.broken.test."], "mx.broken.test": ["A {a}"]},
        why="could not be looked up"),
    Row("dane_unusable_is_encrypted", SECURED, ["TLSA 1 1 1 " + "ab" * 32, "TLSA 3 1 9 " + "ab" * 32],
        certificate={"self_signed": True}, why="no TLSA record at mx.* is usable"),
    Row("dane_unusable_without_starttls_defers", DEFERRED, ["TLSA 0 0 1 " + "ab" * 32], starttls=False),
    Row("dane_malformed_is_unusable", SECURED, [r"TYPE52 \# 3 030101"], why="is usable"),
    Row("dane_2_0_1_wrong_name_defers", DEFERRED, ["{ta201}"], name="other.test", why="another name"),
    Row("dane_2_0_1_expired_defers", DEFERRED, ["{ta201}"], certificate={"expired": True}, why="expired"),
    Row("dane_3_1_1_expired_is_fine", SECURED, ["{ee311}"], certificate={"expired": True}, why="verified"),
    Row("dane_3_1_1_wrong_name_is_fine", SECURED, ["{ee311}"], name="other.test", why="verified"),
    Row("insecure_zone_is_no_dane", SECURED, [BAD], domain="one." + INSECURE, why="nothing demands"),
    Row("insecure_mx_is_no_dane", SECURED, domain="two." + INSECURE,
        records={"{d}": ["MX 10 mx.twosafe.test."], "mx.twosafe.test": ["A {a}"]},
        more={"_{port}._tcp.mx.twosafe.test": [BAD]}, why="nothing demands"),
    Row("dane_at_the_end_of_a_cname", SECURED, records=CNAME, more={"_{port}._tcp.real.{d}": ["{ee311}"]},
        why="at real"),
    Row("dane_at_the_alias_itself", SECURED, ["{ee311}"], records=CNAME, why="at mx"),
    Row("dane_at_a_secure_alias_of_an_insecure_host", DEFERRED, [BAD], why="no TLSA record matches",
        records={"{d}": ["MX 10 mx.{d}."], "mx.{d}": [f"CNAME real.{INSECURE}."], f"real.{INSECURE}": ["A {a}"]}),
    Row("dane_without_mx", SECURED, records={"{d}": ["A {a}"]}, more={"_{port}._tcp.{d}": ["{ee311}"]}, name="{d}",
        why="dane, verified"),
    Row("tls_1_1_is_not_enough_for_dane", DEFERRED, ["{ee311}"],
        versions=(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1), why="TLS|version|closed|protocol"),
    Row("reply_injected_before_the_handshake_ends_the_session", DEFERRED, ["{ee311}"],
        table=((r"STARTTLS", b"220 go\r\n250 mx.test\r\n"),), why="injection|handshake|version"),
    Row("requiretls_of_an_unvouched_host_defers", DEFERRED, domain="three." + INSECURE,
        header="X-Sender: <app@sender.test> REQUIRETLS\r\nX-Receiver: <user@{d}>\r\n", why="vouches"),
    Row("requiretls_not_offered_bounces", BOUNCED, ["{ee311}"],
        header="X-Sender: <app@sender.test> REQUIRETLS\r\nX-Receiver: <user@{d}>\r\n", why="REQUIRETLS"),
    Row("requiretls_is_passed_on", SECURED, ["{ee311}"], extensions=("REQUIRETLS",),
        header="X-Sender: <app@sender.test> REQUIRETLS\r\nX-Receiver: <user@{d}>\r\n", why="message, verified"),
    Row("tls_required_no_is_not_stopped_by_dane", CLEAR, [BAD], starttls=False, header="TLS-Required: No\r\n",
        why="TLS-Required: No"),
]


def spoil(zone):
    """A record is changed behind its signature's back; what has no data is written as nsd reads it."""
    zone = re.sub(r"77{20,}", lambda match: "88" + match[0][2:], zone)
    return re.sub(r"TLSA\t3 1 1\s*$", r"TYPE52 \\# 3 030101", zone, flags=re.M)


class World:
    """Servers, zones and the relay for all rows."""

    def __init__(self):
        self.things = []
        self.authority = self.keep(Authority())
        self.other = self.keep(Authority())
        self.servers, records = {}, {}
        for number, row in enumerate(ROWS):
            row.domain = row.domain or f"d{number}.test"
            self.prepare(row, records)
        self.names = self.keep(SignedNameServer(records, insecure=[INSECURE], broken=["_tcp.mx.broken.test"], spoil=spoil))
        self.relay = self.keep(Relay({
            "dns": {"servers": [self.names.address], "trust_anchor": str(self.names.anchor)},
            "delivery": {"port": MX_PORT, "tls_ca_file": str(self.authority.file)},
        }))

    def keep(self, thing):
        self.things.append(thing)
        return thing

    def prepare(self, row, records):
        name = row.name.format(d=row.domain)
        file, key = self.authority.certificate(name, **row.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file, key)
        if row.versions[0]:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = row.versions
        words = [*EXTENSIONS, *(["STARTTLS"] if row.starttls else []), *row.extensions]
        server = self.keep(ScriptedServer(row.table, extensions=words, context=context))
        self.servers[row.rule] = server
        values = {"d": row.domain, "a": server.address, "port": MX_PORT}
        for usage, selector, matching in ((3, 1, 1), (3, 0, 2), (3, 0, 0), (3, 1, 0)):
            values[f"ee{usage}{selector}{matching}"] = self.authority.tlsa(file, usage, selector, matching)
        values["ta201"] = self.authority.tlsa(self.authority.file, 2, 0, 1)
        given = {**row.records, **row.more}
        if row.tlsa:
            given[TLSA] = row.tlsa
        for owner, answers in given.items():
            records.setdefault(owner.format(**values), []).extend(answer.format(**values) for answer in answers)

    def close(self):
        for thing in reversed(self.things):
            thing.close()


@pytest.fixture(scope="module")
def world():
    made = World()
    yield made
    made.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.rule)
def test_row(world, row):
    header = row.header.format(d=row.domain)
    content = header.encode() + mail.message(to=f"user@{row.domain}")
    kind = {SECURED: "delivered", CLEAR: "delivered"}.get(row.outcome, row.outcome)
    event = world.relay.send(row.rule, content, kind=kind, seconds=30)
    server = world.servers[row.rule]
    said = " ".join(str(event.get(key, "")) for key in ("policy", "reason", "reply"))
    assert re.search(row.why, said), event
    if kind == "delivered":
        assert server.transactions[0].is_secured == (row.outcome == SECURED), event
        assert ("tls" in event) == ("cipher" in event) == (row.outcome == SECURED)
    else:
        assert not server.transactions and not server.said("MAIL|RCPT|DATA|BDAT"), server.commands
    if "REQUIRETLS" in row.extensions:
        assert "REQUIRETLS" in server.transactions[0].sender_parameters


@pytest.fixture(scope="module")
def judge(world):
    made = finger.Judge(world.names, world.authority)
    yield made
    made.close()


# Where Postfix decides otherwise, and why we don't.
FINGER_DIFFERS = {
    "insecure_mx_is_no_dane": "it takes TLSA of hosts in an MX answer that nobody signed (smtp_tls_dane_insecure_mx_policy); who can forge the MX "
                              "can name a host of theirs, so that proves nothing (RFC 7672 2.2.1)",
    "dane_malformed_is_unusable": "it panics on a record without data (Postfix 3.7)",
}


@pytest.mark.skipif(not finger.IS_POSSIBLE, reason="root, unbound, posttls-finger and a mount namespace are needed")
@pytest.mark.parametrize("row", [row for row in ROWS if not row.header and ("dane" in row.rule or row.tlsa)], ids=lambda row: row.rule)
def test_posttls_finger_agrees(world, judge, row):
    name = world.relay.drop(f"finger-{row.rule}", mail.message(to=f"user@{row.domain}"))
    event = world.relay.wait_event(None, 30, event=re.compile("^(delivered|deferred)$"), pickup=name)
    ours = "refused" if event["event"] == "deferred" else "verified" if "dane, verified" in event.get("policy", "") else "encrypted"
    theirs = judge.finger(row.domain, MX_PORT)
    assert (finger.verdict(theirs) != ours) == (row.rule in FINGER_DIFFERS), (ours, event, theirs)


def test_route_shows_the_policy_and_why(world):
    row = next(row for row in ROWS if row.rule == "dane_3_1_1")
    shown = world.relay.run("route", f"user@{row.domain}", "--json", check=0, json_out=True)
    tls = shown["hosts"][0]["tls"]
    assert (tls["level"], tls["source"], tls["tlsa"], tls["barred"]) == ("dane", "dane", ["3 1 1"], False)
    assert "1 usable TLSA record" in world.relay.run("route", row.domain, check=0).stdout.decode()


def test_second_connection_resumes_the_session(make_server, relay_to):
    server = make_server(extensions=[*EXTENSIONS, "STARTTLS"])
    relay = relay_to(server, {"delivery": {"messages_per_connection": 1}})
    for number in range(3):
        relay.send(f"m{number}", mail.message())
    assert [session.is_resumed for session in server.sessions][1:] == [True, True]


def test_hanging_handshake_ends_by_its_deadline(make_server, relay_to):
    server = make_server(extensions=[*EXTENSIONS, "STARTTLS"])
    server.context = HangingContext()
    relay = relay_to(server, {"delivery": {"tls": "must", "timeouts": {"tls": "1s"}}})
    event = relay.send("m", mail.message(), kind="deferred")
    assert event["stage"] == "tls" and "timed out" in event["reason"]
    assert not server.said("MAIL")


class HangingContext:
    def wrap_socket(self, sock, server_side):
        sock.settimeout(30)
        while sock.recv(1000):
            pass
        raise EOFError


def test_fingerprint_of_certificate_or_nothing(make_server, relay_to):
    server = make_server(extensions=[*EXTENSIONS, "STARTTLS"])
    relay = relay_to(server, {"delivery": {"tls": "fingerprint", "fingerprints": ["ab" * 32]}})
    event = relay.send("m", mail.message(), kind="deferred")
    assert "fingerprint is none of those" in event["reason"] and not server.said("MAIL")


def test_notices_of_requiretls_mail_demand_it_too_and_return_no_body(make_server, relay_to):
    file, _ = certificate()
    der = ssl.PEM_cert_to_DER_cert(open(file, encoding="ascii").read())
    server = make_server([("RCPT TO:<gone", "550 5.1.1 no such user")], extensions=[*EXTENSIONS, "STARTTLS", "REQUIRETLS"])
    relay = relay_to(server, {"delivery": {"tls": "fingerprint", "fingerprints": [hashlib.sha256(der).hexdigest()]}})
    relay.drop("secret.eml", b"X-Sender: <app@sender.test> REQUIRETLS\r\nX-Receiver: <gone@x.test>\r\n" + mail.message(body="the secret\r\n"))
    relay.wait_event("bounced", to="gone@x.test")
    relay.wait_event("delivered", to="app@sender.test")
    notice = server.transactions[-1]
    assert notice.sender == "" and "REQUIRETLS" in notice.sender_parameters and notice.is_secured
    assert b"the secret" not in notice.content and b"Subject: test" in notice.content


def test_a_notice_of_requiretls_mail_is_not_sent_where_tls_is_not_demanded_on(make_server, relay_to):
    server = make_server([("RCPT TO:<gone", "550 5.1.1 no such user")])
    relay = relay_to(server)
    relay.drop("secret.eml", b"X-Sender: <app@sender.test> REQUIRETLS\r\nX-Receiver: <gone@x.test>\r\n" + mail.message())
    relay.wait_event("deferred", to="gone@x.test", reason=re.compile("TLS"))
    assert not server.said("MAIL")


STANDARD_ANCHOR = pathlib.Path("/usr/share/dns/root.key")


@pytest.mark.skipif(not STANDARD_ANCHOR.exists(), reason="dns-root-data is not installed")
def test_without_an_anchor_of_ones_own_a_resolver_without_dnssec_costs_dane_and_no_mail(make_relay, make_names, make_server):
    server = make_server()
    names = make_names({"x.test": ["MX 10 mx.x.test."], "mx.x.test": [f"A {server.address}"]})
    relay = make_relay({"dns": {"servers": [names.address], "trust_anchor": None}, "delivery": {"port": MX_PORT}})
    relay.send("a.eml", mail.message(to="u@x.test"))
    warnings = [event["reason"] for event in relay.events("warning")]
    assert len(warnings) == 1 and "there is no DANE" in warnings[0]


@pytest.mark.skipif(not STANDARD_ANCHOR.exists(), reason="dns-root-data is not installed")
def test_a_resolver_that_comes_up_late_is_probed_then(make_relay, make_names, make_server):
    """Down when the relay starts, and without DNSSEC when it comes: nothing that it answers is taken for bogus, mail goes out."""
    server = make_server()
    names = make_names({"x.test": ["MX 10 mx.x.test."], "y.test": ["MX 10 mx.x.test."], "mx.x.test": [f"A {server.address}"]})
    names.stop()
    relay = make_relay({"dns": {"servers": [names.address], "trust_anchor": None}, "delivery": {"port": MX_PORT},
                        "queue": {"retry_first": "1s", "retry_second": "1s", "retry_third": "1s", "retry_subsequent": "1s"}})
    relay.send("a.eml", mail.message(to="u@x.test"), kind="deferred")
    assert not relay.events("warning")
    names.start()
    relay.drop("b.eml", mail.message(to="u@y.test"))  # asks before the next probe does
    relay.wait_event("delivered", seconds=60, to="u@y.test")
    relay.wait_event("delivered", seconds=60, to="u@x.test")
    assert not [event for event in relay.events("deferred") if "DNSSEC" in event["reason"]]
    warnings = [event["reason"] for event in relay.events("warning")]
    assert len(warnings) == 1 and "there is no DANE" in warnings[0]


@pytest.mark.skipif(not STANDARD_ANCHOR.exists(), reason="dns-root-data is not installed")
def test_a_resolver_that_comes_up_late_is_found_though_no_mail_asks(make_relay, make_names):
    names = make_names({})
    names.stop()
    relay = make_relay({"dns": {"servers": [names.address], "trust_anchor": None, "timeout": "1s"}, "queue": {"retry_first": "1h"}})
    relay.send("a.eml", mail.message(to="u@x.test"), kind="deferred")  # by then the first probe has given up, too
    assert not relay.events("warning")
    names.start()
    relay.wait_event("warning", seconds=90, reason=re.compile("there is no DANE"))


def test_an_anchor_that_is_named_is_strict(relay_with_names, make_server, open_things):
    server, signed = make_server(), SignedNameServer()
    open_things.append(signed)
    relay = relay_with_names({"x.test": ["MX 10 mx.x.test."], "mx.x.test": [f"A {server.address}"]},
                             {"dns": {"trust_anchor": str(signed.anchor)}, "queue": {"retry_first": "1h"}})
    relay.send("a.eml", mail.message(to="u@x.test"), kind="deferred")
    assert not server.sessions
