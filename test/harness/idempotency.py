"""One key of the Command API, as tests of Redis and of its planted faults use it."""
import hashlib

from .redis_driver import Failed

CLIENT, PATH, KEY = "n8n", "/workflow/build-diff", "order-7"
WHERE = (CLIENT, PATH, KEY)


def name(key=KEY):
    """The hash's name, made here."""
    client, key = (hashlib.sha256(text.encode()).hexdigest() for text in (CLIENT, key))
    return f"echora:idem:v1:{client}:{PATH}:{key}"


def begin(driver, body="body"):
    return driver("begin", *WHERE, body)


def claimed(driver):
    """[owner, token] of a fresh claim."""
    outcome, *claim = begin(driver)
    assert outcome == "new"
    return claim


def fields(redis, key=KEY):
    flat = [part.decode() for part in redis.call("HGETALL", name(key))]
    return dict(zip(flat[::2], flat[1::2]))


def expire_lease(redis):
    """As if 30 s had passed without a renewal."""
    redis.call("HSET", name(), "lease_until", 1)


__all__ = ["CLIENT", "KEY", "PATH", "WHERE", "Failed", "begin", "claimed", "expire_lease", "fields", "name"]
