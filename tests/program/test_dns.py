"""Routing by DNS: each row is a domain, its records, and what must become of a message to it.

One relay and one nsd serve all rows; every row has a domain of its own. In records and addresses
    {d}       the row's domain          {a} {b}   addresses of two servers that take everything
    {dead}    an address where nobody listens
"""
import contextlib
import re
import threading
from dataclasses import dataclass, field

import dns.flags
import dns.rcode
import pytest

from lib import mail
from lib.names import NameServer, ScriptedNameServer, answer
from lib.ports import MX_PORT, has_ipv6, loopback
from lib.relay import HOST, Relay
from lib.scripted import ScriptedServer

BOUNCED, DEFERRED, DELIVERED = "bounced", "deferred", "delivered"


@dataclass
class Row:
    rule: str
    records: dict
    outcome: str
    at: str = None                # which server must have got it: "a", "b"
    status: str = None
    to: str = "user@{d}"
    wanted: dict = field(default_factory=dict)
    never: str = ""               # servers that must not have been asked for this domain


LOOP = {"{d}": ["CNAME one.{d}."], "one.{d}": ["CNAME two.{d}."], "two.{d}": ["CNAME one.{d}."]}
CHAIN = {"{d}": ["CNAME c1.{d}."], **{f"c{n}.{{d}}": [f"CNAME c{n + 1}.{{d}}."] for n in range(1, 5)},
         "c5.{d}": ["MX 10 mx.{d}."], "mx.{d}": ["A {a}"]}

