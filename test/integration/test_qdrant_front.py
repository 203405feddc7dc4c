"""The Qdrant Edge front against qdrant-client's in-memory mode, the published OpenAPI subset, and kill -9."""
import copy
import http.server
import json
import random
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest
from harness.process import eventually
from harness.settings import ROOT
from qdrant_client import QdrantClient, models

SIZE = 16
NAME = "shadow_v1"
WORDS = "naruto fear mind ghost shell cowboy bebop titan alchemist spirited away castle sky moon sailor".split()


def vector(rng):
    return [round(rng.uniform(-1, 1), 4) for _ in range(SIZE)]


def sparse(rng):
    indices = sorted(rng.sample(range(40), rng.randint(1, 6)))
    return models.SparseVector(indices=indices, values=[round(rng.uniform(0.1, 2), 3) for _ in indices])


def payload(rng, rev):
    out = {"rev": rev, "entity_type": rng.choice(["anime", "character", "episode"]), "emb": rng.choice("abc"),
           "year": rng.randint(1990, 2026), "genres": rng.sample(WORDS, rng.randint(0, 3)),
           "score": rng.choice([None, 7.25, 8.5]), "nsfw": rng.random() < 0.2}
    if rng.random() < 0.2:
        del out["rev"]
    return out


def guard(ids, revs, how="lt"):
    return models.Filter(should=[models.IsEmptyCondition(is_empty=models.PayloadField(key="rev"))] + [
        models.Filter(must=[models.HasIdCondition(has_id=[i]),
                            models.FieldCondition(key="rev", range=models.Range(**{how: r}))])
        for i, r in zip(ids, revs)])


def random_filter(rng):
    field = models.FieldCondition
    choices = [
        field(key="entity_type", match=models.MatchValue(value=rng.choice(["anime", "episode"]))),
        field(key="year", range=models.Range(gte=rng.randint(1990, 2010), lt=rng.randint(2010, 2026))),
        field(key="genres", match=models.MatchAny(any=rng.sample(WORDS, 2))),
        field(key="rev", range=models.Range(lte=rng.randint(0, 50))),
        field(key="nsfw", match=models.MatchValue(value=False)),
        field(key="emb", match=models.MatchExcept(**{"except": ["a"]})),
        models.IsEmptyCondition(is_empty=models.PayloadField(key=rng.choice(["rev", "genres", "score"]))),
        models.IsNullCondition(is_null=models.PayloadField(key="score")),
    ]
    parts = rng.sample(choices, rng.randint(1, 3))
    kind = rng.choice(["must", "should", "must_not"])
    return models.Filter(**{kind: parts})


