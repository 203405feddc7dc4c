"""How long a review takes from publishing to its receiver, 50 a second, while the receiver of another route hangs; and
the same while that route is idle, which is what it is held against."""
import time
import uuid

from bench.jobs.adapter import secret_file, worker
from bench.kit import stats
from bench.kit.job import Case, Contestant, Figure, Job, Target
from bench.kit.meter import Meter
from harness import receiver, wire
from harness.process import eventually


class AdapterRoutes(Job):
    name, about = "adapter-routes", __doc__
    figures = (Figure("p50", "ms", "p50", False), Figure("p99", "ms", "p99", False))
    targets = (Target("p99 within 20 % of the idle one", "p99", "<=", times=1.2, of="idle"),
               Target("nothing lost", "lost", "<=", bound=0))

    def cases(self, scale):
        yield Case("reviews", {"reviews": max(50, round(1000 * scale))})

    def contestants(self, case):
        return [Contestant("echora", "the receiver of dead letters hangs", "ours"),
                Contestant("idle", "no dead letters", "reference")]

    def run(self, stage, case, contestant):
        n, hangs = case.parameters["reviews"], contestant.kind == "ours"
        stage.fresh()
        secret = receiver.new_secret()
        target = receiver.Receiver([secret])
        target.answer = lambda call: time.sleep(20) or 204 if hangs and "dlq" in call.path else 204
        try:
            return self.measured(stage, target, worker(stage, target.url, secret_file(stage, secret)), n, hangs)
        finally:
            target.stop()

    @staticmethod
    def measured(stage, target, process, n, hangs):
        sent = {}
        process.start()
        meter = Meter(adapter=process.pid, **stage.pids())
        for i in range(50 if hangs else 0):
            stage.bus.publish("anime.dlq.catalog-updated", b"p", headers={"Nats-Msg-Id": f"hangs:{i}"})
        for _ in range(n):
            message = wire.classes()["IngestionReviewReadyEvent"](event_id=str(uuid.uuid4()), run_id=1, entry_count=1)
            message.timestamp.GetCurrentTime()
            sent[message.event_id] = time.time()
            stage.bus.publish("ingestion.review.ready", message.SerializeToString(),
                              headers={"Nats-Msg-Id": message.event_id})
            time.sleep(0.02)
        eventually(lambda: len(target.of("/webhook/review-ready")) >= n, 60, "all reviews")
        figures = meter.read()
        process.kill()
        calls = target.of("/webhook/review-ready")
        took = sorted((c.at - sent[c.id]) * 1000 for c in calls)
        return {**figures, "p50": stats.percentile(took, 0.5), "p99": stats.percentile(took, 0.99),
                "lost": n - len({c.id for c in calls}), "repeated": len(calls) - len({c.id for c in calls})}


JOB = AdapterRoutes()
