#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets, test/fuzz/corpus/TARGET/NAME, from our own examples and by hand.

usage: test/fuzz/make_corpus.py [BUILD]     (build: where json-tool lies). What test/fuzz/run_long found stays.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / (sys.argv[1] if len(sys.argv) > 1 else "build")
FILE_MAX = 2048

EVENTS = {"anime.enriched": "AnimeEnrichedEvent", "anime.updated": "AnimeUpdatedEvent",
          "anime.episode.aired": "EpisodeAiredEvent", "character.updated": "CharacterUpdatedEvent",
          "episode.updated": "EpisodeUpdatedEvent"}
ID = "0190a8a0-0000-7000-8000-0000000000"


def write(target, name, content):
    content = content.encode() if isinstance(content, str) else content
    if len(content) > FILE_MAX:
        raise SystemExit(f"{target}/{name} has {len(content)} bytes")
    folder = ROOT / "test/fuzz/corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def packed(message, document):
    """Protobuf bytes of a JSON document, by our own encoder: seeds need no oracle."""
    line = f"encode {message} {json.dumps(document)}\n"
    answer = subprocess.run([str(BUILD / "test/contract/json-tool")], input=line, text=True, capture_output=True,
                            check=True).stdout.split()
    if answer[0] != "ok":
        raise SystemExit(f"{message}: {answer}")
    return bytes.fromhex(answer[1]) if len(answer) > 1 else b""


def documents():
    """(subject, message, document) of the examples and of one sample record."""
    for subject, message in EVENTS.items():
        text = (ROOT / f"contracts/examples/events/{subject}.json").read_text(encoding="utf-8")
        yield subject, "echora.events.v1." + message, json.loads(text)
    sample = (ROOT / "ops/sample/anime.ndjson").read_text(encoding="utf-8").splitlines()[0]
    record = {**json.loads(sample), "characters": [], "episodes": []}
    yield "anime.enriched", "echora.events.v1.AnimeEnrichedEvent", record


def wire_and_json():
    registry = (ROOT / "contracts/registry.c").read_text(encoding="utf-8")
    subjects = re.findall(r'\{\.subject = "([^"]+)"', registry)
    for number, (subject, message, document) in enumerate(documents()):
        index, payload = subjects.index(subject), packed(message, document)
        text = json.dumps(document, ensure_ascii=False).encode()
        name = f"{number}-{subject}"
        write("wire", name, bytes([index]) + payload)
        write("wire", name + "-cut", bytes([index]) + payload[:len(payload) * 2 // 3])
        write("json", name, bytes([index]) + text)
        write("json", name + "-wire", bytes([index | 0x80]) + payload)
    enriched = bytes([subjects.index("anime.enriched")])
    nested = b""
    for _ in range(40):
        nested = b"\x22" + bytes([len(nested)]) + nested if len(nested) < 128 else nested
    write("wire", "nested", enriched + nested)
    write("wire", "many-small", enriched + b"\x2a\x00" * 300)
    write("wire", "unknown", enriched + b"\xf8\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xfa\x7f\x03abc\xfd\x7f1234")
    write("wire", "twice", enriched + b"\x22\x00\x22\x00")
    write("json", "odd-names", enriched + b'{"anime_id":"x","anime":{"score":{"median":"NaN","mean":-0.0}},"x":[{}]}')
    write("json", "escapes", enriched + rb'{"animeId":"\u00e9\ud83d\ude00\u0000","timestamp":"2026-01-01T00:00:00.5-23:59"}')


def references():
    for number, text in enumerate(("https://myanimelist.net/anime/1", "http://www.anilist.co/anime/1/Cowboy?a=b#c",
                                   "https://EXAMPLE.org:443/%7Euser/../x", "mal:anime:1", "anidb:23",
                                   "https://ja.wikipedia.org/wiki/%E3%82%AB", "https://user@host:8080/a//b/./c/")):
        write("refs", str(number), text)


def small_texts():
    for number, text in enumerate(("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01|a=1,b@c=2",
                                   "2026-02-29T23:59:60.123456789+14:00", "1998-10-24T00:00:00Z", ID + "01",
                                   "{0190A8A0-0000-7000-8000-000000000001}", "-9223372036854775808", "12h", "8MiB",
                                   "\u30ab\u30a6\ud7ff\u0000x")):
        write("text", str(number), text)


def main():
    wire_and_json()
    references()
    small_texts()


if __name__ == "__main__":
    main()
