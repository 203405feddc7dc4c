"""`echora dev-issuer`: its grants, its refusals, and that the verifier takes what it issues."""
import base64
import json
import re
import socket
import time
import urllib.parse

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from harness.fleet import reachable_copy
from harness.process import Process, eventually
from harness.settings import BUILD
from harness.tokens import AUDIENCE, Tool, short

from ops.fleet import system

pytestmark = pytest.mark.one_nats

EVERY = "workflow.read workflow.execute workflow.approve"
SECRETS = "# for tests\nn8n  s3cret/+%\n\ndesk other\n"
HTTP = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # each server is another one
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def issuer(folder):
    with Started(folder, "127.0.0.1:0") as one:
        yield one


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


class Started:
    def __init__(self, folder, listen, *more):
        (folder / "secrets").write_text(SECRETS)
        argv = [reachable_copy(BUILD / "ops/echora", folder), "dev-issuer", "--listen", listen, "--secrets-file",
                folder / "secrets", *more]
        self.process = Process("dev-issuer", argv, folder, ready=lambda: "/oauth2/token" in self.process.text())

    def __enter__(self):
        self.process.start()
        self.url = re.search(r'http://[^/\s"]+', self.process.text())[0]
        return self

    def __exit__(self, *_):
        assert self.process.stop() == 0

    def post(self, form=GRANT, auth=("n8n", "s3cret/+%"), **more):
        headers = {}
        if auth:
            pair = ":".join(map(urllib.parse.quote_plus, auth))
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return HTTP.post(self.url + "/oauth2/token", data=form, headers={**headers, **more})


def parts(text):
    head, body, signature = text.split(".")
    unpack = lambda t: base64.urlsafe_b64decode(t + "=" * (-len(t) % 4))  # noqa: E731
    return json.loads(unpack(head)), json.loads(unpack(body)), unpack(signature)


def test_a_token_by_its_own_words(issuer):
    """Checked with nothing of ours: claims by hand, the signature by the library."""
    answer = issuer.post()
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.json()["token_type"], answer.json()["expires_in"], answer.json()["scope"]) == ("Bearer", 600, EVERY)
    head, claims, signature = parts(answer.json()["access_token"])
    keys = HTTP.get(issuer.url + "/jwks").json()["keys"]
    assert head == {"alg": "ES256", "typ": "at+jwt", "kid": keys[0]["kid"]} and len(keys) == 1 and "d" not in keys[0]
    assert claims["iss"] == issuer.url and claims["aud"] == AUDIENCE and claims["exp"] - claims["iat"] == 600
    assert (claims["sub"], claims["client_id"], claims["scope"]) == ("n8n", "n8n",
                                                                     EVERY) and abs(claims["iat"] - time.time()) < 60
    x, y = (int.from_bytes(base64.urlsafe_b64decode(keys[0][c] + "="), "big") for c in "xy")
    der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key().verify(
        der, answer.json()["access_token"].rsplit(".", 1)[0].encode(), ec.ECDSA(hashes.SHA256()))
    assert parts(issuer.post().json()["access_token"])[1]["jti"] != claims["jti"]


def test_the_verifier_takes_it(issuer, tmp_path):
    tool = Tool(tmp_path, issuer=issuer.url)
    tool.open(issuer.url + "/jwks")
    eventually(tool.ready, what="keys")
    assert [tool.check(issuer.post().json()["access_token"]) for _ in range(50)] == ["ok"] * 50
    tool.close()


def test_metadata(issuer):
    said = HTTP.get(issuer.url + "/.well-known/oauth-authorization-server").json()
    assert said["issuer"] == issuer.url and said["grant_types_supported"] == ["client_credentials"]
    assert HTTP.get(said["jwks_uri"]).status_code == 200
    assert HTTP.post(said["token_endpoint"]).status_code == 400


def test_secrets_in_the_form(issuer):
    form = {**GRANT, "client_id": "n8n", "client_secret": "s3cret/+%", "scope": "workflow.read"}
    answer = issuer.post(form, auth=None)
    assert answer.status_code == 200 and answer.json()["scope"] == "workflow.read"
    assert issuer.post({**GRANT, "client_id": "n8n"}).status_code == 200, "named beside Basic"


@pytest.mark.parametrize("auth",
                         [("n8n", "wrong"), ("n8n", ""), ("desk", "s3cret/+%"), ("nobody", "other"), ("", ""),
                          ("N8N", "s3cret/+%"),
                                  ("n8n", "s3cret/+%x"), ("n8n", "s3cret/+")])
