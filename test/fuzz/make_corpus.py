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
    escapes = rb'{"animeId":"\u00e9\ud83d\ude00\u0000","timestamp":"2026-01-01T00:00:00.5-23:59"}'
    write("json", "escapes", enriched + escapes)
    # Once written as "-0", which reads as an integer without a sign.
    write("json", "negative-zero", enriched + b'{"anime":{"score":{"median":"-0e233"}}}')
    episode = bytes([subjects.index("episode.updated") | 0x80])
    write("json", "negative-zero-wire", episode + bytes.fromhex("2a0820a00b5500000080"))


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


def embeddings():
    openai = '{"data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}]}'
    pick = {"openai": 0, "tei": 1, "ollama": 2}  # the first byte: interface, texts - 1, dimension - 1
    for name, api, texts, dimension, reply in (
            ("openai", "openai", 2, 2, openai), ("tei", "tei", 2, 2, "[[3,4],[0,2]]"),
            ("ollama", "ollama", 1, 3, '{"embeddings":[[0.25,-1e2,3]]}'),
            ("error", "ollama", 1, 1, '{"error":"model"}'),
            ("huge", "tei", 1, 2, "[[1e150,1e150]]"), ("tiny", "tei", 1, 2, "[[1e-150,-1e-160]]"),
            ("null", "tei", 1, 2, "[[null,1]]"), ("whole", "tei", 1, 1, "[[9223372036854775807]]")):
        write("embed", name, bytes([pick[api] + 3 * (texts - 1) + 12 * (dimension - 1)]) + reply.encode())


def search_index():
    """One operation each, with the answers of Qdrant and of the catalogue that it takes."""
    def pieces(operation, *answers):
        texts = (a if isinstance(a, bytes) else json.dumps(a).encode() for a in answers)
        return bytes([operation]) + b"\xff\xff".join(texts)

    def result(value):
        return {"result": value, "status": "ok", "time": 0.001}

    def catalogue(message, document):
        return packed("echora.catalog.v1." + message, document)

    done, there = result({"operation_id": 1, "status": "completed"}), {"rev": 7, "emb": "pending", "deleted": False}
    marks = result([{"id": ID + "01", "payload": there}, {"id": ID + "02", "payload": {"rev": 9, "deleted": True}}])
    write("qdrant", "marks", pieces(0, marks))
    write("qdrant", "marks-refused", pieces(0, b"!503"))
    children = [result({"points": [{"id": ID + f"{n:02x}", "payload": {"entity_type": kind}}],
                        "next_page_offset": None if n == 3 else ID + f"{n + 1:02x}"})
                for n, kind in ((2, "CHARACTER"), (3, "EPISODE"))]
    write("qdrant", "children", pieces(1, *children))
    write("qdrant", "children-stuck", pieces(0x80 | 1, children[0]))
    write("qdrant", "write", pieces(2, done))
    write("qdrant", "write-many", pieces(2, result([{"status": "completed"}, {"status": "acknowledged"}])))
    write("qdrant", "write-late", pieces(2, result({"status": "wait_timeout"})))
    info = result({"status": "green", "config": {
        "params": {"vectors": {}, "sparse_vectors": {"bm25": {"modifier": "idf"}}},
        "metadata": {"echora_schema": "1", "embedding": "none/1"}},
        "payload_schema": {"rev": {"data_type": "integer"}}})
    about = {"title": "qdrant", "version": "1.17.1"}
    write("qdrant", "schema", pieces(0x80 | 3, about, result({"exists": True}), info, done))
    write("qdrant", "schema-new", pieces(0x80 | 3, about, result({"exists": False}), result(True), info, done))
    revisions = catalogue("CatalogRevisionsReply", {"revisions": [{"id": ID + "01", "revision": 8}, {"id": ID + "02"}]})
    scroll = result({"points": [{"id": ID + "01", "payload": there}], "next_page_offset": None})
    entry = {"id": ID + "01", "canonicalId": ID + "01", "revision": "8"}
    write("qdrant", "reconcile", pieces(4, scroll, revisions, catalogue("CatalogGetReply", {"entries": [entry]}), marks,
                                        catalogue("CatalogEnqueueReply", {"rows": "1"})))
    write("qdrant", "reconcile-stuck", pieces(0x80 | 4, {**scroll, "result": {**scroll["result"],
                                                                              "next_page_offset": ID + "01"}}))
    anime = {**entry, "anime": {"title": "T", "nsfw": True}, "nextMembers": "x",
             "members": [{"id": ID + "02", "canonicalId": ID + "02", "revision": "1", "character": {"name": "C"}}]}
    members = catalogue("CatalogGetReply", {"entries": [{**entry, "members": []}]})
    child = {"id": ID + "02", "canonicalId": ID + "02", "revision": "1", "animeIds": [ID + "01"],
             "character": {"name": "C"}}
    stored = result([{"id": ID + "01", "payload": {"rev": 8, "emb": "none"}}])
    write("qdrant", "sync", pieces(5, catalogue("CatalogGetReply", {"entries": [anime]}), members, marks, done, stored,
                                   catalogue("CatalogGetReply", {"entries": [child]}), members, marks, done, marks))
    alias = catalogue("CatalogGetReply", {"entries": [{**anime, "canonicalId": ID + "05"}]})
    write("qdrant", "sync-alias", pieces(5, alias, *children, marks, done, marks))
    # More entries than were asked for: once written behind the end of the targets.
    many = [{**entry, "id": ID + "01", "anime": {"title": "T"}}] * 9
    write("qdrant", "sync-too-many", pieces(5, catalogue("CatalogGetReply", {"entries": many}), marks, done, marks))
    write("qdrant", "sync-missing", pieces(5, catalogue("CatalogGetReply", {"missing": [ID + "01"]})))
    unread = catalogue("CatalogGetReply", {"missing": ["x"], "unread": [ID + "01"]})
    write("qdrant", "sync-unread", pieces(0x80 | 5, unread))


