"""What the listener offers beyond the plain dialog: each extension from MAIL to the next hop, or to the notice."""
import crypt
import datetime
import re
import ssl

import pytest

from lib import mail
from lib.listener import FRIEND, PASSWORD, STRANGER, Talk, listener
from lib.ports import MX_PORT
from lib.relay import merge
from lib.scripted import EXTENSIONS
from lib.signed import Authority

MESSAGE = "From: a@x.test\r\nTo: user@ours.test\r\nSubject: hi\r\n\r\nsecret body\r\n"


def zulu(seconds):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"user:{crypt.crypt(PASSWORD, crypt.METHOD_SHA256)}\n")
    return path


# ---- FUTURERELEASE: RFC 4865 ----

def submit(talk, parameters, recipient=""):
    assert talk.codes(f"MAIL FROM:<a@x.test> {parameters}", f"RCPT TO:<user@ours.test> {recipient}".strip(), "DATA") == [250, 250, 354], parameters
    return re.search(r"taken as (\S+)", talk.say(MESSAGE + "."))[1]


def test_a_message_is_held_as_long_as_it_says(relay_to, make_aio):
    config, ports = listener(future_release="1h")
    sink = make_aio()
    relay = relay_to(sink, merge(config, {"queue": {"expire": "1s"}}))
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        offer = next(line for line in talk.lines if "FUTURERELEASE" in line)
        assert re.fullmatch(r"250-FUTURERELEASE 3600 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", offer)
        for parameters, code in (("HOLDFOR=3601", 501), ("HOLDFOR=-1", 501), ("HOLDFOR=", 501), ("HOLDFOR=1234567890", 501),
                                 ("HOLDUNTIL=soon", 501), (f"HOLDUNTIL={zulu(3700)}", 501), (f"HOLDUNTIL={zulu(-100)}", 501),
                                 ("HOLDFOR=2 HOLDFOR=2", 501), (f"HOLDFOR=2 HOLDUNTIL={zulu(60)}", 501)):
            assert talk.codes(f"MAIL FROM:<a@x.test> {parameters}") == [code], parameters
        held = {submit(talk, "HOLDFOR=2"): 2, submit(talk, f"HOLDUNTIL={zulu(3)}"): 1}
    for name, seconds in held.items():
        queued = relay.wait_event("queued", pickup=name)
        assert queued["next"] > queued["time"]
        delivered = relay.wait_event("delivered", pickup=name)
        assert delivered["time"] >= queued["next"] and delivered["delay_ms"] >= 1000 * seconds
    got = sink.wait(2)
    assert not any(b"deliver-at" in envelope.original_content.lower() for envelope in got)


def test_what_it_may_take_counts_from_the_release(relay_to, make_server):
    config, ports = listener(tls=False)
    relay = relay_to(make_server([("RCPT", ["450 4.2.0 later", "450 4.2.0 later", "250 2.1.5 ok"])]),
                     merge(config, {"queue": {"expire": "4s", "retry_first": "100ms", "retry_second": "100ms"}}))
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        name = submit(talk, "HOLDFOR=5")
    delivered = relay.wait_event("delivered", pickup=name)  # a message that came then would have expired at the first attempt
    assert delivered["attempt"] == 3 and not relay.events("expired")


def test_strangers_hold_nothing(relay_to, make_aio, users):
    config, ports = listener(users=users)
    relay_to(make_aio(), config)
    with Talk(ports["mail"], STRANGER) as talk:
        talk.say("EHLO me")
        assert not any("FUTURERELEASE" in line for line in talk.lines)
        assert talk.codes("MAIL FROM:<a@x.test> HOLDFOR=5") == [530]
    with Talk(ports["tls"], STRANGER, tls=True) as talk:
        talk.say("EHLO me")
        assert any("FUTURERELEASE" in line for line in talk.lines)  # AUTH is to follow
        assert talk.codes("MAIL FROM:<a@x.test> HOLDFOR=5") == [530]
    config, ports = listener(future_release="0s")
    relay_to(make_aio(), config)
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        assert not any("FUTURERELEASE" in line for line in talk.lines)
        assert talk.codes("MAIL FROM:<a@x.test> HOLDFOR=5") == [555]


# ---- DELIVERBY: RFC 2852 ----

@pytest.mark.parametrize("value, code", [("60;R", 250), ("+60;rt", 250), ("-60;N", 250), ("0;N", 250), ("60;X", 501), ("60", 501), ("60;", 501),
                                         ("60;RTX", 501), ("-1;R", 501), ("0;R", 501), ("1234567890;R", 501), ("a;R", 501), ("", 501)])
def test_by_is_read_as_its_rfc_says(relay_to, make_aio, value, code):
    config, ports = listener(tls=False)
    relay_to(make_aio(), config)
    with Talk(ports["mail"], STRANGER) as talk:
        talk.say("EHLO me")
        assert "250-DELIVERBY" in talk.lines
        assert talk.codes(f"MAIL FROM:<a@x.test> BY={value}") == [code]


