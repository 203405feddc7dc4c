#!/usr/bin/env python3
"""Writes the n8n workflows ops/n8n/*.json: the same verified entrance each, and then each its own path.

usage: n8n_workflows.py [--check]

Nodes are laid on a grid: a path is a list of nodes, and an If node's two outputs are (true, false). Names of nodes are
what expressions refer to, so they are unique within a workflow. No secret stands in a workflow; `$env` names them.
"""
import json
import sys
import uuid
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "n8n"
NAMESPACE = uuid.UUID("5d0f5a3e-6f0e-5c7a-9a51-3f2b8f1c4e60")
READ = {"oAuth2Api": {"id": "echora-read", "name": "Echora Command API, read"}}
APPROVE = {"oAuth2Api": {"id": "echora-approve", "name": "Echora Command API, approve"}}
REVIEWERS = {"httpBasicAuth": {"id": "echora-reviewers", "name": "Echora reviewers"}}
# n8n saves no static data of a workflow whose id is longer than 16 characters, and says nothing.
IDS = {"dlq-triage": "echora-triage", "risky-update": "echora-approval", "review-ready": "echora-review"}

CALL = "$('Verify signature').first().json"
API = "$env.ECHORA_COMMAND_API_URL"
# What an answer leads to (code/answer.js), in the order of the outputs.
OUTCOMES = ["done", "again", "settled", "failed"]
DONE, AGAIN, SETTLED, FAILED = range(4)


