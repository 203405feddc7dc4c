#!/usr/bin/env python3
"""Makes BENCHMARKS.md from the JSON files of test/bench/run. usage: page.py FILE.json... > BENCHMARKS.md

A picture beside a file (.svg) is shown at the head. Nothing is left out: losses, missed targets, peers that were skipped
and runs that failed are in it. Where two files have the same case, the one that was measured later counts.
"""
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from bench.kit import report  # noqa: E402

HEAD = """# Benchmarks

Made by `test/bench/kit/page.py` from the JSON that `test/bench/run` writes; run it yourself: one command, peers and
ours in turns on your machine. Figures are medians of the rounds, least and most in brackets. "Ours / it" compares
within each round; better or worse is said only when every round agrees by more than two equal runs of ours differed,
else unclear. Lost, repeated and reordered messages are counted by programs that share no code with ours, summed over
all rounds. A command with a `--scale` below 1 is a shortened job: its targets are meant for the whole one, and short runs
weigh the beginning more. How each peer is configured stands at the head of its file in `test/bench/peers/`.
"""


def newest(documents):
    """[(document, job, case)], the later measured one of each case, a job's cases together."""
    found = {}
    for document in documents:
        for job in document["jobs"]:
            for case in job["cases"]:
                key = job["job"], case["case"]
                if key not in found or found[key][2]["began"] < case["began"]:
                    found[key] = document, job, case
    jobs = list(dict.fromkeys(name for name, _ in found))
    return sorted(found.values(), key=lambda entry: jobs.index(entry[1]["job"]))


def row(cells):
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def described(document, case):
    """What the figures were measured on, with and by which command."""
    m = document["machine"]
    versions = dict(document["versions"])
    for contestant in case["contestants"]:
        versions.update(contestant["versions"])
    date = time.strftime("%Y-%m-%d", time.gmtime(case["began"]))
    disk = f", fdatasync {m['fdatasync_us']:g} us" if m.get("fdatasync_us") else ""
    return (f"{date}, `{document['command']}`; {m['cores']} cores of {m['processor']}, {m['memory_gib']:g} GiB, "
            f"{m['system']}, Linux {m['kernel']}, {m['file_system']}{disk}; "
            + ", ".join(f"{n} {v}" for n, v in versions.items()) + ".")


def page(documents, pictures=()):
    found = newest(documents)
    everything = [(*entry, t) for entry in found for t in report.targets(entry[1], entry[2])]
    out = [HEAD, *(f"![{picture.stem}]({picture})" for picture in pictures), ""]
    if everything:
        out += ["## Targets", "", row(["job", "target", "had to be", "came to", ""]), row(["---"] * 5)]
        for _, job, case, (text, target, got, bound, met) in everything:
            unit = " times" if target["of"] else ""
            out.append(row([f"{job['job']}: {case['case']}", text, f"{target['operator']} {report.number(bound)}{unit}",
                            report.number(got) + (unit if got is not None else ""),
                            {True: "reached", False: "**missed**", None: "not measured"}[met]]))
        out.append("")
    last = None
    for document, job, case in found:
        if job["job"] != last:
            out += [f"## {job['job']}", "", job["about"].strip(), ""]
            last = job["job"]
        header, rows = report.table(job, case)
        out += [f"### {case['case']}", "", row(header), row(["---"] * len(header)), *map(row, rows), ""]
        out += [f"- {remark}" for remark in report.remarks(job, case, document["machine"])]
        out += [f"- {c['name']}: {c['about']}" for c in case["contestants"] + case["skipped"]]
        out += [f"- Measured {described(document, case)}", ""]
    return "\n".join(out).rstrip("\n") + "\n"


def main(files):
    if not files or files[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    pictures = [p for p in (Path(f).with_suffix(".svg") for f in files) if p.exists()]
    sys.stdout.write(page([json.loads(Path(f).read_text(encoding="utf-8")) for f in files], pictures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
