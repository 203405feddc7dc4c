"""The event adapter: what it sends, and what it does with each answer."""
import json
import signal
import threading
import time
import uuid

import pytest

from harness.adapter import PATHS
from harness.process import eventually, lasted_less
from harness.receiver import new_secret

DLQ, RISK, REVIEW = PATHS["dlq"], PATHS["risk"], PATHS["review"]


def test_a_dead_letter_is_told(adapter, receiver):
    adapter.start(receiver.url)
    entity, event = str(uuid.uuid4()), str(uuid.uuid4())
    id = adapter.dead_letter(entity=entity, code="pg-23503", fingerprint="0123456789abcdef", reason="never told",
                             headers={"Echora-Event-Id": event, "Echora-Dlq-Deliveries": "5"})
    adapter.settled("dlq")
    (call,) = receiver.of(DLQ)
    assert call.id == id
    assert call.json == {
        "type": "dead-letter.created", "timestamp": "2026-01-01T01:01:00Z", "id": id,
        "data": {"event_id": event, "subject": "anime.updated", "error_type": "pg-23503", "entity_id": entity,
                 "source_service": "catalog-updated", "attempt_count": 5, "dlq_seq": 1,
                 "fingerprint": "0123456789abcdef"}}
    (row,) = adapter.attempts()
    assert (row["webhook_id"], row["route"], row["attempt"], row["status"], row["class"], row["next_try_at"],
            row["stream"], row["stream_seq"], row["trigger"]) == \
        (id, "dlq", 1, 204, "delivered", None, "ANIME_DLQ", 1, "event")


def test_a_risky_update_and_a_review_are_told(adapter, receiver):
    adapter.start(receiver.url)
    adapter.risky(review=False)  # what publishers say is none of its business
    anime = str(uuid.uuid4())
    risky = adapter.risky(("title", "episode_count"), ("title-changed", "my own words", "episode-count-lowered"),
                          anime_id=anime)
    review = adapter.review(run_id=12, entry_count=34)
    adapter.settled("risk", "review")
    (call,) = receiver.of(RISK)
    assert (call.id, call.json["type"]) == (risky, "update.review-requested")
    assert call.data == {"event_id": risky, "anime_id": anime, "changed_fields": ["title", "episode_count"],
                         "risk_reason": ["title-changed", "episode-count-lowered", "flagged"]}
    (call,) = receiver.of(REVIEW)
    assert (call.id, call.json["type"]) == (review, "ingestion.review-ready")
    assert call.data == {"run_id": 12, "entry_count": 34, "review_ref": "artifact:sha256/" + "ab" * 32}


def run_forged(adapter, receiver, **env):
    """Whoever may publish updates may write the header; the catalogue knows which copies are its own."""
    worker = adapter.start(receiver.url, env=env)
    forged = adapter.risky(announced=False)
    risky = adapter.risky()
    adapter.settled("risk")
    assert receiver.ids() == [risky], "the forged one is not told"
    assert adapter.parked() == []
    worker.wait_log(forged)


def test_a_forged_copy_is_not_told(adapter, receiver):
    run_forged(adapter, receiver)


def test_a_failed_call_is_repeated_under_the_same_id(adapter, receiver):
    receiver.answer = lambda call: 503 if len(receiver.calls) < 4 else 200
    adapter.start(receiver.url)
    id = adapter.dead_letter()
    adapter.settled("dlq")
    assert receiver.ids() == [id] * 4
    assert [(r["attempt"], r["status"], r["class"]) for r in adapter.attempts()] == \
        [(1, 503, "trouble"), (2, 503, "trouble"), (3, 503, "trouble"), (4, 200, "delivered")]
    assert adapter.parked() == []


def test_what_fails_ten_times_is_parked(adapter, receiver):
    receiver.answer = lambda call: 500
    adapter.start(receiver.url)
    id = adapter.dead_letter()
    adapter.settled("dlq", timeout=40)
    assert receiver.ids() == [id] * 10
    (letter,) = adapter.parked()
    assert (letter["Echora-Dlq-Class"], letter["Echora-Dlq-Code"], letter["Echora-Dlq-Consumer"]) == \
        ("retry-exhausted", "http-500", "adapter-dlq")
    assert adapter.attempts()[-1]["next_try_at"] is None