def test_wrong_secrets(issuer, auth):
    answer = issuer.post(auth=auth)
    assert answer.status_code == 401 and answer.json() == {"error": "invalid_client"}
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert issuer.post({**GRANT, "client_id": auth[0], "client_secret": auth[1]}, auth=None).status_code == 401


@pytest.mark.parametrize("value",
                         ["Basic", "Basic =", "Basic !!!!", "Basic bjhu", "Basic ====", "Basic " + "A" * 400,
                          "Bearer bjhuOng=", "bjhuOng="], ids=short)
def test_credentials_that_are_none(issuer, value):
    assert issuer.post(auth=None, Authorization=value).status_code == 401
    assert issuer.post().status_code == 200


@pytest.mark.parametrize("form,error", [
    ({}, "invalid_request"), ({"grant_type": "password"}, "unsupported_grant_type"),
    ({"grant_type": ""}, "unsupported_grant_type"),
    ({**GRANT, "scope": "admin"}, "invalid_scope"), ({**GRANT, "scope": "workflow.read "}, "invalid_scope"),
    ({"grant_type": ["client_credentials"] * 2}, "invalid_request"),
    ({**GRANT, "client_secret": "s3cret/+%"}, "invalid_request"),
])
def test_forms_that_are_refused(issuer, form, error):
    answer = issuer.post(form)
    assert answer.status_code == 400 and answer.json() == {"error": error}


@pytest.mark.parametrize("body",
                         [b"grant_type=%", b"grant_type=%4", b"grant_type=%zz", b"grant_type=a%00b",
                          b"scope=" + b"x" * 2000], ids=short)
def test_bodies_that_are_no_form(issuer, body):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert HTTP.post(issuer.url + "/oauth2/token", content=body, headers=kind).json() == {"error": "invalid_request"}
    assert HTTP.post(issuer.url + "/oauth2/token", content=b"x" * 9000, headers=kind).status_code == 413
    assert HTTP.post(issuer.url + "/oauth2/token", json=GRANT).status_code == 400


def test_other_paths_and_methods(issuer):
    assert HTTP.get(issuer.url + "/").status_code == 404
    assert HTTP.get(issuer.url + "/oauth2/token").headers["allow"] == "POST"
    assert HTTP.post(issuer.url + "/jwks").status_code == 405


def test_each_start_has_a_key_of_its_own(folder):
    kids = set()
    for n in range(3):
        (folder / str(n)).mkdir()
        system.own(folder / str(n))
        with Started(folder / str(n), "127.0.0.1:0") as one:
            kids.add(HTTP.get(one.url + "/jwks").json()["keys"][0]["kid"])
    assert len(kids) == 3


def test_it_says_where_it_is_to_machines(folder):
    with Started(folder, "127.0.0.1:0", "--json") as one:
        said = json.loads(one.process.text())
        assert said["tokens"] == said["issuer"] + "/oauth2/token" and HTTP.get(said["jwks"]).status_code == 200


def test_on_the_other_loopback(folder):
    if not has_ipv6():
        pytest.skip("this machine has no ::1")
    with Started(folder, "[::1]:0") as one:
        assert one.url.startswith("http://[::1]:") and one.post().status_code == 200


@pytest.mark.parametrize("listen",
                         ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "localhost:0", "127.0.0.1", "127.0.0.1:x", ":0",
                          "128.0.0.1:0", "[127.0.0.1:0"])
def test_it_listens_on_loopback_alone(echora, tmp_path, listen):
    (tmp_path / "secrets").write_text(SECRETS)
    result = echora("dev-issuer", "--listen", listen, "--secrets-file", tmp_path / "secrets", ok=False)
    assert result.code == 2 and "loopback" in result.err


@pytest.mark.parametrize("text,what",
                         [("", "names no client"), ("n8n\n", "line 1"), ("n8n s\nn8n t\n", "line 2"),
                          ("n8n a b\n", "line 1"), (None, "No such file")])
def test_files_of_secrets_that_are_refused(echora, tmp_path, text, what):
    if text is not None:
        (tmp_path / "secrets").write_text(text)
    result = echora("dev-issuer", "--secrets-file", tmp_path / "secrets", ok=False)
    assert result.code != 0 and what in result.err
    assert "--secrets-file is required" in echora("dev-issuer", ok=False).err