def broker():
    def pieces(operation, *answers):
        return bytes([operation]) + b"\xff\xff".join(a.encode() for a in answers)

    error = '{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 7"}}'
    write("broker", "ack", pieces(0, '{"stream":"ANIME_EVENTS","seq":7,"duplicate":true}'))
    write("broker", "ack-error", pieces(0, error))
    write("broker", "ack-many", pieces(1, '.2\n{"stream":"A","seq":1}', ".0\n" + error, '.1\n{"stream":"B","seq":2}'))
    state = '{"created":"2026-01-01T00:00:00Z","state":{"messages":3,"first_seq":1,"last_seq":3}}'
    headers = '{"message":{"seq":1,"hdrs":"TkFUUy8xLjANCkVjaG9yYS1Qb3NpdGlvbjogMToxDQoNCg==","data":"eA=="}}'
    write("broker", "stream", pieces(2, state, headers))
    write("broker", "stream-none", pieces(2, state, '{"error":{"code":404,"err_code":10037}}'))
    write("broker", "call-error", pieces(3, "Nats-Service-Error-Code: not-found\nNats-Service-Error: none\n"
                                            "Echora-Error-Class: retry\n\n"))
    acks = [f'.1.{n}\n{{"stream":"ANIME_SYNC","seq":{n}}}' for n in (7, 9, 11, 13, 14)]
    write("broker", "pipeline", pieces(4, "", *acks))
    write("broker", "pipeline-refused", pieces(4, "", acks[0], ".1.9\n" + error))
    write("broker", "pipeline-ahead", pieces(4, "", '.1.99\n{"stream":"ANIME_SYNC","seq":99}', *acks))
    tokens = "ANIME_EVENTS.catalog-updated.2.7.9.1700000000000000000.3"
    write("broker", "delivery", pieces(5, "$JS.ACK." + tokens))
    write("broker", "delivery-long", pieces(5, f"$JS.ACK._.hash.{tokens}.x"))
    write("broker", "status", pieces(5, "409 Consumer Deleted"))


def header_lines():
    parent = "traceparent:00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    write("headers", "trace", f"{parent}\ntracestate:a=1,b@c=2\n\nbad-uuid\nevent_id: no UUID 0190a8a0\n{ID}01")
    write("headers", "replayed", "Echora-Replay-For:catalog-updated\nEchora-Replay-Hop:2\nEchora-Dlq-Seq:9\n"
                                 "Nats-Msg-Id:x\nX:1\nX:2\n\ndecode\nvarint at byte 17\n\u5fcd")
    odd = b"Status:503\nA\xff:\x01\xc3\x28\n:x\n\n"
    write("headers", "odd", odd + b"c" * 60 + b"\n" + b"r9" * 500 + b"\n" + b"e" * 100)


def configuration():
    def pieces(file, value="", *arguments):
        return b"\xff\xff".join(a.encode() for a in (file, value, *arguments))

    write("config", "file", pieces("# a comment\nurl = nats://u:p@h:4222\nwait=30s\n\nsize = 64KiB\n", "", "--deep"))
    write("config", "all", pieces("lanes = 2\nmode = two", "plain text", "--lanes=64", "--wait", "24h", "--", "rest"))
    write("config", "unknown", pieces("lanse = 2\n"))
    write("config", "range", pieces("", "", "--lanes=65", "--wiat=1s", "-x"))
    write("config", "twice", pieces("deep = true\ndeep = false\nurl"))


def array_values():
    write("values", "texts", b"\x00\x01a\xff\x00\x03\xe3\x82\xab")
    write("values", "jsons", b"\x01\x02{}\x04null")
    write("values", "bytes", b"\x02\x03\x00\xff\x01\xff")


