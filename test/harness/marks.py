"""Words that nobody else says, put into every place of every call; and where they may not turn up.

    marks = Marks(); marks.new("a query value")    a fresh word that is remembered with its place
    say_everything(world, marks)                   through nginx and at the worker's socket
    marks.found(text)                              the places of those that stand in a text
"""
import base64
import copy
import itertools
import json
import re
import uuid

from . import promises
from .gateway import drained, netstring, parsed, refusal, reply

PREFIX = "zq7mk"


class Marks:
    def __init__(self):
        self.places, self.numbers = {}, itertools.count(46656)  # three digits of base 36 and more
        self.others = {}  # texts that are not words of ours: signatures

    def new(self, place):
        word = PREFIX + format(next(self.numbers), "x") + "k"
        self.places[word] = place
        return word

    def also(self, place, text):
        self.others[text] = place
        return text

    def found(self, text, but=()):
        """{place: word}, without places that begin as one of `but`."""
        words = {w.lower() for w in re.findall(PREFIX + "[0-9a-f]+k", text, re.I)}
        there = {self.places.get(w, "?"): w for w in words}
        there |= {place: other for other, place in self.others.items() if other in text}
        return {place: word for place, word in there.items() if not place.startswith(tuple(but))}


def marked_token(api, marks, place, **claims):
    """A token whose claims (but client and sub, which may be told) and signature are marks."""
    text = api.token(jti=marks.new(f"{place}: jti"), note=marks.new(f"{place}: a claim"), **claims)
    _, payload, signature = text.split(".")
    marks.also(f"{place}: signature", signature)
    marks.also(f"{place}: payload", payload[-24:])
    return text


def leaves(value, at=()):
    """(path, text) of all texts in a body."""
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*at, key))
    elif isinstance(value, str):
        yield at, value


def replaced(body, at, text):
    body = copy.deepcopy(body)
    where = body
    for key in at[:-1]:
        where = where[key]
    where[at[-1]] = text
    return body


def bodies(call, marks):
    """(what, bytes)"""
    if call.body is None:
        return
    for at, _ in leaves(call.body):
        yield f"member {at}", json.dumps(replaced(call.body, at, marks.new(f"body: {call.name} {at}"))).encode()
    def word(what):
        return marks.new(f"body: {call.name}: {what}")
    yield "unknown", json.dumps({**call.body, word("an unknown name"): word("its value")}).encode()
    yield "broken", json.dumps({**call.body, "x": word("broken JSON")}).encode()[:-1]
    yield "twice", f'{{"a": "{word("a repeated member")}", "a": "{word("the other")}"}}'.encode()
    yield "a text", json.dumps(word("a text")).encode()
    yield "a list", json.dumps([word("a list")]).encode()
    yield "no JSON", word("no JSON").encode()
    yield "no UTF-8", word("no UTF-8").encode() + b"\xff"


def targets(call, marks):
    """Targets that say something: ids of the wrong form, query values good and bad."""
    ids = {n: p["example"] for n, p in call.placed("path").items()}
    for name in ids:
        yield call.at({**ids, name: marks.new(f"path: {call.name} {name}")})
    for name in call.placed("query"):
        yield call.at(ids, {name: marks.new(f"query: {call.name} {name}")})
    yield call.at(ids, {marks.new(f"query: {call.name}: an unknown name"): marks.new(f"query: {call.name}: its value")})
    yield call.at(ids) + "?" + marks.new(f"query: {call.name}: no value")
    yield call.at(ids) + f"?a={marks.new(f'query: {call.name}: a bad escape')}%zz"


