"""Strict reading of request bodies into the engine's objects.

A Qdrant server ignores members that it does not know, so a misspelt guard writes without a guard.
Here every object names its members: an unknown one is refused, a known one that this front can't
serve is refused by name, and nothing is dropped in silence.
"""

import math
import re
import uuid
from functools import lru_cache

import qdrant_edge as q

from errors import HttpError, bad_format, unsupported, wrong_input

MISSING = object()
F32_MAX = 3.4028234663852886e38
DISTANCES = {"Cosine": q.Distance.Cosine, "Dot": q.Distance.Dot, "Euclid": q.Distance.Euclid,
             "Manhattan": q.Distance.Manhattan}
DATATYPES = {"float32": q.VectorStorageDatatype.Float32, "float16": q.VectorStorageDatatype.Float16,
             "uint8": q.VectorStorageDatatype.Uint8}
TOKENIZERS = {"word": q.TokenizerType.Word, "whitespace": q.TokenizerType.Whitespace,
              "prefix": q.TokenizerType.Prefix, "multilingual": q.TokenizerType.Multilingual}
UPDATE_MODES = {"upsert": q.UpdateMode.Upsert, "insert_only": q.UpdateMode.InsertOnly,
                "update_only": q.UpdateMode.UpdateOnly}
POINT_MEMBERS = {"id", "vector", "payload"}
BM25_MODELS = ("qdrant/bm25", "bm25")


class EngineBool:
    """A boolean for MatchValue: the engine's binding takes Python's own for an integer, which then matches no
    boolean. It does take the booleans of numpy, which it knows by the type's name and module."""

    def __init__(self, value):
        self.value = value

    def __bool__(self):
        return self.value


EngineBool.__name__ = EngineBool.__qualname__ = "bool_"
EngineBool.__module__ = "numpy"


class Members:
    """The members of one JSON object; done() refuses what nobody took."""

    def __init__(self, value, path):
        if type(value) is not dict:
            raise bad_format(path, "expected an object")
        self.value = value
        self.path = path
        self.taken = set()

    def at(self, name):
        return f"{self.path}.{name}" if self.path else name

    def take(self, name, default=MISSING):
        """The member; a JSON null counts as absent, as for the server's optional fields."""
        self.taken.add(name)
        got = self.value.get(name)
        if got is None:
            if default is MISSING:
                raise bad_format(self.path, f"missing field `{name}`")
            return default
        return got

    def typed(self, name, kinds, default=MISSING):
        got = self.take(name, default)
        if got is default:
            return got
        allowed = kinds if type(kinds) is tuple else (kinds,)
        if type(got) not in allowed:
            names = " or ".join(k.__name__ for k in allowed)
            raise bad_format(self.at(name), f"expected {names}")
        return got

    def number(self, name, default=None):
        return self.typed(name, (int, float), default)

    def count(self, name, default=None, least=0):
        got = self.typed(name, int, default)
        if got is not default and got < least:
            raise HttpError(422, f"Validation error in JSON body: [{self.at(name)}: must be {least} or larger]")
        return got

    def choice(self, name, table, default=MISSING):
        got = self.typed(name, str, default)
        if got is default:
            return got
        if got not in table:
            raise bad_format(self.at(name), f"expected one of {', '.join(table)}")
        return table[got]

    def refuse(self, *names):
        """Known to a server, not served here: null is fine, a value is not."""
        for name in names:
            self.taken.add(name)
            if self.value.get(name) is not None:
                raise unsupported(self.at(name), f"`{name}`")

    def done(self):
        for name in self.value:
            if name not in self.taken:
                raise bad_format(self.path, f"unknown field `{name}`")


HYPHENATED = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


def point_id(value, path):
    if type(value) is int and 0 <= value < 1 << 64:
        return value
    if type(value) is str:
        if HYPHENATED(value):
            return value
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass
    raise bad_format(path, "value is not a valid point ID, use an unsigned integer or a UUID")


def point_ids(value, path):
    if type(value) is not list:
        raise bad_format(path, "expected an array of point ids")
    return [point_id(v, f"{path}[{i}]") for i, v in enumerate(value)]


def payload(value, path):
    if type(value) is not dict:
        raise bad_format(path, "expected an object")
    return value


# --- vectors ---------------------------------------------------------------------------------

