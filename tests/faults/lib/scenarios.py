"""What the relay is stopped in: each row drops files, and says what has to become of them."""


def message(token, recipients, body=b"Hello.\r\n", sender="from@here.test"):
    lines = [f"X-Sender: <{sender}>", *(f"X-Receiver: <{recipient}>" for recipient in recipients),
             f"From: <{sender or 'from@here.test'}>", "To: <you@far.test>", f"X-Token: {token}", f"Message-ID: <{token}@here.test>",
             "Subject: a message", "Date: Tue, 24 Nov 2026 04:18:00 +0000", "", ""]
    return "\r\n".join(lines).encode() + body


class Scenario:
    """`linger_s`: how long past the drain it is still of interest; `later`: files that come behind each kill, under names
    that others may have had."""

    def __init__(self, name, files, config=None, linger_s=0.0, later=()):
        self.name, self.files, self.config, self.linger_s = name, dict(files), config or {}, linger_s
        self.later = dict(later)
        self.expected = {token: outcome for token, (_, outcome) in self.files.items()}
        self.was_later = False

    def set_up(self, world):
        world.fresh(self.config)
        self.was_later = False
        for token, (content, _) in self.files.items():
            world.drop(f"{token}.eml", content)

    def after_kill(self, world):
        """The later files come once their names are free."""
        if self.was_later or not self.later or any(name.split(".")[0] in self.files for name in world.names()):
            return
        self.was_later = True
        for (token, (content, _)), name in zip(self.later.items(), self.files):
            world.drop(f"{name}.eml", content)

    def all_expected(self):
        more = self.later if self.was_later else {}
        return dict(self.expected, **{token: outcome for token, (_, outcome) in more.items()})


class Pairs(Scenario):
    """The same as E-MailRelay writes them: a file for the content and one for the envelope."""

    def set_up(self, world):
        world.fresh(self.config)
        for token, (content, outcome) in self.files.items():
            lines = ["X-MailRelay-Format: #2821.7", "X-MailRelay-Content: 8bit", "X-MailRelay-From: from@here.test",
                     f"X-MailRelay-ToCount: {len(outcome)}", *(f"X-MailRelay-To-Remote: {name}" for name in outcome),
                     "X-MailRelay-Authentication: ", "X-MailRelay-Client: 127.0.0.1", "X-MailRelay-Utf8MailboxNames: 0",
                     "X-MailRelay-End: 1", ""]
            world.drop(f"emailrelay.{token}.content", content[content.index(b"From:"):])
            world.drop(f"emailrelay.{token}.envelope", "\r\n".join(lines).encode())


def one(token, recipients, **options):
    """A file and its outcome; the recipient's name says which it is."""
    outcome = {name: "returned" if name.startswith(("no", "always")) else "delivered" for name in recipients}
    return token, (message(token, recipients, **options), outcome)


def bad(token):
    text = f"X-Token: {token}\r\nSubject: no recipient at all\r\nFrom: a@here.test\r\n\r\nx\r\n"
    return token, (text.encode(), {"-": "badmail"})


def undeliverable(token):
    """A null sender's message that fails: nobody can be told, so it is kept in Badmail."""
    return token, (message(token, [f"no-{token}@far.test"], sender=""), {f"no-{token}@far.test": "badmail"})


def dropped(token, recipient):
    """For a local domain."""
    return token, (message(token, [recipient]), {recipient: "dropped"})


HOME = {"local": {"domains": ["home.test"]}}
LARGE = b"A line of a large message, seventy octets long, as mail mostly is....\r\n" * 2400
SOON = {"queue": {"expire": "3s", "retry_first": "1s", "retry_second": "1s", "retry_third": "1s"}}

SCENARIOS = [
    Scenario("pickup one", [one("p1", ["ok@far.test"])], linger_s=0.12),
    Scenario("pickup eight", [one(f"e{n}", [f"ok{n}@far.test"]) for n in range(8)]),
    Scenario("large body", [one("l1", ["ok@far.test"], body=LARGE), one("l2", ["later@far.test"], body=LARGE)]),
    Scenario("to Badmail", [bad("b1"), one("b2", ["ok@far.test"]), bad("b3")], linger_s=0.12),
    Scenario("undeliverable", [undeliverable("u1"), one("u2", ["ok@far.test"])]),
    Scenario("mixed replies", [one("m1", ["ok1@far.test", "later1@far.test", "no1@far.test"]),
                               one("m2", ["ok2@far.test", "no2@far.test", "later2@far.test"])]),
    Scenario("bounce", [one("n1", ["no1@far.test"]), one("n2", ["no2@far.test"])]),
    Scenario("expiry", [one("x1", ["always@far.test", "ok@far.test"])], SOON),
    Scenario("receipts", [one("r1", ["ok@far.test"]), one("r2", ["later@far.test"])], {"receipts": {"enabled": True}}),
    Scenario("same name again", [one("s1", ["ok1@far.test"])], later=[one("s2", ["ok2@far.test"])]),
    Scenario("drop", [dropped("d1", "one@home.test"), dropped("d2", "two@home.test")], HOME, linger_s=0.12),
    Pairs("pairs", [one("q1", ["ok1@far.test"]), one("q2", ["ok2@far.test", "no2@far.test"])], linger_s=0.12),
]

LOAD = Scenario("load", [one(f"w{n}", [f"ok{n}@far.test", f"{'later' if n % 9 == 0 else 'ok'}-b{n}@far.test"])
                         for n in range(40)])
