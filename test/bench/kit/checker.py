"""Counts lost, repeated and reordered messages. Knows nothing of relays: every payload begins with its own numbers,
written when the row was made, and what the stream holds is read by a program of its own (stream_heads.c).

A head is "ROW ENTITY NTH ": the row's number from 0, its entity, and the how-manieth row of that entity it is. BURST
rows after each other are of one entity, so that a relay which publishes many at once can be seen to mix them up.
"""
import array
import collections
import re
import subprocess

from harness.settings import BUILD

HEAD = re.compile(rb"(\d{8}) (\d{6}) (\d{8}) ")
HEAD_BYTES = 25
BURST = 4
# The same in SQL: of row i (from 0).
SQL_ENTITY = f"(i / {BURST} % {{entities}})"
SQL_HEAD = (f"lpad(i::text, 8, '0') || ' ' || lpad({SQL_ENTITY}::text, 6, '0') || ' ' || "
            f"lpad((i / ({BURST} * {{entities}}) * {BURST} + i % {BURST})::text, 8, '0') || ' '")

Counted = collections.namedtuple("Counted", "messages lost repeated reordered inversions foreign")


def head(row, entities):
    return b"%08d %06d %08d " % (row, row // BURST % entities, row // (BURST * entities) * BURST + row % BURST)


def count(heads, rows, size=None):
    """heads: (first bytes of a payload, its length) in the stream's order. reordered: first appearances behind a later
    row of the same entity. inversions: the same regardless of entities, against the message before. foreign: payloads
    that no row has, by their head or their size."""
    seen, newest = bytearray(rows), {}
    messages = repeated = reordered = inversions = foreign = 0
    before = -1
    for text, length in heads:
        messages += 1
        match = HEAD.match(text)
        row, entity, nth = map(int, match.groups()) if match else (rows, 0, 0)
        if row >= rows or (size is not None and length != size):
            foreign += 1
            continue
        if seen[row]:
            repeated += 1
            continue
        seen[row] = 1
        reordered += nth < newest.get(entity, 0)
        newest[entity] = max(nth, newest.get(entity, 0))
        inversions += row < before
        before = row
    return Counted(messages, rows - sum(seen), repeated, reordered, inversions, foreign)


def stored(url, stream):
    """(first bytes, length) of each message that the stream holds, oldest first."""
    argv = [str(BUILD / "test/bench/stream_heads"), url, stream, str(HEAD_BYTES)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
        sizes = array.array("I")
        while record := child.stdout.read(4 + HEAD_BYTES):
            sizes[:] = array.array("I", record[:4])
            yield record[4:], sizes[0]
    if child.returncode:
        raise RuntimeError(f"stream_heads ended with {child.returncode}")


def check(url, stream, rows, size=None):
    """The figures of a run: lost, repeated, reordered, inversions, foreign."""
    found = count(stored(url, stream), rows, size)
    return {name: getattr(found, name) for name in ("lost", "repeated", "reordered", "inversions", "foreign")}