def dense(value, size, path):
    try:
        kinds = set(map(type, value))
        norm = math.hypot(*value)
    except TypeError:
        raise bad_format(path, "expected an array of numbers") from None
    if not kinds <= {float, int}:
        raise bad_format(path, "expected an array of numbers")
    if len(value) != size:
        raise wrong_input(f"Vector dimension error: expected dim: {size}, got {len(value)}")
    if not norm < F32_MAX:
        raise wrong_input(f"Vector at `{path}` passes the range of float32")
    return value


def sparse(value, path):
    m = Members(value, path)
    indices, values = m.typed("indices", list), m.typed("values", list)
    m.done()
    if len(indices) != len(values) or len(set(indices)) != len(indices):
        raise HttpError(422, f"Validation error in JSON body: [{path}: indices must be unique and as many as values]")
    if not all(type(i) is int and 0 <= i < 1 << 32 for i in indices):
        raise bad_format(path, "indices must be unsigned 32-bit integers")
    if not all(type(v) in (int, float) for v in values):
        raise bad_format(path, "values must be numbers")
    return q.SparseVector(indices, values)


@lru_cache(maxsize=64)
def bm25_model(options):
    try:
        return q.Bm25(q.Bm25Config(**dict(options)))
    except ValueError as e:
        raise wrong_input(f"BM25 options: {e}") from None


def document(value, path):
    """{"text","model":"qdrant/bm25","options"} to (model, text)."""
    if len(value) == 2 and value.get("model") == "qdrant/bm25" and type(value.get("text")) is str:
        return bm25_model(()), value["text"]  # what nearly every point has
    m = Members(value, path)
    text, model = m.typed("text", str), m.typed("model", str)
    options = m.typed("options", dict, {})
    m.done()
    if model.lower() not in BM25_MODELS:
        raise unsupported(m.at("model"), f"model `{model}`: only qdrant/bm25 is computed here")
    o = Members(options, m.at("options"))
    known = {"k": o.number("k"), "b": o.number("b"), "avg_len": o.number("avg_len"),
             "tokenizer": o.choice("tokenizer", TOKENIZERS, None), "language": o.typed("language", str, None),
             "lowercase": o.typed("lowercase", bool, None),
             "ascii_folding": o.typed("ascii_folding", bool, None),
             "min_token_len": o.count("min_token_len"), "max_token_len": o.count("max_token_len")}
    o.refuse("stopwords", "stemmer")
    o.done()
    return bm25_model(tuple((k, v) for k, v in known.items() if v is not None)), text


def named_vector(value, name, schema, path, for_query=False):
    """One vector of a point, or of a query, by the collection's schema."""
    if name in schema.dense:
        if type(value) is not list:
            raise wrong_input(f"Vector `{name}` is dense: expected an array of numbers at `{path}`")
        return dense(value, schema.dense[name], path)
    if name in schema.sparse:
        if type(value) is dict and "text" in value:
            model, text = document(value, path)
            return model.embed_query(text) if for_query else model.embed_document(text)
        return sparse(value, path)
    raise wrong_input(f"Not existing vector name error: {name}")


def vectors(value, schema, path):
    if type(value) is list:
        return named_vector(value, "", schema, path)
    if type(value) is not dict:
        raise bad_format(path, "expected a vector or an object of named vectors")
    return {name: named_vector(v, name, schema, f"{path}.{name}") for name, v in value.items()}


def points(value, schema, path):
    if type(value) is not list:
        raise bad_format(path, "expected an array of points")
    if not value:
        raise HttpError(422, f"Validation error in JSON body: [{path}: must not be empty]")
    out = []
    for i, item in enumerate(value):
        at = f"{path}[{i}]"
        if type(item) is dict and item.keys() == POINT_MEMBERS and type(item["vector"]) is dict \
                and type(item["payload"]) is dict:  # the same without bookkeeping, for bulk loads
            vector = {name: named_vector(v, name, schema, f"{at}.vector.{name}") for name, v in item["vector"].items()}
            out.append(q.Point(id=point_id(item["id"], f"{at}.id"), vector=vector, payload=item["payload"]))
            continue
        m = Members(item, at)
        pid = point_id(m.take("id"), m.at("id"))
        vector = vectors(m.take("vector"), schema, m.at("vector"))
        body = payload(m.take("payload", {}), m.at("payload"))
        m.done()
        out.append(q.Point(id=pid, vector=vector, payload=body))
    return out


# --- filters ---------------------------------------------------------------------------------

def conditions(value, path):
    if type(value) is dict:
        return [condition(value, path)]
    if type(value) is not list:
        raise bad_format(path, "expected a condition or an array of conditions")
    return [condition(v, f"{path}[{i}]") for i, v in enumerate(value)]


