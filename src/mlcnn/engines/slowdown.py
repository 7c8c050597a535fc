"""Whether one thing takes longer than another by more than a limit, on a machine with noise.

A trial makes both ready anew and times them in turn, so that drift meets both alike; its figure is
a ratio of times. Ratios of many trials are told apart from the limit by the sign test, which asks
nothing of the noise but that a trial is as likely to err upwards as downwards. The trials are
looked at a few times and no more: who looks after each one sees a difference sooner or later where
there is none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

__all__ = ["LOOKS", "Slowdown", "Verdict", "slowdown"]

LOOKS = (8, 16, 32)
"""After how many trials a verdict is tried; the last one ends it."""

_ERROR = 0.004
"""Share of wrong verdicts to one side, at each look; eight of eight is 1 in 256."""


class Verdict(StrEnum):
    """What the trials tell of a limit."""

    SLOWER = "slower"
    WITHIN = "within"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Slowdown:
    """How many times as long something takes, trial by trial.

    Attributes:
        ratios: its time over that of what it is compared with, one for each trial.
        limit: the largest ratio that is allowed.
    """

    ratios: tuple[float, ...]
    limit: float

    @property
    def value(self) -> float:
        """The median of the trials."""
        return median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """Holds the true median but for 0.4 % to either side: order statistics, binomial."""
        rank = _rank(len(self.ratios))
        ordered = sorted(self.ratios)
        return ordered[rank], ordered[-1 - rank]

    @property
    def verdict(self) -> Verdict:
        """Slower, or within the limit, where the whole interval is; otherwise it is not known."""
        low, high = self.interval
        if low > self.limit:
            return Verdict.SLOWER
        return Verdict.WITHIN if high <= self.limit else Verdict.UNDECIDED


def _rank(count: int) -> int:
    """The largest rank, from 0, below which as many signs are found by chance in 0.4 % at most."""
    rank, tail = 0, 1
    while (tail := tail + math.comb(count, rank + 1)) / 2**count <= _ERROR:
        rank += 1
    return rank


def slowdown(trial: Callable[[int], float], limit: float) -> Slowdown:
    """Make trials until they tell, or until there are as many as the last of ``LOOKS``.

    Where the true ratio is at the limit, a wrong "slower" comes once in a hundred times (the looks
    together); below it, more seldom.

    Args:
        trial: makes the trial of a number, from 0; gives a ratio of times.
        limit: the largest ratio that is allowed.
    """
    ratios: list[float] = []
    for look in LOOKS:
        ratios += [trial(number) for number in range(len(ratios), look)]
        if Slowdown(tuple(ratios), limit).verdict is not Verdict.UNDECIDED:
            break
    return Slowdown(tuple(ratios), limit)
