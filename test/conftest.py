"""pytest's entry: the harness's fixtures, and logs of our processes beside failures."""
import sys
from pathlib import Path

TEST = Path(__file__).resolve().parent
sys.path[:0] = [str(TEST.parent), str(TEST)]

from harness.fixtures import *  # noqa: E402,F401,F403
from harness.fixtures import pytest_runtest_makereport  # noqa: E402,F401
