"""The stories of ops/runbooks, page by page: a fleet of `ops/up`, a shell of `ops/env`, and what a situation does.

Two modules tell them, each beside a fleet of its own, so that they run side by side.
"""
import itertools
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness.runbooks import ELSEWHERE, Story, all_blocks
from harness.settings import BUILD, ROOT, TOOLS

from .situations import SITUATIONS, Fleet

MARKS = [
    pytest.mark.skipif(BUILD != (ROOT / "build").resolve(), reason="uses the ordinary build"),
    pytest.mark.skipif(not (TOOLS / "nats").exists(), reason="no nats CLI: needs a Go toolchain")]
STORIES = [(page, situation, list(blocks)) for (page, situation), blocks in itertools.groupby(
    (b for b in all_blocks() if b.kind not in ELSEWHERE), lambda b: (b.page, b.situation))]


def of_pages(wanted):
    """A mark for a test of (page, situation, blocks): one case for each story on a page that is wanted."""
    stories = [story for story in STORIES if wanted(story[0])]
    return pytest.mark.parametrize(("page", "situation", "blocks"), stories,
                                   ids=[f"{p}-{s}-{b[0].line}" for p, s, b in stories])


def play(fleet, tell, situation, blocks):
    fleet.well = False
    story = tell(blocks)
    SITUATIONS[situation](fleet, story)
    assert not story.blocks, f"not run: {story.blocks}"
    fleet.wait_sound()
    fleet.well = True


def ops(command, *argv):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ECHORA_", "PG", "NATS_"))}
    done = subprocess.run([str(ROOT / "ops" / command), *argv], cwd=str(ROOT), text=True, env=env, timeout=180,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"ops/{command}: {done.returncode}\n{done.stdout}"


@pytest.fixture(scope="module")
def fleets():
    """Makes the fleet, and another one when a story has not ended well: the next is not to suffer for it."""
    folder = Path(tempfile.mkdtemp(prefix="echora-runbooks-"))
    folder.chmod(0o755)
    state, running = folder / "state", []

    def stop():
        for one in running:
            one.close()
        running.clear()
        ops("down", "--state", str(state), "--wipe")

    def get():
        if running and not running[0].well:
            stop()
        if not running:
            ops("up", "--no-install", "--no-sample", "--state", str(state))
            running.append(Fleet(state))
        return running[0]
    yield get
    stop()
    folder.rmdir()


@pytest.fixture
def fleet(fleets):
    return fleets()


@pytest.fixture
def tell(fleet, tmp_path):
    """Starts the story of some blocks, in an empty folder where `ops/` is the checkout's."""
    (tmp_path / "ops").symlink_to(ROOT / "ops")
    told = []

    def start(blocks):
        told.append(Story(blocks, fleet.folder, tmp_path))
        return told[-1]
    yield start
    for story in told:
        story.shell.close()
