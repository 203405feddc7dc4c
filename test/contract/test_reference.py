"""The generated pages equal what the programs say of themselves, and leave nothing out."""
import re
import subprocess
from pathlib import Path

import pytest

from harness.settings import BUILD, ROOT

ROOMS = ("events", "contracts", "outbox", "workers", "ops")


def page(name):
    return subprocess.run([BUILD / "ops/echora", "reference", name], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", ["options", "metrics", "codes", "subjects"])
def test_page_is_up_to_date(name):
    kept = ROOT / f"ops/reference/{name}.md"
    assert kept.read_text() == page(name), "make it again: ops/tools/regenerate"


@pytest.mark.parametrize(("path", "argv"), [
    ("ops/completion/echora.bash", ["completion"]), ("ops/man/echora.1", ["man"]),
    *((f"ops/man/{program}.8", ["man", program]) for program in (
        "echora-catalogue", "echora-relay", "echora-adapter", "echora-command-api", "echora-dead-letters",
        "echora-qdrant-sync"))])
def test_man_pages_and_completion_are_up_to_date(path, argv):
    made = subprocess.run([BUILD / "ops/echora", "reference", *argv], capture_output=True, text=True, check=True)
    assert (ROOT / path).read_text() == made.stdout, "make it again: ops/tools/regenerate"


def test_every_worker_has_a_man_page():
    programs = re.findall(r'\{"(echora-[a-z-]+)", &', (ROOT / "ops/cli/fleet.c").read_text())
    assert programs and sorted(p.stem for p in (ROOT / "ops/man").glob("*.8")) == sorted(programs)


@pytest.mark.parametrize("path", sorted((ROOT / "ops/man").glob("*")), ids=lambda p: p.name)
def test_man_pages_hold_no_stray_markup(path):
    """Each line is text, or one of the few requests that are written; no text begins like a request."""
    for line in path.read_text().splitlines():
        if line.startswith((".", "'")):
            assert re.match(r'\.(\\"|TH|SH|SS|TP|PP|B|I|nf|fi|RS|RE)( |$)', line), line
        assert not re.search(r"\\(?![-efR&\\BI\"])", line), line
        assert not re.search(r"(?<!\\)-", line) or line.startswith(('.\\"', ".TH")), line


def complete(*words):
    """What bash offers for the last word."""
    script = f'source {ROOT}/ops/completion/echora.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _echora; ' \
        'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-uc", script, "bash", "echora", *words], capture_output=True, text=True, check=True,
                          cwd=ROOT / "contracts")
    assert done.stderr == ""
    return set(done.stdout.split())


def test_bash_completes():
    assert {"publish", "status", "streams", "pause"} <= complete("") and complete("strea") == {"streams"}
    assert complete("streams", "") == {"plan", "apply", "check"} and complete("streams", "ap") == {"apply"}
    assert "--replicas" in complete("streams", "apply", "--") and "--replicas" not in complete("status", "--")
    assert {"--watch", "--json", "--nats-url", "--help"} <= complete("status", "-")
    assert complete("reconcile", "--kind", "") == {"all", "anime", "character", "episode"}
    assert complete("reconcile", "--kind", "=", "ep") == {"episode"} == complete("reconcile", "--kind", "=", "e")
    assert complete("--color", "never", "reconcile", "--kind", "an") == {"anime"}
    assert complete("--json", "streams", "--timeout", "=", "5s", "ch") == {"check"}
    assert complete("search", "--limit", "") == set() == complete("--nats-url", "")
    assert "anime.enriched" in complete("publish", "anime.") and "anime.synced" not in complete("publish", "anime.")
    assert "README.md" in complete("publish", "anime.enriched", "READ")
    assert "README.md" in complete("status", "--nats-password-file", "READ")
    assert {"qdrant", "qdrant-anime-synced"} <= complete("pause", "qdrant")
    assert complete("get", "epi") == {"episode"} and complete("status", "") == set()


def sources():
    return [p for room in ROOMS for p in sorted((ROOT / room).rglob("*.c"))]


def test_every_code_in_the_source_is_listed():
    listed = re.findall(r"^\| `([^`]+)` \|", page("codes"), re.M)
    exact = {c for c in listed if not c.endswith("*")}
    prefixes = tuple(c[:-1] for c in listed if c.endswith("*"))
    call = re.compile(r'\b(?:err_set\(\s*[^,()]+,\s*\w+,|err_set_dep\(\s*[^,()]+,\s*\w+,\s*[^,()]+,)\s*"([^"]+)"')
    used = {(code, path.relative_to(ROOT)) for path in sources() for code in call.findall(path.read_text())}
    assert len(used) > 60
    assert not [(c, str(p)) for c, p in used if c not in exact and not c.startswith(prefixes)]


def test_every_metric_declared_by_name_is_listed():
    listed = set(re.findall(r"^\| `([^`]+)` \|", page("metrics"), re.M))
    named = {m for path in sources() for m in re.findall(r'"((?:echora|process)_[a-z_]+)"', path.read_text())
             if not re.search(r"ops/(cli|tools)", str(path))}
    metrics = {m for m in named if re.search(r"_(total|seconds|bytes|rows|up|open|active|slots|fds|info)$", m)}
    assert metrics <= listed, metrics - listed


def test_every_verb_has_help_with_an_example_that_names_it():
    overview = subprocess.run([BUILD / "ops/echora", "--help"], capture_output=True, text=True, check=True).stdout
    verbs = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +\S", overview, re.M)
    assert {"publish", "validate", "decode", "get", "import manami", "status", "follow", "search", "reconcile",
            "streams plan", "streams apply", "streams check", "migrate", "doctor"} <= set(verbs)
    for verb in verbs:
        text = subprocess.run([BUILD / "ops/echora", *verb.split(), "--help"], capture_output=True, text=True,
                              check=True).stdout
        assert f"echora {verb}" in text.rpartition("Example:")[2], verb


def test_the_contracts_readme_tells_what_is_there():
    """Each path and subject that contracts/README.md names exists."""
    text = (ROOT / "contracts/README.md").read_text()
    for name in re.findall(r"`((?:proto|examples|wire|released)/[\w./]*|[\w]+\.(?:json|py|csv))`", text):
        assert (ROOT / "contracts" / name).exists(), name
    page = (ROOT / "ops/reference/subjects.md").read_text()
    for subject in re.findall(r"`((?:anime|character|episode|catalog|contracts)\.[a-z.]+[a-z])`", text):
        assert f"`{subject}`" in page, subject
    codes = (ROOT / "ops/reference/codes.md").read_text()
    assert all(f"`{code}`" in codes for code in re.findall(r"such as `([a-z-]+)`", text))
