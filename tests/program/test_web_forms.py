"""FrontPage pages as they stand: given out, posted, made into mail and results files; and what strangers try."""
import re
import socket
import threading

import pytest

from lib import mail
from lib.posts import post_all
from lib.relay import USER
from lib.web import Web, read_mail, web_config

FORM = """<html><head><meta http-equiv="Content-Type" content="text/html; charset=windows-1252"></head><body>
<form method="POST" action="--WEBBOT-SELF--" name="f">
<!--webbot bot="SaveResults" S-Email-Format="{format}" S-Email-Address="boss@shop.test, other@shop.test"
  B-Email-Label-Fields="TRUE" B-Email-Subject-From-Field="TRUE" S-Email-Subject="topic" {more}
  S-Email-ReplyTo="email" B-Email-ReplyTo-From-Field="TRUE" S-Builtin-Fields="REMOTE_NAME, HTTP_USER_AGENT" startspan -->
<input TYPE="hidden" NAME="VTI-GROUP" VALUE="0"><!--webbot bot="SaveResults" endspan i-checksum="43374" -->
<input type=text name=name><input type=text name=email><input name=topic>
<input type=checkbox name=news value=ON>
<textarea name=comments></textarea><input type=hidden name=product value=p1>
<input type=submit name=B1 value=Submit></form></body></html>"""
FIELDS = {"VTI-GROUP": "0", "name": "Zo\xeb", "email": "zoe@visitor.test", "topic": "Hello there", "comments": "one\r\n.two",
          "product": "p1", "B1": "Submit"}


@pytest.fixture
def site(relay_to, make_aio, site_folder):
    """site({path: text}, {config changes}): a web process that gives these pages out, and who gets its mail."""
    def create(pages, changes=None):
        for name, text in pages.items():
            path = site_folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
        server = make_aio()
        relay = relay_to(server, {"web": web_config({"pages": str(site_folder), **(changes or {})})})
        web = Web(relay)
        web.server, web.folder = server, site_folder
        return web
    return create


def sent(web, count=1):
    return [read_mail(envelope.original_content) for envelope in web.server.wait(count)]


def page(format="TEXT/PRE", more="", form=FORM):
    return form.replace("{format}", format).replace("{more}", more)


LAYOUTS = [
    ("TEXT/PRE", "*" * 79 + "\n\nproduct:         p1\nname:            Zo\xeb\nemail:           zoe@visitor.test\n"
     "topic:           Hello there\nnews:            \nB1:              Submit\nRemote Name:     127.0.0.1\n"
     "HTTP User Agent: test/1\n\ncomments:\n\none\n.two\n"),
    ("TEXT/CSV", '"product","name","email","topic","news","comments","B1","Remote Name","HTTP User Agent"\n'
     '"p1","Zo\xeb","zoe@visitor.test","Hello there","","one\n.two","Submit","127.0.0.1","test/1"\n'),
    ("TEXT/TSV", '"product"\t"name"\t"email"\t"topic"\t"news"\t"comments"\t"B1"\t"Remote Name"\t"HTTP User Agent"\n'
     '"p1"\t"Zo\xeb"\t"zoe@visitor.test"\t"Hello there"\t""\t"one\n.two"\t"Submit"\t"127.0.0.1"\t"test/1"\n'),
    ("HTML/BR", "<hr>\n<p><b>product: </b>p1<br>\n<b>name: </b>Zo\xeb<br>\n<b>email: </b>zoe@visitor.test<br>\n"
     "<b>topic: </b>Hello there<br>\n<b>news: </b><br>\n<b>B1: </b>Submit<br>\n<b>Remote Name: </b>127.0.0.1<br>\n"
     "<b>HTTP User Agent: </b>test/1<br>\n</p>\n<h3>comments</h3>\n<p>one<br>\n.two</p>\n"),
    ("HTML/DL", "<hr>\n<dl>\n<dt><b>product: </b></dt>\n<dd>p1</dd>\n<dt><b>name: </b></dt>\n<dd>Zo\xeb</dd>\n"),
]


