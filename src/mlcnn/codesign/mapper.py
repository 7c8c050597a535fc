"""The best mapping of a nest on a machine, and the proof or how far from the best it may be.

Each choice of what the levels keep is a branch (``branch``) with a bound (``relaxation``). A limit
that grows is set on the objective: below it every branch is searched whole, so that nothing is left
that is better once the best found is below the limit. The first limit is little above the least
bound; what was found at one limit cuts the search at the next.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.bounds import lower_bound
from mlcnn.codesign.branch import Branch, Incumbent
from mlcnn.codesign.compiled import score_fast
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.enumeration import Goal, Objective, keep_masks
from mlcnn.codesign.mapping import Mapping
from mlcnn.codesign.relaxation import Relaxation
from mlcnn.codesign.scorer import Score, score
from mlcnn.codesign.tiles import Lattice
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = ["Mapped", "Progress", "find_mapping"]

_FIRST, _GROWTH = 1e-3, 3.0
"""The first limit, above the least bound, and how its distance grows."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """A mapping and what is known of it.

    Attributes:
        nest: what it maps.
        mapping: the best that was found.
        batch: it alone, as arrays.
        score: its latency, energy and counts.
        value: of the objective.
        bound: no mapping is below it; ``value`` where it is optimal.
        optimal: whether that is proven.
        scored: mappings, and outer parts of mappings, that were scored.
    """

    nest: LoopNest
    mapping: Mapping
    batch: Batch
    score: Score
    value: float
    bound: float
    optimal: bool
    scored: int

    @property
    def gap(self) -> float:
        """Share of ``bound`` by which it may be above the optimum."""
        return 0.0 if self.optimal else self.value / self.bound - 1.0


Progress = Callable[[float, float], None]
"""Told the best value so far, infinite at first, and the bound."""


def find_mapping(
    nest: LoopNest,
    architecture: Architecture,
    objective: Goal = Objective.EDP,
    rule: Convention = EXACT,
    *,
    budget_s: float = 60.0,
    progress: Progress | None = None,
) -> Mapped:
    """Find the best of all mappings whose factors divide the dimensions.

    All factors, orders, instances side by side and choices of what each level keeps are looked at
    or bounded away; levels that keep nothing have no loops. An interrupt (Ctrl-C) ends the search
    as the budget does.

    Args:
        nest: the layer.
        architecture: the machine.
        objective: what is made small.
        rule: what is counted.
        budget_s: seconds after which the best so far is returned.
        progress: told after each limit.

    Raises:
        InfeasibleError: no mapping fits the machine, or none was found in the budget.
        InputError: counts are beyond what float64 holds exactly.
    """
    end = time.monotonic() + budget_s
    lattice = Lattice.of(nest)
    search = first = _Search(lattice, architecture, objective, rule, end)
    if objective is Objective.LATENCY:
        # Most of what is fast moves little; the best of both is often fastest already.
        first = _Search(lattice, architecture, Objective.EDP, rule, end)
    try:
        first.run(progress)
        if first is not search:
            search.follow(first)
            search.run(progress)
    except KeyboardInterrupt:
        if first.best.batch is None:
            raise
        search.follow(first)
    return search.result()


class _Search:
    """The branches of a nest on a machine, those of the least bound first.

    Attributes:
        proven: no mapping is below it.
    """

    def __init__(
        self,
        lattice: Lattice,
        architecture: Architecture,
        goal: Goal,
        rule: Convention,
        end: float,
    ) -> None:
        nest = lattice.nest
        self.nest, self.architecture, self.goal, self.rule = nest, architecture, goal, rule
        self.best = Incumbent(lambda: time.monotonic() >= end)
        self.lattice = lattice
        self.relaxations: dict[int, Relaxation] = {}
        self.latency = lower_bound(nest, architecture).latency_cycles
        self.branches: list[tuple[float, Branch]] = []
        self.masks: list[tuple[float, int, NDArray[np.bool_]]] = []
        for number, mask in enumerate(keep_masks(architecture)):
            bound = float(lower_bound(nest, architecture, mask).of(goal))
            self.masks.append((bound, number, mask))
        heapq.heapify(self.masks)
        self.proven = self.masks[0][0]

    def run(self, progress: Progress | None) -> None:
        """Search until the best is proven or there is no more time."""
        self._open(0.0)
        self._dive()
        while self.masks and self._least() >= self.masks[0][0] and not self.best.over():
            self._open(self.masks[0][0])
        self._dive()
        first = self.proven = self._least()
        distance = _FIRST
        if self.best.value <= first:
            return
        while np.isfinite(first) and not self.best.over():
            limit = first * (1 + distance)
            self._open(min(limit, self.best.value))
            for bound, branch in sorted(self.branches, key=lambda one: one[1].rank):
                if bound < min(limit, self.best.value):
                    branch.below(limit)
            if not self.best.over():
                self.proven = min(limit, self.best.value)
            if progress is not None:
                progress(self.best.value, self.proven)
            if self.best.value <= limit:
                return
            distance *= _GROWTH

    def follow(self, other: "_Search") -> None:
        """Start from what another search of the same nest and machine found."""
        self.relaxations = other.relaxations
        if (batch := other.best.batch) is not None:
            scored = score_fast(self.nest, self.architecture, batch, self.rule)
            self.best.offer(self.goal.of(scored), batch)
            self.best.scored += other.best.scored

    def _dive(self) -> None:
        """Find something from the branch of the least bound."""
        bound, branch = min(self.branches, key=lambda one: one[1].rank)
        if np.isfinite(bound):
            branch.dive()

    def _least(self) -> float:
        return min(bound for bound, _ in self.branches)

    def _open(self, limit: float) -> None:
        """Bound the branches of which no more is known than that they may be below a limit."""
        while self.masks and (self.masks[0][0] <= limit or not self.branches):
            _, number, mask = heapq.heappop(self.masks)
            if number not in self.relaxations:
                made = Relaxation(self.lattice, self.architecture, mask, self.rule)
                self.relaxations[number] = made
            branch = Branch(
                self.relaxations[number],
                self.architecture,
                self.rule,
                goal=self.goal,
                best=self.best,
                latency_cycles=self.latency,
            )
            self.branches.append((branch.root_value, branch))
            if self.best.over():
                return

    def result(self) -> Mapped:
        """What was found.

        Raises:
            InfeasibleError: nothing.
        """
        if self.best.batch is None:
            raise InfeasibleError(
                f"{self.nest.name} on {self.architecture.name}: no mapping fits its memories; give "
                "a level more capacity"
                if np.isinf(self.proven)
                else f"{self.nest.name} on {self.architecture.name}: no mapping was found in time; "
                "allow a longer budget"
            )
        optimal = self.best.value <= self.proven
        return Mapped(
            self.nest,
            self.best.batch.mapping(0),
            self.best.batch,
            score(self.nest, self.architecture, self.best.batch, self.rule),
            self.best.value,
            self.best.value if optimal else self.proven,
            optimal,
            self.best.scored,
        )
