"""The receivers of contracts/examples/webhooks, as they stand: one table of calls for all languages, and real HTTP."""
import base64
import json
import os
import subprocess
import sys
import time

import pytest

from harness import webhooks
from harness.process import eventually
from harness.webhooks import EXAMPLES, RECIPES, make_cases

CASES = make_cases.table()
ANSWERS = [case["answer"] for case in CASES]

# Text of a recipe, what it becomes when a guard is taken away, and a case whose answer is then wrong.
FAULTS = {
    "python": {
        "signature": ("genuine = False", "genuine = True", "signature: body with one bit turned"),
        "old": ("> TOLERANCE_S", "> 10 ** 16", "timestamp: timestamp 301 s old"),
        "future": ("abs(now - int(values[\"webhook-timestamp\"]))", "now - int(values[\"webhook-timestamp\"])",
                   "timestamp: timestamp 301 s ahead"),
        "twice": ("len(found) != 1", "not found", "headers: webhook-id twice"),
        "canonical": ("hmac.compare_digest(wanted, given.encode())",
                      "given[:3] == 'v1,' and base64.b64decode(wanted[3:]) == base64.b64decode(given[3:] + '==')",
                      "signature: signature with loose bits"),
        "rotation": ("signature\"].split(\" \")", "signature\"].split(\" \")[:1]",
                     "accepted: two signatures, the second is ours"),
        "version": ("hmac.compare_digest(wanted, given.encode())", "wanted[3:] == given.partition(',')[2].encode()",
                    "signature: signature as v1a"),
        "raw": ("+ body\n", "+ json.dumps(json.loads(body or b'0')).encode()\n",
                "accepted: body with spaces and lines")},
    "node": {
        "signature": ("let genuine = false", "let genuine = true", "signature: body with one bit turned"),
        "length": ("x.length === y.length && timingSafeEqual(x, y)", "b.startsWith(a)",
                   "signature: signature twice over"),
        "old": ("> TOLERANCE_S", "> 1e16", "timestamp: timestamp 301 s old"),
        "future": ("Math.abs(now - Number(timestamp))", "now - Number(timestamp)", "timestamp: timestamp 301 s ahead"),
        "twice": ("found.length !== 1", "found.length === 0", "headers: webhook-id twice"),
        "rotation": ("signature.split(' ')", "signature.split(' ').slice(0, 1)",
                     "accepted: two signatures, the second is ours")},
    "go": {"signature": ("genuine := false", "genuine := true", "signature: body with one bit turned")},
}


