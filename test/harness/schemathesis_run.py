"""schemathesis against a running Command API, as a process of its own; what it found and how much it asked."""
import collections
import json
import os
import subprocess

from . import promises
from .settings import ROOT, STATE

SEED = 20261128
# OAuth 2 told as what it is on the wire, for the check ignored_auth knows no other.
BEARER = {"type": "http", "scheme": "bearer"}


def document(only=None):
    """The published document as schemathesis is given it; only: names of calls."""
    text = json.loads(json.dumps(promises.document()))
    text["components"]["securitySchemes"] = {"oauth2": BEARER}
    for methods in text["paths"].values():
        for operation in methods.values():
            operation["security"] = [{"oauth2": []}]
    if only:
        text["paths"] = {path: kept for path, methods in text["paths"].items()
                         if (kept := {m: o for m, o in methods.items() if o["operationId"] in only})}
        for methods in text["paths"].values():
            for operation in methods.values():
                for answer in operation["responses"].values():
                    answer.pop("links", None)
    return text


class Run:
    def __init__(self, completed, events):
        self.code, self.text = completed.returncode, completed.stdout + completed.stderr
        self.statuses = collections.defaultdict(collections.Counter)  # call → status → how often
        for event in events:
            for exchange in event.get("ScenarioFinished", {}).get("recorder", {}).get("interactions", {}).values():
                self.take(exchange["request"], exchange["response"])

    def take(self, request, response):
        path = "/" + request["uri"].split("/", 3)[3]
        call = promises.find(request["method"], path)
        self.statuses[call.name if call else "none"][response["status_code"] if response else 0] += 1

    @property
    def cases(self):
        return sum(sum(c.values()) for c in self.statuses.values())


def settings(token, uncovered):
    text = f'[auth.openapi.oauth2]\nbearer = "{token}"\n' if token else ""
    return text + "".join(f'[[operations]]\ninclude-operation-id = "{name}"\nphases.coverage.enabled = false\n'
                          for name in uncovered)


def run(api, folder, token=None, seed=SEED, only=None, uncovered=(), timeout=1800, **options):
    """options: of `st run`, with _ for -. token: None leaves it out. uncovered: calls without the phase coverage."""
    schema, report = folder / "openapi.json", folder / "schemathesis.ndjson"
    schema.write_text(json.dumps(document(only)))
    report.unlink(missing_ok=True)
    argv = [STATE / "venv/bin/st", "run", schema, "--url", f"http://127.0.0.1:{api.port}", "--checks", "all",
            "--seed", seed, "--no-color", "--generation-database", "none", "--continue-on-failure",
            "--suppress-health-check", "all", "--report", "ndjson", "--report-ndjson-path", report]
    argv += [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    (folder / "schemathesis.toml").write_text(settings(token, uncovered))
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": f"{ROOT}:{ROOT / 'test'}",
           "SCHEMATHESIS_HOOKS": "harness.schemathesis_hooks", "HOME": str(folder), "ECHORA_STATE": str(STATE),
           "PYTHONDONTWRITEBYTECODE": "1"}
    completed = subprocess.run([str(a) for a in argv], cwd=folder, env=env, capture_output=True, text=True,
                               stdin=subprocess.DEVNULL, timeout=timeout)
    events = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    one = Run(completed, events)
    print(f"schemathesis, seed {seed}, {one.cases} calls")
    return one


def demand(run):
    """No finding. The text of the findings is the message."""
    assert run.code == 0, f"schemathesis found something:\n{run.text[-6000:]}"
