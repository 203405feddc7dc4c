"""The PostgreSQL client against a real server that is killed, stopped, slow or silent."""
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness.process import lasted_less
from harness.settings import BUILD

pytestmark = pytest.mark.one_nats

DRIVER = BUILD / "test/drivers/pg_driver"


class Driver:
    def __init__(self, url, password, timeout_ms=5000, *more):
        self.child = subprocess.Popen([str(DRIVER), url, password, str(timeout_ms), *more], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, bufsize=1)

    def send(self, line):
        self.child.stdin.write(line + "\n")

    def receive(self):
        return self.child.stdout.readline().rstrip("\n")

    def __call__(self, line):
        self.send(line)
        return self.receive()

    def close(self):
        self.child.stdin.close()
        assert self.child.wait(10) == 0


@pytest.fixture
def driver(db, pg_server):
    made = []

    def make(timeout_ms=5000, url=None, role="echora_catalogue", more=()):
        made.append(Driver(url or db.url(role), pg_server.passwords[role], timeout_ms, *more))
        return made[-1]
    yield make
    for one in made:
        one.close()


def backend(db):
    return db.one("SELECT pid FROM pg_stat_activity WHERE application_name = 'pg-driver'")


def terminate(db):
    assert db.one("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg-driver'")


@pytest.fixture
def table(db):
    db.do("CREATE TABLE catalog.t (x bigint PRIMARY KEY CHECK (x < 1000))")
    db.do("GRANT ALL ON catalog.t TO echora_catalogue")


def test_statements_and_transactions(driver, table):
    d = driver()
    assert d("int SELECT 7::bigint") == "ok 7" and d("int SELECT 7::bigint") == "ok 7"
    assert d("begin") == "ok 0" and d("tx") == "ok 1"
    assert d("int INSERT INTO catalog.t VALUES (1) RETURNING x") == "ok 1"
    assert d("commit") == "ok 0" and d("tx") == "ok 0"
    assert d("begin") == "ok 0"
    assert d("int INSERT INTO catalog.t VALUES (2) RETURNING x") == "ok 2"
    assert d("rollback") == "ok 0"
    assert d("int SELECT count(*) FROM catalog.t") == "ok 1"
    assert d('json [1, 2, "ä"]') == "ok 3"
    assert d("generation") == "ok 1"


def test_data_errors_name_no_values(driver, table):
    d = driver()
    assert d("int INSERT INTO catalog.t VALUES (1) RETURNING x") == "ok 1"
    answer = d("int INSERT INTO catalog.t VALUES (1) RETURNING x")
    assert answer.startswith("reject pg-23505 ") and "t_pkey" in answer
    assert d("int INSERT INTO catalog.t VALUES (1234) RETURNING x").startswith("reject pg-23514 ")
    answer = d("int SELECT 'secret-value'::text::bigint")
    assert answer.startswith("reject pg-22P02 ") and "secret-value" not in answer
    assert d("int SELECT nothing FROM nowhere").startswith("fatal pg-42P01 ")
    assert d("int SELECT 1::bigint") == "ok 1"


def test_a_failed_transaction_does_not_commit(driver, table):
    d = driver()
    d("begin")
    assert d("int INSERT INTO catalog.t VALUES (5) RETURNING x") == "ok 5"
    assert d("int SELECT 1::bigint / 0").startswith("reject pg-22012 ")
    assert d("int SELECT 1::bigint").startswith("retry pg-25P02 ")
    assert d("commit").startswith("retry pg-25P02 ")
    assert d("tx") == "ok 0" and d("int SELECT count(*) FROM catalog.t") == "ok 0"


def test_backend_killed_in_mid_query(driver, db, table):
    d = driver()
    assert d("ping") == "ok 0"
    d.send("int SELECT 1::bigint FROM pg_sleep(10)")
    time.sleep(0.3)
    terminate(db)
    assert d.receive().startswith("unavailable pg-57P01 ")
    assert d("int SELECT 2::bigint") == "ok 2" and d("generation") == "ok 2"


