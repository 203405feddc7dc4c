"""`echora review` and `echora follow` on risky updates, and the commands of their runbook."""
import os
import re
import subprocess

import pytest

from harness.catalogue import anime, event, new_id
from harness.process import eventually
from harness.reviews import Reviews, of
from harness.settings import BUILD, ROOT, TOOLS


@pytest.fixture
def chain(db, streams, qdrant, spawn, echora):
    reviews = Reviews(streams, db)
    reviews.writer, *_ = [spawn(kind) for kind in ("catalogue", "relay", "qdrant")]
    return reviews, echora


def stations(result):
    return {s["station"]: s for s in result.json["stations"]}


def test_list_show_approve_reject(chain):
    reviews, echora = chain
    assert echora("review", "list", user="viewer").out == "no risky updates wait (--state all shows the others)\n"
    anime_id = reviews.living(episode_count=12, synopsis="long " * 100)
    review, e = reviews.park(anime_id, title="Wr\u00f6ng", episode_count=11, synopsis="")
    line = echora("review", "list", user="viewer").out.splitlines()[1]
    assert re.match(rf"{review}  \S+ s +pending +Right +episode-count-lowered, synopsis-removed, title-changed$", line)
    shown = echora("review", "show", review, user="viewer").out
    assert re.search(r'title\n  now       "Right"\n  proposed  "Wr\u00f6ng"\n', shown)
    assert re.search(r'synopsis\n  now       "(long )+long\.\.\. \(502 bytes; --json shows all\)\n  proposed  ""\n', shown)
    assert e.event_id in shown and f"echora review approve {review}" in shown and "expires in 30 d" in shown
    assert echora("review", "show", e.event_id, "--json").json["proposed"]["episodeCount"] == 11
    done = echora("review", "approve", review, "--reason", "seen", "--actor", "anna")
    assert f"{review} approved by anna" in done.out and "applied: episode_count, synopsis, title" in done.out
    assert echora("review", "approve", review, "--actor", "anna", "--json").json["state"] == "approved"
    refused = echora("review", "reject", review, ok=False)
    assert refused.code == 1 and "approved by anna at" in refused.err and "[already-decided]" in refused.err
    second, _ = reviews.park(anime_id, at=20, title="Other")
    echora("review", "reject", second, "--reason", "no")
    assert "rejected by" in echora("review", "show", second).out and "(no)" in echora("review", "show", second).out
    # A publisher's text does nothing to the terminal.
    odd, _ = reviews.park(anime_id, at=25, headers={"Echora-Risk": "odd"}, title="\x1b[31mred")
    reviews.approve(odd)
    hidden, _ = reviews.park(anime_id, at=26, title="Plain")
    assert "?[31mred" in (shown := echora("review", "show", hidden).out) and "\x1b" not in shown
    reviews.reject(hidden)
    # What is overtaken can't be approved, and says so.
    third, _ = reviews.park(anime_id, at=30, title="Other")
    reviews.enriched(anime_id, anime(title="Newer"), at=40)
    reviews.settle()
    late = echora("review", "approve", third, ok=False)
    assert late.code == 1 and "superseded already" in late.out and "came later: its values stand in title" in late.out
    for argv, code in ((("show", "x"), 2), (("show", new_id()), 1), (("list", "--state", "odd"), 2), (("approve",), 2)):
        assert echora("review", *argv, ok=False).code == code
    pages = echora("review", "list", "--state", "all", "--limit", "2")
    cursor = re.search(r"more: --cursor (\S+)", pages.out)[1]
    assert review in echora("review", "list", "--state", "all", "--cursor", cursor).out
    nobody = echora("review", "list", "--nats-url", "nats://127.0.0.1:9", "--timeout", "500ms", ok=False)
    assert nobody.code == 3


