"""Smart hosts that want a user: Postfix with Dovecot's or Cyrus' SASL, and scripted servers for what those never do."""
import json
import os
import pwd
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest

from lib import mail
from lib.receivers import needs_root
from lib.relay import BINARY
from lib.relay import USER as RUNS_AS
from lib.scripted import EXTENSIONS, ScriptedServer
from lib.signed import Authority
from lib.submission import PASSWORD, USER, CyrusSubmission, Dovecot, by_dovecot
from lib.tokenserver import CLIENT, CLIENT_SECRET, TokenServer
from lib.watch import wait_until

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


# ---- OAuth ----

@pytest.fixture(scope="module")
def token_server(authority):
    made = TokenServer(authority.certificate("localhost"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def oauth_dovecot(token_server):
    made = Dovecot("oauthbearer xoauth2", token_info=token_server.info_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def oauth_submission(certificate, oauth_dovecot):
    made = by_dovecot(certificate, oauth_dovecot)
    yield made
    made.close()


@pytest.fixture
def tokens(token_server):
    """The token server, as new."""
    token_server.revoke()
    token_server.life, token_server.rotates, token_server.answer = 3600, False, None
    token_server.asked.clear()
    return token_server


@pytest.fixture
def oauth_relay(relay_by, oauth_submission, tokens, authority):
    """A relay that asks `tokens` for its token, by the refresh token in its file."""
    def create(route=None, start=True, server=None):
        keys = {"password_file": None, "oauth": "other", "oauth_client_id": CLIENT, "oauth_scope": "mail", "oauth_token_file": "Secrets/t.json",
                "oauth_token_url": f"{tokens.url}/token", "oauth_device_url": f"{tokens.url}/devicecode",
                "oauth_authorize_url": f"{tokens.url}/authorize", "oauth_ca_file": str(authority.file), **(route or {})}
        relay = relay_by(server or oauth_submission, keys, start=False)
        relay.token_file = relay.root / "Secrets" / "t.json"
        relay.token_file.parent.mkdir(mode=0o700)
        give_token(relay, tokens.new_refresh_token())
        return relay.start() if start else relay
    return create


def give_token(relay, token):
    relay.token_file.write_text(json.dumps({"refresh_token": token, "client_id": CLIENT}))
    relay.token_file.chmod(0o600)
    for path in (relay.token_file, relay.token_file.parent):
        shutil.chown(path, RUNS_AS)


@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_oauth_at_dovecot(oauth_relay, tokens, mechanism):
    relay = oauth_relay({"auth_mechanisms": [mechanism]})
    assert relay.send("m", mail.message())["auth"] == mechanism
    assert "canary" not in all_that_is_told(relay)
    assert [form["grant_type"] for _, form in tokens.asked] == ["refresh_token"]


def test_client_credentials(oauth_relay, tokens, secret):
    file = secret(CLIENT_SECRET, name="client")
    relay = oauth_relay({"oauth_token_file": None, "oauth_client_secret_file": file})
    assert relay.send("m", mail.message())["auth"] == "OAUTHBEARER"
    assert tokens.asked[0][1]["grant_type"] == "client_credentials"
    assert "canary" not in all_that_is_told(relay)


def test_wrong_client_secret_suspends_and_is_not_repeated(oauth_relay, secret):
    relay = oauth_relay({"oauth_token_file": None, "oauth_client_secret_file": secret("canary-wrong-one", name="client")})
    event = relay.wait_event("suspended")
    assert "invalid_client: wrong secret [hidden]" in event["reason"]
    assert "canary" not in all_that_is_told(relay)


def test_an_expired_token_is_replaced_at_once(oauth_relay, tokens):
    relay = oauth_relay({"messages_per_connection": 1})
    relay.send("m1", mail.message())
    tokens.expire()  # earlier than it had said
    relay.send("m2", mail.message())
    warning = relay.wait_event("warning", reason=re.compile("access token is refused that passed"))
    assert warning["code"] == 535 and len(tokens.asked) == 2 and not relay.events("suspended")


def test_a_token_is_renewed_ahead_of_its_end(oauth_relay, tokens):
    tokens.life = 5  # renewed when a fifth is left
    oauth_relay()
    wait_until(lambda: len(tokens.asked) >= 2, 20, what="a renewal")


def test_rotated_refresh_tokens_are_written_back(oauth_relay, tokens):
    tokens.rotates, tokens.life = True, 5
    relay = oauth_relay()
    wait_until(lambda: len(tokens.asked) >= 3, 30, what="renewals, each with the token before")
    wait_until(lambda: json.loads(relay.token_file.read_text())["refresh_token"] in tokens.refresh_tokens, 10, what="the file")
    is_ = relay.token_file.stat()
    assert is_.st_mode & 0o777 == 0o600 and not relay.events("suspended")


def test_revoked_consent_suspends_until_there_is_a_new_token(oauth_relay, tokens):
    relay = oauth_relay({"messages_per_connection": 1})
    relay.send("m1", mail.message())
    tokens.revoke()
    relay.drop("m2", mail.message())
    event = relay.wait_event("suspended")
    assert "invalid_grant: revoked" in event["reason"] and "mailroot login" in event["reason"]
    assert relay.wait_event("deferred", pickup="m2")["status"] == "4.7.8"
    assert "canary" not in all_that_is_told(relay)
    give_token(relay, tokens.new_refresh_token())
    relay.request(do="resume")
    relay.wait_event("resumed")
    relay.wait_event("delivered", pickup="m2")
    assert relay.status()["suspended"] == {}


def test_a_token_service_that_is_down_lets_the_route_rest(oauth_relay, tokens):
    tokens.answer = (503, {"error": "temporarily_unavailable"})
    relay = oauth_relay()
    event = relay.send("m", mail.message(), kind="deferred")
    assert "temporarily_unavailable" in event["reason"] and not relay.events("suspended")


# ---- mailroot login ----

class Login:
    """`mailroot login` under way; lines of its output as they come."""

    def __init__(self, relay, *arguments, stdin=subprocess.DEVNULL):
        self.process = subprocess.Popen([BINARY, "login", "-c", str(relay.config_file), *arguments], stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, env=relay.environment)

    def line(self, regex):
        for line in self.process.stdout:
            if re.search(regex, line):
                return line.strip()
        raise AssertionError(self.process.communicate()[1])

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def end(self, code):
        out, err = self.process.communicate(timeout=30)
        assert self.process.returncode == code and "Sanitizer" not in err, (self.process.returncode, out, err)
        return out + err


@pytest.fixture
def login(open_things):
    def start(relay, *arguments, **options):
        made = Login(relay, *arguments, **options)
        open_things.append(made)
        return made
    return start


def test_login_by_device_code_ends_a_suspension(oauth_relay, tokens, login):
    relay = oauth_relay(start=False)
    tokens.revoke()
    relay.start()
    relay.wait_event("suspended")
    relay.drop("m", mail.message())
    relay.wait_event("deferred", pickup="m")
    started = login(relay, "other")
    assert "/device" in started.line("Open")
    assert started.line("ABCD") == "ABCD-EFGH"
    wait_until(lambda: sum(form.get("grant_type", "").endswith("device_code") for _, form in tokens.asked) >= 2, 20, what="polls")
    tokens.devices = {code: "yes" for code in tokens.devices}
    assert "The relay uses it now" in started.end(0)
    is_ = relay.token_file.stat()
    assert (is_.st_mode & 0o777, is_.st_uid) == (0o600, pwd.getpwnam(RUNS_AS).pw_uid)
    relay.wait_event("delivered", pickup="m")
    assert "canary" not in all_that_is_told(relay)


def test_login_that_is_declined_writes_nothing(oauth_relay, tokens, login):
    relay = oauth_relay(start=False)
    before = relay.token_file.read_bytes()
    started = login(relay, "other", "--device")
    started.line("ABCD")
    tokens.devices = {code: "authorization_declined" for code in tokens.devices}
    assert "authorization_declined" in started.end(77)
    assert relay.token_file.read_bytes() == before


def follow(url):
    """What a browser does with that address: goes to the service, and where it sends it."""
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(url, context=context, timeout=20) as answer:
        return answer.read().decode()


def test_login_by_browser(oauth_relay, tokens, login):
    relay = oauth_relay(start=False)
    shutil.rmtree(relay.token_file.parent)
    started = login(relay, "other", "--browser")
    url = started.line("^https://")
    assert "Thank you" in follow(url)
    assert "is written" in started.end(0)
    assert json.loads(relay.token_file.read_text())["refresh_token"] in tokens.refresh_tokens
    assert (relay.token_file.stat().st_mode & 0o777, relay.token_file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert relay.start().send("m", mail.message())["auth"] == "OAUTHBEARER"


def test_login_by_browser_takes_no_answer_of_others_and_a_pasted_address(oauth_relay, tokens, login):
    relay = oauth_relay(start=False)
    started = login(relay, "other", "--browser", stdin=subprocess.PIPE)
    url = started.line("^https://")
    form = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    with pytest.raises(urllib.error.HTTPError, match="400"):
        follow(form["redirect_uri"] + "?code=evil&state=" + "0" * 64)
    started.process.stdin.write(tokens.authorize(form) + "\n")
    started.process.stdin.flush()
    assert "is written" in started.end(0)


def test_login_says_what_is_missing(oauth_relay, login):
    relay = oauth_relay(start=False)
    assert "no route with oauth = m365" in login(relay, "m365").end(78)
    assert "m365, google or other was expected" in login(relay, "aol").end(64)


@pytest.mark.parametrize("service, way, place, words", [
    ("m365", "--browser", "https://login.microsoftonline.com/contoso.test/oauth2/v2.0/authorize?",
     {"scope": "https://outlook.office.com/SMTP.Send offline_access", "redirect_uri": "http://localhost:"}),
    ("google", "--browser", "https://accounts.google.com/o/oauth2/v2/auth?",
     {"scope": "https://mail.google.com/", "access_type": "offline", "prompt": "consent", "redirect_uri": "http://127.0.0.1:"}),
])
def test_presets(oauth_relay, login, service, way, place, words):
    relay = oauth_relay({"oauth": service, "oauth_tenant": "contoso.test", "oauth_scope": None, "oauth_token_url": None, "oauth_device_url": None,
                         "oauth_authorize_url": None}, start=False)
    url = login(relay, service, way).line("^https://")
    form = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    assert url.startswith(place) and form["client_id"] == CLIENT and form["login_hint"] == USER
    assert all(form[key].startswith(value) for key, value in words.items())
