"""With a worker's own credentials, everything that it must not do is tried and refused.

The tables are written from the specification ("Who may publish what", catalog.md, outbox-and-sync.md), not from
ops/nats/users.py and the grants; test/integration/test_nats_permissions.py holds what each NATS user may publish.
"""
import json
import os
import stat

import psycopg
import pytest
from harness.catalogue import Catalogue, anime, new_id
from harness.process import eventually
from integration.test_nats_permissions import ALL_STREAMS, CONSUMERS, INBOXES, PUBLISH, Raw

# NATS


def management():
    """Every subject that makes, changes, empties or unmakes a stream, a consumer or a stored message."""
    for s in ALL_STREAMS:
        yield from (f"$JS.API.STREAM.{verb}.{s}" for verb in ("CREATE", "UPDATE", "DELETE", "PURGE"))
        yield from (f"$JS.API.CONSUMER.CREATE.{s}", f"$JS.API.CONSUMER.CREATE.{s}.x",
                    f"$JS.API.CONSUMER.CREATE.{s}.x.anime.enriched", f"$JS.API.CONSUMER.DURABLE.CREATE.{s}.x")
    yield from (f"$JS.API.CONSUMER.DELETE.{s}.{d}" for s, d in CONSUMERS)


def forbidden_to_all():
    for s in ALL_STREAMS:
        yield from (f"$JS.API.STREAM.{verb}.{s}" for verb in ("SNAPSHOT", "RESTORE", "PEER.REMOVE", "LEADER.STEPDOWN"))
    for s, d in CONSUMERS:
        yield from (f"$JS.API.CONSUMER.{verb}.{s}.{d}" for verb in ("LEADER.STEPDOWN", "PAUSE", "UNPIN", "RESET"))
    yield from ("$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT.$G.CONNZ", "$SYS.ACCOUNT.$G.x",
                "$SYS.REQ.USER.INFO.x", "$JS.API.SERVER.REMOVE", "$JS.API.META.LEADER.STEPDOWN",
                "$JS.API.ACCOUNT.PURGE.$G", "$JS.API.ACCOUNT.STREAM.MOVE.$G.ANIME_SYNC",
                "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.ANIME_EVENTS.catalog-enriched",
                "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.ANIME_EVENTS.catalog-enriched")


# Message delete: dead letters of ANIME_DLQ, by their own service, and by hand.
DELETES = {f"$JS.API.STREAM.MSG.DELETE.{s}": {"deadletters", "admin"} if s == "ANIME_DLQ" else set() for s in ALL_STREAMS}
ANSWERS = {"catalogue", "qdrant", "deadletters", "adapter", "workflow"}


@pytest.mark.chaos(fault="rights abused: management of streams", place="nats", checks="refused, all but the admin's")
@pytest.mark.parametrize("user", sorted(PUBLISH))
def test_nats_management_is_for_the_admin(nats, user):
    raw = Raw(nats.server, user)
    subjects = [*management(), *forbidden_to_all(), *DELETES]
    allowed = set(management()) if user == "admin" else set()
    allowed |= {s for s, users in DELETES.items() if user in users}
    refused = raw.publish(subjects)
    raw.close()
    assert refused == set(subjects) - allowed


@pytest.mark.chaos(fault="rights abused: another's inbox", place="nats", checks="refused")
@pytest.mark.parametrize("user", sorted(set(PUBLISH) - ANSWERS))
def test_nobody_writes_into_anothers_inbox(nats, user):
    """An answer can be forged by those alone that answer anyway."""
    raw = Raw(nats.server, user)
    refused = raw.publish(sorted(INBOXES))
    raw.close()
    assert refused == INBOXES - PUBLISH[user]


@pytest.mark.chaos(fault="rights abused: listening on the common inbox", place="nats",
                   checks="nothing of ours is heard")
