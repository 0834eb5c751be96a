"""Reads messages with GMime, through introspection; a JSON line each."""
import base64
import json
import pathlib
import sys

import gi

gi.require_version("GMime", "3.0")
from gi.repository import GMime  # noqa: E402

GMime.init()


def addresses(found):
    return [[found.get_address(i).get_name() or "", found.get_address(i).get_addr()] for i in range(found.length())] if found else []


def content(part):
    stream = GMime.StreamMem.new()
    wrapper = part.get_content()
    if wrapper:
        wrapper.write_to_stream(stream)
    return bytes(stream.get_byte_array())


def leaves(part):
    if isinstance(part, GMime.Multipart):
        for i in range(part.get_count()):
            yield from leaves(part.get_part(i))
    elif isinstance(part, GMime.Part):
        yield part


def read(path):
    stream = GMime.StreamMem.new_with_buffer(path.read_bytes())
    message = GMime.Parser.new_with_stream(stream).construct_message(None)
    seen = {"file": path.name, "from": addresses(message.get_from()), "to": addresses(message.get_addresses(GMime.AddressType.TO)),
            "subject": message.get_subject(), "header": None, "text": None, "html": None, "attachments": []}
    raw = message.get_header("X-Test")
    seen["header"] = raw
    for part in leaves(message.get_mime_part()):
        kind = part.get_content_type().get_mime_type()
        kind = {"text/plain": "text", "text/html": "html"}.get(kind)
        if kind and not part.is_attachment():
            seen[kind] = content(part).decode()
        else:
            seen["attachments"].append([part.get_filename(), base64.b64encode(content(part)).decode()])
    return seen


for name in sys.argv[1:]:
    print(json.dumps(read(pathlib.Path(name))))
