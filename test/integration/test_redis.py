"""events/redis.h against a real Redis: errors told apart, connections shared and made anew, breaker, limits."""
import time

import pytest

from harness.process import eventually, lasted_less
from harness.redis_driver import Driver, Failed
from harness.servers import redis_server

pytestmark = pytest.mark.one_nats


@pytest.fixture
def driver(redis):
    made = []

    def start(server=redis, **options):
        made.append(Driver(server, **options))
        return made[-1]

    yield start
    redis.resume()
    for one in made:
        one.close()


def failure(driver, *words):
    with pytest.raises(Failed) as caught:
        driver(*words)
    return caught.value


def answers(driver, *words):
    try:
        return driver(*words)
    except Failed:
        return None


def test_values_of_scripts(driver):
    d = driver()
    assert d("ping") == []
    assert d("eval", "return {1, 'two', false, -3}") == ["1", "two", "nil", "-3"]
    assert d("eval", "return 'one'") == ["one"]


def test_unknown_script_is_sent_whole(redis, driver):
    """NOSCRIPT after SCRIPT FLUSH or a restart is nobody's trouble."""
    d = driver()
    assert d("spend", "a", "read", 300, 60)[3] == "shared"
    redis.call("SCRIPT", "FLUSH")
    assert d("spend", "a", "read", 300, 60)[3] == "shared"
    stats = redis.call("INFO", "commandstats").decode()
    assert "cmdstat_eval:calls=2," in stats and "cmdstat_evalsha:calls=2," in stats


@pytest.mark.parametrize("options, kind, code", [
    ({"password": "wrong"}, "fatal", "redis-wrongpass"),
    ({"user": "nobody", "password": "x"}, "fatal", "redis-wrongpass"),
    ({"user": "", "password": "secret-of-command"}, "fatal", "redis-wrongpass"),
    ({"password": ""}, "fatal", "redis-noauth"),
    ({"url": "redis://127.0.0.1:1"}, "unavailable", "redis-connection"),
    ({"url": "unix:///nowhere/redis.sock"}, "unavailable", "redis-connection"),
])
def test_sign_in(driver, options, kind, code):
    e = failure(driver(**options), "eval", "return 1")
    assert (e.kind, e.code) == (kind, code)
    assert "secret" not in e.text


@pytest.mark.parametrize("script, kind, code", [
    ("return redis.call('FLUSHALL')", "fatal", "redis-noperm"),
    ("return redis.call('DEL', KEYS[1])", "fatal", "redis-noperm"),
    ("return redis.call('GET', 'somebody:elses')", "fatal", "redis-noperm"),
    ("redis.call('SET', KEYS[1], 1) return redis.call('HMGET', KEYS[1], 'state')", "reject", "redis-wrongtype"),
    ("return redis.error_reply('LOADING not yet')", "unavailable", "redis-loading"),
    ("return redis.error_reply('MISCONF disk')", "unavailable", "redis-misconf"),
    ("return redis.error_reply('ELSE what')", "retry", "redis-else"),
    ("this is no Lua", "retry", "redis-err"),
    ("return string.rep('x', 2000000)", "retry", "redis-reply"),
    ("local t = {} for i = 1, 17 do t[i] = i end return t", "retry", "redis-reply"),
    ("return {{1}}", "retry", "redis-reply"),
])
def test_error_replies(driver, script, kind, code):
    d = driver()
    e = failure(d, "eval", script)
    assert (e.kind, e.code) == (kind, code)
    if kind != "unavailable":  # those open the breaker
        assert d("eval", "return 1") == ["1"], "and the client goes on"


@pytest.mark.parametrize("words", [
    ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "maxmemory"), ("GET", "other"), ("SET", "echora:other:v1:x", 1),
    ("DEL", "echora:idem:v1:x"), ("SCRIPT", "KILL"), ("ACL", "LIST"), ("SCAN", 0), ("SUBSCRIBE", "c"), ("SHUTDOWN",),
    ("EVAL", "return redis.call('DEL', 'echora:idem:v1:x')", 0), ("SAVE",),
])
def test_user_of_the_command_api_may_no_more(redis, words):
    with pytest.raises(redis_server.Refused) as caught:
        redis.call(*words, user="command")
    assert caught.value.code == "NOPERM" or "can't run this command" in str(caught.value)


