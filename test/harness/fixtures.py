"""What a test can ask for.

Session:  pg_server, nats_server, qdrant_server, redis_server (started on first use, stopped at the end)
Test:     folder   a temporary folder for this test's logs and files
          db       a fresh database with all migrations
          nats     the nats-server with nothing in it (all streams deleted), plus `bus(user)`
          streams  the same with the product's streams and consumers (`echora streams apply`)
          qdrant   the Qdrant front without collections
          redis    the Redis server without keys
          spawn    spawn("catalogue", env={…}) starts a worker against db, streams and qdrant
          echora   runs the CLI: echora("publish", "anime.enriched", input=…)
          api      the Command API: nginx, the worker behind it, tokens; not started yet
          receiver a strict receiver of webhooks, adapter the event adapter in front of it
          proxy    proxy(server) stands between its clients and a server (harness/proxy.py)
"""
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from ops.fleet import system

from . import fleet, servers
from .adapter import Adapter
from .bus import Bus
from .gateway import CommandApi
from .proxy import Proxy
from .receiver import Receiver
from .settings import QDRANT_FRONT


def nats_version():
    return os.environ.get("ECHORA_TEST_NATS", "current")


@pytest.fixture(scope="session")
def session_folder():
    path = Path(tempfile.mkdtemp(prefix="echora-test-"))
    system.own(path)
    path.chmod(0o755)
    yield path
    if os.environ.get("ECHORA_TEST_KEEP"):
        print(f"\nkept: {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def pg_server(session_folder):
    server = servers.Postgres(session_folder)
    server.start(timeout=60)
    yield server
    server.stop(number=2)  # SIGINT: fast shutdown


@pytest.fixture(scope="session")
def nats_server(session_folder):
    server = servers.Nats(session_folder, nats_version())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def qdrant_server(session_folder):
    assert QDRANT_FRONT.exists(), "ops/qdrant-edge is missing"
    server = servers.Qdrant(session_folder)
    server.start(timeout=60)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(session_folder):
    server = servers.Redis(session_folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def folder(session_folder, request):
    path = Path(tempfile.mkdtemp(prefix="t-", dir=session_folder))
    system.own(path)
    path.chmod(0o755)
    yield path
    failed = any(getattr(request.node, f"report_{when}", None) is not None
                 and getattr(request.node, f"report_{when}").failed for when in ("setup", "call"))
    if not failed and not os.environ.get("ECHORA_TEST_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def db(pg_server):
    if not pg_server.alive():
        pg_server.start()
    database = pg_server.database()
    yield database
    if pg_server.alive():
        database.drop()


class TestNats:
    """The shared nats-server for one test; closes the connections it hands out."""
    __test__ = False

    def __init__(self, server):
        self.server = server
        self.buses = []

    def __getattr__(self, name):
        return getattr(self.server, name)

    def bus(self, user="admin"):
        bus = Bus(self.server, user)
        self.buses.append(bus)
        return bus

    def close(self):
        for bus in self.buses:
            bus.close()


@pytest.fixture
def nats(nats_server):
    if not nats_server.alive():
        nats_server.start()
    handle = TestNats(nats_server)
    handle.bus().delete_streams()
    yield handle
    handle.close()


@pytest.fixture
def streams(nats, echora_for):
    echora_for(nats=nats)("streams", "apply", user="admin")
    return nats


@pytest.fixture
def qdrant(qdrant_server):
    if not qdrant_server.alive():
        qdrant_server.start()
    qdrant_server.wipe()
    return qdrant_server


@pytest.fixture
def redis(redis_server):
    if not redis_server.alive():
        redis_server.start()
    redis_server.wipe()
    return redis_server


@pytest.fixture
def echora_for():
    return fleet.Echora


@pytest.fixture
def echora(request):
    """The CLI against whichever of db, nats/streams and qdrant this test also asks for."""
    have = {name: request.getfixturevalue(name) if name in request.fixturenames else None
            for name in ("streams", "nats", "db", "qdrant")}
    return fleet.Echora(nats=have["streams"] or have["nats"], database=have["db"], qdrant=have["qdrant"])


@pytest.fixture
def spawn(request, folder):
    """Starts workers; all are stopped at the end and must end orderly, within their drain time."""
    workers = []

    def start(kind, env=None, argv=(), wait=True, timeout=20, **servers_used):
        used = {key: servers_used.get(key) or (request.getfixturevalue(fixture)
                                               if fixture in request.fixturenames else None)
                for key, fixture in (("nats", "nats"), ("database", "db"), ("qdrant", "qdrant"))}
        worker = fleet.Worker(kind, folder, env=env, argv=argv, **used)
        workers.append(worker)
        return worker.start(wait=wait, timeout=timeout)

    yield start
    for worker in workers:
        if worker.alive():
            worker.stop()


@pytest.fixture
def receiver():
    """A strict receiver of webhooks; what was wrong with any call fails the test at its end."""
    one = Receiver()
    yield one
    one.stop()
    assert one.faults == []


@pytest.fixture
def adapter(receiver, spawn, streams, db, folder):
    """The event adapter's events and what became of them; `adapter.start(receiver.url)` starts it."""
    one = Adapter(spawn, streams, db, folder)
    one.write_secrets(*receiver.secrets)
    return one


@pytest.fixture
def api(spawn, redis, streams, folder):
    """The Command API, `api.start()`: nginx and the worker."""
    one = CommandApi(spawn, redis, folder)
    yield one
    one.stop()


@pytest.fixture
def proxy():
    """Proxies in front of servers. Workers are stopped before: ask for `proxy` ahead of `spawn`."""
    made = []

    def start(server):
        made.append(Proxy(server.port))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Remembers each phase on the item, and shows the end of the logs of this test when it failed."""
    outcome = yield
    report = outcome.get_result()
    setattr(item, f"report_{report.when}", report)
    if report.failed and "folder" in getattr(item, "funcargs", {}):
        for log in sorted(Path(item.funcargs["folder"]).glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-40:]
            report.sections.append((f"end of {log.name}", "\n".join(lines)))
