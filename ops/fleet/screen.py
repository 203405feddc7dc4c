"""One line per step: what is being done, then what was done and how long it took."""
import sys
import time

TTY = sys.stdout.isatty()


class Step:
    """with Step("build") as step: step("compiling") … step.done("42 files")"""

    def __init__(self, name):
        self.name = name
        self.result = ""
        self.width = 0

    def __enter__(self):
        self.started = time.monotonic()
        self("")
        return self

    def __call__(self, what):
        if TTY:
            line = f"  … {self.name:18} {what}"
            print("\r" + line.ljust(self.width), end="", flush=True)
            self.width = len(line)

    def done(self, result):
        self.result = result

    def __exit__(self, kind, value, trace):
        if TTY:
            print("\r" + " " * self.width, end="\r")
        mark = ("\033[32mok\033[0m" if TTY else "ok") if kind is None else ("\033[31mno\033[0m" if TTY else "no")
        print(f"  {mark} {self.name:18} {self.result}{' ' if self.result else ''}"
              f"({time.monotonic() - self.started:.1f} s)", flush=True)
        return False
