"""The designs that a search has mapped so far, and those that no other beats."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.exploration.candidates import Candidates
from mlcnn.codesign.exploration.evaluation import Evaluation
from mlcnn.codesign.exploration.quantities import Limit, Quantity, within

__all__ = ["Archive", "beaten", "front_of"]

Array = NDArray[np.float64]


def beaten(values: Array, by: Array) -> NDArray[np.bool_]:
    """Which rows another row is at least as good as in everything.

    Args:
        values: shape (rows, objectives).
        by: the other rows, shape (others, objectives).
    """
    result = np.zeros(len(values), bool)
    for other in by:
        result |= (other <= values).all(1)
    return result


def front_of(values: Array) -> NDArray[np.int64]:
    """Numbers of the rows that no other row beats, equal ones once.

    Args:
        values: shape (rows, objectives).
    """
    kept: list[int] = []
    for number in np.lexsort(values.T[::-1]):
        if not any((values[other] <= values[number]).all() for other in kept):
            kept.append(int(number))
    return np.array(kept, np.int64)


@dataclass(slots=True)
class Archive:
    """What is known of the candidates.

    Attributes:
        candidates: all designs that may be mapped.
        objectives: what is made small.
        limits: what a design must not be above.
        found: by a candidate's number, in the order in which they were chosen; None where a layer
            fits in no way.
    """

    candidates: Candidates
    objectives: tuple[Quantity, ...]
    limits: tuple[Limit, ...]
    found: dict[int, Evaluation | None] = field(default_factory=dict[int, Evaluation | None])

    def values(self, numbers: Iterable[int]) -> Array:
        """The objectives of designs that were mapped, shape (designs, objectives)."""
        rows: list[list[float]] = []
        for number in numbers:
            one = self.found[number]
            rows.append([np.inf if one is None else q.of(one) for q in self.objectives])
        return np.array(rows).reshape(len(rows), len(self.objectives))

    def met(self) -> list[int]:
        """The designs that are within all bounds."""
        return [
            number
            for number, one in self.found.items()
            if one is not None and within(self.limits, one)
        ]

    def front(self) -> list[int]:
        """Those of them that no other beats, the best in the first objective first."""
        numbers = self.met()
        return [numbers[row] for row in front_of(self.values(numbers))]

    def least(self) -> Array:
        """What no mapping of any candidate is below, shape (candidates, objectives)."""
        return np.stack([self.candidates.least(one) for one in self.objectives], 1)

    def open(self) -> NDArray[np.bool_]:
        """Candidates that are not mapped and may still be better than all that are."""
        front = self.front()
        result = ~beaten(self.least(), self.values(front))
        result[list(self.found)] = False
        return result

    def bound(self) -> float | None:
        """Of a single objective, what no design is below; None for several."""
        if len(self.objectives) > 1:
            return None
        open_ = self.open()
        best = self.values(self.front()).min(initial=np.inf)
        return float(min(self.least()[open_, 0].min(initial=np.inf), best))