def filter_(value, path):
    m = Members(value, path)
    parts = {}
    for name in ("must", "should", "must_not"):
        got = m.take(name, None)
        if got is not None:
            parts[name] = conditions(got, m.at(name))
    least = m.take("min_should", None)
    m.done()
    if least is not None:
        s = Members(least, m.at("min_should"))
        parts["min_should"] = q.MinShould(conditions(s.take("conditions"), s.at("conditions")),
                                          s.count("min_count", MISSING))
        s.done()
    return q.Filter(**parts)


def key_of(m):
    return m.typed("key", str)


def condition(value, path):
    if type(value) is not dict:
        raise bad_format(path, "expected a condition")
    if len(value) == 1 and type(value.get("must")) is list:
        return q.Filter(must=conditions(value["must"], f"{path}.must"))
    if len(value) == 1 and type(value.get("has_id")) is list:
        return q.HasIdCondition(set(point_ids(value["has_id"], f"{path}.has_id")))
    m = Members(value, path)
    if "key" in value:
        return field_condition(m)
    if "has_id" in value:
        out = q.HasIdCondition(set(point_ids(m.take("has_id"), m.at("has_id"))))
    elif "is_empty" in value:
        k = Members(m.take("is_empty"), m.at("is_empty"))
        out = q.IsEmptyCondition(key_of(k))
        k.done()
    elif "is_null" in value:
        k = Members(m.take("is_null"), m.at("is_null"))
        out = q.IsNullCondition(key_of(k))
        k.done()
    elif "has_vector" in value:
        out = q.HasVectorCondition(m.typed("has_vector", str))
    elif "nested" in value:
        n = Members(m.take("nested"), m.at("nested"))
        out = q.NestedCondition(key_of(n), filter_(n.take("filter"), n.at("filter")))
        n.done()
    else:
        return filter_(value, path)
    m.done()
    return out


def field_condition(m):
    key = key_of(m)
    parts = {}
    match = m.take("match", None)
    if match is not None:
        parts["match"] = match_of(match, m.at("match"))
    bounds = m.take("range", None)
    if bounds is not None:
        parts["range"] = range_of(bounds, m.at("range"))
    amount = m.take("values_count", None)
    if amount is not None:
        v = Members(amount, m.at("values_count"))
        parts["values_count"] = q.ValuesCount(**{n: v.count(n) for n in ("lt", "gt", "lte", "gte")})
        v.done()
    for name in ("is_empty", "is_null"):
        got = m.typed(name, bool, None)
        if got is not None:
            parts[name] = got
    m.refuse("geo_bounding_box", "geo_radius", "geo_polygon")
    m.done()
    if len(parts) != 1:
        raise bad_format(m.path, "a field condition needs exactly one test")
    return q.FieldCondition(key, **parts)


def match_of(value, path):
    m = Members(value, path)
    if len(m.value) != 1:
        raise bad_format(path, "a match needs exactly one of value, any, except, text, text_any, phrase")
    name = next(iter(m.value))
    if name == "value":
        wanted = m.typed("value", (str, int, bool))
        out = q.MatchValue(EngineBool(wanted) if type(wanted) is bool else wanted)
    elif name in ("any", "except"):
        items = m.typed(name, list)
        kinds = set(map(type, items))
        if len(kinds) > 1 or not kinds <= {str, int}:
            raise bad_format(m.at(name), "expected only strings or only integers")
        out = q.MatchAny(items) if name == "any" else q.MatchExcept(items)
    elif name == "text":
        out = q.MatchText(m.typed("text", str))
    elif name == "text_any":
        out = q.MatchTextAny(m.typed("text_any", str))
    elif name == "phrase":
        out = q.MatchPhrase(m.typed("phrase", str))
    m.done()
    return out


def range_of(value, path):
    m = Members(value, path)
    bounds = {n: m.typed(n, (int, float, str), None) for n in ("gte", "gt", "lte", "lt")}
    m.done()
    kinds = {type(b) is str for b in bounds.values() if b is not None}
    if len(kinds) > 1:
        raise bad_format(path, "bounds must be all numbers or all date-times")
    return q.RangeDateTime(**bounds) if kinds == {True} else q.RangeFloat(**bounds)


def optional_filter(m, name="filter"):
    got = m.take(name, None)
    return None if got is None else filter_(got, m.at(name))


# --- selectors and requests ------------------------------------------------------------------

