"""From which probabilities on images leave at exits, so that they cost least within a budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.training.intervals import Right

__all__ = ["Judged", "Thresholds", "judged", "softmax", "thresholds"]

_GRID = 60


@dataclass(frozen=True, slots=True)
class Judged:
    """What a head, or the network's end, says of images.

    Attributes:
        sure: probability of the most likely class, shape (images,).
        right: whether that is the image's class, shape (images,).
    """

    sure: NDArray[np.float64]
    right: Right

    def chosen(self, which: NDArray[np.bool_]) -> "Judged":
        """Of some of the images."""
        return Judged(self.sure[which], self.right[which])


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What was found.

    Attributes:
        values: for each exit; above 1 where no image leaves.
        cost: sum over the images.
        right: how many are classified correctly.
    """

    values: tuple[float, ...]
    cost: float
    right: int


def judged(scores: NDArray[Any], labels: NDArray[np.int64]) -> Judged:
    """The most likely class of softmax, and whether it is the right one.

    Args:
        scores: shape (images, classes).
        labels: shape (images,).
    """
    return Judged(softmax(scores).max(1), scores.argmax(1) == labels)


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities, shape (images, classes).

    Args:
        scores: of the same shape.
    """
    wide = scores.astype(np.float64)
    shares = np.exp(wide - wide.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def thresholds(
    exits: Sequence[Judged], end: Judged, costs: Sequence[float], allowed: float
) -> Thresholds:
    """The cheapest thresholds with which at most so many more images are wrong than without exits.

    Exact for one exit; of two, the first one's is one of 60 quantiles.

    Args:
        exits: what each says, in order.
        end: what the whole network says.
        costs: of an image that leaves at each exit, and of one that goes to the end.
        allowed: images.
    """
    least = int(np.ceil(end.right.sum() - allowed - 1e-9))
    return _best(exits, end, costs, least)


def _best(exits: Sequence[Judged], end: Judged, costs: Sequence[float], least: int) -> Thresholds:
    if not exits:
        return Thresholds((), costs[0] * len(end.right), int(end.right.sum()))
    here, *later = exits
    if not later:
        return _single(here, end, costs, least)
    found: list[Thresholds] = []
    levels = np.unique(np.quantile(here.sure, np.linspace(0, 1, _GRID))) if len(here.sure) else []
    for level in (*levels, np.inf):
        leave = here.sure >= level
        already = int(here.right[leave].sum())
        others = [each.chosen(~leave) for each in later]
        rest = _best(others, end.chosen(~leave), costs[1:], least - already)
        if already + rest.right >= least:
            cost = float(leave.sum()) * costs[0] + rest.cost
            found.append(Thresholds((_above(level), *rest.values), cost, already + rest.right))
    return min(found, key=lambda item: item.cost)


def _single(here: Judged, end: Judged, costs: Sequence[float], least: int) -> Thresholds:
    """As many as possible leave, the surest first; those as sure as one another together."""
    order = np.argsort(-here.sure, kind="stable")
    sure = here.sure[order]
    gained = here.right[order].astype(int) - end.right[order].astype(int)
    right = int(end.right.sum()) + np.concatenate([[0], gained.cumsum()])
    whole = np.concatenate([[True], sure[1:] != sure[:-1], [True]])[: len(right)]
    # Where the budget is first spent, not where luck has earned it back.
    spent = np.flatnonzero(right < least)
    fine = np.flatnonzero(whole[: int(spent[0]) if len(spent) else len(right)])
    count = int(fine[-1]) if len(fine) else 0
    if costs[0] >= costs[1]:
        count = 0
    following = sure[count] if count < len(sure) else 0.0
    limit = (sure[count - 1] + following) / 2 if count else np.inf
    cost = count * costs[0] + (len(sure) - count) * costs[1]
    return Thresholds((_above(limit),), float(cost), int(right[count]))


def _above(level: float) -> float:
    """A threshold that no probability reaches, where no image leaves."""
    return 2.0 if level > 1 else float(level)