def idempotency():
    write("idempotency", "bare", 'order-7:build_diff.1\nb=2&a=1\napplication/json\n{"run_id": 7}')
    write("idempotency", "quoted", '"order-7"\n&&a=%26&a\nApplication/JSON; charset=utf-8\n')
    write("idempotency", "odd", b'"a\x00b"\n' + b"x&" * 70 + b"\n;\n\xff\n")


def webhooks():
    letter = (f"Subject: anime.dlq.catalog-updated\nNats-Msg-Id: ANIME_EVENTS:1:catalog-updated:7\nEchora-Event-Id: {ID}01\n"
              f"Echora-Dlq-Subject: anime.updated\nEchora-Dlq-Code: pg-23503\nEchora-Dlq-Entity: {ID}02\n"
              "Echora-Dlq-Deliveries: 5\nEchora-Dlq-Fingerprint: 0123456789abcdef\n"
              "Echora-Dlq-Failed-At: 2026-01-02T03:04:05Z\n")
    write("webhook", "letter", b"\0" + letter.encode())
    write("webhook", "hostile", b"\0" + letter.replace("pg-23503", "A \"title\"").replace("5\n", "many\n").encode())
    write("webhook", "no-consumer", b"\0" + letter.replace("catalog-updated", "", 1).encode())
    write("webhook", "risk", b"\1" + packed("echora.events.v1.AnimeUpdatedEvent", {
        "eventId": ID + "01", "animeId": ID + "02", "changedFields": ["title", "A title"],
        "riskReasons": ["title-changed", "because I say so"], "anime": {"title": "A title"}}))
    write("webhook", "review", b"\2" + packed("echora.events.v1.IngestionReviewReadyEvent", {
        "eventId": ID + "01", "runId": "7", "entryCount": 3, "reviewRef": "artifact:sha256/" + "ab" * 32}))


def gateway():
    def head(*pairs):
        content = "".join(f"{text}\0" for text in ("CONTENT_LENGTH", "2", "SCGI", "1", *pairs)).encode()
        return str(len(content)).encode() + b":" + content + b","
    write("scgi", "post", head("REQUEST_METHOD", "POST", "REQUEST_URI", "/workflow/check-tag", "BODY_LENGTH", "7",
                               "HTTP_IDEMPOTENCY_KEY", "a:1", "HTTP_PREFER", "wait=5") + b"{}")
    write("scgi", "ids", head("REQUEST_METHOD", "GET", "REQUEST_URI", "/workflow/runs/7/entries?state=failed&limit=5"))
    write("scgi", "query", head("REQUEST_METHOD", "GET", "REQUEST_URI", "/dlq?consumer=a%2Bb&parked=true&cursor=9"))
    write("scgi", "cut", head("REQUEST_METHOD", "GET")[:-9])
    write("scgi", "twice", head("HTTP_A", "x", "HTTP_A", "y", "SCGI", "1"))


def bodies():
    """The first byte is the route's place in workers/command_api/routes.c; each body stands where it is a good one."""
    run, decision = {"run_id": 7}, {"entry_key": "ab" * 32, "decision": "approve_ingest", "reviewed_by": "anna"}
    rule = {"selector": {"issues_count": {"lte": 3}, "issue_any": ["a"], "year": {"gte": 1990}, "kind": ["update"]},
            "decision": "send_back_to_stage", "target_stage": "stage2", "reviewed_by": "anna", "reason": "again"}
    letters = {"consumer": "catalog-updated", "codes": ["database-error"]}
    for name, route, value in (
            ("source", 0, {"source": "manami"}),
            ("start", 1, {"source": "manami", "tag": "2026-01", "artifact_url": "https://host/a", "sha256": "ab" * 32,
                          "mode": "bootstrap", "until": "review"}),
            ("shrink", 2, {**run, "snapshot_id": 2**53 - 1, "accept_shrink": True}),
            ("stages", 3, {**run, "entries_ref": "artifact:sha256/" + "ab" * 32, "from_stage": 5}),
            ("decisions", 5, {**run, "entry_decisions": [{**decision, "edits": {"title": None}}],
                              "batch_rules": [rule]}),
            ("all", 6, {**run, "batch_rules": [{**rule, "selector": {"all": True}}]}),
            ("replay", 7, {**run, "decision_batch_id": ID + "01", "target_stage": "stage2"}),
            ("decision", 13, {"decision": "approve", "reason": "fine", "reviewed_by": "anna"}),
            ("plan", 16, {"filter": letters, "dry_run": True, "rate": 5, "canary": True}),
            ("discard", 17, {"plan_id": ID + "01", "stop": True}),
            ("reconcile", 18, {"kind": "anime", "from_id": ID + "01", "repair": True, "limit": 2**53})):
        write("body", name, bytes([route, 7]) + json.dumps(value).encode())
    write("body", "twice", b"\2\7" + b'{"run_id":7,"run_id":7}')
    write("body", "deep", b"\5\7" + b'{"run_id":7,"batch_rules":' + b"[" * 400)
    write("body", "odd", b"\2\0" + '{"run_id":1e0,"\\u0000":"\\ud800","é":-0}'.encode())


