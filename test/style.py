#!/usr/bin/env python3
"""Checks of the source itself. usage: style.py [--list | NAME…]; prints `ok NAME` or `FAIL NAME` lines.

Each check yields "file:line: what" for every fault it finds. A call that a check forbids may stand where the same
line or the one above says why: `/* style: allow getenv, the terminal's own variables */`.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def tracked(*patterns):
    """Files git knows (or all, in a copy without .git), but for those that are gone."""
    try:
        listing = subprocess.run(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-co",
                                  "--exclude-standard", "--", *patterns], cwd=ROOT, text=True,
                                 capture_output=True, check=True, stdin=subprocess.DEVNULL).stdout.split("\n")
        names = [n for n in listing if n]
    except (OSError, subprocess.CalledProcessError):
        names = [str(p.relative_to(ROOT)) for pattern in patterns or ("*",) for p in ROOT.rglob(pattern)
                 if p.is_file() and not str(p.relative_to(ROOT)).startswith((".git/", ".echora", "build"))]
    return sorted(n for n in set(names) if (ROOT / n).is_file())


def read(name):
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def code_only(text):
    """C without comments and string contents; line numbers stay."""
    def blank(match):
        found = match.group(0)
        keep = "\n" * found.count("\n")
        return keep if found.startswith("/") else '"' + keep + '"'
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


# A room may use the rooms listed for it and itself; contracts may use events/base of the runtime only.
ROOMS = {"events/base": (), "contracts": ("events/base",), "events": ("events/base", "contracts"),
         "outbox": ("events/base", "contracts", "events"),
         "workers": ("events/base", "contracts", "events", "outbox"),
         "ops": ("events/base", "contracts", "events", "outbox", "workers"),
         "test": ("events/base", "contracts", "events", "outbox", "workers", "ops")}


def room_of(path):
    if path.startswith("events/base/"):
        return "events/base"
    first = path.split("/", 1)[0]
    return first if first in ROOMS else None


def include_direction():
    for name in tracked("*.c", "*.h"):
        room = room_of(name)
        if not room:
            continue
        for number, line in enumerate(read(name).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match or match.group(1).endswith(".pb-c.h"):
                continue
            other = match.group(1)
            target = room_of(other)
            if "/" not in other or not target:
                # Generated headers and a library's own stand without a room.
                if "/" not in other and (ROOT / name).parent.joinpath(other).exists():
                    yield f'{name}:{number}: include "{other}" does not spell its room'
                continue
            if target != room and target not in ROOMS[room]:
                yield f"{name}:{number}: {room} includes {other}"
            elif target == room == "workers" and other.split("/")[1] != name.split("/")[1]:
                yield f"{name}:{number}: one worker includes another's {other}"


BANNED = {"strcpy": "struct buf or memcpy", "strcat": "struct buf", "strncpy": "memcpy with a length",
          "strncat": "struct buf", "sprintf": "snprintf", "vsprintf": "vsnprintf", "strtok": "struct view",
          "gets": "fgets", "atoi": "a checked parser", "atol": "a checked parser",
          "atoll": "a checked parser", "atof": "strtod with a check", "gmtime": "gmtime_r",
          "localtime": "localtime_r", "ctime": "strftime", "asctime": "strftime", "strerror": "strerror_r",
          "alloca": "the arena", "system": "posix_spawn", "popen": "posix_spawn", "rand": "random bytes",
          "random": "random bytes", "tmpnam": "mkstemp", "sleep": "a wait that can be ended",
          "usleep": "a wait that can be ended", "setjmp": "errors", "longjmp": "errors"}


def waived(lines, number, word):
    """True when line number (from 1) or the one above allows the word, with a reason."""
    pattern = re.compile(r"style: allow " + re.escape(word) + r"\b,? \w{2,}")
    return any(pattern.search(line) for line in lines[max(0, number - 2):number])


def uses(pattern, *globs):
    """(file, line, word) of each match of the pattern's group 1 in code, but for waived ones."""
    for name in tracked(*globs):
        text = read(name)
        lines = text.splitlines()
        for number, line in enumerate(code_only(text).splitlines(), 1):
            for match in pattern.finditer(line):
                if not waived(lines, number, match.group(1)):
                    yield name, number, match.group(1)


def banned_calls():
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
    for name, number, word in uses(pattern, "*.c", "*.h"):
        yield f"{name}:{number}: {word}() is banned, use {BANNED[word]}"


# What only some files may use: the calls (or the header), the files, where everybody else goes. Tests may.
BORDERS = ((r"\b(getenv|secure_getenv)\s*\(", r"events/option\.c", "the option table (events/option.h)"),
           (r"#\s*include\s+<(nats/nats\.h|nats\.h)>", r"events/[^/]+", "events/bus.h"),
           (r"\b(PQ(?:exec|send|prepare|connect|finish|reset|setdb)\w*)\s*\(", r"events/pg[^/]*\.c", "events/pg.h"),
           (r"\b(curl_(?:easy|multi)_\w+)\s*\(", r"events/http(_pool)?\.c", "events/http.h"),
           (r"#\s*include\s+<(hiredis/[\w.]+)>", r"events/redis[^/]*", "events/redis.h"),
           (r"(?<![\w.>])(exit|_exit|quick_exit)\s*\(", r"(.*/)?main\.c", "an error to the caller"))


