"""Receiving mail servers of other makes, and our own sink."""
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from lib.ports import MX_PORT, loopback
from lib.relay import BINARY
from lib.watch import wait_until


class AioSink:
    """python3-aiosmtpd: keeps envelopes (mail_from, rcpt_tos, original_content)."""

    class _Controller(Controller):
        def factory(self):
            return SMTP(self.handler, enable_SMTPUTF8=True, data_size_limit=None, hostname="mx.test",
                        ident="aiosmtpd", timeout=120)

    def __init__(self):
        self.envelopes = []
        self.address, self.port = loopback(), MX_PORT
        self.controller = self._Controller(self, hostname=self.address, port=self.port)
        self.controller.start()

    async def handle_DATA(self, server, session, envelope):
        self.envelopes.append(envelope)
        return "250 2.0.0 taken"

    def wait(self, count=1, seconds=30):
        wait_until(lambda: len(self.envelopes) >= count, seconds, what=f"{count} messages at aiosmtpd")
        return self.envelopes

    def close(self):
        self.controller.stop()


class Sink:
    """`mailroot sink`: fast, counts, and logs a line a message."""

    def __init__(self, *options, address=None):
        self.address, self.port = address or loopback(), MX_PORT
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-sink-"))
        self.log = self.folder / "log.jsonl"
        self.offset = self.count = 0  # of lines()
        self.told = None
        self.process = subprocess.Popen(
            [BINARY, "sink", "--listen", f"{self.address}:{self.port}", "--log", str(self.log), "--count", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on"), self.process.communicate()[1]

    def messages(self):
        """The log's lines as objects; a line that is still being written is left for later."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def lines(self):
        """How many messages the log has; only what is new is read, for the one who waits must not be what is measured."""
        if self.log.exists():
            with open(self.log, "rb") as log:
                log.seek(self.offset)
                new = log.read()
            self.offset += len(new)
            self.count += new.count(b"\n")
        return self.count

    def wait_lines(self, count, seconds=60):
        """For who measures: reads none of them."""
        watched = self.folder if count <= 100 else None
        wait_until(lambda: self.lines() >= count, seconds, watched, f"{count} messages at the sink")

    def wait(self, count=1, seconds=60):
        self.wait_lines(count, seconds)
        return self.messages()

    def totals(self):
        """Ends it; the totals as an object."""
        if self.told is None:
            self.process.send_signal(signal.SIGTERM)
            out, err = self.process.communicate(timeout=20)
            assert self.process.returncode == 0 and not err, (self.process.returncode, err)
            self.told = json.loads(out.splitlines()[-1])
        return self.told

    def close(self):
        """The same, and its folder goes."""
        try:
            return self.totals()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


MAIN_CF = """
compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = {base}/log
maillog_file_prefixes = {base}
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = mx.test
myorigin = {origin}
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
relay_domains =
mynetworks = 127.0.0.0/8
local_header_rewrite_clients =
append_dot_mydomain = no
swap_bangpath = no
allow_percent_hack = no
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_relay_restrictions =
smtpd_client_restrictions =
smtpd_reject_unlisted_recipient = no
smtpd_peername_lookup = no
smtputf8_enable = yes
smtputf8_autodetect_classes = all
message_size_limit = 0
mailbox_size_limit = 0
virtual_mailbox_limit = 0
header_size_limit = 1000000
biff = no
{more}
"""
RECEIVER = """
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {base}/mail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
"""
JUDGE = """
default_transport = retry:4.0.0 kept for the judge
relay_transport = retry:4.0.0 kept for the judge
"""
MASTER_CF = """
{port} inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
showq unix n - n - - showq
scache unix - - n - 1 scache
tlsmgr unix - - n 1000 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""


class _Postfix:
    """A private Postfix in a temporary folder. Needs root, as Postfix does; the system's own is never touched."""

    def __init__(self, more, start=True, services=""):
        user = pwd.getpwnam("nobody")
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-postfix-"))
        self.base.chmod(0o755)
        self.address, self.port = loopback(), MX_PORT
        self.config = self.base / "etc"
        self.config.mkdir()
        for name in ("spool", "data", "mail"):
            (self.base / name).mkdir()
        shutil.chown(self.base / "data", "postfix")
        shutil.chown(self.base / "mail", "nobody", user.pw_gid)
        values = {"base": self.base, "address": self.address, "uid": user.pw_uid, "gid": user.pw_gid}
        (self.config / "main.cf").write_text(
            MAIN_CF.format(more=more.format(**values), origin="relay.test", **values))
        (self.config / "master.cf").write_text(
            MASTER_CF.format(port=f"{self.address}:{self.port}") + services.format(**values))
        if start:
            self.command("postfix", "start")

    def command(self, name, *arguments, **options):
        done = subprocess.run([f"/usr/sbin/{name}", "-c", self.config, *arguments], capture_output=True, timeout=60,
                              check=False, **options)
        assert done.returncode == 0, (name, arguments, done.stdout, done.stderr)
        return done.stdout

    def log_text(self):
        path = self.base / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self):
        self.command("postfix", "stop")
        shutil.rmtree(self.base, ignore_errors=True)


class PostfixReceiver(_Postfix):
    """Takes mail for everybody into one Maildir; a file a recipient."""

    def __init__(self, more="", services=""):
        super().__init__(RECEIVER + more, services=services)

    def files(self):
        folder = self.base / "mail" / "all" / "new"
        return sorted(folder.iterdir()) if folder.exists() else []

    def wait(self, count, seconds=60):
        wait_until(lambda: len(self.files()) >= count, seconds, what=f"{count} files in Postfix's Maildir")
        return [path.read_bytes() for path in self.files()]


class PostfixPeer(_Postfix):
    """Relays what `sendmail` put in its drop folder to one host, once it is started."""

    def __init__(self, host, port, more=""):
        super().__init__(f"relayhost = [{host}]:{port}\ndisable_dns_lookups = yes\n{more}", start=False)
        self.command("postfix", "check")

    def set(self, setting):
        """Changes a line of main.cf while it runs."""
        self.command("postconf", "-e", setting)
        self.command("postfix", "reload")

    def wait_queued(self, count):
        deferred = self.base / "spool" / "deferred"
        wait_until(lambda: sum(path.is_file() for path in deferred.rglob("*")) >= count, 600, what="Postfix's deferred queue")

    def drop(self, recipient, content):
        subprocess.run(["/usr/sbin/sendmail", "-C", self.config, "-i", "-f", "a@b.test", recipient], input=content, check=True,
                       stderr=subprocess.DEVNULL, timeout=30)

    def start(self):
        self.command("postfix", "start")

    @property
    def pid(self):
        return int((self.base / "spool" / "pid" / "master.pid").read_text())


class PostfixJudge(_Postfix):
    """`sendmail -t` of a Postfix that delivers nothing: whom does it think a message is for?"""

    def __init__(self):
        super().__init__(JUDGE)

    def submit(self, number, content):
        done = subprocess.run(["/usr/sbin/sendmail", "-C", self.config, "-t", "-i", "-f", f"case-{number}@judge.test"],
                              input=content, capture_output=True, timeout=30, check=False)
        return done.returncode

    def _is_quiet(self):
        return not any(any(path.is_file() for path in (self.base / "spool" / name).rglob("*"))
                       for name in ("maildrop", "incoming", "active"))

    def recipients(self):
        """{number: sorted recipients} once all that was submitted has been looked at."""
        wait_until(self._is_quiet, 60, what="Postfix's queue at rest")
        found = {}
        for line in self.command("postqueue", "-j").splitlines():
            entry = json.loads(line)
            number = re.match(r"case-(\d+)@judge\.test$", entry["sender"])
            if number:
                found[int(number[1])] = sorted(recipient["address"] for recipient in entry["recipients"])
        return found


def needs_root():
    return os.geteuid() == 0
