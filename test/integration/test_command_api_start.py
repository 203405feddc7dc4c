"""The Command API started while something that it needs is away: everything is refused as retryable and nothing done until
that is there, and then the same process serves."""
import signal

import pytest

from harness.gateway import Responder, reply
from harness.process import eventually
from harness.tokens import Issuer

FINALIZE, TAG = ("/workflow/finalize-run", {"run_id": 7}), ("/workflow/check-tag", {"source": "manami"})


@pytest.fixture
def responder(streams):
    one = Responder(streams.bus("workflow"), "command.finalize-run", "command.check-tag")
    for subject in ("command.finalize-run", "command.check-tag"):
        one.answers[subject] = reply(200, {"final_status": "success"})
    yield one
    one.close()


@pytest.fixture
def nats_away(streams):
    streams.server.kill()
    yield
    if not streams.server.alive():
        streams.server.start()


def refuses(api, responder):
    """It lives, is not ready, and each call is to come again."""
    for call in (FINALIZE, TAG):
        answer = api.post(*call)
        assert (answer.status, answer.code) == (503, "retryable_upstream_error"), answer
    eventually(lambda: api.worker.http("/livez")[0] == 200, 10, "livez")
    assert not api.worker.is_ready() and responder.asked == []


def serves(api):
    eventually(api.worker.is_ready, 20, "ready")
    eventually(lambda: api.post(*FINALIZE).status == 200, 20, "an answer")
    assert api.post(*TAG).status == 200 and api.worker.alive()


def test_without_redis(api, responder, redis):
    redis.kill()
    api.start(wait=False)
    refuses(api, responder)
    redis.start()
    serves(api)


def test_without_nats(api, responder, streams, nats_away):
    api.start(wait=False)
    refuses(api, responder)
    streams.server.start()
    serves(api)


def test_without_both(api, responder, streams, redis, nats_away):
    redis.kill()
    api.start(wait=False)
    refuses(api, responder)
    redis.start()
    refuses(api, responder)
    streams.server.start()
    serves(api)


def test_without_the_issuers_keys(api, responder, proxy):
    api.start()
    api.worker.stop()
    issuer = Issuer((api.folder / "jwks.json").read_text())
    between = proxy(issuer)
    between.refuse()
    api.worker.env.update(ECHORA_DEV="true", ECHORA_JWKS=f"http://127.0.0.1:{between.port}/jwks")
    api.worker.start(wait=False)
    api.connected()
    refuses(api, responder)
    assert api.post(*FINALIZE, token="").status == 401
    between.accept()
    api.worker.send_signal(signal.SIGHUP)
    serves(api)
    issuer.stop()


@pytest.mark.parametrize("name", ["ECHORA_JWKS", "ECHORA_CLIENTS"])
def test_without_a_file(api, name):
    """What was forgotten is told at once, and not waited for."""
    api.env[name] = api.folder / "nothing.json"
    api.start(nginx=False, wait=False)
    assert api.worker.wait() in (2, 6)
    api.worker.wait_log("nothing.json")
