"""A whole fleet with the product's own settings, publishers that never stop, and what must be true before, during and
after a fault: nothing lost, nothing given up, no growth, told what is away, drained at full speed."""
import datetime
import json
import time

from chaos.rig import Load, Meter, Progress, attempt, growth
from harness.process import eventually
from harness.settings import PATIENCE
from oracle import Oracle

RATE = 50  # events a second, all the time
BURST = 1500  # events at once: what the speed is measured with
KINDS = ("catalogue", "relay", "qdrant", "dead-letters")
# Who needs a server, by the name that readyz gives it, and the stream that waits for it.
NEEDS = {"postgres": ("catalogue", "relay", "dead-letters"), "nats": KINDS, "qdrant": ("qdrant",)}
STAGE = {"postgres": "ANIME_EVENTS", "nats": "ANIME_EVENTS", "qdrant": "ANIME_SYNC"}
FIRST, SLACK = 30, 5  # seconds until work goes on after a return; and beyond half the speed


def speed(samples, begin, burst):
    """Events a second between a tenth and nine tenths of the burst, from [(seconds, done)]."""
    reached = [next(t for t, done in samples if done >= begin + burst * part) for part in (0.1, 0.9)]
    return 0.8 * burst / max(reached[1] - reached[0], 0.01)


def too_slow(burst, before, first, whole):
    """Lines about a drain that began `first` and ended `whole` seconds after the return; `before`: events a second."""
    if first > FIRST * PATIENCE:
        yield f"nothing was done for {first:.1f} s after the return"
    if whole - first > SLACK * PATIENCE + 2 * burst / before:
        yield f"{burst} events took {whole - first:.1f} s, at {before:.0f} a second before"


class Fleet:
    def __init__(self, db, streams, qdrant, spawn, folder, echora_for, seed, faults="", env=None, **settings):
        self.db, self.nats, self.front = db, streams, qdrant
        self.servers = {"postgres": db.server, "nats": streams.server, "qdrant": qdrant}
        self.bus, self.cli = streams.bus("admin"), echora_for(nats=streams, database=db, qdrant=qdrant)
        common = {"ECHORA_LOG_LEVEL": "info", "PLANTED_FAULTS": faults, **settings}
        self.workers = {kind: spawn(kind, nats=streams, database=db, qdrant=qdrant, env=common | (env or {}).get(kind, {}))
                        for kind in KINDS}
        self.load = Load(streams, folder, seed, anime=200)
        self.progress, self.meter = Progress(self.bus, db), Meter(self.workers)

    def close(self):
        self.meter.stop()
        self.load.kill()

    def warm(self, stream="ANIME_SYNC"):
        """Each way through the workers has been gone, publishers publish; returns how many messages of the stream a
        second are done when there are more than that."""
        self.load.order("more", 300)
        self.progress.rest()
        self.load.order("rate", RATE)
        begin = self.progress.done(stream)
        self.load.order("more", BURST)
        return self.drained(stream, begin, BURST)[0]

    def drained(self, stream, begin, burst, timeout=120):
        """Until `burst` messages beyond `begin` are done; (speed, samples since now)."""
        samples, start = [], time.monotonic()

        def over():
            done = attempt(lambda: self.progress.done(stream), 0)
            samples.append((time.monotonic() - start, done))
            return done >= begin + burst
        eventually(over, timeout, f"{burst} messages of {stream} done")
        return speed(samples, begin, burst), samples

    def told(self, place, since):
        """readyz of each worker concerned and `echora status` say what is away, and since when: lines of what they don't."""
        for kind in NEEDS[place]:
            status, text = self.workers[kind].http("/readyz")
            outages = [o for o in json.loads(text or "{}").get("outages", []) if o["dependency"] == place]
            if status != 503 or not outages:
                yield f"readyz of {kind}: {status} {text}"
        names = ",".join(f"{kind}=127.0.0.1:{worker.port}" for kind, worker in self.workers.items())
        shown = self.cli("status", "--json", "--timeout", "2s", "--workers", names, ok=False).json["workers"]
        shown = {kind: next(w for w in shown if w["address"].endswith(f":{self.workers[kind].port}")) for kind in KINDS}
        for kind in NEEDS[place]:
            outage = next((o for o in shown[kind]["outages"] if o["dependency"] == place), None)
            if not outage:
                yield f"status of {kind}: {shown[kind]}"
            elif not -2 < datetime.datetime.fromisoformat(outage["since"]).timestamp() - since < 15 * PATIENCE:
                yield f"status of {kind}: away since {outage['since']}, and was since {since}"

    def says(self, place, since):
        """Waits until they do."""
        wrong = []

        def all_told():
            wrong[:] = self.told(place, since)
            return not wrong
        try:
            eventually(all_told, 30, f"what is said of {place}")
        except AssertionError as e:
            raise AssertionError("\n".join([str(e), *wrong])) from None

    def ends(self, calm, more=(), undecodable=()):
        """At rest, as the events say and with no dead letter but the bad ones; the same memory and descriptors as in
        the span `calm` of the meter, if any. Beside the publishers' events: `more`, as the oracle takes them, and
        (subject, payload) of what nobody can decode. Returns (events, dead letters)."""
        self.load.stop(300)
        self.progress.rest(300)
        eventually(lambda: all(w.is_ready() for w in self.workers.values()), 30, "all are ready")
        quiet = self.meter.now()
        time.sleep(3)  # a span of samples
        inputs, dead = self.load.inputs()
        inputs += [*more, *((subject, payload, {}) for subject, payload in undecodable)]
        dead += [(payload, "decode") for _, payload in undecodable]
        letters = self.bus.stream("ANIME_DLQ").state.messages
        assert letters == len(dead), f"{letters} dead letters instead of {len(dead)}"
        Oracle(self.db, self.bus, self.front).check(inputs, dead)
        grown = [line for name in self.workers if calm
                 for line in (*growth(name, self.meter.between(name, *calm), self.meter.between(name, calm[1], quiet)),
                              *growth(name, self.meter.between(name, *calm), self.meter.between(name, quiet, quiet + 9)))]
        assert not grown, grown
        return len(inputs), len(dead)

    def figures(self, calm):
        """A line for each worker: least and most before, most since, last; MiB and descriptors."""
        for name, samples in self.meter.samples.items():
            before = self.meter.between(name, *calm)
            after = self.meter.between(name, calm[1], self.meter.now())
            yield (f"{name}: {max(s[1] for s in before) / 1024:.1f} MiB before, at most {max(s[1] for s in after) / 1024:.1f}, "
                   f"{samples[-1][1] / 1024:.1f} at the end; descriptors {max(s[2] for s in before)}, at most "
                   f"{max(s[2] for s in after)}, {samples[-1][2]}")


def say(capsys, *lines):
    with capsys.disabled():
        print("", *lines, sep="\n", flush=True)
