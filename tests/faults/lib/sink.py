"""The far end: an SMTP server that remembers what it said 250 to, and when. What it answers is in the recipient's name:

  ok…  250     later…  451 the first time, then 250     always…  451     no…  550
"""
import re
import socket
import threading
import time

TOKEN = re.compile(rb"^X-Token: (\S+)", re.M | re.I)
QUEUE_ID = re.compile(rb"\bid\s+([0-9A-Fa-f]{16})\b")
FINAL = re.compile(rb"^Final-Recipient: *rfc822; *(\S+)", re.M | re.I)


class Delivery:
    def __init__(self, recipient, data):
        token, ident = TOKEN.search(data), QUEUE_ID.search(data.split(b"\r\n\r\n")[0])
        self.recipient = recipient
        self.token = token.group(1).decode() if token else None
        self.id = ident.group(1).decode() if ident else None
        self.returned = [name.decode().strip("<>") for name in FINAL.findall(data)]
        self.text = data
        self.time_ns = 0   # when the 250 was handed to the kernel


class Sink:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.is_deferring = False  # every recipient, until further notice
        self.reset()
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self):
        with self.lock:
            self.deliveries, self.seen, self.connections = [], set(), 0

    def _accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for the next one
        self.listener.close()

    def _serve(self, peer):
        try:
            with peer, peer.makefile("rwb") as stream:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._session(stream)
        except (OSError, ValueError):
            pass  # the relay was killed

    def _session(self, stream):
        recipients = []

        def say(text):
            stream.write(text.encode() + b"\r\n")
            stream.flush()
        with self.lock:
            self.connections += 1
        say("220 far.test ESMTP")
        for line in stream:
            words = line.strip().decode("latin-1").upper()
            if words.startswith(("EHLO", "HELO")):
                say("250-far.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES")
            elif words.startswith("MAIL"):
                recipients = []
                say("250 2.1.0 ok")
            elif words.startswith("RCPT"):
                recipients.append(re.search(rb"<(.*?)>", line).group(1).decode().lower())
                say(self._answer(recipients))
            elif words.startswith("DATA"):
                if not recipients:
                    say("503 5.5.1 no recipient")
                    continue
                say("354 go on")
                self._take(self._data(stream), recipients, say)
            elif words.startswith("QUIT"):
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 ok")

    def _answer(self, recipients):
        name = recipients[-1]
        with self.lock:
            is_first = name not in self.seen
            self.seen.add(name)
        if self.is_deferring:
            recipients.pop()
            return "451 4.2.0 nobody today"
        if name.startswith("no"):
            recipients.pop()
            return "550 5.1.1 nobody of that name"
        if name.startswith("later") and is_first or name.startswith("always"):
            recipients.pop()
            return "451 4.2.0 not now"
        return "250 2.1.5 ok"

    @staticmethod
    def _data(stream):
        data = bytearray()
        for line in stream:
            if line == b".\r\n":
                return bytes(data)
            data += line[1:] if line.startswith(b".") else line
        raise OSError("cut")

    def _take(self, data, recipients, say):
        deliveries = [Delivery(recipient, data) for recipient in recipients]
        with self.lock:  # counted as said before it is: the relay may be killed in between
            for delivery in deliveries:
                delivery.time_ns = time.monotonic_ns()
            self.deliveries += deliveries
        say("250 2.0.0 taken")
