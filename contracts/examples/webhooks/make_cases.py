#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes cases.json: calls that a receiver must accept or refuse, for receivers in any language.

usage: make_cases.py [--check]

Each case: `secrets` of the receiver, its clock `now`, `headers` as pairs in the order they came, `body` in base64, and
`answer`: "accepted", or why not: "headers" (one is missing, there twice or malformed), "timestamp" (more than 300 s
off) or "signature". HMAC is written out here from RFC 2104, so that what is tested does not make its own truth.
"""
import base64
import hashlib
import json
import sys
from pathlib import Path

NOW = 1767225600
ID = "0199c3d2-7a10-7cc3-9d41-0f3f4d7a1c55"
EVENT = {"type": "dead-letter.created", "timestamp": "2026-01-01T00:00:00Z", "id": ID,
         "data": {"dlq_seq": 42, "subject": "anime.enriched", "error_type": "bad-uuid"}}


def hmac_sha256(key, message):
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(k ^ 0x36 for k in key) + message).digest()
    return hashlib.sha256(bytes(k ^ 0x5C for k in key) + inner).digest()


def secret_of(number, size=32):
    return "whsec_" + base64.b64encode(bytes((number * 59 + i * 7) % 256 for i in range(size))).decode()


SECRET, OLD, OTHER_ROUTE = secret_of(1), secret_of(2), secret_of(3)


def key_of(secret):
    return base64.b64decode(secret.removeprefix("whsec_"))


def sign(secret, message_id, timestamp, body):
    """One entry of the header webhook-signature."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac_sha256(key_of(secret), signed)).decode()


def call(body, message_id=ID, timestamp=NOW, signature=None, secret=SECRET):
    """The three headers of a call."""
    return [["webhook-id", message_id], ["webhook-timestamp", str(timestamp)],
            ["webhook-signature", signature or sign(secret, message_id, timestamp, body)]]


def without(headers, name):
    return [pair for pair in headers if pair[0] != name]


def replaced(headers, name, value):
    return [[key, value if key == name else old] for key, old in headers]


def accepted(event):
    body = json.dumps(event).encode()
    good = sign(SECRET, ID, NOW, body)
    v1a = "v1a," + base64.b64encode(bytes(range(64))).decode()
    yield "as it should be", call(body), body, [SECRET]
    for what, timestamp in (("300 s old", NOW - 300), ("300 s ahead", NOW + 300)):
        yield f"timestamp {what}", call(body, timestamp=timestamp), body, [SECRET]
    for what, other in (("with spaces and lines", json.dumps(event, indent=2).encode()),
                        ("with a newline at its end", body + b"\n"), ("with CRLF", body + b"\r\n"),
                        ("in UTF-8", json.dumps({**event, "note": "進撃の巨人 é"}, ensure_ascii=False).encode()),
                        ("with escapes", json.dumps({**event, "note": "進撃の巨人 \u2028 \0"}).encode()),
                        ("of 20 kB", json.dumps({**event, "note": "x" * 20000}).encode())):
        yield f"body {what}", call(other), other, [SECRET]
    yield "names in capitals", [[name.upper(), value] for name, value in call(body)], body, [SECRET]
    yield "other headers beside", [["x-signature-256", "sha256=00"], *call(body), ["user-agent", "x"]], body, [SECRET]
    old = sign(OLD, ID, NOW, body)
    for what, signature, secrets in (
            ("two signatures, the first is ours", f"{good} {old}", [SECRET]),
            ("two signatures, the second is ours", f"{good} {old}", [OLD]),
            ("ten signatures, the last is ours", " ".join([v1a] * 9 + [good]), [SECRET]),
            ("v1a before v1", f"{v1a} {good}", [SECRET]), ("an unknown version before v1", f"v2,x {good}", [SECRET]),
            ("receiver knows new and old, signed with old", old, [SECRET, OLD]),
            ("receiver knows new and old, signed with new", good, [SECRET, OLD])):
        yield what, call(body, signature=signature), body, secrets
    for size in (24, 64):
        secret = secret_of(4, size)
        yield f"a secret of {size} bytes", call(body, secret=secret), body, [secret]
    for what, message_id in (("short", "m"), ("of 255 characters", "m" * 255), ("with _ and :", "msg_A:1")):
        named = json.dumps({**event, "id": message_id}).encode()
        yield f"id {what}", call(named, message_id), named, [SECRET]