class Both:
    """The front over HTTP and qdrant-client's own engine in memory, driven by the same calls."""

    def __init__(self, url, modifier=None):
        self.front = QdrantClient(url=url, check_compatibility=False, timeout=20)
        self.memory = QdrantClient(":memory:")
        for c in (self.front, self.memory):
            c.create_collection(
                NAME, vectors_config={"dense": models.VectorParams(size=SIZE, distance=models.Distance.COSINE)},
                sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=modifier)})
        for field, kind in (("rev", "integer"), ("entity_type", "keyword"), ("emb", "keyword"), ("year", "integer"),
                            ("genres", "keyword")):
            self.front.create_payload_index(NAME, field, kind, wait=True)

    def do(self, method, **arguments):
        got = getattr(self.front, method)(NAME, wait=True, **arguments)
        assert got.status == models.UpdateStatus.COMPLETED
        getattr(self.memory, method)(NAME, **arguments)

    def same(self):
        def all_points(c):
            rows, after = [], None
            while True:
                page, after = c.scroll(NAME, limit=37, offset=after, with_payload=True, with_vectors=True)
                rows += page
                if after is None:
                    return {str(r.id): r for r in rows}
        a, b = all_points(self.front), all_points(self.memory)
        assert sorted(a) == sorted(b)
        for i in a:
            assert a[i].payload == b[i].payload, i
            va, vb = a[i].vector, b[i].vector
            assert set(va) == set(vb), i
            if "dense" in va:
                assert va["dense"] == pytest.approx(vb["dense"], abs=1e-5)
            if "bm25" in va:
                assert dict(zip(va["bm25"].indices, va["bm25"].values)) == pytest.approx(
                    dict(zip(vb["bm25"].indices, vb["bm25"].values)), abs=1e-5)
        return len(a)

    def same_answer(self, **arguments):
        a, b = (c.query_points(NAME, limit=15, **arguments).points for c in (self.front, self.memory))
        assert [p.score for p in a] == pytest.approx([p.score for p in b], rel=2e-4, abs=1e-5)
        # Equal scores may come in either order.
        cut = (b[-1].score if b else 0) + 1e-4
        assert {str(p.id) for p in a if p.score > cut} == {str(p.id) for p in b if p.score > cut}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_same_operations_same_content(qdrant, seed):
    rng = random.Random(seed)
    both = Both(qdrant.url)
    deleted = set()
    ids = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(50)] + [7, 8]
    for step in range(1, 200):
        some = rng.sample(ids, rng.randint(1, 12))
        what = rng.choice(["upsert", "guarded", "guarded", "insert", "overwrite", "set", "delete", "keys", "clear"])
        revs = [rng.randint(0, step) for _ in some]
        points = [models.PointStruct(id=i, vector={"dense": vector(rng), "bm25": sparse(rng)}, payload=payload(rng, r))
                  for i, r in zip(some, revs)]
        if what == "upsert":
            both.do("upsert", points=points)
        elif what == "guarded":
            both.do("upsert", points=points, update_filter=guard(some, revs, rng.choice(["lt", "lte"])))
        elif what == "insert":
            # The in-memory client takes a deleted id for an existing one in these modes; the engine does not.
            both.do("upsert", points=[p for p in points if p.id not in deleted] or points,
                    update_mode=rng.choice(list(models.UpdateMode)) if not deleted.issuperset(some) else None)
        elif what in ("overwrite", "set"):
            test = models.Filter(must=[models.HasIdCondition(has_id=some),
                                       models.FieldCondition(key="emb", match=models.MatchValue(value="b")),
                                       models.FieldCondition(key="rev", range=models.Range(lt=revs[0]))])
            both.do(f"{what}_payload", payload=payload(rng, step), points=test)
        elif what == "delete" and rng.random() < 0.3:
            deleted.update(some)
            both.do("delete", points_selector=models.Filter(must=[models.HasIdCondition(has_id=some)],
                                                            must_not=[guard(some, revs)]))
        elif what == "keys":
            both.do("delete_payload", keys=["year"], points=models.Filter(must=[models.HasIdCondition(has_id=some)]))
        elif what == "clear" and rng.random() < 0.2:
            both.do("clear_payload", points_selector=models.Filter(must=[models.HasIdCondition(has_id=some[:1])]))
        if step % 20 == 0:
            both.same()
    assert both.same() > 10
    for _ in range(60):
        test = random_filter(rng)
        assert both.front.count(NAME, count_filter=test).count == both.memory.count(NAME, count_filter=test).count, test
    same_answers(both, rng)


def test_same_inverse_document_frequencies(qdrant):
    # On fresh points only: the engine goes on counting overwritten ones until it has rewritten a segment.
    rng = random.Random(4)
    both = Both(qdrant.url, modifier=models.Modifier.IDF)
    both.do("upsert", points=[models.PointStruct(id=i, vector={"dense": vector(rng), "bm25": sparse(rng)},
                                                 payload=payload(rng, i)) for i in range(80)])
    same_answers(both, rng)


def same_answers(both, rng):
    for _ in range(20):
        test = rng.choice([None, random_filter(rng)])
        both.same_answer(query=vector(rng), using="dense", query_filter=test)
        both.same_answer(query=sparse(rng), using="bm25", query_filter=test)
        prefetch = [models.Prefetch(query=vector(rng), using="dense", limit=20),
                    models.Prefetch(query=sparse(rng), using="bm25", limit=20)]
        both.same_answer(prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.RRF))
        both.same_answer(prefetch=prefetch, query=models.RrfQuery(rrf=models.Rrf(k=60)))


# --- the published schema --------------------------------------------------------------------------

