"""The event adapter in front of a receiver, with the events it forwards."""
import uuid

from . import wire
from .dead_letters import DeadLetters
from .process import eventually
from .receiver import new_secret

PATHS = {"dlq": "/webhook/dlq-triage", "risk": "/webhook/risky-update", "review": "/webhook/review-ready"}
# Consumer of each route, its stream.
CONSUMERS = {"dlq": ("ANIME_DLQ", "adapter-dlq"), "risk": ("ANIME_EVENTS", "adapter-risk"),
             "review": ("INGESTION_EVENTS", "adapter-review")}


class Adapter:
    """Starts the worker with options that suit tests: short pauses, loopback allowed."""

    def __init__(self, spawn, streams, db, folder):
        self.spawn, self.streams, self.db, self.folder = spawn, streams, db, folder
        self.bus, self.letters = streams.bus("admin"), DeadLetters(streams)
        self.ingestion = streams.bus("ingestion")
        self.secrets = [new_secret()]
        self.secret_file = folder / "webhook-secrets"
        self.write_secrets()
        self.n = 0
        self.worker = None

    def write_secrets(self, *secrets):
        self.secrets = list(secrets) or self.secrets
        self.secret_file.write_text("\n".join(self.secrets) + "\n")
        self.secret_file.chmod(0o644)

    def start(self, url, env=None, wait=True, **more):
        settings = {"ECHORA_BASE_URL": url, "ECHORA_SECRET_FILES": self.secret_file, "ECHORA_ALLOW_HTTP": "true",
                    "ECHORA_ALLOW_NETWORKS": "127.0.0.0/8,::1", "ECHORA_RETRY_LONGEST": "20ms",
                    "ECHORA_BREAKER_PAUSE": "50ms", "ECHORA_CALL_TIMEOUT": "5s"}
        settings.update({f"ECHORA_{name.upper()}": value for name, value in more.items()}, **(env or {}))
        self.worker = self.spawn("adapter", env=settings, wait=wait)
        return self.worker

    # Events ---------------------------------------------------------------------------------------

    def dead_letter(self, **more):
        """Returns the webhook-id that it must have."""
        self.n += 1
        return webhook_id(self.letters.write(self.n, **more))

    def risky(self, changed=("title",), reasons=("title-changed",), review=True, anime_id=None, headers=None,
              announced=True, **fields):
        """A flagged copy of anime.updated, as the relay publishes it; returns its event id. Not announced: forged."""
        event_id = str(uuid.uuid4())
        message = wire.classes()["AnimeUpdatedEvent"](
            event_id=event_id, anime_id=anime_id or str(uuid.uuid4()), changed_fields=changed, risk_reasons=reasons,
            source="a provider")
        message.timestamp.GetCurrentTime()
        message.anime.title = fields.pop("title", "A title")
        for name, value in fields.items():
            setattr(message.anime, name, value)
        own = {"Nats-Msg-Id": event_id, "Echora-Event-Id": event_id, "Echora-Risk": ",".join(reasons) or "flagged"}
        if review:
            own["Echora-Review"] = event_id
            if announced:
                self.db.do("INSERT INTO catalog.update_review (review_id, event_id, anime_id, event_time, fields, reasons,"
                           " payload) VALUES (%s, %s, %s, now(), '{}', '{}', '')", event_id, str(uuid.uuid4()),
                           message.anime_id)
        self.bus.publish("anime.updated", message.SerializeToString(), headers={**own, **(headers or {})})
        return event_id

    def review(self, run_id=7, entry_count=3, review_ref="artifact:sha256/" + "ab" * 32, event_id=None, headers=None):
        event_id = event_id or str(uuid.uuid4())
        message = wire.classes()["IngestionReviewReadyEvent"](
            event_id=event_id, run_id=run_id, entry_count=entry_count, review_ref=review_ref)
        message.timestamp.GetCurrentTime()
        self.ingestion.publish("ingestion.review.ready", message.SerializeToString(), headers={"Nats-Msg-Id": event_id, **(headers or {})})
        return event_id

    # What became of them --------------------------------------------------------------------------

    def settled(self, *routes, timeout=20):
        eventually(lambda: all(self.bus.settled(stream, durable) for stream, durable in
                               (CONSUMERS[r] for r in routes)), timeout, f"{routes} settled")

    def attempts(self, route=None, **where):
        """Rows of the log, oldest first."""
        rows = [r for (r,) in self.db.all("SELECT to_jsonb(d) FROM adapter.delivery d ORDER BY id")]
        return [r for r in rows if route in (None, r["route"]) and all(r[k] == v for k, v in where.items())]

    def parked(self):
        """Headers of what the adapter gave up on."""
        return [m.headers for m in self.bus.messages("ANIME_DLQ") if m.subject.startswith("anime.dlq.parked.adapter-")]


def webhook_id(identity):
    """UUIDv5 of a dead letter's identity in our namespace."""
    return str(uuid.uuid5(ECHORA, identity))


# uuid_echora of events/base/uuid.c
ECHORA = uuid.UUID("500e2b4e-da2a-5b3a-8b5e-0c9e3094501f")
