"""Power cuts of other servers, beside ours: each takes messages by SMTP onto an ext4 of its own and keeps them in its queue; as soon as the
client has read the 250 the device is cloned (as in lib/images.py), the clone is mounted, and the message is looked for in it.

Postfix, Exim and OpenSMTPD are Debian's packages as shipped but for where to listen and that nothing goes out, in an overlay of this machine
that is gone afterwards. Needs root, loop devices, mkfs.xfs, and apt's mirror for what is not there."""
import contextlib
import pathlib
import smtplib
import socket
import subprocess
import sys
import time

from lib.images import ImageWorld, Store, tool
from lib.world import free_port


CUTS = 100
END = "THE-LAST-LINE"

SET_UP = r"""
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
others=$(dpkg-query -W -f '${Package} ${Provides}\n' | awk '/mail-transport-agent/ {print $1}')
[ -z "$others" ] || dpkg --purge --force-all $others >/dev/null 2>&1 || true
rm -f /etc/aliases
apt-get install -y -q --no-install-recommends @package@ >/outside/apt.log 2>&1
mkdir -p @spool@; cp -a @spool@ /shipped; mount @device@ @spool@
chown --reference=/shipped @spool@; chmod --reference=/shipped @spool@; cp -a /shipped/. @spool@/
"""
WAIT = "sync -f @spool@; touch /outside/go\nwhile [ ! -e /outside/over ]; do sleep 0.05; done\numount -l @spool@\n"
EXIM = r"""
printf '%s\n' 'primary_hostname = peer.test' 'daemon_smtp_ports = @port@' 'local_interfaces = 127.0.0.1' 'queue_only' \
    'acl_smtp_rcpt = take' 'begin acl' 'take:' ' accept' 'begin routers' 'all:' ' driver = manualroute' ' route_list = * 127.0.0.1::1' \
    ' self = send' ' transport = smtp' 'begin transports' 'smtp:' ' driver = smtp' >/etc/exim4/peer.conf
exim4 -C /etc/exim4/peer.conf -bdf -q1h & # (-bd forks only where its parent is not process 1)
"""
OPENSMTPD = r"""
printf '%s\n' 'listen on 127.0.0.1 port @port@' 'action "out" relay host smtp://127.0.0.1:1' 'match from any for any action "out"' >/etc/peer.conf
chmod 600 /etc/peer.conf; chmod 711 @spool@
smtpd -d -f /etc/peer.conf >/outside/smtpd.log 2>&1 &
n=0; until smtpctl show status >/dev/null 2>&1; do sleep 0.05; n=$((n + 1)); [ $n -lt 200 ]; done
smtpctl pause mta >/dev/null
"""
POSTFIX = r"""
printf '%s\n' 'compatibility_level = 3.6' 'myhostname = peer.test' 'mydestination =' 'inet_interfaces = 127.0.0.1' 'mynetworks = 127.0.0.0/8' \
    'relayhost = [127.0.0.1]:1' 'defer_transports = smtp' 'maillog_file = /outside/maillog' 'maillog_file_prefixes = /outside' >/etc/postfix/main.cf
sed -i 's/^smtp  *inet/127.0.0.1:@port@ inet/' /etc/postfix/master.cf
postfix start >/outside/postfix.log 2>&1
"""
SERVERS = {"Exim": ("exim4-daemon-light", "/var/spool/exim4", EXIM), "OpenSMTPD": ("opensmtpd", "/var/spool/smtpd", OPENSMTPD),
           "Postfix": ("postfix", "/var/spool/postfix", POSTFIX)}


class Overlay:
    """A root of its own over this machine's, in which a script runs; everything that it starts ends with it."""

    def __init__(self, script):
        self.base = pathlib.Path(subprocess.run(["mktemp", "-d", "-p", "/var/tmp", "mailroot-peer-XXXX"], capture_output=True, text=True,
                                                check=True).stdout.strip())
        self.base.chmod(0o755)
        for name in ("upper", "work", "root"):
            (self.base / name).mkdir()
        (self.base / "inside").write_text(script)
        root = self.base / "root"
        outside = "\n".join([
            "set -e", f"mount -t overlay overlay -o lowerdir=/,upperdir={self.base}/upper,workdir={self.base}/work {root}",
            f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev", f"mkdir -p {root}/outside",
            f"mount --bind {self.base} {root}/outside", f"exec chroot {root} /bin/sh -e /outside/inside"])
        self.process = subprocess.Popen(["unshare", "-m", "-p", "-f", "--kill-child", "/bin/sh", "-c", outside],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def wait_ready(self, limit_s=90):
        end = time.monotonic() + limit_s
        while not (self.base / "go").exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.process.stderr.read()[-1000:] if self.process.poll() is not None else "it did not come up")
            time.sleep(0.05)

    def close(self):
        (self.base / "over").touch()
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        subprocess.run(["rm", "-rf", self.base], check=False)


