"""Filters that speak the milter protocol: opendkim, rspamd, and one on libmilter (python3-milter) that does what it is told."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from lib.ports import free_port
from lib.watch import wait_until

ACTIONS = r"""
import sys, Milter
name, socket, log = sys.argv[1:4]

class Filter(Milter.Base):
    def __init__(self):
        self.seen = {"fields": [], "body": b"", "rcpts": []}
    def connect(self, host, family, address):
        self.seen["connect"] = (host, address[0] if address else None)
        return Milter.CONTINUE
    def hello(self, name):
        self.seen["helo"] = name
        return Milter.CONTINUE
    def envfrom(self, sender, *rest):
        self.seen["sender"], self.seen["i"] = sender, self.getsymval("i")
        return Milter.REJECT if name == "reject_mail" else Milter.CONTINUE
    def envrcpt(self, rcpt, *rest):
        self.seen["rcpts"].append(rcpt)
        if name == "reject_second" and len(self.seen["rcpts"]) == 2:
            return Milter.REJECT
        return Milter.CONTINUE
    def header(self, field, value):
        self.seen["fields"].append((field, value))
        return Milter.CONTINUE
    def body(self, chunk):
        self.seen["body"] += chunk
        if name == "skip":
            return Milter.SKIP
        if name == "hang":
            import time; time.sleep(60)
        return Milter.CONTINUE
    def eom(self):
        with open(log, "a") as out:
            print(repr(self.seen), file=out)
        if name == "change":
            self.addheader("X-Last", "one\n\ttwo")
            self.addheader("X-First", "1", 1)
            self.chgheader("Subject", 1, "changed")
            self.chgheader("X-Gone", 1, "")
            self.chgheader("X-Gone", 1, "")
            self.chgheader("X-New", 1, "new\nFrom: forged")
        elif name == "body":
            self.replacebody(b"new body\nwith lines\r\n")
        elif name == "hold":
            self.quarantine("looks odd")
        elif name == "recipients":
            self.addrcpt("<thief@far.test>")
        elif name == "reply":
            self.setreply("554", "5.7.9", "not this one")
            return Milter.REJECT
        return {"reject": Milter.REJECT, "tempfail": Milter.TEMPFAIL, "discard": Milter.DISCARD}.get(name, Milter.CONTINUE)

Milter.factory = Filter
flags = Milter.ADDHDRS | Milter.CHGHDRS | Milter.QUARANTINE | Milter.CHGBODY
Milter.set_flags(flags | (Milter.ADDRCPT if name == "recipients" else 0))
Milter.runmilter("test", socket, 240)
"""


class _Filter:
    def __init__(self, kind="inet"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-milter-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.path = self.folder / "socket"
        self.socket = f"inet:127.0.0.1:{self.port}" if kind == "inet" else f"unix:{self.path}"
        self.theirs = f"inet:{self.port}@127.0.0.1" if kind == "inet" else f"local:{self.path}"
        self.process = None

    def start(self, *arguments, **options):
        with open(self.folder / "out", "wb") as out:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                            **options)
        wait_until(self._listens, 60, what="a filter that listens", check=self._check)
        if self.path.exists():
            self.path.chmod(0o777)

    def _check(self):
        assert self.process.poll() is None, (self.folder / "out").read_text()

    def _listens(self):
        family, place = (socket.AF_UNIX, str(self.path)) if self.socket.startswith("unix") else \
            (socket.AF_INET, ("127.0.0.1", self.port))
        with socket.socket(family) as probe:
            return probe.connect_ex(place) == 0

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # libmilter takes seconds to end by itself, rspamd has workers
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class ActionFilter(_Filter):
    """libmilter; does at the end of a message what `name` says. seen() is what it was told."""

    def __init__(self, name, kind="inet"):
        super().__init__(kind)
        (self.folder / "filter.py").write_text(ACTIONS)
        self.log = self.folder / "log"
        self.start("/usr/bin/python3", self.folder / "filter.py", name, self.theirs, self.log)

    def seen(self):
        return [eval(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


class OpenDkim(_Filter):
    """opendkim, verifying with keys from a file, or signing with one."""

    def __init__(self, records=None, sign=None, kind="unix"):
        super().__init__(kind)
        text = f"Socket {self.theirs}\nSyslog no\nBackground no\nInternalHosts 127.0.0.0/8\nPidFile {self.folder}/pid\n" \
               "RequireSafeKeys no\nUMask 000\n"
        if records is not None:
            (self.folder / "keys").write_text("".join(f"{name} {text}\n" for name, text in records.items()))
            text += f"Mode v\nTestPublicKeys {self.folder}/keys\nAuthservID opendkim.test\nAlwaysAddARHeader yes\n"
        else:
            domain, selector, key = sign
            shutil.copy(key, self.folder / "key.pem")
            text += f"Mode s\nDomain {domain}\nSelector {selector}\nKeyFile {self.folder}/key.pem\nCanonicalization simple/simple\n"
        (self.folder / "conf").write_text(text)
        self.start("/usr/sbin/opendkim", "-f", "-x", self.folder / "conf")


class Rspamd(_Filter):
    """rspamd's proxy worker as a milter that scans by itself; without rules of its own but the test pattern for all scanners."""

    def __init__(self, kind="inet"):
        super().__init__(kind)
        (self.folder / "conf").write_text(f"""
options {{ pidfile = "{self.folder}/pid"; filters = ""; tempdir = "{self.folder}"; dns {{ nameserver = ["127.0.0.1:{free_port()}"]; }} }}
logging {{ type = "console"; }}
actions {{ reject = 15; add_header = 6; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{self.port}"; milter = yes; count = 1; timeout = 20s;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
""")
        shutil.chown(self.folder, "_rspamd")
        self.start("/usr/bin/rspamd", "-f", "-c", self.folder / "conf", "-u", "_rspamd", "-g", "_rspamd")
