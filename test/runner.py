#!/usr/bin/env python3
"""The suites of test/run (which installs what is missing and then calls this). See test/run --help."""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = Path(os.environ.get("ECHORA_STATE", ROOT / ".echora"))
PYTHON = STATE / "venv/bin/python"
CI = os.environ.get("CI") == "true"
TTY = sys.stdout.isatty()
LOGS = ROOT / "build-logs"
FUZZ_SECONDS = os.environ.get("ECHORA_FUZZ_SECONDS", "3")

# Skips that are no fault of the build, also in CI: what a test asks for lies outside the repository.
EXTERNAL = "real data"

SANITIZERS = {"ASAN_OPTIONS": "abort_on_error=0:exitcode=99:detect_leaks=1:strict_string_checks=1",
              "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}
# Reports go to files below LOGS: workers run on, and end as ever.
CHECKED = LOGS / "checked"
TSAN = {"TSAN_OPTIONS": f"suppressions={ROOT}/test/tsan.supp:log_path={CHECKED}/tsan:exitcode=0"}
# Leaks count when nothing points to them any more; libraries keep what they have for the process's life.
VALGRIND = ["valgrind", "--quiet", "--error-exitcode=0", "--leak-check=full", "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite", "--child-silent-after-fork=yes", f"--log-file={CHECKED}/valgrind.%p",
            f"--suppressions={ROOT}/test/valgrind.supp"]
# Where our threads meet: the runtime's loop and its ends, requests, the relay's lanes, telemetry.
THREADED = ("test_events_are_handled or test_backlog_is_handled or test_bad_event or test_retry_comes_back or "
            "test_one_trace or test_span_of or test_progress_keeps or test_dependency_trouble or "
            "test_handler_trouble or test_drain_finishes or test_second_signal or test_request or test_lanes_share or "
            "test_nats_away or test_rows_become or test_two_relays or test_shared_stream or test_lock_session or "
            "test_slots_are_emptied")
# One short run of each worker.
ONCE = "test_events_are_handled or test_request_in_protobuf or test_rows_become or test_points_equal"
BUILDS = {
    "gcc": ("build", ["--werror"], {}),
    "clang": ("build-clang", ["--werror"], {"CC": "clang"}),
    # gcc warns falsely when sanitizers instrument the code, so warnings are the other builds' matter.
    "san": ("build-san", ["-Db_sanitize=address,undefined", "-Db_lundef=false",
                          "--optimization=1"], {}),
    # Test builds alone: guards can be taken away and processes killed at named points (events/base/fault.h).
    "faults": ("build-faults", ["--werror", "-Dfaults=true"], {}),
    "tsan": ("build-tsan", ["-Db_sanitize=thread", "-Db_lundef=false", "--optimization=1"], {"CC": "clang"}),
    "fuzz": ("build-fuzz", ["-Dfuzzers=true", "-Db_sanitize=address,undefined", "-Db_lundef=false"],
             {"CC": "clang"}),
}


class Report:
    """Counts, and one line per failure with the command that repeats it."""

    def __init__(self):
        self.passed, self.failures, self.skips = 0, [], []
        self.width = 0

    def progress(self, text):
        if TTY:
            text = text[:100]
            print("\r" + text.ljust(self.width), end="", flush=True)
            self.width = len(text)

    def clear(self):
        if TTY and self.width:
            print("\r" + " " * self.width + "\r", end="")
            self.width = 0

    def ok(self):
        self.passed += 1

    def fail(self, suite, name, why, repeat, detail=""):
        self.clear()
        line = f"FAILED {suite} {name}: {why.strip().splitlines()[0][:160] if why.strip() else 'failed'}"
        if detail.strip():
            print("\n".join("    " + row for row in detail.rstrip().splitlines()[-60:]))
        print(f"{line}; repeat: {repeat}", flush=True)
        self.failures.append((line, repeat))

    def skip(self, suite, name, why, repeat):
        if CI and EXTERNAL not in why:
            self.fail(suite, name, f"skipped in CI: {why}", repeat)
            return
        self.clear()
        print(f"SKIPPED {suite} {name}: {why}", flush=True)
        self.skips.append((suite, name, why))


CHILDREN = set()


def interrupt(*_):
    """SIGTERM is taken as Ctrl-C is on a terminal: children hear of it, for they stop the servers that they started."""
    for child in list(CHILDREN):
        child.send_signal(signal.SIGINT)
    raise KeyboardInterrupt


def call(argv, log, env=None, watch=None):
    """Runs a command with its output in LOGS/log, line by line through `watch`; (exit code, output)."""
    LOGS.mkdir(exist_ok=True)
    lines = []
    with open(LOGS / log, "w") as out, subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=dict(os.environ, **(env or {}))) as child:
        CHILDREN.add(child)
        try:
            for line in child.stdout:
                out.write(line)
                lines.append(line)
                if watch:
                    watch(line)
        finally:
            out.write(child.stdout.read())  # an interrupted child has a last word, and ends when it has said it
            code = child.wait()
            CHILDREN.discard(child)
    return code, "".join(lines)


