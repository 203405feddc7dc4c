"""PostgreSQL, NATS and Qdrant at URLs, and events in a file: for a command about a system that no test has started."""
import base64
import json
import urllib.parse
from types import SimpleNamespace

import psycopg

from . import rest
from .bus import Bus


class Database:
    """At postgresql://..., read only."""

    def __init__(self, url):
        self.connection = psycopg.connect(url, autocommit=True)

    def all(self, query, *parameters):
        return self.connection.execute(query, parameters or None).fetchall()


def bus(url):
    """At nats://user:password@host:port."""
    user = urllib.parse.urlsplit(url)
    return Bus(SimpleNamespace(url=url, passwords={None: None}), user.username,
               user.password and urllib.parse.unquote(user.password))


def index(url):
    """At http://host:port."""
    return SimpleNamespace(url=url.rstrip("/"))


def points(qdrant):
    """{id: payload} of everything in the index."""
    _, reply = rest.call(qdrant.url, "POST", "/collections/anime_database/points/scroll",
                         {"limit": 10**8, "with_payload": True}, timeout=60)
    return {point["id"]: point["payload"] for point in reply["result"]["points"]}


def inputs(file):
    """[(subject, payload, headers)] from lines of {"subject": ..., "payload": base64, "headers": {...}}."""
    with open(file, encoding="utf-8") as lines:
        return [(row["subject"], base64.b64decode(row["payload"]), row.get("headers")) for row in map(json.loads, lines)]
