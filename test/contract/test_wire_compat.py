"""Messages of the catalogue's existing producers, through our decoder and back.

The producer's side is built at run time from the published tables (harness/wire.py); our side is the
real wire check, protobuf-c and JSON code behind wire-tool.
"""
import base64
import json
import struct
import subprocess

import pytest
from google.protobuf import json_format

from harness import wire
from harness.settings import BUILD, ROOT

NAMES = ["AnimeRecord", "Anime", "Character", "Episode", "AnimeEnrichedEvent", "AnimeUpdatedEvent",
         "EpisodeAiredEvent", "EpisodeUpdatedEvent", "CharacterUpdatedEvent"]
MESSAGES = 150


def through_ours(name, payloads):
    frames = b"".join(struct.pack("<I", len(p)) + p for p in payloads)
    out = subprocess.run([BUILD / "test/contract/wire-tool", name], input=frames, capture_output=True, check=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_unknown_nothing_lost(name):
    cls = wire.classes()[name]
    sent = [wire.Random(f"{name}-{seed}").fill(cls()) for seed in range(MESSAGES)]
    answers = through_ours(name, [m.SerializeToString() for m in sent])
    assert len(answers) == MESSAGES
    for seed, (message, answer) in enumerate(zip(sent, answers)):
        assert "error" not in answer, (seed, answer)
        assert answer["unknown"] == 0, seed
        assert cls.FromString(base64.b64decode(answer["wire"])) == message, f"seed {seed}: our bytes differ"
        assert json_format.ParseDict(answer["json"], cls()) == message, f"seed {seed}: our JSON differs"


def test_every_field_is_set():
    """The generator leaves nothing out, else the test above proves less than it says."""
    message = wire.Random(1).fill(wire.classes()["AnimeRecord"]())

    def check(m, path):
        listed = {field.name for field, _ in m.ListFields()}
        missing = {field.name for field in m.DESCRIPTOR.fields} - listed
        assert not missing, (path, missing)
        for field, value in m.ListFields():
            if field.message_type is None or field.message_type.full_name.startswith("google."):
                continue
            if wire.is_map(field):
                inner = [v for v in value.values() if hasattr(v, "DESCRIPTOR")]
            else:
                inner = value if field.label == field.LABEL_REPEATED else [value]
            for item in inner:
                check(item, f"{path}.{field.name}")
    check(message, "AnimeRecord")


def test_a_number_moved_is_noticed():
    """The comparison can fail: a producer with one field on another number does not pass."""
    message = wire.classes()["Anime"](title="x")
    payload = message.SerializeToString() + b"\xaa\x06\x01x"  # field 101: nobody knows it
    assert through_ours("Anime", [payload])[0]["unknown"] == 1


@pytest.mark.parametrize("ours, theirs", [("fields.csv", "catalog-wire-fields.csv"),
                                          ("enums.csv", "catalog-wire-enums.csv")])
def test_tables_are_the_published_ones(ours, theirs):
    published = ROOT.parent / "shared/spec" / theirs
    if not published.exists():
        pytest.skip("real data: the published tables are not beside the checkout")
    assert (ROOT / "contracts/wire" / ours).read_bytes() == published.read_bytes()
