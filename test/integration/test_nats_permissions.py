"""Every user against every subject, allowed and refused, on a real server.

The table below is written from the specification ("Who may publish what"), not from ops/nats/users.py:
whatever is not named for a user must be refused.
"""
import socket
import re

import pytest
from harness.process import eventually

EVENTS = {"anime.enriched", "anime.updated", "anime.episode.aired", "character.updated", "episode.updated"}
SYNC = {"anime.created", "anime.synced", "anime.deleted", "character.synced", "episode.synced"}
CATALOG = {"catalog-enriched", "catalog-updated", "catalog-episode-aired", "catalog-character-updated",
           "catalog-episode-updated"}
QDRANT = {"qdrant-anime-created", "qdrant-anime-synced", "qdrant-anime-deleted", "qdrant-character-synced",
          "qdrant-episode-synced"}
READ = {"catalog.record.get", "catalog.anime.get", "catalog.character.get", "catalog.episode.get"}
REVIEW = {"catalog.review.list", "catalog.review.get"}
SERVED = READ | REVIEW | {"catalog.review.decide", "catalog.anime.delete", "catalog.anime.restore", "catalog.outbox.enqueue",
                 "catalog.revisions.list", "catalog.xref.resolve", "contracts.validate"}
ALL_STREAMS = {"ANIME_EVENTS", "ANIME_SYNC", "ANIME_DLQ", "ANIME_ADVISORY", "WORKER_SUSPECTS", "WORKER_REPLIES",
               "INGESTION_EVENTS", "NOTIFICATION_EVENTS", "AUDIT"}
ADAPTER = {"adapter-risk", "adapter-review", "adapter-dlq"}
LOOKS = {d: f"$JS.API.DIRECT.GET.WORKER_SUSPECTS.suspect.{d}.7"
         for d in (*CATALOG, *QDRANT, *ADAPTER, "dlq-index", "dlq-audit", "dlq-sweeper")}


CONTROL = "KV_echora_control"
KEPT = "$JS.API.DIRECT.GET.WORKER_REPLIES.kept.catalog.reconcile.ab"
PAUSED = "$KV.echora_control.paused.catalog-updated"


def dlq(durables):
    return {f"anime.dlq.{d}" for d in durables} | {f"anime.dlq.parked.{d}" for d in durables}


def pull(stream, durables):
    return {s for d in durables for s in (
        f"$JS.API.CONSUMER.INFO.{stream}.{d}", f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{d}",
        f"$JS.ACK.{stream}.{d}.1.2.3.4.5", f"$JS.ACK.hub.ACCOUNT.{stream}.{d}.1.2.3.4.5.6")} | \
        {f"$JS.API.STREAM.INFO.{CONTROL}", f"$JS.API.STREAM.MSG.GET.{CONTROL}"}


def marks(durables):
    """What a worker writes and reads of the crashes of its own consumers' events."""
    return {f"suspect.{d}.7" for d in durables} | {LOOKS[d] for d in durables}


def get(streams):
    return {f"$JS.API.STREAM.MSG.GET.{s}" for s in streams} | {f"$JS.API.DIRECT.GET.{s}" for s in streams}


def stream_info(streams):
    return {f"$JS.API.STREAM.INFO.{s}" for s in streams}


CONSUMERS = [("ANIME_EVENTS", d) for d in sorted(CATALOG)] + [("ANIME_SYNC", d) for d in sorted(QDRANT)] + \
    [("ANIME_EVENTS", "adapter-risk"), ("ANIME_DLQ", "adapter-dlq"), ("INGESTION_EVENTS", "adapter-review")] + \
    [("ANIME_DLQ", "dlq-index"), ("AUDIT", "dlq-audit"), ("ANIME_ADVISORY", "dlq-sweeper")]
ASK = stream_info(ALL_STREAMS | {CONTROL}) | {f"$JS.API.CONSUMER.INFO.{s}.{d}" for s, d in CONSUMERS} | \
    {"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.CONSUMER.LIST.ANIME_EVENTS"}
MANAGE = {f"$JS.API.STREAM.{verb}.ANIME_EVENTS" for verb in ("CREATE", "UPDATE", "DELETE", "PURGE")} | \
    {"$JS.API.CONSUMER.CREATE.ANIME_EVENTS.catalog-enriched.anime.enriched",
     "$JS.API.CONSUMER.CREATE.ANIME_EVENTS.catalog-enriched", "$JS.API.CONSUMER.DELETE.ANIME_EVENTS.catalog-enriched",
     "$JS.API.CONSUMER.DURABLE.CREATE.ANIME_EVENTS.catalog-enriched"}
COMMANDS = {f"command.{call}" for call in (
    "check-tag", "start-incremental-run", "build-diff", "process-stages", "build-stage6-review", "submit-stage6-decisions",
    "preview-stage6-batch", "replay-stage", "ingest-approved", "finalize-run", "run-get", "run-entries", "artifact-get")}
