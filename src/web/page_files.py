"""Writes a C header that holds each file as a string: page_files.py OUT.h FILE…; admin.html is admin_html."""
import pathlib
import re
import sys

out, *files = sys.argv[1:]
parts = []
for file in map(pathlib.Path, files):
    lines = [line.replace("\\", "\\\\").replace('"', '\\"') for line in file.read_text().splitlines()]
    name = re.sub(r"\W", "_", file.name)
    parts.append(f"static const char {name}[] =\n" + "\n".join(f'    "{line}\\n"' for line in lines) + ";\n")
pathlib.Path(out).write_text("".join(parts))
