"""A web server for MTA-STS policies: one address for all domains, each with a certificate of its own by SNI."""
import http.server
import ssl
import threading

from lib.ports import MX_PORT, loopback


class PolicyServer:
    """`answers` maps a host to (status, content type, body, further headers)."""

    def __init__(self, port=MX_PORT):
        self.address, self.port = loopback(), port
        self.answers, self.contexts, self.asked = {}, {}, []
        self.posted = []  # (path, content type, body)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                host = self.headers["Host"].split(":")[0]
                outer.asked.append((host, self.path))
                status, kind, body, headers = outer.answers.get(host, (404, "text/plain", "gone", {}))
                data = body.encode()
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self):
                outer.posted.append((self.path, self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(outer.answers.get(self.headers["Host"].split(":")[0], (404,))[0])
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that doesn't like our certificate

        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self._choose
        self.server = Server((self.address, self.port), Handler)
        self.is_wrapped = False

    def _choose(self, sock, name, _):
        if name in self.contexts:
            sock.context = self.contexts[name]

    def add(self, host, certificate, answer):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.contexts[host], self.answers[host] = context, answer
        if not self.is_wrapped:
            self.is_wrapped = True
            self.context.load_cert_chain(*certificate)
            self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True)
            threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
