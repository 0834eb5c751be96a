"""Judges that ask the resolver of resolv.conf: posttls-finger (DANE), mta-sts-query. They get an unbound of their own."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import dns.exception
import dns.message
import dns.query

from lib.ports import loopback
from lib.watch import wait_until

# It asks the resolver of resolv.conf, which is port 53 of an address: root may listen there and have a resolv.conf of its own.
IS_POSSIBLE = os.geteuid() == 0 and all(shutil.which(name) for name in ("unbound", "posttls-finger", "mta-sts-query", "unshare")) and \
    subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


class Judge:
    """Programs run behind an unbound that asks `names`, and validates if there is an anchor."""

    def __init__(self, names, authority):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-judge-"))
        self.address, self.authority = loopback(), authority
        anchor = f'trust-anchor-file: "{names.anchor}"' if hasattr(names, "anchor") else 'module-config: "iterator"'
        (self.folder / "resolv.conf").write_text(f"nameserver {self.address}\noptions edns0 trust-ad\n")
        (self.folder / "main.cf").write_text("compatibility_level = 3.6\ninet_protocols = ipv4\n")
        (self.folder / "unbound.conf").write_text(f"""server:
  interface: {self.address}
  port: 53
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "{self.folder}"
  pidfile: ""
  use-syslog: no
  logfile: "{self.folder}/log"
  do-not-query-localhost: no
  local-zone: "test." nodefault
  {anchor}
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {names.address.replace(":", "@")}
""")
        self.process = subprocess.Popen([shutil.which("unbound"), "-d", "-c", self.folder / "unbound.conf"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_until(self._answers, 15, what="an answer of unbound")

    def _answers(self):
        try:
            return dns.query.udp(dns.message.make_query("ns.test.", "A"), self.address, timeout=0.5).answer
        except (dns.exception.DNSException, OSError):
            return None

    def run(self, *arguments, **environment):
        """What it says, with our resolver as that of the system."""
        script = f'mount --bind {self.folder}/resolv.conf /etc/resolv.conf && exec "$@"'
        done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *map(str, arguments)], capture_output=True, text=True, timeout=60,
                              check=False, env={**os.environ, "MAIL_CONFIG": str(self.folder), **environment})
        return done.stdout + done.stderr

    def finger(self, domain, port):
        """What posttls-finger says of the domain at level "dane"."""
        return self.run("posttls-finger", "-c", "-l", "dane", "-F", self.authority.file, "-t", 10, "-T", 10, "-L", "verbose,summary",
                        f"{domain}:{port}")

    def mta_sts(self, domain):
        """What mta-sts-query says of the domain: its policy server has to be at port 443."""
        return self.run("mta-sts-query", domain, SSL_CERT_FILE=str(self.authority.file))

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def verdict(text):
    """verified: by TLSA; refused: a mail would wait; encrypted: TLS that nobody vouches for."""
    if "TLS connection established" not in text or "server certificate verification failed" in text:
        return "refused"
    return "verified" if "Verified TLS connection established" in text and "DNSSEC-signed TLSA record" in text else "encrypted"
