"""Submission servers of other makes: Postfix with Dovecot's or Cyrus' SASL behind it, and TLS of an authority of ours."""
import pathlib
import shutil
import subprocess
import tempfile

from lib.receivers import PostfixReceiver
from lib.watch import wait_until

USER, PASSWORD = "relay@example.test", "canary=Pass,word 7x"
TLS = """
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {certificate}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_client_auth_rate_limit = 0
smtpd_tls_loglevel = 1
{more}
"""
WRAPPED = "\n{{address}}:465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
DOVECOT = """
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_verbose = yes
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
{passdb}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/tmp
}}
service auth {{
  unix_listener {base}/auth {{
    mode = 0666
  }}
}}
"""
PASSWD = """
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {base}/users
}}
"""
OAUTH2 = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {base}/oauth2.conf
}}
"""


class Dovecot:
    """Dovecot's authentication service alone. `token_info`: an URL that says whose a token is."""

    def __init__(self, mechanisms, password=PASSWORD, token_info=None):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-dovecot-"))
        self.base.chmod(0o755)
        self.socket = self.base / "auth"
        (self.base / "users").write_text(f"{USER}:{{PLAIN}}{password}\n")
        (self.base / "oauth2.conf").write_text(
            f"tokeninfo_url = {token_info}\nusername_attribute = email\nactive_attribute = active\nactive_value = true\n")
        for file in ("users", "oauth2.conf"):
            (self.base / file).chmod(0o644)
        passdb = (OAUTH2 if token_info else PASSWD).format(base=self.base)
        (self.base / "conf").write_text(DOVECOT.format(base=self.base, mechanisms=mechanisms, passdb=passdb))
        self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", self.base / "conf"], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: self.socket.exists() or self.process.poll() is not None, 20, what="Dovecot's socket")
        assert self.process.poll() is None, self.process.stderr.read()

    def log_text(self):
        return (self.base / "log").read_text(errors="replace") if (self.base / "log").exists() else ""

    def set_password(self, password):
        (self.base / "users").write_text(f"{USER}:{{PLAIN}}{password}\n")
        subprocess.run(["/usr/bin/doveadm", "-c", self.base / "conf", "reload"], check=False, capture_output=True, timeout=20)

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.process.stderr.close()
        shutil.rmtree(self.base, ignore_errors=True)


class Submission(PostfixReceiver):
    """Takes mail from those who authenticate under TLS alone. On 465 with `implicit`, else by STARTTLS."""

    def __init__(self, certificate, sasl, implicit=False, more=""):
        file, key = certificate
        super().__init__(TLS.format(certificate=file, key=key, more=f"{sasl}\n{more}"), WRAPPED.format() if implicit else "")
        if implicit:
            self.port = 465


def by_dovecot(certificate, dovecot, **options):
    return Submission(certificate, f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = {dovecot.socket}", **options)


class CyrusSubmission(Submission):
    def __init__(self, certificate, mechanisms, **options):
        super().__init__(certificate, "smtpd_sasl_type = cyrus", **options)
        sasl = self.config / "sasl"  # where Debian's Postfix looks; read by each smtpd as it starts
        database = sasl / "sasldb2"
        sasl.mkdir()
        (sasl / "smtpd.conf").write_text(
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: {mechanisms}\n")
        name, realm = USER.split("@")
        subprocess.run(["/usr/sbin/saslpasswd2", "-p", "-c", "-f", database, "-u", realm, name], input=PASSWORD.encode(), check=True)
        database.chmod(0o644)
