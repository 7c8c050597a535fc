"""What every search is asked, and what is kept of its run."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.exploration.genetic import Evolution, Evolved, evolve
from benchmarks.exploration.mappings import Genes, MappingSpace
from mlcnn.codesign.exploration import Design, Space
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.errors import InfeasibleError

__all__ = ["MappedDesign", "Point", "Problem", "Run", "map_design"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Find the design and the mappings of the least energy times latency.

    Attributes:
        space: the designs.
        groups: the network's layers, identical ones once.
        most_um2: of a design's area.
    """

    space: Space
    groups: tuple[LayerGroup, ...]
    most_um2: float

    @cached_property
    def areas(self) -> dict[Design, float]:
        """Of every design, in square micrometres.

        Raises:
            InfeasibleError: no design is small enough.
        """
        found = {one: self.space.architecture(one).area_um2 or 0.0 for one in self.space}
        if min(found.values()) > self.most_um2:
            raise InfeasibleError(
                f"an area of at most {self.most_um2 / 1e6:g} mm2: the smallest design has "
                f"{min(found.values()) / 1e6:.3g} mm2; give a larger --areas"
            )
        return found

    @cached_property
    def allowed(self) -> tuple[Design, ...]:
        """The designs that are small enough."""
        return tuple(one for one, area in self.areas.items() if area <= self.most_um2)


@dataclass(frozen=True, slots=True)
class Point:
    """Where a search stands.

    Attributes:
        cpu_seconds: of processor time so far.
        evaluations: mappings of one layer that were scored.
        designs: that were mapped.
        edp: the least so far, pJ x cycles.
    """

    cpu_seconds: float
    evaluations: int
    designs: int
    edp: float


class Run:
    """A search at work; its clock runs from here on.

    Args:
        seed: of what is drawn.
        seconds: of processor time that it may use.
    """

    def __init__(self, seed: int, seconds: float = math.inf) -> None:
        self.seed, self.seconds, self._begun = seed, seconds, time.process_time()
        self.generator = np.random.default_rng(seed)
        self.evaluations = self.designs = 0
        self.best = math.inf
        self.weight: float | None = None
        """Energy by latency of the best so far: what a cycle weighs where the product is least."""
        self.curve: list[Point] = []

    @property
    def used(self) -> float:
        """Processor seconds so far."""
        return time.process_time() - self._begun

    @property
    def over(self) -> bool:
        """Whether no other design may be begun."""
        return self.used >= self.seconds

    def mapped(self, energy_pj: float, latency_cycles: float, evaluations: int) -> None:
        """Note a design and what the network comes to on it."""
        self.designs += 1
        self.evaluations += evaluations
        if energy_pj * latency_cycles < self.best:
            self.best, self.weight = energy_pj * latency_cycles, energy_pj / latency_cycles
            self.curve.append(self._point())

    def failed(self) -> None:
        """Note a design on which a layer fits in no way."""
        self.designs += 1

    def ended(self) -> tuple[Point, ...]:
        """The points at which it got better, and its end."""
        return (*self.curve, self._point())

    def _point(self) -> Point:
        return Point(self.used, self.evaluations, self.designs, self.best)


@dataclass(frozen=True, slots=True)
class MappedDesign:
    """A network on a design.

    Attributes:
        design: its numbers in the space.
        edp: energy times latency.
        genes: of each layer a population, the best first.
    """

    design: Design
    edp: float
    genes: tuple[Genes, ...]


def map_design(
    problem: Problem, run: Run, design: Design, settings: Evolution,
    start: MappedDesign | None = None,
) -> MappedDesign:  # fmt: skip
    """Map every layer on a design.

    Each is mapped for the least energy + weight x latency, the weight being energy by latency of
    the best network so far, since so the product of the sums is least; for the product of its own
    while there is none.

    Args:
        problem: the designs and the network.
        run: takes note.
        design: one of them.
        settings: of the genetic algorithm of each layer.
        start: a design to start from.
    """
    weight, machine = run.weight, problem.space.architecture(design)

    def worth(energy: Array, latency: Array) -> Array:
        return energy * latency if weight is None else energy + weight * latency

    found: list[Evolved] = []
    evaluations = 0
    for number, group in enumerate(problem.groups):
        genes = None if start is None else start.genes[number]
        space = MappingSpace(group.nest, machine, run.generator)
        one, scored = evolve(space, worth, settings, genes)
        found.append(one)
        evaluations += scored
    energy, latency = (
        _sum(problem.groups, [float(getattr(one, name)[0]) for one in found])
        for name in ("energy_pj", "latency_cycles")
    )
    run.mapped(energy, latency, evaluations)
    return MappedDesign(design, energy * latency, tuple(one.genes for one in found))


def _sum(groups: Sequence[LayerGroup], values: Sequence[float]) -> float:
    return math.fsum(len(one.names) * value for one, value in zip(groups, values, strict=True))