def test_backend_killed_while_idle_is_not_noticed(driver, db):
    d = driver()
    assert d("int SELECT 2::bigint") == "ok 2"
    terminate(db)
    time.sleep(0.2)
    assert d("int SELECT 2::bigint") == "ok 2" and d("generation") == "ok 2"


def test_no_connection_is_made_but_by_asking(driver, db):
    d = driver(more=("asked",))
    assert d("int SELECT 1::bigint").startswith("unavailable pg-connection ") and d("ensure") == "ok 0"
    for _ in range(2):
        assert d("int SELECT 1::bigint") == "ok 1"
    terminate(db)
    time.sleep(0.2)
    for line in ("int SELECT 1::bigint", "begin", "ping"):
        assert d(line).startswith("unavailable pg-"), line
    assert d("generation") == "ok 1" and d("ensure") == "ok 0" and d("int SELECT 1::bigint") == "ok 1"
    assert d("generation") == "ok 2"


def test_no_statement_slips_out_of_a_broken_transaction(driver, db, table):
    d = driver()
    d("begin")
    d("int INSERT INTO catalog.t VALUES (1) RETURNING x")
    terminate(db)
    time.sleep(0.2)
    assert d("int INSERT INTO catalog.t VALUES (2) RETURNING x").startswith("unavailable ")
    assert d("int INSERT INTO catalog.t VALUES (3) RETURNING x").startswith("unavailable pg-connection ")
    assert d("commit").startswith("unavailable pg-connection ")
    assert d("tx") == "ok 0" and d("int SELECT count(*) FROM catalog.t") == "ok 0"


ADD, ONE = "INSERT INTO catalog.t VALUES ({}) RETURNING x", "int SELECT 1::bigint"


def test_deferred_statements(driver, table):
    """Their answers come with the next statement, or when they are asked for; also behind one that was never prepared."""
    d = driver()
    for turn in range(2):  # unprepared, prepared
        assert d("begin") == "ok 0"
        assert d("defer " + ADD.format(1)) == "ok 0" and d("int " + ADD.format(2)) == "ok 2"
        assert d("deferred") == "ok 1" and d("deferred").startswith("fatal internal ")
        assert d("defer " + ADD.format(3)) == "ok 0" and d("deferred") == "ok 3"
        assert d("defer " + ADD.format(4)) == "ok 0" and d("defer " + ADD.format(5)) == "ok 0"
        assert d("deferred") == "ok 5", "the second one took the place of the first"
        assert d("defer " + ADD.format(6)) == "ok 0"
        assert d("commit") == "ok 0" and d("tx") == "ok 0"
        assert d("deferred").startswith("fatal internal ")
        assert d("int SELECT count(*) FROM catalog.t") == "ok 6" and d("run TRUNCATE catalog.t") == "ok 0"
    assert d("defer " + ADD.format(1)).startswith("fatal internal "), "outside of a transaction"
    assert d("generation") == "ok 1"


def test_deferred_statement_that_fails(driver, table):
    """Its error is the next statement's, whatever that is, and nothing of the transaction stays."""
    d = driver()
    assert d("int " + ADD.format(1)) == "ok 1"
    for turn in range(2):
        for then in ("int " + ADD.format(2), ONE, "deferred", "defer " + ADD.format(2), "commit"):
            assert d("begin") == "ok 0" and d("defer " + ADD.format(1)) == "ok 0"
            assert d(then).startswith("reject pg-23505 "), then
            if then != "commit":
                assert d("rollback") == "ok 0"
            assert d("tx") == "ok 0" and d("int SELECT count(*) FROM catalog.t") == "ok 1"
    assert d("begin") == "ok 0" and d("defer " + ADD.format(3)) == "ok 0" and d("rollback") == "ok 0"
    assert d("int SELECT count(*) FROM catalog.t") == "ok 1" and d("generation") == "ok 1"


def test_statement_behind_a_deferred_one_fails(driver, table):
    d = driver()
    for turn in range(2):
        assert d("begin") == "ok 0" and d("defer " + ADD.format(1)) == "ok 0"
        assert d("int " + ADD.format(1000)).startswith("reject pg-23514 ")
        assert d("rollback") == "ok 0" and d("int SELECT count(*) FROM catalog.t") == "ok 0"
    assert d("generation") == "ok 1"


