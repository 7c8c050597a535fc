"""Observers: from what a value takes on, to the range that its codes cover.

All look at a histogram. ``min-max`` covers everything; ``percentile`` leaves out the largest
0.01 % at each end (zeros not counted); ``mse`` takes the range with the least mean squared error
of rounding and cutting off; ``entropy`` the one that keeps most of the distribution, by
Kullback-Leibler divergence [Migacz 2017].
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlcnn.training.quantisation.grid import Grid

__all__ = ["OBSERVERS", "Histogram", "Observer"]

_BINS = 2048
_LEFT_OUT = 1e-4
_RATIOS = np.arange(128, 7, -1) / 128


@dataclass(slots=True)
class Histogram:
    """How often a value lies where.

    Attributes:
        low: the least number seen.
        high: the largest.
        counts: numbers in each of the equal parts between them.
    """

    low: float = np.inf
    high: float = -np.inf
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def widen(self, numbers: NDArray[np.float32]) -> None:
        """Take numbers into the range; all of them, before the first is counted."""
        self.low = min(self.low, float(numbers.min(initial=np.inf)))
        self.high = max(self.high, float(numbers.max(initial=-np.inf)))

    def count(self, numbers: NDArray[np.float32]) -> None:
        """Count numbers inside the range, all but zeros.

        A ReLU makes as many as it likes, all of them are codes, and no range cuts them off.
        """
        numbers = numbers[numbers != 0]
        width = (self.high - self.low) / len(self.counts)
        if not width > 0:
            self.counts[0] += numbers.size
            return
        places = ((numbers.ravel() - np.float32(self.low)) / np.float32(width)).astype(np.int64)
        places = np.clip(places, 0, len(self.counts) - 1)
        self.counts += np.bincount(places, minlength=len(self.counts))

    def merge(self, other: "Histogram") -> "Histogram":
        """Both together, for values that share their codes."""
        joined = Histogram(min(self.low, other.low), max(self.high, other.high))
        width = (joined.high - joined.low) / _BINS
        for part in (self, other):
            if width > 0:
                places = ((part.centres - joined.low) / width).astype(np.int64)
                np.add.at(joined.counts, np.clip(places, 0, _BINS - 1), part.counts)
        return joined

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each part."""
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (np.arange(len(self.counts), dtype=np.float64) + 0.5)


Observer = Callable[[Histogram, int], tuple[float, float]]
"""From a histogram and the bits of a code to the range to cover."""


def _whole(seen: Histogram, bits: int) -> tuple[float, float]:
    del bits
    return seen.low, seen.high


def _percentile(seen: Histogram, bits: int) -> tuple[float, float]:
    del bits
    below = np.cumsum(seen.counts)
    if not below[-1]:
        return seen.low, seen.high
    width = (seen.high - seen.low) / len(seen.counts)
    first = int(np.searchsorted(below, _LEFT_OUT * below[-1], side="right"))
    last = int(np.searchsorted(below, (1 - _LEFT_OUT) * below[-1], side="left"))
    return seen.low + width * first, seen.low + width * (last + 1)


def _least(
    seen: Histogram, bits: int, cost: Callable[[Histogram, Grid], float]
) -> tuple[float, float]:
    """The range of least cost among parts of the whole one; the wider where two are as good."""
    ranges = [(seen.low * ratio, seen.high * ratio) for ratio in _RATIOS]
    return min(ranges, key=lambda ends: cost(seen, Grid.over(*ends, bits)))


def _squared_error(seen: Histogram, grid: Grid) -> float:
    centres = seen.centres
    steps = np.clip(np.rint(centres / grid.step), -grid.zero, 2**grid.bits - 1 - grid.zero)
    return float((seen.counts * (steps * grid.step - centres) ** 2).sum())


def _divergence(seen: Histogram, grid: Grid) -> float:
    """Of the distribution with its ends cut off, from the same spread over each code evenly."""
    centres = seen.centres
    cut = np.clip(centres, grid.low, grid.high)
    kept = (centres >= grid.low - grid.step / 2) & (centres <= grid.high + grid.step / 2)
    inside = np.flatnonzero(kept & (seen.counts > 0))
    if not inside.size:
        return np.inf
    codes = np.rint(cut / grid.step).astype(np.int64) + grid.zero
    mass = np.where(kept, seen.counts, 0).astype(np.float64)
    found = mass.copy()
    # What is cut off lies on the ends in the one, and is missing in the other.
    found[inside[0]] += seen.counts[~kept & (centres < 0)].sum()
    found[inside[-1]] += seen.counts[~kept & (centres > 0)].sum()
    sums = np.bincount(codes[inside], mass[inside], minlength=2**grid.bits)
    parts = np.bincount(codes[inside], minlength=2**grid.bits)
    spread = (sums / np.maximum(parts, 1))[codes[inside]]
    p, q = found[inside] / found.sum(), spread / spread.sum()
    return float((p * np.log(p / q)).sum())


OBSERVERS: dict[str, Observer] = {
    "min-max": _whole,
    "percentile": _percentile,
    "mse": lambda seen, bits: _least(seen, bits, _squared_error),
    "entropy": lambda seen, bits: _least(seen, bits, _divergence),
}
"""By name, as ``--observer`` takes them."""
