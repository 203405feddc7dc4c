"""What a job is. A job has cases (sizes of its task); each round of a case runs every contestant once, each from an
empty start; `run` returns the figures of one such run, or raises Failed."""
from dataclasses import dataclass, field

from .peers import why_missing


class Failed(Exception):
    """A run that came to no figures; the reason goes into the report."""


@dataclass(frozen=True)
class Figure:
    """A number that runs have. more: whether more is better, None when it is only told. The first of a job is what its
    contestants are compared by."""
    name: str
    unit: str
    text: str
    more: bool | None = None


@dataclass(frozen=True)
class Target:
    """What is to be reached: figure of `who` in a case, at least or at most `times` the same figure of `of`, or `bound`
    when `of` is empty. With `ratio` it is the median of the rounds' ratios that counts."""
    text: str
    figure: str
    operator: str
    case: str = ""    # the beginning of the names of the cases that it holds for
    bound: float = 0
    times: float = 1
    of: str = ""
    who: str = "echora"


@dataclass(frozen=True)
class Contestant:
    """kind: ours, peer or reference. needs: what makes it, of kit/peers.py, with its arguments."""
    name: str
    about: str
    kind: str = "peer"
    needs: tuple = ()
    versions: dict = field(default_factory=dict)

    def missing(self):
        """Why it can't run here, "" when it can; builds and installs it."""
        return why_missing(*self.needs) if self.needs else ""


@dataclass(frozen=True)
class Case:
    name: str
    parameters: dict = field(default_factory=dict)


class Job:
    name, about = "", ""
    figures, targets = (), ()
    servers = ("postgres", "nats")  # and "qdrant", "redis"; what the stage starts
    postgres_settings = {}          # beyond the harness's, for every contestant

    def cases(self, scale):
        """The cases at this scale; 1 is the real thing."""
        raise NotImplementedError

    def contestants(self, case):
        raise NotImplementedError

    def run(self, stage, case, contestant):
        raise NotImplementedError
