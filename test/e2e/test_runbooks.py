"""Every command of ops/runbooks, run by bash in the shell of ops/env against a fleet that is in the page's situation."""
import itertools
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness.runbooks import ELSEWHERE, Block, Story, all_blocks, blocks_of
from harness.settings import BUILD, ROOT, TOOLS

from .situations import SITUATIONS, Fleet

pytestmark = [
    pytest.mark.skipif(BUILD != (ROOT / "build").resolve(), reason="uses the ordinary build"),
    pytest.mark.skipif(not (TOOLS / "nats").exists(), reason="no nats CLI: needs a Go toolchain")]

STORIES = [(page, situation, list(blocks)) for (page, situation), blocks in itertools.groupby(
    (b for b in all_blocks() if b.kind not in ELSEWHERE), lambda b: (b.page, b.situation))]


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


@pytest.mark.parametrize(("page", "situation", "blocks"), STORIES, ids=[f"{p}-{s}-{b[0].line}" for p, s, b in STORIES])
def test_the_commands_of(fleet, tell, page, situation, blocks):
    fleet.well = False
    story = tell(blocks)
    SITUATIONS[situation](fleet, story)
    assert not story.blocks, f"not run: {story.blocks}"
    fleet.wait_sound()
    fleet.well = True


@pytest.mark.parametrize(("text", "wrong"), [
    ("echo one\n# -> two", "not printed: ['two']"),
    ("false", "exit 1, should be 0"),
    ("echora no-such-verb\n# exit 1", "exit 2, should be 1"),
    ("echora dlq show SEQ", "nothing tells what ['SEQ'] are")])
def test_a_wrong_page_is_seen(fleet, tell, text, wrong):
    story = tell([Block("a page", 1, "healthy", "", text)])
    with pytest.raises(AssertionError, match=wrong.replace("[", r"\[")):
        story.run_all()


def test_what_a_page_may_say(fleet, tell):
    story = tell(blocks_of("a page", """<!-- situation: healthy -->
```sh
printf 'id 73 done\\n'
# -> id SEQ done
test SEQ = 73
cat <<'END'
PLAN
# -> no expectation
END
# -> ... no
false ||
  echo $((1 + 1)) \\
    lines
# -> 2   lines
```
""".replace("PLAN", "a line")))
    story.run_all()
    assert story.values == {"SEQ": "73"}