def test_default_user_is_off(redis):
    with redis_server.Client(redis.port) as client, pytest.raises(redis_server.Refused, match="NOAUTH"):
        client.call("PING")


def test_configuration_holds_what_the_document_says(redis):
    settings = dict(zip(*[iter(redis.call("CONFIG", "GET", "*"))] * 2))
    assert settings[b"maxmemory-policy"] == b"noeviction"
    assert (settings[b"appendonly"], settings[b"appendfsync"]) == (b"yes", b"everysec")
    assert settings[b"bind"] == b"127.0.0.1"


def test_full_memory_is_trouble_of_the_server(redis, driver):
    d = driver()
    redis.call("CONFIG", "SET", "maxmemory", "1")
    e = failure(d, "begin", "c", "/p", "k", "b")
    assert (e.kind, e.code) == ("unavailable", "redis-oom")
    redis.call("CONFIG", "SET", "maxmemory", "0")
    assert eventually(lambda: answers(d, "begin", "c", "/p", "k", "b"), what="breaker closes")[0] == "new"


def test_restart_is_not_noticed(redis, driver):
    """A kept connection that the server has closed is made anew within the call."""
    d = driver()
    d("eval", "return 1")
    redis.restart()
    assert d("eval", "return 1") == ["1"]


def test_lost_answer_is_asked_for_again(redis, driver, proxy):
    """A kept connection that breaks while the command is under way: once more, over a new one."""
    between = proxy(redis)
    d = driver(url=f"redis://127.0.0.1:{between.port}")
    d("eval", "return 1")
    rule = between.plan("lose-answer", match=b"return 2")
    assert d("eval", "return 2") == ["2"]
    assert rule.hits == 1


def test_breaker_fails_fast_and_closes(redis, driver):
    d = driver(timeout_ms=500)
    d("eval", "return 1")
    redis.pause()
    e = failure(d, "eval", "return 1")
    assert (e.kind, e.code) == ("unavailable", "redis-timeout")
    began = time.monotonic()
    for _ in range(20):
        failure(d, "eval", "return 1")
    assert lasted_less(began, 5), "twenty time-outs would take 10 s"
    redis.resume()
    assert eventually(lambda: answers(d, "eval", "return 2"), what="breaker closes") == ["2"]


def test_ping_closes_the_breaker(redis, driver):
    d = driver(timeout_ms=500)
    redis.kill()
    assert failure(d, "eval", "return 1").code == "redis-connection"
    assert failure(d, "ping").code == "redis-connection"
    redis.start()
    assert d("ping") == []
    assert d("eval", "return 1") == ["1"]


def test_a_late_answer_is_never_taken_for_the_next(redis, driver):
    d = driver(timeout_ms=400)
    assert d("eval", "return 'first'") == ["first"]
    redis.pause()
    failure(d, "eval", "return 'late'")
    redis.resume()
    assert eventually(lambda: answers(d, "eval", "return 'next'"), what="it serves again") == ["next"]


def test_few_connections_serve_many_threads(redis, driver):
    d = driver(connections=4, timeout_ms=20000)
    outcomes = [int(n) for n in d("storm", 64, "c", "/p", "k", "b")]
    assert sum(outcomes) == 64 and outcomes[0] == 1 and outcomes[5] == 0
    with redis.client() as admin:
        assert sum(b"user=command" in line for line in admin.call("CLIENT", "LIST").splitlines()) <= 4


def test_waiting_for_a_connection_has_an_end(redis, driver):
    d = driver(connections=1, timeout_ms=300)
    d("eval", "return 1")
    redis.pause()
    outcomes = [int(n) for n in d("storm", 16, "c", "/p", "k", "b")]
    assert outcomes == [0, 0, 0, 0, 0, 16]
    redis.resume()