@pytest.mark.parametrize("format,wanted", LAYOUTS, ids=[row[0] for row in LAYOUTS])
def test_results_mail_is_laid_out_as_the_server_extensions_did(site, format, wanted):
    web = site({"sub/feedback.htm": page(format)})
    status, _, text = web.post("/sub/_vti_bin/shtml.exe/feedback.htm", FIELDS, {"User-Agent": "test/1"}, "latin-1")
    assert status == 200 and "Form Confirmation" in text.decode() and "Zo\xeb" in text.decode()
    message, = sent(web)
    assert web.server.envelopes[0].rcpt_tos == ["boss@shop.test", "other@shop.test"]
    assert web.server.envelopes[0].mail_from == "forms@relay.test"
    assert message["From"] == "forms@relay.test" and message["Reply-To"] == "zoe@visitor.test"
    assert message["Subject"] == "Hello there" and message["To"] == "boss@shop.test, other@shop.test"
    assert message.get_content_type() == ("text/html" if format.startswith("HTML") else "text/plain")
    assert wanted in message.get_content().replace("\r\n", "\n")


def test_posts_to_every_action_of_frontpage_mean_the_page(site):
    web = site({"a/page.htm": page()})
    for path, headers in (("/_vti_bin/shtml.dll/a/page.htm", {}), ("/a/_vti_bin/shtml.exe/page.htm", {}),
                          ("/a/--WEBBOT-SELF--", {"Referer": f"http://127.0.0.1:{web.port}/a/page.htm"})):
        assert web.post(path, FIELDS, headers)[0] == 200, path
    assert len(sent(web, 3)) == 3


def test_the_page_given_out_posts_here_and_keeps_its_addresses_to_itself(site):
    web = site({"a/page.htm": page()})
    status, headers, text = web.get("/a/page.htm")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=windows-1252"
    assert b'action="/_vti_bin/shtml.dll/a/page.htm"' in text and b"boss@shop.test" not in text and b"VTI-GROUP" in text


def test_vti_group_tells_the_forms_of_a_page_apart(site):
    second = page().replace('VALUE="0"', 'VALUE="1"').replace("boss@", "second@")
    web = site({"p.htm": page() + second})
    web.post("/_vti_bin/shtml.dll/p.htm", {**FIELDS, "VTI-GROUP": "1"})
    sent(web)
    assert web.server.envelopes[0].rcpt_tos == ["second@shop.test", "other@shop.test"]


def test_results_files_lie_in_their_folder_whatever_the_page_says(site):
    files = 'U-File="_private/results.csv" S-Format="TEXT/CSV" S-Label-Fields="TRUE" U-File="C:\\web\\..\\out.htm" S-Format="HTML/BR"'
    web = site({"p.htm": page(more=files)})
    for name in ("A", '=cmd|" /C calc"'):
        assert web.post("/_vti_bin/shtml.dll/p.htm", {**FIELDS, "name": name})[0] == 200
    folder = web.relay.root / "Forms"
    assert sorted(path.name for path in folder.iterdir()) == ["_private_results.csv", "out.htm"]
    rows = (folder / "_private_results.csv").read_text().splitlines()
    assert rows[0].startswith('"product","name"') and rows[1].startswith('"p1","A"')
    assert '"\'=cmd|"" /C calc"""' in (folder / "_private_results.csv").read_text()
    html = (folder / "out.htm").read_text()
    assert "Results from Form 1 of Page p.htm" in html and html.count("<hr>") == 2 and html.index(">A<") < html.index("=cmd")


CHECKS = [  # the bot's settings, what is typed, what is said ("" = taken)
    ('B-Value-Required="TRUE"', " ", 'Please enter a value for the "name" field.'),
    ('b-value-required', "x", ""),
    ('S-Display-Name="Your name" B-Value-Required="TRUE"', "", 'Please enter a value for the "Your name" field.'),
    ('I-Minimum-Length="3"', "\xe9\xe9", 'Please enter at least 3 characters in the "name" field.'),
    ('I-Minimum-Length="3"', "", ""),
    ('I-Maximum-Length="3"', "\xe9\xe9\xe9", ""),
    ('I-Maximum-Length="3"', "abcd", 'Please enter at most 3 characters in the "name" field.'),
    ('S-Data-Type="Integer" S-Number-Separators=","', "1,969", ""),
    ('S-Data-Type="Integer" S-Number-Separators=","', "12x", 'Please enter only digit characters in the "name" field.'),
    ('S-Data-Type="Number" S-Number-Separators="x."', "1.5", ""),
    ('S-Data-Type="Number" S-Number-Separators="x."', "1.5.1", 'Please enter a valid number in the "name" field.'),
    ('S-Data-Type="Integer" s-validation-constraint="Greater than" s-validation-value="1968" '
     's-validation-constraint="Less than" s-validation-value="1970"', "1969", ""),
    ('S-Data-Type="Integer" s-validation-constraint="Greater than" s-validation-value="1968" '
     's-validation-constraint="Less than" s-validation-value="1970"', "1970",
     'Please enter a value less than "1970" in the "name" field.'),
    ('S-Data-Type="String" B-Allow-Letters="TRUE" S-Allow-Other-Chars="-"', "a-b", ""),
    ('S-Data-Type="String" B-Allow-Letters="TRUE" S-Allow-Other-Chars="-"', "a1",
     'Please enter only letter, "-" characters in the "name" field.'),
]


