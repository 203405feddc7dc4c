"""The chaos suite tells what it breaks: every test has its mark, the page is the newest, the table is printed once."""
import os
import shutil
import subprocess
import sys

import pytest
from harness.settings import BUILD, ROOT

SUITE = """
import pytest

@pytest.mark.chaos(fault="kill -9: at a point", place="relay, nats", checks="oracle, memory")
@pytest.mark.parametrize("n", range(3))
def test_killed(n):
    assert n != 1

@pytest.mark.chaos(fault="kill -9", place="nats", checks="oracle")
def test_server_killed():
    pass
"""


def run(folder, *argv, **env):
    env = dict(os.environ, ECHORA_BUILD=str(BUILD), PYTHONDONTWRITEBYTECODE="1", **env)
    return subprocess.run([sys.executable, "-m", "pytest", *argv], cwd=folder, capture_output=True, text=True,
                          timeout=300, env=env, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """As collection makes it."""
    file = tmp_path_factory.mktemp("page") / "chaos.md"
    done = run(ROOT, "-q", "--collect-only", "test/chaos", ECHORA_CHAOS_PAGE=str(file))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return file.read_text()


def test_every_test_has_its_mark(page):
    assert [line for line in page.splitlines() if line.startswith("No mark")] == []


def test_page_is_up_to_date(page):
    assert (ROOT / "ops/reference/chaos.md").read_text() == page, "make it again: ops/tools/regenerate"


@pytest.fixture
def suite(tmp_path):
    """A small suite with the conftest of the real one."""
    (tmp_path / "test_small.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}/test\nmarkers =\n    chaos: x\n")
    shutil.copy(ROOT / "test/chaos/conftest.py", tmp_path)
    return tmp_path


@pytest.mark.parametrize("side_by_side", [[], ["-n", "2"]], ids=["alone", "side by side"])
def test_the_table_is_printed_once(suite, side_by_side):
    said = run(suite, "-p", "no:cacheprovider", *side_by_side).stdout
    told = [line.partition("chaos| ")[2] for line in said.splitlines() if line.startswith("chaos| ")]
    assert told == ["| fault   | nats        | relay       |",
                    "|---------|-------------|-------------|",
                    "| kill -9 | 4, 1 FAILED | 3, 1 FAILED |",
                    "",
                    "kill -9: oracle, memory",
                    "",
                    "4 cases, 1 failed",
                    "FAILED test_small.py::test_killed: kill -9: at a point (relay, nats)"], said


def test_what_has_no_mark_is_seen(suite):
    (suite / "test_bare.py").write_text("import pytest\n\ndef test_bare():\n    pass\n\n"
                                        "@pytest.mark.chaos(fault='x', place='')\ndef test_half():\n    pass\n")
    run(suite, "--collect-only", ECHORA_CHAOS_PAGE=str(suite / "page.md"))
    text = (suite / "page.md").read_text()
    assert text.endswith("No mark: test_bare.py::test_bare\nNo mark: test_bare.py::test_half")
    assert "`test_small.py::test_killed`" in text
