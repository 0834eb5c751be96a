"""Chromium through playwright-core: one script of node a test, its last line as JSON."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
MODULES = pathlib.Path(os.environ.get("NODE_PATH", HERE.parents[2] / "build-check" / "node" / "node_modules"))
CHROMIUM = shutil.which("chromium")

needs_browser = pytest.mark.skipif(not CHROMIUM or not (MODULES / "playwright-core").exists(),
                                   reason="chromium and npm's playwright-core are needed; ./check installs them")


def browse(script, *arguments, seconds=120):
    done = subprocess.run(["node", str(HERE / script), CHROMIUM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=seconds, env={**os.environ, "NODE_PATH": str(MODULES)}, check=False)
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