def load_schema():
    """The OpenAPI subset as JSON Schema. Its `nullable` is rewritten: read literally, `{"nullable": true}` takes all."""
    def rewrite(node):
        if isinstance(node, list):
            return [rewrite(n) for n in node]
        if not isinstance(node, dict):
            return node
        node = {k: rewrite(v) for k, v in node.items()}
        if node.pop("nullable", None):
            if not node:
                return {"type": "null"}
            if isinstance(node.get("type"), str):
                node["type"] = [node["type"], "null"]
                if "enum" in node:
                    node["enum"] = node["enum"] + [None]
            else:
                return {"anyOf": [node, {"type": "null"}]}
        return node
    document = json.loads((ROOT / "ops/qdrant-edge/openapi-subset-v1.17.1.json").read_text())
    return rewrite(document)


SCHEMA = load_schema()


def check(value, schema, what):
    root = {"components": SCHEMA["components"], **schema}
    errors = list(jsonschema.Draft202012Validator(root).iter_errors(value))
    assert not errors, f"{what}: {errors[0].message[:400]}"


def operation(method, path):
    parts = path.split("?")[0].strip("/").split("/")
    best = None
    for pattern, item in SCHEMA["paths"].items():
        names = pattern.strip("/").split("/")
        if len(names) == len(parts) and method.lower() in item \
                and all(n == p or n.startswith("{") for n, p in zip(names, parts)):
            literal = sum(n == p for n, p in zip(names, parts))
            if best is None or literal > best[0]:
                best = literal, item[method.lower()]
    return best[1]


def json_schema_of(part):
    return part["content"]["application/json"]["schema"]


A = "0190aaaa-0000-7000-8000-00000000000a"
B = "0190aaaa-0000-7000-8000-00000000000b"
POINT = {"id": A, "vector": {"dense": [0.5] * SIZE, "bm25": {"text": "naruto fights", "model": "qdrant/bm25"}},
         "payload": {"rev": 3, "emb": "e1", "genres": ["Action"], "deleted": False}}
GUARD = {"should": [{"is_empty": {"key": "rev"}}, {"must": [{"has_id": [A]}, {"key": "rev", "range": {"lt": 9}}]}]}
MINE = {"must": [{"has_id": [A]}, {"key": "emb", "match": {"value": "e1"}}, {"key": "rev", "range": {"lt": 9}}]}
C = "/collections/c_v1"
W = "?wait=true&timeout=5&ordering=strong"
CALLS = [
    ("PUT", C + "?timeout=5", {"vectors": {"dense": {"size": SIZE, "distance": "Cosine", "on_disk": True}},
                               "sparse_vectors": {"bm25": {"modifier": "idf"}}, "metadata": {"schema": "1"},
                               "optimizers_config": {"indexing_threshold": 10000}}),
    ("POST", "/collections/aliases", {"actions": [{"create_alias": {"alias_name": "c", "collection_name": "c_v1"}}]}),
    ("PUT", C + "/index" + W, {"field_name": "rev", "field_schema": {"type": "integer", "lookup": True, "range": True}}),
    ("PUT", C + "/index" + W, {"field_name": "emb", "field_schema": "keyword"}),
    ("GET", C, None), ("GET", "/collections", None), ("GET", "/aliases", None), ("GET", C + "/exists", None),
    ("GET", C + "/aliases", None),
    ("PUT", "/collections/c/points" + W, {"points": [POINT], "update_filter": GUARD, "update_mode": "upsert"}),
    ("GET", f"/collections/c/points/{A}", None),
    ("POST", "/collections/c/points", {"ids": [A, B], "with_payload": ["rev", "emb"], "with_vector": ["dense"]}),
    ("POST", "/collections/c/points/scroll", {"limit": 3, "offset": A, "filter": {"must_not": [MINE]},
                                              "with_payload": {"include": ["rev"]}, "with_vector": False}),
    ("POST", "/collections/c/points/count", {"filter": MINE, "exact": True}),
    ("POST", "/collections/c/facet", {"key": "emb", "limit": 3, "exact": True}),
    ("POST", "/collections/c/points/query",
     {"prefetch": [{"query": [0.1] * SIZE, "using": "dense", "limit": 10, "filter": MINE},
                   {"query": {"text": "Naruto", "model": "qdrant/bm25"}, "using": "bm25", "limit": 10}],
      "query": {"rrf": {"k": 60, "weights": [1.0, 0.7]}}, "limit": 5, "with_payload": ["rev"]}),
    ("POST", "/collections/c/points/query/batch", {"searches": [{"query": [0.1] * SIZE, "using": "dense", "limit": 2}]}),
    ("PUT", "/collections/c/points/payload" + W, {"payload": {"rev": 4, "emb": "e1"}, "filter": MINE}),
    ("POST", "/collections/c/points/payload" + W, {"payload": {"x": None}, "filter": MINE}),
    ("POST", "/collections/c/points/payload/delete" + W, {"keys": ["x"], "points": [A]}),
    ("POST", "/collections/c/points/batch" + W, {"operations": [
        {"upsert": {"points": [POINT], "update_filter": GUARD}},
        {"overwrite_payload": {"payload": {"rev": 5}, "filter": MINE}}, {"delete": {"filter": MINE}}]}),
    ("POST", "/collections/c/points/payload/clear" + W, {"filter": MINE}),
    ("POST", "/collections/c/points/delete" + W, {"points": [A]}),
    ("DELETE", C + "/index/emb" + W, None),
    ("DELETE", C, None),
]


