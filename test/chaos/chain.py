"""The whole chain as processes that can be killed, the work that is in flight in each, and a stream of events."""
import base64
import json
import random
import signal
import time
import uuid

from harness import wire
from harness.catalogue import DURABLES
from harness.process import Process, eventually
from harness.settings import ROOT, VENV
from oracle import Oracle

from ops.fleet import system

SYNC_DURABLES = ("qdrant-anime-created", "qdrant-anime-synced", "qdrant-anime-deleted", "qdrant-character-synced",
                 "qdrant-episode-synced")
# Where each may die; behind each point it has something in hand.
POINTS = {"catalogue": ("before-commit", "after-commit", "before-settle", "before-reply"),
          "relay": ("batch-opened", "page-published", "batch-told", "batch-published"),
          "qdrant": ("after-embed", "after-upsert", "before-settle")}
AHEAD = 300  # events that are published and not settled
EPOCH = 1_700_000_000


class Events:
    """Enriched and partial events about a few dozen anime, in random order of time; some come twice under another
    Nats-Msg-Id. Nothing in them is risky, conflicting or wrong."""

    def __init__(self, seed, anime=40):
        self.random, self.classes = random.Random(seed), wire.classes()
        self.anime = [(self.uuid(), [self.uuid() for _ in range(3)], [self.uuid() for _ in range(4)])
                      for _ in range(anime)]

    def uuid(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def text(self):
        return " ".join(self.random.choices(("sea", "night", "blade", "忍者", "star", "café", "road"), k=4))

    def event(self, name, **fields):
        message = self.classes[name](event_id=self.uuid(), **fields)
        message.timestamp.seconds = EPOCH + self.random.randrange(100_000)
        message.timestamp.nanos = self.random.randrange(1_000_000) * 1000
        return message

    def enriched(self, i):
        r, (ident, characters, episodes) = self.random, self.anime[i]
        return "anime.enriched", self.event(
            "AnimeEnrichedEvent", anime_id=ident,
            anime=self.classes["Anime"](title=f"Anime {i}", type=5, status=1, synopsis=self.text(),
                                        tags=r.sample(("a", "b", "c", "d"), 2), year=r.randint(1990, 2026),
                                        sources=[f"https://example.org/anime/{ident}"]),
            characters=[self.classes["Character"](id=characters[n], name=f"Character {i}.{n}", description=self.text())
                        for n in r.sample(range(3), r.randint(0, 2))],
            episodes=[self.classes["Episode"](id=episodes[n], episode_number=n + 1, title=self.text())
                      for n in r.sample(range(4), r.randint(0, 2))])

    def updated(self, i):
        r, kind = self.random, self.random.choice(("anime", "anime", "character", "episode"))
        if kind == "anime":
            values = {"year": r.randint(1990, 2026), "title_english": self.text(), "duration": r.randint(1, 9000)}
            changed = r.sample(sorted(values), r.randint(1, 3))
            given = {name: values[name] for name in changed if r.random() < 0.8}  # the others are cleared
            return "anime.updated", self.event("AnimeUpdatedEvent", anime_id=self.anime[i][0], changed_fields=changed,
                                               anime=self.classes["Anime"](**given))
        if kind == "character":
            return "character.updated", self.event(
                "CharacterUpdatedEvent", character_id=r.choice(self.anime[i][1]), changed_fields=["description"],
                character=self.classes["Character"](description=self.text()))
        return "episode.updated", self.event(
            "EpisodeUpdatedEvent", episode_id=r.choice(self.anime[i][2]), changed_fields=["synopsis", "score"],
            episode=self.classes["Episode"](synopsis=self.text(), score=r.randint(1, 10)))

    def rows(self, n):
        """n of [subject, Nats-Msg-Id, payload]."""
        found = []
        while len(found) < n:
            if found and self.random.random() < 0.05:
                subject, _, payload = self.random.choice(found[-50:])
            else:
                make = self.enriched if self.random.random() < 0.4 else self.updated
                subject, message = make(self.random.randrange(len(self.anime)))
                payload = message.SerializeToString()
            found.append((subject, f"chaos-{len(found)}", payload))
        return found


class Chain:
    """ack_wait is short, and no delivery is the last one: an event may be in hand at many more deaths than the
    product's ten deliveries allow for, and must still arrive."""

    def __init__(self, db, streams, qdrant, spawn, folder, seed, events=20000, **settings):
        self.db, self.pg, self.nats, self.front, self.spawn = db, db.server, streams.server, qdrant, spawn
        self.bus, self.folder = streams.bus("admin"), folder
        self.env = {"ECHORA_GIVE_UP_AT": "100", "ECHORA_LOG_LEVEL": "info", "ECHORA_FETCH_SIZE": "32", **settings}
        self.set_consumers()
        self.rows = Events(seed).rows(events)
        self.notes = folder / "notes"
        self.notes.mkdir()
        system.own(self.notes)
        self.limit = 0
        self.allow(AHEAD)
        file = folder / "events"
        file.write_text("\n".join(json.dumps([s, i, base64.b64encode(p).decode()]) for s, i, p in self.rows))
        script = folder / "publisher.py"
        script.write_text((ROOT / "test/chaos/publisher.py").read_text())
        for path in (file, script):
            system.own(path)
        secret = self.nats.secret_files["publisher"]
        self.publisher = Process("publisher", [VENV / "bin/python", script, file, self.notes, self.nats.url,
                                               "publisher", secret], folder)
        self.workers = {kind: spawn(kind, env=self.env, wait=False) for kind in POINTS}
        self.publisher.start()
        self.victims = {"publisher": self.publisher, **self.workers, "nats": self.nats, "postgres": self.pg,
                        "front": self.front}

    def set_consumers(self, ack_wait=1.0):
        for stream, durables in (("ANIME_EVENTS", DURABLES.values()), ("ANIME_SYNC", SYNC_DURABLES)):
            for durable in durables:
                config = self.bus.consumer(stream, durable).config
                config.ack_wait, config.max_deliver = ack_wait, 100_000
                self.bus.wait(self.bus.js.add_consumer(stream, config))

    def allow(self, n):
        """The publisher may send events up to number n."""
        self.limit = max(self.limit, min(n, len(self.rows)))
        new = self.notes / "limit.new"
        new.write_text(str(self.limit))
        new.rename(self.notes / "limit")

    def sent(self):
        note = self.notes / "sent"
        return int(note.read_text()) if note.exists() else 0

    def held(self, stream, durables):
        """Events that wait or are in a worker's hands."""
        found = [self.bus.consumer(stream, d) for d in durables]
        return sum(i.num_pending + i.num_ack_pending for i in found)

    def unrelayed(self):
        return (self.db.one("SELECT count(*) FROM catalog.outbox WHERE stream = 'ANIME_SYNC'")
                - self.bus.stream("ANIME_SYNC").state.messages)

    def in_flight(self, name):
        """How much would be lost if this process could lose anything; 0 also while that can't be told."""
        try:
            behind = self.held("ANIME_EVENTS", DURABLES.values())
            self.allow(self.sent() + max(AHEAD - behind, 0))
            if name == "publisher":
                return self.limit - self.sent()
            if name == "catalogue":
                return behind
            if name == "relay":
                return self.unrelayed()
            indexing = self.held("ANIME_SYNC", SYNC_DURABLES)
            return {"qdrant": indexing, "front": indexing, "postgres": behind, "nats": behind + indexing}[name]
        except Exception:  # a server is away
            return 0

    def revive(self):
        """Starts what is dead, servers first; those are waited for."""
        for server in (self.nats, self.pg, self.front):
            if not server.alive():
                server.start(timeout=60)
        for process in (self.publisher, *self.workers.values()):
            if not process.alive():
                process.env.pop("PLANTED_KILL", None)
                process.start(wait=False)

    def rest(self, timeout=90):
        """No more events; until everything has arrived. A point of death that is still planted may come first."""
        def reached(condition, what):
            eventually(lambda: self.revive() or condition(), timeout, what)
        reached(lambda: self.sent() == self.limit, "all published")
        reached(lambda: self.bus.settled("ANIME_EVENTS", *DURABLES.values()), "all events settled")
        reached(lambda: self.unrelayed() == 0, "all rows relayed")
        reached(lambda: self.bus.settled("ANIME_SYNC", *SYNC_DURABLES), "all indexed")

    def check(self):
        self.rest()
        inputs = [(s, p, {"Nats-Msg-Id": i}) for s, i, p in self.rows[:self.limit]]
        Oracle(self.db, self.bus, self.front).check(inputs)
        return len(inputs)


class Killer:
    """kill -9 by a random schedule. A kill counts when work was in flight at its victim just before."""

    def __init__(self, chain, seed):
        self.chain, self.random = chain, random.Random(seed)
        self.counted, self.at_points, self.idle = dict.fromkeys(chain.victims, 0), {}, 0

    def total(self):
        return sum(self.counted.values()) + sum(self.at_points.values())

    def notice_deaths(self):
        """What died at a point that was planted."""
        for kind, worker in self.chain.workers.items():
            point = worker.env.get("PLANTED_KILL", "").partition(":")[0]
            if point and not worker.alive():
                assert worker.child.returncode == -signal.SIGKILL, worker.tail()
                self.at_points[f"{kind}@{point}"] = self.at_points.get(f"{kind}@{point}", 0) + 1
                self.start(kind)

    def start(self, kind):
        """Every other time with a point to die at."""
        worker = self.chain.workers[kind]
        worker.env.pop("PLANTED_KILL", None)
        if self.random.random() < 0.5:
            worker.env["PLANTED_KILL"] = f"{self.random.choice(POINTS[kind])}:{self.random.randint(1, 6)}"
        worker.start(wait=False)

    def kill(self, name, patience=5):
        """Waits until the victim has something to lose, and a random moment more."""
        end = time.monotonic() + patience
        time.sleep(self.random.random() * 0.1)
        while not (work := self.chain.in_flight(name)) and time.monotonic() < end:
            self.notice_deaths()
            time.sleep(0.005)
        victim = self.chain.victims[name]
        if not victim.alive():
            return
        victim.kill()
        self.counted[name] += work > 0
        self.idle += work == 0
        if name in self.chain.workers:
            self.start(name)
        elif name == "publisher":
            victim.start()
        else:
            victim.start(timeout=60)

    def run(self, kills):
        while self.total() < kills:
            names = list(self.chain.victims)
            self.random.shuffle(names)
            for name in names:
                self.notice_deaths()
                self.kill(name)

    def __str__(self):
        return (f"{self.total()} kills with work in flight: "
                + ", ".join(f"{k} {v}" for k, v in {**self.counted, **self.at_points}.items())
                + f"; {self.idle} more without")
