"""Free loopback addresses and ports.

Mail exchangers of one test differ by address and share a port, as in the world outside: each takes the next address
of 127.0.0.0/8, so that tests never meet each other's servers.
"""
import itertools
import os
import socket

_hosts = itertools.count(2)


def loopback():
    """A loopback address that no other server of this test run uses."""
    number = next(_hosts)
    return f"127.{1 + os.getpid() % 200}.{number // 250}.{1 + number % 250}"


def free_port(address="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def has_ipv6():
    try:
        free_port("::1")
    except OSError:
        return False
    return True


def _mx_port():
    """A port below the kernel's range for outgoing connections, so that none of those is ever in the way."""
    start = 10000 + os.getpid() % 20000
    for port in range(start, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


MX_PORT = _mx_port()  # of every mail server of this test run; they differ by address