def test_table_is_what_its_maker_makes():
    done = subprocess.run([sys.executable, "-B", EXAMPLES / "make_cases.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_signer_agrees_with_the_published_vectors():
    body, key = b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert make_cases.sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == \
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert make_cases.hmac_sha256(b"It's a Secret to Everybody", b"Hello, World!").hex() == \
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert make_cases.hmac_sha256(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First").hex() == \
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"  # RFC 4231, case 6


def test_table_says_each_thing_once_and_names_every_answer():
    assert len({case["name"] for case in CASES}) == len(CASES) > 90
    assert set(ANSWERS) == {"accepted", "headers", "timestamp", "signature"}


def wrong(cases, found):
    return [(case["name"], answer) for case, answer in zip(cases, found) if answer != case["answer"]]


@pytest.mark.parametrize("language", RECIPES)
def test_recipe_answers_as_the_table_says(language, tmp_path):
    path, run = RECIPES[language]
    assert not wrong(CASES, run(path.read_text(encoding="utf-8"), tmp_path, CASES))


@pytest.mark.parametrize(("language", "fault"), [(la, fault) for la in FAULTS for fault in FAULTS[la]])
def test_table_sees_a_guard_that_is_gone(language, fault, tmp_path):
    path, run = RECIPES[language]
    text, instead, seen_by = FAULTS[language][fault]
    source = path.read_text(encoding="utf-8")
    assert source.count(text) == 1
    answers = dict(wrong(CASES, run(source.replace(text, instead), tmp_path, CASES)))
    assert (answers[seen_by] == "accepted") != seen_by.startswith("accepted")


BAD_SECRETS = [[], [""], ["whsec_"], ["whsec_" + "A" * 30], ["whsec_" + base64.b64encode(bytes(23)).decode()],
               ["whsec_" + base64.b64encode(bytes(65)).decode()], ["whsec_" + "A" * 42 + "B="], ["whsec_" + "-_" * 22],
               [make_cases.SECRET, "whsec_x"], [make_cases.SECRET.upper()]]


@pytest.mark.parametrize("language", RECIPES)
def test_bad_secret_is_told_and_not_used(language, tmp_path):
    path, run = RECIPES[language]
    cases = [{**CASES[0], "secrets": secrets} for secrets in BAD_SECRETS]
    assert run(path.read_text(encoding="utf-8"), tmp_path, cases) == ["configuration"] * len(cases)


@pytest.mark.parametrize("language", RECIPES)
def test_a_start_that_lacks_something_says_what(language, tmp_path):
    """No trace of a stack: a line that names the variable, or the usage."""
    command = webhooks.command_of(language, tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "ECHORA_WEBHOOK_SECRETS"}
    for argv, secret, said in ([], make_cases.SECRET, "PORT"), (["1"], "", "ECHORA_WEBHOOK_SECRETS: a secret is"), \
            (["1"], "whsec_...", "ECHORA_WEBHOOK_SECRETS: "):
        done = subprocess.run([*command, *argv], capture_output=True, text=True, timeout=60,
                              env={**environment, "ECHORA_WEBHOOK_SECRETS": secret} if secret else environment)
        assert done.returncode == 1 and said in done.stderr, done.stderr
        assert not any(trace in done.stderr for trace in ("Traceback", "    at ", "goroutine"))


@pytest.fixture(params=RECIPES)
def receiver(request, tmp_path):
    with webhooks.receiving(request.param, tmp_path, [make_cases.SECRET, make_cases.OLD]) as one:
        yield one


def test_receiver_over_http(receiver):
    port, acted = receiver
    post = webhooks.post
    body = json.dumps({**make_cases.EVENT, "note": "進撃"}, ensure_ascii=False).encode()
    good = make_cases.call(body, timestamp=int(time.time()))
    assert [post(port, good, body) for _ in range(3)] == [202, 202, 202]
    eventually(acted, 5, "the event was acted on")
    assert [event["note"] for event in acted()] == ["進撃"]
    assert post(port, good, body + b" ") == 401
    assert post(port, [*good, good[2]], body) == 401
    assert post(port, make_cases.call(body, timestamp=int(time.time()) - 400), body) == 401
    assert post(port, make_cases.call(body, timestamp=int(time.time()), secret=make_cases.OTHER_ROUTE), body) == 401
    second = make_cases.call(body, "another", int(time.time()), secret=make_cases.OLD)
    assert post(port, second, body) == 202
    eventually(lambda: len(acted()) == 2, 5, "the second event was acted on")


@pytest.mark.parametrize("language", webhooks.PUBLISHED)
def test_published_library_takes_what_our_signer_signs(language):
    """The signer of the table is right for others too: what it signs now passes, what is changed does not."""
    body = json.dumps({**make_cases.EVENT, "note": "進撃"}, ensure_ascii=False).encode()
    now, secret = int(time.time()), make_cases.SECRET
    good = make_cases.sign(secret, "id-1", now, body)
    other = make_cases.sign(make_cases.OLD, "id-1", now, body)
    calls = [webhooks.call_of(secret, make_cases.call(*call), used) for call, used in (
        ((body, "id-1", now), body), ((body, "id-1", now, f"{other} {good}"), body), ((body, "id-1", now - 290), body),
        ((body, "id-1", now, other), body), ((body, "id-1", now), body + b" "), ((body, "id-1", now - 400), body),
        ((body, "id-1", now + 400), body))]
    found = webhooks.PUBLISHED[language](calls)
    assert [answer.partition(":")[0] for answer in found] == ["accepted"] * 3 + ["refused"] * 4, found
