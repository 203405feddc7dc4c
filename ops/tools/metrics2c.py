#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Finds every metric that the source declares and writes them as a C table for the reference page.

usage: metrics2c.py OUTPUT.c ROOT FOLDER...

A metric is a `struct metric_def NAME = {...}` (positional or by member names), or a line that metrics.c
renders by itself (put_single, put_head).
"""
import re
import sys
from pathlib import Path

DEFINITION = re.compile(r"struct metric_def \w+\s*=\s*\{(.*?)\};", re.S)
QUOTED = r'"(?:[^"\\]|\\.)*"'
RENDERED = re.compile(r"put_(?:single|head)\(out,\s*((?:" + QUOTED + r"|[^\";])*)\);", re.S)
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def split(text):
    """Members of an initialiser: what stands between commas that are outside of strings and brackets."""
    parts, depth, part = [], 0, ""
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|.', text, re.S):
        if token in "([{":
            depth += 1
        elif token in ")]}":
            depth -= 1
        if token == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += token
    return parts + [part.strip()]


def text_of(part):
    return "".join(STRING.findall(part))


def metric(body):
    names = ("name", "kind", "help", "labels", "buckets")
    found = {}
    for position, part in enumerate(split(body)):
        named = re.match(r"\.(\w+)\s*=\s*(.*)", part, re.S)
        key, value = named.groups() if named else (names[position] if position < len(names) else "", part)
        found[key] = value
    kind = re.search(r"METRIC_(\w+)", found.get("kind", ""))
    if not kind or not text_of(found.get("name", "")):
        return None
    return (text_of(found["name"]), kind.group(1).lower(), text_of(found.get("help", "")),
            text_of(found.get("labels", "")))


def metrics(root, folders):
    found = {}
    for folder in folders:
        for path in sorted(Path(root, folder).rglob("*.c")):
            text = path.read_text(encoding="utf-8")
            for pattern in (DEFINITION, RENDERED):
                for body in pattern.findall(text):
                    row = metric(body)
                    if row and row[0] != "dead":
                        found[row[0]] = row
    return [found[name] for name in sorted(found)]


def main():
    if len(sys.argv) < 4:
        sys.stderr.write(__doc__)
        return 2
    output, root, folders = sys.argv[1], sys.argv[2], sys.argv[3:]
    lines = ['#include "ops/cli/metric_table.h"', "", "const struct metric_row metric_table[] = {"]
    rows = metrics(root, folders)
    for row in rows:
        lines.append("    {" + ", ".join(f'"{text}"' for text in row) + "},")
    lines += ["};", f"const size_t n_metric_table = {len(rows)};", ""]
    text = "\n".join(lines)
    if not Path(output).exists() or Path(output).read_text(encoding="utf-8") != text:
        Path(output).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