# A modulus of 2048 bits whose factors nobody has kept, and P-256's base point.
MODULUS = (
    "s3AirataDuzY-r26mOvCnwloiCI3nRwW6DWrp3bDqcLV91R5Mem7pWrRf2SneW8VTg8mK_4OD8K483H0o8haMec9H6DM1xYGCEaU"
    "Cissn8fAgLg6gKKEW4CcBmgTGxch12z05IbQZa4ET7iPCWSS8zh34P0od-jAfbmyE83JlJfbiy3RtPKTHIv1QSIjyyfw4JlZbKMf"
    "gLOZN1SCXEZGqDR47aKEI4SxJ-WHg3rQXwRcqgYC1kb4OvMDDVZq6Svt98nzj3RjV-ieC-SPi5HN27WArnrfoJ9LFcPD6XwbtGEO"
    "SQIpFX9V841r2Y7YaDnNVrgwLIuuUzaqFq7Upo-iRw")
BASE_X, BASE_Y = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"


def tokens():
    def pieces(*parts):
        texts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]
        return b"\1" + b"\xff\xff".join(texts)

    header = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k"}
    claims = {"iss": "https://i", "aud": "a", "client_id": "n8n", "iat": 1799999990, "exp": 1800000600, "sub": "s",
              "jti": "j", "scope": "workflow.read workflow.approve"}
    write("token", "right", pieces(header, claims))
    write("token", "lists",
          pieces({**header, "typ": "JWT"},
                 {**claims, "aud": ["b", "a"], "scope": ["workflow.read"], "azp": "n8n", "nbf": 1}))
    write("token", "no-kid", pieces({"alg": "EdDSA", "typ": "application/at+jwt"}, claims))
    write("token", "extensions",
          pieces({**header, "crit": ["b64"], "b64": False, "zip": "DEF", "jwk": {"kty": "oct"}}, claims))
    write("token", "twice",
          pieces(b'{"alg":"EdDSA","alg":"none","typ":"at+jwt"}', b'{"iss":"https://i","iss":"https://i"}'))
    write("token", "numbers", pieces({**header, "alg": 5}, {**claims, "exp": 1e99, "iat": -1, "nbf": 2**63}))
    write("token", "whole",
          b"\0eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2kifQ." + b"A" * 86)
    write("token", "none", b"\0eyJhbGciOiJub25lIn0.e30.")


def key_sets():
    rsa = {"kty": "RSA", "kid": "a", "use": "sig", "n": MODULUS, "e": "AQAB"}
    p256 = {"kty": "EC", "crv": "P-256", "kid": "b", "alg": "ES256", "x": BASE_X, "y": BASE_Y}
    edwards = {"kty": "OKP", "crv": "Ed25519", "x": BASE_X, "key_ops": ["verify"]}
    for name, keys in (("three", [rsa, p256, edwards]), ("same-kid", [rsa, {**p256, "kid": "a"}]),
                       ("weak", [{**rsa, "e": "Aw"}, p256]),
                       ("off", [{**p256, "y": BASE_X}, p256]), ("private", [{**p256, "d": BASE_X}]),
                       ("others", [{"kty": "oct", "k": ""}, {**rsa, "use": "enc"}])):
        write("jwks", name, b"\0" + json.dumps({"keys": keys}).encode())
    rows = [{"id": "n8n", "scopes": ["workflow.read", "workflow.execute"], "limits": {"read": 5}},
            {"id": "x", "scopes": []}]
    write("jwks", "table", b"\1" + json.dumps({"clients": rows}).encode())
    write("jwks", "table-twice", b"\1" + json.dumps({"clients": rows + rows}).encode())


def answers():
    secret, mark = b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b"\xff\xff"
    write("excerpt", "plain", secret + mark + b'{"code":404,"message":"The requested webhook is not registered."}')
    write("excerpt", "echo", secret + mark + b"\x1b[2Jbad secret whsec_" + secret + b", not " + secret[4:20].lower())
    write("excerpt", "edge", secret + mark + b"-" * 245 + secret + b" v1," + secret)


def main():
    wire_and_json()
    references()
    small_texts()
    embeddings()
    search_index()
    broker()
    header_lines()
    configuration()
    array_values()
    webhooks()
    gateway()
    bodies()
    idempotency()
    tokens()
    key_sets()
    answers()


if __name__ == "__main__":
    main()
