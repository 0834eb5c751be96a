"""The web process from outside: requests as bytes or by http.client, and mails read back."""
import email
import email.policy
import http.client
import json
import socket
import urllib.parse

from lib.ports import free_port


def web_config(changes=None):
    """The config's section web, on a free port."""
    port = free_port()
    return {"enabled": True, "listen": f"127.0.0.1:{port}", "posts_per_minute": 0, **(changes or {})}


class Web:
    """What a relay with a section web answers."""

    def __init__(self, relay):
        self.relay = relay
        self.port = int(relay.config["web"]["listen"].rsplit(":", 1)[1])
        relay._wait(self.is_open, "the web process", 20)

    def is_open(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def ask(self, method, path, body=None, headers=None):
        """(status, headers, body) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.ask("GET", path, headers=headers)

    def post(self, path, fields, headers=None, charset="utf-8"):
        body = fields if isinstance(fields, bytes) else urllib.parse.urlencode(fields, encoding=charset).encode()
        return self.ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})})

    def raw(self, data, what="", seconds=20):
        """All that comes back for these bytes, until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as client:
            client.sendall(data)
            answer = b""
            try:
                while more := client.recv(65536):
                    answer += more
            except ConnectionResetError:
                pass
            except TimeoutError:
                raise AssertionError(f"{what}: neither answered nor closed: {answer[:300]}") from None
            return answer

    def token(self):
        return (self.relay.root / "web.token").read_text().strip()

    def api(self, method, path, data=None, headers=None, token=None):
        body = None if data is None else json.dumps(data).encode()
        status, _, text = self.ask(method, path, body, {
            "Authorization": f"Bearer {token or self.token()}", "Content-Type": "application/json", **(headers or {})})
        return status, json.loads(text) if text.strip() else None


def read_mail(data):
    return email.message_from_bytes(data, policy=email.policy.default)
