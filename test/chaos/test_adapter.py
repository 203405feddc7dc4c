"""The event adapter loses nothing and says nothing it must not: kills, outages, markers, each with its guard taken away."""
import json
import random
import uuid

import pytest
from harness import wire
from harness.adapter import CONSUMERS, PATHS
from harness.process import eventually
from harness.receiver import Receiver
from harness.settings import LONG
from integration.test_adapter import run_forged

DLQ = PATHS["dlq"]
DEATHS = ("webhook-started:5", "webhook-over:2", "webhook-recorded:2", "before-settle:2")


def undelivered(adapter, ids):
    """Those of ids whose webhook no receiver has taken and that are in no dead letter of ours."""
    taken = {r["webhook_id"] for r in adapter.attempts(**{"class": "delivered"})}
    return [i for i in ids if i not in taken]


def run_killed(adapter, receiver, point, **env):
    """The process dies while calls are under way, and is started again; a receiver that answers 503 now and then."""
    receiver.answer = lambda call: 503 if len(receiver.calls) % 7 == 3 else 204
    ids = [adapter.dead_letter() for _ in range(40)]
    adapter.bus.hasten("ANIME_DLQ", 1)
    settings = {"PLANTED_KILL": point, **{k.upper(): v for k, v in env.items()}}
    worker = adapter.start(receiver.url, env=settings, wait=False)
    worker.wait()
    for _ in range(3):  # it dies at the same point again
        worker.start(wait=False)
        worker.wait()
    worker.env.pop("PLANTED_KILL")
    worker.start()
    adapter.settled("dlq", timeout=60)
    good = {c.id for c in receiver.calls}
    assert good == set(ids), "every event under its own id, and no other"
    delivered = {i for i in ids if i in good and i not in undelivered(adapter, ids)}
    assert delivered == set(ids) and adapter.parked() == []


@pytest.mark.chaos(fault="kill -9: four times in a row", place="adapter",
                   checks="every event delivered under one webhook-id, none parked")
@pytest.mark.parametrize("point", DEATHS if LONG else DEATHS[1:3])
def test_killed(adapter, receiver, point):
    run_killed(adapter, receiver, point)


@pytest.mark.chaos(fault="kill -9: while the receiver closes the route", place="adapter",
                   checks="disabled in the end, each event parked or delivered once it is enabled")
@pytest.mark.parametrize("point", ["webhook-over:1", "webhook-recorded:1", "before-settle:1"] if LONG else ["webhook-recorded:1"])
def test_killed_when_the_route_is_closed(adapter, receiver, point):
    receiver.answer = lambda call: 410
    ids = [adapter.dead_letter() for _ in range(20)]
    adapter.bus.hasten("ANIME_DLQ", 1)
    worker = adapter.start(receiver.url, env={"PLANTED_KILL": point}, wait=False, calls=1)
    worker.wait()
    worker.env.pop("PLANTED_KILL")
    worker.start()
    eventually(lambda: adapter.db.all("SELECT enabled FROM adapter.route") == [(False,)], what="disabled")
    receiver.answer = lambda call: 204
    adapter.review()
    adapter.settled("review")  # a call that was on its way has come by now
    called = len(receiver.calls)
    adapter.review()
    adapter.settled("review")
    assert [c.path for c in receiver.calls[called:]] == [PATHS["review"]], "a closed route was called"
    adapter.db.do("UPDATE adapter.route SET enabled = true")
    adapter.settled("dlq", timeout=60)
    last = {r["webhook_id"]: r["class"] for r in adapter.attempts("dlq")}
    assert sorted(last) == sorted(ids) and set(last.values()) <= {"delivered", "gone"}
    assert len(adapter.parked()) == sum(c == "gone" for c in last.values())


def run_refused_then_taken(adapter, receiver, **env):
    """Nothing counts as delivered that the receiver has not taken."""
    seen = set()

    def answer(call):
        first = call.id not in seen
        seen.add(call.id)
        return 500 if first else 204
    receiver.answer = answer
    adapter.start(receiver.url, env=env)
    ids = [adapter.dead_letter() for _ in range(5)]
    adapter.settled("dlq")
    assert sorted(receiver.ids()) == sorted(ids * 2), "each is called until it is taken"


