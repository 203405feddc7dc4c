"""The Redis user of the Command API, against every command that the server has: the few of its scripts, on its two kinds of keys."""
import pytest

from ops.redis.server import Client, Refused

pytestmark = pytest.mark.one_nats
MAY = {"ping", "eval", "evalsha", "time", "hmget", "hset", "pexpire", "get", "set"}
OURS = ("echora:idem:v1:x", "echora:rl:v1:x")
OTHERS = ("x", "echora:idem:v2:x", "echora:rl", "echora:", "echora:idem:v1", "ECHORA:idem:v1:x")


@pytest.fixture
def command(redis):
    with redis.client("command") as client:
        yield client


def refusal(client, *words):
    """The first word of what it is refused with (EXEC names it later on); "" when it is not."""
    try:
        client.call(*words)
        return ""
    except Refused as e:
        return "NOPERM" if "NOPERM" in str(e) else e.code


def commands(redis):
    """(words, arity, flags) of every command and subcommand."""
    for row in redis.call("COMMAND"):
        name, arity, flags, *_, subcommands = row
        for one, number, marks in [(s[0], s[1], s[2]) for s in subcommands] or [(name, arity, flags)]:
            yield one.decode().split("|"), number, {m.decode() for m in marks}


def test_nothing_but_its_commands(redis, command):
    tried = 0
    for words, arity, flags in commands(redis):
        if words[0] in MAY or "no_auth" in flags:
            continue
        said = refusal(command, *words, *[OURS[0]] * (abs(arity) - len(words)))
        off = words[0] in ("debug", "module")  # for everybody, before rights are looked at
        assert said == "NOPERM" or (off and said == "ERR"), f"{words}: {said or 'done'}"
        tried += 1
    assert tried > 300


def test_nothing_but_its_keys(command):
    for key in OTHERS:
        assert refusal(command, "GET", key) == refusal(command, "SET", key, 1) == "NOPERM"
        assert refusal(command, "EVAL", "return 1", 1, key) == "NOPERM"
        assert refusal(command, "EVAL", f"return redis.call('SET', '{key}', 1)", 0) != ""
    for key in OURS:
        assert refusal(command, "SET", key, 1) == refusal(command, "GET", key) == ""


def test_a_script_may_do_no_more(command):
    for words in ("'DEL', KEYS[1]", "'KEYS', '*'", "'CONFIG', 'GET', '*'", "'PUBLISH', 'c', 'm'", "'FLUSHALL'", "'ACL', 'WHOAMI'"):
        assert refusal(command, "EVAL", f"return redis.call({words})", 1, OURS[0]) != "", words


def test_nobody_comes_in_without_a_password(redis):
    with Client(redis.port) as client:
        assert refusal(client, "PING") == "NOAUTH"
        assert refusal(client, "AUTH", "default", "") == refusal(client, "AUTH", "command", "wrong") == "WRONGPASS"
        assert refusal(client, "AUTH", "") == "WRONGPASS"
