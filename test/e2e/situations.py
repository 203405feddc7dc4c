"""The situations that the runbooks are about, brought about in a fleet that ops/up started.

Each takes the fleet and the story (the blocks of one page that belong to it), brings the situation about, gives values to
the words of the page that nothing there prints, and runs the blocks. Afterwards the fleet is as it was.
"""
import base64
import contextlib
import http.server
import json
import re
import subprocess
import threading
import urllib.parse
import urllib.request
import uuid
from types import SimpleNamespace

from harness.bus import Bus
from harness.process import eventually
from harness.scripted import event
from harness.settings import BUILD

from ops.fleet import fleet as ops_fleet
from ops.fleet import system

COLLECTION = "anime_database_v1"
SITUATIONS = {}


def situation(function):
    SITUATIONS[function.__name__.replace("_", "-")] = function
    return function


class Fleet:
    """What ops/up left below a state folder, for bringing it into trouble."""

    def __init__(self, folder):
        self.folder = folder
        self.state = ops_fleet.State(folder)
        self.conf = folder / "supervisor.conf"
        self.written = self.conf.read_text()
        self.buses = {}
        self.well = True  # the last story left it as it was

    def control(self, *argv):
        return self.state.control(*argv)

    def bus(self, user="admin"):
        if user not in self.buses:
            server = SimpleNamespace(url=self.state.settings["nats_url"],
                                     passwords={user: self.state.password(f"nats-{user}")})
            self.buses[user] = Bus(server, user)
        return self.buses[user]

    def echora(self, *argv, user="operator", input=None):
        env = dict(self.state.environment(user, "echora_reader"), ECHORA_QDRANT_URL=self.state.settings["qdrant_url"])
        done = subprocess.run([str(self.folder / "bin/echora"), *argv], env=env, input=input, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def publish(self, subject, document, wait="stored"):
        self.echora("publish", "--wait", wait, subject, input=json.dumps(document))

    def sql(self, statement, role="echora_owner"):
        url = self.state.pg_url(role)
        return system.run([str(ops_fleet.postgres.binaries() / "psql"), "-v", "ON_ERROR_STOP=1", "-Atc", statement, url],
                          env={"PGPASSWORD": self.state.password(f"pg-{role}"), "PATH": "/usr/bin:/bin"}).strip()

    def qdrant(self, method, path, body=None):
        request = urllib.request.Request(self.state.settings["qdrant_url"] + path, method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def call(self, method, path, body, scope, client="n8n"):
        """A call of the Command API; the answer's body."""
        variables = self.state.shell_variables("operator")
        basic = base64.b64encode(f"{client}:{self.state.password(f'api-{client}')}".encode()).decode()
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope}).encode()
        with urllib.request.urlopen(urllib.request.Request(
                variables["TOKEN_URL"], form, {"Authorization": f"Basic {basic}"}), timeout=10) as reply:
            token = json.load(reply)["access_token"]
        request = urllib.request.Request(
            variables["COMMAND_API_URL"] + path, json.dumps(body).encode(), method=method,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())})
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.load(reply)

    def setting(self, worker, **variables):
        """Starts a worker with more variables, as an edited configuration would; none: as ops/up does it."""
        more = "".join(f',{name}="{value}"' for name, value in variables.items())
        head, mark, rest = self.written.partition(f"[program:{worker}]")
        first, environment, others = rest.partition("environment=")
        line, end, others = others.partition("\n")
        self.conf.write_text(head + mark + first + environment + line + more + end + others)
        self.control("update")
        if self.state.processes()[worker]["state"] in ("STOPPED", "FATAL", "EXITED"):
            self.try_to_start(worker)

    def try_to_start(self, worker):
        """It may well end at once: that is what the situation is about."""
        self.state.control("start", worker, check=False)

    def sound(self):
        return all(p["state"] == "RUNNING" for p in self.state.processes().values()) \
            and set(self.state.health().values()) == {"ready"}

    def wait_sound(self):
        eventually(self.sound, 60, "a sound fleet")

    def close(self):
        for bus in self.buses.values():
            bus.close()


