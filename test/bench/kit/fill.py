"""Tables of any size, made in SQL: a catalogue as if N entities had come as events, and an outbox with N published rows.

Keys rise while they are made, which fills their indexes in order, and are spread over all that keys can be, so that what
a run adds lands anywhere among them.
"""
import random
import uuid

SPACE, NUMBERS, FIRST_NUMBER = 2**63, 8 * 10**8, 10**8
# Short, for PostgreSQL counts the characters of a text to find one.
POOL = "".join(random.Random(3).choices("abcdefghijklmnopqrstuvwxyz    ", k=2000))


def entity(i, entities):
    """The id of entity i of so many."""
    digits = f"{i * (SPACE // entities):016x}"
    return str(uuid.UUID(digits[:12] + "7" + digits[12:15] + "8000" + "0" * 12))


def number(i, entities):
    """The number in its URL; up to the next one's there are free ones, 79 with ten million entities."""
    return FIRST_NUMBER + i * (NUMBERS // entities)


# The same in SQL: of entity n.
HEX = "lpad(to_hex(({n}) * {step}), 16, '0')"
ID = f"(substr({HEX}, 1, 12) || '7' || substr({HEX}, 13, 3) || '8000000000000000')::uuid"
NUMBER = "({first_number} + ({n}) * {spacing})"

# Of every entity: its row, one reference, the inbox row of the event that brought it. Every third names a sequel that
# is there, which makes two edges, and every tenth one that is not.
CATALOGUE = """
DO $fill$
DECLARE
    low bigint := 0;
    high bigint;
    pool CONSTANT text := '{pool}';
BEGIN
    WHILE low < {entities} LOOP
        high := least(low + 50000, {entities}) - 1;
        INSERT INTO catalog.anime (id, title, type, status, season, year, episode_count, synopsis, meta, revision,
                                   clock_time, clock_event)
            SELECT {id}, 'Title ' || i, 'TV', 'FINISHED', 'SPRING', 1960 + i % 60, i % 26,
                   substr(pool, (i * 7919 % 1500)::int + 1, 150 + (i % 300)::int),
                   format('{{"sources": ["https://myanimelist.net/anime/%s"], "genres": ["Genre %s", "Genre %s"], '
                          '"tags": ["tag %s", "tag %s", "other tag %s"], "score": {{"arithmeticMean": %s}}}}',
                          {number}, i % 40, i % 23, i % 900, i % 700, i % 333, 1 + i % 9)::jsonb,
                   i + 1, now() - interval '30 days', {id}
              FROM generate_series(low, high) AS i;
        INSERT INTO catalog.anime_xref (ref, anime_id)
            SELECT 'mal:anime:' || {number}, {id} FROM generate_series(low, high) AS i;
        INSERT INTO catalog.inbox (consumer, event_id, event_day, stream_sequence, entity_id, revision, outcome)
            SELECT 'catalog-enriched', {id}, (now() AT TIME ZONE 'UTC')::date, i + 1, {id}, i + 1, 'applied'
              FROM generate_series(low, high) AS i;
        INSERT INTO catalog.anime_relation (from_id, key, ref, type, to_id)
            SELECT {id}, 'SEQUEL', 'mal:anime:' || CASE WHEN i % 3 = 0 THEN {next_number} ELSE 10 + i END, 'SEQUEL',
                   CASE WHEN i % 3 = 0 THEN {next_id} END
              FROM generate_series(low, high) AS i WHERE i % 3 = 0 OR i % 10 = 0;
        INSERT INTO catalog.graph_edge (from_id, from_type, edge_type, to_id, to_type, asserted_by, family)
            SELECT CASE edge WHEN 'sequel' THEN {id} ELSE {next_id} END, 'anime', edge,
                   CASE edge WHEN 'sequel' THEN {next_id} ELSE {id} END, 'anime', {id}, 'relation'
              FROM generate_series(low, high) AS i CROSS JOIN (VALUES ('sequel'), ('prequel')) AS e(edge)
             WHERE i % 3 = 0;
        COMMIT;
        low := high + 1;
    END LOOP;
END
$fill$"""

# Rows of the last two days in all six slots, in batches of 500.
PUBLISHED = """
DO $fill$
DECLARE
    low bigint := 0;
    pool CONSTANT text := '{pool}';
BEGIN
    WHILE low < {rows} LOOP
        INSERT INTO catalog.outbox (slot, stream, subject, entity_type, entity_id, event_id, headers, payload, created_at)
            SELECT i * 6 / {rows}, 'ANIME_SYNC', 'anime.synced', 'anime', md5(i::text)::uuid, md5('e' || i)::uuid,
                   '{headers}', convert_to(substr(pool, (i * 7919 % 1500)::int + 1, 300), 'UTF8'),
                   now() - interval '47 hours' * (1 - i::float8 / {rows})
              FROM generate_series(low, least(low + 50000, {rows}) - 1) AS i;
        COMMIT;
        low := low + 50000;
    END LOOP;
    INSERT INTO catalog.outbox_batch (stream, batch, prev, cur, first_id, last_id, n_rows, start_sequence, closed_at)
        SELECT 'ANIME_SYNC', b, '3:3:', '3:3:', (b - 1) * 500 + 1, b * 500, 500, (b - 1) * 500, now()
          FROM generate_series(1, {rows} / 500) AS b;
END
$fill$"""
# A relay goes on behind what is there, into whatever stream there is: what ops.outbox_accept says, without its rewriting.
ACCEPTED = ("DELETE FROM catalog.outbox_lane; "
            "INSERT INTO catalog.outbox_batch (stream, batch, prev, cur, first_id, last_id, n_rows, start_sequence, closed_at) "
            "SELECT 'ANIME_SYNC', coalesce(max(batch), 0) + 1, pg_current_snapshot(), pg_current_snapshot(), 1, 0, 0, 0, now() "
            "FROM catalog.outbox_batch")


def filled(stage, statement, tables):
    """A database of the stage's that `fresh` does not drop. It is vacuumed and analysed, so that no run pays for it."""
    db = stage.pg.database()
    stage.kept.append(db)
    with db.connect() as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET session_replication_role = replica")  # no look-ups of foreign keys
        connection.execute(statement)
        connection.execute("VACUUM (ANALYZE) " + ", ".join(f"catalog.{table}" for table in tables))
    return db


def catalogue(stage, entities):
    known = {"step": SPACE // entities, "spacing": NUMBERS // entities, "first_number": FIRST_NUMBER}
    of = {name: text.format(n=n, **known) for name, text, n in (
        ("id", ID, "i"), ("number", NUMBER, "i"), ("next_id", ID, "i + 1"), ("next_number", NUMBER, "i + 1"))}
    db = filled(stage, CATALOGUE.format(pool=POOL, entities=entities, **of),
                ("anime", "anime_xref", "anime_relation", "graph_edge", "inbox"))
    db.do(f"SELECT setval('catalog.revision_seq', {entities + 1})")
    return db


def published(stage, rows, headers):
    return filled(stage, PUBLISHED.format(pool=POOL, rows=rows, headers=headers.replace("'", "''")),
                  ("outbox", "outbox_batch"))


def accept_stream(db):
    """Whatever the outbox holds counts as published; the next relay begins an empty stream."""
    db.do(ACCEPTED)


def gib(db):
    return round(db.one("SELECT pg_database_size(current_database())") / 2**30, 2)
