"""import-iis: a metabase becomes a config that mailroot check reads, with each key's fate."""
import json
import re
import subprocess

import pytest

from lib.relay import BINARY, TREE

METABASE = TREE / "tests" / "corpora" / "iis" / "MetaBase.xml"


def run(*arguments, code=0):
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, (arguments, done.returncode, done.stdout[-3000:], done.stderr)
    return done


def test_a_metabase_becomes_a_config_that_check_reads(tmp_path):
    config = tmp_path / "mailroot.conf"
    config.write_text(run("import-iis", METABASE, "--root", tmp_path / "Mailroot").stdout)
    run("check", "--no-dns", "-c", config)
    text = config.read_text()
    for expected in (
            'hostname = "mail.example.com"', 'default_domain = "example.com"', "limits.message_size = 2097152 ", "limits.hops = 15 ",
            "queue.retry_first = 15m ", "queue.retry_subsequent = 240m ", "queue.delay_notice = 720m ", "queue.expire = 2880m ",
            "delivery.messages_per_connection = 20 ", "delivery.recipients_per_message = 100 ", "delivery.connections_per_site = 100 ",
            'bounce.copy_to = "postmaster@example.com"', "pickup.dot_stuffing = never",
            'local.domains = ["example.com", "alias.example.com", "drop.example.com"]',
            'route "drop.example.com" { deliver = drop; drop_dir = "Drop/drop.example.com" }',
            'route "partner.test" { hosts = ["mx.partner.test"]; tls = must; }', 'route "*.branch.test" { deliver = smtp; etrn = true; etrn_clients = ["user:BRANCH"]; }',
            'route "*" { hosts = ["[192.0.2.25]"]; direct_first = true; }',
            'listen = ["0.0.0.0:25", "192.0.2.10:587"]', 'relay_networks = ["127.0.0.1/32", "192.0.2.10/32", "192.168.1.0/24"]',
            'domains = ["example.com", "alias.example.com", "drop.example.com", "partner.test"]', "connections = 1000 ",
            "session_size = 10485760 ", "timeouts.command = 600s ", 'w3c { dir = "Log/W3C"; period = daily; fields = ["date", "time", "c-ip", "cs-username", '):
        assert expected in text, expected


def test_a_route_of_the_imported_config_is_what_iis_did(tmp_path):
    config = tmp_path / "mailroot.conf"
    config.write_text(run("import-iis", METABASE, "--root", tmp_path).stdout)
    assert json.loads(run("route", "-c", config, "--json", "a@alias.example.com").stdout)["source"] == "drop"
    assert json.loads(run("route", "-c", config, "--json", "a@drop.example.com").stdout)["folder"].endswith("Drop/drop.example.com")


def test_every_key_has_its_fate_and_no_secret_is_shown():
    done = run("import-iis", METABASE, "--json")
    table = json.loads(done.stdout)["keys"]
    fates = {row["key"]: (row["verdict"], row["here"]) for row in table}
    assert {verdict for verdict, _ in fates.values()} == {"taken", "not needed", "not supported"}
    assert fates["MaxMessageSize"] == ("taken", "limits.message_size")
    assert fates["UnknownKey_36863"] == ("not supported", "a key that isn't known")
    assert fates["SmtpDotStuffPickupDirFiles"][0] == "taken"
    assert [key for key, (_, here) in fates.items() if here == "a key that isn't known"] == ["UnknownKey_36863"]
    for output in (done.stdout, run("import-iis", METABASE).stdout):
        assert "4963446250" not in output and "49634462f0" not in output


def test_a_server_is_chosen_by_its_number():
    assert 'hostname = "second.example.com"' in run("import-iis", METABASE, "--server", "2").stdout
    assert "there are: 1 2" in run("import-iis", METABASE, "--server", "3", code=65).stderr


