"""libcdonts: its objects as a binding sees them, and its messages as Python's email, GMime and npm's mailparser read them."""
import json
import random

import pytest

from lib import cdonts

READERS = ("python", "gmime", "mailparser")


@pytest.fixture(scope="module")
def random_messages(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("random")
    count = 60 if request.config.getoption("--quick") else 400
    seed = random.randrange(1 << 30)
    cdonts.compose_random(folder, count, seed)
    return folder, seed


@pytest.mark.parametrize("reader", READERS)
def test_any_property_value_parses_back_or_is_refused(random_messages, reader):
    folder, seed = random_messages
    cdonts.check_random(reader, folder, seed)


INJECTIONS = ["a\r\nBcc: e@x.test", "a\nX: y", "a\rX: y", "a\x0bb", "\x1b[0m", "a\x7f", "a\u0085b"]


def test_no_input_makes_a_header_line():
    cdonts.python("""
import json, sys
from native import CdontsError, Object
for value in json.loads(sys.argv[1]):
    for member in ("To", "Cc", "Bcc", "From", "Subject", "ContentBase", "ContentLocation", "Unsubscribe", "CalendarMethod"):
        mail = Object("NewMail").put("PickupFolder", "/nonexistent")
        for step in (lambda: mail.put(member, value), mail.put("To", "a@b.test").send):
            try:
                step()
            except CdontsError as error:
                assert error.code == 0x80070057, (member, value, error)
            else:
                raise AssertionError((member, value))
    for set_it in (lambda mail: mail.header("X-Y", value), lambda mail: mail.header("X-" + value, "y"),
                   lambda mail: mail.attach_bytes(b"", value), lambda mail: mail.attach_bytes(b"", "x", value)):
        try:
            mail = Object("NewMail").put("To", "a@b.test")
            set_it(mail)
            mail.compose()
        except CdontsError as error:
            assert error.code == 0x80070057, (value, error)
        else:
            raise AssertionError(value)
""", json.dumps(INJECTIONS))


@pytest.mark.parametrize("name", ["From", "X-Receiver", "x-sender", "Content-Type", "MIME-Version", "Received", "Resent-To",
                                  "X-Deliver-At", "a b", "a:b", "", "ä"])
def test_value_refuses_the_structure_of_the_message(name):
    script = """
import sys
from native import CdontsError, Object
mail = Object("NewMail").put("To", "a@b.test")
try:
    mail.header(sys.argv[1], "x;y@z.test")
    print("taken")
except CdontsError as error:
    print(f"{error.code:X}")
"""
    assert cdonts.python(script, name).strip() == "80070057"


CODES = [
    ("no recipient", "mail.put('From', 'a@b.test').send()", 0x80040607),
    ("blank recipients", "mail.put('Cc', '').put('Bcc', ' ; ').send()", 0x80040607),
    ("no address", "mail.put('To', 'a b c@').send()", 0x80070057),
    ("several senders", "mail.put('From', 'a@b.test; c@d.test')", 0x80070057),
    ("importance", "mail.put('Importance', 3)", 0x80070057),
    ("body format", "mail.put('BodyFormat', 2)", 0x80070057),
    ("read a write-only property", "mail.text('Subject')", 0x80040102),
    ("no such member", "mail.put('Colour', 'red')", 0x80020006),
    ("no such file", "mail.attach_file('/nonexistent')", 0x8004010F),
    ("no pickup folder", "mail.put('To', 'a@b.test').put('PickupFolder', '/nonexistent').send()", 0x80040116),
    ("sent before", "mail.put('To', 'a@b.test').send(), mail.put('Subject', 'x')", 0x80040108),
    ("sent twice", "mail.put('To', 'a@b.test').send(), mail.send()", 0x80040108),
    ("before LogonSMTP", "Object('Session').object('Inbox')", 0x80040605),
]


@pytest.mark.parametrize("what,script,code", CODES, ids=[row[0] for row in CODES])
def test_errors_have_cdonts_codes(tmp_path, what, script, code):
    done = cdonts.python(f"""
from native import CdontsError, Object
mail = Object("NewMail")
try:
    {script}
    print("no error")
except CdontsError as error:
    print(f"{{error.code}} {{error}}")
""", MAILROOT_PICKUP=tmp_path)
    assert done.split()[0] == str(code), done


HABITS = [ # From, To, sender on the wire, recipients
    ("a@b.test", "Company<c@d.test>;e@f.test", "a@b.test", ["c@d.test", "e@f.test"]),
    ("a@b.test (A Name)", "c@d.test, e@f.test;", "a@b.test", ["c@d.test", "e@f.test"]),
    ("webmaster", "c@d.test", "webmaster@relay.test", ["c@d.test"]),
    ("Automated Sales Report", "c@d.test", '"Automated Sales Report"@relay.test', ["c@d.test"]),
    ("Dan R <a@b.test>", "C@d.test; C@d.test", "a@b.test", ["C@d.test"]),
]


@pytest.mark.parametrize("sender,to,from_path,recipients", HABITS)
def test_habits_of_real_scripts_reach_the_wire(relay_to, make_server, sender, to, from_path, recipients):
    server = make_server()
    relay = relay_to(server)
    name = cdonts.python("""
import sys
from native import Object
mail = Object("NewMail").put("From", sys.argv[1]).put("To", sys.argv[2]).put("Cc", "").put("Bcc", "hidden@d.test")
print(mail.put("Subject", "s").put("Body", "x" * 40000 + "\\n.\\n..\\n").send())
""", sender, to, MAILROOT_PICKUP=relay.pickup).strip()
    relay.wait_event("done", pickup=name)
    transaction = server.transactions[0]
    assert transaction.sender == from_path
    assert sorted(transaction.recipients) == sorted([*recipients, "hidden@d.test"])
    assert b"hidden" not in transaction.content and b"bcc" not in transaction.content.lower()


@pytest.mark.parametrize("table,words_of_it", [([], "0 "), ([("RCPT", "550 5.1.1 no")], str(0x80004005)),
                                               ([("RCPT", "450 4.2.0 wait")], str(0x80040401))])
def test_waiting_tells_the_outcome_by_the_receipt(relay_to, make_server, table, words_of_it):
    relay = relay_to(make_server(table), {"receipts": {"enabled": True}})
    done = cdonts.python("""
import sys
from native import Object, wait
name = Object("NewMail").put("From", "a@b.test").put("To", "user@d.test").send()
print(*wait(name, sys.argv[1], 4000 if sys.argv[2] != "0 " else 60000))
""", relay.root / "Receipts", words_of_it, MAILROOT_PICKUP=relay.pickup)
    assert done.startswith(words_of_it), done


def test_deliver_at_is_kept_until_then(relay_to, make_server):
    relay = relay_to(make_server())
    name = cdonts.python("""
from native import Object
print(Object("NewMail").put("From", "a@b.test").put("To", "user@d.test").put("DeliverAt", 4102444800).send())
""", MAILROOT_PICKUP=relay.pickup).strip()
    relay.wait_event("taken", pickup=name)
    assert "2100-01-01" in json.dumps(relay.run("queue", "list", "--json", json_out=True))


def test_uuencoded_files_stand_in_plain_text(tmp_path):
    import binascii
    content = bytes(range(256)) * 3
    (tmp_path / "data.bin").write_bytes(content)
    message = cdonts.python("""
import sys
from native import Object
mail = Object("NewMail").put("From", "a@b.test").put("To", "c@d.test").put("Body", "see below")
mail.attach_file(sys.argv[1])
print(mail.compose().decode())
""", tmp_path / "data.bin")
    assert "multipart" not in message
    encoded = message.split("begin 644 data.bin\n")[1].split("`\nend")[0]
    assert b"".join(binascii.a2b_uu(line) for line in encoded.splitlines()) == content


def test_the_session_tree_writes_and_reads(tmp_path):
    pickup, drop = tmp_path / "Pickup", tmp_path / "Drop"
    pickup.mkdir(), drop.mkdir()
    script = (cdonts.HERE / "session.py").read_text()
    cdonts.python(script, pickup, drop)
    assert sorted(file.name for file in drop.iterdir()) == ["other.eml", "second.eml"]
