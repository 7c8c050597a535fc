"""The mapper as commands and machines call it: what is asked for, and what is known of the answer.

All that is known here of the mapper's interface stands in ``_found``.
"""

import time
from dataclasses import dataclass

from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.checking import misfits
from mlcnn.codesign.constraints import Constraints
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.counts import check_exact
from mlcnn.codesign.enumeration import Goal, Objective, Weighted
from mlcnn.codesign.mapper import find_mapping
from mlcnn.codesign.mapping import LevelLoops, Mapping
from mlcnn.codesign.padding import Factors
from mlcnn.codesign.scored_mapping import ScoredMapping
from mlcnn.errors import InfeasibleError
from mlcnn.workload import LoopNest

__all__ = ["Factors", "Found", "Search", "find", "find_weighted"]


@dataclass(frozen=True, slots=True)
class Search:
    """How to look for a mapping.

    Attributes:
        objective: what is made small.
        rule: what is counted.
        factors: of which mappings.
        budget_s: seconds after which the best so far is taken.
        constraints: what mappings must keep to.
    """

    objective: Objective = Objective.EDP
    rule: Convention = EXACT
    factors: Factors = Factors.PERFECT
    budget_s: float = 60.0
    constraints: Constraints | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Found(ScoredMapping):
    """The mapping of a search, and what is known of it.

    Attributes:
        search: what was asked for.
        value: of the objective.
        bound: no mapping is below it; ``value`` where it is optimal.
        optimal: whether that is proven.
        scored: mappings that were looked at.
        seconds: of processor time.
    """

    search: Search
    value: float
    bound: float
    optimal: bool
    scored: int
    seconds: float

    @property
    def gap(self) -> float:
        """Share of ``bound`` by which it may be above the optimum."""
        return 0.0 if self.optimal else self.value / self.bound - 1.0

    @property
    def told(self) -> str:
        """Whether it is the best, or how far it may be from that."""
        name = str(self.search.objective)
        if self.optimal:
            return f"{name} optimal"
        return f"{name} at most {self.gap:.2%} above the optimum"

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn map --json`` prints."""
        search = self.search
        # Named, since a class with slots is made anew, and `super()` knows only the first.
        return ScoredMapping.to_json(self) | {
            "objective": str(search.objective),
            "factors": search.factors.value,
            "space": search.factors.told,
            "budget_s": search.budget_s,
            "lower_bound": {str(search.objective): self.bound},
            "optimal": self.optimal,
            "gap": self.gap,
            "scored": self.scored,
            "seconds": self.seconds,
        }


def find(nest: LoopNest, architecture: Architecture, search: Search) -> Found:
    """The best mapping of a layer, or the best so far.

    Args:
        nest: the layer.
        architecture: the machine.
        search: how to look.

    Raises:
        InfeasibleError: nothing fits: operand, level, demand, capacity and what would help.
        InputError: counts are beyond what float64 holds exactly.
        UnsupportedError: the nest is of no form that is scored.
    """
    check_exact(nest, float(nest.macs))
    try:
        return _found(nest, architecture, search, search.objective)
    except InfeasibleError as error:
        raise _nothing_fits(nest, architecture, search.rule, error) from error


def _found(nest: LoopNest, architecture: Architecture, search: Search, goal: Goal) -> Found:
    begun = time.process_time()
    mapped = find_mapping(
        nest,
        architecture,
        goal,
        search.rule,
        factors=search.factors,
        constraints=search.constraints,
        budget_s=search.budget_s,
    )
    return Found(
        nest, mapped.nest, architecture, search.rule, mapped.mapping, mapped.batch, mapped.score,
        search, mapped.value, mapped.bound, mapped.optimal, mapped.scored,
        time.process_time() - begun,
    )  # fmt: skip


def _nothing_fits(
    nest: LoopNest, architecture: Architecture, rule: Convention, error: InfeasibleError
) -> InfeasibleError:
    """Why nothing fits, where that is known: what even the outermost level cannot hold."""
    loops = tuple(zip(nest.dims, nest.sizes, strict=True))
    inner = (LevelLoops((), (), ()) for _ in architecture.levels[1:])
    outermost = Mapping((LevelLoops(loops, (), tuple(Operand)), *inner))
    wrong = misfits(nest, architecture, Batch.of([outermost], nest), rule)
    if not wrong:
        return error
    return InfeasibleError(
        f"{nest.name} on {architecture.name}: no mapping fits, since the outermost level holds "
        f"every operand whole: {wrong[0]}; {wrong[0].lever}"
    )


def find_weighted(
    nest: LoopNest, architecture: Architecture, search: Search, weight: Weighted
) -> Found:
    """The mapping of least energy plus so many pJ for a cycle; its value and bound are in pJ.

    Args:
        nest: the layer.
        architecture: the machine.
        search: how to look; its objective is not used.
        weight: what a cycle counts as.

    Raises:
        InfeasibleError: nothing was found that fits.
    """
    return _found(nest, architecture, search, weight)
