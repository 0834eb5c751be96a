"""cdonts.dll under Wine: scripts after real call traces, in VBScript and JScript, whose messages go through the relay to a server."""
import base64
import json

import pytest

from lib import cdonts
from lib.cdonts import asp
from lib.cdonts.wine import Wine
from lib.relay import TREE

TRACES = json.loads((TREE / "tests/corpora/cdonts/traces.json").read_text())
READERS = ("python", "gmime", "mailparser")
TEXTS = ["plain words", 'with "quotes", commas; and <brackets>', "x" * 300 + " long", "a=b=?c?= & %20", "  blanks  inside  "]
# What VBScript in an ASCII file can't say, JScript can: \u escapes.
WIDE = ["Gr\u00fc\u00dfe", "\u65e5\u672c\u8a9e \u2013 \u20ac", "\U0001f600 smile", "\u0416 " * 60, "e\u0301 \u05d0\u202e"]


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    wine = Wine(tmp_path_factory.mktemp("wine"))
    yield wine
    wine.close()


def values_of(trace, number, texts):
    """For each message of a trace: its calls with values in the place of expressions."""
    message = None
    for event in trace["events"]:
        member, kind = event[0], event[1] if len(event) > 1 else ""
        if member == "NEW":
            message = []
        elif member == "Send":
            yield [*message, ("Send", None)]
        elif member != "FREE":
            word = texts[(number + len(message)) % len(texts)]
            made = {"From": f"Site {number} <site{number}@b.test>", "To": f"user{number}@d.test; Second<second{number}@d.test>",
                    "Cc": f"cc{number}@d.test", "Subject": f"{number} {word}", "ContentBase": "http://www.b.test/",
                    "Body": f"{word}\r\n.\r\n..two\r\n<br>" + "line of text\r\n" * (3000 if number % 7 == 0 else 3)}
            literal = kind.removeprefix("lit:")
            value = made[member] if kind == "expr" else int(literal) if member in ("BodyFormat", "MailFormat", "Importance") else literal
            message.append((member, value))


def expected(calls):
    last = {member: value for member, value in calls}
    return {"subject": last.get("Subject"), "kind": "html" if last.get("BodyFormat", 1) == 0 else "text", "body": last["Body"],
            "from": last.get("From")}


def vbscript(messages):
    lines = ["Dim mail", "On Error Resume Next"]
    for calls in messages:
        lines.append('Set mail = CreateObject("CDONTS.NewMail")')
        for member, value in calls:
            argument = value if isinstance(value, int) else None if value is None else long_literal(value)
            lines.append("mail.Send\nWScript.Echo Err.Number & \":\" & Err.Description & mail.PickupName" if member == "Send" else f"mail.{member} = {argument}")
        lines.append("Set mail = Nothing")
    return "\n".join(lines) + "\n"


def long_literal(value):
    """Bodies are made by a loop's worth of repetition, not by a line of 40 kB."""
    tail = "line of text\r\n"
    count = (len(value) - len(value.rstrip())) and value.count(tail)
    return asp.literal(value) if not count or count < 100 else asp.literal(value[:-len(tail) * count]) + \
        f' & Replace(Space({count}), " ", {asp.literal(tail)})'


def jscript(messages):
    lines = ["var mail;"]
    for calls in messages:
        lines.append('mail = new ActiveXObject("CDONTS.NewMail");')
        for member, value in calls:
            lines.append("mail.Send(); WScript.Echo(mail.PickupName);" if member == "Send" else f"mail.{member} = {json.dumps(value)};")
    return "\n".join(lines) + "\n"


def lines_of(text):
    return (text or "").replace("\r\n", "\n").rstrip("\n")