def build(report, kind, args):
    """Configures and builds; every warning is an error. A failed build is one failure."""
    folder, options, env = BUILDS[kind]
    started = time.monotonic()

    def watch(line):
        report.progress(f"build {kind}: {line.strip()}")
    code, stamp = 0, ROOT / folder / ".echora-options"
    stale = kind != "gcc" and (not stamp.exists() or stamp.read_text() != " ".join(options))
    if stale or not (ROOT / folder / "build.ninja").exists():
        shutil.rmtree(ROOT / folder, ignore_errors=True)
        code, text = call(["meson", "setup", folder, *options], f"build-{kind}.log", env, watch)
        if code == 0 and kind != "gcc":
            stamp.write_text(" ".join(options))
    elif kind == "gcc":
        # ops/up makes the same folder without it; changing an option that has its value costs nothing.
        configured = json.loads((ROOT / folder / "meson-info/intro-buildoptions.json").read_text())
        if not next(o["value"] for o in configured if o["name"] == "werror"):
            code, text = call(["meson", "configure", folder, "-Dwerror=true"], f"build-{kind}.log", env, watch)
    if code == 0:
        targets = [f"test/fuzz/fuzz_{p.stem}" for p in sorted((ROOT / "test/fuzz").glob("*.c"))] if kind == "fuzz" \
            else []
        code, text = call(["ninja", "-C", folder, *targets], f"build-{kind}.log", env, watch)
    if code:
        report.fail("build", kind, "does not build", f"test/run build {kind}", text)
        return False
    report.ok()
    done(report, f"build {kind}", started)
    return True


def done(report, what, started, before=None):
    report.clear()
    count = "" if before is None else (f"{report.passed - before[0]} passed, "
                                       f"{len(report.failures) - before[1]} failed, "
                                       f"{len(report.skips) - before[2]} skipped, ")
    print(f"{what}: {count}{time.monotonic() - started:.1f} s", flush=True)


def counts(report):
    return report.passed, len(report.failures), len(report.skips)


def suite_style(report, args, build_kind):
    for name in [args.name] if args.name else listing([sys.executable, "test/style.py", "--list"]):
        report.progress(f"style {name}")
        code, text = call([sys.executable, "test/style.py", name], f"style-{name}.log")
        if code:
            found = [line.strip() for line in text.splitlines()[1:]]
            report.fail("style", name, found[0] if found else "failed", f"test/run style {name}",
                        "\n".join(found))
        else:
            report.ok()


def listing(argv):
    return subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, check=True,
                          stdin=subprocess.DEVNULL).stdout.split()


