"""The parts of test/bench that decide what a figure means: statistics, the noise, the checker, targets, the page."""
import dataclasses
import json
import random
import subprocess
import threading
import xml.etree.ElementTree as ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bench.kit import checker, fill, meter, page, peers, picture, report, rounds, scaling, stats
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from harness.process import eventually
from harness.settings import BUILD


def heads(rows, size=300, entities=7):
    return [(checker.head(row, entities), size) for row in rows]


def test_checker_finds_nothing_in_order():
    assert checker.count(heads(range(50)), 50, 300) == (50, 0, 0, 0, 0, 0)


def test_checker_counts_lost_and_repeated():
    found = checker.count(heads([0, 1, 1, 2, 1, 4]), 5)
    assert (found.messages, found.lost, found.repeated) == (6, 1, 2)


def test_checker_counts_order_of_an_entity_not_of_all():
    # Rows 0 to 3 and 28 to 31 are of one entity; 4 is of another.
    assert checker.count(heads([0, 1, 4, 2, 28]), 30)[3:5] == (0, 1)
    assert checker.count(heads([0, 28, 2, 4, 1]), 30)[3:5] == (2, 2)
    # A repetition of an old message changes no order.
    assert checker.count(heads([0, 1, 0, 28]), 30).reordered == 0


def test_heads_count_each_entity_without_gaps():
    found = {}
    for row in range(200):
        number, entity, nth = map(int, checker.head(row, 7).split())
        assert (number, nth) == (row, found.get(entity, -1) + 1)
        found[entity] = nth
    assert len(found) == 7


def test_checker_counts_what_is_of_no_row():
    strange = [(b"something else than a head..", 300), *heads([0, 99]), (checker.head(1, 7), 299)]
    found = checker.count(strange, 2, 300)
    assert (found.foreign, found.lost) == (3, 1)


@pytest.mark.parametrize("seed", range(5))
def test_checker_counts_every_planted_fault(seed):
    r = random.Random(seed)
    rows = list(range(200))
    lost = set(r.sample(rows, 9))
    repeated = r.sample([x for x in rows if x not in lost], 6)
    sent = [x for x in rows if x not in lost] + repeated
    found = checker.count(heads(sent), 200)
    assert (found.lost, found.repeated, found.reordered) == (9, 6, 0)


def test_median_and_spread_leave_out_what_is_missing():
    assert stats.summary([3, None, 1, 2]) == {"median": 2, "min": 1, "max": 3, "n": 3}
    assert stats.summary([None]) is None


def test_ratios_are_of_the_same_round():
    assert stats.ratios([2, None, 9], [1, 5, 3]) == [2, 3]


def test_noise_is_the_worst_pair_either_way():
    assert stats.noise([(100, 110), (125, 100)]) == pytest.approx(0.25)
    assert stats.noise([(100, 125)]) == pytest.approx(0.25)
    assert stats.noise([(None, 3)]) is None


@pytest.mark.parametrize("values, noise, more, verdict", [
    ([1.2, 1.3], 0.1, True, "better"), ([1.2, 1.3], 0.1, False, "worse"), ([0.5, 0.6], 0.1, True, "worse"),
    ([0.5, 0.6], 0.1, False, "better"), ([1.05, 3.0], 0.1, True, "unclear"), ([0.5, 2], 0.1, True, "unclear"),
    ([1.1], None, True, "unclear"), ([], 0.1, True, "not measured")])
def test_verdict_needs_every_round_beyond_the_noise(values, noise, more, verdict):
    assert stats.verdict(values, noise, more) == verdict


def test_quality_of_a_machine():
    assert stats.quality(0.01, [0.01, 0.02]) == ("quiet", [])
    assert stats.quality(0.08, [0.01])[0] == "unquiet"
    assert stats.quality(0.01, [0.0, 0.3])[0] == "noisy"
    assert stats.quality(0.01, [0.0], niceness=19)[0] == "noisy"
    assert stats.quality(None, [])[0] == "unquiet"  # nothing shows the noise


def test_percentile_by_nearest_rank():
    assert stats.percentile(list(range(1, 101)), 0.99) == 99
    assert stats.percentile([5], 0.999) == 5
    assert stats.percentile([], 0.5) is None


def run_of(rate, **more):
    return {"rate": rate, "cpu": {"relay": 1.5, "PostgreSQL": 2}, "peak_mib": {"relay": 12}, "lost": 0, "repeated": 0,
            "reordered": 0, "others_share": 0.01, **more}


