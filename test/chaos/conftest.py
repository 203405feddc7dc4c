"""The matrix of the chaos suite: printed at its end, and written as a page by collection (harness/matrix.py).

ECHORA_CHAOS_PAGE names a file: then every test is collected, those of the long form too, and the page is written there,
with the tests that have no mark below it. A test's mark travels in its report, so under xdist too one table is printed.
"""
import os
from pathlib import Path

import pytest
from harness import matrix

PAGE = os.environ.get("ECHORA_CHAOS_PAGE")
OUTCOMES = {}  # node id → row with its outcome


@pytest.hookimpl(tryfirst=True)  # before those of the long form are left out
def pytest_collection_modifyitems(items):
    rows = {item: matrix.row(item) for item in items}
    for item, row in rows.items():
        if row:
            item.user_properties.append(("chaos", row))
    if PAGE:
        bare = sorted({matrix.name(item) for item, row in rows.items() if not row})
        text = matrix.page([row for row in rows.values() if row])
        Path(PAGE).write_text(text + "".join(f"\nNo mark: {name}" for name in bare))


def pytest_runtest_logreport(report):
    row = dict(report.user_properties).get("chaos")
    if row and (report.when == "call" or report.outcome != "passed"):
        before = OUTCOMES.get(report.nodeid, {}).get("outcome")
        OUTCOMES[report.nodeid] = dict(row, outcome="failed" if before == "failed" else report.outcome)


def pytest_terminal_summary(terminalreporter):
    if OUTCOMES:
        terminalreporter.section("chaos: faults and places")
        for line in matrix.summary(list(OUTCOMES.values())):
            terminalreporter.write_line(matrix.PREFIX + line)
