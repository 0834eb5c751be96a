"""Files as real programs leave them in Pickup: each program runs here, and what it wrote is delivered as it meant it."""
import email
import email.policy
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from lib import mail
from lib.relay import BINARY

BODY = "Grüße\n.a line with a dot\n..and two\n.\nend\n"


def run(*arguments, cwd=None, **environment):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, timeout=120, check=False, cwd=cwd,
                          env=dict(os.environ, **environment))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def delivered(relay, server, count=1):
    """The transactions, once all is delivered."""
    relay.wait_events("delivered", count)
    relay._wait(lambda: not relay.waiting(), "an empty Pickup", 10)
    return server.transactions


def body_of(content):
    """The text as a reader sees it."""
    return email.message_from_bytes(content, policy=email.policy.default).get_body().get_content().replace("\r\n", "\n")


MONO = """
using System.Net.Mail;
class Program {
    static void Main(string[] arguments) {
        var message = new MailMessage("app@sender.test", "to@x.test");
        message.CC.Add("Cc <cc@x.test>");
        message.Bcc.Add("bcc@x.test");
        message.Subject = "Grüße";
        message.Body = System.IO.File.ReadAllText(arguments[1]);
        var client = new SmtpClient { DeliveryMethod = SmtpDeliveryMethod.SpecifiedPickupDirectory, PickupDirectoryLocation = arguments[0] };
        client.Send(message);
    }
}
"""


@needs("mcs")
def test_mono_s_smtpclient_with_a_pickup_directory(relay_to, make_server, tmp_path):
    server = make_server()
    relay = relay_to(server)
    (tmp_path / "program.cs").write_text(MONO)
    (tmp_path / "body").write_text(BODY)
    run("mcs", "-out:program.exe", "program.cs", cwd=tmp_path)
    run("mono", "program.exe", relay.pickup, "body", cwd=tmp_path, HOME=str(tmp_path))
    sent = delivered(relay, server, 2)
    taken = relay.events("taken")[0]
    assert re.fullmatch(r"[0-9a-f-]{36}\.eml", taken["pickup"]) and taken["dialect"] in ("plain", "dotnet")
    assert sorted(r for t in sent for r in t.recipients) == ["cc@x.test", "to@x.test"], "mono leaves Bcc out of the file"
    assert body_of(sent[0].content).rstrip("\n") == BODY.rstrip("\n")
    assert f"dialect={taken['dialect']}" in relay.run("trace", taken["pickup"]).stdout.decode()


RUBY = """
require 'mail'
Mail.defaults { delivery_method :file, location: ARGV[0] }
mail = Mail.new(from: 'app@sender.test', to: ARGV[2..-1], subject: 'Grüße', charset: 'UTF-8', body: File.read(ARGV[1], encoding: 'UTF-8'))
mail.delivery_method.settings[:extension] = '.eml'
mail.deliver
"""


@needs("ruby")
def test_rails_mail_with_file_delivery(relay_to, make_server, tmp_path):
    """It leaves the whole message once for each recipient, under his name: each would get as many. Where Message-IDs count the second
    file is a duplicate."""
    server = make_server()
    relay = relay_to(server, {"pickup": {"once": "message-id"}})
    (tmp_path / "mail.rb").write_text(RUBY)
    (tmp_path / "body").write_text(BODY)
    run("ruby", "mail.rb", tmp_path / "out", "body", "one@x.test", "two@x.test", cwd=tmp_path)
    written = sorted((tmp_path / "out").iterdir())
    assert len(written) == 2
    for path in written:
        relay.drop(path.name, path.read_bytes())
    relay.wait_event("duplicate")
    sent = delivered(relay, server, 2)
    assert sorted(r for t in sent for r in t.recipients) == ["one@x.test", "two@x.test"]
    assert body_of(sent[0].content).replace("\r", "").rstrip("\n") == BODY.rstrip("\n"), "its own =0D stays"


DJANGO = """
import sys
from django.conf import settings
settings.configure(EMAIL_BACKEND="django.core.mail.backends.filebased.EmailBackend", EMAIL_FILE_PATH=sys.argv[1])
from django.core import mail
text = open(sys.argv[2], encoding="utf-8").read()
connection = mail.get_connection()
if len(sys.argv) > 3:
    connection.open()
    for number in range(2):
        connection.send_messages([mail.EmailMessage("Grüße", text, "app@sender.test", ["to@x.test"], bcc=["bcc@x.test"])])
    connection.close()
else:
    mail.EmailMessage("Grüße", text, "app@sender.test", ["to@x.test"], bcc=["bcc@x.test"]).send()
"""


