"""Where the event adapter may send to: networks, TLS, redirects, proxies."""
import ssl
import subprocess
import uuid

import pytest

from harness.adapter import PATHS
from harness.process import eventually
from harness.receiver import Receiver

DLQ = PATHS["dlq"]
LOOPBACK = ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0")


@pytest.mark.parametrize("host", LOOPBACK)
def test_an_address_that_is_not_allowed_is_never_connected_to(adapter, receiver, host):
    adapter.start(f"http://{host}:{receiver.port}", allow_networks="10.0.0.0/8", breaker_after=1000)
    adapter.dead_letter()
    adapter.settled("dlq", timeout=40)
    assert receiver.connections == 0
    assert {r["error"] for r in adapter.attempts()} == {"address-refused"}
    (letter,) = adapter.parked()
    assert letter["Echora-Dlq-Code"] == "address-refused"


@pytest.mark.parametrize("settings,says", [
    ({"allow_http": "false"}, "plain http:// is not allowed here"),
    ({"base_url": "ftp://127.0.0.1/"}, "a destination begins with https://"),
    ({"base_url": "file:///etc/passwd"}, "a destination begins with https://"),
    ({"dlq_url": "http://127.0.0.1/" + "a" * 3000}, "the URL of route dlq has more than 2046 bytes"),
    ({"allow_networks": "127.0.0.1/8"}, "is no network"),
    ({"secret_files": ""}, "has no secret"),
    ({"secret_files": "/nowhere/at-all"}, "can't be read"),
])
def test_a_configuration_that_can_not_work_is_refused(adapter, receiver, settings, says):
    worker = adapter.start(receiver.url, wait=False, **settings)
    assert worker.wait() == 2
    assert says in worker.text()


def test_no_proxy_from_the_environment(adapter, receiver):
    trap = Receiver()
    adapter.start(receiver.url, env={"http_proxy": trap.url, "HTTP_PROXY": trap.url, "all_proxy": trap.url})
    adapter.dead_letter()
    adapter.settled("dlq")
    assert len(receiver.of(DLQ)) == 1 and trap.connections == 0
    trap.stop()


def openssl(folder, *argv):
    subprocess.run(["openssl", *argv], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """ca.pem, and certificates signed by it: good, for another name, expired; and one that signed itself."""
    folder = tmp_path_factory.mktemp("tls")
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30",
            "-subj", "/CN=Our own authority")
    for name, subject, days in (("good", "localhost", 30), ("othername", "elsewhere.example", 30), ("expired", "localhost", -1)):
        openssl(folder, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                f"/CN={subject}")
        (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{subject}\n")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                f"{name}.pem", "-days", str(days), "-extfile", f"{name}.ext")
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "selfsigned.key", "-out", "selfsigned.pem",
            "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    for file in folder.glob("*"):
        file.chmod(0o644)
    return folder


@pytest.fixture
def tls_receiver(authority, receiver):
    made = []

    def start(name, newest=ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority / f"{name}.pem", authority / f"{name}.key")
        if newest < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest
        made.append(Receiver(receiver.secrets, tls=context))
        return made[-1]
    yield start
    for one in made:
        one.stop()
        assert one.faults == []


def own_authority(adapter, authority):
    copy = adapter.folder / f"ca-{uuid.uuid4()}.pem"
    copy.write_text((authority / "ca.pem").read_text())
    copy.chmod(0o644)
    return copy


def tells_by_tls(adapter, authority, receiver, ca=True):
    adapter.start(receiver.url, allow_http="false", breaker_after=1000,
                  **({"ca_file": own_authority(adapter, authority)} if ca else {}))
    adapter.dead_letter()
    adapter.settled("dlq", timeout=40)
    return adapter.attempts()


def test_https_with_an_own_authority(adapter, authority, tls_receiver):
    receiver = tls_receiver("good")
    assert [r["class"] for r in tells_by_tls(adapter, authority, receiver)] == ["delivered"]
    assert len(receiver.of(DLQ)) == 1


@pytest.mark.parametrize("name,ca", [("othername", True), ("expired", True), ("selfsigned", True), ("good", False)])
def test_a_bad_certificate_gets_nothing(adapter, authority, tls_receiver, name, ca):
    receiver = tls_receiver(name)
    rows = tells_by_tls(adapter, authority, receiver, ca)
    assert {(r["status"], r["error"]) for r in rows} == {(0, "http-tls")} and len(rows) == 10
    assert receiver.calls == []


def test_old_tls_gets_nothing(adapter, authority, tls_receiver):
    receiver = tls_receiver("good", newest=ssl.TLSVersion.TLSv1_1)
    assert {r["error"] for r in tells_by_tls(adapter, authority, receiver)} == {"http-tls"}
    assert receiver.calls == []


def test_connections_are_kept(adapter, authority, tls_receiver):
    receiver = tls_receiver("good")
    adapter.start(receiver.url, allow_http="false", ca_file=own_authority(adapter, authority), calls=2)
    for _ in range(40):
        adapter.dead_letter()
    adapter.settled("dlq")
    eventually(lambda: len(receiver.calls) == 40)
    assert receiver.connections <= 4
