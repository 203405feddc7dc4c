"""A state folder and the servers and workers that live in it, under Debian's supervisor.

Below the folder: settings.json (ports, which servers are ours), secrets/ (0700, one password per
file), pg/ nats/ redis/ qdrant/ nginx/ (data), logs/, run/ (socket, pid), bin/ (the executables that run: a rebuild
never changes a running fleet). Started again, everything keeps its port and password.
"""
import base64
import filecmp
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from ops.nats import users
from ops.nginx import config as nginx
from ops.redis import server as redis

from . import nats, postgres, system

ROOT = system.ROOT
BUILD = ROOT / "build"


def installed():
    """Where ops/install put tools and the Python environment: with the state, or beside the sources."""
    beside = (ROOT / ".echora").resolve()  # may be a link to a folder that servers can enter
    state = Path(os.environ.get("ECHORA_STATE") or beside).resolve()
    return state if (state / "tools").is_dir() else beside


PLACE = installed()
TOOLS = PLACE / "tools/bin"
VENV = PLACE / "venv"

# Name under supervisor → executable, NATS user, database role.
WORKERS = {
    "catalogue": ("workers/catalogue/echora-catalogue", "catalogue", "echora_catalogue"),
    "relay": ("outbox/echora-relay", "relay", "echora_relay"),
    "qdrant-sync": ("workers/qdrant/echora-qdrant-sync", "qdrant", None),
    "dead-letters": ("workers/dead_letters/echora-dead-letters", "deadletters", "echora_deadletters"),
    "adapter": ("workers/adapter/echora-adapter", "adapter", "echora_adapter"),  # only where it has a receiver
    "command-api": ("workers/command_api/echora-command-api", "command", None),
}
PORTS = {"nats": 4222, "nats-monitor": 8222, "postgres": 5433, "redis": 6379, "qdrant": 6333,
         "catalogue": 9101, "relay": 9102, "qdrant-sync": 9103, "dead-letters": 9104,
         "adapter": 9105, "command-api": 9106, "nginx": 8080, "dev-issuer": 8090}
# Who may call the Command API here, and with what: n8n, where people have decided in n8n, and the person at the desk.
CLIENTS = {"n8n": ["workflow.read", "workflow.execute"], "n8n-approve": ["workflow.approve"],
           "desk": ["workflow.read", "workflow.approve"]}
# What the event adapter is told beside its receiver's URL.
WEBHOOK_OPTIONS = ("ECHORA_ONLY_202", "ECHORA_ALLOW_NETWORKS")
# Server → the variable that names one that runs elsewhere.
URLS = {"nats": "ECHORA_NATS_URL", "postgres": "ECHORA_PG_URL", "redis": "ECHORA_REDIS_URL",
        "qdrant": "ECHORA_QDRANT_URL"}


def client_table(more=()):
    """The Command API's table of CLIENTS and of more rows, as its file."""
    ours = [{"id": client, "scopes": scopes} for client, scopes in CLIENTS.items()]
    return json.dumps({"clients": [*ours, *more]}, indent=2) + "\n"