def suite_tidy(report, args, build_kind):
    """clang-tidy over every C file of the product, as many at a time as there are cores."""
    database = json.loads((ROOT / "build-clang/compile_commands.json").read_text())
    files = sorted({str((Path(row["directory"]) / row["file"]).resolve()) for row in database})
    files = [f for f in files if f.startswith(str(ROOT)) and "/build-clang/" not in f and ".pb-c." not in f
             and not f.startswith(str(ROOT / "test") + "/")]
    if args.name:
        files = [f for f in files if args.name in f]
    running = []
    LOGS.mkdir(exist_ok=True)
    while files or running:
        while files and len(running) < (os.cpu_count() or 2):
            file = files.pop(0)
            name = str(Path(file).relative_to(ROOT))
            report.progress(f"tidy {name}")
            running.append((name, subprocess.Popen(
                ["clang-tidy", "--quiet", "-p", "build-clang", file], cwd=ROOT, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)))
        name, child = running.pop(0)
        text = child.communicate()[0]
        if child.returncode:
            report.fail("tidy", name, text, f"test/run tidy {name}", text)
        else:
            report.ok()


def flag(args, build_kind):
    """What repeats this kind of run."""
    return " --valgrind" if args.valgrind else {"san": " --san", "tsan": " --tsan"}.get(build_kind, "")


def surroundings(args, build_kind):
    """The environment for what runs under a sanitizer or valgrind."""
    if args.valgrind:
        return {"ECHORA_TEST_WRAPPER": " ".join(VALGRIND)}
    return {"san": SANITIZERS, "tsan": TSAN}.get(build_kind, {})


def clear_checked():
    """A fresh folder for reports, which any account may write to."""
    shutil.rmtree(CHECKED, ignore_errors=True)
    CHECKED.mkdir(parents=True)
    CHECKED.chmod(0o777)


def take_checked(report, suite, repeat):
    """Every report that a sanitizer or valgrind wrote is a failure."""
    for file in sorted(CHECKED.glob("*")) if CHECKED.exists() else []:
        text = file.read_text(errors="replace")
        if text.strip():
            what = re.search(r"SUMMARY: .*|==\d+== .*", text)
            report.fail(suite, file.name, what.group(0) if what else "a report", repeat, text)


def suite_unit(report, args, build_kind):
    folder = BUILDS[build_kind][0]
    san = flag(args, build_kind)
    # One name per line, "project:suite / name" when a project has several suites.
    lines = subprocess.run(["meson", "test", "-C", folder, "--list", "--no-rebuild", "--suite", "unit"], cwd=ROOT,
                           text=True, capture_output=True, stdin=subprocess.DEVNULL).stdout.splitlines()
    names = [line.rsplit(" / ", 1)[-1].strip() for line in lines if line.strip() and ": " not in line]
    names = [n for n in names if (args.name or "") in n]
    if not names:
        report.fail("unit", args.name or "list", "no such test", "test/run unit")
        return
    log = ROOT / folder / f"meson-logs/unit{'-valgrind' if args.valgrind else ''}.json"
    log.unlink(missing_ok=True)
    factor = ["--timeout-multiplier", "20"] if san else []
    wrap = ["--wrap", " ".join(VALGRIND)] if args.valgrind else []
    clear_checked()
    call(["meson", "test", "-C", folder, "--suite", "unit", "--logbase", "unit", "--no-rebuild", *factor, *wrap,
          *names], f"unit-{build_kind}.log", surroundings(args, build_kind),
         lambda line: report.progress("unit " + line.strip()))
    seen = set()
    for line in log.read_text().splitlines() if log.exists() else []:
        row = json.loads(line)
        name = row["name"].rsplit(" / ", 1)[-1].strip()
        seen.add(name)
        repeat = f"test/run unit {name}{san}"
        if row["result"] == "OK":
            report.ok()
        elif row["result"] == "SKIP":
            report.skip("unit", name, "skipped itself", repeat)
        else:
            text = (row.get("stdout") or "") + (row.get("stderr") or "")
            report.fail("unit", name, f"{row['result'].lower()}, exit {row.get('returncode')}", repeat, text)
    for name in set(names) - seen:
        report.fail("unit", name, "did not run", f"test/run unit {name}{san}")
    take_checked(report, "unit", f"test/run unit{san}")


