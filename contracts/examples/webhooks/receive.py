#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Receives Echora's webhooks (Standard Webhooks 1.0). Copy `verify`; the rest shows how it is used.

    ECHORA_WEBHOOK_SECRETS='whsec_…' python3 receive.py PORT

The secret is the sender's own: whoever runs Echora has it in a file (`ops/up`: .echora/secrets/webhook).
While a secret is being changed, name both: `whsec_new whsec_old`.
"""
import base64
import hashlib
import hmac
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_S = 300
GRAMMAR = {"webhook-id": r"[A-Za-z0-9_:-]{1,255}",
           "webhook-timestamp": r"[1-9][0-9]{0,14}",
           "webhook-signature": r"[^\s,]+,[^\s,]+( [^\s,]+,[^\s,]+)*"}


class Refused(Exception):
    """Why a call is refused: `headers`, `timestamp` or `signature`."""


def keys_of(secrets):
    texts = [secret.removeprefix("whsec_") for secret in secrets]
    keys = [base64.b64decode(text) for text in texts]
    if not keys or any(not 24 <= len(key) <= 64 or base64.b64encode(key).decode() != text
                       for key, text in zip(keys, texts)):
        raise ValueError("a secret is whsec_ and the base64 of 24 to 64 bytes")
    return keys


def verify(secrets, headers, body, now=None):
    """The id of a genuine call. `headers`: (name, value) pairs; `body`: the bytes as they came, before any parsing."""
    keys = keys_of(secrets)
    values = {}
    for name, grammar in GRAMMAR.items():
        found = [value for key, value in headers if key.lower() == name]
        if len(found) != 1 or not re.fullmatch(grammar, found[0]):
            raise Refused("headers")
        values[name] = found[0]
    now = int(time.time()) if now is None else now
    if abs(now - int(values["webhook-timestamp"])) > TOLERANCE_S:
        raise Refused("timestamp")
    signed = f"{values['webhook-id']}.{values['webhook-timestamp']}.".encode() + body
    genuine = False
    for key in keys:
        # Text is compared with text: what is not the one canonical base64 of the right bytes is refused as well.
        wanted = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
        for given in values["webhook-signature"].split(" "):
            genuine |= hmac.compare_digest(wanted, given.encode())
    if not genuine:
        raise Refused("signature")
    return values["webhook-id"]


def act(event):
    """Your work. It may see an event again after a crash, so it is done such that a repeat does no harm.

    Leave the type `webhook.test` out (`echora webhook test`), and those that you do not know.
    """
    print(json.dumps(event), flush=True)


class Receiver(BaseHTTPRequestHandler):
    lock = threading.Lock()
    seen = {}  # the newest ids; better a table of your database, written in the transaction of your work

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > 64 << 10:
            self.answer(413)
            return
        body = self.rfile.read(int(length))
        try:
            webhook_id = verify(os.environ["ECHORA_WEBHOOK_SECRETS"].split(), self.headers.items(), body)
        except Refused as why:
            self.log_message("refused: %s", why)
            self.answer(401)
            return
        with self.lock:
            if webhook_id not in self.seen:  # a call comes again until it was answered
                act(json.loads(body))
                self.seen[webhook_id] = True
                if len(self.seen) > 10000:
                    self.seen.pop(next(iter(self.seen)))
        self.answer(202)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main():
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        sys.exit(__doc__)
    try:
        keys_of(os.environ.get("ECHORA_WEBHOOK_SECRETS", "").split())
    except ValueError as e:
        sys.exit(f"ECHORA_WEBHOOK_SECRETS: {e}")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}", file=sys.stderr)
    server.serve_forever()


if __name__ == "__main__":
    main()
