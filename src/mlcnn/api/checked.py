"""What a check against a baseline asks and finds."""

import math
from dataclasses import dataclass
from enum import StrEnum

from mlcnn.errors import InputError
from mlcnn.table import Shown, Tabular

__all__ = ["Checked", "Countable", "Finding", "Limits"]


class Countable(StrEnum):
    """What is counted of a network, the same on every machine."""

    MULTIPLICATIONS = "multiplications"
    PARAMETERS = "parameters"
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse than the baseline a network may be.

    Attributes:
        no_more: what may not grow: ``multiplications`` that are executed and ``parameters`` of the
            layers, as ``mlcnn count`` has them, or ``bytes`` of the file.
        max_error: largest difference of an output, relative to the output's largest value.
        max_drop: percentage points of accuracy that may be lost.
        not_slower: share by which the time may be longer, 0.02 for 2 %.
    """

    no_more: tuple[Countable, ...] = ()
    max_error: float | None = None
    max_drop: float | None = None
    not_slower: float | None = None

    def __post_init__(self) -> None:
        if not (self.no_more or self.measured):
            raise InputError(
                "there is nothing to check: give a limit, or several: --no-more multiplications "
                "(or parameters, or bytes), --max-error 1e-4, --max-drop 0.5 with --data, "
                "--not-slower 2%"
            )
        for option, value in self.measured.items():
            if not 0 <= value < math.inf:
                raise InputError(f"{option} {value:g}: a number that is 0 or more is required")

    @property
    def measured(self) -> dict[str, float]:
        """The limits that are numbers, by option."""
        given = {
            "--max-error": self.max_error,
            "--max-drop": self.max_drop,
            "--not-slower": self.not_slower,
        }
        return {option: value for option, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Finding:
    """One limit, and what was found.

    Attributes:
        limit: what was limited: ``multiplications``, ``error``, ``accuracy``, ``time`` ...
        ok: whether the limit holds. Time fails only where it is sure.
        told: the figures in words, the excess with them.
        value: what was found: a number, an error, a drop in points, a ratio of times.
        allowed: the most that it may be.
        interval: what noise, or the number of images, leaves open; None of what is counted.
    """

    limit: str
    ok: bool
    told: str
    value: float
    allowed: float
    interval: tuple[float, float] | None = None

    @property
    def sure(self) -> bool:
        """Whether the interval leaves no doubt; an interval of one number does not."""
        if self.interval is None:
            return True
        low, high = self.interval
        return high <= self.allowed or low > self.allowed

    def to_json(self) -> dict[str, object]:
        """A row of ``checks`` in what ``mlcnn check --json`` prints."""
        return {
            "limit": self.limit,
            "ok": self.ok,
            "sure": self.sure,
            "value": self.value,
            "allowed": self.allowed,
            "interval": None if self.interval is None else list(self.interval),
            "told": self.told,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Checked(Tabular):
    """What a check found.

    Attributes:
        model: name of the network.
        baseline: name of what it was held against.
        findings: one for each limit; for time one for each engine and batch size.
    """

    model: str
    baseline: str
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The limits that broke."""
        return tuple(finding for finding in self.findings if not finding.ok)

    @property
    def ok(self) -> bool:
        """Whether every limit holds."""
        return not self.failures

    @property
    def line(self) -> str:
        """All of it in one line, what failed first."""
        held = [finding for finding in self.findings if finding.ok]
        told = "; ".join(finding.told for finding in (*self.failures, *held))
        return f"{'ok' if self.ok else 'FAILED'}: {self.model} against {self.baseline}: {told}"

    def records(self) -> list[dict[str, object]]:
        """A row for each finding, as ``to_json`` has it."""
        return [finding.to_json() for finding in self.findings]

    def shown(self) -> Shown:
        """A row for each finding."""
        rows = [(f.limit, "holds" if f.ok else "broken", f.told) for f in self.findings]
        title = f"{self.model} against {self.baseline}: {'ok' if self.ok else 'failed'}"
        return Shown(title, ("limit", "", "found"), tuple(rows))

    def to_json(self) -> dict[str, object]:
        """The document that ``mlcnn check --json`` prints."""
        return {
            "model": self.model,
            "baseline": self.baseline,
            "ok": self.ok,
            "line": self.line,
            "checks": self.records(),
        }
