"""Making messages, and comparing what went in with what came out."""
import re

# Fields the relay puts in front, adds where missing, or takes out (README, "What is changed").
ADDED = {b"received", b"date", b"message-id", b"from", b"to"}
REMOVED = re.compile(rb"(?:bcc|resent-bcc|return-path|x-sender|x-receiver|x-createdby|x-helodomain|x-extendedprops"
                     rb"|x-extendedmessageprops|x-endofinjectedxheaders|x-source|x-sourceipaddress|x-envid|x-job"
                     rb"|x-virtual-mta|x-schedule|x-deliver-at|x-deliver-by)$", re.I)


def message(sender="app@sender.test", to="user@example.test", subject="test", body="hello\r\n", more="", end="\r\n"):
    """A plain message; `more` are further header lines, each with its end."""
    text = ""
    if sender is not None:
        text += f"From: {sender}\r\n"
    if to is not None:
        text += f"To: {to}\r\n"
    text += f"Subject: {subject}\r\n{more}\r\n{body}"
    return text.replace("\r\n", end).encode("utf-8", "surrogateescape")


def canonical(content):
    """Every line end CRLF, and one at the end."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


def split(content):
    """(header fields, body) of a canonical message; a field is (lower-case name, raw bytes)."""
    header, separator, body = content.partition(b"\r\n\r\n")
    if content.startswith(b"\r\n"):
        header, body, separator = b"", content[2:], b"\r\n"
    if separator:
        header += b"\r\n"
    fields = []
    for raw in re.findall(rb"[^\r\n][^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", header):
        name = raw.split(b":", 1)[0].strip().lower()
        fields.append((name, raw))
    return fields, body


def fields(content):
    return split(canonical(content))[0]


def field(content, name):
    """The unfolded value of the first such field, or None."""
    for found, raw in fields(content):
        if found == name.lower().encode():
            return re.sub(rb"\r\n", b"", raw.split(b":", 1)[1]).strip().decode("utf-8", "surrogateescape")
    return None


def unwrapped(content):
    """Without what real files carry around a message: an mbox line, a byte order mark, the pickup block."""
    content = canonical(content.removeprefix(b"\xef\xbb\xbf"))
    while re.match(rb">?From (?!:)[^\r\n]*\r\n", content):
        content = content.split(b"\r\n", 1)[1]
    return content


def kept_fields(content):
    """The fields that must come through as they are."""
    return [raw for name, raw in split(content)[0] if not REMOVED.match(name)]


def header_differences(sent, got):
    """What is wrong with the header that came out, as a list of sentences; empty if nothing is."""
    wanted, came = kept_fields(sent), split(got)[0]
    problems = []
    names_in = {name for name, _ in split(sent)[0]}
    remaining = list(came)
    for raw in wanted:
        for index, (_, other) in enumerate(remaining):
            if other == raw:
                del remaining[index]
                break
        else:
            problems.append(f"lost or changed: {raw!r}")
    for name, raw in remaining:
        if name == b"received" or (name in ADDED and name not in names_in):
            continue
        problems.append(f"added: {raw!r}")
    order = [raw for _, raw in came if raw in wanted]
    if not problems and order != wanted:
        problems.append("order changed")
    if not came or came[0][0] != b"received":
        problems.append("no Received in front")
    return problems


def wire_problems(wire):
    """What no octet stream of SMTP may hold (RFC 5321 2.3.8, 4.5.3.1.6)."""
    problems = []
    if re.search(rb"\r(?!\n)", wire):
        problems.append("a bare CR")
    if re.search(rb"(?<!\r)\n", wire):
        problems.append("a bare LF")
    if any(len(line) > 998 for line in wire.split(b"\r\n")):
        problems.append("a line over 998 octets")
    return problems
