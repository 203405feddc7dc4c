"""BENCHMARKS.md is what the kept results say, no more and no less."""
import json
import subprocess
import sys

from harness.settings import ROOT

RESULTS = sorted(p.relative_to(ROOT) for p in (ROOT / "test/bench/results").glob("*.json"))


def test_page_is_made_of_the_results():
    made = subprocess.run([sys.executable, "test/bench/kit/page.py", *RESULTS], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    assert (ROOT / "BENCHMARKS.md").read_text() == made.stdout, "make it again: ops/tools/regenerate"


def test_every_result_says_how_it_came_about():
    assert RESULTS
    for path in RESULTS:
        told = json.loads((ROOT / path).read_text())
        assert told["command"].startswith("test/bench/run ") and told["versions"]["echora"], path
        for job in told["jobs"]:
            for case in job["cases"]:
                assert case["contestants"] and case["rounds"], f"{path}: {case['case']}"
