"""How many events the catalogue writer takes at once (--fetch-size), and how many rows the relay reads at once
(--page-rows). The contestants are ours with these settings, in turns; the first has its default."""
from bench.jobs import ours
from bench.kit import checker
from bench.kit.job import Case, Job, Target
from bench.peers import relays

WRITER, RELAY = (256, 1, 8, 64, 1000), (500, 50, 5000)


class Batches(Job):
    name, about = "batches", __doc__
    figures = (ours.COST, ours.OWN_COST, ours.RATE)
    targets = (Target("nothing lost", "lost", "<=", bound=0, who=f"{WRITER[0]} events"),
               Target("nothing lost", "lost", "<=", bound=0, who=f"{RELAY[0]} rows"))
    postgres_settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

    def cases(self, scale):
        yield Case("writer, events of a batch", {"events": max(500, round(20_000 * scale)), "of": "events"})
        yield Case("relay, rows of a page", {"events": max(1000, round(300_000 * scale)), "of": "rows"})

    def contestants(self, case):
        of = case.parameters["of"]
        return ours.contestants([(f"{n} {of}", "") for n in (WRITER if of == "events" else RELAY)])

    def run(self, stage, case, contestant):
        stage.fresh()
        n, setting = case.parameters["events"], contestant.name.partition(" ")[0]
        if case.parameters["of"] == "events":
            return ours.write_new(stage, n, ECHORA_FETCH_SIZE=setting)
        relays.fill(stage.db, "echora", n, 300, 100)
        found = ours.relay(stage, n, ECHORA_PAGE_ROWS=setting)
        return {**found, **checker.check(stage.nats.url, relays.STREAM, n, 300)}


JOB = Batches()
