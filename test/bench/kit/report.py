"""What the JSON of a run says: summaries, ratios, verdicts, targets; as rows of a table. Pure: takes JSON alone, so
that a page can be made long after, on another machine."""
import statistics

from . import stats

COUNTED = ("lost", "repeated", "reordered")


def value(run, path):
    """A figure of a run by its name, "cpu.relay" for those below another; None when it has none."""
    for part in path.split("."):
        run = run.get(part) if isinstance(run, dict) else None
    return run


def values(case, name, path):
    """The figure of a contestant in each round, None where there is none."""
    return [value(played.get(name, {}), path) for played in case["rounds"]]


def runs(case):
    """Every run of a case, those of the A/A pairs too."""
    return [r for pair in case["equal"] for r in pair] + [r for played in case["rounds"] for r in played.values()]


def case_noise(job, case):
    first = job["figures"][0]["name"]
    return stats.noise([tuple(value(r, first) for r in pair) for pair in case["equal"]])


def case_quality(job, case, machine):
    others = [r.get("others_share", 0) for r in runs(case)]
    return stats.quality(case_noise(job, case), others, machine["niceness"])


def ours(case):
    return next((c["name"] for c in case["contestants"] if c["kind"] == "ours"), None)


def targets(job, case):
    """[(text, figure, what it came to, what it had to, met?)] of the targets that hold for this case. Met is None when
    it could not be measured."""
    found = []
    for target in job["targets"]:
        if not case["case"].startswith(target["case"]):
            continue
        mine = values(case, target["who"], target["figure"])
        if target["of"]:
            both = stats.ratios(mine, values(case, target["of"], target["figure"]))
            got, bound = (statistics.median(both) if both else None), target["times"]
        else:
            summary = stats.summary(mine)
            # What is counted must hold in every round; one lost message in one of five is a lost message.
            got = summary and summary["max" if target["figure"] in COUNTED else "median"]
            bound = target["bound"]
        found.append((target["text"], target, got, bound, stats.reached(got, target["operator"], bound)))
    return found


def number(v):
    """Short, with three digits that count."""
    if v is None:
        return ""
    if v == 0 or abs(v) >= 1000:
        return f"{v:,.0f}"
    return f"{v:.0f}" if abs(v) >= 100 else f"{v:.1f}" if abs(v) >= 10 else f"{v:.2f}" if abs(v) >= 1 else f"{v:.3f}"


def spread(summary):
    """Median (least to most)."""
    if summary is None:
        return "–"
    middle = number(summary["median"])
    return middle if summary["n"] == 1 else f"{middle} ({number(summary['min'])} to {number(summary['max'])})"


def by_process(case, name, what):
    """Medians below "cpu" or "peak_mib", of every process that any run names."""
    found = {}
    for played in case["rounds"]:
        for process, v in (played.get(name, {}).get(what) or {}).items():
            found.setdefault(process, []).append(v)
    return ", ".join(f"{process} {number(statistics.median(v))}" for process, v in found.items())


def counted(case, name):
    """Sums of lost, repeated and reordered over all rounds."""
    have = [[v for v in values(case, name, what) if v is not None] for what in COUNTED]
    return " / ".join(f"{sum(v):,}" for v in have) if any(have) else ""


def title(figure):
    return ", ".join(filter(None, (figure["text"], figure["unit"])))


def table(job, case):
    """(header, rows) of cells: one row per contestant, ours first."""
    first, others = job["figures"][0], job["figures"][1:]
    noise, mine = case_noise(job, case), ours(case)
    reference = values(case, mine, first["name"]) if mine else []
    columns = [("", lambda c: c["name"])]
    columns.append((title(first), lambda c: spread(stats.summary(values(case, c["name"], first["name"])))))

    def against(c):
        if c["name"] == mine:
            return ""
        found = stats.ratios(reference, values(case, c["name"], first["name"]))
        told = stats.verdict(found, noise, first["more"] is not False)
        return f"{spread(stats.summary(found))}, {told}" if found else ""
    columns.append(("ours / it, round by round", against))
    for figure in others:
        columns.append((title(figure), lambda c, f=figure: spread(stats.summary(values(case, c["name"], f["name"])))))
    columns.append(("CPU s", lambda c: by_process(case, c["name"], "cpu")))
    columns.append(("most MiB", lambda c: by_process(case, c["name"], "peak_mib")))
    columns.append(("lost / repeated / reordered", lambda c: counted(case, c["name"])))
    columns.append(("failed runs", lambda c: str(sum("failed" in p.get(c["name"], {}) for p in case["rounds"]) or "")))
    ordered = sorted(case["contestants"], key=lambda c: c["name"] != mine)
    cells = [[make(c) for _, make in columns] for c in ordered]
    kept = [i for i in range(len(columns)) if i == 0 or any(row[i].strip("–") for row in cells)]
    return [columns[i][0] for i in kept], [[row[i] for i in kept] for row in cells]


def remarks(job, case, machine):
    """Sentences: how quiet it was, what was skipped, what failed, which targets were met."""
    word, reasons = case_quality(job, case, machine)
    noise = case_noise(job, case)
    said = [f"Machine: {word}" + (f" ({'; '.join(reasons)})" if reasons else "") +
            (f"; equal runs of ours differed by at most {noise:.1%}" if noise is not None else "") +
            f"; load average up to {number(max((r.get('load', 0) for r in runs(case)), default=0))}" +
            (". These figures tell little" if word == "noisy" else "") + "."]
    if machine["file_system"] in ("tmpfs", "ramfs"):
        said.append("The servers kept their data in memory, where no commit waits for a disk.")
    said += [f"Skipped: {s['name']}: {s['why']}." for s in case["skipped"]]
    for text, target, got, bound, met in targets(job, case):
        unit = " times" if target["of"] else ""
        state = {True: "reached", False: "MISSED", None: "not measured"}[met]
        said.append(f"Target {state}: {text} ({target['operator']} {number(bound)}{unit}; "
                    f"came to {number(got) or 'nothing'}{unit if got is not None else ''}).")
    failures = {}
    for played in case["rounds"]:
        for name, r in played.items():
            if "failed" in r:
                lines = r["failed"].strip().splitlines() or ["no reason"]
                failures.setdefault(name, " … ".join(dict.fromkeys((lines[0], lines[-1])))[:500])
    return said + [f"Failed: {name}: {why}" for name, why in failures.items()]


def closing(document):
    """The last lines of a run: what was reached and missed, and where the machine was too noisy to tell."""
    met, noisy = {True: 0, False: 0, None: 0}, []
    for job in document["jobs"]:
        for case in job["cases"]:
            for *_, state in targets(job, case):
                met[state] += 1
            if case_quality(job, case, document["machine"])[0] == "noisy":
                noisy.append(f"{job['job']}: {case['case']}")
    said = [f"targets: {met[True]} reached, {met[False]} missed, {met[None]} not measured"]
    return said + ([f"too noisy to tell: {'; '.join(noisy)}"] if noisy else [])


def as_text(job, case, machine):
    header, rows = table(job, case)
    # One block per contestant reads better in a terminal than a line of ten columns.
    out = [f"{job['job']}: {case['case']}, {len(case['rounds'])} rounds"]
    for row in rows:
        out.append(f"  {row[0]}")
        out += [f"      {name:44} {cell}" for name, cell in zip(header[1:], row[1:]) if cell.strip("–")]
    return "\n".join(out + ["  " + remark for remark in remarks(job, case, machine)])