ROWS = [
    Row("pitfall_31_lowest_preference_first",
        {"{d}": ["MX 20 mxb.{d}.", "MX 10 mxa.{d}."], "mxa.{d}": ["A {a}"], "mxb.{d}": ["A {b}"]}, DELIVERED, "a",
        never="b"),
    Row("preference_0_and_65535", {"{d}": ["MX 65535 mxa.{d}.", "MX 0 mxb.{d}."], "mxa.{d}": ["A {a}"],
                                   "mxb.{d}": ["A {b}"]}, DELIVERED, "b", never="a"),
    Row("pitfall_31_dead_host_then_next_preference",
        {"{d}": ["MX 10 mxa.{d}.", "MX 20 mxb.{d}."], "mxa.{d}": ["A {dead}"], "mxb.{d}": ["A {b}"]}, DELIVERED, "b"),
    Row("pitfall_31_dead_address_then_next_address",
        {"{d}": ["MX 10 mx.{d}."], "mx.{d}": ["A {dead}", "A {a}"]}, DELIVERED, "a"),
    Row("pitfall_31_dead_ipv6_costs_nothing", {"{d}": ["MX 10 mx.{d}."], "mx.{d}": ["AAAA 100::1", "A {a}"]},
        DELIVERED, "a"),
    Row("pitfall_31_refused_ipv6_costs_nothing", {"{d}": ["MX 10 mx.{d}."], "mx.{d}": ["AAAA ::1", "A {a}"]},
        DELIVERED, "a"),
    Row("pitfall_32_no_mx_means_the_address", {"{d}": ["A {a}"]}, DELIVERED, "a"),
    Row("pitfall_32_nxdomain_fails", {}, BOUNCED, status="5.1.2"),
    Row("pitfall_32_neither_mx_nor_address_fails", {"{d}": ["TXT \"here\""]}, BOUNCED, status="5.4.4"),
    Row("pitfall_32_servfail_never_bounces", {}, DEFERRED, status="4.4.3", to="user@broken.test"),
    Row("pitfall_32_servfail_for_the_mx_host_never_bounces", {"{d}": ["MX 10 mx.broken.test."]}, DEFERRED,
        status="4.4.3"),
    Row("pitfall_32_unusable_mx_never_falls_back_to_a", {"{d}": ["MX 10 nowhere.{d}.", "A {a}"]}, BOUNCED,
        status="5.4.4", never="a"),
    Row("mx_host_without_address_then_next", {"{d}": ["MX 10 nowhere.{d}.", "MX 20 mx.{d}."], "mx.{d}": ["A {a}"]},
        DELIVERED, "a"),
    Row("broken_mx_host_then_next", {"{d}": ["MX 10 mx.broken.test.", "MX 20 mx.{d}."], "mx.{d}": ["A {a}"]},
        DELIVERED, "a"),
    Row("pitfall_32_null_mx_fails_at_once", {"{d}": ["MX 0 .", "A {a}"]}, BOUNCED, status="5.1.10",
        wanted={"code": 556}, never="a"),
    Row("pitfall_32_null_mx_beside_others_is_ignored", {"{d}": ["MX 0 .", "MX 10 mx.{d}."], "mx.{d}": ["A {a}"]},
        DELIVERED, "a"),
    Row("pitfall_33_cname_at_the_domain_is_followed",
        {"{d}": ["CNAME real.{d}."], "real.{d}": ["MX 10 mx.{d}."], "mx.{d}": ["A {a}"]}, DELIVERED, "a"),
    Row("pitfall_33_cname_to_an_address", {"{d}": ["CNAME real.{d}."], "real.{d}": ["A {a}"]}, DELIVERED, "a"),
    Row("pitfall_33_mx_that_is_a_cname_is_resolved",
        {"{d}": ["MX 10 alias.{d}."], "alias.{d}": ["CNAME mx.{d}."], "mx.{d}": ["A {a}"]}, DELIVERED, "a"),
    Row("pitfall_33_five_cnames_are_followed", CHAIN, DELIVERED, "a"),
    Row("pitfall_33_cname_loop_fails_or_waits", LOOP, re.compile("bounced|deferred"), status=re.compile(r"[45]\.4\.[34]")),
    Row("pitfall_34_only_ourselves_is_a_loop", {"{d}": [f"MX 10 {HOST}."], HOST: ["A {a}"]}, BOUNCED, status="5.4.6",
        never="a"),
    Row("pitfall_34_better_than_ourselves_is_used",
        {"{d}": ["MX 10 mx.{d}.", f"MX 20 {HOST}."], "mx.{d}": ["A {b}"]}, DELIVERED, "b"),
    Row("pitfall_34_worse_than_ourselves_is_not_used",
        {"{d}": [f"MX 10 {HOST}.", "MX 20 mx.{d}."], "mx.{d}": ["A {b}"]}, BOUNCED, status="5.4.6", never="b"),
    Row("an_address_as_mx_host_is_skipped", {"{d}": ["MX 10 127.0.0.1.", "MX 20 mx.{d}."], "mx.{d}": ["A {a}"]},
        DELIVERED, "a"),
    Row("only_an_address_as_mx_host_fails", {"{d}": ["MX 10 127.0.0.1."]}, BOUNCED, status="5.4.4"),
    Row("pitfall_10_address_literal_is_connected_directly", {}, DELIVERED, "b", to="user@[{b}]"),
    Row("everything_dead_is_tried_again", {"{d}": ["MX 10 mx.{d}."], "mx.{d}": ["A {dead}"]}, DEFERRED,
        status="4.4.1"),
    Row("capitals_make_no_difference", {"{d}": ["MX 10 MX.{d}."], "mx.{d}": ["A {a}"]}, DELIVERED, "a",
        to="User@{D}"),
    Row("thirty_mx_hosts", {"{d}": [f"MX {n} m{n}.{{d}}." for n in range(30)], "m29.{d}": ["A {a}"]}, DELIVERED, "a"),
    Row("hosts_override_names_the_mx_host", {"{d}": ["MX 10 mx.overridden.test."], "mx.overridden.test": ["A {dead}"]},
        DELIVERED, "b"),
]


class World:
    """The relay, nsd and two servers for all rows."""

    def __init__(self, stack):
        self.places = {"a": loopback(), "b": loopback(), "dead": loopback()}
        self.servers = {name: stack.enter_context(contextlib.closing(ScriptedServer(address=self.places[name])))
                        for name in ("a", "b")}
        records = {}
        for number, row in enumerate(ROWS):
            for name, answers in row.records.items():
                records[self.fill(name, number)] = [self.fill(text, number) for text in answers]
        self.names = stack.enter_context(contextlib.closing(NameServer(records, broken=["broken.test"])))
        self.relay = stack.enter_context(contextlib.closing(Relay({
            "dns": {"servers": [self.names.address], "hosts": {"mx.overridden.test": self.places["b"]}},
            "delivery": {"port": MX_PORT, "timeouts": {"connect": "2s"}},
            "queue": {"retry_first": "1h"},
        })))

    def fill(self, text, number):
        return text.format(d=f"case{number}.test", D=f"CASE{number}.TEST", **self.places)


