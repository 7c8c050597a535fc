"""The best mappings of a network's layers, identical layers once."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.enumeration import Objective
from mlcnn.codesign.finding import Found, Search
from mlcnn.codesign.interruption import interruptions
from mlcnn.codesign.layer_searches import LayerGroup, LayerSearches, Tell, grouped, together
from mlcnn.codesign.network import Point, Weights
from mlcnn.errors import InputError
from mlcnn.table import Shown, Tabular, flat
from mlcnn.workload import LoopNest, Uncounted

__all__ = ["MappedLayer", "MappedNetwork", "map_nests"]


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


@dataclass(frozen=True, slots=True, repr=False)
class MappedNetwork(Tabular):
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
        uncounted: what multiplies in the network and is not among its layers.
    """

    architecture: Architecture
    search: Search
    layers: tuple[MappedLayer, ...]
    bound: float
    optimal: bool
    weights: tuple[Weights, ...] = field(repr=False)
    interrupted: bool
    seconds: float
    uncounted: tuple[Uncounted, ...] = ()

    @property
    def latency_cycles(self) -> float:
        """Of all layers, one after the other."""
        return together((one.group, one.found) for one in self.layers).latency

    @property
    def energy_pj(self) -> float:
        """Of all layers."""
        return together((one.group, one.found) for one in self.layers).energy

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
        return together((one.group, one.own) for one in self.layers)

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn map --json`` prints."""
        search, own = self.search, self.own
        return {
            "architecture": self.architecture.name,
            "objective": str(search.objective),
            "convention": search.rule.name,
            "factors": search.factors.value,
            "space": search.factors.told,
            "budget_s": search.budget_s,
            "layers": [one.to_json() for one in self.layers],
            "latency_cycles": self.latency_cycles,
            "energy_pj": self.energy_pj,
            "edp": self.edp,
            "lower_bound": {str(search.objective): self.bound},
            "optimal": self.optimal,
            "gap": self.gap,
            "own_optima": {
                "latency_cycles": own.latency,
                "energy_pj": own.energy,
                "edp": own.product,
            },
            "weights": [[one.energy, one.latency] for one in self.weights],
            "interrupted": self.interrupted,
            "uncounted": [asdict(other) for other in self.uncounted],
            "seconds": self.seconds,
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each distinct layer: all that ``to_json`` has of it but the accesses."""
        documents = (one.to_json() for one in self.layers)
        return [flat({k: v for k, v in one.items() if k != "accesses"}) for one in documents]

    @property
    def told(self) -> str:
        """Whether it is the best, or how far it may be from that."""
        name = str(self.search.objective)
        if self.optimal:
            return f"{name} optimal"
        return f"{name} at most {self.gap:.2%} above the optimum"

    def shown(self) -> Shown:
        """Distinct layers, how many there are of each, and what each takes."""
        rows = tuple(
            (
                one.group.names[0],
                str(len(one.group.names)),
                f"{one.found.latency_cycles:,.0f}",
                f"{one.found.energy_pj / 1e6:,.4g}",
                one.found.text,
            )
            for one in self.layers
        )
        title = (
            f"{self.architecture.name}: {self.latency_cycles:,.0f} cycles, "
            f"{self.energy_pj / 1e6:,.4g} uJ, {self.told}"
        )
        return Shown(title, ("layer", "times", "cycles", "uJ", "mapping"), rows)


def _value(objective: Objective, point: Point) -> float:
    values = {
        Objective.EDP: point.product,
        Objective.ENERGY: point.energy,
        Objective.LATENCY: point.latency,
    }
    return values[objective]


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
        work = LayerSearches(grouped(nests), architecture, search, tell, interrupted)
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