def with_payload(m, default):
    got = m.take("with_payload", default)
    if type(got) is bool:
        return got
    path = m.at("with_payload")
    if type(got) is list:
        return strings(got, path)
    s = Members(got, path)
    if "include" in s.value:
        out = q.PayloadSelector.Include(strings(s.take("include"), s.at("include")))
    elif "exclude" in s.value:
        out = q.PayloadSelector.Exclude(strings(s.take("exclude"), s.at("exclude")))
    else:
        raise bad_format(path, "expected a boolean, an array of keys, include or exclude")
    s.done()
    return out


def with_vector(m, schema):
    got = m.take("with_vector", False)
    if type(got) is bool:
        return got
    names = strings(got, m.at("with_vector"))
    for name in names:
        if name not in schema.dense and name not in schema.sparse:
            raise wrong_input(f"Not existing vector name error: {name}")
    return names


def strings(value, path):
    if type(value) is not list or any(type(v) is not str for v in value):
        raise bad_format(path, "expected an array of strings")
    return value


def points_or_filter(m):
    """(ids, None) or (None, filter). A server lets ids win and forgets the filter; here both is an error."""
    ids, test = m.take("points", None), m.take("filter", None)
    if (ids is None) == (test is None):
        raise bad_format(m.path, "exactly one of `points` and `filter` is needed")
    if ids is not None:
        return point_ids(ids, m.at("points")), None
    return None, filter_(test, m.at("filter"))


def order_by(value, path):
    if type(value) is str:
        return q.OrderBy(value)
    m = Members(value, path)
    key = key_of(m)
    direction = m.choice("direction", {"asc": q.Direction.Asc, "desc": q.Direction.Desc}, None)
    start = m.typed("start_from", (int, float, str), None)
    m.done()
    return q.OrderBy(key, direction, start)


def search_params(m):
    got = m.take("params", None)
    if got is None:
        return None
    p = Members(got, m.at("params"))
    out = q.SearchParams(hnsw_ef=p.count("hnsw_ef"), exact=p.typed("exact", bool, False),
                         indexed_only=p.typed("indexed_only", bool, False))
    p.refuse("quantization", "acorn")
    p.done()
    return out


def scoring(value, using, schema, path):
    """The `query` member of a query or of a prefetch."""
    if type(value) is list or (type(value) is dict and ("indices" in value or "text" in value)):
        return q.Query.Nearest(named_vector(value, using, schema, path, for_query=True), using=using)
    m = Members(value, path) if type(value) is dict else None
    if m is None or len(m.value) != 1:
        raise unsupported(path, "this kind of query")
    name = next(iter(m.value))
    inner = m.take(name)
    at = m.at(name)
    if name == "nearest":
        return scoring(inner, using, schema, at)
    if name == "fusion":
        fusion = m.choice("fusion", {"rrf": q.Fusion.Rrf(2), "dbsf": q.Fusion.Dbsf()})
        return fusion
    if name == "rrf":
        r = Members(inner, at)
        k, weights = r.count("k", 2, 1), r.typed("weights", list, None)
        r.done()
        return q.Fusion.Rrf(k, weights)
    if name == "order_by":
        return order_by(inner, at)
    if name == "sample":
        return m.choice("sample", {"random": q.Sample.Random})
    raise unsupported(path, f"query `{name}`")


def prefetches(m, schema):
    got = m.take("prefetch", None)
    if got is None:
        return None
    items = got if type(got) is list else [got]
    return [prefetch(v, schema, f"{m.at('prefetch')}[{i}]") for i, v in enumerate(items)]


def prefetch(value, schema, path):
    m = Members(value, path)
    m.refuse("lookup_from")
    parts = query_parts(m, schema)
    limit = m.count("limit", 10, 1)
    m.done()
    return q.Prefetch(limit=limit, **parts)


def query_parts(m, schema):
    using = m.typed("using", str, "")
    asked = m.take("query", None)
    return {"prefetches": prefetches(m, schema),
            "query": None if asked is None else scoring(asked, using, schema, m.at("query")),
            "filter": optional_filter(m), "params": search_params(m),
            "score_threshold": m.number("score_threshold")}


def query_request(value, schema, path=""):
    m = Members(value, path)
    m.refuse("lookup_from", "shard_key")
    parts = query_parts(m, schema)
    out = q.QueryRequest(limit=m.count("limit", 10, 1), offset=m.count("offset", None),
                         with_payload=with_payload(m, False), with_vector=with_vector(m, schema), **parts)
    m.done()
    return out
