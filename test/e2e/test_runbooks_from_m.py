"""The second half of the stories of ops/runbooks, see test_runbooks.py."""
from .stories import MARKS, fleet, fleets, of_pages, play, tell  # noqa: F401 (fixtures)

pytestmark = MARKS


@of_pages(lambda page: page >= "m")
def test_the_commands_of(fleet, tell, page, situation, blocks):  # noqa: F811
    play(fleet, tell, situation, blocks)
