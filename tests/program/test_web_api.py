"""The API: who may ask, what changes, what is sent; and what strangers and other pages can't do."""
import base64
import hashlib
import http.client
import json
import os
import pathlib
import re
import ssl
import stat
import warnings

import pytest

from lib import crowd, mail
from lib.ports import free_port
from lib.signed import Authority
from lib.watch import wait_until
from lib.web import Web, read_mail, web_config


@pytest.fixture
def api(relay_to, make_aio, make_server):
    """A relay with the web process, whose mail goes to a server that takes it."""
    server = make_aio()
    web = Web(relay_to(server, {"web": web_config()}))
    web.server = server
    return web


@pytest.fixture
def stuck(relay_to):
    """A relay whose mail waits: nobody listens where it goes."""
    class Nobody:
        address, port = "127.0.0.1", free_port()
    web = Web(relay_to(Nobody(), {"web": web_config(), "queue": {"retry_first": "1h"}}))
    for number in range(3):
        web.relay.drop(f"m{number}.eml", mail.message(to=f"u{number}@d{number % 2}.test", subject=f"number {number}"))
    web.relay.wait_events("deferred", 3)
    return web


def test_the_token_is_made_once_and_is_nobody_elses(api):
    file = api.relay.root / "web.token"
    token = api.token()
    assert len(token) == 64 and stat.S_IMODE(file.stat().st_mode) == 0o600
    api.relay.stop()
    api.relay.start()
    Web(api.relay)
    assert api.token() == token
    assert token not in api.relay.stderr_text() and token not in (api.relay.root / "Log" / "events.jsonl").read_text()


def test_without_a_token_only_health_page_and_description_are_shown(api):
    open_paths = {"/healthz": 200, "/readyz": 200, "/openapi.json": 200, "/admin/": 200, "/admin/admin.js": 200, "/admin": 303}
    closed = ["/metrics", "/v1/status", "/v1/messages", "/v1/messages/0000000000000001", "/v1/badmail", "/v1/trace?q=a", "/v1/events",
              "/v1/graph", "/v1/domains", "/v1/destinations"]
    for path, code in open_paths.items():
        assert api.get(path)[0] == code, path
    for path in closed:
        assert api.get(path)[0] == 401, path
        assert api.get(path, {"Authorization": "Bearer " + "0" * 64})[0] == 401, path
    assert api.ask("POST", "/v1/messages", b"{}", {"Content-Type": "application/json"})[0] == 401
    assert api.ask("DELETE", "/v1/status")[0] == 405 and api.get("/v1/none", {"Authorization": "x"})[0] == 404


def test_tokens_have_scopes(relay_to, make_aio):
    tokens = {scope: hashlib.sha256(scope.encode()).hexdigest() for scope in ("read", "send", "manage", "read+send")}
    web = Web(relay_to(make_aio(), {"web": web_config({"tokens": [f"t:{scope}:{digest}" for scope, digest in tokens.items()]})}))
    message = {"from": "a@b.test", "to": "c@d.test"}
    for scope in tokens:
        assert web.api("GET", "/v1/status", token=scope)[0] == (200 if "read" in scope else 403)
        assert web.api("POST", "/v1/messages", message, token=scope)[0] == (202 if "send" in scope else 403)
        change = {"verb": "hold", "filter": {"domain": "x.test"}}
        assert web.api("POST", "/v1/messages/change", change, token=scope)[0] == (200 if "manage" in scope else 403)


def login(web):
    status, headers, _ = web.ask("POST", "/admin/login", json.dumps({"token": web.token()}).encode(),
                                 {"Content-Type": "application/json"})
    assert status == 200
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    return cookie.split(";")[0]


CHANGE = json.dumps({"verb": "remove", "all": True}).encode()
FOREIGN = [  # what a page of another site can make a browser send
    ({"Content-Type": "application/json"}, 401),
    ({"Content-Type": "text/plain"}, 401),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 401),
    ({"Content-Type": "multipart/form-data; boundary=x"}, 401),
    ({"Content-Type": "application/json", "Origin": "https://evil.test"}, 401),
    ({"Content-Type": "application/json", "X-Mailroot": "1", "Origin": "https://evil.test"}, 401),
    ({"Content-Type": "application/json", "X-Mailroot": "1", "Origin": "null"}, 401),
    ({"Content-Type": "text/plain", "X-Mailroot": "1"}, 415),
]


