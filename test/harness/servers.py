"""PostgreSQL, nats-server, Redis and the Qdrant front as test servers."""
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import psycopg

from ops.fleet import nats as fleet_nats
from ops.fleet import postgres, system
from ops.nats import users
from ops.redis import server as redis_server

from . import rest
from .process import Process
from .settings import BUILD, QDRANT_FRONT, ROOT, STATE, TOOLS, VENV


def http_get(url, timeout=2.0):
    """(status, text); (0, reason) when there is nobody."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError as e:
        return 0, str(e)


def signal_all(pids, number):
    """Those of them that still are: PostgreSQL's own processes, autovacuum's say, come and go."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Postgres(Process):
    """A cluster copied from a template made once per checkout; `database()` gives a fresh one."""

    PASSWORD = "superuser-of-tests"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.data = self.folder / "postgres"
        self.port = system.free_port()
        self.passwords = {role: f"secret-of-{role}" for role in postgres.ROLES}
        self.numbers = itertools.count(1)
        self.secret_files = {}
        for role, password in self.passwords.items():
            self.secret_files[role] = self.folder / f"pg-{role}"
            system.write_private(self.secret_files[role], password + "\n")
        super().__init__("postgres", postgres.command(self.data, self.port), folder,
                         ready=lambda: postgres.ready(self.port))
        self._copy_template()

    def _copy_template(self):
        seed = postgres.SETTINGS + str(postgres.binaries()) + (ROOT / "ops/postgres/roles.sql").read_text()
        template = STATE / "test-cache" / ("pg-" + hashlib.sha256(seed.encode()).hexdigest()[:12])
        if not template.exists():
            postgres.initdb(self.data, self.PASSWORD)
            self.start(timeout=60)
            postgres.create_roles(self.port, self.PASSWORD, self.passwords)
            self.stop()
            template.parent.mkdir(parents=True, exist_ok=True)
            partial = template.with_name(f"{template.name}.{os.getpid()}")
            shutil.copytree(self.data, partial, ignore=shutil.ignore_patterns("postmaster.*"))
            try:
                partial.rename(template)
            except OSError:  # somebody else was quicker
                shutil.rmtree(partial)
        else:
            shutil.copytree(template, self.data)
            system.own_tree(self.data)
            self.data.chmod(0o700)

    def backends(self):
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat") if self.alive() else ():
            try:
                if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == self.pid:
                    found.append(int(stat.parent.name))
            except OSError:
                continue
        return found

    def kill(self):
        """kill -9 of the whole server: a backend that outlives the postmaster keeps the next one from starting."""
        backends = self.backends()
        super().kill()
        signal_all(backends, signal.SIGKILL)
        system.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in backends), 10, "backends gone")

    def pause(self):
        """The whole server: the postmaster first, so that no backend begins after the others were listed."""
        super().pause()
        signal_all(self.backends(), signal.SIGSTOP)

    def resume(self):
        signal_all(self.backends(), signal.SIGCONT)
        super().resume()

    def sql(self, text, database="postgres", **variables):
        return postgres.psql(self.port, self.PASSWORD, database=database, script=text, variables=variables)

    def migrated_template(self):
        """A database with every migration of ops/migrations applied, to be copied per test."""
        name = "echora_template"
        if not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}';").strip():
            postgres.create_database(self.port, self.PASSWORD, name)
            migrate(self, name)
        return name

    def database(self, migrated=True, of=None):
        """A fresh database and its Database handle; `of`: a copy of that one."""
        name = f"echora_{next(self.numbers)}"
        template = of.name if of else self.migrated_template() if migrated else None
        postgres.create_database(self.port, self.PASSWORD, name, template=template)
        return Database(self, name)


class Database:
    """One database of a Postgres server, with connections and URLs per role."""

    def __init__(self, server, name):
        self.server = server
        self.name = name

    def url(self, role="echora_catalogue"):
        return f"postgresql://{role}@127.0.0.1:{self.server.port}/{self.name}"

    def password_file(self, role="echora_catalogue"):
        return self.server.secret_files[role]

    def connect(self, role=postgres.SUPERUSER, **options):
        """A psycopg connection, autocommit unless told otherwise; the superuser sees schema catalog too."""
        password = self.server.passwords.get(role, self.server.PASSWORD)
        options.setdefault("autocommit", True)
        if role == postgres.SUPERUSER:
            options.setdefault("options", "-c search_path=catalog,ops,public")
        return psycopg.connect(host="127.0.0.1", port=self.server.port, dbname=self.name, user=role,
                               password=password, connect_timeout=5, **options)

    def all(self, query, *parameters, role=postgres.SUPERUSER):
        with self.connect(role) as connection:
            return connection.execute(query, parameters or None).fetchall()

    def one(self, query, *parameters, role=postgres.SUPERUSER):
        """The first column of the first row, or None."""
        rows = self.all(query, *parameters, role=role)
        return rows[0][0] if rows else None

    def do(self, query, *parameters, role=postgres.SUPERUSER):
        with self.connect(role) as connection:
            connection.execute(query, parameters or None)

    def drop(self):
        self.server.sql(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE);")