def test_wide_parameters_behind_each_other(driver):
    """More than the sockets hold, both ways: neither side waits for the other for ever."""
    d = driver()
    for turn in range(2):
        assert d("begin") == "ok 0" and d(f"defer-wide {20 << 20}") == "ok 0"
        assert d(f"wide {30 << 20}") == f"ok {30 << 20}" and d("deferred") == f"ok {20 << 20}"
        assert d("commit") == "ok 0"


@pytest.mark.parametrize("then", [ONE, "deferred", "commit", "rollback", "int SELECT 5::bigint"])
def test_backend_killed_with_a_deferred_statement(driver, db, table, then):
    d = driver()
    assert d(ONE) == "ok 1"
    d("begin")
    d("defer " + ADD.format(1))
    terminate(db)
    time.sleep(0.2)
    answer = d(then)
    # The deferred one was answered before the end; whether COMMIT came in time is for the server to say.
    good = {"rollback": "ok 0", "deferred": "ok 1", "commit": "uncertain pg-57P01 "}.get(then, "unavailable pg-")
    assert answer.startswith(good), answer
    if then not in ("commit", "rollback"):
        assert d("commit").startswith(("unavailable pg-connection ", "uncertain pg-57P01 "))
    assert d("tx") == "ok 0" and d("int SELECT count(*) FROM catalog.t") == "ok 0" and d("generation") == "ok 2"


def test_slow_deferred_statement_is_given_up(driver, db):
    """The server's limit is the deferred statement's own; the client's holds for both."""
    d = driver(timeout_ms=300)
    d("begin")
    assert d("defer SELECT 1::bigint FROM pg_sleep(30)") == "ok 0"
    assert d(ONE).startswith("retry pg-57014 ") and d("rollback") == "ok 0"
    assert d(ONE) == "ok 1" and d("generation") == "ok 1"
    d("begin")
    pid = backend(db)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert d("defer SELECT 2::bigint").startswith("unavailable pg-timeout "), "it is to be prepared first"
        started = time.monotonic()
        assert d(ONE).startswith("unavailable pg-")
        assert lasted_less(started, 5)
    finally:
        os.kill(pid, signal.SIGCONT)
    d("rollback")
    assert d(ONE) == "ok 1"


def test_lost_commit_reply_is_uncertain(driver, db, table, pg_server):
    """COMMIT waits for a standby that does not exist; the session is ended: committed, and nobody told."""
    d = driver()
    pg_server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'; SELECT pg_reload_conf();")
    try:
        d("begin")
        d("int INSERT INTO catalog.t VALUES (1) RETURNING x")
        d.send("commit")
        time.sleep(0.5)
        terminate(db)
        answer = d.receive()
    finally:
        pg_server.sql("ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();")
    assert answer.startswith("uncertain "), answer
    assert d("tx") == "ok 0" and d("int SELECT count(*) FROM catalog.t") == "ok 1"


def test_statement_timeout(driver):
    d = driver(timeout_ms=300)
    started = time.monotonic()
    assert d("int SELECT 1::bigint FROM pg_sleep(30)").startswith("retry pg-57014 ")
    assert lasted_less(started, 2)
    assert d("int SELECT 1::bigint") == "ok 1" and d("generation") == "ok 1"


def test_silent_server_is_given_up(driver, db):
    """The backend is stopped: neither answer nor timeout of its own."""
    d = driver(timeout_ms=300)
    assert d("ping") == "ok 0"
    pid = backend(db)
    os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert d("int SELECT 1::bigint").startswith("unavailable pg-timeout ")
        assert time.monotonic() - started > 0.3 and lasted_less(started, 5)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert d("int SELECT 1::bigint") == "ok 1"


