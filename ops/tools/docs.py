#!/usr/bin/python3
"""Makes ops/nginx/docs.html: the Command API as a page to read, of one file, without scripts.

usage: docs.py [FILE]     (default ops/nginx/docs.html; - prints it)

Calls, members and answers come from contracts/openapi.json, codes of refusals from workers/command_api/problem.c and
limits from where the worker has them. What a code means to a caller stands here, and a code without its entry, or an
entry without its code, is an error. test/contract/test_docs.py compares.
"""
import html
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "workers/command_api"
PAGE = ROOT / "ops/nginx/docs.html"
UUID = "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10"

# Code → (what it means, what the caller does). Statuses, titles and whether to come again are problem.c's.
PROBLEMS = {
    "validation_error": (
        "400: the request can't be read: no JSON, a header that is missing or wrong. 422: it can be read, and a member "
        "breaks a rule; <code>violations</code> names each by JSON Pointer and rule.",
        "Mend the request. The same one is refused again, so nothing is gained by sending it once more."),
    "unauthenticated": (
        "There is no access token, or one that is not valid or no longer. <code>WWW-Authenticate: Bearer</code> comes along.",
        "Get a fresh token from the issuer and send the call again, once. Refused again: ask the operator, whose log has the "
        "reason."),
    "insufficient_scope": (
        "The token is good and does not have the scope of the call; <code>scope</code> names it.",
        "Ask for a token with that scope. The client must have it in the table of the API, too."),
    "not_found": (
        "No such path, or no such thing: the update, the letter, the plan or the run of this id.",
        "Look at the id. A plan that is over is not found any more."),
    "method_not_allowed": (
        "The path exists and has another method; <code>Allow</code> names it.",
        "Use that method."),
    "idempotency_conflict": (
        "The <code>Idempotency-Key</code> came before with another request: another path, query or body.",
        "Make a key for each thing that is to happen, and send the same bytes when you repeat it."),
    "already_decided": (
        "The contrary was decided before, or nobody decided in time and the update was discarded.",
        "Take it as the end. Deciding the same again is no conflict: it is answered 200."),
    "run_state_conflict": (
        "The run is not where this call belongs; <code>phase</code> and <code>state</code> say where it is.",
        "Read the run (<code>GET /workflow/runs/{run_id}</code>) and go on from there."),
    "run_lock_conflict": (
        "Another run of this source holds the lock; <code>holder_run_id</code> names it.",
        "Wait for <code>Retry-After</code>, or end that run."),
    "request_in_progress": (
        "A call with this <code>Idempotency-Key</code> is being carried out now.",
        "Wait for <code>Retry-After</code> and send the same call with the same key: you get its answer."),
    "payload_too_large": (
        "The body is larger than the call takes.",
        "Send less, in several calls."),
    "unsupported_media_type": (
        "The body is no <code>application/json</code>.",
        "Set <code>Content-Type: application/json</code>."),
    "headers_too_large": (
        "Request line and headers together are larger than 16 kB, or are more than 64.",
        "Send fewer headers; a token is at most 8 kB."),
    "rate_limited": (
        "The client has used up its quota for calls of this scope; calls without a good token spend the quota of their address.",
        "Wait for <code>Retry-After</code>. <code>RateLimit</code> tells with each answer how much is left."),
    "non_retryable_error": (
        "Who was asked failed, and would fail again: its answer can't be read, or is too large.",
        "Don't repeat it. Tell the operator the <code>X-Request-Id</code>."),
    "retryable_upstream_error": (
        "503: something that the call needs is not there now, and nothing was done: Redis, the issuer's keys, who answers. "
        "504: no answer in time; whether it was done is not known.",
        "Wait for <code>Retry-After</code> and send the same call with the same <code>Idempotency-Key</code>. It is done once, "
        "whatever became of the first."),
}
RULES = {
    "missing": "must be there", "unknown": "is no member of this call", "not-allowed": "may not stand beside another member",
    "repeated": "is there twice", "type": "is of another JSON type", "choice": "is none of the values",
    "pattern": "has another form", "range": "is too small or too large", "length": "is too short or too long",
    "items": "is a list with too few or too many", "empty": "is empty", "escape": "is not escaped as it should be",
    "meaning": "says something that the responder can't do",
}
SECTIONS = (("/workflow/runs", "Runs"), ("/workflow/", "Ingestion"), ("/updates", "Risky updates"),
            ("/dlq", "Dead letters"), ("/operations", "Operations"))

