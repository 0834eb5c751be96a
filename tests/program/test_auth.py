"""Smart hosts that want a user: Postfix with Dovecot's or Cyrus' SASL, and scripted servers for what those never do."""
import base64
import json
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
from lib.receivers import PostfixReceiver, needs_root
from lib.relay import BINARY
from lib.relay import USER as RUNS_AS
from lib.scripted import EXTENSIONS, HANG
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


def test_a_notice_of_delay_names_no_end(relay_by, submission):
    relay = relay_by(submission, {"auth_retry": "1s", "delay_notice": "100ms", "expire": "1h"}, password="canary-wrong-one")
    relay.drop("m", mail.message())
    notice = relay.wait_event("notice", note="delayed")
    wait_until(lambda: relay.status()["messages"] == 2, 10, what="the notice in the queue")
    text = relay.run("queue", "export", notice["id"], check=0).stdout.decode()
    assert "Action: delayed" in text and "Will-Retry-Until" not in text


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
    assert "mailroot-login(1)" not in relay.run("check", "--no-dns", check=0).stdout.decode()
    shutil.rmtree(relay.token_file.parent)
    assert "t.json: No such file or directory: see mailroot-login(1)" in relay.run("check", "--no-dns", check=0).stdout.decode()
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


# ---- servers that do what they should not ----

@pytest.fixture
def scripted(make_server, certificate):
    """A scripted server with STARTTLS and a certificate of ours that offers these mechanisms."""
    def create(mechanisms, table=(), starttls=True, more=(), **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.pop("certificate", certificate))
        words = [*EXTENSIONS, *(["STARTTLS"] if starttls else []), *([f"AUTH {mechanisms}"] if mechanisms else []), *more]
        return make_server(table, extensions=words, context=context, **options)
    return create


TAKEN = (r"AUTH", "235 2.7.0 in")


def test_starttls_stripped_says_no_password(scripted, relay_by):
    server = scripted("PLAIN LOGIN", [TAKEN], starttls=False)
    event = relay_by(server).send("m", mail.message(), kind="deferred")
    assert "TLS is required and the server does not offer it" in event["reason"] and not server.said("AUTH|MAIL")


def test_wrong_certificate_gets_no_password(scripted, relay_by, authority):
    server = scripted("PLAIN LOGIN", [TAKEN], certificate=authority.certificate("other.test"))
    event = relay_by(server).send("m", mail.message(), kind="deferred")
    assert "it is for another name" in event["reason"] and not server.said("AUTH|MAIL")
    assert not server.said("EHLO")[1:], "nothing is said to a host that is not who it should be"


@pytest.mark.parametrize("selector", [0, 1])
def test_a_fingerprint_stands_in_for_the_name(scripted, relay_by, authority, selector):
    """Of the certificate, or of its key."""
    self_signed = authority.certificate("whoever.test", self_signed=True)
    digest = authority.tlsa(self_signed[0], 3, selector, 1).split()[-1]
    server = scripted("PLAIN", [TAKEN], certificate=self_signed)
    event = relay_by(server, {"tls": "fingerprint", "fingerprints": [digest]}).send("m", mail.message())
    assert event["auth"] == "PLAIN" and server.said("MAIL")[0].endswith("AUTH=<>")


