"""The json-tool as Python functions."""
import json
import subprocess

from harness.settings import BUILD


class Refused(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([str(BUILD / "test/contract/json-tool")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def _ask(self, verb, name, rest):
        self.process.stdin.write(f"{verb} {name} ".encode() + rest + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode()
        assert line, f"json-tool died of: {verb} {name} {rest[:500]!r}"
        state, _, answer = line.rstrip("\n").partition(" ")
        if state == "err":
            raise Refused(*answer.partition(" ")[::2])
        return answer

    def decode(self, name, payload):
        """(unknown fields, parsed JSON, JSON text) of protobuf bytes."""
        text = self._ask("decode", name, payload.hex().encode())
        answer = json.loads(text)
        return answer["unknown"], answer["json"], text[text.index('"json":') + 7:-1]

    def encode(self, name, text):
        """Protobuf bytes of a JSON text (one line)."""
        return bytes.fromhex(self._ask("encode", name, text.encode("utf-8", "surrogatepass")))

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0
