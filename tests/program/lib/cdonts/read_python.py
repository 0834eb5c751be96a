"""Reads messages with Python's email package; a JSON line each."""
import base64
import email
import email.header
import email.policy
import email.utils
import functools
import json
import pathlib
import re
import sys

# The package parses a field anew for each look at it.
POLICY = email.policy.default.clone(header_factory=functools.lru_cache(256)(email.policy.default.header_factory))


def addresses(message, name):
    """By the older functions: the newer header classes of Python 3.11 put a blank between two encoded-words of a name."""
    raw = dict((key.lower(), value) for key, value in message.raw_items()).get(name)
    pairs = email.utils.getaddresses([re.sub(r"\r?\n", "", str(raw))]) if raw else []
    return [[str(email.header.make_header(email.header.decode_header(display))), address] for display, address in pairs]


def read(path):
    message = email.message_from_bytes(path.read_bytes(), policy=POLICY)
    seen = {"file": path.name, "from": addresses(message, "from"), "to": addresses(message, "to"), "subject": message["subject"],
            "header": message["x-test"], "text": None, "html": None, "attachments": []}
    for part in message.walk():
        if part.is_multipart():
            continue
        kind = {"text/plain": "text", "text/html": "html"}.get(part.get_content_type())
        if kind and part.get_content_disposition() != "attachment":
            seen[kind] = (part.get_payload(decode=True) or b"").decode()
        else:
            seen["attachments"].append([part.get_filename(), base64.b64encode(part.get_payload(decode=True) or b"").decode()])
    return seen


for name in sys.argv[1:]:
    print(json.dumps(read(pathlib.Path(name))))