def memory_folder():
    """Where the servers of tests keep their data: in memory when there is room, for every test makes a database,
    and on a disk that costs more than the test itself."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 4 << 30 else None


def pytests(report, args, build_kind, suite, servers):
    """Runs of test/<suite>, one for each nats-server, each in two parts, or one alone in three: side by side, for most
    of their time is spent waiting."""
    clear_checked()
    before = counts(report)
    parts = 0 if args.name else 3 if len(servers) == 1 else 2
    with ThreadPoolExecutor() as pool:
        for finish in pool.map(lambda nats: pytest(report, args, build_kind, suite, nats, parts), servers):
            finish()
    if args.name and counts(report) == before:
        report.fail(suite, args.name, "no test is called so" + ("" if args.chaos else ", or those of --chaos alone"),
                    f"test/run {suite} {args.name}")
    take_checked(report, suite, f"test/run {suite}{flag(args, build_kind)}")


def pytest(report, args, build_kind, suite, nats, parts):
    """One pytest run of test/<suite> against one nats-server; returns what reports its results."""
    folder = ROOT / "test" / suite
    san = flag(args, build_kind)
    label = suite + ("" if suite in ("contract",) else f"@{nats}")
    target, select = f"test/{suite}", []
    if args.name:
        file, _, rest = args.name.partition("::")
        if file.endswith(".py") and (folder / file).exists():
            target = f"test/{suite}/{args.name}"
        else:
            select = ["-k", args.name]
    xml = LOGS / f"{suite}-{nats}-{build_kind}.xml"
    xml.unlink(missing_ok=True)
    env = {"ECHORA_BUILD": str(ROOT / BUILDS[build_kind][0]), "ECHORA_TEST_NATS": nats,
           "ECHORA_STATE": str(STATE), "PYTHONDONTWRITEBYTECODE": "1"}
    env.update(surroundings(args, build_kind))
    if memory_folder():
        env["TMPDIR"] = str(memory_folder())

    def watch(line):
        found = re.search(r"test/(\S+::.*)", line)
        if found and re.search(r"\b(PASSED|FAILED|ERROR|SKIPPED)\b", line):
            report.progress(f"{label}: {found.group(1)}")
    # Each part has servers of its own, so a file's tests stay together. -rP: what passing tests printed is kept too.
    split = ["-n", str(parts), "--dist", "loadfile"] if parts else []
    code, text = call([str(PYTHON), "-m", "pytest", "-v", "--tb=short", "-rP", "-o", "console_output_style=classic",
                       "--durations=25", f"--junitxml={xml}", *split, *select, target],
                      f"{suite}-{nats}-{build_kind}.log", env, watch)

    def results():
        if code == 5:  # nothing selected
            return
        if not xml.exists() or code not in (0, 1):
            report.fail(label, args.name or "pytest", f"pytest ended with {code}",
                        f"test/run {suite} --nats {nats}{san}", text)
            if not xml.exists():
                return
        failed = set()
        for case in ElementTree.parse(xml).iter("testcase"):
            module, _, rest = (case.get("classname") or "").partition(f"test.{suite}.")[2].partition(".")
            name = f"{module}.py::" + (f"{rest}::" if rest else "") + case.get("name")
            repeat = f"test/run {suite} '{name}' --nats {nats}{san}"
            bad = [e for e in case if e.tag in ("failure", "error")]
            skipped = case.find("skipped")
            if bad:
                if name not in failed:
                    detail = "\n".join((e.text or "") for e in bad)
                    report.fail(label, name, bad[0].get("message") or "failed", repeat, detail)
                failed.add(name)
            elif skipped is not None:
                report.skip(label, name, skipped.get("message") or "", repeat)
            else:
                report.ok()
        # The suite of faults prints what it has been through (harness/matrix.py).
        found = [line.partition("chaos| ")[2] for line in text.splitlines() if line.startswith("chaos| ")]
        if found:
            report.clear()
            print("\n".join([f"{label}, cases by fault and place:", *found]), flush=True)
    return results


def suite_contract(report, args, build_kind):
    pytests(report, args, build_kind, "contract", ["current"])


def servers(report, args, suite):
    """The nats-servers to test with; a missing one is a skip, and so a failure in CI."""
    wanted = [args.nats] if args.nats else ["current", "debian"]
    have = []
    for which in wanted:
        if which == "current" and not (STATE / "tools/bin/nats-server").exists():
            report.skip(suite, which, "no current nats-server: needs a Go toolchain", f"test/run {suite}")
        else:
            have.append(which)
    return have


def suite_integration(report, args, build_kind):
    which = servers(report, args, "integration")
    if (build_kind != "gcc" or args.valgrind) and not args.nats:
        which = which[:1]
    pytests(report, args, build_kind, "integration", which)


def suite_threads(report, args, build_kind):
    """The unit tests and those integration tests where threads meet, under ThreadSanitizer."""
    suite_unit(report, argparse.Namespace(**{**vars(args), "name": None}), "tsan")
    suite_integration(report, argparse.Namespace(**{**vars(args), "name": args.name or THREADED}), "tsan")


def suite_memory(report, args, build_kind):
    """The unit tests and one short run of each worker under valgrind."""
    if not shutil.which("valgrind"):
        report.fail("memory", "valgrind", "is not installed", "apt-get install valgrind", "")
        return
    args = argparse.Namespace(**{**vars(args), "valgrind": True})
    suite_unit(report, argparse.Namespace(**{**vars(args), "name": None}), "gcc")
    suite_integration(report, argparse.Namespace(**{**vars(args), "name": args.name or ONCE}), "gcc")


def suite_e2e(report, args, build_kind):
    pytests(report, args, build_kind, "e2e", servers(report, args, "e2e")[:1])


def suite_chaos(report, args, build_kind):
    """Short runs against one nats-server; with --chaos long ones against both."""
    which = servers(report, args, "chaos")
    for nats in which if args.chaos else which[:1]:
        pytests(report, args, "faults", "chaos", [nats])


def suite_bench(report, args, build_kind):
    """The jobs of test/bench/run, then every script test/bench/bench_*; each prints its own figures."""
    main = str(ROOT / "test/bench/main.py")
    jobs = [line.split()[0] for line in subprocess.run(
        [str(PYTHON), main, "--list"], text=True, capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout.splitlines()]
    commands = {**{job: [main, job] for job in jobs},
                **{script.stem: [str(script)] for script in sorted((ROOT / "test/bench").glob("bench_*.py"))}}
    for name, argv in commands.items():
        if args.name and args.name not in name:
            continue
        code = subprocess.run([str(PYTHON), *argv], cwd=ROOT, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, PYTHONPATH=f"{ROOT}:{ROOT}/test")).returncode
        if code:
            report.fail("bench", name, f"exit {code}", f"test/run bench {name}")
        else:
            report.ok()


def suite_fuzz(report, args, build_kind):
    """Each libFuzzer target for a few seconds, from its corpus when there is one."""
    LOGS.mkdir(exist_ok=True)
    targets = [t for t in sorted((ROOT / "build-fuzz/test/fuzz").glob("fuzz_*"))
               if not t.is_dir() and os.access(t, os.X_OK) and (not args.name or args.name in t.name)]
    if not targets:
        report.fail("fuzz", args.name or "all", "no target was built", "test/run fuzz", "")
    for target in targets:
        report.progress(f"fuzz {target.name}")
        corpus = ROOT / "test/fuzz/corpus" / target.name.removeprefix("fuzz_")
        work = LOGS / f"corpus-{target.name}"
        work.mkdir(exist_ok=True)
        code, text = call([str(target), f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=1024",
                           "-print_final_stats=1", f"-artifact_prefix={LOGS}/{target.name}-", str(work),
                           *([str(corpus)] if corpus.is_dir() else [])], f"{target.name}.log")
        if code:
            report.fail("fuzz", target.name, f"exit {code}", f"test/run fuzz {target.name}", text)
        else:
            report.ok()


def suite_build(report, args, build_kind):
    for kind in [args.name] if args.name else BUILDS:
        if kind not in BUILDS:
            sys.exit(f"no build {kind}; there are: {' '.join(BUILDS)}")
        build(report, kind, args)


# Suite → (function, builds it needs, one sentence).
SUITES = {
    "style": (suite_style, (), "include direction, banned calls, format, hygiene of the source"),
    "unit": (suite_unit, ("gcc",), "C unit tests, no servers"),
    "contract": (suite_contract, ("gcc",), "protos, wire form, JSON, AsyncAPI, evolution"),
    "integration": (suite_integration, ("gcc",), "workers against real servers, both nats-servers"),
    "e2e": (suite_e2e, ("gcc",), "the whole chain; real data when it lies beside the checkout"),
    "chaos": (suite_chaos, ("gcc", "faults"), "the oracle after kills and faults, and each guard taken away (--chaos: long)"),
    "tidy": (suite_tidy, ("clang",), "clang builds without a warning; clang-tidy's list"),
    "fuzz": (suite_fuzz, ("fuzz",), f"libFuzzer targets, {FUZZ_SECONDS} s each"),
}
EXTRA = {
    "bench": (suite_bench, ("gcc",), "measurements (--bench)"),
    "threads": (suite_threads, ("tsan",), "unit tests, and where threads meet, under ThreadSanitizer (--tsan)"),
    "memory": (suite_memory, ("gcc",), "unit tests, and one run of each worker, under valgrind (--valgrind)"),
    "build": (suite_build, (), "the builds alone: " + " ".join(BUILDS)),
}


def main():
    parser = argparse.ArgumentParser(prog="test/run", description="Builds and tests. See the head of test/run.")
    parser.add_argument("suite", nargs="?")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--san", action="store_true")
    parser.add_argument("--tsan", action="store_true")
    parser.add_argument("--valgrind", action="store_true")
    parser.add_argument("--chaos", action="store_true")
    parser.add_argument("--bench", action="store_true")
    parser.add_argument("--nats", choices=("current", "debian"))
    args = parser.parse_args()
    known = {**SUITES, **EXTRA}
    if args.list:
        for name, (_, _, text) in known.items():
            print(f"{name:12} {text}")
        return 0
    if args.suite and args.suite not in known:
        parser.error(f"no suite {args.suite}; see --list")

    if args.chaos:
        os.environ["ECHORA_CHAOS"] = "long"
    report, started = Report(), time.monotonic()
    built = {}

    def run(suite, kind="gcc"):
        function, needs, _ = known[suite]
        needs = tuple(kind if n == "gcc" else n for n in needs)
        for need in needs:
            if need not in built:
                built[need] = build(report, need, args)
            if not built[need]:
                return
        begin, before = time.monotonic(), counts(report)
        function(report, args, kind)
        done(report, suite + (" (sanitizers)" if kind == "san" else ""), begin, before)

    if args.suite:
        run(args.suite, "san" if args.san else "tsan" if args.tsan else "gcc")
    elif args.tsan or args.valgrind:
        for suite in [s for s, asked in (("threads", args.tsan), ("memory", args.valgrind)) if asked]:
            run(suite)
    elif args.san:
        for suite in ("unit", "contract", "integration"):
            run(suite, "san")
    elif args.chaos or args.bench:
        for suite in [s for s in ("chaos", "bench") if getattr(args, s)]:
            run(suite)
    else:
        for suite in SUITES:
            run(suite)
        for suite in ("unit", "integration"):
            run(suite, "san")

    if report.failures:
        print("\nfailures:")
        for line, repeat in report.failures:
            print(f"  {line}\n      {repeat}")
    print(f"all in {time.monotonic() - started:.0f} s")
    print(f"{report.passed} passed, {len(report.failures)} failed, {len(report.skips)} skipped")
    return 1 if report.failures else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, so children too, ignore it
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
