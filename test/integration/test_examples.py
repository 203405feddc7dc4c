"""The publishers of contracts/examples, as they stand, and their JSON examples."""
import json
import os
import shutil
import subprocess
import sys

import pytest
from google.protobuf import json_format

from harness import wire
from harness.settings import ROOT

EXAMPLES = ROOT / "contracts/examples"
EVENTS = sorted((EXAMPLES / "events").glob("*.json"))


def environment(streams, **more):
    return {**os.environ, "NATS_URL": streams.url, "NATS_USER": "publisher",
            "NATS_PASSWORD": streams.passwords["publisher"], **more}


@pytest.fixture(scope="module")
def python_publisher(tmp_path_factory):
    """The command, with the generated code that its header says to make."""
    out = tmp_path_factory.mktemp("python")
    protos = [str(p) for p in sorted((ROOT / "contracts/proto").glob("echora/*/v1/*.proto"))]
    subprocess.run(["protoc", "-I", ROOT / "contracts/proto", f"--python_out={out}", *protos], check=True)
    return [sys.executable, EXAMPLES / "publish.py"], {"PYTHONPATH": str(out)}


@pytest.fixture(scope="module")
def go_publisher(tmp_path_factory):
    go = shutil.which("go")
    if not go:
        pytest.skip("no Go toolchain")
    folder = tmp_path_factory.mktemp("go")
    shutil.copytree(EXAMPLES / "go", folder, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("bin", "gen", "publish"))
    run = {"cwd": folder, "check": True, "timeout": 600}
    subprocess.run([go, "build", "-o", "bin/", "google.golang.org/protobuf/cmd/protoc-gen-go"], **run)
    subprocess.run(["sh", "generate.sh", ROOT / "contracts/proto"], **run)
    subprocess.run([go, "vet", "."], **run)
    subprocess.run([go, "build", "-o", "publish", "."], **run)
    return [folder / "publish"], {}


@pytest.fixture(params=["python", "go"])
def publisher(request):
    return request.getfixturevalue(f"{request.param}_publisher")


def publish(publisher, streams, subject, path, **env):
    command, more = publisher
    return subprocess.run([*map(str, command), subject, str(path)], env=environment(streams, **more, **env), timeout=60,
                          capture_output=True, text=True)


def test_every_subject_of_publishers_has_an_example():
    assert {p.stem for p in EVENTS} == {"anime.enriched", "anime.updated", "anime.episode.aired", "character.updated",
                                        "episode.updated"}


@pytest.mark.parametrize("path", EVENTS, ids=lambda p: p.stem)
def test_examples_are_valid(path, echora):
    assert echora("validate", path.stem, path).code == 0


def test_publish_and_again(publisher, streams):
    for n, path in enumerate(EVENTS, 1):
        first = publish(publisher, streams, path.stem, path)
        assert first.returncode == 0, first.stderr
        assert first.stdout.split()[1:] == ["stored", f"ANIME_EVENTS:{n}"]
        again = publish(publisher, streams, path.stem, path)
        assert again.stdout.split()[1:] == ["duplicate", f"ANIME_EVENTS:{n}"]
        message = streams.bus().message("ANIME_EVENTS", n)
        event = json.loads(path.read_text())
        assert message.subject == path.stem
        assert message.headers["Echora-Event-Id"] == event["eventId"]
        assert message.headers["Content-Type"] == "application/protobuf"
        assert len(message.headers["traceparent"]) == 55
        name = message.headers["Echora-Schema"].rpartition(".")[2]
        decoded = wire.classes()[name].FromString(message.data)
        assert json_format.ParseDict(event, wire.classes()[name]()) == decoded


def test_both_and_our_own_give_the_same_message_id(python_publisher, go_publisher, streams, echora):
    path = EXAMPLES / "events/anime.updated.json"
    assert "stored" in publish(python_publisher, streams, path.stem, path).stdout
    assert "duplicate" in publish(go_publisher, streams, path.stem, path).stdout
    assert echora("publish", path.stem, path, "--json").json["duplicate"] is True


def test_mistakes_are_told_before_anything_is_sent(publisher, streams, tmp_path):
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"animeId": "x", "bogus": 1}')
    assert publish(publisher, streams, "anime.enriched", wrong).returncode != 0
    assert publish(publisher, streams, "anime.created", EVENTS[0]).returncode != 0
    assert streams.bus().stream("ANIME_EVENTS").state.messages == 0


def test_trouble_is_told_in_a_line_or_two(publisher, streams, tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text('{"animeId": ')
    for answer in (publish(publisher, streams, "anime.enriched", broken),
                   publish(publisher, streams, "anime.enriched", EVENTS[0], NATS_PASSWORD="wrong"),
                   publish(publisher, streams, "anime.enriched", EVENTS[0], NATS_USER="viewer",
                           NATS_PASSWORD=streams.passwords["viewer"])):
        assert answer.returncode == 1
        assert 1 <= len(answer.stderr.strip().splitlines()) <= 2, answer.stderr
