"""Every command of ops/runbooks, run by bash in the shell of ops/env against a fleet that is in the page's situation: pages
up to "l", and what a page may say. The other pages: test_runbooks_from_m.py."""
import pytest
from harness.runbooks import Block, blocks_of

from .stories import MARKS, fleet, fleets, of_pages, play, tell  # noqa: F401 (fixtures)

pytestmark = MARKS


@of_pages(lambda page: page < "m")
def test_the_commands_of(fleet, tell, page, situation, blocks):  # noqa: F811
    play(fleet, tell, situation, blocks)


@pytest.mark.parametrize(("text", "wrong"), [
    ("echo one\n# -> two", "not printed: ['two']"),
    ("false", "exit 1, should be 0"),
    ("echora no-such-verb\n# exit 1", "exit 2, should be 1"),
    ("echora dlq show SEQ", "nothing tells what ['SEQ'] are")])
def test_a_wrong_page_is_seen(fleet, tell, text, wrong):  # noqa: F811
    story = tell([Block("a page", 1, "healthy", "", text)])
    with pytest.raises(AssertionError, match=wrong.replace("[", r"\[")):
        story.run_all()


def test_what_a_page_may_say(fleet, tell):  # noqa: F811
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
