"""Sessions of docs/: the blocks ```console of a page are run, and what the page shows is what comes out.

A line "$ …" is a command; it goes on in the next line as long as a line ends in a backslash or a here-document is open. What follows up
to the next "$ " is its output. A line "…" stands for any lines, "…" within one for any text. Times, ids, addresses and sizes may differ.
DOCS=write puts what came out into the page.
"""
import os
import re
import subprocess

from lib.relay import BINARY, TREE, USER

ROOT = "/var/lib/mailroot"
VARYING = [  # what differs from run to run, in both texts
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"), (r"\b1a[0-9a-f]{14}\b", "ID"), (r"\[?\b\d+\.\d+\.\d+\.\d+\]?:\d+\b", "HOST:PORT"),
    (r"\b\d+\.\d+\.\d+\.\d+\b", "HOST"), (r"\b\d+ ms\b", "N ms"), (r"\b\d+ octets\b", "N octets"), (r"\bby \w[\w-]*,", "by USER,"),
    (r"\b[0-9a-f]{13}-[0-9a-f]+-[0-9a-f]{16}\.eml", "NAME.eml"),
    (r"kept for \d+ s", "kept for N s"), (r"\b[0-9a-f]{32}\b", "TRACE"), (r"\b[0-9a-f]{16}\b", "SPAN"),
]


def blocks(page):
    """(start, end) of the text within each console block."""
    return [match.span(1) for match in re.finditer(r"^```console\n(.*?)^```$", page, re.M | re.S)]


def parse(text):
    """[(command, output)] of a block."""
    steps, lines = [], text.splitlines()
    while lines:
        line = lines.pop(0)
        assert line.startswith("$ "), f"a command was expected: {line}"
        command = [line[2:]]
        end = re.search(r"<<'?(\w+)'?", line)
        while command[-1].endswith("\\") or (end and command[-1] != end.group(1)):
            command.append(lines.pop(0))
        output = []
        while lines and not lines[0].startswith("$ "):
            output.append(lines.pop(0))
        steps.append(("\n".join(command), output))
    return steps


def plain(text):
    for regex, word in VARYING:
        text = re.sub(regex, word, text)
    return text


def fits(shown, came):
    """Whether the lines of the page describe what came; "…" is anything."""
    pattern = "".join(r"(?:.*\n)*" if line.strip() == "…" else re.escape(plain(line)).replace("…", ".*") + r"\n" for line in shown)
    return re.fullmatch(pattern, "".join(plain(line) + "\n" for line in came)) is not None


class Session:
    """Runs pages against one relay; `hosts` are {address of the test: as the page shows it}."""

    def __init__(self, relay, folder, hosts):
        self.relay, self.folder, self.hosts = relay, folder, hosts
        (folder / "bin").mkdir()
        wrapper = folder / "bin" / "mailroot"
        wrapper.write_text(f'#!/bin/sh\ncommand=$1; shift\nexec "{BINARY}" "$command" -c "{relay.config_file}" "$@"\n')
        wrapper.chmod(0o755)
        (folder / "bin" / "sendmail").symlink_to(BINARY)
        self.environment = dict(relay.environment, PATH=f"{folder}/bin:{os.environ['PATH']}:/usr/sbin", TZ="UTC", MAILROOT_CONFIG=str(relay.config_file))

    def real(self, text):
        text = text.replace("-o mailroot -g mailroot", f"-o {USER} -g $(id -gn {USER})")
        return text.replace(ROOT, str(self.relay.root)).replace("/etc/mailroot/mailroot.conf", str(self.relay.config_file))

    def shown(self, text):
        text = text.replace(str(self.relay.root), ROOT).replace(str(self.relay.config_file), "/etc/mailroot/mailroot.conf")
        for host, name in self.hosts.items():
            text = re.sub(rf"{re.escape(host)}:\d+", f"{name}:25", text).replace(host, name)
        return text

    def run(self, command):
        done = subprocess.run(["bash", "-c", self.real(command)], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
        return [line.rstrip() for line in self.shown(done.stdout.decode(errors="replace")).splitlines()]

    def check(self, name):
        """Runs the page's blocks."""
        path = TREE / "docs" / name
        page, wrong, pieces, at = path.read_text(), [], [], 0
        for start, end in blocks(page):
            told = ""
            for command, output in parse(page[start:end]):
                came = self.run(command)
                is_fine = fits(output, came)
                if not is_fine:
                    wrong.append(f"{name}: $ {command}\n--- the page\n" + "\n".join(output) + "\n--- came\n" + "\n".join(came))
                told += "".join(line + "\n" for line in [f"$ {command}", *(output if is_fine else came)])
            pieces += [page[at:start], told]
            at = end
        if os.environ.get("DOCS") == "write":
            path.write_text("".join(pieces) + page[at:])
        else:
            assert not wrong, "\n\n".join(wrong)
