"""The servers of a job, in an empty folder, on free ports; `fresh` empties them between runs."""
import contextlib
import datetime
import json
import shutil
import tempfile
from pathlib import Path

from harness import fleet, servers
from harness.bus import Bus
from harness.process import Process
from harness.settings import TOOLS
from ops.fleet import system


class OpenNats(servers.Nats):
    """Without passwords and rights: peers have no users there, and some listen where nobody may in production."""

    def __init__(self, folder, which):
        super().__init__(folder, which)
        conf = Path(self.argv[-1])
        text = conf.read_text()
        conf.write_text(text[:text.index("authorization {")])


class Stage:
    def __init__(self, which="current", needs=("postgres", "nats"), settings=None):
        self.folder = Path(tempfile.mkdtemp(prefix="echora-bench-"))
        system.own(self.folder)
        self.folder.chmod(0o755)
        self.db = self.bus = self.pg = self.nats = self.qdrant = self.redis = None
        self.processes, self.n = [], 0
        self.kept = []  # databases that a job filled and uses again, which `fresh` does not drop
        try:
            if "postgres" in needs:
                self.pg = servers.Postgres(self.folder)
                for name, value in (settings or {}).items():
                    self.pg.argv += ["-c", f"{name}={value}"]
                self.pg.start(timeout=60)
            if "nats" in needs:
                self.nats = OpenNats(self.folder, which)
            if "qdrant" in needs:
                self.qdrant = servers.Qdrant(self.folder)
                self.qdrant.start(timeout=60)
            if "redis" in needs:
                self.redis = servers.Redis(self.folder)
                self.redis.start(timeout=60)
        except BaseException:
            self.close()
            raise

    def fresh(self, database=None):
        """A nats-server that never held anything, an index without collections, a Redis without keys, and a new database
        or the one that is given."""
        self.end_processes()
        if self.bus:
            self.bus.close()
            self.bus = None
        if self.db and self.db not in self.kept:
            self.db.drop()
        if self.pg:
            self.db = database or self.pg.database()
        if self.nats:
            self.nats.wipe() if self.nats.alive() else self.nats.start()
            self.echora("streams", "apply", user="admin")
            self.bus = Bus(self.nats, "admin")
        if self.qdrant:
            self.qdrant.wipe()
        if self.redis:
            self.redis.wipe()
        return self

    @property
    def echora(self):
        return fleet.Echora(nats=self.nats, database=self.db, qdrant=self.qdrant)

    def settle(self):
        """What was filled in is on the disk, so that a run pays for its own writes alone."""
        self.db.do("CHECKPOINT")

    def worker(self, kind, **env):
        """A worker of ours, not started."""
        self.n += 1
        worker = fleet.Worker(kind, self.folder, nats=self.nats, database=self.db, qdrant=self.qdrant,
                              env={"ECHORA_LOG_LEVEL": "warn", **env}, name=f"{kind}-{self.n}")
        self.processes.append(worker)
        return worker

    def process(self, name, argv, **env):
        """Another program, not started; it learns of the servers by NATS_URL, PG_URL and QDRANT_URL."""
        self.n += 1
        known = {"HOME": self.folder, "NATS_URL": self.nats.url if self.nats else "",
                 "PG_URL": self.postgres_url() if self.db else "", "QDRANT_URL": self.qdrant.url if self.qdrant else ""}
        process = Process(f"{name}-{self.n}", argv, self.folder, env={**known, **env})
        self.processes.append(process)
        return process

    def postgres_url(self, role="postgres"):
        password = self.pg.passwords.get(role, self.pg.PASSWORD)
        return f"postgresql://{role}:{password}@127.0.0.1:{self.pg.port}/{self.db.name}?sslmode=disable"

    def pids(self):
        """{name: pid} of the servers, for a Meter."""
        named = {"PostgreSQL": self.pg, "nats-server": self.nats, "qdrant front": self.qdrant, "redis": self.redis}
        return {name: server.pid for name, server in named.items() if server}

    def reachable(self, path):
        """The path, or a copy that the servers' account can read."""
        return fleet.reachable_copy(Path(path), self.folder)

    def nats_cli(self):
        return self.reachable(TOOLS / "nats")

    # The stream --------------------------------------------------------------------------------------

    def messages(self, stream="ANIME_SYNC"):
        return self.bus.stream(stream).state.messages

    def stored_at(self, sequence, stream="ANIME_SYNC"):
        """When the stream took this message, seconds since 1970."""
        reply = self.bus.request(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps({"seq": sequence}).encode())
        return seconds(json.loads(reply.data)["message"]["time"])

    # The end -----------------------------------------------------------------------------------------

    def end_processes(self):
        for process in self.processes:
            if process.alive():
                try:
                    process.stop(timeout=20)
                except AssertionError:  # it was told twice by then; a run is not about this
                    process.kill()
        self.processes = []

    def close(self):
        with contextlib.suppress(Exception):
            self.end_processes()
        if self.bus:
            self.bus.close()
        for server in (self.qdrant, self.redis, self.nats):
            if server and server.alive():
                server.kill()
        if self.pg and self.pg.alive():
            self.pg.stop(number=2)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def seconds(stamp):
    """Seconds since 1970 of a time as nats-server writes it, with up to nine decimals."""
    base, _, rest = stamp.rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(base).replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp() + float("0." + (rest or "0"))
