"""What the whole fleet costs when nothing happens: every worker of ours once, 60 seconds, after 5 seconds of settling.
The servers are told beside it."""
import time

from bench.jobs.start import KINDS, Start
from bench.kit.job import Case, Contestant, Figure, Job, Target
from bench.kit.meter import Meter


class Idle(Job):
    name, about = "idle", __doc__
    servers = ("postgres", "nats", "qdrant", "redis")
    figures = (Figure("percent", "% of a core", "all workers of ours", False),
               Figure("rss_mib", "MiB", "resident, all workers", False),
               Figure("server_percent", "% of a core", "nats-server and PostgreSQL"))
    targets = (Target("1 % of one core", "percent", "<=", bound=1),
               Target("120 MB resident", "rss_mib", "<=", bound=120e6 / 2**20))

    def cases(self, scale):
        yield Case("the fleet", {"seconds": max(3, round(60 * scale))})

    def contestants(self, case):
        return [Contestant("echora", f"{', '.join(KINDS)}; defaults", "ours")]

    def run(self, stage, case, contestant):
        seconds = case.parameters["seconds"]
        stage.fresh()
        workers = {kind: Start.process(stage, kind).start() for kind in KINDS}
        time.sleep(min(5, seconds))
        meter = Meter(**{kind: w.pid for kind, w in workers.items()}, **stage.pids())
        time.sleep(seconds)
        figures = meter.read()
        return {**figures, "percent": sum(figures["cpu"][k] for k in KINDS) / seconds * 100,
                "server_percent": (figures["cpu"]["nats-server"] + figures["cpu"]["PostgreSQL"]) / seconds * 100,
                "rss_mib": sum(w.memory() for w in workers.values()) / 2**20}


JOB = Idle()