def anime(ident, title="A thing of its own", **more):
    return {"animeId": ident, "anime": {"title": title, "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_UPCOMING", **more}}


def known(fleet, **more):
    """The id of an anime that is in catalogue and index."""
    ident = str(uuid.uuid4())
    fleet.publish("anime.enriched", anime(ident, **more), wait="indexed")
    return ident


@situation
def healthy(fleet, story):
    story.values["ANIME"] = known(fleet)
    story.run_all()


def stopped(part):
    """The situation in which this program does not run, and nothing else is wrong."""
    def situation_of(fleet, story):
        fleet.control("stop", part)
        story.run_all()
    return situation_of


SITUATIONS.update({"postgres-away": stopped("postgres"),
                   "nats-away": stopped("nats"),
                   "qdrant-away": stopped("qdrant"),
                   "catalogue-stopped": stopped("catalogue"),
                   "command-api-stopped": stopped("command-api"),
                   "nobody-answers": stopped("dead-letters"),
                   "redis-away": stopped("redis")})


@situation
def no_audit(fleet, story):
    fleet.bus().wait(fleet.bus().js.delete_stream("AUDIT"))
    story.run_all()


@situation
def audited(fleet, story):
    fleet.call("POST", "/operations/reconcile", {}, "workflow.execute")
    story.run_all()


@situation
def client_removed(fleet, story):
    table = fleet.folder / "api-clients.json"
    written = table.read_text()
    clients = [c for c in json.loads(written)["clients"] if c["id"] != "n8n"]
    table.write_text(json.dumps({"clients": clients}))
    try:
        story.run_all()
    finally:
        table.write_text(written)
        fleet.control("signal", "HUP", "command-api")


@situation
def full_stream(fleet, story):
    known(fleet)
    info = fleet.bus().wait(fleet.bus().js.stream_info("ANIME_EVENTS"))
    fleet.bus().wait(fleet.bus().js.update_stream(info.config.evolve(max_bytes=info.state.bytes)))
    story.run_all()


def limit_letters(fleet, n):
    info = fleet.bus().wait(fleet.bus().js.stream_info("ANIME_DLQ"))
    fleet.bus().wait(fleet.bus().js.update_stream(info.config.evolve(max_msgs=n)))


@situation
def full_letters(fleet, story):
    fleet.bus("operator").publish("anime.updated", b"not an event")
    info = eventually(lambda: letters(fleet) and fleet.bus().wait(fleet.bus().js.stream_info("ANIME_DLQ")), 20, "a letter")
    limit_letters(fleet, info.state.messages)
    fleet.bus("operator").publish("anime.updated", b"nor is this")
    story.values["SEQ"] = info.state.last_seq + 1
    story.run_all()
    limit_letters(fleet, info.config.max_msgs)


def letters(fleet):
    return fleet.bus().wait(fleet.bus().js.stream_info("ANIME_DLQ")).state.messages


@situation
def hung_worker(fleet, story):
    ack_wait(fleet, "catalog-enriched", 2)
    fleet.control("signal", "STOP", "catalogue")
    fleet.publish("anime.enriched", anime(str(uuid.uuid4())))
    info = fleet.bus().consumer("ANIME_EVENTS", "catalog-enriched")
    story.run_all()
    assert fleet.bus().consumer("ANIME_EVENTS", "catalog-enriched").ack_floor.stream_seq > info.ack_floor.stream_seq
    ack_wait(fleet, "catalog-enriched", 30)


