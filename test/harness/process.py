"""One child process with its log, and the rough treatment that tests give it."""
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from ops.fleet import system

from .settings import PATIENCE


class Process:
    """A server or worker. Its output goes to `<folder>/<name>.log`, appended over restarts."""

    def __init__(self, name, argv, folder, env=None, ready=None, cwd=None):
        self.name = name
        self.argv = [str(a) for a in argv]
        self.env = dict(env or {})
        self.log = Path(folder) / f"{name}.log"
        self.cwd = str(cwd or folder)
        self.ready = ready
        self.child = None

    def start(self, wait=True, timeout=20):
        assert not self.alive(), f"{self.name} runs already"
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        env.update((k, v) for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "LSAN_", "TSAN_")))
        env.update({k: str(v) for k, v in self.env.items()})
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          cwd=self.cwd, env=env, start_new_session=True, **system.drop())
        if wait and self.ready:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=20):
        def up():
            if not self.alive():
                raise AssertionError(f"{self.name} exited with {self.child.returncode}:\n{self.tail()}")
            return self.ready()
        try:
            system.wait_until(up, timeout * PATIENCE, f"{self.name} ready")
        except TimeoutError as e:
            raise AssertionError(f"{e}\n{self.tail()}") from None

    def alive(self):
        return self.child is not None and self.child.poll() is None

    @property
    def pid(self):
        return self.child.pid

    def send_signal(self, number):
        if self.alive():
            self.child.send_signal(number)

    def kill(self):
        """kill -9, and gone when this returns."""
        self.send_signal(signal.SIGCONT)
        self.send_signal(signal.SIGKILL)
        if self.child:
            self.child.wait(10)

    def pause(self):
        """SIGSTOP: there, but silent. Every thread stands still when this returns."""
        self.send_signal(signal.SIGSTOP)

        def stopped():
            tasks = list(Path(f"/proc/{self.pid}/task").glob("*/stat"))
            with contextlib.suppress(OSError):  # a thread that ended meanwhile
                return all(t.read_text().rsplit(")", 1)[1].split()[0] in "Tt" for t in tasks)
        system.wait_until(stopped, 5, f"{self.name} stopped")

    def resume(self):
        self.send_signal(signal.SIGCONT)

    def stop(self, timeout=15, number=signal.SIGTERM):
        """Orderly end; returns the exit code. Killed and reported when it takes too long."""
        if not self.child:
            return None
        self.send_signal(signal.SIGCONT)
        self.send_signal(number)
        try:
            return self.child.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout} s\n{self.tail()}") from None

    def restart(self, hard=False):
        if hard:
            self.kill()
        else:
            self.stop()
        return self.start()

    def wait(self, timeout=15):
        return self.child.wait(timeout * PATIENCE)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=30):
        return "\n".join(f"{self.name}| {line}" for line in self.text().splitlines()[-lines:])

    def wait_log(self, needle, timeout=10):
        system.wait_until(lambda: needle in self.text(), timeout * PATIENCE, f"{needle!r} in the log of {self.name}")

    def memory(self, field="VmRSS"):
        """Resident bytes now (VmRSS) or at most so far (VmHWM)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def eventually(condition, timeout=10, what="condition"):
    """Polls condition() until it is true and returns its value; AssertionError when it never is."""
    try:
        return system.wait_until(condition, timeout * PATIENCE, what)
    except TimeoutError as e:
        raise AssertionError(str(e)) from None


def lasted_less(began, seconds):
    """Whether less than `seconds` have passed since time.monotonic() was `began`."""
    return time.monotonic() - began < seconds * PATIENCE


def steady(condition, seconds=0.5, what="condition"):
    """Asserts that condition() stays true for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"{what}: did not last"
        time.sleep(0.02)
