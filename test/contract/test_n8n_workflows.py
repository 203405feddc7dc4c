"""The workflows of ops/n8n: generated, free of secrets, and their code as it stands in the JSON, run in Node."""
import base64
import json
import re
import subprocess
import sys

import pytest

from harness.settings import ROOT
from harness.webhooks import Workflow, make_cases

TYPES = {"dlq-triage": "dead-letter.created", "risky-update": "update.review-requested",
         "review-ready": "ingestion.review-ready"}
STATUS = {"accepted": (202, None), "headers": (401, "headers"), "timestamp": (401, "timestamp"),
          "signature": (401, "signature")}

# Text of the JSON, what it becomes when a guard is taken away, and a case whose answer is then wrong.
FAULTS = {
    "comparison": ("genuine = sameText(wanted, given) || genuine", "genuine = true",
                   "signature: body with another number"),
    "length": ("x.length === y.length && timingSafeEqual(x, y)", "b.startsWith(a)",
               "signature: signature twice over"),
    "canonical": ("sameText(wanted, given)", "(given.startsWith('v1,') && Buffer.from(wanted.slice(3), 'base64')"
                  ".equals(Buffer.from(given.slice(3), 'base64')))", "signature: signature with loose bits"),
    "version": ("sameText(wanted, given)", "sameText(wanted.slice(3), given.split(',')[1])",
                "signature: signature as v1a"),
    "old": ("> TOLERANCE_S", "> 1e16", "timestamp: timestamp 301 s old"),
    "future": ("Math.abs(now - Number(headers['webhook-timestamp']))", "now - Number(headers['webhook-timestamp'])",
               "timestamp: timestamp 301 s ahead"),
    "id": ("`${headers['webhook-id']}.${headers['webhook-timestamp']}.`", "`${GIVEN}.${headers['webhook-timestamp']}.`",
           "signature: another id"),
    "raw bytes": (".update(raw)", ".update(JSON.stringify(JSON.parse(raw.toString() || '0')))",
                  "accepted: body with spaces and lines"),
    "rotation": ("headers['webhook-signature'].split(' ')", "headers['webhook-signature'].split(' ').slice(0, 1)",
                 "accepted: two signatures, the second is ours"),
    "second key": ("for (const key of keys)", "for (const key of keys.slice(0, 1))",
                   "accepted: receiver knows new and old, signed with old"),
}


@pytest.fixture(params=TYPES)
def workflow(request, tmp_path):
    return Workflow(request.param, tmp_path)


def cases_of(name):
    return make_cases.table({**make_cases.EVENT, "type": TYPES[name]})


def wrong(cases, found):
    return {case["name"]: (answer.get("status"), answer.get("refused")) for case, answer in zip(cases, found)
            if (answer.get("status"), answer.get("refused")) != STATUS[case["answer"]]}


