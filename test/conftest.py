"""pytest's entry: the harness's fixtures, and logs of our processes beside failures."""
import sys
from pathlib import Path

TEST = Path(__file__).resolve().parent
sys.path[:0] = [str(TEST.parent), str(TEST)]

from harness.fixtures import *  # noqa: E402,F401,F403
from harness.fixtures import nats_version, pytest_runtest_makereport  # noqa: E402,F401
from harness.settings import LONG  # noqa: E402


def left_out(item):
    """What is marked `long` belongs to the long form alone; what asks no nats-server runs beside one version. Not a
    skip: nothing is missing."""
    alone = item.get_closest_marker("one_nats")
    assert not (alone and "nats_server" in item.fixturenames), f"{item.nodeid} asks a nats-server"
    return (item.get_closest_marker("long") and not LONG) or (alone and nats_version() == "debian")


def pytest_collection_modifyitems(config, items):
    out = [item for item in items if left_out(item)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
