"""Connections end after a random number of bytes, in either direction, between each worker and each of its servers.

The seeds are printed; ECHORA_SEED gives another one. Short form: one round for each connection; long: many.
"""
import os
import random
import time

import pytest
from harness.chain import Chain, anime, changed
from harness.settings import LONG

SEED = int(os.environ.get("ECHORA_SEED", "0")) or random.randrange(1, 1 << 30)
ROUNDS = 6 if LONG else 1
LINKS = {"catalogue-pg": ("catalogue", "pg", 6000), "relay-pg": ("relay", "pg", 6000),
         "catalogue-nats": ("catalogue", "nats", 9000), "relay-nats": ("relay", "nats", 9000),
         "qdrant-nats": ("qdrant", "nats", 9000), "qdrant-qdrant": ("qdrant", "qdrant", 20000)}


@pytest.fixture
def servers(db, streams, qdrant, proxy):
    """Proxies of all connections, and the environment of each worker that leads by them."""
    proxies, env = {}, {"catalogue": {}, "relay": {}, "qdrant": {}}
    for name, (kind, server, _) in LINKS.items():
        proxied = proxies[name] = proxy({"pg": db.server, "nats": streams, "qdrant": qdrant}[server])
        env[kind] |= {"pg": {"ECHORA_PG_URL": f"postgresql://echora_{kind}@127.0.0.1:{proxied.port}/{db.name}"},
                      "nats": {"ECHORA_NATS_URL": f"nats://127.0.0.1:{proxied.port}"},
                      "qdrant": {"ECHORA_QDRANT_URL": proxied.url}}[server]
    return proxies, env


@pytest.fixture
def chain(db, streams, qdrant, servers, spawn, echora):
    _, env = servers
    streams.bus().hasten("ANIME_EVENTS", 2)
    streams.bus().hasten("ANIME_SYNC", 2)
    chain = Chain(db, streams, qdrant, spawn, echora,
                  catalogue={"env": env["catalogue"], "argv": ["--give-up-at=100"]}, relay={"env": env["relay"]})
    spawn("qdrant", env=env["qdrant"], argv=["--give-up-at=100"])
    return chain


def mixed(rng, chain, events, n):
    """Publishes n changes of what is there and n new things; the events as they must end."""
    for i in rng.sample(sorted(events), min(n, len(events))):
        fields = rng.choice([{"year": rng.randrange(1990, 2020)}, {"tags": [f"tag {rng.random()}", "b"]}])
        chain.change(i, **fields)
        events[i] = changed(events[i], **fields)
    new = [len(events) + k for k in range(n)]
    for i in new:
        events[i] = anime(i)
    chain.publish(*[events[i] for i in new])


def cut_round(chain, proxies, names, rng, events):
    """Changes while these connections are cut, then rest and content; how many connections were cut."""
    before = sum(p.cuts for p in proxies.values())
    for name in names:
        proxies[name].cut_after(LINKS[name][2], seed=rng.random())
        proxies[name].pieces = rng.choice([0, 0, 7, 500])
        proxies[name].cut()
    cuts, until = 0, time.monotonic() + (8 if LONG else 4)
    while cuts < 3 * len(names) and time.monotonic() < until:
        mixed(rng, chain, events, 4)
        cuts = sum(p.cuts for p in proxies.values()) - before
    for name in names:
        proxies[name].heal()
    chain.quiet(60)
    chain.check(list(events.values()))
    print(f"{', '.join(names)}: {cuts} connections cut, {len(events)} anime")
    return cuts


@pytest.mark.chaos(fault="connection cut: after a random number of bytes",
                   place="catalogue, relay, qdrant-sync, postgres, nats, qdrant",
                   checks="points equal the events, no dead letter")
def test_cut_connections(chain, servers):
    """Each connection on its own, then all at once."""
    print(f"ECHORA_SEED={SEED}")
    rng, events = random.Random(SEED), {}
    for _ in range(ROUNDS):
        for names in [*([name] for name in LINKS), list(LINKS)]:
            assert cut_round(chain, servers[0], names, rng, events) > 0
