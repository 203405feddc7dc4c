"""Planned misbehaviour, for tests: slow, failing, half-done and lost answers.

Off unless the front was started with --faults. Then PUT /_front/faults replaces the list of rules,
GET shows it, DELETE empties it. A rule names a method and a path pattern (shell wildcards), what to
do and how many times; the first rule that fits a request acts, after `skip` requests that it let pass.
"""

import fnmatch
import threading

from errors import bad_format
from parse import Members

ACTIONS = ("delay", "status", "acknowledged", "acknowledged-lost", "wait-timeout", "drop-before", "drop-after",
           "garbage")


class Rule:
    def __init__(self, value, path):
        m = Members(value, path)
        self.action = m.choice("action", {a: a for a in ACTIONS})
        self.method = m.typed("method", str, "*")
        self.path = m.typed("path", str, "*")
        self.times = m.count("times", None, 1)
        self.skip = m.count("skip", 0)
        self.delay_ms = m.count("delay_ms", 0)
        self.status = m.count("status", 500, 400)
        self.retry_after = m.count("retry_after", None)
        self.contains = m.typed("contains", str, "").encode()
        m.done()
        self.value = value
        self.hits = 0

    def fits(self, method, path, body):
        return fnmatch.fnmatchcase(method, self.method) and fnmatch.fnmatchcase(path, self.path) \
            and self.contains in body


class Faults:
    def __init__(self):
        self.rules = []
        self.lock = threading.Lock()

    def replace(self, body):
        m = Members(body, "")
        items = m.typed("rules", list)
        m.done()
        if type(items) is not list:
            raise bad_format("rules", "expected an array")
        rules = [Rule(v, f"rules[{i}]") for i, v in enumerate(items)]
        with self.lock:
            self.rules = rules

    def shown(self):
        with self.lock:
            return {"rules": [{**r.value, "hits": r.hits} for r in self.rules]}

    def pick(self, method, path, body):
        with self.lock:
            for r in self.rules:
                if not r.fits(method, path, body):
                    continue
                if r.skip > 0:
                    r.skip -= 1
                    continue
                if r.times is None or r.hits < r.times:
                    r.hits += 1
                    return r
        return None