# Each status, and what then becomes of the event -------------------------------------------------------------------

PARKED_AT_ONCE = {400, 413, 415, 422}


def status_of(call):
    return 200 + call.data["attempt_count"] - 1000


@pytest.mark.parametrize("first", range(200, 600, 100))
def test_every_status(adapter, receiver, first):
    """Delivered, parked at once, or tried again and delivered then; nothing else, and nothing lost."""
    seen = set()

    def answer(call):
        status = status_of(call)
        again = call.id in seen
        seen.add(call.id)
        return 204 if again else (status, {"Location": f"{receiver.url}/elsewhere"}, b"some words")
    receiver.answer = answer
    statuses = [s for s in range(first, first + 100) if s != 410]
    adapter.start(receiver.url, breaker_after=1000)
    ids = {adapter.dead_letter(headers={"Echora-Dlq-Deliveries": str(1000 + s - 200)}): s for s in statuses}
    adapter.settled("dlq", timeout=60)
    tries = {id: [r["status"] for r in adapter.attempts(webhook_id=id)] for id in ids}
    for id, status in ids.items():
        if status < 300 or status in PARKED_AT_ONCE:
            assert tries[id] == [status]
        else:
            assert tries[id] == [status, 204], status
    assert receiver.of("/elsewhere") == []
    letters = adapter.parked()
    assert sorted(x["Echora-Dlq-Code"] for x in letters) == sorted(f"http-{s}" for s in PARKED_AT_ONCE if s in statuses)
    assert {x["Echora-Dlq-Class"] for x in letters} <= {"reject"}


def test_only_202_where_it_is_asked_for(adapter, receiver):
    """n8n answers 200 where a workflow failed before its answer: no delivery."""
    receiver.answer = lambda call: (200, 204, 202)[min(len(receiver.calls), 3) - 1]
    adapter.start(receiver.url, only_202="true")
    id = adapter.dead_letter()
    adapter.settled("dlq")
    assert [(r["status"], r["class"]) for r in adapter.attempts(webhook_id=id)] == \
        [(200, "trouble"), (204, "trouble"), (202, "delivered")]


def test_a_receiver_says_when(adapter, receiver):
    """Retry-After is honoured where it is longer than the schedule's pause."""
    receiver.answer = lambda call: (503, {"Retry-After": "2"}, b"") if len(receiver.calls) < 2 else 204
    adapter.start(receiver.url)
    adapter.dead_letter()
    adapter.settled("dlq")
    first, second = receiver.calls
    assert second.at - first.at >= 1.9


def test_gone_disables_the_route_until_a_person_enables_it(adapter, receiver, echora):
    receiver.answer = lambda call: 410 if call.path == DLQ else 204
    worker = adapter.start(receiver.url, calls=1)
    adapter.dead_letter()
    eventually(adapter.parked, what="parked")
    later = [adapter.dead_letter() for _ in range(3)]
    risky = adapter.risky()  # another route, which the same receiver serves well
    eventually(lambda: outage(worker, "adapter-dlq"), what="told by readyz")
    assert outage(worker, "adapter-dlq")["code"] == "route-disabled" and worker.is_ready()
    assert len(receiver.of(DLQ)) == 1 and adapter.db.all("SELECT route, enabled FROM adapter.route") == [("dlq", False)]
    receiver.answer = lambda call: 204
    worker = worker.restart()  # it stays disabled
    eventually(lambda: risky in receiver.ids(RISK), what="the other route")
    assert len(receiver.of(DLQ)) == 1
    adapter.db.do("UPDATE adapter.route SET enabled = true")
    adapter.settled("dlq")
    assert receiver.ids(DLQ)[1:] == later
    (letter,) = adapter.parked()
    assert letter["Echora-Dlq-Code"] == "http-410"