@pytest.mark.parametrize("extensions, by, is_told", [((*EXTENSIONS, "DELIVERBY"), "NT", True), ((*EXTENSIONS, "DELIVERBY"), "R", False),
                                                     (EXTENSIONS, "R", True)], ids=["traced", "offered", "not_offered"])
def test_what_is_left_of_the_time_goes_along_or_the_sender_is_told(relay_to, make_server, extensions, by, is_told):
    config, ports = listener(tls=False)
    server = make_server(extensions=extensions)
    relay = relay_to(server, config)
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        name = submit(talk, f"BY=100;{by}")
    relay.wait_event("done", pickup=name)
    given = re.search(rf"\bBY=(\d+);{by}\b", server.wait_transactions()[0].sender_parameters)
    assert bool(given) == ("DELIVERBY" in extensions)
    assert not given or 60 < int(given[1]) <= 100
    assert b"deliver-by" not in server.transactions[0].content.lower()
    assert [event["note"] for event in relay.events("notice")] == ["relayed"] * is_told
    if is_told:
        assert b"Action: relayed" in server.wait_transactions(2)[1].content


def test_who_wants_no_notice_gets_none_of_its_time(relay_to, make_server):
    config, ports = listener(tls=False)
    relay = relay_to(make_server(), config)
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        name = submit(talk, "BY=100;RT", "NOTIFY=NEVER")
    relay.wait_event("done", pickup=name)
    assert not relay.events("notice")


def test_what_is_late_goes_back_or_is_told(relay_to, make_server):
    config, ports = listener(tls=False)
    server = make_server([("RCPT TO:<user@ours", "450 4.2.0 later")])
    relay = relay_to(server, merge(config, {"queue": {"retry_first": "1h", "retry_second": "1h"}}))
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        late, told = submit(talk, "BY=2;R"), submit(talk, "BY=2;N")
    for name in (late, told):
        first = relay.wait_event("deferred", pickup=name)
        assert first["next"] < zulu(10)  # not in an hour: the moment it is to be delivered by
    bounced = relay.wait_event("bounced", pickup=late)
    assert bounced["status"] == "5.4.7" and bounced["stage"] == "deliver-by" and bounced["time"] >= first["next"][:19]
    relay.wait_event("deferred", count=2, pickup=told)
    notices = {event["note"]: event for event in relay.wait_events("notice", 2)}
    assert set(notices) == {"failed", "delayed"}
    content = b"".join(transaction.content for transaction in server.wait_transactions(2))
    assert b"Action: failed" in content and b"Status: 5.4.7" in content and b"Action: delayed" in content


def test_an_export_keeps_what_was_asked_of_it(relay_to, make_server):
    config, ports = listener()
    relay = relay_to(make_server(), config)  # it has no TLS: all waits
    with Talk(ports["tls"], tls=True) as talk:
        talk.say("EHLO me")
        name = submit(talk, "REQUIRETLS BY=3600;RT")
    waits = relay.wait_event("deferred", pickup=name)
    text = relay.run("queue", "export", waits["id"], check=0).stdout
    assert re.match(rb"X-Sender: <a@x\.test> .*REQUIRETLS\r\n", text)
    assert re.search(rb"^X-Deliver-By: \d{4}-\d\d-\d\dT[\d:.]+Z;RT\r$", text, re.M)


# ---- REQUIRETLS: RFC 8689 ----

@pytest.fixture
def make_required(make_relay, make_server):
    """(ports, server of far.test, server of x.test, which gets the notices), both behind certificates of a CA that is trusted."""
    def create(far, near):
        authority, servers = Authority(), []
        for name, words in (("mx.far.test", far), ("mx.x.test", near)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.certificate(name))
            servers.append(make_server(extensions=[*EXTENSIONS, "STARTTLS", *words], context=context))
        config, ports = listener()
        relay = make_relay(merge(config, {
            "delivery": {"port": MX_PORT, "tls_ca_file": str(authority.file)},
            "dns": {"hosts": {"mx.far.test": servers[0].address, "mx.x.test": servers[1].address}},
            "route": {"far.test": {"hosts": ["mx.far.test"]}, "x.test": {"hosts": ["mx.x.test"]}}}))
        return relay, ports, *servers
    return create


def demand(port, source=FRIEND):
    with Talk(port, source, tls=True) as talk:
        talk.say("EHLO me")
        assert "250-REQUIRETLS" in talk.lines
        assert talk.codes("MAIL FROM:<a@x.test> REQUIRETLS=1") == [501]
        assert talk.codes("MAIL FROM:<a@x.test> REQUIRETLS RET=FULL", "RCPT TO:<user@far.test>", "DATA", MESSAGE + ".")[-1] == 250


def test_requiretls_goes_along(make_required):
    relay, ports, far, _ = make_required(["REQUIRETLS"], [])
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        assert "250-REQUIRETLS" not in talk.lines
        assert talk.codes("MAIL FROM:<a@x.test> REQUIRETLS") == [555]
    demand(ports["tls"])
    sent = far.wait_transactions()[0]
    assert "REQUIRETLS" in sent.sender_parameters.split() and sent.is_secured
    relay.wait_event("delivered")


