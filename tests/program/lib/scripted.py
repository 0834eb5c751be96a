"""An SMTP server that does what a small table says, and remembers what the client said.

A table is a list of (regex, action); the first row whose regex matches the command line decides, what no row matches
is answered as a friendly server would. Two commands are made up: "CONNECT" (the greeting) and "." (end of data; "BDAT
n LAST" for a chunk is the line itself). An action is
    "250 ok"            a reply; several lines where it holds newlines
    b"..."              bytes as they are
    [action, action]    one after another, over all connections; the last one stays
    CLOSE HANG GARBAGE ENDLESS_LINE ENDLESS_REPLY, Trickle("250 ok"), Then("250 ok", CLOSE)
"""
import re
import socket
import ssl
import threading
from dataclasses import dataclass, field

from lib.ports import MX_PORT, loopback
from lib.tls import server_context
from lib.watch import wait_until

CLOSE, HANG, GARBAGE, ENDLESS_LINE, ENDLESS_REPLY = "<close>", "<hang>", "<garbage>", "<endless line>", "<endless reply>"
EXTENSIONS = ("PIPELINING", "SIZE 0", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
TRICKLE_S = 0.1


@dataclass
class Trickle:
    """The reply, an octet each 100 ms."""
    text: str


@dataclass
class Then:
    """Two actions in a row, as a reply and then CLOSE."""
    first: object
    second: object


@dataclass
class Transaction:
    sender: str
    sender_parameters: str
    recipients: list = field(default_factory=list)
    recipient_parameters: list = field(default_factory=list)
    content: bytes = b""    # dots removed
    wire: bytes = b""       # as it came, with the end mark
    is_chunked: bool = False
    is_whole: bool = False
    is_secured: bool = False


DEFAULTS = [
    (r"CONNECT", "220 mx.test ESMTP"), (r"HELO", "250 mx.test"), (r"MAIL", "250 2.1.0 ok"), (r"RCPT", "250 2.1.5 ok"),
    (r"DATA", "354 go on"), (r"\.$", "250 2.0.0 taken"), (r"BDAT", "250 2.0.0 taken"), (r"RSET|NOOP", "250 2.0.0 ok"),
    (r"STARTTLS", "220 2.0.0 go on"), (r"QUIT", Then("221 2.0.0 bye", CLOSE)), (r"", "500 5.5.2 what?"),
]


class Session:
    """One connection, served by a thread of its own."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.peer = sock.getpeername()[0]
        self.commands = []
        self.transaction = None
        self.is_secured = self.is_resumed = False
        self.buffer = b""

    def read_more(self):
        try:
            data = self.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise EOFError
        self.buffer += data

    def read_line(self):
        while b"\n" not in self.buffer:
            self.read_more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    def read_octets(self, count):
        while len(self.buffer) < count:
            self.read_more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_data(self):
        data, seen = bytearray(b"\r\n" + self.buffer), 0
        while (found := data.find(b"\r\n.\r\n", seen)) < 0:
            seen = max(0, len(data) - 4)
            self.buffer = b""
            self.read_more()
            data += self.buffer
        end = found + 5
        self.buffer = bytes(data[end:])
        return bytes(data[2:end])

    def run(self):
        try:
            self.act(self.server.action("CONNECT"))
            while True:
                line = self.read_line()
                self.commands.append(line)
                self.handle(line)
        except (EOFError, OSError):
            pass
        finally:
            self.sock.close()

    def handle(self, line):
        verb = line[:4].upper()
        chunk = re.match(r"BDAT (\d+)( LAST)?$", line, re.I)
        if verb == "MAIL":
            path, parameters = re.match(r"MAIL FROM:<(.*?)>(.*)", line, re.I).groups()
            self.transaction = Transaction(path, parameters.strip(), is_secured=self.is_secured)
        if chunk:
            self.take_chunk(int(chunk[1]), bool(chunk[2]))
        action = self.server.action(line)
        text = action if isinstance(action, str) else getattr(action, "text", getattr(action, "first", ""))
        if verb == "RCPT" and isinstance(text, str) and text.startswith("2"):
            path, parameters = re.match(r"RCPT TO:<(.*?)>(.*)", line, re.I).groups()
            self.transaction.recipients.append(path)
            self.transaction.recipient_parameters.append(parameters.strip())
        self.act(action)
        if verb == "DATA" and isinstance(text, str) and text.startswith("354"):
            self.take_data()
        elif line.upper() == "STARTTLS" and isinstance(text, str) and text.startswith("220"):
            self.secure()

    def take_data(self):
        transaction = self.transaction
        transaction.wire = self.read_data()
        transaction.content = re.sub(rb"(?m)^\.", b"", transaction.wire[:-3])
        self.commands.append(".")
        self.finish()
        self.act(self.server.action("."))

    def take_chunk(self, size, is_last):
        data = self.read_octets(size)
        self.transaction.is_chunked = True
        self.transaction.content += data
        self.transaction.wire += data
        if is_last:
            self.finish()

    def finish(self):
        self.transaction.is_whole = True
        if not self.transaction.recipients:
            return  # RFC 2920 3.1: no recipient was taken, yet DATA had been sent: nothing but the end mark
        self.server.transactions.append(self.transaction)

    def secure(self):
        self.buffer = b""
        self.sock = (self.server.context or server_context()).wrap_socket(self.sock, server_side=True)
        self.is_secured, self.is_resumed = True, getattr(self.sock, "session_reused", False)

    def act(self, action):
        if isinstance(action, Then):
            self.act(action.first)
            self.act(action.second)
        elif isinstance(action, Trickle):
            for octet in (action.text + "\r\n").encode():
                self.sock.sendall(bytes([octet]))
                self.server.stopped.wait(TRICKLE_S)
        elif isinstance(action, bytes):
            self.sock.sendall(action)
        elif action == CLOSE:
            raise EOFError
        elif action == HANG:
            self.server.stopped.wait()
            raise EOFError
        elif action == GARBAGE:
            self.sock.sendall(bytes(range(256)) * 4 + b"\r\n")
        elif action in (ENDLESS_LINE, ENDLESS_REPLY):
            piece = b"250-" + b"x" * 60 + (b"\r\n" if action == ENDLESS_REPLY else b"")
            while not self.server.stopped.is_set():
                self.sock.sendall(piece * 1000)
        else:
            *lines, last = action.split("\n")
            self.sock.sendall("".join(line + "\r\n" for line in [*lines, last]).encode("utf-8", "surrogateescape"))


class ScriptedServer:
    """Listens on a loopback address of its own. `extensions` are what EHLO offers (STARTTLS among them if wished)."""

    def __init__(self, table=(), address=None, port=None, extensions=EXTENSIONS, context=None):
        self.table = [(re.compile(regex, re.I), action) for regex, action in table]
        ehlo = "\n".join([*(f"250-{word}" for word in ("mx.test", *extensions))][:-1] +
                         [f"250 {('mx.test', *extensions)[-1]}"])
        self.defaults = [(re.compile(r"EHLO", re.I), ehlo)] + [(re.compile(r, re.I), a) for r, a in DEFAULTS]
        self.context = context  # of STARTTLS; None: self-signed
        self.address = address or loopback()
        self.port = port or MX_PORT
        self.sessions, self.transactions = [], []
        self.uses = {}
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        self.listener = socket.create_server((self.address, self.port), family=family, backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(self, sock, len(self.sessions))
            self.sessions.append(session)
            threading.Thread(target=session.run, daemon=True).start()

    def action(self, line):
        with self.lock:
            for number, (regex, action) in enumerate(self.table + self.defaults):
                if regex.match(line):
                    if isinstance(action, list):
                        use = self.uses.get(number, 0)
                        self.uses[number] = use + 1
                        action = action[min(use, len(action) - 1)]
                    return action
        raise AssertionError("the defaults match all")

    @property
    def commands(self):
        return [line for session in self.sessions for line in session.commands]

    def said(self, regex):
        """The command lines that match."""
        return [line for line in self.commands if re.match(regex, line, re.I)]

    def wait_transactions(self, count=1, seconds=15):
        wait_until(lambda: len(self.transactions) >= count, seconds, what=f"{count} messages at the server")
        return self.transactions

    def close(self):
        self.stopped.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for session in self.sessions:
            try:
                session.sock.shutdown(socket.SHUT_RDWR)
            except (OSError, ssl.SSLError):
                pass