def outage(worker, name):
    _, text = worker.http("/readyz")
    return next((o for o in json.loads(text)["outages"] if o["dependency"] == name), None)


def test_a_dead_receiver_is_left_alone_and_nothing_is_parked(adapter, receiver):
    """While the route rests one event is tried at a time; others keep their tries for later."""
    port = receiver.port
    worker = adapter.start(receiver.url, breaker_after=3, breaker_pause="300ms", retry_longest="5s")
    receiver.stop()
    ids = [adapter.dead_letter() for _ in range(40)]
    eventually(lambda: outage(worker, "adapter-dlq"), what="route rests")
    told = outage(worker, "adapter-dlq")
    assert told["code"] == "http-connect" and worker.is_ready()
    eventually(lambda: worker.metric("echora_breaker_open", dependency="adapter-dlq") == 1, what="metric")
    eventually(lambda: outage(worker, "adapter-dlq")["failed_probes"] >= 2, what="trials")
    failed = len(adapter.attempts("dlq"))
    assert failed < 20  # 40 events that fail together would have made 40 calls
    receiver.start(port)
    adapter.settled("dlq", timeout=40)
    assert sorted(receiver.ids(DLQ)) == sorted(ids) and adapter.parked() == []
    assert outage(worker, "adapter-dlq") is None and "lane open again" in worker.text()


def test_a_slow_route_delays_no_other(adapter, receiver):
    def answer(call):
        if call.path == DLQ:
            time.sleep(1.5)
        return 204
    receiver.answer = answer
    adapter.start(receiver.url, calls=1)
    for _ in range(4):
        adapter.dead_letter()
    eventually(lambda: receiver.of(DLQ), what="the slow one has begun")
    began = time.monotonic()
    for _ in range(40):
        adapter.review()
    adapter.settled("review")
    assert lasted_less(began, 3) and len(receiver.of(REVIEW)) == 40 and len(adapter.attempts("dlq")) < 4
    adapter.settled("dlq")


def test_no_more_calls_at_once_than_allowed(adapter, receiver):
    lock, now, most = threading.Lock(), [0], [0]

    def answer(call):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return 204
    receiver.answer = answer
    ids = [adapter.dead_letter() for _ in range(60)]
    adapter.start(receiver.url, calls=3)
    adapter.settled("dlq")
    assert sorted(receiver.ids()) == sorted(ids) and most[0] == 3


def test_a_call_that_hangs_delays_only_itself(adapter, receiver):
    """The others of its route use the other places."""
    def answer(call):
        if call.data["attempt_count"] == 99:
            time.sleep(4)
        return 204
    receiver.answer = answer
    adapter.start(receiver.url, calls=2)
    slow = adapter.dead_letter(headers={"Echora-Dlq-Deliveries": "99"})
    eventually(lambda: receiver.of(DLQ), what="the slow one has begun")
    began = time.monotonic()
    ids = [adapter.dead_letter() for _ in range(30)]
    eventually(lambda: len(adapter.attempts("dlq", **{"class": "delivered"})) >= 30, what="the others")
    assert lasted_less(began, 3)
    adapter.settled("dlq")
    assert sorted(receiver.ids()) == sorted([slow, *ids])  # and it was called once


def test_events_whose_ids_are_much_alike_are_all_told(adapter, receiver):
    """UUIDs of version 1, which one machine made: the second half of all is the same."""
    ids = [str(uuid.uuid1(node=0x0242AC110002, clock_seq=7)) for _ in range(12)]
    others = threading.Event()

    def answer(call):
        if call.id == ids[0]:
            others.wait(3)
        elif len(set(receiver.ids())) == len(ids):
            others.set()
        return 204
    receiver.answer = answer
    adapter.start(receiver.url, calls=2)
    adapter.review(event_id=ids[0])
    eventually(lambda: receiver.of(REVIEW), what="the first call has begun")
    for id in ids[1:]:
        adapter.review(event_id=id)
    adapter.settled("review")
    assert sorted(receiver.ids()) == sorted(ids)
    assert sorted(r["webhook_id"] for r in adapter.attempts()) == sorted(ids)


