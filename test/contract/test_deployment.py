"""compose.yaml, ops/Dockerfile and ops/systemd: what they name exists, and what they set is taken by who they set it for.

Neither docker nor systemd runs here: what the files say is read, and the programs are given it.
"""
import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from harness.settings import BUILD, ROOT

from ops.fleet import fleet, system
from ops.nats import users
from ops.nginx import config as nginx

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "ops/Dockerfile").read_text()
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "echora"}
PROGRAMS = {path.rpartition("/")[2]: BUILD / path for path, *_ in fleet.WORKERS.values()}
WORKERS = [name for name, service in OURS.items() if service["command"][0] in PROGRAMS]
UNITS = {path.stem: path.read_text() for path in sorted((ROOT / "ops/systemd").glob("*.service"))}
SECRETS = "/run/secrets/echora"
# Of every unit: what a process that only talks over sockets never needs.
HARDENED = """DynamicUser=yes LimitCORE=0 NoNewPrivileges=yes LockPersonality=yes MemoryDenyWriteExecute=yes PrivateDevices=yes
PrivateTmp=yes ProtectClock=yes ProtectControlGroups=yes ProtectHome=yes ProtectHostname=yes ProtectKernelLogs=yes
ProtectKernelModules=yes ProtectKernelTunables=yes ProtectProc=invisible ProtectSystem=strict RestrictNamespaces=yes
RestrictRealtime=yes RestrictSUIDSGID=yes SystemCallArchitectures=native SystemCallFilter=@system-service UMask=0077
Restart=always""".split()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What ops/compose-init makes."""
    folder = tmp_path_factory.mktemp("compose")
    subprocess.run([ROOT / "ops/compose-init", folder / "made"], check=True, capture_output=True)
    return folder / "made"


def filled(value, secrets):
    """A value as compose gives it, with the folder of secrets here."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)).replace(SECRETS, str(secrets))


