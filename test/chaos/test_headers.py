"""Headers as raw bytes: what nats.c misreads is refused aloud, never overlooked.

nats.c before 3.11 takes the line behind an empty value for that value, and finds no header at all when the empty one
is the last. So `Empty:` in front of `Echora-Replay-For` would make every consumer act on a replay for one of them, and
`Echora-Replay-For:` without a value would make all of them skip the event.
"""
import socket

import pytest

from harness.scripted import SUBJECT, UPDATED, Script, event

ONLY_OTHER = b"Echora-Replay-For: qdrant-anime-synced\r\n"
HIDDEN = {  # none of these may be handled, and none may vanish
    "behind an empty value": b"A: 1\r\nEmpty:\r\n" + ONLY_OTHER,
    "behind an empty value with a space": b"Empty: \r\n" + ONLY_OTHER + b"B: 2\r\n",
    "before an empty value at the end": ONLY_OTHER + b"Empty:\r\n",
    "an empty value of our own": b"Echora-Replay-For:\r\nX-Other: a\r\n",
    "an empty review": b"Echora-Review:\r\nX-Other: a\r\n",
    "behind a line without a colon": b"nocolon\r\n" + ONLY_OTHER,
    "behind a bare line feed": b"A: 1\n" + ONLY_OTHER,
}
FINE = {
    "none": b"", "plain": b"A: 1\r\nEchora-Risk: title:changed, cast\r\n", "a colon": b"X-Url: https://a.example\r\n",
    "folded": b"A: 1\r\n folded\r\n", "ours": b"Echora-Replay-For: " + UPDATED.encode() + b"\r\nA: 1\r\n",
    "empty before a stranger": b"Empty:\r\nX-Other: a\r\n",
}


def publish(server, blocks):
    """Each header block with an event, exactly these bytes on the wire."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
        s.sendall(b'CONNECT {"verbose":false,"user":"admin","pass":"%s","headers":true}\r\n'
                  % server.passwords["admin"].encode())
        for block in blocks:
            head = b"NATS/1.0\r\n" + block + b"\r\n" if block else b""
            payload = event("done")
            verb = b"HPUB %s %d %d" % (SUBJECT[UPDATED].encode(), len(head), len(head) + len(payload)) if head else \
                b"PUB %s %d" % (SUBJECT[UPDATED].encode(), len(payload))
            s.sendall(verb + b"\r\n" + head + payload + b"\r\n")
        s.sendall(b"PING\r\n")
        answer = b""
        while b"PONG" not in answer:
            answer += s.recv(4096)
    assert b"-ERR" not in answer, answer


def hidden_headers(nats, folder, spawn, faults=""):
    script = Script(nats, folder)
    spawn("scripted", env={**script.env, "PLANTED_FAULTS": faults})
    publish(nats.server, [*HIDDEN.values(), *FINE.values()])
    script.wait_settled()
    letters = {int(m.headers["Echora-Dlq-Seq"]): m.headers["Echora-Dlq-Code"] for m in script.dead_letters()}
    handled = {line.seq for line in script.lines()}
    names = dict(enumerate([*HIDDEN, *FINE], 1))
    assert {names[s] for s in handled} == set(FINE)
    assert {names[s]: code for s, code in letters.items()} == dict.fromkeys(HIDDEN, "unreadable-header")


@pytest.mark.chaos(fault="hostile input: headers as raw bytes", place="any worker",
                   checks="refused with a code, or read rightly")
def test_misread_headers_are_refused(nats, folder, spawn):
    hidden_headers(nats, folder, spawn)


@pytest.mark.chaos(fault="guard taken away: raw headers are checked", place="any worker",
                   checks="the scenario turns red")
def test_without_the_check_they_are_overlooked(nats, folder, spawn):
    with pytest.raises(AssertionError, match="behind an empty value"):
        hidden_headers(nats, folder, spawn, "headers-unchecked")
