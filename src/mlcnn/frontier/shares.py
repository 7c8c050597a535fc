"""How much is left out where: along which path, from nothing on, most is saved for least harm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Path", "farthest", "path"]

_NONE = 1e-9
_TIGHTER = 5
_BACK = 10
_ROUNDING = 1e-12

Shares = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """Shares that are left out of each part of a network, more and more.

    Attributes:
        points: shares of each part, in order; the first ones are 0.
    """

    points: tuple[Shares, ...]

    @property
    def length(self) -> int:
        """How far it goes; it begins at 0."""
        return len(self.points) - 1

    def at(self, way: float) -> Shares:
        """The shares so far along, between two points those between theirs."""
        way = min(max(way, 0.0), float(self.length))
        index = min(int(way), max(self.length - 1, 0))
        first, second = self.points[index], self.points[min(index + 1, self.length)]
        part = way - index
        return tuple((1 - part) * a + part * b for a, b in zip(first, second, strict=True))


def path(
    levels: Sequence[float], harms: Sequence[Sequence[float]], saved: Sequence[Sequence[float]]
) -> Path:
    """The path whose every step saves most for the harm that it adds.

    Harms of several parts are taken to add up. A step may leave out levels that gain less than
    further ones do.

    Args:
        levels: shares above 0, in order.
        harms: of each part alone, at each level.
        saved: likewise.
    """
    now = [0] * len(harms)
    before = [[0.0, *each] for each in saved], [[0.0, *each] for each in harms]
    shares = (0.0, *levels)

    def gain(step: tuple[int, int]) -> float:
        part, level = step
        more, harm = (each[part][level] - each[part][now[part]] for each in before)
        return more / max(harm, _NONE)

    points: list[Shares] = [tuple(shares[level] for level in now)]
    while True:
        steps = [
            (p, level) for p, first in enumerate(now) for level in range(first + 1, len(shares))
        ]
        if not steps:
            return Path(tuple(points))
        part, level = max(steps, key=gain)
        now[part] = level
        points.append(tuple(shares[level] for level in now))


def farthest(
    choose: Callable[[float], float],
    check: Callable[[float], float],
    budget: float,
    length: float,
    *,
    start: float = 0.0,
    steps: int = 6,
) -> float:
    """How far along a path no more is lost than a budget, by bisection; 0 where nothing is allowed.

    While those that check lose more, those that choose may lose less. Where a network was trained
    so far along, less may be lost there than before: steps back from it are tried one by one.

    Args:
        choose: what is lost so far along, on images that choose.
        check: likewise on images that check it.
        budget: what may be lost.
        length: of the path.
        start: so far along the network was trained; asked first.
        steps: of the bisection.
    """
    lost = dict[float, float]()

    def fits(way: float, allowed: float) -> bool:
        if way not in lost:
            lost[way] = choose(way)
        return lost[way] <= allowed + _ROUNDING

    allowed = budget
    for _ in range(_TIGHTER):
        low, high = start, length
        if start and not fits(start, allowed):
            back = (start * (1 - step / _BACK) for step in range(1, _BACK))
            low = high = next((way for way in back if fits(way, allowed)), 0.0)
        for _ in range(steps if low < high else 0):
            middle = (low + high) / 2
            low, high = (middle, high) if fits(middle, allowed) else (low, middle)
        drop = check(low) if low else 0.0
        if drop <= budget + _ROUNDING:
            return low
        allowed = min(allowed * min(budget / drop, 0.9), lost[low] - 1e-9)
        if not np.isfinite(allowed):
            break
    return 0.0
