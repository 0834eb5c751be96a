"""Three verifiers that others wrote find our signatures right: over the whole corpus, behind a real Postfix."""
import email.utils
import re
import subprocess

import pytest

from lib import mail, verifiers
from lib.receivers import needs_root
from lib.relay import BINARY
from test_corpus import corpus, prepared

NAMES = re.compile(r"[a-z0-9][a-z0-9.-]*\.[a-z0-9-]+")


@pytest.fixture(scope="module")
def keygen(tmp_path_factory):
    """(the config's keys, {selector: record}) for any domain."""
    folder = tmp_path_factory.mktemp("keys")
    done = subprocess.run([BINARY, "dkim", "keygen", "any.test", "--selector", "s1", "--dir", folder], check=True,
                          capture_output=True, text=True)
    records = {name.split(".")[0]: "".join(re.findall(r'"([^"]*)"', rest))
               for name, rest in re.findall(r"^(\S+)\. IN TXT (.*)$", done.stdout, re.M)}
    return re.search(r'keys = "([^"]*)"', done.stdout)[1], records


def from_domain(content):
    value = mail.field(mail.unwrapped(content), "From") or ""
    found = NAMES.search(email.utils.parseaddr(value)[1].rpartition("@")[2].lower())
    return found[0] if found else None


def signers(content):
    """d= of the signatures on top, which are ours."""
    found = []
    for name, raw in mail.fields(content):
        if name == b"dkim-signature" and b"s1-" in raw:
            found.append(re.search(rb"d=([^;\s]+)", raw)[1].decode())
    return found


@pytest.mark.skipif(not needs_root(), reason="Postfix and a network of its own need root")
def test_all_three_find_the_whole_corpus_signed_rightly_behind_postfix(relay_to, make_postfix, corpora, quick, keygen):
    keys, records = keygen
    files = corpus(corpora)[:30 if quick else None]
    contents = [prepared(path) for path in files]
    domains = sorted({from_domain(content) for content in contents} - {None})
    postfix = make_postfix()
    relay = relay_to(postfix, {"limits": {"header_size": "1MB"}, "dkim": {name: {"keys": keys} for name in domains}})
    for number, content in enumerate(contents):
        relay.drop(f"v{number}.eml", content)
    ends = [relay.wait_event(None, 90, pickup=f"v{number}.eml",
                             event=lambda kind: kind in ("delivered", "refused", "bounced")) for number in range(len(contents))]
    delivered = [end for end in ends if end["event"] == "delivered"]
    arrived = [mail.canonical(content) for content in postfix.wait(len({end["id"] for end in delivered}))]
    # Postfix's Maildir puts its own fields in front; everything behind them is as it came.
    signed = [content for content in arrived if signers(content)]
    zone = {f"{selector}._domainkey.{domain}": text for content in signed for domain in signers(content)
            for selector, text in records.items()}
    broken = [re.sub(rb"\r\nSubject:", b"\r\nSubject: not", content, 1, re.I) for content in signed]
    broken = [changed + b"more\r\n" for changed in broken]

    ours = [len(signers(content)) for content in signed]
    assert set(ours) == {2}
    python = [verifiers.dkimpy(content, zone) for content in signed]
    assert all(verdicts[:2] == [True, True] for verdicts in python), [
        (number, verdicts) for number, verdicts in enumerate(python) if verdicts[:2] != [True, True]]
    assert not any(any(verifiers.dkimpy(content, zone)[:2]) for content in broken)
    javascript = verifiers.mailauth(signed + broken, zone)
    passed = [[result for _, result in found["dkim"]].count("pass") for found in javascript]
    assert all(count >= 2 for count in passed[:len(signed)]), passed
    assert not any(passed[len(signed):])
    taken = [content for content in signed if verifiers.opendkim_takes(content)]
    opendkim = verifiers.opendkim(taken + broken, zone)
    assert all(opendkim[:len(taken)]), [number for number, is_good in enumerate(opendkim[:len(taken)]) if not is_good]
    assert not any(opendkim[len(taken):])
    print(f"{len(files)} files, {len(arrived)} arrived, {len(signed)} signed for {len(domains)} domains, "
          f"{len(taken)} that opendkim takes")
    assert len(signed) > len(files) / 2 and len(taken) > len(signed) * 0.9


@pytest.mark.parametrize("most", [1, 2, None])
def test_a_route_may_take_fewer_signatures(relay_to, make_server, keygen, most):
    keys, records = keygen
    server = make_server()
    place = {"hosts": [f"[{server.address}]:{server.port}"]}
    relay = relay_to(server, {"dkim": {"sender.test": {"keys": ", ".join(reversed(keys.split(", ")))}},
                              "route": {"*": {**place, **({"dkim_signatures": most} if most else {})}}})
    relay.drop("a.eml", mail.message(body=".dot\r\nGrüße\r\n", more="MIME-Version: 1.0\r\nContent-Type: text/plain; "
                                     "charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"))
    server.wait_transactions(1)
    arrived = server.transactions[0].content
    zone = {f"{selector}._domainkey.sender.test": text for selector, text in records.items()}
    assert verifiers.dkimpy(arrived, zone) == [True] * (most or 2)
    assert (b"a=rsa-sha256" in arrived) and (b"a=ed25519" in arrived) == (most != 1)