def test_our_own_answers_do_not_pass_through_the_common_inbox(streams, db, spawn, echora_for):
    """Every client may listen on _INBOX.>: what workers and `echora` ask and are told never goes there."""
    spawn("catalogue")
    anime_id = new_id()
    catalogue = Catalogue(streams, db)
    catalogue.enriched(anime_id, anime())
    catalogue.settle()
    spy = streams.bus("publisher")
    heard = spy.subscribe("_INBOX.>")
    echora = echora_for(nats=streams, database=db)
    assert anime_id in echora("get", "anime", anime_id, user="viewer").out
    echora("streams", "check", user="admin")
    spawn("relay")
    eventually(lambda: streams.bus("admin").stream("ANIME_SYNC").state.messages == 1, 10, "relayed")
    spy.send("_INBOX_publisher.x")  # flushed: what was there has come
    assert heard.pending_msgs == 0


# PostgreSQL

ENTITIES = "anime character episode company source_material entity_alias"
PARTS = ("anime_xref character_xref episode_xref company_xref source_material_xref anime_character anime_relation "
         "anime_source_material_relation anime_company graph_edge inbox pending_update")
LOOKED_UP = ("anime_type anime_status anime_rating anime_season source_material_type character_role company_role "
             "anime_relation_type source_material_relation_type edge_type inbox_outcome review_state anime_image "
             "character_image episode_image character_alias anime_broadcast anime_hiatus episode_airing "
             "anime_document character_document episode_document review")
WRITER = {f"catalog.{t}": verbs for names, verbs in
          ((ENTITIES, "SELECT INSERT UPDATE"), (PARTS, "SELECT INSERT UPDATE DELETE"), (LOOKED_UP, "SELECT"),
           ("update_review", "SELECT INSERT UPDATE"), ("review_step", "SELECT INSERT"), ("outbox", "INSERT"))
          for t in names.split()}
RELAY = {"catalog.outbox": "SELECT", "catalog.outbox_batch": "SELECT INSERT DELETE UPDATE",
         "catalog.outbox_lane": "SELECT INSERT UPDATE",
         **{f"catalog.outbox_slot_{n}": "SELECT TRUNCATE" for n in range(6)}}
LETTERS = {f"ops.{t}": "SELECT INSERT UPDATE DELETE"
           for t in ("letter", "letter_fate", "letter_stream", "replay_plan", "replay_item")}
LETTERS["ops.letter_count"] = "SELECT"
WRITER["ops.kept_reply"] = LETTERS["ops.kept_reply"] = "SELECT INSERT UPDATE DELETE"
WEBHOOKS = {"adapter.delivery": "SELECT INSERT DELETE", "adapter.route": "SELECT INSERT UPDATE",
            "adapter.route_change": "SELECT INSERT DELETE"}
ROLES = {"echora_catalogue": WRITER, "echora_relay": RELAY, "echora_deadletters": LETTERS, "echora_adapter": WEBHOOKS,
         "echora_reader": None}  # None: SELECT, everywhere
COLUMNS = {("echora_catalogue", "catalog.outbox", "INSERT"):
           {"stream", "subject", "entity_type", "entity_id", "event_id", "headers", "payload"},
           ("echora_catalogue", "catalog.review_step", "INSERT"):
           {"review_id", "step", "actor", "event_id", "fields", "note"},
           ("echora_relay", "catalog.outbox_batch", "UPDATE"): {"closed_at"},
           ("echora_adapter", "adapter.delivery", "INSERT"):
           {"webhook_id", "route", "attempt", "trigger", "stream", "stream_seq", "started_at", "ms", "status", "error",
            "class", "next_try_at", "asked_by", "answer"},
           ("echora_adapter", "adapter.route_change", "INSERT"): {"route", "enabled", "reason", "changed_by"}}
TRY = {"SELECT": "SELECT {column} FROM {table} LIMIT 0", "UPDATE": "UPDATE {table} SET {column} = DEFAULT WHERE false",
       "INSERT": "INSERT INTO {table} ({column}) SELECT NULL::{type} WHERE false",
       "DELETE": "DELETE FROM {table} WHERE false", "TRUNCATE": "TRUNCATE {table}"}


def succeeds(connection, sql):
    try:
        connection.execute("BEGIN")
        connection.execute(sql)
        return True
    except psycopg.Error:
        return False
    finally:
        connection.execute("ROLLBACK")


def refused(connection, sql):
    """Whether the role lacks the right; anything else that is wrong with the statement comes later."""
    alone = sql.startswith(("CREATE DATABASE", "ALTER SYSTEM"))  # not in a transaction
    try:
        connection.execute("SELECT" if alone else "BEGIN")
        connection.execute(sql)
    except psycopg.errors.InsufficientPrivilege:
        return True
    except psycopg.Error:
        pass
    finally:
        connection.execute("ROLLBACK")
    return False


