"""The sessions that docs/ shows are run: what a page prints is what comes out (lib/session.py; DOCS=write renews them)."""
import os
import pathlib
import shutil

import pytest

from conftest import maker
from lib import mail
from lib.collector import Collector
from lib.ports import loopback
from lib.session import Session



@pytest.fixture
def make_session(relay_with_names, make_server, tmp_path):
    """A relay to example.net, whose one mail server does what the table says."""
    def create(table=(), config=None, records=None, hosts=None, **options):
        server = make_server(table, **options)
        relay = relay_with_names({"example.net": ["MX 10 mx.example.net."], "mx.example.net": [f"A {server.address}"],
                                  **(records or {})}, {"hostname": "relay.example.org", **(config or {})})
        return Session(relay, tmp_path, {server.address: "192.0.2.25", **(hosts or {})})
    return create


def test_dialects(make_session):
    make_session().check("dialects.md")


def test_once(make_session):
    make_session().check("once.md")


class Printer(Collector):
    """A collector that writes down what it has, parents before what is below them."""
    file = None

    def take(self, headers, body):
        status = super().take(headers, body)
        spans = {span.id: span for span in self.spans()}
        lines = []

        def put(parent, depth):
            for span in sorted((one for one in spans.values() if one.parent == parent), key=lambda one: (one.name == "message", one.name != "take", one.error or "", one.begin)):
                about = span.error or span.attributes.get("mailroot.pickup") or span.attributes.get("mailroot.reply_code", "")
                lines.append(f"{'  ' * depth}{span.name} {span.trace}/{span.id}: {about}")
                put(span.id, depth + 1)
        put("00f067aa0ba902b7", 0)
        self.file.write_text("".join(line + "\n" for line in lines))
        return status


make_printer = maker(Printer)


def test_traces(make_session, make_printer, tmp_path):
    printer = make_printer()
    printer.file = tmp_path / "spans.txt"
    printer.file.touch()
    make_session([("RCPT TO:<nobody", "550 5.1.1 no such user")],
                 {"otlp": {"url": f"http://127.0.0.1:{printer.port}", "interval": "300ms"}, "local": {"domains": ["shop.example"]}}).check("traces.md")


def test_explain(make_session):
    session = make_session([("RCPT", "421 4.7.0 Too many messages from 192.0.2.7, slow down")],
                           {"queue": {"retry_first": "5m"}, "delivery": {"rate": "10/1s"}})
    session.relay.send("order.eml", mail.message("orders@shop.example", "anna@example.net"), kind="deferred")
    session.check("explain.md")


def test_rehearse(make_session):
    ours = loopback()
    session = make_session([("RCPT TO:<bad", "550 5.1.1 no such user")], {"delivery": {"source": [ours]}}, {"shop.example": ["TXT \"v=spf1 ~all\""]},
                           {ours: "192.0.2.7"}, extensions=("SIZE 10485760", "8BITMIME", "PIPELINING"))
    (session.folder / "order.eml").write_bytes(mail.message("orders@shop.example", "anna@example.net, bad@example.net"))
    session.check("rehearse.md")


def test_containers(make_session):
    there = pathlib.Path("/dev/shm/mailroot")
    was_there = there.exists()
    try:
        make_session().check("containers.md")
    finally:
        if not was_there:
            shutil.rmtree(there, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="files of several owners need root")
def test_folders(make_session):
    make_session().check("folders.md")
