"""What a network comes to on one design: every distinct layer mapped exactly, once.

The layers minimise E + w * D for one w, that at which the product of the sums (sum E) * (sum D) is
least: see ``mlcnn.codesign.network``. The first w is that of mappings that are good on machines
alike, or of the bounds, which are near. A search keeps all mappings that are nearly as good as the
best, so that of another w a layer is only searched again where that is far away.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.bounds import Bound, lower_bound
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.enumeration import Weighted
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.codesign.mapper import Mapped, Near, find_mapping
from mlcnn.codesign.mapping import Mapping as LoopMapping
from mlcnn.codesign.network import Minimum, Point, Weights, least_product
from mlcnn.codesign.scorer import fits, score
from mlcnn.errors import InfeasibleError

__all__ = ["Evaluation", "LayerMapping", "Unfinished", "evaluate_network"]

_CLOSE = 1e-9
_MARGIN = 3e-4
"""Share above the best below which mappings are looked for."""
_ROUNDS = 3
"""In which the weight of the guesses is found."""
_Guess = tuple[Point, LoopMapping]


class Unfinished(Exception):  # noqa: N818 - no mistake was made
    """The time was over before every layer was mapped and its mapping proven."""


@dataclass(frozen=True, slots=True)
class LayerMapping:
    """Layers that are alike and their mapping.

    Attributes:
        names: of the layers.
        mapping: of each, as text.
        energy_pj: of each.
        latency_cycles: of each.
        form: how it is computed, where a template has several forms; else empty.
        precision: of its numbers, where a template has several; else empty.
    """

    names: tuple[str, ...]
    mapping: str
    energy_pj: float
    latency_cycles: float
    form: str = ""
    precision: str = ""

    def to_json(self) -> list[Any]:
        """All of it, in the order of the attributes."""
        numbers = self.energy_pj, self.latency_cycles
        return [list(self.names), self.mapping, *numbers, self.form, self.precision]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A network on a machine.

    Attributes:
        layers: distinct ones.
        edp_bound: no choice of mappings has a smaller energy times latency.
        clock_mhz: of the cycles.
        area_um2: of the machine; None where it is not known.
    """

    layers: tuple[LayerMapping, ...]
    edp_bound: float
    clock_mhz: float
    area_um2: float | None

    @property
    def energy_pj(self) -> float:
        """Of all layers."""
        return math.fsum(len(one.names) * one.energy_pj for one in self.layers)

    @property
    def latency_cycles(self) -> float:
        """Of all layers, one after the other."""
        return math.fsum(len(one.names) * one.latency_cycles for one in self.layers)

    @property
    def edp(self) -> float:
        """Energy times latency, pJ x cycles."""
        return self.energy_pj * self.latency_cycles

    @property
    def power_w(self) -> float:
        """Mean power at the clock, leakage not counted."""
        return self.energy_pj * 1e-12 / (self.latency_cycles / (self.clock_mhz * 1e6))

    @property
    def mappings(self) -> dict[str, str]:
        """The mapping of each layer by its name."""
        return {name: one.mapping for one in self.layers for name in one.names}

    @property
    def forms(self) -> dict[str, str]:
        """The form of each layer by its name; none where the template has but one."""
        return {name: one.form for one in self.layers for name in one.names if one.form}

    @property
    def precisions(self) -> dict[str, str]:
        """The precision of each layer by its name; none where the template has but one."""
        return {name: one.precision for one in self.layers for name in one.names if one.precision}

    def to_json(self) -> dict[str, Any]:
        """What ``from_json`` reads."""
        return {
            "layers": [one.to_json() for one in self.layers],
            "edp_bound": self.edp_bound,
            "clock_mhz": self.clock_mhz,
            "area_um2": self.area_um2,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Evaluation":
        """The same again."""
        layers = tuple(LayerMapping(tuple(names), *values) for names, *values in document["layers"])
        return cls(layers, document["edp_bound"], document["clock_mhz"], document["area_um2"])


def evaluate_network(
    groups: Sequence[LayerGroup],
    architecture: Architecture,
    rule: Convention = EXACT,
    *,
    like: Sequence[Evaluation] = (),
    seconds: Callable[[], float] = lambda: math.inf,
) -> Evaluation:
    """Map a network on a machine so that its energy times latency is least.

    Machines alike only make it sooner found.

    Args:
        groups: its layers.
        architecture: the machine.
        rule: what is counted.
        like: the same layers on machines of as many levels.
        seconds: how many are left.

    Raises:
        Unfinished: there was not time enough.
        InfeasibleError: a layer fits in no way.
    """
    work = _Work(groups, architecture, rule, like, seconds)
    best = least_product(work.minimum, [work.first()], chords=False)
    chosen = zip(groups, work.pools, best.point.choice, strict=True)
    layers = tuple(
        LayerMapping(
            group.names,
            (known := pool[number]).mapping.text(architecture),
            known.energy_pj,
            known.latency_cycles,
        )
        for group, pool, number in chosen
    )
    return Evaluation(layers, best.bound, architecture.clock_mhz, architecture.area_um2)


class _Work:
    """Layers on a machine, and all mappings of them that were found."""

    def __init__(
        self,
        groups: Sequence[LayerGroup],
        architecture: Architecture,
        rule: Convention,
        like: Sequence[Evaluation],
        seconds: Callable[[], float],
    ) -> None:
        self.groups, self.architecture, self.rule = groups, architecture, rule
        self.seconds = seconds
        self.counts = [len(group.names) for group in groups]
        self.bounds: list[Bound] = [lower_bound(one.nest, architecture) for one in groups]
        self.pools: list[list[Near]] = [[] for _ in groups]
        self.proven: list[list[tuple[float, float]]] = [[] for _ in groups]
        """Of each layer the weights that it was searched for, and what no others are below."""
        self.guesses = [self._guesses(number, like) for number in range(len(groups))]

    def first(self) -> Point:
        """The best point for a weight that is near the energy over the latency that it leads to.

        It is that of the guesses, or of the bounds, at first, and changes with each layer, those
        that take most first.
        """
        every = range(len(self.groups))
        known = {n: self._guess(n, 1.0)[0] for n in every if self.guesses[n]}
        weight = self._weight(known or {n: self._bound(n) for n in every})
        for _ in range(_ROUNDS):
            known = {n: self._guess(n, weight)[0] for n in known}
            weight = self._weight(known or {n: self._bound(n) for n in every})
        weights = Weights(1.0, weight)
        left = {n: self.counts[n] * weights.of(self._guess(n, weight)[0]) for n in every}
        for number in sorted(left, key=left.__getitem__, reverse=True):
            known[number] = _point(self.pools[number][self._best(number, weight)])
            weight = self._weight(known)
        return self._weighted(weight).point

    def _weight(self, points: Mapping[int, Point]) -> float:
        """Energy over latency of some layers."""
        energy = math.fsum(self.counts[n] * point.energy for n, point in points.items())
        return energy / math.fsum(self.counts[n] * point.latency for n, point in points.items())

    def _guesses(self, number: int, like: Sequence[Evaluation]) -> list[_Guess]:
        """What the mappings of machines alike come to here, where they fit."""
        nest, found = self.groups[number].nest, list[_Guess]()
        for text in dict.fromkeys(one.layers[number].mapping for one in like):
            mapping = LoopMapping.parse(text)
            if any(
                mapping.factor(dim) != size for dim, size in zip(nest.dims, nest.sizes, strict=True)
            ):
                continue  # of another form of the layer
            batch = Batch.of([mapping], nest)
            if fits(nest, self.architecture, batch, self.rule)[0]:
                scored = score(nest, self.architecture, batch, self.rule)
                energy, latency = scored.energy_pj[0], scored.latency_cycles[0]
                found.append((Point(float(energy), float(latency)), mapping))
        return found

    def _guess(self, number: int, weight: float) -> tuple[Point, LoopMapping | None]:
        """The best guess of a layer, or else its bound."""
        weights = Weights(1.0, weight)
        known = min(self.guesses[number], key=lambda one: weights.of(one[0]), default=None)
        return known or (self._bound(number), None)

    def _bound(self, number: int) -> Point:
        return Point(self.bounds[number].energy_pj, self.bounds[number].latency_cycles)

    def minimum(self, weights: Weights) -> Minimum:
        """The least weighted sum; of energy or latency alone a bound, and the best that is known.

        What is of no use for the product is not searched for.
        """
        if weights.energy and weights.latency:
            return self._weighted(weights.latency)
        choice = tuple(
            min(range(len(pool)), key=lambda n, p=pool: weights.of(_point(p[n])))
            for pool in self.pools
        )
        point = self._at(choice)
        bound = self._sum(lambda number: weights.of(self._bound(number)))
        return Minimum(point, min(bound, weights.of(point)))

    def _weighted(self, weight: float) -> Minimum:
        choice = tuple(self._best(number, weight) for number in range(len(self.groups)))
        point = self._at(choice)
        return Minimum(point, Weights(1.0, weight).of(point))

    def _best(self, number: int, weight: float) -> int:
        """Number of a layer's mapping that has the least E + weight * D of all."""
        pool, weights = self.pools[number], Weights(1.0, weight)
        if not any(self._settled(number, *known, weights) for known in self.proven[number]):
            found = self._find(number, weight)
            self.proven[number].append((weight, found.near_bound))
            pool += [one for one in found.near if one not in pool]
        return min(range(len(pool)), key=lambda one: weights.of(_point(pool[one])))

    def _settled(self, number: int, searched: float, least: float, weights: Weights) -> bool:
        """Whether a mapping that is known is the best for one weight, by a search for another.

        No mapping is below the bounds of energy and latency. So where E + w * D >= L for all others
        and one weight, ``E + w' * D >= L + (w' - w) * (least D)`` for a larger one, and for a
        smaller one ``E + w' * D >= w' / w * L + (1 - w' / w) * (least E)``.
        """
        bound, weight = self.bounds[number], weights.latency
        if weight >= searched:
            below = least + (weight - searched) * bound.latency_cycles
        else:
            share = weight / searched
            below = share * least + (1 - share) * bound.energy_pj
        best = min(weights.of(_point(one)) for one in self.pools[number])
        return best <= below * (1 + _CLOSE)

    def _find(self, number: int, weight: float) -> Mapped:
        left = self.seconds()
        if left <= 0:
            raise Unfinished
        nest = self.groups[number].nest
        try:
            found = find_mapping(
                nest, self.architecture, Weighted(weight), self.rule,
                start=self._guess(number, weight)[1], margin=_MARGIN, budget_s=left,
            )  # fmt: skip
        except InfeasibleError:
            if self.seconds() <= 0:
                raise Unfinished from None
            raise
        if not found.optimal:
            raise Unfinished
        return found

    def _at(self, choice: tuple[int, ...]) -> Point:
        points = [_point(pool[n]) for pool, n in zip(self.pools, choice, strict=True)]
        return Point(
            self._sum(lambda number: points[number].energy),
            self._sum(lambda number: points[number].latency),
            choice,
        )

    def _sum(self, of: Callable[[int], float]) -> float:
        """Of all layers."""
        return math.fsum(count * of(number) for number, count in enumerate(self.counts))


def _point(known: Near) -> Point:
    return Point(known.energy_pj, known.latency_cycles)