def bad_headers(event):
    body = json.dumps(event).encode()
    good = call(body)
    for name, value in good:
        yield f"no {name}", without(good, name), body
        yield f"empty {name}", replaced(good, name, ""), body
        yield f"{name} twice", [*good, [name, value]], body
        yield f"{name} twice, another first", [[name, "x" if name == "webhook-id" else "1"], *good], body
    other = "v1," + "A" * 43 + "="
    yield "webhook-signature twice, ours last", [good[0], good[1], ["webhook-signature", other], good[2]], body
    yield "webhook-signature twice, ours first", [*good, ["webhook-signature", other]], body
    for what, message_id in (("with a dot", "a.b"), ("with a space", "a b"), ("with a comma", "a,b"),
                             ("of 256 characters", "m" * 256), ("with a slash", "../a")):
        yield f"id {what}", call(body, message_id), body
    for what, timestamp in (("a word", "now"), ("with +", f"+{NOW}"), ("negative", f"-{NOW}"),
                            ("with a fraction", f"{NOW}.0"), ("with an exponent", f"{NOW}e0"),
                            ("hexadecimal", hex(NOW)), ("with a leading zero", f"0{NOW}"), ("zero", "0"),
                            ("of 20 digits", "1" * 20), ("ISO 8601", "2026-01-01T00:00:00Z")):
        yield f"timestamp {what}", call(body, timestamp=timestamp), body
    text = good[2][1]
    for what, signature in (("without version", text[3:]), ("of a version alone", "v1"), ("of nothing after v1", "v1,"),
                            ("of nothing before the comma", "," + text[3:]), ("with two spaces", f"{text}  {text}"),
                            ("with a comma between", f"{text},{text}"), ("with a comma at its end", f"{text},")):
        yield f"signature {what}", call(body, signature=signature), body


def bad_timestamps(event):
    body = json.dumps(event).encode()
    for what, timestamp in (("301 s old", NOW - 301), ("301 s ahead", NOW + 301), ("a day old", NOW - 86400),
                            ("in milliseconds", NOW * 1000), ("of 1970", 1)):
        yield f"timestamp {what}", call(body, timestamp=timestamp), body


def bad_signatures(event):
    body = json.dumps(event).encode()
    good = call(body)
    for what, other in (("with one bit turned", bytes([body[0] ^ 1]) + body[1:]), ("cut by a byte", body[:-1]),
                        ("with a newline more", body + b"\n"), ("empty", b""),
                        ("written anew", json.dumps(event, indent=1).encode()),
                        ("with another number", body.replace(b"00:00:00", b"00:00:01"))):
        yield f"body {what}", good, other
    yield "another id", replaced(good, "webhook-id", "0199c3d2-7a10-7cc3-9d41-0f3f4d7a1c56"), body
    yield "another timestamp", replaced(good, "webhook-timestamp", str(NOW + 1)), body
    for what, secret in (("a wrong secret", secret_of(9)), ("the secret of another route", OTHER_ROUTE),
                         ("a secret that has been taken away", OLD)):
        yield f"signed with {what}", call(body, secret=secret), body
    text = good[2][1][3:]
    raw = base64.b64decode(text)
    signed = f"{ID}.{NOW}.".encode() + body
    key = key_of(SECRET)
    # The last character before `=` carries four bits of the value; the two below it must be zero.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    loose = text[:-2] + alphabet[alphabet.index(text[-2]) + 1] + "="
    assert base64.b64decode(loose) == raw and loose != text

    def of(message, used=key):
        return base64.b64encode(hmac_sha256(used, message)).decode()
    for what, signature in (
            ("in hexadecimal", "v1," + raw.hex()), ("cut by a character", "v1," + text[:-2] + "="),
            ("cut to half", "v1," + text[:22] + "=="), ("cut to one character", "v1,A"),
            ("without padding", "v1," + text[:-1]), ("with more padding", "v1," + text + "="),
            ("with loose bits", "v1," + loose), ("twice over", "v1," + text + text),
            ("with bytes behind", "v1," + base64.b64encode(raw + b"x").decode()),
            ("with letters turned", "v1," + text.swapcase()), ("of zeros", "v1," + "A" * 43 + "="),
            ("as v1a", "v1a," + text), ("as v2", "v2," + text), ("as V1", "V1," + text), ("as v11", "v11," + text),
            ("over the body alone", "v1," + of(body)), ("over id and body", "v1," + of(f"{ID}.".encode() + body)),
            ("over nothing", "v1," + of(b"")), ("over other separators", "v1," + of(signed.replace(b".", b":", 2))),
            ("with the secret's text as key", "v1," + of(signed, SECRET.encode())),
            ("with an empty key", "v1," + of(signed, b"")),
            ("of SHA-256 without a key", "v1," + base64.b64encode(hashlib.sha256(signed).digest()).decode()),
            ("of the other header's kind", "v1,sha256=" + hmac_sha256(key, body).hex())):
        yield f"signature {what}", call(body, signature=signature), body


def table(event=None):
    """Every case, around one event."""
    event = event or EVENT
    rows = [(f"accepted: {what}", headers, body, secrets, "accepted")
            for what, headers, body, secrets in accepted(event)]
    for answer, cases in (("headers", bad_headers), ("timestamp", bad_timestamps), ("signature", bad_signatures)):
        rows += [(f"{answer}: {what}", headers, body, [SECRET], answer) for what, headers, body in cases(event)]
    return [{"name": name, "secrets": secrets, "now": NOW, "headers": headers, "body": base64.b64encode(body).decode(),
             "answer": answer} for name, headers, body, secrets, answer in rows]


if __name__ == "__main__":
    kept = Path(__file__).with_name("cases.json")
    made = "[\n" + ",\n".join(json.dumps(case) for case in table()) + "\n]\n"
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if kept.read_text(encoding="utf-8") == made else "cases.json is not what make_cases.py makes")
    kept.write_text(made, encoding="utf-8")
