"""Composes COUNT messages of random property values into FOLDER: N.eml, and N.json with what was set.

What a setter refuses must be refused with INVALID_PARAMETER, and only for a reason: then the message is made without it.
"""
import base64
import json
import pathlib
import random
import sys

from native import CdontsError, Object

PIECES = ["a", "Z", "0", " ", "  ", "\t", '"', "'", "\\", "<", ">", "(", ")", ",", ";", ":", "@", ".", "=", "=?", "?=", "_", "%", "&",
          "=?utf-8?B?eA==?=", "word ", "lorem ipsum ", "é", "ß", "ö", "Ж", "日本", "한국", "😀", "e\u0301", "\u202e", "\u2028", "ﬀ", "\ufeff",
          "-", "--", "/", "a" * 80, "x" * 1200, "ü" * 300, "\u05d0"]
FAULTY = ["\r", "\n", "\r\nBcc: evil@x.test", "\x01", "\x1b", "\x7f", "\x85"]
INVALID_PARAMETER = 0x80070057


def text(rng, faulty=True):
    pieces = [rng.choice(PIECES) for _ in range(rng.choice((0, 1, 2, 5, 20)))]
    if faulty and rng.random() < 0.1:
        pieces.insert(rng.randrange(len(pieces) + 1), rng.choice(FAULTY))
    return "".join(pieces)


def body(rng):
    lines = [rng.choice((".", "..", "From x", "", " ", "trailing ", "tab\t", text(rng, False), "=", "--", "=_", "a" * 2000, "ä" * 500))
             for _ in range(rng.choice((0, 1, 3, 30)))]
    return rng.choice(("\n", "\r\n")).join(lines)


def refused(value, set_it, forbidden=""):
    """Sets; True if it was refused as it should be."""
    is_faulty = any(fault[0] in value for fault in FAULTY) or any(one in value for one in forbidden)
    try:
        set_it(value)
    except CdontsError as error:
        assert error.code == INVALID_PARAMETER and is_faulty, (error, value)
        return True
    assert not is_faulty, value
    return False


def mailbox(name, address):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + f'" <{address}>'


def compose(rng, number):
    """Properties are first tried on a mail of their own: one that refused something can't be sent any more."""
    mail, trial = Object("NewMail"), lambda member: lambda value: Object("NewMail").put(member, value)
    wanted = {"number": number, "attachments": []}
    names = {}
    for member in ("From", "To"):
        name = text(rng)
        names[member] = "" if refused(name, lambda value, m=member: Object("NewMail").put(m, mailbox(value, "a@b.test")),
                                         ";" if member == "From" else "") else name
    mail.put("From", mailbox(names["From"], "from@b.test")).put("To", mailbox(names["To"], "to@b.test") + "; second@b.test")
    wanted["from"], wanted["to"] = names["From"], names["To"]
    for member, key in (("Subject", "subject"),):
        value = text(rng)
        if not refused(value, trial(member)):
            mail.put(member, value)
            wanted[key] = value
    value = text(rng)
    if not refused(value, lambda v: Object("NewMail").header("X-Test", v)):
        mail.header("X-Test", value)
        wanted["header"] = value
    kinds = rng.choice((("text",), ("html",), ("text", "html")))
    for kind in kinds:
        wanted[kind] = body(rng)
        mail.put({"text": "TextBody", "html": "HTMLBody"}[kind], wanted[kind])
    for index in range(rng.choice((0, 0, 1, 3))):
        content = rng.randbytes(rng.choice((0, 1, 57, 58, 1000)))
        name = f"{index}" + text(rng).strip() + rng.choice((".bin", ".txt", ".png"))
        if not refused(name, lambda v: Object("NewMail").attach_bytes(b"", v)):
            mail.attach_bytes(content, name)
            wanted["attachments"].append([name, base64.b64encode(content).decode()])
    return mail.compose(), wanted


def main():
    folder, count, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    for number in range(count):
        message, wanted = compose(rng, number)
        assert max(map(len, message.split(b"\r\n"))) <= 998, number
        assert message.replace(b"\r\n", b"").find(b"\r") < 0 and message.replace(b"\r\n", b"").find(b"\n") < 0, number
        assert not any(line.startswith(b".") for line in message.split(b"\r\n")), number
        (folder / f"{number}.eml").write_bytes(message)
        (folder / f"{number}.json").write_text(json.dumps(wanted))


if __name__ == "__main__":
    main()
