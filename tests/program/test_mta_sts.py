"""MTA-STS: each row is a domain with its record, policy and mail server, and what must become of a message to it."""
import re
import ssl
from dataclasses import dataclass, field

import pytest

from lib import finger, mail
from lib.names import NameServer
from lib.policies import PolicyServer
from lib.ports import MX_PORT
from lib.relay import Relay
from lib.scripted import EXTENSIONS, ScriptedServer
from lib.signed import Authority

SECURED, CLEAR, DEFERRED = "secured", "clear", "deferred"
LISTED = "version: STSv1\nmode: {mode}\nmx: mx.{d}\nmax_age: 86400\n"


@dataclass
class Row:
    rule: str
    outcome: str
    why: str = ""                       # of the event
    problem: str = None                 # regex of what `mailroot route` says of the policy; None: nothing
    mode: str = "enforce"
    policy: str = LISTED
    status: int = 200
    kind: str = "text/plain"
    headers: dict = field(default_factory=dict)
    records: tuple = ("v=STSv1; id=20261124;",)
    starttls: bool = True
    mail: dict = field(default_factory=dict)   # certificate of the mail server
    name: str = "mx.{d}"
    web: dict = field(default_factory=dict)    # certificate of the policy server
    domain: str = None


ROWS = [
    Row("enforce_good_is_verified", SECURED, "mta-sts, verified: MTA-STS policy of"),
    Row("enforce_mx_not_listed_defers", DEFERRED, "does not list", policy=LISTED.replace("mx.{d}", "other.{d}")),
    Row("enforce_self_signed_defers", DEFERRED, "self.signed", mail={"self_signed": True}),
    Row("enforce_expired_defers", DEFERRED, "expired", mail={"expired": True}),
    Row("enforce_wrong_name_defers", DEFERRED, "another name", name="other.{d}"),
    Row("enforce_without_starttls_defers", DEFERRED, "TLS is required", starttls=False),
    Row("enforce_wildcard_of_one_label", SECURED, "mta-sts, verified", policy=LISTED.replace("mx.{d}", "*.{d}")),
    Row("testing_delivers", CLEAR, "testing", mode="testing", starttls=False),
    Row("none_is_no_policy", CLEAR, "nothing demands", mode="none", starttls=False),
    Row("no_record_is_no_policy", CLEAR, "nothing demands", records=(), starttls=False),
    Row("two_records_are_no_policy", CLEAR, starttls=False, records=("v=STSv1; id=1;", "v=STSv1; id=2;"), problem="several"),
    Row("malformed_record_is_no_policy", CLEAR, starttls=False, records=("v=STSv1; id=a-b;",), problem="malformed"),
    Row("malformed_policy_is_no_policy", CLEAR, starttls=False, policy="garbage", problem="malformed"),
    Row("policy_of_other_type_is_no_policy", CLEAR, starttls=False, kind="text/html", problem="text/plain"),
    Row("policy_too_large_is_no_policy", CLEAR, starttls=False, policy=LISTED + "\n" * 65536, problem="too large"),
    Row("redirect_is_not_followed", CLEAR, starttls=False, status=302, problem="status 302",
        headers={"Location": "https://mta-sts.d0.test/.well-known/mta-sts.txt"}),
    Row("policy_server_expired_is_no_policy", CLEAR, starttls=False, web={"expired": True}, problem="expired|certificate"),
    Row("policy_server_self_signed_is_no_policy", CLEAR, starttls=False, web={"self_signed": True}, problem="certificate"),
]


class World:
    def __init__(self):
        self.things = []
        self.authority = self.keep(Authority())
        self.web = self.keep(PolicyServer())
        self.servers, records = {}, {}
        for number, row in enumerate(ROWS):
            row.domain = row.domain or f"d{number}.test"
            self.prepare(row, records)
        self.names = self.keep(NameServer(records))
        self.relay = self.keep(Relay({
            "dns": {"servers": [self.names.address]},
            "delivery": {"port": MX_PORT, "tls_ca_file": str(self.authority.file)},
            "mta_sts": {"port": MX_PORT, "ca_file": str(self.authority.file)},
        }))

    def keep(self, thing):
        self.things.append(thing)
        return thing

    def prepare(self, row, records):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.certificate(row.name.format(d=row.domain), **row.mail))
        words = [*EXTENSIONS, *(["STARTTLS"] if row.starttls else [])]
        server = self.servers[row.rule] = self.keep(ScriptedServer(extensions=words, context=context))
        host = f"mta-sts.{row.domain}"
        self.web.add(host, self.authority.certificate(host, **row.web),
                     (row.status, row.kind, row.policy.format(d=row.domain, mode=row.mode), row.headers))
        records.update({row.domain: [f"MX 10 mx.{row.domain}."], f"mx.{row.domain}": [f"A {server.address}"],
                        host: [f"A {self.web.address}"]})
        if row.records:
            records[f"_mta-sts.{row.domain}"] = [f'TXT "{text}"' for text in row.records]

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
    kind = "deferred" if row.outcome == DEFERRED else "delivered"
    event = world.relay.send(row.rule, mail.message(to=f"user@{row.domain}"), kind=kind, seconds=30)
    server = world.servers[row.rule]
    assert re.search(row.why, " ".join(str(event.get(key, "")) for key in ("policy", "reason", "reply"))), event
    if kind == "delivered":
        assert server.transactions[0].is_secured == (row.outcome == SECURED), event
    else:
        assert not server.said("MAIL|RCPT|DATA|BDAT"), server.commands
    shown = world.relay.run("route", row.domain, "--json", json_out=True)
    assert bool(shown.get("mta_sts_problem")) == bool(row.problem), shown
    assert re.search(row.problem or "", shown.get("mta_sts_problem", "")), shown


