"""FrontPage pages beyond the corpus: what 481 real pages do with the SaveResults bot and its settings."""
import re

import pytest

from lib.web import read_mail
from test_web_forms import FIELDS, FORM, sent, site  # noqa: F401

POST = "/_vti_bin/shtml.dll/p.htm"
BOT = re.search(r"<!--webbot bot=\"SaveResults\" S-Email-Format.*?startspan -->", FORM, re.S).group(0)


def with_bot(bot):
    assert BOT in FORM
    return FORM.replace(BOT, bot).replace('<!--webbot bot="SaveResults" endspan i-checksum="43374" -->', "")


def bot(more="", to="boss@shop.test"):
    return f'<!--webbot bot="SaveResults" S-Email-Address="{to}" S-Email-Format="TEXT/PRE" {more} startspan -->'


WRITTEN = {  # the same settings, as hands and programs wrote them
    "startspan first": '<!--webbot startspan bot="SaveResults" S-Email-Address="boss@shop.test" S-Email-Subject="s" -->',
    "no startspan": '<!--webbot bot="SaveResults" S-Email-Address="boss@shop.test" S-Email-Subject="s" -->',
    "lower case": '<!--WebBot bot=saveresults s-email-address="boss@shop.test" s-email-subject="s" startspan -->',
    "upper case": '<!--WEBBOT BOT="SAVERESULTS" S-EMAIL-ADDRESS="boss@shop.test" S-EMAIL-SUBJECT="s" STARTSPAN -->',
    "over lines": '<!--webbot bot="SaveResults"\r\n  S-Email-Address\r\n = "boss@shop.test"\r\n  S-Email-Subject="s"\r\n  startspan\r\n-->',
    "without a value": '<!--webbot bot="SaveResults" U-Confirmation-Url S-Email-Address="boss@shop.test" S-Builtin-Fields S-Email-Subject="s" startspan -->',
    "junk words": '<!--webbot bot="SaveResults" 7f3a S-Email-Address="boss@shop.test" tag preview S-Email-Subject="s" startspan i-checksum="1" -->',
    "single quotes": "<!--webbot bot='SaveResults' S-Email-Address='boss@shop.test' S-Email-Subject='s' startspan -->",
    "an old list": '<!--webbot bot="SaveResults" S-Email-Address=" boss@shop.test , " S-Email-Subject="s" startspan -->',
}


@pytest.mark.parametrize("how", WRITTEN)
def test_the_bot_is_read_however_it_was_written(site, how):  # noqa: F811
    web = site({"p.htm": with_bot(WRITTEN[how])})
    assert web.post(POST, FIELDS, charset="cp1252")[0] == 200
    message, = sent(web)
    assert message["To"] == "boss@shop.test" and message["Subject"] == "s" and "Zo\xeb" in message.get_content()


DATES = [("%A, %B %d, %Y", r"\w+day, \w+ \d\d, 20\d\d"), ("%d %b %Y", r"\d\d \w{3} 20\d\d"), ("%Y-%m-%d", r"20\d\d-\d\d-\d\d"),
         ("%m/%d/%y", r"\d\d/\d\d/\d\d"), ("", r"\d\d \w{3} 20\d\d")]
TIMES = [("%I:%M:%S %p", r"\d\d:\d\d:\d\d [AP]M"), ("%H:%M:%S", r"\d\d:\d\d:\d\d"), ("%H:%M:%S %Z", r"\d\d:\d\d:\d\d \w+"), ("%n%n%n%s%%", None),
         ("%c" * 200, None)]


def test_dates_and_times_have_the_pages_own_formats(site):  # noqa: F811
    for number, (date, wanted_date) in enumerate(DATES):
        time, wanted_time = TIMES[number]
        web = site({"p.htm": with_bot(bot(f'S-Builtin-Fields="Date Time" S-Date-Format="{date}" S-Time-Format="{time}"'))})
        assert web.post(POST, FIELDS)[0] == 200
        text = sent(web)[0].get_content()
        assert re.search(rf"^Date: +{wanted_date}\r?$", text, re.M), (date, text)
        assert wanted_time is None or re.search(rf"^Time: +{wanted_time}\r?$", text, re.M), (time, text)


@pytest.mark.parametrize("settings,reply_to", [
    ('S-Email-ReplyTo="email" B-Email-ReplyTo-From-Field="TRUE"', "zoe@visitor.test"),
    ('S-Email-ReplyTo="desk@shop.test" B-Email-ReplyTo-From-Field="FALSE"', "desk@shop.test"),
    ('S-Email-ReplyTo="desk@shop.test"', "desk@shop.test"), ('S-Email-ReplyTo="nofield" B-Email-ReplyTo-From-Field="TRUE"', None)])
def test_reply_to_is_a_field_or_an_address(site, settings, reply_to):  # noqa: F811
    web = site({"p.htm": with_bot(bot(settings))})
    assert web.post(POST, FIELDS)[0] == 200
    assert sent(web)[0]["Reply-To"] == reply_to


def test_nine_forms_of_one_page_are_told_apart(site):  # noqa: F811
    forms = [FORM.replace(BOT, bot(to=f"box{number}@shop.test")).replace('VALUE="0"', f'VALUE="{number}"') for number in range(9)]
    web = site({"p.htm": "".join(forms)})
    for number in (8, 3, 0, 5):
        assert web.post(POST, {**FIELDS, "VTI-GROUP": str(number)})[0] == 200
    sent(web, 4)
    assert sorted(envelope.rcpt_tos[0] for envelope in web.server.envelopes) == [f"box{number}@shop.test" for number in (0, 3, 5, 8)]


def test_the_newest_result_stands_first_if_the_page_says_so(site):  # noqa: F811
    web = site({"p.htm": with_bot(bot('U-File="r.txt" S-Format="TEXT/PRE" B-Reverse-Chronology="TRUE" U-File="s.csv" S-Format="TEXT/CSV"'))})
    for name in ("first", "second"):
        assert web.post(POST, {**FIELDS, "name": name})[0] == 200
    texts = {name: (web.relay.root / "Forms" / name).read_text() for name in ("r.txt", "s.csv")}
    for text in texts.values():
        assert text.index("second") < text.index("first")
    assert texts["s.csv"].startswith('"product","name"')


def test_a_page_for_faults_shows_them_and_nothing_is_sent(site):  # noqa: F811
    faults = '<html><body>Oh: <!--webbot bot="ConfirmationField" S-Field="Validation-Error" --></body></html>'
    checked = with_bot(bot('U-Validation-Error-Url="faults.htm"')).replace(
        "<input type=text name=name>", '<!--webbot bot="Validation" B-Value-Required="TRUE" S-Display-Name="Your name" --><input type=text name=name>')
    web = site({"p.htm": checked, "faults.htm": faults})
    _, _, text = web.post(POST, {**FIELDS, "name": ""})
    assert b"Oh: " in text and b"Your name" in text
    assert web.post(POST, FIELDS)[0] == 200
    assert len(sent(web)) == 1 and read_mail(web.server.envelopes[0].original_content)["Subject"] == "Form Results"
