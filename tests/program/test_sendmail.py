"""sendmail(1) as the programs that call it know it: their real command lines, and some of them for real."""
import os
import shutil
import subprocess

import pytest

from lib import mail
from lib.relay import BINARY, FAULTS
from lib.watch import wait_until


class Sendmail:
    """Our sendmail under its usual names, beside a relay that sends everything to a scripted server."""

    def __init__(self, relay, server):
        self.relay, self.server = relay, server
        self.environment = dict(os.environ, MAILROOT_CONFIG=str(relay.config_file))
        self.bin = relay.base / "bin"
        self.bin.mkdir()
        for name in ("sendmail", "mailq", "newaliases"):
            os.symlink(BINARY, self.bin / name)
        self.path = self.bin / "sendmail"

    def call(self, *arguments, input=b"", name="sendmail", code=0):
        done = subprocess.run([self.bin / name, *arguments], input=input, capture_output=True, timeout=60, check=False,
                              env=self.environment)
        assert not FAULTS.search(done.stderr.decode(errors="replace")), done.stderr
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def received(self, count=1):
        return self.server.wait_transactions(count, 30)


@pytest.fixture
def sendmail(relay_to, make_server):
    server = make_server()
    return Sendmail(relay_to(server), server)


BODY = b"Subject: s\r\n\r\nline\r\n.\r\nafter the dot\r\n"
# Arguments, whether the header names the recipients, the envelope sender (None: whoever calls), recipients.
CALLERS = {
    "cron": (["-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", "-f", "root"], "root@relay.test", ["user@example.test"]),
    "cron of Debian": (["-i", "-B8BITMIME", "-oem", "user@example.test"], None, ["user@example.test"]),
    "PHP mail()": (["-t", "-i"], None, ["user@example.test"]),
    "PHPMailer": (["-fa@b.test", "-i", "-t"], "a@b.test", ["user@example.test"]),
    "Symfony": (["-t", "-i", "-fa@b.test"], "a@b.test", ["user@example.test"]),
    "Nodemailer": (["-i", "-f", "a@b.test", "x@y.test", "u@v.test"], "a@b.test", ["x@y.test", "u@v.test"]),
    "Ruby mail": (["-i", "-f", "a@b.test", "--", "x@y.test"], "a@b.test", ["x@y.test"]),
    "mutt": (["-oem", "-oi", "-f", "a@b.test", "--", "x@y.test"], "a@b.test", ["x@y.test"]),
    "null sender": (["-i", "-f", "<>", "x@y.test"], "", ["x@y.test"]),
    "clustered": (["-ti"], None, ["user@example.test"]),
    "IgnoreDots": (["-O", "IgnoreDots=true", "x@y.test"], None, ["x@y.test"]),
}


@pytest.mark.parametrize("caller", CALLERS)
def test_the_callers_command_line_does_what_it_means(sendmail, caller):
    arguments, sender, recipients = CALLERS[caller]
    content = (b"From: app@sender.test\r\nTo: user@example.test\r\n" if "-t" in arguments or "-ti" in arguments
               else b"From: app@sender.test\r\n") + BODY
    sendmail.call(*arguments, input=content)
    transaction = sendmail.received()[0]
    assert transaction.recipients == recipients and transaction.content.endswith(b"line\r\n.\r\nafter the dot\r\n")
    if sender is not None:
        assert transaction.sender == sender


def test_a_lone_dot_ends_the_message_without_i(sendmail):
    sendmail.call("x@y.test", input=b"From: a@b.test\r\n" + BODY)
    assert sendmail.received()[0].content.endswith(b"line\r\n")


def test_dsn_options_go_along(sendmail):
    sendmail.call("-N", "failure,delay", "-R", "hdrs", "-V", "id+3D1", "-i", "x@y.test", input=mail.message())
    transaction = sendmail.received()[0]
    assert "RET=HDRS" in transaction.sender_parameters.upper() and "ENVID=id+3D1" in transaction.sender_parameters
    assert "NOTIFY=FAILURE,DELAY" in transaction.recipient_parameters[0].upper()


