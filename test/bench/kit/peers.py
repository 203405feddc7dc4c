"""Builds and installs the peers, once per state of their sources, below the state folder; says what can't be had."""
import contextlib
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from harness.settings import ROOT, STATE, VENV

PEERS = ROOT / "test/bench/peers"
HOME = STATE / "bench"


class Absent(Exception):
    """A peer that can't be had here; the text says why."""


def stamp_of(folder, *patterns):
    """Of the content of these files below the folder."""
    digest = hashlib.sha256()
    for file in sorted(f for pattern in patterns for f in folder.rglob(pattern)):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def run(argv, timeout, **options):
    try:
        done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, **options)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Absent(str(e)) from None
    if done.returncode:
        # Whose registry it was is nobody's business but this machine's.
        said = re.sub(r'"?https?://[^\s"]*"?', "(address)", done.stderr or done.stdout).strip().splitlines()
        raise Absent(said[-1] if said else f"{argv[0]} ended with {done.returncode}")


def made(target, stamp, make):
    """Runs make() unless target was made from what has this stamp; a failure is remembered for this process alone."""
    mark = target.with_name(target.name + ".made-of")
    if not (target.exists() and mark.exists() and mark.read_text() == stamp):
        print(f"peers: making {target.name}", file=sys.stderr, flush=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        make()
        mark.write_text(stamp)
    return target


@functools.cache
def go(name, module="go", timeout=1800):
    """The executable of peers/<module>/<name>, built with the pinned go.sum of the module."""
    compiler = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not compiler:
        raise Absent("no Go toolchain")
    source, target = PEERS / module, HOME / "bin" / f"{module}-{name}"
    env = dict(os.environ, GOFLAGS="-buildvcs=false -mod=readonly", CGO_ENABLED="0")

    def make():
        run([compiler, "build", "-trimpath", "-o", target, f"./{name}"], timeout, cwd=source, env=env)
    return made(target, stamp_of(source, "*.go", "go.mod", "go.sum"), make)


@functools.cache
def python():
    """The interpreter of an environment of the Python peers' own, from peers/python/requirements.txt."""
    folder, pinned = HOME / "venv", PEERS / "python/requirements.txt"

    def make():
        shutil.rmtree(folder, ignore_errors=True)
        run([VENV / "bin/python", "-m", "venv", folder], 300)
        run([folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input",
             "-r", pinned], 1800)
    return made(folder, hashlib.sha256(pinned.read_bytes()).hexdigest(), make) / "bin/python"


DEBEZIUM = "io.debezium:debezium-server-dist:3.6.0.Final"


@functools.cache
def java():
    """A Java of 21 or later."""
    found = [shutil.which("java"), *map(str, Path("/usr/lib/jvm").glob("*/bin/java"))]
    if os.environ.get("JAVA_HOME"):
        found.insert(0, os.environ["JAVA_HOME"] + "/bin/java")
    for program in filter(None, found):
        said = subprocess.run([program, "-version"], capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr
        version = re.search(r'version "(\d+)', said)
        if version and int(version[1]) >= 21:
            return program
    raise Absent("no Java of 21 or later")


@functools.cache
def debezium():
    """The command line of Debezium Server, its distribution fetched by Maven."""
    program, version = java(), DEBEZIUM.rsplit(":", 1)[1]
    maven = shutil.which("mvn")
    if not maven:
        raise Absent("no Maven")
    folder = HOME / f"debezium-server-{version}"

    def make():
        shutil.rmtree(folder, ignore_errors=True)
        partial = folder.with_name(folder.name + ".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        which = f"-Dartifact={DEBEZIUM}:tar.gz"
        run([maven, "-q", "-B", "dependency:get", which, "-Dtransitive=false"], 3600, cwd=partial)
        run([maven, "-q", "-B", "dependency:copy", which, f"-DoutputDirectory={partial}"], 600, cwd=partial)
        archive = next(partial.glob("*.tar.gz"))
        run(["tar", "-xzf", archive, "-C", partial, "--strip-components=1", "--no-same-owner"], 600)
        archive.unlink()
        partial.rename(folder)
    made(folder, DEBEZIUM, make)
    runner = next(iter(folder.glob("*runner.jar")), None)
    if runner is None:
        raise Absent("Debezium Server's distribution has no runner")
    return [program, "-Xmx1g", "--add-opens", "java.base/java.lang=ALL-UNNAMED", "-cp", f"{runner}:{folder}/lib/*",
            "io.debezium.server.Main"]


def debezium_versions():
    found = {"debezium-server": DEBEZIUM.rsplit(":", 1)[1]}
    with contextlib.suppress(Absent):
        found["java"] = subprocess.run([java(), "--version"], capture_output=True, text=True,
                                       stdin=subprocess.DEVNULL).stdout.partition("\n")[0]
    return found


@functools.cache
def why_missing(make, *arguments):
    """"" when the peer can be had (it is then), else why not; tried once."""
    try:
        make(*arguments)
    except Absent as e:
        return str(e)
    return ""


def go_versions(module, *names):
    """{module name: version} as pinned in a go.mod."""
    found = {}
    for line in (PEERS / module / "go.mod").read_text().splitlines():
        words = line.replace("require", "").split()
        if len(words) >= 2 and any(words[0].endswith(n) for n in names):
            found[words[0].split("/", 1)[1]] = words[1]
    return found


def python_versions(*names):
    pins = dict(line.split("==") for line in (PEERS / "python/requirements.txt").read_text().split() if "==" in line)
    return {n: pins[n] for n in names}
