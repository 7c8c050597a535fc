"""Searches of the layers of a network on one machine, within one budget."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.bounds import lower_bound
from mlcnn.codesign.enumeration import Objective, Weighted
from mlcnn.codesign.finding import Found, Search, find, find_weighted
from mlcnn.codesign.network import LeastProduct, Minimum, Point, Weights, least_product
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = ["LayerGroup", "LayerSearches", "Tell", "grouped", "together"]

_ROUNDS = 8
"""Searches of each layer that the budget is laid out for: three objectives, and some sums."""
_LEAST_S = 0.2
"""Seconds of a search that has to be: of layers that have no mapping yet."""
_USED_UP = 0.9
"""Share of its seconds after which a search that found nothing may have been too short."""

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Layers of one loop nest.

    Attributes:
        nest: it, by the name of the first.
        names: of all.
    """

    nest: LoopNest
    names: tuple[str, ...]


def grouped(nests: Iterable[LoopNest]) -> tuple[LayerGroup, ...]:
    """Layers with those that are alike but for the name, in the order of the first of each.

    Args:
        nests: of a network.
    """
    groups: dict[LoopNest, list[LoopNest]] = {}
    for nest in nests:
        groups.setdefault(replace(nest, name=""), []).append(nest)
    return tuple(LayerGroup(same[0], tuple(one.name for one in same)) for same in groups.values())


def together(chosen: Iterable[tuple[LayerGroup, Found]]) -> Point:
    """What layers come to, one after the other.

    Args:
        chosen: each group of layers with the mapping of each of them.
    """
    pairs = [(len(group.names), found) for group, found in chosen]
    return Point(
        math.fsum(count * found.energy_pj for count, found in pairs),
        math.fsum(count * found.latency_cycles for count, found in pairs),
    )


class LayerSearches:
    """Searches of all layers, and every mapping that they found, that for the objective first.

    Args:
        groups: the layers.
        architecture: the machine.
        search: what to look for; the budget is for all.
        tell: told how the work goes on.
        interrupted: says whether to begin no other search.

    Attributes:
        known: for each group the answers by objective.
        pool: for each group all mappings.
        own: what the layers come to with the best mapping of each for the objective.
    """

    def __init__(
        self, groups: tuple[LayerGroup, ...], architecture: Architecture, search: Search,
        tell: Tell, interrupted: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.groups, self.architecture, self.search = groups, architecture, search
        self.tell, self.interrupted = tell, interrupted
        self.end = time.monotonic() + search.budget_s
        self.rounds = 0
        self.known: list[dict[Objective, Found]] = [{} for _ in groups]
        self.pool: list[list[Found]] = [[] for _ in groups]
        self._round(search.objective)
        self.own = self._point((0,) * len(groups))

    def _point(self, choice: tuple[int, ...]) -> Point:
        """The sums of some of the mappings that were found."""
        chosen = (pool[number] for pool, number in zip(self.pool, choice, strict=True))
        return replace(together(zip(self.groups, chosen, strict=True)), choice=choice)

    def added(self, objective: Objective) -> float:
        """Lower bound of an objective that adds up."""
        return math.fsum(
            len(group.names) * self._bound(number, objective)
            for number, group in enumerate(self.groups)
        )

    def _bound(self, number: int, objective: Objective) -> float:
        """What no mapping of a layer is below, whether or not it was looked for."""
        known = self.known[number].get(objective)
        if known is not None:
            return known.bound
        return lower_bound(self.groups[number].nest, self.architecture).of(objective)

    def product(self) -> LeastProduct:
        """The least product of sums."""
        return least_product(self._minimum, [self.own], self._over)

    def _over(self) -> bool:
        return self.interrupted() or time.monotonic() >= self.end

    def _minimum(self, weights: Weights) -> Minimum:
        """The least weighted sum over all layers, by the best of all mappings that are known."""
        if weights.latency == 0:
            self._round(Objective.ENERGY)
            bound = self.added(Objective.ENERGY)
        elif weights.energy == 0:
            self._round(Objective.LATENCY)
            bound = self.added(Objective.LATENCY)
        else:
            bound = self._weighted(Weighted(weights.latency))
        point = self._point(tuple(_least(weights, pool) for pool in self.pool))
        return Minimum(point, min(bound, weights.of(point)))

    def _round(self, objective: Objective) -> None:
        """One search of every layer for an objective; none that is not needed once time is over."""
        name = f"map for {objective}"
        for number, group in enumerate(self.groups):
            self.tell(name, number, len(self.groups))
            needed = objective is self.search.objective
            if objective in self.known[number] or (self._over() and not needed):
                continue
            search = replace(self.search, objective=objective, budget_s=self._share(number))
            try:
                found = self._needed(group, search) if needed else self._find(group, search)
            except InfeasibleError:
                if needed:
                    raise
                continue  # one that fits is known, and this search was short
            self.known[number][objective] = found
            self.pool[number].append(found)
        self.rounds += 1

    def _find(self, group: LayerGroup, search: Search) -> Found:
        return find(group.nest, self.architecture, search)

    def _needed(self, group: LayerGroup, search: Search) -> Found:
        """The first mapping of a layer: a search too short to find one is followed by longer ones.

        Raises:
            InfeasibleError: nothing fits, or nothing is found before all time is over.
        """
        while True:
            begun = time.monotonic()
            try:
                return self._find(group, search)
            except InfeasibleError:
                if self.interrupted():  # a layer has no mapping, so there is no result
                    raise KeyboardInterrupt from None
                if self._over() or time.monotonic() - begun < search.budget_s * _USED_UP:
                    raise
            left = max(self.end - time.monotonic(), _LEAST_S)
            search = replace(search, budget_s=min(search.budget_s * 4, left))

    def _weighted(self, weight: Weighted) -> float:
        bounds: list[float] = []
        for number, group in enumerate(self.groups):
            self.tell(
                f"map for energy + {weight.pj_per_cycle:.4g} pJ/cycle", number, len(self.groups)
            )
            least = self._weighted_bound(number, weight)
            if not self._over():
                search = replace(self.search, budget_s=self._share(number))
                with suppress(InfeasibleError):  # one that fits is known, this search was short
                    found = find_weighted(group.nest, self.architecture, search, weight)
                    least = max(least, found.bound)
                    self.pool[number].append(found)
            bounds.append(len(group.names) * least)
        self.rounds += 1
        return math.fsum(bounds)

    def _weighted_bound(self, number: int, weight: Weighted) -> float:
        """What is known of a weighted sum of one layer by the bounds of the other objectives.

        Each part has its own bound; and of two numbers of a known product the sum is least where
        they are equal.
        """
        energy, latency, product = (
            self._bound(number, one) for one in (Objective.ENERGY, Objective.LATENCY, Objective.EDP)
        )
        equal = 2.0 * math.sqrt(weight.pj_per_cycle * product)
        return max(energy + weight.pj_per_cycle * latency, equal)

    def _share(self, number: int) -> float:
        """Seconds for the search of a layer: what is left over the searches that are left."""
        rounds = max(_ROUNDS - self.rounds, 2) if self.search.objective is Objective.EDP else 1
        left = rounds * len(self.groups) - number
        seconds = 0.0 if self.interrupted() else (self.end - time.monotonic()) / left
        return max(seconds, _LEAST_S)


def _least(weights: Weights, pool: Sequence[Found]) -> int:
    values = [weights.of(Point(one.energy_pj, one.latency_cycles)) for one in pool]
    return values.index(min(values))