WEBHOOKS = {"webhook.test", "webhook.replay", "webhook.enable"}
VIEW = READ | REVIEW | {"dlq.list", "dlq.show", "dlq.status", "contracts.validate"}
OPERATE = VIEW | EVENTS | {"dlq.replay", "dlq.discard", "catalog.anime.delete", "catalog.anime.restore",
                           "catalog.review.decide", "catalog.reconcile", "catalog.revisions.list", PAUSED} | WEBHOOKS

PUBLISH = {
    "ingestion": {"anime.enriched", "ingestion.review.ready"},
    "update": EVENTS - {"anime.enriched"},
    "catalogue": dlq(CATALOG) | {"hint.outbox", "$JS.API.INFO"} | pull("ANIME_EVENTS", CATALOG)
    | stream_info({"ANIME_EVENTS", "ANIME_DLQ"}) | marks(CATALOG),
    "relay": SYNC | {"_INBOX_relay.a", "anime.updated", "notification.episode.aired", "notification.x", "audit.catalog", "$JS.API.INFO"}
    | stream_info({"ANIME_SYNC", "ANIME_EVENTS", "NOTIFICATION_EVENTS", "AUDIT"})
    | get({"ANIME_SYNC", "ANIME_EVENTS", "NOTIFICATION_EVENTS", "AUDIT"}),
    "qdrant": dlq(QDRANT) | READ | {"catalog.revisions.list", "catalog.outbox.enqueue", "$JS.API.INFO",
                            "$KV.echora_control.repair.anime_database_v1", "kept.catalog.reconcile.ab", KEPT}
    | pull("ANIME_SYNC", QDRANT) | stream_info({"ANIME_SYNC", "ANIME_DLQ"}) | marks(QDRANT),
    "adapter": {f"anime.dlq.parked.{d}" for d in ("adapter-risk", "adapter-review", "adapter-dlq")}
    | {"$JS.API.INFO"} | pull("ANIME_EVENTS", {"adapter-risk"}) | pull("ANIME_DLQ", {"adapter-dlq"})
    | pull("INGESTION_EVENTS", {"adapter-review"})
    | stream_info({"ANIME_EVENTS", "ANIME_DLQ", "INGESTION_EVENTS"}) | get({"ANIME_EVENTS", "ANIME_DLQ", "INGESTION_EVENTS"})
    | marks(ADAPTER),
    "deadletters": dlq(CATALOG | QDRANT | {"adapter-risk", "adapter-review", "adapter-dlq"}) | EVENTS
    | {"ingestion.review.ready", "audit.dlq", "catalog.outbox.enqueue", "$JS.API.STREAM.MSG.DELETE.ANIME_DLQ"}
    | ASK | get(ALL_STREAMS) | pull("ANIME_DLQ", {"dlq-index"}) | pull("AUDIT", {"dlq-audit"})
    | pull("ANIME_ADVISORY", {"dlq-sweeper"}) | marks({"dlq-index", "dlq-audit", "dlq-sweeper"}),
    "workflow": set(),
    "command": COMMANDS | {"catalog.review.get", "catalog.review.decide", "catalog.reconcile", "dlq.list", "dlq.show",
                           "dlq.replay", "dlq.discard", "audit.command"},
    "viewer": VIEW | ASK | get({"ANIME_DLQ", CONTROL}),
    "operator": OPERATE | ASK | get(ALL_STREAMS | {CONTROL}),
    "publisher": EVENTS | {"contracts.validate"},
    "admin": OPERATE | ASK | get(ALL_STREAMS | {CONTROL}) | MANAGE | {"$JS.API.STREAM.MSG.DELETE.ANIME_DLQ"},
}
# Those that answer requests may write to anybody's inbox.
ANSWERS = {"catalogue", "qdrant", "deadletters", "adapter", "workflow"}
INBOXES = {"_INBOX.a.b"} | {f"_INBOX_{user}.a" for user in PUBLISH}
SUBJECTS = set().union(*PUBLISH.values()) | INBOXES | {
    "$KV.echora_control.other", f"$JS.API.STREAM.PURGE.{CONTROL}", "anything.else", "$SYS.REQ.SERVER.PING", "audit.catalog", "audit.dlq", "$JS.API.STREAM.DELETE.ANIME_SYNC",
    "$JS.API.STREAM.DELETE.AUDIT", "$JS.API.STREAM.MSG.DELETE.ANIME_SYNC", "anime.dlq.unknown",
    "$JS.API.SERVER.REMOVE", "$JS.API.ACCOUNT.PURGE.x", "suspect.catalog-enriched", "suspect.catalog-enriched.7.8",
    "kept.catalog.reconcile", "kept.dlq.replay.ab",
    "$JS.API.DIRECT.GET.WORKER_SUSPECTS.suspect.catalog-enriched"}
# Sample rows of MANAGE and dlq cover a wildcard; these are covered by the same ones.
READS_ALL = {*LOOKS.values(), KEPT, "$JS.API.DIRECT.GET.WORKER_SUSPECTS.suspect.catalog-enriched"}
COVERED = {"admin": {f"$JS.API.STREAM.PURGE.{CONTROL}", "$JS.API.STREAM.DELETE.ANIME_SYNC",
                     "$JS.API.STREAM.DELETE.AUDIT"} | READS_ALL,
           "operator": READS_ALL, "deadletters": {"anime.dlq.unknown"} | READS_ALL}

