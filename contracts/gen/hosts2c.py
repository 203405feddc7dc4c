#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles contracts/hosts.csv into the rows of a C table, checking it on the way.

usage: hosts2c.py hosts.csv OUT
"""
import csv
import re
import sys

HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
PATTERN = re.compile(r"/[a-z0-9/.-]*(\{(number|slug)\})?(\?([a-z]+=[a-z]+&)*[a-z]+=\{number\})?")
REFERENCE = re.compile(r"[a-z]+:[a-z]+")


def read(path):
    with open(path, encoding="utf-8", newline="") as source:
        lines = [line for line in source if not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    hosts = {row["host"] for row in rows}
    aliases = {row["host"] for row in rows if row["names"] == "alias"}
    for row in rows:
        host, pattern, reference, names = (row[k] for k in ("host", "pattern", "reference", "names"))
        ok = HOST.fullmatch(host) and not host.startswith("www.")
        if names == "alias":
            ok = ok and not pattern and reference in hosts - aliases
            ok = ok and sum(r["host"] == host for r in rows) == 1
        elif names == "none":
            ok = ok and PATTERN.fullmatch(pattern) and "{" not in pattern and not reference
        else:
            ok = ok and names in ("one", "many") and REFERENCE.fullmatch(reference)
            ok = ok and PATTERN.fullmatch(pattern) and pattern.count("{") == 1
        if not ok:
            sys.exit(f"hosts.csv: bad row {','.join(row.values())}")
    return rows


def c_text(text):
    return f'"{text}"' if text else "NULL"


def main():
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        for row in read(sys.argv[1]):
            path, _, query = row["pattern"].partition("?")
            names = f"NAMES_{row['names'].upper()}"
            out.write(f"{{{c_text(row['host'])}, {c_text(path)}, {c_text(query)}, "
                      f"{c_text(row['reference'])}, {names}}},\n")


if __name__ == "__main__":
    main()
