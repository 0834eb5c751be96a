"""Independent judges: Sisimai reads our bounces; Postfix's sendmail -t finds the same recipients as we do."""
import json
import re
import subprocess

from lib import mail
from lib.watch import wait_until

READ = r"""
use Sisimai; use JSON::PP;
my @found;
for my $path (@ARGV) {
    my $list = (Sisimai->can('rise') ? Sisimai->rise($path) : Sisimai->make($path)) || [];
    push @found, { file => $path, count => scalar(@$list),
        map { my $key = $_; my $v = @$list ? $list->[0]->$key : ""; ($key => ref $v ? "" . $v->address : "" . $v) }
            qw(recipient deliverystatus replycode reason diagnosticcode) };
}
print JSON::PP->new->encode(\@found);
"""


def replies(corpora):
    rows = (corpora / "codes" / "replies" / "replies.tsv").read_text().splitlines()[1:]
    found = [row.split("\t")[-1].strip() for row in rows]
    return [reply for reply in found if re.match(r"5\d\d[ -]5\.\d+\.\d+ ", reply) and reply[:3] not in ("552", "521", "556")
            and len(reply) < 900 and reply.isascii()]


def test_sisimai_reads_our_bounces(relay_to, make_server, corpora, tmp_path):
    wanted = replies(corpora)[:40]
    assert len(wanted) >= 20
    table = [(rf"RCPT TO:<r{n}@", reply[:3] + " " + reply[4:]) for n, reply in enumerate(wanted)]
    server = make_server(table)
    relay = relay_to(server, {"delivery": {"tune": False}})  # three refusals of this kind in a row would make the site rest
    for number in range(len(wanted)):
        relay.drop(f"b{number}.eml", mail.message(to=f"r{number}@x.test"))
    # A few say 5xx of what passes ("too much mail"): replies.conf has them tried again.
    wait_until(lambda: len(relay.events("bounced")) + len(relay.events("deferred")) == len(wanted), 30, what="all outcomes")
    kept = {int(event["to"][1:].split("@")[0]) for event in relay.events("deferred")}
    assert len(kept) <= len(wanted) // 10, kept
    server.wait_transactions(len(wanted) - len(kept), 30)
    paths = []
    for transaction in server.transactions:
        path = tmp_path / f"{len(paths)}.eml"
        path.write_bytes(transaction.content.replace(b"\r\n", b"\n"))
        paths.append(str(path))
    done = subprocess.run(["perl", "-e", READ, *paths], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    read = {entry["recipient"]: entry for entry in json.loads(done.stdout)}
    reasons = 0
    for number, reply in enumerate(wanted):
        if number in kept:
            continue
        entry = read[f"r{number}@x.test"]
        status = re.search(r"5\.\d+\.\d+", reply)[0]
        assert entry["deliverystatus"] == status and entry["replycode"] == reply[:3], (reply, entry)
        reasons += entry["reason"] not in ("", "undefined", "onhold")
    print(f"Sisimai: {len(wanted)} bounces, recipient, status and code of all, a reason for {reasons}")
    assert reasons >= len(wanted) * 0.6


# Where we and Postfix differ by intent, and why.
EXPLAINED = {
    "utf8_headers.eml",  # the domain goes out in A-labels here, Postfix converts it later
}


def test_recipients_equal_those_of_postfix_sendmail_t(relay_to, make_server, make_judge, corpora):
    """lib's Postfix judge is a private instance that delivers nothing; what it queued names the recipients."""
    judge, ours, names = make_judge(), {}, {}
    relay = relay_to(make_server(), start=False)
    for number, path in enumerate(sorted(corpora.glob("messages/**/*.eml"))):
        content = path.read_bytes()
        if re.search(rb"(?im)^(x-receiver|x-sender):", content) or content.startswith((b"\xff\xfe", b"From ")):
            continue
        done = relay.run("lint", path, "--json")
        if done.returncode == 0 and judge.submit(number, content) == 0:
            ours[number] = {to.lower() for to in json.loads(done.stdout.splitlines()[0])["recipients"]}
            names[number] = path.name
    theirs = {number: {to.lower() for to in found} for number, found in judge.recipients().items()}
    compared = [number for number in ours if number in theirs]
    differences = [(names[number], sorted(ours[number] - theirs[number]), sorted(theirs[number] - ours[number]))
                   for number in compared if ours[number] != theirs[number]]
    for difference in differences:
        print(*difference)
    print(f"{len(compared)} compared, {len(differences)} differ")
    unexplained = [row for row in differences if row[0] not in EXPLAINED]
    assert len(compared) > 50 and not unexplained, unexplained
