"""PostgreSQL servers of a test's own: one, or a pair with synchronous streaming replication."""
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

from lib.ports import free_port
from lib.watch import wait_until

PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")
NO_SERVER = not (PROGRAMS / "postgres").exists()
WHY = "NO POSTGRESQL 15 HERE (/usr/lib/postgresql/15/bin): THE CLUSTER IS NOT TESTED; ./check installs it"


def _user():
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


class Postgres:
    """`url` is how mailroot reaches it. A standby is made by primary.standby()."""

    def __init__(self, settings=(), standby_of=None, address="127.0.0.1", port=None):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-pg-"))
        self.base.chmod(0o755)
        self.data = self.base / "data"
        self.address, self.port, self.process = address, port or free_port(), None
        if os.geteuid() == 0:
            shutil.chown(self.base, _user()["user"], _user()["group"])
        if standby_of:
            self._run("pg_basebackup", "-D", self.data, "-R", "-X", "stream", "-c", "fast", "-d",
                      f"host={standby_of.address} port={standby_of.port} user=mailroot application_name=standby dbname=replication")
        else:
            self._run("initdb", "-D", self.data, "-U", "mailroot", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
            with open(self.data / "pg_hba.conf", "a", encoding="ascii") as rules:
                rules.write("host all all 0.0.0.0/0 trust\nhost replication all 127.0.0.0/8 trust\n")
        self.settings = ["fsync=off", "max_connections=100", "wal_level=replica", "max_wal_senders=4", "hot_standby=on",
                         "shared_buffers=64MB", f"unix_socket_directories={self.base}", f"listen_addresses={address}", *settings]
        self.start()

    def _run(self, program, *arguments):
        subprocess.run([PROGRAMS / program, *map(str, arguments)], check=True, cwd="/", capture_output=True, timeout=120, **_user())

    def start(self):
        words = [PROGRAMS / "postgres", "-D", self.data, "-p", str(self.port)]
        for setting in self.settings:
            words += ["-c", setting]
        with open(self.base / "log", "ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
                                            **_user())
        wait_until(lambda: self.sql("SELECT 1", check=False) == "1", 60, what="PostgreSQL answers")

    @property
    def url(self):
        return f"postgresql://mailroot@{self.address}:{self.port}/postgres"

    def sql(self, text, check=True):
        done = subprocess.run([PROGRAMS / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", self.address, "-p", str(self.port), "-U",
                               "mailroot", "-d", "postgres", "-c", text], capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip() if done.returncode == 0 else None

    def number(self, text):
        return int(self.sql(text) or 0)

    def standby(self):
        """Another server that has each commit before it is answered."""
        standby = Postgres(standby_of=self)
        self.sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        self.sql("SELECT pg_reload_conf()")
        wait_until(lambda: self.sql("SELECT sync_state FROM pg_stat_replication") == "sync", 30, what="a synchronous standby")
        return standby

    def promote(self):
        self._run("pg_ctl", "promote", "-D", self.data, "-w")

    def signal(self, number):
        """To all its processes: each is a group of its own."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in [self.process.pid, *map(int, children)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self):
        """All of it at once, as when the machine is gone."""
        self.signal(signal.SIGSTOP)
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGINT)  # fast
            self.process.wait(30)
        self.process = None

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def close(self):
        if self.process:
            self.resume()
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.base, ignore_errors=True)
