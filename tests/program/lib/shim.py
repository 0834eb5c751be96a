"""tests/faults/shim.c in front of a relay: calls that fail, a clock that is set."""
import importlib.util
import pathlib
import re
import subprocess
import tempfile

from lib.relay import BINARY

FAULTS = pathlib.Path(__file__).resolve().parents[2] / "faults"
_spec = importlib.util.spec_from_file_location("faults_orders", FAULTS / "lib" / "orders.py")
orders_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(orders_module)


class Shim:
    """`environment` for the relay, and `orders` that change what it sees while it runs."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mailroot-shim-")
        library = pathlib.Path(self.folder.name, "libshim.so")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-w", "-D_GNU_SOURCE", "-U_FORTIFY_SOURCE", "-fno-builtin", "-o", library,
                        FAULTS / "shim.c"], check=True)
        self.orders = orders_module.Orders(pathlib.Path(self.folder.name, "orders"))
        self.orders.write(clock_scale=1)
        needs = subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout
        sanitizer = re.search(r"libasan\S* => (\S+)", needs)
        self.environment = {
            "LD_PRELOAD": f"{library} {sanitizer.group(1)}" if sanitizer else str(library),
            "FAULTS_ORDERS": str(self.orders.path),
            "ASAN_OPTIONS": "abort_on_error=1:use_sigaltstack=0:verify_asan_link_order=0"}
        pathlib.Path(self.folder.name).chmod(0o755)
        self.orders.path.chmod(0o666)

    def close(self):
        self.orders.close()
        self.folder.cleanup()
