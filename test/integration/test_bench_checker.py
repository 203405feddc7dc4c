"""What test/bench counts from a real stream: every planted loss, repetition and inversion, on either nats-server."""
import pytest
from bench.kit import checker
from bench.kit.stage import OpenNats
from harness.bus import Bus
from harness.fixtures import nats_version
from harness.process import eventually

ROWS, ENTITIES, SIZE = 5000, 7, 300


@pytest.fixture
def open_nats(folder):
    server = OpenNats(folder, nats_version())
    server.start()
    yield server
    server.stop()


def stored(server, rows):
    bus = Bus(server, "admin")
    bus.add_stream("BENCH", ["bench.>"])

    async def publish():
        for row in rows:
            await bus.nc.publish("bench.row", checker.head(row, ENTITIES).ljust(SIZE, b"x"))
        await bus.nc.flush(30)
    bus.wait(publish(), 60)
    eventually(lambda: bus.stream("BENCH").state.messages == len(rows), 20, "all stored")
    bus.close()
    return checker.check(server.url, "BENCH", ROWS, SIZE)


def test_all_rows_in_order(open_nats):
    assert stored(open_nats, range(ROWS)) == {"lost": 0, "repeated": 0, "reordered": 0, "inversions": 0, "foreign": 0}


def test_planted_faults_are_counted(open_nats):
    rows = list(range(ROWS))
    rows[100], rows[101] = rows[101], rows[100]  # two of one entity change places
    del rows[3000:3010]
    rows += [5, 6, 7, ROWS + 1]
    found = stored(open_nats, rows)
    assert (found["lost"], found["repeated"], found["foreign"]) == (10, 3, 1)
    assert found["reordered"] == 1 and found["inversions"] == 1
