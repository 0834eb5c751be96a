"""Zones signed with ldns-signzone: a root that the relay trusts, and delegated zones that are signed or not."""
import base64
import hashlib
import pathlib
import shutil
import subprocess
import tempfile

from lib.names import NameServer


def tool(*arguments, folder):
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout.strip()


class SignedNameServer(NameServer):
    """nsd with a signed root; names under a zone of `insecure` are delegated without DS.

    `spoil` is called with the signed root zone's text and returns what is served: the way to bogus answers.
    """

    def __init__(self, records=None, insecure=(), broken=(), spoil=None):
        self.insecure = list(insecure)
        self.spoil = spoil or (lambda text: text)
        self.keys = pathlib.Path(tempfile.mkdtemp(prefix="mailroot-keys-"))
        self.key = tool("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", ".", folder=self.keys)
        self.anchor = self.keys / f"{self.key}.key"
        self.keys.chmod(0o755)
        super().__init__(records, broken)

    def _zone_of(self, name):
        return next((zone for zone in self.insecure if name == zone or name.endswith("." + zone)), "")

    def _write(self):
        zones = {zone: [f"{zone}. 60 SOA ns.test. root.test. 1 60 60 600 5", f"{zone}. 60 NS ns.test."]
                 for zone in self.insecure}
        root = [". 60 SOA ns.test. root.test. 1 60 60 600 5", ". 60 NS ns.test.", "ns.test. 60 A 127.0.0.1"]
        root += [f"{zone}. 60 NS ns.test." for zone in [*self.insecure, *self.broken]]
        for name, answers in self.records.items():
            zones.get(self._zone_of(name), root).extend(f"{name.rstrip('.')}. 60 {answer}" for answer in answers)
        super()._write()
        (self.folder / "root.zone").write_text("\n".join(root) + "\n")
        tool("ldns-signzone", "-o", ".", "-f", "signed", "root.zone", str(self.keys / self.key), folder=self.folder)
        (self.folder / "root.zone").write_text(self.spoil((self.folder / "signed").read_text()))
        config = self.folder / "nsd.conf"
        text = config.read_text()
        for number, (zone, lines) in enumerate(zones.items()):
            (self.folder / f"zone{number}").write_text("\n".join(lines) + "\n")
            text += f'zone:\n  name: "{zone}"\n  zonefile: "zone{number}"\n'
        config.write_text(text)

    def close(self):
        super().close()
        shutil.rmtree(self.keys, ignore_errors=True)


class Authority:
    """A CA of its own. certificate(name) makes a (chain, key) pair; a chain holds the CA's certificate too."""

    def __init__(self, folder=None):
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="mailroot-ca-"))
        self.folder.chmod(0o755)
        self.count = 0
        self.file, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                      "-subj", "/CN=Test authority", "-keyout", self.key, "-out", self.file)

    def _openssl(self, *arguments, input=None):
        done = subprocess.run(["openssl", *map(str, arguments)], input=input, capture_output=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def certificate(self, name, expired=False, self_signed=False):
        self.count += 1
        base = self.folder / f"c{self.count}"
        key, request, file = base.with_suffix(".key"), base.with_suffix(".csr"), base.with_suffix(".pem")
        self._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                      f"/CN={name}"[:64], "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", request)
        signer = ["-signkey", key] if self_signed else ["-CA", self.file, "-CAkey", self.key, "-CAcreateserial"]
        # A life in the past: x509 counts days from now, also backwards.
        self._openssl("x509", "-req", "-in", request, *signer, "-days", "-1" if expired else "30", "-copy_extensions",
                      "copyall", "-out", file)
        if not self_signed:
            file.write_bytes(file.read_bytes() + self.file.read_bytes())
        return str(file), str(key)

    def der(self, file):
        return self._openssl("x509", "-in", file, "-outform", "DER")

    def tlsa(self, file, usage, selector, matching):
        """The record's data for the first certificate of a file."""
        data = self.der(file)
        if selector == 1:
            pem = self._openssl("x509", "-in", file, "-noout", "-pubkey")
            data = base64.b64decode(b"".join(pem.splitlines()[1:-1]))
        digest = {0: lambda d: d, 1: lambda d: hashlib.sha256(d).digest(), 2: lambda d: hashlib.sha512(d).digest()}
        return f"TLSA {usage} {selector} {matching} {digest[matching](data).hex()}"

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