def has_django():
    return subprocess.run(["/usr/bin/python3", "-c", "import django"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_django(), reason="django is not installed")
def test_django_s_filebased_backend_is_refused_by_name(relay_to, make_server, tmp_path):
    server = make_server()
    relay = relay_to(server)
    (tmp_path / "send.py").write_text(DJANGO)
    (tmp_path / "body").write_text(BODY)
    for number, more in enumerate([[], ["two"]]):
        run("/usr/bin/python3", "send.py", relay.pickup, "body", *more, cwd=tmp_path)
        event = relay.wait_event("refused", count=number + 1)
        assert event["pickup"].endswith(".log") and "Django's file back-end" in event["reason"]
    assert not server.transactions and not relay.waiting()


SYMFONY = """<?php
require '/usr/share/php/Symfony/Component/Mailer/autoload.php';
use Symfony\\Component\\Mailer\\Mailer;
use Symfony\\Component\\Mailer\\Transport;
use Symfony\\Component\\Mime\\Email;
$mail = (new Email())->from('app@sender.test')->to('to@x.test')->cc('cc@x.test')->bcc('bcc@x.test')->subject('Grüße')->text(file_get_contents($argv[2]));
if ($argv[1] === 'sendmail')
    (new Mailer(Transport::fromDsn('sendmail://default?command=' . urlencode($argv[3]))))->send($mail);
else
    file_put_contents($argv[1], $mail->toString());
"""


def symfony():
    return pathlib.Path("/usr/share/php/Symfony/Component/Mailer/autoload.php").exists() and shutil.which("php")


@pytest.mark.skipif(not symfony(), reason="php-symfony-mailer is not installed")
def test_symfony_mailer_writes_a_file_and_calls_sendmail(relay_to, make_server, tmp_path):
    server = make_server()
    relay = relay_to(server)
    (tmp_path / "mail.php").write_text(SYMFONY)
    (tmp_path / "body").write_text(BODY)
    run("php", "mail.php", relay.pickup / "symfony.eml", "body", cwd=tmp_path)
    sent = delivered(relay, server, 2)
    assert sorted(r for t in sent for r in t.recipients) == ["cc@x.test", "to@x.test"], "toString() leaves Bcc out"
    assert body_of(sent[0].content).rstrip("\n") == BODY.rstrip("\n")
    sendmail = tmp_path / "sendmail"
    sendmail.symlink_to(BINARY)
    for command in (f"{sendmail} -bs", f"{sendmail} -t -i"):
        before = len(relay.events("delivered"))
        run("php", "mail.php", "sendmail", "body", command, cwd=tmp_path, MAILROOT_CONFIG=str(relay.config_file))
        relay.wait_events("delivered", before + 3)
    assert all(b"bcc@" not in t.content for t in sent)


NODEMAILER = """
const nodemailer = require('nodemailer'), fs = require('fs');
const [pickup, body, newline] = process.argv.slice(2);
nodemailer.createTransport({streamTransport: true, buffer: true, newline}).sendMail({from: 'app@sender.test', to: 'to@x.test',
  bcc: 'bcc@x.test', subject: 'Grüße', text: fs.readFileSync(body, 'utf8')}, (error, info) => {
  if (error) throw error;
  fs.writeFileSync(`${pickup}/${newline}.eml`, info.message);
  console.log(JSON.stringify(info.envelope));
});
"""


@needs("node")
@pytest.mark.parametrize("newline", ["unix", "windows"])
def test_nodemailer_s_stream_written_to_a_file(relay_to, make_server, tmp_path, newline):
    if subprocess.run(["node", "-e", "require('nodemailer')"], capture_output=True, check=False).returncode:
        pytest.skip("nodemailer is not installed")
    server = make_server()
    relay = relay_to(server)
    (tmp_path / "mail.js").write_text(NODEMAILER)
    (tmp_path / "body").write_text(BODY)
    envelope = json.loads(run("node", "mail.js", relay.pickup, "body", newline, cwd=tmp_path))
    assert "bcc@x.test" in envelope["to"]
    sent = delivered(relay, server, 2)
    assert sorted(r for t in sent for r in t.recipients) == ["bcc@x.test", "to@x.test"]
    assert all(b"bcc" not in t.content.lower() for t in sent), "a stream has the Bcc line; it ends here"
    assert body_of(sent[0].content).rstrip("\n") == BODY.rstrip("\n")
    assert sent[0].content == mail.canonical(sent[0].content)
