"""Each guard of the relay taken away: the scenario that relies on it must fail."""
import pytest
from harness import outbox
from integration.test_relay import taken_id

from chaos import relay_scenarios as scenarios


@pytest.fixture
def rig_with(db, streams, spawn):
    return lambda faults: scenarios.Rig(db, streams, spawn, faults)


@pytest.mark.chaos(fault="guard taken away: each of the relay's", place="relay", checks="the scenario turns red")
@pytest.mark.parametrize("fault,scenario,arguments", [
    # What "id above the last one" would skip: transactions that were open when the batch was cut.
    ("stragglers-ignored", scenarios.late_committers, {"seed": 1}),
    ("bounds-not-stored", scenarios.killed_at, {"point": "page-published"}),
    ("bounds-not-told", scenarios.killed_when_told, {}),
    ("told-bounds-ignored", scenarios.killed_when_told, {}),
    ("cur-not-cut", scenarios.told_ends_behind_its_rows, {}),
    ("lock-ignored,first-not-awaited", scenarios.both_lead, {}),
    # What was in progress while a lane looked counts as looked at.
    ("looked-ahead", scenarios.rare_stream, {}),
    ("looked-ahead", scenarios.rare_stream, {"busy": "ANIME_EVENTS", "rare": "ANIME_SYNC"}),
    ("looked-forgotten", scenarios.start_beside_kept_rows, {}),
    ("lane-reconnects", scenarios.another_server, {}),
    ("looked-behind-any-batch", scenarios.note_of_another_batch, {}),
    ("tail-ignored", scenarios.killed_at, {"point": "page-published:3"}),
    ("expected-sequence-omitted", scenarios.zombie, {}),
    ("lock-ignored,expected-sequence-omitted", scenarios.two_drain, {}),
])
def test_missing_guard_is_seen(rig_with, fault, scenario, arguments):
    with pytest.raises(AssertionError) as seen:
        scenario(rig_with(fault), **arguments)
    print(f"{fault}: {str(seen.value).splitlines()[0]}")


@pytest.mark.chaos(fault="guard taken away: database and stream must belong together", place="relay",
                   checks="the scenario turns red")
def test_missing_epoch_check_is_seen(rig_with, echora):
    with pytest.raises(AssertionError, match="published where it had to refuse"):
        scenarios.recreated_stream(rig_with("epoch-unchecked"), echora)


@pytest.mark.chaos(fault="guard taken away: a duplicate is looked at", place="relay", checks="the scenario turns red")
def test_an_id_that_is_believed_is_seen(db, streams, spawn):
    """test_relay.py runs the scenario without the fault."""
    with pytest.raises(AssertionError, match="each row is stored"):
        taken_id(db, streams.bus(), spawn, PLANTED_FAULTS="taken-id-believed")


@pytest.mark.chaos(fault="guard taken away: only published rows are dropped", place="postgres",
                   checks="the scenario turns red")
@pytest.mark.parametrize("guard,instead,scenario", [
    # Every row counts as published.
    ("safe.seen IS NULL OR NOT pg_visible_in_snapshot(o.xid, safe.seen)", "false", scenarios.rotation),
    # Rows of a closed batch are kept until two more batches have come.
    ("b.closed_at IS NOT NULL", "false", scenarios.ring),
])
def test_rotation_without_its_guard_is_seen(rig_with, db, guard, instead, scenario):
    """These guards are conditions in ops.outbox_empty_slot, so the fault is planted in the database."""
    definition = db.one("SELECT pg_get_functiondef('ops.outbox_empty_slot(name, interval)'::regprocedure)")
    assert definition.count(guard) == 1
    db.do(definition.replace(guard, instead))
    with pytest.raises(AssertionError):
        scenario(rig_with("in-the-database"))


@pytest.mark.chaos(fault="guard taken away: a lane noted anew forgets how far it had looked", place="postgres",
                   checks="the scenario turns red")
def test_note_that_outlives_its_database_is_seen(rig_with, db):
    """This guard is a column in note_epoch.sql, so the fault is planted in the database."""
    db.do("CREATE FUNCTION catalog.keep_looked() RETURNS trigger LANGUAGE plpgsql AS "
          "'BEGIN NEW.looked := OLD.looked; NEW.looked_batch := OLD.looked_batch; RETURN NEW; END'")
    db.do("CREATE TRIGGER keep_looked BEFORE UPDATE ON catalog.outbox_lane FOR EACH ROW "
          "WHEN (NEW.looked IS NULL) EXECUTE FUNCTION catalog.keep_looked()")
    with pytest.raises(AssertionError, match="rows from before the restore"):
        scenarios.note_of_another_database(rig_with("in-the-database"))


@pytest.mark.chaos(fault="two at once: relays that both believe to lead", place="relay",
                   checks="each row one message, in order")
def test_lock_alone_is_not_what_fences(rig_with):
    """Two relays that both believe to lead: the expected sequence keeps the stream right."""
    rig = rig_with("lock-ignored")
    with rig.writer() as writer:
        outbox.fill(writer, 40000)
    for _ in range(2):
        rig.relay()
    rig.finish()


@pytest.mark.chaos(fault="two at once: relays that cut small batches their own way", place="relay",
                   checks="each row one message, in order")
def test_lock_alone_is_not_what_fences_small_batches(rig_with):
    scenarios.both_lead(rig_with("lock-ignored"))
