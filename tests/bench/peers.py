"""Other relays doing the same: messages of 4 KiB for 100 domains out of their own queue or drop folder to the same kind of sink.

Postfix runs in folders of its own. Exim, OpenSMTPD and nullmailer are Debian's packages, put into an overlay of this machine
that is gone afterwards; their spools lie on the same file system as everything else. Each as shipped but for where to send; and
with what its manual offers for speed ("tuned"). Haraka comes from npm. What can't be had here is left out, and said so."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from lib.ports import free_port
from lib.receivers import PostfixPeer, Sink, needs_root
from lib.watch import wait_until
from places import Watch, message, say, usage

TUNED_POSTFIX = ("default_destination_concurrency_limit = 50\ninitial_destination_concurrency = 50\n"
                 "default_process_limit = 200\nin_flow_delay = 0\nqmgr_message_active_limit = 100000\n")


def _found(rate, count, before, after):
    """From two answers of usage(). What it synced isn't counted: its programs are not started by us."""
    return {"rate": round(rate), "cpu_s_per_1000": round((after[0] - before[0]) / count * 1000, 3), "peak_rss_mb": round(after[1], 1),
            "written_per_octet": round((after[2] - before[2]) / (count * len(message(0))), 2)}


def postfix(count, more="", is_queued=False):
    """Out of maildrop, where its sendmail command puts messages; or out of its queue, where it kept them back."""
    sink = Sink()
    relay = PostfixPeer(sink.address, sink.port, more + ("defer_transports = smtp\n" if is_queued else ""))
    for number in range(count):
        relay.drop(f"u{number}@d{number % 100}.test", message(number))
    before = 0, 0, 0
    if is_queued:
        relay.start()
        relay.wait_queued(count)
        before = usage(relay.pid)
        relay.set("defer_transports=")
        watch = Watch()
        relay.command("postqueue", "-f")
    else:
        watch = Watch()
        relay.start()
    sink.wait_lines(count, 600)
    rate = watch.rate(count)
    after = usage(relay.pid)
    relay.close()
    sink.close()
    return _found(rate, count, before, after)


