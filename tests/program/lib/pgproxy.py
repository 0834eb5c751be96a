"""A proxy in front of a real PostgreSQL that reads what clients say: it can cut a connection at a transaction's COMMIT, and can make
the server look like one that lacks something (protocol 3.0, as in PostgreSQL's manual, "Message Formats")."""
import collections
import socket
import struct
import threading

from lib.ports import free_port

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104


class Cut(Exception):
    pass


def read_exactly(stream, size):
    data = stream.read(size)
    if len(data) < size:
        raise Cut
    return data


def read_message(stream):
    kind, size = struct.unpack("!ci", read_exactly(stream, 5))
    return kind, read_exactly(stream, size - 4)


def write_message(connection, kind, body):
    connection.sendall(kind + struct.pack("!i", len(body) + 4) + body)


def text_of(body):
    """The first two C strings of a body."""
    first, second, _ = body.split(b"\0", 2)
    return first, second


class Session:
    """One client's connection."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.server = socket.create_connection(proxy.to)
        self.said, self.answered = client.makefile("rb"), self.server.makefile("rb")
        for end in (client, self.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.names = {}         # prepared statements
        self.transaction = []   # texts since BEGIN
        self.is_withheld = False
        for pump in (self.from_client, self.from_server):
            threading.Thread(target=self.run, args=(pump,), daemon=True).start()

    def run(self, pump):
        try:
            pump()
        except (Cut, OSError):
            pass
        self.cut()

    def cut(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def startup(self):
        while True:
            size = struct.unpack("!i", read_exactly(self.said, 4))[0]
            body = read_exactly(self.said, size - 4)
            if struct.unpack("!i", body[:4])[0] not in (SSL_REQUEST, GSS_REQUEST):
                self.server.sendall(struct.pack("!i", size) + body)
                return
            self.client.sendall(b"N")

    def from_client(self):
        self.startup()
        while True:
            kind, body = read_message(self.said)
            self.proxy.counts[kind] += 1
            if kind in b"PQ":
                for old, new in self.proxy.instead.items():
                    self.proxy.replaced += body.count(old)
                    body = body.replace(old, new)
            if kind == b"P":
                name, text = text_of(body)
                self.names[name] = text
            if kind == b"B":
                text = self.names[text_of(body)[1]]
                self.transaction = [text] if text.startswith(b"BEGIN") else [*self.transaction, text]
                self.proxy.heard(text)
                self.proxy.stop_at(text)
                if text == b"COMMIT" and self.proxy.takes(self.transaction):
                    self.commit(kind, body)
                    continue
            write_message(self.server, kind, body)

    def commit(self, kind, body):
        """The Bind of the COMMIT that is to be cut; Execute and Sync follow it."""
        how = self.proxy.how
        self.is_withheld = how != "before"
        if how == "before":
            raise Cut
        if how == "after":
            write_message(self.server, kind, body)
            return  # from_server() cuts when it has been answered
        self.client.shutdown(socket.SHUT_RDWR)
        if how == "late":
            self.proxy.is_asked.wait(20)
            write_message(self.server, kind, body)
            write_message(self.server, b"E", b"\0" + struct.pack("!i", 0))
            write_message(self.server, b"S", b"")
        self.proxy.is_over.wait()  # the server ends it

    def from_server(self):
        while True:
            kind, body = read_message(self.answered)
            if not self.is_withheld:
                write_message(self.client, kind, body)
            elif kind == b"C" and body == b"COMMIT\0":
                self.proxy.committed += 1
                raise Cut


class PostgresProxy:
    """`url` is the way through it. cut_at(): the next `count` transactions one of whose statements begins so are cut at their COMMIT:

    before  it never reaches the server            after   the server has done it, the answer is lost
    late    it reaches the server behind the client's question on another connection
    never   the server waits for it, with all locks: the connection stays open for it, silent"""

    def __init__(self, database, instead=None):
        self.to, self.instead = (database.address, database.port), instead or {}
        self.port, self.replaced = free_port(), 0
        self.url = f"postgresql://mailroot@127.0.0.1:{self.port}/postgres"
        self.lock = threading.Lock()
        self.marker, self.left, self.how, self.cuts, self.committed = None, 0, None, 0, 0
        self.is_asked, self.is_over = threading.Event(), threading.Event()
        self.stopper, self.stopped, self.may_go_on = None, 0, threading.Event()
        self.sessions, self.counts = [], collections.Counter()  # of messages by their kinds: B statements, S round trips
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client = self.listener.accept()[0]
                self.sessions.append(Session(self, client))
            except ConnectionRefusedError:
                client.close()  # the server is away
            except OSError:
                return

    def cut_at(self, marker, how, count=1):
        with self.lock:
            self.marker, self.how, self.left = marker.encode(), how, count

    def takes(self, transaction):
        with self.lock:
            if not self.left or not any(text.startswith(self.marker) for text in transaction):
                return False
            self.left -= 1
            self.is_asked.clear()
            self.cuts += 1
            return True

    def heard(self, text):
        """What waits for a transaction whose answer was lost: the question about it, the renewal in front of a claim's."""
        if text.startswith((b"SELECT batch FROM slot", b"UPDATE node SET expires_ms")):
            self.is_asked.set()

    def stop(self, marker):
        """A statement that begins so goes no further, as if the server took its time, until go_on()."""
        self.may_go_on.clear()
        self.stopper = marker.encode()

    def go_on(self):
        self.stopper = None
        self.may_go_on.set()

    def stop_at(self, text):
        if self.stopper and text.startswith(self.stopper):
            with self.lock:
                self.stopped += 1
            self.may_go_on.wait(60)

    def close(self):
        self.is_over.set()
        self.go_on()
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread, which would else take a later socket's connection
        self.listener.close()
        for session in self.sessions:
            session.cut()