def test_validation_bots_are_checked_on_the_server(site):
    pages = {f"p{number}.htm": page().replace("<input type=text name=name>",
                                              f'<!--webbot bot="Validation"\n {bot} --><input type=text name=name>')
             for number, (bot, _, _) in enumerate(CHECKS)}
    web = site(pages)
    for number, (bot, value, words) in enumerate(CHECKS):
        status, _, text = web.post(f"/_vti_bin/shtml.dll/p{number}.htm", {**FIELDS, "name": value}, charset="latin-1")
        said = text.decode().replace("&quot;", '"')
        assert (status, words in said) == (422 if words else 200, True), (bot, value, status, said)


def test_a_confirmation_page_gets_the_values_escaped(site):
    confirm = ('<html><body>Dear <!--webbot bot="ConfirmationField" S-Field="name" startspan -->[name]<!--webbot '
               'bot="ConfirmationField" i-checksum="1" endspan -->: <!--webbot BOT=ConfirmationField s-field=comments --></body>')
    web = site({"d/p.htm": page(more='U-Confirmation-Url="../c/ok.htm"'), "c/ok.htm": confirm})
    status, headers, text = web.post("/_vti_bin/shtml.dll/d/p.htm", {**FIELDS, "name": "<script>\u20ac"}, charset="cp1252")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=windows-1252")
    assert text.decode("cp1252") == '<base href="/c/ok.htm"><html><body>Dear &lt;script&gt;\u20ac: one\r\n.two</body>'


def test_a_page_in_big5_gives_mail_in_the_right_letters(site):
    form = page(more='S-Form-Fields="\u59d3\u540d,name"').replace("windows-1252", "big5").replace("name=comments", "name=\u59d3\u540d")
    web = site({"p.htm": form.encode("big5")})
    body = {**FIELDS, "name": "Z", "\u59d3\u540d": "\u738b\u5c0f\u660e&#8364;"}
    assert web.post("/_vti_bin/shtml.dll/p.htm", body, charset="big5hkscs")[0] == 200
    text = sent(web)[0].get_content()
    assert "\u59d3\u540d:\n\n\u738b\u5c0f\u660e\u20ac" in text.replace("\r\n", "\n") and "topic:" not in text


INJECTIONS = ["x\r\nBcc: thief@evil.test", "x\nBcc: thief@evil.test", "x\rBcc: thief@evil.test", "x%0aBcc: thief@evil.test",
              "x\u2028Bcc: thief@evil.test", "x\x00Bcc: thief@evil.test", "a@b.test, thief@evil.test", "x\r\n\r\n.\r\nMAIL FROM:<>"]


def test_what_a_visitor_types_is_never_a_header_or_an_address(site):
    web = site({"p.htm": page()})
    for value in INJECTIONS:
        fields = {**FIELDS, "topic": value, "email": value, value: "v", "recipient": "thief@evil.test", "to": "thief@evil.test",
                  "S-Email-Address": "thief@evil.test"}
        assert web.post("/_vti_bin/shtml.dll/p.htm", fields)[0] == 200
    messages = sent(web, len(INJECTIONS))
    for envelope, message in zip(web.server.envelopes, messages):
        assert envelope.rcpt_tos == ["boss@shop.test", "other@shop.test"]
        assert message["Bcc"] is None and message["Reply-To"] is None and message["Cc"] is None
        assert len(message.get_all("Subject")) == 1 and "thief" not in str(message["To"])
        assert "recipient:" in message.get_content()


