"""test/chaos/soak.py, which runs for an hour when a person starts it, for seconds here (long form: ten minutes)."""
import csv
import random

import pytest
from harness.settings import LONG

from chaos import soak


def short_soak(folder, minutes, faults=""):
    """(figures, what is wrong)"""
    argv = [f"--minutes={minutes}", "--rate=100", "--anime=40", "--pace=2", f"--seed={random.SystemRandom().randrange(1 << 30)}",
            f"--out={folder}", f"--planted={faults}"]
    print(" ".join(argv))
    return soak.soak(folder, soak.arguments(argv))


@pytest.mark.chaos(fault="by chance: kills, restarts, pauses, cuts, slow, half-open and refused connections",
                   place="every worker, server and connection",
                   checks="oracle, dead letters, drift, memory, descriptors")
def test_soak(folder):
    found, wrong = short_soak(folder, 10 if LONG else 0.2)
    assert not wrong, wrong
    assert found["events"] > 500 and found["bad"] and found["faults"] and found["drift"]["compared"] > 40
    with open(folder / "soak.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 3 and all(float(rows[-1][f"{kind}-steady MiB"]) > 1 for kind in soak.NEEDS)
    assert (folder / "soak.svg").read_text().count("<polyline") == 2 * len(soak.NEEDS) * len(soak.ROLES) + 5


@pytest.mark.chaos(fault="guard taken away", place="any worker", checks="the scenario turns red")
def test_soak_sees_what_is_lost(folder):
    """A writer that leaves rows of the outbox out."""
    _, wrong = short_soak(folder, 0.1, "outbox-omitted")
    assert any("last told" in line or "missing" in line for line in wrong), wrong
