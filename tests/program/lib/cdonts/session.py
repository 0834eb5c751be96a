"""Session, Outbox, Message, Recipients, Attachments; what was written is then read in the Inbox: argv: PICKUP DROP."""
import ctypes
import pathlib
import sys

from native import CdontsError, Error, LIBRARY, Object


class Value(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("number", ctypes.c_int64), ("text", ctypes.c_char_p), ("size", ctypes.c_size_t),
                ("object", ctypes.c_void_p)]


def call(obj, member, *arguments):
    values = (Value * max(1, len(arguments)))()
    for value, argument in zip(values, arguments):
        if isinstance(argument, int):
            value.kind, value.number = 1, argument
        elif argument is not None:
            text = argument if isinstance(argument, bytes) else argument.encode()
            value.kind, value.text, value.size = 3 if isinstance(argument, bytes) else 2, text, len(text)
    error, ret = Error(), Value()
    number = LIBRARY.cdonts_member_find(obj._pointer, member.encode())
    code = LIBRARY.cdonts_invoke(obj._pointer, number, 5, values, ctypes.c_size_t(len(arguments)), ctypes.byref(ret), ctypes.byref(error))
    if code:
        error.code = code & 0xFFFFFFFF
        raise CdontsError(error)
    return Object(pointer=ret.object) if ret.object else None


def refused(code, function, *arguments):
    try:
        function(*arguments)
    except CdontsError as error:
        assert error.code == code, error
    else:
        raise AssertionError("not refused")


pickup, drop = map(pathlib.Path, sys.argv[1:])
session = Object("CDONTS.Session")
call(session, "LogonSMTP", "Größe, the \"Boss\"", "boss@b.test")
session.put("PickupFolder", str(pickup)).put("DropFolder", str(drop))
messages = session.object("Outbox").object("Messages")
message = call(messages, "Add", "Subject ü", "Text\r\n.", 2)
call(message.object("Recipients"), "Add", "Ann", "ann@b.test")
call(message.object("Recipients"), "Add", None, "cc@b.test", 2)
call(message.object("Recipients"), "Add", "bcc@b.test", None, 3)
call(message.object("Attachments"), "Add", "a.bin", 1, bytes(range(256)))
assert message.object("Recipients").number("Count") == 3 and messages.number("Count") == 0
message.put("HTMLText", "<p>x</p>")
call(message, "Send")
refused(0x80040108, message.put, "Subject", "again")
raw = (pickup / message.text("PickupName")).read_bytes()
assert raw.count(b"X-Receiver:") == 3 and raw.split(b"From:")[1].count(b"bcc@b.test") == 0

for name, receiver in (("first.eml", "ann@b.test"), ("second.eml", "Ann@b.test"), ("other.eml", "x@b.test"), (".part", "ann@b.test")):
    (drop / name).write_bytes(b"x-sender: s@b.test\r\nx-receiver: " + receiver.encode() + b"\r\nFrom:" + raw.split(b"\r\nFrom:")[1])
session = Object("Session")
call(session, "LogonSMTP", "Ann", "ann@b.test")
session.put("DropFolder", str(drop))
inbox = session.object("Inbox").object("Messages")
assert inbox.number("Count") == 2 and inbox.number("Class") == 16
first = call(inbox, "GetFirst")
assert first.text("Subject") == "Subject ü" and first.text("Text") == "Text\r\n." and first.text("HTMLText") == "<p>x</p>"
assert first.number("Importance") == 2 and first.number("Size") > 500 and first.number("TimeSent") > 1_700_000_000_000
sender = first.object("Sender")
assert (sender.text("Name"), sender.text("Address"), sender.text("Type")) == ('Größe, the "Boss"', "boss@b.test", "SMTP")
ann = call(first.object("Recipients"), "Item", 1)
assert (ann.text("Name"), ann.text("Address"), ann.number("Type")) == ("Ann", "ann@b.test", 1)
attachment = call(first.object("Attachments"), "Item", 1)
call(attachment, "WriteToFile", str(drop / ".written"))
assert (drop / ".written").read_bytes() == bytes(range(256)) and attachment.text("Name") == "a.bin"
refused(0x80070005, first.put, "Subject", "x")
refused(0x80070005, call, first, "Send")
refused(0x80070005, call, inbox, "Add", "x")
refused(0x8004010F, call, inbox, "Item", 3)
del session
assert call(inbox, "GetNext").text("Subject") == "Subject ü" and call(inbox, "GetNext") is None
call(first, "Delete")
refused(0x8004010A, first.text, "Subject")
assert inbox.number("Count") == 1 and attachment.text("Name") == "a.bin"
for name in (".part", ".written"):
    (drop / name).unlink()
