"""Rows at a steady pace, one a transaction by one writer: from the return of the commit to the message's arrival.

The inserter (relay_latency.c) hears the stream's subject by core NATS, so a message arrives maybe a moment before it
is stored, for every contestant alike. With a hint the writer tells the relay after each commit by a core message, ours
and the Go relay alike; without, both look by themselves: ours after pauses that grow to 50 ms in an idle outbox, Go
every 5 ms.
"""
import json
import subprocess

from bench.jobs.relay_drain import RelayDrain
from bench.kit import checker
from bench.kit.job import Case, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from bench.peers import relays
from bench.peers.relays import HEADERS, STREAM, SUBJECT
from harness.process import eventually
from harness.settings import BUILD

HINT = "hint.outbox"
ADD = {"echora": "INSERT INTO catalog.outbox (stream, subject, entity_type, entity_id, event_id, headers, payload) "
                 f"VALUES ('{STREAM}', '{SUBJECT}', 'anime', gen_random_uuid(), gen_random_uuid(), "
                 f"'{HEADERS}', $1)",
       "go": "INSERT INTO public.bench_outbox (subject, event_id, payload) VALUES "
             f"('{SUBJECT}', gen_random_uuid(), $1)"}
ADD.update(python=ADD["go"], bento=ADD["go"], debezium=ADD["go"])
HINTED = ("echora", "go")


class RelayLatency(Job):
    name, about = "relay-latency", __doc__
    figures = (Figure("p50", "ms", "p50", False), Figure("p99", "ms", "p99", False),
               Figure("p99_9", "ms", "p99.9", False), Figure("max", "ms", "longest", False),
               Figure("rate", "rows/s", "rows committed"),
               Figure("cpu_per_million", "s", "relay's CPU a million rows", False))
    targets = (Target("p50 of 0.3 ms", "p50", "<=", case="1,000 rows/s, hint", bound=0.3),
               Target("p99 of 0.8 ms", "p99", "<=", case="1,000 rows/s, hint", bound=0.8),
               Target("p99 of 3 ms", "p99", "<=", case="5,000 rows/s", bound=3),
               Target("nothing lost", "lost", "<=", bound=0), Target("nothing repeated", "repeated", "<=", bound=0),
               Target("in order", "reordered", "<=", bound=0))
    postgres_settings = RelayDrain.postgres_settings

    def cases(self, scale):
        seconds = max(1, round(20 * scale))
        for rate in (1000, 5000):
            for hint in (True, False):
                yield Case(f"{rate:,} rows/s, {'hint' if hint else 'no hint'}",
                           {"rate": rate, "seconds": seconds, "hint": hint})

    def contestants(self, case):
        return [relays.contestant(name) for name in (HINTED if case.parameters["hint"] else ADD)]

    def run(self, stage, case, contestant):
        rate, seconds = case.parameters["rate"], case.parameters["seconds"]
        hint = HINT if case.parameters["hint"] else ""
        stage.fresh()
        process = None
        try:
            relays.prepare(stage, contestant.name)
            stage.settle()
            env = {} if contestant.kind == "ours" else {"HINT_SUBJECT": hint}
            process = relays.process(stage, contestant.name, **env)
            process.start()
            return self.measured(stage, process, contestant.name, rate, seconds, hint)
        finally:
            relays.finish(stage, contestant.name, process)

    @staticmethod
    def measured(stage, process, name, rate, seconds, hint):
        # It works once a row that is none of those measured has come through.
        stage.db.do(ADD[name].replace("$1", "%s"), b"probe")
        eventually(lambda: stage.messages() >= 1 or not process.alive(), 120, "the relay works")
        meter = Meter(relay=process.pid, **stage.pids())
        argv = [BUILD / "test/bench/relay_latency", stage.postgres_url(), stage.nats.url, rate, seconds, SUBJECT,
                ADD[name], hint]
        done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=30 * seconds + 120,
                              stdin=subprocess.DEVNULL)
        if not done.stdout:
            raise Failed(done.stderr + process.tail())
        told, figures = json.loads(done.stdout), meter.read()
        rows = rate * (seconds + 1)
        eventually(lambda: stage.messages() > rows or not process.alive(), 60, "all rows stored")
        figures.update({n: told[n] for n in ("p50", "p99", "p99_9", "max", "rate", "missing") if n in told})
        counts = checker.check(stage.nats.url, STREAM, rows)
        counts["foreign"] -= 1
        return {**figures, "cpu_per_million": figures["cpu"]["relay"] / rows * 1e6, **counts}


JOB = RelayLatency()