def test_requests_and_replies_follow_the_published_schema(qdrant):
    for method, path, body in CALLS:
        described = operation(method, path)
        if body is not None:
            check(body, json_schema_of(described["requestBody"]), f"{method} {path}: request")
        status, reply = qdrant.call(method, path, body)
        assert status == 200, (method, path, reply)
        check(reply, json_schema_of(described["responses"]["200"]), f"{method} {path}: reply")


class Recorder(http.server.BaseHTTPRequestHandler):
    """Stands between sync and the front and keeps what passes."""
    protocol_version = "HTTP/1.1"
    target, seen = None, []

    def pass_on(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        status, reply = Recorder.target.call(self.command, self.path, body)
        Recorder.seen.append((self.command, self.path, body, status, reply, self.headers.get("traceparent")))
        out = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    do_GET = do_PUT = do_POST = pass_on

    def log_message(self, *args):
        pass


def test_what_sync_sends_follows_the_published_schema(db, streams, qdrant, spawn, echora):
    Recorder.target, Recorder.seen = qdrant, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        spawn("catalogue")
        spawn("relay")
        spawn("qdrant", env={"ECHORA_QDRANT_URL": f"http://127.0.0.1:{server.server_address[1]}"})

        def publish(subject, **event):
            answer = echora("publish", subject, "--json", input=json.dumps({"animeId": A, **event})).json
            eventually(lambda: qdrant.call("GET", f"/collections/anime_database/points/{A}")[1].get(
                "result", {}).get("payload", {}).get("trace") == answer["trace_id"], 20, "indexed")
            return answer["trace_id"]
        anime = {"title": "Bebop", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_ONGOING", "score": {"median": 8.5},
                 "airedDates": {"airedFrom": "1998-04-03T00:00:00Z"}, "nsfw": False}
        traces = [publish("anime.enriched", anime=anime, characters=[{"name": "Spike", "traits": ["calm"]}],
                          episodes=[{"episodeNumber": 1, "title": "One", "aired": "1998-04-03T00:00:00Z"}]),
                  publish("anime.updated", changedFields=["status"], anime={"status": "ANIME_STATUS_FINISHED"})]
        bus = streams.bus("operator")
        for subject, body in (("catalog.reconcile", {}), ("catalog.anime.delete", {"animeId": A, "reason": "t",
                                                                                   "actor": "t"})):
            bus.request(subject, json.dumps(body).encode(), headers={"Content-Type": "application/json"})
        eventually(lambda: qdrant.call("POST", "/collections/anime_database/points/count", {"filter": {"must": [
            {"key": "deleted", "match": {"value": True}}]}})[1]["result"]["count"] == 3, 20, "tombstones")
    finally:
        server.shutdown()
    kinds = set()
    for method, path, body, status, reply, _ in Recorder.seen:
        described = operation(method, path)
        kinds.add((method, path.split("?")[0].replace("anime_database_v1", "{}")))
        if body is not None:
            check(body, json_schema_of(described["requestBody"]), f"{method} {path}: request")
        if status == 200 and path != "/":
            check(reply, json_schema_of(described["responses"]["200"]), f"{method} {path}: reply")
    assert {("PUT", "/collections/{}"), ("PUT", "/collections/{}/index"), ("PUT", "/collections/{}/points"),
            ("POST", "/collections/{}/points/batch"), ("POST", "/collections/{}/points"), ("POST", "/collections/aliases"),
            ("POST", "/collections/{}/points/scroll")} <= kinds
    # The writes carry the trace of the event that caused them.
    carried = {parent.split("-")[1] for method, path, *_, parent in Recorder.seen if parent and "/points" in path}
    assert set(traces) <= carried


FREE = {"vectors", "sparse_vectors", "vector"}


def misspellings(node, inside=None):
    """Every body that has one more member somewhere; objects whose keys are free names are left out."""
    if isinstance(node, list):
        for i, item in enumerate(node):
            for bad in misspellings(item):
                yield node[:i] + [bad] + node[i + 1:]
    elif isinstance(node, dict):
        if inside not in FREE:
            yield {**node, "mispelt": 1}
        for key, value in node.items():
            if key == "payload" or key == "metadata":
                continue
            for bad in misspellings(value, key):
                yield {**node, key: bad}


def test_a_misspelt_member_is_refused_wherever_it_stands(qdrant):
    tried = 0
    for method, path, body in CALLS[:-1]:
        for bad in misspellings(copy.deepcopy(body)) if body is not None else ():
            status, reply = qdrant.call(method, path, bad)
            assert status in (400, 422), (method, path, json.dumps(bad)[:300], reply)
            tried += 1
        assert qdrant.call(method, path, body)[0] == 200
        assert qdrant.call(method, path + ("&" if "?" in path else "?") + "mispelt=1", body)[0] == 400
    assert tried > 60


@pytest.mark.parametrize("method,path,body,status,text", [
    ("GET", "/collections/nope", None, 404, "doesn't exist"),
    ("PUT", "/collections/c_v1", {"vectors": {"size": 4, "distance": "Dot"}}, 409, "already exists"),
    ("PUT", "/collections/c/points", {"points": [{**POINT, "vector": {"dense": [0.5]}}]}, 400, "expected dim: 16"),
    ("PUT", "/collections/c/points", {"points": [{**POINT, "vector": {"other": [0.5]}}]}, 400, "Not existing vector"),
    ("PUT", "/collections/c/points", {"points": [{**POINT, "id": "x"}]}, 400, "point ID"),
    ("PUT", "/collections/c/points", {"points": [{**POINT, "vector": {"dense": [1e39] * SIZE}}]}, 400, "float32"),
    ("PUT", "/collections/c/points", {"points": []}, 422, "empty"),
    ("PUT", "/collections/c/points?timeout=0", {"points": [POINT]}, 400, "timeout"),
    ("PUT", "/collections/c/points", {"points": [{**POINT, "vector": {"bm25": {"indices": [1, 1], "values": [1, 2]}}}]},
     422, "unique"),
    ("POST", "/collections/c/points/delete", {"points": [A], "filter": MINE}, 400, "exactly one"),
    ("POST", "/collections/c/points/payload", {"payload": {"a": 1}, "points": [B]}, 404, "No point with id"),
    ("POST", "/collections/aliases", {"actions": [{"delete_alias": {"alias_name": "nope"}}]}, 404, "does not exist"),
    ("PATCH", "/collections/c", {}, 405, "Not supported"),
    ("POST", "/collections/c/snapshots", {}, 404, "Not supported"),
    ("POST", "/collections/c/points/query", {"query": {"context": {}}, "using": "dense"}, 400, "Not supported"),
    ("POST", "/collections/c/points/query", {"query": [1.0], "using": "dense"}, 400, "expected dim"),
    ("POST", "/collections/c/facet", {"key": "unindexed"}, 400, "index"),
])
def test_errors_are_those_of_a_server(qdrant, method, path, body, status, text):
    for call in CALLS[:4]:
        assert qdrant.call(*call)[0] == 200
    got, reply = qdrant.call(method, path, body)
    assert got == status and text in json.dumps(reply), reply


def test_aliases_change_all_or_nothing(qdrant):
    for name in ("x_v1", "x_v2"):
        qdrant.call("PUT", f"/collections/{name}", {"vectors": {"d": {"size": 2, "distance": "Dot"}}})

    def move(*actions):
        return qdrant.call("POST", "/collections/aliases", {"actions": list(actions)})[0]

    assert move({"create_alias": {"alias_name": "x", "collection_name": "x_v1"}}) == 200
    switch = [{"delete_alias": {"alias_name": "x"}}, {"create_alias": {"alias_name": "x", "collection_name": "x_v2"}}]
    assert move(*switch, {"delete_alias": {"alias_name": "nope"}}) == 404
    assert qdrant.call("GET", "/collections/x_v1/aliases")[1]["result"]["aliases"]
    assert move(*switch) == 200
    assert not qdrant.call("GET", "/collections/x_v1/aliases")[1]["result"]["aliases"]


def test_answered_writes_survive_kill(qdrant):
    for call in CALLS[:4]:
        qdrant.call(*call)
    for i in range(300):
        point = {**POINT, "id": i, "payload": {"rev": i}}
        assert qdrant.call("PUT", "/collections/c/points?wait=true", {"points": [point]})[1]["result"]["status"] == "completed"
    qdrant.kill()
    qdrant.start()
    assert qdrant.call("POST", "/collections/c/points/count", {})[1]["result"]["count"] == 300
    assert qdrant.call("GET", "/collections/c/points/299")[1]["result"]["payload"] == {"rev": 299}
    info = qdrant.call("GET", "/collections/c")[1]["result"]
    assert info["payload_schema"]["rev"]["data_type"] == "integer"
    # Guards still hold against what was there before.
    qdrant.call("PUT", "/collections/c/points?wait=true", {"points": [{**POINT, "id": 299, "payload": {"rev": 1}}],
                "update_filter": {"must": [{"key": "rev", "range": {"lt": 1}}]}})
    assert qdrant.call("GET", "/collections/c/points/299")[1]["result"]["payload"] == {"rev": 299}


def test_guarded_writers_at_once_keep_the_newest(qdrant):
    for call in CALLS[:4]:
        qdrant.call(*call)
    revs = list(range(1, 200))
    random.Random(5).shuffle(revs)

    def write(rev):
        body = {"points": [{**POINT, "payload": {"rev": rev, "twice": rev * 2}}],
                "update_filter": {"should": [{"is_empty": {"key": "rev"}}, {"key": "rev", "range": {"lt": rev}}]}}
        assert qdrant.call("PUT", "/collections/c/points?wait=true", body)[0] == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, revs))
    assert qdrant.call("GET", f"/collections/c/points/{A}")[1]["result"]["payload"] == {"rev": 199, "twice": 398}


