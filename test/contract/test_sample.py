"""The sample catalogue of ops/up: made from its table, free of faults, whole."""
import json
import subprocess
import sys

from harness.settings import BUILD, ROOT

SAMPLE = ROOT / "ops/sample/anime.ndjson"


def test_file_is_what_the_table_makes():
    assert subprocess.run([sys.executable, str(ROOT / "ops/sample/make.py"), "--check"]).returncode == 0


def test_no_faults():
    result = subprocess.run([str(BUILD / "ops/echora"), "validate", "anime.enriched", str(SAMPLE)], text=True,
                            capture_output=True, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stdout + result.stderr


def test_ids_are_unique_and_relations_stay_inside():
    events = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    assert len(events) >= 60
    for key in ("eventId", "animeId"):
        assert len({e[key] for e in events}) == len(events)
    urls = {e["anime"]["sources"][0] for e in events}
    relations = [item["sources"][0] for e in events for group in e["anime"].get("relatedAnime", {}).values()
                 for item in group["items"]]
    assert relations and set(relations) <= urls
    shared = [c["id"] for e in events for c in e.get("characters", [])]
    assert len(shared) > len(set(shared))  # some characters play in several
