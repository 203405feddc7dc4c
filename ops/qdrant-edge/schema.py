"""A collection's configuration and its payload indexes: JSON in, the engine's objects out."""

import qdrant_edge as q

from errors import bad_format, unsupported, wrong_input
from parse import DATATYPES, DISTANCES, TOKENIZERS, Members


class Schema:
    """What reading vectors needs: dense names with their sizes, sparse names."""

    def __init__(self, config):
        single = type(config["vectors"].get("size")) is int
        named = {"": config["vectors"]} if single else config["vectors"]
        self.dense = {name: v["size"] for name, v in named.items()}
        self.sparse = set(config.get("sparse_vectors") or {})


def hnsw(m):
    got = m.take("hnsw_config", None)
    if got is None:
        return None
    h = Members(got, m.at("hnsw_config"))
    out = q.HnswIndexConfig(h.count("m", 16), h.count("ef_construct", 100, 4), h.count("full_scan_threshold", 10000),
                            h.count("max_indexing_threads", 0), h.typed("on_disk", bool, None), h.count("payload_m"))
    h.refuse("inline_storage")
    h.done()
    return out


def quantization(m):
    got = m.take("quantization_config", None)
    if got is None:
        return None
    outer = Members(got, m.at("quantization_config"))
    outer.refuse("product", "binary")
    s = Members(outer.take("scalar"), outer.at("scalar"))
    s.choice("type", {"int8": True})
    out = q.ScalarQuantizationConfig(q.ScalarType.Int8, s.number("quantile"), s.typed("always_ram", bool, None))
    s.done()
    outer.done()
    return out


def dense_params(value, path):
    m = Members(value, path)
    out = q.EdgeVectorParams(m.count("size", least=1, default=None) or size_missing(path),
                             m.choice("distance", DISTANCES), on_disk=m.typed("on_disk", bool, None),
                             datatype=m.choice("datatype", DATATYPES, None), hnsw_config=hnsw(m),
                             quantization_config=quantization(m))
    m.refuse("multivector_config")
    m.done()
    return out


def size_missing(path):
    raise bad_format(path, "missing field `size`")


def sparse_params(value, path):
    m = Members(value, path)
    modifier = m.choice("modifier", {"none": None, "idf": q.Modifier.Idf}, None)
    index = Members(m.take("index", {}), m.at("index"))
    out = q.EdgeSparseVectorParams(index.count("full_scan_threshold"), index.typed("on_disk", bool, None), modifier,
                                   index.choice("datatype", DATATYPES, None))
    index.done()
    m.done()
    return out


def edge_config(config):
    """PUT /collections/{name} body to the engine's configuration. One shard, one replica, always."""
    m = Members(config, "")
    vectors = m.take("vectors", {})
    at = m.at("vectors")
    if type(vectors) is not dict:
        raise bad_format(at, "expected an object")
    if type(vectors.get("size")) is int:
        dense = {"": dense_params(vectors, at)}
    else:
        dense = {name: dense_params(v, f"{at}.{name}") for name, v in vectors.items()}
    sparse = m.typed("sparse_vectors", dict, {})
    sparse = {name: sparse_params(v, f"sparse_vectors.{name}") for name, v in sparse.items()}
    optimizers = Members(m.take("optimizers_config", {}), "optimizers_config")
    wanted = {n: optimizers.count(n) for n in ("indexing_threshold", "default_segment_number", "max_segment_size")}
    optimizers.refuse("deleted_threshold", "vacuum_min_vector_number", "memmap_threshold", "flush_interval_sec",
                      "max_optimization_threads", "prevent_unoptimized")
    optimizers.done()
    for name in ("shard_number", "replication_factor", "write_consistency_factor"):
        if m.count(name, 1, 1) != 1:
            raise unsupported(name, "more than one shard or replica")
    m.typed("metadata", dict, {})
    on_disk_payload = m.typed("on_disk_payload", bool, None)
    out = q.EdgeConfig(vectors=dense or None, sparse_vectors=sparse or None, on_disk_payload=on_disk_payload,
                       hnsw_config=hnsw(m), quantization_config=quantization(m), optimizers=q.EdgeOptimizersConfig(**wanted))
    m.refuse("sharding_method", "wal_config", "strict_mode_config")
    m.done()
    if not dense and not sparse:
        raise wrong_input("a collection needs at least one vector")
    return out


SIMPLE = {"keyword": q.PayloadSchemaType.Keyword, "integer": q.PayloadSchemaType.Integer,
          "float": q.PayloadSchemaType.Float, "bool": q.PayloadSchemaType.Bool,
          "datetime": q.PayloadSchemaType.Datetime, "uuid": q.PayloadSchemaType.Uuid, "text": q.PayloadSchemaType.Text}
FLAGS = {"keyword": ("is_tenant", "on_disk", "enable_hnsw"), "uuid": ("is_tenant", "on_disk", "enable_hnsw"),
         "integer": ("lookup", "range", "is_principal", "on_disk", "enable_hnsw"),
         "float": ("is_principal", "on_disk", "enable_hnsw"), "bool": ("on_disk", "enable_hnsw"),
         "datetime": ("is_principal", "on_disk", "enable_hnsw"),
         "text": ("lowercase", "ascii_folding", "phrase_matching", "on_disk", "enable_hnsw")}
PARAMS = {"keyword": q.KeywordIndexParams, "uuid": q.UuidIndexParams, "integer": q.IntegerIndexParams,
          "float": q.FloatIndexParams, "bool": q.BoolIndexParams, "datetime": q.DatetimeIndexParams,
          "text": q.TextIndexParams}


def field_schema(value, path):
    """A type name or an object with `type`, to (engine's schema, JSON as GET /collections shows it)."""
    if type(value) is str:
        if value not in SIMPLE:
            raise bad_format(path, f"expected one of {', '.join(SIMPLE)}")
        return SIMPLE[value], {"data_type": value}
    m = Members(value, path)
    kind = m.typed("type", str)
    if kind not in SIMPLE:
        raise bad_format(m.at("type"), f"expected one of {', '.join(SIMPLE)}")
    flags = {name: m.typed(name, bool, None) for name in FLAGS[kind]}
    if kind == "text":
        flags["tokenizer"] = m.choice("tokenizer", TOKENIZERS, None)
        flags["min_token_len"], flags["max_token_len"] = m.count("min_token_len"), m.count("max_token_len")
        m.refuse("stopwords", "stemmer")
    m.done()
    return PARAMS[kind](**{n: v for n, v in flags.items() if v is not None}), {"data_type": kind, "params": value}