class Workflow:
    """Nodes and connections of one workflow."""

    def __init__(self, path, name, event_type):
        self.path, self.name = path, name
        self.nodes, self.connections = [], {}
        self.event_type = event_type
        self.secrets = "ECHORA_WEBHOOK_SECRETS_" + path.upper().replace("-", "_")

    def node(self, name, kind, version, parameters, place, **more):
        self.nodes.append({"id": str(uuid.uuid5(NAMESPACE, f"{self.path}/{name}")), "name": name,
                           "type": f"n8n-nodes-base.{kind}", "typeVersion": version,
                           "position": [place[0] * 220, place[1] * 180], "parameters": parameters, **more})
        return name

    def connect(self, source, target, output=0):
        outputs = self.connections.setdefault(source, {"main": []})["main"]
        while len(outputs) <= output:
            outputs.append([])
        outputs[output].append({"node": target, "type": "main", "index": 0})

    def chain(self, *names):
        for source, target in zip(names, names[1:]):
            self.connect(source, target)

    def code(self, name, file, place, **more):
        text = (FOLDER / "code" / file).read_text(encoding="utf-8")
        text = text.replace("@TYPE@", self.event_type).replace("@SECRETS@", self.secrets)
        return self.node(name, "code", 2, {"jsCode": text}, place, **more)

    def question(self, name, expression, place):
        condition = {"id": str(uuid.uuid5(NAMESPACE, f"{self.path}/{name}/condition")),
                     "leftValue": f"={{{{ {expression} }}}}", "rightValue": "",
                     "operator": {"type": "boolean", "operation": "true", "singleValue": True}}
        options = {"caseSensitive": True, "leftValue": "", "typeValidation": "strict", "version": 2}
        return self.node(name, "if", 2.2, {"conditions": {"options": options, "conditions": [condition],
                                                          "combinator": "and"}, "options": {}}, place)

    def answer(self, name, status, body, place):
        return self.node(name, "respondToWebhook", 1.1, {
            "respondWith": "json", "responseBody": f"={{{{ JSON.stringify({body}) }}}}",
            "options": {"responseCode": status}}, place)

    def http(self, name, url, place, body=None, parameters=None, options=None, **more):
        parameters = {"method": "POST" if body else "GET", "url": f"={{{{ {url} }}}}",
                      "options": {"timeout": 15000, "redirect": {"redirect": {"followRedirects": False}},
                                  **(options or {})}, **(parameters or {})}
        if body:
            parameters.update(sendBody=True, specifyBody="json", jsonBody=f"={{{{ JSON.stringify({body}) }}}}")
        return self.node(name, "httpRequest", 4.2, parameters, place, **more)

    def alert(self, name, text, place):
        """A line for people, to whatever takes {"text": …}: Slack, Mattermost and others. Tried three times."""
        return self.http(name, "$env.ECHORA_ALERT_URL", place, body=f"{{ text: {text} }}", retryOnFail=True,
                         maxTries=3, waitBetweenTries=5000)

    def ask(self, name, url, place, credentials, body=None, command=None):
        """A call of the Command API, and what is made of its answer; returns the node `<name>: answer`.

        With `command` it carries the Idempotency-Key `<webhook-id>:<command>`. The answer is taken as text, whatever
        its status: what comes from a proxy in between need not be JSON. No answer is an item with `error` alone.
        """
        parameters = {"authentication": "genericCredentialType", "genericAuthType": "oAuth2Api"}
        if command:
            parameters.update(sendHeaders=True, headerParameters={"parameters": [
                {"name": "Idempotency-Key", "value": f"={{{{ {CALL}.id }}}}:{command}"}]})
        response = {"fullResponse": True, "neverError": True, "responseFormat": "text"}
        call = self.http(name, f"{API} + {url}", place, body, parameters, {"response": {"response": response}},
                         credentials=credentials, onError="continueRegularOutput")
        answer = self.code(f"{name}: answer", "answer.js", (place[0] + 1, place[1]))
        self.connect(call, answer)
        return answer

    def insist(self, name, url, place, credentials, **more):
        """ask(), again and again while the answer says so; returns the node whose outputs are OUTCOMES."""
        x, y = place
        answer = self.ask(name, url, place, credentials, **more)
        now = self.node(f"{name}: what now?", "switch", 3.2, {
            "mode": "expression", "numberOutputs": len(OUTCOMES),
            "output": f"={{{{ {json.dumps(OUTCOMES)}.indexOf($json.outcome) }}}}".replace('"', "'")}, (x + 2, y))
        wait = self.node(f"{name}: wait", "wait", 1.1, {
            "resume": "timeInterval", "amount": "={{ $json.seconds }}", "unit": "seconds"}, (x + 1, y + 1),
            webhookId=str(uuid.uuid5(NAMESPACE, f"{self.path}/{name}/wait")))
        self.connect(answer, now)
        self.connect(now, wait, AGAIN)
        self.connect(wait, name)
        return now

    def give_up(self, name, answer, text, place):
        """People are told; then the execution fails, unless nothing was left to do. Returns the node for that."""
        x, y = place
        tell = self.alert(name, text, place)
        settled = self.question(f"{name}: settled?", f"$('{answer}').first().json.outcome === 'settled'", (x + 1, y))
        self.connect(tell, settled)
        self.connect(settled, self.fail(f"{name}: fail", f"$('{answer}').first().json.told", (x + 2, y + 1)), 1)
        return settled

    def fail(self, name, expression, place):
        return self.node(name, "stopAndError", 1, {"errorMessage": f"={{{{ {expression} }}}}"}, place)

    def api_is_on(self, place):
        return self.question("Command API is on?", f"!!{API}", place)

    def entrance(self):
        """What all have in common; returns the node whose true output leads on to the work.

        n8n answers 200 with nothing when a workflow fails before its answer, and the sender would take that for
        success. So a Code node that fails (no secret, no runner) leads to a 503, and only then fails the execution.
        """
        webhook = self.node("Call from Echora", "webhook", 2,
                            {"httpMethod": "POST", "path": self.path, "responseMode": "responseNode",
                             "options": {"rawBody": True}}, (0, 0),
                            webhookId=str(uuid.uuid5(NAMESPACE, f"{self.path}/webhook")))
        genuine = self.question("Genuine?", "$json.status === 202", (2, 0))
        verify = self.code("Verify signature", "verify.js", (1, 0), onError="continueErrorOutput")
        seen = self.code("Acted on before?", "seen.js", (3, 0), onError="continueErrorOutput")
        answer = self.answer("Answer 202", 202, "{ id: $json.id, repeat: $json.repeat }", (4, 0))
        act = self.question("Something to do?",
                            f"!$('{seen}').first().json.repeat && {CALL}.type !== 'webhook.test'", (5, 0))
        self.chain(webhook, verify, genuine, seen, answer, act)
        self.connect(genuine, self.answer("Refuse", "={{ $json.status }}", "{ refused: $json.refused }", (3, 1)), 1)
        again = self.answer("Answer 503", 503, "{ failed: true }", (3, 2))
        self.connect(verify, again, 1)
        self.connect(seen, again, 1)
        told = "$json.error?.message ?? $json.error ?? 'the call could not be verified'"
        self.connect(again, self.fail("Fail", told, (4, 2)))
        return act

    def remember(self, place, name="Remember id"):
        return self.code(name, "remember.js", place)

    def document(self):
        return {"id": IDS[self.path], "name": self.name, "active": False, "nodes": self.nodes,
                "connections": self.connections, "settings": {"executionOrder": "v1"}, "pinData": {}}