def test_the_masquerade_domain_is_taken_unless_it_is_off(tmp_path):
    for more, is_taken in (("", True), (' DoMasquerade="FALSE"', False)):
        (tmp_path / "x.xml").write_text('<configuration><IIsSmtpServer Location="/LM/SmtpSvc/1" MasqueradeDomain="shown.example"'
                                        f'{more}/></configuration>')
        config = run("import-iis", tmp_path / "x.xml").stdout
        assert ('sender.masquerade_domain = "shown.example"' in config) is is_taken


@pytest.mark.parametrize("content,expected", [
    (b"", "no element found"), (b"not xml", "line 1"), (b"<configuration/>", "nothing below /LM/SmtpSvc"),
    (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', "a document type is refused"),
])
def test_what_is_no_metabase_is_refused(tmp_path, content, expected):
    (tmp_path / "x.xml").write_bytes(content)
    assert expected in run("import-iis", tmp_path / "x.xml", code=65).stderr


@pytest.mark.parametrize("attributes", [
    'SmartHost="a b; c" SmartHostType="2"', 'FullyQualifiedDomainName="x&quot;; evil = 1"', 'MaxMessageSize="lots"', 'HopCount="-1"',
    'ServerComment="one&#10;root = /"', 'ServerBindings="evil&quot;:25:"', 'RelayIpList="zz"', 'SmtpRemoteProgressiveRetry="15,x"',
    'MaxMessageSize="99999999999999999999999"', 'SendNdrTo="no address at all"', 'RelayIpList=""', 'MaxRecipients="0"',
])
def test_a_strange_value_is_said_and_never_breaks_the_config(tmp_path, attributes):
    (tmp_path / "x.xml").write_text(f'<configuration><IIsSmtpServer Location="/LM/SmtpSvc/1" {attributes}/></configuration>')
    config = tmp_path / "mailroot.conf"
    config.write_text(run("import-iis", tmp_path / "x.xml", "--root", tmp_path).stdout)
    done = subprocess.run([BINARY, "check", "--no-dns", "-c", config], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or "smtp.listen" in done.stdout, (config.read_text(), done.stderr)
    assert not re.search(r"^(evil|root = /$)", config.read_text(), re.M)


def test_every_key_of_the_table_is_in_the_docs():
    table = (TREE / "src" / "cli" / "import_keys.c").read_text()
    page = (TREE / "docs" / "iis.md").read_text()
    keys = re.findall(r'^    \{"([^"]+)"', table, re.M)
    assert len(keys) > 100
    assert [key for key in keys if f"| {key} " not in page] == []


MAIN_CF = """# a relay's
compatibility_level = 3.6
myhostname = mail.example.com
mydomain = example.com
myorigin = $mydomain
mynetworks = 127.0.0.0/8 [::1]/128
 # a comment between
 10.0.0.0/8
inet_interfaces = loopback-only
relayhost = [smtp.${mydomain}]:587
message_size_limit = 10240000
maximal_queue_lifetime = 5d
bounce_queue_lifetime = 2
minimal_backoff_time = 300s
delay_warning_time = 4h
smtp_tls_security_level = encrypt
smtp_bind_address = 192.0.2.7
smtp_destination_concurrency_limit = 20
smtp_sasl_password_maps = hash:/etc/postfix/sasl
transport_maps = hash:TRANSPORT
strange_thing = ${a?b} $$ $loop
loop = $loop$loop
"""
TRANSPORT = """# to whom
partner.example  smtp:[192.0.2.9]:2525
.inner.example   relay:hub.example.com
user@x.example   smtp:[a.example]
box.example      local:
* smtp:[other.example]
"""


def test_a_main_cf_becomes_a_config_that_check_reads(tmp_path):
    transport, main, config = tmp_path / "transport", tmp_path / "main.cf", tmp_path / "mailroot.conf"
    transport.write_text(TRANSPORT)
    main.write_text(MAIN_CF.replace("TRANSPORT", str(transport)))
    config.write_text(run("import-postfix", main, "--root", tmp_path / "Mailroot").stdout)
    run("check", "--no-dns", "-c", config)
    text = config.read_text()
    for expected in (
            'hostname = "mail.example.com"', 'default_domain = "example.com"', "limits.message_size = 10240000 ", "queue.expire = 432000s ",
            "queue.null_sender_expire = 172800s ", "queue.retry_first = 300s ", "queue.delay_notice = 14400s ", "delivery.tls = must ",
            'delivery.source = ["192.0.2.7"]', "delivery.connections_per_site = 20 ", 'route "*" { hosts = ["smtp.example.com:587"] }',
            'route "partner.example" { hosts = ["[192.0.2.9]:2525"] }', 'route "*.inner.example" { hosts = ["hub.example.com:25"] }',
            'relay_networks = ["127.0.0.0/8", "::1/128", "10.0.0.0/8"]', 'listen = ["127.0.0.1:25", "[::1]:25"]',
            "# transport user@x.example", "# transport box.example", "# transport * ="):
        assert expected in text, (expected, text)
    keys = json.loads(run("import-postfix", "--json", main).stdout)["keys"]
    verdicts = {key["key"]: key["verdict"] for key in keys}
    assert (verdicts["relayhost"], verdicts["compatibility_level"], verdicts["strange_thing"]) == ("taken", "not needed", "not supported")


def test_what_is_no_main_cf_is_said_with_its_line(tmp_path):
    main = tmp_path / "main.cf"
    main.write_text("myhostname = a.example\nno parameter\n")
    assert "line 2" in run("import-postfix", main, code=65).stderr
    run("import-postfix", tmp_path / "none", code=65)


PMTA = """#
# a PowerMTA config
#
postmaster you@example.com
host-name mta.example.com
smtp-listener 0.0.0.0/0:2525   # everywhere
smtp-listener [::1]:25
log-rotate 7
domain-key s1,example.com,/etc/pmta/example.pem
domain-key s2,*,/etc/pmta/any.pem
pickup /var/spool/pmta/pickup /var/spool/pmta/badmail
spool /var/spool/pmta
http-mgmt-port 8080
run-as-root no
total-max-smtp-out 800
domain-macro hotmail hotmail.com,live.com, msn.com
relay-domain inside.example
<source 127.0.0.1>
    always-allow-relaying yes
    process-x-virtual-mta yes
    max-message-size 20M
</source>
<source 10.0.0.0/8>
    always-allow-relaying YES
</source>
<source 0/0>
    always-allow-relaying no
    max-message-size 0
</source>
<domain *>
    max-smtp-out    20
    max-msg-per-connection 100
    max-msg-rate 100/s
    retry-after 10m
    bounce-after 4d12h
    use-starttls yes
    connect-timeout 1m
    backoff-retry-after 1h
</domain>
<domain $hotmail>
    max-smtp-out 5
    max-msg-rate 1000/h
    require-starttls yes
</domain>
<domain relay.example>
    route [192.0.2.9]:2525
    auth-username me
    auth-password SECRET
    connect-timeout 5s
</domain>
<virtual-mta Mta.1>
    smtp-source-host 192.0.2.11 out1.example.com
    max-smtp-out 50
    <domain *>
        max-smtp-out 2
        max-msg-rate 500/d
    </domain>
</virtual-mta>
<virtual-mta none>
    auto-cold-virtual-mta 1.2.3.4
</virtual-mta>
<virtual-mta-pool pool>
    virtual-mta Mta.1
</virtual-mta-pool>
"""


def test_a_powermta_config_becomes_a_config_that_check_reads(tmp_path):
    source, config = tmp_path / "config", tmp_path / "mailroot.conf"
    source.write_text(PMTA)
    text = run("import-powermta", source, "--root", tmp_path / "Mailroot").stdout
    config.write_text(text.replace('pickup.dir = "/var/spool', f'pickup.dir = "{tmp_path}').replace('keys = ["s1:', '#'))
    for expected in (
            'hostname = "mta.example.com"', 'pickup.dir = "/var/spool/pmta/pickup"', "events.keep = 7 ", "delivery.connections = 800 ",
            "limits.message_size = 20971520 ", "delivery.connections_per_site = 20 ", "delivery.messages_per_connection = 100 ",
            'delivery.rate = "100/1s"', "queue.retry_first = 10m ", "queue.retry_subsequent = 10m ", "queue.expire = 4d12h ",
            "delivery.tls = may\n", "delivery.timeouts.connect = 1m ", 'route "hotmail.com" {', 'route "live.com" {', 'route "msn.com" {',
            '  connections = 5 ', '  rate = "1000/1h"', "  tls = must", 'route "relay.example" {\n# connect-timeout = 5s',
            'hosts = ["[192.0.2.9]:2525"]', 'source "mta-1" {', '  addresses = ["192.0.2.11"]', '  helo = "out1.example.com"',
            "  site_connections = 2 ", '  site_rate = "500/1d"', "  connections = 50 ", "# virtual-mta = none: no smtp-source",
            'dkim "example.com" { keys = ["s1:/etc/pmta/example.pem"] }', "# domain-key = s2,*,", 'listen = ["0.0.0.0:2525", "[::1]:25"]',
            'relay_networks = ["127.0.0.1", "10.0.0.0/8"]', 'domains = ["inside.example"]'):
        assert expected in text, (expected, text)
    assert "SECRET" not in text
    no_key = "\n".join(line for line in text.splitlines() if not line.startswith("dkim "))
    config.write_text(no_key.replace("/var/spool/pmta", str(tmp_path)))
    run("check", "--no-dns", "-c", config)
    keys = json.loads(run("import-powermta", "--json", source).stdout)["keys"]
    verdicts = {key["key"]: key["verdict"] for key in keys}
    assert (verdicts["smtp-listener"], verdicts["spool"], verdicts["virtual-mta-pool"], verdicts["auto-cold-virtual-mta"]) == (
        "taken", "not needed", "not supported", "not supported")
    assert [key["line"] for key in keys if key["key"] == "host-name"] == [5]


BROKEN_PMTA = [("<domain *>\nmax-smtp-out 2\n", "line 2: </domain>"), ("</domain>\n", "line 1: </domain>"), ("<domain *\n", 'line 1: ">"'),
               ("<a 1>\n</b>\n", "line 2: </a>"), ("<a>\n" * 9, "line 5: less nesting")]


def test_what_is_no_powermta_config_is_said_with_its_line(tmp_path):
    for text, words in BROKEN_PMTA:
        (tmp_path / "config").write_text(text)
        assert words in run("import-powermta", tmp_path / "config", code=65).stderr, text


def secret_files(folder):
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    return {path.name: path.read_text() for path in folder.iterdir()}


POSTFIX_LOGIN = """smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = lmdb:/none, hash:SASL
smtp_tls_wrappermode = WRAPPED
smtp_tls_security_level = LEVEL
smtp_tls_fingerprint_cert_match = FINGERPRINTS
relayhost = [smtp.example.com]:465
transport_maps = hash:TRANSPORT
"""
SASL = """# next hop, then user:password
other.example   wrong:wrong
[smtp.example.com]:465  relay@example.com:canary :p w
192.0.2.9   nine:canary-nine
"""


@pytest.mark.parametrize("level, tls", [("secure", "verify"), ("verify", "verify"), ("encrypt", "must"), ("fingerprint", "fingerprint")])
def test_postfix_passwords_go_to_files_of_their_own(tmp_path, level, tls):
    sasl, transport, main, secrets, config = (tmp_path / name for name in ("sasl", "transport", "main.cf", "secrets", "mailroot.conf"))
    sasl.write_text(SASL)
    transport.write_text(TRANSPORT)
    values = {"SASL": sasl, "TRANSPORT": transport, "WRAPPED": "yes", "LEVEL": level, "FINGERPRINTS": "AB:" * 31 + "AB, 00:11"}
    text = POSTFIX_LOGIN
    for name, value in values.items():
        text = text.replace(name, str(value))
    main.write_text(text)
    done = run("import-postfix", main, "--secrets", secrets, "--root", tmp_path / "Mailroot")
    assert "canary" not in done.stdout + done.stderr
    config.write_text(done.stdout)
    run("check", "--no-dns", "-c", config)
    keys = f'user = "relay@example.com"; password_file = "{secrets}/smtp.example.com.password";'
    assert f'route "*" {{ hosts = ["smtp.example.com:465"]; {keys}' in done.stdout
    assert ' implicit_tls = true; }' in done.stdout and f"delivery.tls = {tls} " in done.stdout
    assert ("tls = fingerprint; implicit" in done.stdout) == (level == "fingerprint")
    assert 'route "partner.example" { hosts = ["[192.0.2.9]:2525"]; user = "nine";' in done.stdout
    assert 'route "*.inner.example" { hosts = ["hub.example.com:25"]' in done.stdout and "wrong" not in done.stdout
    assert secret_files(secrets) == {"smtp.example.com.password": "canary :p w\n", "_192.0.2.9_.password": "canary-nine\n"}
    shown = json.loads(run("route", "-c", config, "--json", "a@partner.example").stdout)
    assert (shown["auth"]["user"], shown["hosts"][0]["tls"]["level"]) == ("nine", "fingerprint" if level == "fingerprint" else "verify")


def test_without_a_folder_passwords_are_only_spoken_of(tmp_path):
    sasl, main = tmp_path / "sasl", tmp_path / "main.cf"
    sasl.write_text(SASL)
    main.write_text(POSTFIX_LOGIN.replace("SASL", str(sasl)).replace("WRAPPED", "no").replace("LEVEL", "may"))
    done = run("import-postfix", main)
    assert "smtp.example.com wants the user relay@example.com: run this again with --secrets DIR" in done.stdout
    assert "canary" not in done.stdout and "password_file =" not in done.stdout


def iis_login(password):
    return (f'<configuration><IIsSmtpServer Location="/LM/SmtpSvc/1" SmartHost="[192.0.2.25]" SmartHostType="2" RouteUserName="CORP\\relay" '
            f'RoutePassword="{password}" FullyQualifiedDomainName="a.example.com"/></configuration>')


def test_an_iis_password_that_can_be_read(tmp_path):
    (tmp_path / "x.xml").write_text(iis_login("canary plain"))
    done = run("import-iis", tmp_path / "x.xml", "--secrets", tmp_path / "secrets", "--root", tmp_path)
    config = tmp_path / "mailroot.conf"
    config.write_text(done.stdout)
    run("check", "--no-dns", "-c", config)
    assert "canary" not in done.stdout
    assert secret_files(tmp_path / "secrets") == {"_192.0.2.25_.password": "canary plain\n"}
    shown = json.loads(run("route", "-c", config, "--json", "a@b.example").stdout)
    assert shown["auth"]["user"] == "CORP\\relay" and shown["hosts"][0]["addresses"] == ["192.0.2.25:25"]


def test_an_iis_password_that_is_encrypted_is_asked_for(tmp_path):
    (tmp_path / "x.xml").write_text(iis_login("49634462500000000600000040000000"))
    done = run("import-iis", tmp_path / "x.xml", "--secrets", tmp_path / "secrets", "--root", tmp_path)
    config = tmp_path / "mailroot.conf"
    config.write_text(done.stdout)
    assert "can't be read: write it to" in done.stdout and "49634462" not in done.stdout
    assert "No such file" in run("check", "--no-dns", "-c", config, code=78).stdout