def document(played, equal=((100, 101),), targets=()):
    figures = [Figure("rate", "rows/s", "stored", True)]
    case = {"case": "small", "parameters": {}, "began": 1_800_000_000, "seconds": 1,
            "contestants": [{"name": n, "about": f"about {n}", "kind": "ours" if n == "echora" else "peer",
                             "versions": {}} for n in ("go", "echora")],
            "skipped": [{"name": "bento", "about": "a pipeline", "why": "no toolchain"}],
            "equal": [[run_of(a), run_of(b)] for a, b in equal], "rounds": played}
    job = {"job": "drain", "about": "A job.", "figures": [dataclasses.asdict(f) for f in figures],
           "targets": [dataclasses.asdict(t) for t in targets], "cases": [case]}
    machine = {"processor": "a|b", "cores": 2, "memory_gib": 4, "system": "Debian", "kernel": "6",
               "file_system": "ext4", "niceness": 0, "fdatasync_us": 90}
    return {"command": "test/bench/run drain", "machine": machine, "versions": {"echora": "1"}, "jobs": [job]}


PLAYED = [{"echora": run_of(300), "go": run_of(100)}, {"echora": run_of(330), "go": run_of(100, lost=2)},
          {"echora": run_of(360), "go": {"failed": "it broke\nfor a reason", "others_share": 0.02}}]
TARGETS = (Target("three times Go", "rate", ">=", times=3, of="go"), Target("a thousand", "rate", ">=", bound=1000),
           Target("beyond a peer that is not there", "rate", ">=", of="bento"),
           Target("little memory", "peak_mib.relay", "<=", bound=15),
           Target("of others", "rate", ">=", case="huge", bound=1))


def test_targets_by_ratio_by_bound_and_unmeasured():
    d = document(PLAYED, targets=TARGETS)
    found = report.targets(d["jobs"][0], d["jobs"][0]["cases"][0])
    assert [(got, met) for _, _, got, _, met in found] == [
        (pytest.approx(3.15), True), (330, False), (None, None), (12, True)]


def test_a_message_lost_in_one_round_misses_the_target():
    played = [{"echora": run_of(1)}, {"echora": run_of(1, lost=1)}, {"echora": run_of(1)}]
    d = document(played, targets=(Target("nothing lost", "lost", "<=", bound=0),))
    (_, _, got, _, met), = report.targets(d["jobs"][0], d["jobs"][0]["cases"][0])
    assert (got, met) == (1, False)


def test_table_has_ours_first_ratios_and_counts():
    d = document(PLAYED)
    header, rows = report.table(d["jobs"][0], d["jobs"][0]["cases"][0])
    assert [row[0] for row in rows] == ["echora", "go"]
    go = dict(zip(header, rows[1]))
    assert go["ours / it, round by round"] == "3.15 (3.00 to 3.30), better"
    assert go["lost / repeated / reordered"] == "2 / 0 / 0" and go["failed runs"] == "1"
    assert go["CPU s"] == "relay 1.50, PostgreSQL 2.00"


def test_page_leaves_nothing_out():
    text = page.page([document(PLAYED, targets=TARGETS)])
    for expected in ("**missed**", "not measured", "Skipped: bento: no toolchain", "it broke … for a reason", "fdatasync 90 us",
                     "a|b", "`test/bench/run drain`", "echora 1", "about go", "1,000"):
        assert expected in text, expected
    assert all(line.count("|") >= 3 for line in text.splitlines() if line.startswith("|"))


def test_page_takes_the_later_of_two_measurements():
    old, new = document(PLAYED), document([{"echora": run_of(777), "go": run_of(7)}])
    new["jobs"][0]["cases"][0]["began"] += 1
    for documents in ([old, new], [new, old]):
        text = page.page(documents)
        assert "777" in text and "330" not in text


def test_data_in_memory_is_said():
    d = document(PLAYED)
    assert "in memory" not in page.page([d])
    d["machine"]["file_system"] = "tmpfs"
    assert "kept their data in memory" in page.page([d])


def test_page_keeps_a_jobs_cases_together():
    documents = [document(PLAYED) for _ in range(3)]
    documents[1]["jobs"][0]["job"] = "other"
    documents[2]["jobs"][0]["cases"][0]["case"] = "large"
    headings = [line for line in page.page(documents).splitlines() if line.startswith("##")]
    assert headings == ["## drain", "### small", "### large", "## other", "### small"]


def test_picture_escapes_and_draws_each_contestant():
    d = document(PLAYED)
    d["jobs"][0]["cases"][0]["case"] = "a < b"
    text = picture.draw(d)
    assert text.count("<rect") == 3 and "a &lt; b" in text
    ElementTree.fromstring(text)