def test_the_journey_of_a_risky_update(chain, db):
    reviews, echora = chain
    anime_id = reviews.living()
    review, e = reviews.park(anime_id, title="Wrong", year=2001)
    eventually(lambda: "flagged" in (seen := stations(echora("follow", e.event_id, "--json", ok=False)))
               and {s["state"] for s in seen.values()} == {"done", "waiting"} and seen["flagged"]["state"] == "done"
               and seen["indexed"]["state"] == "done", 20, "flagged and indexed")
    for known in (e.event_id, review, anime_id):
        result = echora("follow", known, "--json", ok=False)
        seen = stations(result)
        assert list(seen) == ["received", "written", "flagged", "webhook", "decision", "outbox", "relayed", "indexed"], known
        assert result.json["eventId"] == e.event_id and result.code == 1 and result.json["state"] == "waiting"
        assert "parked: title [title-changed]" in seen["written"]["text"]
        assert f"echora review show {review}" in seen["decision"]["text"]
    assert stations(echora("follow", review, "--json", ok=False))["webhook"]["text"] == "no attempt yet"
    attempt = ("INSERT INTO adapter.delivery (webhook_id, route, attempt, trigger, stream, stream_seq, started_at, ms, status,"
               " error, class, next_try_at) VALUES (%s, 'risk', %s, 'event', 'ANIME_EVENTS', 1, now(), 3, %s, '', %s, %s)")
    db.do(attempt, review, 1, 503, "trouble", "2099-01-01")
    assert stations(echora("follow", review, "--json", ok=False))["webhook"]["state"] == "waiting"
    db.do(attempt, review, 2, 202, "delivered", None)
    decision = reviews.approve(review)
    result = echora("follow", review, "--json", "--wait", "15s")
    seen = stations(result)
    assert seen["webhook"]["text"] == "risk, attempt 2: 202 (delivered)"
    assert f"approved by anna, revision {decision['revision']}" in seen["decision"]["text"]
    assert f"revision {decision['revision']}" in seen["indexed"]["text"] and result.json["state"] == "done"
    assert stations(echora("follow", decision["decisionId"], "--json")) == seen
    assert "approved by anna" in echora("follow", anime_id).out


def test_values_that_are_not_there(chain):
    reviews, echora = chain
    review, _ = reviews.park(reviews.living(), headers={"Echora-Risk": "odd"}, year=2001, background="b")
    assert echora("review", "show", review).out.count("now       (empty)") == 2


def test_nothing_that_publishers_wrote_moves_the_terminal(chain):
    """An escape and a control character of two bytes, in a title and in a reason."""
    reviews, echora = chain
    hostile = "a\x1b]0;b\x07c\x9b31md"
    anime_id = reviews.living(title=hostile)
    e = event("AnimeUpdatedEvent", 10, anime_id=anime_id, changed_fields=["year", "background"],
              anime=of(year=2001, background=hostile), risk_reasons=[hostile])
    reviews.publish("anime.updated", e)
    reviews.settle()
    review = reviews.list()[0]["reviewId"]
    for args in (("review", "list"), ("review", "show", review), ("follow", review), ("follow", anime_id)):
        out = echora(*args, ok=args[0] == "review").out
        assert not set(out) & {"\x1b", "\x07", "\x9b"}, args


def test_follow_other_ends(chain):
    reviews, echora = chain
    anime_id = reviews.living()
    review, _ = reviews.park(anime_id, title="Wrong")
    reviews.reject(review)
    result = echora("follow", review, "--json", "--wait", "15s")
    assert "rejected by anna" in stations(result)["decision"]["text"]
    review, _ = reviews.park(anime_id, at=20, title="Wrong")
    newer = reviews.enriched(anime_id, anime(title="Newer"), at=30)
    reviews.settle()
    result = echora("follow", review, "--json", "--wait", "15s")
    assert newer.event_id in stations(result)["decision"]["text"]


@pytest.mark.skipif(not (TOOLS / "nats").exists(), reason="no nats CLI")
def test_the_commands_of_the_runbook(chain, db):
    reviews, echora = chain
    review, _ = reviews.park(reviews.living(), title="Wrong")
    cut, _ = reviews.park(reviews.living(tags=["a", "b", "c"]), tags=[])
    server = reviews.streams.server
    env = {**echora.environment(), "PATH": f"{BUILD / 'ops'}:{TOOLS}:{os.environ['PATH']}", "NATS_URL": server.url,
           "NATS_USER": "operator", "NATS_PASSWORD": server.passwords["operator"], "PGHOST": "127.0.0.1",
           "PGPORT": str(db.server.port), "PGDATABASE": db.name, "PGUSER": "echora_reader",
           "PGPASSWORD": db.server.passwords["echora_reader"]}
    text = (ROOT / "ops/runbooks/reviews.md").read_text().replace("REVIEW", review) \
        .replace("localhost:9101", f"localhost:{reviews.writer.port}")
    ran = 0
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S):
        for command, notes in re.findall(r"^([^#\s].*\n(?:[ ].*\n)*)((?:# .*\n)*)", block, re.M):
            done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, timeout=60,
                                  cwd=ROOT, stdin=subprocess.DEVNULL)
            ends = re.findall(r"^# exit (\d+)$", notes, re.M)
            assert done.returncode == int(ends[0] if ends else 0), (command, done.stdout, done.stderr)
            for want in re.findall(r"^# -> (.*)$", notes, re.M):
                pattern = ".*".join(re.escape(part.strip()) for part in want.split("..."))
                assert re.search(pattern, done.stdout, re.S), (command, want, done.stdout)
            ran += 1
    assert ran >= 12 and reviews.state(cut) == "rejected"
