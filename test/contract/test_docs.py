"""The page of the Command API at /docs: made from what it is about, whole, and nothing of another host in it."""
import html.parser
import json
import re
import subprocess
import sys

import jsonschema
import pytest

from harness.settings import ROOT

from ops.tools import docs

PAGE = (ROOT / "ops/nginx/docs.html").read_text()
API = docs.Api(json.loads((ROOT / "contracts/openapi.json").read_text()))
CALLS = [(path, method, operation) for path, method, operation in API.calls()]
PROBLEMS = (ROOT / "workers/command_api/problem.c").read_text()
VOID = {"meta", "br"}


class Reader(html.parser.HTMLParser):
    """Tags in balance, attributes, and texts below each heading."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.ids, self.parts, self.tags = [], [], [], {}, set()
        self.heading = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += attributes
        found = dict(attributes).get("id")
        if found:
            self.ids.append(found)
            self.heading = found
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> ends something else"

    def handle_data(self, data):
        self.parts[self.heading] = self.parts.get(self.heading, "") + data


READ = Reader(PAGE)


def test_it_is_up_to_date():
    made = subprocess.run([sys.executable, str(ROOT / "ops/tools/docs.py"), "-"], capture_output=True, text=True, check=True)
    assert made.stdout == PAGE, "make it again: ops/tools/regenerate"


def test_it_is_a_page_to_read_and_leads_nowhere_else():
    assert not READ.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not re.search(r"@import|url\(", PAGE.split("</style>")[0])
    assert not any(name.startswith("on") or re.search("//|:", value or "") for name, value in READ.attributes if name != "content")
    links = {value for name, value in READ.attributes if name in ("href", "src", "action")}
    assert links - {"/openapi.json"} == {link for link in links if link[0] == "#" and link[1:] in READ.ids}
    assert len(READ.ids) == len(set(READ.ids))


@pytest.mark.parametrize(("path", "method", "operation"), CALLS, ids=[o["operationId"] for *_, o in CALLS])
def test_a_call(path, method, operation):
    """Scope, whether a key is needed, each member, and an example that fits its schema."""
    told = READ.parts[operation["operationId"]]
    assert f"{method.upper()} {path}" in told and operation["summary"] in told
    assert f"scope {operation['security'][0]['oauth2'][0]}" in told
    names = {p.get("$ref", p.get("name")) for p in operation["parameters"]}
    assert ("-H 'Idempotency-Key: " in told) == ("#/components/parameters/IdempotencyKey" in names)
    for name in names:
        assert "#" in name or f"\n{name}" in told or name in told
    assert ("-d '" in told) == ("requestBody" in operation)
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        for member, *_ in API.members(content["schema"]):
            assert member in told
        body = json.loads(re.search(r"-d '(.*)'$", told, re.M)[1].replace("'\\''", "'"))
        if "example" in content:
            jsonschema.Draft202012Validator({**content["schema"], "components": API.document["components"]}).validate(body)


@pytest.mark.parametrize("code", docs.PROBLEMS)
def test_a_problem_type(code):
    """By its name as in `type`, with each status and title, what it means and what to do."""
    told = READ.parts[f"problem-{code}"]
    assert f"urn:echora:problem:{code}" in told and "What to do:" in told
    for status, title in re.findall(rf'\{{"{code}",\s*(\d+),\s*"([^"]+)"', PROBLEMS):
        assert f"{status} {title}" in told
    again = any(int(n) for n in re.findall(rf'\{{"{code}",\s*\d+,\s*"[^"]+",\s*(\d+)\}}', PROBLEMS))
    assert ("Retry-After" in told) == again or code == "run_lock_conflict"
    assert (f"{code}" in READ.parts["errors"]) and len(docs.PROBLEMS[code][0]) > 30


def test_a_problem_type_without_its_entry_is_seen():
    docs.problems(PROBLEMS)
    for changed in (PROBLEMS.replace('"already_decided"', '"decided_already"'),
                    PROBLEMS.replace('[PROBLEM_RATE] = {"rate_limited"', '[PROBLEM_RATE] = {"unauthenticated"')):
        with pytest.raises(SystemExit, match="differ"):
            docs.problems(changed)


def test_rules_in_violations():
    """Every rule that the worker itself can name, and no other."""
    said = "".join(path.read_text() for path in (ROOT / "workers/command_api").glob("*.c"))
    used = {rule for call in re.findall(r"violate\(([^;]+)\);", said) for rule in re.findall(r'"([a-z-]+)"', call)}
    assert used == set(docs.RULES)


def test_limits():
    told = READ.parts["limits"]
    for words in ("300 a minute", "60 a minute", "256 kB", "1024 kB", "16 kB", "30 days"):
        assert words in told
