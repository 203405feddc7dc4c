"""Runbooks: every code, exit code and situation leads to a page, and every command there belongs to a test."""
import ast
import re

import pytest
from e2e.situations import SITUATIONS
from harness.runbooks import ELSEWHERE, LOOKS, PROGRAMS, all_blocks, pages, words
from harness.settings import ROOT

PAGES = pages()
BLOCKS = all_blocks()
CODES = re.findall(r"^\| `([^`]+)` \|", (ROOT / "ops/reference/codes.md").read_text(), re.M)
EXITS = re.findall(r"^\s+EXIT_CODE_\w+ =\s+(\d+)", (ROOT / "events/worker.h").read_text(), re.M)
TOLD = ("restored", "deleted, or created anew", "a stream is full", "the index is lost", "poison storm", "is stuck",
        "crashes", "pausing", "a new collection")  # situations that the first table must know


def table(title):
    """Rows of a README table as (first cell, second cell)."""
    section = PAGES["README.md"].split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| (.+?) \| (.+) \|$", section, re.M)[1:]


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


def linked(cell):
    """The text that a link leads to: the page, or its section."""
    page, _, section = re.search(r"\]\(([^)]+)\)", cell)[1].partition("#")
    text = PAGES[page]
    if not section:
        return text
    parts = re.split(r"^(##+ .+)$", text, flags=re.M)
    found = [body for heading, body in zip(parts[1::2], parts[2::2], strict=True)
             if anchor(heading.lstrip("# ")) == section]
    assert found, f"{page} has no section {section}"
    return found[0]


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_its_page(code):
    rows = [second for first, second in table("By error code") if f"`{code}`" in first]
    assert len(rows) == 1, "README.md, By error code: one row"
    assert f"`{code}`" in linked(rows[0]), f"the section does not say what to do about {code}"


def test_the_table_has_no_other_codes():
    assert set(re.findall(r"`([^`]+)`", " ".join(first for first, _ in table("By error code")))) == set(CODES)


@pytest.mark.parametrize("number", EXITS)
def test_an_exit_code_has_its_page(number):
    rows = [second for first, second in table("By exit code of a worker") if number in re.split(r"[, ]+", first)]
    assert len(rows) == 1 and linked(rows[0]).strip()
    assert f"## Exit code {number}" in PAGES["worker-restarts.md"]


def test_every_kind_of_exit_is_known():
    assert sorted(map(int, EXITS)) == list(range(9))


@pytest.mark.parametrize("what", TOLD)
def test_a_situation_has_its_page(what):
    assert [second for first, second in table("By what you see") if what.lower() in (first + second).lower()]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]*(?:#[^)]*)?)\)", PAGES[page]):
        name, _, section = target.partition("#")
        name = name or page
        if name != "poison-storm.md" or name in PAGES:
            assert name in PAGES, target
            if section:
                linked(f"]({name}#{section})")
    assert page == "README.md" or f"({page}" in PAGES["README.md"], "README.md does not lead here"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_belongs_to_a_test(page):
    own = [b for b in BLOCKS if b.page == page]
    for block in own:
        assert block.kind in ("", *ELSEWHERE), f"line {block.line}: {block.kind}"
        assert block.kind in ELSEWHERE or block.situation in SITUATIONS, f"line {block.line}: {block.situation!r}"
        assert block.commands, f"line {block.line} has no command"
        assert not re.search(r"<[a-z ]+>", block.text), f"line {block.line}: words to fill in are in capitals"
    outside = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.M | re.S)
    assert not re.search(r"^( {4}|\t)(" + "|".join(map(re.escape, PROGRAMS)) + ")", outside, re.M), "a command outside a block"
    assert "~~~" not in outside


def squeezed(text):
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("page", PAGES)
def test_a_command_within_a_sentence_stands_in_a_block_too(page):
    commands = [set(command.text.split()) for block in BLOCKS for command in block.commands]
    outside = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.M | re.S)
    verbs = (ROOT / "ops/man/echora.1").read_text()
    for span in re.findall(r"`((?:echora|nats|psql|supervisorctl|curl) [^`]+)`", outside):
        said = {word for word in span.split() if word not in ("ID", "VERB", "--help")}
        assert any(said <= command for command in commands) or f"\n.SS {span}" in verbs, span


def test_what_runs_nowhere_is_counted():
    assert f"there are {sum(b.kind in ELSEWHERE for b in BLOCKS)}" in squeezed(PAGES["README.md"])


def test_words_and_situations_are_used():
    everything = "\n".join(b.text for b in BLOCKS)
    assert [w for w in words() if not re.search(rf"\b{w}\b", everything)] == []
    assert sorted(words()) == sorted(LOOKS)
    assert set(SITUATIONS) == {b.situation for b in BLOCKS if b.kind not in ELSEWHERE}


# --- the list of traps -----------------------------------------------------------------------------------

TRAPS = (ROOT / "test/TRAPS.md").read_text()


def names_in(path):
    text = path.read_text()
    if path.suffix == ".py":
        return {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    return set(re.findall(r"^static void (test_\w+)\(void\)", text, re.M))


def test_every_trap_names_a_test_that_exists_or_a_reason():
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", TRAPS, re.M)
    rows = [(trap, answer) for trap, answer in rows if trap not in ("trap", "---")]
    assert len(rows) > 40
    for trap, answer in rows:
        named = re.findall(r"`(test/[\w/]+\.(?:py|c))::(\w+)`", answer)
        assert named or answer.startswith("none: "), trap
        assert answer.count("::") == len(named), f"{trap}: a test is not written as `test/…::name`"
        for path, name in named:
            assert (ROOT / path).exists() and name in names_in(ROOT / path), f"{trap}: {path}::{name}"