def test_says_what_it_is(qdrant):
    about = qdrant.call("GET", "/")[1]
    assert "edge front" in about["title"] and about["version"].startswith("1.17.1-edge")


def test_planned_faults(qdrant):
    for call in CALLS[:4]:
        qdrant.call(*call)
    put = ("PUT", "/collections/c/points?wait=true", {"points": [POINT]})
    qdrant.faults({"action": "status", "status": 429, "retry_after": 2, "path": "*/points", "times": 1})
    assert qdrant.call(*put)[0] == 429 and qdrant.call(*put)[0] == 200
    qdrant.call("POST", "/collections/c/points/delete?wait=true", {"points": [A]})
    qdrant.faults({"action": "acknowledged-lost", "method": "PUT", "times": 1})
    assert qdrant.call(*put)[1]["result"]["status"] == "acknowledged"
    assert qdrant.call("GET", f"/collections/c/points/{A}")[0] == 404
    qdrant.faults({"action": "drop-after", "method": "PUT"})
    with pytest.raises((OSError, socket.error)):
        qdrant.call(*put)
    qdrant.faults()
    assert qdrant.call("GET", f"/collections/c/points/{A}")[0] == 200
    qdrant.faults({"action": "delay", "delay_ms": 300})
    start = time.monotonic()
    assert qdrant.call(*put)[0] == 200 and time.monotonic() - start >= 0.3