def migrate(server, name):
    """Applies the migrations as echora_owner, with the product's own tool when it is built."""
    tool = BUILD / "ops/echora"
    if tool.exists() and subprocess.run([str(tool), "migrate", "--help"], capture_output=True,
                                        stdin=subprocess.DEVNULL).returncode == 0:
        env = dict(os.environ, ECHORA_PG_URL=Database(server, name).url("echora_owner"),
                   ECHORA_PG_PASSWORD_FILE=str(server.secret_files["echora_owner"]))
        system.run([str(tool), "migrate"], env=env, cwd=str(ROOT))
        return
    for file in postgres.migration_files():
        postgres.psql(server.port, server.passwords["echora_owner"], database=name, user="echora_owner",
                      files=[file])


class Nats(Process):
    """nats-server with the product's own users and permissions. which: `current` or `debian`."""

    def __init__(self, folder, which="current", name="nats"):
        binary = fleet_nats.server_binary(which, TOOLS)
        assert binary, f"no nats-server ({which}): run ops/install --tests"
        self.which = which
        self.folder = Path(folder)
        self.port, self.monitor = system.free_port(), system.free_port()
        self.passwords = {user: f"secret-of-{user}" for user in users.USERS}
        self.secret_files = {}
        for user, password in self.passwords.items():
            self.secret_files[user] = self.folder / f"nats-{user}"
            system.write_private(self.secret_files[user], password + "\n")
        self.store = self.folder / f"{name}-store"
        self.store.mkdir(exist_ok=True)  # a test may have mounted something there
        system.own(self.store)
        conf = self.folder / f"{name}.conf"
        system.write_private(conf, users.config(self.port, self.store, self.passwords, self.monitor))
        super().__init__(name, [binary, "-c", conf], folder,
                         ready=lambda: fleet_nats.healthy(self.monitor))

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def get(self, path):
        status, text = http_get(f"http://127.0.0.1:{self.monitor}{path}")
        assert status == 200, f"{path}: {status} {text}"
        return json.loads(text)

    def wipe(self):
        """Stops, forgets every stream and consumer, starts again on the same port."""
        self.kill()
        shutil.rmtree(self.store)
        self.store.mkdir()
        system.own(self.store)
        self.start()


class Redis(Process):
    """redis-server with the product's own configuration and users."""

    def __init__(self, folder, name="redis"):
        self.folder = Path(folder)
        self.port = system.free_port()
        self.passwords = {user: f"secret-of-{user}" for user in redis_server.USERS}
        self.secret_files = {}
        for user, password in self.passwords.items():
            self.secret_files[user] = self.folder / f"redis-{user}"
            system.write_private(self.secret_files[user], password + "\n")
        self.data = self.folder / f"{name}-data"
        self.data.mkdir()
        system.own(self.data)
        conf = redis_server.write(self.folder, self.port, self.passwords, self.data)
        super().__init__(name, [redis_server.binary(), conf], folder,
                         ready=lambda: redis_server.ready(self.port, self.passwords["admin"]))

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def client(self, user="admin"):
        return redis_server.Client(self.port, user, self.passwords[user])

    def call(self, *words, user="admin"):
        with self.client(user) as client:
            return client.call(*words)

    def wipe(self):
        """Forgets every key, script and setting that a test has changed."""
        for words in (("FLUSHALL",), ("SCRIPT", "FLUSH"), ("CONFIG", "RESETSTAT"),
                      ("CONFIG", "SET", "maxmemory", redis_server.MEMORY)):
            self.call(*words)


class Qdrant(Process):
    """The Qdrant Edge front of ops/qdrant-edge, in a process of its own."""

    def __init__(self, folder, name="qdrant"):
        self.folder = Path(folder)
        self.port = system.free_port()
        self.data = self.folder / f"{name}-data"
        self.data.mkdir()
        system.own(self.data)
        front = QDRANT_FRONT
        if not system.reachable(front.parent):
            shutil.copytree(front.parent, self.folder / "qdrant-edge", dirs_exist_ok=True)
            front = self.folder / "qdrant-edge/serve.py"
        super().__init__(name, [VENV / "bin/python", front, "--listen", f"127.0.0.1:{self.port}",
                                "--data", self.data, "--faults"], folder,
                         ready=lambda: http_get(self.url + "/readyz")[0] == 200)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def call(self, method, path, body=None, timeout=10):
        """(status, parsed JSON) of one REST call."""
        return rest.call(self.url, method, path, body, timeout)

    def faults(self, *rules):
        """Plans misbehaviour (ops/qdrant-edge/README.md); without rules: none."""
        status, text = self.call("PUT", "/_front/faults", {"rules": list(rules)})
        assert status == 200, text

    def wipe(self):
        """Deletes every collection and planned fault."""
        self.faults()
        for row in self.call("GET", "/collections")[1]["result"]["collections"]:
            self.call("DELETE", f"/collections/{row['name']}")


__all__ = ["Postgres", "Database", "Nats", "Qdrant", "Redis", "http_get", "migrate", "STATE"]
