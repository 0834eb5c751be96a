"""A self-signed certificate for the servers of this test run."""
import functools
import os
import ssl
import subprocess
import tempfile


@functools.lru_cache(maxsize=1)
def certificate():
    """(certificate file, key file)."""
    folder = tempfile.mkdtemp(prefix="mailroot-tls-")
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=mx.test", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    return cert, key


@functools.lru_cache(maxsize=1)
def server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate())
    return context
