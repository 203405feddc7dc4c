"""What schemathesis loads beside its own checks (SCHEMATHESIS_HOOKS): one more check, and two things that its generators
can't know."""
import itertools
import re

import schemathesis

from harness import promises
from harness.gateway import Answer

KEY = re.compile(r'"?[A-Za-z0-9._:-]{1,255}"?')
NUMBERS = itertools.count(1)


@schemathesis.check
def promised(ctx, response, case):
    """As harness/promises.py: headers that are promised nowhere are faults, too."""
    if response.request.method == "HEAD":
        return  # answered without a body
    answer = Answer(response.status_code, [(n, v) for n, values in response.headers.items() for v in values],
                    response.content)
    promises.hold(answer, response.request.method, response.request.path_url)


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Keys are drawn from few, and one that came before with another body makes a 409 of what shall be accepted. So nine
    of ten are made new."""
    key = (case.headers or {}).get("Idempotency-Key")
    number = next(NUMBERS)
    if key and KEY.fullmatch(key) and number % 10:
        case.headers["Idempotency-Key"] = f"{key.strip(chr(34))[:200]}:{number}"


def limits(schema, name=None):
    """(member, its most bytes) of all texts below a schema."""
    if isinstance(schema, dict):
        if "x-maxBytes" in schema and name:
            yield name, schema["x-maxBytes"]
        for key, value in schema.items():
            yield from limits(value, name if key in ("items", "schema") else key)
        if "name" in schema and "in" in schema:
            yield from limits(schema["schema"], schema["name"])
    elif isinstance(schema, list):
        for value in schema:
            yield from limits(value, name)


LIMITS = {}
for _name, _most in limits(promises.document()["paths"]):
    LIMITS[_name] = min(_most, LIMITS.get(_name, _most))


def too_long(value, name=None):
    if isinstance(value, dict):
        return any(too_long(v, k) for k, v in value.items())
    if isinstance(value, list):
        return any(too_long(v, name) for v in value)
    return isinstance(value, str) and len(value) <= LIMITS.get(name, 0) < len(value.encode("utf-8", "replace"))


@schemathesis.hook
def filter_case(ctx, case):
    """Two things that are good by the schema and refused: texts are limited by bytes, for which JSON Schema has no word
    (x-maxBytes); and 7.0 is an integer in JSON, but not in a path or query."""
    outside = [*dict(case.path_parameters or {}).values(), *dict(case.query or {}).values()]
    return not (too_long(case.body) or too_long(dict(case.query or {})) or any(isinstance(v, float) for v in outside))
