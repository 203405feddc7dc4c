#!/usr/bin/env python3
"""Turns ops/migrations/NNNN_name.sql into a C table, whole and byte for byte.

usage: migrations2c.py OUTPUT.c FOLDER
"""
import os
import sys


def c_string(text: str) -> str:
    out = []
    for line in text.splitlines(keepends=True):
        escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        # Three-character sequences that start with ?? would be trigraphs to an old compiler.
        out.append('    "' + escaped.replace("??", '?""?') + '"')
    return "\n".join(out) if out else '    ""'


def main() -> int:
    if len(sys.argv) != 3:
        sys.stderr.write(__doc__)
        return 2
    output, folder = sys.argv[1:]
    names = sorted(n for n in os.listdir(folder) if n.endswith(".sql") and n[:1].isdigit())
    parts = ['#include "ops/cli/migrations.h"', "", "const struct migration migrations[] = {"]
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as f:
            parts.append(f'    {{"{name[:-4]}",\n{c_string(f.read())}}},')
    parts += ["};", f"const size_t n_migrations = {len(names)};", ""]
    text = "\n".join(parts)
    if not os.path.exists(output) or open(output, encoding="utf-8").read() != text:
        with open(output, "w", encoding="utf-8") as f:
            f.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
