"""The SMTP listener under test, and a client that says exactly what it is told."""
import re
import socket
import ssl

from lib.ports import free_port, loopback
from lib.tls import certificate

STRANGER = loopback()  # an address that may not relay
FRIEND = "127.0.0.1"
PASSWORD = "secretpassword"


def listener(users=None, listen=(), tls=True, **changes):
    """(config, {name: port}) of a listener on ports for mail, submission and TLS."""
    ports = {name: free_port() for name in ("mail", "submission", "tls")}
    places = [f"127.0.0.1:{ports['mail']}"]
    smtp = {"relay_networks": [FRIEND], "domains": ["ours.test"], "greet_pause": "0ms", "tarpit": "0ms"}
    if tls:
        smtp["tls_cert"], smtp["tls_key"] = certificate()
    if users:
        smtp["users"] = str(users)
        places += [f"127.0.0.1:{ports['submission']}/starttls/auth", f"127.0.0.1:{ports['tls']}/tls"]
    elif tls:
        places.append(f"127.0.0.1:{ports['tls']}/tls")
    smtp["listen"] = places + list(listen)
    smtp.update(changes)
    return {"smtp": smtp}, ports


class Talk:
    """One connection; say() returns the last line of the reply, or None when the server is gone."""

    def __init__(self, port, source=FRIEND, tls=False, greeting=True, address="127.0.0.1"):
        self.socket = socket.create_connection((address, port), 20, (source, 0))
        self.data = b""
        if tls:
            self.secure()
        self.greeting = self.reply() if greeting else None

    def secure(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def send(self, data):
        try:
            self.socket.sendall(data if isinstance(data, bytes) else data.encode())
        except OSError:
            pass  # the reply, or its absence, tells

    def line(self):
        while b"\n" not in self.data:
            try:
                more = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                more = b""
            if not more:
                return None
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        assert line.endswith(b"\r"), line
        return line[:-1].decode()

    def reply(self):
        """The last line of the next reply; all its lines are in self.lines."""
        self.lines = []
        while True:
            line = self.line()
            if line is None:
                return None
            self.lines.append(line)
            if re.match(r"\d{3} ", line):
                return line

    def say(self, text, end="\r\n"):
        self.send((text if isinstance(text, bytes) else text.encode()) + end.encode())
        return self.reply()

    def codes(self, *texts):
        """The codes of the replies to these, as a list."""
        return [int((self.say(text) or "0")[:3]) for text in texts]

    def envelope(self, to="user@ours.test", helo="EHLO me"):
        assert self.codes(helo, "MAIL FROM:<a@x.test>", f"RCPT TO:<{to}>", "DATA") == [250, 250, 250, 354]

    def is_closed(self):
        """Whether the server ends the connection; what it still says is dropped."""
        while self.line() is not None:
            pass
        return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