def content(number):
    lines = ["x" * 70] * 50
    return "\r\n".join(["From: a@here.test", "To: b@far.test", f"Subject: cut {number}", f"X-Token: token-{number}.", "", *lines,
                        f"{END}-{number}."]).encode() + b"\r\n"


def send(port, number):
    """True when the 250 was read."""
    with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=20) as client:
        client.ehlo()
        client.mail("a@here.test")
        client.rcpt("b@far.test")
        client.docmd("DATA")
        client.send(content(number) + b".\r\n")
        code, _ = client.getreply()
        yield code == 250


def cut(store, image, port, number):
    """A message is sent, and cut behind its 250: (acknowledged, the clone)."""
    clone = store.folder / f"cut-{number}"
    steps = send(port, number)
    is_acked = next(steps)
    assert tool("cp", "--reflink=always", str(image), str(clone))
    with contextlib.suppress(StopIteration, OSError, smtplib.SMTPException):
        next(steps)
    return is_acked, clone


def survives(store, clone, number):
    """Its first and its last line are in a file behind the journal's replay."""
    place = store.base / "cut"
    assert store.mount(clone, place)
    try:
        return all(tool("grep", "-rqaF", f"{word}-{number}.", str(place)) for word in ("token", END))
    finally:
        store.unmount(place)
        clone.unlink()


def cut_often(store, image, port, cuts):
    row = {"acked": 0, "lost": 0}
    for number in range(cuts):
        is_acked, clone = cut(store, image, port, number)
        row["acked"] += is_acked
        if not survives(store, clone, number):
            row["lost"] += is_acked
    return row


def wait_listening(port, limit_s=60):
    end = time.monotonic() + limit_s
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as peer:
                if peer.recv(100).startswith(b"220"):
                    return
        except OSError:
            pass
        if time.monotonic() > end:
            raise RuntimeError("it does not listen")
        time.sleep(0.05)


def other(store, name, cuts):
    package, spool, script = SERVERS[name]
    image, port = store.make("ext4"), free_port()
    device = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True, check=True).stdout.strip()
    text = SET_UP + script + WAIT
    for key, value in (("package", package), ("spool", spool), ("device", device), ("port", port)):
        text = text.replace(f"@{key}@", str(value))
    overlay = Overlay(text)
    try:
        overlay.wait_ready()
        wait_listening(port)
        return cut_often(store, image, port, cuts)
    finally:
        overlay.close()
        tool("losetup", "-d", device)


def ours(store, cuts):
    """The listener, the relay, and a far end that defers everything."""
    image, port, world = store.make("ext4"), free_port(), ImageWorld(store)
    assert store.mount(image, world.place)
    try:
        world.fresh({"smtp": {"listen": [f"127.0.0.1:{port}"], "relay_networks": ["127.0.0.1"], "greet_pause": "0ms"},
                     "queue": {"volatile": False}})
        world.sink.is_deferring = True
        world.settle()
        world.orders.write(clock_scale=1)
        world.start()
        wait_listening(port)
        return cut_often(store, image, port, cuts)
    finally:
        world.close()


def run(cuts=CUTS):
    """(counts, findings): a cut of ours that lost something is one."""
    store, rows, findings = Store(), {}, []
    try:
        if not store.is_there:
            return {"by_server": {}, "unavailable": 1}, []
        rows["Mailroot"] = ours(store, cuts)
        for name in SERVERS:
            try:
                rows[name] = other(store, name, cuts)
            except (RuntimeError, OSError, smtplib.SMTPException) as error:
                print(f"{name}: {error}", file=sys.stderr)
        if rows["Mailroot"]["lost"]:
            findings.append(f"a cut behind our 250 lost {rows['Mailroot']['lost']} of {rows['Mailroot']['acked']}")
    finally:
        store.close()
    return {"by_server": rows, "lost": rows.get("Mailroot", {}).get("lost", 0)}, findings
