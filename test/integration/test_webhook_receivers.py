"""The event adapter's own calls, taken by the published libraries, the recipes and the code of the n8n workflows."""
import json
import re
import signal

import pytest

from harness import webhooks
from harness.adapter import PATHS
from harness.process import eventually
from harness.receiver import new_secret

WORKFLOWS = {"dlq": "dlq-triage", "risk": "risky-update", "review": "review-ready"}


class Calls:
    """What the adapter sent: for each route one call, and one for the route dlq while its secret is being changed."""

    def __init__(self, adapter, receiver):
        self.secrets = {route: new_secret() for route in PATHS}
        self.new = new_secret()
        receiver.secrets = [*self.secrets.values(), self.new]
        files = {route: adapter.folder / f"secret-{route}" for route in PATHS}
        for route, file in files.items():
            file.write_text(self.secrets[route] + "\n")
            file.chmod(0o644)
        worker = adapter.start(receiver.url, **{f"{route}_secret_files": file for route, file in files.items()})
        adapter.dead_letter()
        adapter.risky(("title", "episode_count"), ("title-changed", "episode-count-lowered"), title="進撃の巨人")
        adapter.review()
        adapter.settled(*PATHS)
        files["dlq"].write_text(f"{self.new}\n{self.secrets['dlq']}\n")
        worker.send_signal(signal.SIGHUP)

        def both():
            adapter.dead_letter()
            adapter.settled("dlq")
            return " " in receiver.of(PATHS["dlq"])[-1].headers["webhook-signature"]
        eventually(both, 20, "two signatures")
        self.sent = {route: receiver.of(path)[0] for route, path in PATHS.items()}
        self.pair = receiver.of(PATHS["dlq"])[-1]

    def case(self, call, secret, body=None):
        made = webhooks.call_of(secret, call.headers.items(), call.body if body is None else body)
        return {**made, "now": int(call.at)}

    def good(self):
        return [*(self.case(call, self.secrets[route]) for route, call in self.sent.items()),
                self.case(self.pair, self.new), self.case(self.pair, self.secrets["dlq"])]

    def bad(self):
        """Another route's secret; a byte more; a value changed; of the pair, a secret that signed none of it."""
        dlq, risk = self.sent["dlq"], self.sent["risk"]
        return [self.case(dlq, self.secrets["risk"]), self.case(dlq, self.secrets["dlq"], dlq.body + b" "),
                self.case(risk, self.secrets["risk"], risk.body.replace(b"title", b"score")),
                self.case(self.pair, self.secrets["review"])]


@pytest.fixture
def calls(adapter, receiver):
    return Calls(adapter, receiver)


def test_all_take_what_the_adapter_signs_and_nothing_else(calls, folder):
    good, bad = calls.good(), calls.bad()
    for language, verify in webhooks.PUBLISHED.items():
        found = [answer.partition(":")[0] for answer in verify([*good, *bad])]
        assert found == ["accepted"] * len(good) + ["refused"] * len(bad), language
    for language, (path, run) in webhooks.RECIPES.items():
        found = run(path.read_text(encoding="utf-8"), folder, [*good, *bad])
        assert found == ["accepted"] * len(good) + ["signature"] * len(bad), language


def test_workflows_take_their_route_and_no_other(calls, folder):
    for route, name in WORKFLOWS.items():
        workflow = webhooks.Workflow(name, folder)
        others = [other for other in PATHS if other != route]
        own, *strange = workflow.verify(
            [calls.case(calls.sent[route], calls.secrets[route]),
             *(calls.case(calls.sent[other], calls.secrets[route]) for other in others),
             *(calls.case(calls.sent[other], calls.secrets[other]) for other in others)])
        sent = calls.sent[route].json
        assert own == {"status": 202, **{key: sent[key] for key in ("id", "type", "timestamp", "data")}}
        assert [(answer["status"], answer["refused"]) for answer in strange] == \
            [(401, "signature")] * 2 + [(422, "type")] * 2
    both = webhooks.Workflow(WORKFLOWS["dlq"], folder)
    pair = [calls.case(calls.pair, secret) for secret in (calls.new, calls.secrets["dlq"])]
    assert [answer["status"] for answer in both.verify(pair)] == [202, 202]


def test_workflows_use_what_the_adapter_sends(calls):
    """Each member of `data` that a workflow's expressions name is in the call of its route."""
    for route, name in WORKFLOWS.items():
        text = (webhooks.ROOT / f"ops/n8n/{name}.json").read_text(encoding="utf-8")
        used = set(webhooks.data_members(text))
        assert used and used <= set(calls.sent[route].json["data"]), (name, used)


def test_readme_tells_what_the_adapter_sends(calls):
    """contracts/README.md: type, path and members of each route, as they are in a real call."""
    table = (webhooks.ROOT / "contracts/README.md").read_text(encoding="utf-8").split("| type, and path", 1)[1]
    rows = [line.split("|")[1:4] for line in table.split("\n\n", 1)[0].splitlines()[2:]]
    told = {tuple(re.findall("`([^`]+)`", head)): set(re.findall("`([a-z_]+)`", data)) for head, _, data in rows}
    sent = {(call.json["type"], PATHS[route]): set(call.json["data"]) for route, call in calls.sent.items()}
    assert {head: members for head, members in told.items() if len(head) == 2} == sent


@pytest.mark.parametrize("language", webhooks.RECIPES)
def test_a_recipe_as_the_receiver(language, adapter, folder):
    with webhooks.receiving(language, folder, adapter.secrets) as (port, acted):
        adapter.start(f"http://127.0.0.1:{port}")
        webhook_id = adapter.dead_letter()
        adapter.settled("dlq")
        eventually(acted, 5, "the event was acted on")
        (event,) = acted()
        assert (event["id"], event["type"]) == (webhook_id, "dead-letter.created")
        assert [(row["status"], row["class"]) for row in adapter.attempts("dlq")] == [(202, "delivered")]
        adapter.write_secrets(new_secret())
        adapter.worker.send_signal(signal.SIGHUP)

        def refused():
            adapter.dead_letter()
            return [row for row in adapter.attempts("dlq") if row["status"] == 401]
        eventually(refused, 20, "a call with another secret is refused")
        assert json.dumps(acted()).count("dead-letter.created") == len(acted())
