"""The API fuzzed from its own description: every path, parameter and field with every kind of bad value. No 5xx, no crash, and only
answers that the description names."""
import copy
import http.client
import json
import random
import urllib.parse

import pytest

from lib import mail
from lib.web import Web, web_config

TEXTS = ["", " ", "\r\nBcc: evil@x.test", "a\nb", "\0", "\x7f", "\u0085", "x" * 20000, "'; DROP TABLE message; --", "../../../etc/passwd", "..\\..\\x",
         "%00", "%2e%2e%2f", "*" * 500, "*" * 60 + "a", "\u202egnp", "\U0001f4a3", "\u00fc" * 300, "<script>alert(1)</script>", "{{7*7}}", "${7*7}", "@",
         "a@b.test", "\"a b\"@c.test", "a@" + "b" * 300 + ".test", "[::1]:0", "-1", "NaN", "true", "null", "0000000000000001", "f" * 16, "F" * 16,
         "=?utf-8?B?eA==?=", "\ufeff", "a" * 998]
OTHERS = [None, True, False, 0, -1, 1, 2 ** 31, 2 ** 53 + 1, -2 ** 63, 1.5, 1e308, [], {}, [None], [[]], [""], [0], {"": ""}, {"a": {"b": []}}, ["a@b.test"] * 1500,
          [{}], [{"name": 1}], [{"name": "x", "content": "!"}], [{"name": "", "content": ""}], [{"name": "\r\n", "content": "AA=="}]]
TRANSPORT = {400, 404, 405, 413, 414, 415, 431}  # of any HTTP server, for what is no request of the description


@pytest.fixture(scope="module")
def api():
    from lib.receivers import AioSink
    from lib.relay import Relay, merge
    from conftest import everything_to
    server = AioSink()
    relay = Relay(merge(everything_to(server), {"web": web_config({"timeout": "10s"})}))
    web = Web(relay)
    relay.drop("bad.eml", b"Subject: nobody\r\n\r\n")
    relay.wait_event("refused")
    web.server = server
    yield web
    assert relay.request(do="status")["ok"]
    relay.close()
    server.close()


@pytest.fixture(scope="module")
def description(api):
    status, _, text = api.get("/openapi.json")
    assert status == 200
    return json.loads(text)


def ask(api, method, path, body=None, headers=None):
    """Status and body; a stream is read no further than its head."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {api.token()}", **(headers or {})})
        answer = connection.getresponse()
        is_stream = answer.headers["Content-Type"] == "text/event-stream"
        return answer.status, b"" if is_stream else answer.read(), answer.headers["Content-Type"]
    finally:
        connection.close()


def check(api, what, allowed, answer):
    status, body, kind = answer
    assert status < 500 and status in allowed, (what, status, body[:300])
    if status >= 400 and kind == "application/json":
        assert json.loads(body)["error"], what
    api.relay.check_alive()


def operations(description):
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation, {int(code) for code in operation["responses"]}


def path_of(template, values=None):
    for name in ("id", "name"):
        template = template.replace("{%s}" % name, urllib.parse.quote((values or {}).get(name, "0" * 15 + "1"), safe=""))
    return template


EXAMPLES = {"/v1/messages": {"from": "a@b.test", "to": "c@d.test", "subject": "s", "text": "t"},
            "/v1/messages/change": {"verb": "hold", "filter": {"domain": "nowhere.test"}},
            "/v1/badmail/{name}": {"message": "From: a@b.test\r\nTo: c@d.test\r\n\r\nx"}}
JSON = {"Content-Type": "application/json"}


def test_every_operation_answers_as_described_without_and_with_a_token(api, description):
    for path, method, operation, allowed in operations(description):
        body = json.dumps(EXAMPLES.get(path, {})).encode() if "requestBody" in operation else None
        check(api, (method, path), allowed | {404}, ask(api, method, path_of(path), body, JSON if body else {}))
        without = api.ask(method, path_of(path), body, JSON if body else {})[0]
        assert without == (401 if operation.get("security") else 200), (method, path)


def test_the_status_is_what_is_described(api, description):
    schema = description["paths"]["/v1/status"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    kinds = {"integer": int, "string": str, "array": list, "object": dict}
    status = api.api("GET", "/v1/status")[1]
    assert set(schema["properties"]) - set(status) == {"nodes"}, "of a shared queue alone"
    for name, value in status.items():
        assert isinstance(value, kinds[schema["properties"][name]["type"]]), name


def test_every_parameter_takes_any_text(api, description):
    for path, method, operation, allowed in operations(description):
        for parameter in operation.get("parameters", []):
            for text in TEXTS:
                values, query, headers = {}, "", {}
                if parameter["in"] == "path":
                    values = {parameter["name"]: text}
                elif parameter["in"] == "query":
                    query = "?" + urllib.parse.urlencode({parameter["name"]: text})
                elif all(" " <= letter <= "~" for letter in text):
                    headers = {parameter["name"]: text}
                else:
                    continue
                body = json.dumps(EXAMPLES[path]).encode() if "requestBody" in operation else None
                answer = ask(api, method, path_of(path, values) + query, body, {**headers, **(JSON if body else {})})
                check(api, (method, path, parameter["name"], text[:60]), allowed | TRANSPORT, answer)


def fields(schema, prefix=()):
    """The way to each field of a schema, and into lists' items and objects."""
    for name, part in schema.get("properties", {}).items():
        yield prefix + (name,)
        yield from fields(part, prefix + (name,))