def http(url, timeout=2.0):
    """(status, text), status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as reply:
            return reply.status, reply.read().decode(errors="replace")
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode(errors="replace")
    except OSError as e:
        return 0, str(e)


def reasons(code, text):
    """What the body of a /readyz that is not 200 says is missing."""
    try:
        missing = json.loads(text)["missing"]
        return ", ".join(f"{m['name']} ({m['reason']})" for m in missing) or "does not say why"
    except (ValueError, KeyError, TypeError):
        return f"answers {code}" if code else "does not answer"


class State:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.conf = self.folder / "supervisor.conf"
        file = self.folder / "settings.json"
        self.settings = json.loads(file.read_text()) if file.exists() else {}
        # Servers that run elsewhere have passwords of their own: ECHORA_SECRETS names their folder.
        self.secrets = Path(os.environ.get("ECHORA_SECRETS") or self.settings.get("secrets")
                            or self.folder / "secrets")

    def workers(self):
        """Those that run here: the event adapter once ECHORA_WEBHOOK_URL has named a receiver; empty takes it away."""
        return [n for n in WORKERS if n != "adapter" or self.settings.get("webhook_url")]

    # Settings ------------------------------------------------------------------------------------

    def save(self):
        (self.folder / "settings.json").write_text(json.dumps(self.settings, indent=2) + "\n")

    def remember_shown_path(self, path):
        self.settings["shown"] = path

    def port(self, name):
        return self.settings["ports"][name]

    def ours(self, server):
        return server in self.settings["own"]

    def password(self, name):
        return system.secret(self.secrets, name)

    def make_folders(self):
        """Folders and settings; ports are chosen once, the well-known ones when they are free."""
        for name in ("", "secrets", "logs", "run", "bin"):
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            system.own(folder)
        (self.folder / "secrets").chmod(0o700)
        self.settings["secrets"] = str(self.secrets)
        self.remember_receiver()
        printed, external = self.env_urls(), self.external()
        ports = self.settings.setdefault("ports", {})
        running = bool(self.supervisor_pid())
        for name, preferred in PORTS.items():
            if name not in ports or (not running and system.port_open(ports[name])):
                ports[name] = system.free_port(preferred)
        self.settings["own"] = [s for s in URLS if s not in external]
        host = "127.0.0.1"
        self.settings["nats_url"] = external.get("nats") or f"nats://{host}:{ports['nats']}"
        self.settings["redis_url"] = external.get("redis") or f"redis://{host}:{ports['redis']}"
        self.settings["qdrant_url"] = external.get("qdrant") or f"http://{host}:{ports['qdrant']}"
        if "postgres" not in external:
            self.settings["pg"] = {"host": host, "port": ports["postgres"], "database": "echora",
                                   "admin": postgres.SUPERUSER,
                                   "admin_password_file": str(self.secrets / "pg-postgres")}
        elif external["postgres"] != printed.get("postgres"):  # that one names a reader: who administers is known
            url = urlsplit(external["postgres"])
            self.settings["pg"] = {"host": url.hostname, "port": url.port or 5432,
                                   "database": url.path.lstrip("/") or "echora",
                                   "admin": url.username or postgres.SUPERUSER,
                                   "admin_password_file": os.environ.get("ECHORA_PG_PASSWORD_FILE", "")}
        self.save()

    def remember_receiver(self):
        """Whom the event adapter calls, and how; empty takes it away."""
        url = os.environ.get("ECHORA_WEBHOOK_URL")
        if url:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise RuntimeError(f"ECHORA_WEBHOOK_URL is {url!r}; it needs the form http://127.0.0.1:5678, "
                                   "the routes' paths come behind it")
        if url is not None:
            self.settings["webhook_url"] = url
        for name in WEBHOOK_OPTIONS:
            if name in os.environ:
                self.settings.setdefault("webhook_options", {})[name] = os.environ[name]

    def env_urls(self):
        """Server → the URL that ops/env prints for it; empty before the first start."""
        if "own" not in self.settings:
            return {}
        return {"nats": self.settings["nats_url"], "postgres": self.pg_url("echora_reader"),
                "redis": self.settings.get("redis_url"), "qdrant": self.settings["qdrant_url"]}

    def external(self):
        """Server → URL of those that run elsewhere. A URL that came from ops/env changes nothing about that."""
        printed = self.env_urls()
        urls = {server: os.environ.get(variable) for server, variable in URLS.items()}
        return {s: url for s, url in urls.items() if url and not (url == printed.get(s) and self.ours(s))}

    def pg_url(self, role):
        pg = self.settings["pg"]
        return f"postgresql://{role}@{pg['host']}:{pg['port']}/{pg['database']}"

    # Environment of our own programs ---------------------------------------------------------------

    def environment(self, user, role=None):
        """ECHORA_… variables for one of our programs; passwords stay in their files."""
        env = {"ECHORA_NATS_URL": self.settings["nats_url"], "ECHORA_NATS_USER": user,
               "ECHORA_NATS_PASSWORD_FILE": str(self.secrets / f"nats-{user}")}
        if role:
            env["ECHORA_PG_URL"] = self.pg_url(role)
            env["ECHORA_PG_PASSWORD_FILE"] = str(self.secrets / f"pg-{role}")
        return env

    def echora(self, *argv, user="operator", role="echora_reader", show=False, check=True):
        """Runs the `echora` command; shown on the screen, or its words only when it fails."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("ECHORA_")}
        env.update(self.environment(user, role), ECHORA_QDRANT_URL=self.settings["qdrant_url"],
                   ECHORA_WORKERS=self.listeners())
        program = [str(self.folder / "bin/echora"), *argv]
        sys.stdout.flush()
        if show:
            code = subprocess.run(program, env=env, stdin=subprocess.DEVNULL).returncode
            if code and check:
                raise RuntimeError(f"`echora {' '.join(argv)}` ended with {code}")
            return ""
        return system.run(program, env=env)

    def shell_variables(self, user):
        path = [str(self.folder / "bin"), str(TOOLS), str(postgres.binaries())]
        pg = self.settings["pg"]
        out = {"PATH": ":".join([*(shlex.quote(p) for p in path), '"$PATH"'])}
        out.update(self.environment(user, "echora_reader"))
        out.update({"ECHORA_QDRANT_URL": self.settings["qdrant_url"], "ECHORA_REDIS_URL": self.settings["redis_url"],
                    "REDIS_URL": self.settings["redis_url"], "ECHORA_WORKERS": self.listeners(),
                    "NATS_URL": self.settings["nats_url"], "NATS_USER": user,
                    "NATS_PASSWORD": self.password(f"nats-{user}"),
                    "PGHOST": pg["host"], "PGPORT": str(pg["port"]), "PGDATABASE": pg["database"],
                    "PGUSER": "echora_reader", "PGPASSFILE": str(self.secrets / "pgpass"),
                    "QDRANT_URL": self.settings["qdrant_url"]})
        out.update({"COMMAND_API_URL": f"http://127.0.0.1:{self.port('nginx')}",
                    "TOKEN_URL": f"http://127.0.0.1:{self.port('dev-issuer')}/oauth2/token"})
        if user == "admin":  # redis-cli takes it from here: what stands in a command line, others can read
            out["REDISCLI_AUTH"] = self.password("redis-admin")
        return out

    # Servers ---------------------------------------------------------------------------------------

    def supervisor_config(self):
        """The whole supervisor configuration. Workers don't start by themselves: first the migrations."""
        logs, programs = self.folder / "logs", {}
        if self.ours("postgres"):
            programs["postgres"] = (postgres.command(self.folder / "pg", self.port("postgres")),
                                    "priority=10\nautostart=true\nstopsignal=INT\nstopwaitsecs=30")
        if self.ours("nats"):
            binary = nats.server_binary("best", TOOLS)
            programs["nats"] = ([binary, "-c", str(self.folder / "nats.conf")],
                                "priority=20\nautostart=true\nstopwaitsecs=15")
        if self.ours("redis"):
            programs["redis"] = ([redis.binary(), str(self.folder / "redis.conf")],
                                 "priority=20\nautostart=true\nstopwaitsecs=15")
        if self.ours("qdrant"):
            programs["qdrant"] = ([str(VENV / "bin/python"), str(self.folder / "bin/qdrant-edge/serve.py"),
                                   "--listen", f"127.0.0.1:{self.port('qdrant')}",
                                   "--data", str(self.folder / "qdrant")],
                                  "priority=30\nautostart=true\nstopwaitsecs=15")
        programs["dev-issuer"] = ([str(self.folder / "bin/echora"), "dev-issuer", "--listen",
                                   f"127.0.0.1:{self.port('dev-issuer')}", "--secrets-file",
                                   str(self.secrets / "api-clients")],
                                  "priority=40\nautostart=true\nstopwaitsecs=15")
        programs["nginx"] = ([system.find("nginx"), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"],
                             "priority=60\nautostart=true\nstopsignal=QUIT\nstopwaitsecs=15")
        for name in self.workers():
            path, user, role = WORKERS[name]
            env = self.environment(user, role)
            env["ECHORA_LISTEN"] = f"127.0.0.1:{self.port(name)}"
            if name == "qdrant-sync":
                env["ECHORA_QDRANT_URL"] = self.settings["qdrant_url"]
            if name == "adapter":
                env.update(self.webhook_environment())
            if name == "command-api":
                env.update(self.api_environment())
            pairs = ",".join(f'{k}="{v}"' for k, v in env.items()).replace("%", "%%")
            programs[name] = ([str(self.folder / "bin" / Path(path).name)],
                              f"priority=50\nautostart=false\nstopwaitsecs=15\nenvironment={pairs}")
        text = ["; Written by ops/fleet: what ops/up runs here.",
                "[unix_http_server]", f"file={self.socket()}", "chmod=0700", "",
                "[supervisord]", f"logfile={logs}/supervisord.log", "logfile_maxbytes=5MB",
                "logfile_backups=1", f"pidfile={self.folder}/run/supervisord.pid", f"directory={self.folder}",
                f"childlogdir={logs}", "umask=022", "minfds=1024", "identifier=echora", "",
                "[rpcinterface:supervisor]",
                "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface", "",
                "[supervisorctl]", f"serverurl=unix://{self.socket()}", ""]
        for name, (argv, more) in programs.items():
            command = " ".join(shlex.quote(a) for a in argv).replace("%", "%%")
            text += [f"[program:{name}]", f"command={command}", f"directory={self.folder}", more,
                     "autorestart=true", "startsecs=1", "startretries=1000", "redirect_stderr=true",
                     f"stdout_logfile={logs}/{name}.log", "stdout_logfile_maxbytes=20MB",
                     "stdout_logfile_backups=3", ""]
        return "\n".join(text)

    def webhook_environment(self):
        """A receiver on this machine may be called, and by plain HTTP; the signing secret is made once."""
        url, file = self.settings["webhook_url"], self.secrets / "webhook"
        if not file.exists():
            system.write_private(file, "whsec_" + base64.b64encode(os.urandom(32)).decode() + "\n")
        env = {"ECHORA_BASE_URL": url, "ECHORA_SECRET_FILES": str(file),
               "ECHORA_ALLOW_HTTP": "true" if url.lower().startswith("http:") else "false",
               "ECHORA_ALLOW_NETWORKS": "127.0.0.0/8,::1"}
        env.update({k: v for k, v in self.settings.get("webhook_options", {}).items() if v})
        return env

    def api_environment(self):
        """Tokens of `echora dev-issuer`, whose key is new at each start: no setting for anything but one machine."""
        issuer = f"http://127.0.0.1:{self.port('dev-issuer')}"
        return {"ECHORA_SOCKET": str(self.socket("api")), "ECHORA_ISSUER": issuer, "ECHORA_JWKS": f"{issuer}/jwks",
                "ECHORA_DEV": "true", "ECHORA_CLIENTS": str(self.folder / "api-clients.json"),
                "ECHORA_REDIS_URL": self.settings["redis_url"], "ECHORA_REDIS_USER": "command",
                "ECHORA_REDIS_PASSWORD_FILE": str(self.secrets / "redis-command")}

    def own_clients(self):
        """Rows that a person added to api-clients.json."""
        file = self.folder / "api-clients.json"
        if not file.exists():
            return []
        try:
            rows = [row for row in json.loads(file.read_text())["clients"] if row["id"] not in CLIENTS]
        except (ValueError, KeyError, TypeError) as e:
            raise RuntimeError(f"{file} is no table of clients ({e!r}); ops/runbooks/tokens.md has its form, and "
                               "without the file it is made anew") from None
        for row in rows:
            if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", str(row["id"])):
                raise RuntimeError(f"{file}: the id {row['id']!r} names a file with its secret, so it is 1 to 64 of "
                                   "letters, digits and . _ -")
        return rows

    def write_api_files(self):
        """Clients and their secrets, and the configuration of nginx; the names of those that must read theirs again."""
        clients, more = self.folder / "api-clients.json", self.own_clients()
        text = client_table(more)
        changed = set() if self.settings.get("clients") == text else {"dev-issuer", "command-api"}
        clients.write_text(text)
        self.settings["clients"] = text
        self.save()
        names = [*CLIENTS, *(row["id"] for row in more)]
        secrets = "".join(f"{client} {self.password(f'api-{client}')}\n" for client in names)
        system.write_private(self.secrets / "api-clients", secrets)
        folder = self.folder / "nginx"
        folder.mkdir(exist_ok=True)
        system.own(folder)
        for document in ("contracts/openapi.json", "ops/nginx/docs.html"):
            shutil.copy(ROOT / document, folder)
        conf = self.folder / "nginx.conf"
        before = conf.read_text() if conf.exists() else ""
        conf.write_text(nginx.config(folder, self.socket("api"), f"127.0.0.1:{self.port('nginx')}",
                                     log=folder / "refused.log", documents=folder))
        return changed | ({"nginx"} if conf.read_text() != before else set())

    def socket(self, name="supervisor"):
        """The path of a socket; one that is too long goes below /tmp."""
        path = self.folder / f"run/{name}.sock"
        if len(str(path)) < 90:
            return path
        return Path("/tmp") / f"echora-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.sock"

    def supervisor_pid(self):
        """The pid of our supervisord, or None. A recycled number is told by its command line."""
        try:
            pid = int((self.folder / "run/supervisord.pid").read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return pid if str(self.conf).encode() in arguments else None

    def control(self, *argv, check=True):
        result = subprocess.run(["/usr/bin/supervisorctl", "-c", str(self.conf), *argv], text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # `status` answers 3 when something does not run; that is an answer, no failure.
        if check and result.returncode not in (0, 3):
            raise RuntimeError(f"supervisorctl {' '.join(argv)}: {result.stdout.strip()}")
        return result.stdout

    def install_programs(self):
        """Copies executables into bin/; the names of those that changed."""
        changed = set()
        sources = {"echora": BUILD / "ops/echora"}
        sources.update({name: BUILD / path for name, (path, _, _) in WORKERS.items()})
        for name, source in sources.items():
            if not source.exists():
                raise RuntimeError(f"{source.relative_to(ROOT)} was not built")
            target = self.folder / "bin" / source.name
            if not target.exists() or not filecmp.cmp(source, target, shallow=False):
                fresh = target.with_name(target.name + ".new")
                shutil.copy(source, fresh)
                fresh.chmod(0o755)
                os.replace(fresh, target)
                changed.add(name)
        front = self.folder / "bin/qdrant-edge"
        before = {p.name: p.read_bytes() for p in front.glob("*") if p.is_file()} if front.is_dir() else {}
        after = {p.name: p.read_bytes() for p in (ROOT / "ops/qdrant-edge").glob("*") if p.is_file()}
        if before != after:
            shutil.rmtree(front, ignore_errors=True)
            shutil.copytree(ROOT / "ops/qdrant-edge", front, ignore=shutil.ignore_patterns("__pycache__"))
            changed.add("qdrant")
        return changed

    def start_servers(self, step):
        """Starts what is ours and waits until it answers. Returns a sentence for the screen."""
        self.make_folders()
        changed = self.install_programs()
        passwords = nats.passwords(self.secrets)
        for role in (*postgres.ROLES, "postgres"):
            self.password("pg-" + role)
        pg = self.settings["pg"]
        system.write_private(self.secrets / "pgpass", f"{pg['host']}:{pg['port']}:*:echora_reader:"
                             f"{self.password('pg-echora_reader')}\n", for_servers=False)
        if self.ours("postgres") and not (self.folder / "pg/PG_VERSION").exists():
            step("initdb")
            shutil.rmtree(self.folder / "pg", ignore_errors=True)
            postgres.initdb(self.folder / "pg", self.password("pg-postgres"))
        redis_passwords = {user: self.password("redis-" + user) for user in redis.USERS}
        for name in [s for s in ("nats", "redis", "qdrant") if self.ours(s)]:
            (self.folder / name).mkdir(exist_ok=True)
            system.own(self.folder / name)
        if self.ours("nats"):
            system.write_private(self.folder / "nats.conf", users.config(
                self.port("nats"), self.folder / "nats", passwords, self.port("nats-monitor")))
        if self.ours("redis"):
            redis.write(self.folder, self.port("redis"), redis_passwords, self.folder / "redis")
        changed |= self.write_api_files()
        config = self.supervisor_config()
        config_changed = not self.conf.exists() or self.conf.read_text() != config
        self.conf.write_text(config)
        step("supervisor")
        if not self.supervisor_pid():
            self.socket().unlink(missing_ok=True)
            system.run(["/usr/bin/supervisord", "-c", str(self.conf)], cwd=str(self.folder),
                       env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"},
                       **system.drop())
            system.wait_until(lambda: self.control("status", check=False).strip()
                              and "refused" not in self.control("status", check=False), 15, "supervisord")
        else:
            if config_changed:
                self.control("update")
            running = self.processes()
            if "echora" in changed:
                changed.add("dev-issuer")
            for name in sorted(changed):
                if running.get(name, {}).get("state") == "RUNNING":
                    self.control("restart", name)
        running = self.processes()
        for name in ("postgres", "nats", "redis", "qdrant", "dev-issuer", "nginx"):
            here = name not in URLS or self.ours(name)
            if here and running.get(name, {}).get("state") not in ("RUNNING", "STARTING"):
                self.control("start", name)
        words = []
        checks = {"postgres": lambda: postgres.ready(self.port("postgres")),
                  "nats": lambda: nats.healthy(self.port("nats-monitor")),
                  "redis": lambda: redis.ready(self.port("redis"), redis_passwords["admin"]),
                  "qdrant": lambda: http(self.settings["qdrant_url"] + "/readyz")[0] == 200,
                  "dev-issuer": lambda: system.port_open(self.port("dev-issuer")),
                  "nginx": lambda: system.port_open(self.port("nginx"))}
        for name, check in checks.items():
            if name in ("dev-issuer", "nginx"):
                step(f"waiting for {name}")
                self.wait(check, 20, name)
            elif self.ours(name):
                step(f"waiting for {name}")
                self.wait(check, 60, name)
                words.append(self.version(name))
            else:
                words.append(f"{name} elsewhere")
        return ", ".join(words)

    def version(self, name):
        if name == "nats":
            text = system.run([nats.server_binary("best", TOOLS), "--version"])
            return "nats-server " + text.strip().split("v")[-1]
        if name == "redis":
            return "Redis " + system.run([redis.binary(), "--version"]).split("v=")[1].split()[0]
        if name == "postgres":
            return "PostgreSQL " + system.run([str(postgres.binaries() / "postgres"), "--version"]).split()[2]
        try:
            return "Qdrant " + json.loads(http(self.settings["qdrant_url"] + "/")[1])["version"]
        except (ValueError, KeyError):
            return "Qdrant"

    def wait(self, check, timeout, name):
        try:
            system.wait_until(check, timeout, name)
        except TimeoutError as e:
            raise RuntimeError(f"{e}; {self.end_of_log(name)}") from None

    def end_of_log(self, name, lines=15):
        log = self.folder / "logs" / f"{name}.log"
        tail = log.read_text(errors="replace").splitlines()[-lines:] if log.exists() else []
        return f"the end of {log}:\n  " + "\n  ".join(tail)

    def provision_database(self):
        """Roles with their passwords, and the database."""
        pg = self.settings["pg"]
        file = pg["admin_password_file"]
        password = Path(file).read_text().strip() if file else ""
        options = {"host": pg["host"], "user": pg["admin"]}
        passwords = {role: self.password("pg-" + role) for role in postgres.ROLES}
        postgres.create_roles(pg["port"], password, passwords, **options)
        postgres.create_database(pg["port"], password, pg["database"], **options)

    # Workers ---------------------------------------------------------------------------------------

    def start_workers(self, step):
        running = self.processes()
        waiting = [n for n in self.workers() if running.get(n, {}).get("state") not in ("RUNNING", "STARTING")]
        if waiting:
            step(f"starting {', '.join(waiting)}")
            try:
                self.control("start", *waiting)
            except RuntimeError as e:
                failed = [n for n in waiting if self.processes().get(n, {}).get("state") != "RUNNING"]
                raise RuntimeError("; ".join([str(e), *(self.end_of_log(n, 3) for n in failed[:1])])) from None
        for name in self.workers():
            step(f"waiting for {name}")
            self.wait(lambda: http(f"http://127.0.0.1:{self.port(name)}/readyz")[0] == 200, 30, name)
        return ", ".join(self.workers()) + " ready"

    def wait_indexed(self, ids, timeout=60):
        """Until Qdrant holds a point for each of these anime. Returns a sentence."""
        started = time.monotonic()

        def missing():
            body = json.dumps({"filter": {"must": [{"has_id": ids}]}, "exact": True}).encode()
            request = urllib.request.Request(
                self.settings["qdrant_url"] + "/collections/anime_database/points/count", data=body,
                headers={"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=5) as reply:
                    return len(ids) - json.load(reply)["result"]["count"]
            except (OSError, ValueError, KeyError):
                return len(ids)
        try:
            system.wait_until(lambda: missing() == 0, timeout, "index")
        except TimeoutError:
            raise RuntimeError(f"{missing()} of {len(ids)} anime did not reach the index within {timeout} s; "
                               "see `ops/status`, logs below the state folder") from None
        return f"in the index {time.monotonic() - started:.1f} s later"

    # Looking and stopping --------------------------------------------------------------------------

    def processes(self):
        """Name → {state, detail} as supervisor tells; empty when it does not run."""
        if not self.supervisor_pid():
            return {}
        rows = {}
        for line in self.control("status", check=False).splitlines():
            parts = line.split(None, 2)
            if len(parts) >= 2 and parts[1].isupper():
                rows[parts[0]] = {"state": parts[1], "detail": parts[2] if len(parts) > 2 else ""}
        return rows

    def listeners(self):
        """Where the workers tell their health, as `echora status` and `echora doctor` take it."""
        return ",".join(f"{name}=127.0.0.1:{self.port(name)}" for name in self.workers())

    def health(self):
        """Worker → "ready", or "not ready: " and the reasons that its /readyz gives."""
        out = {}
        for name in self.workers():
            code, text = http(f"http://127.0.0.1:{self.port(name)}/readyz")
            out[name] = "ready" if code == 200 else f"not ready: {reasons(code, text)}"
        return out

    def addresses(self):
        pg = self.settings.get("pg", {})
        out = {"NATS": self.settings.get("nats_url"), "Qdrant": self.settings.get("qdrant_url"),
               "PostgreSQL": f"{pg.get('host')}:{pg.get('port')}/{pg.get('database')}"}
        if self.settings.get("redis_url"):
            out["Redis"] = self.settings["redis_url"]
        if self.settings.get("ports"):
            out["Command API"] = f"http://127.0.0.1:{self.port('nginx')}, how to call it: /docs there"
            out["tokens"] = (f"http://127.0.0.1:{self.port('dev-issuer')}/oauth2/token, for the clients in "
                             f"api-clients.json; secrets/api-CLIENT has the secret of each")
            out["metrics, health"] = ", ".join(f"{n} :{self.port(n)}" for n in self.workers())
        if self.settings.get("webhook_url"):
            out["webhooks"] = f"{self.settings['webhook_url']}, signed with the secret in {self.secrets / 'webhook'}"
        out["state"] = self.settings.get("shown", str(self.folder))
        return out

    def print_addresses(self):
        for name, value in self.addresses().items():
            print(f"  {name:16} {value}")

    def descendants(self, pid):
        """Pids below this one, from /proc."""
        children = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
        found, queue = [], [pid]
        while queue:
            for child in children.get(queue.pop(), []):
                found.append(child)
                queue.append(child)
        return found

    def stop(self):
        """Workers first, then the servers, then supervisord; returns the names of what was stopped."""
        pid = self.supervisor_pid()
        if not pid:
            return []
        names = [n for n, row in self.processes().items() if row["state"] in ("RUNNING", "STARTING", "BACKOFF")]
        everything = [pid, *self.descendants(pid)]
        workers = [n for n in names if n in WORKERS]
        if workers:
            self.control("stop", *workers, check=False)
        self.control("shutdown", check=False)
        try:
            system.wait_until(lambda: not self.supervisor_pid(), 45, "supervisord's end")
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
        try:
            system.wait_until(lambda: not any(alive(p) for p in everything), 10, "the end of all processes")
        except TimeoutError:
            for p in everything:
                if alive(p):
                    os.kill(p, signal.SIGKILL)
        return names

    def wipe(self):
        """Removes all but the tools that ops/install put there."""
        self.socket().unlink(missing_ok=True)
        for entry in self.folder.iterdir():
            if entry.name in ("venv", "tools", "test-cache"):
                continue
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False

