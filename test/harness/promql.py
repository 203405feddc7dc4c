"""promtool, our alert rules and dashboards: what they are made of, and what they name."""
import json
import re
import subprocess

from .settings import ROOT, TOOLS

PROMTOOL = TOOLS / "promtool"
RULES = ROOT / "ops/prometheus/echora.rules.yml"


def promtool(*argv):
    """(whether it is content, what it says)"""
    assert PROMTOOL.exists(), "no promtool: ops/install --tests"
    done = subprocess.run([str(PROMTOOL), *map(str, argv)], capture_output=True, text=True, timeout=300,
                          stdin=subprocess.DEVNULL)
    return done.returncode == 0, done.stdout + done.stderr


def alerts(text=None):
    """Name of each alert rule → its part of the rules file, as text."""
    parts = re.split(r"^ +- alert: (\w+)\n", RULES.read_text() if text is None else text, flags=re.M)
    bodies = [re.sub(r"^ *#.*\n", "", re.split(r"^  - name:", body, flags=re.M)[0], flags=re.M) for body in parts[2::2]]
    return dict(zip(parts[1::2], bodies, strict=True))


def field(rule, name):
    """The value of a key of a rule, folded to one line; None when it has no such key."""
    found = re.search(rf"^( +){name}:(?: >-\n((?:\1 +.*\n)+)| *(.*)\n)", rule, re.M)
    if not found:
        return None
    if found.group(2):
        return " ".join(found.group(2).split())
    text = found.group(3)
    return text[1:-1].replace("''", "'") if text.startswith("'") else text


def rule_alone(name, text=None):
    """A rules file with this alert only."""
    return f"groups:\n  - name: alone\n    rules:\n      - alert: {name}\n{alerts(text)[name]}"


def rules_file(expressions):
    """A rules file (JSON is YAML) that records each expression."""
    return json.dumps({"groups": [{"name": "all", "rules": [
        {"record": f"expression:{i}", "expr": e} for i, e in enumerate(expressions)]}]})


# What Prometheus adds to each scraped series: its own labels and those of ops/prometheus/prometheus.yml.
SCRAPED = {"job", "instance", "worker"}


def reference(text=None):
    """Metric, with the series that a histogram makes → its labels, from ops/reference/metrics.md."""
    page = (ROOT / "ops/reference/metrics.md").read_text() if text is None else text
    found = {"up": SCRAPED, "ALERTS": SCRAPED | {"alertname", "alertstate", "severity"}}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w,]*) \|", page, re.M):
        have = SCRAPED | set(filter(None, labels.split(",")))
        if kind == "histogram":
            found |= {f"{name}_bucket": have | {"le"}, f"{name}_sum": have, f"{name}_count": have}
        else:
            found[name] = have
    return found


GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"\b((?:echora|process)_\w+|up|ALERTS)\b(?!\s*\()(?:\s*\{([^}]*)\})?")


def named(expression):
    """What an expression names: [(metric, labels of its selector)], and the labels that it groups by."""
    grouped = {label.strip() for part in GROUPING.findall(expression) for label in part.split(",") if label.strip()}
    rest = GROUPING.sub(" ", expression)
    return [(metric, set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', inside)))
            for metric, inside in SELECTOR.findall(rest)], grouped


def unknown(expression, known):
    """What an expression names that the reference does not know, in words."""
    selectors, grouped = named(expression)
    if not selectors:
        return [f"no metric in {expression}"]
    out = [f"no metric {m}" for m, _ in selectors if m not in known]
    out += [f"{m} has no label {label}" for m, labels in selectors for label in labels - known.get(m, labels)]
    anywhere = set().union(*(known.get(m, set()) for m, _ in selectors))
    return out + [f"no label {label} in {expression}" for label in grouped - anywhere]
