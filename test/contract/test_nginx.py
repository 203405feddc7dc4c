"""The configuration of the nginx in front of the Command API: what it refuses to be, and its table of refusals."""
import json
import re
import subprocess

import pytest

from harness.settings import ROOT

from ops.nginx import config


def test_tokens_never_go_in_the_clear():
    for listen in ("0.0.0.0:80", "[::]:80", "10.0.0.1:80", "example.org:80", ":80", "80", "127.0.0.1.example.org:80"):
        with pytest.raises(ValueError):
            config.config("/f", "/s", listen)
        assert f"listen {listen} backlog=2048;" in config.config("/f", "/s", listen, allow_plain_http=True)
        assert f"listen {listen} backlog=2048 ssl http2;" in config.config("/f", "/s", listen, certificate="/c", key="/k")
    for listen in ("127.0.0.1:80", "127.1.2.3:80", "[::1]:80"):
        assert f"listen {listen} backlog=2048;" in config.config("/f", "/s", listen)
    for half in ({"certificate": "/c"}, {"key": "/k"}):
        with pytest.raises(ValueError):
            config.config("/f", "/s", "127.0.0.1:80", **half)


def test_as_a_command():
    command = [str(ROOT / "ops/nginx/config.py"), "--folder", "/f", "--socket", "/s", "--listen"]
    good = subprocess.run([*command, "127.0.0.1:80"], capture_output=True, text=True)
    assert good.returncode == 0 and good.stdout == config.config("/f", "/s", "127.0.0.1:80")
    bad = subprocess.run([*command, "0.0.0.0:80"], capture_output=True, text=True)
    assert bad.returncode == 2 and "not loopback" in bad.stderr and bad.stdout == ""


def test_its_refusals_are_those_of_the_worker():
    """Codes, titles and what may be tried again, as workers/command_api/problem.c has them."""
    rows = re.findall(r'\[PROBLEM_\w+\] =\s*\{"(\w+)",\s*(\d+),\s*"([^"]+)",\s*(\d+)\}',
                      (ROOT / "workers/command_api/problem.c").read_text())
    known = {(int(status), code, title, int(pause)) for code, status, title, pause in rows}
    assert len(known) == 18 and set(config.REFUSALS.values()) <= known
    text = config.config("/f", "/s", "127.0.0.1:80")
    documented = config.config("/f", "/s", "127.0.0.1:80", documents="/d")
    for status, (told, code, *_) in config.REFUSALS.items():
        line = f"error_page {status} ={told} /_problem/{status};"
        assert documented.count(line) == (2 if status == 405 else 3) and (line in text) == (status != 405)
    assert "error_page 405 = @methods;" in text  # the worker knows what a path has
    bodies = [json.loads(body.replace("\\'", "'")) for body in re.findall(r"return \d+ '(.*)';", text)]
    assert len(bodies) == len(config.REFUSALS)
    assert all(b["instance"] == "urn:uuid:$uuid" and b["type"].endswith(b["code"]) for b in bodies)
