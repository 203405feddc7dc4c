"""Collections and aliases on disk, and the operations on points.

One folder per collection holds the engine's shard (with its write-ahead log, so a killed process
loses nothing that it answered); `front.json` names collections and aliases and is replaced
atomically. A collection's writes run one after another under its lock: a guard and its write are
one step, as within a server's shard. Segments are flushed every few seconds, off the request path;
no HNSW index is built (searches are exact), because building would take the processor from an import.
"""

import fcntl
import os
import shutil
import threading
import uuid

import orjson
import qdrant_edge as q

import parse
from errors import HttpError, bad_format, not_found, unsupported, wrong_input
from parse import Members
from schema import Schema, edge_config, field_schema

FLUSH_SECONDS = 5


class Collection:
    def __init__(self, shard, folder, config, indexes):
        self.shard = shard
        self.folder = folder
        self.config = config
        self.schema = Schema({"vectors": {}, **config})
        self.indexes = indexes
        self.lock = threading.Lock()
        self.dirty = False
        self.operation = 0

    def update(self, operation):
        try:
            self.shard.update(operation)
        except Exception as e:
            raise engine_error(e) from None
        self.dirty = True

    def flush(self):
        with self.lock:
            if self.dirty:
                self.dirty = False
                self.shard.flush()


def engine_error(e):
    text = str(e)
    if text.startswith("No point with id"):
        return not_found(text)
    if "rror: " in text or "index" in text:
        return wrong_input(text)
    return HttpError(500, f"Service internal error: {text}")


