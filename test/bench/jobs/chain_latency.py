"""One event at rest: from publishing it until its point is in the index, the fleet having nothing else to do. The
index is asked every 2 ms, which costs the front a little."""
import http.client
import time

from bench.jobs.chain import fleet
from bench.jobs.sync import ALIAS
from bench.jobs.writer import entity, new_entities
from bench.kit import stats
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter

WARM = 20


class ChainLatency(Job):
    name, about = "chain-latency", __doc__
    servers = ("postgres", "nats", "qdrant")
    figures = (Figure("p50", "ms", "p50", False), Figure("p99", "ms", "p99", False),
               Figure("max", "ms", "longest", False))
    targets = (Target("p50 of 10 ms", "p50", "<=", bound=10), Target("p99 of 30 ms", "p99", "<=", bound=30))

    def cases(self, scale):
        yield Case("one event at rest", {"events": max(30, round(500 * scale))})

    def contestants(self, case):
        return [Contestant("echora", "one worker of each kind, defaults", "ours")]

    def run(self, stage, case, contestant):
        stage.fresh()
        workers = fleet(stage)
        meter = Meter(**{kind: w.pid for kind, w in workers.items()}, **stage.pids())
        front, took = http.client.HTTPConnection("127.0.0.1", stage.qdrant.port), []
        for i, (subject, payload, headers) in enumerate(new_entities(case.parameters["events"] + WARM)):
            began = time.monotonic()
            stage.bus.publish(subject, payload, headers=headers)
            while True:
                front.request("GET", f"/collections/{ALIAS}/points/{entity(i)}")
                answer = front.getresponse()
                answer.read()
                if answer.status == 200:
                    break
                if time.monotonic() - began > 30:
                    raise Failed(f"event {i} is not in the index after 30 s")
                time.sleep(0.002)
            took.append((time.monotonic() - began) * 1000)
            time.sleep(0.05)
        took = sorted(took[WARM:])
        return {**meter.read(), "p50": stats.percentile(took, 0.5), "p99": stats.percentile(took, 0.99),
                "max": took[-1]}


JOB = ChainLatency()