@pytest.fixture(scope="module")
def world():
    with contextlib.ExitStack() as stack:
        yield World(stack)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.rule)
def test_dns(world, row):
    number = ROWS.index(row)
    name, to = f"dns-{number}.eml", world.fill(row.to, number)
    world.relay.drop(name, mail.message(to=to))

    wanted = dict(row.wanted)
    if row.status:
        wanted["status"] = row.status
    kind = re.compile("^(delivered|deferred|bounced)$")
    event = world.relay.wait_event(None, event=kind, pickup=name)
    assert re.fullmatch(row.outcome, event["event"]) if isinstance(row.outcome, re.Pattern) else \
        event["event"] == row.outcome, event
    for key, value in wanted.items():
        assert value.fullmatch(event[key]) if isinstance(value, re.Pattern) else event[key] == value, event
    if row.at:
        got = [t for t in world.servers[row.at].transactions if t.recipients[0].lower() == to.lower()]
        assert len(got) == 1, "the row's server must have got it once"
        assert event["ip"].startswith(world.places[row.at]), event
    for other in row.never:
        assert not [t for t in world.servers[other].transactions if t.recipients[0].lower() == to.lower()]


def test_pitfall_33_the_address_stays_as_it_was_behind_a_cname(world):
    number = next(n for n, row in enumerate(ROWS) if "cname_at_the_domain" in row.rule)
    world.relay.send("cname.eml", mail.message(to=f"Keep.Me@case{number}.test"))
    assert f"RCPT TO:<Keep.Me@case{number}.test>" in [line[:len(f"RCPT TO:<Keep.Me@case{number}.test>")]
                                                     for line in world.servers["a"].said("RCPT")]


def test_pitfall_31_equals_are_shuffled(relay_with_names, make_server):
    servers = [make_server(), make_server()]
    domains = [f"d{n}.test" for n in range(24)]
    records = {domain: ["MX 10 mx0.test.", "MX 10 mx1.test."] for domain in domains}
    records |= {f"mx{n}.test": [f"A {server.address}"] for n, server in enumerate(servers)}
    # A site's connection is shared by domains with the same hosts; a connection a message shows each choice.
    relay = relay_with_names(records, {"delivery": {"messages_per_connection": 1, "connections_per_site": 1}})
    for domain in domains:
        relay.drop(f"{domain}.eml", mail.message(to=f"user@{domain}"))
    relay.wait_events("delivered", len(domains))
    counts = [len(server.transactions) for server in servers]
    assert sum(counts) == len(domains) and min(counts) > 0, counts


PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1",
           "255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]