def odd_headers(marks):
    def word(name):
        return marks.new(f"header: {name}")
    basic = base64.b64encode(b"user:" + word("Basic").encode()).decode()
    marks.also("header: Basic, encoded", basic)
    for name, value in {
            "Authorization": f"Basic {basic}", "Cookie": f"session={word('Cookie')}", "Prefer": word("Prefer"),
            "traceparent": word("traceparent"), "X-Request-Id": word("X-Request-Id"), "User-Agent": word("User-Agent"),
            "Referer": f"https://api.example/?q={word('Referer')}", "Content-Type": f"application/{word('Content-Type')}",
            "Content-Encoding": word("Content-Encoding"), "Host": f"{word('Host')}.example", "Expect": word("Expect"),
            "X-Forwarded-For": word("X-Forwarded-For"), "Accept": f"text/{word('Accept')}",
            "Range": f"bytes={word('Range')}", "If-None-Match": word("If-None-Match")}.items():
        yield {name: value}
    yield {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": f"vendor={word('tracestate')}"}


def bad_tokens(api, marks):
    def word(what):
        return marks.new(f"bad token: {what}")
    yield f"{word('head')}.{word('payload')}.{word('signature')}"
    yield word("no token")
    good = marked_token(api, marks, "bad token: a changed one")
    yield good[:-1] + ("A" if good[-1] != "A" else "B")
    yield marked_token(api, marks, "bad token: unknown client", client_id=marks.new("bad token: client"))
    yield marked_token(api, marks, "bad token: audience", aud=marks.new("bad token: aud"))
    yield marked_token(api, marks, "bad token: issuer", iss=f"https://{marks.new('bad token: iss')}.example")
    yield marked_token(api, marks, "bad token: times", exp=1)


class Speaker:
    """Sends the same request through nginx and straight to the worker, and wants an answer each time."""

    def __init__(self, api, marks, straight=True):
        self.api, self.marks, self.straight, self.said = api, marks, straight, 0

    def say(self, method, target, body=b"", token=None, headers=None, key=None):
        token = token or marked_token(self.api, self.marks, "token")
        sent = {"Authorization": f"Bearer {token}", **({"Content-Type": "application/json"} if body else {})}
        if method == "POST":
            sent["Idempotency-Key"] = key or self.marks.new("key")
        sent |= headers or {}
        through = {"Host": "api.example", "Connection": "close", "Content-Length": str(len(body)), **sent}
        lines = "".join(f"{n}: {v}\r\n" for n, v in through.items())
        answers = [self.api.raw(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body, wait=60)]
        own = [("CONTENT_LENGTH", str(len(body))), ("SCGI", "1"), ("REQUEST_METHOD", method), ("REQUEST_URI", target),
               ("REMOTE_ADDR", str(uuid.uuid4())), ("CONTENT_TYPE", sent.get("Content-Type", ""))]
        if self.straight:
            with self.api.connect(60) as s:
                s.sendall(netstring([*own, *((f"HTTP_{n.upper().replace('-', '_')}", v) for n, v in sent.items()
                                             if n != "Content-Type")]) + body)
                answers.append(drained(s))
        self.said += len(answers)
        for raw in answers:
            assert raw, f"{method} {target}: no answer"
        return [parsed(raw) for raw in answers]


def say_everything(world, marks, only=None):
    """How many requests were sent, and the statuses that came. only: names of calls."""
    speaker, statuses = Speaker(world.api, marks), set()
    for call in (c for c in promises.calls() if not only or c.name in only):
        body = json.dumps(call.body).encode() if call.body is not None else b""

        def say(target=call.path, body=body, **more):
            for answer in speaker.say(call.method, target, body, **more):
                statuses.add(answer.status)
        say()
        for _, other in bodies(call, marks):
            say(body=other)
        for target in targets(call, marks):
            say(target)
        for headers in odd_headers(marks):
            say(headers=headers)
        for bad in bad_tokens(world.api, marks):
            say(token=bad)
        if call.method == "POST":
            say(key=marks.new("key: bad") + " ?")
        if call.name in world.scripted:
            for answer in (refusal(409, "run_state_conflict", detail=marks.new("answer: detail"), phase=marks.new("answer: phase")),
                           reply(200, {marks.new("answer: name"): marks.new("answer: value")}),
                           ({"Echora-Status": "200"}, marks.new("answer: no JSON").encode()),
                           refusal(400, marks.new("answer: code"), "fatal", detail=marks.new("answer: detail"))):
                with world.answering(call, answer):
                    say()
    for method, target in (("GET", "/" + marks.new("path: none")), ("PUT", "/dlq?" + marks.new("query: PUT")),
                           (marks.new("method").upper(), "/dlq"), ("TRACE", "/dlq?" + marks.new("query: TRACE"))):
        for answer in speaker.say(method, target):
            statuses.add(answer.status)
    return speaker.said, statuses