@pytest.mark.chaos(fault="rights abused: every table, verb and column", place="postgres", checks="hand-written table")
@pytest.mark.parametrize("role", ROLES)
def test_tables(db, role):
    """Every table and view there is, every verb, every column, against the hand-written table."""
    columns = {}
    for table, *column in db.all("""
            SELECT n.nspname || '.' || c.relname, quote_ident(a.attname), format_type(a.atttypid, NULL) FROM pg_class c
              JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
             WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
               AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0
               AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY 1, 2"""):
        columns.setdefault(table, []).append(column)
    assert len(columns) > 50 and set(WRITER) | set(RELAY) | set(LETTERS) | set(WEBHOOKS) <= set(columns)
    wrong = []
    with db.connect(role, options="-c default_transaction_read_only=off") as connection:
        for table, names in columns.items():
            for verb, sql in TRY.items():
                may = verb in ((ROLES[role] or {}).get(table, "").split() if ROLES[role] is not None else ["SELECT"])
                only = COLUMNS.get((role, table, verb))
                for column, its_type in names if "{column}" in sql else [("", "")]:
                    wanted = may and (only is None or column in only)
                    if wanted != succeeds(connection, sql.format(table=table, column=column, type=its_type)):
                        wrong.append((verb, table, column, "is refused" if wanted else "is allowed"))
    assert wrong == []


NOBODY = [
    "CREATE TABLE catalog.mine ()", "CREATE TABLE ops.mine ()", "CREATE TABLE public.mine ()",
    "CREATE TEMP TABLE mine ()",
    "CREATE SCHEMA mine", "CREATE FUNCTION catalog.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE VIEW catalog.mine AS SELECT 1", "ALTER TABLE catalog.anime ADD mine int", "DROP TABLE catalog.anime",
    "CREATE INDEX ON catalog.anime (title)", "COMMENT ON TABLE catalog.anime IS 'mine'",
    "ALTER TABLE catalog.anime DISABLE TRIGGER ALL", "LOCK TABLE catalog.anime_type IN ACCESS EXCLUSIVE MODE",
    "CREATE ROLE mine", "CREATE DATABASE mine", "CREATE EXTENSION dblink",
    "SET ROLE echora_owner", "SET ROLE postgres", "SET SESSION AUTHORIZATION echora_owner",
    "ALTER SYSTEM SET log_statement = 'none'",
    "ALTER ROLE echora_owner PASSWORD 'x'", "ALTER ROLE CURRENT_USER SUPERUSER", "ALTER ROLE CURRENT_USER CREATEROLE",
    "SET session_replication_role = replica", "SET log_statement = 'none'",
    "COPY (SELECT 1) TO PROGRAM 'true'", "COPY (SELECT 1) TO '/tmp/mine'", "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')", "SELECT pg_stat_file('/etc/passwd')", "SELECT lo_import('/etc/passwd')",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')", "SELECT pg_logical_emit_message(false, 'a', 'b')",
    "SELECT rolpassword FROM pg_authid",
    "SELECT passwd FROM pg_shadow", "SELECT pg_reload_conf()", "SELECT pg_switch_wal()", "SELECT pg_promote()",
    "SELECT setval('catalog.revision_seq', 1)", "CALL ops.outbox_accept('catalog', 'ANIME_SYNC', 0)",
    "CALL ops.outbox_create('catalog', '{A}', 'echora_reader', 'echora_reader')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user AND pid <> pg_backend_pid()",
]
# What one role needs and the others must not have.
OWN = {
    "SELECT catalog.inbox_maintain(40)": {"echora_catalogue"},
    "SELECT nextval('catalog.revision_seq')": {"echora_catalogue"},
    "SELECT pg_advisory_xact_lock(1)": {"echora_catalogue"},
    "SELECT pg_advisory_xact_lock_shared(1)": {"echora_catalogue"},
    "SELECT ops.outbox_empty_slot('catalog', '1 day')": {"echora_relay"},
    "SELECT pg_try_advisory_lock(1, 2)": {"echora_relay"},
    "SELECT pg_advisory_lock(1)": set(), "SELECT pg_advisory_lock(1, 2)": set(),
    "SELECT pg_try_advisory_lock(1)": set(),
    "SELECT pg_advisory_lock_shared(1, 2)": set(), "SELECT pg_try_advisory_xact_lock(1, 2)": set(),
}


