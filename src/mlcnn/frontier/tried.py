"""Which setting of a network costs least within a budget, from what each of them gave."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.training.intervals import Right

__all__ = ["Tried", "cheapest"]

_TIGHTER = 5


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting, on the images that choose and on those that check.

    Attributes:
        threshold: a position is kept whose score is at least that.
        cost: of an image that chooses, on average.
        choose: which images that choose are right.
        check: which that check are.
    """

    threshold: float
    cost: float
    choose: Right
    check: Right


def cheapest(
    tried: Sequence[Tried], choose: NDArray[np.bool_], check: NDArray[np.bool_], budget: float
) -> Tried | None:
    """The least cost within a budget on images that choose, and on those that check it.

    While the images that check lose more, those that choose may lose less.

    Args:
        tried: the settings.
        choose: which images are right without any mask.
        check: likewise.
        budget: share of the images that may be lost.
    """
    allowed = budget
    for _ in range(_TIGHTER):
        within = [item for item in tried if choose.mean() - item.choose.mean() <= allowed + 1e-12]
        best = min(within, key=lambda item: item.cost, default=None)
        if best is None:
            return None
        drop = float(check.mean() - best.check.mean())
        if drop <= budget + 1e-12:
            return best
        lost = float(choose.mean() - best.choose.mean())
        allowed = min(allowed * min(budget / drop, 0.9), lost - 1e-9)
    return None