def check_delivered(relay, server, sent, tmp_path):
    """Every message as three readers see it after the relay: the same subject, sender and text as the script set."""
    for name in sent:
        relay.wait_event("done", pickup=name)
    files = []
    for index, transaction in enumerate(server.transactions):
        files.append(tmp_path / f"{index}.eml")
        files[-1].write_bytes(transaction.content)
    assert len(files) == len(sent)
    for reader in READERS:
        seen = cdonts.read(reader, files).values()
        left = [(one["subject"] or "", one["from"][0][1], lines_of(one["html"]), lines_of(one["text"])) for one in seen]
        for wanted in sent.values():
            sender = wanted["from"].split("<")[-1].rstrip(">") if wanted["from"] else None
            body = lines_of(wanted["body"])
            row = [one for one in left if one[0] == (wanted["subject"] or "") and sender in (None, one[1])
                   and (one[2], one[3]) == ((body, "") if wanted["kind"] == "html" else ("", body))]
            assert row, (reader, wanted["subject"], wanted["kind"])
            left.remove(row[0])


@pytest.mark.parametrize("language", ["vbscript", "jscript"])
def test_scripts_after_every_real_trace_are_delivered(wine, relay_to, make_server, tmp_path, language):
    assert len(TRACES) == 34
    server = make_server()
    relay = relay_to(server, start=False)  # Wine looks at a name once more after the rename: the file must still be there
    sent, scripts = {}, []
    for number, trace in enumerate(TRACES):
        messages = list(values_of(trace, number, TEXTS if language == "vbscript" else TEXTS + WIDE))
        scripts.append((number, messages))
    for bits in wine.bits:
        if language == "vbscript":
            for first in range(0, len(scripts), 9): # a few files: starting cscript is what takes its time
                messages = [message for _, some in scripts[first:first + 9] for message in some]
                names = wine.script(f"traces{first}.vbs", vbscript(messages), pickup=relay.pickup, bits=bits).splitlines()
                assert len(names) == len(messages) and all(name.startswith("0:0") for name in names), names
                sent.update(zip([name[2:] for name in names], map(expected, messages)))
        else:
            everything = [message for _, messages in scripts for message in messages]
            names = wine.script("traces.js", jscript(everything), pickup=relay.pickup, bits=bits).split()
            assert len(names) == len(everything)
            sent.update(zip(names, map(expected, everything)))
    relay.start()
    check_delivered(relay, server, sent, tmp_path)


def test_sendmail_vbs_of_the_command_prompt(wine, relay_to, make_server):
    server = make_server()
    relay = relay_to(server, start=False)  # Wine looks at a name once more after the rename: the file must still be there
    text = (TREE / "examples/cdonts/sendmail.vbs").read_text()
    name = wine.script("sendmail.vbs", text, "-t", "to@d.test", "-from", "from@b.test", "-s", "a subject", "-body", "some words",
                       pickup=relay.pickup).strip()
    relay.start()
    relay.wait_event("done", pickup=name)
    assert b"Subject: a subject\r\n" in server.transactions[0].content and b"\r\n\r\nsome words" in server.transactions[0].content
    assert "usage:" in wine.script("sendmail.vbs", text, "-t", "x", pickup=relay.pickup, check=False)


@pytest.mark.parametrize("email,sent", [("v@d.test", True), ("v@d.test\r\nBcc: evil@d.test", False)])
def test_an_asp_page_sends_its_form_or_says_why_not(wine, relay_to, make_server, email, sent):
    server = make_server()
    relay = relay_to(server, start=False)  # Wine looks at a name once more after the rename: the file must still be there
    page = (TREE / "examples/cdonts/form.asp").read_text()
    if not sent:
        page = page.replace("mail.Value(", "On Error Resume Next\nmail.Value(", 1)
    form = {"email": email, "subject": "a \"question\"", "text": "<b>5 & 6</b>\r\n.\r\nend"}
    output = wine.script("form.vbs", asp.script(page, form), pickup=relay.pickup)
    if not sent:
        assert "Not sent: " in output and "Thank you" not in output and list(relay.pickup.glob("*.eml")) == []
        return
    assert "Thank you, v@d.test." in output, output
    relay.start()
    relay.wait_event("delivered", to="office@example.test")
    content = server.transactions[0].content
    assert b"Reply-To: v@d.test\r\n" in content and b"&lt;b&gt;5 &amp; 6&lt;/b&gt;\r\n=2E\r\nend" in content