def put(body, way, value):
    for name in way[:-1]:
        body = body.setdefault(name, {})
        if not isinstance(body, dict):
            return
    body[way[-1]] = value


def bodies(description):
    for path, method, operation, allowed in operations(description):
        if "requestBody" in operation:
            yield path, method, operation["requestBody"]["content"]["application/json"]["schema"], allowed


def test_every_field_of_every_body_takes_any_value(api, description):
    count = 0
    for path, method, schema, allowed in bodies(description):
        for way in fields(schema):
            for value in TEXTS + OTHERS:
                body = copy.deepcopy(EXAMPLES[path])
                put(body, way, value)
                check(api, (method, path, way, str(value)[:60]), allowed | {404, 413}, ask(api, method, path_of(path), json.dumps(body).encode(), JSON))
                count += 1
        for name in schema.get("required", []):
            body = {key: value for key, value in EXAMPLES[path].items() if key != name}
            assert ask(api, method, path_of(path), json.dumps(body).encode(), JSON)[0] in (404, 422), (path, name)
    assert count > 800


def test_a_field_of_the_wrong_type_is_refused_not_passed_over(api, description):
    wrong = {"string": [5, [], {}, True, None], "boolean": ["yes", 1, None, []], "object": ["x", 5, [], None], "array": [5, {}, True, None]}
    for path, method, schema, _ in bodies(description):
        if "{name}" in path:
            continue  # answered with 404 first
        for name, part in schema["properties"].items():
            for value in wrong.get(part.get("type"), []):
                body = {**EXAMPLES[path], name: value}
                assert ask(api, method, path, json.dumps(body).encode(), JSON)[0] == 422, (path, name, value)
        assert ask(api, method, path, json.dumps({**EXAMPLES[path], "surprise": 1}).encode(), JSON)[0] == 422


RAW = [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":' * 5000, b"[" * 100000, b'{"verb":"hold","verb":"remove"}', b'"' + b"x" * 100000, b"{}" * 3,
       b'{"from":"a@b.test\\u0000","to":"c@d.test"}', b'{"from":"a@b.test","to":"c@d.test","text":"\\ud800"}', b"\0" * 100]


def test_bodies_that_are_no_json_are_refused(api, description):
    for path, method, _, allowed in bodies(description):
        for raw in RAW:
            for kind in ("application/json", "application/json; charset=utf-16", "text/plain", "multipart/form-data; boundary=x", ""):
                answer = ask(api, method, path_of(path), raw, {"Content-Type": kind} if kind else {})
                check(api, (method, path, raw[:40], kind), allowed | TRANSPORT, answer)
                assert answer[0] >= 400


def random_value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind < 3:
        return rng.choice(TEXTS)
    if kind < 5:
        return rng.choice(OTHERS)
    if kind == 5:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["from", "to", "ids", "verb", "filter", "name", "content", "", "x"]): random_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def test_random_bodies(api, description):
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    for path, method, schema, allowed in bodies(description):
        names = list(schema["properties"]) + ["surprise"]
        for _ in range(200):
            body = {rng.choice(names): random_value(rng) for _ in range(rng.randrange(1, 6))}
            body.pop("all", None) if rng.random() < 0.5 else None
            check(api, (seed, method, path, str(body)[:300]), allowed | {404, 413}, ask(api, method, path_of(path), json.dumps(body).encode(), JSON))


def test_what_was_accepted_is_mail_without_a_line_of_a_stranger(api):
    """No value of the tests before became a line of a header."""
    api.relay.send("last.eml", mail.message(to="c@d.test"))
    headers = [envelope.original_content.split(b"\r\n\r\n")[0].lower() for envelope in api.server.envelopes]
    assert headers
    for header in headers:
        names = [line.split(b":")[0] for line in header.split(b"\r\n") if line[:1] not in b" \t"]
        assert b"bcc" not in names and b"b" not in names and names.count(b"from") == 1, header
