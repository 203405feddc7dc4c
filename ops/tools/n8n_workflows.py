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

    def http(self, name, url, place, body=None, credentials=None, command=None):
        """A call that is tried three times. With `command` it carries the Idempotency-Key `<webhook-id>:<command>`."""
        parameters = {"method": "POST" if body else "GET", "url": f"={{{{ {url} }}}}",
                      "options": {"timeout": 15000, "redirect": {"redirect": {"followRedirects": False}}}}
        if credentials:
            parameters.update(authentication="genericCredentialType", genericAuthType="oAuth2Api")
        if command:
            parameters.update(sendHeaders=True, headerParameters={"parameters": [
                {"name": "Idempotency-Key", "value": f"={{{{ {CALL}.id }}}}:{command}"}]})
        if body:
            parameters.update(sendBody=True, specifyBody="json", jsonBody=f"={{{{ JSON.stringify({body}) }}}}")
        more = {"credentials": credentials} if credentials else {}
        return self.node(name, "httpRequest", 4.2, parameters, place, retryOnFail=True, maxTries=3,
                         waitBetweenTries=5000, **more)

    def alert(self, name, text, place):
        """A line for people, to whatever takes {"text": …}: Slack, Mattermost and others."""
        return self.http(name, "$env.ECHORA_ALERT_URL", place, body=f"{{ text: {text} }}")

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
        told = "={{ $json.error?.message ?? $json.error ?? 'the call could not be verified' }}"
        self.connect(again, self.node("Fail", "stopAndError", 1, {"errorMessage": told}, (4, 2)))
        return act

    def remember(self, place, name="Remember id"):
        return self.code(name, "remember.js", place)

    def document(self):
        return {"id": IDS[self.path], "name": self.name, "active": False, "nodes": self.nodes,
                "connections": self.connections, "settings": {"executionOrder": "v1"}, "pinData": {}}


def triage():
    w = Workflow("dlq-triage", "Echora: triage of dead letters", "dead-letter.created")
    data = f"{CALL}.data"
    on = w.api_is_on((6, 0))
    may = w.question("Replay without asking?", "($env.ECHORA_TRIAGE_REPLAY ?? '').split(',')"
                     f".map((code) => code.trim()).filter(Boolean).includes({data}.error_type)", (7, 0))
    replay = w.http("Replay", f"{API} + '/dlq/replay'", (8, 0), credentials=APPROVE, command="dlq-replay",
                    body=f"{{ filter: {{ from_sequence: {data}.dlq_seq, to_sequence: {data}.dlq_seq }} }}")
    alert = w.alert("Alert people", f"`Echora: dead letter ${{{data}.dlq_seq}} on ${{{data}.subject}}: "
                    f"${{{data}.error_type}}, from ${{{data}.source_service}}, attempts: ${{{data}.attempt_count}}. "
                    f"echora dlq show ${{{data}.dlq_seq}}`", (8, 1))
    remember = w.remember((9, 0))
    w.chain(w.entrance(), on, may, replay, remember)
    w.connect(on, alert, 1)
    w.connect(may, alert, 1)
    w.connect(alert, remember)
    return w


def risky_update():
    w = Workflow("risky-update", "Echora: approval of risky updates", "update.review-requested")
    data = f"{CALL}.data"
    what = f"Echora: an update of anime ${{{data}.anime_id}} waits for a decision: " \
        f"${{[].concat({data}.risk_reason).join(', ')}}; " \
        f"fields: ${{[].concat({data}.changed_fields).join(', ')}}. "
    on = w.api_is_on((6, 0))
    update = f"{API} + '/updates/' + encodeURIComponent({data}.event_id)"
    fetch = w.http("Fetch update", update, (7, 0), credentials=APPROVE)
    ask = w.alert("Alert reviewers", f"`{what}${{$execution.resumeFormUrl}}`", (8, 0))
    fields = [{"fieldLabel": "Decision", "fieldType": "dropdown", "requiredField": True,
               "fieldOptions": {"values": [{"option": "approve"}, {"option": "reject"}]}},
              {"fieldLabel": "Your name", "requiredField": True}, {"fieldLabel": "Reason", "fieldType": "textarea"}]
    shown = "JSON.stringify({ current: $('Fetch update').first().json.current, " \
        "proposed: $('Fetch update').first().json.proposed }, null, 1).replace(/&/g, '&amp;').replace(/</g, '&lt;')"
    form = w.node("Wait for a decision", "wait", 1.1, {
        "resume": "form", "incomingAuthentication": "basicAuth",
        "formTitle": "Approve an update of the catalogue?", "formDescription": f"={{{{ {shown} }}}}",
        "formFields": {"values": fields}, "responseMode": "onReceived",
        "limitWaitTime": True, "limitType": "afterTimeInterval", "resumeAmount": 14, "resumeUnit": "days",
        "options": {}}, (10, 0), webhookId=str(uuid.uuid5(NAMESPACE, "risky-update/form")), credentials=REVIEWERS)
    decided = w.question("Decided in time?", "['approve', 'reject'].includes($json.Decision)", (11, 0))
    decide = w.http("Send decision", f"{update} + '/decision'", (12, 0), credentials=APPROVE, command="decision",
                    body="{ decision: $json.Decision, reviewed_by: $json['Your name'], "
                         "reason: $json.Reason || undefined }")
    w.chain(w.entrance(), on, fetch, ask, w.remember((9, 0)), form, decided, decide)
    by_hand = w.alert("Alert people", f"`{what}echora review show ${{{data}.event_id}}`", (7, 1))
    w.connect(on, by_hand, 1)
    w.connect(by_hand, w.remember((8, 1), "Remember id, by hand"))
    return w


def review_ready():
    w = Workflow("review-ready", "Echora: alert about a waiting review", "ingestion.review-ready")
    data = f"{CALL}.data"
    on = w.api_is_on((6, 0))
    fetch = w.http("Fetch run", f"{API} + '/workflow/runs/' + encodeURIComponent({data}.run_id)", (7, 0),
                   credentials=READ)
    state = "$('Fetch run').isExecuted ? `, the run is ${$('Fetch run').first().json.state}` : ''"
    alert = w.alert("Alert reviewers", f"`Echora: ${{{data}.entry_count}} entries of ingestion run ${{{data}.run_id}} "
                    f"wait for review${{{state}}}. ${{{data}.review_ref}}`", (8, 0))
    w.chain(w.entrance(), on, fetch, alert, w.remember((9, 0)))
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
