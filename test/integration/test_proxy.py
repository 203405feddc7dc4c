"""The proxy that the chaos tests rely on: each of its rules, against a server that answers in capitals."""
import socket
import threading

import pytest
from harness.process import eventually


class Server:
    """Answers each read with its bytes in capitals, and remembers what it got."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.got = b""
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                end, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(end,), daemon=True).start()

    def answer(self, end):
        try:
            while data := end.recv(4096):
                self.got += data
                end.sendall(data.upper())
        except OSError:
            pass
        end.close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()


def connect(proxied):
    client = socket.create_connection(("127.0.0.1", proxied.port), 2)
    client.settimeout(2)
    return client


def ask(client, data):
    client.sendall(data)
    return client.recv(4096)


def test_untouched_and_in_pieces(server, proxy):
    proxied = proxy(server)
    assert ask(connect(proxied), b"hello") == b"HELLO"
    proxied.latency, proxied.pieces = 0.01, 1
    client = connect(proxied)
    client.sendall(b"hello")
    answer = b""
    while len(answer) < 5:
        answer += client.recv(4096)
    assert answer == b"HELLO"


def test_cut_reaches_nobody(server, proxy):
    proxied = proxy(server)
    rule = proxied.plan("cut", b"COMMIT", after=b"row")
    client = connect(proxied)
    assert ask(client, b"COMMIT;") and ask(client, b"row;")
    with pytest.raises(ConnectionResetError):
        ask(client, b"COMMIT;")
    assert rule.hits == 1 and server.got == b"COMMIT;row;"
    assert ask(connect(proxied), b"row;COMMIT;") == b"ROW;COMMIT;"  # once only


def test_match_over_two_reads(server, proxy):
    proxied = proxy(server)
    proxied.plan("cut", b"COMMIT", skip=1)
    client = connect(proxied)
    assert ask(client, b"COM") and ask(client, b"MIT;") and ask(client, b"COM")
    with pytest.raises(ConnectionResetError):
        ask(client, b"MIT;")


def test_lost_and_replaced_answers(server, proxy):
    proxied = proxy(server)
    rule = proxied.plan("lose-answer", b"put", until=b"PUT")
    with pytest.raises(ConnectionResetError):
        ask(connect(proxied), b"put")
    rule.wait_answer()
    assert server.got == b"put"
    proxied.plan("lose-answer", b"get", answer=b"500")
    client = connect(proxied)
    assert ask(client, b"get") == b"500" and client.recv(10) == b""


def test_half_open_is_silent(server, proxy):
    proxied = proxy(server)
    proxied.plan("half-open", b"put")
    client = connect(proxied)
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        ask(client, b"put")
    eventually(lambda: server.got == b"put", 2, "put arrived")


def test_held_request_outlives_its_client(server, proxy):
    proxied = proxy(server)
    rule = proxied.plan("hold", b"put")
    client = connect(proxied)
    client.sendall(b"put one")
    rule.wait()
    client.sendall(b" and two")
    eventually(lambda: rule.held == b"put one and two", 2, "all of it held")
    client.close()
    assert ask(connect(proxied), b"other") == b"OTHER" and server.got == b"other"
    rule.release()
    eventually(lambda: server.got == b"otherput one and two", 2, "released")


def test_cut_after_bytes(server, proxy):
    proxied = proxy(server)
    proxied.cut_after(20, seed=1)
    for i in range(1, 9):
        client = connect(proxied)
        with pytest.raises(OSError):
            for _ in range(21):
                if not ask(client, b"x"):
                    raise ConnectionResetError
        assert proxied.cuts == i
    proxied.heal()
    assert ask(connect(proxied), b"x" * 100) == b"X" * 100


def test_stall_refuse_and_cut_of_everything(server, proxy):
    proxied = proxy(server)
    client = connect(proxied)
    assert ask(client, b"a") == b"A"
    proxied.stall()
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        ask(client, b"b")
    proxied.resume()
    assert client.recv(10) == b"B"
    proxied.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxied)
    assert ask(client, b"c") == b"C"
    proxied.accept()
    proxied.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(10)
    assert ask(connect(proxied), b"d") == b"D"
