"""Other people's messages arrive intact at servers of other makes, or are refused with the right reason."""
import re

import pytest

from lib import mail

BLOCK = b"X-Sender: <app@sender.test>\r\nX-Receiver: <user@example.test>\r\n"
# What can't be sent as it is, and why the relay says so: no message, or one whose header can't be a message's.
REFUSALS = re.compile(r"empty|header|NUL|UTF-16|line|mbox|messages|log|BSMTP|wide|998|boundary|signed|can't", re.I)


def corpus(folder):
    return sorted(path for path in (folder / "messages").rglob("*")
                  if path.is_file() and path.suffix.lower() in ("", ".eml", ".txt", ".msg", ".mai", ".bad")
                  and not path.name.startswith((".", "LICENSE", "README", "COPYING")))


def prepared(path):
    """The file with an envelope in front; a mbox line stays first for the relay to see."""
    content = path.read_bytes()
    return content if re.match(rb"\xff\xfe|\xfe\xff|>?From ", content) else BLOCK + content.removeprefix(b"\xef\xbb\xbf")


def is_repaired(sent, got):
    """Of a header that is none (a line that is no field, a fold of nothing but blanks) every line that says something
    came through, in order; what changed is the blank line that parts it from the body."""
    wanted = [line for line in mail.canonical(sent).split(b"\r\n") if line.strip()]
    private = tuple(raw.split(b"\r\n")[0] for name, raw in mail.split(sent)[0] if mail.REMOVED.match(name))
    lines = iter(line for line in got.split(b"\r\n") if line.strip())
    return all(any(line == other for other in lines) for line in wanted if line not in private)


def test_all_messages_arrive_intact_or_are_refused_with_a_reason(relay_to, make_aio, corpora):
    server = make_aio()
    relay = relay_to(server, {"limits": {"header_size": "1MB"}})
    files = corpus(corpora)
    sent = {}
    for number, path in enumerate(files):
        name = f"{number:04}{path.suffix}"
        sent[name] = (path, prepared(path))
        relay.drop(name, sent[name][1])
    outcomes = {}
    for name in sent:
        event = relay.wait_event(None, 60, pickup=name, event=lambda kind: kind in ("delivered", "refused", "bounced"))
        outcomes[name] = event
    got = {}
    for envelope in server.envelopes:
        found = re.search(rb"pickup[^\r\n]*?(\d{4})", envelope.original_content[:2000]) \
            or re.search(rb"(\d{4})\.[a-z]+", envelope.original_content[:2000])
        got[found[1].decode() if found else None] = envelope.original_content
    mangled, refused, repaired = [], [], []
    for name, (path, content) in sent.items():
        event = outcomes[name]
        if event["event"] != "delivered":
            refused.append((path.name, event.get("reason") or event.get("reply")))
            continue
        content_out = got.get(name[:4])
        if content_out is None:
            continue
        relevant = mail.unwrapped(content)
        problems = mail.wire_problems(content_out)
        if "mime" not in next(e for e in relay.events("taken", pickup=name)).get("repairs", ""):
            problems += mail.header_differences(relevant, content_out)
            if mail.split(relevant)[1] != mail.split(content_out)[1]:
                problems.append("body differs")
        if problems and is_repaired(relevant, content_out):
            repaired.append(path.name)
        elif problems:
            mangled.append((str(path.name), problems[:3], event.get("id")))
    print(f"{len(files)} files, {len(files) - len(refused)} delivered, {len(refused)} refused, {len(mangled)} mangled, "
          f"ill-formed headers mended: {repaired}")
    assert not mangled, "\n".join(map(str, mangled))
    assert len(files) > 150 and len(refused) < len(files) / 4
    assert all(REFUSALS.search(reason) for _, reason in refused), [r for r in refused if not REFUSALS.search(r[1])]


def test_postfix_receives_them_all(relay_to, make_postfix, corpora, quick):
    """Each message that can be sent is taken by a server that judges the protocol sternly, once and whole."""
    postfix = make_postfix()
    relay = relay_to(postfix)
    files = corpus(corpora)[:20 if quick else None]
    for number, path in enumerate(files):
        relay.drop(f"p{number}.eml", prepared(path))
    ends = [relay.wait_event(None, 60, pickup=f"p{number}.eml",
                             event=lambda kind: kind in ("delivered", "refused", "bounced")) for number in range(len(files))]
    assert len([end for end in ends if end["event"] == "delivered"]) > len(files) * 3 / 4
    assert not [end for end in ends if end["event"] == "bounced" and end.get("code")], "Postfix took no offence"
