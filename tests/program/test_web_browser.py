"""Real FrontPage pages, unmodified, opened, filled and sent in Chromium: every field arrives."""
import html
import re
import urllib.parse

import pytest

from lib.browser import browse, needs_browser
from lib.web import Web, read_mail, web_config

PAGES = """_private/design_man_prt.htm design/bush/marine/DAB_rudder_metric.htm original/design/entry_design.htm
original/hydro/index.htm original/industry/applications/mining/toggle_jaw_crusher.htm
original/industry/transport/no_grease_suspension.htm original/lhs_headings/industry.htm original/lhs_headings/orders.htm
original/orders/mono_send.htm original/port/vesco/request.htm original/span/request.htm original/staff/quoting/plate.htm
original/stock/mall/stff/export/bushd.htm prototype/stock/class/login.htm""".split() + [
    "original/staff/_private/design/DAB/FROZEN pink52.htm", "original/port/design/PORT entry_alldesigns2.htm"]


@pytest.fixture
def corpus_site(relay_to, make_aio, corpora):
    server = make_aio()
    relay = relay_to(server, {"web": web_config({"pages": str(corpora / "frontpage" / "tiisetso")})})
    web = Web(relay)
    web.server = server
    return web


def shown(message):
    """All text of a mail, without markup."""
    text = message.get_content()
    if message.get_content_type() == "text/html":
        text = html.unescape(re.sub(r"<[^>]*>", "", text.replace("<br>\r\n", "\n").replace("<br>\n", "\n")))
    return re.sub(r"[ \t]+", " ", text.replace("\r\n", "\n"))


def setting(bot, name):
    found = re.search(rf'{name}="([^"]*)"', bot, re.I)
    return re.sub(" +", " ", found.group(1)).strip() if found else ""


def check_mail(source, form, message):
    """The mail of one form: its settings are those of its bot in the page, its text holds what was typed."""
    bot = re.findall(r"<!--webbot\s+bot=\"SaveResults\"[^>]*(?:address|format)[^>]*-->", source, re.I)[form["number"]]
    text = shown(message)
    assert message["Subject"] == (setting(bot, "s-email-subject") or "Form Results")
    assert message["To"] == setting(bot, "s-email-address")
    for field in setting(bot, "s-form-fields").split() or form["fields"]:
        value = form["fields"].get(field, "")
        assert re.search(rf"(^|\n){re.escape(field)}:", text) or field in text.split("\n"), (field, text)
        for line in filter(None, re.sub(r"[ \t]+", " ", value).strip().split("\n")):
            assert line in text, (field, line, text)


@needs_browser
def test_every_form_of_the_real_pages_sends_every_field(corpus_site, corpora):
    urls = {f"http://127.0.0.1:{corpus_site.port}/{urllib.parse.quote(name)}": name for name in PAGES}
    forms = browse("fill.js", *urls)
    assert {form["page"] for form in forms} == set(urls) and all(form["fields"] for form in forms)
    assert [form for form in forms if form["status"] != 200] == []
    messages = [read_mail(envelope.original_content) for envelope in corpus_site.server.wait(len(forms))]
    for form in forms:
        source = (corpora / "frontpage" / "tiisetso" / urls[form["page"]]).read_bytes().decode("cp1252")
        faults = []
        for message in messages:
            try:
                check_mail(source, form, message)
                break
            except AssertionError as fault:
                faults.append(str(fault))
        else:
            raise AssertionError((form, faults))
        messages.remove(message)


CONFIRMATIONS = [("confirm.htm", ["Zo\xeb", "zoe@visitor.test"]), ("design/bush/DAB_confirm.htm", ["zoe@visitor.test"])]


@pytest.mark.parametrize("name,values", CONFIRMATIONS, ids=[row[0] for row in CONFIRMATIONS])
def test_a_real_confirmation_page_shows_what_was_typed(relay_to, make_aio, corpora, site_folder, name, values):
    (site_folder / "ok.htm").write_bytes((corpora / "frontpage" / "tiisetso" / name).read_bytes())
    (site_folder / "form.htm").write_text('<form action="--WEBBOT-SELF--"><!--webbot bot=SaveResults S-Email-Address="a@b.test" '
                                       'U-Confirmation-Url="ok.htm" --><input name=name></form>')
    web = Web(relay_to(make_aio(), {"web": web_config({"pages": str(site_folder)})}))
    fields = {"name": "Zo\xeb", "email": "zoe@visitor.test", "email_address": "zoe@visitor.test"}
    status, _, text = web.post("/_vti_bin/shtml.dll/form.htm", fields, charset="cp1252")
    assert status == 200
    for value in values:
        assert value in text.decode("cp1252")
