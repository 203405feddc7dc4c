#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Publishes one event, and may be run again at will: what is stored already is answered as `duplicate`.

From the folder `contracts`:

    pip install nats-py protobuf
    mkdir -p out && protoc -I proto --python_out=out proto/echora/*/v1/*.proto
    PYTHONPATH=out NATS_URL=nats://127.0.0.1:4222 NATS_USER=publisher NATS_PASSWORD=... \\
        python3 examples/publish.py anime.enriched examples/events/anime.enriched.json
"""
import asyncio
import hashlib
import os
import secrets
import sys

import nats
import nats.errors
from google.protobuf import json_format

from echora.events.v1 import events_pb2 as events

# Subject → message, stream and the field that names the entity (contracts/asyncapi.json has them all).
SUBJECTS = {
    "anime.enriched": (events.AnimeEnrichedEvent, "ANIME_EVENTS", "anime_id"),
    "anime.updated": (events.AnimeUpdatedEvent, "ANIME_EVENTS", "anime_id"),
    "anime.episode.aired": (events.EpisodeAiredEvent, "ANIME_EVENTS", "anime_id"),
    "character.updated": (events.CharacterUpdatedEvent, "ANIME_EVENTS", "character_id"),
    "episode.updated": (events.EpisodeUpdatedEvent, "ANIME_EVENTS", "episode_id"),
}


trouble = []


async def note(error):
    """What the connection meets beside the answer, such as a missing right; a timeout alone would not tell it."""
    trouble.append(error)


async def main(subject, path):
    message_type, stream, entity_field = SUBJECTS[subject]
    with open(path, encoding="utf-8") as f:
        # Unknown members and wrong types fail here, before anything is sent.
        event = json_format.Parse(f.read(), message_type())
    payload = event.SerializeToString(deterministic=True)
    headers = {
        # Same event, same bytes, same id: the broker stores it once in 24 hours, the catalogue applies it once.
        "Nats-Msg-Id": f"{getattr(event, entity_field)}-{hashlib.sha256(payload).hexdigest()[:8]}",
        "Nats-Expected-Stream": stream,
        "Content-Type": "application/protobuf",
        "Echora-Event-Id": event.event_id,
        "Echora-Schema": event.DESCRIPTOR.full_name,
        "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
    }
    connection = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"),
                                    user=os.environ.get("NATS_USER"), password=os.environ.get("NATS_PASSWORD"),
                                    allow_reconnect=False, error_cb=note)
    try:
        # Returns when the broker has stored it. A timeout means "not known": publish the same again.
        ack = await connection.jetstream(timeout=5).publish(subject, payload, headers=headers)
        print(f"{event.event_id} {'duplicate' if ack.duplicate else 'stored'} {ack.stream}:{ack.seq}")
    finally:
        await connection.close()


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SUBJECTS:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except (nats.errors.Error, json_format.ParseError, OSError) as e:
        sys.exit("publish.py: " + "; ".join(dict.fromkeys(str(t) or type(t).__name__ for t in [*trouble, e])))