@pytest.fixture(scope="module")
def guarded():
    """A relay that refuses private addresses, as it does by default."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.closing(ScriptedServer()))
        records = {f"p{n}.test": [f"MX 10 m{n}.test."] for n in range(len(PRIVATE))}
        for n, address in enumerate(PRIVATE):
            records[f"m{n}.test"] = [f"{'AAAA' if ':' in address else 'A'} {address}"]
        records |= {"named.test": ["MX 10 smart.test."], "smart.test": ["A 10.0.0.1"]}
        names = stack.enter_context(contextlib.closing(NameServer(records)))
        relay = stack.enter_context(contextlib.closing(Relay({
            "dns": {"servers": [names.address], "allow_private": False, "hosts": {"smart.test": server.address}},
            "delivery": {"port": MX_PORT, "timeouts": {"connect": "2s"}},
            "route": {"routed.test": {"hosts": [f"[{server.address}]:{server.port}"]}},
        })))
        relay.server = server
        yield relay


@pytest.mark.parametrize("number", range(len(PRIVATE)), ids=lambda n: PRIVATE[n])
def test_pitfall_34_private_address_is_refused(guarded, number):
    event = guarded.send(f"private{number}.eml", mail.message(to=f"user@p{number}.test"), "bounced")
    assert event["status"] == "5.4.4" and "private" in (event.get("reason") or event.get("reply") or "")
    assert not guarded.events("connected", about=event["id"])


@pytest.mark.parametrize("literal", ["[127.0.0.1]", "[IPv6:::1]", "[10.0.0.1]"])
def test_pitfall_34_private_literal_is_refused(guarded, literal):
    name = f"literal-{literal.strip('[]').replace(':', '_')}.eml"
    event = guarded.send(name, mail.message(to=f"user@{literal}"), "bounced")
    assert event["status"] == "5.4.4"


@pytest.mark.parametrize("domain", ["named.test", "routed.test"])
def test_hosts_that_the_config_names_may_be_private(guarded, domain):
    guarded.send(f"{domain}.eml", mail.message(to=f"user@{domain}"))


# ---- routes of the config ----

def test_a_smart_host_takes_all_that_has_no_route_of_its_own(make_relay, make_server):
    smart, own, sub = make_server(), make_server(), make_server()
    relay = make_relay({"delivery": {"port": MX_PORT}, "route": {
        "*": {"hosts": [f"[{smart.address}]:{smart.port}"]}, "own.test": {"hosts": [f"[{own.address}]"]},
        "*.own.test": {"hosts": [f"[{sub.address}]:{sub.port}"]}}})
    rows = [("x@any.test", smart), ("x@own.test", own), ("x@a.own.test", sub), ("x@b.a.own.test", sub)]
    for to, server in rows:
        event = relay.send(f"{to}.eml", mail.message(to=to))
        assert event["ip"].startswith(server.address), to


def test_route_hosts_are_tried_in_order(make_relay, make_server):
    server, dead = make_server(), loopback()
    relay = make_relay({"route": {"*": {"hosts": [f"[{dead}]:{MX_PORT}", f"[{server.address}]:{MX_PORT}"]}}})
    assert relay.send("order.eml", mail.message())["ip"].startswith(server.address)


@pytest.mark.parametrize("mx_lives", [True, False])
def test_direct_first_tries_the_mx_then_the_smart_host(relay_with_names, make_server, mx_lives):
    direct, smart = make_server(), make_server()
    address = direct.address if mx_lives else loopback()
    relay = relay_with_names(
        {"example.test": ["MX 10 mx.test."], "mx.test": [f"A {address}"]},
        {"route": {"*": {"hosts": [f"[{smart.address}]:{smart.port}"], "direct_first": True}},
         "queue": {"retry_first": "200ms"}, "delivery": {"timeouts": {"connect": "2s"}}})
    expected = direct if mx_lives else smart
    assert relay.send("direct.eml", mail.message())["ip"].startswith(expected.address)


def test_pitfall_21_idn_domain_goes_out_in_a_labels(relay_with_names, make_server):
    server = make_server()
    relay = relay_with_names({"xn--bcher-kva.test": ["MX 10 mx.test."], "xn--strae-oqa.test": ["MX 10 mx.test."],
                              "mx.test": [f"A {server.address}"]})
    for number, (domain, label) in enumerate([("bücher.test", "xn--bcher-kva.test"), ("BÜCHER.test", "xn--bcher-kva.test"),
                                              ("straße.test", "xn--strae-oqa.test")]):
        event = relay.send(f"idn{number}.eml", mail.message(to=f"user@{domain}"))
        assert event["to"] == f"user@{label}"
    assert all(not t.recipients[0].encode().translate(None, bytes(range(128))) for t in server.transactions)


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6_is_used(relay_with_names, make_server):
    server = make_server(address="::1")
    relay = relay_with_names({"six.test": ["MX 10 mx.test."], "mx.test": ["AAAA ::1"]})
    assert relay.send("six.eml", mail.message(to="user@six.test"))["ip"].startswith("[::1]")
    relay.send("literal.eml", mail.message(to="user@[IPv6:::1]"))
    assert len(server.transactions) == 2


def test_an_unwanted_family_is_not_used(relay_with_names, make_server):
    server = make_server()
    relay = relay_with_names({"both.test": ["MX 10 mx.test."], "mx.test": ["AAAA ::1", f"A {server.address}"]},
                             {"dns": {"ipv6": False}})
    relay.send("four.eml", mail.message(to="user@both.test"))
    assert not relay.events("connected", ip=re.compile("::1"))


# ---- answers no stock server gives ----

def good(name, kind, query, address):
    """A name server on which every domain has one MX."""
    if kind == "MX" and not name.startswith("mx."):
        return answer(query, f"{name}. MX 10 mx.{name}.")
    if kind == "A" and name.startswith("mx."):
        return answer(query, f"{name}. A {address}")
    return answer(query)


def refusing(rcode):
    return lambda name, kind, query, is_tcp, address: answer(query, rcode=rcode)


def silent(name, kind, query, is_tcp, address):
    return None


def truncated(name, kind, query, is_tcp, address):
    reply = good(name, kind, query, address)
    if not is_tcp:
        reply.answer.clear()
        reply.flags |= dns.flags.TC
    return reply


def truncated_without_tcp(name, kind, query, is_tcp, address):
    return None if is_tcp else truncated(name, kind, query, is_tcp, address)


def garbage(name, kind, query, is_tcp, address):
    return query.to_wire()[:2] + b"\x81\x80" + b"\xff" * 40


def label_loop(name, kind, query, is_tcp, address):
    """An answer whose name is a compression pointer to itself."""
    wire = good(name, kind, query, address).to_wire()
    head = wire[:12]
    return head + query.to_wire()[12:] + b"\xc0" + bytes([len(query.to_wire())]) + b"\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x02\x00\x0a"


def short_mx(name, kind, query, is_tcp, address):
    reply = answer(query)
    wire = bytearray(reply.to_wire())
    wire[7] = 1
    return bytes(wire) + b"\xc0\x0c\x00\x0f\x00\x01\x00\x00\x00\x3c\x00\x01\x00"


def first_answer_lost():
    seen = set()
    lock = threading.Lock()

    def handler(name, kind, query, is_tcp, address):
        with lock:
            is_first = (name, kind) not in seen
            seen.add((name, kind))
        return None if is_first else good(name, kind, query, address)
    return handler


def many_mx(name, kind, query, is_tcp, address):
    """1,000 hosts, of which the first in preference lives."""
    if kind == "MX" and not name.startswith("mx"):
        if not is_tcp:
            return truncated(name, kind, query, is_tcp, address)
        return answer(query, *[f"{name}. MX {n} mx{n or ''}.{name}." for n in range(1000)])
    return good(name, kind, query, address)


ODD = [
    ("refused_waits", refusing(dns.rcode.REFUSED), DEFERRED),
    ("formerr_waits", refusing(dns.rcode.FORMERR), DEFERRED),
    ("notimp_waits", refusing(dns.rcode.NOTIMP), DEFERRED),
    ("silence_waits", silent, DEFERRED),
    ("garbage_waits", garbage, DEFERRED),
    ("a_name_that_points_to_itself_waits", label_loop, re.compile("deferred|bounced")),
    ("an_mx_of_one_octet_is_no_crash", short_mx, re.compile("deferred|bounced")),
    ("pitfall_35_truncated_is_asked_again_by_tcp", truncated, DELIVERED),
    ("truncated_without_tcp_waits", truncated_without_tcp, DEFERRED),
    ("a_lost_answer_is_asked_for_again", first_answer_lost(), DELIVERED),
    ("pitfall_35_a_thousand_mx_hosts", many_mx, DELIVERED),
]


@pytest.mark.parametrize("rule,handler,outcome", ODD, ids=[row[0] for row in ODD])
def test_odd_answers(make_relay, make_server, make_scripted_names, rule, handler, outcome):
    server = make_server()
    names = make_scripted_names(lambda name, kind, query, is_tcp: handler(name, kind, query, is_tcp, server.address))
    relay = make_relay({"dns": {"servers": [names.address], "timeout": "5s"}, "delivery": {"port": MX_PORT}})
    relay.drop("odd.eml", mail.message(to="user@odd.test"))
    event = relay.wait_event(None, 40, event=re.compile("^(delivered|deferred|bounced)$"), pickup="odd.eml")
    assert re.fullmatch(outcome, event["event"]), event
    if event["event"] == DEFERRED:
        assert event["status"] == "4.4.3"