def takes(program, env):
    """The worker's settings in force under this environment; fails when it knows one of the variables not."""
    done = subprocess.run([program, "--print-config"], env={**env, "PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    known = set(re.findall(r"^(?:# )?([a-z][a-z0-9-]+) =", done.stdout, re.M))
    assert known, done.stdout
    unknown = {v for v in env if v.startswith("ECHORA_") and v[7:].lower().replace("_", "-") not in known}
    assert not unknown, f"{program.name} has no {unknown}"
    return done.stdout


# --- compose ---

def test_every_worker_has_its_service():
    assert {SERVICES[name]["command"][0] for name in WORKERS} == set(PROGRAMS)
    assert {"postgres", "nats", "redis", "qdrant", "provision", "dev-issuer", "nginx"} <= set(SERVICES)


@pytest.mark.parametrize("name", WORKERS)
def test_a_service_of_compose(made, name):
    env = {k: filled(v, made / "secrets") for k, v in SERVICES[name]["environment"].items()}
    takes(PROGRAMS[SERVICES[name]["command"][0]], env)
    assert env["ECHORA_NATS_USER"] in users.USERS
    for value in env.values():
        assert not value.startswith(str(made)) or os.path.exists(value), value
    for host in re.findall(r"@([a-z]+):|//([a-z]+):", " ".join(env.values())):
        assert "".join(host) in SERVICES, host


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_there(made, name):
    for mount in SERVICES[name].get("volumes", ()):
        source = mount.split(":")[0]
        if source.startswith("./"):
            assert (made / source.removeprefix("./.echora-compose/")).exists(), source
        else:
            assert source in COMPOSE["volumes"]
    for port in SERVICES[name].get("ports", ()):
        assert port.startswith("127.0.0.1:"), "for this machine alone"
    needed = SERVICES[name].get("depends_on", {})
    assert set(needed) <= set(SERVICES)


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_may_do_little(name):
    service = OURS[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]


def test_the_command_api_of_compose(made):
    """The socket is in a volume that nginx has, too; the issuer answers on the loopback of who asks it."""
    env = SERVICES["command-api"]["environment"]
    clients = json.loads((made / "secrets/api-clients.json").read_text())["clients"]
    assert {c["id"] for c in clients} == {line.split()[0] for line in (made / "secrets/api-clients").read_text().splitlines()}
    assert SERVICES["dev-issuer"]["network_mode"] == "service:command-api"
    assert env["ECHORA_JWKS"].endswith("127.0.0.1:8090/jwks}") and env["ECHORA_DEV"] == "true"
    volume = "api:/run/echora-command-api"
    assert volume in SERVICES["nginx"]["volumes"] and volume in SERVICES["command-api"]["volumes"]
    text = (made / "secrets/nginx.conf").read_text()
    assert "unix:/run/echora-command-api/scgi.sock" in text and "listen 0.0.0.0:8080" in text
    assert "/usr/share/echora/api/docs.html" in text and "/usr/share/echora/api/openapi.json" in text
    assert re.search(r"^COPY .*contracts/openapi.json ops/nginx/docs.html /usr/share/echora/api/$", DOCKERFILE, re.M)
    assert "install -d -o echora" in DOCKERFILE and re.search(r"^\s+nginx curl \\$", DOCKERFILE, re.M)
    assert SERVICES["nginx"]["tmpfs"] == ["/run/nginx"]


def is_taken_by_nginx(folder, text):
    """nginx itself reads it: files and folders that are not here are put below folder."""
    (folder / "nginx.conf").write_text(text)
    done = subprocess.run([system.find("nginx"), "-t", "-c", str(folder / "nginx.conf"), "-e", "stderr"],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "test is successful" in done.stderr, done.stderr


def test_nginx_takes_its_configuration(made, tmp_path):
    is_taken_by_nginx(tmp_path, (made / "secrets/nginx.conf").read_text().replace("/run/nginx", str(tmp_path)))


def test_made_again_it_stays(made):
    before = {p.name: p.read_text() for p in (made / "secrets").iterdir()}
    subprocess.run([ROOT / "ops/compose-init", made], check=True, capture_output=True)
    assert {p.name: p.read_text() for p in (made / "secrets").iterdir()} == before


# --- systemd ---

def lines(unit):
    return [line for line in UNITS[unit].splitlines() if "=" in line and not line.startswith("#")]


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit(unit, tmp_path):
    found = lines(unit)
    assert set(HARDENED) <= set(found), set(HARDENED) - set(found)
    program = next(line for line in found if line.startswith("ExecStart=")).split("=")[1].split()[0]
    credentials = dict(line.split("=")[1].split(":") for line in found if line.startswith("LoadCredential="))
    for name in credentials:
        (tmp_path / name).write_text("whsec_" + "A" * 43 + "=\n" if name == "webhook" else "a password\n")
    env = dict(line.split("=", 1)[1].split("=", 1) for line in found if line.startswith("Environment="))
    used = set(re.findall(r"%d/([\w-]+)", " ".join(env.values())))
    if unit == "echora-nginx":
        assert program == "/usr/sbin/nginx"
        return
    assert used == set(credentials)
    takes(PROGRAMS[os.path.basename(program)], {k: v.replace("%d", str(tmp_path)) for k, v in env.items()})


def test_every_worker_has_its_unit():
    assert set(UNITS) == {*PROGRAMS, "echora-nginx"}


def test_who_may_reach_the_socket():
    """One group: the worker's folder and socket belong to it, nginx is in it, the page says how it is made."""
    worker, front = lines("echora-command-api"), lines("echora-nginx")
    assert {"Group=echora-api", "RuntimeDirectory=echora-command-api", "RuntimeDirectoryMode=0750"} <= set(worker)
    assert "SupplementaryGroups=echora-api" in front and "Group=echora-api" not in front
    assert "groupadd --system echora-api" in (ROOT / "ops/nginx/README.md").read_text()


def test_the_command_of_the_page(tmp_path):
    """Its configuration, with the certificate that the unit hands over, is one that nginx takes."""
    page = (ROOT / "ops/nginx/README.md").read_text()
    command = re.search(r"^ +(ops/nginx/config\.py (?:.*\\\n)*.*) > /etc/echora/nginx\.conf$", page, re.M)[1]
    text = subprocess.run(["bash", "-euc", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "listen 0.0.0.0:443" in text and "ssl http2;" in text
    credentials = "/run/credentials/echora-nginx.service/"
    for name in re.findall(rf"{credentials}(\w+)", text):
        assert f"LoadCredential={name}:" in UNITS["echora-nginx"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "certificate"],
                   check=True, capture_output=True)
    for folder in (credentials, "/run/echora-nginx/", "/run/echora-nginx", "/var/log/echora-nginx/"):
        text = text.replace(folder, f"{tmp_path}/")
    is_taken_by_nginx(tmp_path, text)
    assert nginx.is_loopback("127.0.0.1:8080") and not nginx.is_loopback("0.0.0.0:443")


def test_where_tools_are(tmp_path):
    """ECHORA_STATE names what `ops/install` filled, or a state whose tools stand beside the sources."""
    def place(state):
        code = "from ops.fleet import fleet; print(fleet.TOOLS)"
        return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "ECHORA_STATE": str(state)},
                              capture_output=True, text=True, check=True).stdout.strip()
    beside = (ROOT / ".echora").resolve() / "tools/bin"
    assert place(tmp_path) == str(beside)
    (tmp_path / "tools").mkdir()
    assert place(tmp_path) == str(tmp_path / "tools/bin")
