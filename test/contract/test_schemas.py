"""contracts/schemas: the published JSON Schemas of requests about dead letters and of their answers."""
import json
import random
import subprocess

import jsonschema
import pytest
from google.protobuf import json_format

from harness.settings import BUILD, ROOT

from .random_messages import random_message

KEPT = sorted((ROOT / "contracts/schemas/v1").glob("*.json"))
MESSAGES = {"dlq.list": ("DlqListRequest", "DlqListReply"), "dlq.show": ("DlqShowRequest", "DlqShowReply"),
            "dlq.replay": ("DlqReplayRequest", "DlqReplayReply"), "dlq.discard": ("DlqReplayRequest", "DlqReplayReply"),
            "dlq.status": ("DlqStatusRequest", "DlqStatusReply")}


def test_every_request_and_answer_is_there():
    channels = json.loads((ROOT / "contracts/asyncapi.json").read_text())["channels"]
    subjects = {name for name in channels if name.startswith("dlq.")}
    assert subjects == set(MESSAGES)
    assert {f.name for f in KEPT} == {f"{s}.{part}.json" for s in subjects for part in ("request", "answer")}


@pytest.mark.parametrize("file", KEPT, ids=lambda f: f.stem)
def test_up_to_date(file):
    subject, _, part = file.stem.rpartition(".")
    made = subprocess.run([BUILD / "ops/echora", "contracts", "schema", subject, part], capture_output=True, text=True,
                          check=True)
    assert made.stdout == file.read_text(), "make it again: ops/tools/regenerate"


@pytest.mark.parametrize("file", KEPT, ids=lambda f: f.stem)
def test_sound_and_true_of_random_messages(file, published):
    schema = json.loads(file.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    subject, _, part = file.stem.rpartition(".")
    assert schema["$id"] == f"urn:echora:{subject}:{part}:v1"
    validator, rng = jsonschema.Draft202012Validator(schema), random.Random(23)
    message = published["echora.ops.v1." + MESSAGES[subject][part == "answer"]]
    for every in (False, True):
        for _ in range(10):
            given = json_format.MessageToDict(random_message(message, rng, every=every, depth=4))
            assert [f"{e.json_path}: {e.message}" for e in validator.iter_errors(given)] == []
    assert not validator.is_valid({"noSuchMember": 1}) and not validator.is_valid([])


@pytest.mark.parametrize("args", [["anime.updated", "request"], ["dlq.list", "reply"], ["nobody.knows", "request"],
                                  ["contracts.validate", "request"], ["dlq.list"]])
def test_what_has_none(args):
    made = subprocess.run([BUILD / "ops/echora", "contracts", "schema", *args], capture_output=True, text=True)
    assert made.returncode == 2 and "echora contracts schema" in made.stderr
