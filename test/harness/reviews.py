"""Risky updates as people meet them: parked by the writer, listed, looked at and decided by request."""
import json

from . import wire
from .catalogue import Catalogue, anime, new_id


def of(**fields):
    """A sparse anime."""
    return wire.classes()["Anime"](**fields)


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class Reviews(Catalogue):
    def __init__(self, streams, db, user="operator"):
        super().__init__(streams, db)
        self.streams = streams
        self.person = streams.bus(user)

    def ask(self, what, bus=None, timeout=10, headers=None, **body):
        """The reply of catalog.review.<what>; Refused when it is an error."""
        reply = (bus or self.person).request(f"catalog.review.{what}", json.dumps(body).encode(), timeout=timeout,
                                             headers={"Content-Type": "application/json", **(headers or {})})
        if code := (reply.headers or {}).get("Nats-Service-Error-Code"):
            raise Refused(code, reply.headers["Nats-Service-Error"])
        return json.loads(reply.data)

    def list(self, **filters):
        return self.ask("list", **filters).get("reviews", [])

    def review(self, review_id):
        return self.ask("get", reviewId=review_id)["review"]

    def decide(self, review_id, decision, by="anna", **more):
        return self.ask("decide", reviewId=review_id, decision=decision, reviewedBy=by, **more)

    def approve(self, review_id, by="anna", **more):
        return self.decide(review_id, "approve", by, **more)

    def reject(self, review_id, by="anna", **more):
        return self.decide(review_id, "reject", by, **more)

    def refused(self, *args, **more):
        """The code and text with which a decision is refused."""
        try:
            reply = self.decide(*args, **more)
        except Refused as e:
            return e.code, e.text
        raise AssertionError(f"not refused: {reply}")

    def living(self, at=0, **fields):
        """An anime that stands in the catalogue; its id."""
        anime_id = new_id()
        self.enriched(anime_id, anime(**{"title": "Right", **fields}), at=at)
        self.settle()
        return anime_id

    def park(self, anime_id, at=10, headers=None, fields=None, **values):
        """Publishes an update that must be parked; (review id, event)."""
        event = self.updated(anime_id, fields or list(values), of(**values), at=at, **(headers or {}))
        self.settle()
        review = self.db.one("SELECT review_id::text FROM catalog.update_review WHERE event_id = %s", event.event_id)
        assert review, "not parked"
        return review, event

    def value(self, anime_id, column="title"):
        return self.db.one(f"SELECT {column} FROM catalog.anime WHERE id = %s", anime_id)

    def state(self, review_id):
        return self.db.one("SELECT state FROM catalog.update_review WHERE review_id = %s", review_id)

    def copies(self, review_id):
        """How many outbox rows are flagged copies with the review's own event id."""
        return self.db.one("SELECT count(*) FROM catalog.outbox WHERE event_id = %s AND subject = 'anime.updated'",
                           review_id)

    def steps(self, review_id):
        return [(s["step"], s.get("actor", "")) for s in self.review(review_id)["history"]]

    def audits(self):
        """What was written for the stream AUDIT, oldest first."""
        return [wire.classes()["CatalogAudit"].FromString(bytes(row[0])) for row in
                self.db.all("SELECT payload FROM catalog.outbox WHERE subject = 'audit.catalog' ORDER BY id")]