# What a reader of a section must know and its members don't tell.
NOTES = {
    "Risky updates": """<p><code>event_id</code> is the event's: the webhook <code>update.review-requested</code> names it in
<code>data.event_id</code>, and <code>echora review list --json</code> lists what waits. The id of the review will do, too.</p>""",
    "Dead letters": """<p>A plan is made and run in one call, with <code>filter</code>; or made with <code>filter</code> and
<code>dry_run: true</code> (200, with a sample of the letters), looked at, and run with its <code>plan_id</code> (202).
<code>plan_id</code> with <code>dry_run: true</code> tells how a plan is getting on, at any time: <code>state</code> is
<code>planned</code>, <code>running</code>, <code>stopped</code> or <code>done</code>; a plan that is done can't be run again.
<code>plan_id</code> with <code>stop: true</code> stops it. One letter is
<code>{"filter": {"from_sequence": N, "to_sequence": N}}</code>, <code>N</code> being its <code>sequence</code>. What fails
again is a new dead letter.</p>
<p><code>rate</code>: letters a second, 0 (the default) is no limit. <code>canary</code>: one letter first, then ten times as many
each time; it stops when more than <code>max_failure_percent</code> of them fail (10 when left out or 0) and waits
<code>wait_seconds</code> for what becomes of them (300 when left out or 0).</p>""",
    "Ingestion": """<p>Answered by the ingestion's workers. Where none runs: 503, <code>retryable_upstream_error</code>, at once.</p>""",
}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222; }
code, pre { font: 14px/1.4 ui-monospace, monospace; background: #f4f4f4; }
pre { padding: .8em; overflow-x: auto; }
h2 { margin-top: 2em; border-bottom: 1px solid #ccc; }
h3 { margin-top: 2em; }
table { border-collapse: collapse; margin: .5em 0; }
th, td { border: 1px solid #ddd; padding: .2em .6em; text-align: left; vertical-align: top; }
nav a { margin-right: 1em; }
"""


def text(value):
    return html.escape(str(value), quote=False)


def code(value):
    return f"<code>{text(value)}</code>"


def table(head, rows):
    cells = ["<tr>" + "".join(f"<th>{c}</th>" for c in head) + "</tr>"]
    cells += ["<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows]
    return "<table>\n" + "\n".join(cells) + "\n</table>"


# What the worker says.

def problems(source):
    """Code → [(status, title, seconds of Retry-After)], in the table's order."""
    rows = re.findall(r'\[PROBLEM_\w+\] =\s*\{"(\w+)",\s*(\d+),\s*"([^"]+)",\s*(\d+)\}', source)
    found = {}
    for name, status, title, pause in rows:
        found.setdefault(name, []).append((int(status), title, int(pause)))
    if found.keys() != PROBLEMS.keys():
        raise SystemExit(f"docs.py and problem.c differ: {sorted(found.keys() ^ PROBLEMS.keys())}")
    return found


def quotas(source):
    """Class → requests a minute."""
    return {name: int(n) for name, n in re.findall(r'\[RATE_\w+\] = \{"(\w+)", (\d+), 60\}', source)}


def body_limits(source):
    """(usual, of decisions) in kB."""
    usual, = re.findall(r"#define BODY_MAX \((\d+)u << 10\)", source)
    large, = re.findall(r"#define DECISIONS_BODY_MAX \((\d+)u << 20\)", source)
    return int(usual), 1024 * int(large)


# What the document says.

class Api:
    def __init__(self, document):
        self.document = document

    def resolve(self, value):
        while "$ref" in value:
            reference, value = value["$ref"], self.document
            for part in reference.removeprefix("#/").split("/"):
                value = value[part]
        return value

    def calls(self):
        """(path, method, operation)"""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                if isinstance(operation, dict) and "responses" in operation:
                    yield path, method, operation

    def parameters(self, operation, place):
        return [p for p in map(self.resolve, operation.get("parameters", ())) if p["in"] == place]

    def variants(self, schema):
        schema = self.resolve(schema)
        inner = schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf")
        return [v for s in inner for v in self.variants(s)] if inner else [schema]

    def members(self, schema, prefix="", depth=0):
        """(name, schema, required) of an object, inner ones as a.b and a[].b, each once."""
        variants = [v for v in self.variants(schema) if v.get("properties")]
        names = list(dict.fromkeys(name for v in variants for name in v["properties"]))
        for name in names:
            found = [self.resolve(v["properties"][name]) for v in variants if name in v["properties"]]
            own = next((s for s in found if "enum" not in s), found[0])
            yield prefix + name, own, all(name in v.get("required", ()) for v in variants)
            if depth < 3:
                is_list = own.get("type") == "array"
                inner = own.get("items", {}) if is_list else own
                yield from self.members(inner, f"{prefix}{name}{'[]' if is_list else ''}.", depth + 1)

    def sample(self, schema):
        """A value that fits, for documents without examples."""
        schema = self.variants(schema)[0]
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        for known in ("example", "const", "default"):
            if known in schema:
                return schema[known]
        if "enum" in schema:
            return schema["enum"][0]
        if kind == "object" or "properties" in schema:
            return {name: self.sample(schema["properties"][name]) for name in schema.get("required", ())}
        if kind == "array":
            return [self.sample(schema.get("items", {}))] if schema.get("minItems") else []
        if kind in ("integer", "number"):
            return max(schema.get("minimum", 1), 1)
        if kind == "boolean":
            return True
        if schema.get("format") == "uuid":
            return UUID
        return "ab" * 32 if "{64}" in schema.get("pattern", "") else "anna"


def rules(api, schema):
    """What a value may be, in words."""
    schema = api.variants(schema)[0]
    kind = schema.get("type", "")
    words = [" or ".join(kind) if isinstance(kind, list) else kind]
    if "enum" in schema:
        words = ["one of " + ", ".join(code(v if isinstance(v, str) else json.dumps(v)) for v in schema["enum"])]
    if "format" in schema:
        words.append(schema["format"])
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None or high is not None:
        words.append(f"{'' if low is None else low} to {'2^53-1' if high == 2**53 - 1 else high}")
    low, high = schema.get("minLength", schema.get("minItems")), schema.get("maxLength", schema.get("maxItems"))
    if high is not None:
        words.append(f"{low or 0} to {high} {'elements' if kind == 'array' else 'characters'}")
    pattern = schema.get("pattern")
    if pattern and "format" not in schema and "\\u0000" not in pattern:
        words.append(code(pattern))
    return ", ".join(w for w in words if w)


def curl(api, path, method, operation):
    for p in api.parameters(operation, "path"):
        path = path.replace("{%s}" % p["name"], str(p.get("example", api.sample(p["schema"]))))
    lines = ["curl -s" + (" -X POST" if method == "post" else "") + f' "$API{path}" \\', '    -H "Authorization: Bearer $TOKEN"']
    if any(p["name"] == "Idempotency-Key" for p in api.parameters(operation, "header")):
        lines[-1] += " \\"
        lines.append(f"    -H 'Idempotency-Key: {operation['operationId']}-1'")
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        body = json.dumps(content.get("example", api.sample(content["schema"]))).replace("'", "'\\''")
        lines[-1] += " \\"
        lines += ["    -H 'Content-Type: application/json' \\", f"    -d '{body}'"]
    return "\n".join(lines)


def answers(api, operation):
    rows = []
    for status, answer in sorted(operation["responses"].items()):
        if status >= "300":
            continue
        answer = api.resolve(answer)
        content = answer.get("content", {}).get("application/json", {})
        names = [name for name, *_ in api.members(content.get("schema", {}), depth=3)]
        shown = f"<pre>{text(json.dumps(content['example'], indent=2))}</pre>" if "example" in content \
            else ", ".join(map(code, names))
        rows.append((status, text(answer["description"]), shown))
    refused = ", ".join(s for s in sorted(operation["responses"]) if s >= "400")
    return table(("status", "", "answer"), rows) + f'\n<p>Refusals: {refused}; see <a href="#errors">Errors</a>.</p>'


def call(api, path, method, operation):
    name = operation["operationId"]
    needs = [f"scope {code(operation['security'][0]['oauth2'][0])}"]
    if any(p["name"] == "Idempotency-Key" for p in api.parameters(operation, "header")):
        needs.append("<code>Idempotency-Key</code>")
    parts = [f'<h3 id="{name}">{code(method.upper() + " " + path)}</h3>',
             f"<p>{text(operation['summary'])} Needs {', '.join(needs)}.</p>"]
    rows = [(code(p["name"]), p["in"], rules(api, p["schema"]), "yes" if p.get("required") else "")
            for p in (*api.parameters(operation, "path"), *api.parameters(operation, "query"))]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        rows += [(code(n), "body", rules(api, s), "yes" if required else "") for n, s, required in api.members(schema)]
    if rows:
        parts.append(table(("member", "in", "what it may be", "required"), rows))
    parts += [f"<pre>{text(curl(api, path, method, operation))}</pre>", answers(api, operation)]
    return "\n".join(parts)


def sections(api):
    """Title → calls."""
    found = {title: [] for _, title in SECTIONS}
    for path, method, operation in api.calls():
        found[next(title for prefix, title in SECTIONS if path.startswith(prefix))].append((path, method, operation))
    return {title: found[title] for title in ("Risky updates", "Dead letters", "Operations", "Ingestion", "Runs")}


def errors(found):
    parts = ['<h2 id="errors">Errors</h2>',
             "<p>Refusals are <code>application/problem+json</code> (RFC 9457). Branch on <code>code</code> and "
             "<code>retryable</code>, not on the texts. <code>type</code> is <code>urn:echora:problem:</code> and the code; "
             "<code>instance</code> is the request's id, as in <code>X-Request-Id</code>: tell it to the operator. No value that "
             "you sent comes back.</p>",
             table(("code", "status", "come again"), [
                 (f'<a href="#problem-{name}">{code(name)}</a>', ", ".join(str(s) for s, *_ in rows),
                  "yes, after <code>Retry-After</code>" if rows[0][2] else "no") for name, rows in found.items()])]
    for name, rows in found.items():
        meaning, action = PROBLEMS[name]
        titles = " / ".join(f"{status} {text(title)}" for status, title, _ in rows)
        parts.append(f'<h3 id="problem-{name}">{code("urn:echora:problem:" + name)}</h3>\n<p>{titles}</p>\n'
                     f"<p>{meaning}</p>\n<p><b>What to do:</b> {action}</p>")
    parts += ["<h3 id=\"violations\">Rules in <code>violations</code></h3>",
              table(("code", "the member"), [(code(c), words) for c, words in RULES.items()]),
              "<p>Other codes there are the responder's own, such as <code>bad-kind</code>.</p>"]
    return "\n".join(parts)


def limits(quota, usual, large):
    rows = [(f"calls of <code>workflow.{c}</code>", f"{quota[c]} a minute for each client, unless its row says otherwise")
            for c in ("read", "execute", "approve")]
    rows += [("calls without a good token", f"{quota['peer']} a minute for each address"),
             ("body", f"{usual} kB; {large} kB for <code>submit-stage6-decisions</code>; whole within 15 s"),
             ("request line and headers", "16 kB, 64 headers, whole within 5 s"),
             ("a token", "8 kB, valid for an hour at most"),
             ("calls at once", "64 for each worker; one more is answered 503"),
             ("an answer", "within 10 s, and what <code>Prefer: wait=</code> says"),
             ("an Idempotency-Key", "remembered for 30 days")]
    return '<h2 id="limits">Limits</h2>\n' + table(("of", "limit"), rows) + \
        "\n<p><code>RateLimit-Policy</code> and <code>RateLimit</code> in the answers tell quota and rest.</p>"


START = """<h2 id="start">A first call</h2>
<p>Ask the issuer for an access token (OAuth 2, client credentials), then send it along. <code>ops/env</code> of a fleet on one
machine sets <code>COMMAND_API_URL</code> and <code>TOKEN_URL</code>; a client's secret is there in
<code>.echora/secrets/api-CLIENT</code>.</p>
<pre>API=$COMMAND_API_URL
TOKEN=$(curl -s -u CLIENT:SECRET -d grant_type=client_credentials $TOKEN_URL | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')
curl -s "$API/dlq?limit=1" -H "Authorization: Bearer $TOKEN"</pre>
<table>
<tr><th>scope</th><th>what it is for</th></tr>
<tr><td><code>workflow.read</code></td><td>looks</td></tr>
<tr><td><code>workflow.execute</code></td><td>starts and goes on</td></tr>
<tr><td><code>workflow.approve</code></td><td>decides: for people, or who acts for one</td></tr>
</table>
<p>None implies another. A client has the scopes that both its token and its row in the API's table give.</p>
<h2 id="keys">Calls that change something</h2>
<p>They need an <code>Idempotency-Key</code>: 1 to 255 of letters, digits and <code>. _ : -</code>. Make one for each thing that
is to happen (the id of the webhook or the form that asks for it), and send the same call with the same key whenever you don't
know what became of it: it has one effect, and you get the one answer, with <code>Idempotent-Replayed: true</code>.</p>
<p><code>POST /operations/reconcile</code> answers <code>"state": "running"</code> when it takes longer than 10 s. The same call with
the same key then tells how it gets on, and at the end what it found.</p>
<p>Long calls answer 202 with <code>Location</code> and <code>Retry-After</code>: read the run there. With
<code>Prefer: wait=1</code> to <code>wait=25</code> they answer 200 when they are done within so many seconds.</p>"""


def page(document, problem_source, rate_source, routes_source):
    api = Api(document)
    quota, (usual, large) = quotas(rate_source), body_limits(routes_source)
    grouped = sections(api)
    index = [(f'<a href="#{o["operationId"]}">{code(m.upper() + " " + p)}</a>', text(o["summary"]),
              code(o["security"][0]["oauth2"][0])) for calls in grouped.values() for p, m, o in calls]
    parts = ["<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
             '<meta name="viewport" content="width=device-width">', "<title>Echora Command API</title>",
             f"<style>{STYLE}</style>", "</head>", "<body>", "<!-- Made by ops/tools/docs.py. -->",
             "<h1>Echora Command API</h1>",
             "<p>How workflows and people answer the fleet: risky updates, dead letters, repair, ingestion runs. JSON both ways. "
             'The whole contract for programs: <a href="/openapi.json">/openapi.json</a>.</p>',
             '<nav><a href="#start">A first call</a><a href="#keys">Calls that change something</a><a href="#calls">Calls</a>'
             '<a href="#limits">Limits</a><a href="#errors">Errors</a></nav>', START,
             '<h2 id="calls">Calls</h2>', table(("call", "what it does", "scope"), index)]
    for title, calls in grouped.items():
        parts.append(f"<h2>{title}</h2>")
        parts.append(NOTES.get(title, ""))
        parts += [call(api, *one) for one in calls]
    parts += [limits(quota, usual, large), errors(problems(problem_source)), "</body>", "</html>", ""]
    return "\n".join(parts)


def main():
    made = page(json.loads((ROOT / "contracts/openapi.json").read_text()),
                *((SOURCES / f"{name}.{end}").read_text() for name, end in (("problem", "c"), ("rate", "c"), ("routes", "h"))))
    if sys.argv[1:] == ["-"]:
        print(made, end="")
    else:
        Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