def test_files_are_what_the_generator_makes():
    done = subprocess.run([sys.executable, "-B", ROOT / "ops/tools/n8n_workflows.py", "--check"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr


def test_code_answers_as_the_table_says(workflow):
    cases = cases_of(workflow.name)
    assert not wrong(cases, workflow.verify(cases))


@pytest.mark.parametrize("fault", FAULTS)
def test_table_sees_a_guard_that_is_gone(fault, tmp_path):
    text, instead, seen_by = FAULTS[fault]

    def change(document):
        assert document.count(text) == 1
        return document.replace(text, instead.replace("GIVEN", f"'{make_cases.ID}'"))
    cases = cases_of("dlq-triage")
    found = wrong(cases, Workflow("dlq-triage", tmp_path, change).verify(cases))
    assert (found[seen_by][0] == 401) == seen_by.startswith("accepted")  # 422: let in, and then seen to be strange


def case_of(event, **more):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return {"secrets": [make_cases.SECRET], "now": make_cases.NOW, "headers": make_cases.call(body),
            "body": base64.b64encode(body).decode(), **more}


def test_what_is_genuine_but_not_for_this_workflow_is_no_retry(workflow):
    """422: the sender parks it. Another route's secret is another matter, and 401."""
    event = {**make_cases.EVENT, "type": TYPES[workflow.name]}
    other = next(kind for name, kind in TYPES.items() if name != workflow.name)
    wanted = [(case_of(event), 202, None), (case_of({**event, "type": "webhook.test"}), 202, None),
              (case_of({**event, "type": other}), 422, "type"), (case_of({**event, "type": None}), 422, "type"),
              (case_of({**event, "id": "x"}), 422, "id"), (case_of([event]), 422, "id"), (case_of(None), 422, "id"),
              (case_of(b"{"), 422, "body"), (case_of(b"\xff\xfe"), 422, "body"), (case_of(b""), 422, "body"),
              (case_of(event, secrets=[make_cases.OTHER_ROUTE]), 401, "signature")]
    found = workflow.verify([case for case, _, _ in wanted])
    assert [(answer["status"], answer.get("refused")) for answer in found] == [row[1:] for row in wanted]


def test_nothing_but_the_event_goes_on(workflow):
    event = {**make_cases.EVENT, "type": TYPES[workflow.name]}
    taken, refused = workflow.verify([case_of(event), case_of(event, secrets=[make_cases.OLD])])
    assert taken == {"status": 202, "id": make_cases.ID, "type": event["type"], "timestamp": event["timestamp"],
                     "data": event["data"]}
    assert refused == {"status": 401, "refused": "signature"}


BAD_SECRETS = [None, [], ["whsec_"], ["whsec_x"], ["whsec_" + "A" * 30], [make_cases.SECRET, "whsec_x"],
               ["whsec_" + base64.b64encode(bytes(23)).decode()], ["whsec_" + base64.b64encode(bytes(65)).decode()],
               [make_cases.SECRET.lower()]]


def test_without_a_good_secret_nothing_is_answered(workflow):
    """An error, which the workflow answers with 503: the sender tries again. It names the variable and no secret."""
    event = {**make_cases.EVENT, "type": TYPES[workflow.name]}
    for answer in workflow.verify([case_of(event, secrets=secrets) for secrets in BAD_SECRETS]):
        assert set(answer) == {"error"} and workflow.variable in answer["error"]
        assert make_cases.SECRET[6:20].lower() not in answer["error"].lower()


def test_repeats_are_known_and_memory_is_bounded(workflow):
    def seen(webhook_id, ids):
        call = {"id": webhook_id, "type": "webhook.test", "status": 202}
        return {"node": "Acted on before?", "input": call, "store": {"seen": ids} if ids else {}}

    def remember(webhook_id, ids):
        return {"node": "Remember id", "input": {"from": "the work"}, "call": {"id": webhook_id},
                "store": {"seen": ids} if ids else {}}
    full = [f"id-{n}" for n in range(1000)]
    known = workflow.run([seen("a", None), seen("a", ["b", "a"]), seen("b", ["b", "a"]), seen("c", ["b", "a"])])
    assert [answer["repeat"] for answer in known] == [False, True, True, False]
    kept = workflow.run([remember("a", None), remember("b", ["a"]), remember("a", ["a", "b"]), remember("new", full)])
    assert [answer["store"]["seen"] for answer in kept] == [["a"], ["a", "b"], ["b", "a"], [*full[1:], "new"]]
    assert {answer["from"] for answer in kept} == {"the work"}


def nodes(workflow, kind):
    return [node for node in workflow.document["nodes"] if node["type"] == f"n8n-nodes-base.{kind}"]


def reached(workflow, start, passing=lambda name: True):
    """Names of the nodes that can be reached from `start` through nodes that `passing` lets through."""
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in found and passing(name):
            found.add(name)
            outputs = workflow.document["connections"].get(name, {"main": []})["main"]
            waiting += [edge["node"] for output in outputs for edge in output]
    return found


def test_entrance_is_raw_and_answers_only_after_verifying(workflow):
    (webhook,) = nodes(workflow, "webhook")
    assert webhook["parameters"] == {"httpMethod": "POST", "path": workflow.name, "responseMode": "responseNode",
                                     "options": {"rawBody": True}}
    answers = {node["name"]: node["parameters"]["options"]["responseCode"]
               for node in nodes(workflow, "respondToWebhook")}
    assert answers == {"Answer 202": 202, "Refuse": "={{ $json.status }}", "Answer 503": 503}
    before = reached(workflow, webhook["name"], lambda name: name not in ("Verify signature", "Genuine?"))
    assert before == {webhook["name"]}
    genuine, refused = workflow.document["connections"]["Genuine?"]["main"]
    assert reached(workflow, refused[0]["node"]) == {"Refuse"}
    assert "Answer 202" in reached(workflow, genuine[0]["node"]) and len(genuine) == len(refused) == 1


def test_a_node_that_fails_before_the_answer_leads_to_503(workflow):
    """Else n8n answers 200 by itself, and the event is lost."""
    before = reached(workflow, "Call from Echora", lambda name: name != "Answer 202")
    for node in nodes(workflow, "code"):
        if node["name"] in before:
            assert node["onError"] == "continueErrorOutput"
            failed = workflow.document["connections"][node["name"]]["main"][1]
            assert reached(workflow, failed[0]["node"]) == {"Answer 503", "Fail"}
    assert {node["type"].rpartition(".")[2] for node in workflow.document["nodes"] if node["name"] in before} <= {
        "webhook", "code", "if", "respondToWebhook", "stopAndError"}


def test_nothing_calls_out_before_the_answer_or_past_the_switch(workflow):
    calls = {node["name"]: node for node in nodes(workflow, "httpRequest")}
    early = reached(workflow, "Call from Echora", lambda name: name != "Answer 202")
    assert not early & set(calls)
    on, off = workflow.document["connections"]["Command API is on?"]["main"]
    ours = {name for name, node in calls.items() if "ECHORA_COMMAND_API_URL" in node["parameters"]["url"]}
    assert ours and ours <= reached(workflow, on[0]["node"])
    assert not ours & reached(workflow, off[0]["node"])
    skipped = reached(workflow, "Call from Echora", lambda name: name != "Command API is on?")
    assert not set(calls) & skipped


def calls_of_the_api(workflow):
    return [node for node in nodes(workflow, "httpRequest") if "ECHORA_COMMAND_API_URL" in node["parameters"]["url"]]


def test_commands_carry_a_key_of_the_event(workflow):
    for node in nodes(workflow, "httpRequest"):
        parameters = node["parameters"]
        assert parameters["options"]["redirect"] == {"redirect": {"followRedirects": False}}
        if node not in calls_of_the_api(workflow):
            assert node["retryOnFail"] and node["maxTries"] == 3
            continue
        assert "oAuth2Api" in node["credentials"]
        if parameters["method"] == "POST":
            (header,) = parameters["headerParameters"]["parameters"]
            assert header["name"] == "Idempotency-Key"
            assert re.fullmatch(r"=\{\{ \$\('Verify signature'\)\.first\(\)\.json\.id }}:[a-z-]+", header["value"])


OUTCOMES = ["done", "again", "settled", "failed"]


def test_each_answer_of_the_api_has_its_branch(workflow):
    """Whatever it is, it comes to the node that reads it; and from there to one of four ways."""
    connections = workflow.document["connections"]
    for call in calls_of_the_api(workflow):
        assert call["onError"] == "continueRegularOutput" and "retryOnFail" not in call
        assert call["parameters"]["options"]["response"] == {
            "response": {"fullResponse": True, "neverError": True, "responseFormat": "text"}}
        ((read,),) = connections[call["name"]]["main"]
        assert read["node"] == f"{call['name']}: answer"
        if workflow.name == "review-ready":  # the alert does not wait for the run
            continue
        ((now,),) = connections[read["node"]]["main"]
        (switch,) = [node for node in nodes(workflow, "switch") if node["name"] == now["node"]]
        assert switch["parameters"]["output"] == f"={{{{ {OUTCOMES}.indexOf($json.outcome) }}}}"
        ways = dict(zip(OUTCOMES, connections[switch["name"]]["main"]))
        assert all(len(way) == 1 for way in ways.values()) and list(ways) == OUTCOMES
        # Again: a pause, and the same node. No other way leads there but through people.
        (again,) = ways["again"]
        assert connections[again["node"]] == {"main": [[{"node": call["name"], "type": "main", "index": 0}]]}
        pause = next(node for node in nodes(workflow, "wait") if node["name"] == again["node"])
        assert pause["parameters"] == {"resume": "timeInterval", "amount": "={{ $json.seconds }}", "unit": "seconds"}
        # Settled and failed: people are told first.
        for way in ("settled", "failed"):
            told = next(node for node in nodes(workflow, "httpRequest") if node["name"] == ways[way][0]["node"])
            assert "ECHORA_ALERT_URL" in told["parameters"]["url"]
            assert f"$('{read['node']}').first().json.told" in told["parameters"]["jsonBody"]


def test_nothing_is_claimed_before_the_api_has_said_it(tmp_path):
    """What says that something was decided stands behind the way "done" alone."""
    workflow = Workflow("risky-update", tmp_path)
    others = reached(workflow, "Call from Echora", lambda name: name != "Send decision: what now?")
    assert "Tell what came of it" not in others
    done, *rest = workflow.document["connections"]["Send decision: what now?"]["main"]
    assert done[0]["node"] == "Tell what came of it"
    barred = ("Send decision: what now?", "Send decision")
    for way in rest:
        assert "Tell what came of it" not in reached(workflow, way[0]["node"], lambda name: name not in barred)


def answered(workflow, *cases):
    """What a workflow makes of answers: (status, body, run, headers), as the HTTP node gives them; no status: none."""
    name = next(n["name"] for n in nodes(workflow, "code") if n["name"].endswith(": answer"))
    lines = []
    for status, body, run, headers in cases:
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        given = {"statusCode": status, "headers": headers, "data": text} if status else {"error": {"code": "ECONNREFUSED"}}
        lines.append({"node": name, "input": given, "run": run})
    return workflow.run(lines)


def problem(status, code, retryable=False, **more):
    return {"status": status, "code": code, "retryable": retryable, "detail": "In words.", "violations": [], **more}


RETRYABLE = {"run_lock_conflict": 409, "request_in_progress": 409, "rate_limited": 429, "retryable_upstream_error": 503}


def test_codes_lead_where_the_table_says(workflow):
    """The table of ops/n8n/README.md against the code, for every code that the Command API has."""
    readme = (ROOT / "ops/n8n/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+`) \| (done|again|settled|failed) \|", readme, re.MULTILINE)
    table = {code: branch for codes, branch in rows for code in re.findall(r"`([a-z_]+)`", codes)}
    document = json.loads((ROOT / "contracts/openapi.json").read_text(encoding="utf-8"))
    codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert set(codes) == set(table) and set(RETRYABLE) <= set(codes)
    statuses = [RETRYABLE.get(code, 422) for code in codes]
    found = answered(workflow, *((status, problem(status, code, code in RETRYABLE), 0, {})
                                 for status, code in zip(statuses, codes)))
    assert [(answer["outcome"], answer["code"]) for answer in found] == [(table[code], code) for code in codes]
    assert [answer["told"] for answer in found] == [
        f"{status} {code}: In words." for status, code in zip(statuses, codes)]


STRANGE = [
    (200, {"state": "approved"}, "done"), (202, {"plan_id": "p"}, "done"), (204, "", "failed"), (200, "<html>", "failed"),
    (200, "null", "failed"), (None, None, "again"), (502, "<html>", "again"), (503, "", "again"), (504, "[]", "again"),
    (408, "", "again"), (429, "slow down", "again"), (500, "<html>", "failed"), (404, "<html>", "failed"),
    (301, "", "failed"), (401, {"message": "no"}, "failed"), (503, problem(503, "x", False), "failed"),
    (409, problem(409, "x", "true"), "failed"), (418, problem(418, "x", True), "again")]


def test_answers_that_are_not_all_of_the_api(workflow):
    found = answered(workflow, *((status, body, 0, {}) for status, body, _ in STRANGE))
    for answer, (status, body, outcome) in zip(found, STRANGE):
        assert answer["outcome"] == outcome, (status, body)
        assert answer.get("body") == (body if outcome == "done" else None)
        assert outcome == "done" or answer["told"].startswith(str(status) if status else "No answer.")
        assert "undefined" not in json.dumps(answer)


def test_pauses_grow_and_end(workflow):
    refused = problem(503, "retryable_upstream_error", True)
    rows = answered(workflow, *((503, refused, run, {"retry-after": "5"}) for run in range(9)))
    assert [row["seconds"] for row in rows] == [5, 20, 80, 320, 900, 900, 900, 900, 5]
    assert [row["outcome"] for row in rows] == ["again"] * 7 + ["failed", "again"]
    assert [row["tries"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8, 1]
    assert rows[7]["told"] == "503 retryable_upstream_error: In words. Tried 8 times."
    refused = problem(401, "unauthenticated")  # n8n has renewed its token; the issuer's key may be news
    assert [row["outcome"] for row in answered(workflow, *((401, refused, run, {}) for run in range(4)))] == \
        ["again"] * 3 + ["failed"]
    refused = problem(503, "retryable_upstream_error", True)
    said = {"60": 60, "3600": 3600, "0": 5, "-1": 5, "soon": 5, "99999": 5, "1.5": 5}
    rows = answered(workflow, *((503, refused, 0, {"retry-after": text}) for text in said))
    assert [row["seconds"] for row in rows] == list(said.values())


def test_violations_are_told(workflow):
    violations = [{"pointer": "/reviewed_by", "code": "length"}, {"pointer": "", "code": "meaning"}]
    (found,) = answered(workflow, (422, problem(422, "validation_error", violations=violations), 0, {}))
    assert found["told"] == "422 validation_error: In words. /reviewed_by: length. The request: meaning."


def test_what_a_person_writes_fits(tmp_path):
    demand_that_it_fits(Workflow("risky-update", tmp_path))


def demand_that_it_fits(workflow):
    """Every case must be what the Command API takes: bytes are counted, and no control characters."""
    def decisions(*forms):
        made = workflow.run([{"node": "Decision", "input": {"Decision": "approve", "Your name": "Ann", **form}}
                             for form in forms])
        return [(one["request"], one["cut"]) for one in made]
    plain = ({"decision": "approve", "reviewed_by": "Ann"}, [])
    assert decisions({}, {"Reason": None}, {"Reason": " \r\n "}) == [plain] * 3
    lines, nobody = decisions({"Reason": " one\r\ntwo\tthree\x00\x7f "}, {"Your name": "  "})
    assert lines[0]["reason"] == "one two three" and nobody[0]["reviewed_by"] == ""  # 422, and it is asked again
    for letter in ("x", "ä", "語", "🙂"):
        size = len(letter.encode())
        whole = letter * (500 // size)
        kept, slightly, (request, cut) = decisions({"Reason": whole}, {"Reason": whole + letter},
                                                   {"Reason": letter * 5000, "Your name": letter * 121})
        assert kept == ({**plain[0], "reason": whole}, []) and cut == ["reviewed_by", "reason"]
        assert slightly[1] == ["reason"] and len(slightly[0]["reason"].encode()) <= 500
        for name, most in (("reviewed_by", 120), ("reason", 500)):
            text = request[name]
            assert most - size < len(text.encode()) <= most and set(text[:-1]) == {letter} and text[-1] == "…"


# A text of the JSON, what it becomes when a guard is taken away, and what must see it.
BRANCHES = {
    "retryable is not looked at": ("body.retryable === true", "false", test_codes_lead_where_the_table_says),
    "settled is failed": ("SETTLED.includes(body?.code)", "false", test_codes_lead_where_the_table_says),
    "a refused token is refused at once": ("body?.code === 'unauthenticated'", "false", test_pauses_grow_and_end),
    "no end": ("tries < TRIES", "true", test_pauses_grow_and_end),
    "Retry-After is not looked at": ("Math.max(after, ", "Math.max(0, ", test_pauses_grow_and_end),
    "any 2xx is success": ("return body ? 'done' : 'failed'", "return 'done'", test_answers_that_are_not_all_of_the_api),
    "no answer is the end": ("!status || AWAY", "AWAY", test_answers_that_are_not_all_of_the_api),
    "characters are counted": ("Buffer.byteLength(whole)", "whole.length", demand_that_it_fits),
    "line ends stay": ("\\\\u0000-\\\\u001f", "\\\\u0000-\\\\u0008", demand_that_it_fits),
}


@pytest.mark.parametrize("fault", BRANCHES)
def test_a_branch_that_is_gone_is_seen(fault, tmp_path):
    text, instead, check = BRANCHES[fault]

    workflow = Workflow("risky-update", tmp_path, lambda document: document.replace(text, instead))
    assert text in json.dumps(workflow.document, ensure_ascii=False)
    with pytest.raises(AssertionError):
        check(workflow)


def test_id_is_short_enough_for_static_data(workflow):
    assert len(workflow.document["id"]) <= 16


def test_names_that_expressions_use_are_nodes_and_every_node_is_connected(workflow):
    text = json.dumps(workflow.document)
    names = [node["name"] for node in workflow.document["nodes"]]
    assert len(names) == len(set(names)) == len({node["id"] for node in workflow.document["nodes"]})
    assert set(re.findall(r"\$\('([^']+)'\)", text)) <= set(names)
    assert reached(workflow, "Call from Echora") == set(names)
    places = [tuple(node["position"]) for node in workflow.document["nodes"]]
    assert len(places) == len(set(places))


def test_commands_that_people_are_told_exist(workflow):
    (verbs,) = re.findall(r"local verbs=\((.*)\)", (ROOT / "ops/completion/echora.bash").read_text(encoding="utf-8"))
    told = re.findall(r"\bechora ([a-z]+ [a-z]+) \$", json.dumps(workflow.document))
    assert all(f"'{verb}'" in verbs for verb in told), told
    assert told or workflow.name == "review-ready"


def test_no_secret_and_every_variable_is_documented(workflow):
    text = json.dumps(workflow.document)
    assert not re.search(r"whsec_[A-Za-z0-9+/]{8}|[Pp]assword|client_?[Ss]ecret|https?://", text)
    readme = (ROOT / "ops/n8n/README.md").read_text(encoding="utf-8")
    variables = set(re.findall(r"ECHORA_[A-Z_]+[A-Z]", text))
    assert variables and all(f"`{name}`" in readme for name in variables), variables
    credentials = {one["name"] for node in workflow.document["nodes"] for one in node.get("credentials", {}).values()}
    assert all(f"`{name}`" in readme for name in credentials), credentials