@pytest.mark.parametrize("arguments", [
    ["-X/tmp/mailroot-x.php", "a@b.test"], ["-C/etc/passwd", "a@b.test"], ["-OQueueDirectory=/tmp", "a@b.test"], ["-be", "${run{id}}"],
    ["-f", "a@b\nX-Receiver: <c@d.test>", "a@b.test"], ["a@b.test\nBcc: c@d.test"], ["-Dfile", "a@b.test"], ["-bd"], ["-oQ/tmp", "a@b.test"],
    ["-t", "a@b.test"], [], ["-N", "maybe", "a@b.test"], ["-Z", "a@b.test"],
])
def test_what_is_dangerous_or_wrong_is_refused_and_leaves_nothing(sendmail, arguments):
    done = sendmail.call(*arguments, input=mail.message(), code=64)
    assert done.stderr.startswith(b"mailroot sendmail: ") and not sendmail.relay.waiting()
    assert not os.path.exists("/tmp/mailroot-x.php")


def test_an_address_that_looks_like_an_option_is_only_an_address(sendmail):
    """PHPMailer's CVE-2016-10033: a quoted local part whose blanks and backslashes reach the shell's word splitting."""
    sendmail.call("-i", "-f", "a@b.test", "--", "-X/tmp/mailroot-x.php@y.test", input=mail.message())
    assert sendmail.received()[0].recipients == ["-X/tmp/mailroot-x.php@y.test"]
    assert not os.path.exists("/tmp/mailroot-x.php")


def test_mailq_newaliases_and_bv_answer(make_relay, relay_to, make_server):
    server = make_server([("RCPT", "450 4.2.0 wait")])
    relay = relay_to(server, {"queue": {"retry_first": "1h"}, "local": {"domains": ["example.test"]}})
    (relay.base / "aliases").write_text("root: joe\n")
    command = Sendmail(relay, server)
    event = relay.send("q.eml", mail.message(to="user@far.test"), "deferred")
    for done in (command.call(name="mailq"), command.call("-bp")):
        assert event["id"].encode() in done.stdout
    assert b"no aliases" in command.call(name="newaliases").stdout
    relay.configure(dict(relay.config, local={"domains": ["example.test"], "aliases": str(relay.base / "aliases")}))
    assert b"1 aliases" in command.call("-bi").stdout
    shown = command.call("-bv", "root@example.test").stdout
    assert b"root@example.test is an alias" in shown and b"joe@example.test" in shown and b"/Drop" in shown
    assert not relay.waiting()


def test_q_tries_again_what_it_names(relay_to, make_server):
    server = make_server([("RCPT TO:<one", ["450 4.2.0 wait", "250 ok"]), ("RCPT TO:<two", ["450 4.2.0 wait", "250 ok"])])
    relay = relay_to(server, {"queue": {"retry_first": "1h"}})
    command = Sendmail(relay, server)
    for name in ("one", "two"):
        relay.send(f"{name}.eml", mail.message(to=f"{name}@far.test"), "deferred")
    command.call("-qRone@")
    relay.wait_event("delivered", to="one@far.test")
    assert not relay.events("delivered", to="two@far.test")
    command.call("-q")
    relay.wait_event("delivered", to="two@far.test")


def test_v_says_the_file_and_what_was_without_effect(sendmail):
    done = sendmail.call("-v", "-odb", "-L", "tag", "-i", "x@y.test", input=mail.message())
    assert b"-odb -Ltag" in done.stderr and b".eml: taken" in done.stdout
    quiet = sendmail.call("-odb", "-L", "tag", "-i", "x@y.test", input=mail.message())
    assert quiet.stderr == b"" and quiet.stdout == b""


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_descriptor_never_becomes_the_message(sendmail, closed):
    done = subprocess.run(["sh", "-c", f'exec "$0" -i x@y.test {closed}{"<" if closed == 0 else ">"}&-', str(sendmail.path)],
                          input=mail.message(), capture_output=True, timeout=60, check=False, env=sendmail.environment)
    if closed:
        assert done.returncode == 0 and sendmail.received()[0].content.endswith(b"hello\r\n")
    else:
        assert done.returncode in (0, 65)


# ---- the programs themselves ----

def needs(program):
    return pytest.mark.skipif(not shutil.which(program) and not os.path.exists(program), reason=f"{program} is not installed")


