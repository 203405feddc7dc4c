"""A worker dies in the middle of a pass of drift repair: another one takes it up where it stood."""
import signal

from harness.chain import Chain, anime, ident
from harness.process import eventually


def test_a_pass_is_taken_up(db, streams, qdrant, spawn, echora):
    chain = Chain(db, streams, qdrant, spawn, echora)
    first = spawn("qdrant", argv=["--repair-interval=3s", "--repair-rate=10"], env={"PLANTED_KILL": "repair-page:2"})
    chain.publish(*[anime(i) for i in range(40)])
    chain.quiet()
    qdrant.call("POST", "/collections/anime_database/points/delete?wait=true",
                {"points": [ident(1, i) for i in range(40)]})
    assert first.wait(30) == -signal.SIGKILL
    second = spawn("qdrant", argv=["--repair-interval=1h"])  # for itself it would begin none
    eventually(lambda: len(chain.living()) == 40, 90, "the rest is repaired")
    chain.quiet()
    chain.check([anime(i) for i in range(40)])
    begins = [line for line in second.logs() if line["msg"] == "repair begins"]
    assert [line["reason"] for line in begins] == ["taken up"]
