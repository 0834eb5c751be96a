"""A collector of OpenTelemetry: takes OTLP over HTTP in JSON, and has each request judged by OpenTelemetry's own protocol definition."""
import base64
import json
import os
import re
import subprocess

from lib.endpoint import Endpoint
from lib.verifiers import node_path
from lib.watch import wait_until

# The message as protobuf and back again: what the definition doesn't know, or knows as another type, is not there afterwards.
JUDGE = """
const root = require("@opentelemetry/otlp-transformer/build/src/generated/root");
const assert = require("assert");
const type = root.opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest;
for (const request of JSON.parse(require("fs").readFileSync(0))) {
    const wrong = type.verify(type.fromObject(request));
    assert.strictEqual(wrong, null);
    const back = type.toObject(type.decode(type.encode(type.fromObject(request)).finish()), { longs: String, bytes: String });
    assert.deepStrictEqual(JSON.parse(JSON.stringify(back)), request);
}
"""
# OTLP 1.x, "JSON Protobuf Encoding": ids are hexadecimal, where protobuf's own JSON has base64.
IDS = {"traceId": 32, "spanId": 16, "parentSpanId": 16}


def value_of(attribute):
    (kind, value), = attribute["value"].items()
    return int(value) if kind == "intValue" else value


def as_protobuf(part):
    """A copy with its ids in base64."""
    if isinstance(part, list):
        return [as_protobuf(item) for item in part]
    if not isinstance(part, dict):
        return part
    copy = {}
    for key, value in part.items():
        if key in IDS:
            assert re.fullmatch(f"[0-9a-f]{{{IDS[key]}}}", value) and int(value, 16), (key, value)
            copy[key] = base64.b64encode(bytes.fromhex(value)).decode()
        else:
            copy[key] = as_protobuf(value)
    return copy


class Span:
    def __init__(self, fields, resource):
        self.fields, self.resource = fields, resource
        self.name, self.trace, self.id, self.parent = fields["name"], fields["traceId"], fields["spanId"], fields.get("parentSpanId")
        self.begin, self.end = int(fields["startTimeUnixNano"]), int(fields["endTimeUnixNano"])
        self.attributes = {item["key"]: value_of(item) for item in fields["attributes"]}
        self.error = fields["status"]["message"] if fields.get("status", {}).get("code") == 2 else None
        assert 0 < self.begin <= self.end and len(self.attributes) == len(fields["attributes"])

    def __repr__(self):
        return f"{self.name} {self.trace}/{self.id} below {self.parent} {self.attributes} {self.error}"


class Collector(Endpoint):
    """`answer(body, count)` gives the status for the count-th request."""

    def take(self, headers, body):
        request = json.loads(body)
        assert headers["Content-Type"] == "application/json" and headers.get("Content-Encoding") is None
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            status = self.answer(request, len(self.requests) + 1) or 200
            self.requests.append({"status": status, "body": request, "headers": dict(headers)})
        return status

    def check(self):
        """Every request is what the protocol's definition describes."""
        requests = [as_protobuf(request["body"]) for request in self.requests]
        done = subprocess.run(["node", "-e", JUDGE], input=json.dumps(requests), capture_output=True, text=True, check=False,
                              env=dict(os.environ, NODE_PATH=node_path()))
        assert done.returncode == 0, done.stderr[-3000:]

    def spans(self, **wanted):
        """All that were taken; `wanted` are attributes (dots as __) or name."""
        found = []
        for request in self.taken():
            for of_resource in request["body"]["resourceSpans"]:
                resource = {item["key"]: value_of(item) for item in of_resource["resource"]["attributes"]}
                for scope in of_resource["scopeSpans"]:
                    found += [Span(fields, resource) for fields in scope["spans"]]
        return [span for span in found if all(span.name == value if key == "name" else span.attributes.get(key.replace("__", ".")) == value
                                              for key, value in wanted.items())]

    def wait_span(self, count=1, seconds=30, **wanted):
        wait_until(lambda: len(self.spans(**wanted)) >= count, seconds, what=f"{count} spans {wanted}")
        return self.spans(**wanted)[-1]