@situation
def crashing_worker(fleet, story):
    """No event of ours crashes the catalogue; the scripted worker of the runtime's tests takes its place."""
    worker = fleet.folder / "bin/echora-catalogue"
    ours = worker.with_name("ours")
    worker.rename(ours)
    worker.write_bytes((BUILD / "test/worker/echora-scripted").read_bytes())
    worker.chmod(0o755)
    journal = fleet.folder / "journal"
    journal.touch()
    system.own(journal)
    ack_wait(fleet, "catalog-updated", 0.5)
    try:
        fleet.setting("catalogue", ECHORA_JOURNAL=journal, ECHORA_DEPENDENCY_FILE=journal)
        story.values["EVENT_SEQ"] = fleet.bus("operator").publish("anime.updated", event("crash")).seq
        story.run_all()
    finally:
        ours.rename(worker)
        ack_wait(fleet, "catalog-updated", 30)
        fleet.setting("catalogue")
        fleet.control("restart", "catalogue")


def ack_wait(fleet, consumer, seconds):
    bus = fleet.bus()
    config = bus.consumer("ANIME_EVENTS", consumer).config
    bus.wait(bus.js.add_consumer("ANIME_EVENTS", config.evolve(ack_wait=seconds)))


@situation
def no_suspects(fleet, story):
    fleet.bus().wait(fleet.bus().js.delete_stream("WORKER_SUSPECTS"))
    story.run_all()


@situation
def wrong_option(fleet, story):
    fleet.setting("qdrant-sync", ECHORA_REPAIR_RATE="fast")
    story.run_all()
    fleet.setting("qdrant-sync")


@situation
def option_mended(fleet, story):
    fleet.setting("qdrant-sync", ECHORA_REPAIR_RATE="fast")
    fleet.conf.write_text(fleet.written)
    story.run_all()


@situation
def missing_consumer(fleet, story):
    fleet.bus().wait(fleet.bus().js.delete_consumer("ANIME_EVENTS", "catalog-episode-aired"))
    story.run_all()


@situation
def wrong_password(fleet, story):
    file = fleet.folder / "secrets/nats-relay"
    password = file.read_text()
    fleet.control("stop", "relay")
    system.write_private(file, "wrong\n")
    fleet.try_to_start("relay")
    story.run(2)
    system.write_private(file, password)
    story.run_all()


@situation
def drift(fleet, story):
    fleet.qdrant("POST", f"/collections/{COLLECTION}/points/delete?wait=true", {"points": [known(fleet)]})
    story.run_all()


@situation
def reindex(fleet, story):
    story.run()
    fleet.setting("qdrant-sync", ECHORA_COLLECTION="anime_database_v2")
    story.run(2)
    fleet.setting("qdrant-sync")
    story.run_all()
    fleet.qdrant("DELETE", "/collections/anime_database_v2")


@situation
def lost_qdrant(fleet, story):
    fleet.qdrant("DELETE", f"/collections/{COLLECTION}")
    story.run_all()


@situation
def vectors_owed(fleet, story):
    fleet.qdrant("POST", f"/collections/{COLLECTION}/points/payload?wait=true",
                 {"points": [known(fleet)], "payload": {"emb": "pending"}})
    story.run_all()


@situation
def rejected(fleet, story):
    story.values["ANIME"] = known(fleet)
    payload = event("test", entity="nonsense")  # an AnimeUpdatedEvent
    fleet.bus("operator").publish("anime.updated", payload)
    story.run_all()


def conflicts(fleet, n=1, merge=False):
    """n letters with the code identity-conflict, and no others: an event that has the reference of another anime."""
    fleet.bus().purge("ANIME_DLQ")
    eventually(lambda: "no dead letters" in fleet.echora("dlq", "list"), 30, "an index without letters")
    for i in range(n):
        one, two, reference = str(uuid.uuid4()), str(uuid.uuid4()), f"https://example.org/{uuid.uuid4()}"
        fleet.publish("anime.enriched", anime(one, "One", sources=[reference]), wait="indexed")
        fleet.publish("anime.enriched", anime(two, "Two", sources=[reference + "/2"]), wait="indexed")
        before = letters(fleet)
        fleet.publish("anime.enriched", anime(two, "Two", sources=[reference, reference + "/2"]))
        eventually(lambda: letters(fleet) > before, 20, f"letter {i}")  # noqa: B023
        if merge:
            fleet.echora("delete", two, "--merge-into", one, "--reason", "the same")
    return {"ANIME": one, "OTHER": two, "CONSUMER": "catalog-enriched", "SUBJECT": "anime.enriched"}


