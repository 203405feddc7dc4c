"""No worker: sends ready-made bodies to the index, one after the other on one connection, which is what its front
takes.

usage: ready.py BODIES POINTS; a line of BODIES is the body of one PUT with @ID@ for each id. Prints {"points",
"seconds"}.
"""
import http.client
import itertools
import json
import os
import sys
import time
import urllib.parse
import uuid

bodies = [line.split("@ID@") for line in open(sys.argv[1], encoding="utf-8").read().splitlines()]
wanted, sent, numbers = int(sys.argv[2]), 0, itertools.count(1)
connection = http.client.HTTPConnection(urllib.parse.urlsplit(os.environ["QDRANT_URL"]).netloc)
began = time.monotonic()
for pieces in itertools.cycle(bodies):
    ids = [str(uuid.UUID(int=next(numbers))) for _ in pieces[1:]]
    body = pieces[0] + "".join(i + piece for i, piece in zip(ids, pieces[1:]))
    connection.request("PUT", f"/collections/{os.environ['COLLECTION']}/points?wait=true", body.encode(),
                       {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != 200:
        sys.exit(f"{answer.status}: {said[:500]}")
    sent += len(ids)
    if sent >= wanted:
        break
print(json.dumps({"points": sent, "seconds": time.monotonic() - began}))
