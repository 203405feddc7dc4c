"""No secret, token, body or query value of a call stands in any log, metric, command line or environment, nor, but for
what the specification lists, on the stream AUDIT: every place of every call of the OpenAPI document gets a word that
nobody else says, through nginx and at the worker's socket, and all of these are searched for it.
"""
from harness import leaks
from harness.api_world import World, start


def test_no_word_of_a_call_is_told(api, streams, db, qdrant, spawn, folder, session_folder):
    world = World(api, streams, db, spawn)
    world.example_letters()
    start(api, log=folder / "nginx-refusals.log")
    said, statuses = leaks.scenario(world, (folder, session_folder))
    assert said > 1000 and {200, 202, 400, 401, 404, 405, 409, 415, 422, 500} <= statuses, (said, statuses)
    assert '"msg":"refused"' in (folder / "nginx-refusals.log").read_text()
    world.close()
