"""A stand-in for an embedding service of the OpenAI kind, which can be good, slow, wrong or away.

Vectors are made of the text's length, so a vector that belongs to another text is told apart.
"""
import http.server
import json
import math
import threading
import time

DIMENSION = 4
MODEL = f"http/openai/bge-m3/{DIMENSION}"


def values(text):
    return [float(len(text.encode())), 1.0, 2.0, -3.0]


def vector(text):
    """What the index must hold for this text."""
    length = math.sqrt(sum(v * v for v in values(text)))
    return [v / length for v in values(text)]


def check_vectors(points, events):
    """Each point (id -> payload, vectors) has the vector of its own text, or says that it has none."""
    for event in events:
        payload, vectors = points[event["animeId"]]
        text = "\n".join([event["anime"]["title"], *event["anime"]["tags"], *event["anime"]["genres"]])
        if payload["emb"] == "pending":
            assert "dense" not in vectors
        else:
            assert max(abs(a - b) for a, b in zip(vectors["dense"], vector(text), strict=True)) < 1e-6, text


def tampered(mode, body):
    """The reply's text, wrong in one way."""
    first = body["data"][0]
    if mode == "dimension":
        first["embedding"].append(1.0)
    elif mode == "count":
        body["data"].append(dict(first, index=len(body["data"])))
    elif mode == "index":
        first["index"] = len(body["data"])
    elif mode == "text":
        first["embedding"][1] = "1.0"
    elif mode == "infinite":
        first["embedding"] = [1e200, 1e200, 1e200, 1e200]
    elif mode == "zero":
        first["embedding"] = [0.0] * DIMENSION
    text = json.dumps(body)
    if mode == "nan":
        return text.replace("1.0", "NaN", 1)
    if mode == "truncated":
        return text[:-3]
    return "<html>busy</html>" if mode == "html" else text


class Provider:
    MODES = ("dimension", "count", "index", "text", "infinite", "zero", "nan", "truncated", "html")

    def __init__(self):
        provider = self
        self.mode = "there"  # there, away (status 500), slow, or one of MODES
        self.delay = 0.0
        self.calls = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                provider.calls += 1
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mode = provider.mode
                if mode == "slow":
                    time.sleep(provider.delay)
                body = {"data": [{"index": i, "embedding": values(t)} for i, t in enumerate(asked["input"])]}
                out = tampered(mode, body).encode()
                try:
                    self.send_response(500 if mode == "away" else 200)
                    self.send_header("Content-Length", str(len(out)))
                    self.end_headers()
                    self.wfile.write(out)
                except OSError:
                    pass  # the caller has lost its patience

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                """Callers leave when they like."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def argv(self, port=None):
        """Options of a worker that uses it, maybe by way of a proxy's port."""
        return ["--embed-provider=http", f"--embed-dimension={DIMENSION}",
                f"--embed-url=http://127.0.0.1:{port or self.port}"]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
