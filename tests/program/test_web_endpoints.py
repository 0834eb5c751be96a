"""Forms of the config: from plain HTML and fetch(), and what robots and strangers try."""
import hashlib
import json

import pytest

from lib.browser import browse, needs_browser
from lib.web import Web, read_mail, web_config

CONTACT = {"to": "boss@shop.test", "subject": "Contact: {topic}", "reply_to": "email", "required": ["name"], "least_time": "0ms"}


@pytest.fixture
def form(relay_to, make_aio, site_folder):
    """form({settings}): a web process with /forms/contact, and who gets its mail."""
    def create(changes=None, web=None):
        server = make_aio()
        (site_folder / "page.htm").write_text('<form method="post" action="/forms/contact"><input name="name"></form>')
        (site_folder / "thanks.htm").write_text("thanks")
        relay = relay_to(server, {"web": web_config({"pages": str(site_folder), **(web or {})}),
                                  "form": {"contact": {**CONTACT, **(changes or {})}}})
        made = Web(relay)
        made.server = server
        return made
    return create


def token(web):
    return json.loads(web.get("/forms/contact/token")[2])["token"]


def fields(web, **more):
    return {"mailroot-token": token(web), "name": "Zo\xeb", "email": "zoe@visitor.test", "topic": "Hi", **more}


def post_json(web, data, headers=None):
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return web.ask("POST", "/forms/contact", body, {"Content-Type": "application/json", **(headers or {})})


def test_plain_html_is_sent_once_and_thanked_on_the_own_site(form):
    web = form({"redirect": "/thanks.htm"})
    page = web.get("/page.htm")[2].decode()
    assert 'name="mailroot-token"' in page
    posted = fields(web)
    for _ in range(2):
        status, headers, _ = web.post("/forms/contact", {**posted, "redirect": "//evil.test", "to": "thief@evil.test"})
        assert (status, headers["Location"]) == (303, "/thanks.htm")
    web.post("/forms/contact", fields(web, topic="last"))
    envelopes = web.server.wait(2)
    messages = [read_mail(envelope.original_content) for envelope in envelopes]
    assert sorted(message["Subject"] for message in messages) == ["Contact: Hi", "Contact: last"]
    assert all(envelope.rcpt_tos == ["boss@shop.test"] for envelope in envelopes)
    assert messages[0]["Reply-To"] == "zoe@visitor.test" and "Zo\xeb" in messages[0].get_content()
    assert "mailroot-token" not in messages[0].get_content()


def test_fetch_is_answered_with_json(form):
    web = form({"origins": ["https://www.shop.test"], "text": "From {name}:\n{fields}"})
    origin = {"Origin": "https://www.shop.test"}
    status, headers, _ = web.ask("OPTIONS", "/forms/contact", headers=origin)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, "https://www.shop.test")
    status, headers, text = post_json(web, fields(web, age=7, boxes=["a", "b"]), origin)
    assert (status, json.loads(text), headers["Access-Control-Allow-Origin"]) == (200, {"ok": True}, "https://www.shop.test")
    text = read_mail(web.server.wait(1)[0].original_content).get_content()
    assert text.startswith("From Zo\xeb:") and "boxes:" in text
    assert post_json(web, fields(web), {"Origin": "https://evil.test"})[0] == 403


REFUSED = [
    ({"mailroot-token": ""}, 403), ({"mailroot-token": "0" * 56}, 403), ({"name": " "}, 422), ({"trap": "x"}, 422),
]


def test_robots_are_refused_with_a_reason(form):
    web = form({"honeypot": "trap"})
    for changes, code in REFUSED:
        status, _, text = post_json(web, fields(web, **changes))
        assert status == code and json.loads(text)["error"], changes
    assert post_json(web, b"[1]")[0] == 400 and post_json(web, b'{"a": {}}')[0] == 400
    assert web.get("/forms/contact")[0] == 405 and web.post("/forms/none", {})[0] in (404, 405)
    assert not web.server.envelopes and not web.relay.waiting()


def test_too_fast_is_told_to_wait(form):
    web = form({"least_time": "1h"})
    assert web.post("/forms/contact", fields(web))[0] == 429


def test_what_is_typed_is_never_a_header_or_markup(form):
    web = form()
    for value in ("x\r\nBcc: thief@evil.test", "x\nBcc: thief@evil.test", "{name}{fields}", "<script>alert(1)</script>"):
        assert web.post("/forms/contact", fields(web, topic=value, email=value))[0] == 200
    for envelope in web.server.wait(4):
        message = read_mail(envelope.original_content)
        assert envelope.rcpt_tos == ["boss@shop.test"] and message["Bcc"] is None and message["Reply-To"] is None
        assert message.get_content_type() == "text/plain"


