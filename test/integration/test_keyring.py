"""The issuer's keys as they change, go away and lie: the keyring against a small server of keys."""
import json
import ssl
import subprocess
import time

import pytest
from harness.process import eventually, lasted_less
from harness.tokens import Ec, Issuer, Refused, Tool, header, jwks, payload, short, token

pytestmark = pytest.mark.one_nats

OLD, NEW, STRANGER = Ec(), Ec(), Ec()
SOON = {"refresh": 100, "retry": 50, "between": 100, "wait": 2000}
NEVER = 10**9


def text_of(key, kid):
    return token(key, header(key, kid=kid), payload(int(time.time())))


@pytest.fixture
def issuer():
    one = Issuer(jwks(OLD.jwk("old")))
    yield one
    one.stop()


@pytest.fixture
def tool(tmp_path, issuer):
    one = Tool(tmp_path)
    yield one
    issuer.let_go.set()
    one.close()


def opened(tool, issuer, **pace):
    tool.open(issuer.url, **pace)
    eventually(tool.ready, what="keys")
    return tool


def test_keys_are_fetched_once(tool, issuer):
    opened(tool, issuer)
    assert [tool.check(text_of(OLD, "old")) for _ in range(20)] == ["ok"] * 20
    assert issuer.calls == 1 and tool.metric("echora_jwks_keys") == 1 and tool.metric("echora_jwks_age_seconds") >= 0


def test_new_keys_are_fetched_for_an_unknown_id(tool, issuer):
    opened(tool, issuer)
    issuer.text = jwks(OLD.jwk("old"), NEW.jwk("new"))
    assert tool.check(text_of(NEW, "new")) == "ok", "the token that brought the news is taken too"
    assert tool.check(text_of(OLD, "old")) == "ok" and issuer.calls == 2


def test_unknown_ids_share_one_fetch(tool, issuer):
    """64 threads with the new key at once; then a flood of ids that exist nowhere."""
    opened(tool, issuer)
    issuer.text = jwks(NEW.jwk("new"))
    longest, found = tool.storm(64, text_of(NEW, "new"))
    assert found == {"ok": 64} and issuer.calls == 2
    for kid in range(20):
        assert tool.check(text_of(STRANGER, f"nowhere{kid}")) == "key-unknown"
    longest, found = tool.storm(64, text_of(STRANGER, "nowhere"))
    assert found == {"key-unknown": 64} and issuer.calls == 2, "one look in 30 s"


def test_a_failed_look_counts(tool, issuer):
    opened(tool, issuer, retry=NEVER)
    issuer.answer = lambda handler: issuer.tell(handler, 500)
    assert tool.check(text_of(NEW, "new")) == "key-unknown" and issuer.calls == 2
    issuer.answer, issuer.text = None, jwks(NEW.jwk("new"))
    assert tool.check(text_of(NEW, "new")) == "key-unknown" and issuer.calls == 2


def test_the_next_look_comes_after_a_while(tool, issuer):
    opened(tool, issuer, between=300)
    assert tool.check(text_of(NEW, "new")) == "key-unknown"
    issuer.text = jwks(NEW.jwk("new"))
    eventually(lambda: tool.check(text_of(NEW, "new")) == "ok", what="the new key")
    assert issuer.calls == 3


def test_keys_are_refreshed_without_being_asked(tool, issuer):
    opened(tool, issuer, **SOON)
    issuer.text = jwks(NEW.jwk("new"))
    eventually(lambda: tool.check(text_of(OLD, "old")) == "key-unknown", what="the old key is gone")
    assert tool.check(text_of(NEW, "new")) == "ok"


LIES = {
    "status 500": lambda issuer: lambda handler: issuer.tell(handler, 500),
    "status 404": lambda issuer: lambda handler: issuer.tell(handler, 404),
    "no body": lambda issuer: lambda handler: issuer.tell(handler, 200, ""),
    "204": lambda issuer: lambda handler: issuer.tell(handler, 204, ""),
    "HTML": lambda issuer: lambda handler: issuer.tell(handler, 200, "<html>maintenance</html>"),
    "other JSON": lambda issuer: lambda handler: issuer.tell(handler, 200, '{"issuer":"https://x"}'),
    "no keys": lambda issuer: lambda handler: issuer.tell(handler, 200, '{"keys":[]}'),
    "two keys of one name": lambda issuer: lambda handler: issuer.tell(handler, 200,
                                                                       jwks(OLD.jwk("old"), STRANGER.jwk("old"))),
    "huge": lambda issuer: lambda handler: issuer.tell(handler, 200,
                                                       jwks(STRANGER.jwk("old"), {"kty": "x", "filler": "x" * 66000})),
    "endless": lambda issuer: issuer.endless,
    "silence": lambda issuer: issuer.hang,
    "cut short": lambda issuer: cut,
    "another place": lambda issuer: redirected(issuer),
}