def told_by(answer):
    return f"${{$('{answer}').first().json.told}}"


def triage():
    w = Workflow("dlq-triage", "Echora: triage of dead letters", "dead-letter.created")
    data = f"{CALL}.data"
    letter = f"Echora: dead letter ${{{data}.dlq_seq}} on ${{{data}.subject}}: ${{{data}.error_type}}, " \
        f"from ${{{data}.source_service}}, attempts: ${{{data}.attempt_count}}."
    show = f"echora dlq show ${{{data}.dlq_seq}}"
    on = w.api_is_on((6, 0))
    may = w.question("Replay without asking?", "($env.ECHORA_TRIAGE_REPLAY ?? '').split(',')"
                     f".map((code) => code.trim()).filter(Boolean).includes({data}.error_type)", (7, 0))
    replay = w.insist("Replay", "'/dlq/replay'", (8, 0), APPROVE, command="dlq-replay",
                      body=f"{{ filter: {{ from_sequence: {data}.dlq_seq, to_sequence: {data}.dlq_seq }} }}")
    alert = w.alert("Alert people", f"`{letter} {show}`", (8, 2))
    given_up = w.give_up("Alert that it was not replayed", "Replay: answer",
                         f"`{letter} It was not replayed: {told_by('Replay: answer')} {show}`", (11, 1))
    remember = w.remember((13, 0))
    w.chain(w.entrance(), on, may, "Replay")
    w.connect(on, alert, 1)
    w.connect(may, alert, 1)
    w.connect(replay, remember, DONE)
    w.connect(replay, "Alert that it was not replayed", SETTLED)
    w.connect(replay, "Alert that it was not replayed", FAILED)
    w.connect(given_up, remember)
    w.connect(alert, remember)
    return w


def form_of(shown):
    """The form of a decision. It tells the reviewer that the decision is on its way, not that it was taken."""
    fields = [{"fieldLabel": "Decision", "fieldType": "dropdown", "requiredField": True,
               "fieldOptions": {"values": [{"option": "approve"}, {"option": "reject"}]}},
              {"fieldLabel": "Your name", "requiredField": True, "placeholder": "at most 120 bytes"},
              {"fieldLabel": "Reason", "fieldType": "textarea",
               "placeholder": "at most 500 bytes; a longer one is cut"}]
    thanks = "Your decision is being sent to the catalogue. What came of it is told where you found this link."
    return {"resume": "form", "incomingAuthentication": "basicAuth",
            "formTitle": "Approve an update of the catalogue?", "formDescription": f"={{{{ {shown} }}}}",
            "formFields": {"values": fields}, "responseMode": "onReceived",
            "limitWaitTime": True, "limitType": "afterTimeInterval", "resumeAmount": 14, "resumeUnit": "days",
            "options": {"respondWithOptions": {"values": {"respondWith": "text", "formSubmittedText": thanks}}}}