@pytest.mark.chaos(fault="wrong answer or order: each event refused once", place="receiver", checks="each called until taken")
def test_refused_then_taken(adapter, receiver):
    run_refused_then_taken(adapter, receiver)


@pytest.mark.chaos(fault="guard taken away", place="adapter", checks="the scenario turns red")
@pytest.mark.parametrize("fault", ["ack-before-handle", "failure-taken-for-delivery"])
def test_an_early_acknowledgement_is_seen(adapter, receiver, fault):
    with pytest.raises(AssertionError, match="until it is taken"):
        run_refused_then_taken(adapter, receiver, PLANTED_FAULTS=fault)


def run_redirected(adapter, receiver, **env):
    receiver.answer = lambda call: (307, {"Location": receiver.url + "/elsewhere"}, b"") if call.path == DLQ else 200
    adapter.start(receiver.url, env=env)
    adapter.dead_letter()
    eventually(lambda: len(adapter.attempts()) >= 2 or adapter.bus.settled(*CONSUMERS["dlq"]), what="tried")
    assert receiver.of("/elsewhere") == [], "a redirect was followed"


@pytest.mark.chaos(fault="wrong answer or order: redirect to another place", place="receiver", checks="never followed")
def test_redirected(adapter, receiver):
    run_redirected(adapter, receiver)


@pytest.mark.chaos(fault="guard taken away", place="adapter", checks="the scenario turns red")
def test_a_followed_redirect_is_seen(adapter, receiver):
    with pytest.raises(AssertionError, match="a redirect was followed"):
        run_redirected(adapter, receiver, PLANTED_FAULTS="redirect-followed")


def run_inner_address(adapter, receiver, **env):
    adapter.start(receiver.url, env=env, allow_networks="")
    adapter.dead_letter()
    eventually(lambda: len(adapter.attempts()) >= 2 or adapter.bus.settled(*CONSUMERS["dlq"]), what="tried")
    assert receiver.connections == 0, "an address inside was connected to"


@pytest.mark.chaos(fault="hostile input: a destination inside the network", place="adapter", checks="never connected to")
def test_inner_address(adapter, receiver):
    run_inner_address(adapter, receiver)


@pytest.mark.chaos(fault="guard taken away", place="adapter", checks="the scenario turns red")
def test_an_unchecked_address_is_seen(adapter, receiver):
    with pytest.raises(AssertionError, match="an address inside"):
        run_inner_address(adapter, receiver, PLANTED_FAULTS="address-unchecked")


# Markers ---------------------------------------------------------------------------------------------------------

KEYS = {"dead-letter.created": {"event_id", "subject", "error_type", "entity_id", "source_service", "attempt_count", "dlq_seq",
                                "fingerprint"},
        "update.review-requested": {"event_id", "anime_id", "changed_fields", "risk_reason"},
        "ingestion.review-ready": {"run_id", "entry_count", "review_ref"}}


class Markers:
    """Texts that a body must never hold: hostile titles with a marker in the middle."""
    HOSTILE = ("{}", "\"{}", "\\{}", "\n{}\r\n", "{}\u0007", "</script>{}", "忍者{}☃", "'; DROP TABLE {};--", "a" * 3000 + "{}",
               "artifact:sha256/{}", "title-changed {}", "anime.updated {}", "bad-uuid {}", "0123456789abcdef{}", "{}-changed",
               "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10{}")

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.n = 0

    def text(self):
        self.n += 1
        return self.random.choice(self.HOSTILE).format(f"marker{self.n}x")

    def header(self):
        return "".join(c for c in self.text() if 0x20 <= ord(c) < 0x7f)[:200] or "marker"


def filled(message, markers, depth=0):
    """Puts a marker into every text of a message, lists and maps too."""
    for field in message.DESCRIPTOR.fields:
        repeated = getattr(field, "is_repeated", None)
        repeated = field.label == field.LABEL_REPEATED if repeated is None or callable(repeated) else repeated
        if field.type == field.TYPE_STRING:
            if repeated:
                getattr(message, field.name).extend(markers.text() for _ in range(3))
            else:
                setattr(message, field.name, markers.text())
        elif field.type == field.TYPE_MESSAGE and not repeated and depth < 3 \
                and field.message_type.full_name != "google.protobuf.Timestamp":
            filled(getattr(message, field.name), markers, depth + 1)
    return message