def cut(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(jwks(STRANGER.jwk("old")).encode())


def redirected(issuer):
    def answer(handler):
        if handler.path == "/elsewhere":
            issuer.tell(handler, 200, jwks(STRANGER.jwk("old")))
        else:
            handler.send_response(307)
            handler.send_header("Location", "/elsewhere")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
    return answer


@pytest.mark.parametrize("lie", LIES)
def test_an_issuer_that_lies(tool, issuer, lie):
    """What was known serves on; it comes back by itself; nobody waits beyond the limit."""
    opened(tool, issuer, **{**SOON, "wait": 400})
    issuer.answer = LIES[lie](issuer)
    eventually(lambda: tool.metric("echora_jwks_failures_total") >= 2, what="failures")
    began = time.monotonic()
    assert [tool.check(text_of(OLD, "old")), tool.check(text_of(STRANGER, "old"))] == ["ok", "signature"]
    assert tool.check(text_of(NEW, "new")) == "key-unknown" and lasted_less(began, 5) and tool.ready()
    issuer.answer, issuer.text = None, jwks(NEW.jwk("new"))
    issuer.let_go.set()
    eventually(lambda: tool.check(text_of(NEW, "new")) == "ok", what="the truth")


def test_an_issuer_that_hangs_holds_nobody_twice(tool, issuer):
    opened(tool, issuer, wait=700, retry=500)
    issuer.answer = issuer.hang
    longest, found = tool.storm(64, text_of(NEW, "new"))
    assert found == {"key-unknown": 64} and 0.5 <= longest
    began = time.monotonic()
    assert tool.storm(64, text_of(NEW, "new"))[1] == {"key-unknown": 64} and lasted_less(began, 5)
    assert tool.storm(64, text_of(OLD, "old"))[1] == {"ok": 64}, "a known key never waits"


def test_known_keys_are_used_while_a_look_hangs(tool, issuer):
    opened(tool, issuer, refresh=100, retry=50, wait=20000)
    issuer.answer = issuer.hang
    eventually(lambda: issuer.calls >= 2, what="a look that hangs")
    began = time.monotonic()
    assert [tool.check(text_of(OLD, "old")) for _ in range(50)] == ["ok"] * 50 and lasted_less(began, 5)


def test_an_issuer_that_is_away(tool, issuer):
    opened(tool, issuer, **SOON)
    issuer.stop()
    eventually(lambda: tool.metric("echora_jwks_failures_total") >= 3, what="failures")
    assert tool.check(text_of(OLD, "old")) == "ok" and tool.ready()
    issuer.let_go.clear()
    issuer.text = jwks(NEW.jwk("new"))
    issuer.start(issuer.port)
    eventually(lambda: tool.check(text_of(NEW, "new")) == "ok", what="keys again")


def test_keys_grow_too_old(tool, issuer):
    opened(tool, issuer, **{**SOON, "stale": 700})
    issuer.answer = lambda handler: issuer.tell(handler, 503)
    eventually(lambda: not tool.ready(), what="keys that are too old")
    assert tool.check(text_of(OLD, "old")) == "keys-away"
    issuer.answer = None
    eventually(lambda: tool.check(text_of(OLD, "old")) == "ok", what="keys again")


def test_an_issuer_that_comes_late(tool, issuer):
    issuer.answer = lambda handler: issuer.tell(handler, 503)
    tool.open(issuer.url, **SOON)
    assert not tool.ready() and tool.check(text_of(OLD, "old")) == "keys-away"
    assert tool.metric("echora_jwks_age_seconds") == -1
    issuer.answer = None
    eventually(tool.ready, what="keys")
    assert tool.check(text_of(OLD, "old")) == "ok"


@pytest.mark.parametrize("lie", ["silence", "endless"])
def test_it_ends_while_the_issuer_hangs(tool, issuer, lie):
    opened(tool, issuer, refresh=50, wait=30000)
    issuer.answer = LIES[lie](issuer)
    calls = issuer.calls
    eventually(lambda: issuer.calls > calls, what="a look that hangs")
    began = time.monotonic()
    assert tool.ask("close") == "ok" and lasted_less(began, 10)


def test_what_is_told_during_a_look_is_not_lost(tool, issuer):
    """SIGHUP comes while old keys are on their way: they are read once more."""
    opened(tool, issuer, refresh=NEVER, retry=NEVER, wait=20000)
    issuer.answer = lambda handler: (issuer.let_go.wait(20), issuer.tell(handler, body=jwks(OLD.jwk("old"))))
    assert tool.ask("reload") == "ok"
    eventually(lambda: issuer.calls == 2, what="a look that takes long")
    issuer.answer, issuer.text = None, jwks(NEW.jwk("new"))
    assert tool.ask("reload") == "ok"
    issuer.let_go.set()
    eventually(lambda: issuer.calls == 3, what="a second look")
    eventually(lambda: tool.check(text_of(OLD, "old")) == "key-unknown", what="the old key is gone")


def test_no_address_in_a_token_is_asked(tool, issuer):
    attacker = Issuer(jwks(STRANGER.jwk("theirs")))
    opened(tool, issuer, between=1)
    for member in ("jku", "x5u", "kid", "iss"):
        head = {**header(STRANGER, kid="theirs"), member: attacker.url}
        assert tool.check(token(STRANGER, head, payload(int(time.time()), iss=attacker.url))) == "key-unknown"
    assert attacker.calls == 0
    attacker.stop()


def test_rotation_under_load(tool, issuer):
    """Keys change again and again while 16 threads verify; nothing is ever taken that should not be, and what was right
    once stays so."""
    keys = [(Ec(), f"k{i}") for i in range(6)]
    opened(tool, issuer, **{**SOON, "between": 1})
    for before, (key, kid) in zip([(OLD, "old"), *keys], keys):
        issuer.text = jwks(before[0].jwk(before[1]), key.jwk(kid))
        # A look may have been under way before the key changed.
        eventually(lambda k=key, i=kid: tool.storm(16, text_of(k, i))[1] == {"ok": 16}, what="the new key")
        for _ in range(10):
            for one in ((key, kid), before):
                assert tool.storm(16, text_of(*one))[1] == {"ok": 16}
        assert tool.storm(16, text_of(STRANGER, kid))[1] == {"signature": 16}


# Files ------------------------------------------------------------------------------------------------------------

def test_keys_of_a_file(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text(jwks(OLD.jwk("old")))
    tool = Tool(tmp_path)
    tool.open(file, between=1)
    assert tool.ready() and tool.check(text_of(OLD, "old")) == "ok"
    file.write_text(jwks(NEW.jwk("new")))
    assert tool.check(text_of(NEW, "new")) == "ok", "an unknown id has the file read again"
    assert tool.log.read_text().count("keys of the issuer are read again") == 1, "a change is told, though as many came"
    file.write_text("{")
    assert tool.ask("reload") == "ok"
    eventually(lambda: tool.metric("echora_jwks_failures_total") == 1, what="a failure")
    assert tool.check(text_of(NEW, "new")) == "ok"
    file.write_text(jwks(OLD.jwk("old")))
    assert tool.ask("reload") == "ok"
    eventually(lambda: tool.check(text_of(NEW, "new")) != "ok", what="read again")
    tool.close()


@pytest.mark.parametrize("content,what",
                         [(None, "No such file"), ("{", "no JSON object"), ('{"keys":[]}', "no key"),
                          ("x" * 70000, "keys.json")], ids=short)
def test_files_that_are_refused_at_the_start(tmp_path, content, what):
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)
    tool = Tool(tmp_path)
    with pytest.raises(Refused, match=f"config .*{what}"):
        tool.open(file)
    tool.close()


def test_the_client_table_is_read_again(tmp_path):
    (tmp_path / "keys.json").write_text(jwks(OLD.jwk("old")))
    tool = Tool(tmp_path)
    tool.open(tmp_path / "keys.json")
    tool.clients.write_text(json.dumps({"clients": [{"id": "other", "scopes": []}]}))
    assert tool.check(text_of(OLD, "old")) == "ok", "not before it is asked to"
    assert tool.ask("reload") == "ok" and tool.check(text_of(OLD, "old")) == "client"
    tool.clients.write_text('{"clients": [{"id": "n8n", "scope": []}]}')
    with pytest.raises(Refused, match="clients.json: client 1"):
        tool.ask("reload")
    assert tool.check(text_of(OLD, "old")) == "client", "the table of before stays"
    tool.close()


# TLS --------------------------------------------------------------------------------------------------------------

@pytest.fixture
def secure(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out",
                    "cert.pem", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"], cwd=tmp_path, check=True,
                    capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    one = Issuer(jwks(OLD.jwk("old")), tls=context)
    yield one
    one.stop()


def test_certificates_are_checked(tmp_path, secure):
    tool = Tool(tmp_path)
    tool.open(secure.url, **SOON)
    eventually(lambda: tool.metric("echora_jwks_failures_total") >= 2, what="failures")
    assert not tool.ready() and secure.calls == 0
    tool.ask("close")
    tool.open(secure.url, tmp_path / "cert.pem", **SOON)
    eventually(tool.ready, what="keys")
    assert tool.check(text_of(OLD, "old")) == "ok"
    tool.close()


def test_bearer_alone_is_taken(tool, issuer):
    opened(tool, issuer)
    text = text_of(OLD, "old")
    for value, reason in ((f"Bearer {text}", "ok"), (f"bearer   {text}", "ok"), (text, "absent"),
                          (f"Basic {text}", "absent"), ("Bearer", "absent"),
                          ("Bearer ", "length"), (f"Bearer{text}", "absent"), (f"Bearer {text} ", "base64"),
                          (f"Bearer {text},{text}", "parts"), ("", "absent")):
        assert tool.ask("check", value.encode().hex()).split(" ")[0] == reason, value


def test_threads_come_and_go(tmp_path, issuer):
    """Opened and closed again and again: nothing hangs, nothing is left."""
    tool = Tool(tmp_path)
    tool.open(issuer.url)
    tool.ask("close")
    before = threads(tool)  # a sanitizer's own among them
    for _ in range(20):
        tool.open(issuer.url)
        assert tool.ask("close") == "ok"
    eventually(lambda: threads(tool) == before, what="threads gone")
    tool.close()


def threads(tool):
    from pathlib import Path
    return len(list(Path(f"/proc/{tool.process.pid}/task").iterdir()))
