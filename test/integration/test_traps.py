"""Traps of JetStream and of the nats CLI that no other test names; test/TRAPS.md lists all of them."""
import json
import subprocess

import pytest
from harness.process import eventually
from harness.scripted import Script, event
from harness.settings import TOOLS

from ops.nats import users


def configs(streams):
    """Every stream with its consumers, as the server has them after `echora streams apply`."""
    bus = streams.bus()

    async def go():
        return [(stream.config, [c.config for c in await bus.js.consumers_info(stream.config.name)])
                for stream in await bus.js.streams_info()]
    return bus.wait(go())


def test_no_stream_forgets_what_was_read(streams):
    """Work queues and interest streams lose terminated messages, and exhausted ones on some servers."""
    assert {stream.retention for stream, _ in configs(streams)} == {"limits"}


def test_no_consumer_has_a_back_off(streams):
    """It would replace the ack wait, be ignored by a plain nak, and be added to a delayed one."""
    consumers = [c for _, found in configs(streams) for c in found]
    assert len(consumers) >= 13 and not any(c.backoff for c in consumers)


def test_consumers_leave_nothing_to_defaults(streams):
    for consumer in (c for _, found in configs(streams) for c in found):
        assert consumer.ack_policy == "explicit" and consumer.ack_wait >= 30, consumer.name
        assert consumer.max_deliver == 100_000, consumer.name
        # Beyond what the lanes of several replicas fetch (64 each): one that is gone must not fill the window.
        assert consumer.max_ack_pending >= 1000, consumer.name


def test_dead_letters_can_be_read_and_are_captured_in_time(streams):
    """Viewers need direct get; advisories are sent only when somebody listens, so their stream comes with the others."""
    found = {stream.name: stream for stream, _ in configs(streams)}
    assert found["ANIME_DLQ"].allow_direct and found["ANIME_DLQ"].discard == "new"
    assert "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.*" in found["ANIME_ADVISORY"].subjects
    assert found["ANIME_EVENTS"].duplicate_window >= 86400  # 2 minutes, were it not set


def test_headers_do_not_grow_with_each_hop(nats, folder, spawn):
    """A replayed event that fails again: its letter holds each header once, and none of the replay before."""
    script = Script(nats, folder)
    spawn("scripted", env=script.env)
    headers = {"mine": "kept"}
    for hop in range(1, 4):
        script.publish("reject", headers=dict(headers, **{"Echora-Replay-Hop": str(hop), "Nats-Expected-Stream": "ANIME_EVENTS"}))
        eventually(lambda: len(script.dead_letters()) == hop, 20, "its letter")  # noqa: B023
        headers = dict(script.dead_letters()[-1].headers)
        assert headers["mine"] == "kept" and headers["Echora-Dlq-Hop"] == str(hop)
        if hop > 1:
            assert len(headers) == before  # noqa: F821
        before = len(headers)
        headers = {name: text for name, text in headers.items() if not name.startswith("Nats-")}


def test_control_headers_of_the_original_are_left_out(nats, folder, spawn):
    script = Script(nats, folder)
    spawn("scripted", env=script.env)
    script.publish("reject", headers={"Nats-Expected-Stream": "ANIME_EVENTS", "Nats-Expected-Last-Sequence": "0", "Nats-Msg-Id": "first", "mine": "kept"})
    eventually(script.dead_letters, 20, "a letter")
    (letter,) = script.dead_letters()
    assert letter.headers["Nats-Msg-Id"] != "first" and letter.headers.get("Nats-Expected-Stream") in (None, "ANIME_DLQ")
    assert "Nats-Expected-Last-Sequence" not in letter.headers and letter.headers["mine"] == "kept"


# --- the nats CLI ----------------------------------------------------------------------------------------

cli = pytest.mark.skipif(not (TOOLS / "nats").exists(), reason="no nats CLI: needs a Go toolchain")


@pytest.fixture
def command(streams):
    """command(user, words, payload): the nats CLI as that user; (exit code, output)."""
    def run(user, *argv, payload=None):
        done = subprocess.run([TOOLS / "nats", "--server", streams.server.url, "--user", user, "--password",
                               streams.server.passwords[user], *argv], input=payload, capture_output=True, timeout=60,
                              **({} if payload is not None else {"stdin": subprocess.DEVNULL}))
        return done.returncode, done.stdout + done.stderr
    return run