@pytest.mark.parametrize("bits", [64, 32])
def test_mail_of_any_charset_is_read_on_windows(wine, tmp_path, bits):
    if bits not in wine.bits:
        pytest.skip("no 32-bit Wine: ./check fetches its libraries")
    words = {"koi8-r": "\u041f\u0440\u0438\u0432\u0435\u0442", "shift_jis": "\u65e5\u672c\u8a9e", "windows-1250": "\u017bar",  # Wine has no ISO-2022-JP, Windows has
             "utf-16be": "Gr\u00fc\u00df", "iso-8859-1": "\u00e9"}
    for number, (charset, text) in enumerate(words.items()):
        encoded = base64.b64encode(text.encode(charset)).decode()
        (tmp_path / f"{number}.eml").write_text(f"x-receiver: me@d.test\r\nFrom: a@b.test\r\nSubject: {charset} =?{charset}?B?{encoded}?=\r\n\r\nx\r\n")
    output = wine.script("charsets.js", """
var session = new ActiveXObject("CDONTS.Session");
session.LogonSMTP("Me", "me@d.test");
session.DropFolder = WScript.Arguments(0);
for (var all = new Enumerator(session.Inbox.Messages); !all.atEnd(); all.moveNext()) {
    var subject = all.item().Subject, line = "";
    for (var i = 0; i < subject.length; i++) line += subject.charCodeAt(i) + " ";
    WScript.Echo(line);
}
""", "Z:" + str(tmp_path).replace("/", "\\"), pickup=tmp_path, bits=bits)
    seen = {"".join(chr(int(code)) for code in line.split()) for line in output.splitlines()}
    assert seen == {f"{charset} {text}" for charset, text in words.items()}


def test_errors_and_the_inbox_in_vbscript(wine, tmp_path):
    (tmp_path / "d.eml").write_bytes(b"x-sender: a@b.test\r\nx-receiver: me@d.test\r\nFrom: Ann <a@b.test>\r\nTo: me@d.test\r\n"
                                     b"Subject: =?utf-8?B?aGVsbG8=?=\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\nwords\r\n")
    output = wine.script("inbox.vbs", """
On Error Resume Next
Set mail = CreateObject("CDONTS.NewMail")
mail.Send
WScript.Echo Hex(Err.Number)
Err.Clear
mail.Send "a@b.test", "c@d.test", "subject", "body", 2
WScript.Echo Err.Number & " " & mail.Version
mail.Body = "x"
WScript.Echo Hex(Err.Number)
Err.Clear
Set session = CreateObject("CDONTS.Session")
session.LogonSMTP "Me", "me@d.test"
session.DropFolder = WScript.Arguments(0)
Set messages = session.Inbox.Messages
WScript.Echo messages.Count & " " & messages(1).Subject & " " & messages.Item(1).Sender & " " & Year(messages(1).TimeSent)
For Each message In messages
    WScript.Echo "each " & message.Subject
Next
For Each message In messages
    message.Delete
Next
WScript.Echo messages.Count & " " & Err.Number
Set message = session.Outbox.Messages.Add("out", "text", 2)
message.Recipients.Add "Bob", "bob@d.test", 1
message.Send
WScript.Echo Hex(Err.Number) & " " & (session.Outbox.Messages.GetFirst Is Nothing)
""", "Z:" + str(tmp_path).replace("/", "\\"), pickup=tmp_path)
    assert output.splitlines() == ["80040607", "0 1.2", "80040108", "1 hello Ann 2026", "each hello", "0 0", "0 True"], output
    assert len(list(tmp_path.glob("*.eml"))) == 2
