#!/usr/bin/env python3
"""Writes the tables of ops/SCALING.md anew from the JSON files of test/bench/run, in place.

usage: scaling.py ops/SCALING.md FILE.json...

A table stands between two comments, `<!-- figures: JOB: CASE -->` and `<!-- end -->`; one whose case no file has stays as it
is. Where two files have the same case, the one that was measured later counts.
"""
import json
import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from bench.kit import page, report, stats  # noqa: E402

BLOCK = re.compile(r"(<!-- figures: (.+?): (.+?) -->\n).*?(<!-- end -->)", re.S)


def table(document, job, case):
    """The figures of a case, each contestant's first one also as times that of the first contestant, how quiet it was, and
    the command."""
    first = job["figures"][0]["name"]
    base = report.values(case, case["contestants"][0]["name"], first)
    header, rows = ["", *map(report.title, job["figures"]), "times the first row's"], []
    for contestant in case["contestants"]:
        name = contestant["name"]
        cells = [report.spread(stats.summary(report.values(case, name, f["name"]))) for f in job["figures"]]
        times = stats.summary(stats.ratios(report.values(case, name, first), base))
        rows.append([name, *cells, report.spread(times)])
    kept = [i for i in range(len(header)) if any(row[i] != "–" for row in rows)]
    word, reasons = report.case_quality(job, case, document["machine"])
    lines = [page.row([cells[i] for i in kept]) for cells in (header, ["---"] * len(header), *rows)]
    if word != "quiet":
        lines += ["", f"**Provisional** ({word}: {'; '.join(reasons)}): a run on a quiet machine replaces this table."]
    lines += ["", f"`{document['command']}`, {len(case['rounds'])} rounds, {document['versions'].get('echora', '')}, "
              f"{document['machine']['cores']} cores, {document['machine']['memory_gib']:g} GiB."]
    return "\n".join(lines) + "\n"


def rewritten(text, documents):
    """The text with every table that a document has."""
    found = {(job["job"], case["case"]): (document, job, case) for document, job, case in page.newest(documents)}

    def one(match):
        entry = found.get((match[2], match[3]))
        return match[1] + table(*entry) + match[4] if entry else match[0]
    return BLOCK.sub(one, text)


def main(argv):
    if len(argv) < 2 or argv[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    target = Path(argv[0])
    documents = [json.loads(Path(f).read_text(encoding="utf-8")) for f in argv[1:]]
    target.write_text(rewritten(target.read_text(encoding="utf-8"), documents), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
