"""Driving the scripted worker (test/worker): events that say what their handler does, and its journal.

Events are encoded here by hand, so that nothing of the product's own encoding stands in the oracle.
"""
import json
import time
import uuid
from dataclasses import dataclass

from ops.fleet import system

from .process import eventually

STREAM = "ANIME_EVENTS"
UPDATED = "catalog-updated"
CHARACTER = "catalog-character-updated"
SUBJECT = {UPDATED: "anime.updated", CHARACTER: "character.updated"}


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """A length-delimited or varint field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def event(source, event_id=None, entity=None, timestamp=None):
    """AnimeUpdatedEvent and CharacterUpdatedEvent alike: id, timestamp, entity, source."""
    return (field(1, event_id or str(uuid.uuid4())) + field(2, field(1, int(timestamp or time.time())))
            + field(3, entity or str(uuid.uuid4())) + field(7, source))


@dataclass
class Line:
    pid: int
    lane: int
    durable: str
    batch: int
    seq: int
    deliveries: int
    event_id: str
    trace_id: str
    source: str


class Script:
    """Streams with the two consumers, publishing, the journal of all scripted workers of a test."""

    def __init__(self, nats, folder, ack_wait=30.0):
        self.nats = nats
        self.bus = nats.bus()
        self.folder = folder
        self.journal = folder / "journal"
        self.journal.touch()
        system.own(self.journal)
        self.flag = folder / "dependency"
        self.bring_back()
        self.add_events(ack_wait)
        self.bus.add_stream("ANIME_DLQ", ["anime.dlq.>"], allow_direct=True)
        self.add_suspects()

    def add_events(self, ack_wait=30.0):
        self.bus.add_stream(STREAM, ["anime.enriched", "anime.updated", "anime.episode.aired",
                                     "character.updated", "episode.updated"],
                            max_msg_size=8 * 1024 * 1024 - 65536)
        for durable in SUBJECT:
            self.add_consumer(durable, ack_wait)

    def add_suspects(self, **more):
        self.bus.add_stream("WORKER_SUSPECTS", ["suspect.>"], max_msgs_per_subject=1, allow_direct=True, **more)

    def add_consumer(self, durable, ack_wait=30.0, max_deliver=1000, **more):
        self.bus.add_consumer(STREAM, durable, ack_policy="explicit", ack_wait=ack_wait, max_deliver=max_deliver,
                              filter_subject=SUBJECT[durable], max_ack_pending=1000, **more)

    @property
    def env(self):
        return {"ECHORA_JOURNAL": self.journal, "ECHORA_DEPENDENCY_FILE": self.flag,
                "ECHORA_LOG_FORMAT": "json", "ECHORA_LOG_LEVEL": "info"}

    def take_away(self):
        self.flag.unlink()

    def bring_back(self):
        self.flag.touch()

    def publish(self, *sources, durable=UPDATED, headers=None):
        """One event per source; their stream sequences."""
        return [self.bus.publish(SUBJECT[durable], event(s), headers=headers).seq for s in sources]

    def spend(self, deliveries, durable=UPDATED, events=1, delay=None):
        """Each of the first events is delivered so often and comes back unhandled, as from a process that something
        else has ended; the last time after a delay (s)."""
        bus = self.nats.bus("catalogue")

        async def go():
            pull = await bus.js.pull_subscribe_bind(durable, STREAM, inbox_prefix=b"_INBOX_catalogue.")
            for n in range(deliveries):
                came = []
                while len(came) < events:
                    came += await pull.fetch(events - len(came), timeout=5)
                for message in came:
                    await message.nak(delay=delay if n == deliveries - 1 else None)
            await pull.unsubscribe()
            await bus.nc.flush()
        bus.wait(go(), 60)

    def marks(self):
        """{(consumer, sequence): handlings that began and never ended}, as WORKER_SUSPECTS has it."""
        found = {}
        for message in self.bus.messages("WORKER_SUSPECTS"):
            _, durable, sequence = message.subject.split(".")
            found[durable, int(sequence)] = json.loads(message.data)["begun"]
        return found

    def lines(self, **want):
        found = []
        for text in self.journal.read_text().splitlines():
            parts = text.split(" ", 8)
            line = Line(int(parts[0]), int(parts[1]), parts[2], int(parts[3]), int(parts[4]), int(parts[5]),
                        *parts[6:])
            if all(getattr(line, k) == v for k, v in want.items()):
                found.append(line)
        return found

    def wait_lines(self, n, timeout=10, **want):
        eventually(lambda: len(self.lines(**want)) >= n, timeout, f"{n} lines {want}")
        return self.lines(**want)

    def info(self, durable=UPDATED):
        return self.bus.consumer(STREAM, durable)

    def settled(self, durable=UPDATED):
        """Nothing waits and nothing is held."""
        return self.bus.settled(STREAM, durable)

    def wait_settled(self, durable=UPDATED, timeout=10):
        eventually(lambda: self.settled(durable), timeout, f"{durable} settled")

    def dead_letters(self):
        return self.bus.messages("ANIME_DLQ")
