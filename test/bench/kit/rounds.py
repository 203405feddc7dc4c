"""The order of runs: first ours against itself, then round by round all contestants, every other round backwards."""
import sys
import time

from . import meter


def order(contestants, round_number):
    return list(contestants) if round_number % 2 == 0 else list(reversed(contestants))


def one(job, stage, case, contestant):
    """The figures of one run, with what else the machine did; {"failed": why} when it came to none."""
    with meter.Neighbours() as neighbours:
        try:
            figures = job.run(stage, case, contestant)
        except Exception as e:  # whatever it is, the other runs go on, and the report says so
            figures = {"failed": (str(e) or repr(e))[-2000:]}
    return {**figures, **neighbours.figures()}


def show(case, contestant, figures, job):
    first = job.figures[0]
    text = figures.get("failed") or f"{figures.get(first.name, 0):,.4g} {first.unit}"
    print(f"    {case.name}: {contestant.name}: {text}", file=sys.stderr, flush=True)


def measure(job, stage, case, rounds, equal_rounds):
    """What a case's JSON holds: the contestants, A/A pairs, and the figures of each round."""
    named = list(job.contestants(case))
    why = {c.name: c.missing() for c in named}
    able = [c for c in named if not why[c.name]]
    ours = next((c for c in able if c.kind == "ours"), None)
    began = time.time()
    equal = []
    for _ in range(equal_rounds if ours else 0):
        pair = [one(job, stage, case, ours) for _ in range(2)]
        for figures in pair:
            show(case, ours, figures, job)
        equal.append(pair)
    played = []
    for number in range(rounds):
        figures = {}
        for contestant in order(able, number):
            figures[contestant.name] = one(job, stage, case, contestant)
            show(case, contestant, figures[contestant.name], job)
        played.append(figures)
    return {"case": case.name, "parameters": case.parameters, "began": began, "seconds": round(time.time() - began, 1),
            "contestants": [{"name": c.name, "about": c.about, "kind": c.kind, "versions": c.versions} for c in able],
            "skipped": [{"name": c.name, "about": c.about, "why": why[c.name]} for c in named if why[c.name]],
            "equal": equal, "rounds": played}