PATHS = ["/../secret", "/%2e%2e/secret", "/..%2fsecret", "/a/../../secret", "/%252e%252e/secret", "/./p.htm", "//p.htm", "/.hidden.htm",
         "/p.htm%00.htm", "/..\\secret", "/link.htm", "/run.php", "/a.txt", "/_private/old.htm", "/_private/data.csv", "/%"]


def test_nothing_but_pages_of_the_folder_is_given_out(site):
    web = site({"p.htm": page(), ".hidden.htm": "x", "run.php": "x", "_private/old.htm": "x", "_private/data.csv": "x", "a.txt": "x"})
    (web.folder / "link.htm").symlink_to("/etc/passwd")
    for path in PATHS:
        assert web.get(path)[0] in (400, 404), path
        assert web.post(path.replace("/", "/_vti_bin/shtml.dll/", 1), FIELDS)[0] in (400, 404), path
    assert web.get("/p.htm")[0] == 200


def request(body=b"", *fields, line=b"POST /_vti_bin/shtml.dll/p.htm HTTP/1.1"):
    head = [line, *fields]
    if not any(field.lower().startswith(b"host") for field in fields):
        head.append(b"Host: 127.0.0.1")
    head.append(b"Connection: close")
    return b"\r\n".join(head) + b"\r\n\r\n" + body


URLENCODED = b"Content-Type: application/x-www-form-urlencoded"
REQUESTS = [  # what is sent, codes that are right (0: closed without an answer)
    ("two lengths", request(b"a=b", URLENCODED, b"Content-Length: 3", b"Content-Length: 30"), {400, 0}),
    ("length and chunks", request(b"3\r\na=b\r\n0\r\n\r\n", URLENCODED, b"Content-Length: 3", b"Transfer-Encoding: chunked"), {400, 0}),
    ("a negative length", request(b"a=b", URLENCODED, b"Content-Length: -3"), {400, 0}),
    ("a huge length", request(b"a=b", URLENCODED, b"Content-Length: 99999999999999999999"), {400, 413, 0}),
    ("a long length", request(b"", URLENCODED, b"Content-Length: 100000000"), {413}),
    ("a huge chunk", request(b"FFFFFFFFFFFFFFFF\r\na", URLENCODED, b"Transfer-Encoding: chunked"), {400, 413, 0}),
    ("two hosts", request(b"a=b", URLENCODED, b"Content-Length: 3", b"Host: 127.0.0.1", b"Host: evil.test"), {400}),
    ("a header of 100 KB", request(b"a=b", URLENCODED, b"Content-Length: 3", b"X: " + b"y" * 100000), {431, 413, 400, 0}),
    ("100,000 fields", request(b"a=b&" * 100000, URLENCODED, b"Content-Length: 400000"), {413}),
    ("a name of 10,000 octets", request(b"a" * 10000, URLENCODED, b"Content-Length: 10000"), {413}),
    ("no form", request(b"{}", b"Content-Type: application/json", b"Content-Length: 2"), {415}),
    ("no boundary", request(b"--x", b"Content-Type: multipart/form-data", b"Content-Length: 3"), {400}),
    ("no end", request(b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nhalf',
                       b"Content-Type: multipart/form-data; boundary=x", b"Content-Length: 60"), {400, 0}),
    ("a foreign origin", request(b"a=b", URLENCODED, b"Content-Length: 3", b"Origin: https://evil.test"), {403}),
    ("a foreign name", request(b"a=b", URLENCODED, b"Content-Length: 3", b"Host: evil.test"), {421}),
]


def test_requests_that_bend_the_rules_are_refused_and_send_nothing(site):
    web = site({"p.htm": page()}, {"hosts": ["www.shop.test"], "body_size": "1MB", "timeout": "3s"})
    for name, data, codes in REQUESTS:
        if name == "no end":
            data = data.replace(b"Content-Length: 60", b"Content-Length: %d" % len(data.split(b"\r\n\r\n", 1)[1]))
        answer = web.raw(data, name)
        code = int(answer.split(b" ")[1]) if answer else 0
        assert code in codes, (name, answer[:200])
    assert web.post("/_vti_bin/shtml.dll/p.htm", FIELDS, {"Host": "www.shop.test"})[0] == 200
    assert len(sent(web)) == 1 and not web.relay.waiting()