class Overlay:
    """A root of its own over this machine's; one folder of it, the spool, on the real file system."""

    def __init__(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-peer-", dir="/var/tmp"))
        self.base.chmod(0o755)
        for name in ("upper", "work", "root", "spool"):
            (self.base / name).mkdir()

    def run(self, script, seconds=900):
        """A shell script as root inside; everything that it starts ends with it."""
        root = self.base / "root"
        (self.base / "inside").write_text(script)
        outside = "\n".join([
            "set -e",
            f"mount -t overlay overlay -o lowerdir=/,upperdir={self.base}/upper,workdir={self.base}/work {root}",
            f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev", f"mkdir -p {root}/outside",
            f"mount --bind {self.base} {root}/outside", f"exec chroot {root} /bin/sh -e /outside/inside"])
        self.process = subprocess.Popen(["unshare", "-m", "-p", "-f", "--kill-child", "/bin/sh", "-c", outside],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = self.process.communicate(timeout=seconds)[1]
        if self.process.returncode:
            raise subprocess.CalledProcessError(self.process.returncode, "unshare", stderr=said)

    def close(self):
        shutil.rmtree(self.base, ignore_errors=True)


INSTALL = r"""
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
others=$(dpkg-query -W -f '${Package} ${Provides}\n' | awk '/mail-transport-agent/ {print $1}')
[ -z "$others" ] || dpkg --purge --force-all $others >/dev/null 2>&1 || true
rm -f /etc/aliases
apt-get install -y -q --no-install-recommends @package@ >/outside/apt.log 2>&1
mkdir -p @spool@
cp -a @spool@ /shipped; mount --bind /outside/spool @spool@
chown --reference=/shipped @spool@; chmod --reference=/shipped @spool@; cp -a /shipped/. @spool@/
"""
OVER = "while [ ! -e /outside/over ]; do sleep 0.05; done\n"
EXIM = r"""
printf '%s\n' 'primary_hostname = relay.test' 'remote_max_parallel = 8' 'begin routers' 'all:' ' driver = manualroute' \
    ' route_list = * @address@::@port@' ' self = send' ' transport = smtp' 'begin transports' 'smtp:' ' driver = smtp' \
    'begin retry' '* * F,2h,15m' >/etc/exim4/bench.conf
exim4 -C /etc/exim4/bench.conf -odq -bS </outside/messages.bsmtp >/outside/taken.log 2>&1
sync; touch /outside/go
for i in @runners@; do exim4 -C /etc/exim4/bench.conf -qf & done
wait
""" + OVER
OPENSMTPD = r"""
printf '%s\n' 'listen on 127.0.0.1 port @local@' 'action "out" relay host smtp://@address@:@port@' \
    'match from any for any action "out"' >/etc/bench.conf
chmod 600 /etc/bench.conf; chmod 711 @spool@
smtpd -d -f /etc/bench.conf >/outside/smtpd.log 2>&1 &
n=0; until smtpctl show status >/dev/null 2>&1; do sleep 0.05; n=$((n + 1)); [ $n -lt 200 ]; done
smtpctl pause mta >/dev/null
python3 /outside/submit.py @local@
sync; touch /outside/go
smtpctl resume mta >/dev/null
""" + OVER
NULLMAILER = r"""
echo relay.test >/etc/nullmailer/me; echo "@address@ smtp --port=@port@" >/etc/nullmailer/remotes
mkdir -p @spool@/queue @spool@/tmp @spool@/failed; [ -p @spool@/trigger ] || mkfifo @spool@/trigger
cp /outside/queue/* @spool@/queue/; chown -R mail:mail @spool@
sync; touch /outside/go
setpriv --reuid=mail --regid=mail --clear-groups nullmailer-send >/outside/send.log 2>&1 &
""" + OVER
PACKAGES = {"exim": ("exim4-daemon-light", "/var/spool/exim4", EXIM), "opensmtpd": ("opensmtpd", "/var/spool/smtpd", OPENSMTPD),
            "nullmailer": ("nullmailer", "/var/spool/nullmailer", NULLMAILER)}
SUBMIT = r"""
import smtplib, sys, pathlib, time

def connect():
    for wait in range(100):
        try:
            return smtplib.SMTP("127.0.0.1", int(sys.argv[1]))
        except OSError:
            time.sleep(0.1)

for number, path in enumerate(sorted(pathlib.Path("/outside/queue").iterdir())):
    if number % 90 == 0:  # OpenSMTPD takes a hundred in a session
        client = connect()
    sender, recipient, _, content = path.read_bytes().split(b"\n", 3)
    client.sendmail(sender.decode(), [recipient.decode()], content)
"""


def _write_messages(base, count):
    (base / "queue").mkdir()
    with open(base / "messages.bsmtp", "wb") as batch:
        for number in range(count):
            content, to = message(number).replace(b"\r\n", b"\n"), f"u{number}@d{number % 100}.test"
            (base / "queue" / f"{number}").write_bytes(f"a@b.test\n{to}\n\n".encode() + content)
            batch.write(f"MAIL FROM:<a@b.test>\nRCPT TO:<{to}>\nDATA\n".encode() + content + b"\n.\n")
    (base / "submit.py").write_text(SUBMIT)


def packaged(name, count, runners=1):
    """One of PACKAGES, out of its queue."""
    package, spool, script = PACKAGES[name]
    sink, overlay, failures = Sink(), Overlay(), []
    text = INSTALL + script
    for key, value in (("package", package), ("spool", spool), ("address", sink.address), ("port", sink.port),
                       ("local", free_port()), ("runners", " ".join(map(str, range(runners))))):
        text = text.replace(f"@{key}@", str(value))

    def inside():
        try:
            overlay.run(text)
        except subprocess.SubprocessError as error:
            failures.append(error)

    thread = threading.Thread(target=inside)
    try:
        _write_messages(overlay.base, count)
        thread.start()
        while not (overlay.base / "go").exists():
            if failures or not thread.is_alive():
                return {"skipped": _why(overlay, failures)}
            time.sleep(0.01)
        watch, before = Watch(), usage(overlay.process.pid)
        sink.wait_lines(count, 600)
        return _found(watch.rate(count), count, before, usage(overlay.process.pid))
    finally:
        (overlay.base / "over").touch()
        thread.join()
        overlay.close()
        sink.close()


def _why(overlay, failures):
    said = (failures[0].stderr or b"").decode(errors="replace").strip() if failures else ""
    logs = [path.read_text(errors="replace")[-300:] for name in ("smtpd.log", "apt.log") if (path := overlay.base / name).exists()]
    return " / ".join([said[-300:], *logs[:1]]) or "it ended by itself"


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


HARAKA = "haraka@3.3.4"
HARAKA_PLUGIN = """
exports.hook_rcpt = function (next, connection) {{ connection.relaying = true; next(OK); }};
exports.hook_get_mx = function (next) {{ next(OK, {{ priority: 0, exchange: '{address}', port: {port} }}); }};
"""


def haraka(count, more=""):
    """It has no drop folder: from the first octet of SMTP in (smtp-source, 50 sessions) through its queue to the last message at the
    sink. npm puts it into a cache of this bench's."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "mailroot-bench"
    program = cache / "node_modules" / ".bin" / "haraka"
    if not program.exists():
        subprocess.run(["npm", "install", "--prefix", cache, "--no-audit", "--no-fund", "--silent", HARAKA], check=True, timeout=600)
    sink, base, port = Sink(), pathlib.Path(tempfile.mkdtemp(prefix="mailroot-haraka-")), free_port()
    config = base / "config"
    subprocess.run([program, "-i", base], check=True, capture_output=True)
    (base / "plugins" / "bench.js").write_text(HARAKA_PLUGIN.format(address=sink.address, port=sink.port))
    for name, text in (("plugins", "bench\n"), ("smtp.ini", f"listen=127.0.0.1:{port}\n{more}"), ("me", "relay.test\n"),
                       ("outbound.ini", "local_mx_ok=true\n"), ("log.ini", "[main]\nlevel=warn\n")):
        (config / name).write_text(text)
    with open(base / "log", "wb") as log:
        process = subprocess.Popen([program, "-c", base], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: is_listening(port), 30, what="Haraka")
        before, watch = usage(process.pid), Watch()
        subprocess.run(["smtp-source", "-s", "50", "-m", str(count), "-l", "4096", "-f", "a@b.test", "-t", "u@d1.test",
                        f"inet:127.0.0.1:{port}"], check=True)
        sink.wait_lines(count, 300)
        return _found(watch.rate(count), count, before, usage(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        sink.close()
        shutil.rmtree(base, ignore_errors=True)


def all_peers(count):
    if not needs_root():
        return {"skipped": "the peers need root"}
    result = {}
    for name, measure in (("postfix", lambda: postfix(count)), ("postfix, tuned", lambda: postfix(count, TUNED_POSTFIX)),
                          ("postfix, tuned, from its queue", lambda: postfix(count, TUNED_POSTFIX, is_queued=True)),
                          ("exim", lambda: packaged("exim", count)), ("exim, 8 runners", lambda: packaged("exim", count, 8)),
                          ("opensmtpd", lambda: packaged("opensmtpd", count)),
                          ("nullmailer", lambda: packaged("nullmailer", min(count, 300))),
                          ("haraka, through its queue", lambda: haraka(count)),
                          ("haraka, a process a core, through its queue", lambda: haraka(count, "nodes=cpus\n"))):
        say(f"peer: {name}")
        try:
            result[name] = measure()
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            result[name] = {"skipped": str(error)[-300:]}
    return result
