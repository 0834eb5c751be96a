"""Reports about TLS (RFC 8460): what is counted, and how a finished day reaches who asked for it."""
import datetime
import email
import gzip
import json
import re
import ssl
import subprocess

import pytest

from lib import mail
from lib.names import NameServer
from lib.policies import PolicyServer
from lib.ports import MX_PORT
from lib.relay import BINARY
from lib.scripted import EXTENSIONS, ScriptedServer
from lib.signed import Authority, SignedNameServer

SECURE = [*EXTENSIONS, "STARTTLS"]
# RFC 8460, appendix B, with the closing quote that it lacks.
EXAMPLE = json.loads("""{
 "organization-name": "Company-X",
 "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
 "contact-info": "sts-reporting@company-x.example",
 "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
 "policies": [{
   "policy": {"policy-type": "sts", "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
              "policy-domain": "company-y.example", "mx-host": ["*.mail.company-y.example"]},
   "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
   "failure-details": [
     {"result-type": "certificate-expired", "sending-mta-ip": "2001:db8:abcd:0012::1",
      "receiving-mx-hostname": "mx1.mail.company-y.example", "failed-session-count": 100},
     {"result-type": "starttls-not-supported", "sending-mta-ip": "2001:db8:abcd:0013::1",
      "receiving-mx-hostname": "mx2.mail.company-y.example", "receiving-ip": "203.0.113.56", "failed-session-count": 200,
      "additional-information": "https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported"},
     {"result-type": "validation-failure", "sending-mta-ip": "198.51.100.62", "receiving-ip": "203.0.113.58",
      "receiving-mx-hostname": "mx-backup.mail.company-y.example", "failed-session-count": 3,
      "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"}]}]}""")
RESULT_TYPES = {"starttls-not-supported", "certificate-host-mismatch", "certificate-expired", "certificate-not-trusted",
                "validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required", "sts-policy-fetch-error",
                "sts-policy-invalid", "sts-webpki-invalid"}


def check_form(given, example, place="report"):
    """Names and types are those of the example; a name that the example lacks is none of the RFC's."""
    assert type(given) is type(example), (place, given)
    if isinstance(given, dict):
        for key, value in given.items():
            likes = example if key in example else next((e for e in EXAMPLE["policies"][0]["failure-details"] if key in e), example)
            assert key in likes, (place, key)
            check_form(value, likes[key], f"{place}.{key}")
    elif isinstance(given, list):
        for value in given:
            check_form(value, example[0], place)
    elif "datetime" in place:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", given)
    elif place.endswith("result-type"):
        assert given in RESULT_TYPES
    elif place.endswith("policy-type"):
        assert given in ("tlsa", "sts", "no-policy-found")


def day(back=0):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=back)).strftime("%Y-%m-%d")


@pytest.fixture
def authority(open_things):
    made = Authority()
    open_things.append(made)
    return made


def secured(authority, name, **options):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.certificate(name, **options))
    return context


def summary(report):
    """{policy type: (secured, failed, result types)} of one domain's report."""
    return {entry["policy"]["policy-type"]: (entry["summary"]["total-successful-session-count"],
                                             entry["summary"]["total-failure-session-count"],
                                             [detail["result-type"] for detail in entry["failure-details"]])
            for entry in report["policies"]}


