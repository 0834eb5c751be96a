"""Writes a C header that holds an SQL file as one string: sql_header.py IN.sql OUT.h NAME."""
import pathlib
import sys

sql, header, name = sys.argv[1:]
lines = [line.split("--")[0].rstrip() for line in pathlib.Path(sql).read_text().splitlines()]
text = "\n".join('    "%s\\n"' % line.replace("\\", "\\\\").replace('"', '\\"') for line in lines if line)
pathlib.Path(header).write_text(f"static const char {name}[] =\n{text};\n")
