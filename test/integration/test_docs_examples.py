"""The commands of the page at /docs, run by bash as they stand there: each is a call that the API understands."""
import html
import json
import re
import subprocess

from harness.settings import ROOT

PAGE = (ROOT / "ops/nginx/docs.html").read_text()
WHOLE = re.search(r'"example":', (ROOT / "contracts/openapi.json").read_text())  # else bodies are only their required members


def test_each_example_is_understood(api):
    """Nobody answers on this bus, so what is understood is answered 503 by the worker."""
    api.start()
    calls = [html.unescape(text) for text in re.findall(r"<pre>(curl -s .+?)</pre>", PAGE, re.S)]
    assert len(calls) > 15
    calls = [c for c in calls if "TOKEN_URL" not in c]
    ends = [c + " -w '\\n%{http_code}\\n'\n" for c in calls]
    script = f"API=http://127.0.0.1:{api.port}\nTOKEN={api.token()}\n" + "".join(ends)
    said = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=120, check=True).stdout
    answers = re.findall(r"^(\{.*\})\n(\d+)$", said, re.M)
    assert len(answers) == len(calls)
    for call, (body, status) in zip(calls, answers, strict=True):
        understood = (status, json.loads(body)["code"]) == ("503", "retryable_upstream_error")
        assert understood or (status == "422" and not WHOLE), f"{call}\n{body}"