def test_sessions_are_counted_by_domain_and_policy(make_relay, open_things, authority):
    def keep(thing):
        open_things.append(thing)
        return thing
    web = keep(PolicyServer())
    plain, opportunistic = keep(ScriptedServer()), keep(ScriptedServer(extensions=SECURE))
    mismatch = keep(ScriptedServer(extensions=SECURE))
    sts_good = keep(ScriptedServer(extensions=SECURE, context=secured(authority, "mx.good.test")))
    sts_bad = keep(ScriptedServer(extensions=SECURE, context=secured(authority, "mx.bad.test", expired=True)))
    records = {f"_{MX_PORT}._tcp.mx.dane.test": ["TLSA 3 1 1 " + "ab" * 32]}
    for name, server in (("plain", plain), ("open", opportunistic), ("dane", mismatch), ("good", sts_good), ("bad", sts_bad)):
        records |= {f"{name}.test": [f"MX 10 mx.{name}.test."], f"mx.{name}.test": [f"A {server.address}"]}
    for name in ("good", "bad"):
        host = f"mta-sts.{name}.test"
        web.add(host, authority.certificate(host), (200, "text/plain", f"version: STSv1\nmode: testing\nmx: mx.{name}.test\nmax_age: 86400\n", {}))
        records |= {host: [f"A {web.address}"], f"_mta-sts.{name}.test": ['TXT "v=STSv1; id=1;"']}
    names = keep(SignedNameServer(records))
    relay = make_relay({"dns": {"servers": [names.address], "trust_anchor": str(names.anchor)}, "tlsrpt": {"enabled": True},
                        "queue": {"retry_first": "1h"},
                        "delivery": {"port": MX_PORT, "tls_ca_file": str(authority.file)},
                        "mta_sts": {"port": MX_PORT, "ca_file": str(authority.file)}})
    for name, kind in (("plain", "delivered"), ("open", "delivered"), ("dane", "deferred"), ("good", "delivered"), ("bad", "delivered")):
        relay.send(f"{name}.eml", mail.message(to=f"u@{name}.test"), kind=kind, seconds=30)
    relay.send("optional.eml", mail.message(to="u@plain.test", more="TLS-Required: No\r\n"))
    relay.stop()
    wanted = {"plain": {"no-policy-found": (0, 1, ["starttls-not-supported"])}, "open": {"no-policy-found": (1, 0, [])},
              "dane": {"tlsa": (0, 1, ["validation-failure"])}, "good": {"sts": (1, 0, [])},
              "bad": {"sts": (0, 1, ["certificate-expired"])}}
    for name, counted in wanted.items():
        report = json.loads(relay.run("tlsrpt", f"{name}.test", check=0).stdout)
        check_form(report, EXAMPLE)
        assert summary(report) == counted, report
    policy = json.loads(relay.run("tlsrpt", "good.test", check=0).stdout)["policies"][0]["policy"]
    assert policy == {"policy-type": "sts", "policy-domain": "good.test", "mx-host": ["mx.good.test"],
                      "policy-string": ["version: STSv1", "mode: testing", "mx: mx.good.test", "max_age: 86400"]}
    report = json.loads(relay.run("tlsrpt", "dane.test", check=0).stdout)["policies"][0]
    assert report["policy"]["policy-string"] == ["3 1 1 " + "ab" * 32]
    assert report["failure-details"][0]["receiving-ip"] == mismatch.address
    assert b"1 secured, 0 failed" in relay.run("tlsrpt", check=0).stdout
    relay.start()  # what was counted today is gone on with
    relay.send("again.eml", mail.message(to="u@open.test"))
    relay.stop()
    assert summary(json.loads(relay.run("tlsrpt", "open.test", check=0).stdout)) == {"no-policy-found": (2, 0, [])}
    relay.run("tlsrpt", "never.test", check=66)