def test_tables_of_scaling_are_written_in_place():
    before = "text\n<!-- figures: drain: small -->\nold\n<!-- end -->\nmore\n<!-- figures: drain: none -->\nstays\n<!-- end -->\n"
    d = document(PLAYED)
    text = scaling.rewritten(before, [d])
    assert "old" not in text and "stays" in text and text.startswith("text\n<!--") and "\nmore\n" in text
    assert "| echora | 330 (300 to 360) | 3.15 (3.00 to 3.30) |" in text.splitlines()
    assert "`test/bench/run drain`, 3 rounds" in text and "Provisional" not in text
    assert scaling.rewritten(text, [d]) == text
    assert "**Provisional** (noisy:" in scaling.rewritten(before, [document(PLAYED, equal=((100, 200),))])


@pytest.mark.parametrize("entities", [100, 10_000, 10_000_000])
def test_keys_of_a_filled_catalogue_rise_and_leave_room(entities):
    some = [0, 1, 2, entities // 2, entities - 2, entities - 1]
    ids, numbers = [fill.entity(i, entities) for i in some], [fill.number(i, entities) for i in some]
    assert ids == sorted(set(ids)) and min(b - a for a, b in zip(numbers, numbers[1:])) >= 80
    assert all(i[14] == "7" and i[19] == "8" for i in ids)


def test_closing_counts_targets_and_names_noise():
    noisy = document(PLAYED, equal=((100, 200),), targets=TARGETS)
    assert report.closing(noisy) == ["targets: 2 reached, 1 missed, 1 not measured", "too noisy to tell: drain: small"]
    assert len(report.closing(document(PLAYED))) == 1


def command_load(call, answer):
    """What the load of job command-api says of a server that answers so."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            status, body, headers = answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    argv = [str(BUILD / "test/bench/command_load"), str(server.server_address[1]), call, "4", "0.1", "200", "100000000", "0"]
    told = json.loads(subprocess.run(argv, input="token\n", capture_output=True, text=True, timeout=60, check=True).stdout)
    server.shutdown()
    server.server_close()
    return told


def run_started(handler, members):
    number = members["tag"].removeprefix("t")
    assert handler.headers["Idempotency-Key"] == f"bench-{number}" and handler.headers["Authorization"] == "Bearer token"
    return 201, b'{"run_id":%s,"snapshot_id":%s}' % (number.encode(), number.encode()), {}


WRONG = {"status": lambda s, b, h: (200, b, h), "body": lambda s, b, h: (s, b.replace(b"1000000", b"1000001"), h),
         "longer": lambda s, b, h: (s, b + b" ", h), "replayed": lambda s, b, h: (s, b, {"Idempotent-Replayed": "true"})}


@pytest.mark.parametrize("closes", [False, True])
def test_load_counts_answers_that_are_right(closes):
    told = command_load("start", lambda h, m: (*run_started(h, m)[:2], {"Connection": "close"} if closes else {}))
    assert told["sent"] == told["answered"] == 20 and told["wrong"] == 0
    assert told["most"] >= told["p99"] >= told["p50"] > 0


@pytest.mark.parametrize("what", WRONG)
def test_load_finds_each_wrong_answer(what):
    told = command_load("start", lambda h, m: WRONG[what](*run_started(h, m)))
    assert (told["answered"], told["wrong"]) == (0, told["sent"])


def never():
    raise peers.Absent("not to be had")


def test_meter_counts_what_a_process_has_waited_for():
    burn = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done"
    child = subprocess.Popen(["sh", "-c", f"({burn}) & wait; exec sleep 600"])
    try:
        eventually(lambda: "sleep" in Path(f"/proc/{child.pid}/comm").read_text(), 60, "burnt")
        assert meter.family(child.pid) == [child.pid]
        assert meter.cpu_seconds(child.pid) >= 0.02
        assert meter.Meter(other=child.pid).read()["cpu"]["other"] < 0.02
    finally:
        child.kill()
        child.wait()


class Told(Job):
    name, about, figures = "told", "", (Figure("rate", "", "", True),)

    def __init__(self):
        self.played = []

    def contestants(self, case):
        return [Contestant("a", "", "ours"), Contestant("b", ""), Contestant("c", "", needs=(never,))]

    def run(self, stage, case, contestant):
        self.played.append(contestant.name)
        if contestant.name == "b" and len(self.played) > 4:
            raise Failed("this time not")
        return {"rate": 1}


def test_rounds_take_turns_and_keep_failures():
    job = Told()
    case = rounds.measure(job, None, Case("c"), rounds=3, equal_rounds=1)
    assert job.played == ["a", "a", "a", "b", "b", "a", "a", "b"]
    assert [(s["name"], s["why"]) for s in case["skipped"]] == [("c", "not to be had")]
    assert case["rounds"][0]["b"]["rate"] == 1 and case["rounds"][1]["b"]["failed"] == "this time not"
    assert all("others_share" in figures for figures in report.runs(case))
