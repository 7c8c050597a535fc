"""The best mappings of a network's layers, identical layers once."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.enumeration import Objective
from mlcnn.codesign.finding import Found, Search, Weighted, find, find_weighted
from mlcnn.codesign.interruption import interruptions
from mlcnn.codesign.network import LeastProduct, Minimum, Point, Weights, least_product
from mlcnn.errors import InputError
from mlcnn.workload import LoopNest

__all__ = ["LayerGroup", "MappedLayer", "MappedNetwork", "grouped", "map_nests"]

_ROUNDS = 8
"""Searches of each layer that the budget is laid out for: three objectives, and some sums."""

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


@dataclass(frozen=True, slots=True)
class MappedLayer:
    """Layers of one nest and their mapping.

    Attributes:
        group: the layers.
        found: the mapping of each.
        own: the best mapping found for the objective in each layer by itself.
    """

    group: LayerGroup
    found: Found
    own: Found

    def to_json(self) -> dict[str, object]:
        """One entry of ``layers``."""
        found = self.found
        return {
            "names": list(self.group.names),
            "count": len(self.group.names),
            "mapping": found.text,
            "latency_cycles": found.latency_cycles,
            "energy_pj": found.energy_pj,
            "edp": found.edp,
            "utilisation": found.utilisation,
            "bound_by": found.breakdown.bound.to_json(),
            "accesses": found.breakdown.accesses(),
            "own": {
                "mapping": self.own.text,
                "latency_cycles": self.own.latency_cycles,
                "energy_pj": self.own.energy_pj,
                "edp": self.own.edp,
                "lower_bound": self.own.bound,
                "optimal": self.own.optimal,
                "gap": self.own.gap,
            },
        }


@dataclass(frozen=True, slots=True)
class MappedNetwork:
    """A network's layers on one machine, one after the other.

    Attributes:
        architecture: the machine.
        search: what was asked for.
        layers: distinct ones, in order.
        bound: no choice of mappings has a smaller value of the objective.
        optimal: whether that is proven of this one.
        weights: energy and cycle weights of the sums that were minimised; empty for objectives
            that add up.
        interrupted: whether the user ended the search.
        seconds: of processor time.
    """

    architecture: Architecture
    search: Search
    layers: tuple[MappedLayer, ...]
    bound: float
    optimal: bool
    weights: tuple[Weights, ...] = field(repr=False)
    interrupted: bool
    seconds: float

    @property
    def latency_cycles(self) -> float:
        """Of all layers, one after the other."""
        return _sums((one.group, one.found) for one in self.layers).latency

    @property
    def energy_pj(self) -> float:
        """Of all layers."""
        return _sums((one.group, one.found) for one in self.layers).energy

    @property
    def edp(self) -> float:
        """Sum of the energies times sum of the latencies, pJ x cycles."""
        return self.energy_pj * self.latency_cycles

    @property
    def value(self) -> float:
        """Of the objective."""
        return _value(self.search.objective, Point(self.energy_pj, self.latency_cycles))

    @property
    def gap(self) -> float:
        """Share of ``bound`` by which the value may be above the optimum."""
        return 0.0 if self.optimal else self.value / self.bound - 1.0

    @property
    def own(self) -> Point:
        """What the layers come to if each has the best mapping for itself."""
        return _sums((one.group, one.own) for one in self.layers)

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn map --json`` prints."""
        search, own = self.search, self.own
        return {
            "architecture": self.architecture.name,
            "objective": search.objective.value,
            "convention": search.rule.name,
            "factors": search.factors.value,
            "space": search.factors.told,
            "budget_s": search.budget_s,
            "layers": [one.to_json() for one in self.layers],
            "latency_cycles": self.latency_cycles,
            "energy_pj": self.energy_pj,
            "edp": self.edp,
            "lower_bound": {search.objective.value: self.bound},
            "optimal": self.optimal,
            "gap": self.gap,
            "own_optima": {
                "latency_cycles": own.latency,
                "energy_pj": own.energy,
                "edp": own.product,
            },
            "weights": [[one.energy, one.latency] for one in self.weights],
            "interrupted": self.interrupted,
            "seconds": self.seconds,
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each distinct layer."""
        return [one.to_json() for one in self.layers]


def _value(objective: Objective, point: Point) -> float:
    values = {
        Objective.EDP: point.product,
        Objective.ENERGY: point.energy,
        Objective.LATENCY: point.latency,
    }
    return values[objective]


def _sums(chosen: Iterable[tuple[LayerGroup, Found]]) -> Point:
    pairs = [(len(group.names), found) for group, found in chosen]
    return Point(
        math.fsum(count * found.energy_pj for count, found in pairs),
        math.fsum(count * found.latency_cycles for count, found in pairs),
    )


def map_nests(
    nests: Sequence[LoopNest], architecture: Architecture, search: Search, tell: Tell
) -> MappedNetwork:
    """Map the layers of a network so that the objective of all together is small.

    Args:
        nests: one for each layer, in order.
        architecture: the machine.
        search: what to look for; the budget is for all layers.
        tell: told how the work goes on.

    Raises:
        InputError: there is no layer, or counts are beyond what float64 holds exactly.
        InfeasibleError: nothing fits.
    """
    if not nests:
        raise InputError("the network has no convolution and no dense layer to map")
    begun = time.process_time()
    with interruptions() as interrupted:
        work = _Work(grouped(nests), architecture, search, tell, interrupted)
        if search.objective is Objective.EDP:
            best = work.product()
            weights = best.weights
            point, bound, optimal = best.point, best.bound, best.optimal
        else:
            weights = ()
            point = work.own
            bound = work.added(search.objective)
            optimal = all(one[search.objective].optimal for one in work.known)
        chosen = zip(work.groups, work.pool, point.choice, strict=True)
        layers = tuple(MappedLayer(group, pool[one], pool[0]) for group, pool, one in chosen)
        return MappedNetwork(
            architecture, search, layers, bound, optimal, weights, interrupted(),
            time.process_time() - begun,
        )  # fmt: skip


class _Work:
    """Searches of all layers, and every mapping that they found, that for the objective first."""

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
        self.own = _sums(
            (group, one[search.objective]) for group, one in zip(groups, self.known, strict=True)
        )

    def _point(self, choice: tuple[int, ...]) -> Point:
        """The sums of some of the mappings that were found."""
        chosen = (pool[number] for pool, number in zip(self.pool, choice, strict=True))
        return replace(_sums(zip(self.groups, chosen, strict=True)), choice=choice)

    def added(self, objective: Objective) -> float:
        """Lower bound of an objective that adds up."""
        pairs = zip(self.groups, self.known, strict=True)
        return math.fsum(len(group.names) * one[objective].bound for group, one in pairs)

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
        """One search of every layer for an objective."""
        name = f"map for {objective.value}"
        for number, group in enumerate(self.groups):
            self.tell(name, number, len(self.groups))
            if objective not in self.known[number]:
                search = replace(self.search, objective=objective, budget_s=self._share(number))
                found = find(group.nest, self.architecture, search)
                self.known[number][objective] = found
                self.pool[number].append(found)
        self.rounds += 1

    def _weighted(self, weight: Weighted) -> float:
        bounds: list[float] = []
        for number, group in enumerate(self.groups):
            self.tell(
                f"map for energy + {weight.pj_per_cycle:.4g} pJ/cycle", number, len(self.groups)
            )
            least = self._weighted_bound(number, weight)
            if not self._over():
                search = replace(self.search, budget_s=self._share(number))
                found, bound = find_weighted(group.nest, self.architecture, search, weight)
                least = max(least, bound)
                if found is not None:
                    self.pool[number].append(found)
            bounds.append(len(group.names) * least)
        self.rounds += 1
        return math.fsum(bounds)

    def _weighted_bound(self, number: int, weight: Weighted) -> float:
        """What is known of a weighted sum of one layer by the bounds of the other objectives.

        Each part has its own bound; and of two numbers of a known product the sum is least where
        they are equal.
        """
        bounds = {objective: one.bound for objective, one in self.known[number].items()}
        apart = weight.value(bounds[Objective.ENERGY], bounds[Objective.LATENCY])
        together = 2.0 * math.sqrt(weight.pj_per_cycle * bounds.get(Objective.EDP, 0.0))
        return max(apart, together)

    def _share(self, number: int) -> float:
        """Seconds for the search of a layer: what is left over the searches that are left."""
        rounds = max(_ROUNDS - self.rounds, 2) if self.search.objective is Objective.EDP else 1
        left = rounds * len(self.groups) - number
        return 0.0 if self.interrupted() else max(self.end - time.monotonic(), 0.0) / left


def _least(weights: Weights, pool: Sequence[Found]) -> int:
    values = [weights.of(Point(one.energy_pj, one.latency_cycles)) for one in pool]
    return values.index(min(values))