@situation
def identity_conflict(fleet, story):
    story.values.update(conflicts(fleet))
    story.run_all()


@situation
def a_letter(fleet, story):
    story.values.update(conflicts(fleet, merge=True))
    story.run_all()


@situation
def replay(fleet, story):
    story.values.update(conflicts(fleet, 3, merge=True))
    story.run_all()


@situation
def waiting_update(fleet, story):
    ident = str(uuid.uuid4())
    story.values["ANIME"] = ident
    fleet.publish("anime.updated", {"animeId": ident, "changedFields": ["title"], "anime": {"title": "Early"}})
    story.run_all()


@situation
def recreated_stream(fleet, story):
    known(fleet)
    fleet.bus().wait(fleet.bus().js.delete_stream("ANIME_SYNC"))
    fleet.echora("streams", "apply", user="admin")
    story.run_all()


@situation
def restored_postgresql(fleet, story):
    """The database as a backup from before the last change has it: an update of an anime is not in it."""
    ident = known(fleet)
    fleet.control("stop", "catalogue", "relay", "dead-letters")
    dump(fleet)
    fleet.control("start", "catalogue", "relay", "dead-letters")
    fleet.wait_sound()
    fleet.publish("anime.enriched", anime(ident, "Newer"), wait="indexed")
    fleet.control("stop", "catalogue", "relay", "dead-letters")
    restore(fleet)
    fleet.control("start", "catalogue", "dead-letters")
    fleet.try_to_start("relay")
    story.run_all()


def superuser(fleet, *argv, **options):
    return system.run([str(ops_fleet.postgres.binaries() / argv[0]), "-h", "127.0.0.1", "-p",
                       str(fleet.state.port("postgres")), "-U", "postgres", *argv[1:]],
                      env={"PGPASSWORD": fleet.state.password("pg-postgres"), "PATH": "/usr/bin:/bin"}, **options)


