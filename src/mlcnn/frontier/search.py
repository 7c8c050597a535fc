"""How far a network can shrink within a budget: few tries, since each of them trains."""

import math
from collections.abc import Callable

from mlcnn.frontier.budget import Budget
from mlcnn.training.intervals import Difference

__all__ = ["bisect", "smallest"]

_CLOSE = 1.1


def bisect(
    attempt: Callable[[float], Difference],
    budget: Budget,
    *,
    start: float,
    least: float,
    most: float = 1.0,
    attempts: int,
) -> None:
    """Try shares that close in on the smallest one within a budget.

    Halves the ratio of the smallest share that is known to stay within and the largest that is
    known not to; stops before ``attempts`` where they are within a tenth.

    Args:
        attempt: trains a network down to a share; returns its accuracy less the original's.
        budget: what may be lost.
        start: the first share.
        least: the smallest share that is possible.
        most: the share that is left before.
        attempts: how many networks are trained at most, at least 1.
    """
    low, high, share = least, most, min(max(start, least), most)
    for _ in range(attempts):
        if budget.allows(attempt(share)):
            high = share
        else:
            low = share
        if high / low < _CLOSE:
            break
        share = math.sqrt(low * high)


def smallest(holds: Callable[[float], bool], *, least: float, steps: int = 6) -> float:
    """About the smallest share for which something holds, by bisection; 1 where nothing does.

    Args:
        holds: asked of shares; what holds for one holds for larger ones.
        least: the smallest share that is asked about.
        steps: how often it is asked.
    """
    low, high = least, 1.0
    for _ in range(steps):
        share = math.sqrt(low * high)
        if holds(share):
            high = share
        else:
            low = share
    return high
