"""Grafana dashboards: as generated, importable, and every expression is PromQL over metrics that there are."""
import json
import subprocess
import sys

import pytest
from harness.promql import promtool, reference, rules_file, unknown
from harness.settings import ROOT

FILES = sorted((ROOT / "ops/grafana").glob("*.json"))
USED = {"echora-command-api", "echora-fleet", "echora-dead-letters", "echora-outbox", "echora-people", "echora-qdrant"}


def panels(file):
    return [p for p in json.loads(file.read_text())["panels"] if p["type"] != "row"]


def expressions(file):
    """As Prometheus gets them: Grafana's own variables replaced."""
    return [t["expr"].replace("$__rate_interval", "5m") for p in panels(file) for t in p["targets"]]


def test_they_are_up_to_date(tmp_path):
    subprocess.run([sys.executable, ROOT / "ops/tools/dashboards.py", tmp_path], check=True)
    made = {p.name: p.read_text() for p in tmp_path.glob("*.json")}
    assert made == {p.name: p.read_text() for p in FILES}, "make them again: ops/tools/regenerate"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_it_can_be_imported(file):
    board = json.loads(file.read_text())
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids)) and board["uid"] == file.stem and "id" not in board
    assert board["templating"]["list"][0]["type"] == "datasource"
    sources = {json.dumps(s) for p in panels(file) for s in (p["datasource"], *(t["datasource"] for t in p["targets"]))}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    variables = {v["name"] for v in board["templating"]["list"]}
    assert ("worker" in variables) == any("$worker" in e for e in expressions(file))
    for panel in panels(file):
        refs = [t["refId"] for t in panel["targets"]]
        assert refs and len(refs) == len(set(refs)) and panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    cells = [(x, y) for p in board["panels"] for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
             for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])]
    assert len(cells) == len(set(cells)), "panels overlap"


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_it_asks_for_what_there_is(file, tmp_path):
    rules = tmp_path / "rules.yml"
    rules.write_text(rules_file(expressions(file)))
    good, said = promtool("check", "rules", rules)
    assert good and f"{len(expressions(file))} rules found" in said, said
    assert [u for e in expressions(file) for u in unknown(e, reference())] == []


def test_each_board_has_what_it_is_for():
    assert {f.stem for f in FILES} == USED
    every = " ".join(e for f in FILES for e in expressions(f))
    missing = [m for m in reference() if m.startswith("echora_") and m not in every
               and not m.endswith(("_bucket", "_sum", "_count"))]
    # Shown nowhere: the build, tracing's own counters, and totals that others tell better.
    assert set(missing) == {"echora_build_info", "echora_trace_spans_dropped_total", "echora_trace_spans_sent_total",
                            "echora_batch_events_total", "echora_pulls_total", "echora_nats_connects_total",
                            "echora_stream_bytes", "echora_stream_messages"}


def test_what_is_no_promql_is_seen(tmp_path):
    rules = tmp_path / "rules.yml"
    rules.write_text(rules_file(["sum by (worker) (up", "up"]))
    assert not promtool("check", "rules", rules)[0]