def run_markers(adapter, receiver, seed, n, **env):
    """Whatever stands in events and headers, bodies hold allowed keys with values of allowed forms alone."""
    print(f"seed {seed}")
    markers = Markers(seed)
    adapter.start(receiver.url, env=env)
    for i in range(n):
        adapter.letters.write(
            i + 1, code=markers.header(), reason=markers.header(), entity=markers.header(), fingerprint=markers.header(),
            payload=filled(wire.classes()["AnimeEnrichedEvent"](), markers).SerializeToString(), subject=markers.header(),
            headers={"Echora-Event-Id": markers.header(), "Echora-Dlq-Worker": markers.header(), "X-Mine": markers.header(),
                     "Echora-Dlq-Deliveries": markers.header(), "Echora-Dlq-Failed-At": markers.header(),
                     "Echora-Replay-For": markers.header()})
        anime = filled(wire.classes()["AnimeUpdatedEvent"](), markers).anime
        adapter.risky(("title",), ("title-changed", markers.text(), markers.text()), synopsis=anime.synopsis,
                      title=markers.text(), headers={"Echora-Risk": markers.header(), "X-Mine": markers.header()})
        adapter.review(review_ref=markers.text())
    adapter.settled("dlq", "risk", "review", timeout=60)
    assert len(receiver.calls) == 3 * n
    for call in receiver.calls:
        document = json.loads(call.body)
        assert b"marker" not in call.body, f"a value got out: {call.body[:300]!r}"
        assert set(document["data"]) == KEYS[document["type"]] and len(call.body) <= 20480
        assert not any("marker" in value for value in call.headers.values())
        uuid.UUID(document["id"])


@pytest.mark.chaos(fault="hostile input: texts in every field and header", place="adapter",
                   checks="no body holds any of them")
def test_markers(adapter, receiver):
    run_markers(adapter, receiver, random.randrange(2**32), 200 if LONG else 30)


@pytest.mark.chaos(fault="guard taken away", place="adapter", checks="the scenario turns red")
def test_a_value_that_gets_out_is_seen(adapter, receiver):
    with pytest.raises(AssertionError, match="a value got out"):
        run_markers(adapter, receiver, 7, 5, PLANTED_FAULTS="redaction-off")


# What a receiver says -----------------------------------------------------------------------------------------------

def run_echoing(adapter, receiver, seed, n, highest=255, **env):
    """A receiver that answers with the request's headers and our secret among bytes of any kind: the log shows none of it."""
    print(f"seed {seed}")
    rng, told = random.Random(seed), {}

    def noise(most):
        return bytes(rng.randrange(1, highest + 1) for _ in range(rng.randrange(most)))

    def answer(call):
        ours = rng.choice([call.headers["webhook-signature"], call.headers["x-signature-256"], adapter.secrets[0]])
        told[call.id] = [ours, adapter.secrets[0]]
        return 422, {}, b" ".join([noise(200), b"\x1b[2J", ours.encode(), noise(400)])
    receiver.answer = answer
    adapter.start(receiver.url, env=env, calls=1)
    ids = [adapter.dead_letter() for _ in range(n)]
    adapter.settled("dlq", timeout=60)
    rows = {r["webhook_id"]: r["answer"] for r in adapter.attempts("dlq")}
    assert all(" " <= c <= "~" for text in rows.values() for c in text), "a byte that a terminal obeys"
    assert sorted(rows) == sorted(ids) and all(len(text) <= 256 for text in rows.values())
    for id, text in rows.items():
        for secret in told[id]:
            assert not any(secret[i:i + 8] in text for i in range(len(secret) - 7)), f"ours was shown: {text}"


@pytest.mark.chaos(fault="hostile input: an echo of signatures and secrets, terminal escapes, any bytes", place="receiver",
                   checks="the log shows neither")
def test_echoing(adapter, receiver):
    run_echoing(adapter, receiver, random.randrange(2**32), 300 if LONG else 40)


@pytest.mark.chaos(fault="guard taken away", place="adapter", checks="the scenario turns red")
@pytest.mark.parametrize("fault,says", [("answer-unhidden", "ours was shown"), ("answer-raw", "a terminal obeys")])
def test_an_answer_as_it_came_is_seen(adapter, receiver, fault, says):
    with pytest.raises(AssertionError, match=says):
        run_echoing(adapter, receiver, 7, 5, highest=127, PLANTED_FAULTS=fault)


