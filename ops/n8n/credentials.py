#!/usr/bin/env python3
"""Prints the three credentials of the workflows, as `n8n import:credentials --input=FILE` reads them.

usage: credentials.py [--state DIR]                                     for what ops/up runs (default .echora)
       credentials.py --token-url URL --read ID:FILE --approve ID:FILE --reviewers NAME:FILE [--audience NAME]

FILE holds the secret of that client, or the reviewers' password, and nothing else. --audience is for issuers that
must be told in the request whom a token is for. What is printed are secrets: keep it from others' eyes, and remove it
when it is imported; n8n keeps credentials encrypted.
"""
import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from ops.fleet import fleet, system  # noqa: E402

# Kept by the workflows: id, name, scope.
READ = ("echora-read", "Echora Command API, read", "workflow.read")
APPROVE = ("echora-approve", "Echora Command API, approve", "workflow.approve")


def client(kind, token_url, name, secret, audience=None):
    """An OAuth2 client. With an audience it stands in the form, beside the client's secret, for so n8n wants it."""
    key, title, scope = kind
    data = {"grantType": "clientCredentials", "accessTokenUrl": token_url, "authUrl": "", "clientId": name,
            "clientSecret": secret, "scope": scope, "authentication": "body" if audience else "header"}
    if audience:
        data.update(sendAdditionalBodyProperties=True, additionalBodyProperties=json.dumps({"audience": audience}))
    return {"id": key, "name": title, "type": "oAuth2Api", "data": data}


def document(token_url, read, approve, reviewers, audience=None):
    """The list that n8n imports; read, approve and reviewers are (name, secret)."""
    return [client(READ, token_url, *read, audience), client(APPROVE, token_url, *approve, audience),
            {"id": "echora-reviewers", "name": "Echora reviewers", "type": "httpBasicAuth",
             "data": {"user": reviewers[0], "password": reviewers[1]}}]


def of_fleet(folder):
    """Those for what ops/up runs; the reviewers' password is made when there is none."""
    state = fleet.State(Path(folder).resolve())
    if not state.settings:
        raise SystemExit(f"credentials.py: nothing was started in {folder}; run ops/up first")
    return document(state.shell_variables("viewer")["TOKEN_URL"],
                    *((name, state.password(f"api-{name}")) for name in ("n8n", "n8n-approve")),
                    ("reviewer", system.secret(state.secrets, "n8n-reviewers")))


def pair(text):
    """NAME:FILE as (name, what the file holds)."""
    name, _, file = text.partition(":")
    if not name or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME:FILE")
    return name, Path(file).read_text(encoding="utf-8").strip()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("usage: ")[2].partition("\n\n")[0])
    parser.add_argument("--state", default=str(ROOT / ".echora"))
    parser.add_argument("--token-url")
    parser.add_argument("--audience")
    for name in ("read", "approve", "reviewers"):
        parser.add_argument(f"--{name}", type=pair)
    args = parser.parse_args()
    given = [args.token_url, args.read, args.approve, args.reviewers]
    if any(given) and not all(given):
        parser.error("--token-url, --read, --approve and --reviewers go together")
    rows = document(*given, args.audience) if all(given) else of_fleet(args.state)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
