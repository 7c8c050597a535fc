"""Class exclusion beside exits: the same heads, the same branches, another criterion."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mlcnn.api.skipping.exits import Place, Search
from mlcnn.api.skipping.work import Candidate
from mlcnn.frontier.exclusion import Excluded, excluding, limits
from mlcnn.frontier.tried import Tried, cheapest
from mlcnn.passes.class_exclusion import THRESHOLD, with_exclusion
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, with_heads

__all__ = ["exclusion"]

_LOST = tuple(float(each) for each in np.geomspace(0.002, 0.3, 24))
"""Share of a class's images that a head may exclude wrongly."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Set:
    """Heads, limits of theirs, and what they come to."""

    places: tuple[Place, ...]
    below: tuple[Floats, ...]
    lost: float
    tried: Tried


def exclusion(search: Search, places: Sequence[Place]) -> list[Candidate]:
    """The cheapest exclusion within the budget, as a yardstick; nothing where there is none.

    Every head alone, every pair, and all of them; one share of a class's images that each may lose.

    Args:
        search: the images, the network and the budget.
        places: heads, fitted.
    """
    work, parts = search.work, search.parts
    images = (parts.choose, parts.check)
    ends = [work.scores(search.model, part, "classify")[0].astype(np.float64) for part in images]
    before = [work.says(work.model, part).right for part in images]
    found = list(_tried(search, places, ends))
    budget = work.options.max_drop / 100
    best = cheapest([each.tried for each in found], before[0], before[1], budget)
    chosen = next((each for each in found if each.tried is best), None)
    return [] if chosen is None else [_candidate(search, chosen)]


def _tried(search: Search, places: Sequence[Place], ends: Sequence[Floats]) -> Iterator[_Set]:
    labels = [part.labels for part in (search.parts.choose, search.parts.check)]
    cost = search.work.cost_of(with_heads(search.model, [place.head for place in places]))
    sizes = sorted({1, min(2, len(places)), len(places)})
    for each in (chosen for size in sizes for chosen in combinations(places, size)):
        costs = np.array(search.cumulative(each, cost))
        shares = [[place.shares[part] for place in each] for part in (0, 1)]
        for lost in _LOST:
            below = tuple(limits(own, labels[0], lost) for own in shares[0])
            ran = [excluding(s, below, end) for s, end in zip(shares, ends, strict=True)]
            right = [r.said == own for r, own in zip(ran, labels, strict=True)]
            yield _Set(each, below, lost, Tried(lost, _mean(ran[0], costs), *right))


def _mean(ran: Excluded, costs: Floats) -> float:
    return float(costs[ran.left].mean())


def _candidate(search: Search, chosen: _Set) -> Candidate:
    heads: list[Head] = [place.head for place in chosen.places]
    headed = with_heads(search.model, heads)
    thresholds = "+".join(f"exit{i}={THRESHOLD}" for i in range(1, len(heads) + 1))
    model = EarlyExit(thresholds).apply(with_exclusion(headed, chosen.below)).model
    setting: Mapping[str, float | str] = {
        "behind": " ".join(place.layer for place in chosen.places), "lost": chosen.lost
    }  # fmt: skip
    return Candidate("class exclusion", setting, model, headed, yardstick=True)