def test_a_finished_day_is_reported_by_mail_and_https_once(make_relay, make_server, open_things, authority, tmp_path):
    web, receiver = PolicyServer(), make_server()
    open_things.append(web)
    web.add("web.test", authority.certificate("web.test"), (201, "", "", {}))
    broken = make_server()
    records = {"rua.test": ["MX 10 mx.rua.test."], "mx.rua.test": [f"A {receiver.address}"], "web.test": [f"A {web.address}"],
               "mx.none.test": [f"A {broken.address}"],
               "_smtp._tls.mailed.test": ['TXT "v=TLSRPTv1; rua=mailto:tls@rua.test"'],
               "_smtp._tls.posted.test": [f'TXT "v=TLSRPTv1;rua=https://web.test:{MX_PORT}/v1/tlsrpt"'],
               "_smtp._tls.twice.test": ['TXT "v=TLSRPTv1;rua=mailto:a@rua.test"', 'TXT "v=TLSRPTv1;rua=mailto:b@rua.test"']}
    names = NameServer(records, broken=["later.test"])
    open_things.append(names)
    done = subprocess.run([BINARY, "dkim", "keygen", "relay.test", "--selector", "s1", "--dir", tmp_path], check=True, capture_output=True, text=True)
    keys = re.search(r'keys = "(.*)"', done.stdout)[1]
    relay = make_relay({"dns": {"servers": [names.address]}, "delivery": {"port": MX_PORT},
                        "dkim": {"relay.test": {"keys": keys}},
                        "mta_sts": {"ca_file": str(authority.file)},
                        "tlsrpt": {"enabled": True, "delay": "0ms", "organization": "Relay Inc.", "contact": "admin@relay.test"}}, start=False)
    policies = EXAMPLE["policies"]
    folder = relay.root / "Queue" / "tlsrpt"
    folder.mkdir(parents=True)
    domains = {name: policies for name in ("mailed.test", "posted.test", "twice.test", "none.test", "_smtp._tls.x.later.test")}
    (folder / f"{day(1)}.json").write_text(json.dumps(domains))
    (folder / f"{day(9)}.json").write_text(json.dumps(domains))
    subprocess.run(["chown", "-R", "nobody", str(relay.root / "Queue")], check=True)
    relay.start()
    reported = relay.wait_events("reported", 2)
    assert {re.search(r"for (\S+) to", event["note"])[1] for event in reported} == {"mailed.test", "posted.test"}
    transaction = receiver.wait_transactions(1)[0]
    message = email.message_from_bytes(transaction.content)
    assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "tlsrpt"
    assert message["TLS-Report-Domain"] == "mailed.test" and message["TLS-Report-Submitter"] == "relay.test"
    assert message["TLS-Required"] == "No" and message["DKIM-Signature"] and message["Message-ID"]
    assert re.match(r"Report Domain: mailed\.test\s+Submitter: relay\.test\s+Report-ID: <[0-9a-f]{32}>$", message["Subject"])
    text, part = message.get_payload()
    assert text.get_content_type() == "text/plain" and part.get_content_type() == "application/tlsrpt+gzip"
    assert re.fullmatch(r"relay\.test!mailed\.test!\d{10}!\d{10}!\w+\.json\.gz", part.get_filename())
    report = json.loads(gzip.decompress(part.get_payload(decode=True)))
    check_form(report, EXAMPLE)
    assert report["policies"] == policies and report["organization-name"] == "Relay Inc."
    assert report["date-range"] == {"start-datetime": f"{day(1)}T00:00:00Z", "end-datetime": f"{day(1)}T23:59:59Z"}
    (path, kind, body), = web.posted
    assert (path, kind) == ("/v1/tlsrpt", "application/tlsrpt+gzip")
    assert json.loads(gzip.decompress(body))["policies"] == policies
    relay.wait_event("delivered", to="tls@rua.test")
    relay._wait(lambda: set(json.loads((folder / f"{day(1)}.json").read_text())) == {"_smtp._tls.x.later.test"}, "one domain left", 15)
    assert not (folder / f"{day(9)}.json").exists()
    relay.stop()
    assert not (folder / f"{day()}.json").exists()  # the report's own mail is not counted
    relay.start()
    relay.drop("more.eml", mail.message(to="u@rua.test"))
    relay.wait_event("delivered", pickup="more.eml")
    assert len(relay.events("reported")) == 2


def test_a_post_that_fails_is_kept_for_another_time(make_relay, open_things, authority):
    web = PolicyServer()
    open_things.append(web)
    web.add("web.test", authority.certificate("web.test"), (500, "", "", {}))
    names = NameServer({"web.test": [f"A {web.address}"], "_smtp._tls.posted.test": [f'TXT "v=TLSRPTv1;rua=https://web.test:{MX_PORT}/x"']})
    open_things.append(names)
    relay = make_relay({"dns": {"servers": [names.address]}, "mta_sts": {"ca_file": str(authority.file)},
                        "tlsrpt": {"enabled": True, "delay": "0ms"}}, start=False)
    folder = relay.root / "Queue" / "tlsrpt"
    folder.mkdir(parents=True)
    (folder / f"{day(1)}.json").write_text(json.dumps({"posted.test": EXAMPLE["policies"]}))
    subprocess.run(["chown", "-R", "nobody", str(relay.root / "Queue")], check=True)
    relay.start()
    assert "500" in relay.wait_event("warning", note=re.compile("posted.test"))["reason"]
    relay.stop()
    assert "posted.test" in json.loads((folder / f"{day(1)}.json").read_text())
