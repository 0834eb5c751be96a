"""An OAuth 2.0 server on loopback, speaking what RFC 6749, 7636 and 8628 say, and telling Dovecot whose a token is."""
import base64
import hashlib
import http.server
import json
import secrets
import ssl
import threading
import urllib.parse

from lib.ports import free_port
from lib.submission import USER

CLIENT, CLIENT_SECRET = "client-id-1", "canary-client-secret"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that doesn't like our certificate


class TokenServer:
    """`life` of access tokens in seconds; `rotates`: each refresh token is for one use. `answer`: (status, object) instead of all."""

    def __init__(self, certificate, life=3600, rotates=False):
        self.life, self.rotates, self.answer = life, rotates, None
        self.refresh_tokens, self.access_tokens = set(), set()
        self.devices, self.codes = {}, {}
        self.asked = []
        self.lock = threading.Lock()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.port, self.info_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        self.info_url = f"http://127.0.0.1:{self.info_port}/info?access_token="
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def give(self, status, answer, headers=()):
                data = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in [("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = dict(urllib.parse.parse_qsl(body, strict_parsing=True, keep_blank_values=True))
                with outer.lock:
                    outer.asked.append((self.path, form))
                    self.give(*(outer.answer or outer.post(self.path, form)))

            def do_GET(self):
                path, _, query = self.path.partition("?")
                form = dict(urllib.parse.parse_qsl(query))
                with outer.lock:
                    if path == "/info":
                        is_good = form.get("access_token") in outer.access_tokens
                        self.give(200 if is_good else 401, {"email": USER, "active": "true"} if is_good else {"error": "invalid_token"})
                    elif path == "/authorize":
                        outer.asked.append((path, form))
                        self.give(302, {}, [("Location", outer.authorize(form))])
                    else:
                        self.give(404, {})

            def log_message(self, *arguments):
                pass

        self.servers = [_Server(("127.0.0.1", self.port), Handler), _Server(("127.0.0.1", self.info_port), Handler)]
        self.servers[0].socket = context.wrap_socket(self.servers[0].socket, server_side=True)
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def new_refresh_token(self):
        token = "canary-refresh-" + secrets.token_urlsafe(300)
        self.refresh_tokens.add(token)
        return token

    def grant(self, with_refresh):
        token = "canary-access-" + secrets.token_urlsafe(1200)  # as long as Microsoft's
        self.access_tokens.add(token)
        answer = {"token_type": "Bearer", "expires_in": self.life, "access_token": token}
        if with_refresh:
            answer["refresh_token"] = self.new_refresh_token()
        return 200, answer

    def revoke(self):
        """The user takes consent back."""
        with self.lock:
            self.refresh_tokens.clear()
            self.access_tokens.clear()

    def expire(self):
        with self.lock:
            self.access_tokens.clear()

    def authorize(self, form):
        code = secrets.token_urlsafe(20)
        self.codes[code] = form
        return f"{form['redirect_uri']}?" + urllib.parse.urlencode({"code": code, "state": form["state"]})

    def post(self, path, form):
        if form.get("client_id") != CLIENT:
            return 401, {"error": "invalid_client"}
        if path == "/devicecode":
            self.devices[form_code := secrets.token_urlsafe(20)] = None
            return 200, {"device_code": form_code, "user_code": "ABCD-EFGH", "verification_uri": f"{self.url}/device",
                         "expires_in": 900, "interval": 1}
        kind = form.get("grant_type")
        if kind == "refresh_token":
            if form.get("refresh_token") not in self.refresh_tokens:
                return 400, {"error": "invalid_grant", "error_description": f"revoked: {form.get('client_secret')}\r\nTrace: 1"}
            if self.rotates:
                self.refresh_tokens.discard(form["refresh_token"])
            return self.grant(self.rotates)
        if kind == "client_credentials":
            if form.get("client_secret") != CLIENT_SECRET:
                return 401, {"error": "invalid_client", "error_description": f"wrong secret {form.get('client_secret')}"}
            return self.grant(False)
        if kind == "urn:ietf:params:oauth:grant-type:device_code":
            if form.get("device_code") not in self.devices:
                return 400, {"error": "expired_token"}
            verdict = self.devices[form["device_code"]]
            return self.grant(True) if verdict == "yes" else (400, {"error": verdict or "authorization_pending"})
        if kind == "authorization_code":
            asked = self.codes.pop(form.get("code"), None)
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if (not asked or asked["redirect_uri"] != form.get("redirect_uri") or asked.get("code_challenge_method") != "S256"
                    or asked.get("code_challenge") != base64.urlsafe_b64encode(digest).decode().rstrip("=")):
                return 400, {"error": "invalid_grant"}
            return self.grant(True)
        return 400, {"error": "unsupported_grant_type"}

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
