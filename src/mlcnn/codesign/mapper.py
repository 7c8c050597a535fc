"""The best mapping of a nest on a machine, and the proof or how far from the best it may be."""

import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mlcnn.codesign.architecture import Architecture
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.bounds import lower_bound
from mlcnn.codesign.constraints import Constraints, binding_rules, excluded
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.enumeration import Goal, Objective
from mlcnn.codesign.incumbent import CLOSE
from mlcnn.codesign.mapping import Mapping, check_factors
from mlcnn.codesign.padding import Factors, padded_nests
from mlcnn.codesign.scorer import Score, score
from mlcnn.codesign.search import Progress, Search, Task
from mlcnn.codesign.tiles import Lattice
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = ["Mapped", "Near", "Progress", "find_mapping"]


@dataclass(frozen=True, slots=True)
class Near:
    """A mapping that is nearly the best.

    Attributes:
        mapping: it.
        energy_pj: of the nest.
        latency_cycles: likewise.
    """

    mapping: Mapping
    energy_pj: float
    latency_cycles: float


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
        near: it and those within the margin that no other beats in energy and latency.
        near_bound: no other mapping is below it but such as these beat in both.
    """

    nest: LoopNest
    mapping: Mapping
    batch: Batch
    score: Score
    value: float
    bound: float
    optimal: bool
    scored: int
    near: tuple[Near, ...] = ()
    near_bound: float = 0.0

    @property
    def gap(self) -> float:
        """Share of ``bound`` by which it may be above the optimum."""
        return 0.0 if self.optimal else self.value / self.bound - 1.0


def find_mapping(
    nest: LoopNest,
    architecture: Architecture,
    objective: Goal = Objective.EDP,
    rule: Convention = EXACT,
    *,
    factors: Factors = Factors.PERFECT,
    constraints: Constraints | None = None,
    start: Mapping | None = None,
    margin: float = 0.0,
    budget_s: float = 60.0,
    progress: Progress | None = None,
) -> Mapped:
    """Find the best of all mappings.

    All factors, orders, instances side by side and choices of what each level keeps are looked at
    or bounded away; levels that keep nothing have no loops. An interrupt (Ctrl-C) ends the search
    as the budget does.

    Args:
        nest: the layer.
        architecture: the machine.
        objective: what is made small.
        rule: what is counted.
        factors: whether dimensions may be padded (``padded_nests``).
        constraints: what mappings must keep to.
        start: a mapping that may be good, as that of a machine alike: the search looks for better
            ones. It is left aside where it does not fit or keep to the constraints.
        margin: share of the best by which mappings may be above it that are looked for as well
            (``Mapped.near``).
        budget_s: seconds after which the best so far is returned.
        progress: told after each limit.

    Raises:
        InfeasibleError: no mapping fits the machine, none keeps to the constraints (which one
            excludes all is told), or none was found in the budget.
        InputError: counts are beyond what float64 holds exactly; or ``start`` is no mapping of the
            nest on the machine.
    """
    end = time.monotonic() + budget_s
    over = partial(_over, end)
    task = Task(architecture, objective, rule, constraints, over, margin=margin)
    if start is not None:
        check_factors(start, nest, padded=factors is Factors.PADDED)
        task = replace(task, start=Batch.of([start], nest))
    nests = [nest] if factors is Factors.PERFECT else padded_nests(nest, architecture)
    bounds = [float(lower_bound(one, architecture).of(objective)) for one in nests]
    # What is not padded first: the rest is then never worse.
    waiting = sorted(zip(bounds[1:], nests[1:], strict=True), key=lambda one: one[0])
    waiting = [(bounds[0], nests[0]), *waiting]
    best: Search | None = None
    value, proven, scored = np.inf, np.inf, 0
    while waiting and waiting[0][0] < value * (1 - CLOSE):
        bound, one = waiting.pop(0)
        search = Search(Lattice.of(one), task, value)
        told = search.go(progress)
        scored += search.best.scored
        if search.best.batch is not None:
            best, value = search, search.best.value
        proven = min(proven, max(search.proven, bound))
        if not told or task.over():
            break
    proven = min([proven, *(bound for bound, _ in waiting)])
    if best is None:
        raise _nothing(nest, task, feasible=bool(np.isfinite(proven)))
    return _result(best, proven, scored)


def _over(end: float) -> bool:
    return time.monotonic() >= end


def _nothing(nest: LoopNest, task: Task, *, feasible: bool) -> InfeasibleError:
    """Why nothing was found."""
    where = f"{nest.name} on {task.architecture.name}"
    if feasible:
        return InfeasibleError(f"{where}: no mapping was found in time; allow a longer budget")
    plain = replace(task, goal=Objective.ENERGY)
    if task.constraints is None or not _any(nest, replace(plain, constraints=None)):
        return InfeasibleError(f"{where}: no mapping fits its memories; give a level more capacity")
    return excluded(
        binding_rules(task.constraints, lambda fewer: _any(nest, replace(plain, constraints=fewer)))
    )


def _any(nest: LoopNest, task: Task) -> bool:
    """Whether there is a mapping."""
    search = Search(Lattice.of(nest), replace(task, over=lambda: False))
    search.best.over = lambda: search.best.batch is not None
    search.go(None)
    return search.best.batch is not None


def _result(search: Search, proven: float, scored: int) -> Mapped:
    """What was found.

    Args:
        search: that found it.
        proven: no mapping is below it.
        scored: mappings of all searches.
    """
    batch = search.best.batch
    assert batch is not None  # noqa: S101
    return Mapped(
        search.nest,
        batch.mapping(0),
        batch,
        score(search.nest, search.architecture, batch, search.rule),
        search.best.value,
        min(proven, search.best.value),
        search.best.value <= proven,
        scored,
        tuple(Near(one.mapping(0), *costs) for costs, one in search.best.near.items()),
        min(proven, search.best.ceiling),
    )
