"""JSON over HTTP, as Qdrant speaks it."""
import json
import urllib.error
import urllib.request


def call(url, method, path, body=None, timeout=10):
    """(status, parsed JSON, else text) of one call."""
    request = urllib.request.Request(url + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as e:
        text = e.read().decode()
        try:
            return e.code, json.loads(text)
        except ValueError:
            return e.code, text
