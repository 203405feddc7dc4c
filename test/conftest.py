"""pytest's entry: the harness's fixtures, and logs of our processes beside failures."""
import sys
from pathlib import Path

TEST = Path(__file__).resolve().parent
sys.path[:0] = [str(TEST.parent), str(TEST)]

from harness.fixtures import *  # noqa: E402,F401,F403
from harness.fixtures import pytest_runtest_makereport  # noqa: E402,F401
from harness.settings import LONG  # noqa: E402


def pytest_collection_modifyitems(config, items):
    """What is marked `long` belongs to the long form alone. Not a skip: nothing is missing."""
    left_out = [] if LONG else [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
