"""An endpoint of webhooks: an HTTP server that keeps what it is sent, answers as it is told and checks signatures."""
import base64
import hashlib
import hmac
import http.server
import json
import ssl
import threading

from lib.watch import wait_until


class Endpoint:
    """`answer(event, count)` gives the status for the count-th request with that webhook-id; 200 if it is None."""

    def __init__(self, secret=b"a secret of the test", answer=None, tls=None, port=0):
        self.secret, self.answer, self.lock = secret, answer or (lambda event, count: 200), threading.Lock()
        self.requests, self.counts, self.at_once, self.most_at_once = [], {}, 0, 0
        self.headers, self.body = {}, b""  # of the answers
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = endpoint.take(self.headers, body)
                self.send_response(status)
                for name, value in endpoint.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(endpoint.body)))
                self.end_headers()
                self.wfile.write(endpoint.body)
                endpoint.done()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", port), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def check(self, headers, body):
        """Standard Webhooks 1.0: the signature is over id, timestamp and body."""
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        wanted = base64.b64encode(hmac.new(self.secret, content, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{wanted}", dict(headers)

    def take(self, headers, body):
        self.check(headers, body)
        event = json.loads(body)
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            name = headers["webhook-id"]
            self.counts[name] = self.counts.get(name, 0) + 1
            status = self.answer(event, self.counts[name])
            self.requests.append({"id": name, "status": status, **event})
        return status

    def done(self):
        with self.lock:
            self.at_once -= 1

    def taken(self):
        """What was answered with 200, in order."""
        with self.lock:
            return [request for request in self.requests if request["status"] == 200]

    def wait(self, count, seconds=60, what=None):
        """Until so many requests (or of those `what` chooses) were answered with 200."""
        chosen = what or (lambda request: True)
        wait_until(lambda: len([request for request in self.taken() if chosen(request)]) >= count, seconds, what=f"{count} events taken")
        return self.taken()
