"""`echora webhook`: what operators see and do."""
from datetime import datetime

from harness.adapter import PATHS
from harness.process import eventually

DLQ = PATHS["dlq"]


def test_a_test_event(adapter, receiver, echora):
    adapter.start(receiver.url, review_url="http://127.0.0.1:1/")
    away = echora("webhook", "test", "review", ok=False)
    assert away.code == 1 and "trouble, no answer http-connect, " in away.out
    said = echora("webhook", "test", "risk", "--json").json
    (call,) = receiver.of(PATHS["risk"])
    assert (call.id, call.json["type"], call.data) == (said["webhook_id"], "webhook.test", {"route": "risk"})
    assert (said["status"], said["class"]) == (204, "delivered")
    receiver.answer = lambda call: 404
    result = echora("webhook", "test", "dlq", ok=False)
    assert result.code == 1 and "misconfigured, status 404" in result.out
    assert [(r["route"], r["trigger"]) for r in adapter.attempts()] == [(r, "test") for r in ("review", "risk", "dlq")]


def test_what_is_refused(adapter, receiver, echora):
    adapter.start("", dlq_url=receiver.url + "/own")
    assert echora("webhook", "test", "nowhere", ok=False).code == 2
    unset = echora("webhook", "test", "risk", ok=False)
    assert unset.code == 1 and "has no destination" in unset.err
    assert echora("webhook", "test", "dlq").code == 0 and len(receiver.of("/own")) == 1
    viewer = echora("webhook", "test", "dlq", user="viewer", ok=False)
    assert viewer.code != 0 and len(receiver.calls) == 1
    gone = echora("webhook", "replay", "dlq", "0193f0a2-6d57-7a53-9c1c-1f1f0e6f7a10", ok=False)
    assert gone.code == 1 and "no such webhook" in gone.err


def test_the_log_and_a_replay(adapter, receiver, echora):
    """What was refused is seen, and sent again under its id with fresh time and signatures."""
    receiver.answer = lambda call: 422
    adapter.start(receiver.url)
    id = adapter.dead_letter()
    risky = adapter.risky()
    adapter.settled("dlq", "risk")
    (row,) = echora("webhook", "deliveries", "dlq", "--json").json
    assert (row["webhook_id"], row["status"], row["class"], row["next_try"]) == (id, 422, "refused", "")
    assert datetime.fromisoformat(row["started"]).tzinfo
    assert len(echora("webhook", "deliveries", "--json").json) == 2
    assert echora("webhook", "deliveries", "--class", "delivered", "--json").json == []
    receiver.answer = lambda call: 200
    assert "delivered, status 200" in echora("webhook", "replay", "dlq", id).out
    assert "delivered, status 200" in echora("webhook", "replay", "risk", "--failed").out
    assert "nothing has failed for good" in echora("webhook", "replay", "risk", "--failed").out
    for path, expected in ((DLQ, id), (PATHS["risk"], risky)):
        first, again = receiver.of(path)
        assert first.id == again.id == expected and first.body == again.body
    assert [r["trigger"] for r in adapter.attempts("dlq")] == ["event", "replay"]
    assert id in echora("webhook", "deliveries", "--id", id).out


def test_routes_and_enabling(adapter, receiver, echora):
    receiver.answer = lambda call: 410 if call.path == DLQ else 200
    adapter.start(receiver.url)
    adapter.dead_letter()
    eventually(adapter.parked, what="parked")
    adapter.dead_letter()
    adapter.risky()
    adapter.settled("risk")
    rows = {r["route"]: r for r in echora("webhook", "routes", "--json").json}
    assert (rows["dlq"]["enabled"], rows["dlq"]["failed"], rows["dlq"]["pending"]) == (False, 1, 1)
    assert (rows["risk"]["enabled"], rows["risk"]["delivered"], rows["review"]["newest"]) == (True, 1, "")
    assert (rows["dlq"]["newest_class"], rows["review"]["newest_class"]) == ("gone", "")
    datetime.fromisoformat(rows["risk"]["newest"])
    shown = echora("webhook", "routes").out.splitlines()
    assert "gone 410; disabled: the receiver answered 410" in shown[1] and " delivered 200" in shown[2]
    assert shown[3].endswith("never")
    doctor = {r["text"]: (r["state"], r["mend"]) for r in echora("doctor", "--json", ok=False).json
              if r["check"] == "webhooks"}
    assert doctor == {"route dlq is disabled: the receiver answered 410":
                      ("warn", "mend its receiver, then: echora webhook enable dlq")}
    status = echora("status", "--workers", f"adapter=127.0.0.1:{adapter.worker.port}", ok=False).out  # no index here
    assert "adapter-dlq" in status and "route-disabled" in status
    receiver.answer = lambda call: 200
    echora("webhook", "enable", "dlq")
    adapter.settled("dlq")
    assert len(receiver.of(DLQ)) == 2
    assert "webhooks             the newest call of each route was delivered" in echora("doctor", ok=False).out
    receiver.answer = lambda call: 401
    adapter.risky()
    eventually(lambda: "route risk: the newest call ended as auth 401" in echora("doctor", ok=False).out, what="told")
    (changed,) = adapter.db.all("SELECT enabled, changed_by <> '' FROM adapter.route")
    assert changed == (True, True)