@pytest.mark.chaos(fault="rights abused: statements that nobody may run", place="postgres", checks="refused")
@pytest.mark.parametrize("role", ROLES)
def test_statements(db, role):
    with db.connect(role, options="-c default_transaction_read_only=off") as connection, \
            db.connect(role="echora_owner"):
        allowed = {sql for sql in [*NOBODY, *OWN] if not refused(connection, sql)}
    assert allowed == {sql for sql, roles in OWN.items() if role in roles}


@pytest.mark.chaos(fault="rights abused: by the owner of the schemas", place="postgres", checks="refused")
def test_the_owner_is_no_superuser(db):
    """It may do what it likes with its schemas, and nothing to the cluster."""
    cluster = [sql for sql in NOBODY if sql.startswith(("COPY", "SELECT pg_", "SET ROLE postgres", "ALTER SYSTEM",
                                                        "CREATE ROLE", "CREATE DATABASE", "SELECT rolpassword",
                                                        "SELECT passwd", "ALTER ROLE CURRENT_USER", "SET session_rep"))
               and "emit_message" not in sql]
    with db.connect("echora_owner") as connection, db.connect("echora_reader"):
        assert [sql for sql in cluster if not refused(connection, sql)] == []


@pytest.mark.chaos(fault="rights abused: a reader that holds its locks", place="postgres",
                   checks="written and relayed all the same")
def test_a_reader_stops_neither_writer_nor_relay(streams, db, spawn):
    """All that it can hold is held: the shared locks of everything it reads, in an open transaction."""
    spawn("catalogue")
    spawn("relay")
    catalogue = Catalogue(streams, db)
    with db.connect("echora_reader", autocommit=False) as reader:
        for (table,) in db.all("SELECT format('catalog.%I', tablename) FROM pg_tables WHERE schemaname = 'catalog'"):
            reader.execute(f"SELECT FROM {table} LIMIT 1")
        catalogue.updated(new_id(), ["year"], anime(year=1999))
        catalogue.enriched(new_id(), anime())
        catalogue.settle()
        eventually(lambda: streams.bus("admin").stream("ANIME_SYNC").state.messages == 1, 10, "relayed")


# Secrets


@pytest.mark.chaos(fault="rights abused: looking for passwords", place="any worker",
                   checks="argv, environment, log, metrics, health, dead letters")
def test_secrets_show_nowhere(streams, db, qdrant, spawn):
    """Not in argv, environment, log, metrics, health, or what the worker prints of its configuration."""
    workers = [spawn(kind) for kind in ("catalogue", "relay", "qdrant")]
    catalogue = Catalogue(streams, db)
    catalogue.enriched(new_id(), anime())
    catalogue.publish("anime.enriched", b"\xff\xff")
    catalogue.settle()
    secrets = [*streams.passwords.values(), *db.server.passwords.values()]
    for worker in workers:
        seen = {name: open(f"/proc/{worker.pid}/{name}", errors="replace").read() for name in ("cmdline", "environ")}
        seen.update({path: worker.http(path)[1] for path in ("/metrics", "/readyz", "/livez")}, log=worker.text())
        shown = type(worker)(worker.kind, worker.log.parent, env=worker.env, argv=["--print-config"], name="print")
        shown.start(wait=False).wait()
        seen["--print-config"] = shown.text()
        assert "nats-password-file" in shown.text()
        found = [(name, s) for name, text in seen.items() for s in secrets if s in text]
        assert found == [], worker.name
    letter = catalogue.bus.messages("ANIME_DLQ")[0]
    assert not any(s in json.dumps(dict(letter.headers)) for s in secrets)


@pytest.mark.chaos(fault="rights abused: reading secret files", place="any worker", checks="file modes")
def test_secret_files_are_their_owners_alone(streams, db):
    for file in [*streams.secret_files.values(), *db.server.secret_files.values()]:
        assert stat.S_IMODE(os.stat(file).st_mode) & 0o077 == 0, file
