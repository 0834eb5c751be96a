"""The same message from each language: examples/cdonts, run against the library just built."""
import email
import email.policy
import json
import shutil
import subprocess

import pytest

from lib import cdonts
from lib.relay import TREE

EXAMPLES = TREE / "examples/cdonts"
LANGUAGES = [("Python", [cdonts.PYTHON, "send.py"]), ("JavaScript", ["gjs", "send.js"]), ("Lua", ["lua5.3", "send.lua"]),
             ("Perl", ["/usr/bin/perl", "send.pl"]), ("PHP", ["php", "-d", "ffi.enable=1", "send.php"]), ("C", None),
             ("Vala", None)]


def without_sanitizers(folder):
    """PHP loads its extensions in a way that ASan's runtime refuses: it gets a library of its own."""
    targets = json.loads((cdonts.BUILD.parents[1] / "meson-info" / "intro-targets.json").read_text())
    library = next(target for target in targets if target["name"] == "cdonts" and target["type"] == "shared library")
    sources = [name for group in library["target_sources"] for name in group["sources"] if name.endswith(".c")]
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", f"-I{TREE / 'src'}", *sources, "-lidn2", "-lpthread",
                    "-o", folder / "libcdonts.so.1"], check=True)
    return {"LD_LIBRARY_PATH": folder, "LD_PRELOAD": ""}


def vala_program(folder):
    """vapigen makes Vala's view of the introspection data; no binding is written."""
    gir = cdonts.BUILD / "Cdonts-1.0.gir"
    subprocess.run(["vapigen", "--library", "Cdonts-1.0", "--pkg", "gio-2.0", "-d", folder, gir], check=True, capture_output=True)
    sanitizers = ["-X", "-fsanitize=address,undefined"] if "LD_PRELOAD" in cdonts.environment() else []
    subprocess.run(["valac", "--vapidir", folder, "--pkg", "gio-2.0", "--pkg", "Cdonts-1.0", "-X", f"-I{TREE / 'src/cdonts/gobject'}",
                    "-X", f"-L{cdonts.BUILD}", "-X", "-lcdonts-gobject", "-X", "-lcdonts", *sanitizers, "-d", folder, "-o", "send",
                    EXAMPLES / "send.vala"], check=True, capture_output=True)
    return [folder / "send"]


@pytest.mark.parametrize("language,command", LANGUAGES, ids=[row[0] for row in LANGUAGES])
def test_an_example_sends_a_file(relay_to, make_server, tmp_path, language, command):
    server = make_server()
    relay = relay_to(server)
    file = tmp_path / "Prüfung.bin"
    file.write_bytes(bytes(range(256)) * 5)
    if command:
        assert shutil.which(command[0]), f"{command[0]} is missing: ./check installs it"
        command = [*command[:-1], EXAMPLES / command[-1]]
        assert command[-1].suffix not in (".py", ".js") or len(command[-1].read_text().splitlines()) < 15
    elif language == "Vala":
        command = vala_program(tmp_path)
    else:
        sanitizers = ["-fsanitize=address,undefined"] if "LD_PRELOAD" in cdonts.environment() else []
        subprocess.run(["gcc", EXAMPLES / "send.c", "-o", tmp_path / "send", f"-I{TREE / 'src/cdonts'}", *sanitizers,
                        f"-L{cdonts.BUILD}", "-lcdonts"], check=True)
        command = [tmp_path / "send"]
    more = without_sanitizers(tmp_path) if language == "PHP" else {}
    name = cdonts.run([*command, "user@d.test", file], MAILROOT_PICKUP=relay.pickup, **more).stdout.strip()
    relay.wait_event("done", pickup=name)
    message = email.message_from_bytes(server.transactions[0].content, policy=email.policy.default)
    text, attached = message.iter_parts()
    assert message["subject"] == "Grüße aus " + language and text.get_content().splitlines() == ["Es hängt an."]
    assert attached.get_filename() == file.name and attached.get_content() == file.read_bytes()


def test_the_session_tree_by_introspection(tmp_path):
    (tmp_path / "a.eml").write_bytes(b"x-receiver: me@d.test\r\nFrom: Ann <a@b.test>\r\nSubject: s\r\n\r\nwords\r\n")
    cdonts.run([cdonts.PYTHON, "-c", """
import sys
import gi
gi.require_version("Cdonts", "1.0")
from gi.repository import Cdonts, GLib
session = Cdonts.Object.new_session()
try:
    session.get_child("Inbox")
    raise AssertionError
except GLib.Error as error:
    assert error.code & 0xFFFFFFFF == 0x80040605, error
session.call("LogonSMTP", GLib.Variant("(ss)", ("Me", "me@d.test")))
session.put_value("DropFolder", GLib.Variant("s", sys.argv[1]))
messages = session.get_child("Inbox").get_child("Messages")
assert messages.get_value("Count").get_int64() == 1
message = messages.call("GetFirst", None)
assert message.get_value("Subject").get_string() == "s" and message.get_child("Sender").get_value("Name").get_string() == "Ann"
assert messages.call("GetNext", None) is None
""", tmp_path])


def test_the_inbox_reads_what_the_relay_dropped(make_relay):
    """A message to a local domain, from Pickup to Drop to the composing library."""
    relay = make_relay({"local": {"domains": ["example.test"]}})
    relay.send("m.eml", "From: Änne <a@far.test>\r\nTo: me@example.test\r\nSubject: für dich\r\n\r\nzwei Wörter\r\n".encode())
    cdonts.run([cdonts.PYTHON, "-c", """
import sys
import gi
gi.require_version("Cdonts", "1.0")
from gi.repository import Cdonts, GLib
session = Cdonts.Object.new_session()
session.call("LogonSMTP", GLib.Variant("(ss)", ("Me", "me@example.test")))
session.put_value("DropFolder", GLib.Variant("s", sys.argv[1]))
message = session.get_child("Inbox").get_child("Messages").call("GetFirst", None)
texts = [message.get_value(name).get_string() for name in ("Subject", "Text")]
assert texts[0] == "für dich" and texts[1].split() == ["zwei", "Wörter"], texts
""", relay.root / "Drop"])
