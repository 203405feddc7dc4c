#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The comments of our .proto files as a C table for the AsyncAPI document.

usage: comments2c.py OUTPUT.c FILE.proto...

A comment belongs to the message, enum or field whose line follows it. protobuf-c's descriptors know none.
"""
import json
import re
import sys
from pathlib import Path

OPENS = re.compile(r"\s*(message|enum|oneof)\s+(\w+)\s*\{")
FIELD = re.compile(r"\s*(?:optional\s+|repeated\s+)?(?:map\s*<[^>]+>|[\w.]+)\s+(\w+)\s*=\s*\d+")


def comments(text):
    """(full name, comment) of everything that has one."""
    package = re.search(r"^package\s+([\w.]+);", text, re.M)[1]
    path, block = [package], []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("//"):
            block.append(stripped[2:].strip())
            continue
        opens, field = OPENS.match(line), FIELD.match(line)
        name = opens and opens[2] or field and field[1]
        if name and block:
            yield ".".join([*path, name]), " ".join(part for part in block if part)
        if opens and "}" not in line:
            path.append(opens[2])
        elif stripped == "}":
            path.pop()
        block = []


def main():
    found = {}
    for file in sys.argv[2:]:
        found.update(comments(Path(file).read_text(encoding="utf-8")))
    if not found:
        sys.exit("no comments found: the protos look otherwise than this script thinks")
    # By bytes, as bsearch with strcmp wants it.
    rows = "".join(f"    {{{json.dumps(name)}, {json.dumps(found[name])}}},\n" for name in sorted(found, key=str.encode))
    Path(sys.argv[1]).write_text(f"""/* Made by comments2c.py. */
#include "ops/cli/comments.h"

const struct comment proto_comments[] = {{
{rows}}};
const size_t n_proto_comments = {len(found)};
""", encoding="utf-8")


if __name__ == "__main__":
    main()