def test_tls_1_1_is_not_enough(make_server, relay_by, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    server = make_server([TAKEN], extensions=[*EXTENSIONS, "STARTTLS", "AUTH PLAIN"], context=context)
    event = relay_by(server).send("m", mail.message(), kind="deferred")
    assert event["stage"] == "tls" and "no TLS version that both sides take" in event["reason"] and not server.said("AUTH")


def test_a_server_that_does_not_speak_tls(make_server, relay_by):
    server = make_server(extensions=[*EXTENSIONS, "STARTTLS", "AUTH PLAIN"])
    event = relay_by(server, {"implicit_tls": "true"}).send("m", mail.message(), kind="deferred")
    assert event["stage"] == "tls" and "what the server says is no TLS" in event["reason"]


def test_a_handshake_that_hangs(make_server, relay_by, authority):
    server = make_server([(r"CONNECT", HANG)], extensions=[*EXTENSIONS, "STARTTLS", "AUTH PLAIN"])
    config = {"delivery": {"tls_ca_file": str(authority.file), "timeouts": {"tls": "1s"}}}
    event = relay_by(server, {"implicit_tls": "true"}, config).send("m", mail.message(), kind="deferred")
    assert event["stage"] == "tls" and "timed out" in event["reason"]


def test_a_weaker_offer_than_before_is_told(scripted, relay_by):
    server = scripted("CRAM-MD5 PLAIN", [(r"AUTH CRAM", "334 PDEuMkB4Pg=="), (r"AUTH|[A-Za-z0-9+/]{40,}=*$", "235 2.7.0 in")])
    relay = relay_by(server, {"messages_per_connection": 1})
    assert relay.send("m1", mail.message())["auth"] == "CRAM-MD5"
    server.defaults[0] = (server.defaults[0][0], server.defaults[0][1].replace("CRAM-MD5 ", ""))
    assert relay.send("m2", mail.message())["auth"] == "PLAIN"
    warning = relay.wait_event("warning", reason=re.compile("downgrade"))
    assert "offers AUTH PLAIN; before it had CRAM-MD5" in warning["reason"] and warning["mx"] == HOST


def test_a_mechanism_that_is_not_allowed_is_not_used(scripted, relay_by):
    server = scripted("PLAIN LOGIN", [TAKEN])
    relay = relay_by(server, {"auth_mechanisms": ["scram-sha-256"]})
    relay.drop("m", mail.message())
    assert "nothing that this route may use" in relay.wait_event("suspended")["reason"]
    assert "auth_mechanisms allow none of these" in relay.wait_event("warning", reason=re.compile("downgrade"))["reason"]
    assert not server.said("AUTH")


def test_no_auth_offered_keeps_the_mail(scripted, relay_by):
    server = scripted(None)
    relay = relay_by(server)
    relay.drop("m", mail.message())
    assert "offers no AUTH" in relay.wait_event("suspended")["reason"] and not server.said("MAIL")


def test_a_scram_server_that_proves_nothing_gets_no_mail(scripted, relay_by):
    server = scripted("SCRAM-SHA-256", [TAKEN])
    relay = relay_by(server)
    relay.drop("m", mail.message())
    assert "did not prove that it knows the password" in relay.wait_event("suspended")["reason"] and not server.said("MAIL")


def test_454_is_for_a_while(scripted, relay_by):
    server = scripted("PLAIN", [(r"AUTH", ["454 4.7.0 try later", "235 2.7.0 in"])])
    relay = relay_by(server, {"retry_first": "300ms"})
    deferred = relay.send("m", mail.message(), kind="deferred")
    assert (deferred["code"], deferred["stage"]) == (454, "auth")
    relay.wait_event("delivered", pickup="m")
    assert not relay.events("suspended")


@pytest.mark.parametrize("says", ["535 5.7.8 %(plain)s is wrong", "535 5.7.8 your password %(password)s is wrong"])
def test_a_server_that_repeats_the_secret(scripted, relay_by, says):
    coded = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    server = scripted("PLAIN", [(r"AUTH", says % {"plain": coded, "password": PASSWORD})])
    relay = relay_by(server)
    relay.drop("m", mail.message())
    relay.wait_event("deferred", pickup="m")
    told = all_that_is_told(relay)
    assert PASSWORD not in told and coded not in told and ("[hidden]" in told or "repeated our response" in told)


def test_a_dead_host_is_passed_over(scripted, relay_by, certificate):
    server = scripted("PLAIN", [TAKEN])
    hosts = [f"127.9.9.9:{server.port}", f"{HOST}:{server.port}"]
    event = relay_by(server, {"hosts": hosts}).send("m", mail.message())
    assert event["mx"] == HOST and event["auth"] == "PLAIN"


def test_one_connection_proves_the_password(scripted, relay_by):
    server = scripted("PLAIN", [(r"AUTH", "535 5.7.8 no")])
    relay = relay_by(server)
    for number in range(20):
        relay.drop(f"m{number}", mail.message(to=f"u{number}@b.test"))
    relay.wait_events("deferred", 20)
    assert len(server.said("AUTH")) == 1, "many wrong tries lock an account"
    assert len(relay.events("suspended")) == 1


def test_direct_first_tells_the_user_to_the_smart_host_alone(relay_with_names, make_server, scripted, authority, secret):
    mx, smart = make_server([(r"AUTH", "235 in")], extensions=[*EXTENSIONS, "AUTH PLAIN"]), scripted("PLAIN", [TAKEN])
    mx.table.append((re.compile("CONNECT"), ["220 hi", "421 4.3.2 closing"]))
    relay = relay_with_names(
        {"b.test": ["MX 10 mx.b.test."], "mx.b.test": [f"A {mx.address}"]},
        {"route": {"*": {"hosts": [f"{HOST}:{smart.port}"], "direct_first": True, "user": USER, "password_file": secret()}},
         "delivery": {"tls_ca_file": str(authority.file), "messages_per_connection": 1}, "dns": {"hosts": {HOST: smart.address}}})
    first = relay.send("m1", mail.message(to="u@b.test"))
    assert "auth" not in first and not mx.said("AUTH")
    assert relay.send("m2", mail.message(to="u@b.test"))["auth"] == "PLAIN"
    assert not mx.said("AUTH") and len(smart.said("AUTH")) == 1


def test_a_reroute_is_not_told_the_user(scripted, relay_by, make_server):
    server = scripted("PLAIN", [(r"AUTH", "535 5.7.8 no")])
    other = make_server([(r"AUTH", "235 in")], extensions=[*EXTENSIONS, "AUTH PLAIN"])
    relay = relay_by(server)
    relay.drop("m", mail.message())
    relay.wait_event("suspended")
    relay.wait_event("deferred", pickup="m")
    relay.run("queue", "reroute", "--to", f"[{other.address}]:{other.port}", "--all", check=0)
    relay.wait_event("delivered", pickup="m")
    assert not other.said("AUTH")


def test_external_by_a_client_certificate(relay_by, certificate, authority, open_things):
    """Postfix asks for a certificate; Dovecot trusts what Postfix verified. Here: the certificate is shown, and EXTERNAL is said."""
    file, key = authority.certificate("relay.test")
    server = PostfixReceiver(
        f"smtpd_tls_security_level = encrypt\nsmtpd_tls_chain_files = {certificate[1]}, {certificate[0]}\nsmtpd_tls_req_ccert = yes\n"
        f"smtpd_tls_CAfile = {authority.file}\nsmtpd_relay_restrictions = permit_tls_all_clientcerts, reject\nsmtpd_tls_received_header = yes\n")
    open_things.append(server)
    readable = authority.folder / "client.pem"
    readable.write_text(open(file).read() + open(key).read())
    readable.chmod(0o600)  # root's: read before the relay becomes its user
    relay = relay_by(server, {"user": None, "password_file": None, "tls": "verify"},
                     {"delivery": {"tls_ca_file": str(authority.file), "tls_certificate": str(readable)}})
    relay.send("m", mail.message())
    assert b'Client CN "relay.test"' in server.wait(1)[0] and b"(verified OK)" in server.wait(1)[0]


def test_external_says_the_user_or_nothing(scripted, relay_by, authority):
    file, key = authority.certificate("relay.test")
    readable = authority.folder / "both.pem"
    readable.write_text(open(file).read() + open(key).read())
    shutil.chown(readable, RUNS_AS)
    server = scripted("PLAIN EXTERNAL", [TAKEN])
    config = {"delivery": {"tls_ca_file": str(authority.file), "tls_certificate": str(readable)}}
    keys = {"password_file": None, "auth_mechanisms": ["EXTERNAL"]}
    assert relay_by(server, keys, config).send("m", mail.message())["auth"] == "EXTERNAL"
    assert relay_by(server, {**keys, "user": None}, config).send("m", mail.message())["auth"] == "EXTERNAL"
    assert server.said("AUTH") == ["AUTH EXTERNAL " + base64.b64encode(USER.encode()).decode(), "AUTH EXTERNAL ="]


# ---- the secret's file ----

@pytest.mark.parametrize("make, words", [
    (lambda secret: secret(mode=0o644, name="other"), "everybody can read this secret"),
    (lambda secret: secret("", name="other"), "the secret was expected in the first line"),
    (lambda secret: secret("a\tb", name="other"), "a control byte"),
    (lambda secret: secret()[:-1], "No such file"),
    (lambda secret: "credential:smart", "CREDENTIALS_DIRECTORY"),
])
def test_what_is_wrong_with_the_file(scripted, relay_by, secret, make, words):
    server = scripted("PLAIN", [TAKEN])
    relay = relay_by(server, {"password_file": make(secret)}, start=False)
    shown = relay.run("check", "--no-dns", check=78).stdout.decode()
    assert words in shown and 'route "*"' in shown and PASSWORD not in shown


def test_a_systemd_credential(scripted, relay_by, secret, tmp_path):
    server = scripted("PLAIN", [TAKEN])
    secret(mode=0o400, name="smart")
    tmp_path.chmod(0o700)  # root's: read before the relay becomes its user
    relay = relay_by(server, {"password_file": "credential:smart"}, environment={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert relay.send("m", mail.message())["auth"] == "PLAIN"
    relay.reload()
    relay.wait_event("started", count=2)
    assert relay.send("m2", mail.message())["auth"] == "PLAIN"


def test_a_rehearsal_authenticates(scripted, relay_by, tmp_path):
    server = scripted("PLAIN", [TAKEN])
    relay = relay_by(server)
    (tmp_path / "m.eml").write_bytes(mail.message())
    relay.run("rehearse", tmp_path / "m.eml", check=0)
    assert len(server.said("AUTH PLAIN")) == 1 and server.said("RCPT") and not server.transactions