def library_borders():
    for pattern, allowed, instead in BORDERS:
        for name, number, word in uses(re.compile(pattern), "*.c", "*.h"):
            if not name.startswith("test/") and not re.fullmatch(allowed, name):
                yield f"{name}:{number}: {word} stays out of here, use {instead}"


def goto_or_cleanup():
    """A jump over a CLEANUP variable's declaration would clean up what was never set."""
    for name in tracked("*.c", "*.h"):
        code = code_only(read(name))
        jump = re.search(r"\bgoto\s+\w+\s*;", code)
        if jump and re.search(r"\bCLEANUP\(|__attribute__\(\(cleanup", code):
            yield f"{name}:{code[:jump.start()].count(chr(10)) + 1}: goto in a file that uses CLEANUP"


def no_loose_ends():
    # Spelled in pieces, so that this file passes its own check.
    pattern = re.compile(r"\b(" + "TO" + "DO|FIX" + "ME|XX" + r"X)\b")
    for name in tracked("*.c", "*.h", "*.py", "*.sql", "*.md", "*.proto", "*.def", "*meson.build"):
        for number, line in enumerate(read(name).splitlines(), 1):
            if pattern.search(line):
                yield f"{name}:{number}: {pattern.search(line).group(1)}: do it, or open an issue"


def licence_line():
    for name in tracked("*.c", "*.h"):
        if "SPDX-License-Identifier: Apache-2.0" not in read(name)[:4000]:
            yield f"{name}:1: no `// SPDX-License-Identifier: Apache-2.0`"


def c_format():
    files = tracked("*.c", "*.h")
    for start in range(0, len(files), 40):
        result = subprocess.run(["clang-format", "--dry-run", *files[start:start + 40]], cwd=ROOT, text=True,
                                capture_output=True, stdin=subprocess.DEVNULL)
        seen = set()
        for line in result.stderr.splitlines():
            match = re.match(r"(\S+?):(\d+):\d+: warning: code should be clang-formatted", line)
            if match and match.group(1) not in seen:
                seen.add(match.group(1))
                yield f"{match.group(1)}:{match.group(2)}: not formatted (clang-format -i {match.group(1)})"
        if result.returncode and not seen:
            yield f"clang-format: {result.stderr.strip()[:300]}"


def line_hygiene():
    for name in tracked("*.c", "*.h", "*.py", "*.sql", "*.md", "*.proto", "*.build", "ops/*", "test/*"):
        if name.endswith((".csv", ".ndjson", ".json", ".sum", ".binpb", ".svg")) or "/fuzz/corpus/" in name:
            continue
        text = read(name)
        for number, line in enumerate(text.splitlines(), 1):
            if line != line.rstrip() or ("\t" in line and not name.endswith((".go", ".mod", ".csv", ".conf"))):
                yield f"{name}:{number}: tab or space at the end of the line"
        if text and not text.endswith("\n"):
            yield f"{name}:1: no newline at the end of the file"


def no_local_paths():
    # Spelled in pieces, so that this file passes its own check.
    pattern = re.compile("(?<![\\w.])/" + "(work|root|home)/" + "|/tmp/" + "echora/|/opt/" + "wheels")
    for name in tracked():
        if name.endswith((".sum", ".binpb")):
            continue
        for number, line in enumerate(read(name).splitlines(), 1):
            if pattern.search(line):
                yield f"{name}:{number}: a path of one machine"


def scripts_parse():
    for name in tracked():
        head = read(name)[:80] if not name.endswith((".binpb", ".zst")) else ""
        if name.endswith(".py") or head.startswith("#!/usr/bin/env python3"):
            try:
                compile(read(name), name, "exec")
            except SyntaxError as e:
                yield f"{name}:{e.lineno}: {e.msg}"
        elif head.startswith("#!/bin/bash"):
            result = subprocess.run(["bash", "-n", str(ROOT / name)], text=True, capture_output=True,
                                    stdin=subprocess.DEVNULL)
            if result.returncode:
                yield f"{name}:1: {result.stderr.strip()}"
            if not os.access(ROOT / name, os.X_OK):
                yield f"{name}:1: not executable"


def migration_numbers():
    seen = {}
    for name in tracked("ops/migrations/*"):
        match = re.fullmatch(r"ops/migrations/(\d{4})_[a-z0-9_]+\.sql", name)
        if not match:
            yield f"{name}:1: a migration is named NNNN_what.sql"
        elif match.group(1) in seen:
            yield f"{name}:1: number {match.group(1)} is taken by {seen[match.group(1)]}"
        else:
            seen[match.group(1)] = name
            if not read(name).lstrip().startswith("--"):
                yield f"{name}:1: a migration starts with its reason"


CHECKS = {f.__name__.replace("_", "-"): f for f in
          (include_direction, banned_calls, library_borders, goto_or_cleanup, no_loose_ends, licence_line, c_format, line_hygiene, no_local_paths,
           scripts_parse, migration_numbers)}


def main():
    names = [a for a in sys.argv[1:] if a != "--list"]
    if "--list" in sys.argv:
        print("\n".join(CHECKS))
        return 0
    bad = False
    for name in names or CHECKS:
        if name not in CHECKS:
            print(f"no check {name}; there are: {' '.join(CHECKS)}", file=sys.stderr)
            return 2
        faults = list(CHECKS[name]())
        bad |= bool(faults)
        print(f"{'FAIL' if faults else 'ok'} {name}")
        for fault in faults[:40]:
            print(f"    {fault}")
        if len(faults) > 40:
            print(f"    … and {len(faults) - 40} more")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