def test_uploads_are_attached_under_their_base_names(site):
    web = site({"p.htm": page().replace("<input name=topic>", "<input name=topic><input type=file name=cv>")})
    parts = [("name", "", b"Z"), ("cv", '; filename="..\\..\\x/../r\u00e9sum\u00e9.exe"', b"MZ\x00\r\n--not"), ("VTI-GROUP", "", b"0")]
    body = b"".join(b'--xyz\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
                    % (name.encode(), more.encode("latin-1"), value) for name, more, value in parts) + b"--xyz--\r\n"
    status, _, _ = web.ask("POST", "/_vti_bin/shtml.dll/p.htm", body, {"Content-Type": "multipart/form-data; boundary=xyz"})
    assert status == 200
    message, = sent(web)
    attachment, = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("r\u00e9sum\u00e9.exe", b"MZ\x00\r\n--not")


def test_an_address_that_posts_too_much_is_told_to_wait(site):
    web = site({"p.htm": page()}, {"posts_per_minute": 3, "proxies": ["127.0.0.1"]})
    codes = [web.post("/_vti_bin/shtml.dll/p.htm", FIELDS, {"X-Forwarded-For": "192.0.2.1"})[0] for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    assert web.post("/_vti_bin/shtml.dll/p.htm", FIELDS, {"X-Forwarded-For": "192.0.2.1, 192.0.2.2"})[0] == 200


def test_no_thank_you_when_the_mail_cant_be_kept(site):
    web = site({"p.htm": page()})
    web.relay.pickup.chmod(0o555)
    status, _, text = web.post("/_vti_bin/shtml.dll/p.htm", FIELDS)
    web.relay.pickup.chmod(0o755)
    if USER != "root":
        assert status == 503 and b"not sent" in text


@pytest.mark.parametrize("changes,words", [
    ({"listen": "0.0.0.0:8025"}, "web.certificate"), ({"listen": "[::]:8025"}, "web.certificate"),
    ({"listen": "localhost"}, "address with a port"), ({"certificate": "x.pem"}, "belong together"),
    ({"tokens": ["ci:all:00"]}, "NAME:SCOPES:SHA256"), ({"listen": "127.0.0.1:99999"}, "address with a port"),
])
def test_a_config_that_would_open_the_admin_page_is_refused(make_relay, changes, words):
    relay = make_relay({"web": web_config(changes)}, start=False)
    done = relay.run("check", "--no-dns", check=78)
    assert re.search(re.escape(words), (done.stdout + done.stderr).decode())


def test_a_post_that_trickles_is_closed_at_its_deadline(site):
    web = site({"p.htm": page()}, {"timeout": "1s"})
    with socket.create_connection(("127.0.0.1", web.port), 20) as client:
        client.sendall(request(b"", URLENCODED, b"Content-Length: 1000"))
        client.settimeout(0.2)
        for _ in range(100):
            try:
                if client.recv(1000) == b"":
                    break
            except TimeoutError:
                client.sendall(b"a")
            except ConnectionError:
                break
        else:
            raise AssertionError("still open after 20 s")
    assert web.get("/p.htm")[0] == 200


def test_of_posts_beside_sending_none_is_lost_and_none_comes_twice(relay_to, make_sink, site_folder):
    """1,000 posts on 16 connections while the relay sends others' mail: as many mails as thanks, each once."""
    (site_folder / "index.htm").write_text(page().replace("boss@shop.test, other@shop.test", "boss@shop.test"))
    sink = make_sink()
    web = Web(relay_to(sink, {"web": web_config({"pages": str(site_folder), "connections": 100})}))
    rows = [{**FIELDS, "topic": f"post {number}", "name": "Zoe"} for number in range(1000)]
    others = threading.Thread(target=lambda: [web.relay.drop(f"other{number}.eml", mail.message(to="c@d.test")) for number in range(500)])
    others.start()
    thanked = post_all(web.port, "/_vti_bin/shtml.dll/index.htm", rows, connections=16)
    others.join()
    assert thanked == list(range(1000))
    sink.wait(1500, 120)
    web.relay.wait_empty()
    delivered = [event for event in web.relay.events("delivered") if event["to"] == "boss@shop.test"]
    assert len(delivered) == 1000 and len({event["id"] for event in delivered}) == 1000
    assert sink.lines() == 1500
    assert len({event["message_id"] for event in web.relay.events("taken")}) == 1500
