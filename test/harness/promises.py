"""contracts/openapi.json as an oracle: what a call may say, and whether what came back was promised.

    promises.hold(answer, "GET", "/dlq?limit=2")        AssertionError when it is not
    for call in promises.calls(): call.path, call.body  each operation with its own example
"""
import functools
import json
import re
import urllib.parse
import uuid

import jsonschema

from .settings import ROOT

# Of HTTP and the gateway, not of the document.
PLUMBING = {"date", "server", "connection", "content-length", "content-type", "transfer-encoding"}


@functools.cache
def document():
    return json.loads((ROOT / "contracts/openapi.json").read_text())


def resolved(value):
    while "$ref" in value:
        at = document()
        for part in value["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        value = at
    return value


class Call:
    """One operation, and its example."""

    def __init__(self, method, pattern, operation):
        self.method, self.pattern, self.operation = method.upper(), pattern, operation
        self.name = operation["operationId"]
        self.scope = operation["security"][0]["oauth2"][0]
        self.parameters = [resolved(p) for p in operation["parameters"]]
        self.keyed = any(p["name"] == "Idempotency-Key" for p in self.parameters)
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        self.body, self.body_schema = content.get("example"), content.get("schema")

    def placed(self, place):
        return {p["name"]: p for p in self.parameters if p["in"] == place}

    @property
    def path(self):
        """With the ids of the example, and its query."""
        return self.at({n: p["example"] for n, p in self.placed("path").items()},
                       {n: p["example"] for n, p in self.placed("query").items() if "example" in p})

    def at(self, ids, query=()):
        path = re.sub(r"{(\w+)}", lambda m: urllib.parse.quote(str(ids[m[1]]), safe=""), self.pattern)
        query = {n: str(v).lower() if isinstance(v, bool) else v for n, v in dict(query).items()}
        return path + ("?" + urllib.parse.urlencode(query) if query else "")

    def __repr__(self):
        return f"{self.method} {self.pattern}"


@functools.cache
def calls():
    return [Call(method, path, operation) for path, methods in document()["paths"].items()
            for method, operation in methods.items()]


def find(method, path):
    """The call of a request line; None when it is of none. What is spelled out is no id of a pattern."""
    path = path.partition("?")[0]
    patterns = [path] if path in document()["paths"] else [
        pattern for pattern in document()["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", pattern), path)]
    return next((one for one in calls() if one.method == method and one.pattern in patterns), None)


@functools.cache
def validator(text):
    schema = {**json.loads(text), "components": document()["components"]}
    return jsonschema.Draft202012Validator(schema)


def faults(schema, value):
    return [f"{e.json_path}: {e.message}"[:300] for e in validator(json.dumps(schema)).iter_errors(value)]


def header_fault(spec, text):
    schema = spec["schema"]
    if schema["type"] == "integer":
        return None if text.isdigit() and int(text) >= schema.get("minimum", 0) else "no number"
    if schema.get("format") == "uuid":
        uuid.UUID(text)
    return "; ".join(faults(schema, text)) or None


def hold(answer, method, path, body=True):
    """body: also a good answer's; of what a scripted responder says, only its author knows whether it is meant well."""
    call = find(method, path)
    if call is None:
        if answer.status >= 400:  # of no operation: a refusal like the others
            assert answer.status in (400, 404, 405, 413, 414, 429, 431, 503), f"{method} {path}: {answer}"
            spec = document()["components"]["responses"][f"Problem{answer.status}"]
        else:
            return
    else:
        assert str(answer.status) in call.operation["responses"], f"{call}: {answer.status} is promised nowhere: {answer}"
        spec = resolved(call.operation["responses"][str(answer.status)])
    (kind, content), = spec["content"].items()
    assert answer.headers["content-type"] == kind, f"{method} {path}: {answer}"
    if "schema" in content and (body or answer.status >= 400):
        wrong = faults(content["schema"], answer.json)
        assert not wrong, f"{method} {path}: {answer.status}: {wrong[:3]}: {answer}"
    specs = {name.lower(): resolved(header) for name, header in spec["headers"].items()}
    missing = {n for n, header in specs.items() if header.get("required")} - set(answer.headers)
    assert not missing, f"{method} {path}: {missing} promised and missing: {answer}"
    beyond = set(answer.headers) - set(specs) - PLUMBING
    assert not beyond, f"{method} {path}: {beyond} promised nowhere: {answer}"
    wrong = {n: header_fault(specs[n], text) for n, text in answer.headers.items() if n in specs}
    assert not any(wrong.values()), f"{method} {path}: {wrong}: {answer}"
