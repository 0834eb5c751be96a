"""Smart hosts that want a user: Postfix with Dovecot's or Cyrus' SASL, and scripted servers for what those never do."""
import json
import os
import re
import subprocess

import pytest

from lib import mail
from lib.receivers import needs_root
from lib.relay import USER as RUNS_AS
from lib.scripted import EXTENSIONS, ScriptedServer
from lib.signed import Authority
from lib.submission import PASSWORD, USER, CyrusSubmission, Dovecot, by_dovecot

pytestmark = pytest.mark.skipif(not needs_root(), reason="Postfix wants root")

HOST = "smtp.example.test"
DOVECOT_MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]
CYRUS_MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]


@pytest.fixture(scope="module")
def authority():
    made = Authority()
    yield made
    made.close()


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.certificate(HOST)


@pytest.fixture(scope="module")
def dovecot():
    made = Dovecot(" ".join(DOVECOT_MECHANISMS).lower())
    yield made
    made.close()


@pytest.fixture(scope="module")
def submission(certificate, dovecot):
    made = by_dovecot(certificate, dovecot)
    yield made
    made.close()


@pytest.fixture
def secret(tmp_path):
    """Writes a secret to a file; its path."""
    def write(text=PASSWORD, mode=0o600, name="password"):
        path = tmp_path / name
        path.write_text(text + "\n")
        path.chmod(mode)
        return str(path)
    return write


@pytest.fixture
def relay_by(make_relay, authority, secret):
    """A relay that sends all by one smart host: relay_by(server, {keys of the route}, {config})."""
    def create(server, route=None, config=None, password=PASSWORD, **options):
        keys = {"hosts": [f"{HOST}:{server.port}"], "user": USER, "password_file": secret(password), "auth_retry": "1h", **(route or {})}
        base = {"dns": {"hosts": {HOST: server.address}}, "delivery": {"tls_ca_file": str(authority.file)},
                "route": {"*": {key: value for key, value in keys.items() if value is not None}}}
        return make_relay({**base, **(config or {})}, **options)
    return create


def all_that_is_told(relay):
    """Everything that the relay wrote, and its processes' command lines and environments."""
    parts = [relay.stderr_text(), relay.events_file.read_text(), json.dumps(relay.status())]
    parts += [path.read_bytes().decode("latin-1") for path in relay.badmail.rglob("*") if path.is_file()]
    for pid in subprocess.run(["pgrep", "-s", str(relay.pid)], capture_output=True, text=True, check=True).stdout.split():
        for file in ("cmdline", "environ"):
            parts.append(open(f"/proc/{pid}/{file}", "rb").read().decode("latin-1"))
    for command in (["route", "user@b.test"], ["status"], ["check", "--no-dns"], ["queue", "list"]):
        done = relay.run(*command)
        parts += [done.stdout.decode(), done.stderr.decode()]
    return "\n".join(parts)


@pytest.mark.parametrize("mechanism", DOVECOT_MECHANISMS)
def test_dovecot(relay_by, submission, mechanism):
    relay = relay_by(submission, {"auth_mechanisms": [mechanism]})
    event = relay.send("m", mail.message())
    assert event["auth"] == mechanism and "config, verified" in event["policy"] and event["mx"] == HOST
    assert PASSWORD not in all_that_is_told(relay)


@pytest.mark.parametrize("mechanism", CYRUS_MECHANISMS)
def test_cyrus(relay_by, certificate, open_things, mechanism):
    server = CyrusSubmission(certificate, mechanism)
    open_things.append(server)
    assert relay_by(server).send("m", mail.message())["auth"] == mechanism


def test_the_strongest_wins(relay_by, submission):
    assert relay_by(submission).send("m", mail.message())["auth"] == "SCRAM-SHA-256"


def test_implicit_tls_on_465(relay_by, certificate, dovecot, open_things):
    server = by_dovecot(certificate, dovecot, implicit=True)
    open_things.append(server)
    event = relay_by(server).send("m", mail.message())
    assert event["auth"] == "SCRAM-SHA-256" and event["ip"].endswith(":465") and event["tls"]


def test_wrong_password_suspends_the_route_and_keeps_the_mail(relay_by, submission, secret):
    relay = relay_by(submission, password="canary-wrong-one")
    relay.drop("m", mail.message())
    event = relay.wait_event("suspended")
    assert (event["route"], event["code"], event["mx"], event["auth"]) == ("*", 535, HOST, "SCRAM-SHA-256")
    deferred = relay.wait_event("deferred", pickup="m")
    assert "suspended" in deferred["reason"] and deferred["next"] == event["next"] or deferred["next"] > event["next"]
    assert "535" in relay.status()["suspended"]["*"]["reason"]
    assert "canary" not in all_that_is_told(relay)
    shown = relay.run("route", "user@b.test", check=0).stdout.decode()
    assert "suspended" in shown and USER in shown
    assert "is suspended" in relay.stderr_text()
    secret(PASSWORD)
    relay.reload()
    assert relay.wait_event("delivered", pickup="m")["auth"] == "SCRAM-SHA-256"


def test_a_suspended_route_keeps_mail_beyond_its_expiry(relay_by, submission, secret):
    relay = relay_by(submission, {"auth_retry": "1s", "retry_first": "100ms", "expire": "500ms"}, password="canary-wrong-one")
    relay.drop("m", mail.message())
    relay.wait_event("deferred", pickup="m", count=3)
    assert not relay.events("expired") and not relay.events("bounced")
    assert relay.status()["messages"] == 1