def test_A1_another_page_changes_nothing(stuck):
    cookie = login(stuck)
    for headers, code in FOREIGN:
        assert stuck.ask("POST", "/v1/messages/change", CHANGE, {"Cookie": cookie, **headers})[0] == code, headers
        assert stuck.ask("POST", "/v1/messages", CHANGE, {"Cookie": cookie, **headers})[0] in (code, 415, 422), headers
    for path in ("/v1/messages/change", "/admin/logout", "/v1/badmail/x"):
        assert stuck.get(path, {"Cookie": cookie})[0] in (404, 405), path
    assert stuck.relay.status()["messages"] == 3
    ours = {"Cookie": cookie, "Content-Type": "application/json", "X-Mailroot": "1", "Origin": f"http://127.0.0.1:{stuck.port}"}
    assert stuck.ask("POST", "/v1/messages/change", CHANGE, ours)[0] == 200
    assert stuck.relay.status()["messages"] == 0
    assert stuck.ask("POST", "/admin/logout", b"", ours)[0] == 200
    assert stuck.get("/v1/status", {"Cookie": cookie})[0] == 401


@pytest.fixture
def authority():
    made = Authority()
    yield made
    made.close()


def test_https_serves_page_api_and_forms_with_the_configs_certificate(relay_to, make_aio, authority):
    """Over the network nothing but TLS 1.2 and newer is spoken; the session's cookie is for HTTPS alone."""
    certificate, key = authority.certificate("localhost")
    for file in (certificate, key):
        os.chmod(file, 0o644)
    web = Web(relay_to(make_aio(), {"web": web_config({"certificate": certificate, "key": key})}))
    context = ssl.create_default_context(cafile=str(authority.file))

    def ask(method, path, body=None, headers=None, using=context):
        connection = http.client.HTTPSConnection("localhost", web.port, timeout=20, context=using)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    assert ask("GET", "/healthz")[0] == 200 and ask("GET", "/admin/")[0] == 200
    status, headers, _ = ask("POST", "/admin/login", json.dumps({"token": web.token()}).encode(), {"Content-Type": "application/json"})
    assert status == 200 and "; Secure" in headers["Set-Cookie"]
    message = json.dumps({"from": "a@b.test", "to": "c@d.test", "text": "by https"}).encode()
    status, _, _ = ask("POST", "/v1/messages", message, {"Content-Type": "application/json", "Authorization": f"Bearer {web.token()}"})
    assert status == 202
    web.relay.wait_event("delivered", to="c@d.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        ask("GET", "/healthz", using=ssl.create_default_context())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(authority.file)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        old.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask("GET", "/healthz", using=old)
    assert b"200" not in web.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "in the clear")[:40]


def test_a_certificate_that_is_none_stops_the_start(relay_to, make_aio, authority, tmp_path):
    certificate, key = authority.certificate("localhost")
    broken = authority.folder / "broken.pem"
    broken.write_text("no certificate")
    for changes in ({"certificate": str(broken), "key": key}, {"certificate": "/nowhere.pem", "key": key}):
        relay = relay_to(make_aio(), {"web": web_config(changes)}, start=False)
        done = relay.run("run")
        assert done.returncode == 78 and b"web: " in done.stderr, done.stderr