def dump(fleet):
    superuser(fleet, "dropdb", "--if-exists", "backup")
    superuser(fleet, "psql", "-c", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'echora'")
    superuser(fleet, "createdb", "-O", "echora_owner", "-T", "echora", "backup")


def restore(fleet):
    superuser(fleet, "psql", "-c", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'echora'")
    superuser(fleet, "psql", "-c", "DROP DATABASE echora WITH (FORCE)")
    superuser(fleet, "psql", "-c", "ALTER DATABASE backup RENAME TO echora")


@situation
def risky(fleet, story):
    ident = known(fleet)
    fleet.publish("anime.updated", {"animeId": ident, "changedFields": ["title"], "anime": {"title": "Quite another"}})
    waiting = eventually(lambda: json.loads(fleet.echora("review", "list", "--anime", ident, "--json"))["reviews"], 20,
                         "a review")
    story.values["REVIEW"] = waiting[0]["reviewId"]
    story.run_all()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, text = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


WELL = (202, "")  # as the workflows of ops/n8n


@contextlib.contextmanager
def adapter_before(fleet, answer=WELL, **variables):
    """As ops/up starts the adapter where ECHORA_WEBHOOK_URL names a receiver; yields that. No letters wait."""
    fleet.bus().purge("ANIME_DLQ")
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    receiver.answer = answer
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    worker = fleet.folder / "bin/echora-adapter"
    worker.write_bytes((BUILD / "workers/adapter/echora-adapter").read_bytes())
    worker.chmod(0o755)
    fleet.state.settings["webhook_url"] = f"http://127.0.0.1:{receiver.server_port}"
    more = "".join(f',{name}="{value}"' for name, value in variables.items())
    head, mark, rest = fleet.state.supervisor_config().partition("[program:adapter]")
    fleet.conf.write_text(head + mark + re.sub(r"(?m)^(environment=.*)$", rf"\1{more}", rest, count=1))
    fleet.control("update")
    fleet.try_to_start("adapter")
    fleet.wait_sound()
    yield receiver
    del fleet.state.settings["webhook_url"]
    fleet.conf.write_text(fleet.written)
    fleet.control("update")
    receiver.shutdown()
    fleet.bus().purge("ANIME_DLQ")


def refused_events(fleet, n=1):
    """So many dead letters, which the adapter tells its receiver of."""
    for i in range(n):
        fleet.bus("operator").publish("anime.updated", b"no event %d" % i)


def calls_of(fleet, kind):
    return json.loads(fleet.echora("webhook", "deliveries", "dlq", "--class", kind, "--json"))


@situation
def webhooks(fleet, story):
    with adapter_before(fleet):
        refused_events(fleet)
        eventually(lambda: calls_of(fleet, "delivered"), 30, "delivered")
        story.run_all()


def failing(fleet, story, kind, answer, n=1, **variables):
    """The receiver answers so; the story's first block is about that, the others about the time when it is mended."""
    with adapter_before(fleet, answer, ECHORA_BREAKER_PAUSE="1s", ECHORA_RETRY_LONGEST="10s", **variables) as receiver:
        refused_events(fleet, n)
        eventually(lambda: len(calls_of(fleet, kind)) >= n, 30, f"{n} calls that ended with {answer}")
        story.run()
        receiver.answer = WELL
        story.run_all()


@situation
def receiver_fails(fleet, story):
    failing(fleet, story, "trouble", (503, "no room at all"), 3, ECHORA_BREAKER_AFTER="3")


@situation
def workflow_inactive(fleet, story):
    failing(fleet, story, "misconfigured", (404, "the webhook dlq-triage is not registered"), ECHORA_BREAKER_AFTER="1000")


@situation
def secret_refused(fleet, story):
    failing(fleet, story, "auth", (401, "bad signature"))


@situation
def route_disabled(fleet, story):
    failing(fleet, story, "gone", (410, "workflow deleted"))


@situation
def webhook_parked(fleet, story):
    failing(fleet, story, "refused", (422, "no such field"), 3)


@situation
def log_locked(fleet, story):
    """Somebody holds a lock for as long as the story takes."""
    with adapter_before(fleet):
        lock = subprocess.Popen(
            [str(ops_fleet.postgres.binaries() / "psql"), "-d", fleet.state.pg_url("echora_owner")], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
            env={"PGPASSWORD": fleet.state.password("pg-echora_owner"), "PATH": "/usr/bin:/bin"})
        lock.stdin.write("BEGIN;\nLOCK TABLE adapter.delivery IN SHARE MODE;\n\\echo locked\n")
        lock.stdin.flush()
        while "locked" not in lock.stdout.readline():
            assert lock.poll() is None
        refused_events(fleet)
        story.run_all()
        lock.communicate("ROLLBACK;\n")


@situation
def adapter_stopped(fleet, story):
    with adapter_before(fleet):
        fleet.control("stop", "adapter")
        story.run_all()


@situation
def poison_storm(fleet, story):
    for n in range(30):
        fleet.bus("operator").publish("anime.enriched", b"\xff no event %d" % n)
    eventually(lambda: letters(fleet) >= 30, 30, "letters")
    story.run_all()
    info = fleet.bus().wait(fleet.bus().js.stream_info("ANIME_DLQ"))
    fleet.bus().wait(fleet.bus().js.update_stream(info.config.evolve(max_msgs_per_subject=250_000)))