SUBSCRIBE = {
    "catalogue": SERVED, "adapter": WEBHOOKS, "workflow": COMMANDS, "relay": {"hint.outbox"}, "qdrant": {"catalog.reconcile"},
    "deadletters": {"dlq.list", "dlq.show", "dlq.status", "dlq.replay", "dlq.discard"},
}
PEOPLE = {"ingestion", "update", "viewer", "operator", "publisher", "admin"}
LISTEN = SERVED | WEBHOOKS | COMMANDS | EVENTS | SYNC | INBOXES | {"hint.outbox", "catalog.reconcile", "dlq.list", "dlq.show", "dlq.status",
                                            "dlq.replay", "dlq.discard", ">", "anime.>", "_INBOX.>", "$JS.>",
                                            "$SYS.>", "_INBOX_catalogue.>", "*.a"}


class Raw:
    """The client protocol by hand, so that each answer of the server is seen."""

    def __init__(self, server, user):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        self.file = self.socket.makefile("rb")
        assert self.file.readline().startswith(b"INFO ")
        self.socket.sendall(b'CONNECT {"verbose":false,"pedantic":false,"user":"%s","pass":"%s","protocol":1,'
                            b'"headers":true,"no_responders":false}\r\nPING\r\n'
                            % (user.encode(), server.passwords[user].encode()))
        self.until_pong()

    def until_pong(self):
        refused = set()
        while True:
            line = self.file.readline()
            assert line, "the server hung up"
            if line.startswith(b"PONG"):
                return refused
            match = re.match(rb"-ERR 'Permissions Violation for (?:Publish|Subscription) to \"([^\"]+)\"", line)
            if match:
                refused.add(match.group(1).decode())
            elif line.startswith(b"-ERR"):
                raise AssertionError(line)

    def publish(self, subjects):
        """Which of the subjects the server refuses."""
        for s in subjects:
            self.socket.sendall(b"PUB %s 0\r\n\r\n" % s.encode())
        self.socket.sendall(b"PING\r\n")
        return self.until_pong()

    def subscribe(self, subjects):
        for n, s in enumerate(subjects):
            self.socket.sendall(b"SUB %s %d\r\nUNSUB %d\r\n" % (s.encode(), n + 1, n + 1))
        self.socket.sendall(b"PING\r\n")
        return self.until_pong()

    def close(self):
        self.socket.close()


@pytest.mark.parametrize("user", sorted(PUBLISH))
def test_publish(nats, user):
    raw = Raw(nats.server, user)
    allowed = PUBLISH[user] | COVERED.get(user, set()) | (INBOXES if user in ANSWERS else set())
    subjects = sorted(SUBJECTS)
    refused = raw.publish(subjects)
    raw.close()
    assert refused == set(subjects) - allowed


@pytest.mark.parametrize("user", sorted(PUBLISH))
def test_subscribe(nats, user):
    raw = Raw(nats.server, user)
    allowed = SUBSCRIBE.get(user, set()) | {f"_INBOX_{user}.a", f"_INBOX_{user}.>" } & LISTEN
    if user in PEOPLE:
        allowed |= {"_INBOX.a.b", "_INBOX.>"}
    subjects = sorted(LISTEN)
    refused = raw.subscribe(subjects)
    raw.close()
    assert refused == set(subjects) - allowed


def test_every_user_is_tested(nats):
    from ops.nats import users
    assert set(users.USERS) == set(PUBLISH)


def test_nobody_without_password(nats):
    with socket.create_connection(("127.0.0.1", nats.server.port), timeout=5) as s:
        s.recv(4096)
        s.sendall(b'CONNECT {"user":"admin","pass":"wrong"}\r\nPING\r\n')
        assert b"Authorization Violation" in s.recv(4096)


def test_requests_are_answered_through_these_permissions(nats):
    server, caller = nats.bus("catalogue"), nats.bus("qdrant")
    requests = server.subscribe("catalog.record.get", queue="catalogue")
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(caller.request, "catalog.record.get", b"ids")
        request = server.take(requests)
        server.send(request.reply, b"records")
        assert answer.result(30).data == b"records"


def test_a_worker_pulls_and_acks_through_these_permissions(nats):
    admin, worker = nats.bus("admin"), nats.bus("catalogue")
    admin.add_stream("ANIME_EVENTS", sorted(EVENTS))
    admin.add_consumer("ANIME_EVENTS", "catalog-enriched", filter_subject="anime.enriched", ack_policy="explicit")
    nats.bus("ingestion").publish("anime.enriched", b"one")
    inbox = worker.subscribe("_INBOX_catalogue.pull")
    worker.send("$JS.API.CONSUMER.MSG.NEXT.ANIME_EVENTS.catalog-enriched", b'{"batch":1,"expires":2000000000}',
                reply="_INBOX_catalogue.pull")
    message = worker.take(inbox)
    assert message.data == b"one"
    worker.send(message.reply, b"+ACK")
    eventually(lambda: admin.consumer("ANIME_EVENTS", "catalog-enriched").num_ack_pending == 0, 5, "acked")
    assert not worker.errors