# Outages ----------------------------------------------------------------------------------------------------------

def run_dead_receiver(adapter, receiver, **env):
    """Gone for long, in the schedule's own measure: while it is away few calls are made, then everything is delivered."""
    port, events = receiver.port, 60
    worker = adapter.start(receiver.url, env=env, breaker_after=3, breaker_pause="400ms", retry_longest="2s", calls=2)
    receiver.stop()
    ids = [adapter.dead_letter() for _ in range(events)]
    eventually(lambda: len(adapter.attempts("dlq")) >= 6, 30, "failures")
    began = adapter.attempts("dlq")
    assert len({r["webhook_id"] for r in began}) < events / 2, "a dead receiver was called with everything"
    receiver.start(port)
    adapter.settled("dlq", timeout=60)
    assert sorted(receiver.ids()) == sorted(ids) and adapter.parked() == [] and worker.alive()


@pytest.mark.chaos(fault="away", place="receiver", checks="few calls meanwhile, none parked, all delivered")
def test_dead_receiver(adapter, receiver):
    run_dead_receiver(adapter, receiver)


@pytest.mark.chaos(fault="guard taken away", place="adapter", checks="the scenario turns red")
def test_a_lane_that_is_never_shut_is_seen(adapter, receiver):
    with pytest.raises(AssertionError, match="called with everything"):
        run_dead_receiver(adapter, receiver, PLANTED_FAULTS="lane-never-shut")


def run_database_away(adapter, receiver, pg_server, **env):
    """No attempt without its record: nothing is fetched while PostgreSQL is away."""
    worker = adapter.start(receiver.url, env=env)
    first = [adapter.dead_letter() for _ in range(3)]
    adapter.settled("dlq")
    pg_server.kill()
    worker.wait_unready(20)
    later = [adapter.dead_letter() for _ in range(10)]
    eventually(lambda: not worker.is_ready(), what="not ready")
    called = len(receiver.calls)
    pg_server.start()
    eventually(worker.is_ready, 30, "ready again")
    adapter.settled("dlq", timeout=60)
    assert called == len(first), "called while nothing could be recorded"
    recorded = [r["webhook_id"] for r in adapter.attempts("dlq")]
    assert sorted(set(receiver.ids())) == sorted(first + later), "all delivered"
    assert sorted(recorded) == sorted(receiver.ids()), "each call recorded"


@pytest.mark.chaos(fault="away: killed and started again", place="postgres", checks="no webhook meanwhile, each call recorded")
def test_database_away(adapter, receiver, pg_server):
    run_database_away(adapter, receiver, pg_server)


@pytest.mark.chaos(fault="guard taken away", place="adapter", checks="the scenario turns red")
def test_calls_that_are_not_recorded_are_seen(adapter, receiver, pg_server):
    with pytest.raises(AssertionError, match="each call recorded"):
        run_database_away(adapter, receiver, pg_server, PLANTED_FAULTS="attempts-unrecorded")


@pytest.mark.chaos(fault="guard taken away: only copies that the catalogue announced", place="adapter",
                   checks="the scenario turns red")
def test_a_copy_that_is_not_checked_is_seen(adapter, receiver):
    """test_adapter.py of the integration suite runs the scenario without the fault."""
    with pytest.raises(AssertionError, match="the forged one is not told"):
        run_forged(adapter, receiver, PLANTED_FAULTS="copy-unchecked")


@pytest.mark.chaos(fault="guard taken away", place="adapter", checks="the scenario turns red")
def test_an_unchecked_certificate_is_seen(adapter, receiver, tmp_path):
    """The receiver signed its certificate itself; test_adapter_guards.py shows that it gets nothing."""
    import ssl
    import subprocess
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
                    "-days", "2", "-subj", "/CN=elsewhere.example"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    secure = Receiver(receiver.secrets, tls=context)

    def run(**env):
        adapter.start(secure.url, env=env)
        adapter.dead_letter()
        eventually(lambda: adapter.attempts(), what="tried")
        assert secure.calls == [], "a certificate was not checked"
    with pytest.raises(AssertionError, match="was not checked"):
        run(PLANTED_FAULTS="certificate-unchecked")
    secure.stop()
