#!/usr/bin/env python3
"""Wire check, decode, validation and JSON over real records (or the sample catalogue without them).

usage: bench_contracts.py [SECONDS]     seconds per job and kind of record, default 2
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from e2e import real_data  # noqa: E402
from harness.settings import BUILD, data_folder  # noqa: E402

SAMPLE = ROOT / "ops/sample/catalogue.ndjson"


def inputs():
    data = data_folder()
    if data:
        yield "rich records (5 to 59 kB of JSON)", real_data.rich_events(data)
        yield "Kitsu records (about 1 kB)", list(real_data.kitsu_events(data))[:4000]
    else:
        yield "sample catalogue", [json.loads(line) for line in SAMPLE.read_text().splitlines()]


def main():
    seconds = sys.argv[1] if len(sys.argv) > 1 else "2"
    for title, events in inputs():
        with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
            file.flush()
            out = subprocess.run([BUILD / "test/bench/bench-contracts", file.name, seconds], check=True,
                                 capture_output=True, text=True).stdout
        print(f"\n{title}: {len(events)} events")
        print(f"{'job':34}{'events/s':>12}{'MB/s':>9}{'CPU s/million':>15}{'peak MB':>9}")
        for row in map(json.loads, out.splitlines()):
            print(f"{row['job']:34}{row['events_per_s']:12,.0f}{row['mb_per_s']:9.1f}"
                  f"{row['cpu_s_per_million']:15.2f}{row['peak_rss_mb']:9.1f}")


if __name__ == "__main__":
    main()