class Store:
    def __init__(self, root):
        self.root = root
        self.path = os.path.join(root, "front.json")
        self.collections = {}
        self.aliases = {}
        self.lock = threading.RLock()
        os.makedirs(os.path.join(root, "collections"), exist_ok=True)
        self.guard = open(os.path.join(root, "lock"), "w")
        fcntl.flock(self.guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.load()
        self.stop = threading.Event()
        self.flusher = threading.Thread(target=self.flush_loop, daemon=True)
        self.flusher.start()

    def load(self):
        known = {"collections": {}, "aliases": {}}
        if os.path.exists(self.path):
            with open(self.path, "rb") as f:
                known = orjson.loads(f.read())
        for name, c in known["collections"].items():
            shard = q.EdgeShard.load(self.folder(c["folder"]))
            self.collections[name] = Collection(shard, c["folder"], c["config"], c["indexes"])
        self.aliases = known["aliases"]
        kept = {c.folder for c in self.collections.values()}
        for stray in set(os.listdir(self.folder(""))) - kept:
            shutil.rmtree(self.folder(stray))

    def folder(self, name):
        return os.path.join(self.root, "collections", name)

    def save(self):
        body = orjson.dumps({"collections": {n: {"folder": c.folder, "config": c.config, "indexes": c.indexes}
                                             for n, c in self.collections.items()}, "aliases": self.aliases})
        with open(self.path + ".new", "wb") as f:
            f.write(body)
            f.flush()
            os.fsync(f.fileno())
        os.replace(self.path + ".new", self.path)

    def flush_loop(self):
        while not self.stop.wait(FLUSH_SECONDS):
            for c in list(self.collections.values()):
                c.flush()

    def close(self):
        self.stop.set()
        self.flusher.join()
        with self.lock:
            for c in self.collections.values():
                with c.lock:
                    c.shard.flush()
                    c.shard.close()

    # --- collections and aliases ---

    def find(self, name):
        c = self.collections.get(self.aliases.get(name, name))
        if c is None:
            raise not_found(f"Collection `{name}` doesn't exist!")
        return c

    def create(self, name, body):
        with self.lock:
            if name in self.collections or name in self.aliases:
                raise HttpError(409, f"Wrong input: Collection `{name}` already exists!")
            config = edge_config(body)
            folder = str(uuid.uuid4())
            os.makedirs(self.folder(folder))
            shard = q.EdgeShard.create(self.folder(folder), config)
            self.collections[name] = Collection(shard, folder, body, {})
            self.save()
        return True

    def delete(self, name):
        with self.lock:
            c = self.collections.pop(name, None)
            if c is None:
                return False
            self.aliases = {a: n for a, n in self.aliases.items() if n != name}
            self.save()
        with c.lock:
            c.shard.close()
            shutil.rmtree(self.folder(c.folder))
        return True

    def info(self, name):
        c = self.find(name)
        i = c.shard.info()
        shown = dict(c.config)
        vectors, sparse = shown.pop("vectors", {}), shown.pop("sparse_vectors", None)
        params = {"vectors": vectors, "shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1,
                  "on_disk_payload": shown.pop("on_disk_payload", True)}
        if sparse:
            params["sparse_vectors"] = sparse
        fields = {n: {**s, "points": i.payload_schema[n].points if n in i.payload_schema else 0}
                  for n, s in c.indexes.items()}
        hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, **(shown.get("hnsw_config") or {})}
        config = {"params": params, "hnsw_config": hnsw, "metadata": shown.get("metadata"),
                  "optimizer_config": {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000,
                                       "default_segment_number": 0, "flush_interval_sec": FLUSH_SECONDS,
                                       **(shown.get("optimizers_config") or {})},
                  "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0}}
        return {"status": "green", "optimizer_status": "ok", "indexed_vectors_count": 0,
                "points_count": c.shard.count(q.CountRequest()), "segments_count": i.segments_count,
                "config": config, "payload_schema": fields, "update_queue": {"length": 0}}

    def change_aliases(self, body):
        m = Members(body, "")
        actions = m.typed("actions", list)
        m.done()
        with self.lock:
            after = dict(self.aliases)
            for i, item in enumerate(actions):
                a = Members(item, f"actions[{i}]")
                if len(a.value) != 1:
                    raise bad_format(a.path, "expected exactly one action")
                name = next(iter(a.value))
                if name not in ("create_alias", "delete_alias", "rename_alias"):
                    raise bad_format(a.path, f"unknown action `{name}`")
                self.change_alias(after, name, Members(a.take(name), a.at(name)))
            self.aliases = after
            self.save()
        return True

    def change_alias(self, after, action, p):
        if action == "create_alias":
            alias, target = p.typed("alias_name", str), p.typed("collection_name", str)
            if target not in self.collections:
                raise not_found(f"Collection `{target}` doesn't exist!")
            if alias in self.collections:
                raise HttpError(409, f"Wrong input: Collection `{alias}` already exists!")
            after[alias] = target
        elif action == "delete_alias":
            alias = p.typed("alias_name", str)
            if after.pop(alias, None) is None:
                raise not_found(f"Alias {alias} does not exists!")
        else:
            old, new = p.typed("old_alias_name", str), p.typed("new_alias_name", str)
            if old not in after:
                raise not_found(f"Alias {old} does not exists!")
            after[new] = after.pop(old)
        p.done()

    def create_index(self, c, body):
        m = Members(body, "")
        name = m.typed("field_name", str)
        if m.take("field_schema", None) is None:
            raise unsupported("field_schema", "an index without a schema")
        schema, shown = field_schema(m.take("field_schema"), "field_schema")
        m.done()
        with c.lock:
            if c.indexes.get(name) != shown:
                c.update(q.UpdateOperation.create_field_index(name, schema))
                with self.lock:
                    c.indexes[name] = shown
                    self.save()

    def delete_index(self, c, name):
        with c.lock:
            if c.indexes.pop(name, None) is not None:
                c.update(q.UpdateOperation.delete_field_index(name))
                with self.lock:
                    self.save()


# --- points: each body to one engine operation --------------------------------------------------

def upsert(c, body, path=""):
    m = Members(body, path)
    m.refuse("batch", "shard_key")
    pts = parse.points(m.take("points"), c.schema, m.at("points"))
    test = parse.optional_filter(m, "update_filter")
    mode = m.choice("update_mode", parse.UPDATE_MODES, None)
    m.done()
    return q.UpdateOperation.upsert_points(pts, test, mode)


def delete_points(c, body, path=""):
    m = Members(body, path)
    m.refuse("shard_key")
    ids, test = parse.points_or_filter(m)
    m.done()
    return q.UpdateOperation.delete_points(ids) if test is None else q.UpdateOperation.delete_points_by_filter(test)


def payload_write(by_ids, by_filter):
    def build(c, body, path=""):
        m = Members(body, path)
        m.refuse("shard_key")
        ids, test = parse.points_or_filter(m)
        value = parse.payload(m.take("payload"), m.at("payload"))
        key = m.typed("key", str, None)
        m.done()
        return by_ids(ids, value, key) if test is None else by_filter(test, value, key)
    return build


set_payload = payload_write(q.UpdateOperation.set_payload, q.UpdateOperation.set_payload_by_filter)
overwrite_payload = payload_write(q.UpdateOperation.overwrite_payload, q.UpdateOperation.overwrite_payload_by_filter)


def delete_payload(c, body, path=""):
    m = Members(body, path)
    m.refuse("shard_key")
    ids, test = parse.points_or_filter(m)
    keys = parse.strings(m.take("keys"), m.at("keys"))
    m.done()
    if test is None:
        return q.UpdateOperation.delete_payload(ids, keys)
    return q.UpdateOperation.delete_payload_by_filter(test, keys)


def clear_payload(c, body, path=""):
    m = Members(body, path)
    m.refuse("shard_key")
    ids, test = parse.points_or_filter(m)
    m.done()
    return q.UpdateOperation.clear_payload(ids) if test is None else q.UpdateOperation.clear_payload_by_filter(test)


BATCH = {"upsert": upsert, "delete": delete_points, "set_payload": set_payload,
         "overwrite_payload": overwrite_payload, "delete_payload": delete_payload, "clear_payload": clear_payload}


def batch(c, body):
    """Every operation is read before the first one runs; then one after another, no transaction."""
    m = Members(body, "")
    items = m.typed("operations", list)
    m.done()
    out = []
    for i, item in enumerate(items):
        o = Members(item, f"operations[{i}]")
        if len(o.value) != 1:
            raise bad_format(o.path, "expected exactly one operation")
        name = next(iter(o.value))
        if name not in BATCH:
            raise unsupported(o.path, f"operation `{name}`")
        out.append(BATCH[name](c, o.take(name), o.at(name)))
    return out


def record(r, scored=False):
    out = {"id": r.id if type(r.id) is int else str(r.id)}
    if scored:
        out["version"], out["score"] = r.version, r.score
    if r.payload is not None:
        out["payload"] = r.payload
    if r.vector is not None:
        out["vector"] = shown_vectors(r.vector)
    if r.order_value is not None:
        out["order_value"] = r.order_value
    return out


def shown_vectors(v):
    if type(v) is dict:
        return {name: shown_vectors(one) for name, one in v.items()}
    return {"indices": v.indices, "values": v.values} if isinstance(v, q.SparseVector) else v


def retrieve(c, body):
    m = Members(body, "")
    m.refuse("shard_key")
    ids = parse.point_ids(m.take("ids"), "ids")
    payload, vector = parse.with_payload(m, True), parse.with_vector(m, c.schema)
    m.done()
    return [record(r) for r in c.shard.retrieve(ids, payload, vector)]


def scroll(c, body):
    m = Members(body, "")
    m.refuse("shard_key")
    offset = m.take("offset", None)
    order = m.take("order_by", None)
    if offset is not None and order is not None:
        raise wrong_input("`offset` can't be used with `order_by`")
    request = q.ScrollRequest(offset=None if offset is None else parse.point_id(offset, "offset"),
                              limit=m.count("limit", 10, 1), filter=parse.optional_filter(m),
                              with_payload=parse.with_payload(m, True), with_vector=parse.with_vector(m, c.schema),
                              order_by=None if order is None else parse.order_by(order, "order_by"))
    m.done()
    found, after = c.shard.scroll(request)
    return {"points": [record(r) for r in found],
            "next_page_offset": after if after is None or type(after) is int else str(after)}


def count(c, body):
    m = Members(body, "")
    m.refuse("shard_key")
    request = q.CountRequest(exact=m.typed("exact", bool, True), filter=parse.optional_filter(m))
    m.done()
    return {"count": c.shard.count(request)}


def facet(c, body):
    m = Members(body, "")
    m.refuse("shard_key")
    request = q.FacetRequest(key=m.typed("key", str), limit=m.count("limit", 10, 1),
                             exact=m.typed("exact", bool, False), filter=parse.optional_filter(m))
    m.done()
    key = request.key
    if c.indexes.get(key, {}).get("data_type") not in ("keyword", "integer", "bool", "uuid"):
        raise wrong_input(f"No appropriate index for faceting: `{key}`. Please create one to facet on this field.")
    return {"hits": [{"value": h.value, "count": h.count} for h in c.shard.facet(request)]}


def query(c, body):
    return {"points": [record(r, scored=True) for r in c.shard.query(parse.query_request(body, c.schema))]}


def query_batch(c, body):
    m = Members(body, "")
    items = m.typed("searches", list)
    m.done()
    requests = [parse.query_request(v, c.schema, f"searches[{i}]") for i, v in enumerate(items)]
    return [{"points": [record(r, scored=True) for r in c.shard.query(one)]} for one in requests]
