"""The oracle of the relay: rows of the outbox table against messages of the stream, by their own protocols."""
import uuid

HEADERS = ("Content-Type: application/protobuf\nEchora-Schema: echora.events.v1.AnimeSyncedEvent\n"
           "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
INSERT = """
    INSERT INTO catalog.outbox (stream, subject, entity_type, entity_id, event_id, headers, payload)
    SELECT %s, %s, 'anime', md5((i %% %s)::text)::uuid, gen_random_uuid(), %s,
           decode(md5(i::text), 'hex') || decode(repeat('5a', %s), 'hex')
    FROM generate_series(1, %s) AS i"""


def fill(connection, n, stream="ANIME_SYNC", subject="anime.synced", entities=100, size=300):
    """n rows in the connection's transaction."""
    connection.execute(INSERT, (stream, subject, entities, HEADERS, max(size - 16, 0), n))


def add(connection, entity, payload=b"x", stream="ANIME_SYNC", subject="anime.synced", headers=HEADERS):
    """One row; returns its id."""
    return connection.execute(
        "INSERT INTO catalog.outbox (stream, subject, entity_type, entity_id, event_id, headers, payload) "
        "VALUES (%s, %s, 'anime', %s, gen_random_uuid(), %s, %s) RETURNING 0",
        (stream, subject, entity, headers, payload)).rowcount


def rows(db, stream="ANIME_SYNC"):
    """[(id, event id, subject, entity id, payload, headers)] of what is kept, by id."""
    return db.all("SELECT id, event_id, subject, entity_id, payload, headers FROM catalog.outbox "
                  "WHERE stream = %s ORDER BY id", stream)


def position(headers):
    batch, row = headers["Echora-Position"].split(":")
    return int(batch), int(row)


def check(db, bus, stream="ANIME_SYNC", exactly_once=True):
    """Each committed row is one message: same content, in each entity's order; returns their number."""
    table = {row[1]: row for row in rows(db, stream)}
    messages = bus.read(stream)
    seen, last_of_entity, last_position = {}, {}, (0, 0)
    for sequence, subject, headers, payload in messages:
        event = uuid.UUID(headers["Echora-Event-Id"])
        assert event in table, f"message {sequence} is of no row"
        row = table[event]
        assert subject == row[2] and payload == bytes(row[4]), f"message {sequence} differs from row {row[0]}"
        for line in row[5].split("\n"):
            name, value = line.split(": ", 1)
            assert headers[name] == value, f"message {sequence}: header {name}"
        if event in seen:
            assert not exactly_once, f"row {row[0]} is stored at {seen[event]} and {sequence}"
            continue
        seen[event] = sequence
        assert position(headers)[1] == row[0]
        assert position(headers) > last_position, f"message {sequence}: position went back"
        last_position = position(headers)
        assert last_of_entity.get(row[3], 0) < row[0], f"entity {row[3]}: row {row[0]} came late"
        last_of_entity[row[3]] = row[0]
    missing = set(table) - set(seen)
    assert not missing, f"{len(missing)} rows are in no message, first id {min(table[m][0] for m in missing)}"
    return len(messages)


def stored(bus, stream="ANIME_SYNC"):
    return bus.stream(stream).state.messages
