"""Histories made from a seed: events and requests about a few things of their own, in every form that the order
rule promises for. No update is risky, no event joins two entities. Names follow from seed and salt, so one history
can be told again under other names.
"""
import random
import uuid

from . import wire
from .catalogue import T0, event

SAFE = {"year": lambda r: r.randint(1950, 2030), "month": lambda r: r.choice(["MAY", "JUNE", "JULY"]),
        "duration": lambda r: r.randint(60, 9000), "rating": lambda r: r.randint(1, 6),
        "season": lambda r: r.randint(1, 4), "nsfw": lambda r: r.random() < 0.5,
        "title_english": lambda r: f"English {r.randint(0, 99)}", "country_of_origin": lambda r: r.choice(["JP", "CN"]),
        "tags": lambda r: r.sample(["a", "b", "c", "d"], 2)}
CHARACTER = {"description": lambda r: f"about {r.randint(0, 99)}", "favorites": lambda r: r.randint(1, 10**10),
             "name_native": lambda r: f"native {r.randint(0, 99)}", "traits": lambda r: [f"t{r.randint(0, 9)}"]}
EPISODE = {"synopsis": lambda r: f"story {r.randint(0, 99)}", "duration": lambda r: r.randint(60, 9000),
           "score": lambda r: r.randint(1, 40) / 4, "recap": lambda r: r.random() < 0.5,
           "titles": lambda r: {"en": f"t{r.randint(0, 9)}"}}


class History:
    """`actions`: what Recorder.send_all takes, in the order of event time."""

    def __init__(self, seed, salt=0, length=12, left_out=frozenset()):
        self.seed, self.salt, self.left_out, self.random = seed, salt, left_out, random.Random(f"history {seed}")
        self.two_ids, self.requests = self.random.random() < 0.3, self.random.random() < 0.5
        times = sorted(self.random.choices(range(length * 2), k=length))  # some are equal
        made = [self.action(i, at) for i, at in enumerate(times)]
        kept = [(at, action) for i, (at, action) in enumerate(made) if i not in left_out]
        self.actions = [a for _, a in sorted(kept, key=lambda k: (k[0], k[1][1].event_id if len(k[1]) == 2 else ""))]

    def id(self, name):
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.seed}/{self.salt}/{name}"))

    def reference(self, kind):
        return f"https://example.org/{kind}/{self.id('')}"

    def pick(self, message, values, most=3):
        """Sets some of the fields; returns their names. Some stay empty: a sparse event clears those."""
        names = self.random.sample(sorted(values), self.random.randint(1, most))
        for name in names:
            value = values[name](self.random)
            if name == "tags" or self.random.random() < 0.8:  # a cut list would be risky
                if isinstance(value, (list, dict)):
                    getattr(message, name).MergeFrom(value) if isinstance(value, list) \
                        else getattr(message, name).update(value)
                else:
                    setattr(message, name, value)
        return names

    def anime_id(self):
        return self.id("anime" + ("-again" if self.two_ids and self.random.random() < 0.4 else ""))

    def character(self):
        """Known by id and reference, by reference, by id, or by name: each in its own way every time."""
        which = self.random.choice(["both", "both", "id", "name"])
        c = wire.classes()["Character"](name={"name": "Nameless", "id": "Known"}.get(which, "Hero"),
                                        roles=[self.random.randint(1, 3)])
        if which == "id" or (which == "both" and self.random.random() < 0.6):
            c.id = self.id("character-" + which)
        if which == "both":
            c.sources.append(self.reference("character"))
        self.pick(c, CHARACTER)
        return c

    def episode(self):
        e = wire.classes()["Episode"](episode_number=self.random.randint(0, 2), title=f"E{self.random.randint(0, 9)}")
        if self.random.random() < 0.7:
            e.id = self.id(f"episode {e.episode_number}")
        self.pick(e, EPISODE)
        return e

    def action(self, i, at):
        """One more thing that happens, as (its time, the action)."""
        anime, what = wire.classes()["Anime"](), self.random.random()
        if what < 0.3 or i == 0:
            anime.title, anime.type, anime.status = f"Title {self.random.randint(0, 9)}", 5, self.random.randint(1, 3)
            anime.sources.append(self.reference("anime"))
            self.pick(anime, SAFE)
            made = ("anime.enriched", "AnimeEnrichedEvent", dict(
                anime_id=self.anime_id(), anime=anime, characters=[self.character() for _ in range(2)],
                episodes=[self.episode()]))
        elif what < 0.55:
            fields = self.pick(anime, SAFE)
            made = ("anime.updated", "AnimeUpdatedEvent",
                    dict(anime_id=self.anime_id(), changed_fields=fields, anime=anime))
        elif what < 0.68:
            made = ("anime.episode.aired", "EpisodeAiredEvent",
                    dict(anime_id=self.anime_id(), aired_at="2023-11-14T00:00:00Z", episode=self.episode()))
            if self.random.random() < 0.5:
                made[2]["status"] = self.random.randint(1, 3)
        elif what < 0.76:
            c = wire.classes()["Character"]()
            made = ("character.updated", "CharacterUpdatedEvent",
                    dict(character_id=self.id("character-" + self.random.choice(["both", "id", "nobody"])),
                         changed_fields=self.pick(c, CHARACTER), character=c))
        elif what < 0.84 or self.two_ids or not self.requests:
            e = wire.classes()["Episode"]()
            made = ("episode.updated", "EpisodeUpdatedEvent",
                    dict(episode_id=self.id(f"episode {self.random.randint(0, 2)}"),
                         changed_fields=self.pick(e, EPISODE), episode=e))
        else:  # at a time of its own
            return at + 0.5 + i / 1000, (self.random.choice(["delete", "delete", "restore"]), self.id("anime"),
                                         at + 0.5 + i / 1000)
        message = event(made[1], at, **made[2])
        message.event_id = self.id(f"event {i}")
        return at, (made[0], message)

    def makes_anime(self):
        return any(a[0] in ("anime.enriched", "delete") and (len(a) == 3 or a[1].anime_id == self.id("anime"))
                   for a in self.actions)

    def names(self):
        return {self.id(name) for name in ("", "anime", "anime-again", "character-both", "character-id",
                                           *(f"episode {i}" for i in range(3)))} | {
            self.id(f"event {i}") for i in range(40)}

    def __str__(self):
        lines = [f"history {self.seed} without {sorted(self.left_out)}:"]
        for action in self.actions:
            if len(action) == 3:
                lines.append(f"  {action[0]} {action[1]} as of T0+{action[2]}")
            else:
                text = " ".join(str(action[1]).split())
                lines.append(f"  T0+{action[1].timestamp.seconds - T0} {action[0]} {text}")
        return "\n".join(lines)
