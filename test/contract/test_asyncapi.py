"""contracts/asyncapi.json: up to date, sound in itself, by the official schema, and true of real messages."""
import json
import random
import re
import shutil
import subprocess
import tarfile

import jsonschema
import pytest
from google.protobuf import json_format

from harness.settings import BUILD, ROOT

from .random_messages import random_message

KEPT = ROOT / "contracts/asyncapi.json"
# The npm package that carries the official JSON schemas.
SPECS = "@asyncapi/specs@6.11.1"


@pytest.fixture(scope="module")
def document():
    return json.loads(KEPT.read_text())


def test_up_to_date():
    made = subprocess.run([BUILD / "ops/echora", "contracts", "asyncapi"], capture_output=True, text=True, check=True)
    assert made.stdout == KEPT.read_text(), "make it again: ops/tools/regenerate"


def resolve(document, ref):
    assert ref.startswith("#/"), ref
    node = document
    for part in ref[2:].split("/"):
        node = node[part.replace("~1", "/").replace("~0", "~")]
    return node


def refs(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from refs(value)


def test_every_reference_leads_somewhere(document):
    found = list(refs(document))
    assert len(found) > 100
    for ref in found:
        assert resolve(document, ref) is not None


def test_every_subject_of_the_registry_is_there(document):
    page = subprocess.run([BUILD / "ops/echora", "reference", "subjects"], capture_output=True, text=True, check=True)
    subjects = set(re.findall(r"^\| `([a-z.]+)` \|", page.stdout, re.M))
    assert subjects | {"anime.dlq"} == set(document["channels"]) == set(document["operations"])
    for name, channel in document["channels"].items():
        assert channel["address"] == name + (".{consumer}" if name == "anime.dlq" else "")
        operation = document["operations"][name]
        assert resolve(document, operation["channel"]["$ref"]) is channel
        for message in operation.get("messages", []):
            assert message["$ref"].startswith(f"#/channels/{name}/messages/")
        assert operation["action"] in ("send", "receive")


def test_streams_and_consumers_are_there(document):
    for channel in document["channels"].values():
        assert "x-stream" not in channel or channel["x-stream"] in document["x-streams"]
    readers = {name: [c["durable"] for c in channel["x-consumers"]] for name, channel in document["channels"].items()
               if channel.get("x-consumers")}
    assert readers["anime.enriched"] == ["catalog-enriched"] and len(readers) == 11
    assert document["x-streams"]["ANIME_EVENTS"]["duplicateWindowSeconds"] == 24 * 3600


def test_requests_that_have_their_effect_once_say_so(document):
    """Those whose responders read it (events/once.h); the pattern is what that reads."""
    takers = set()
    for name, channel in document["channels"].items():
        for message in channel["messages"].values():
            if resolve(document, message["$ref"]).get("headers", {}).get("$ref", "").endswith("/OnceHeaders"):
                takers.add(name)
    assert takers == {"catalog.review.decide", "catalog.reconcile", "dlq.replay", "dlq.discard"}
    readers = [p.parent.name for p in ROOT.glob("workers/*/*.c") if "once_read(" in p.read_text()]
    assert sorted(readers) == ["catalogue", "dead_letters", "qdrant"]
    pattern = document["components"]["schemas"]["OnceHeaders"]["properties"]["Echora-Idem"]["pattern"]
    assert re.search(pattern, "ab" * 32 + ":1") and not re.search(pattern, "ab" * 32 + ":0")
    assert not re.search(pattern, "AB" * 32 + ":1") and not re.search(pattern, "x")


def test_comments_of_the_protos_are_there(document):
    """Every message of an event says what it is, in the words of its .proto file."""
    schemas = document["components"]["schemas"]
    assert all(schemas[m].get("description") for m in document["components"]["messages"] if m.startswith("echora.events"))
    reasons = schemas["echora.events.v1.AnimeUpdatedEvent"]["properties"]["riskReasons"]
    assert reasons["description"] == "Not empty: the publisher wants a person to look at it first."
    assert sum("description" in p for s in schemas.values() for p in s["properties"].values()) > 100


def test_the_official_schema_agrees(document, tmp_path):
    if not shutil.which("npm"):
        pytest.skip("npm is not there: the official schema comes from its registry")
    packed = subprocess.run(["npm", "pack", "--silent", SPECS], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if packed.returncode != 0:
        pytest.skip("the npm registry is out of reach")
    with tarfile.open(next(tmp_path.glob("*.tgz"))) as archive:
        schema = json.load(archive.extractfile("package/schemas/3.0.0.json"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{e.json_path}: {e.message}"[:300] for e in validator.iter_errors(document)][:5] == []
    broken = json.loads(json.dumps(document))
    broken["operations"]["anime.enriched"]["action"] = "shout"
    assert not validator.is_valid(broken)


def validator_of(document, name):
    text = json.dumps(document["components"]["schemas"]).replace("#/components/schemas/", "#/$defs/")
    return jsonschema.Draft202012Validator({"$defs": json.loads(text), "$ref": f"#/$defs/{name}"})


def test_schemas_are_true_of_random_messages(document, published):
    rng = random.Random(11)
    checked = 0
    for name in document["components"]["messages"]:
        if "." not in name:
            continue  # any event's bytes
        validator = validator_of(document, name)
        for every in (False, True):
            for _ in range(5):
                message = json_format.MessageToDict(random_message(published[name], rng, every=every, depth=4))
                errors = [e.json_path + " " + e.message for e in validator.iter_errors(message)]
                assert not errors, (name, errors[:3])
                checked += 1
        assert not validator.is_valid({"noSuchMember": 1})
    assert checked > 200
