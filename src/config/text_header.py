"""Writes a C header that holds a text file as one string: text_header.py IN OUT NAME."""
import pathlib
import sys

text, header, name = sys.argv[1:]
lines = pathlib.Path(text).read_text(encoding="ascii").splitlines()
body = "\n".join('    "%s\\n"' % line.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") for line in lines)
pathlib.Path(header).write_text(f"static const char {name}[] =\n{body};\n", encoding="ascii")
