"""Access tokens, right and wrong, and our verifier behind a pipe (test/drivers/token_tool.c).

Keys and signatures are the library `cryptography`'s; JOSE around them is spelled out here, so that every wrong form can
be made. What a raw RSA block or a pair r, s would need is computed from the private key.
"""
import base64
import contextlib
import hashlib
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from .settings import BUILD, PATIENCE

ISSUER = "https://issuer.example/realms/echora"
AUDIENCE = "echora-command-api"
NOW = 1_800_000_000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CLIENTS = {"clients": [
    {"id": "n8n", "scopes": ["workflow.read", "workflow.execute"]},
    {"id": "desk", "scopes": ["workflow.read", "workflow.approve"], "limits": {"approve": 7, "read": 900}},
]}


def b64(data):
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, size=None):
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def rs(r, s):
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Rsa:
    alg = "RS256"

    def __init__(self, bits=2048, exponent=65537):
        self.private = rsa.generate_private_key(exponent, bits)
        self.numbers = self.private.private_numbers()
        self.n, self.e, self.d = self.numbers.public_numbers.n, exponent, self.numbers.d
        self.size = (self.n.bit_length() + 7) // 8

    def jwk(self, kid=None, **more):
        return named({"kty": "RSA", "n": number(self.n), "e": number(self.e)}, kid, more)

    def sign(self, text, alg="RS256"):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return self.private.sign(text, pss if alg == "PS256" else padding.PKCS1v15(), hashes.SHA256())

    def raw(self, block):
        """The signature whose block is this, whatever it is."""
        return pow(int.from_bytes(block, "big"), self.d, self.n).to_bytes(self.size, "big")


class Ec:
    alg = "ES256"

    def __init__(self, secret=None):
        curve = ec.SECP256R1()
        self.private = ec.derive_private_key(secret, curve) if secret else ec.generate_private_key(curve)
        self.point = self.private.public_key().public_numbers()
        self.d = self.private.private_numbers().private_value

    def jwk(self, kid=None, **more):
        return named({"kty": "EC", "crv": "P-256", "x": number(self.point.x, 32), "y": number(self.point.y, 32)}, kid,
                     more)

    def der(self, text):
        return self.private.sign(text, ec.ECDSA(hashes.SHA256()))

    def sign(self, text, alg="ES256"):
        return rs(*utils.decode_dss_signature(self.der(text)))


class Ed:
    alg = "EdDSA"

    def __init__(self):
        self.private = ed25519.Ed25519PrivateKey.generate()

    def jwk(self, kid=None, **more):
        return named({"kty": "OKP", "crv": "Ed25519", "x": b64(self.private.public_key().public_bytes_raw())}, kid,
                     more)

    def sign(self, text, alg="EdDSA"):
        return self.private.sign(text)


def named(jwk, kid, more):
    return {**jwk, **({"kid": kid} if kid is not None else {}), **more}


def payload(now=NOW, **changes):
    """Claims that are right; None takes one away."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "service-n8n", "client_id": "n8n", "iat": now - 10,
              "exp": now + 600,
              "jti": "3c0f", "scope": "workflow.read workflow.execute"}
    return {k: v for k, v in {**claims, **changes}.items() if v is not None}


def header(key, kid="k1", **changes):
    fields = {"alg": key.alg, "typ": "at+jwt", "kid": kid, **changes}
    return {k: v for k, v in fields.items() if v is not None}


def packed(part):
    return b64(part if isinstance(part, (str, bytes)) else json.dumps(part))


def token(key, head=None, claims=None, sign=None):
    """head and claims are objects, or text as it shall stand there; sign(text) replaces the signature."""
    head = header(key) if head is None else head
    claims = payload() if claims is None else claims
    text = f"{packed(head)}.{packed(claims)}"
    alg = head.get("alg") if isinstance(head, dict) else key.alg
    return f"{text}.{b64(sign(text.encode()) if sign else key.sign(text.encode(), alg))}"


def jwks(*keys):
    return json.dumps({"keys": list(keys)})


def short(value):
    """Ids of parameters: none of a length that nobody reads, and the same in each process though keys differ."""
    return "long" if isinstance(value, (str, bytes)) and len(value) > 40 else None


def jti_hash(jti):
    return hashlib.sha256(jti.encode()).hexdigest()


class Refused(Exception):
    pass


class Tool:
    """One process of token_tool. Answers that begin with err raise Refused."""

    def __init__(self, folder, clients=CLIENTS, algorithms="RS256,ES256", typ_jwt=False, env=None, issuer=ISSUER):
        self.clients = folder / "clients.json"
        self.clients.write_text(clients if isinstance(clients, str) else json.dumps(clients))
        self.log = folder / "token-tool.log"
        argv = [BUILD / "test/drivers/token_tool", issuer, AUDIENCE, self.clients, algorithms]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*argv, *(["typ-jwt"] if typ_jwt else [])], stdin=subprocess.PIPE, env=env,
                                            stdout=subprocess.PIPE, stderr=log)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode().rstrip("\n")
        assert line, f"token_tool died of {words!r:.400}: {self.log.read_text(errors='replace')[-2000:]}"
        if line.startswith("err "):
            raise Refused(line[4:])
        return line

    def keys(self, text):
        """(taken, skipped, refused)"""
        return tuple(map(int, self.ask("keys", text).split()[1:]))

    def verify(self, text, now=NOW):
        """Why it is refused; "ok" when it is not."""
        return self.caller(text, now)[0]

    def caller(self, text, now=NOW):
        data = text.encode() if isinstance(text, str) else text
        return answer(self.ask("verify", now, data.hex()))

    def open(self, source, ca_file="-", refresh=600000, retry=30000, between=30000, stale=86400000, wait=3000):
        self.ask("open", source, ca_file, f"{refresh},{retry},{between},{stale},{wait}")

    def check(self, text):
        return answer(self.ask("check", f"Bearer {text}".encode().hex()))[0]

    def storm(self, n, text):
        """(longest wait in seconds, {reason: how many})"""
        ms, *rest = self.ask("storm", n, f"Bearer {text}".encode().hex()).split()
        return int(ms) / 1000, {k: int(v) for k, v in (word.split("=") for word in rest)}

    def metric(self, name):
        return float(self.ask("metric", name))

    def ready(self):
        return self.ask("ready") == "yes"

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20 * PATIENCE) == 0, self.log.read_text(errors="replace")[-2000:]


def answer(line):
    reason, _, rest = line.partition(" ")
    return reason, json.loads(rest) if rest else None


class Issuer:
    """A server of keys. `answer(handler)` may lie; `text` is what it tells otherwise."""

    def __init__(self, text="", tls=None, port=0):
        self.text, self.answer, self.calls, self.tls = text, None, 0, tls
        self.let_go = threading.Event()  # those that hang wait for it
        self.start(port)

    def start(self, port=0):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.calls += 1
                with contextlib.suppress(OSError):  # the client may be gone
                    (outer.answer or outer.tell)(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/jwks"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def tell(self, handler, status=200, body=None):
        data = (self.text if body is None else body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def hang(self, handler):
        self.let_go.wait(30)

    def endless(self, handler):
        handler.send_response(200)
        handler.end_headers()
        while not self.let_go.is_set():
            handler.wfile.write(b" " * 65536)

    def stop(self):
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
