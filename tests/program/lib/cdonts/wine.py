"""Wine with cdonts.dll built by mingw-w64 and registered, as a Windows Server would have it."""
import os
import pathlib
import re
import shutil
import subprocess

TREE = pathlib.Path(__file__).resolve().parents[4]
WINE32 = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "mailroot-check/wine32"  # see the script wine32


class Wine:
    """A prefix of its own; scripts are run with cscript."""

    def __init__(self, folder):
        for program in ("wine", "x86_64-w64-mingw32-gcc", "i686-w64-mingw32-gcc"):
            assert shutil.which(program), f"{program} is missing: ./check installs it; without it Windows is NOT tested"
        self.folder = folder
        self.environment = dict(os.environ, WINEPREFIX=str(folder / "prefix"), WINEDEBUG="-all", DISPLAY="",
                                WINEDLLOVERRIDES="mscoree,mshtml=")
        self.environment.pop("LD_PRELOAD", None)
        if (WINE32 / "i386-windows").is_dir():
            self.environment["WINEDLLPATH"] = str(WINE32)
        subprocess.run([TREE / "src/cdonts/windows/build", folder], check=True, capture_output=True, timeout=120)
        self._run("wineboot", "-i")
        windows = folder / "prefix/drive_c/windows"
        self.bits = [64]
        shutil.copy(folder / "cdonts64.dll", windows / "system32/cdonts.dll")
        self._run("regsvr32", "/s", "C:\\windows\\system32\\cdonts.dll")
        if (windows / "syswow64/cscript.exe").exists():  # Debian's wine32, or the libraries of WINE32 in WoW64 mode
            self.bits.append(32)
            shutil.copy(folder / "cdonts32.dll", windows / "syswow64/cdonts.dll")
            self._run("C:\\windows\\syswow64\\regsvr32.exe", "/s", "C:\\windows\\syswow64\\cdonts.dll")

    def _run(self, *command, **more):
        return subprocess.run(["wine", *command], env=dict(self.environment, **more), capture_output=True, timeout=120, check=False,
                              cwd=self.folder, stdin=subprocess.DEVNULL)

    def script(self, name, text, *arguments, pickup, bits=64, check=True):
        """What cscript prints. Scripts are pure ASCII: what an ANSI code page would make of others is no matter here."""
        (self.folder / name).write_bytes(re.sub(r"\r?\n", "\r\n", text).encode("ascii"))
        host = ["cscript"] if bits == 64 else ["C:\\windows\\syswow64\\cscript.exe"]
        done = self._run(*host, "//nologo", name, *arguments, MAILROOT_PICKUP="Z:" + str(pickup).replace("/", "\\"))
        output = done.stdout.decode(errors="replace").replace("\r\n", "\n")
        assert not check or done.returncode == 0, (name, done.returncode, output, done.stderr[-1000:])
        return output

    def close(self):
        subprocess.run(["wineserver", "-k"], env=self.environment, check=False, capture_output=True, timeout=60)