@cli
def test_a_payload_is_a_template_unless_told_otherwise(streams, command):
    good, broken = b"\x0a\x02{{Count}}", b"\x0a\x02{{no such}}"
    for payload, flags in ((good, []), (good, ["--no-templates"]), (broken, [])):
        assert command("operator", "pub", "anime.updated", "-J", "--force-stdin", *flags, payload=payload)[0] == 0
    altered, kept, after_an_error = (m.data for m in streams.bus().messages("ANIME_EVENTS"))
    assert altered == b"\x0a\x021" and kept == good
    assert after_an_error == broken  # published all the same


@cli
def test_a_duplicate_ends_with_success(streams, command):
    for said in (b"Sequence: 1", b"Duplicate: true"):
        code, out = command("operator", "pub", "anime.updated", "-J", "--force-stdin", "--no-templates", "-H",
                            "Nats-Msg-Id:once", payload=b"x")
        assert code == 0 and said in out
    assert streams.bus().stream("ANIME_EVENTS").state.messages == 1


@cli
def test_without_jetstream_a_refusal_is_not_told(streams, command):
    """`nats pub` without -J: a full stream takes nothing, and the command says that it was published."""
    config = streams.bus().stream("ANIME_EVENTS").config
    streams.bus().wait(streams.bus().js.update_stream(config.evolve(max_bytes=10)))
    code, out = command("operator", "pub", "anime.updated", "--force-stdin", "--no-templates", payload=b"x" * 100)
    assert code == 0 and b"Published" in out
    code, out = command("operator", "pub", "anime.updated", "-J", "--force-stdin", "--no-templates", payload=b"x" * 100)
    assert code == 1 and b"maximum bytes exceeded" in out
    assert streams.bus().stream("ANIME_EVENTS").state.messages == 0


@cli
def test_a_raw_answer_has_line_ends_of_its_own(streams, command):
    streams.bus("deadletters").publish("anime.dlq.catalog-updated", event("x"))
    code, out = command("operator", "req", "$JS.API.DIRECT.GET.ANIME_DLQ", '{"seq":1}', "--raw")
    assert code == 0 and out.endswith(b"\n") and not out.rstrip(b"\n") == out


@cli
def test_nobody_pulls_letters_away_by_hand(streams, command):
    """`nats consumer next` acknowledges by default: people have no right to it."""
    streams.bus("deadletters").publish("anime.dlq.catalog-updated", event("x"))
    for user in ("operator", "admin"):
        code, out = command(user, "--timeout", "1s", "consumer", "next", "ANIME_DLQ", "dlq-index")
        assert code != 0, out
    assert streams.bus().consumer("ANIME_DLQ", "dlq-index").num_pending == 1


@cli
def test_reading_needs_a_terminal_or_a_direct_get(streams, command):
    streams.bus("deadletters").publish("anime.dlq.catalog-updated", event("x"), headers={"Echora-Dlq-Code": "bad-uuid"})
    assert command("viewer", "stream", "view", "ANIME_DLQ", "25")[0] != 0
    code, out = command("viewer", "sub", "--stream", "ANIME_DLQ", "--direct", "--all", "--headers-only", "--wait", "1s",
                        "anime.dlq.>")
    if streams.server.which == "debian":  # batched direct gets came with 2.11
        assert b"Echora-Dlq-Code" not in out
        code, out = command("viewer", "stream", "get", "ANIME_DLQ", "1")
    assert code == 0 and b"Echora-Dlq-Code: bad-uuid" in out


@cli
def test_one_letter_may_be_removed_and_no_event(streams, command):
    streams.bus("deadletters").publish("anime.dlq.catalog-updated", event("x"))
    streams.bus("operator").publish("anime.updated", event("x"))
    assert command("operator", "--timeout", "1s", "stream", "rmm", "ANIME_DLQ", "1", "-f")[0] != 0
    assert command("admin", "stream", "rmm", "ANIME_DLQ", "1", "-f")[0] == 0
    assert command("admin", "--timeout", "1s", "stream", "rmm", "ANIME_EVENTS", "1", "-f")[0] != 0
    assert streams.bus().stream("ANIME_DLQ").state.messages == 0
    assert streams.bus().stream("ANIME_EVENTS").state.messages == 1


def test_rights_that_the_traps_rely_on():
    for user in ("viewer", "operator", "admin", "publisher"):
        assert not users.USERS[user].get("consumers")
        assert not [s for s in users.permissions(user)[0] if "MSG.NEXT" in s]
