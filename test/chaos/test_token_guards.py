"""Each guard of the verifier of tokens taken away: what it keeps out gets in, and the scenario says so."""
import time

import pytest
from harness.process import eventually
from harness.tokens import NOW, Ec, Issuer, Rsa, Tool, header, jwks, payload, token

RSA, EC = Rsa(), Ec()


@pytest.fixture
def make_tool(tmp_path):
    made = []

    def make(**env):
        made.append(Tool(tmp_path, algorithms="RS256,ES256,PS256", env=env))
        made[-1].keys(jwks(RSA.jwk("k1"), EC.jwk("k2")))
        return made[-1]
    yield make
    for one in made:
        one.close()


def run_forged(tool):
    assert tool.verify(token(Ec(), header(EC, kid="k2"))) == "signature", "a stranger's signature was taken"
    assert tool.verify(token(EC, header(EC, kid="k2"),
                             sign=lambda text: bytes(64))) == "signature", "a stranger's signature was taken"


def run_other_algorithm(tool):
    assert tool.verify(token(RSA, header(RSA, alg="PS256"))) == "algorithm", "a key served another algorithm"


def run_other_audience(tool):
    assert tool.verify(token(EC, header(EC, kid="k2"),
                             payload(aud="another-api"))) == "audience", "somebody else's token was taken"


def run_expired(tool):
    text = token(EC, header(EC, kid="k2"), payload())
    assert tool.verify(text, NOW + 600) == "ok"
    assert tool.verify(text, NOW + 86400) == "expired", "a token was taken when it was over"


def run_stranger(tool):
    assert tool.verify(token(EC, header(EC, kid="k2"),
                             payload(client_id="stranger"))) == "client", "a client was taken that is not listed"


def run_scopes(tool):
    caller = tool.caller(token(EC, header(EC, kid="k2"), payload(scope="workflow.read workflow.approve")))[1]
    assert caller["scopes"] == 1, "a client got more than the table gives"


SCENARIOS = {
    "signature-unchecked": (run_forged, "stranger's signature"),
    "algorithm-unbound": (run_other_algorithm, "served another algorithm"),
    "audience-unchecked": (run_other_audience, "somebody else's"),
    "expiry-unchecked": (run_expired, "when it was over"),
    "client-unlisted": (run_stranger, "not listed"),
    "client-scopes-unchecked": (run_scopes, "more than the table"),
}


@pytest.mark.chaos(fault="hostile input: tokens that are not for us", place="command-api",
                   checks="each refused, by its reason")
@pytest.mark.parametrize("name", SCENARIOS)
def test_hostile_tokens(make_tool, name):
    SCENARIOS[name][0](make_tool())


@pytest.mark.chaos(fault="guard taken away", place="command-api", checks="the scenario turns red")
@pytest.mark.parametrize("fault", SCENARIOS)
def test_a_missing_guard_is_seen(make_tool, fault):
    run, what = SCENARIOS[fault]
    with pytest.raises(AssertionError, match=what):
        run(make_tool(PLANTED_FAULTS=fault))


# Keys -------------------------------------------------------------------------------------------------------------

def text_of(kid):
    return token(EC, header(EC, kid=kid), payload(int(time.time())))


def run_flood(make_tool, issuer, **env):
    """Ids that exist nowhere must not make us call the issuer each time."""
    tool = make_tool(**env)
    tool.open(issuer.url)
    eventually(tool.ready, what="keys")
    for n in range(20):
        assert tool.check(text_of(f"nowhere{n}")) == "key-unknown"
    assert issuer.calls <= 2, "the issuer was called for each of them"


def run_long_away(make_tool, issuer, **env):
    """Keys of an issuer that is away serve for a day, here 600 ms, and no longer."""
    tool = make_tool(**env)
    tool.open(issuer.url, refresh=100, retry=100, stale=600)
    eventually(lambda: tool.check(text_of("k2")) == "ok", what="keys")
    issuer.answer = lambda handler: issuer.tell(handler, 503)
    eventually(lambda: tool.metric("echora_jwks_age_seconds") > 1.5, what="old keys")
    assert tool.check(text_of("k2")) == "keys-away" and not tool.ready(), "keys served beyond their day"


def run_taken_back(make_tool, issuer, **env):
    """A token that was good a moment ago ends with its key."""
    tool, text = make_tool(**env), text_of("k2")
    tool.open(issuer.url, refresh=100)
    eventually(lambda: tool.check(text) == "ok", what="keys")
    assert tool.check(text) == "ok"
    issuer.text, calls = jwks(RSA.jwk("k1")), issuer.calls
    eventually(lambda: issuer.calls >= calls + 2, what="other keys")
    assert tool.check(text) == "key-unknown", "a key served when it was taken back"


KEYS = {"looks-unlimited": (run_flood, "called for each"), "stale-keys-served": (run_long_away, "beyond their day"),
        "verified-for-ever": (run_taken_back, "taken back")}


@pytest.fixture
def issuer():
    one = Issuer(jwks(EC.jwk("k2")))
    yield one
    one.stop()


@pytest.mark.chaos(fault="hostile input: unknown key ids; an issuer away for long; a key taken back", place="issuer",
                   checks="few calls; keys end")
@pytest.mark.parametrize("name", KEYS)
def test_keys(make_tool, issuer, name):
    KEYS[name][0](make_tool, issuer)


@pytest.mark.chaos(fault="guard taken away", place="command-api", checks="the scenario turns red")
@pytest.mark.parametrize("fault", KEYS)
def test_a_missing_guard_of_keys_is_seen(make_tool, issuer, fault):
    run, what = KEYS[fault]
    with pytest.raises(AssertionError, match=what):
        run(make_tool, issuer, PLANTED_FAULTS=fault)
