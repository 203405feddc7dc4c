"""The gateway with a certificate, as it is in production: HTTP/2 over TLS, and nothing in the clear."""
import json
import subprocess

import pytest


@pytest.fixture
def secure(api, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key",
                    "-out", tmp_path / "certificate"], check=True, capture_output=True)
    api.start(nginx=False)
    api.start_nginx(certificate=api.file("certificate.pem", (tmp_path / "certificate").read_text()),
                    key=api.file("key.pem", (tmp_path / "key").read_text()))
    return api


def curl(api, *argv, scheme="https"):
    """(version of HTTP, status, body)"""
    done = subprocess.run(["curl", "-s", "--cacert", api.folder / "certificate.pem", "-w", "\n%{http_version} %{http_code}",
                           *argv, f"{scheme}://127.0.0.1:{api.port}/dlq"], capture_output=True, text=True, timeout=60, check=True)
    body, _, last = done.stdout.rpartition("\n")
    return (*last.split(), body)


def test_tls(secure):
    version, status, body = curl(secure)
    assert (version, status, json.loads(body)["code"]) == ("2", "401", "unauthenticated")
    version, status, body = curl(secure, "--http1.1", "-H", f"Authorization: Bearer {secure.token()}")
    assert (version, status, json.loads(body)["code"]) == ("1.1", "503", "retryable_upstream_error"), "nobody answers dlq.list"


def test_nothing_in_the_clear(secure):
    """Plain HTTP on the same port is refused before anything is passed on."""
    _, status, body = curl(secure, "-H", f"Authorization: Bearer {secure.token()}", scheme="http")
    assert (status, json.loads(body)["code"]) == ("400", "validation_error")
    assert '"msg":"call"' not in secure.worker.text()