def test_policy_outlives_kill_and_is_kept_when_record_and_server_are_gone(world):
    """The last test: it takes the policies away."""
    row = next(row for row in ROWS if row.rule == "enforce_without_starttls_defers")
    world.relay.kill()
    world.web.answers.clear()
    world.names.update({f"_mta-sts.{row.domain}": ['TXT "v=STSv1; id=new;"']})
    world.relay.start()
    event = world.relay.send("again", mail.message(to=f"user@{row.domain}"), kind="deferred", seconds=30)
    assert "TLS is required" in event["reason"] and not world.servers[row.rule].said("MAIL")
    shown = world.relay.run("route", row.domain, "--json", json_out=True)
    assert shown["mta_sts"]["id"] == "20261124" and "status 404" in shown["mta_sts_problem"]


def corpus_cases(corpora):
    """(records by name, policies by host, verdict by domain) of postfix-mta-sts-resolver's tests (tests/corpora/mtasts)."""
    folder = corpora / "mtasts"
    records, policies, verdicts = {}, {}, {}
    for line in (folder / "dnsmasq.conf.appendix").read_text().splitlines():
        if found := re.fullmatch(r'txt-record=(.+?),"(.*)"', line):
            records[found[1]] = found[2]
    for line in (folder / "policies.tsv").read_text().splitlines()[1:]:
        host, status, kind, body, certificate = line.split("\t")
        policies[host] = (int(status), kind, body.replace("\\n", "\n"), "bad-certs" not in certificate)
    for line in (folder / "refdata.tsv").read_text().splitlines():
        key, verdict = line.split("\t")
        domain = key.split()[1].rstrip(".")
        if re.fullmatch(r"[\w-]+\.loc", domain):  # brackets and ports are Postfix's
            verdicts[domain] = verdict.startswith("OK secure")
    return records, policies, verdicts


def test_the_cases_of_postfix_mta_sts_resolver_have_its_verdicts(corpora, open_things, make_relay, make_server):
    txt, policies, verdicts = corpus_cases(corpora)
    assert len(verdicts) == 11 and sum(verdicts.values()) == 1
    authority, web = Authority(), PolicyServer()
    open_things += [authority, web]
    records = {"mail.loc": [f"A {make_server().address}"]} | {name: [f'TXT "{text}"'] for name, text in txt.items()}
    for domain in verdicts:
        host = f"mta-sts.{domain}"
        records |= {domain: ["MX 10 mail.loc."], host: [f"A {web.address}"]}
        status, kind, body, is_trusted = policies.get(host, (404, "text/plain", "", False))
        web.add(host, authority.certificate(host, self_signed=not is_trusted), (status, kind, body, {}))
    names = NameServer(records)
    open_things.append(names)
    relay = make_relay({"dns": {"servers": [names.address]}, "delivery": {"port": MX_PORT},
                        "mta_sts": {"port": MX_PORT, "ca_file": str(authority.file)}}, start=False)
    for domain, is_enforced in verdicts.items():
        tls = relay.run("route", f"user@{domain}", "--json", check=0, json_out=True)["hosts"][0]["tls"]
        assert (tls["source"], tls["level"]) == (("mta-sts", "verify") if is_enforced else ("opportunistic", "may")), (domain, tls)


JUDGED = {row.rule: row for row in ROWS if row.problem or row.rule in ("enforce_good_is_verified", "enforce_mx_not_listed_defers",
                                                                       "testing_delivers", "none_is_no_policy", "no_record_is_no_policy")}
# Where mta-sts-query decides otherwise.
QUERY_DIFFERS = {
    "malformed_record_is_no_policy": "it takes whatever stands behind id=; RFC 8461 3.1 wants letters and digits",
}


@pytest.mark.skipif(not finger.IS_POSSIBLE, reason="root, unbound, mta-sts-query and a mount namespace are needed")
def test_mta_sts_query_agrees(make_relay, open_things):
    def keep(thing):
        open_things.append(thing)
        return thing
    authority, web, records = keep(Authority()), keep(PolicyServer(443)), {}
    for rule, row in JUDGED.items():
        domain = rule.replace("_", "-") + ".test"
        host = f"mta-sts.{domain}"
        web.add(host, authority.certificate(host, **row.web), (row.status, row.kind, row.policy.format(d=domain, mode=row.mode), row.headers))
        records |= {domain: [f"MX 10 mx.{domain}."], f"mx.{domain}": ["A 127.0.0.2"], host: [f"A {web.address}"]}
        if row.records:
            records[f"_mta-sts.{domain}"] = [f'TXT "{text}"' for text in row.records]
    names = keep(NameServer(records))
    judge = keep(finger.Judge(names, authority))
    relay = make_relay({"dns": {"servers": [names.address]}, "mta_sts": {"ca_file": str(authority.file)}}, start=False)
    for rule in JUDGED:
        domain = rule.replace("_", "-") + ".test"
        shown = relay.run("route", domain, "--json", json_out=True)
        said = judge.mta_sts(domain)
        ours = shown["mta_sts"]["mode"] if shown.get("mta_sts") else None
        found = re.search(r"'mode': '(\w+)'", said)
        theirs = found[1] if found else None
        assert (ours != theirs) == (rule in QUERY_DIFFERS), (rule, ours, said)