def test_server_restart(driver, db, pg_server):
    d = driver()
    assert d("int SELECT 1::bigint") == "ok 1"
    pg_server.kill()
    assert d("int SELECT 1::bigint").startswith("unavailable pg-")
    answers = []
    starter = threading.Thread(target=pg_server.start)
    starter.start()
    end = time.monotonic() + 20
    while not answers or answers[-1] != "ok 1":
        answers.append(d("int SELECT 1::bigint"))
        assert answers[-1] == "ok 1" or answers[-1].startswith("unavailable "), answers[-1]
        assert time.monotonic() < end
        time.sleep(0.05)
    starter.join()


def test_refused_logins(driver, db, pg_server):
    base = f"127.0.0.1:{pg_server.port}"
    assert answer_of(f"postgresql://echora_catalogue@{base}/{db.name}", "wrong").startswith("fatal pg-28P01 ")
    assert answer_of(f"postgresql://echora_catalogue@{base}/no_such",
                         pg_server.passwords["echora_catalogue"]).startswith("fatal pg-3D000 ")
    assert answer_of(f"postgresql://echora_catalogue:hidden@{base}/{db.name}", "").startswith("fatal config ")
    answer = answer_of("postgresql://[", "")
    assert answer.startswith("fatal config ")
    assert answer_of("postgresql://echora_catalogue@127.0.0.1:1/x", "").startswith("unavailable pg-connection ")


def test_address_that_never_answers():
    """A listener whose queue is full: the kernel drops every further SYN."""
    with socket.socket() as listener, socket.socket() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting.connect(listener.getsockname())
        started = time.monotonic()
        answer = answer_of("postgresql://echora_catalogue@127.0.0.1:{}/x".format(listener.getsockname()[1]), "")
        assert answer.startswith("unavailable pg-") and lasted_less(started, 6)
        assert time.monotonic() - started > 1, "refused at once: not what this test is about"


def hang_up_on_all(listener, met):
    """Lets everybody in as PostgreSQL does, and ends each session at once."""
    while True:
        try:
            client = listener.accept()[0]
        except OSError:
            return
        with client:
            met.append(1)
            if client.recv(1024)[4:8] == b"\x04\xd2\x16\x2f":  # wants TLS
                client.sendall(b"N")
                client.recv(1024)
            fields = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"
            client.sendall(b"R\0\0\0\x08\0\0\0\0" b"Z\0\0\0\x05I" b"E" +
                           (len(fields) + 4).to_bytes(4, "big") + fields, socket.MSG_MORE)  # goes with the end


def test_server_that_ends_each_session_at_once():
    met = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=hang_up_on_all, args=(listener, met))
        server.start()
        try:
            answer = answer_of("postgresql://echora_catalogue@127.0.0.1:{}/x".format(listener.getsockname()[1]), "")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()
    assert answer.startswith("unavailable pg-") and len(met) == 1


def answer_of(url, password):
    d = Driver(url, password)
    answer = d("ping")
    d.close()
    assert not password or password not in answer
    assert "hidden" not in answer
    return answer


def test_unix_socket(driver, db, pg_server):
    folder = pg_server.folder
    pg_server.sql(f"ALTER SYSTEM SET unix_socket_directories = '{folder}';")
    pg_server.stop(number=signal.SIGINT)
    pg_server.start()
    try:
        d = driver(url=f"postgresql://echora_catalogue@/{db.name}?host={folder}&port={pg_server.port}")
        assert d("int SELECT 3::bigint") == "ok 3"
    finally:
        pg_server.sql("ALTER SYSTEM RESET unix_socket_directories;")
        pg_server.stop(number=signal.SIGINT)
        pg_server.start()


def test_statements_survive_a_changed_table(driver, db, table):
    """`cached plan must not change result type`: the statement is prepared anew, not for ever broken."""
    d = driver()
    db.do("CREATE TABLE catalog.w AS SELECT 1::bigint AS a")
    db.do("GRANT ALL ON catalog.w TO echora_catalogue")
    assert d("int SELECT * FROM catalog.w") == "ok 1"
    db.do("ALTER TABLE catalog.w ADD b bigint")
    assert d("int SELECT * FROM catalog.w").startswith("retry pg-0A000 ")
    assert d("int SELECT * FROM catalog.w") == "ok 1"