@pytest.mark.parametrize("near", [["REQUIRETLS"], []], ids=["offered", "not_offered"])
def test_a_notice_of_such_a_message_is_as_well_kept(make_required, near):
    relay, ports, far, sender = make_required([], near)
    demand(ports["tls"])
    bounced = relay.wait_event("bounced")
    assert bounced["status"] == "5.7.30" and not far.transactions
    notice = sender.wait_transactions()[0]
    assert notice.sender == "" and notice.is_secured  # not lost for want of the word (section 5)
    assert ("REQUIRETLS" in notice.sender_parameters.split()) == bool(near)
    assert b"text/rfc822-headers" in notice.content and b"secret body" not in notice.content  # RET=HDRS whatever was asked


def test_a_notice_waits_where_no_tls_is(make_required):
    relay, ports, _, sender = make_required([], [])
    sender.table.append((re.compile("EHLO"), "250-mx.test\n250 PIPELINING"))
    demand(ports["tls"])
    relay.wait_event("bounced")
    assert "TLS" in relay.wait_event("deferred", to="a@x.test")["reason"] and not sender.transactions


# ---- what is not offered ----

@pytest.mark.parametrize("command, code", [
    ("MAIL FROM:<a@x.test> BODY=BINARYMIME", 501), ("MAIL FROM:<a@x.test> MT-PRIORITY=3", 555), ("MAIL FROM:<a@x.test> HOLDFOR=1", 250),
    ("MAIL FROM:<a@x.test> BODY=8BITMIME BODY=7BIT", 501), ("MAIL FROM:<a@x.test> SMTPUTF8=yes", 501)])
def test_parameters_are_taken_as_offered(relay_to, make_aio, command, code):
    config, ports = listener(tls=False)
    relay_to(make_aio(), config)
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        assert not any("BINARYMIME" in line for line in talk.lines)
        assert talk.codes(command) == [code]
    with Talk(ports["mail"]) as talk:  # RFC 5321 4.1.1.11: none of them without EHLO
        assert talk.codes("HELO me", "MAIL FROM:<a@x.test> SIZE=10") == [250, 555]


def test_limits_are_those_that_hold(relay_to, make_aio):
    config, ports = listener(tls=False, messages_per_connection=2, recipients=3)
    relay_to(make_aio(), config)
    with Talk(ports["mail"]) as talk:
        talk.say("EHLO me")
        assert "250-LIMITS MAILMAX=2 RCPTMAX=3" in talk.lines
        recipients = ["RCPT TO:<a@ours.test>"] * 3
        assert talk.codes("MAIL FROM:<>", *recipients, "RCPT TO:<b@ours.test>") == [250, 250, 250, 250, 452]
        assert talk.codes("DATA", MESSAGE + ".", "MAIL FROM:<>", recipients[0], "DATA", MESSAGE + ".", "MAIL FROM:<>") == [
            354, 250, 250, 250, 354, 250, 421]


# ---- line ends and long lines ----

def test_a_bare_lf_is_a_line_end_for_whom_the_config_names(relay_to, make_aio):
    config, ports = listener(tls=False, bare_lf=[f"{FRIEND}/32"])
    sink = make_aio()
    relay = relay_to(sink, config)
    old = MESSAGE.replace("\r\n", "\n") + "..stuffed\n.\n.\r\nend\n"
    with Talk(ports["mail"]) as talk:
        for text in ("EHLO old", "MAIL FROM:<a@x.test>", "RCPT TO:<user@ours.test>"):
            assert talk.say(text, end="\n").startswith("250")
        talk.say("DATA", end="\n")
        assert talk.say(old + "\r\n.").startswith("250 2.0.0 taken")
    got = sink.wait()[0].original_content
    assert got.endswith(b"\r\n\r\nsecret body\r\n.stuffed\r\n\r\n\r\nend\r\n\r\n") and got.count(b"\n") == got.count(b"\r\n")
    with Talk(ports["mail"], STRANGER) as talk:
        assert talk.say("EHLO old", end="\n").startswith("500 5.5.2 a bare LF")
    assert len(relay.events("accepted")) == 1


@pytest.mark.parametrize("line, code", [("X-Long: " + "word " * 1000, 250), ("X-Long: " + "x" * 991, 250), ("X-Long: " + "x" * 1100, 554)])
def test_what_the_listener_takes_is_never_bad_for_its_header_lines(relay_to, make_aio, line, code):
    config, ports = listener(tls=False)
    sink = make_aio()
    relay = relay_to(sink, config)
    with Talk(ports["mail"], STRANGER) as talk:
        talk.envelope()
        assert talk.codes(line + "\r\n" + MESSAGE + ".") == [code]
    if code == 250:
        got = sink.wait()[0].original_content
        assert max(map(len, got.split(b"\r\n"))) <= 998
        assert mail.field(got, "X-Long") == line.removeprefix("X-Long: ").strip()
    else:
        assert "without a blank" in relay.wait_event("denied", stage="data")["reply"]
    assert not list(relay.badmail.iterdir())