def upload(web, name, content=b"\x00\x01"):
    parts = [b'Content-Disposition: form-data; name="%s"\r\n\r\n%s' % (key.encode(), value.encode()) for key, value in fields(web).items()]
    parts.append(b'Content-Disposition: form-data; name="cv"; filename="%s"\r\n\r\n%s' % (name.encode(), content))
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    return web.ask("POST", "/forms/contact", body, {"Content-Type": "multipart/form-data; boundary=x"})[0]


def test_files_are_taken_as_the_config_says(form):
    web = form({"files": 1, "file_types": ["pdf", "txt"]})
    assert upload(web, "a.exe") == 422 and upload(web, "pdf") == 422
    assert upload(web, "../../r\xe9sum\xe9.PDF") == 200
    attachment, = read_mail(web.server.wait(1)[0].original_content).iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("r\xe9sum\xe9.PDF", b"\x00\x01")


def test_the_auto_answer_has_the_configs_words_and_no_sender(form):
    web = form({"auto_answer": "We have it. {name}", "auto_subject": "Got it"})
    web.post("/forms/contact", fields(web))
    answer, = [envelope for envelope in web.server.wait(2) if envelope.rcpt_tos == ["zoe@visitor.test"]]
    message = read_mail(answer.original_content)
    assert answer.mail_from in ("", "<>", None) and message["Auto-Submitted"] == "auto-replied" and message["Subject"] == "Got it"
    assert message.get_content().strip() == "We have it. {name}"


@pytest.mark.parametrize("changes,words", [({"to": "nobody@"}, "addresses"), ({"redirect": "//evil.test"}, "path of this site"),
                                           ({"redirect": "https://evil.test"}, "path of this site"), ({"nonsense": 1}, "unknown key")])
def test_a_form_that_cant_work_is_refused(make_relay, changes, words):
    relay = make_relay({"web": web_config(), "form": {"contact": {**CONTACT, **changes}}}, start=False)
    done = relay.run("check", "--no-dns", check=78)
    assert words in (done.stdout + done.stderr).decode()


def work(token, bits):
    """The number that N6 asks for."""
    number = 0
    while int.from_bytes(hashlib.sha256(f"{token}:{number}".encode()).digest()[:4], "big") >> (32 - bits):
        number += 1
    return str(number)


def test_N6_a_form_that_wants_work_takes_nothing_without(form):
    web = form({"work": 12})
    given = json.loads(web.get("/forms/contact/token")[2])
    assert given["work"] == 12
    done = work(given["token"], 12)
    posted = {**fields(web), "mailroot-token": given["token"]}
    other = fields(web)
    for wrong in ({}, {"mailroot-work": ""}, {"mailroot-work": "0" if done != "0" else "1"}, {"mailroot-work": "9" * 500}):
        assert post_json(web, {**posted, **wrong})[0] == 403, wrong
    assert post_json(web, {**other, "mailroot-work": done})[0] == 403 or work(other["mailroot-token"], 12) == done
    assert post_json(web, {**posted, "mailroot-work": done})[0] == 200
    assert len(web.server.wait(1)) == 1
    assert b'src="/forms/work.js"' in web.get("/page.htm")[2] and web.get("/forms/work.js")[0] == 200


@needs_browser
def test_N6_a_browser_does_the_work_by_itself_even_if_sent_at_once(form):
    web = form({"work": 14})
    seen = browse("work.js", f"http://127.0.0.1:{web.port}/page.htm", "Zo\xeb")
    assert seen["status"] == 200
    assert "Zo\xeb" in read_mail(web.server.wait(1)[0].original_content).get_content()


@pytest.mark.parametrize("charset,posted", [("windows-1252", b"Zo%EB+%26%238364%3B"), ("big5", b"%A4%A4%A4%E5"), ("", b"Zo%EB"), ("utf-8", b"Zo%C3%AB"), ("x-nonsense", b"Zo%EB")])
def test_N7_what_a_page_of_an_older_charset_posts_is_read(form, charset, posted):
    web = form({"token": False})
    body = b"name=" + posted + (b"&_charset_=" + charset.encode() if charset else b"")
    assert web.post("/forms/contact", body)[0] == 200
    text = read_mail(web.server.wait(1)[0].original_content).get_content()
    assert ("\u4e2d\u6587" if charset == "big5" else "Zo\xeb") in text and "_charset_" not in text
    assert charset != "windows-1252" or "\u20ac" in text
