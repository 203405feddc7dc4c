"""ops/up, ops/status, ops/env and ops/down, as a person types them."""
import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness.receiver import Receiver
from harness.settings import BUILD, ROOT

from ops.fleet import system

# The commands build and run the ordinary build, so a sanitizer run has nothing to add.
pytestmark = pytest.mark.skipif(BUILD != (ROOT / "build").resolve(), reason="uses the ordinary build")


def run(command, *argv, ok=True, env=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ECHORA_", "PG", "NATS_", "REDIS"))}
    result = subprocess.run([str(ROOT / "ops" / command), *argv], cwd=str(ROOT), text=True, capture_output=True,
                            stdin=subprocess.DEVNULL, timeout=180, env=dict(clean, **(env or {})))
    if ok:
        assert result.returncode == 0, f"ops/{command}: {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


@pytest.fixture(scope="module")
def state():
    folder = Path(tempfile.mkdtemp(prefix="echora-up-"))
    folder.chmod(0o755)
    yield folder / "state"
    run("down", "--state", str(folder / "state"), "--wipe", ok=False)
    folder.rmdir()


@pytest.fixture(scope="module")
def first(state):
    return run("up", "--no-install", "--state", str(state))


def shell(state, command, role=""):
    return subprocess.run(["bash", "-c", f'eval "$(ops/env --state {state} {role})" && {command}'], cwd=str(ROOT),
                          text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)


def test_up_follows_and_finds_an_anime(first):
    assert "$ echora follow" in first.stdout and "Cowboy Bebop" in first.stdout
    assert "$ echora search" in first.stdout
    found = first.stdout.split("$ echora search", 1)[1]
    assert "Cowboy Bebop" in found
    assert "Three things to try next" in first.stdout


def test_status_knows_everything(first, state):
    answer = json.loads(run("status", "--state", str(state), "--json").stdout)
    assert {n: p["state"] for n, p in answer["processes"].items()} == dict.fromkeys(
        ("postgres", "nats", "redis", "qdrant", "dev-issuer", "nginx", "catalogue", "relay", "qdrant-sync", "dead-letters",
         "command-api"), "RUNNING")
    assert set(answer["health"].values()) == {"ready"}


def test_status_tells_why_a_worker_is_not_ready_and_shows_the_rest(first, state):
    control = ["/usr/bin/supervisorctl", "-c", str(state / "supervisor.conf")]
    subprocess.run([*control, "stop", "relay"], check=True, stdout=subprocess.DEVNULL)
    try:
        answer = run("status", "--state", str(state), ok=False)
        assert answer.returncode == 3
        assert "STOPPED    not ready" in answer.stdout and "does not answer" in answer.stdout
        assert "ANIME_SYNC" in answer.stdout  # the screen of `echora status`
    finally:
        subprocess.run([*control, "start", "relay"], check=True, stdout=subprocess.DEVNULL)
    system.wait_until(lambda: run("status", "--state", str(state), ok=False).returncode == 0, 45, "the relay")


def test_echora_status_shows_the_workers_in_the_shell_of_ops_env(first, state):
    answer = json.loads(shell(state, "echora status --json").stdout)
    assert {w["worker"]: w["ready"] for w in answer["workers"]} == dict.fromkeys(
        ("catalogue", "relay", "qdrant-sync", "dead-letters", "command-api"), True)


def test_wrong_options_name_the_command(state):
    answer = run("status", "--state", str(state), "--bogus", ok=False)
    assert answer.returncode == 2 and answer.stderr.startswith("usage: ops/status")


def test_servers_run_unprivileged(first, state):
    _, uid, _ = system.account()
    for process in json.loads(run("status", "--state", str(state), "--json").stdout)["processes"].values():
        pid = int(process["detail"].split("pid ")[1].split(",")[0])
        assert Path(f"/proc/{pid}").stat().st_uid == uid


def test_shell_of_a_reader(first, state):
    assert int(shell(state, "psql -Atc 'SELECT count(*) FROM anime'").stdout) >= 68
    refused = shell(state, "psql -c 'DELETE FROM anime'")
    assert refused.returncode != 0
    assert "secret" not in shell(state, "echora --print-config").stdout.lower().replace("(secret)", "")


def test_the_command_api_answers_a_token_of_the_issuer(first, state):
    secret = (state / "secrets/api-n8n").read_text().strip()
    ask = ('token=$(curl -s -u "n8n:$SECRET" -d grant_type=client_credentials "$TOKEN_URL" | jq -r .access_token) && '
           'curl -s -H "Authorization: Bearer $token" "$COMMAND_API_URL/dlq?limit=1"')
    answer = json.loads(shell(state, f"SECRET={secret} && {ask}").stdout)
    assert answer["letters"] == [] and answer["source"] == "index"
    assert json.loads(shell(state, 'curl -s "$COMMAND_API_URL/dlq"').stdout)["code"] == "unauthenticated"


def test_a_client_of_ones_own_stays(first, state):
    file = state / "api-clients.json"
    table = json.loads(file.read_text())
    file.write_text(json.dumps({"clients": [*table["clients"], {"id": "mine", "scopes": ["workflow.read"]}]}))
    run("up", "--no-install", "--no-sample", "--state", str(state))
    lines = (ROOT / "README.md").read_text().split("## Your first call", 1)[1].splitlines()
    script = "\n".join(line[4:] for line in lines[:lines.index("## Who uses it how")] if line.startswith("    "))
    script = script.replace("$(ops/env)", f"$(ops/env --state {state})").replace(".echora/", f"{state}/") \
        .replace("desk", "mine")
    result = subprocess.run(["bash", "-e", "-c", script], cwd=str(ROOT), text=True, capture_output=True,
                            stdin=subprocess.DEVNULL, timeout=60)
    assert result.returncode == 0 and '"letters"' in result.stdout, result.stdout + result.stderr
    run("up", "--no-install", "--no-sample", "--state", str(state))
    assert [row["id"] for row in json.loads(file.read_text())["clients"]][-1] == "mine"


def test_a_broken_table_of_clients_is_named(first, state):
    file = state / "api-clients.json"
    before = file.read_text()
    file.write_text("{")
    told = run("up", "--no-install", "--no-sample", "--state", str(state), ok=False)
    file.write_text(before)
    assert told.returncode == 1 and "api-clients.json is no table of clients" in told.stderr


def test_redis_of_an_administrator(first, state):
    assert shell(state, 'redis-cli -u "$REDIS_URL" --user admin ACL WHOAMI', "admin").stdout.strip() == "admin"
    assert "NOAUTH" in shell(state, 'redis-cli -u "$REDIS_URL" PING').stdout
    assert "noeviction" in shell(state, 'redis-cli -u "$REDIS_URL" --user admin CONFIG GET maxmemory-policy', "admin").stdout


def test_nats_cli_reads_and_may_not_write_what_the_relay_writes(first, state):
    if not (ROOT / ".echora/tools/bin/nats").exists():
        pytest.skip("no nats CLI: needs a Go toolchain")
    info = shell(state, "nats stream info ANIME_SYNC --json")
    before = json.loads(info.stdout)["state"]["messages"]
    assert before >= 68, info.stderr
    shell(state, "nats pub anime.synced forged")
    info = shell(state, "nats stream info ANIME_SYNC --json")
    assert json.loads(info.stdout)["state"]["messages"] == before


def test_again_changes_nothing_and_is_quick(first, state):
    before = shell(state, "psql -Atc 'SELECT max(id), count(*) FROM outbox'").stdout
    second = run("up", "--no-install", "--state", str(state))
    assert shell(state, "psql -Atc 'SELECT max(id), count(*) FROM outbox'").stdout == before
    seconds = float(second.stdout.split("Up in ", 1)[1].split(" s", 1)[0])
    assert seconds <= 30


def test_again_in_the_shell_of_ops_env_keeps_its_own_servers(first, state):
    def pids():
        rows = json.loads(run("status", "--state", str(state), "--json").stdout)["processes"]
        return {name: row["detail"].split(",")[0] for name, row in rows.items()}
    before, settings = pids(), (state / "settings.json").read_text()
    again = shell(state, f"ops/up --no-install --no-sample --state {state}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "elsewhere" not in again.stdout
    assert (state / "settings.json").read_text() == settings
    assert pids() == before


def test_first_event_of_the_readme(first, state):
    text = (ROOT / "README.md").read_text().split("## Your first event", 1)[1]
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    script = "\n".join(lines[:next(i for i, line in enumerate(lines) if line.startswith("echora search")) + 1])
    script = script.replace("ops/up", ":").replace("$(ops/env)", f"$(ops/env --state {state})") \
        .replace("mine.json", f"{state.parent}/mine.json")
    result = subprocess.run(["bash", "-e", "-c", script], cwd=str(ROOT), text=True, capture_output=True,
                            stdin=subprocess.DEVNULL, timeout=60)
    (state.parent / "mine.json").unlink(missing_ok=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "My First Anime" in result.stdout.split("follow")[-1]


def test_passwords_stay_private(first, state):
    secrets = state / "secrets"
    assert secrets.stat().st_mode & 0o077 == 0
    passwords = [f.read_text().strip() for f in secrets.iterdir() if f.name != "pgpass"]
    assert all(len(p) >= 24 for p in passwords)
    for file in state.glob("logs/*"):
        text = file.read_text(errors="replace")
        assert not [p for p in passwords if p in text], file
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # a process that ended meanwhile
            command = file.read_bytes()
            assert not [p for p in passwords if p.encode() in command]


def test_a_killed_worker_comes_back(first, state):
    rows = json.loads(run("status", "--state", str(state), "--json").stdout)["processes"]
    os.kill(int(rows["relay"]["detail"].split("pid ")[1].split(",")[0]), 9)

    def back():
        answer = json.loads(run("status", "--state", str(state), "--json", ok=False).stdout)
        return answer["processes"]["relay"]["state"] == "RUNNING" and answer["health"]["relay"] == "ready"
    system.wait_until(back, 45, "the relay's return")


def test_webhooks_once_a_receiver_is_named(first, state):
    """ECHORA_WEBHOOK_URL starts the event adapter with a secret of its own; empty takes it away."""
    def health():
        return json.loads(run("status", "--state", str(state), "--json", ok=False).stdout)["health"]
    receiver = Receiver()
    receiver.answer = lambda call: 202
    wrong = run("up", "--no-install", "--no-sample", "--state", str(state), ok=False,
                env={"ECHORA_WEBHOOK_URL": "localhost:5678"})
    assert wrong.returncode == 1 and "needs the form http://" in wrong.stderr
    run("up", "--no-install", "--no-sample", "--state", str(state), env={"ECHORA_ALLOW_NETWORKS": "nowhere"})
    wrong = run("up", "--no-install", "--no-sample", "--state", str(state), ok=False,
                env={"ECHORA_WEBHOOK_URL": receiver.url})
    assert wrong.returncode == 1 and "nowhere is no network" in wrong.stderr  # the worker's own words
    done = run("up", "--no-install", "--no-sample", "--state", str(state),
               env={"ECHORA_WEBHOOK_URL": receiver.url, "ECHORA_ALLOW_NETWORKS": "", "ECHORA_ONLY_202": "true"})
    assert health()["adapter"] == "ready" and str(state / "secrets/webhook") in done.stdout
    receiver.secrets = [(state / "secrets/webhook").read_text().strip()]
    said = shell(state, "echora webhook test dlq")
    assert said.returncode == 0 and len(receiver.of("/webhook/dlq-triage")) == 1, said.stdout + said.stderr
    receiver.answer = lambda call: 200  # as n8n does when a workflow failed before its answer
    assert shell(state, "echora webhook test dlq").returncode == 1
    run("up", "--no-install", "--no-sample", "--state", str(state),
        env={"ECHORA_WEBHOOK_URL": "", "ECHORA_ONLY_202": ""})
    assert "adapter" not in health() and receiver.faults == []
    receiver.stop()


def test_down_leaves_nothing(first, state):
    settings = json.loads((state / "settings.json").read_text())
    rows = json.loads(run("status", "--state", str(state), "--json").stdout)["processes"]
    pids = [int(row["detail"].split("pid ")[1].split(",")[0]) for row in rows.values()]
    run("down", "--state", str(state))
    for name, port in settings["ports"].items():
        assert not system.port_open(port), name
    for pid in pids:
        assert not Path(f"/proc/{pid}/exe").exists()
    assert (state / "pg/PG_VERSION").exists()
    run("down", "--state", str(state), "--wipe")
    assert not state.exists()
