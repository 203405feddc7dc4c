"""The pages of ops/runbooks as something that can be run: their command blocks, and a shell of `ops/env` to run them in.

What a page says about its commands (README.md there tells people the same):

    <!-- situation: rejected -->   from here on the blocks belong to this situation; a test brings it about
    ```sh                          commands; a line that begins with a space or follows a backslash goes on with its command
    echora dlq show SEQ            words of the README's table are filled in
    # -> bad-uuid                  the command prints this; `...` is anything, a word that is not known yet takes its value
    # soon -> ready                the same, after some seconds: the command is repeated until it does
    # exit 1                       its exit code, when it is not 0
    ```sh systemd                  commands for that kind of installation alone: not run here, but counted
"""
import json
import os
import re
import select
import subprocess
import time
from dataclasses import dataclass, field

from ops.fleet.fleet import PORTS

from .settings import PATIENCE, ROOT

FOLDER = ROOT / "ops/runbooks"
ELSEWHERE = ("systemd", "compose")  # kinds of blocks that need an installation that is not here
# What a word of the README's table looks like in what a command prints.
LOOKS = {**dict.fromkeys(("SEQ", "EVENT_SEQ", "BATCH"), r"\b\d+\b"),
         **dict.fromkeys(("PLAN", "ANIME", "OTHER", "REVIEW"), r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
         "FINGERPRINT": r"[0-9a-f]{16}", "SUBJECT": r"[\w.]+", "CONSUMER": r"[\w-]+"}
PROGRAMS = ("echora", "nats", "psql", "curl", "ops/", "supervisorctl", "systemctl", "docker", "kill")


@dataclass
class Command:
    text: str
    exit: int = 0
    sees: list = field(default_factory=list)  # texts
    soon: bool = False


@dataclass
class Block:
    page: str
    line: int
    situation: str
    kind: str
    text: str

    @property
    def commands(self):
        found, closing = [], None
        for line in self.text.splitlines():
            note = None if closing else re.match(r"# (soon )?-> (.+)|# exit (\d+)$", line)
            if note:
                assert found, f"{self.page}:{self.line}: no command above {line!r}"
                command = found[-1]
                if note[3]:
                    command.exit = int(note[3])
                else:
                    command.sees.append(note[2].strip())
                    command.soon |= bool(note[1])
            elif closing or (found and (line[:1] == " " or found[-1].text.endswith("\\"))):
                found[-1].text += "\n" + line
                closing = None if line == closing else closing
            elif line.strip() and not line.startswith("#"):
                found.append(Command(line))
                heredoc = re.search(r"<<'(\w+)'", line)
                closing = heredoc and heredoc[1]
        return found


def pages():
    return {path.name: path.read_text() for path in sorted(FOLDER.glob("*.md"))}


def blocks_of(page, text):
    """Fenced blocks of a page, those of other languages too (kind is then the language)."""
    found, situation, opened = [], "", None
    for number, line in enumerate(text.splitlines(), 1):
        if opened is not None:
            if line.strip() == "```":
                found.append(Block(page, opened[0], situation, opened[1], "\n".join(opened[2])))
                opened = None
            else:
                opened[2].append(line)
        elif line.startswith("```"):
            words = line[3:].split()
            opened = (number, " ".join(words[1:] if words[:1] == ["sh"] else ["not sh", *words]), [])
        elif here := re.match(r"<!-- situation: (\S+) -->", line):
            situation = here[1]
    assert opened is None, f"{page}: a block is not closed"
    return found


def all_blocks():
    return [block for page, text in pages().items() for block in blocks_of(page, text)]


def words():
    """The words in capitals that a reader fills in: first column of the README's table of them."""
    table = (FOLDER / "README.md").read_text().split("| word |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([A-Z_]+)` \|", table, re.M)


class Shell:
    """A bash in a folder that has ops/, in which `eval "$(ops/env)"` was typed for the fleet below a state folder."""

    def __init__(self, state, folder):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("ECHORA_", "PG", "NATS_", "QDRANT_"))}
        self.child = subprocess.Popen(["bash", "--norc"], cwd=str(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, start_new_session=True,
                                      env=dict(env, ECHORA_STATE=str(state), TERM="dumb"))
        self.mark = f"-- {os.urandom(8).hex()} --"
        code, out = self.run('set -o pipefail; eval "$(ops/env)"')
        assert code == 0, out

    def run(self, command, timeout=60):
        """(exit code, output)"""
        script = f"{{ {command}\n}} </dev/null\nprintf '\\n%s %s\\n' '{self.mark}' $?\n"
        self.child.stdin.write(script.encode())
        self.child.stdin.flush()
        seen, end = b"", time.monotonic() + timeout * PATIENCE
        while self.mark.encode() not in seen or not seen.endswith(b"\n"):
            ready, _, _ = select.select([self.child.stdout], [], [], max(0, end - time.monotonic()))
            part = os.read(self.child.stdout.fileno(), 1 << 16) if ready else b""
            if not part:
                self.close()
                raise AssertionError(f"{command}: no end within {timeout} s\n{seen.decode(errors='replace')}")
            seen += part
        out, _, code = seen.decode(errors="replace").rpartition(self.mark)
        return int(code), out

    def close(self):
        if self.child.poll() is None:
            os.killpg(self.child.pid, 9)
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


class Story:
    """The blocks of one situation of a page, run one after the other in one shell.

    values: what to put in place of words; what a command prints in place of a word that has no value becomes its value.
    """

    def __init__(self, blocks, state, folder):
        self.blocks = list(blocks)
        self.state, self.values = state, {}
        taken = json.loads((state / "settings.json").read_text())["ports"]
        self.ports = {well_known: taken[name] for name, well_known in PORTS.items()}  # another fleet may have those
        self.shell = Shell(state, folder)

    def run(self, n=1):
        for _ in range(n):
            block = self.blocks.pop(0)
            for command in block.commands:
                self.obey(block, command)

    def run_all(self):
        self.run(len(self.blocks))

    def fill(self, text):
        for word, value in self.values.items():
            text = re.sub(rf"\b{word}\b", str(value), text)
        text = re.sub(r"\blocalhost:(\d+)\b", lambda m: f"localhost:{self.ports[int(m[1])]}", text)
        return text.replace(".echora/", f"{self.state}/")

    def pattern(self, text):
        """A regular expression for what a page says is printed."""
        parts = []
        for piece in re.split(r"(\s*\.\.\.\s*|\s+|\b(?:" + "|".join(words()) + r")\b)", self.fill(text)):
            if piece.strip() == "...":
                parts.append(r"[^\n]*?")
            elif piece.isspace():
                parts.append(r"\s+")
            elif piece in words():
                parts.append(rf"(?P<{piece}>{LOOKS[piece]})")
            else:
                parts.append(re.escape(piece))
        return re.compile("".join(parts))

    def obey(self, block, command):
        text = self.fill(command.text)
        open_words = [w for w in words() if re.search(rf"\b{w}\b", text)]
        where = f"{block.page}, situation {block.situation}: {text}"
        assert not open_words, f"{where}: nothing tells what {open_words} are"
        end = time.monotonic() + 40 * PATIENCE
        while True:
            code, out = self.shell.run(text)
            found = [self.pattern(s).search(out) for s in command.sees]
            if code == command.exit and all(found):
                break
            unseen = [s for s, f in zip(command.sees, found, strict=True) if not f]
            assert command.soon and time.monotonic() < end, \
                f"{where}\nexit {code}, should be {command.exit}; not printed: {unseen}\n{out}"
            time.sleep(0.3)
        for match in found:
            self.values.update(match.groupdict())