def risky_update():
    w = Workflow("risky-update", "Echora: approval of risky updates", "update.review-requested")
    data = f"{CALL}.data"
    what = f"Echora: an update of anime ${{{data}.anime_id}} waits for a decision: " \
        f"${{[].concat({data}.risk_reason).join(', ')}}; " \
        f"fields: ${{[].concat({data}.changed_fields).join(', ')}}. "
    show = f"echora review show ${{{data}.event_id}}"
    on = w.api_is_on((6, 0))
    update = f"'/updates/' + encodeURIComponent({data}.event_id)"
    fetch = w.insist("Fetch update", update, (7, 0), APPROVE)
    body = "$('Fetch update: answer').first().json.body"
    waits = w.question("Still waits?", f"{body}.state === 'pending'", (10, 0))
    alert = w.alert("Alert reviewers", f"`{what}${{$execution.resumeFormUrl}}`", (11, 0))
    shown = f"JSON.stringify({{ current: {body}.current, proposed: {body}.proposed }}, null, 1)" \
        ".replace(/&/g, '&amp;').replace(/</g, '&lt;')"
    form = w.node("Wait for a decision", "wait", 1.1, form_of(shown), (13, 0), credentials=REVIEWERS,
                  webhookId=str(uuid.uuid5(NAMESPACE, "risky-update/form")))
    decided = w.question("Decided in time?", "['approve', 'reject'].includes($json.Decision)", (14, 0))
    decision = w.code("Decision", "decision.js", (15, 0))
    decide = w.insist("Send decision", f"{update} + '/decision'", (16, 0), APPROVE, command="decision",
                      body=f"$('{decision}').first().json.request")
    w.chain(w.entrance(), on, "Fetch update")
    w.connect(fetch, waits, DONE)
    w.chain(waits, alert, w.remember((12, 0)), form, decided, decision, "Send decision")
    w.connect(decide, w.alert(
        "Tell what came of it", f"`Echora: the update of anime ${{{data}.anime_id}} is now "
        "${$('Send decision: answer').first().json.body.state}.${"
        f"$('{decision}').first().json.cut.map((name) => ` Cut, for it was too long: ${{name}}.`).join('')}}`",
        (19, 0)), DONE)
    w.connect(decide, w.alert(
        "Tell that nothing came of it", f"`Echora: the decision about anime ${{{data}.anime_id}} was not taken: "
        f"{told_by('Send decision: answer')} {show}`", (19, 1)), SETTLED)
    again = w.alert("Ask again", f"`Echora: the decision about anime ${{{data}.anime_id}} did not arrive: "
                    f"{told_by('Send decision: answer')} It may be made again: ${{$execution.resumeFormUrl}} "
                    f"or by hand: {show}`", (19, 2))
    w.connect(decide, again, FAILED)
    w.connect(again, form)
    decided_already = w.remember((12, 1), "Remember id, nothing to decide")
    w.connect(waits, decided_already, 1)
    given_up = w.give_up("Alert that it cannot be fetched", "Fetch update: answer",
                         f"`{what}It can't be fetched: {told_by('Fetch update: answer')} {show}`", (10, 2))
    w.connect(fetch, "Alert that it cannot be fetched", SETTLED)
    w.connect(fetch, "Alert that it cannot be fetched", FAILED)
    w.connect(given_up, decided_already)
    by_hand = w.alert("Alert people", f"`{what}{show}`", (7, 3))
    w.connect(on, by_hand, 1)
    w.connect(by_hand, w.remember((8, 3), "Remember id, by hand"))
    return w


def review_ready():
    """How the run stands is only said beside the alert: nobody waits for an answer that does not come."""
    w = Workflow("review-ready", "Echora: alert about a waiting review", "ingestion.review-ready")
    data = f"{CALL}.data"
    on = w.api_is_on((6, 0))
    answer = w.ask("Fetch run", f"'/workflow/runs/' + encodeURIComponent({data}.run_id)", (7, 0), READ)
    state = f"$('{answer}').isExecuted && $('{answer}').first().json.outcome === 'done' " \
        f"? `, the run is ${{$('{answer}').first().json.body.state}}` : ''"
    alert = w.alert("Alert reviewers", f"`Echora: ${{{data}.entry_count}} entries of ingestion run ${{{data}.run_id}} "
                    f"wait for review${{{state}}}. ${{{data}.review_ref}}`", (9, 0))
    w.chain(w.entrance(), on, "Fetch run")
    w.chain(answer, alert, w.remember((10, 0)))
    w.connect(on, alert, 1)
    return w


def main():
    stale = []
    for workflow in (triage(), risky_update(), review_ready()):
        kept = FOLDER / f"{workflow.path}.json"
        made = json.dumps(workflow.document(), indent=2, ensure_ascii=False) + "\n"
        if sys.argv[1:] == ["--check"]:
            stale += [] if kept.exists() and kept.read_text(encoding="utf-8") == made else [kept.name]
        else:
            kept.write_text(made, encoding="utf-8")
    return f"not what n8n_workflows.py makes (ops/tools/regenerate): {' '.join(stale)}" if stale else 0


if __name__ == "__main__":
    sys.exit(main())