@needs("php")
def test_php_mail(sendmail):
    code = "exit(mail('user@example.test', 'from PHP', \"line\\n.\\nend\", ['From' => 'app@sender.test'], '-fa@b.test') ? 0 : 1);"
    subprocess.run(["php", "-d", f"sendmail_path={sendmail.path} -t -i", "-r", code], check=True, timeout=60, env=sendmail.environment)
    transaction = sendmail.received()[0]
    assert transaction.sender == "a@b.test" and transaction.recipients == ["user@example.test"]
    assert b"Subject: from PHP\r\n" in transaction.content and transaction.content.endswith(b"line\r\n.\r\nend\r\n")


@needs("/usr/lib/git-core/git-send-email")
def test_git_send_email(sendmail):
    folder = sendmail.relay.base / "git"
    folder.mkdir()
    environment = dict(sendmail.environment, HOME=str(folder), GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@b.test",
                       GIT_COMMITTER_NAME="A", GIT_COMMITTER_EMAIL="a@b.test")
    git = lambda *words: subprocess.run(["git", *words], cwd=folder, check=True, timeout=60, env=environment, capture_output=True)  # noqa: E731
    git("init", "-q")
    (folder / "file").write_text("text\n.\n")
    git("add", "file")
    git("commit", "-qm", "a change")
    git("format-patch", "-1", "--root")
    git("send-email", f"--smtp-server={sendmail.path}", "--to=list@example.test", "--cc=more@example.test", "--confirm=never",
        "--from=A <a@b.test>", "0001-a-change.patch")
    transaction = sendmail.received()[0]
    assert sorted(transaction.recipients)[:2] == ["a@b.test", "list@example.test"] and "more@example.test" in transaction.recipients
    assert b"Subject: [PATCH] a change\r\n" in transaction.content and b"\r\n+.\r\n" in transaction.content


@needs("mutt")
def test_mutt(sendmail):
    subprocess.run(["mutt", "-n", "-F", "/dev/null", "-e", f'set sendmail="{sendmail.path} -oem -oi"', "-e", 'set from="a@b.test"',
                    "-e", "set use_envelope_from=yes", "-e", "set copy=no", "-s", "from mutt", "--", "user@example.test"],
                   input=b"line\n.\nend\n", check=True, timeout=60, env=dict(sendmail.environment, HOME=str(sendmail.relay.base)))
    transaction = sendmail.received()[0]
    assert transaction.sender == "a@b.test" and transaction.content.endswith(b"line\r\n.\r\nend\r\n")


@needs("s-nail")
def test_s_nail(sendmail):
    subprocess.run(["s-nail", "-:/", "-S", f"mta=file://{sendmail.path}", "-S", "from=a@b.test", "-r", "a@b.test", "-s", "from s-nail",
                    "user@example.test"], input=b"line\nend\n", check=True, timeout=60,
                   env=dict(sendmail.environment, HOME=str(sendmail.relay.base)))
    transaction = sendmail.received()[0]
    assert transaction.recipients == ["user@example.test"] and b"Subject: from s-nail" in transaction.content
    assert transaction.sender == "a@b.test"


CRON = """
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/spool/cron && mkdir /var/spool/cron/crontabs || exit 77
mount --bind "$1" "$(readlink -f /usr/sbin/sendmail)" || exit 77
printf 'MAILTO=user@example.test\\n@reboot echo said by the job\\n' > /var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
exec /usr/sbin/cron -f
"""


@needs("/usr/sbin/cron")
@pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/usr/sbin/sendmail"), reason="needs root and a name to stand in for")
def test_cron_mails_what_its_job_said(sendmail):
    wrapper = sendmail.relay.base / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nMAILROOT_CONFIG={sendmail.relay.config_file} exec {sendmail.path} "$@"\n')
    wrapper.chmod(0o755)
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", CRON, "sh", str(wrapper)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: sendmail.server.transactions or process.poll() == 77, 40, what="cron's mail")
        if process.poll() == 77:
            pytest.skip("no mount namespace here")
        transaction = sendmail.received()[0]
        assert transaction.recipients == ["user@example.test"] and transaction.content.endswith(b"said by the job\r\n")
        assert b"From: root (Cron Daemon)" in transaction.content or b"Cron Daemon" in transaction.content
    finally:
        process.kill()
        process.wait()
