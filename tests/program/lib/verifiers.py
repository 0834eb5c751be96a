"""DKIM and ARC verifiers that others wrote: python3-dkim, opendkim-testmsg, npm's mailauth."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import dkim

from lib import mail
from lib.names import NameServer

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "mailroot-check"


def is_valid(found, number, txt):
    try:
        return found.verify(idx=number, dnsfunc=txt)
    except dkim.DKIMException:
        return False


def looked_up(records):
    """A look-up function for python3-dkim."""
    def txt(name, timeout=5):
        return records.get(name.decode().rstrip("."), "").encode()
    return txt


def dkimpy(content, records):
    """Of each signature, from the top, by python3-dkim."""
    found = dkim.DKIM(content)
    count = len([1 for name, _ in found.headers if name.lower() == b"dkim-signature"])
    return [is_valid(found, number, looked_up(records)) for number in range(count)]


MAILAUTH = """
const fs = require("fs");
const { dkimVerify } = require("mailauth/lib/dkim/verify");
const { arc } = require("mailauth/lib/arc");
const records = JSON.parse(fs.readFileSync(process.argv[2]));
const resolver = async (name, kind) => {
    if (kind === "TXT" && records[name]) return [[records[name]]];
    const error = new Error("no such name"); error.code = "ENOTFOUND"; throw error;
};
(async () => {
    const all = [];
    for (const file of process.argv.slice(3)) {
        const found = await dkimVerify(fs.readFileSync(file), { resolver, minBitLength: 1024 });
        const chain = await arc(found.arc, { resolver });
        all.push({ dkim: found.results.map(one => [one.signingDomain, one.status.result]),
                   arc: chain.status.result, arc_reason: chain.status.comment || null });
    }
    console.log(JSON.stringify(all));
})();
"""


def node_path():
    return os.environ.get("NODE_PATH") or str(CACHE / "node_modules")


def mailauth(contents, records):
    """For each message {"dkim": [[domain, result]…], "arc": result} by mailauth."""
    with tempfile.TemporaryDirectory(prefix="mailroot-mailauth-") as folder:
        base = pathlib.Path(folder)
        (base / "judge.js").write_text(MAILAUTH)
        (base / "records.json").write_text(json.dumps(records))
        names = []
        for number, content in enumerate(contents):
            names.append(base / f"{number}.eml")
            names[-1].write_bytes(content)
        done = subprocess.run(["node", base / "judge.js", base / "records.json", *names], capture_output=True, text=True,
                              timeout=300, env=dict(os.environ, NODE_PATH=node_path()), check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


# opendkim-testmsg asks the servers of resolv.conf on port 53: it gets a network and a file of its own.
TESTMSG = """
ip link set lo up
mount --bind {base}/resolv.conf /etc/resolv.conf
{nsd} -d -c {base}/nsd.conf &
nsd=$!
n=0
until drill @127.0.0.1 ns.test A 2>/dev/null | grep -q NOERROR || [ $n = 100 ]; do n=$((n+1)); sleep 0.1; done
for file in {base}/*.eml; do
    opendkim-testmsg -C -t {base} <$file >$file.said 2>&1
    echo "$(basename $file .eml) $?"
done
kill $nsd
"""


class ZoneOnly(NameServer):
    """nsd's files, for a server on port 53 that somebody else starts."""

    def start(self):
        self.port = 53
        self._write()

    def stop(self):
        pass


SINGLE = {b"from", b"sender", b"reply-to", b"to", b"cc", b"message-id", b"in-reply-to", b"references", b"subject", b"date"}


def opendkim_takes(content):
    """opendkim refuses to look at a message with a field twice that RFC 5322 3.6 wants once, or with 64 KB of header."""
    fields, _ = mail.split(content)
    names = [name for name, _ in fields if name in SINGLE]
    return len(names) == len(set(names)) and sum(len(raw) for _, raw in fields) < 65536


def opendkim(contents, records):
    """For each message whether opendkim-testmsg finds it signed rightly."""
    def quoted(text):
        return " ".join(f'"{part}"' for part in re.findall(".{1,200}", text))
    names = ZoneOnly({name: [f"TXT {quoted(text)}"] for name, text in records.items()})
    try:
        base = names.folder
        for number, content in enumerate(contents):
            (base / f"{number}.eml").write_bytes(content)
        (base / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        script = TESTMSG.format(base=base, nsd=shutil.which("nsd") or "/usr/sbin/nsd")
        done = subprocess.run(["unshare", "-mn", "sh", "-c", script], capture_output=True, text=True, timeout=300, check=False)
        codes = dict(line.split() for line in done.stdout.splitlines())
        assert len(codes) == len(contents), (done.stdout[-500:], done.stderr[-500:])
        return [codes[str(number)] == "0" for number in range(len(contents))]
    finally:
        names.close()