def test_the_id_is_that_of_the_event_whatever_a_header_says(adapter, receiver):
    """Receivers take a second call of one webhook-id for a repeat, so no header may give two events one id."""
    adapter.start(receiver.url)
    header = {"Echora-Event-Id": str(uuid.uuid4())}
    ids = [adapter.review(headers=header) for _ in range(3)] + [adapter.risky(headers=header)]
    adapter.settled("review", "risk")
    assert sorted(receiver.ids()) == sorted(ids)


class Sending:
    """Dead letters without a pause, until the block ends."""

    def __init__(self, adapter, receiver):
        self.adapter, self.receiver, self.ids = adapter, receiver, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.over.is_set():
            self.ids.append(self.adapter.dead_letter())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def delivered(self, more=100):
        want = len(self.receiver.calls) + more
        eventually(lambda: len(self.receiver.calls) >= want, 20, f"{more} more calls")


def test_secrets_change_while_calls_are_made(adapter, receiver):
    """Old and new sign together, then the new one alone, twice over; under load the receiver refuses no call."""
    worker = adapter.start(receiver.url)
    used, read = [adapter.secrets[0]], 0

    def read_again(*secrets):
        nonlocal read
        read += 3
        adapter.write_secrets(*secrets)  # receivers that know only one of them understand each step
        worker.send_signal(signal.SIGHUP)
        eventually(lambda: worker.text().count("secrets read again") == read, what="read again by each route")
        sending.delivered()
    with Sending(adapter, receiver) as sending:
        sending.delivered()
        for _ in range(2):
            old, new = used[-1], new_secret()
            used.append(new)
            read_again(old, new)
            receiver.secrets.append(new)
            sending.delivered()
            read_again(new)
            receiver.secrets.remove(old)
            sending.delivered()
        adapter.secret_file.write_text("no secret\n")
        worker.send_signal(signal.SIGHUP)
        worker.wait_log("what was read before stays")
        sending.delivered()
    adapter.settled("dlq", timeout=60)
    assert receiver.faults == [] and sorted(receiver.ids()) == sorted(sending.ids)
    assert {r["status"] for r in adapter.attempts()} == {204}
    for secret in used:
        assert secret not in worker.text() and secret.removeprefix("whsec_") not in worker.text()


# Receivers as bad as they get ----------------------------------------------------------------------------------------

def cut_body(s):
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def endless_headers(s):
    s.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        s.sendall(b"X-More: " + b"x" * 1000 + b"\r\n")


def one_endless_header(s):
    s.sendall(b"HTTP/1.1 200 OK\r\nX-More: ")
    while True:
        s.sendall(b"x" * 10000)


def no_http(s):
    s.sendall(b"220 mail.example.org ESMTP\r\n")


def nothing(s):
    pass


def drip(s):
    for _ in range(300):
        s.sendall(b"H" if _ == 0 else b"T")
        time.sleep(0.1)


@pytest.mark.parametrize("bad,code", [(cut_body, "http-reset"), (endless_headers, "http-too-large"),
                                      (one_endless_header, None), (no_http, "http-protocol"), (nothing, "http-reset"),
                                      (drip, None)])
def test_what_is_no_answer_is_tried_again(adapter, receiver, bad, code):
    receiver.answer = lambda call: bad if len(receiver.calls) < 2 else 204
    worker = adapter.start(receiver.url, call_timeout="1s")
    adapter.dead_letter()
    adapter.settled("dlq")
    first, second = adapter.attempts()
    assert (first["status"], first["class"], second["class"]) == (0, "trouble", "delivered")
    assert first["error"] and code in (None, first["error"])
    assert worker.memory() < 60e6


def test_an_endless_body_is_not_read(adapter, receiver):
    """Its status counts; the rest is left unread."""
    sent = []

    def endless(s):
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            s.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            sent.append(4096)
    receiver.answer = lambda call: endless
    adapter.start(receiver.url)
    adapter.dead_letter()
    adapter.settled("dlq")
    assert [r["class"] for r in adapter.attempts()] == ["delivered"] and sum(sent) < 20e6
