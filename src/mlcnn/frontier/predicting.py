"""What a stack of methods will come to, from what was found out of its parts.

Costs multiply: each method leaves a share of what the network took before. Drops of accuracy add
up, and shrink with the images that a network is trained on. Both are corrected by the stacks that
were tried, and how far they were off is told.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from mlcnn.errors import InputError

__all__ = ["Known", "Part", "Predictor", "rank_correlation"]

_LEARNING = 0.3
"""Exponent by which drops shrink with the images seen, where nothing is known of it yet."""
_STEEPEST = 1.5
_DOUBTS = 1.0
"""Measured stacks that the sum of the parts counts for, when it is corrected."""
_LEAST_POINTS = 0.05
"""Below it, drops are noise: what cannot be told apart is not asked which is larger."""


@dataclass(frozen=True, slots=True)
class Part:
    """A method with its setting.

    Attributes:
        method: its name.
        values: what it leaves open, by name.
    """

    method: str
    values: tuple[tuple[str, float], ...] = ()

    @property
    def strength(self) -> float:
        """How far it goes, on the scale on which drops and logarithms of costs are about linear."""
        value = self.values[0][1] if self.values else 1.0
        return 1 / value if value < 1 else value


@dataclass(frozen=True, slots=True)
class Known:
    """A stack that was tried.

    Attributes:
        parts: in order.
        images: that each training step saw; 0 where nothing was trained.
        cost: as a share of the original's.
        drop: percentage points below the original; None where it was not trained enough to tell.
    """

    parts: tuple[Part, ...]
    images: int
    cost: float
    drop: float | None


@dataclass(frozen=True, slots=True)
class Predictor:
    """Predicts stacks from those that were tried.

    Attributes:
        known: of one part each, and of more: what corrects the former.
    """

    known: Sequence[Known]

    def cost(self, parts: Sequence[Part]) -> float:
        """As a share of the original's.

        Raises:
            InputError: nothing is known of a part.
        """
        return self._plain_cost(parts) * (self.cost_correction if len(parts) > 1 else 1.0)

    def drop(self, parts: Sequence[Part], images: int) -> float:
        """Percentage points below the original, once trained on so many images.

        Raises:
            InputError: nothing is known of a part.
        """
        return self._plain_drop(parts, images) * (self.drop_correction if len(parts) > 1 else 1.0)

    @property
    def cost_correction(self) -> float:
        """The factor by which stacks cost more than the product of their parts."""
        ratios = [k.cost / self._plain_cost(k.parts) for k in self._stacks]
        return math.exp(sum(map(math.log, ratios)) / (len(ratios) + _DOUBTS)) if ratios else 1.0

    @property
    def drop_correction(self) -> float:
        """The factor by which stacks lose more than the sum of their parts, never below 0."""
        pairs = [
            (max(self._plain_drop(k.parts, k.images), _LEAST_POINTS), k.drop)
            for k in self._stacks
            if k.drop is not None
        ]
        if not pairs:
            return 1.0
        scale = _DOUBTS * float(np.mean([plain**2 for plain, _ in pairs]))
        above = sum(plain * drop for plain, drop in pairs) + scale
        return max(above / (sum(plain**2 for plain, _ in pairs) + scale), 0.0)

    @property
    def learning(self) -> float:
        """The exponent by which drops shrink with the images that a network is trained on."""
        found: list[float] = []
        for first in self.known:
            for second in self.known:
                if first.parts == second.parts and 0 < first.images < second.images:
                    drops = (first.drop, second.drop)
                    if drops[0] is None or drops[1] is None or drops[0] <= _LEAST_POINTS:
                        continue
                    fell = math.log(drops[0] / max(drops[1], _LEAST_POINTS))
                    found.append(fell / math.log(second.images / first.images))
        return min(max(median(found), 0.0), _STEEPEST) if found else _LEARNING

    @property
    def _stacks(self) -> list[Known]:
        return [
            k for k in self.known if len(k.parts) > 1 and all(self._ones(p.method) for p in k.parts)
        ]

    def _ones(self, method: str) -> list[Known]:
        return [k for k in self.known if len(k.parts) == 1 and k.parts[0].method == method]

    def _plain_cost(self, parts: Sequence[Part]) -> float:
        return math.prod(self._part_cost(part) for part in parts)

    def _part_cost(self, part: Part) -> float:
        ones = self._require(part)
        points = {one.parts[0].strength: math.log(one.cost) for one in ones}
        return math.exp(_between(points, part.strength))

    def _plain_drop(self, parts: Sequence[Part], images: int) -> float:
        return sum(self._part_drop(part, images) for part in parts)

    def _part_drop(self, part: Part, images: int) -> float:
        told = [one for one in self._require(part) if one.drop is not None]
        if not told:
            return 0.0
        trained = {one.images for one in told} - {0}
        points: dict[float, float] = {}
        for one in sorted(told, key=lambda item: item.images):
            drop = one.drop or 0.0
            if trained and one.images and drop > 0:
                drop *= (one.images / images) ** self.learning if images else 1.0
            points[one.parts[0].strength] = drop
        return _between(points, part.strength)

    def _require(self, part: Part) -> list[Known]:
        ones = self._ones(part.method)
        if not ones:
            raise InputError(f"nothing is known of {part.method} alone, so no stack with it")
        return ones


def _between(points: Mapping[float, float], at: float) -> float:
    """On the line through the two nearest points; the nearest one's value outside of them."""
    places = sorted(points)
    return float(np.interp(at, places, [points[place] for place in places]))


def rank_correlation(predicted: Sequence[float], measured: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equal values sharing their ranks; None below three pairs.

    Args:
        predicted: values.
        measured: as many.
    """
    if len(predicted) < 3:
        return None
    ranks = [_ranks(np.asarray(values)) for values in (predicted, measured)]
    spreads = [float(each.std()) for each in ranks]
    if min(spreads) == 0:
        return None
    centred = [each - each.mean() for each in ranks]
    return float((centred[0] * centred[1]).mean() / (spreads[0] * spreads[1]))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[places]