@pytest.mark.parametrize("host", ["evil.test", "localhost.evil.test", "", "127.0.0.1.evil.test:80", "169.254.1.1"])
def test_A2_other_names_get_no_answer(api, host):
    for path in ("/admin/", "/v1/status", "/metrics", "/healthz"):
        answer = api.raw(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert answer.split(b" ")[1] in (b"421", b"400"), (path, answer)
    assert api.get("/healthz", {"Host": f"localhost:{api.port}"})[0] == 200


def test_A4_wrong_tokens_are_slowed_down(api):
    codes = [api.ask("POST", "/admin/login", b'{"token": "x"}', {"Content-Type": "application/json"})[0] for _ in range(12)]
    assert codes[:10] == [401] * 10 and 429 in codes[10:]


def test_A6_ids_are_checked_before_use(stuck):
    for path in ("..%2f..%2fetc", "0", "%00", "zzzzzzzzzzzzzzzz", "a" * 5000, "-1", "%ff"):
        assert stuck.api("GET", f"/v1/messages/{path}")[0] in (400, 404, 414), path
        assert stuck.api("GET", f"/v1/badmail/{path}")[0] in (400, 404, 414), path
        assert stuck.api("POST", f"/v1/badmail/{path}", {})[0] in (400, 404, 414), path
        assert stuck.api("DELETE", f"/v1/badmail/{path}")[0] in (400, 404, 414), path


def test_the_queue_is_searched_and_changed(stuck):
    status, found = stuck.api("GET", "/v1/messages")
    assert status == 200 and len(found["messages"]) == 3 and not found["has_more"]
    assert len(stuck.api("GET", "/v1/messages?domain=d0.test")[1]["messages"]) == 2
    assert len(stuck.api("GET", "/v1/messages?recipient=u1*")[1]["messages"]) == 1
    assert stuck.api("GET", "/v1/messages?limit=1")[1]["has_more"]
    one = found["messages"][0]["id"]
    for verb, state in (("hold", "held"), ("release", "queued"), ("retry", "queued")):
        assert stuck.api("POST", "/v1/messages/change", {"verb": verb, "filter": {"ids": [one]}}) == (200, {"count": 1})
        message = stuck.api("GET", f"/v1/messages/{one}")[1]["message"]
        assert message["recipients"][0]["state"] == state and "Subject: number" in message["header"]
    assert stuck.api("POST", "/v1/messages/change", {"verb": "reroute", "route": "127.0.0.1:1", "filter": {"ids": [one]}})[0] == 200
    assert stuck.api("POST", "/v1/messages/change", {"verb": "remove", "filter": {}})[0] == 422
    assert stuck.api("POST", "/v1/messages/change", {"verb": "explode", "all": True})[0] == 422
    assert stuck.api("POST", "/v1/messages/change", {"verb": "remove", "filter": {"nonsense": 1, "ids": [one]}})[0] == 422
    assert stuck.api("POST", "/v1/messages/change", {"verb": "remove", "filter": {"ids": [one]}})[0] == 200
    story = stuck.api("GET", f"/v1/messages/{one}")[1]
    assert "message" not in story and "removed" in [event["event"] for event in story["events"]]
    destinations = {d["domain"]: d for d in stuck.api("GET", "/v1/destinations")[1]["destinations"]}
    assert destinations["d1.test"]["messages"] == 1 and "refused" in destinations["d1.test"]["reply"].lower()


def test_all_of_a_deep_queue_is_summed_by_destination(make_relay):
    relay = make_relay({"web": web_config()})
    relay.stop()
    crowd.fill(relay, 12000, domains=300)
    relay.start()
    web = Web(relay)
    wait_until(lambda: not web.api("GET", "/v1/destinations")[1]["is_partial"], 20, what="the whole count")
    found = web.api("GET", "/v1/destinations")[1]
    assert found["domains"] == 300 and len(found["destinations"]) == 200
    assert {(d["messages"], d["recipients"], d["reply"]) for d in found["destinations"]} == {(40, 40, "connection refused")}


def test_a_message_of_fields_is_sent_with_its_files(api):
    status, answer = api.api("POST", "/v1/messages", {
        "from": "Zo\xeb K\xf6nig <zoe@shop.test>", "to": ["Ann <ann@x.test>", "bob@x.test"], "bcc": "eve@x.test",
        "subject": "Gr\xfc\xdfe", "text": "Hall\xf6chen", "html": "<p>Hall\xf6chen</p>", "reply_to": "desk@shop.test",
        "attachments": [{"name": "\u7d50\u679c.bin", "type": "application/x-y", "content": base64.b64encode(b"\x00\xff").decode()}]})
    assert status == 202 and answer["pickup"].endswith(".eml")
    envelope = api.server.wait(1)[0]
    message = read_mail(envelope.original_content)
    assert sorted(envelope.rcpt_tos) == ["ann@x.test", "bob@x.test", "eve@x.test"] and envelope.mail_from == "zoe@shop.test"
    assert message["Subject"] == "Gr\xfc\xdfe" and message["From"] == "Zo\xeb K\xf6nig <zoe@shop.test>" and message["Bcc"] is None
    assert message.get_body(("plain",)).get_content().strip() == "Hall\xf6chen"
    assert message.get_body(("html",)).get_content().strip() == "<p>Hall\xf6chen</p>"
    attachment, = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("\u7d50\u679c.bin", b"\x00\xff")


def test_raw_octets_are_sent_as_they_are_once_for_each_key(api):
    body = mail.message(subject="raw", body="dot\r\n.dot\r\n")
    headers = {"Authorization": f"Bearer {api.token()}", "Content-Type": "message/rfc822", "Idempotency-Key": "k1"}
    first = api.ask("POST", "/v1/messages?sender=s@x.test&recipient=r@y.test,%20q@y.test", body, headers)
    again = api.ask("POST", "/v1/messages?sender=s@x.test&recipient=r@y.test,%20q@y.test", body, headers)
    assert first[0] == again[0] == 202 and first[2] == again[2]
    assert api.ask("POST", "/v1/messages?sender=s@x.test&recipient=r@y.test", body, {**headers, "Idempotency-Key": "k2"})[0] == 202
    envelopes = api.server.wait(2)
    assert {tuple(envelope.rcpt_tos) for envelope in envelopes} == {("r@y.test", "q@y.test"), ("r@y.test",)}
    assert b"\r\n.dot\r\n" in envelopes[0].original_content


def test_a_key_is_remembered_over_a_restart(api):
    headers = {"Authorization": f"Bearer {api.token()}", "Content-Type": "message/rfc822", "Idempotency-Key": "k1"}
    assert api.ask("POST", "/v1/messages", mail.message(), headers)[0] == 202
    api.relay.wait_event("delivered")
    api.relay.kill()
    api.relay.start()
    headers["Authorization"] = f"Bearer {api.token()}"
    wait_until(lambda: api.ask("POST", "/v1/messages", mail.message(), headers)[0] == 202, 10, what="the web process")
    event = api.relay.wait_event("duplicate")
    assert event["about"] == api.relay.events("taken")[0]["id"]


def test_a_key_is_kept_over_a_restart(relay_to, make_aio):
    """The web process forgets its keys with its end; the relay knows them: the same key is not sent again."""
    server = make_aio()
    web = Web(relay_to(server, {"web": web_config()}))
    message = {"from": "a@b.test", "to": "c@d.test", "subject": "once"}
    assert web.api("POST", "/v1/messages", message, {"Idempotency-Key": "order-4711"})[0] == 202
    server.wait(1)
    web.relay.stop()
    web.relay.start()
    web = Web(web.relay)
    status, answer = web.api("POST", "/v1/messages", message, {"Idempotency-Key": "order-4711"})
    assert status == 202
    assert web.api("POST", "/v1/messages", {**message, "subject": "last"}, {"Idempotency-Key": "order-4712"})[0] == 202
    subjects = [read_mail(envelope.original_content)["Subject"] for envelope in server.wait(2)]
    web.relay.wait_empty()
    assert sorted(subjects) == ["last", "once"] and len(server.envelopes) == 2


BAD_FIELDS = [
    {}, {"to": "a@b.test"}, {"from": "a@b.test"}, {"from": "a@b.test", "to": "@"}, {"from": "a@b.test, c@d.test", "to": "a@b.test"},
    {"from": "a@b.test", "to": "a@b.test", "subject": "x\r\nBcc: e@f.test"}, {"from": "a@b.test", "to": "a@b.test", "headers": {}},
    {"from": "a@b.test", "to": "a@b.test", "attachments": [{"name": "x"}]}, {"from": "a@b.test", "to": ["a@b.test", 7]},
    {"from": "a@b.test", "to": "a@b.test", "attachments": [{"name": "x", "content": "%%%%"}]}, {"from": 7, "to": "a@b.test"},
]


def test_fields_that_make_no_message_are_refused_with_a_reason(api):
    for fields in BAD_FIELDS:
        status, answer = api.api("POST", "/v1/messages", fields)
        assert status == 422 and answer["error"], fields
    for body in (b"", b"[]", b"{", b"\xff", b'{"from": "a@b.test", "from": "c@d.test"}', b"[" * 100000):
        assert api.ask("POST", "/v1/messages", body, {"Authorization": f"Bearer {api.token()}", "Content-Type": "application/json"})[0] == 422
    assert not api.server.envelopes and not api.relay.waiting()


def test_badmail_is_shown_mended_and_sent(api):
    api.relay.drop("broken.eml", b"To: c@d.test\r\nSubject: <b>x</b>\r\n\r\nhi\r\n")
    api.relay.wait_event("refused")
    listed = api.api("GET", "/v1/badmail")[1]["badmail"]
    assert len(listed) == 1 and "sender" in listed[0]["reason"] and listed[0]["file"] == "broken.eml"
    name = listed[0]["name"]
    shown = api.api("GET", f"/v1/badmail/{name}")[1]
    assert shown["message"].startswith("To: c@d.test")
    status, answer = api.api("POST", f"/v1/badmail/{name}", {"message": "From: a@b.test\r\n" + shown["message"]})
    assert status == 202 and answer["removed"]
    assert read_mail(api.server.wait(1)[0].original_content)["From"] == "a@b.test"
    assert api.api("GET", "/v1/badmail")[1] == {"badmail": [], "total": 0}
    assert api.api("DELETE", f"/v1/badmail/{name}")[0] == 404


def test_what_happened_is_counted_told_and_drawn(api):
    api.relay.send("a.eml", mail.message(to="c@d.test"))
    metrics = api.get("/metrics", {"Authorization": f"Bearer {api.token()}"})[2].decode()
    assert "mailroot_up 1\n" in metrics and 'mailroot_delivery_seconds_bucket{le="+Inf"}' in metrics
    events = api.api("GET", "/v1/trace?q=a.eml")[1]["events"]
    assert [event["event"] for event in events][0] == "taken" and "delivered" in [event["event"] for event in events]
    for span in ("hour", "day", "month"):
        graph = api.api("GET", f"/v1/graph?span={span}")[1]
        assert len(graph["points"]) in (60, 96, 120)
    assert api.api("GET", "/v1/graph?span=year")[0] == 400
    assert api.api("GET", "/v1/status")[1]["hostname"] == "relay.test"
    assert api.api("GET", "/v1/domains")[1]["routes"][0]["domain"] == "*"


def test_events_are_pushed_as_they_happen(api):
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
    connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {api.token()}"})
    answer = connection.getresponse()
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/event-stream"
    assert answer.readline().startswith(b"retry")
    api.relay.send("a.eml", mail.message(to="c@d.test"))
    seen = b""
    while b'"delivered"' not in seen:
        seen += answer.read1(4096)
    connection.close()
    assert b"event: mail\ndata: {" in seen


EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def served(text):
    """The names of all time series of a Prometheus text, and the values of their label `kind`; what isn't of its form fails."""
    names, kinds = set(), set()
    for line in filter(None, text.split("\n")):
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP \w+ .+|TYPE \w+ (counter|gauge|histogram))", line), line
            continue
        found = re.fullmatch(r'(\w+)(\{(\w+="[^"\\\n]*",?)*\})? (-?[0-9.e+]+|NaN)', line)
        assert found, line
        names.add(found.group(1))
        kinds |= set(re.findall(r'kind="(\w+)"', line))
    return names, kinds


def test_every_metric_of_the_grafana_dashboard_is_served(api):
    api.relay.send("a.eml", mail.message(to="c@d.test"))
    names, kinds = served(api.get("/metrics", {"Authorization": f"Bearer {api.token()}"})[2].decode())
    dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    panels = dashboard["panels"]
    asked = set()
    for panel in panels:
        assert panel["targets"] and set(panel["gridPos"]) == {"x", "y", "w", "h"} and panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        for target in panel["targets"]:
            found = re.findall(r"\bmailroot_\w+", target["expr"])
            assert found and target["expr"].count("(") == target["expr"].count(")"), target
            asked |= set(found)
            for choice in re.findall(r'kind=~"([^"]*)"', target["expr"]):
                assert set(choice.split("|")) <= kinds, choice
    for variable in dashboard["templating"]["list"]:
        asked |= set(re.findall(r"\bmailroot_\w+", json.dumps(variable["query"])))
    assert asked <= names, asked - names
    assert {name for name in names if name.endswith("_total")} <= asked and len({panel["id"] for panel in panels}) == len(panels)
