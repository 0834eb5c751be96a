"""Name servers: a stock nsd with zones made from dicts, and a scripted one for answers no stock server gives."""
import pathlib
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset

from lib.ports import free_port
from lib.watch import wait_until


class NameServer:
    """nsd, authoritative for the root, so that every name it is not told of does not exist.

    NameServer({"example.test": ["MX 10 mx.example.test."], "mx.example.test": ["A 127.0.0.2"]})
    Names in `broken` are zones without data: nsd answers SERVFAIL for them.
    """

    def __init__(self, records=None, broken=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-nsd-"))
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.records = dict(records or {})
        self.broken = list(broken)
        self.process = None
        self.start()

    def _write(self):
        zone = [". 60 SOA ns.test. root.test. 1 60 60 600 5", ". 60 NS ns.test.", "ns.test. 60 A 127.0.0.1"]
        for name, answers in self.records.items():
            zone += [f"{name.rstrip('.')}. 60 {answer}" for answer in answers]
        (self.folder / "root.zone").write_text("\n".join(zone) + "\n")
        config = f"""server:
  ip-address: 127.0.0.1@{self.port}
  server-count: 1
  username: ""
  zonesdir: "{self.folder}"
  database: ""
  pidfile: ""
  logfile: "{self.folder}/log"
  zonelistfile: "{self.folder}/zone.list"
  xfrdfile: "{self.folder}/xfrd.state"
  xfrdir: "{self.folder}"
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: "."
  zonefile: "root.zone"
"""
        for name in self.broken:
            config += f'zone:\n  name: "{name}"\n  zonefile: "no-such-file"\n'
        (self.folder / "nsd.conf").write_text(config)

    def start(self):
        self._write()
        self.process = subprocess.Popen([shutil.which("nsd") or "/usr/sbin/nsd", "-d", "-c", self.folder / "nsd.conf"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        wait_until(self._answers, 15, what="an answer of nsd", check=self._check)

    def _check(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()

    def _answers(self):
        query = dns.message.make_query("ns.test.", "A")
        try:
            return dns.query.udp(query, "127.0.0.1", port=self.port, timeout=0.2).answer
        except (dns.exception.DNSException, OSError):
            return None

    def update(self, records):
        """Other records from now on (a restart on the same port)."""
        self.records.update(records)
        self.stop()
        self.start()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def answer(query, *records, rcode=dns.rcode.NOERROR):
    """A response with the given records ("name type data")."""
    response = dns.message.make_response(query, recursion_available=True)
    response.set_rcode(rcode)
    for record in records:
        name, kind, data = record.split(" ", 2)
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, data))
    return response


class ScriptedNameServer:
    """Answers by a function: handler(name, type, query, is_tcp) -> response | bytes | None for silence."""

    def __init__(self, handler):
        self.handler = handler
        self.asked = []
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        outer = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self):
                data, sock = self.request
                reply = outer._reply(data, False)
                if reply is not None:
                    sock.sendto(reply, self.client_address)

        class Tcp(socketserver.BaseRequestHandler):
            def handle(self):
                size = int.from_bytes(self.request.recv(2, socket.MSG_WAITALL), "big")
                reply = outer._reply(self.request.recv(size, socket.MSG_WAITALL), True) if size else None
                if reply is not None:
                    self.request.sendall(len(reply).to_bytes(2, "big") + reply)

        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.servers = [socketserver.ThreadingUDPServer(("127.0.0.1", self.port), Udp),
                        socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Tcp)]
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _reply(self, data, is_tcp):
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, is_tcp))
        reply = self.handler(name, kind, query, is_tcp)
        return reply.to_wire(max_size=65535) if isinstance(reply, dns.message.Message) else reply

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
